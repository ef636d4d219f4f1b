//! Images move to another cluster as `docs/backup.md` says it, step by step: the vendor keeps each as it is.

use crate::harness::{World, account_at, image_of, is_ready};
use cloud_image_operator::kinds::KINDS;
use serde_json::{Value, json};
use std::time::Duration;

fn kinds() -> impl Iterator<Item = String> {
    KINDS.iter().map(|kind| kind.ties().kind)
}

pub fn object(kind: &str, import: Option<Value>) -> Value {
    let mut object = image_of(kind, &kind.to_lowercase());
    object["spec"]["accountRef"] = json!({ "name": kind.to_lowercase() });
    if let Some(import) = import {
        object["spec"]["import"] = import;
    }
    object
}

/// By what it is imported: an export has no image.
fn id(kind: &str, object: &Value) -> Value {
    let id = if kind == "ImageExport" { &object["status"]["taskId"] } else { &object["status"]["imageId"] };
    assert!(id.is_string(), "{object:#}");
    id.clone()
}

/// A cluster whose accounts are at these vendors.
pub async fn cluster(name: &str, vendors: &World) -> World {
    let mut world = World::empty(name).await;
    world.beat = Duration::from_secs(1);
    for kind in kinds() {
        for object in account_at(&kind, &kind.to_lowercase(), vendors.vendor.addresses()) {
            world.create(object).await;
        }
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_move_to_another_cluster_and_the_vendor_keeps_them_as_they_are() {
    let vendors = World::empty("moving-vendors").await;
    vendors.quicken();
    let endpoints = vendors.endpoints();
    let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
    let mut old = cluster("moving-old", &vendors).await;
    old.start_operator_with(&[], &endpoints).await;
    for kind in kinds() {
        old.create(object(&kind, None)).await;
    }
    let mut imports = vec![];
    for kind in kinds() {
        let object = old.until_ready(&kind, &kind.to_lowercase()).await;
        imports.push(json!({ "id": id(&kind, &object), "madeFor": object["metadata"]["uid"] }));
    }
    let effects = vendors.vendor.ledger().effects;
    let are_left_alone = || assert_eq!(vendors.vendor.ledger().effects, effects, "{:#?}", vendors.call_log());

    // In the old cluster `deletionPolicy: Retain`, and no operator.
    for kind in kinds() {
        old.patch(&kind, &kind.to_lowercase(), json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    }
    old.stop_operator().await;

    // In the new one they have `import.id`, and say for which object of the old one the image was made.
    let mut new = cluster("moving-new", &vendors).await;
    new.start_operator_with(&[], &endpoints).await;
    for (kind, import) in kinds().zip(&imports) {
        new.create(object(&kind, Some(import.clone()))).await;
    }
    for (kind, import) in kinds().zip(&imports) {
        assert_eq!(id(&kind, &new.until_ready(&kind, &kind.to_lowercase()).await), import["id"], "{kind}");
    }
    are_left_alone();

    // They are deleted in the old one.
    old.start_operator_with(&[], &endpoints).await;
    for kind in kinds() {
        old.delete(&kind, &kind.to_lowercase()).await;
    }
    for kind in kinds() {
        old.until_gone(&kind, &kind.to_lowercase()).await;
    }
    are_left_alone();
    for kind in kinds() {
        let name = kind.to_lowercase();
        new.request(&kind, &name, "look").await;
        let has_looked =
            |object: &Value| is_ready(object) && object["status"]["lastHandledReconcileAt"] == "look";
        new.until(&kind, &name, "the vendor has it still", has_looked).await;
    }
    are_left_alone();
}
