//! With whom an image is shared: as the spec says, for each kind whose result is an image of Alibaba Cloud ECS.

use crate::harness::{World, condition, image_of, is_ready};
use serde_json::{Value, json};
use vendor_simulator::{Fault, FaultRule, When};

const SHARE: &str = "ModifyImageSharePermission";
const SHARED: &str = "DescribeImageSharePermission";

/// An object that the vendor accepts, changed by a JSON merge patch of its parameters.
fn object(kind: &str, name: &str, parameters: Value) -> Value {
    let mut object = image_of(kind, name);
    json_patch::merge(&mut object["spec"]["forProvider"], &parameters);
    object
}

fn id(object: &Value) -> String {
    object["status"]["imageId"].as_str().expect("an id").to_owned()
}

/// With whom an image of the simulated vendor is shared.
fn shared_with(world: &World, id: &str) -> Vec<String> {
    world.vendor.aliyun_ecs().image(id).expect("it is there").shared_with.into_iter().collect()
}

/// Waits until an object is Ready and its image is shared with these.
async fn until_shared(world: &World, kind: &str, name: &str, id: &str, accounts: &[String]) {
    let is_shared = |object: &Value| is_ready(object) && shared_with(world, id) == accounts;
    world.until(kind, name, &format!("it is shared with {accounts:?}"), is_shared).await;
}

/// The vendor ignores an eleventh account of a call without a word, so that what asks for more is done by chance only.
fn assert_none_is_ignored(world: &World) {
    for call in world.vendor.ledger().calls_of(SHARE) {
        let eleventh = ["AddAccount.11", "RemoveAccount.11"].map(|key| call.parameters.get(key));
        assert_eq!(eleventh, [None, None], "{:?}", call.parameters);
    }
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_copy_is_shared_as_its_spec_says_and_nobody_looks_who_does_not_ask() {
    an_image_is_shared_as_the_spec_says_and_nobody_looks_who_does_not_ask("AliyunImageCopy", "copy-shared")
        .await;
}

#[tokio::test]
async fn a_build_is_shared_as_its_spec_says_and_nobody_looks_who_does_not_ask() {
    an_image_is_shared_as_the_spec_says_and_nobody_looks_who_does_not_ask("ImageBuild", "build-shared").await;
}

async fn an_image_is_shared_as_the_spec_says_and_nobody_looks_who_does_not_ask(kind: &str, namespace: &str) {
    let world = World::new(namespace).await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    world.create(object(kind, "silent", json!({}))).await;
    let silent = id(&world.until_ready(kind, "silent").await);
    let before = world.calls("DescribeImages");
    world.request(kind, "silent", "look").await;
    let looked = |object: &Value| object["status"]["lastHandledReconcileAt"] == "look";
    world.until(kind, "silent", "it is looked at again", looked).await;
    assert!(world.calls("DescribeImages") > before);
    // Others share it: that is nobody's business, and theirs to end.
    ecs.modify_image(&silent, |image| {
        image.shared_with.insert("7".into());
    });
    world.delete(kind, "silent").await;
    let message = world.until_condition(kind, "silent", "Ready", "False", "VendorBusy").await;
    assert!(message.contains("Stop sharing the image"), "{message}");
    ecs.modify_image(&silent, |image| image.shared_with.clear());
    world.until_gone(kind, "silent").await;
    assert_eq!((world.calls(SHARED), world.calls(SHARE)), (0, 0), "{:#?}", world.call_log());

    // Twelve take two calls, of which one answer is lost: the next look shows what came of it.
    let lost = FaultRule::new(Fault::AnswerLost).action(SHARE).when(When::first(1));
    world.vendor.set_faults(vec![lost]);
    world.create(object(kind, "shared", json!({ "shareWith": ids(1001..=1012) }))).await;
    let object = world.until_ready(kind, "shared").await;
    let made = id(&object);
    assert_eq!(shared_with(&world, &made), ids(1001..=1012));
    assert_eq!((world.calls(SHARE), world.effects(SHARE)), (2, 2), "{:#?}", world.call_log());
    assert_none_is_ignored(&world);
    let told = object["status"]["atProvider"]["accounts"]["account"].as_array().map(Vec::len);
    assert_eq!(told, Some(12), "{object:#}");

    // What somebody takes out is set right, and what somebody adds stays.
    ecs.modify_image(&made, |image| {
        image.shared_with.remove("1001");
        image.shared_with.insert("7".into());
    });
    world.request(kind, "shared", "drift").await;
    let all = [ids(1001..=1012), ids([7])].concat();
    until_shared(&world, kind, "shared", &made, &all).await;
    // What the spec drops goes, and the rest stays.
    let fewer = json!({ "spec": { "forProvider": { "shareWith": ids(1002..=1012) } } });
    world.patch(kind, "shared", fewer).await;
    until_shared(&world, kind, "shared", &made, &all[1..]).await;
    world.patch(kind, "shared", json!({ "spec": { "forProvider": { "sharePolicy": "Exact" } } })).await;
    until_shared(&world, kind, "shared", &made, &ids(1002..=1012)).await;
    // Whoever asks no more is unshared, and then nobody looks any more.
    let none = json!({ "spec": { "forProvider": { "shareWith": null, "sharePolicy": null } } });
    world.patch(kind, "shared", none).await;
    until_shared(&world, kind, "shared", &made, &[]).await;
    let before = world.calls(SHARED);
    world.request(kind, "shared", "rest").await;
    let looked = |object: &Value| object["status"]["lastHandledReconcileAt"] == "rest";
    world.until(kind, "shared", "it is looked at again", looked).await;
    assert_eq!(world.calls(SHARED), before, "{:#?}", world.call_log());
}

/// An account that does not exist, or was closed: the others of its call have the image, or have it no more, all the same.
#[tokio::test]
async fn an_account_that_the_vendor_does_not_take_keeps_the_image_from_no_other() {
    const KIND: &str = "AliyunImageCopy";
    let world = World::new("copy-closed").await;
    world.quicken();
    let missing = |accounts: Vec<String>| {
        world.vendor.configure(|settings| {
            settings.aliyun_ecs.missing_accounts = accounts;
            settings.aliyun_ecs.missing_accounts_can_be_removed = false;
        });
    };
    missing(ids([1003]));
    world.create(object(KIND, "shared", json!({ "shareWith": ids(1001..=1012) }))).await;
    let refused = |object: &Value| condition(object, "Ready")["reason"] == "NotFound";
    let object = world.until(KIND, "shared", "it says which is refused", refused).await;
    let made = id(&object);
    let others: Vec<_> = ids(1001..=1012).into_iter().filter(|account| account != "1003").collect();
    assert_eq!(shared_with(&world, &made), others, "{object:#}");

    // It is there after all, and two others are not any more when they are taken out.
    missing(ids([1001, 1012]));
    world.request(KIND, "shared", "again").await;
    until_shared(&world, KIND, "shared", &made, &ids(1001..=1012)).await;
    let fewer = json!({ "spec": { "forProvider": { "shareWith": ids(1004..=1011) } } });
    world.patch(KIND, "shared", fewer).await;
    let is_shared = |object: &Value| {
        object["status"]["observedGeneration"] == object["metadata"]["generation"]
            && shared_with(&world, &made) == [ids([1001]), ids(1004..=1012)].concat()
    };
    world.until(KIND, "shared", "those that are there have it no more", is_shared).await;
    assert_none_is_ignored(&world);
}

#[tokio::test]
async fn a_copy_is_unshared_before_it_is_deleted_but_for_what_others_share() {
    an_image_is_unshared_before_it_is_deleted_but_for_what_others_share("AliyunImageCopy", "copy-unshared")
        .await;
}

#[tokio::test]
async fn a_build_is_unshared_before_it_is_deleted_but_for_what_others_share() {
    an_image_is_unshared_before_it_is_deleted_but_for_what_others_share("ImageBuild", "build-unshared").await;
}

async fn an_image_is_unshared_before_it_is_deleted_but_for_what_others_share(kind: &str, namespace: &str) {
    let world = World::new(namespace).await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    world.create(object(kind, "kept", json!({ "shareWith": ids(1001..=1011) }))).await;
    let made = id(&world.until_ready(kind, "kept").await);
    ecs.modify_image(&made, |image| {
        image.shared_with.insert("7".into());
    });
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(SHARE).when(When::first(1))]);
    world.delete(kind, "kept").await;
    let message = world.until_condition(kind, "kept", "Ready", "False", "DeletionWaits").await;
    assert!(message.contains("is shared with 7, ") && message.contains("sharePolicy: Exact"), "{message}");
    assert_eq!((shared_with(&world, &made), world.calls("DeleteImage")), (ids([7]), 0));
    let exact = json!({ "shareWith": [], "sharePolicy": "Exact" });
    world.patch(kind, "kept", json!({ "spec": { "forProvider": exact } })).await;
    world.until_gone(kind, "kept").await;
    assert_none_is_ignored(&world);
    assert_eq!(ecs.images(), []);
    assert_eq!(ecs.snapshots(), []);
}

#[tokio::test]
async fn a_copy_is_published_last_and_shared_no_more() {
    an_image_is_published_last_and_shared_no_more("AliyunImageCopy", "copy-community").await;
}

#[tokio::test]
async fn a_build_is_published_last_and_shared_no_more() {
    an_image_is_published_last_and_shared_no_more("ImageBuild", "build-community").await;
}

async fn an_image_is_published_last_and_shared_no_more(kind: &str, namespace: &str) {
    let world = World::new(namespace).await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    let is_public = |id: &str| ecs.image(id).expect("it is there").public;
    world.create(object(kind, "all", json!({ "community": true }))).await;
    let made = id(&world.until_ready(kind, "all").await);
    assert!(is_public(&made));
    assert_eq!(world.calls(SHARED), 0, "whether it is published is told with the rest");
    let region = ecs.image(&made).expect("it is there").region;
    let further = json!({ "imageId": made, "regionId": region, "destinationRegionId": "cn-beijing" });
    world.create(object("AliyunImageCopy", "further", further)).await;
    world.until_condition("AliyunImageCopy", "further", "Reconciling", "True", "PreflightFailed").await;
    // Taken back, it can be copied, and shared.
    let shares = json!({ "community": null, "shareWith": ["1001"] });
    world.patch(kind, "all", json!({ "spec": { "forProvider": shares } })).await;
    until_shared(&world, kind, "all", &made, &ids([1001])).await;
    assert!(!is_public(&made));
    world.request("AliyunImageCopy", "further", "now").await;
    world.until_ready("AliyunImageCopy", "further").await;

    // Somebody publishes it: what the vendor would refuse is not tried.
    ecs.modify_image(&made, |image| {
        image.public = true;
        image.shared_with.clear();
    });
    let before = world.calls(SHARE);
    world.request(kind, "all", "look").await;
    let message = world.until_condition(kind, "all", "Stalled", "True", "InvalidSpec").await;
    assert!(message.contains("community: false"), "{message}");
    assert_eq!(world.calls(SHARE), before);
    world.patch(kind, "all", json!({ "spec": { "forProvider": { "community": false } } })).await;
    until_shared(&world, kind, "all", &made, &ids([1001])).await;
    let publish = json!({ "community": true, "shareWith": null });
    world.patch(kind, "all", json!({ "spec": { "forProvider": publish } })).await;
    let published = |object: &Value| is_ready(object) && is_public(&made);
    world.until(kind, "all", "it is published again", published).await;
    assert_eq!(shared_with(&world, &made), [""; 0]);
    for (kind, name) in [(kind, "all"), ("AliyunImageCopy", "further")] {
        world.delete(kind, name).await;
        world.until_gone(kind, name).await;
    }
    assert_eq!(ecs.images(), []);
}
