//! Log lines that somebody on call looks for.

use crate::harness::{World, aosp_image, secret, volcengine_account};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When};

#[tokio::test]
async fn a_failed_build_is_a_warning_that_says_whose_and_why() {
    let world = World::with_account("failing").await;
    world.create(secret("volcengine")).await;
    world.create(volcengine_account("volcengine", world.volcengine_endpoint())).await;
    world
        .vendor
        .set_faults(vec![FaultRule::new(Fault::FailBuild).action("BuildAOSPImage").when(When::first(1))]);
    world.run(600.0);
    let operator = world.start_program_with(&["--log-format=json"], Some(Duration::from_secs(20)));
    world.create(aosp_image("phone", json!({ "accountRef": { "name": "volcengine" } }))).await;
    let message = world.until_condition("AospImage", "phone", "Stalled", "True", "BuildFailed").await;
    let (code, log) = operator.stop().await;
    assert_eq!(code, Some(0), "{log}");

    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let failed = lines.iter().find(|line| line["fields"]["to"] == "Failed");
    let failed = failed.unwrap_or_else(|| panic!("no line tells of it: {log}"));
    assert_eq!(failed["level"], "WARN");
    assert_eq!(failed["span"]["object"], "failing/phone", "namespace and name");
    assert_eq!(failed["span"]["kind"], "AospImage");
    assert_eq!(failed["span"]["account"], "failing/volcengine");
    let fields = &failed["fields"];
    assert_eq!(fields["reason"], "BuildFailed");
    assert_eq!(fields["action"], "BuildAOSPImage");
    let detail = fields["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty() && message.contains(detail), "{failed:#} is not what {message:?} says");
    assert!(fields["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{failed:#}");
    assert!(fields["id"].as_str().is_some_and(|id| message.contains(id)), "{failed:#}");
}
