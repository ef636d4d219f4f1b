//! What is in Git stays what is in the cluster, as Argo CD, Flux and kubectl compare them, and no way of theirs to write it
//! loses a task that is under way.

use super::{samples, tools::kubectl};
use crate::harness::{World, is_ready};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, time::Duration};
use vendor_simulator::{Fault, FaultRule, When};

/// The annotations that the operator may set: nobody's Git names them, and tools leave such alone.
const OWN: &str = "cloudimages.dev/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ever_out_of_sync() {
    let mut world = World::empty("drift").await;
    world.beat = Duration::from_secs(1);
    let git = samples::all(&world);
    let git: Vec<_> = git.into_iter().filter(|object| object["kind"] != "Secret").collect();
    for secret in samples::all(&world).into_iter().filter(|object| object["kind"] == "Secret") {
        let first = apply(&world, &secret, SERVER_SIDE).await;
        assert_eq!(apply(&world, &secret, SERVER_SIDE).await, first);
    }
    let mut applied = vec![];
    for object in &git {
        applied.push(apply(&world, object, SERVER_SIDE).await);
    }
    // Nobody looks after them yet. The status by which tools see that is filled in as they are read, and stored by whoever
    // writes next: once, and nothing else.
    for (object, first) in git.iter().zip(&mut applied) {
        let second = apply(&world, object, SERVER_SIDE).await;
        first["metadata"]["resourceVersion"] = second["metadata"]["resourceVersion"].clone();
        assert_eq!(second, *first);
        assert_eq!(apply(&world, object, SERVER_SIDE).await, second);
    }
    world.start_operator().await;
    for object in &git {
        let (kind, name) = names(object);
        let ready = |object: &Value| {
            world.vendor.advance(Duration::from_secs(60));
            is_ready(object)
        };
        world.until(kind, name, "it is Ready", ready).await;
    }
    for (object, first) in git.iter().zip(&applied) {
        let (kind, name) = names(object);
        let live = world.get(kind, name).await.expect("it is there");
        // What Argo CD and kubectl compare: what Git says, merged into what there is, and lists as a whole.
        let mut merged = live.clone();
        json_patch::merge(&mut merged, object);
        assert_eq!(merged, live, "{kind} looks out of sync");
        assert_eq!(live["spec"], first["spec"], "{kind}: somebody changed the spec");
        assert_eq!(live["metadata"]["labels"], first["metadata"]["labels"], "{kind}");
        for (annotation, _) in live["metadata"]["annotations"].as_object().into_iter().flatten() {
            assert!(annotation.starts_with(OWN), "{kind}: {annotation}");
        }
        let owned = owned_by_operator(&world, kind, name).await;
        let strangers: Vec<_> = owned
            .iter()
            .filter(|field| !["f:finalizers", "f:annotations"].contains(&field.as_str()))
            .collect();
        assert!(strangers.is_empty(), "the operator owns {strangers:?} of {kind}");
        // And Flux: applied once more, it is the same object.
        let again = apply(&world, object, SERVER_SIDE).await;
        assert_eq!(again["metadata"]["resourceVersion"], live["metadata"]["resourceVersion"], "{kind}");
    }
}

/// Why the second apply of an object at which nobody has looked is a write: the API server takes the status of what is created
/// off, fills its default in as it reads the object, and then stores what it has read. So it is with every kind that has a
/// default in its status, which is what tells tools that nobody has looked yet; without one, the second apply is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_in_a_status_is_stored_by_the_second_write_of_any_kind() {
    let world = World::empty("status-default").await;
    let unseen = json!({ "observedGeneration": -1 });
    for (kind, default, moves) in [("Plain", None, false), ("Defaulted", Some(&unseen), true)] {
        let plural = format!("{}s", kind.to_lowercase());
        let mut status =
            json!({ "type": "object", "properties": { "observedGeneration": { "type": "integer" } } });
        if let Some(default) = default {
            status["default"] = default.clone();
        }
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.status.example.com") },
            "spec": {
                "group": "status.example.com",
                "scope": "Namespaced",
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase() },
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                        "spec": { "type": "object", "properties": { "size": { "type": "integer" } } },
                        "status": status,
                    } } },
                }],
            },
        });
        apply(&world, &crd, SERVER_SIDE).await;
        let crd_name = format!("crd/{plural}.status.example.com");
        kubectl(&world.namespace, &["wait", "--for=condition=Established", "--timeout=60s", &crd_name]).await;
        let object = json!({
            "apiVersion": "status.example.com/v1",
            "kind": kind,
            "metadata": { "name": "one" },
            "spec": { "size": 1 },
        });
        let first = apply(&world, &object, SERVER_SIDE).await;
        let mut second = apply(&world, &object, SERVER_SIDE).await;
        let third = apply(&world, &object, SERVER_SIDE).await;
        assert_eq!(third, second, "{kind}");
        let (before, after) =
            (&first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"].take());
        assert_eq!(*before != after, moves, "{kind}: {before} and {after}");
        second["metadata"]["resourceVersion"] = before.clone();
        assert_eq!(second, first, "{kind}: nothing else changes");
    }
}

/// The fields of metadata and spec that the operator is recorded as the owner of.
async fn owned_by_operator(world: &World, kind: &str, name: &str) -> BTreeSet<String> {
    let resource = format!("{}.cloudimages.dev", kind.to_lowercase());
    let live =
        kubectl(&world.namespace, &["get", &resource, name, "--show-managed-fields", "-o", "json"]).await;
    let live: Value = serde_json::from_str(&live).expect("JSON");
    let managers = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let ours = managers.iter().filter(|entry| entry["manager"] == "cloudimages.dev");
    ours.filter(|entry| entry["subresource"].is_null())
        .flat_map(|entry| ["f:metadata", "f:spec"].map(|part| entry["fieldsV1"][part].clone()))
        .flat_map(|fields| {
            fields.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        })
        .collect()
}

/// Ways to write what Git says, the first time and later: kubectl's, which are Argo CD's with `Replace=true` and without,
/// and the one of Flux and of Argo CD with `ServerSideApply=true`.
const WAYS: &[(&str, &[&str], &[&str])] = &[
    ("replace", &["create"], &["replace"]),
    ("client-side", &["apply"], &["apply"]),
    ("server-side", SERVER_SIDE, SERVER_SIDE),
];
const SERVER_SIDE: &[&str] =
    &["apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_of_writing_loses_a_task() {
    let mut world = World::empty("written").await;
    world.beat = Duration::from_secs(1);
    world.freeze();
    for object in samples::all(&world) {
        if !samples::is_image(&object) {
            apply(&world, &object, &["apply", "--server-side"]).await;
        }
    }
    world.start_operator().await;
    let mut written = vec![];
    for (number, (way, first, later)) in WAYS.iter().enumerate() {
        for mut git in samples::images(&world, way) {
            apart(&mut git, number);
            let (kind, name) = names(&git);
            apply(&world, &git, first).await;
            let begun = |object: &Value| {
                let phase = &object["status"]["phase"];
                phase == "Building" || phase == "Ready"
            };
            let before = world.until(kind, name, "its build is under way", begun).await;
            assert_eq!(before["metadata"]["finalizers"], json!(["cloudimages.dev/external"]), "{kind}");
            // A new revision: what can be changed at any time.
            let mut revised = git.clone();
            revised["spec"]["timeout"] = json!("5h");
            apply(&world, &revised, later).await;
            let held = |object: &Value| {
                object["metadata"]["finalizers"] == json!(["cloudimages.dev/external"])
                    && object["status"]["observedGeneration"] == object["metadata"]["generation"]
            };
            let after = world.until(kind, name, &format!("it is held after {way}"), held).await;
            for id in ["taskId", "imageId"] {
                assert_eq!(after["status"][id], before["status"][id], "{kind} after {way}: {id}");
            }
            assert_eq!(
                after["status"]["operation"]["token"], before["status"]["operation"]["token"],
                "{kind}"
            );
            written.push(revised);
        }
    }
    world.run(600.0);
    for git in &written {
        let (kind, name) = names(git);
        world.until_ready(kind, name).await;
    }
    for kind in cloud_image_operator::kinds::KINDS {
        assert_eq!(world.effects(kind.action()), WAYS.len(), "{}: {:#?}", kind.action(), world.call_log());
    }
    // What holds them holds them for the vendor's sake.
    for git in &written {
        let (kind, name) = names(git);
        world.delete(kind, name).await;
        world.until_gone(kind, name).await;
    }
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
    assert_eq!(world.vendor.volcengine().aosp_images(), []);
}

/// In the seconds between the vendor's call and its answer, the intent is all that there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_in_the_middle_of_a_call_loses_nothing() {
    let mut world = World::empty("written-amid").await;
    world.beat = Duration::from_secs(1);
    for object in samples::all(&world) {
        if !samples::is_image(&object) {
            apply(&world, &object, &["apply", "--server-side"]).await;
        }
    }
    let slow = Fault::SlowAnswer { millis: 5_000 };
    let actions = cloud_image_operator::kinds::KINDS.iter().map(|kind| kind.action());
    world.vendor.set_faults(
        actions.map(|action| FaultRule::new(slow.clone()).action(action).when(When::first(1))).collect(),
    );
    world.start_operator().await;
    let git = samples::images(&world, "amid");
    for object in &git {
        world.create(object.clone()).await;
    }
    for (object, kind) in git.iter().zip(cloud_image_operator::kinds::KINDS) {
        let reached = || world.calls(kind.action()) == 1;
        world.until_true(&format!("{} is called", kind.action()), reached).await;
        let mut object = object.clone();
        object["spec"]["timeout"] = json!("5h");
        apply(&world, &object, &["replace"]).await;
    }
    for (object, kind) in git.iter().zip(cloud_image_operator::kinds::KINDS) {
        let (kind_name, name) = names(object);
        let ready = |object: &Value| {
            world.vendor.advance(Duration::from_secs(60));
            is_ready(object) && object["metadata"]["finalizers"] == json!(["cloudimages.dev/external"])
        };
        world.until(kind_name, name, "it is Ready and held", ready).await;
        assert_eq!(world.effects(kind.action()), 1, "{:#?}", world.call_log());
    }
}

/// Things that only one object may work on at a time are told apart.
fn apart(object: &mut Value, number: usize) {
    let told_apart =
        ["imageId", "ecsImageId", "name", "imageName", "imagePipelineId", "destinationImageName"];
    for field in told_apart {
        if let Some(Value::String(text)) = object["spec"]["forProvider"].get_mut(field) {
            *text = format!("{text}{number}");
        }
    }
}

fn names(object: &Value) -> (&str, &str) {
    (object["kind"].as_str().expect("a kind"), object["metadata"]["name"].as_str().expect("a name"))
}

/// Lets kubectl write an object, and gives it as it is then.
async fn apply(world: &World, object: &Value, command: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("object.json");
    fs::write(&file, object.to_string()).expect("a file");
    let file = file.to_str().expect("a path in UTF-8");
    let arguments = [command, &["-f", file, "-o", "json"]].concat();
    let said = kubectl(&world.namespace, &arguments).await;
    serde_json::from_str(&said).expect("JSON")
}
