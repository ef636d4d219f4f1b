//! No secret leaves the operator but for a vendor: what it says anywhere is searched for the credentials that it has.

use crate::{
    harness::{World, account, component, image_export, secret, volcengine_account},
    server::{Server, answer},
};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule};

/// What the simulated vendors know, and what they refuse.
const CANARIES: [&str; 3] = ["simulator-secret", "canary-of-a-wrong-secret", "canary-of-a-token"];

#[tokio::test]
async fn no_secret_is_in_logs_events_status_or_metrics_whatever_vendors_answer() {
    let world = World::with_account("canary").await;
    world.create(secret("volcengine")).await;
    world.create(volcengine_account("volcengine", world.volcengine_endpoint())).await;
    let mut wrong = secret("wrong");
    wrong["stringData"]["accessKeySecret"] = json!(CANARIES[1]);
    wrong["stringData"]["securityToken"] = json!(CANARIES[2]);
    world.create(wrong).await;
    // A gateway that repeats in its answer what it was sent, and more.
    let echo = json!({ "Code": "InvalidName.Malformed", "Message": format!("bad: {} {}", CANARIES[1], CANARIES[2]), "RequestId": "R-9" });
    let gateway = Server::start(vec![answer(400, &echo.to_string()); 200]).await;
    for (name, endpoint) in [("refused", world.endpoint()), ("echoes", gateway.url())] {
        let mut account = account(name, endpoint);
        account["spec"]["aliyun"]["credentialsSecretRef"]["name"] = json!("wrong");
        world.create(account).await;
    }
    let arguments = ["--log-format=json", &format!("--allow-endpoint={}", gateway.url())];
    let environment = [("RUST_LOG", "debug,hyper_util=trace,reqwest=trace,kube_client=info")];
    let operator = world.start_program_in(&environment, &arguments, Some(Duration::from_secs(20)));
    world.create(component("good", json!({}))).await;
    world.create(component("refused", json!({ "accountRef": { "name": "refused" } }))).await;
    world.create(component("echoed", json!({ "accountRef": { "name": "echoes" } }))).await;
    world
        .create(image_export("exported", "image-44", json!({ "accountRef": { "name": "volcengine" } })))
        .await;
    world.until_ready("ImageComponent", "good").await;
    world.until_condition("ImageComponent", "refused", "Ready", "False", "CredentialsRefused").await;
    let shown = world.until_condition("ImageComponent", "echoed", "Stalled", "True", "InvalidSpec").await;
    assert!(shown.contains("***") && shown.contains("[request id R-9]"), "{shown}");
    world
        .until("ImageExport", "exported", "it is built", |object| object["status"]["phase"] == "Building")
        .await;
    let truncated = FaultRule::new(Fault::TruncatedBody);
    world.vendor.set_faults(vec![FaultRule { action: Some("DescribeTasks".into()), ..truncated }]);
    world.until_true("a look failed", || operator.log().contains("a look at the vendor failed")).await;
    world.until_events("refused", 1).await;
    let (_, metrics) = operator.get("/metrics").await.expect("metrics");
    let (_, log) = operator.stop().await;

    let mut said = vec![("the log", log.clone()), ("the metrics", metrics)];
    for kind in ["ImageComponent", "ImageExport", "CloudAccount", "Event"] {
        said.push((kind, json!(world.list(kind).await).to_string()));
    }
    for canary in CANARIES {
        for (place, text) in &said {
            assert!(!text.contains(canary), "{canary} is in {place}: {text}");
        }
    }

    // Each line is JSON, and says which object, account and action it is about.
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let transition = |name: &str, to: &str| {
        let found = lines.iter().find(|line| {
            line["fields"]["message"] == "transition"
                && line["fields"]["to"] == to
                && line["span"]["object"] == format!("canary/{name}")
        });
        found.unwrap_or_else(|| panic!("no transition of {name} to {to}: {log}"))
    };
    let ready = transition("good", "Ready");
    assert_eq!(ready["level"], "INFO");
    assert_eq!(ready["span"]["kind"], "ImageComponent");
    assert_eq!(ready["span"]["account"], "canary/default");
    assert_eq!(ready["fields"]["action"], "CreateImageComponent");
    assert!(ready["fields"]["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{ready:#}");
    let failed = transition("echoed", "Failed");
    assert_eq!(failed["level"], "WARN");
    assert_eq!(failed["fields"]["reason"], "InvalidSpec");
    assert_eq!(failed["fields"]["request_id"], "R-9");
    assert!(
        failed["fields"]["detail"].as_str().is_some_and(|detail| detail.contains("was refused")),
        "{failed:#}"
    );
}
