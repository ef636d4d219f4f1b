//! What changes while a creating call is on its way: the object, its account, the API server's mind.

use crate::harness::{World, account, aosp_image, component, rights};
use serde_json::{Value, json};
use vendor_simulator::{Fault, FaultRule, When};

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";
const DELETE: &str = "DeleteImageComponent";
const BUILD: &str = "BuildAOSPImage";

/// The vendor acts at once, and answers the first call after two seconds.
fn late() -> FaultRule {
    FaultRule::new(Fault::SlowAnswer { millis: 2_000 }).action(CREATE).when(When::first(1))
}

#[tokio::test]
async fn a_deletion_during_the_call_is_carried_out_after_it() {
    let world = World::new("race-deleted").await;
    world.vendor.set_faults(vec![late()]);
    world.create(component("brief", json!({}))).await;
    world.until_true("the call has arrived", || world.calls(CREATE) == 1).await;
    world.delete(KIND, "brief").await;
    world.until_gone(KIND, "brief").await;
    assert_eq!((world.effects(CREATE), world.effects(DELETE)), (1, 1));
}

#[tokio::test]
async fn a_new_spec_during_the_call_is_dealt_with_after_it() {
    let world = World::new("race-changed").await;
    world.vendor.set_faults(vec![late()]);
    world.create(component("moving", json!({}))).await;
    world.until_true("the call has arrived", || world.calls(CREATE) == 1).await;
    let tag = json!([{ "key": "team", "value": "base" }]);
    world.patch(KIND, "moving", json!({ "spec": { "forProvider": { "tag": tag } } })).await;
    let moved = |object: &Value| {
        crate::harness::is_ready(object)
            && object.pointer("/status/atProvider/tags/tag/0/tagKey") == Some(&json!("team"))
    };
    world.until(KIND, "moving", "the vendor has the tag", moved).await;
    assert_eq!(world.effects(CREATE), 1);
}

#[tokio::test]
async fn what_is_asked_for_cannot_be_changed_while_it_is_also_for_an_object_that_had_to_wait() {
    let world = World::new("race-fixed").await;
    world.vendor.set_faults(vec![late()]);
    world.create(component("waiting", json!({ "accountRef": { "name": "later" } }))).await;
    world.until_condition(KIND, "waiting", "Ready", "False", "AccountNotFound").await;
    // Nothing is asked yet.
    let change = |content: &str| json!({ "spec": { "forProvider": { "content": content } } });
    world.patch(KIND, "waiting", change("RUN echo first")).await;
    world.create(account("later", world.endpoint())).await;
    world.until_true("the call has arrived", || world.calls(CREATE) == 1).await;
    let refusal = world.try_patch(KIND, "waiting", change("RUN echo second")).await.unwrap_err();
    assert!(refusal.contains("cannot be changed"), "{refusal}");
    let object = world.until_ready(KIND, "waiting").await;
    assert_eq!(object["status"]["atProvider"]["content"], "RUN echo first");
}

#[tokio::test]
async fn an_import_that_comes_too_late_is_refused() {
    let world = World::new("race-import").await;
    // Neither the first call nor its repetition is answered.
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1)),
        FaultRule::new(Fault::BadGateway { effect: false }).action(CREATE).when(When::first(2)),
    ]);
    world.create(component("hasty", json!({}))).await;
    world.until_condition(KIND, "hasty", "Reconciling", "True", "AnswerLost").await;
    let import = json!({ "spec": { "import": { "id": "ic-other" } } });
    let refusal = world.try_patch(KIND, "hasty", import).await.unwrap_err();
    assert!(refusal.contains("import can be given or changed only before"), "{refusal}");
    world.delete(KIND, "hasty").await;
    world.until_gone(KIND, "hasty").await;
    assert_eq!((world.effects(CREATE), world.vendor.aliyun_ecs().count()), (1, 0));
}

#[tokio::test]
async fn an_object_that_goes_is_not_kept_by_a_quota() {
    let world = World::new("race-quota").await;
    let quota = Fault::VendorError {
        status: 400,
        code: "QuotaExceed.ImageComponent".into(),
        message: "The maximum number of components is exceeded.".into(),
        effect: false,
    };
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::ConnectionClosed).action(CREATE).when(When::first(1)),
        FaultRule::new(quota).action(CREATE),
    ]);
    world.create(component("full", json!({}))).await;
    world.until_condition(KIND, "full", "Reconciling", "True", "AnswerLost").await;
    world.delete(KIND, "full").await;
    world.until_gone(KIND, "full").await;
    assert_eq!((world.effects(CREATE), world.calls(DELETE)), (0, 0));
}

/// The vendor's lists do not show the image for an hour, so that only the answer itself tells of it.
#[tokio::test]
async fn an_answer_that_the_api_server_does_not_take_is_kept() {
    const OPERATOR: &str = "race-operator";
    let mut world = World::at_volcengine("race-unwritten").await;
    world.stop_operator().await;
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::ListLag { seconds: 3600 }).action("ListAOSPImage").when(When::always()),
    ]);
    let all = |resources: &[&str]| {
        let groups = ["cloudimages.dev", "events.k8s.io", ""];
        json!([{ "apiGroups": groups, "resources": resources, "verbs": ["*"] }])
    };
    let mute =
        ["aospimages", "cloudaccounts", "cloudaccounts/status", "clustercloudaccounts", "secrets", "events"];
    let others = ["imageexports", "imagecomponents", "batchcomputeimages", "rootvolumetemplates"];
    for object in rights("ClusterRole", "race-mute", OPERATOR, all(&[mute.as_slice(), &others].concat())) {
        world.create(object).await;
    }
    world.operator_user = Some(OPERATOR.into());
    world.start_operator().await;
    world.create(aosp_image("phone", json!({}))).await;
    let refused = || world.all_writes("aospimages").len() >= 6;
    world.until_true("the API server has refused some writes", refused).await;
    assert_eq!(world.calls(BUILD), 1);
    for object in rights("ClusterRole", "race-speaking", OPERATOR, all(&["aospimages/status"])) {
        world.create(object).await;
    }
    let building = |object: &Value| object["status"]["phase"] == "Building";
    let object = world.until("AospImage", "phone", "its answer is written down", building).await;
    assert_eq!(object["status"]["operation"]["attempt"], 1);
    assert!(object["status"]["imageId"].is_string(), "{object:#}");
    assert_eq!((world.calls(BUILD), world.effects(BUILD)), (1, 1));
}
