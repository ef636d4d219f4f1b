//! The API server is lost in the middle of the work, and etcd with it, and both come back. The operator goes on by itself. In the
//! end the CRDs are deleted, with everything that there is.

use crate::{
    harness::{
        Program, World, account_of, another_control_plane, client_of, component, image_of,
        operator_kubeconfig_of,
    },
    subject,
};
use cloud_image_operator::kinds::{self, KINDS};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tokio::{task::block_in_place, time::sleep};
use vendor_simulator::{Fault, FaultRule};
use xtask::controlplane::Part;

/// All kinds, with their creating calls.
fn kinds() -> Vec<(String, &'static str)> {
    KINDS.iter().map(|kind| (kind.crd().spec.names.kind, kind.action())).collect()
}

/// An object of a kind, with a root volume of its own where it is made of one.
fn object(kind: &str, name: &str, number: usize) -> Value {
    let mut object = image_of(kind, name);
    object["spec"]["accountRef"] = json!({ "name": kind.to_lowercase() });
    if let Some(uuid) = object.pointer_mut("/spec/forProvider/rootVolumeUuid") {
        *uuid = json!(format!("b94ff32725d133fea53e8ada5ea7{number:04x}"));
    }
    object
}

/// What defines a kind.
const CRD: &str = "CustomResourceDefinition";

/// Within this the operator is back at work.
const BACK: Duration = Duration::from_secs(10);

/// How often the operator has written an object, as the API server recorded it.
fn writes(audit_log: &Path) -> usize {
    let log = fs::read_to_string(audit_log).unwrap_or_default();
    let is_ours = |line: &&str| {
        line.contains(r#""username":"system:serviceaccount:cloud-image-operator:cloud-image-operator""#)
            && line.contains(r#""verb":"patch""#)
            && line.contains(r#""apiGroup":"cloudimages.dev""#)
    };
    log.lines().filter(is_ours).count()
}

/// For the operator of a world.
fn arguments(world: &World, more: &[&str]) -> Vec<String> {
    let mut arguments = vec![format!("--namespace={}", world.namespace)];
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    arguments.extend(world.endpoints().iter().map(|endpoint| format!("--allow-endpoint={endpoint}")));
    arguments
}

/// So many objects of each kind are on their way when these parts are lost, for so long.
async fn lost_and_back(of_each: usize, parts: &[Part], lasts: Duration) {
    let mut plane = another_control_plane().await;
    let world = World::empty_at(client_of(&plane, "test/outage").await, "outage").await;
    world.quicken();
    // Many calls are under way when it happens.
    let kinds = kinds();
    let slow = |action| FaultRule::new(Fault::SlowAnswer { millis: 1_000 }).action(action);
    world.vendor.set_faults(kinds.iter().map(|(_, action)| slow(*action)).collect());
    for (kind, _) in &kinds {
        for object in account_of(kind, &kind.to_lowercase(), &world.vendor) {
            world.create(object).await;
        }
    }
    let arguments = arguments(&world, &["--leader-elect"]);
    let mut operator = Program::start_at(&operator_kubeconfig_of(&plane), &arguments, None);
    let of_kind = |kind: &str| {
        let kind = kind.to_owned();
        (0..of_each).map(move |number| (kind.clone(), format!("{}-{number}", kind.to_lowercase()), number))
    };
    let objects: Vec<_> = kinds.iter().flat_map(|(kind, _)| of_kind(kind)).collect();
    join_all(objects.iter().map(|(kind, name, number)| world.create(object(kind, name, *number)))).await;
    let made = || kinds.iter().map(|(_, action)| world.calls(action)).sum::<usize>();
    world.until_true("some calls are made", || made() >= objects.len() / 4).await;

    for part in parts {
        plane.kill(*part).expect("it is killed");
    }
    let before = writes(&plane.audit_log());
    let asked = made();
    eprintln!("lost when {asked} creating calls of {} had been made", objects.len());
    sleep(lasts).await;
    block_in_place(|| plane.revive()).expect("it comes back");
    let back = Instant::now();
    world.until_true("the operator writes again", || writes(&plane.audit_log()) > before).await;
    let after = back.elapsed();
    join_all(objects.iter().map(|(kind, name, _)| world.until_ready(kind, name))).await;
    eprintln!("back at work after {after:?}, all Ready after {:?}", back.elapsed());
    assert!(after < BACK, "{after:?}\n{}", operator.log());
    assert!(!operator.has_ended(), "{}", operator.log());
    for (kind, action) in &kinds {
        let made = subject::made(&world.vendor.ledger(), action);
        assert_eq!(made.len(), of_each, "{kind}");
    }
    // As by who uninstalls in the wrong order: the objects go with what defines them, and their things with the objects.
    let defining: Vec<_> =
        kinds::crds(kinds::KINDS).into_iter().filter_map(|crd| crd.metadata.name).collect();
    join_all(defining.iter().map(|name| world.delete(CRD, name))).await;
    join_all(defining.iter().map(|name| world.until_gone(CRD, name))).await;
    let ledger = world.vendor.ledger();
    // An exported file is the user's.
    for (kind, action) in kinds.iter().filter(|(kind, _)| kind != "ImageExport") {
        let left = subject::made(&ledger, action).into_iter().filter(|id| !subject::deleted(&ledger, id));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "{kind}");
    }
    operator.stop().await;
}

/// As on a machine that is started together with the API server's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_before_the_api_server_waits_for_it() {
    const KIND: &str = "ImageComponent";
    let mut plane = another_control_plane().await;
    let world = World::empty_at(client_of(&plane, "test/early").await, "early").await;
    for object in account_of(KIND, "aliyun", &world.vendor) {
        world.create(object).await;
    }
    world.create(component("early", json!({ "accountRef": { "name": "aliyun" } }))).await;
    plane.kill(Part::ApiServer).expect("it is killed");
    let mut operator =
        Program::start_at(&operator_kubeconfig_of(&plane), &arguments(&world, &["--leader-elect"]), None);
    let waits = |status, body: &str| {
        status == 503
            && body.starts_with("the API server has not been reached yet: ")
            && body.contains("refused")
    };
    let why = operator.until("/readyz", "it says what it waits for", waits).await;
    assert_eq!(operator.get("/healthz").await, Some((200, "ok\n".into())));
    assert!(operator.log().contains("WARN cloud_image_operator::run: waiting for the API server: "), "{why}");
    block_in_place(|| plane.revive()).expect("it comes back");
    operator.until("/readyz", "it works", |status, _| status == 200).await;
    assert!(!operator.has_ended(), "{}", operator.log());
    world.until_ready(KIND, "early").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_is_lost_and_comes_back() {
    lost_and_back(6, &[Part::ApiServer], Duration::from_secs(2)).await;
}

/// For longer than the lease lasts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo test --test proof -- --ignored everything_behind_it"]
async fn an_api_server_and_everything_behind_it_that_are_lost_and_come_back() {
    lost_and_back(40, &[Part::ApiServer, Part::Etcd], Duration::from_secs(60)).await;
}
