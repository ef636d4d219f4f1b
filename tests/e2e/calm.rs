//! What waits for the vendor, or for a person, is tried again at a calm pace, whatever it waits for.

use crate::harness::{World, component, condition};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule};

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";

/// Every class of refusal of one object's call after which it is made again without anybody's doing, by one of its codes. Being
/// throttled is the account's, and whether a vendor that was unavailable acted is a question.
const WAITING: [(&str, u16, &str); 7] = [
    ("VendorBusy", 400, "InvalidImageComponent.InUse"),
    ("NotFound", 404, "InvalidResourceGroup.NotFound"),
    ("QuotaExceeded", 400, "QuotaExceed.ImageComponent"),
    ("PermissionDenied", 403, "NoPermission"),
    ("CredentialsRefused", 400, "InvalidAccessKeyId.NotFound"),
    ("ClockSkew", 400, "InvalidTimeStamp.Expired"),
    ("VendorRefused", 400, "Odd.Code"),
];

#[tokio::test]
async fn who_waits_asks_three_times_in_half_a_minute_at_most() {
    let world = World::new("calm").await;
    let marker = |reason: &str| format!("waits for {reason}.");
    let rules = WAITING.map(|(reason, status, code)| {
        let fault = Fault::VendorError { status, code: code.into(), message: "No.".into(), effect: false };
        FaultRule::new(fault).action(CREATE).parameter("Description", marker(reason))
    });
    world.vendor.set_faults(rules.into());
    for (reason, ..) in WAITING {
        let spec = json!({ "forProvider": { "description": marker(reason) } });
        world.create(component(&reason.to_lowercase(), spec)).await;
    }
    for (reason, ..) in WAITING {
        let shows = |object: &Value| condition(object, "Ready")["reason"] == reason;
        world.until(KIND, &reason.to_lowercase(), reason, shows).await;
    }
    // What comes of an object's own writes, and of others', is no reason to ask again.
    for touched in 0..6 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        for (reason, ..) in WAITING {
            world.annotate(KIND, &reason.to_lowercase(), "touched", &touched.to_string()).await;
        }
    }
    let ledger = world.vendor.ledger();
    for (reason, ..) in WAITING {
        let asked = ledger.calls_of(CREATE).filter(|call| call.parameters["Description"] == marker(reason));
        let asked = asked.count();
        assert!((1..=3).contains(&asked), "{reason}: {asked}");
    }
}
