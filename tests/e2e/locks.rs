//! Who may export an image, and when: one at a time, and nobody waits for one who does not.

use crate::harness::{World, aosp_image, image_export};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, volcengine::ecs::EcsImage};

const KIND: &str = "ImageExport";
const CREATE: &str = "ExportImage";
const IMAGE: &str = "image-44";
const MINUTE: Duration = Duration::from_secs(60);

fn is_building(object: &Value) -> bool {
    object["status"]["phase"] == "Building"
}

#[tokio::test]
async fn who_was_refused_keeps_nobody_waiting() {
    let world = World::at_volcengine("turn-refused").await;
    let refusal = |code: &str, bucket: &str| {
        let fault =
            Fault::VendorError { status: 404, code: code.into(), message: "No.".into(), effect: false };
        FaultRule::new(fault).action(CREATE).parameter("TOSBucket", bucket).when(When::always())
    };
    world.vendor.set_faults(vec![
        refusal("InvalidTOSBucket.NotFound", "absent"),
        refusal("InvalidTOSPrefix.Malformed", "odd"),
    ]);
    for (bucket, condition, reason) in
        [("absent", "Reconciling", "NotFound"), ("odd", "Stalled", "InvalidSpec")]
    {
        let spec = json!({ "forProvider": { "tosBucket": bucket } });
        world.create(image_export(bucket, IMAGE, spec)).await;
        world.until_condition(KIND, bucket, condition, "True", reason).await;
    }
    world.create(image_export("right", IMAGE, json!({}))).await;
    world.until(KIND, "right", "it runs", is_building).await;
    world.vendor.advance(2 * MINUTE);
    world.until_ready(KIND, "right").await;
    assert_eq!(world.effects(CREATE), 1);
}

/// One that needs a person, one that is suspended, and one whose account is gone, all under way when the operator starts.
#[tokio::test]
async fn after_a_restart_those_who_do_nothing_hold_up_only_their_own_image() {
    let mut world = World::at_volcengine("turn-restart").await;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let operation = |uid: &str, state: &str| json!({ "action": CREATE, "token": format!("{uid}-1"), "attempt": 1, "startedAt": now, "state": state });
    world.stop_operator().await;
    let other = |image: &str, spec: Value| (image.to_owned(), spec);
    for (name, (image, spec), state) in [
        ("unclear", other("image-1", json!({})), "Unclear"),
        ("suspended", other("image-2", json!({ "suspend": true })), "InFlight"),
        ("orphaned", other("image-3", json!({ "accountRef": { "name": "gone" } })), "InFlight"),
    ] {
        let mut object = image_export(name, &image, spec);
        object["metadata"]["finalizers"] = json!(["cloudimages.dev/external"]);
        let object = world.create(object).await;
        let operation = operation(object["metadata"]["uid"].as_str().expect("a uid"), state);
        world.patch_status(KIND, name, json!({ "phase": "Submitting", "operation": operation })).await;
    }
    // A finalizer alone is no intent.
    let by_reference = json!({ "forProvider": { "imageId": null, "imageRef": { "name": "nobody" } } });
    let mut begun = image_export("begun", "", by_reference);
    begun["metadata"]["finalizers"] = json!(["cloudimages.dev/external"]);
    world.create(begun).await;
    world.start_operator().await;
    world.until_condition(KIND, "begun", "Reconciling", "True", "ReferenceNotReady").await;
    world.create(image_export("free", IMAGE, json!({}))).await;
    world.until(KIND, "free", "it runs", is_building).await;
    world.create(image_export("held", "image-1", json!({}))).await;
    let message = world.until_condition(KIND, "held", "Reconciling", "True", "WaitsForOther").await;
    assert!(message.contains("ImageExport turn-restart/unclear"), "{message}");
    assert_eq!(world.effects(CREATE), 1);

    // Being asked to, the operator looks once more what became of the call: nothing, so it is made again.
    world.request(KIND, "unclear", "look").await;
    world.until(KIND, "unclear", "it runs", is_building).await;
    assert_eq!(world.effects(CREATE), 2);
}

/// Whoever may use the account may export, and so hold up others who export the same image with it: while the vendor is at work,
/// and, if an answer was lost, until nothing can be taken for what that call made. Not longer, whatever is written into the
/// object: a record of a call that never was, a time to come, `suspend`.
#[tokio::test]
async fn nobody_holds_up_others_for_ever_whatever_he_writes() {
    let mut world = World::at_volcengine("turn-forged").await;
    world.stop_operator().await;
    let time = |hours: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    // Written before the operator has seen them, which cannot be told from what a crash leaves.
    for (name, record) in [("plain", "/1".to_owned()), ("future", format!("/1/{}", time(9000)))] {
        let mut object = image_export(name, &format!("image-{name}"), json!({ "suspend": true }));
        object["metadata"]["finalizers"] = json!(["cloudimages.dev/external"]);
        let object = world.create(object).await;
        let uid = object["metadata"]["uid"].as_str().expect("a uid");
        world.annotate(KIND, name, "cloudimages.dev/attempt", &format!("{uid}{record}")).await;
    }
    world.start_operator().await;
    for name in ["plain", "future"] {
        let stored = |object: &Value| object["status"]["operation"]["state"] == "InFlight";
        world.until(KIND, name, "it is believed", stored).await;
    }
    // Who begins then waits for all that is under way by its status.
    world.stop_operator().await;
    world.start_operator().await;
    for name in ["plain", "future"] {
        let after = format!("after-{name}");
        world.create(image_export(&after, &format!("image-{name}"), json!({}))).await;
        let message = world.until_condition(KIND, &after, "Reconciling", "True", "WaitsForOther").await;
        assert!(message.contains(&format!("ImageExport turn-forged/{name}")), "{message}");
    }
    // One that runs and is suspended is no reason to wait but for the vendor.
    world.create(image_export("runs", IMAGE, json!({}))).await;
    world.until(KIND, "runs", "it runs", is_building).await;
    world.patch(KIND, "runs", json!({ "spec": { "suspend": true } })).await;
    world.create(image_export("after-runs", IMAGE, json!({}))).await;
    let message = world.until_condition(KIND, "after-runs", "Reconciling", "True", "VendorBusy").await;
    assert!(message.contains("has not ended"), "{message}");
    world.vendor.advance(2 * MINUTE);
    world.request(KIND, "after-runs", "now").await;
    world.until(KIND, "after-runs", "it runs", is_building).await;

    // After the half hour.
    for name in ["plain", "future"] {
        world.patch_status(KIND, name, json!({ "operation": { "startedAt": time(-1) } })).await;
        world.request(KIND, name, "now").await;
        world.until(KIND, &format!("after-{name}"), "it runs", is_building).await;
    }
    // Nothing of it is taken for anybody else's.
    world.patch(KIND, "runs", json!({ "spec": { "suspend": false } })).await;
    world.vendor.advance(2 * MINUTE);
    for name in ["runs", "after-plain", "after-future", "after-runs"] {
        world.until_ready(KIND, name).await;
    }
    assert_eq!(world.effects(CREATE), 4);
    assert_eq!(world.vendor.volcengine().overlapping_exports(), []);
}

/// Both are called `base`; and what the reference means changes while the export runs.
#[tokio::test]
async fn an_export_is_of_the_image_that_the_reference_meant_when_it_began() {
    let world = World::at_volcengine("turn-reference").await;
    let by_reference = json!({ "forProvider": { "imageId": null, "imageRef": { "name": "base" } } });
    world.create(image_export("base", "", by_reference)).await;
    world.until_condition(KIND, "base", "Reconciling", "True", "ReferenceNotReady").await;
    world.create(aosp_image("base", json!({ "deletionPolicy": "Retain" }))).await;
    let image = world.until("AospImage", "base", "it is built", is_building).await;
    let id = image["status"]["imageId"].as_str().expect("an id").to_owned();
    world.vendor.volcengine().seed_image(EcsImage { id: id.clone(), ..EcsImage::default() });
    world.vendor.advance(2 * MINUTE);
    world.until_ready("AospImage", "base").await;
    let running = world.until(KIND, "base", "it runs", is_building).await;
    let meant = json!([{ "field": "forProvider.imageId", "kind": "AospImage", "name": "base", "id": id }]);
    assert_eq!(running["status"]["operation"]["references"], meant);

    world.delete("AospImage", "base").await;
    world.until_gone("AospImage", "base").await;
    world.vendor.advance(2 * MINUTE);
    let export = world.until_ready(KIND, "base").await;
    assert_eq!(export["status"]["artifact"], format!("tos://bucket-1/test123_{id}_system.qcow2"));
    assert_eq!(world.effects(CREATE), 1);
    let writes = world.writes("imageexports").len();
    assert!(writes <= 7, "{writes} writes, the word that it waits among them");
}

/// What is to go is needed still: it goes when that has ended, and not before.
#[tokio::test]
async fn an_image_stays_as_long_as_another_object_works_on_it() {
    let world = World::at_volcengine("turn-needed").await;
    world.create(aosp_image("base", json!({}))).await;
    let image = world.until("AospImage", "base", "it is built", is_building).await;
    let id = image["status"]["imageId"].as_str().expect("an id").to_owned();
    world.vendor.volcengine().seed_image(EcsImage { id: id.clone(), ..EcsImage::default() });
    world.vendor.advance(2 * MINUTE);
    world.until_ready("AospImage", "base").await;
    let by_reference = json!({ "forProvider": { "imageId": null, "imageRef": { "name": "base" } } });
    world.create(image_export("export", "", by_reference)).await;
    world.until(KIND, "export", "it runs", is_building).await;

    world.delete("AospImage", "base").await;
    let message = world.until_condition("AospImage", "base", "Ready", "False", "DeletionWaits").await;
    assert!(message.contains("ImageExport turn-needed/export") && message.contains(&id), "{message}");
    assert_eq!(world.calls("DeleteAOSPImage"), 0);
    world.vendor.advance(2 * MINUTE);
    world.until_ready(KIND, "export").await;
    world.until_gone("AospImage", "base").await;
    assert_eq!(world.effects("DeleteAOSPImage"), 1);
}
