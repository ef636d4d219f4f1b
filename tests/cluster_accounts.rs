//! Accounts that namespaces share. They belong to the whole cluster, so they have a control plane of their own.

#[path = "harness/harness.rs"]
mod harness;

use harness::{World, component, secret};
use serde_json::{Value, json};
use std::{future::Future, time::Duration};

const KIND: &str = "ImageComponent";
const ACCOUNT: &str = "ClusterCloudAccount";

/// A cluster account at Alibaba Cloud with a Secret in this namespace.
fn shared(name: &str, vault: &str, endpoint: String, allowed: &Value) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": ACCOUNT,
        "metadata": { "name": name },
        "spec": {
            "aliyun": {
                "regionId": "cn-hangzhou",
                "credentialsSecretRef": { "name": "aliyun", "namespace": vault },
                "ecs": { "endpoint": endpoint },
            },
            "allowedNamespaces": allowed,
        },
    })
}

fn image(name: &str, account: &str) -> Value {
    component(name, json!({ "accountRef": { "kind": ACCOUNT, "name": account } }))
}

/// Waits until an image says that its namespace may not use the account.
async fn refused(world: &World, image: &str, account: &str) {
    let message = world.until_condition(KIND, image, "Ready", "False", "NamespaceNotAllowed").await;
    let names = [format!("{ACCOUNT} {account}"), format!("namespace {}", world.namespace)];
    assert!(names.iter().all(|name| message.contains(name)), "{message}");
}

async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), what).await.expect("it does not take so long")
}

#[tokio::test]
async fn the_namespaces_that_an_account_allows_may_use_it_and_no_other() {
    let vault = World::empty("vault").await;
    let mut team = World::empty("team").await;
    let other = World::empty("other").await;
    team.start_operator_with(&["vault", "other"], &[]).await;

    // Its Secret comes later; an account without a rule is for nobody.
    let endpoint = team.endpoint();
    for (name, allowed) in [
        ("by-name", json!({ "names": ["team"] })),
        ("by-label", json!({ "selector": { "matchLabels": { "images": "allowed" } } })),
        ("nobodys", Value::Null),
    ] {
        team.create(shared(name, "vault", endpoint.clone(), &allowed)).await;
        team.create(image(name, name)).await;
        other.create(image(name, name)).await;
    }
    let message = team.until_condition(KIND, "by-name", "Ready", "False", "SecretNotFound").await;
    assert!(message.contains("Secret vault/aliyun"), "{message}");
    vault.create(secret("aliyun")).await;
    within(10, team.until_ready(KIND, "by-name")).await;
    for (world, name) in [
        (&team, "by-label"),
        (&team, "nobodys"),
        (&other, "by-name"),
        (&other, "by-label"),
        (&other, "nobodys"),
    ] {
        refused(world, name, name).await;
    }
    assert_eq!(team.vendor.aliyun_ecs().count(), 1);

    // The account's rule changes, which is seen at once.
    let allow = json!({ "spec": { "allowedNamespaces": { "names": ["team", "other"] } } });
    team.patch(ACCOUNT, "by-name", allow).await;
    // The vendor has one of that name and version.
    other.until_condition(KIND, "by-name", "Stalled", "True", "AlreadyExists").await;

    // A namespace's labels change, which is looked at from time to time.
    team.patch("Namespace", "team", json!({ "metadata": { "labels": { "images": "allowed" } } })).await;
    within(60, team.until_ready(KIND, "by-label")).await;
    refused(&other, "by-label", "by-label").await;

    // Users are counted wherever they are, and keep the account.
    let counted = |count: u64| move |account: &Value| account["status"]["images"] == count;
    team.until(ACCOUNT, "by-name", "it counts both", counted(2)).await;
    team.delete(ACCOUNT, "by-name").await;
    let message = team.until_condition(ACCOUNT, "by-name", "Ready", "False", "InUse").await;
    assert!(message.contains("2 objects"), "{message}");
    for world in [&other, &team] {
        world.delete(KIND, "by-name").await;
        world.until_gone(KIND, "by-name").await;
    }
    within(10, team.until_gone(ACCOUNT, "by-name")).await;

    // What is not allowed any more is still deleted at the vendor.
    team.patch("Namespace", "team", json!({ "metadata": { "labels": { "images": null } } })).await;
    team.delete(KIND, "by-label").await;
    team.until_gone(KIND, "by-label").await;
    assert_eq!(team.vendor.aliyun_ecs().count(), 0);
}

#[tokio::test]
async fn of_several_operators_one_looks_after_an_account() {
    const NAME: &str = "easts";
    let mut east = World::empty("east").await;
    let mut west = World::empty("west").await;
    east.start_operator().await;
    west.start_operator().await;
    east.create(secret("aliyun")).await;
    east.create(shared(NAME, "east", east.endpoint(), &json!({ "names": ["east", "west"] }))).await;
    for world in [&east, &west] {
        world.create(image(NAME, NAME)).await;
    }
    east.until_ready(KIND, NAME).await;
    let message = west.until_condition(KIND, NAME, "Ready", "False", "AccountNotWatched").await;
    assert!(message.contains("namespace east") && message.contains(NAME), "{message}");

    east.until(ACCOUNT, NAME, "it counts one", |account| account["status"]["images"] == 1).await;
    west.delete(KIND, NAME).await;
    west.until_gone(KIND, NAME).await;
    east.delete(ACCOUNT, NAME).await;
    east.until_condition(ACCOUNT, NAME, "Ready", "False", "InUse").await;
    east.delete(KIND, NAME).await;
    east.until_gone(KIND, NAME).await;
    east.until_gone(ACCOUNT, NAME).await;
    assert_eq!(east.vendor.aliyun_ecs().count(), 0);

    for world in [&mut east, &mut west] {
        world.stop_operator().await;
    }
    let written = [&east, &west].map(|world| world.writes("clustercloudaccounts").len());
    assert!(written[0] > 0 && written[1] == 0, "{written:?} writes");
}
