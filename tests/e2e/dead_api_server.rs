//! An API server whose connections go silent: new ones work, and the operator must not wait for the old ones.

use crate::harness::{World, component, is_ready};
use cloud_image_operator::engine::pace;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const KIND: &str = "ImageComponent";

/// As behind a load balancer that lost its server: what is sent is acknowledged, and never answered.
#[tokio::test]
async fn silent_connections_are_left_within_a_minute() {
    let mut world = World::with_account("silent").await;
    let proxy = world.start_operator_behind_a_proxy().await;
    for name in ["one", "two", "three"] {
        world.create(component(name, json!({}))).await;
        world.until_ready(KIND, name).await;
    }
    proxy.silence();
    let since = Instant::now();
    world.create(component("later", json!({}))).await;
    world.delete(KIND, "one").await;
    world.until(KIND, "later", "it is Ready", is_ready).await;
    world.until_gone(KIND, "one").await;
    assert!(proxy.silenced() > 0, "there were connections");
    // The deadlines leave room within the minute for a machine that is busy.
    assert!(since.elapsed() < Duration::from_secs(60), "{:?}", since.elapsed());
    assert_eq!(world.effects("CreateImageComponent"), 4);
}

/// While it was on the way, another replica may have taken over and found out that nothing was made.
#[tokio::test]
async fn a_permit_that_took_long_is_not_used() {
    let mut world = World::with_account("late-permit").await;
    world.start_slow_operator(pace::PERMIT_AGE + Duration::from_secs(1)).await;
    world.create(component("late", json!({}))).await;
    let not_done = |object: &Value| object["status"]["operation"]["state"] == "NotDone";
    let object = world.until(KIND, "late", "the call was not made", not_done).await;
    assert_eq!(
        object["metadata"]["finalizers"],
        json!(["cloudimages.dev/external"]),
        "the intent was stored"
    );
    // Later intents are in the status, whose writes are quick.
    world.until_ready(KIND, "late").await;
    assert_eq!((world.calls("CreateImageComponent"), world.effects("CreateImageComponent")), (1, 1));
}
