//! An API server whose connections go silent: new ones work, and the operator must not wait for the old ones.

use crate::harness::{World, component, is_ready};
use serde_json::json;
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
