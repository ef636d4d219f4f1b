//! `versionPolicy: Bump`: content that is edited makes a new version, with a number that nobody used; the one before is never
//! lost, and never deleted while it is in use; all go with the object, but what it took over.

use crate::harness::{World, component, condition, is_ready};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, aliyun_ecs::Component};

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";
const DELETE: &str = "DeleteImageComponent";
const LOOK: &str = "DescribeImageComponents";

fn bumping(name: &str, more: Value) -> Value {
    let mut spec = json!({ "versionPolicy": "Bump" });
    json_patch::merge(&mut spec, &more);
    component(name, spec)
}

fn content(text: &str) -> Value {
    json!({ "spec": { "forProvider": { "content": format!("RUN echo {text}") } } })
}

/// The numbers of `status.versions`.
fn versions(object: &Value) -> Vec<&str> {
    let versions = object["status"]["versions"].as_array().into_iter().flatten();
    versions.filter_map(|version| version["version"].as_str()).collect()
}

fn ids(object: &Value) -> Vec<String> {
    let versions = object["status"]["versions"].as_array().into_iter().flatten();
    versions.filter_map(|version| version["imageId"].as_str().map(Into::into)).collect()
}

/// Number and content of what the vendor has of a name.
fn there(world: &World, name: &str) -> Vec<(String, String)> {
    let components = world.vendor.aliyun_ecs().components();
    let mut of_name: Vec<_> = components
        .into_iter()
        .filter(|component| component.name == name)
        .map(|component| (component.version, component.content.replace("RUN echo ", "")))
        .collect();
    of_name.sort();
    of_name
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(version, content)| ((*version).into(), (*content).into())).collect()
}

#[tokio::test]
async fn content_is_edited_in_place_and_each_edit_is_a_version() {
    let world = World::new("versions").await;
    // Without the policy it is refused, and says what to do.
    world.create(component("base", json!({}))).await;
    world.until_ready(KIND, "base").await;
    let refused = world.try_patch(KIND, "base", content("b")).await.expect_err("it is fixed");
    assert!(refused.contains("versionPolicy: Bump"), "{refused}");

    // The policy may come with the edit.
    let mut edit = content("b");
    edit["spec"]["versionPolicy"] = json!("Bump");
    world.patch(KIND, "base", edit).await;
    let object = world.until_ready(KIND, "base").await;
    assert_eq!(versions(&object), ["1.0.1", "1.0.0"], "{object:#}");
    assert_eq!(object["status"]["imageId"], ids(&object)[0].as_str());
    assert_eq!(there(&world, "base"), pairs(&[("1.0.0", "hello"), ("1.0.1", "b")]));

    // A number that somebody else uses, or has used a moment ago, is left out.
    let other = world.vendor.aliyun_ecs().seed(Component {
        name: "base".into(),
        version: "1.0.2".into(),
        ..Component::default()
    });
    world.patch(KIND, "base", content("c")).await;
    let object = world.until_ready(KIND, "base").await;
    assert_eq!(versions(&object), ["1.0.3", "1.0.1", "1.0.0"]);
    // A higher one is asked for.
    let mut edit = content("d");
    edit["spec"]["forProvider"]["componentVersion"] = json!("2.0.0");
    world.patch(KIND, "base", edit).await;
    let object = world.until_ready(KIND, "base").await;
    assert_eq!(versions(&object), ["2.0.0", "1.0.3", "1.0.1", "1.0.0"]);

    // Neither another edit, nor a look, nor the number alone makes one.
    let calls = world.calls(CREATE);
    for edit in [
        json!({ "spec": { "forProvider": { "tag": [{ "key": "team", "value": "base" }] } } }),
        json!({ "spec": { "forProvider": { "componentVersion": "3.0.0" } } }),
        json!({ "spec": { "resyncInterval": "9h" } }),
    ] {
        world.patch(KIND, "base", edit).await;
        world.until_ready(KIND, "base").await;
    }
    world.request(KIND, "base", "now").await;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == "now" && is_ready(object);
    let object = world.until(KIND, "base", "it was looked at", handled).await;
    assert_eq!((world.calls(CREATE), versions(&object).len()), (calls, 4));

    world.delete(KIND, "base").await;
    world.until_gone(KIND, "base").await;
    let left: Vec<_> = world.vendor.aliyun_ecs().components().into_iter().map(|it| it.id).collect();
    assert_eq!(left, [other], "all that it made, and nothing else");
}

#[tokio::test]
async fn old_versions_go_when_the_newest_is_ready_unless_they_are_in_use() {
    let world = World::new("versions-kept").await;
    let ecs = world.vendor.aliyun_ecs();
    world.create(bumping("base", json!({ "versionsToKeep": 2 }))).await;
    world.until_ready(KIND, "base").await;
    world.patch(KIND, "base", content("b")).await;
    let object = world.until_ready(KIND, "base").await;
    let used = ids(&object)[1].clone();
    ecs.modify(&used, |component| component.in_use = true);
    world.patch(KIND, "base", content("c")).await;
    let told = |object: &Value| {
        is_ready(object)
            && condition(object, "Ready")["message"].as_str().is_some_and(|it| it.contains("InUse"))
    };
    let object = world.until(KIND, "base", "it says what stays", told).await;
    assert_eq!(versions(&object), ["1.0.2", "1.0.1", "1.0.0"]);
    assert!(ecs.get(&used).is_some());

    // The oldest that is not used goes all the same.
    world.patch(KIND, "base", content("d")).await;
    let kept = |object: &Value| is_ready(object) && versions(object) == ["1.0.3", "1.0.2", "1.0.0"];
    world.until(KIND, "base", "one has gone", kept).await;
    // It is used no more.
    ecs.modify(&used, |component| component.in_use = false);
    world.request(KIND, "base", "again").await;
    let kept = |object: &Value| is_ready(object) && versions(object) == ["1.0.3", "1.0.2"];
    world.until(KIND, "base", "that has gone, too", kept).await;
    assert_eq!(there(&world, "base"), pairs(&[("1.0.2", "c"), ("1.0.3", "d")]));
    let events = world.events("base").await;
    assert_eq!(events.iter().filter(|event| event["reason"] == "Retired").count(), 2, "{events:#?}");

    // A version that is in use holds the object's deletion, and says so.
    let oldest = ecs.components().into_iter().find(|it| it.version == "1.0.2").expect("there").id;
    ecs.modify(&oldest, |component| component.in_use = true);
    world.delete(KIND, "base").await;
    let waits = |object: &Value| {
        condition(object, "Ready")["message"].as_str().is_some_and(|it| it.contains("InUse"))
    };
    world.until(KIND, "base", "it says what it waits for", waits).await;
    assert_eq!(there(&world, "base").len(), 2, "the newest goes last");
    ecs.modify(&oldest, |component| component.in_use = false);
    world.until_gone(KIND, "base").await;
    assert_eq!(there(&world, "base"), []);
}

#[tokio::test]
async fn an_old_version_that_the_vendor_refuses_to_delete_is_tried_again_soon() {
    let world = World::new("versions-refused").await;
    world.create(bumping("base", json!({ "versionsToKeep": 1, "resyncInterval": "10h" }))).await;
    world.until_ready(KIND, "base").await;
    let refusal = |status, code: &str| {
        let (code, message) = (code.into(), "Something is in the way.".into());
        Fault::VendorError { status, code, message, effect: false }
    };
    world.vendor.set_faults(vec![
        FaultRule::new(refusal(409, "Conflict")).action(DELETE).when(When::first(1)),
        FaultRule::new(refusal(403, "Forbidden.RAM")).action(DELETE).when(When::first(1).after(1)),
    ]);
    world.patch(KIND, "base", content("b")).await;
    let told = |object: &Value| {
        is_ready(object)
            && condition(object, "Ready")["message"].as_str().is_some_and(|it| it.contains("stay"))
    };
    world.until(KIND, "base", "it says what stays", told).await;
    let alone = |object: &Value| is_ready(object) && versions(object) == ["1.0.1"];
    world.until(KIND, "base", "it has gone", alone).await;
    assert_eq!((world.calls(DELETE), there(&world, "base")), (3, pairs(&[("1.0.1", "b")])));
}

/// How often the vendor is looked at while nobody asks for it and nothing is due.
async fn looks_at_rest(world: &World) -> usize {
    let looks = world.calls(LOOK);
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.calls(LOOK) - looks
}

/// One that stays since it is in use is tried again with the next look, also by a new process that knows nothing of it, and where
/// what is there differs and is to stay so, or nothing may be deleted.
#[tokio::test]
async fn a_version_too_many_that_is_left_is_not_looked_at_without_a_pause() {
    let mut world = World::new("versions-left").await;
    let owner = json!({ "tag": [{ "key": "owner", "value": "us" }] });
    let spec = json!({ "versionsToKeep": 1, "driftPolicy": "Report", "resyncInterval": "10h", "forProvider": owner });
    world.create(bumping("base", spec)).await;
    let used = ids(&world.until_ready(KIND, "base").await)[0].clone();
    world.vendor.aliyun_ecs().modify(&used, |component| component.in_use = true);
    world.patch(KIND, "base", content("b")).await;
    let told = |object: &Value| {
        is_ready(object)
            && condition(object, "Ready")["message"].as_str().is_some_and(|it| it.contains("InUse"))
    };
    let newest = ids(&world.until(KIND, "base", "it says what stays", told).await)[0].clone();
    world.stop_operator().await;
    world
        .vendor
        .aliyun_ecs()
        .modify(&newest, |component| component.tags = [("owner".to_owned(), "them".to_owned())].into());
    world.start_operator().await;
    world.request(KIND, "base", "now").await;
    world.until_condition(KIND, "base", "Ready", "True", "Drifted").await;
    let more = looks_at_rest(&world).await;
    assert!(more <= 1, "{more} looks at what differs and is to stay so");

    let types = json!({ "systemType": "Linux", "componentType": "Build" });
    world.create(bumping("seen", json!({ "resyncInterval": "10h", "forProvider": types }))).await;
    world.until_ready(KIND, "seen").await;
    world.patch(KIND, "seen", content("b")).await;
    let newest = ids(&world.until_ready(KIND, "seen").await)[0].clone();
    let observe = json!({
        "managementPolicy": "Observe",
        "import": { "id": newest },
        "versionsToKeep": 1,
    });
    world.patch(KIND, "seen", json!({ "spec": observe })).await;
    let seen = |object: &Value| {
        is_ready(object) && object["status"]["observedGeneration"] == object["metadata"]["generation"]
    };
    world.until(KIND, "seen", "the spec is dealt with", seen).await;

    let more = looks_at_rest(&world).await;
    assert!(more <= 1, "{more} looks at what is only observed");
    assert_eq!(world.calls(DELETE), 1, "and nothing is deleted");

    // It is not forgotten.
    world.vendor.aliyun_ecs().modify(&used, |component| component.in_use = false);
    world.patch(KIND, "base", json!({ "spec": { "driftPolicy": "Correct" } })).await;
    let alone = |object: &Value| is_ready(object) && versions(object) == ["1.0.1"];
    world.until(KIND, "base", "it has gone", alone).await;
}

#[tokio::test]
async fn a_version_that_fails_or_whose_answer_is_lost_costs_no_other() {
    let world = World::new("versions-lost").await;
    world.create(bumping("base", json!({}))).await;
    let first = world.until_ready(KIND, "base").await["status"]["imageId"].clone();
    let mut expected = vec!["1.0.0".to_owned()];
    for (index, fault) in [
        Fault::AnswerLost,
        Fault::ConnectionClosed,
        Fault::InternalError { effect: true },
        Fault::TooManyRequests,
    ]
    .into_iter()
    .enumerate()
    {
        world.vendor.set_faults(vec![FaultRule::new(fault.clone()).action(CREATE).when(When::first(1))]);
        world.patch(KIND, "base", content(&format!("{index}."))).await;
        let object = world.until_ready(KIND, "base").await;
        expected.insert(0, format!("1.0.{}", index + 1));
        assert_eq!(versions(&object), expected, "{fault:?} {object:#}");
        assert_eq!(there(&world, "base").len(), expected.len(), "{fault:?}: none twice");
    }
    // What the vendor will never take leaves all that is there.
    world.patch(KIND, "base", json!({ "spec": { "forProvider": { "content": "NOSUCHCOMMAND x" } } })).await;
    let failed = |object: &Value| object["status"]["phase"] == "Failed";
    let object = world.until(KIND, "base", "it failed", failed).await;
    assert_eq!(versions(&object), expected, "{object:#}");
    world.patch(KIND, "base", content("mended")).await;
    let object = world.until_ready(KIND, "base").await;
    assert_eq!(versions(&object).len(), expected.len() + 1);
    assert_eq!(ids(&object).last().map(String::as_str), first.as_str(), "the first is still known");

    // Failed again, and deleted: what it made before goes with it.
    world.patch(KIND, "base", json!({ "spec": { "forProvider": { "content": "NOSUCHCOMMAND x" } } })).await;
    world.until(KIND, "base", "it failed", failed).await;
    world.delete(KIND, "base").await;
    world.until_gone(KIND, "base").await;
    assert_eq!(there(&world, "base"), []);
}

#[tokio::test]
async fn what_was_taken_over_first_has_a_life_of_its_own() {
    let world = World::new("versions-import").await;
    let ecs = world.vendor.aliyun_ecs();
    let id = ecs.seed(Component {
        name: "theirs".into(),
        version: "4.2.0".into(),
        content: "RUN echo a".into(),
        ..Component::default()
    });
    let spec = json!({
        "import": { "id": id },
        "versionsToKeep": 1,
        "forProvider": { "componentVersion": null, "content": "RUN echo b", "systemType": "Linux", "componentType": "Build" },
    });
    world.create(bumping("theirs", spec.clone())).await;
    // That it differs is shown, and nothing is made before somebody says so.
    let told = world.until_condition(KIND, "theirs", "Stalled", "True", "SpecDiffers").await;
    assert!(told.contains("requested-at"), "{told}");
    assert_eq!(world.calls(CREATE), 0);
    world.request(KIND, "theirs", "make it").await;
    let object = world.until_ready(KIND, "theirs").await;
    assert_eq!(versions(&object), ["4.2.1", "4.2.0"], "{object:#}");
    assert_eq!(object["status"]["versions"][1]["imported"], true);
    world.patch(KIND, "theirs", content("c")).await;
    let kept = |object: &Value| is_ready(object) && versions(object) == ["4.2.2", "4.2.0"];
    world.until(KIND, "theirs", "what it took over is not too many", kept).await;
    // While it only observes, nothing is made, although the last attempt failed and the spec is another one.
    let broken = json!({ "spec": { "forProvider": { "content": "NOSUCHCOMMAND x" } } });
    world.patch(KIND, "theirs", broken).await;
    world.until(KIND, "theirs", "it failed", |object| object["status"]["phase"] == "Failed").await;
    let calls = world.calls(CREATE);
    let mut edit = content("d");
    edit["spec"]["managementPolicy"] = json!("Observe");
    world.patch(KIND, "theirs", edit).await;
    let seen = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    world.until(KIND, "theirs", "the spec is dealt with", seen).await;
    assert_eq!(world.calls(CREATE), calls);
    world.patch(KIND, "theirs", json!({ "spec": { "managementPolicy": "Managed" } })).await;
    let object = world.until_ready(KIND, "theirs").await;
    assert_eq!(versions(&object).last(), Some(&"4.2.0"), "{object:#}");
    // Another object cannot have it.
    let mut other = component("other", json!({ "import": { "id": id } }));
    other["spec"]["forProvider"] = json!({});
    world.create(other).await;
    world.until_condition(KIND, "other", "Ready", "False", "HeldByOther").await;
    world.delete(KIND, "other").await;
    world.until_gone(KIND, "other").await;

    world.delete(KIND, "theirs").await;
    world.until_gone(KIND, "theirs").await;
    assert_eq!(there(&world, "theirs"), pairs(&[("4.2.0", "a")]));

    // With deletionPolicy Retain, all stay.
    world.create(bumping("kept", json!({ "deletionPolicy": "Retain" }))).await;
    world.until_ready(KIND, "kept").await;
    world.patch(KIND, "kept", content("b")).await;
    world.until_ready(KIND, "kept").await;
    world.delete(KIND, "kept").await;
    world.until_gone(KIND, "kept").await;
    assert_eq!(there(&world, "kept").len(), 2);
}

#[tokio::test]
async fn nothing_is_made_while_it_is_not_to_be_and_what_is_restored_is_told() {
    let mut world = World::new("versions-held").await;
    world.create(bumping("base", json!({}))).await;
    world.until_ready(KIND, "base").await;
    world.patch(KIND, "base", json!({ "spec": { "suspend": true } })).await;
    world.patch(KIND, "base", content("b")).await;
    world.until_condition(KIND, "base", "Ready", "False", "Suspended").await;
    assert_eq!(world.calls(CREATE), 1);
    world.patch(KIND, "base", json!({ "spec": { "suspend": false } })).await;
    let object = world.until_ready(KIND, "base").await;
    let made = ids(&object);
    assert_eq!(made.len(), 2);

    // Somebody else's object of that name is told what is in the way, and makes nothing.
    let mut second = bumping("second", json!({ "forProvider": { "name": "base" } }));
    second["metadata"]["name"] = json!("second");
    world.create(second).await;
    world.until(KIND, "second", "it is refused", |it| it["status"]["phase"] == "Failed").await;
    assert_eq!(there(&world, "base").len(), 2);
    world.delete(KIND, "second").await;
    world.until_gone(KIND, "second").await;

    // The object is lost and comes back from a backup without its status: whatever is there of its name is told.
    world.stop_operator().await;
    world.patch(KIND, "base", json!({ "metadata": { "finalizers": null } })).await;
    world.delete(KIND, "base").await;
    world.until_gone(KIND, "base").await;
    let mut restored = object.clone();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        restored["metadata"].as_object_mut().expect("metadata").remove(field);
    }
    restored.as_object_mut().expect("an object").remove("status");
    world.create(restored).await;
    world.start_operator().await;
    let told = world.until_condition(KIND, "base", "Stalled", "True", "Restored").await;
    assert!(made.iter().all(|id| told.contains(id)), "{told}");
    assert_eq!(there(&world, "base").len(), 2, "and nothing is made");
    world.annotate(KIND, "base", "cloudimages.dev/outcome", &format!("adopt={}", made[0])).await;
    world.until_ready(KIND, "base").await;
    world.patch(KIND, "base", content("c")).await;
    let object = world.until_ready(KIND, "base").await;
    assert_eq!(versions(&object), ["1.0.2", "1.0.1"], "{object:#}");
    assert!(world.calls(DELETE) == 0 && there(&world, "base").len() == 3);
}

#[tokio::test]
async fn where_there_is_no_room_for_another_version_old_ones_are_named_to_go() {
    let mut world = World::new("versions-full").await;
    world.create(bumping("base", json!({}))).await;
    let object = world.until_ready(KIND, "base").await;
    // As if it had been edited ninety-nine times, of which one version is in use.
    world.stop_operator().await;
    let ecs = world.vendor.aliyun_ecs();
    let mut all = vec![];
    for number in 0..99 {
        let version = format!("0.0.{number}");
        let component = Component { name: "base".into(), version: version.clone(), ..Component::default() };
        all.insert(0, json!({ "imageId": ecs.seed(component), "version": version }));
    }
    let used = all[50]["imageId"].as_str().expect("an id").to_owned();
    ecs.modify(&used, |component| component.in_use = true);
    all.insert(0, object["status"]["versions"][0].clone());
    world.patch_status(KIND, "base", json!({ "versions": all })).await;
    world.start_operator().await;
    world.patch(KIND, "base", content("b")).await;
    let told = world.until_condition(KIND, "base", "Stalled", "True", "TooManyVersions").await;
    assert!(told.contains("versionsToKeep"), "{told}");
    assert_eq!((world.calls(CREATE), world.calls(DELETE)), (1, 0));

    world.patch(KIND, "base", json!({ "spec": { "versionsToKeep": 2 } })).await;
    let kept = |object: &Value| is_ready(object) && versions(object) == ["1.0.1", "1.0.0", "0.0.48"];
    world.until(KIND, "base", "there is room", kept).await;
    assert_eq!(there(&world, "base").len(), 3);
}
