//! `/metrics`: what Prometheus makes of it, and that what happened is in it.

use crate::harness::{World, component, image_export, secret, volcengine_account};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

/// The value of one series, as it is written.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(&format!("cloud_image_operator_{series} ")))?.parse().ok()
}

/// What promlint, Prometheus' own linter, finds.
fn lint(text: &str) -> Vec<Value> {
    let checks = xtask::tools::checks().expect("the checks can be built");
    let mut promlint = Command::new(checks)
        .arg("promlint")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the checks run");
    promlint.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("they read");
    let found = promlint.wait_with_output().expect("they end");
    assert!(found.status.success(), "{found:?}; {text}");
    serde_json::from_slice(&found.stdout).expect("JSON")
}

#[tokio::test]
async fn what_happened_is_counted_and_promlint_finds_nothing() {
    let world = World::with_account("counted").await;
    world.create(secret("volcengine")).await;
    world.create(volcengine_account("volcengine", world.volcengine_endpoint())).await;
    world.freeze();
    let operator = world.start_program(Some(Duration::from_secs(20)));
    let tag = json!({ "forProvider": { "tag": [{ "key": "team", "value": "base" }] } });
    world.create(component("good", tag)).await;
    let good = world.until_ready("ImageComponent", "good").await;
    world.vendor.aliyun_ecs().modify(good["status"]["imageId"].as_str().expect("an id"), |component| {
        component.tags.insert("team".into(), "theirs".into());
    });
    world.request("ImageComponent", "good", "now").await;
    // The vendor refuses the second one of a name.
    world.create(component("bad", json!({ "forProvider": { "name": "good" } }))).await;
    world.until_condition("ImageComponent", "bad", "Stalled", "True", "AlreadyExists").await;
    world.create(image_export("slow", "image-44", json!({ "accountRef": { "name": "volcengine" } }))).await;
    world.until("ImageExport", "slow", "it is built", |object| object["status"]["phase"] == "Building").await;

    let counted = |_, text: &str| {
        let is = |series: &str, expected: f64| value(text, series) == Some(expected);
        is(r#"objects{kind="ImageComponent",phase="Ready",account="counted/default"}"#, 1.0)
            && is(r#"objects{kind="ImageComponent",phase="Failed",account="counted/default"}"#, 1.0)
            && is(r#"objects{kind="ImageExport",phase="Building",account="counted/volcengine"}"#, 1.0)
            && is(r#"stalled_objects{kind="ImageComponent",reason="AlreadyExists"}"#, 1.0)
            && is(r#"unclear_objects{kind="ImageExport"}"#, 0.0)
            && is(r#"transitions_total{kind="ImageComponent",to="Ready",reason="Ready"}"#, 1.0)
            && is(r#"creation_to_ready_seconds_count{kind="ImageComponent"}"#, 1.0)
            && is(r#"vendor_calls_total{vendor="aliyun",action="CreateImageComponent",outcome="ok"}"#, 1.0)
            && is(r#"vendor_calls_total{vendor="aliyun",action="CreateImageComponent",outcome="AlreadyExists"}"#, 1.0)
            && is(r#"vendor_call_duration_seconds_count{vendor="volcengine",action="ExportImage"}"#, 1.0)
            && is(r#"rate_limit_wait_seconds_count{vendor="aliyun",action="CreateImageComponent"}"#, 2.0)
            && is(r#"rate_limit_waiting_calls{vendor="aliyun",action="CreateImageComponent"}"#, 0.0)
            && is(r#"reconciles_running{kind="ImageComponent"}"#, 0.0)
            && is(r#"drift_corrections_total{kind="ImageComponent",field="tag"}"#, 1.0)
            && is("leader", 1.0)
            && value(text, r#"oldest_waiting_object_age_seconds{kind="ImageExport"}"#).is_some_and(|age| age > 0.0)
            && value(text, r#"credentials_age_seconds{account="counted/default"}"#).is_some()
            && value(text, r#"rate_limit_used_ratio{account="counted/default",vendor="aliyun",action="CreateImageComponent"}"#).is_some_and(|used| used > 0.0)
            && value(text, r#"reconcile_duration_seconds_count{kind="ImageExport"}"#).is_some_and(|passes| passes > 0.0)
            && value(text, r#"batch_fill_ratio_count{kind="ImageExport"}"#).is_some_and(|batches| batches > 0.0)
            && is(&format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0)
    };
    let text = operator.until("/metrics", "everything is counted", counted).await;
    assert_eq!(lint(&text), Vec::<Value>::new());
    assert_eq!(operator.stop().await.0, Some(0));
}
