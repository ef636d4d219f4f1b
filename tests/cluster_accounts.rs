//! Accounts that namespaces share, and CRDs that are not the operator's own version: both are the whole cluster's, so they have a
//! control plane of their own, and so has the chaos that has both.

#[path = "harness/harness.rs"]
mod harness;

mod cluster_accounts {
    mod chaos;
}

use harness::{World, component, condition, secret};
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
    assert!(
        message.starts_with("2 objects in 2 namespaces still use") && !message.contains(KIND),
        "{message}"
    );
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
    // Whose one is that cannot be read, nobody knows: other tests have such.
    let written = [&east, &west].map(|world| {
        let writes = world.writes("clustercloudaccounts").into_iter();
        writes.filter(|write| write.object.name.as_deref() == Some(NAME)).count()
    });
    assert!(written[0] > 0 && written[1] == 0, "{written:?} writes");
}

/// An image of a namespace that the account does not allow is no reason to keep the account.
#[tokio::test]
async fn who_may_not_use_an_account_does_not_keep_it() {
    let mut own = World::empty("owner").await;
    let stranger = World::empty("stranger").await;
    own.start_operator_with(&["stranger"], &[]).await;
    own.create(secret("aliyun")).await;
    own.create(shared("kept-free", "owner", own.endpoint(), &json!({ "names": ["owner"] }))).await;
    stranger.create(image("stranger", "kept-free")).await;
    refused(&stranger, "stranger", "kept-free").await;
    let account = own.until_condition(ACCOUNT, "kept-free", "Ready", "True", "Usable");
    account.await;
    // Those who may are counted, the stranger never is.
    own.create(image("own", "kept-free")).await;
    own.until_ready(KIND, "own").await;
    own.until(ACCOUNT, "kept-free", "it counts one", |account| account["status"]["images"] == 1).await;
    own.delete(KIND, "own").await;
    own.until_gone(KIND, "own").await;
    own.until(ACCOUNT, "kept-free", "it counts nobody", |account| account["status"]["images"] == 0).await;
    own.delete(ACCOUNT, "kept-free").await;
    own.until_gone(ACCOUNT, "kept-free").await;

    // Nor does it put the finalizer on.
    own.create(shared("never-held", "owner", own.endpoint(), &json!({ "names": ["owner"] }))).await;
    stranger.create(image("stranger-too", "never-held")).await;
    refused(&stranger, "stranger-too", "never-held").await;
    own.until_condition(ACCOUNT, "never-held", "Ready", "True", "Usable").await;
    let account = own.get(ACCOUNT, "never-held").await.expect("it is there");
    assert!(account["metadata"]["finalizers"].is_null(), "{account:#}");
}

/// Repeats a write until the API server goes by the new schema.
async fn until_taken<T, W: Future<Output = Result<T, String>>>(write: impl Fn() -> W) -> T {
    let end = tokio::time::Instant::now() + harness::PATIENCE;
    loop {
        match write().await {
            Ok(written) => return written,
            Err(refusal) => assert!(tokio::time::Instant::now() < end, "{refusal}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_said_on_the_object() {
    let world = World::new("unreadable").await;
    let operation = "/schema/openAPIV3Schema/properties/status/properties/operation/properties/attempt";
    world.loosen("imagecomponents", &[operation]).await;
    world.create(component("before", json!({}))).await;
    world.until_ready(KIND, "before").await;
    world.create(component("unreadable", json!({}))).await;
    world.until_ready(KIND, "unreadable").await;
    // Inside the schema, and outside of what the operator can take.
    let operation = json!({ "attempt": 5_000_000_000_u64 });
    until_taken(|| world.try_patch_status(KIND, "unreadable", json!({ "operation": operation }))).await;
    let message = world.until_condition(KIND, "unreadable", "Stalled", "True", "InvalidObject").await;
    assert!(message.contains("5000000000"), "{message}");
    // Whoever takes that away finds it there again.
    world.patch_status(KIND, "unreadable", json!({ "conditions": null })).await;
    assert_eq!(world.until_condition(KIND, "unreadable", "Stalled", "True", "InvalidObject").await, message);

    world.create(component("after", json!({}))).await;
    world.until_ready(KIND, "after").await;
    let before = world.get(KIND, "before").await.expect("it is there");
    assert_eq!(condition(&before, "Ready")["status"], "True");

    // Nobody knows what to delete, so it waits for a person, who is told how.
    assert!(message.contains("finalizer cloudimages.dev/external"), "{message}");
    world.delete(KIND, "unreadable").await;
    world.patch(KIND, "unreadable", json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone(KIND, "unreadable").await;
    assert_eq!((world.calls("DeleteImageComponent"), world.vendor.aliyun_ecs().count()), (0, 3));
}

#[tokio::test]
async fn what_an_object_owns_that_cannot_be_read_stays_its_own() {
    let mut world = World::new("odd-owner").await;
    let attempt = "/schema/openAPIV3Schema/properties/status/properties/operation/properties/attempt";
    world.loosen("imagecomponents", &[attempt]).await;
    world.create(component("owner", json!({}))).await;
    let owner = world.until_ready(KIND, "owner").await;
    let id = owner["status"]["imageId"].as_str().expect("an id").to_owned();
    world.stop_operator().await;
    let operation = json!({ "attempt": 5_000_000_000_u64 });
    until_taken(|| world.try_patch_status(KIND, "owner", json!({ "operation": operation }))).await;
    let none = json!({ "name": null, "componentVersion": null, "content": null });
    world.create(component("thief", json!({ "import": { "id": id }, "forProvider": none }))).await;
    world.start_operator().await;
    let message = world.until_condition(KIND, "thief", "Ready", "False", "HeldByOther").await;
    assert!(message.contains("odd-owner/owner") && message.contains(&id), "{message}");

    // It goes, and what it owned is free.
    world.patch(KIND, "owner", json!({ "metadata": { "finalizers": null } })).await;
    world.delete(KIND, "owner").await;
    world.until_gone(KIND, "owner").await;
    let taken = tokio::time::timeout(Duration::from_secs(30), world.until_ready(KIND, "thief")).await;
    taken.expect("who waits is told");
}

/// One account that cannot be read is its own trouble, of whichever kind it is.
#[tokio::test]
async fn an_account_that_cannot_be_read_is_said_on_the_account() {
    let mut world = World::with_account("odd-account").await;
    let limits = "/schema/openAPIV3Schema/properties/spec/properties/limits";
    world.loosen("cloudaccounts", &[limits]).await;
    world.loosen("clustercloudaccounts", &[limits]).await;
    let odd = json!([{ "action": "CreateImageComponent", "requests": 1, "period": "one day" }]);
    let mut account = harness::account("odd", world.endpoint());
    account["spec"]["limits"] = odd.clone();
    until_taken(|| world.try_create(account.clone())).await;
    let mut cluster = shared("odd", "odd-account", world.endpoint(), &json!({ "names": ["odd-account"] }));
    cluster["spec"]["limits"] = odd;
    until_taken(|| world.try_create(cluster.clone())).await;
    // They are there when it starts, which is when all of a kind are read at once.
    world.start_operator().await;
    for kind in ["CloudAccount", ACCOUNT] {
        let message = world.until_condition(kind, "odd", "Stalled", "True", "InvalidObject").await;
        assert!(message.contains("one day"), "{message}");
    }
    world.create(component("other", json!({}))).await;
    world.until_ready(KIND, "other").await;
    for (name, reference) in
        [("theirs", json!({ "name": "odd" })), ("shared", json!({ "kind": ACCOUNT, "name": "odd" }))]
    {
        world.create(component(name, json!({ "accountRef": reference }))).await;
        let message = world.until_condition(KIND, name, "Ready", "False", "InvalidAccount").await;
        assert!(message.contains("odd cannot be read") && message.contains("one day"), "{message}");
    }
    // As the message says.
    for (kind, name) in [("CloudAccount", "theirs"), (ACCOUNT, "shared")] {
        world.patch(kind, "odd", json!({ "spec": { "limits": null } })).await;
        world.until_ready(KIND, name).await;
        world.until_condition(kind, "odd", "Ready", "True", "Usable").await;
    }
}
