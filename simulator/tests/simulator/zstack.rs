//! Root volume templates of ZStack: jobs, sessions, soft deletion, and what the management node forgets.

use std::time::Duration;

use serde_json::{Value, json};
use vendor_simulator::zstack::images::{DeletionPolicy, Image};
use vendor_simulator::zstack::sessions::Account;
use vendor_simulator::{Change, ClockChange, Fault, FaultRule, Simulator};

use crate::support::{Stack, log_in, start};

pub(crate) const VOLUME: &str = "images/root-volume-templates/from/volumes/b94ff32725d133fea53e8ada5ea7f0fc";
const UUID: &str = "fadea0efc22e4e6fa43f537f1af6ee6b";
const JOB: &str = "9a1b3c6a3c9d4f8f9a1b3c6a3c9d4f8f";

pub(crate) async fn frozen() -> Simulator {
    let simulator = start().await;
    simulator.set_clock(&ClockChange { speed: Some(0.0), ..Default::default() }).unwrap();
    simulator
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn creation() -> Value {
    json!({
        "params": {"name": "tpl", "description": "d", "platform": "Linux", "virtio": false, "resourceUuid": UUID,
            "backupStorageUuids": ["a94ff32725d133fea53e8ada5ea7f0fc"], "rootVolumeUuid": "ignored"},
        "systemTags": ["bootMode::UEFI"],
        "userTags": ["mine"],
    })
}

#[tokio::test]
async fn a_template_is_made_by_a_job_changed_deleted_and_expunged() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let accepted = stack.call_with("POST", VOLUME, &creation(), &[("x-job-uuid", JOB)]).await;
    assert_eq!(Stack::job(&accepted), JOB);
    let location = accepted.json()["location"].as_str().unwrap().to_owned();
    assert!(location.starts_with("http://192.0.2.10:8080/zstack/v1/api-jobs/"), "{location}");
    let pending = stack.poll(JOB).await;
    assert_eq!((pending.status, pending.json()), (202, json!({})));
    let one = format!("images/{UUID}");
    let creating = stack.call("GET", &one, &Value::Null).await.json()["inventories"][0].clone();
    assert_eq!((&creating["status"], &creating["size"]), (&"Creating".into(), &0.into()));

    simulator.advance(seconds(60));
    let made = stack.poll(JOB).await;
    assert_eq!(made.status, 200);
    let inventory = made.json()["inventory"].clone();
    assert_eq!(inventory, stack.call("GET", &one, &Value::Null).await.json()["inventories"][0]);
    for (field, value) in [
        ("uuid", json!(UUID)),
        ("name", json!("tpl")),
        ("status", json!("Ready")),
        ("state", json!("Enabled")),
        ("mediaType", json!("RootVolumeTemplate")),
        // The virtual machine's, whatever the call says.
        ("virtio", json!(true)),
        ("system", json!(false)),
        ("architecture", json!("x86_64")),
        ("url", json!("volume://b94ff32725d133fea53e8ada5ea7f0fc")),
    ] {
        assert_eq!(inventory[field], value, "{field}");
    }
    assert!(inventory.get("guestOsType").is_none(), "what is null is left out");
    let storage = &inventory["backupStorageRefs"][0];
    assert_eq!((&storage["status"], &storage["imageUuid"]), (&"Ready".into(), &UUID.into()));
    assert_eq!(simulator.zstack().get(UUID).unwrap().system_tags, ["bootMode::UEFI"]);

    let update = json!({"updateImage": {"name": "n2", "guestOsType": "CentOS", "virtio": false}});
    let updated = stack.finish("PUT", &format!("{one}/actions"), &update).await.json()["inventory"].clone();
    assert_eq!(
        (&updated["name"], &updated["guestOsType"], &updated["description"]),
        (&"n2".into(), &"CentOS".into(), &"d".into())
    );
    let disable = json!({"changeImageState": {"stateEvent": "disable"}});
    let disabled = stack.finish("PUT", &format!("{one}/actions"), &disable).await;
    assert_eq!(disabled.json()["inventory"]["state"], "Disabled");

    let expunge = json!({"expungeImage": {}});
    let early = stack.finish("PUT", &format!("{one}/actions"), &expunge).await;
    assert_eq!(early.verdict(), "503 SYS.1006");
    assert_eq!(
        stack.finish("DELETE", &format!("{one}?deleteMode=Permissive"), &Value::Null).await.status,
        200
    );
    let deleted = stack.call("GET", &one, &Value::Null).await.json()["inventories"][0].clone();
    assert_eq!(deleted["status"], "Deleted");
    assert_eq!(
        stack.finish("POST", VOLUME, &creation()).await.verdict(),
        "503 SYS.1000",
        "the uuid is taken"
    );
    assert_eq!(stack.finish("PUT", &format!("{one}/actions"), &expunge).await.status, 200);
    let gone = stack.call("GET", &one, &Value::Null).await;
    assert_eq!((gone.status, gone.json()), (200, json!({"inventories": []})));
    assert_eq!(stack.finish("DELETE", &one, &Value::Null).await.status, 200, "what is not there is deleted");

    let effects: Vec<_> = simulator.ledger().effects.iter().map(|effect| effect.change).collect();
    assert_eq!(
        effects,
        [Change::Created, Change::Changed, Change::Changed, Change::Changed, Change::Deleted]
    );
    assert_eq!(simulator.ledger().effects[0].token.as_deref(), Some(JOB));
    let parameters = &simulator.ledger().calls[1].parameters;
    assert_eq!((parameters["X-Job-UUID"].as_str(), parameters["name"].as_str()), (JOB, "tpl"));
    assert!(simulator.ledger().calls.iter().all(|call| !call.parameters.contains_key("password")));
}

#[tokio::test]
async fn a_job_uuid_is_accepted_once() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    simulator.set_faults(vec![FaultRule::new(Fault::AnswerLost).parameter("X-Job-UUID", JOB)]);
    let body = creation().to_string();
    let headers = [
        ("host".to_owned(), "zstack".to_owned()),
        ("authorization".to_owned(), stack.authorization.clone().unwrap()),
        ("x-job-uuid".to_owned(), JOB.to_owned()),
    ];
    let request = crate::support::raw("POST", &format!("/zstack/v1/{VOLUME}"), &headers, body.as_bytes());
    assert!(crate::support::send(simulator.addresses().zstack, &request).await.is_none());
    simulator.set_faults(Vec::new());
    // The answer was lost, the job can be found, and the same call is not accepted a second time.
    let again = stack.call_with("POST", VOLUME, &creation(), &[("x-job-uuid", JOB)]).await;
    assert_eq!((again.status, again.text()), (400, format!("Duplicate job uuid[{JOB}]")));
    simulator.advance(seconds(60));
    assert_eq!(stack.poll(JOB).await.json()["inventory"]["uuid"], UUID);
    assert_eq!(simulator.ledger().created("zstack"), 1);
}

#[tokio::test]
async fn records_of_old_jobs_vanish() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    simulator.configure(|settings| settings.zstack.create_seconds = 11_000.0);
    stack.call_with("POST", VOLUME, &creation(), &[("x-job-uuid", JOB)]).await;
    // Done and older than three hours: the next scan, at most an hour later, finds it.
    simulator.advance(seconds(10_999));
    assert_eq!(stack.poll(JOB).await.status, 202);
    simulator.advance(seconds(3602));
    let gone = stack.poll(JOB).await;
    assert_eq!((gone.status, gone.text().as_str()), (404, "the job has been expired"));
    assert_eq!(simulator.zstack().get(UUID).unwrap().status(simulator.clock().world), "Ready");

    simulator.set_faults(vec![FaultRule::new(Fault::ForgetTask { after_seconds: 1 })]);
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let job = Stack::job(&stack.call("DELETE", &format!("images/{UUID}"), &Value::Null).await);
    simulator.advance(seconds(1));
    assert_eq!(stack.poll(&job).await.status, 404);
}

#[tokio::test]
async fn a_failed_creation_is_rolled_back() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    simulator.set_faults(vec![FaultRule::new(Fault::FailBuild)]);
    let job = Stack::job(&stack.call("POST", VOLUME, &creation()).await);
    assert_eq!(simulator.zstack().images().len(), 1);
    simulator.advance(seconds(30));
    let failed = stack.poll(&job).await;
    assert_eq!(failed.verdict(), "503 IMG.1000");
    assert!(
        failed.json()["error"]["details"].is_string() && failed.json()["error"]["description"].is_string()
    );
    assert!(simulator.zstack().images().is_empty());
    simulator.set_faults(vec![FaultRule::new(Fault::StallBuild)]);
    let job = Stack::job(&stack.call("POST", VOLUME, &creation()).await);
    simulator.advance(Duration::from_hours(30));
    assert_eq!(stack.poll(&job).await.status, 202);
}

#[tokio::test]
async fn deletion_follows_the_policy() {
    let simulator = frozen().await;
    let uuid = simulator.zstack().seed(Image::default());
    let path = format!("images/{uuid}");
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    stack.call("DELETE", &path, &Value::Null).await;
    let recovered = stack.finish("PUT", &format!("{path}/actions"), &json!({"recoverImage": {}})).await;
    assert_eq!(recovered.json()["inventory"]["status"], "Ready");
    stack.call("DELETE", &path, &Value::Null).await;
    simulator.advance(Duration::from_hours(71));
    assert!(simulator.zstack().get(&uuid).is_some());
    simulator.advance(Duration::from_hours(2));
    assert!(simulator.zstack().get(&uuid).is_none(), "expunged after three days");

    simulator.configure(|settings| settings.zstack.deletion_policy = DeletionPolicy::Direct);
    let uuid = simulator.zstack().seed(Image::default());
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    stack.call("DELETE", &format!("images/{uuid}"), &Value::Null).await;
    assert!(simulator.zstack().get(&uuid).is_none());
}

#[tokio::test]
async fn sessions_end_and_are_limited() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let uuid = stack.authorization.as_ref().unwrap().strip_prefix("OAuth ").unwrap().to_owned();
    let valid = async || {
        stack.call("GET", &format!("accounts/sessions/{uuid}/valid"), &Value::Null).await.json()["valid"]
            .clone()
    };
    simulator.advance(seconds(7199));
    assert_eq!(valid().await, true);
    let renewed = stack
        .finish(
            "PUT",
            &format!("accounts/sessions/{uuid}/renew"),
            &json!({"renewSession": {"duration": 86400}}),
        )
        .await;
    assert_eq!(renewed.json()["inventory"]["uuid"], uuid.as_str());
    simulator.advance(Duration::from_hours(20));
    assert_eq!(stack.call("GET", "images", &Value::Null).await.status, 200);
    simulator.advance(Duration::from_hours(5));
    assert_eq!(valid().await, false);

    // A query says at once that the session is over; a change is accepted first.
    assert_eq!(stack.call("GET", "images", &Value::Null).await.verdict(), "503 ID.1001");
    let accepted = stack.call("DELETE", &format!("images/{UUID}"), &Value::Null).await;
    let job = Stack::job(&accepted);
    simulator.advance(seconds(1));
    assert_eq!(stack.poll(&job).await.verdict(), "503 ID.1001");

    simulator.configure(|settings| settings.zstack.max_sessions = 2);
    let second = Stack::log_in(&simulator, "admin", "password").await;
    Stack::log_in(&simulator, "admin", "password").await;
    assert_eq!(log_in(&simulator, "admin", "password").await.verdict(), "503 ID.1006");
    let uuid = second.authorization.as_ref().unwrap().strip_prefix("OAuth ").unwrap().to_owned();
    assert_eq!(second.call("DELETE", &format!("accounts/sessions/{uuid}"), &Value::Null).await.status, 200);
    Stack::log_in(&simulator, "admin", "password").await;
    assert_eq!(simulator.zstack().sessions().len(), 2);
    simulator.configure(|settings| {
        settings.zstack.unique_session = true;
        settings.zstack.max_sessions = 500;
    });
    Stack::log_in(&simulator, "admin", "password").await;
    assert_eq!(simulator.zstack().sessions().len(), 1);
}

#[tokio::test]
async fn queries_select_sort_and_page() {
    let simulator = frozen().await;
    for number in 0..5 {
        simulator.zstack().seed(Image { name: format!("n{number}"), ..Image::default() });
        simulator.advance(seconds(1));
    }
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let first = simulator.zstack().images()[0].uuid.clone();
    for (query, expected, total) in [
        ("q=name%3Dn1", "n1", None),
        (&format!("q=uuid%3F%3D{first}%2Cother&replyWithCount=true"), "n0", Some(1)),
        ("q=name~=n%25&q=name!=n0&limit=2&start=1&replyWithCount=true", "n2 n3", Some(4)),
        ("sort=-createDate&limit=2", "n4 n3", None),
        ("q=status=Creating", "", None),
    ] {
        let reply = stack.call("GET", &format!("images?{query}"), &Value::Null).await.json();
        let names: Vec<&str> = reply["inventories"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            (names.join(" ").as_str(), reply.get("total").and_then(Value::as_u64)),
            (expected, total),
            "{query}"
        );
    }
    assert_eq!(stack.call("GET", "images?q=nonsense", &Value::Null).await.verdict(), "503 SYS.1007");
}

#[tokio::test]
async fn dates_are_the_nodes_wall_clock() {
    let simulator = start().await;
    let at = Some("2026-11-21T12:30:05Z".parse().unwrap());
    simulator.set_clock(&ClockChange { at, speed: Some(0.0), ..Default::default() }).unwrap();
    let date =
        async || log_in(&simulator, "admin", "password").await.json()["inventory"]["createDate"].clone();
    assert_eq!(date().await, "Nov 21, 2026 8:30:05 PM");
    simulator.configure(|settings| settings.zstack.utc_offset_hours = 0);
    assert_eq!(date().await, "Nov 21, 2026 12:30:05 PM");
}

#[tokio::test]
async fn accounts_see_their_own_and_have_a_quota() {
    let simulator = frozen().await;
    simulator.configure(|settings| {
        let uuid = "0123456789abcdef0123456789abcdef".into();
        settings.zstack.accounts.push(Account {
            name: "tenant".into(),
            password: "p".into(),
            uuid,
            admin: false,
        });
        settings.zstack.image_quota = 1;
    });
    simulator.zstack().seed(Image::default());
    let tenant = Stack::log_in(&simulator, "tenant", "p").await;
    assert_eq!(tenant.call("GET", "images?count=true", &Value::Null).await.json()["total"], 0);
    assert_eq!(tenant.finish("POST", VOLUME, &creation()).await.status, 200);
    let more = json!({"params": {"name": "two"}});
    assert_eq!(tenant.finish("POST", VOLUME, &more).await.verdict(), "503 ID.1003");
    let admin = Stack::log_in(&simulator, "admin", "password").await;
    assert_eq!(admin.call("GET", "images?count=true", &Value::Null).await.json()["total"], 2);
    assert_eq!(admin.finish("POST", VOLUME, &more).await.status, 200);
}
