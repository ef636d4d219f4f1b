//! One object that makes no sense is that object's condition; the others go on.

use crate::harness::{World, component, condition};
use serde_json::json;

const KIND: &str = "ImageComponent";

#[tokio::test]
async fn a_status_that_makes_no_sense_is_said_on_the_object() {
    let mut world = World::new("malformed").await;
    world.create(component("broken", json!({}))).await;
    let ready = world.until_ready(KIND, "broken").await;
    world.stop_operator().await;
    // As a restore of a backup or a hand with good intentions may leave it.
    world.patch_status(KIND, "broken", json!({ "imageId": null, "conditions": null })).await;
    world.start_operator().await;

    world.create(component("other", json!({}))).await;
    world.until_ready(KIND, "other").await;
    let message = world.until_condition(KIND, "broken", "Stalled", "True", "InvalidStatus").await;
    assert!(message.contains("imageId") && message.contains("status.operation"), "{message}");
    assert_eq!(world.effects("CreateImageComponent"), 2, "nothing is made on a guess");

    // As the message says.
    world.patch_status(KIND, "broken", json!({ "imageId": ready["status"]["imageId"] })).await;
    world.request(KIND, "broken", "repaired").await;
    world.until_ready(KIND, "broken").await;
    assert_eq!(world.effects("CreateImageComponent"), 2);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_said_on_the_object() {
    let world = World::new("unreadable").await;
    world.create(component("before", json!({}))).await;
    world.until_ready(KIND, "before").await;
    world.create(component("unreadable", json!({}))).await;
    world.until_ready(KIND, "unreadable").await;
    // Inside the schema, and outside of what the operator can take.
    let operation = json!({ "attempt": 5_000_000_000_u64 });
    world.patch_status(KIND, "unreadable", json!({ "operation": operation })).await;
    world.request(KIND, "unreadable", "now").await;
    let message = world.until_condition(KIND, "unreadable", "Stalled", "True", "InvalidObject").await;
    assert!(message.contains("5000000000"), "{message}");

    world.create(component("after", json!({}))).await;
    world.until_ready(KIND, "after").await;
    let before = world.get(KIND, "before").await.expect("it is there");
    assert_eq!(condition(&before, "Ready")["status"], "True");

    // Nobody knows what to delete, so it waits for a person, who is told how.
    assert!(message.contains("finalizer cloudimages.dev/external"), "{message}");
    world.delete(KIND, "unreadable").await;
    world.patch(KIND, "unreadable", json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone(KIND, "unreadable").await;
    assert_eq!((world.calls("DeleteImageComponent"), world.vendor.aliyun_ecs().count()), (0, 3));
}
