//! To suspend is no failure, whatever was before.

use super::situations::phases;
use crate::harness::{World, condition};
use serde_json::json;

#[tokio::test]
async fn what_is_suspended_is_never_stalled() {
    let mut world = World::empty("suspended").await;
    let suspended = json!({ "spec": { "suspend": true } });
    let mut stored = vec![];
    for phase in phases() {
        stored.extend(phase.store(&world, &suspended).await);
    }
    for phase in phases().into_iter().filter(|phase| phase.name == "unclear") {
        let mut change = suspended.clone();
        change["metadata"] =
            json!({ "name": "answered", "annotations": { "cloudimages.dev/outcome": "nonsense" } });
        stored.extend(phase.renamed("answered").store(&world, &change).await);
    }
    for phase in phases().into_iter().filter(|phase| phase.name == "building") {
        for object in phase.renamed("garbled").store(&world, &suspended).await {
            let (kind, nothing) =
                (object["kind"].as_str().expect("a kind"), json!({ "imageId": null, "taskId": null }));
            stored.push(world.patch_status(kind, "garbled", nothing).await);
        }
    }
    world.start_operator().await;
    for object in &stored {
        let (kind, name) =
            (object["kind"].as_str().expect("a kind"), object["metadata"]["name"].as_str().expect("a name"));
        let (status, reason) = if name == "ready" { ("True", "Available") } else { ("False", "Suspended") };
        world.until_condition(kind, name, "Ready", status, reason).await;
        let object = world.get(kind, name).await.expect("it is there");
        for type_ in ["Reconciling", "Stalled"] {
            assert_eq!(condition(&object, type_)["status"], "False", "{type_}: {object:#}");
        }
    }
    assert!(world.vendor.ledger().calls.is_empty(), "{:#?}", world.call_log());

    // What is wrong shows as soon as it is to go on.
    for object in stored.iter().filter(|object| object["metadata"]["name"] == "garbled") {
        let kind = object["kind"].as_str().expect("a kind");
        world.patch(kind, "garbled", json!({ "spec": { "suspend": false } })).await;
        world.until_condition(kind, "garbled", "Stalled", "True", "InvalidStatus").await;
    }
}
