//! The admin API does what the library does.

use serde_json::{Value, json};
use vendor_simulator::Simulator;

use crate::support::{Reply, Rpc, ecs, owned, raw, send, start};

async fn admin(simulator: &Simulator, method: &str, path: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    // What curl -d says of any body.
    let headers = owned(&[("host", "localhost"), ("content-type", "application/x-www-form-urlencoded")]);
    send(simulator.addresses().admin, &raw(method, path, &headers, body.as_bytes())).await.unwrap()
}

async fn get(simulator: &Simulator, path: &str) -> Value {
    admin(simulator, "GET", path, &Value::Null).await.json()
}

#[tokio::test]
async fn the_ledger_can_be_read_narrowed_and_counted() {
    let simulator = start().await;
    for _ in 0..2 {
        ecs(&simulator, "CreateImageComponent", &[("Content", "RUN true")]).await;
    }
    ecs(&simulator, "DescribeImageComponents", &[]).await;
    let ledger = get(&simulator, "/_sim/ledger").await;
    assert_eq!(
        (ledger["calls"].as_array().unwrap().len(), ledger["effects"].as_array().unwrap().len()),
        (3, 2)
    );
    assert_eq!(ledger["calls"][0]["accessKey"], "simulator");
    assert_eq!(
        get(&simulator, "/_sim/ledger?action=DescribeImageComponents").await["calls"][0]["sequence"],
        3
    );
    assert_eq!(get(&simulator, "/_sim/ledger?since=1").await["effects"].as_array().unwrap().len(), 1);
    let counts = get(&simulator, "/_sim/ledger/counts").await;
    assert_eq!(counts["calls"]["aliyun-ecs/CreateImageComponent"], 2);
    assert_eq!(counts["effects"]["aliyun-ecs/CreateImageComponent"], 2);
}

#[tokio::test]
async fn faults_clock_and_settings_are_set_and_shown() {
    let simulator = start().await;
    let rules = json!([{"service": "aliyun-ecs", "fault": "throttle", "when": {"first": 1}}]);
    assert_eq!(admin(&simulator, "PUT", "/_sim/faults", &rules).await.status, 200);
    assert_eq!(ecs(&simulator, "DescribeImageComponents", &[]).await.verdict(), "400 Throttling");
    let shown = get(&simulator, "/_sim/faults").await;
    assert_eq!(
        (&shown[0]["seen"], &shown[0]["hit"], &shown[0]["fault"]),
        (&1.into(), &1.into(), &"throttle".into())
    );

    let before = simulator.clock().world;
    let clock =
        admin(&simulator, "PUT", "/_sim/clock", &json!({"advanceSeconds": 86400, "speed": 0})).await.json();
    assert_eq!(clock["speed"], 0.0);
    assert!(simulator.clock().world.duration_since(before).as_hours() >= 24);

    let patch = json!({"latencyMillis": 1, "aliyunEcs": {"componentQuota": 0}});
    assert_eq!(admin(&simulator, "PUT", "/_sim/settings", &patch).await.status, 200);
    let settings = get(&simulator, "/_sim/settings").await;
    assert_eq!(
        (&settings["latencyMillis"], &settings["accessKeys"][0]["id"]),
        (&1.into(), &"simulator".into())
    );
    let full = ecs(&simulator, "CreateImageComponent", &[("Content", "RUN true")]).await;
    assert_eq!(full.verdict(), "400 QuotaExceed.ImageComponent");

    for (path, body) in [
        ("/_sim/settings", json!({"latency": 1})),
        ("/_sim/clock", json!({"speed": -1})),
        ("/_sim/faults", json!([{"fault": "nonsense"}])),
    ] {
        let refused = admin(&simulator, "PUT", path, &body).await;
        assert_eq!(refused.status, 400, "{path}");
        assert!(refused.json()["error"].is_string());
    }
    assert_eq!(admin(&simulator, "POST", "/_sim/reset", &Value::Null).await.status, 204);
    assert_eq!(simulator.settings(), vendor_simulator::Settings::default());
    assert!(simulator.ledger().calls.is_empty() && simulator.faults().is_empty());
}

#[tokio::test]
async fn things_are_seeded_changed_and_removed_behind_the_vendors_back() {
    let simulator = start().await;
    let things = "/_sim/aliyun-ecs/image-components";
    let seeded = admin(&simulator, "POST", things, &json!({"name": "seed", "tags": {"a": "b"}})).await.json();
    let id = seeded["id"].as_str().unwrap();
    let one = format!("{things}/{id}");
    assert_eq!(
        admin(&simulator, "PATCH", &one, &json!({"tags": {"a": null, "c": "d"}, "inUse": true})).await.status,
        200
    );
    let found = ecs(&simulator, "DescribeImageComponents", &[("Name", "seed")]).await.json();
    assert_eq!(
        found["ImageComponent"]["ImageComponentSet"][0]["Tags"]["Tag"],
        json!([{"TagKey": "c", "TagValue": "d"}])
    );
    let refused =
        Rpc::new("DeleteImageComponent", &[("ImageComponentId", id)]).send(&simulator).await.unwrap();
    assert_eq!(refused.verdict(), "403 InvalidImageComponent.InUse");
    assert_eq!(admin(&simulator, "DELETE", &one, &Value::Null).await.status, 200);
    assert_eq!(admin(&simulator, "DELETE", &one, &Value::Null).await.status, 404);
    assert_eq!(get(&simulator, things).await, json!([]));
    assert_eq!(admin(&simulator, "GET", "/_sim/nobody/things", &Value::Null).await.status, 404);
    assert!(simulator.ledger().effects.is_empty());
}
