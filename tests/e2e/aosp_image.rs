//! Images of cloud phones: built once though the API has no token, changed in place, deleted in shared calls.

use crate::harness::{World, aosp_image, condition, volcengine_account};
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
    assert_eq!(image(&world, &id).annotation, format!("{marker} nightly build"));

    let wanted = json!({ "imageName": "better", "imageAnnotation": "weekly build" });
    world.patch(KIND, "phone", json!({ "spec": { "forProvider": wanted } })).await;
    let phone = world.until_ready(KIND, "phone").await;
    assert_eq!(phone["status"]["imageId"], id.as_str());
    let AospImage { name, annotation, .. } = image(&world, &id);
    assert_eq!((name, annotation), ("better".into(), format!("{marker} weekly build")));
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
    let mut account = volcengine_account("bare", world.volcengine_endpoint());
    json_patch::merge(&mut account, &json!({ "spec": { "volcengine": { "acep": { "productId": null } } } }));
    world.create(account).await;
    world.create(aosp_image("phone", json!({ "accountRef": { "name": "bare" } }))).await;
    let message = world.until_condition(KIND, "phone", "Stalled", "True", "ProductIdMissing").await;
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

/// What is there and has a status that the vendor itself does not know counts as made.
#[tokio::test]
async fn an_image_of_unknown_status_may_be_unusable_and_is_no_build() {
    let world = World::at_volcengine("aosp-unknown").await;
    world.vendor.configure(|settings| settings.volcengine.unknown_seconds = 1e6);
    let unusable = |stalled: bool| {
        move |object: &Value| {
            let (ready, stall) = (condition(object, "Ready"), condition(object, "Stalled"));
            ready["reason"] == "Unusable"
                && ready["status"] == "False"
                && (stall["status"] == "True") == stalled
        }
    };
    let mut object = aosp_image("phone", json!({}));
    object["spec"]["recreatePolicy"] = "WhenMissing".into();
    world.create(object).await;
    let first = until_building(&world, "phone").await;
    world.vendor.advance(MINUTES);
    // For as long as a build may take, it may be a step of one.
    world.until(KIND, "phone", "its status is unknown", unusable(false)).await;
    world.vendor.volcengine().modify_aosp_image(&first, |image| image.odd_status = Some(11));
    world.until_ready(KIND, "phone").await;
    // Others than 0 may be steps, too, but of nothing that was there.
    world.vendor.volcengine().modify_aosp_image(&first, |image| image.odd_status = Some(7));
    world.request(KIND, "phone", "1").await;
    let object = world.until(KIND, "phone", "it is at work again", unusable(false)).await;
    let message = condition(&object, "Ready")["message"].as_str().unwrap_or_default();
    assert!(message.contains("status 7"), "{message}");
    let long_ago = json!({ "operation": { "startedAt": "2026-01-01T00:00:00Z" } });
    world.patch_status(KIND, "phone", long_ago).await;
    world.vendor.volcengine().modify_aosp_image(&first, |image| image.odd_status = Some(0));
    world.request(KIND, "phone", "2").await;
    world.until(KIND, "phone", "a person has to look", unusable(true)).await;
    world.vendor.configure(|settings| settings.volcengine.unknown_seconds = 0.0);
    world.vendor.volcengine().remove_aosp_image(&first);
    let remade = |object: &Value| {
        object["status"]["phase"] == "Building" && object["status"]["imageId"] != json!(first)
    };
    world.until(KIND, "phone", "it is made again", remade).await;
    world.vendor.advance(MINUTES);
    world.until_ready(KIND, "phone").await;
    assert_eq!(world.effects(CREATE), 2);
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

/// Whether DeleteAOSPImage is refused for each id that is not there, or as a whole, is not documented.
#[tokio::test]
async fn what_is_gone_is_gone_whatever_its_deletion_is_refused_with() {
    let world = World::at_volcengine("aosp-gone").await;
    let refused = Fault::VendorError {
        status: 400,
        code: "InvalidParameter".into(),
        message: "no such image".into(),
        effect: false,
    };
    world.vendor.set_faults(vec![
        FaultRule::new(refused).action(DELETE),
        FaultRule::new(Fault::FailBuild).action(CREATE).parameter("ImageName", "failed").when(When::first(1)),
    ]);
    let old = json!({ "operation": { "startedAt": "2020-01-01T00:00:00Z" } });
    let mut ids = vec![];
    for name in ["made", "failed"] {
        world.create(aosp_image(name, json!({}))).await;
        ids.push(until_building(&world, name).await);
    }
    world.vendor.advance(MINUTES);
    world.until_ready(KIND, "made").await;
    world.until_condition(KIND, "failed", "Stalled", "True", "BuildFailed").await;
    for name in ["made", "failed"] {
        // So long ago that a list would show it.
        world.patch_status(KIND, name, old.clone()).await;
    }

    // What a failed attempt left is gone already: the next one begins at once.
    assert!(world.vendor.volcengine().remove_aosp_image(&ids[1]).is_some());
    world.request(KIND, "failed", "again").await;
    let second = |object: &Value| object["status"]["operation"]["attempt"] == 2;
    world.until(KIND, "failed", "it is built again", second).await;

    // What is still there is not taken for gone.
    world.delete(KIND, "made").await;
    let refused = |object: &Value| {
        condition(object, "Ready")["message"]
            .as_str()
            .is_some_and(|message| message.contains("no such image"))
    };
    world.until(KIND, "made", "it says that its deletion is refused", refused).await;
    assert!(world.vendor.volcengine().remove_aosp_image(&ids[0]).is_some());
    world.request(KIND, "made", "now").await;
    world.until_gone(KIND, "made").await;
    assert_eq!((world.effects(CREATE), world.effects(DELETE)), (3, 0));
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
        // A wrong answer is said to be one, and changes nothing.
        world.annotate(KIND, name, OUTCOME, "adopt=img-that-nobody-has").await;
        let message = world.until_condition(KIND, name, "Stalled", "True", "InvalidOutcome").await;
        assert!(message.contains("img-that-nobody-has") && message.contains("correct it"), "{message}");
        if name == "resubmitted" {
            let adopted = world.get(KIND, "adopted").await.expect("it is there");
            let theirs = adopted["status"]["imageId"].as_str().expect("an id");
            world.annotate(KIND, name, OUTCOME, &format!("adopt={theirs}")).await;
            let message = world.until_condition(KIND, name, "Ready", "False", "HeldByOther").await;
            assert!(message.contains("AospImage aosp-unclear/adopted"), "{message}");
        }
        assert_eq!(world.effects(CREATE), before);
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

#[tokio::test]
async fn a_lost_build_that_was_renamed_meanwhile_is_not_built_again() {
    let world = World::at_volcengine("aosp-renamed").await;
    world.vendor.configure(|settings| settings.volcengine.echo_annotation = false);
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1))]);
    world.create(aosp_image("phone", json!({}))).await;
    world.until_condition(KIND, "phone", "Reconciling", "True", "AnswerLost").await;
    world.patch(KIND, "phone", json!({ "spec": { "forProvider": { "imageName": "renamed" } } })).await;
    let message = world.until_condition(KIND, "phone", "Stalled", "True", "OutcomeUnknown").await;
    let [made] = world.vendor.volcengine().aosp_images().try_into().expect("one image");
    assert!(message.contains(&made.id), "{message}");
}

/// What is on the second page is not taken for missing when the list starts over after the first.
#[tokio::test]
async fn a_lost_build_is_not_built_again_while_lists_cannot_be_read_to_their_end() {
    let world = World::at_volcengine("aosp-pages").await;
    world.vendor.configure(|settings| settings.volcengine.tokens_expire = true);
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1))]);
    world.create(aosp_image("phone", json!({}))).await;
    world.until_true("it is made", || world.effects(CREATE) == 1).await;
    let made = world.vendor.volcengine().aosp_images().pop().expect("the vendor made it").id;
    for _ in 0..150 {
        let other = AospImage { annotation: "another's".into(), ..AospImage::default() };
        world.vendor.volcengine().seed_aosp_image(other);
    }
    let unread = |object: &Value| {
        let message = condition(object, "Reconciling")["message"].as_str().unwrap_or_default();
        message.contains("could not be read to its end")
    };
    world.until(KIND, "phone", "it says why it waits", unread).await;
    world.vendor.configure(|settings| settings.volcengine.tokens_expire = false);
    assert_eq!(until_building(&world, "phone").await, made);
    assert_eq!(world.effects(CREATE), 1);
}

/// A new image may be missing in the list for a while, which does not mean that it is gone.
#[tokio::test]
async fn a_new_image_that_cannot_be_deleted_and_is_not_listed_yet_is_not_left_behind() {
    let world = World::at_volcengine("aosp-unlisted").await;
    let delay = json!({ "spec": { "volcengine": { "acep": { "listDelay": "5m" } } } });
    world.patch("CloudAccount", "default", delay).await;
    world.vendor.configure(|settings| settings.volcengine.delete_while_building = false);
    world.vendor.set_faults(vec![FaultRule::new(Fault::ListLag { seconds: 50 }).action(LOOK)]);
    world.create(aosp_image("phone", json!({}))).await;
    until_building(&world, "phone").await;
    world.delete(KIND, "phone").await;
    let refused =
        |object: &Value| condition(object, "Ready")["message"].as_str().unwrap_or_default().contains("21341");
    world.until(KIND, "phone", "it says why it is still there", refused).await;
    world.vendor.set_faults(vec![]);
    world.vendor.advance(MINUTES);
    world.request(KIND, "phone", "again").await;
    world.until_gone(KIND, "phone").await;
    assert_eq!(world.vendor.volcengine().aosp_images(), []);
}

#[tokio::test]
async fn an_imported_image_keeps_the_remark_that_nobody_asked_to_change() {
    let world = World::at_volcengine("aosp-import").await;
    let theirs = AospImage { name: "old".into(), annotation: "theirs".into(), ..AospImage::default() };
    let id = world.vendor.volcengine().seed_aosp_image(theirs);
    world.vendor.advance(MINUTES);
    let matching =
        json!({ "import": { "match": { "imageName": "old" } }, "forProvider": { "imageName": "new" } });
    world.create(aosp_image("phone", matching)).await;
    let phone = world.until_ready(KIND, "phone").await;
    assert_eq!(phone["status"]["imageId"], id.as_str());
    let AospImage { name, annotation, .. } = image(&world, &id);
    assert_eq!((name.as_str(), annotation.as_str()), ("new", "theirs"));
    assert_eq!(world.calls(CREATE), 0);
}

#[tokio::test]
async fn a_suspended_image_is_left_alone() {
    let world = World::at_volcengine("aosp-suspended").await;
    world.create(aosp_image("phone", json!({ "suspend": true }))).await;
    world.until_condition(KIND, "phone", "Stalled", "False", "Suspended").await;
    assert_eq!(world.vendor.ledger().calls, []);
    world.patch(KIND, "phone", json!({ "spec": { "suspend": false } })).await;
    let id = until_building(&world, "phone").await;
    world.vendor.advance(MINUTES);
    world.until_ready(KIND, "phone").await;

    world.patch(KIND, "phone", json!({ "spec": { "suspend": true } })).await;
    world.delete(KIND, "phone").await;
    world.until_condition(KIND, "phone", "Stalled", "False", "Suspended").await;
    assert_eq!((world.calls(DELETE), image(&world, &id).id), (0, id));
    world.patch(KIND, "phone", json!({ "spec": { "suspend": false } })).await;
    world.until_gone(KIND, "phone").await;
    assert_eq!(world.vendor.volcengine().aosp_images(), []);
}

#[tokio::test]
async fn killed_between_a_build_s_call_and_its_answer() {
    let mut world = World::at_volcengine("aosp-killed").await;
    world.stop_operator().await;
    let fault = |name: &str, effect| {
        FaultRule::new(Fault::Hang { effect })
            .action(CREATE)
            .parameter("ImageName", name)
            .when(When::first(1))
    };
    world.vendor.set_faults(vec![fault("acted", true), fault("ignored", false)]);
    let program = world.start_program(None);
    for name in ["acted", "ignored"] {
        world.create(aosp_image(name, json!({}))).await;
    }
    world.until_true("both calls have arrived", || world.calls(CREATE) == 2).await;
    let (code, log) = program.stop().await;
    assert_eq!((code, world.effects(CREATE)), (Some(128 + 9), 1), "{log}");

    world.start_operator().await;
    for name in ["acted", "ignored"] {
        let id = until_building(&world, name).await;
        assert_eq!(image(&world, &id).name, name);
    }
    assert_eq!(world.effects(CREATE), 2);
}

/// Answers that carry an `Error` of null, the service's name in capitals, and keys with a security token.
#[tokio::test]
async fn what_the_documents_leave_open_makes_no_difference() {
    let world = World::at_volcengine("aosp-dialects").await;
    world.patch("Secret", "volcengine", json!({ "stringData": { "securityToken": "token" } })).await;
    world.vendor.configure(|settings| {
        settings.volcengine.null_error = true;
        for key in &mut settings.access_keys {
            key.security_token = Some("token".into());
        }
    });
    let account = json!({ "spec": { "volcengine": { "acep": { "serviceName": "ACEP" } } } });
    world.patch("CloudAccount", "default", account).await;
    let seen = |account: &Value| account["status"]["observedGeneration"] == account["metadata"]["generation"];
    world.until("CloudAccount", "default", "its change is seen", seen).await;
    world.create(aosp_image("phone", json!({}))).await;
    let id = until_building(&world, "phone").await;
    world.vendor.advance(MINUTES);
    world.until_ready(KIND, "phone").await;
    world.patch(KIND, "phone", json!({ "spec": { "forProvider": { "imageName": "new" } } })).await;
    world.until_ready(KIND, "phone").await;
    assert_eq!(image(&world, &id).name, "new");
    world.delete(KIND, "phone").await;
    world.until_gone(KIND, "phone").await;
    assert_eq!((world.effects(CREATE), world.effects(DELETE)), (1, 1));
}
