//! What the API server accepts, the operator reads: generated from every field of every CRD, with values at and around every
//! bound, pattern and format.

use super::ask::{create, create_only, patch_status};
use crate::{
    harness::World,
    schema::{fields, placed},
};
use cloud_image_operator::{
    account::{CloudAccount, ClusterCloudAccount},
    distribution::ImageDistribution,
    kinds::{self, KINDS},
};
use futures::{StreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use rand::{SeedableRng, rngs::StdRng};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// Of so many, `plan` is asked about one: it takes milliseconds of each, and there are thousands.
const PLANNED: usize = 13;

/// How many requests are under way at once.
const AT_ONCE: usize = 16;
fn read(kind: &str, object: &Value) -> Result<(), String> {
    match kind {
        "CloudAccount" => CloudAccount::deserialize(object).map(drop).map_err(|error| error.to_string()),
        "ClusterCloudAccount" => {
            ClusterCloudAccount::deserialize(object).map(drop).map_err(|error| error.to_string())
        }
        "ImageDistribution" => {
            ImageDistribution::deserialize(object).map(drop).map_err(|error| error.to_string())
        }
        _ => KINDS.iter().find(|of| of.crd().spec.names.kind == kind).expect("a kind").read(object),
    }
}

/// Texts that rules ask for where the schema alone takes any.
const RULED: &[&str] = &["fadea0efc22e4e6fa43f537f1af6ee6b", "https://b.tos-cn-beijing.volces.com/a", "abc"];

/// Fields that are accepted only with others beside them, which have tests of their own, or are kept for later.
const NEED_OTHERS: &[&str] = &[
    "spec.forProvider.imageUrlInfo",
    "spec.forProvider.imageRef",
    "spec.forProvider.ecsImageRef",
    "spec.forProvider.pipelineRef",
    "spec.forProvider.baseImageRef",
    "spec.forProvider.importImageOptions",
    "spec.forProvider.repairItem",
    "spec.forProvider.build.0.component",
    "spec.forProvider.test.0.component",
    "spec.import.match",
    "spec.import.madeFor",
];

/// Objects that are accepted, with as many fields as go together.
fn bases(crd: &CustomResourceDefinition) -> Vec<Value> {
    let kind = &crd.spec.names.kind;
    let secret = match kind.as_str() {
        "CloudAccount" => json!({ "name": "s" }),
        "ClusterCloudAccount" => json!({ "name": "s", "namespace": "n" }),
        _ => {
            let path =
                format!("{0}/deploy/samples/{1}/{1}.yaml", env!("CARGO_MANIFEST_DIR"), crd.spec.names.plural);
            let text = fs::read_to_string(Path::new(&path)).expect("a sample");
            let sample = text.split("\n---\n").last().expect("a document");
            let mut sample: Value = serde_saphyr::from_str(sample).expect("YAML");
            sample["metadata"]["namespace"] = Value::Null;
            // What is encrypted with the vendor's own key cannot be shared.
            for region in sample["spec"]["regions"].as_array_mut().into_iter().flatten() {
                region.as_object_mut().expect("a region").remove("encrypted");
            }
            return vec![sample];
        }
    };
    [
        json!({ "volcengine": { "region": "r", "credentialsSecretRef": secret } }),
        json!({ "aliyun": { "regionId": "r", "credentialsSecretRef": secret } }),
        json!({ "zstack": { "endpoint": "http://a", "credentialsSecretRef": secret } }),
    ]
    .map(|spec| json!({ "apiVersion": "cloudimages.dev/v1alpha1", "kind": kind, "metadata": { "name": "a" }, "spec": spec }))
    .into()
}

/// What people write, and what the operator writes, in a test each: both take one processor long.
#[tokio::test]
async fn what_the_api_server_accepts_in_a_spec_can_be_read() {
    what_is_accepted_can_be_read("spec", 2000).await;
}

#[tokio::test]
async fn what_the_api_server_accepts_in_a_status_can_be_read() {
    what_is_accepted_can_be_read("status", 2000).await;
}

/// Of this part of all objects, of whose values at least so many must be accepted.
async fn what_is_accepted_can_be_read(part: &str, least: usize) {
    let world = World::empty(&format!("readable-{part}")).await;
    let mut random = StdRng::seed_from_u64(7);
    let (mut unread, mut never, mut count) = (vec![], vec![], 0);
    for crd in kinds::crds(KINDS) {
        let kind = crd.spec.names.kind.clone();
        let json = serde_json::to_value(&crd).expect("a CRD is JSON");
        let schema = &json["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let bases = bases(&crd);
        // Accounts of the cluster are all tests': the names of their worlds tell them apart.
        let mut stored = bases[0].clone();
        stored["metadata"]["name"] = json!(world.namespace);
        let stored = world.create(stored).await;
        let mut found = vec![];
        fields(part, &schema["properties"][part], &mut random, &mut found);
        let base = |path: &str| {
            // An account of the vendor that the field is about.
            let about =
                |base: &&Value| path.split('.').nth(1).is_some_and(|name| !base["spec"][name].is_null());
            let base = if part == "spec" { bases.iter().find(about).unwrap_or(&bases[0]) } else { &stored };
            let mut base = base.clone();
            if part == "spec" {
                // The name of the one that is stored is taken.
                base["metadata"]["name"] = json!("another");
            }
            base
        };
        for (path, values) in &mut found {
            // What the sample has there, and what rules ask for that no schema tells.
            let theirs = path
                .split('.')
                .try_fold(&base(path), |place, step| {
                    step.parse().map_or_else(|_| place.get(step), |at: usize| place.get(at)).ok_or(())
                })
                .ok()
                .cloned();
            values.extend(theirs);
            values.extend(RULED.iter().map(|text| json!(text)));
        }
        let tries = found.iter().flat_map(|(path, values)| {
            let base = base(path);
            values.iter().map(move |value| (path.clone(), placed(&base, schema, path, value)))
        });
        let answers = stream::iter(tries).enumerate().map(|(place, (path, object))| {
            let world = &world;
            async move {
                let answer = match part {
                    "spec" if place % PLANNED == 0 => create(world, &object).await,
                    "spec" => create_only(world, &object).await,
                    _ => patch_status(world, &object).await,
                };
                (path, object, answer)
            }
        });
        let mut accepted: BTreeMap<_, _> = found.iter().map(|(path, _)| (path.clone(), 0)).collect();
        for (path, object, answer) in answers.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
            let Ok(stored) = answer else { continue };
            count += 1;
            *accepted.entry(path.clone()).or_default() += 1;
            if let Err(error) = read(&kind, &stored) {
                unread.push(format!("{kind} {path}: {error}: {}", object[part]));
            }
        }
        never.extend(
            accepted
                .into_iter()
                .filter(|(path, count)| {
                    *count == 0 && !NEED_OTHERS.iter().any(|start| path.starts_with(start))
                })
                .map(|(path, _)| format!("{kind} {path}")),
        );
        world.delete(&kind, stored["metadata"]["name"].as_str().expect("a name")).await;
    }
    assert!(unread.is_empty(), "accepted and cannot be read:\n{}", unread.join("\n"));
    assert!(
        never.is_empty(),
        "no value was accepted, so that nothing was tested, for:\n{}",
        never.join("\n")
    );
    assert!(count > least, "{count} accepted");
}
