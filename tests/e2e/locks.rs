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
    let operation = |uid: &str, state: &str| json!({ "action": CREATE, "token": format!("{uid}-1"), "attempt": 1, "startedAt": "2026-01-01T00:00:00Z", "state": state });
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
    assert_eq!(running["status"]["operation"]["reference"], id.as_str());

    world.delete("AospImage", "base").await;
    world.until_gone("AospImage", "base").await;
    world.vendor.advance(2 * MINUTE);
    let export = world.until_ready(KIND, "base").await;
    assert_eq!(export["status"]["artifact"], format!("tos://bucket-1/test123_{id}_system.qcow2"));
    assert_eq!(world.effects(CREATE), 1);
    let writes = world.writes("imageexports").len();
    assert!(writes <= 7, "{writes} writes, the word that it waits among them");
}
