//! AliyunImageCopy: made once in another region, told from strangers' images, waiting where it must, and gone with its snapshots.

use crate::harness::{World, condition, image_of, is_ready};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, aliyun_ecs::Image};

const KIND: &str = "AliyunImageCopy";
const CREATE: &str = "CopyImage";

/// A copy that the vendor accepts, changed by a JSON merge patch of its parameters.
fn copy(name: &str, parameters: Value) -> Value {
    let mut object = image_of(KIND, name);
    json_patch::merge(&mut object["spec"]["forProvider"], &parameters);
    object
}

fn id(object: &Value) -> String {
    object["status"]["imageId"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_copy_is_made_in_its_region_changed_and_deleted_with_its_snapshots() {
    let world = World::new("copy-life").await;
    world.quicken();
    world
        .create(copy("life", json!({ "regionId": "cn-beijing", "destinationDescription": "for tests" })))
        .await;
    let object = world.until_ready(KIND, "life").await;
    let [made] = world.vendor.aliyun_ecs().images().try_into().expect("one image");
    assert_eq!(
        (id(&object), made.region.as_str(), made.name.as_str()),
        (made.id.clone(), "cn-shanghai", "copy-life")
    );
    assert_eq!(object["status"]["atProvider"]["imageName"], "copy-life");
    // The call went to the image's region, and looks to the copy's.
    let ledger = world.vendor.ledger();
    let region = |action: &str| -> Vec<String> {
        ledger.calls_of(action).map(|call| call.parameters["RegionId"].clone()).collect()
    };
    assert_eq!(region(CREATE), ["cn-beijing"]);
    // Once before the call, where the image is.
    let looks = region("DescribeImages");
    assert_eq!(looks.iter().filter(|region| *region != "cn-shanghai").collect::<Vec<_>>(), ["cn-beijing"]);
    let token = object["status"]["operation"]["token"].as_str().expect("a token");
    assert_eq!(made.tags["cloudimages.dev/attempt"], token);

    let change = json!({ "destinationImageName": "renamed", "tag": [{ "key": "team", "value": "edge" }] });
    world.patch(KIND, "life", json!({ "spec": { "forProvider": change } })).await;
    let seen = |_: &Value| {
        let image = world.vendor.aliyun_ecs().image(&made.id).expect("it is there");
        image.name == "renamed" && image.tags.get("team").is_some_and(|team| team == "edge")
    };
    world.until(KIND, "life", "it is changed in place", seen).await;
    world.until_ready(KIND, "life").await;

    world.delete(KIND, "life").await;
    world.until_gone(KIND, "life").await;
    assert_eq!(world.vendor.aliyun_ecs().images(), []);
    assert_eq!(world.vendor.aliyun_ecs().snapshots(), []);
    assert_eq!(
        (world.effects(CREATE), world.effects("DeleteImage"), world.effects("DeleteSnapshot")),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn five_are_copied_at_a_time_and_what_waits_or_runs_is_cancelled() {
    let world = World::new("copy-wait").await;
    world.quicken();
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.copy_seconds = 3600.0;
        settings.aliyun_ecs.copies_at_once = 1;
    });
    world.create(copy("first", json!({}))).await;
    let has_id = |object: &Value| object["status"]["imageId"].is_string();
    world.until(KIND, "first", "it is copied", has_id).await;
    world.create(copy("second", json!({}))).await;
    let waits = |object: &Value| {
        let told = condition(object, "Reconciling")["message"].as_str().unwrap_or_default();
        object["status"]["phase"] == "Building" && told.contains("waits at the vendor for its turn")
    };
    world.until(KIND, "second", "it waits and has not failed", waits).await;
    for name in ["second", "first"] {
        world.delete(KIND, name).await;
        world.until_gone(KIND, name).await;
    }
    assert_eq!(world.vendor.aliyun_ecs().images(), []);
    assert_eq!((world.effects("CancelCopyImage"), world.effects("DeleteImage")), (2, 0));
}

#[tokio::test]
async fn a_copy_that_cannot_be_cancelled_is_waited_for() {
    let world = World::new("copy-stays").await;
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.copy_seconds = 3600.0;
        settings.aliyun_ecs.copies_can_be_cancelled = false;
        settings.aliyun_ecs.missing_images_are_ignored = true;
    });
    world.create(copy("stays", json!({}))).await;
    let has_id = |object: &Value| object["status"]["imageId"].is_string();
    world.until(KIND, "stays", "it is copied", has_id).await;
    world.delete(KIND, "stays").await;
    world.until_condition(KIND, "stays", "Ready", "False", "DeletionWaits").await;
    assert_eq!(world.vendor.aliyun_ecs().images().len(), 1);
    world.vendor.advance(Duration::from_secs(3600));
    world.until_gone(KIND, "stays").await;
    // It was never seen Ready, and its snapshot is known all the same.
    assert_eq!(world.vendor.aliyun_ecs().images(), []);
    assert_eq!(world.vendor.aliyun_ecs().snapshots(), []);
}

/// coreos takes whatever has the name.
#[tokio::test]
async fn a_stranger_s_image_of_the_same_name_is_not_taken_over() {
    let world = World::new("copy-stranger").await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    // Of another object, and younger than the call: its mark says so. The first answer is lost, and nothing came of it.
    let theirs = |name: &str| Image {
        name: name.into(),
        region: "cn-shanghai".into(),
        tags: [("cloudimages.dev/attempt".to_owned(), "00000000-0000-4000-8000-000000000000-1".to_owned())]
            .into(),
        ..Image::default()
    };
    let stranger = ecs.seed_image(theirs("copy-taken"));
    let lost = FaultRule::new(Fault::ConnectionClosed).action(CREATE).when(When::first(1));
    world.vendor.set_faults(vec![lost]);
    world.create(copy("taken", json!({}))).await;
    let message = world.until_condition(KIND, "taken", "Stalled", "True", "AlreadyExists").await;
    assert!(message.contains(&stranger), "{message}");
    world.delete(KIND, "taken").await;
    world.until_gone(KIND, "taken").await;
    assert!(ecs.image(&stranger).is_some());

    // One's own, of which the answer is lost and the token forgotten, is found by its mark.
    world.vendor.configure(|settings| settings.aliyun_ecs.client_token_seconds = 0);
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1))]);
    world.create(copy("own", json!({}))).await;
    let object = world.until_ready(KIND, "own").await;
    assert_eq!(ecs.image(&id(&object)).expect("it is there").name, "copy-own");
    assert_eq!(world.effects(CREATE), 1);
}

const SHARE: &str = "ModifyImageSharePermission";
const SHARED: &str = "DescribeImageSharePermission";

#[tokio::test]
async fn a_community_image_is_not_copied_and_its_object_says_why_before_it_is_tried() {
    let world = World::new("copy-public").await;
    world.quicken();
    let public = Image { id: "m-public".into(), public: true, ..Image::default() };
    world.vendor.aliyun_ecs().seed_image(public);
    world.create(copy("public", json!({ "imageId": "m-public" }))).await;
    let message = world.until_condition(KIND, "public", "Reconciling", "True", "PreflightFailed").await;
    assert!(message.contains("copy it before it is published"), "{message}");
    assert_eq!(world.calls(CREATE), 0, "{:#?}", world.call_log());
    // Who does not look first is told by the vendor.
    let mut blind = copy("blind", json!({ "imageId": "m-public" }));
    blind["spec"]["preflightPolicy"] = json!("Skip");
    world.create(blind).await;
    let message = world.until_condition(KIND, "blind", "Stalled", "True", "InvalidSpec").await;
    assert!(message.contains("copy it before it is published"), "{message}");
    assert_eq!(world.effects(CREATE), 0);
}

/// With whom an image of the simulated vendor is shared.
fn shared_with(world: &World, id: &str) -> Vec<String> {
    world.vendor.aliyun_ecs().image(id).expect("it is there").shared_with.into_iter().collect()
}

/// Waits until an object is Ready and its image is shared with these.
async fn until_shared(world: &World, name: &str, id: &str, accounts: &[String]) {
    let is_shared = |object: &Value| is_ready(object) && shared_with(world, id) == accounts;
    world.until(KIND, name, &format!("it is shared with {accounts:?}"), is_shared).await;
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn an_image_is_shared_as_the_spec_says_and_nobody_looks_who_does_not_ask() {
    let world = World::new("copy-shared").await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    world.create(copy("silent", json!({}))).await;
    let silent = id(&world.until_ready(KIND, "silent").await);
    let before = world.calls("DescribeImages");
    world.request(KIND, "silent", "look").await;
    let looked = |object: &Value| object["status"]["lastHandledReconcileAt"] == "look";
    world.until(KIND, "silent", "it is looked at again", looked).await;
    assert!(world.calls("DescribeImages") > before);
    // Others share it: that is nobody's business, and theirs to end.
    ecs.modify_image(&silent, |image| {
        image.shared_with.insert("7".into());
    });
    world.delete(KIND, "silent").await;
    let message = world.until_condition(KIND, "silent", "Ready", "False", "VendorBusy").await;
    assert!(message.contains("Stop sharing the image"), "{message}");
    ecs.modify_image(&silent, |image| image.shared_with.clear());
    world.until_gone(KIND, "silent").await;
    assert_eq!((world.calls(SHARED), world.calls(SHARE)), (0, 0), "{:#?}", world.call_log());

    // Twelve take two calls, of which one answer is lost: the next look shows what came of it.
    let lost = FaultRule::new(Fault::AnswerLost).action(SHARE).when(When::first(1));
    world.vendor.set_faults(vec![lost]);
    world.create(copy("shared", json!({ "shareWith": ids(1001..=1012) }))).await;
    let object = world.until_ready(KIND, "shared").await;
    let made = id(&object);
    assert_eq!(shared_with(&world, &made), ids(1001..=1012));
    assert_eq!((world.calls(SHARE), world.effects(SHARE)), (2, 2), "{:#?}", world.call_log());
    let told = object["status"]["atProvider"]["accounts"]["account"].as_array().map(Vec::len);
    assert_eq!(told, Some(12), "{object:#}");

    // What somebody takes out is set right, and what somebody adds stays.
    ecs.modify_image(&made, |image| {
        image.shared_with.remove("1001");
        image.shared_with.insert("7".into());
    });
    world.request(KIND, "shared", "drift").await;
    let all = [ids(1001..=1012), ids([7])].concat();
    until_shared(&world, "shared", &made, &all).await;
    // What the spec drops goes, and the rest stays.
    let fewer = json!({ "spec": { "forProvider": { "shareWith": ids(1002..=1012) } } });
    world.patch(KIND, "shared", fewer).await;
    until_shared(&world, "shared", &made, &all[1..]).await;
    world.patch(KIND, "shared", json!({ "spec": { "forProvider": { "sharePolicy": "Exact" } } })).await;
    until_shared(&world, "shared", &made, &ids(1002..=1012)).await;
    // Whoever asks no more is unshared, and then nobody looks any more.
    let none = json!({ "spec": { "forProvider": { "shareWith": null, "sharePolicy": null } } });
    world.patch(KIND, "shared", none).await;
    until_shared(&world, "shared", &made, &[]).await;
    let before = world.calls(SHARED);
    world.request(KIND, "shared", "rest").await;
    let looked = |object: &Value| object["status"]["lastHandledReconcileAt"] == "rest";
    world.until(KIND, "shared", "it is looked at again", looked).await;
    assert_eq!(world.calls(SHARED), before, "{:#?}", world.call_log());
}

#[tokio::test]
async fn an_image_is_unshared_before_it_is_deleted_but_for_what_others_share() {
    let world = World::new("copy-unshared").await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    world.create(copy("kept", json!({ "shareWith": ids(1001..=1011) }))).await;
    let made = id(&world.until_ready(KIND, "kept").await);
    ecs.modify_image(&made, |image| {
        image.shared_with.insert("7".into());
    });
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(SHARE).when(When::first(1))]);
    world.delete(KIND, "kept").await;
    let message = world.until_condition(KIND, "kept", "Ready", "False", "DeletionWaits").await;
    assert!(message.contains("is shared with 7, ") && message.contains("sharePolicy: Exact"), "{message}");
    assert_eq!((shared_with(&world, &made), world.calls("DeleteImage")), (ids([7]), 0));
    let exact = json!({ "shareWith": [], "sharePolicy": "Exact" });
    world.patch(KIND, "kept", json!({ "spec": { "forProvider": exact } })).await;
    world.until_gone(KIND, "kept").await;
    assert_eq!(ecs.images(), []);
    assert_eq!(ecs.snapshots(), []);
}

#[tokio::test]
async fn an_image_is_published_last_and_shared_no_more() {
    let world = World::new("copy-community").await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    let is_public = |id: &str| ecs.image(id).expect("it is there").public;
    world.create(copy("all", json!({ "community": true }))).await;
    let made = id(&world.until_ready(KIND, "all").await);
    assert!(is_public(&made));
    assert_eq!(world.calls(SHARED), 0, "whether it is published is told with the rest");
    let further = json!({ "imageId": made, "regionId": "cn-shanghai", "destinationRegionId": "cn-beijing" });
    world.create(copy("further", further)).await;
    world.until_condition(KIND, "further", "Reconciling", "True", "PreflightFailed").await;
    // Taken back, it can be copied, and shared.
    let shares = json!({ "community": null, "shareWith": ["1001"] });
    world.patch(KIND, "all", json!({ "spec": { "forProvider": shares } })).await;
    until_shared(&world, "all", &made, &ids([1001])).await;
    assert!(!is_public(&made));
    world.request(KIND, "further", "now").await;
    world.until_ready(KIND, "further").await;

    // Somebody publishes it: what the vendor would refuse is not tried.
    ecs.modify_image(&made, |image| {
        image.public = true;
        image.shared_with.clear();
    });
    let before = world.calls(SHARE);
    world.request(KIND, "all", "look").await;
    let message = world.until_condition(KIND, "all", "Stalled", "True", "InvalidSpec").await;
    assert!(message.contains("community: false"), "{message}");
    assert_eq!(world.calls(SHARE), before);
    world.patch(KIND, "all", json!({ "spec": { "forProvider": { "community": false } } })).await;
    until_shared(&world, "all", &made, &ids([1001])).await;
    let publish = json!({ "community": true, "shareWith": null });
    world.patch(KIND, "all", json!({ "spec": { "forProvider": publish } })).await;
    let published = |object: &Value| is_ready(object) && is_public(&made);
    world.until(KIND, "all", "it is published again", published).await;
    assert_eq!(shared_with(&world, &made), [""; 0]);
    for name in ["all", "further"] {
        world.delete(KIND, name).await;
        world.until_gone(KIND, name).await;
    }
    assert_eq!(ecs.images(), []);
}
