//! The operator ends in the middle, killed or told to: whoever comes after it finishes what it began, once.

use crate::harness::{Program, World, component, until};
use serde_json::json;
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};
use vendor_simulator::{Fault, FaultRule, When};

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";
const DELETE: &str = "DeleteImageComponent";

/// Twice what the operator has for ending after SIGTERM.
const GRACE: Option<Duration> = Some(Duration::from_secs(20));

#[tokio::test]
async fn killed_between_the_creating_call_and_its_answer() {
    let mut world = World::with_account("killed").await;
    let fault = |name: &str, fault| {
        FaultRule::new(fault).action(CREATE).parameter("Description", name).when(When::first(1))
    };
    world.vendor.set_faults(vec![
        fault("acted.", Fault::Hang { effect: true }),
        fault("ignored.", Fault::Hang { effect: false }),
        fault("answering.", Fault::SlowAnswer { millis: 60_000 }),
    ]);
    let names = ["acted", "ignored", "answering"];
    let program = world.start_program(None);
    for name in names {
        // The vendor would make any number of these.
        let parameters = json!({ "name": null, "componentVersion": null, "description": format!("{name}.") });
        world.create(component(name, json!({ "forProvider": parameters }))).await;
    }
    world.until_true("all three calls have arrived", || world.calls(CREATE) == 3).await;
    let (code, log) = program.stop().await;
    assert_eq!(code, Some(128 + 9), "{log}");
    for name in names {
        let object = world.get(KIND, name).await.expect("it is there");
        assert_eq!(
            object["metadata"]["finalizers"],
            json!(["cloudimages.dev/external"]),
            "the intent is stored"
        );
        assert!(object["status"]["imageId"].is_null(), "{object}");
    }
    assert_eq!(world.effects(CREATE), 2);

    world.start_operator().await;
    for name in names {
        let object = world.until_ready(KIND, name).await;
        let uid = object["metadata"]["uid"].as_str().expect("a uid");
        let ledger = world.vendor.ledger();
        let made: Vec<_> = ledger
            .effects_of(CREATE)
            .filter(|effect| effect.token.as_deref().is_some_and(|token| token.starts_with(uid)))
            .collect();
        assert_eq!(made.len(), 1, "{name}: {made:#?}");
        assert_eq!(object["status"]["imageId"], made[0].id.as_str());
    }
    assert_eq!(world.effects(CREATE), 3);
    assert_eq!(world.vendor.aliyun_ecs().count(), 3);
}

#[tokio::test]
async fn killed_between_the_deleting_call_and_its_answer() {
    let mut world = World::with_account("killed-deleting").await;
    world
        .vendor
        .set_faults(vec![FaultRule::new(Fault::Hang { effect: true }).action(DELETE).when(When::first(1))]);
    let program = world.start_program(None);
    world.create(component("brief", json!({}))).await;
    world.until_ready(KIND, "brief").await;
    world.delete(KIND, "brief").await;
    world.until_true("the deleting call has arrived", || world.calls(DELETE) == 1).await;
    program.stop().await;
    assert!(world.get(KIND, "brief").await.is_some());

    world.start_operator().await;
    world.until_gone(KIND, "brief").await;
    assert_eq!(world.effects(DELETE), 1);
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
}

/// What is answered within the time that is left is written down; what is not is found out by the next start.
#[tokio::test]
async fn told_to_end_in_the_middle() {
    let mut world = World::with_account("told").await;
    let fault =
        |name: &str, fault| FaultRule::new(fault).action(CREATE).parameter("Name", name).when(When::first(1));
    world.vendor.set_faults(vec![
        fault("slow", Fault::SlowAnswer { millis: 3000 }),
        fault("never", Fault::Hang { effect: true }),
    ]);
    let program = world.start_program(GRACE);
    world.create(component("slow", json!({}))).await;
    world.create(component("never", json!({}))).await;
    world.until_true("both calls have arrived", || world.calls(CREATE) == 2).await;
    let told = Instant::now();
    let (code, log) = program.stop().await;
    let took = told.elapsed();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}: {log}");

    let slow = world.get(KIND, "slow").await.expect("it is there");
    assert!(slow["status"]["imageId"].is_string(), "its answer came in time: {slow:#}");
    let never = world.get(KIND, "never").await.expect("it is there");
    assert!(never["status"]["imageId"].is_null(), "{never:#}");

    world.start_operator().await;
    for name in ["slow", "never"] {
        world.until_ready(KIND, name).await;
    }
    assert_eq!(world.effects(CREATE), 2);
}

/// An idle operator has nothing to wait for.
#[tokio::test]
async fn told_to_end_with_nothing_under_way() {
    let world = World::with_account("idle").await;
    let program = world.start_program(GRACE);
    world.create(component("done", json!({}))).await;
    world.until_ready(KIND, "done").await;
    let told = Instant::now();
    let (code, log) = program.stop().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}: {log}", told.elapsed());
}

/// An API server that takes connections and says nothing, as one that is being replaced may.
#[tokio::test]
async fn told_to_end_before_it_could_begin() {
    let mute = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = format!("https://{}", mute.local_addr().expect("an address"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kubeconfig = folder.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "mute",
        "clusters": [{ "name": "mute", "cluster": { "server": server } }],
        "contexts": [{ "name": "mute", "context": { "cluster": "mute", "user": "nobody" } }],
        "users": [{ "name": "nobody", "user": {} }],
    });
    std::fs::write(&kubeconfig, config.to_string()).expect("a file");
    let program = Program::start_at(&kubeconfig, &[], GRACE);
    assert!(until(|| program.log().contains("serving /metrics")).await, "{}", program.log());
    let told = Instant::now();
    let (code, log) = program.stop().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}: {log}", told.elapsed());
}
