//! Several operators for the same objects: with a lease one works at a time, and without it nothing is made twice either.

use crate::harness::{World, component, is_ready};
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When};

/// The Lease has one name, so one test at a time can be about it.
static LEASE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";

#[tokio::test]
async fn another_replica_takes_over_from_one_that_ends_and_from_one_that_is_killed() {
    let _lease = LEASE.lock().await;
    let world = World::with_account("replicas").await;
    let start = |grace| world.start_program_with(&["--leader-elect"], grace);
    let ready = async |name: &str| {
        world.create(component(name, json!({}))).await;
        world.until_ready(KIND, name).await;
    };
    let first = start(Some(Duration::from_secs(20)));
    ready("one").await;
    let second = start(None);
    ready("two").await;

    // It gives the lease back, so nobody waits until that runs out.
    let (code, log) = first.stop().await;
    assert_eq!(code, Some(0), "{log}");
    tokio::time::timeout(Duration::from_secs(12), ready("three")).await.expect("the second leads at once");

    let third = start(None);
    let (_, log) = second.stop().await;
    assert!(log.contains("waiting for the lease") && !log.contains("object=replicas/two"), "{log}");
    ready("four").await;
    let (_, log) = third.stop().await;
    assert!(!log.contains("object=replicas/three"), "{log}");
    assert_eq!(world.effects(CREATE), 4);
}

/// A leader that is stopped in the middle of its calls and goes on when another one has found out what became of them.
#[tokio::test]
async fn who_was_asleep_writes_nothing_over_what_another_one_found_out() {
    const COUNT: usize = 25;
    let _lease = LEASE.lock().await;
    let world = World::with_account("asleep").await;
    let slow = FaultRule::new(Fault::SlowAnswer { millis: 5_000 }).action(CREATE);
    let lost = FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(8));
    world.vendor.set_faults(vec![lost, slow]);
    let first = world.start_program_with(&["--leader-elect"], None);
    let parameters = json!({ "forProvider": { "name": null, "componentVersion": null } });
    let names: Vec<_> = (0..COUNT).map(|number| format!("component-{number}")).collect();
    join_all(names.iter().map(|name| world.create(component(name, parameters.clone())))).await;
    world.until_true("some calls are under way", || world.calls(CREATE) >= 12).await;
    first.pause();
    world.vendor.set_faults(vec![]);
    let second = world.start_program_with(&["--leader-elect"], None);
    join_all(names.iter().map(|name| world.until_ready(KIND, name))).await;

    first.go_on();
    let ended = || first.log().contains("the lease was lost");
    world.until_true("the first one has seen that it does not lead", ended).await;
    for name in &names {
        let object = world.get(KIND, name).await.expect("it is there");
        assert_eq!(object["status"]["operation"]["state"], "Succeeded", "{object:#}");
        assert!(is_ready(&object), "{object:#}");
    }
    assert_eq!((world.effects(CREATE), world.vendor.aliyun_ecs().count()), (COUNT, COUNT));
    drop(second);
}

/// What a lease cannot prevent: a holder that was asleep, or a second installation.
#[tokio::test]
async fn two_that_work_at_once_make_nothing_twice() {
    const COUNT: usize = 40;
    let mut world = World::with_account("rivals").await;
    let rival = world.start_program(None);
    world.start_operator().await;
    // The vendor would make any number of these.
    let parameters = json!({ "forProvider": { "name": null, "componentVersion": null } });
    let names: Vec<_> = (0..COUNT).map(|number| format!("component-{number}")).collect();
    join_all(names.iter().map(|name| world.create(component(name, parameters.clone())))).await;
    join_all(names.iter().map(|name| world.until_ready(KIND, name))).await;
    assert_eq!(world.effects(CREATE), COUNT);
    assert_eq!(world.vendor.aliyun_ecs().count(), COUNT);
    join_all(names.iter().map(|name| world.delete(KIND, name))).await;
    join_all(names.iter().map(|name| world.until_gone(KIND, name))).await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
    drop(rival);
}
