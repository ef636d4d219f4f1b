//! The kinds as the suite meets them: the registry's lines with their samples, and what the ledger says about them.

use crate::harness::World;
use cloud_image_operator::kinds::Kind;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path};
use vendor_simulator::{Addresses, Change, Ledger};

/// One kind and its sample.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Such as `ImageComponent`.
    pub kind: String,
    /// What its objects are called in paths.
    pub plural: String,
    /// The sample object's name.
    pub name: String,
    /// The creating call.
    pub action: &'static str,
    /// Whether a new version can take the place of what is there.
    pub has_versions: bool,
    sample: String,
}

/// The registry's kinds, with their samples in `deploy/samples`.
pub fn all(kinds: &[&dyn Kind]) -> Vec<Subject> {
    kinds.iter().map(|kind| of(&kind.crd(), kind.action())).collect()
}

/// What is defined so, with its sample in `deploy/samples`; `action` makes its things at the vendor.
pub fn of(crd: &CustomResourceDefinition, action: &'static str) -> Subject {
    let (folder, plural) = (xtask::samples::folder(), &crd.spec.names.plural);
    let image = read(&folder.join(plural).join(format!("{plural}.yaml")));
    let name = documents(&image)[0]["spec"]["accountRef"]["name"].clone();
    let accounts = fs::read_dir(folder.join("accounts")).expect("the accounts' folder");
    let paths = accounts.map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.file_stem().is_some_and(|name| name != "kustomization"));
    let account = files.map(|path| read(&path)).find(|text| documents(text)[1]["metadata"]["name"] == name);
    let account = account.unwrap_or_else(|| panic!("no account {name}"));
    Subject::new(crd, action, format!("{}\n---\n{image}", account.trim_end()))
}

/// Kinds whose samples, accounts included, are files in a folder of the project.
pub fn beside(kinds: &[&dyn Kind], folder: &str) -> Vec<Subject> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let subject = |kind: &&dyn Kind| {
        let crd = kind.crd();
        let sample = read(&folder.join(format!("{}.yaml", crd.spec.names.plural)));
        Subject::new(&crd, kind.action(), sample)
    };
    kinds.iter().map(subject).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(sample: &str) -> Vec<Value> {
    let read = |document| serde_saphyr::from_str(document).expect("YAML");
    sample.split("\n---\n").map(read).collect()
}

/// By kind, what asks for a new version of it.
const EDITS: &[(&str, &str, &str)] = &[("ImageComponent", "content", "RUN echo another")];

impl Subject {
    fn new(crd: &CustomResourceDefinition, action: &'static str, sample: String) -> Self {
        let names = crd.spec.names.clone();
        let schema = serde_json::to_value(&crd.spec.versions[0]).expect("a CRD is JSON");
        let has_versions =
            !schema["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["versionPolicy"]
                .is_null();
        let object = documents(&sample).pop().expect("an object");
        assert_eq!(object["kind"], names.kind.as_str(), "the sample's last document");
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        Self { kind: names.kind, plural: names.plural, name, action, has_versions, sample }
    }

    /// The change of the spec that makes a new version, of which no other is to stay.
    pub fn next_version(&self) -> Value {
        let edit = EDITS.iter().find(|row| row.0 == self.kind);
        let (_, field, value) = edit.unwrap_or_else(|| panic!("what makes a new version of {}?", self.kind));
        json!({ "spec": { "versionPolicy": "Bump", "versionsToKeep": 1, "forProvider": { *field: value } } })
    }

    /// What the sample calls the thing at the vendor.
    pub fn vendor_name(&self) -> Option<String> {
        let object = documents(&self.sample).pop()?;
        let parameters = &object["spec"]["forProvider"];
        let name = ["name", "imageName", "destinationImageName"]
            .iter()
            .find_map(|field| parameters[*field].as_str());
        name.map(str::to_owned)
    }

    /// Applies the sample in a world's namespace, at its vendors, so that it has nothing in common with those of other
    /// worlds: `world_name` ends its names, `number` the ids of vendors' things that only one object may work on.
    pub async fn apply(&self, world: &World, world_name: &str, number: usize) {
        self.apply_at(world, world.vendor.addresses(), world_name, number).await;
    }

    /// The same at vendors that are reached under these addresses.
    pub async fn apply_at(&self, world: &World, addresses: Addresses, world_name: &str, number: usize) {
        for mut document in self.documents_at(addresses, world_name, number) {
            document["metadata"]["namespace"] = json!(world.namespace);
            let applied = world.try_create(document).await;
            // Samples share accounts.
            assert!(
                applied.as_ref().err().is_none_or(|error| error.contains("already exists")),
                "{applied:?}"
            );
        }
    }

    /// What [`Subject::apply_at`] applies, the object last, without a namespace.
    pub fn documents_at(&self, addresses: Addresses, world_name: &str, number: usize) -> Vec<Value> {
        let mut sample = self.sample.clone();
        for (port, address) in [
            (8801, addresses.volcengine),
            (8802, addresses.aliyun_ecs),
            (8803, addresses.batchcompute),
            (8804, addresses.zstack),
        ] {
            sample = sample.replace(&format!("http://127.0.0.1:{port}"), &format!("http://{address}"));
        }
        let mut documents = documents(&sample);
        documents.retain(|document| document["kind"] != "Namespace");
        for document in &mut documents {
            document["metadata"]["namespace"].take();
            if document["kind"] != "Secret" {
                lengthen(&mut document["metadata"]["name"], &format!("-{world_name}"));
            }
            if let Some(account) = document.pointer_mut("/spec/accountRef/name") {
                lengthen(account, &format!("-{world_name}"));
            }
            for field in ["imageId", "imagePipelineId"] {
                if let Some(id) = document.pointer_mut(&format!("/spec/forProvider/{field}")) {
                    lengthen(id, &number.to_string());
                }
            }
            // With whom an image is shared takes calls of its own, which are lost, too.
            if ["AliyunImageCopy", "ImageBuild"].map(Value::from).contains(&document["kind"]) {
                document["spec"]["forProvider"]["shareWith"] = json!(["1234567890123456"]);
            }
            if let Some(account) = document["spec"].get_mut("volcengine") {
                // A lost answer is looked for after this; the usual minute is for the vendor itself.
                account["acep"]["listDelay"] = json!("3s");
                account["ecs"]["listDelay"] = json!("3s");
                // And nothing else exports there, so that no person has to tell whose a task is.
                account["ecs"]["exportedBy"] = json!("OperatorOnly");
            }
        }
        documents
    }
}

fn lengthen(text: &mut Value, by: &str) {
    *text = json!(format!("{}{by}", text.as_str().unwrap_or_default()));
}

/// What the creating call made, by id.
pub fn made(ledger: &Ledger, action: &str) -> Vec<String> {
    let created = ledger.effects_of(action).filter(|effect| effect.change == Change::Created);
    created.map(|effect| effect.id.clone()).collect()
}

/// Whether the vendor deleted it.
pub fn deleted(ledger: &Ledger, id: &str) -> bool {
    ledger.effects.iter().any(|effect| effect.change == Change::Deleted && effect.id == id)
}

/// The calls of an undisturbed life: service and action.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// Those that made something.
    pub creating: BTreeSet<(String, String)>,
    /// Those that changed or deleted something.
    pub changing: BTreeSet<(String, String)>,
    /// Those that did neither.
    pub reading: BTreeSet<(String, String)>,
}

impl Calls {
    /// Sorts the calls by what came of them.
    pub fn read(ledger: &Ledger) -> Self {
        let mut calls = Self::default();
        for effect in &ledger.effects {
            let call = (effect.service.clone(), effect.action.clone());
            let kind =
                if effect.change == Change::Created { &mut calls.creating } else { &mut calls.changing };
            kind.insert(call);
        }
        for call in &ledger.calls {
            let call = (call.service.clone(), call.action.clone());
            if !calls.creating.contains(&call) && !calls.changing.contains(&call) {
                calls.reading.insert(call);
            }
        }
        calls
    }
}
