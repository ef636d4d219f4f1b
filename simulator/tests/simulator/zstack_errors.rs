//! Errors of ZStack: plain text of the REST layer, `error.code` under 503 of the API.

use serde_json::{Value, json};
use vendor_simulator::{Fault, FaultRule};

use crate::support::{Stack, hmac_sha1_base64, log_in};
use crate::zstack::{VOLUME, frozen};

#[tokio::test]
async fn the_rest_layer_answers_in_plain_text() {
    let simulator = frozen().await;
    let nobody = Stack::new(&simulator);
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let good = json!({"params": {"name": "x"}});
    let actions = "images/fadea0efc22e4e6fa43f537f1af6ee6b/actions";
    for (stack, method, path, body, status, text) in [
        (&nobody, "GET", "images", Value::Null, 400, "missing header 'Authorization'"),
        (&stack, "GET", "hosts", Value::Null, 404, "no api mapping to"),
        (&stack, "POST", "images", good.clone(), 405, "not allowed"),
        (&stack, "POST", VOLUME, Value::Null, 400, "failed to parse"),
        (&stack, "POST", VOLUME, json!({"name": "x"}), 400, "params"),
        // The page says a list, the server reads a boolean.
        (&stack, "POST", VOLUME, json!({"params": {"name": "x", "virtio": ["true"]}}), 400, "virtio"),
        (&stack, "POST", VOLUME, json!({"params": {"name": 1}}), 400, "name"),
        (&stack, "PUT", actions, json!({"paintImage": {}}), 400, "action mapping"),
        (&stack, "PUT", actions, json!({"changeImageState": {"stateEvent": "burn"}}), 400, "stateEvent"),
        (&nobody, "PUT", "accounts/login", json!({}), 400, "logInByAccount"),
        (
            &nobody,
            "GET",
            "api-jobs/9a1b3c6a3c9d4f8f9a1b3c6a3c9d4f8f",
            Value::Null,
            404,
            "the job has been expired",
        ),
    ] {
        let reply = stack.call(method, path, &body).await;
        assert_eq!(reply.status, status, "{method} {path} {body}: {}", reply.text());
        assert!(reply.text().contains(text), "{method} {path} {body}: {}", reply.text());
        assert!(reply.header("content-type").unwrap().starts_with("text/plain"));
    }
    let bad_job = stack.call_with("POST", VOLUME, &good, &[("x-job-uuid", "not-a-uuid")]).await;
    assert_eq!(bad_job.status, 400);
    assert!(simulator.ledger().effects.is_empty());
}

#[tokio::test]
async fn the_api_answers_with_codes_in_its_jobs() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let missing = "images/root-volume-templates/from/volumes/00000000000000000000000000000000";
    let named = |extra: Value| {
        let mut params = json!({"name": "x"});
        for (name, value) in extra.as_object().unwrap() {
            params[name] = value.clone();
        }
        json!({ "params": params })
    };
    let image = "images/fadea0efc22e4e6fa43f537f1af6ee6b";
    for (method, path, body, expected) in [
        ("POST", VOLUME, named(json!({})), "200"),
        ("POST", VOLUME, json!({"params": {}}), "503 SYS.1007"),
        ("POST", VOLUME, named(json!({"name": "x".repeat(256)})), "503 SYS.1007"),
        ("POST", VOLUME, named(json!({"name": "镜".repeat(255)})), "200"),
        ("POST", VOLUME, named(json!({"description": "x".repeat(2049)})), "503 SYS.1007"),
        ("POST", VOLUME, named(json!({"platform": "Plan9"})), "503 SYS.1007"),
        ("POST", VOLUME, named(json!({"architecture": "z80"})), "503 SYS.1007"),
        (
            "POST",
            VOLUME,
            named(json!({"resourceUuid": "fadea0ef-c22e-4e6f-a43f-537f1af6ee6b"})),
            "503 SYS.1007",
        ),
        ("POST", VOLUME, named(json!({"resourceUuid": "fadea0efc22e9e6fa43f537f1af6ee6b"})), "503 SYS.1007"),
        (
            "POST",
            VOLUME,
            named(json!({"backupStorageUuids": ["00000000000000000000000000000000"]})),
            "503 SYS.1003",
        ),
        ("POST", missing, named(json!({})), "503 SYS.1003"),
        ("PUT", &format!("{image}/actions"), json!({"updateImage": {"name": "y"}}), "503 SYS.1003"),
        ("PUT", &format!("{image}/actions"), json!({"expungeImage": {}}), "503 SYS.1003"),
        ("DELETE", image, Value::Null, "200"),
        ("DELETE", "images/nonsense", Value::Null, "503 SYS.1003"),
    ] {
        let reply = stack.finish(method, path, &body).await;
        let shown: String = format!("{method} {path} {body}").chars().take(150).collect();
        assert_eq!(reply.verdict(), expected, "{shown}: {}", reply.text());
    }
}

#[tokio::test]
async fn logins_fail_with_the_apis_codes() {
    let simulator = frozen().await;
    assert_eq!(log_in(&simulator, "admin", "wrong").await.verdict(), "503 ID.1000");
    assert_eq!(log_in(&simulator, "nobody", "password").await.verdict(), "503 ID.1000");
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let uuid = stack.authorization.as_ref().unwrap().strip_prefix("OAuth ").unwrap();
    let short = json!({"renewSession": {"duration": 59}});
    let renewed = stack.finish("PUT", &format!("accounts/sessions/{uuid}/renew"), &short).await;
    assert_eq!(renewed.verdict(), "503 SYS.1007");
}

#[tokio::test]
async fn access_keys_sign_path_and_local_time() {
    let simulator = frozen().await;
    let local = |hours: i64| {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        time.strftime("%a, %d %b %Y %H:%M:%S CST").to_string()
    };
    for (key, secret, date, status, text) in [
        ("simulator", "simulator-secret", local(8), 200, "inventories"),
        ("simulator", "simulator-secret", local(0), 403, "requestTimeTooSkewed"),
        ("simulator", "other", local(8), 403, "wrong accessKey signature"),
        ("nobody", "x", local(8), 403, "access key id"),
    ] {
        let signature = hmac_sha1_base64(secret.as_bytes(), format!("GET\n{date}\n/v1/images").as_bytes());
        let authorization = Some(format!("ZStack {key}:{signature}"));
        let stack = Stack { simulator: &simulator, authorization };
        let reply = stack.call_with("GET", "images?limit=1", &Value::Null, &[("date", &date)]).await;
        assert_eq!(reply.status, status, "{key} {date}: {}", reply.text());
        assert!(reply.text().contains(text), "{key} {date}: {}", reply.text());
    }
}

#[tokio::test]
async fn faults_come_in_the_nodes_own_ways() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    for (fault, status, json) in [
        (Fault::TooManyRequests, 429, false),
        (Fault::InternalError { effect: false }, 500, false),
        (
            Fault::VendorError {
                status: 503,
                code: "SYS.1012".into(),
                message: "down".into(),
                effect: false,
            },
            503,
            true,
        ),
    ] {
        simulator.set_faults(vec![FaultRule::new(fault.clone()).action("QueryImage")]);
        let reply = stack.call("GET", "images", &Value::Null).await;
        assert_eq!(reply.status, status, "{fault:?}");
        assert_eq!(serde_json::from_slice::<Value>(&reply.body).is_ok(), json, "{fault:?}: {}", reply.text());
    }
}
