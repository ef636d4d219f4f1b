//! What exists already is never made again and never taken silently: it is named, and taken over on request.

use crate::harness::{World, component, condition};
use serde_json::{Value, json};
use vendor_simulator::aliyun_ecs::Component;

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";

/// Adds a component behind the operator's back, and gives its id.
fn seed(world: &World, name: &str, version: &str, content: &str) -> String {
    world.vendor.aliyun_ecs().seed(Component {
        name: name.into(),
        version: version.into(),
        content: content.into(),
        ..Component::default()
    })
}

fn import(name: &str, import: Value) -> Value {
    component(
        name,
        json!({ "forProvider": { "name": null, "componentVersion": null, "content": null }, "import": import }),
    )
}

#[tokio::test]
async fn somebody_elses_component_is_named_and_can_be_taken_over() {
    let world = World::new("conflict").await;
    let same = seed(&world, "same", "1.0.0", "RUN echo hello");
    let other = seed(&world, "other", "1.0.0", "RUN something else");
    for (name, id, says) in [("same", &same, "it is the same"), ("other", &other, "it differs in content")] {
        world.create(component(name, json!({}))).await;
        let message = world.until_condition(KIND, name, "Stalled", "True", "AlreadyExists").await;
        assert!(message.contains(id.as_str()) && message.contains(says), "{message}");
        let object = world.get(KIND, name).await.expect("it is there");
        assert_eq!(object["status"]["phase"], "Failed");
        assert!(object["status"]["imageId"].is_null(), "{object:#}");
        let refused = world.vendor.ledger().calls_of(CREATE).last().cloned().expect("a call");
        assert_eq!(refused.code.as_deref(), Some("InvalidComponentVersion.Exist"));
        assert!(message.contains(&refused.request_id), "{message}");
    }
    let attempts = world.calls(CREATE);

    world.patch(KIND, "same", json!({ "spec": { "import": { "id": same } } })).await;
    let taken = world.until_ready(KIND, "same").await;
    assert_eq!(taken["status"]["imageId"], same.as_str());
    assert_eq!(taken["status"]["operation"]["action"], "Import");

    world.patch(KIND, "other", json!({ "spec": { "import": { "id": other } } })).await;
    let message = world.until_condition(KIND, "other", "Stalled", "True", "SpecDiffers").await;
    assert!(message.contains("content"), "{message}");

    assert_eq!((world.calls(CREATE), world.effects(CREATE)), (attempts, 0));

    // A Failed object has made nothing, so its deletion deletes nothing.
    seed(&world, "third", "1.0.0", "RUN echo hello");
    world.create(component("third", json!({}))).await;
    world.until_condition(KIND, "third", "Stalled", "True", "AlreadyExists").await;
    world.delete(KIND, "third").await;
    world.until_gone(KIND, "third").await;
    assert_eq!((world.calls("DeleteImageComponent"), world.vendor.aliyun_ecs().count()), (0, 3));
}

#[tokio::test]
async fn an_id_is_imported() {
    let world = World::new("import-id").await;
    let id = seed(&world, "old", "3.1.4", "RUN echo old");
    let mut mine = import("mine", json!({ "id": id }));
    mine["spec"]["deletionPolicy"] = json!("Delete");
    world.create(mine).await;
    let mine = world.until_ready(KIND, "mine").await;
    assert_eq!(mine["status"]["imageId"], id.as_str());
    assert_eq!(mine["status"]["atProvider"]["componentVersion"], "3.1.4");
    assert_eq!(world.calls(CREATE), 0);

    world.create(import("wrong", json!({ "id": "ic-doesnotexist" }))).await;
    let message = world.until_condition(KIND, "wrong", "Ready", "False", "ImportNotFound").await;
    assert!(message.contains("ic-doesnotexist"), "{message}");

    // Imported, managed, and to be deleted: it goes with its object.
    world.delete(KIND, "mine").await;
    world.until_gone(KIND, "mine").await;
    assert!(world.vendor.aliyun_ecs().get(&id).is_none());
    world.delete(KIND, "wrong").await;
    world.until_gone(KIND, "wrong").await;
}

#[tokio::test]
async fn a_match_imports_exactly_one() {
    let world = World::new("import-match").await;
    let one = seed(&world, "one", "1.0.0", "RUN echo one");
    let several = ["1.0.0", "2.0.0"].map(|version| seed(&world, "several", version, "RUN echo several"));

    world.create(import("one", json!({ "match": { "name": "one" } }))).await;
    let object = world.until_ready(KIND, "one").await;
    assert_eq!(object["status"]["imageId"], one.as_str());

    world.create(import("several", json!({ "match": { "name": "several" } }))).await;
    let message = world.until_condition(KIND, "several", "Stalled", "True", "ImportAmbiguous").await;
    assert!(several.iter().all(|id| message.contains(id.as_str())), "{message}");
    let narrow = json!({ "spec": { "import": { "match": { "componentVersion": "2.0.0" } } } });
    world.patch(KIND, "several", narrow).await;
    let object = world.until_ready(KIND, "several").await;
    assert_eq!(object["status"]["imageId"], several[1].as_str());

    world.create(import("none", json!({ "match": { "name": "none" } }))).await;
    world.until_condition(KIND, "none", "Ready", "False", "ImportNotFound").await;
    let waiting = world.get(KIND, "none").await.expect("it is there");
    assert_eq!(condition(&waiting, "Stalled")["status"], "False", "it may come");
    let late = seed(&world, "none", "1.0.0", "RUN echo late");
    world.request(KIND, "none", "now").await;
    let object = world.until_ready(KIND, "none").await;
    assert_eq!(object["status"]["imageId"], late.as_str());

    assert_eq!(world.calls(CREATE), 0);
}

/// Two who manage one thing would delete it under each other's hands.
#[tokio::test]
async fn what_another_object_manages_is_not_imported() {
    let world = World::new("import-held").await;
    world.create(component("owner", json!({}))).await;
    let owner = world.until_ready(KIND, "owner").await;
    let id = &owner["status"]["imageId"];

    let mut observer = import("observer", json!({ "id": id }));
    observer["spec"]["managementPolicy"] = json!("Observe");
    world.create(observer).await;
    world.until_ready(KIND, "observer").await;
    world.create(import("second", json!({ "id": id }))).await;
    let message = world.until_condition(KIND, "second", "Ready", "False", "HeldByOther").await;
    assert!(message.contains(id.as_str().expect("an id")), "{message}");
    world.delete(KIND, "second").await;
    world.until_gone(KIND, "second").await;

    // Who observes it and wants to manage it waits as well, and not until its next resync.
    world.patch(KIND, "observer", json!({ "spec": { "managementPolicy": "Managed" } })).await;
    world.until_condition(KIND, "observer", "Ready", "False", "HeldByOther").await;
    world.patch(KIND, "owner", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.delete(KIND, "owner").await;
    let observer = world.until_ready(KIND, "observer").await;
    assert_eq!(observer["metadata"]["finalizers"], json!(["cloudimages.dev/external"]));
    assert_eq!((world.calls("DeleteImageComponent"), world.vendor.aliyun_ecs().count()), (0, 1));
}
