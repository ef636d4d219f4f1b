//! The API server answers once wrongly when it is asked for an account, for its Secret, for the labels of a namespace, or to let the
//! account be held, and rightly from then on: who uses the account goes on at once, and does not wait for a time of his own.

use super::{
    gate::{Deed, Point},
    life::Operator,
    proxies::Proxies,
};
use crate::{
    harness::{World, account, component, condition, secret},
    subject::{self, Subject},
};
use cloud_image_operator::kinds::KINDS;
use futures::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A request about an account of the namespace, or of the cluster.
const REQUESTS: [(&str, &str); 7] = [
    ("CloudAccount", "GET cloudaccounts"),
    ("CloudAccount", "PATCH cloudaccounts"),
    ("CloudAccount", "GET secrets"),
    ("ClusterCloudAccount", "GET clustercloudaccounts"),
    ("ClusterCloudAccount", "PATCH clustercloudaccounts"),
    ("ClusterCloudAccount", "GET secrets"),
    ("ClusterCloudAccount", "GET namespaces"),
];

/// Trouble that passes, no answer, and a refusal that passes, as by an API server that has not read its roles yet.
const ANSWERS: [Deed; 3] = [Deed::Error(false), Deed::Silence, Deed::Forbidden];

/// From when an object is applied until it is Ready, on a machine that is busy. Most of it is the time that silence takes.
const BACK: Duration = Duration::from_secs(60);

/// So often another object comes: sooner than the account's controller, which waits until none has come for a while.
const COMING: Duration = Duration::from_millis(500);

/// What a subject's documents are with an account of the cluster in place of the namespace's.
fn of_cluster(mut documents: Vec<Value>, world: &World) -> Vec<Value> {
    let name = format!("{}-shared", world.namespace);
    let labels = json!({ "kubernetes.io/metadata.name": world.namespace });
    for document in &mut documents {
        if document["kind"] == "CloudAccount" {
            document["kind"] = json!("ClusterCloudAccount");
            document["metadata"]["name"] = json!(name);
            document["spec"]["allowedNamespaces"] = json!({ "selector": { "matchLabels": labels } });
            for vendor in document["spec"].as_object_mut().expect("a spec").values_mut() {
                if let Some(secret) = vendor.get_mut("credentialsSecretRef") {
                    secret["namespace"] = json!(world.namespace);
                }
            }
        } else if document["kind"] != "Secret" {
            document["spec"]["accountRef"] = json!({ "kind": "ClusterCloudAccount", "name": name });
        }
    }
    documents
}

/// Gives what went wrong.
async fn answered_once(
    number: usize,
    subject: &Subject,
    request: (&str, &str),
    deed: Deed,
) -> Option<String> {
    let (account, label) = request;
    let what = format!("{}: {deed:?} at {label} of its {account}", subject.kind);
    let world = World::empty(&format!("once-{number}")).await;
    world.quicken();
    let proxies = Proxies::start(world.vendor.addresses()).await;
    let mut operator = Operator::new(&world.namespace, &proxies);
    operator.start(&proxies.gate);
    if let Err(error) = operator.until_it_watches(&proxies.gate).await {
        return Some(format!("{what}: {error}"));
    }
    let mut documents = subject.documents_at(proxies.vendors, "once", number);
    if account == "ClusterCloudAccount" {
        documents = of_cluster(documents, &world);
    }
    // Another account has the same Secret, so that no news of that wakes anybody later.
    if label != "GET secrets" {
        let [secret, account] = [0, 1].map(|index| documents[index].clone());
        documents.remove(0);
        let mut twin = account;
        let name = format!("{}-twin", world.namespace);
        twin["metadata"]["name"] = json!(name);
        let kind = twin["kind"].as_str().expect("a kind").to_owned();
        world.create(secret).await;
        world.create(twin).await;
        world.until_condition(&kind, &name, "Ready", "True", "Usable").await;
    }
    let hit = proxies.gate.arm(Some((Point { label: label.into(), nth: 1 }, deed)));
    let mut names = vec![];
    for document in documents {
        let name = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
        names.push((name("kind"), document["metadata"]["name"].as_str().unwrap_or_default().to_owned()));
        world.create(document).await;
    }
    let since = Instant::now();
    let all = async {
        for (kind, name) in names.iter().filter(|(kind, _)| kind != "Secret") {
            let is_ready = |object: &Value| condition(object, "Ready")["status"] == "True";
            world.until(kind, name, "it is Ready", is_ready).await;
        }
    };
    let came = tokio::time::timeout(BACK, all).await;
    let was_hit = hit.now_or_never().is_some_and(|hit| hit.is_ok());
    let mut shown = vec![];
    for (kind, name) in names.iter().filter(|_| came.is_err()) {
        let object = world.get(kind, name).await.unwrap_or_default();
        shown.push(format!("{kind} {}", condition(&object, "Ready")));
    }
    operator.kill().await;
    if account == "ClusterCloudAccount" {
        // It is in no namespace, with which it would go.
        let name = format!("{}-shared", world.namespace);
        world.json_patch(account, &name, json!([{ "op": "remove", "path": "/metadata/finalizers" }])).await;
        world.delete(account, &name).await;
        world.try_delete(account, &format!("{}-twin", world.namespace)).await;
    }
    match came {
        Err(_) => Some(format!("{what}: not Ready after {:?}: {shown:?}", since.elapsed())),
        Ok(()) if !was_hit => Some(format!("{what}: never asked")),
        Ok(()) => None,
    }
}

/// Each kind meets some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_answer_about_an_account_keeps_nobody_waiting() {
    let subjects = subject::all(KINDS);
    let trials = REQUESTS.iter().flat_map(|request| ANSWERS.map(|deed| (*request, deed)));
    let trials = trials.enumerate().map(|(number, (request, deed))| {
        answered_once(number, &subjects[number % subjects.len()], request, deed)
    });
    let trials: Vec<_> = trials.collect();
    let wrong: Vec<_> =
        stream::iter(trials).buffer_unordered(8).filter_map(std::future::ready).collect().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of those who use the account, another one comes before its controller would ask again: he asks, and all go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_answer_about_an_account_keeps_nobody_waiting_while_objects_come() {
    const KIND: &str = "ImageComponent";
    let world = World::empty("once-coming").await;
    world.quicken();
    let proxies = Proxies::start(world.vendor.addresses()).await;
    let mut operator = Operator::new(&world.namespace, &proxies);
    operator.start(&proxies.gate);
    operator.until_it_watches(&proxies.gate).await.expect("it watches");
    world.create(secret("aliyun")).await;
    world.create(account("default", format!("http://{}", proxies.vendors.aliyun_ecs))).await;
    world.until_condition("CloudAccount", "default", "Ready", "True", "Usable").await;
    let wrong = Point { label: "GET cloudaccounts".into(), nth: 1 };
    let hit = proxies.gate.arm(Some((wrong, Deed::Error(false))));
    let first = ["first", "second", "third"];
    for name in first {
        world.create(component(name, json!({}))).await;
    }
    hit.await.expect("the account is asked for");
    let are_ready = async {
        for name in first {
            world.until_ready(KIND, name).await;
        }
    };
    let others_come = async {
        let mut moments = tokio::time::interval(COMING);
        for number in 0..60 {
            moments.tick().await;
            world.create(component(&format!("later-{number}"), json!({}))).await;
        }
    };
    let in_time = tokio::select! {
        () = are_ready => true,
        () = others_come => false,
    };
    operator.kill().await;
    assert!(in_time, "sixty others have come, and those who were there before still wait");
}
