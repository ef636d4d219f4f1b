//! kstatus, Argo CD's health script and Flux' health check expressions say of every kind in every phase what is so.

use super::{
    situations::{phases, unseen},
    tools::{argocd, deployed, flux, kstatus, kubectl},
};
use crate::harness::{World, account, component, condition, secret};
use cloud_image_operator::{
    engine::status::Detail,
    kinds::{KINDS, crds},
};
use serde_json::{Value, json};

/// What kstatus and Flux say, and what Argo CD says.
type Verdict = (&'static str, &'static str);

const DONE: Verdict = ("Current", "Healthy");
const ON_THE_WAY: Verdict = ("InProgress", "Progressing");
const FAILED: Verdict = ("Failed", "Degraded");
const SUSPENDED: Verdict = ("InProgress", "Suspended");
/// Flux' expressions have no word for it: `InProgress`.
const GOING: Verdict = ("Terminating", "Progressing");

#[tokio::test]
async fn every_kind_in_every_phase() {
    let world = World::empty("health").await;
    let mut expected = vec![(unseen(), ON_THE_WAY), (unseen().deleting("unseen-going"), GOING)];
    let waiting = || Detail::waiting("RateLimited", "it is tried again");
    let stalled = || Detail::stalled("InvalidOutcome", "correct the annotation");
    let suspended = || Detail::suspended("set suspend: false to go on");
    for (phase, verdict, [waits, stops, rests, changed, going]) in [
        (
            0,
            ON_THE_WAY,
            ["pending-waits", "pending-stops", "pending-rests", "pending-changed", "pending-going"],
        ),
        (
            1,
            ON_THE_WAY,
            [
                "submitting-waits",
                "submitting-stops",
                "submitting-rests",
                "submitting-changed",
                "submitting-going",
            ],
        ),
        (
            2,
            ON_THE_WAY,
            ["building-waits", "building-stops", "building-rests", "building-changed", "building-going"],
        ),
        (3, DONE, ["ready-waits", "ready-stops", "ready-rests", "ready-changed", "ready-going"]),
        (4, FAILED, ["failed-waits", "failed-stops", "failed-rests", "failed-changed", "failed-going"]),
        (5, FAILED, ["unclear-waits", "unclear-stops", "unclear-rests", "unclear-changed", "unclear-going"]),
        (6, FAILED, ["missing-waits", "missing-stops", "missing-rests", "missing-changed", "missing-going"]),
        (7, FAILED, ["lost-waits", "lost-stops", "lost-rests", "lost-changed", "lost-going"]),
        (
            8,
            FAILED,
            ["unusable-waits", "unusable-stops", "unusable-rests", "unusable-changed", "unusable-going"],
        ),
    ] {
        let phase = || phases().remove(phase);
        expected.push((phase(), verdict));
        if phase().name != "unclear" {
            expected.push((phase().with(waits, waiting()), ON_THE_WAY));
        }
        expected.push((phase().with(stops, stalled()), FAILED));
        expected.push((phase().with(rests, suspended()), SUSPENDED));
        expected.push((phase().outdated(changed), ON_THE_WAY));
        expected.push((phase().deleting(going), GOING));
    }
    let mut stored = vec![];
    for (situation, verdict) in &expected {
        stored.extend(situation.store(&world, &json!({})).await.into_iter().map(|object| (object, *verdict)));
    }
    assert_agree(stored);
}

/// The operator itself writes those of accounts.
#[tokio::test]
async fn accounts() {
    let mut world = World::with_account("health-accounts").await;
    let mut stored = vec![(world.get("CloudAccount", "default").await.expect("it is there"), ON_THE_WAY)];
    world.create(account("elsewhere", "https://example.com")).await;
    let mut without_secret = account("without-secret", world.endpoint());
    without_secret["spec"]["aliyun"]["credentialsSecretRef"]["name"] = json!("none");
    world.create(without_secret).await;
    world.create(secret("going")).await;
    let mut of_cluster = account("health-accounts", world.endpoint());
    of_cluster["kind"] = json!("ClusterCloudAccount");
    of_cluster["spec"]["aliyun"]["credentialsSecretRef"]["namespace"] = json!(world.namespace);
    stored.push((world.create(of_cluster).await, ON_THE_WAY));
    world.create(account("going", world.endpoint())).await;
    world.start_operator().await;
    world.create(component("user", json!({ "accountRef": { "name": "going" } }))).await;
    world.until_ready("ImageComponent", "user").await;
    world.delete("CloudAccount", "going").await;

    for (kind, name, status, reason, verdict) in [
        ("CloudAccount", "default", "True", "Usable", DONE),
        ("ClusterCloudAccount", "health-accounts", "True", "Usable", DONE),
        ("CloudAccount", "elsewhere", "False", "EndpointNotAllowed", FAILED),
        ("CloudAccount", "going", "False", "InUse", GOING),
    ] {
        world.until_condition(kind, name, "Ready", status, reason).await;
        stored.push((world.get(kind, name).await.expect("it is there"), verdict));
    }
    // A Secret that is not there may be on its way, or forgotten.
    let unseen = |object: &Value| condition(object, "Ready").is_null();
    let without_secret =
        world.until("CloudAccount", "without-secret", "it is seen", |object| !unseen(object)).await;
    let verdict = if condition(&without_secret, "Stalled")["status"] == "True" { FAILED } else { ON_THE_WAY };
    stored.push((without_secret, verdict));
    assert_agree(stored);
}

#[tokio::test]
async fn suspended_objects() {
    let mut world = World::with_account("health-suspended").await;
    world.create(component("before", json!({ "suspend": true }))).await;
    world.start_operator().await;
    world.until_condition("ImageComponent", "before", "Ready", "False", "Suspended").await;
    let before = world.get("ImageComponent", "before").await.expect("it is there");
    assert_agree(vec![(before, SUSPENDED)]);
}

/// As `docs/gitops.md` has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn argo_cds_check_is_merged_into_what_is_there() {
    let world = World::empty("argocd").await;
    world
        .create(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "argocd-cm" },
            "data": { "url": "https://argocd.example.com" },
        }))
        .await;
    let file = deployed("argocd/health.yaml");
    let file = file.to_str().expect("a path in UTF-8");
    let patch = ["patch", "configmap", "argocd-cm", "--type", "merge", "--patch-file", file, "-o", "json"];
    let merged: Value = serde_json::from_str(&kubectl("argocd", &patch).await).expect("JSON");
    let data = merged["data"].as_object().expect("data");
    assert_eq!(data["url"], "https://argocd.example.com");
    assert_eq!(data.len(), 1 + crds(KINDS).len(), "{:#?}", data.keys());
}

/// Demands that all three say so.
fn assert_agree(objects: Vec<(Value, Verdict)>) {
    let (objects, expected): (Vec<_>, Vec<_>) = objects.into_iter().unzip();
    let (kstatus, argocd, flux) = (kstatus(&objects), argocd(&objects), flux(&objects));
    let mut wrong = vec![];
    for (number, (object, (status, health))) in objects.iter().zip(expected).enumerate() {
        let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
        let in_cel = if status == "Terminating" { "InProgress" } else { status };
        for (tool, said, expected) in [
            ("kstatus", &kstatus[number]["status"], status),
            ("Argo CD", &argocd[number]["status"], health),
            ("Flux", &flux[number]["status"], in_cel),
        ] {
            if said != expected {
                wrong.push(format!("{what}: {tool} says {said} instead of {expected}"));
            }
        }
        // What is said is what the object says.
        let ready = &condition(object, "Ready")["message"];
        if status == "Failed" && argocd[number]["message"] != *ready {
            wrong.push(format!("{what}: Argo CD says {} instead of {ready}", argocd[number]["message"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
