//! A whole life: what is applied becomes Ready with little said and written, changes in place, and leaves nothing.

use crate::harness::{World, component, condition};
use serde_json::json;
use std::collections::BTreeMap;

const KIND: &str = "ImageComponent";

#[tokio::test]
async fn an_object_becomes_ready_changes_in_place_and_is_deleted() {
    let world = World::new("life").await;
    let spec = json!({ "forProvider": {
        "description": "Says hello.",
        "tag": [{ "key": "team", "value": "base" }, { "key": "stage", "value": "test" }],
    } });
    let created = world.create(component("hello", spec)).await;
    assert_eq!(created["status"]["observedGeneration"], -1, "kstatus must not take it for done");

    let hello = world.until_ready(KIND, "hello").await;
    let [made] = world.vendor.aliyun_ecs().components().try_into().expect("one component");
    let status = &hello["status"];
    assert_eq!(status["imageId"], made.id.as_str());
    assert_eq!(status["phase"], "Ready");
    assert_eq!((made.name.as_str(), made.version.as_str()), ("hello", "1.0.0"));

    let uid = hello["metadata"]["uid"].as_str().expect("a uid");
    let effect = &world.vendor.ledger().effects[0];
    let operation = &status["operation"];
    assert_eq!(operation["action"], "CreateImageComponent");
    assert_eq!(operation["attempt"], 1);
    assert_eq!(operation["state"], "Succeeded");
    assert_eq!(operation["token"].as_str(), effect.token.as_deref());
    assert!(operation["token"].as_str().is_some_and(|token| token.starts_with(uid)), "{operation}");
    let call = world.vendor.ledger().calls_of("CreateImageComponent").next().cloned().expect("a call");
    assert_eq!(operation["requestId"], call.request_id);
    assert_eq!(status["atProvider"]["imageComponentId"], made.id.as_str());
    assert_eq!(status["atProvider"]["componentVersion"], "1.0.0");

    assert_eq!(status["conditions"].as_array().map(Vec::len), Some(3));
    for (type_, expected) in [("Ready", "True"), ("Reconciling", "False"), ("Stalled", "False")] {
        let condition = condition(&hello, type_);
        assert_eq!(condition["status"], expected, "{type_}");
        assert_eq!(condition["observedGeneration"], hello["metadata"]["generation"], "{type_}");
        assert!(condition["message"].as_str().is_some_and(|message| !message.is_empty()), "{type_}");
    }
    assert_eq!(hello["metadata"]["finalizers"], json!(["cloudimages.dev/external"]));

    let [event] = world.until_events("hello", 1).await.try_into().expect("one Event");
    assert_eq!((&event["type"], &event["reason"]), (&json!("Normal"), &json!("Ready")));
    assert_eq!(event["reportingController"], "cloud-image-operator");
    assert!(event["note"].as_str().is_some_and(|note| note.contains(&made.id)), "{event}");
    assert!(world.writes("imagecomponents").len() <= 3, "{:#?}", world.writes("imagecomponents"));

    changes_in_place(&world, &made.id).await;

    world.delete(KIND, "hello").await;
    world.until_gone(KIND, "hello").await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
    assert_eq!(world.effects("DeleteImageComponent"), 1);
    assert_eq!(world.effects("CreateImageComponent"), 1);
    let [_, _, released] = world.until_events("hello", 3).await.try_into().expect("three Events");
    assert_eq!(released["reason"], "Released");
}

async fn changes_in_place(world: &World, id: &str) {
    let before = world.writes("imagecomponents").len();
    let group = "rg-bp67acfmxazb4p02";
    let tags = json!([{ "key": "team", "value": "edge" }, { "key": "new" }]);
    let wanted = json!({ "spec": { "forProvider": { "resourceGroupId": group, "tag": tags } } });
    world.patch(KIND, "hello", wanted).await;
    let hello = world.until_ready(KIND, "hello").await;

    let made = world.vendor.aliyun_ecs().get(id).expect("it is the same component");
    let tags = [("team", "edge"), ("new", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(made.tags, BTreeMap::from(tags));
    assert_eq!(made.resource_group_id, group);
    assert_eq!(hello["status"]["imageId"], id);
    assert_eq!(hello["status"]["atProvider"]["resourceGroupId"], group);
    for action in ["TagResources", "UntagResources", "JoinResourceGroup"] {
        assert_eq!(world.calls(action), 1, "{action}");
    }
    world.until_true("a write is recorded", || world.writes("imagecomponents").len() > before).await;
    let writes = world.writes("imagecomponents").split_off(before);
    // A key that is new in the spec is written down before the vendor is asked to set it.
    assert_eq!(writes.len(), 2, "{writes:#?}");
    let [_, updated] = world.until_events("hello", 2).await.try_into().expect("two Events");
    assert_eq!((&updated["type"], &updated["reason"]), (&json!("Normal"), &json!("Updated")));
    let note = updated["note"].as_str().unwrap_or_default();
    assert!(note.contains("resourceGroupId") && note.contains("team=edge"), "{note}");
}

/// What a user who looks for trouble would apply first.
#[tokio::test]
async fn two_formats_and_no_name_at_all_become_ready() {
    let world = World::new("life-formats").await;
    let yaml = "Tasks:\n  - Name: HelloWorld\n    Action: RunShellCommand\n    Properties: {commandContent: echo hello}\n";
    world.create(component("yaml", json!({ "forProvider": { "content": yaml } }))).await;
    world
        .create(component("nameless", json!({ "forProvider": { "name": null, "componentVersion": null } })))
        .await;
    world.create(component("chinese", json!({ "forProvider": { "name": "组件:一_a.b-c" } }))).await;
    for name in ["yaml", "nameless", "chinese"] {
        world.until_ready(KIND, name).await;
    }
    let nameless = world.get(KIND, "nameless").await.expect("it is there");
    assert_eq!(nameless["status"]["atProvider"]["name"], nameless["status"]["imageId"]);
    assert_eq!(nameless["status"]["atProvider"]["componentVersion"], "1.0.0");
}
