//! Before a call that takes long: what it needs is looked at, where that can be read. What is not there is a condition in
//! seconds, and what nobody can tell is the vendor's to say.

use crate::harness::{World, account_of, aosp_image, condition, image_export, image_of};
use futures::future::join_all;
use serde_json::{Value, json};
use vendor_simulator::{
    Call, Fault, FaultRule, When, aliyun_ecs::Image as Source, volcengine::ecs::EcsImage,
};

const KIND: &str = "ImageExport";
const CREATE: &str = "ExportImage";
const LOOK: &str = "DescribeImages";

fn is_building(object: &Value) -> bool {
    object["status"]["phase"] == "Building"
}

fn image(id: &str, status: &str) -> EcsImage {
    EcsImage { id: id.into(), status: status.into(), ..EcsImage::default() }
}

#[tokio::test]
async fn what_an_export_lacks_is_said_before_it_is_asked_for() {
    let world = World::at_volcengine("preflight").await;
    let vendor = world.vendor.volcengine();
    vendor.remove_image("image-typo");
    vendor.seed_image(EcsImage { visibility: "public".into(), ..image("image-public", "available") });
    vendor.seed_image(image("image-broken", "error"));
    vendor.seed_image(image("image-new", "creating"));
    let lacking = [
        ("typo", "shows no image image-typo"),
        ("public", "image-public is a public image"),
        ("broken", "has the status error"),
        ("new", "is still being created"),
    ];
    for (name, why) in lacking {
        world.create(image_export(name, &format!("image-{name}"), json!({}))).await;
        let message = world.until_condition(KIND, name, "Reconciling", "True", "PreflightFailed").await;
        assert!(message.contains(why) && message.contains("ExportImage is not called yet"), "{message}");
        let object = world.get(KIND, name).await.expect("it is there");
        let status = &object["status"];
        assert_eq!((&status["phase"], &status["operation"]), (&json!("Pending"), &Value::Null), "{object:#}");
        let event = world.until_event(name, "PreflightFailed").await;
        let type_ = if name == "new" { "Normal" } else { "Warning" };
        assert_eq!(event["type"], type_, "{event:#}");
    }
    assert_eq!((world.calls(CREATE), world.calls("DescribeTasks")), (0, 0), "{:#?}", world.call_log());

    // A new spec is looked at at once, and so is what somebody asks for.
    world.patch(KIND, "typo", json!({ "spec": { "forProvider": { "imageId": "image-44" } } })).await;
    vendor.seed_image(image("image-new", "available"));
    world.request(KIND, "new", "now").await;
    for name in ["typo", "new"] {
        let object = world.until(KIND, name, "it runs", is_building).await;
        assert_eq!(object["status"]["operation"]["attempt"], 1, "{object:#}");
    }
    // What was never asked for leaves nothing to find out or to delete.
    for name in ["public", "broken"] {
        world.delete(KIND, name).await;
        world.until_gone(KIND, name).await;
    }
    assert_eq!(world.effects(CREATE), 2);
}

#[tokio::test]
async fn what_cannot_be_read_is_left_to_the_vendor() {
    let world = World::at_volcengine("preflight-unread").await;
    let denied = Fault::VendorError {
        status: 403,
        code: "AccessDenied".into(),
        message: String::new(),
        effect: false,
    };
    world.vendor.set_faults(vec![FaultRule::new(denied).action(LOOK)]);
    world.create(image_export("base", "image-44", json!({}))).await;
    world.until(KIND, "base", "it runs", is_building).await;
    assert_eq!((world.calls(LOOK), world.effects(CREATE)), (1, 1));

    // And so it is where the user says so.
    world.vendor.set_faults(vec![]);
    world.vendor.volcengine().remove_image("image-gone");
    world.create(image_export("skip", "image-gone", json!({ "preflightPolicy": "Skip" }))).await;
    let message = world.until_condition(KIND, "skip", "Reconciling", "True", "NotFound").await;
    assert!(message.contains("InvalidImage.NotFound"), "{message}");
    assert_eq!((world.calls(LOOK), world.calls(CREATE)), (1, 2));
}

/// What a preflight costs, by what the vendors have seen: for each object two reads at most, which those that come at the same
/// moment share. Where reading fails it costs no more, and keeps nobody from asking.
#[tokio::test]
async fn a_look_before_a_call_costs_two_reads_at_most_and_those_of_many_are_shared() {
    // The kind, what makes it, what is read before, and which calls of that are no looks at what was made; those of a copy are
    // looked at where the name is looked for, which is told by the order of the calls.
    type Looks<'a> = (&'a str, &'a str, &'a str, &'a dyn Fn(&Call) -> bool);
    const MANY: usize = 40;
    let is = |call: &Call, parameter: &str, value: &str| {
        call.parameters.get(parameter).is_some_and(|it| it == value)
    };
    let kinds: [Looks<'_>; 3] = [
        ("ImageExport", CREATE, LOOK, &|_| true),
        ("AliyunImageCopy", "CopyImage", LOOK, &|_| true),
        ("AospImage", "BuildAOSPImage", "ListAOSPImage", &|call| is(call, "MaxResults", "1")),
    ];
    for (kind, create, look, is_before) in kinds {
        for (case, count, most, is_readable) in
            [("one", 1, 2, true), ("many", MANY, MANY / 4, true), ("unread", MANY, 2 * MANY, false)]
        {
            let plural = kind.to_lowercase();
            let mut world = World::empty(&format!("preflight-{plural}-{case}")).await;
            world.freeze();
            for object in account_of(kind, "default", &world.vendor) {
                world.create(object).await;
            }
            let names: Vec<_> = (0..count).map(|number| format!("{plural}-{number}")).collect();
            for name in &names {
                let (id, name) = (format!("m-{name}"), format!("source of {name}"));
                world.vendor.aliyun_ecs().seed_image(Source { id, name, ..Source::default() });
            }
            if !is_readable {
                let fault = Fault::InternalError { effect: false };
                world.vendor.set_faults(vec![FaultRule::new(fault).action(look)]);
            }
            // They are all there when the operator comes.
            join_all(names.iter().map(|name| world.create(image_of(kind, name)))).await;
            world.start_operator().await;
            world.until_true("all are asked for", || world.effects(create) == count).await;
            let ledger = world.vendor.ledger();
            let last = ledger.calls.iter().rposition(|call| call.action == create).expect("it is asked for");
            let before = ledger.calls[..last].iter().filter(|call| call.action == look);
            let reads: Vec<_> = before.filter(|call| is_before(call)).collect();
            let count = reads.len();
            assert!((1..=most).contains(&count), "{kind}, {case}: {count} reads: {:#?}", world.call_log());
            if kind == "AliyunImageCopy" {
                for region in ["cn-hangzhou", "cn-shanghai"] {
                    assert!(
                        reads.iter().any(|call| is(call, "RegionId", region)),
                        "{case}: none in {region}"
                    );
                }
            }
        }
    }
}

/// What is there, or is not there, says nothing about a call that was made.
#[tokio::test]
async fn what_is_under_way_is_not_looked_at_again() {
    let mut world = World::at_volcengine("preflight-lost").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1))]);
    world.create(image_export("base", "image-44", json!({}))).await;
    world.until_true("it is asked for", || world.effects(CREATE) == 1).await;
    world.stop_operator().await;
    world.vendor.volcengine().remove_image("image-44");
    world.start_operator().await;
    let object = world.until(KIND, "base", "it is found", is_building).await;
    assert_eq!(object["status"]["operation"]["attempt"], 1, "{object:#}");
    assert_eq!((world.calls(LOOK), world.effects(CREATE)), (1, 1), "{:#?}", world.call_log());
}

#[tokio::test]
async fn an_image_of_an_unknown_product_is_not_built() {
    let world = World::at_volcengine("preflight-product").await;
    world.create(aosp_image("phone", json!({ "forProvider": { "productId": "999" } }))).await;
    let message = world.until_condition("AospImage", "phone", "Ready", "False", "PreflightFailed").await;
    assert!(message.contains("product id 999") && message.contains("2000000"), "{message}");
    assert_eq!(world.calls("BuildAOSPImage"), 0);
    world.patch("AospImage", "phone", json!({ "spec": { "forProvider": { "productId": "1234" } } })).await;
    let object = world.until("AospImage", "phone", "it is built", is_building).await;
    let message = condition(&object, "Ready")["message"].as_str().unwrap_or_default();
    assert!(message.contains("overdue from 20"), "{message}");
    assert_eq!(world.effects("BuildAOSPImage"), 1);
}
