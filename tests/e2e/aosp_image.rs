//! Images of cloud phones: built once though the API has no token, changed in place, deleted in shared calls.

use crate::harness::{World, aosp_image, condition};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, volcengine::acep::AospImage};

const KIND: &str = "AospImage";
const CREATE: &str = "BuildAOSPImage";
const LOOK: &str = "ListAOSPImage";
const DELETE: &str = "DeleteAOSPImage";
const OUTCOME: &str = "cloudimages.dev/outcome";
const MINUTES: Duration = Duration::from_secs(120);

/// Waits until an image is being built, and gives its id.
async fn until_building(world: &World, name: &str) -> String {
    let builds = |object: &Value| object["status"]["phase"] == "Building";
    let object = world.until(KIND, name, "it is Building", builds).await;
    object["status"]["imageId"].as_str().expect("an image id").to_owned()
}

fn image(world: &World, id: &str) -> AospImage {
    world.vendor.volcengine().aosp_image(id).expect("the vendor has it")
}

#[tokio::test]
async fn an_image_is_built_changed_in_place_and_deleted() {
    let world = World::at_volcengine("aosp").await;
    let spec = json!({ "forProvider": { "imageName": "phone", "imageAnnotation": "nightly build" } });
    let created = world.create(aosp_image("phone", spec)).await;
    let id = until_building(&world, "phone").await;
    world.vendor.advance(MINUTES);
    let phone = world.until_ready(KIND, "phone").await;
    assert_eq!(phone["status"]["imageId"], id.as_str());
    assert_eq!(phone["status"]["atProvider"]["imageStatus"], 11);
    let writes = world.writes("aospimages");
    assert!(writes.len() <= 4, "{writes:#?}");

    let uid = created["metadata"]["uid"].as_str().expect("a uid");
    let marker = format!("[cloudimages.dev/{uid}-1]");
    assert_eq!(image(&world, &id).annotation, format!("nightly build {marker}"));

    let wanted = json!({ "imageName": "better", "imageAnnotation": "weekly build" });
    world.patch(KIND, "phone", json!({ "spec": { "forProvider": wanted } })).await;
    let phone = world.until_ready(KIND, "phone").await;
    assert_eq!(phone["status"]["imageId"], id.as_str());
    let AospImage { name, annotation, .. } = image(&world, &id);
    assert_eq!((name, annotation), ("better".into(), format!("weekly build {marker}")));
    assert_eq!(world.calls("UpdateAOSPImage"), 1);

    // An annotation that goes leaves the marker.
    world.patch(KIND, "phone", json!({ "spec": { "forProvider": { "imageAnnotation": null } } })).await;
    world.until_ready(KIND, "phone").await;
    assert_eq!(image(&world, &id).annotation, marker);

    world.delete(KIND, "phone").await;
    world.until_gone(KIND, "phone").await;
    assert_eq!((world.effects(CREATE), world.effects(DELETE)), (1, 1));
    assert_eq!(world.vendor.volcengine().aosp_images(), []);
}

#[tokio::test]
async fn without_a_product_id_nothing_is_built() {
    let world = World::at_volcengine("aosp-product").await;
    let account = json!({ "spec": { "volcengine": { "acep": { "productId": null } } } });
    world.patch("CloudAccount", "default", account).await;
    let generation_seen =
        |account: &Value| account["status"]["observedGeneration"] == account["metadata"]["generation"];
    world.until("CloudAccount", "default", "its change is seen", generation_seen).await;
    world.create(aosp_image("phone", json!({}))).await;
    let message = world.until_condition(KIND, "phone", "Reconciling", "True", "ProductIdMissing").await;
    assert!(message.contains("acep.productId") && message.contains("forProvider.productId"), "{message}");
    assert_eq!(world.vendor.ledger().calls, []);

    world.patch(KIND, "phone", json!({ "spec": { "forProvider": { "productId": "1749281594201" } } })).await;
    until_building(&world, "phone").await;
    world.vendor.advance(MINUTES);
    world.until_ready(KIND, "phone").await;
    let ledger = world.vendor.ledger();
    assert!(ledger.calls_of(LOOK).all(|call| call.parameters["ProductId"] == "1749281594201"));
}

#[tokio::test]
async fn deletions_share_calls_and_each_gets_its_own_answer() {
    const COUNT: usize = 25;
    let mut world = World::at_volcengine("aosp-deletes").await;
    let names: Vec<_> = (0..COUNT).map(|number| format!("phone-{number}")).collect();
    join_all(names.iter().map(|name| world.create(aosp_image(name, json!({}))))).await;
    let ids = join_all(names.iter().map(|name| until_building(&world, name))).await;
    world.vendor.advance(MINUTES);
    join_all(names.iter().map(|name| world.until_ready(KIND, name))).await;

    // So that all are found being deleted at one moment.
    world.stop_operator().await;
    join_all(names.iter().map(|name| world.delete(KIND, name))).await;
    assert!(world.vendor.volcengine().modify_aosp_image(&ids[7], |image| image.delete_error = Some(21350)));
    world.start_operator().await;
    let message = world.until_condition(KIND, &names[7], "Ready", "False", "VendorUnavailable").await;
    assert!(message.contains("21350") && message.contains("request id"), "{message}");
    join_all(names.iter().filter(|name| **name != names[7]).map(|name| world.until_gone(KIND, name))).await;

    let ledger = world.vendor.ledger();
    let others: Vec<_> = ledger
        .calls_of(DELETE)
        .filter(|call| ledger.effects.iter().any(|effect| effect.call == call.sequence))
        .collect();
    assert!(others.len() <= COUNT / 10 + 3, "{others:#?}");
    assert!(ledger.calls_of(DELETE).all(|call| call.code.is_none()), "none had more than ten ids");
    assert_eq!(world.effects(DELETE), COUNT - 1);

    world.vendor.volcengine().modify_aosp_image(&ids[7], |image| image.delete_error = None);
    world.request(KIND, &names[7], "again").await;
    world.until_gone(KIND, &names[7]).await;
    assert_eq!(world.vendor.volcengine().aosp_images(), []);
}

#[tokio::test]
async fn a_status_that_no_document_has_is_shown_and_waited_out() {
    let world = World::at_volcengine("aosp-odd").await;
    world.create(aosp_image("phone", json!({}))).await;
    let id = until_building(&world, "phone").await;
    world.vendor.volcengine().modify_aosp_image(&id, |image| image.odd_status = Some(7));
    let odd = |object: &Value| {
        let message = condition(object, "Reconciling")["message"].as_str().unwrap_or_default();
        message.contains("status 7 (ODD)") && message.contains(&id)
    };
    world.until(KIND, "phone", "the odd status is shown", odd).await;
    world.vendor.volcengine().modify_aosp_image(&id, |image| image.odd_status = None);
    world.vendor.advance(MINUTES);
    world.until_ready(KIND, "phone").await;
}

#[tokio::test]
async fn a_failed_build_stays_failed_until_somebody_asks() {
    let world = World::at_volcengine("aosp-failed").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::FailBuild).action(CREATE).when(When::first(1))]);
    world.create(aosp_image("phone", json!({}))).await;
    let first = until_building(&world, "phone").await;
    world.vendor.advance(MINUTES);
    let message = world.until_condition(KIND, "phone", "Stalled", "True", "BuildFailed").await;
    assert!(message.contains(&first) && message.contains("requested-at"), "{message}");
    let phone = world.get(KIND, "phone").await.expect("it is there");
    assert_eq!(phone["status"]["phase"], "Failed");

    world.request(KIND, "phone", "again").await;
    let second = |object: &Value| {
        object["status"]["phase"] == "Building" && object["status"]["operation"]["attempt"] == 2
    };
    world.until(KIND, "phone", "it is built again", second).await;
    world.vendor.advance(MINUTES);
    let phone = world.until_ready(KIND, "phone").await;
    let [left] = world.vendor.volcengine().aosp_images().try_into().expect("what failed is cleared away");
    assert_eq!(phone["status"]["imageId"], left.id.as_str());
    assert_ne!(left.id, first);
    assert_eq!(world.effects(CREATE), 2);
}

#[tokio::test]
async fn a_lost_build_is_found_by_its_marker() {
    let world = World::at_volcengine("aosp-lost").await;
    for (index, fault) in
        [Fault::AnswerLost, Fault::ConnectionClosed, Fault::BadGateway { effect: true }, Fault::TruncatedBody]
            .into_iter()
            .enumerate()
    {
        // All bear one name: only the marker tells them apart.
        let name = format!("phone-{index}");
        world.vendor.set_faults(vec![FaultRule::new(fault.clone()).action(CREATE).when(When::first(1))]);
        world.create(aosp_image(&name, json!({ "forProvider": { "imageName": "phone" } }))).await;
        let id = until_building(&world, &name).await;
        assert_eq!(world.effects(CREATE), index + 1, "{fault:?}");
        let uid = world.get(KIND, &name).await.expect("it is there")["metadata"]["uid"].clone();
        assert!(image(&world, &id).annotation.contains(uid.as_str().expect("a uid")));
    }
}

#[tokio::test]
async fn a_lost_build_whose_annotation_does_not_come_back_is_a_person_s_to_tell() {
    let world = World::at_volcengine("aosp-unclear").await;
    world.vendor.configure(|settings| settings.volcengine.echo_annotation = false);
    for name in ["adopted", "resubmitted"] {
        world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1))]);
        world.create(aosp_image(name, json!({}))).await;
        let message = world.until_condition(KIND, name, "Stalled", "True", "OutcomeUnknown").await;
        let made = world.vendor.volcengine().aosp_images().pop().expect("the vendor made it").id;
        assert!(message.contains(&made) && message.contains(OUTCOME), "{message}");
        let object = world.get(KIND, name).await.expect("it is there");
        assert_eq!(object["status"]["phase"], "Unclear");
        assert_eq!(object["status"]["operation"]["candidates"], json!([made]));

        let before = world.effects(CREATE);
        if name == "adopted" {
            world.annotate(KIND, name, OUTCOME, &format!("adopt={made}")).await;
            assert_eq!(until_building(&world, name).await, made);
            assert_eq!(world.effects(CREATE), before);
        } else {
            world.annotate(KIND, name, OUTCOME, "resubmit").await;
            assert_ne!(until_building(&world, name).await, made);
            assert_eq!(world.effects(CREATE), before + 1, "as the person asked");
        }
    }
    world.vendor.advance(MINUTES);
    world.until_ready(KIND, "adopted").await;
    world.until_ready(KIND, "resubmitted").await;
}
