//! Manifests in the documentation are what a real API server accepts.

use super::page::pages;
use crate::harness::World;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

#[tokio::test]
async fn manifests_are_accepted_as_they_stand() {
    let world = World::empty("documented").await;
    let mut tried = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            for document in block.text.split("\n---\n") {
                let object: Value = serde_saphyr::from_str(document).expect("YAML");
                // What the control plane of the tests has no kinds for is another test's: Argo CD's, Flux'.
                let ours = object["apiVersion"] == "cloudimages.dev/v1alpha1" || object["apiVersion"] == "v1";
                if !ours || object["kind"] == "Namespace" || object["kind"] == "List" {
                    continue;
                }
                let answer = apply(&world, object.clone()).await;
                assert!(
                    answer.is_ok(),
                    "{}, under {:?}: {}\n{document}",
                    page.path.display(),
                    block.under,
                    answer.unwrap_err()
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "only {tried} manifests were found");
}

async fn apply(world: &World, mut object: Value) -> Result<(), kube::Error> {
    let kind = object["kind"].as_str().expect("a kind").to_owned();
    let (group, version) = match object["apiVersion"].as_str().expect("a version").split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), object["apiVersion"].as_str().expect("a version").to_owned()),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, &version, &kind));
    let api: Api<DynamicObject> = if kind == "ClusterCloudAccount" {
        Api::all_with(world.client.clone(), &resource)
    } else {
        object["metadata"]["namespace"] = world.namespace.clone().into();
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource)
    };
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        dry_run: true,
        ..PatchParams::apply("documentation")
    };
    let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
    api.patch(&name, &params, &Patch::Apply(&object)).await.map(drop)
}
