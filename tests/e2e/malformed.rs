//! One object that makes no sense is that object's condition; the others go on.

use crate::harness::{World, component};
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
