//! Events about objects whose names leave no room for what Events' names add.

use crate::harness::{World, component};
use serde_json::json;

#[tokio::test]
async fn an_object_with_the_longest_name_gets_its_events() {
    let world = World::new("long-names").await;
    // The 236th character is a dot, which an Event's name cannot go on from.
    let name = format!("{}.{}", "a".repeat(235), "b".repeat(17));
    assert_eq!(name.len(), 253);
    world.create(component(&name, json!({ "forProvider": { "name": "long" } }))).await;
    world.until_ready("ImageComponent", &name).await;
    let events = world.until_events(&name, 1).await;
    assert_eq!(events[0]["reason"], "Ready");
    assert_eq!(events[0]["reportingController"], "cloud-image-operator");
    let named = events[0]["metadata"]["name"].as_str().unwrap();
    assert!(named.starts_with(&"a".repeat(235)) && named.len() <= 253, "{named}");
}
