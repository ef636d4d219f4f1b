//! Every manifest that is rendered, stored or shipped fits the schema of its kind, by kubeconform: those of Kubernetes as
//! the control plane publishes them, ours, Flux' and the Prometheus operator's as their CRDs have them.

use super::{
    helm::{Helm, objects, run},
    rendered::{ALL, ALONE, SIMULATOR},
};
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// JSON schemas in a folder, each named as kubeconform asks for it.
struct Schemas(TempDir);

impl Schemas {
    fn of(openapi: &str) -> Self {
        let schemas = Self(tempfile::tempdir().expect("a temporary folder"));
        schemas.of_kubernetes(openapi);
        let root = xtask::workspace::root();
        let mut crds = files(&root.join("crds"));
        crds.push(xtask::tools::kustomization_crd().expect("Flux' CRD"));
        crds.extend(xtask::tools::prometheus_crds().expect("the CRDs of the Prometheus operator"));
        for crd in crds {
            for crd in read(&crd) {
                schemas.of_crd(&crd);
            }
        }
        schemas
    }

    /// Of the kinds that an API server has by itself, out of its `/openapi/v2`.
    fn of_kubernetes(&self, openapi: &str) {
        let mut openapi: Value = serde_json::from_str(openapi).expect("JSON");
        let definitions = openapi["definitions"].as_object_mut().expect("definitions");
        definitions.retain(|name, _| !name.starts_with("dev.cloudimages."));
        // What the published types say less of than is true.
        for (name, definition) in definitions.iter_mut() {
            if name.ends_with(".Quantity") || name.ends_with(".IntOrString") {
                *definition = json!({ "type": ["string", "number"] });
            }
            close(definition);
        }
        let text = json!({ "definitions": definitions }).to_string();
        fs::write(self.0.path().join("_definitions.json"), text).expect("a file");
        for (name, definition) in definitions.iter() {
            for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                let word = |field: &str| kind[field].as_str().unwrap_or_default();
                let reference = json!({ "$ref": format!("_definitions.json#/definitions/{name}") });
                self.put(word("group"), word("version"), word("kind"), &reference);
            }
        }
    }

    fn of_crd(&self, crd: &Value) {
        let spec = &crd["spec"];
        let word = |value: &Value| value.as_str().expect("a text").to_owned();
        for version in spec["versions"].as_array().expect("versions") {
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            let known = schema["properties"].as_object_mut().expect("properties");
            for (field, type_) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
                known.insert(field.to_owned(), json!({ "type": type_ }));
            }
            close(&mut schema);
            self.put(&word(&spec["group"]), &word(&version["name"]), &word(&spec["names"]["kind"]), &schema);
        }
    }

    fn put(&self, group: &str, version: &str, kind: &str, schema: &Value) {
        let group = group.split('.').next().filter(|group| !group.is_empty());
        let group = group.map(|group| format!("-{group}")).unwrap_or_default();
        let name = format!("{}{group}-{version}.json", kind.to_lowercase());
        fs::write(self.0.path().join(name), schema.to_string()).expect("a file");
    }

    /// What kubeconform finds in a file or below a folder: what is valid, by kind and name, and what is not, with the reason.
    fn check(&self, path: &Path) -> (Vec<String>, Vec<String>) {
        let location = self.0.path().join("{{.ResourceKind}}{{.KindSuffix}}.json");
        let mut command = Command::new(xtask::tools::kubeconform().expect("kubeconform can be built"));
        command.args(["-strict", "-verbose", "-output=json", "-ignore-filename-pattern=kustomization.yaml$"]);
        command.arg(format!("-schema-location={}", location.display())).arg(path);
        let said = run(&mut command).unwrap_or_else(|said| said);
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let (mut valid, mut wrong) = (vec![], vec![]);
        for resource in said["resources"].as_array().expect("resources") {
            let word = |field: &str| resource[field].as_str().unwrap_or_default();
            let line = format!("{} {}: {}", word("kind"), word("name"), word("msg"));
            match word("status") {
                "statusValid" => valid.push(line),
                // A document without anything in it, such as a comment at the head of a file.
                "" | "statusEmpty" if word("kind").is_empty() && word("msg").is_empty() => {}
                _ => wrong.push(line),
            }
        }
        (valid, wrong)
    }

    fn check_objects(&self, objects: &[Value]) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("objects.yaml");
        let documents: Vec<_> = objects.iter().map(Value::to_string).collect();
        fs::write(&file, documents.join("\n---\n")).expect("a file");
        self.check(&file)
    }
}

/// OpenAPI's words in those of JSON Schema, and no field that is not named.
fn close(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    for field in ["properties", "definitions"] {
        map.get_mut(field)
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
            .for_each(|(_, value)| close(value));
    }
    for field in ["items", "additionalProperties", "not"] {
        map.get_mut(field).into_iter().for_each(close);
    }
    let is = |map: &Map<String, Value>, field: &str| map.get(field) == Some(&json!(true));
    if is(map, "x-kubernetes-int-or-string") || map.get("format") == Some(&json!("int-or-string")) {
        map.insert("type".into(), json!(["string", "integer"]));
    }
    if let (true, Some(type_)) = (is(map, "nullable"), map.get("type").cloned()) {
        map.insert("type".into(), json!([type_, "null"]));
        if let Some(Value::Array(values)) = map.get_mut("enum") {
            values.push(Value::Null);
        }
    }
    let open = is(map, "x-kubernetes-preserve-unknown-fields") || map.contains_key("additionalProperties");
    if map.contains_key("properties") && !open {
        map.insert("additionalProperties".into(), json!(false));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn read(file: &Path) -> Vec<Value> {
    objects(&fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

#[test]
fn every_manifest_fits_the_schema_of_its_kind() {
    let openapi = super::kubectl().run(["get", "--raw", "/openapi/v2"]).expect("the API server's types");
    let schemas = Schemas::of(&openapi);
    let [_, helm] = Helm::both_alone();
    for values in [&[][..], ALL, SIMULATOR, ALONE] {
        let rendered = helm.template(values);
        let (valid, wrong) = schemas.check_objects(&rendered);
        assert_eq!(wrong, Vec::<String>::new(), "{values:?}");
        assert_eq!(valid.len(), rendered.len(), "{values:?}: {valid:#?}");
    }
    let root = xtask::workspace::root();
    for (folder, expected) in [("crds", 7), ("deploy", 7 + 7 + 15)] {
        let (valid, wrong) = schemas.check(&root.join(folder));
        assert_eq!(wrong, Vec::<String>::new(), "{folder}");
        assert!(valid.len() >= expected, "{folder}: {valid:#?}");
    }

    // It would find a mistake in each sort of them.
    let all = helm.template(ALL);
    let object = |objects: &[Value], kind: &str| {
        objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}")).clone()
    };
    let component =
        object(&read(&root.join("deploy/samples/imagecomponents/imagecomponents.yaml")), "ImageComponent");
    let flux = object(&read(&root.join("deploy/flux/images.yaml")), "Kustomization");
    for (mut object, pointer, value) in [
        (object(&all, "Deployment"), "/spec/replica", json!(1)),
        (object(&all, "Deployment"), "/spec/replicas", json!("one")),
        (object(&all, "ServiceMonitor"), "/spec/endpoint", json!([])),
        (object(&all, "ServiceMonitor"), "/spec/endpoints", json!({})),
        (object(&all, "PrometheusRule"), "/spec/groups/0/rules/0/alerts", json!("typo")),
        (object(&all, "CustomResourceDefinition"), "/spec/scope", json!(7)),
        (component.clone(), "/spec/forProvider/nam", json!("typo")),
        (component, "/spec/suspend", json!("no")),
        (flux, "/spec/wait", json!("yes")),
    ] {
        let (parent, field) = pointer.rsplit_once('/').expect("a path");
        object.pointer_mut(parent).unwrap_or_else(|| panic!("{parent}"))[field] = value;
        let (_, wrong) = schemas.check_objects(&[object]);
        assert_eq!(wrong.len(), 1, "{pointer} is wrong, and nobody says so");
    }
}
