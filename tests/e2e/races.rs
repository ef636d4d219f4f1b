//! What changes while a creating call is on its way: the object, its account, the API server's mind.

use crate::harness::{World, account, account_of, aosp_image, component, image_of, rights};
use cloud_image_operator::{engine::external::External, vendors::aliyun::image_component::ImageComponent};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Change, Fault, FaultRule, When};

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

/// Another operator has gone on with the object when the answer comes. Nobody else knows what the call made.
#[tokio::test]
async fn what_a_call_made_that_another_operator_has_gone_on_from_is_told() {
    let world = World::new("race-gone-on").await;
    world.vendor.set_faults(vec![late()]);
    world.create(component("late", json!({}))).await;
    world.until_true("the call has arrived", || world.calls(CREATE) == 1).await;
    let object = world.get(KIND, "late").await.expect("it is there");
    let token = ImageComponent::token(object["metadata"]["uid"].as_str().expect("a uid"), 2);
    let gone_on = json!({ "action": CREATE, "token": token, "attempt": 2, "state": "NotDone" });
    world.patch_status(KIND, "late", json!({ "phase": "Pending", "operation": gone_on })).await;
    let told = world.until_event("late", "Released").await;
    let made = world.vendor.aliyun_ecs().components().remove(0).id;
    assert!(told["note"].as_str().is_some_and(|note| note.contains(&made)), "{made}: {told:#}");
}

/// Its finalizer was on for longer than the call, so that it went because somebody let it go: another operator, or a person.
#[tokio::test]
async fn what_a_call_made_whose_object_was_let_go_of_is_told() {
    let world = World::new("race-let-go").await;
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::Throttle).action(CREATE).when(When::first(1)),
        FaultRule::new(Fault::SlowAnswer { millis: 4_000 }).action(CREATE).when(When::first(2)),
    ]);
    world.create(component("left", json!({}))).await;
    world.until_true("it is made", || world.effects(CREATE) == 1).await;
    let made = world.vendor.aliyun_ecs().components().remove(0).id;
    world.delete(KIND, "left").await;
    world.patch(KIND, "left", json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone(KIND, "left").await;
    let told = world.until_event("left", "Released").await;
    assert!(told["note"].as_str().is_some_and(|note| note.contains(&made)), "{made}: {told:#}");
    assert_eq!((world.calls(CREATE), world.calls(DELETE)), (2, 0));
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
    let others = [
        "imageexports",
        "imagecomponents",
        "imagepipelines",
        "aliyunimagecopies",
        "batchcomputeimages",
        "rootvolumetemplates",
    ];
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

/// An API server that has begun to delete an object that had no finalizer deletes it, although the operator has just put one on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlives_its_object_is_deleted() {
    let mut world = World::empty("outlived").await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    let kinds = [
        "ImageComponent",
        "ImagePipeline",
        "AliyunImageCopy",
        "BatchComputeImage",
        "AospImage",
        "RootVolumeTemplate",
    ];
    for kind in kinds {
        for object in account_of(kind, &kind.to_lowercase(), &world.vendor) {
            world.create(object).await;
        }
    }
    // The answer to the creating call comes late enough for the object to go.
    let actions = [
        CREATE,
        BUILD,
        "CreateImagePipeline",
        "CopyImage",
        "CreateImage",
        "CreateRootVolumeTemplateFromRootVolume",
    ];
    let slow = actions.map(|action| FaultRule::new(Fault::SlowAnswer { millis: 4_000 }).action(action));
    // Nobody is ever told what this one made.
    let lost = kinds.map(|kind| format!("{}-lost", kind.to_lowercase()));
    let lost = lost.iter().flat_map(|name| {
        ["Name", "ImageName", "name", "DestinationImageName"].map(|field| {
            FaultRule::new(Fault::Hang { effect: true }).parameter(field, name).when(When::first(1))
        })
    });
    // What a copy leaves is tried again, too.
    let snapshot = FaultRule::new(Fault::InternalError { effect: false }).action("DeleteSnapshot");
    let snapshot = snapshot.when(When::first(1));
    world.vendor.set_faults(lost.chain(slow).chain([snapshot]).collect());
    world.start_operator().await;
    let objects = kinds.iter().flat_map(|kind| {
        ["gone", "replaced", "stays", "lost"].map(|name| (*kind, format!("{}-{name}", kind.to_lowercase())))
    });
    let made = |name: &str| {
        let ledger = world.vendor.ledger();
        let named =
            |call: &&vendor_simulator::Call| call.parameters.values().any(|value| value.ends_with(name));
        let calls: Vec<_> = ledger.calls.iter().filter(named).map(|call| call.sequence).collect();
        let effects = ledger.effects.iter().filter(|effect| calls.contains(&effect.call));
        effects
            .filter(|effect| effect.change == Change::Created)
            .map(|effect| effect.id.clone())
            .collect::<Vec<_>>()
    };
    let is_left = |id: &str| {
        let ledger = world.vendor.ledger();
        !ledger.effects.iter().any(|effect| effect.change == Change::Deleted && effect.id == id)
    };
    join_all(objects.map(async |(kind, name)| {
        let mut object = image_of(kind, &name);
        object["spec"]["accountRef"] = json!({ "name": kind.to_lowercase() });
        if name.ends_with("stays") {
            object["spec"]["deletionPolicy"] = json!("Retain");
        }
        world.create(object.clone()).await;
        world.until_true("it is made", || !made(&name).is_empty()).await;
        world.delete(kind, &name).await;
        world.patch(kind, &name, json!({ "metadata": { "finalizers": null } })).await;
        world.until_gone(kind, &name).await;
        let id = made(&name).remove(0);
        if name.ends_with("replaced") {
            object["spec"]["suspend"] = json!(true);
            world.create(object).await;
        }
        let released = world.until_event(&name, "Released").await;
        let note = released["note"].as_str().unwrap_or_default();
        assert!(note.contains(&id), "{released:#}");
        if name.ends_with("stays") {
            assert!(is_left(&id) && note.contains("stays"), "{note}");
        } else {
            world.until_true("it is deleted", || !is_left(&id)).await;
        }
    }))
    .await;
    let snapshots = || world.vendor.aliyun_ecs().snapshots();
    world.until_true("no snapshot is left", || snapshots().is_empty()).await;
    assert!(world.calls("DeleteSnapshot") > 1, "{:#?}", world.call_log());
}

/// Its call had no effect, and what is there is what another object asks for at this moment, which the vendor shows no
/// difference of: another tag, which can be changed, is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlives_its_object_is_not_what_another_one_asks_for() {
    let mut world = World::with_account("outlived-other").await;
    let nameless = |name: &str, tag: Value| {
        component(name, json!({ "forProvider": { "name": null, "componentVersion": null, "tag": tag } }))
    };
    // While no operator runs, so that what happens to their calls can be told by their tokens.
    let uid = |object: Value| object["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let gone = uid(world.create(nameless("gone", Value::Null)).await);
    let asks = uid(world.create(nameless("asks", json!([{ "key": "team", "value": "base" }]))).await);
    let rule = |fault, uid: &str| {
        FaultRule::new(fault).action(CREATE).parameter("ClientToken", uid).when(When::first(1))
    };
    world.vendor.set_faults(vec![
        rule(Fault::ConnectionClosed, &gone),
        // Made, and nobody hears of it for a while.
        rule(Fault::Hang { effect: true }, &asks),
    ]);
    // The answer that its finalizer is on comes late enough for the object to go.
    world.start_slow_operator(Duration::from_secs(8)).await;
    let is_held = |object: &Value| !object["metadata"]["finalizers"].is_null();
    world.until(KIND, "gone", "it has its finalizer", is_held).await;
    world.delete(KIND, "gone").await;
    world.patch(KIND, "gone", json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone(KIND, "gone").await;
    let made = || world.vendor.aliyun_ecs().components().pop().map(|made| made.id).unwrap_or_default();
    world.until_true("the other's is made", || !made().is_empty()).await;
    let id = made();
    let released = world.until_event("gone", "Released").await;
    let note = released["note"].as_str().unwrap_or_default();
    assert!(note.contains(&id) && note.contains("look"), "{released:#}");
    let ready = world.until_ready(KIND, "asks").await;
    assert_eq!(ready["status"]["imageId"], id.as_str(), "{:#?}", world.call_log());
    assert_eq!((world.effects(CREATE), world.calls(DELETE)), (1, 0), "{:#?}", world.call_log());
}
