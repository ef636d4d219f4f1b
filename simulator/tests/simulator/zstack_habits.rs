//! What ZStack does that its page does not say: the virtual machine's fields, storages left out, uuids given once, dead
//! nodes, causes in causes, and how far a job is.

use std::time::Duration;

use serde_json::{Value, json};
use vendor_simulator::zstack::images::Image;
use vendor_simulator::{Change, Fault, FaultRule, Simulator};

use crate::support::{Reply, Stack};
use crate::zstack::{VOLUME, frozen};

const UUID: &str = "fadea0efc22e4e6fa43f537f1af6ee6b";
const STORAGES: [&str; 2] = ["a94ff32725d133fea53e8ada5ea7f0fc", "b94ff32725d133fea53e8ada5ea7f0fc"];

fn creation() -> Value {
    json!({ "params": {
        "name": "tpl", "resourceUuid": UUID, "architecture": "x86_64", "virtio": true, "backupStorageUuids": STORAGES,
    } })
}

async fn image(stack: &Stack<'_>) -> Value {
    let reply = stack.call("GET", &format!("images/{UUID}"), &Value::Null).await.json();
    reply["inventories"].get(0).cloned().unwrap_or_default()
}

/// The codes and details of an error and its causes, outermost first.
fn causes(reply: &Reply) -> Vec<(String, String)> {
    let mut error = reply.json()["error"].clone();
    let mut all = vec![];
    while let (Some(code), Some(details)) = (error["code"].as_str(), error["details"].as_str()) {
        all.push((code.to_owned(), details.to_owned()));
        error = error["cause"].clone();
    }
    all
}

fn fault(simulator: &Simulator, fault: Fault) {
    simulator.set_faults(vec![FaultRule::new(fault).action("CreateRootVolumeTemplateFromRootVolume")]);
}

#[tokio::test]
async fn an_image_has_what_the_virtual_machine_has_until_it_is_updated() {
    let simulator = frozen().await;
    simulator.configure(|settings| {
        settings.zstack.vm_architecture = "aarch64".into();
        settings.zstack.vm_virtio = false;
    });
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let made = stack.finish("POST", VOLUME, &creation()).await.json()["inventory"].clone();
    assert_eq!((&made["architecture"], &made["virtio"]), (&json!("aarch64"), &json!(false)));
    let update = json!({ "updateImage": { "architecture": "x86_64", "virtio": true } });
    stack.finish("PUT", &format!("images/{UUID}/actions"), &update).await;
    let now = image(&stack).await;
    assert_eq!((&now["architecture"], &now["virtio"]), (&json!("x86_64"), &json!(true)));
}

#[tokio::test]
async fn a_uuid_is_given_once_and_the_reason_is_deep_down() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    stack.finish("POST", VOLUME, &creation()).await;
    stack.finish("DELETE", &format!("images/{UUID}"), &Value::Null).await;
    stack.finish("PUT", &format!("images/{UUID}/actions"), &json!({ "expungeImage": {} })).await;
    assert_eq!(image(&stack).await, Value::Null);
    let again = stack.finish("POST", VOLUME, &creation()).await;
    let causes = causes(&again);
    let [(outer, said), (_, database)] = causes.as_slice() else { panic!("{causes:?}") };
    assert_eq!((again.status, outer.as_str()), (503, "SYS.1000"));
    assert!(!said.contains("Duplicate") && database.contains("Duplicate entry"), "{causes:?}");
    assert!(simulator.zstack().images().is_empty());
}

#[tokio::test]
async fn storages_that_fail_are_left_out_as_long_as_one_works() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let broken = |storages: &[&str]| {
        let storages = storages.iter().map(|&uuid| uuid.to_owned()).collect::<Vec<_>>();
        simulator.configure(|settings| settings.zstack.broken_backup_storages = storages);
    };
    broken(&STORAGES);
    let none = stack.finish("POST", VOLUME, &creation()).await;
    assert_eq!(none.verdict(), "503 SYS.1006");
    assert!(none.text().contains("unable to allocate backup storage"), "{}", none.text());
    broken(&STORAGES[..1]);
    let made = stack.finish("POST", VOLUME, &creation()).await.json()["inventory"].clone();
    let refs = made["backupStorageRefs"].as_array().unwrap();
    assert_eq!((refs.len(), &refs[0]["backupStorageUuid"]), (1, &json!(STORAGES[1])));
}

#[tokio::test]
async fn a_dead_node_leaves_no_job_and_an_image_that_is_given_up_after_days() {
    let simulator = frozen().await;
    for leaves in [true, false] {
        let stack = Stack::log_in(&simulator, "admin", "password").await;
        fault(&simulator, Fault::NodeDies { image: leaves });
        let job = Stack::job(&stack.call("POST", VOLUME, &creation()).await);
        assert_eq!(stack.poll(&job).await.status, 404);
        let status = if leaves { json!("Creating") } else { Value::Null };
        assert_eq!(image(&stack).await["status"], status);
        simulator.advance(Duration::from_hours(71));
        let stack = Stack::log_in(&simulator, "admin", "password").await;
        assert_eq!(image(&stack).await["status"], status);
        simulator.advance(Duration::from_hours(1));
        assert!(simulator.zstack().images().is_empty());
    }
    let made = simulator.ledger().effects.iter().filter(|effect| effect.change == Change::Created).count();
    assert_eq!(made, 1);

    fault(&simulator, Fault::StallBuild);
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let job = Stack::job(&stack.call("POST", VOLUME, &creation()).await);
    simulator.advance(Duration::from_hours(71));
    assert_eq!(stack.poll(&job).await.status, 202);
    simulator.advance(Duration::from_hours(2));
    assert_eq!((stack.poll(&job).await.status, simulator.zstack().images().len()), (404, 0));
}

#[tokio::test]
async fn a_job_whose_image_is_deleted_meanwhile_fails_in_the_end() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let job = Stack::job(&stack.call("POST", VOLUME, &creation()).await);
    simulator.advance(Duration::from_secs(10));
    assert_eq!(image(&stack).await["status"], "Creating");
    let deletion = Stack::job(&stack.call("DELETE", &format!("images/{UUID}"), &Value::Null).await);
    simulator.advance(Duration::from_secs(10));
    assert_eq!((stack.poll(&deletion).await.status, stack.poll(&job).await.status), (200, 202));
    assert_eq!(image(&stack).await["status"], "Deleted");
    simulator.advance(Duration::from_secs(60));
    let late = stack.poll(&job).await;
    assert_eq!(late.verdict(), "503 SYS.1006");
    assert!(late.text().contains("has been deleted"), "{}", late.text());
    assert_eq!(image(&stack).await["status"], "Deleted", "it does not come back");
}

#[tokio::test]
async fn how_far_a_job_is_can_be_asked_while_it_runs() {
    let simulator = frozen().await;
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let job = Stack::job(&stack.call("POST", VOLUME, &creation()).await);
    let progress = async || stack.call("GET", &format!("task-progresses/{job}"), &Value::Null).await;
    simulator.advance(Duration::from_secs(15));
    let row = progress().await.json()["inventories"][0].clone();
    assert_eq!(
        (&row["taskUuid"], &row["type"], &row["content"]),
        (&json!(job), &json!("Progress"), &json!("25"))
    );
    simulator.advance(Duration::from_secs(60));
    assert_eq!(progress().await.json(), json!({ "inventories": [] }));
    simulator.configure(|settings| settings.zstack.tells_progress = false);
    assert_eq!(progress().await.status, 404);
}

#[tokio::test]
async fn an_image_may_be_unusable_for_a_while() {
    let simulator = frozen().await;
    simulator.configure(|settings| settings.zstack.moving_seconds = 30.0);
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    stack.call("POST", VOLUME, &creation()).await;
    simulator.advance(Duration::from_secs(60));
    assert_eq!(image(&stack).await["status"], "Migrating");
    simulator.advance(Duration::from_secs(30));
    assert_eq!(image(&stack).await["status"], "Ready");
    simulator.zstack().modify(UUID, |image: &mut Image| image.odd_status = Some("Verifying".into()));
    assert_eq!(image(&stack).await["status"], "Verifying");
}

#[tokio::test]
async fn errors_of_jobs_may_be_causes_of_a_fault() {
    let simulator = frozen().await;
    simulator.configure(|settings| settings.zstack.nested_causes = true);
    let stack = Stack::log_in(&simulator, "admin", "password").await;
    let expunge = json!({ "expungeImage": {} });
    let failed = stack.finish("PUT", &format!("images/{UUID}/actions"), &expunge).await;
    let codes: Vec<_> = causes(&failed).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["SYS.1000", "SYS.1003"]);
}
