//! What an image needs from its account: what is missing is named and never final, what changes counts at once, and an
//! account in use stays.

use crate::harness::{World, account, component, condition, secret};
use serde_json::{Value, json};
use std::{future::Future, time::Duration};
use vendor_simulator::AccessKey;

const KIND: &str = "ImageComponent";
const ACCOUNT: &str = "CloudAccount";
const CREATE: &str = "CreateImageComponent";

/// "At once", for a person who watches.
async fn at_once<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.expect("it takes a few seconds at most")
}

/// Waits until an image says what it lacks. As long as it is young, that may be on its way.
async fn waits(world: &World, image: &str, reason: &str, names: &[&str]) {
    lacks(world, image, reason, names, false).await;
}

/// The same, where a person has to act.
async fn stalls(world: &World, image: &str, reason: &str, names: &[&str]) {
    lacks(world, image, reason, names, true).await;
}

async fn lacks(world: &World, image: &str, reason: &str, names: &[&str], is_stalled: bool) {
    let message = world.until_condition(KIND, image, "Ready", "False", reason).await;
    assert!(names.iter().all(|name| message.contains(name)), "{message}");
    let object = world.get(KIND, image).await.expect("it is there");
    let [stalled, reconciling] = if is_stalled { ["True", "False"] } else { ["False", "True"] };
    assert_eq!(condition(&object, "Stalled")["status"], stalled, "{object:#}");
    assert_eq!(condition(&object, "Reconciling")["status"], reconciling, "{object:#}");
}

#[tokio::test]
async fn each_missing_thing_is_named_and_waited_for() {
    let mut world = World::empty("missing").await;
    world.start_operator().await;
    world.create(component("image", json!({}))).await;
    waits(&world, "image", "AccountNotFound", &["CloudAccount missing/default", "create it", "请创建"]).await;

    world.create(account("default", world.endpoint())).await;
    waits(&world, "image", "SecretNotFound", &["Secret missing/aliyun", "create it"]).await;
    let message = world.until_condition(ACCOUNT, "default", "Ready", "False", "SecretNotFound").await;
    assert!(message.contains("missing/aliyun"), "{message}");

    let mut half = secret("aliyun");
    half["stringData"].as_object_mut().expect("keys").remove("accessKeySecret");
    world.create(half).await;
    waits(&world, "image", "SecretKeyMissing", &["missing/aliyun", "accessKeySecret"]).await;
    assert!(world.vendor.ledger().calls.is_empty());

    let whole = json!({ "stringData": { "accessKeySecret": "simulator-secret" } });
    world.patch("Secret", "aliyun", whole).await;
    at_once(world.until_ready(KIND, "image")).await;
    world.until_condition(ACCOUNT, "default", "Ready", "True", "Usable").await;
}

#[tokio::test]
async fn an_endpoint_that_is_not_allowed_is_refused() {
    let mut world = World::empty("endpoint").await;
    world.start_operator().await;
    world.create(secret("aliyun")).await;
    // Where clouds keep the credentials of the machine that the operator runs on.
    world.create(account("default", "http://100.100.100.200/latest")).await;
    let message = world.until_condition(ACCOUNT, "default", "Stalled", "True", "EndpointNotAllowed").await;
    assert!(message.contains("--allow-endpoint http://100.100.100.200"), "{message}");
    world.create(component("image", json!({}))).await;
    stalls(&world, "image", "EndpointNotAllowed", &["--allow-endpoint http://100.100.100.200"]).await;

    let allowed = json!({ "spec": { "aliyun": { "ecs": { "endpoint": world.endpoint() } } } });
    world.patch(ACCOUNT, "default", allowed).await;
    at_once(world.until_ready(KIND, "image")).await;
}

#[tokio::test]
async fn a_rotated_secret_works_at_once() {
    let world = World::new("rotated").await;
    let message = world.until_condition(ACCOUNT, "default", "Ready", "True", "Usable").await;
    assert!(message.contains("not been tried yet"), "{message}");
    world.create(component("before", json!({ "resyncInterval": "1m" }))).await;
    world.until_ready(KIND, "before").await;
    let accepted = |account: &Value| {
        condition(account, "Ready")["message"].as_str().is_some_and(|message| message.contains("accepts"))
            && account["status"]["credentials"]["lastSuccess"].is_string()
    };
    world.until(ACCOUNT, "default", "its credentials are accepted", accepted).await;
    let status = world.get(ACCOUNT, "default").await.expect("it is there")["status"].clone();
    let version = status["credentials"]["resourceVersion"].clone();

    world.vendor.configure(|settings| settings.access_keys = vec![AccessKey::new("rotated", "other-secret")]);
    world.create(component("waiting", json!({}))).await;
    // After the second refusal it would wait for longer than "at once".
    world.until_true("it was refused twice", || world.calls(CREATE) == 3).await;
    let message = world.until_condition(KIND, "waiting", "Ready", "False", "CredentialsRefused").await;
    assert!(message.contains("[request id "), "{message}");
    let waiting = world.get(KIND, "waiting").await.expect("it is there");
    assert_eq!(condition(&waiting, "Stalled")["status"], "True", "a person has to act");

    // The account says so, until a call succeeds.
    let message = world.until_condition(ACCOUNT, "default", "Stalled", "True", "CredentialsRefused").await;
    assert!(message.contains("InvalidAccessKeyId") && message.contains("[request id "), "{message}");
    let account = world.get(ACCOUNT, "default").await.expect("it is there");
    assert_eq!(condition(&account, "Ready")["status"], "False");
    assert!(account["status"]["credentials"]["lastSuccess"].is_string(), "{account:#}");
    // And so does what is there already, which stays Ready.
    let message = world.until_condition(KIND, "before", "Ready", "True", "LookFailed").await;
    let before = world.get(KIND, "before").await.expect("it is there");
    let seen = before["status"]["lastSeenAt"].as_str().expect("a time");
    assert!(message.contains(seen) && message.contains("InvalidAccessKeyId"), "{message}");

    let rotated = json!({ "stringData": { "accessKeyId": "rotated", "accessKeySecret": "other-secret" } });
    world.patch("Secret", "aliyun", rotated).await;
    at_once(world.until_ready(KIND, "waiting")).await;
    at_once(world.until(ACCOUNT, "default", "it shows the new Secret", |account| {
        account["status"]["credentials"]["resourceVersion"] != version
    }))
    .await;
    let before = world.get(KIND, "before").await.expect("it is there");
    assert_eq!(condition(&before, "Ready")["status"], "True", "nothing was wrong with it");
    world.until(ACCOUNT, "default", "its credentials are accepted", accepted).await;
    // Who watches Events hears of both.
    let events = world.until_events("default", 2).await;
    let told: Vec<_> =
        events.iter().map(|event| (event["type"].as_str(), event["reason"].as_str())).collect();
    let both = [("Warning", "CredentialsRefused"), ("Normal", "CredentialsAccepted")];
    assert_eq!(told, both.map(|(type_, reason)| (Some(type_), Some(reason))));
    let keys: Vec<_> = world.vendor.ledger().calls.into_iter().filter_map(|call| call.access_key).collect();
    assert_eq!(keys.last().map(String::as_str), Some("rotated"));
}

#[tokio::test]
async fn a_temporary_token_goes_along() {
    let world = World::new("sts").await;
    world.vendor.configure(|settings| {
        settings.access_keys =
            vec![AccessKey { security_token: Some("the-token".into()), ..AccessKey::new("STS.1", "s") }];
    });
    let keys = json!({ "stringData": { "accessKeyId": "STS.1", "accessKeySecret": "s", "securityToken": "the-token" } });
    world.patch("Secret", "aliyun", keys).await;
    world.create(component("image", json!({}))).await;
    world.until_ready(KIND, "image").await;
}

#[tokio::test]
async fn an_account_in_use_stays_until_the_last_image_is_gone() {
    let world = World::new("in-use").await;
    let images = |count: i64| move |account: &Value| account["status"]["images"] == count;
    world.until(ACCOUNT, "default", "it counts nobody", images(0)).await;
    for name in ["one", "two"] {
        world.create(component(name, json!({}))).await;
        world.until_ready(KIND, name).await;
    }
    world.until(ACCOUNT, "default", "it counts two", images(2)).await;

    world.delete(ACCOUNT, "default").await;
    let message = world.until_condition(ACCOUNT, "default", "Ready", "False", "InUse").await;
    assert!(message.contains("2 objects") && message.contains("ImageComponent in-use/"), "{message}");

    // Nothing new begins with it.
    world.create(component("three", json!({}))).await;
    waits(&world, "three", "AccountDeleting", &["CloudAccount in-use/default"]).await;
    world.delete(KIND, "three").await;
    world.until_gone(KIND, "three").await;

    world.delete(KIND, "one").await;
    world.until_gone(KIND, "one").await;
    world.until(ACCOUNT, "default", "it counts one", images(1)).await;
    world.delete(KIND, "two").await;
    world.until_gone(KIND, "two").await;
    at_once(world.until_gone(ACCOUNT, "default")).await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
}

/// As when a namespace goes and the Secret is first: the operator knows the credentials of what it has to delete.
#[tokio::test]
async fn an_image_can_be_deleted_after_its_secret() {
    let mut world = World::new("secret-first").await;
    for name in ["one", "two"] {
        world.create(component(name, json!({}))).await;
        world.until_ready(KIND, name).await;
    }
    world.delete("Secret", "aliyun").await;
    world.until_condition(ACCOUNT, "default", "Ready", "False", "SecretNotFound").await;
    let one = world.get(KIND, "one").await.expect("it is there");
    assert_eq!(condition(&one, "Ready")["status"], "True", "nothing has to be done about it");
    world.delete(KIND, "one").await;
    world.until_gone(KIND, "one").await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 1);

    // A new process does not know them.
    world.stop_operator().await;
    world.start_operator().await;
    world.delete(KIND, "two").await;
    let message = world.until_condition(KIND, "two", "Ready", "False", "SecretNotFound").await;
    assert!(message.contains("Secret secret-first/aliyun") && message.contains("create it"), "{message}");
    world.create(secret("aliyun")).await;
    at_once(world.until_gone(KIND, "two")).await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
}

#[tokio::test]
async fn an_account_that_nobody_uses_goes_at_once() {
    let world = World::new("unused").await;
    world.until_condition(ACCOUNT, "default", "Ready", "True", "Usable").await;
    world.delete(ACCOUNT, "default").await;
    at_once(world.until_gone(ACCOUNT, "default")).await;
}

/// Images, account and Secret go together, in whatever order the namespace controller takes them.
#[tokio::test]
async fn a_whole_namespace_goes_and_leaves_nothing_at_the_vendor() {
    let world = World::new("doomed").await;
    for name in ["one", "two", "three"] {
        world.create(component(name, json!({}))).await;
    }
    world.create(component("kept", json!({ "deletionPolicy": "Retain" }))).await;
    for name in ["one", "two", "three", "kept"] {
        world.until_ready(KIND, name).await;
    }
    world.delete("Namespace", "doomed").await;
    world.until_gone("Namespace", "doomed").await;
    let left: Vec<_> = world.vendor.aliyun_ecs().components().into_iter().map(|left| left.name).collect();
    assert_eq!(left, ["kept"]);
    assert_eq!(world.effects("DeleteImageComponent"), 3);
}

/// The same by hand, in each order, with nothing waited for in between.
#[tokio::test]
async fn image_account_and_secret_go_in_any_order() {
    let world = World::new("any-order").await;
    let what = ["Secret", ACCOUNT, KIND];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let name = |order: &[usize; 3]| format!("order-{}{}{}", order[0], order[1], order[2]);
    for order in &orders {
        let name = name(order);
        world.create(secret(&name)).await;
        let mut account = account(&name, world.endpoint());
        account["spec"]["aliyun"]["credentialsSecretRef"]["name"] = json!(name);
        world.create(account).await;
        world.create(component(&name, json!({ "accountRef": { "name": name } }))).await;
    }
    for order in &orders {
        world.until_ready(KIND, &name(order)).await;
    }
    for order in &orders {
        for kind in order {
            world.delete(what[*kind], &name(order)).await;
        }
    }
    for order in &orders {
        for kind in what {
            world.until_gone(kind, &name(order)).await;
        }
    }
    assert_eq!((world.vendor.aliyun_ecs().count(), world.effects("DeleteImageComponent")), (0, 6));
}

#[tokio::test]
async fn an_account_stays_for_images_that_only_wait_to_be_wanted() {
    let world = World::new("account-suspended").await;
    world.create(component("paused", json!({ "suspend": true }))).await;
    world.until(ACCOUNT, "default", "it counts the image", |account| account["status"]["images"] == 1).await;
    world.delete(ACCOUNT, "default").await;
    let message = world.until_condition(ACCOUNT, "default", "Ready", "False", "InUse").await;
    assert!(message.contains("ImageComponent account-suspended/paused"), "{message}");
    world.delete(KIND, "paused").await;
    world.until_gone(KIND, "paused").await;
    world.until_gone(ACCOUNT, "default").await;
    assert!(world.vendor.ledger().calls.is_empty(), "{:#?}", world.call_log());
}

/// Whoever may annotate a Secret, or put something else into it, does not shorten anybody's waiting.
#[tokio::test]
async fn only_a_change_of_what_is_read_of_a_secret_counts() {
    let world = World::new("churn").await;
    world.until_condition(ACCOUNT, "default", "Ready", "True", "Usable").await;
    let wrong = json!({ "stringData": { "accessKeySecret": "wrong" } });
    world.patch("Secret", "aliyun", wrong).await;
    world.create(component("refused", json!({}))).await;
    world.until_condition(KIND, "refused", "Ready", "False", "CredentialsRefused").await;
    // The account's status follows with a delay of its own.
    let version =
        world.get("Secret", "aliyun").await.expect("it is there")["metadata"]["resourceVersion"].clone();
    let shown = |account: &Value| account["status"]["credentials"]["resourceVersion"] == version;
    let status = world.until(ACCOUNT, "default", "it shows the Secret", shown).await["status"].clone();
    let before = world.calls(CREATE);
    for number in 0..40 {
        let value = number.to_string();
        world.annotate("Secret", "aliyun", "example.com/touched", &value).await;
        world.patch("Secret", "aliyun", json!({ "stringData": { "unrelated": value } })).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The wait for the next try may have ended once, on a slow machine twice.
    assert!(world.calls(CREATE) <= before + 2, "{:#?}", world.call_log());
    let account = world.get(ACCOUNT, "default").await.expect("it is there");
    for field in ["resourceVersion", "since"] {
        let in_use = |status: &Value| status["credentials"][field].clone();
        assert_eq!(in_use(&account["status"]), in_use(&status), "the same is in use");
    }

    let right = json!({ "stringData": { "accessKeySecret": "simulator-secret" } });
    world.patch("Secret", "aliyun", right).await;
    at_once(world.until_ready(KIND, "refused")).await;
}

#[tokio::test]
async fn what_is_wrong_in_a_secret_is_said_before_anybody_is_called() {
    let world = World::new("garbled").await;
    world.create(component("image", json!({}))).await;
    world.until_ready(KIND, "image").await;
    let calls = world.vendor.ledger().calls.len();
    for (key, value, what) in [
        ("accessKeyId", "\u{feff}simulator", "byte order mark"),
        ("accessKeyId", "\"simulator\"", "quotation marks"),
        ("accessKeyId", "c2ltdWxhdG9y", "Base64"),
        ("accessKeySecret", "s\0i\0m\0", "UTF-16"),
        ("securityToken", "CAIS\nabc", "line break"),
    ] {
        world.patch("Secret", "aliyun", json!({ "stringData": { key: value } })).await;
        world
            .until(ACCOUNT, "default", what, |account| {
                let ready = condition(account, "Ready");
                let message = ready["message"].as_str().unwrap_or_default();
                ready["reason"] == "SecretKeyInvalid" && message.contains(key) && message.contains(what)
            })
            .await;
        let good = json!({ "data": { "securityToken": null }, "stringData": { "accessKeyId": "simulator", "accessKeySecret": "simulator-secret" } });
        world.patch("Secret", "aliyun", good).await;
        world.until_condition(ACCOUNT, "default", "Ready", "True", "Usable").await;
    }
    assert_eq!(world.vendor.ledger().calls.len(), calls, "{:#?}", world.call_log());
}

/// As `kubectl replace --force` of a file with an account and its images leads to.
#[tokio::test]
async fn an_account_that_is_deleted_goes_although_new_objects_wait_for_it() {
    let world = World::new("account-replaced").await;
    world.create(component("old", json!({ "suspend": false }))).await;
    world.until_ready(KIND, "old").await;
    let account = world.get("CloudAccount", "default").await.expect("it is there");
    world.delete("CloudAccount", "default").await;
    world.until_condition("CloudAccount", "default", "Ready", "False", "InUse").await;
    world.create(component("new", json!({}))).await;
    let message = world.until_condition(KIND, "new", "Ready", "False", "AccountDeleting").await;
    assert!(message.contains("made anew"), "{message}");
    world.delete(KIND, "old").await;
    world.until_gone(KIND, "old").await;
    world.until_gone("CloudAccount", "default").await;
    let again = json!({
        "apiVersion": account["apiVersion"], "kind": "CloudAccount", "metadata": { "name": "default" },
        "spec": account["spec"],
    });
    world.create(again).await;
    world.until_ready(KIND, "new").await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 1);
}
