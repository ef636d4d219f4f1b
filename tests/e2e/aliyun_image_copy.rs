//! AliyunImageCopy: made once in another region, told from strangers' images, waiting where it must, and gone with its snapshots.

use crate::harness::{World, condition, image_of};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, aliyun_ecs::Image};

const KIND: &str = "AliyunImageCopy";
const CREATE: &str = "CopyImage";
const HOUR: Duration = Duration::from_secs(3600);

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

/// What was read a moment before it ended does not tell of its snapshot, which would stay, and cost.
#[tokio::test]
async fn a_copy_that_ends_while_it_is_cancelled_leaves_no_snapshot() {
    let mut world = World::with_account("copy-ends").await;
    // No look comes in between.
    world.beat = Duration::from_secs(15);
    world.start_operator().await;
    world.vendor.configure(|settings| settings.aliyun_ecs.copy_seconds = 3600.0);
    world.create(copy("ends", json!({}))).await;
    let has_id = |object: &Value| object["status"]["imageId"].is_string();
    world.until(KIND, "ends", "it is copied", has_id).await;
    world.vendor.configure(|settings| settings.latency_millis = 1000);
    let looks = world.calls("DescribeImages");
    world.delete(KIND, "ends").await;
    world.until_true("its deletion has looked", || world.calls("DescribeImages") > looks).await;
    world.vendor.advance(Duration::from_secs(3600));
    world.until_gone(KIND, "ends").await;
    let done =
        (world.calls("CancelCopyImage"), world.effects("DeleteImage"), world.effects("DeleteSnapshot"));
    assert_eq!(done, (1, 1, 1), "{:#?}", world.call_log());
    assert_eq!(world.vendor.aliyun_ecs().images(), []);
    assert_eq!(world.vendor.aliyun_ecs().snapshots(), []);
}

/// A call that arrives twice is refused for itself: its own copy is known by its mark.
#[tokio::test]
async fn a_refusal_that_is_the_echo_of_an_own_call_is_none() {
    let world = World::new("copy-echo").await;
    world.quicken();
    for (name, code) in [("conflict", "OperationDenied.ImageCopyConflict"), ("token", "IdempotentProcessing")]
    {
        let busy = Fault::VendorError {
            status: 400,
            code: code.into(),
            message: "It is busy.".into(),
            effect: true,
        };
        world.vendor.set_faults(vec![FaultRule::new(busy).action(CREATE).when(When::first(1))]);
        let before = world.effects(CREATE);
        world.create(copy(name, json!({}))).await;
        let object = world.until_ready(KIND, name).await;
        assert_eq!(object["status"]["operation"]["attempt"], 1, "{code}: {object:#}");
        assert_eq!(world.effects(CREATE), before + 1, "{code}");
    }
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
    // Who does not look first is told by the vendor.
    let mut blind = copy("taken", json!({}));
    blind["spec"]["preflightPolicy"] = json!("Skip");
    world.create(blind).await;
    let message = world.until_condition(KIND, "taken", "Stalled", "True", "AlreadyExists").await;
    assert!(message.contains(&stranger), "{message}");
    assert!(world.calls(CREATE) > 1, "{:#?}", world.call_log());
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

/// Names are unique in a region, and whose one is, is read before the call: by the mark of another object, or by its age.
#[tokio::test]
async fn a_name_that_a_stranger_has_is_told_before_the_copy_is_asked_for() {
    let world = World::new("copy-name-taken").await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    let theirs = |name: &str, region: &str, mark: Option<&str>| Image {
        name: name.into(),
        region: region.into(),
        tags: mark.map(|mark| ("cloudimages.dev/attempt".to_owned(), mark.to_owned())).into_iter().collect(),
        creation_time: Timestamp::now() - HOUR,
        ..Image::default()
    };
    let marked =
        ecs.seed_image(theirs("copy-marked", "cn-shanghai", Some("00000000-0000-4000-8000-000000000000-1")));
    let old = ecs.seed_image(theirs("copy-old", "cn-shanghai", None));
    // The name is free where the copy is to be.
    ecs.seed_image(theirs("copy-elsewhere", "cn-beijing", None));
    ecs.seed_image(theirs("copy-elsewhere-2", "cn-shanghai", None));
    for (name, id) in [("marked", &marked), ("old", &old)] {
        world.create(copy(name, json!({}))).await;
        let message = world.until_condition(KIND, name, "Reconciling", "True", "AlreadyExists").await;
        assert!(message.contains(id) && message.contains("CopyImage is not called yet"), "{message}");
        let object = world.get(KIND, name).await.expect("it is there");
        let status = &object["status"];
        assert_eq!((&status["phase"], &status["operation"]), (&json!("Pending"), &Value::Null), "{object:#}");
        let event = world.until_event(name, "AlreadyExists").await;
        assert_eq!(event["type"], "Warning", "{event:#}");
    }
    assert_eq!(world.calls(CREATE), 0, "{:#?}", world.call_log());
    world.create(copy("elsewhere", json!({}))).await;
    world.until_ready(KIND, "elsewhere").await;

    // It goes on when the name is free, or another is asked for.
    ecs.remove_image(&marked);
    world.request(KIND, "marked", "now").await;
    let another = json!({ "spec": { "forProvider": { "destinationImageName": "copy-new" } } });
    world.patch(KIND, "old", another).await;
    for name in ["marked", "old"] {
        let object = world.until_ready(KIND, name).await;
        assert_eq!(object["status"]["operation"]["attempt"], 1, "{object:#}");
    }
    assert_eq!((world.calls(CREATE), world.effects(CREATE)), (3, 3), "{:#?}", world.call_log());
    assert!(ecs.image(&old).is_some());
}

/// What cannot be copied yet is waited for, and what never can is said.
#[tokio::test]
async fn an_image_that_is_not_available_is_not_copied() {
    let world = World::new("copy-source-status").await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    let source = |id: &str, status: &str| Image {
        id: id.into(),
        name: id.into(),
        odd_status: Some(status.into()),
        ..Image::default()
    };
    for (name, status, why) in [
        ("creating", "Creating", "is still being made"),
        ("broken", "CreateFailed", "copies only what is Available"),
        ("deprecated", "Deprecated", "copies only what is Available"),
    ] {
        let id = format!("m-{name}");
        ecs.seed_image(source(&id, status));
        world.create(copy(name, json!({ "imageId": id }))).await;
        let message = world.until_condition(KIND, name, "Reconciling", "True", "PreflightFailed").await;
        assert!(message.contains(why) && message.contains(status), "{message}");
    }
    assert_eq!(world.calls(CREATE), 0, "{:#?}", world.call_log());
    assert!(ecs.modify_image("m-creating", |image| image.odd_status = None));
    world.request(KIND, "creating", "now").await;
    world.until_ready(KIND, "creating").await;
    assert_eq!((world.calls(CREATE), world.effects(CREATE)), (1, 1), "{:#?}", world.call_log());
}

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

/// The first call is still being processed, of which the answer is lost and which no list shows yet: its retry is told so, is no
/// second call, and is made again under the same token until it is answered.
#[tokio::test]
async fn a_retry_that_meets_its_own_call_is_made_again_until_it_is_answered() {
    let world = World::new("copy-processing").await;
    world.quicken();
    world.vendor.configure(|settings| settings.aliyun_ecs.processing_seconds = 3600);
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1)),
        FaultRule::new(Fault::ListLag { seconds: 7200 }).action("DescribeImages"),
    ]);
    world.create(copy("slow", json!({}))).await;
    let is_told = |object: &Value| {
        let told = condition(object, "Reconciling")["message"].as_str().unwrap_or_default();
        told.contains("IdempotentProcessing") && told.contains("with the same token")
    };
    let object = world.until(KIND, "slow", "it says that the first call is being processed", is_told).await;
    assert_eq!(condition(&object, "Stalled")["status"], "False", "{object:#}");
    world.vendor.advance(Duration::from_secs(3600));
    // No list shows it, and the token yields it all the same.
    let has_id = |object: &Value| object["status"]["imageId"].is_string();
    world.until(KIND, "slow", "its retry is answered", has_id).await;
    world.vendor.set_faults(vec![]);
    let object = world.until_ready(KIND, "slow").await;
    let operation = &object["status"]["operation"];
    assert_eq!((world.effects(CREATE), &operation["attempt"]), (1, &json!(1)), "{:#?}", world.call_log());
    let ledger = world.vendor.ledger();
    let tokens: Vec<_> = ledger.calls_of(CREATE).map(|call| call.parameters["ClientToken"].clone()).collect();
    assert!(tokens.len() > 2 && tokens.iter().all(|token| operation["token"] == **token), "{tokens:?}");
}

/// A list that shows an image without its tags does not tell whose it is. The token does, and where that is forgotten, a person is
/// asked: it may be a stranger's, and another one is not asked for.
#[tokio::test]
async fn a_copy_that_is_listed_before_its_tags_is_made_once() {
    let world = World::new("copy-tagless").await;
    world.quicken();
    for (name, remembered) in [("known", 86400), ("forgotten", 0)] {
        world.vendor.configure(|settings| settings.aliyun_ecs.client_token_seconds = remembered);
        world.vendor.set_faults(vec![
            FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1)),
            FaultRule::new(Fault::TagLag { seconds: 7200 }).action("DescribeImages"),
        ]);
        let before = world.effects(CREATE);
        world.create(copy(name, json!({}))).await;
        if remembered == 0 {
            let message = world.until_condition(KIND, name, "Stalled", "True", "OutcomeUnknown").await;
            let images = world.vendor.aliyun_ecs().images();
            let made = images.iter().find(|image| image.name == "copy-forgotten").expect("it is there");
            assert!(message.contains(&made.id) && message.contains("adopt=<id>"), "{message}");
            world.annotate(KIND, name, "cloudimages.dev/outcome", &format!("adopt={}", made.id)).await;
        }
        let object = world.until_ready(KIND, name).await;
        assert_eq!(object["status"]["operation"]["attempt"], 1, "{name}: {object:#}");
        assert_eq!(world.effects(CREATE), before + 1, "{name}: {:#?}", world.call_log());
    }
    assert_eq!(world.vendor.aliyun_ecs().images().len(), 2);
}

/// What an account lacks where the copy is to be is said with what to do about it, and nothing is made until that is done.
#[tokio::test]
async fn a_region_without_kms_or_room_for_a_snapshot_is_said_and_made_use_of_when_it_has_them() {
    let world = World::new("copy-lacks").await;
    world.quicken();
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.regions_without_kms = vec!["cn-shanghai".into()];
        settings.aliyun_ecs.snapshot_quota = Some(0);
    });
    let secret = json!({ "encrypted": true, "kmsKeyId": "key" });
    for (name, parameters, type_, reason, advice) in [
        (
            "secret",
            secret,
            "Stalled",
            "PermissionDenied",
            "Activate KMS for the account in the region of the copy",
        ),
        ("full", json!({}), "Reconciling", "QuotaExceeded", "Delete snapshots in the region of the copy"),
    ] {
        world.create(copy(name, parameters)).await;
        let message = world.until_condition(KIND, name, type_, "True", reason).await;
        assert!(message.contains(advice), "{message}");
        let event = world.until_event(name, reason).await;
        assert_eq!(event["type"], "Warning", "{event:#}");
    }
    assert_eq!(world.effects(CREATE), 0);
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.regions_without_kms = vec![];
        settings.aliyun_ecs.snapshot_quota = None;
    });
    for name in ["secret", "full"] {
        world.request(KIND, name, "now").await;
        world.until_ready(KIND, name).await;
    }
    assert_eq!(world.effects(CREATE), 2, "{:#?}", world.call_log());
}

/// The vendor gives the place of a copy that is cancelled to one that waits, whose object sees that by itself.
#[tokio::test]
async fn a_copy_that_waits_begins_when_another_is_cancelled() {
    let world = World::new("copy-place").await;
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.copy_seconds = 3600.0;
        settings.aliyun_ecs.copies_at_once = 1;
    });
    let told =
        |object: &Value| condition(object, "Reconciling")["message"].as_str().unwrap_or_default().to_owned();
    let has_id = |object: &Value| object["status"]["imageId"].is_string();
    world.create(copy("first", json!({}))).await;
    world.until(KIND, "first", "it is copied", has_id).await;
    world.create(copy("second", json!({}))).await;
    let waits = |object: &Value| told(object).contains("waits at the vendor for its turn");
    world.until(KIND, "second", "it waits", waits).await;
    world.delete(KIND, "first").await;
    world.until_gone(KIND, "first").await;
    let begins = |object: &Value| object["status"]["phase"] == "Building" && has_id(object) && !waits(object);
    world.until(KIND, "second", "it is copied", begins).await;
    world.vendor.advance(Duration::from_secs(3600));
    world.until_ready(KIND, "second").await;
    assert_eq!((world.effects(CREATE), world.effects("CancelCopyImage")), (2, 1), "{:#?}", world.call_log());
}
