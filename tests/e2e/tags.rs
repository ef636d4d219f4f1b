//! Tags and remarks that a spec never named are somebody else's: cost centres, policies, notes. What it named and names no more
//! is removed.

use crate::harness::{World, aosp_image, component};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use vendor_simulator::aliyun_ecs::Component;

const KIND: &str = "ImageComponent";

fn tags<const N: usize>(tags: [(&str, &str); N]) -> BTreeMap<String, String> {
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

async fn until_looked(world: &World, kind: &str, name: &str, value: &str) {
    world.request(kind, name, value).await;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == value;
    world.until(kind, name, "it was looked at", handled).await;
}

/// The notes of the Events with this reason: all of them, since one may stand for several.
async fn notes(world: &World, name: &str, reason: &str) -> String {
    let mut notes = String::new();
    for _ in 0..300 {
        let events = world.events(name).await;
        let said = events.iter().filter(|event| event["reason"] == reason);
        notes = said.filter_map(|event| event["note"].as_str()).collect::<Vec<_>>().join("; ");
        if !notes.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    notes
}

#[tokio::test]
async fn a_tag_that_the_spec_never_named_stays_and_one_that_it_dropped_goes() {
    let world = World::new("tags").await;
    let base = json!([{ "key": "team", "value": "base" }, { "key": "stage", "value": "test" }]);
    world.create(component("tagged", json!({ "forProvider": { "tag": base } }))).await;
    let object = world.until_ready(KIND, "tagged").await;
    assert_eq!(object["status"]["managedTags"], json!(["stage", "team"]));
    assert!(world.writes("imagecomponents").len() <= 2, "{:#?}", world.writes("imagecomponents"));
    let id = object["status"]["imageId"].as_str().expect("an id").to_owned();
    let there = || world.vendor.aliyun_ecs().get(&id).expect("it is there").tags;
    world.vendor.aliyun_ecs().modify(&id, |component| {
        component.tags.insert("cost-centre".into(), "42".into());
    });
    until_looked(&world, KIND, "tagged", "1").await;
    assert_eq!(there(), tags([("cost-centre", "42"), ("team", "base"), ("stage", "test")]));

    let edge = json!([{ "key": "team", "value": "edge" }]);
    world.patch(KIND, "tagged", json!({ "spec": { "forProvider": { "tag": edge } } })).await;
    let object = world.until_ready(KIND, "tagged").await;
    assert_eq!(there(), tags([("cost-centre", "42"), ("team", "edge")]));
    assert_eq!(object["status"]["managedTags"], json!(["team"]));
    let said = notes(&world, "tagged", "Updated").await;
    assert!(said.contains("stage=test") && !said.contains("cost-centre"), "{said}");

    // Whoever sets a tag that was dropped sets his own.
    world.vendor.aliyun_ecs().modify(&id, |component| {
        component.tags.insert("stage".into(), "theirs".into());
    });
    world.patch(KIND, "tagged", json!({ "spec": { "forProvider": { "tag": null } } })).await;
    let object = world.until_ready(KIND, "tagged").await;
    assert_eq!(there(), tags([("cost-centre", "42"), ("stage", "theirs")]));
    assert!(object["status"]["managedTags"].is_null(), "{object:#}");
    until_looked(&world, KIND, "tagged", "2").await;
    assert_eq!((world.calls("TagResources"), world.calls("UntagResources")), (1, 2));
    let events = world.events("tagged").await;
    assert!(events.iter().all(|event| event["reason"] != "DriftCorrected"), "{events:#?}");
}

#[tokio::test]
async fn to_take_the_import_away_changes_nothing() {
    let world = World::new("tags-import").await;
    for (name, tag) in [("silent", json!(null)), ("speaking", json!([{ "key": "team", "value": "us" }]))] {
        let id = world.vendor.aliyun_ecs().seed(Component {
            name: name.into(),
            system_type: "Windows".into(),
            component_type: "Test".into(),
            tags: tags([("owner", "them"), ("team", "them")]),
            ..Component::default()
        });
        let spec = json!({
            "import": { "id": id },
            "forProvider": { "name": null, "componentVersion": null, "content": null, "tag": tag },
        });
        world.create(component(name, spec)).await;
        world.until_ready(KIND, name).await;
        let there = || world.vendor.aliyun_ecs().get(&id).expect("it is there").tags;
        let team = if tag.is_null() { "them" } else { "us" };
        assert_eq!(there(), tags([("owner", "them"), ("team", team)]), "{name}");

        let before = world.vendor.ledger().effects.len();
        let content = json!({ "import": null, "forProvider": { "content": "RUN true" } });
        world.patch(KIND, name, json!({ "spec": content })).await;
        world.until_ready(KIND, name).await;
        until_looked(&world, KIND, name, "look").await;
        world.until_ready(KIND, name).await;
        assert_eq!(world.vendor.ledger().effects.len(), before, "{name}");

        world.patch(KIND, name, json!({ "spec": { "forProvider": { "tag": [] } } })).await;
        world.until_ready(KIND, name).await;
        let left = if tag.is_null() {
            tags([("owner", "them"), ("team", "them")])
        } else {
            tags([("owner", "them")])
        };
        assert_eq!(there(), left, "{name}");
    }
}

/// As an operator before this list left it: only what the spec names counts as set by it.
#[tokio::test]
async fn a_status_without_the_list_makes_nothing_of_what_is_there_its_own() {
    let world = World::new("tags-before").await;
    world.create(component("old", json!({ "forProvider": { "tag": [{ "key": "team" }] } }))).await;
    let object = world.until_ready(KIND, "old").await;
    let id = object["status"]["imageId"].as_str().expect("an id");
    world.patch_status(KIND, "old", json!({ "managedTags": null })).await;
    world.patch(KIND, "old", json!({ "spec": { "forProvider": { "tag": [{ "key": "new" }] } } })).await;
    let object = world.until_ready(KIND, "old").await;
    assert_eq!(
        world.vendor.aliyun_ecs().get(id).expect("it is there").tags,
        tags([("new", ""), ("team", "")])
    );
    assert_eq!(object["status"]["managedTags"], json!(["new"]));
}

#[tokio::test]
async fn a_remark_that_the_spec_never_had_stays_and_one_that_it_dropped_goes() {
    let world = World::at_volcengine("remarks").await;
    world.run(60.0);
    world.create(aosp_image("phone", json!({}))).await;
    let object = world.until_ready("AospImage", "phone").await;
    let id = object["status"]["imageId"].as_str().expect("an id").to_owned();
    let remark = || world.vendor.volcengine().aosp_image(&id).expect("it is there").annotation;
    let marker = remark();
    let theirs = format!("{marker} theirs");
    world.vendor.volcengine().modify_aosp_image(&id, |image| image.annotation.clone_from(&theirs));
    until_looked(&world, "AospImage", "phone", "1").await;
    world.patch("AospImage", "phone", json!({ "spec": { "resyncInterval": "1h" } })).await;
    world.until_ready("AospImage", "phone").await;
    assert_eq!(remark(), theirs);

    for (wanted, is, managed) in [
        (json!("ours"), format!("{marker} ours"), json!(["imageAnnotation"])),
        (json!(null), marker.clone(), json!(null)),
    ] {
        let change = json!({ "spec": { "forProvider": { "imageAnnotation": wanted } } });
        world.patch("AospImage", "phone", change).await;
        let object = world.until_ready("AospImage", "phone").await;
        assert_eq!((remark(), &object["status"]["managedTags"]), (is, &managed), "{wanted}");
    }
    let changes = ["\"theirs\" → \"ours\"", "\"ours\" → nothing"];
    let notes = notes(&world, "phone", "Updated").await;
    assert!(changes.iter().all(|change| notes.contains(&format!("imageAnnotation: {change}"))), "{notes}");
}
