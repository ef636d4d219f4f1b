//! A clock that is an hour off and then right: every kind waits, says so, and is created once.

use crate::harness::{World, account_of, condition, distribution, image_of};
use cloud_image_operator::kinds;
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::ClockChange;

const KINDS: [&str; 8] = [
    "ImageComponent",
    "ImagePipeline",
    "ImageBuild",
    "AliyunImageCopy",
    "AospImage",
    "ImageExport",
    "BatchComputeImage",
    "RootVolumeTemplate",
];
const _: () = assert!(KINDS.len() == kinds::KINDS.len(), "a kind is left out");

/// It calls no vendor itself: it says what its copy does.
const DISTRIBUTION: &str = "ImageDistribution";

#[tokio::test]
async fn a_clock_that_was_an_hour_off_leaves_nothing_failed() {
    let mut world = World::empty("clocks").await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    for kind in KINDS.into_iter().chain([DISTRIBUTION]) {
        for object in account_of(kind, &kind.to_lowercase(), &world.vendor) {
            world.create(object).await;
        }
    }
    world.start_operator().await;
    let effects = |world: &World| world.vendor.ledger().effects.len();
    // What BatchCompute calls it is not documented.
    for (number, (seconds, code)) in
        [(3600, "InvalidTimeStamp.Expired"), (-3600, "InvalidDate")].into_iter().enumerate()
    {
        world.vendor.configure(|settings| settings.batchcompute.clock_code = code.into());
        let skew = |seconds| ClockChange { skew_seconds: Some(seconds), ..ClockChange::default() };
        world.vendor.set_clock(&skew(seconds)).expect("a skew");
        let before = effects(&world);
        let name = |kind: &str| format!("{}-{number}", kind.to_lowercase());
        for kind in KINDS {
            let mut object = image_of(kind, &name(kind));
            object["spec"]["accountRef"] = json!({ "name": kind.to_lowercase() });
            world.create(object).await;
        }
        let of = json!({ "accountRef": { "name": DISTRIBUTION.to_lowercase() } });
        world.create(distribution(&name(DISTRIBUTION), &["cn-beijing"], of)).await;
        let skewed = async |kind: &str| {
            let is = |object: &Value| {
                let stalled = condition(object, "Stalled");
                assert_ne!(object["status"]["phase"], "Failed", "{object:#}");
                stalled["status"] == "True" && stalled["reason"] == "ClockSkew"
            };
            let object = world.until(kind, &name(kind), "it tells of the clock", is).await;
            assert_eq!(object["status"]["phase"], "Pending", "{object:#}");
            let message = condition(&object, "Stalled")["message"].as_str().unwrap_or_default();
            assert!(message.contains("clock") || message.contains("timeZone"), "{message}");
        };
        join_all(KINDS.map(skewed)).await;
        let tells = |object: &Value| {
            let stalled = condition(object, "Stalled");
            stalled["status"] == "True"
                && stalled["message"].as_str().is_some_and(|it| it.contains(": ClockSkew: "))
        };
        world.until(DISTRIBUTION, &name(DISTRIBUTION), "it tells of the clock", tells).await;
        assert_eq!(effects(&world), before, "{:#?}", world.call_log());

        world.vendor.set_clock(&skew(0)).expect("no skew");
        join_all(KINDS.map(async |kind| world.until_ready(kind, &name(kind)).await)).await;
        world.until_ready(DISTRIBUTION, &name(DISTRIBUTION)).await;
        assert_eq!(effects(&world), before + KINDS.len() + 1, "{:#?}", world.call_log());
    }
}
