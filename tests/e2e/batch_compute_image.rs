//! BatchComputeImage: registered once, never changed, told apart from what others registered.

use crate::harness::{World, condition, secret};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, batchcompute::images::Image};

const KIND: &str = "BatchComputeImage";
const CREATE: &str = "CreateImage";

/// A world whose account `default` is at the simulated BatchCompute.
async fn world(name: &str) -> World {
    let mut world = World::empty(name).await;
    world.beat = Duration::from_secs(1);
    world.create(secret("aliyun")).await;
    let addresses = world.vendor.addresses();
    world
        .create(json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": "CloudAccount",
            "metadata": { "name": "default" },
            "spec": { "aliyun": {
                "regionId": "cn-hangzhou",
                "credentialsSecretRef": { "name": "aliyun" },
                "ecs": { "endpoint": format!("http://{}", addresses.aliyun_ecs) },
                "batchCompute": { "endpoint": format!("http://{}", addresses.batchcompute) },
            } },
        }))
        .await;
    world.start_operator().await;
    world
}

/// An image that the vendor accepts, changed by a JSON merge patch of its spec.
fn image(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": KIND,
        "metadata": { "name": name },
        "spec": { "forProvider": { "name": name, "ecsImageId": format!("m-{name}"), "platform": "Linux" } },
    });
    json_patch::merge(&mut object["spec"], &spec);
    object
}

fn parameters(parameters: Value) -> Value {
    json!({ "forProvider": parameters })
}

#[tokio::test]
async fn an_image_is_registered_shown_and_deleted() {
    let world = world("batch-life").await;
    world.create(image("life", parameters(json!({ "description": "for tests" })))).await;
    let object = world.until_ready(KIND, "life").await;
    let [made] = world.vendor.batchcompute().images().try_into().expect("one image");
    assert_eq!(object["status"]["imageId"], made.id.as_str());
    assert_eq!((made.name.as_str(), made.ecs_image_id.as_str()), ("life", "m-life"));
    assert_eq!(object["status"]["atProvider"]["ecsImageId"], "m-life");
    assert_eq!(object["status"]["atProvider"]["description"], "for tests");

    let uid = object["metadata"]["uid"].as_str().expect("a uid").replace('-', "_");
    let token = object["status"]["operation"]["token"].as_str().expect("a token");
    assert!(token.starts_with(&uid), "{token}");
    assert_eq!(world.vendor.ledger().effects[0].token.as_deref(), Some(token));

    world.delete(KIND, "life").await;
    world.until_gone(KIND, "life").await;
    assert_eq!(world.vendor.batchcompute().images(), []);
    assert_eq!((world.effects(CREATE), world.effects("DeleteImage")), (1, 1));
}

/// The longest and strangest that admission lets pass, the vendor takes too.
#[tokio::test]
async fn what_admission_accepts_the_vendor_accepts() {
    let world = world("batch-most").await;
    let long = |length: usize| "x".repeat(length);
    let most =
        json!({ "name": format!("_-{}", long(62)), "description": long(1024), "ecsImageId": long(256) });
    world.create(image("most", parameters(most))).await;
    world.until_ready(KIND, "most").await;
}

#[tokio::test]
async fn what_a_lost_call_registered_is_found_again() {
    let world = world("batch-lost").await;
    let rule = |name: &str| FaultRule::new(Fault::AnswerLost).action(CREATE).parameter("Name", name);
    world.vendor.set_faults(vec![rule("lost").when(When::first(2)), rule("forgotten").when(When::first(1))]);
    world.create(image("lost", json!({}))).await;
    world.until_ready(KIND, "lost").await;
    assert_eq!(world.effects(CREATE), 1);

    // A vendor that does not know the token any more says that the image has been registered, and so it has.
    world.vendor.configure(|settings| settings.batchcompute.token_seconds = 0);
    world.create(image("forgotten", json!({}))).await;
    let object = world.until_ready(KIND, "forgotten").await;
    assert_eq!(world.effects(CREATE), 2);
    let images = world.vendor.batchcompute().images();
    let made = images.iter().find(|image| image.name == "forgotten").expect("it is there");
    assert_eq!(object["status"]["imageId"], made.id.as_str());
}

/// What a lost call made is as the spec was then: to the vendor, its token now stands for something else.
#[tokio::test]
async fn what_was_registered_before_the_spec_changed_is_never_given_up() {
    let mut world = world("batch-token").await;
    let lost = FaultRule::new(Fault::AnswerLost).action(CREATE);
    world.vendor.set_faults(vec![lost]);
    world.create(image("token", json!({}))).await;
    let lost = |object: &Value| object["status"]["operation"]["state"] == "InFlight";
    world.until(KIND, "token", "the answer is lost", lost).await;
    world.stop_operator().await;
    world.vendor.set_faults(vec![]);
    world.patch_status(KIND, "token", json!({ "phase": "Pending" })).await;
    world.patch(KIND, "token", json!({ "spec": parameters(json!({ "name": "other" })) })).await;
    world.start_operator().await;
    world.until_condition(KIND, "token", "Stalled", "True", "OutcomeUnknown").await;
    let [made] = world.vendor.batchcompute().images().try_into().expect("one image");
    let object = world.get(KIND, "token").await.expect("it is there");
    assert_eq!(object["status"]["phase"], "Unclear");
    assert_eq!(object["status"]["operation"]["candidates"], json!([made.id]));
    let codes: Vec<_> = world.vendor.ledger().calls_of(CREATE).filter_map(|call| call.code.clone()).collect();
    assert_eq!(codes, ["IdempotentTokenMismatch"]);
}

#[tokio::test]
async fn what_somebody_else_registered_is_only_taken_over_when_asked() {
    let world = world("batch-theirs").await;
    let theirs = Image { name: "theirs".into(), ecs_image_id: "m-theirs".into(), ..Image::default() };
    let id = world.vendor.batchcompute().seed(theirs);
    world.create(image("theirs", json!({}))).await;
    let message = world.until_condition(KIND, "theirs", "Stalled", "True", "AlreadyExists").await;
    for part in [format!("spec.import.id: {id}"), "has been registered".into(), "request id".into()] {
        assert!(message.contains(&part), "{message}");
    }
    world.delete(KIND, "theirs").await;
    world.until_gone(KIND, "theirs").await;
    assert_eq!(world.vendor.batchcompute().images().len(), 1, "it is not ours to delete");

    let matching = json!({ "import": { "match": { "ecsImageId": "m-theirs" } }, "forProvider": { "name": null, "ecsImageId": null, "platform": null } });
    world.create(image("taken", matching)).await;
    let object = world.until_ready(KIND, "taken").await;
    assert_eq!(object["status"]["imageId"], id.as_str());
    assert_eq!(world.effects(CREATE), 0);
}

#[tokio::test]
async fn what_can_pass_is_waited_for() {
    let world = world("batch-waits").await;
    world.vendor.configure(|settings| settings.batchcompute.image_quota = Some(0));
    world.create(image("quota", json!({}))).await;
    let message = world.until_condition(KIND, "quota", "Ready", "False", "QuotaExceeded").await;
    assert!(message.contains("QuotaExhausted.MaxImageCount") && message.contains("配额"), "{message}");
    let object = world.get(KIND, "quota").await.expect("it is there");
    assert_eq!(condition(&object, "Stalled")["status"], "False");
    world.vendor.configure(|settings| settings.batchcompute.image_quota = None);
    world.request(KIND, "quota", "1").await;
    world.until_ready(KIND, "quota").await;

    for (id, reason) in
        [("m-missing", "NotFound"), ("m-unavailable", "VendorBusy"), ("m-unsharable", "QuotaExceeded")]
    {
        world.create(image(id, parameters(json!({ "ecsImageId": id })))).await;
        world.until_condition(KIND, id, "Ready", "False", reason).await;
    }
    world.vendor.configure(|settings| settings.batchcompute.role_exists = false);
    world.create(image("role", json!({}))).await;
    let message = world.until_condition(KIND, "role", "Ready", "False", "PermissionDenied").await;
    assert!(message.contains("AliyunBatchComputeDefaultRole"), "{message}");
    world.vendor.configure(|settings| settings.batchcompute.role_exists = true);
    world.request(KIND, "role", "1").await;
    world.until_ready(KIND, "role").await;
}

/// Before it deletes an image, the vendor stops sharing the ECS image, which may be gone or not let it.
#[tokio::test]
async fn what_a_deletion_says_of_the_ecs_image_is_not_about_the_image() {
    let world = world("batch-unshare").await;
    world.create(image("gone", json!({}))).await;
    world.create(image("stuck", json!({}))).await;
    let gone = world.until_ready(KIND, "gone").await;
    let stuck = world.until_ready(KIND, "stuck").await;
    let id = |object: &Value| object["status"]["imageId"].as_str().expect("an id").to_owned();
    let (gone, stuck) = (id(&gone), id(&stuck));
    let message = "Specified parameter EcsImageId is not valid. The specified EcsImageId does not exist or not you onwer.";
    let fault = Fault::VendorError {
        status: 400,
        code: "InvalidEcsImageId".into(),
        message: message.into(),
        effect: false,
    };
    world.vendor.set_faults(vec![FaultRule::new(fault).action("DeleteImage").parameter("Id", &gone)]);
    world.vendor.batchcompute().modify(&stuck, |image| image.unshare_fails = true);
    for name in ["gone", "stuck"] {
        world.delete(KIND, name).await;
        let message = world.until_condition(KIND, name, "Ready", "False", "VendorBusy").await;
        assert!(message.contains("stops sharing the ECS image"), "{message}");
        let object = world.get(KIND, name).await.expect("it is there");
        assert_eq!(condition(&object, "Stalled")["status"], "False");
    }
    assert_eq!(world.vendor.batchcompute().images().len(), 2);
    world.vendor.set_faults(vec![]);
    world.vendor.batchcompute().modify(&stuck, |image| image.unshare_fails = false);
    for name in ["gone", "stuck"] {
        world.until_gone(KIND, name).await;
    }
    assert_eq!(world.vendor.batchcompute().images(), []);
}

#[tokio::test]
async fn a_reference_is_waited_for() {
    let world = world("batch-reference").await;
    let reference = parameters(json!({ "ecsImageId": null, "ecsImageRef": { "name": "base" } }));
    world.create(image("refers", reference)).await;
    world.until_condition(KIND, "refers", "Ready", "False", "ReferenceNotReady").await;
    assert_eq!(world.calls(CREATE), 0);
    world.create(crate::harness::component("base", json!({}))).await;
    let base = world.until_ready("ImageComponent", "base").await;
    let object = world.until_ready(KIND, "refers").await;
    assert_eq!(object["status"]["atProvider"]["ecsImageId"], base["status"]["imageId"]);
}

/// What a reference means is what is Ready when the work begins: a new version from then on for those who begin, and for who is
/// at work the one that he began with, which stays as long.
#[tokio::test]
async fn a_reference_follows_a_new_version_and_the_one_that_is_worked_on_stays() {
    const COMPONENT: &str = "ImageComponent";
    let world = world("batch-versions").await;
    let content =
        |text: &str| json!({ "spec": { "forProvider": { "content": format!("RUN echo {text}") } } });
    let refers = |name: &str| {
        image(name, parameters(json!({ "ecsImageId": null, "ecsImageRef": { "name": "base" } })))
    };
    let of = |object: &Value| object["status"]["atProvider"]["ecsImageId"].as_str().map(str::to_owned);
    let newest = |object: &Value| object["status"]["imageId"].as_str().map(str::to_owned);
    let keeps_one = json!({ "versionPolicy": "Bump", "versionsToKeep": 1 });
    world.create(crate::harness::component("base", keeps_one)).await;
    let first = newest(&world.until_ready(COMPONENT, "base").await);
    let lost = FaultRule::new(Fault::AnswerLost).action(CREATE).parameter("Name", "works");
    world.vendor.set_faults(vec![lost.clone()]);
    world.create(refers("works")).await;
    let is_lost = |object: &Value| object["status"]["operation"]["state"] == "InFlight";
    let works = world.until(KIND, "works", "the answer is lost", is_lost).await;
    assert_eq!(works["status"]["operation"]["references"][0]["id"].as_str(), first.as_deref());

    world.patch(COMPONENT, "base", content("b")).await;
    let stays = |object: &Value| {
        let message = condition(object, "Ready")["message"].as_str().unwrap_or_default();
        crate::harness::is_ready(object)
            && message.contains("waits for BatchComputeImage batch-versions/works")
    };
    let base = world.until(COMPONENT, "base", "it says for whom the old version stays", stays).await;
    let second = newest(&base);
    assert_ne!(first, second);
    world.create(refers("begins")).await;
    assert_eq!(of(&world.until_ready(KIND, "begins").await), second, "who begins gets the newest");

    // Who begins while the next one is made waits for that.
    let busy = FaultRule::new(Fault::TooManyRequests).action("CreateImageComponent");
    world.vendor.set_faults(vec![lost, busy]);
    world.patch(COMPONENT, "base", content("c")).await;
    let is_made = |object: &Value| condition(object, "Ready")["status"] == "False";
    world.until(COMPONENT, "base", "the next one is being made", is_made).await;
    world.create(refers("waits")).await;
    world.until_condition(KIND, "waits", "Ready", "False", "ReferenceNotReady").await;
    assert_eq!(world.calls("DeleteImageComponent"), 0, "what is worked on stays");

    world.vendor.set_faults(vec![]);
    let third = newest(&world.until_ready(COMPONENT, "base").await);
    assert_eq!(of(&world.until_ready(KIND, "waits").await), third);
    assert_eq!(of(&world.until_ready(KIND, "works").await), first, "as it was when the work began");
    let alone = |object: &Value| object["status"]["versions"].as_array().is_some_and(|it| it.len() == 1);
    world.until(COMPONENT, "base", "the old ones have gone", alone).await;
    let left: Vec<_> = world.vendor.aliyun_ecs().components().into_iter().map(|it| Some(it.id)).collect();
    assert_eq!(left, [third]);
    // Of those that have been made none is made anew for a new version.
    assert_eq!((world.effects(CREATE), of(&world.until_ready(KIND, "begins").await)), (3, second));
}
