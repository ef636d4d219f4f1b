//! An API server that does not take everything: what can be shown is shown, and the vendor is not asked again and again.

use crate::harness::{World, aosp_image, component, condition, image_export, rights};
use serde_json::{Value, json};
use std::time::Duration;

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";
const DELETE: &str = "DeleteImageComponent";
const OPERATOR: &str = "half-operator";

/// What the operator may do, with or without writing the objects themselves.
fn rules(may_patch: bool) -> Value {
    let own = if may_patch {
        json!(["imagecomponents", "imagecomponents/status"])
    } else {
        json!(["imagecomponents/status"])
    };
    json!([
        { "apiGroups": ["cloudimages.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": ["cloudimages.dev"], "resources": own, "verbs": ["patch"] },
        { "apiGroups": ["cloudimages.dev"], "resources": ["cloudaccounts", "cloudaccounts/status"], "verbs": ["patch"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] },
    ])
}

#[tokio::test]
async fn who_may_not_write_an_object_says_so_and_asks_the_vendor_once() {
    let mut world = World::with_account("half").await;
    for object in rights("ClusterRole", OPERATOR, OPERATOR, rules(false)) {
        world.create(object).await;
    }
    world.operator_user = Some(OPERATOR.into());
    world.start_operator().await;
    world.create(component("modest", json!({}))).await;
    let message = world.until_condition(KIND, "modest", "Stalled", "True", "WriteRefused").await;
    assert!(
        message.contains("forbidden") && message.contains("the right to patch imagecomponents"),
        "{message}"
    );
    assert_eq!(world.until_event("modest", "WriteRefused").await["type"], "Warning");
    assert_eq!(world.calls(CREATE), 0);

    // The advice is taken.
    world.patch("ClusterRole", OPERATOR, json!({ "rules": rules(true) })).await;
    world.until_may_patch(OPERATOR, KIND, "modest", true).await;
    world.request(KIND, "modest", "now").await;
    world.until_ready(KIND, "modest").await;
    assert_eq!(world.effects(CREATE), 1);

    world.patch("ClusterRole", OPERATOR, json!({ "rules": rules(false) })).await;
    world.until_may_patch(OPERATOR, KIND, "modest", false).await;
    world.delete(KIND, "modest").await;
    let refused = |object: &Value| {
        object["status"]["phase"] == "Deleting" && condition(object, "Ready")["reason"] == "WriteRefused"
    };
    let object = world.until(KIND, "modest", "it says that it cannot go", refused).await;
    // Nothing is deleted for an object that cannot be let go afterwards.
    assert!(object["status"]["imageId"].is_string() && world.calls(DELETE) == 0, "{object:#}");
    let reconciled = |value: &'static str| {
        move |object: &Value| object["status"]["lastHandledReconcileAt"] == value || refused(object)
    };
    for value in ["1", "2", "3"] {
        world.request(KIND, "modest", value).await;
        world.until(KIND, "modest", "it was looked at", reconciled(value)).await;
    }
    world.patch("ClusterRole", OPERATOR, json!({ "rules": rules(true) })).await;
    world.until_may_patch(OPERATOR, KIND, "modest", true).await;
    world.request(KIND, "modest", "4").await;
    world.until_gone(KIND, "modest").await;
    assert_eq!((world.calls(DELETE), world.effects(DELETE)), (1, 1), "{:#?}", world.call_log());
}

#[tokio::test]
async fn a_status_that_is_refused_is_shown_as_far_as_it_is_taken() {
    let world = World::new("statuses").await;
    world.create(component("probe", json!({ "suspend": true }))).await;
    world.until_condition(KIND, "probe", "Ready", "False", "Suspended").await;
    let refuse = async |rule: &str, status: Value| {
        world.refuse_statuses("imagecomponents", rule).await;
        world.until_takes_status(KIND, "probe", status, false).await;
    };
    let refusals = async |name: &str| {
        world.until_event(name, "StatusRefused").await;
        let events = world.events(name).await;
        events.iter().filter(|event| event["reason"] == "StatusRefused").count()
    };

    // What the vendor reports can be done without.
    refuse("!has(object.status.atProvider)", json!({ "atProvider": { "a": "b" } })).await;
    world.create(component("reduced", json!({}))).await;
    let object = world.until_ready(KIND, "reduced").await;
    assert!(
        object["status"]["imageId"].is_string() && object["status"]["atProvider"].is_null(),
        "{object:#}"
    );
    let message = condition(&object, "Ready")["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("not taken by the API server") && message.contains("the test's policy"),
        "{message}"
    );
    assert_eq!(refusals("reduced").await, 1);
    world.accept_statuses().await;
    world.until_takes_status(KIND, "probe", json!({ "atProvider": { "a": "b" } }), true).await;
    world.request(KIND, "reduced", "now").await;
    world.until(KIND, "reduced", "it is whole", |object| object["status"]["atProvider"].is_object()).await;

    // As an older CRD that does not know the word.
    let ready = json!({ "phase": "Ready" });
    refuse("!has(object.status.phase) || object.status.phase != 'Ready'", ready.clone()).await;
    world.create(component("unknown", json!({}))).await;
    let message = world.until_condition(KIND, "unknown", "Stalled", "True", "StatusRefused").await;
    assert!(
        message.contains("the test's policy") && message.contains("Upgrade the operator's CRDs"),
        "{message}"
    );
    world.accept_statuses().await;
    world.until_takes_status(KIND, "probe", ready, true).await;
    world.request(KIND, "unknown", "now").await;
    world.until_ready(KIND, "unknown").await;
    assert_eq!(refusals("unknown").await, 1);
    assert_eq!((world.effects(CREATE), world.vendor.aliyun_ecs().count()), (2, 2));
}

#[tokio::test]
async fn what_somebody_else_changed_is_set_right_with_an_event_that_says_what() {
    let world = World::new("drift").await;
    let tag = json!({ "forProvider": { "tag": [{ "key": "team", "value": "base" }] } });
    world.create(component("tagged", tag)).await;
    let object = world.until_ready(KIND, "tagged").await;
    let id = object["status"]["imageId"].as_str().expect("an id");
    world.vendor.aliyun_ecs().modify(id, |component| {
        component.tags.insert("team".into(), "theirs".into());
    });
    world.request(KIND, "tagged", "now").await;
    let drift = world.until_event("tagged", "DriftCorrected").await;
    assert_eq!(drift["type"], "Normal");
    let note = drift["note"].as_str().unwrap_or_default();
    assert!(note.contains("tag: \"team=theirs\" → \"team=base\""), "{note}");
}

#[tokio::test]
async fn to_wait_is_no_warning_and_what_remains_of_an_export_is_said() {
    let world = World::at_volcengine("queue").await;
    let names: Vec<_> = (0..8).map(|number| format!("export-{number}")).collect();
    for name in &names {
        world.create(image_export(name, "image-44", json!({}))).await;
    }
    let waits = |object: &Value| condition(object, "Ready")["reason"] == "WaitsForOther";
    let runs = |object: &Value| object["status"]["phase"] == "Building";
    for name in &names {
        world.until("ImageExport", name, "it waits or runs", |object| waits(object) || runs(object)).await;
    }
    let objects = world.list("ImageExport").await;
    assert_eq!(objects.iter().filter(|object| waits(object)).count(), 7);
    let warnings: Vec<_> =
        world.list("Event").await.into_iter().filter(|event| event["type"] == "Warning").collect();
    assert!(warnings.is_empty(), "{warnings:#?}");

    let first = objects.iter().find(|object| runs(object)).expect("one runs");
    let name = first["metadata"]["name"].as_str().expect("a name");
    world.vendor.advance(std::time::Duration::from_secs(120));
    let ready = world.until_ready("ImageExport", name).await;
    world.delete("ImageExport", name).await;
    world.until_gone("ImageExport", name).await;
    let artifact = ready["status"]["artifact"].as_str().expect("a file");
    let released = world.until_event(name, "Released").await;
    let note = released["note"].as_str().unwrap_or_default();
    assert!(note.contains(artifact) && note.contains("remain"), "{released:#}");
}

#[tokio::test]
async fn looks_whose_outcome_is_not_taken_wait_for_the_beat() {
    const LOOK: &str = "ListAOSPImage";
    let mut world = World::at_volcengine("unstored").await;
    world.stop_operator().await;
    world.beat = Duration::from_secs(15);
    world.start_operator().await;
    world.create(aosp_image("phone", json!({}))).await;
    let builds = |object: &Value| object["status"]["phase"] == "Building";
    world.until("AospImage", "phone", "it is built", builds).await;
    world.refuse_statuses("aospimages", "object.status.phase == 'Building'").await;
    world.until_takes_status("AospImage", "phone", json!({ "phase": "Ready" }), false).await;
    world.vendor.advance(Duration::from_secs(7200));
    let looks = world.calls(LOOK);
    world.until_true("it is seen that the image is built", || world.calls(LOOK) > looks).await;
    let looks = world.calls(LOOK);
    // Trouble with the API server alone is tried again after 1, 2, 4 and 8 seconds.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(world.calls(LOOK) - looks <= 2, "{:#?}", world.call_log());
    world.accept_statuses().await;
    world.until_ready("AospImage", "phone").await;
    assert_eq!(world.effects("BuildAOSPImage"), 1);
}
