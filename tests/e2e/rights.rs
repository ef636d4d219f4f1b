//! What the operator may do in the cluster: it needs no more than this, and above all no Secret that it was not given.

use crate::harness::{World, component, rights, secret};
use serde_json::json;

const KIND: &str = "ImageComponent";
const OPERATOR: &str = "rights-operator";

#[tokio::test]
async fn a_whole_life_needs_few_rights_and_one_secret() {
    let mut world = World::with_account("rights").await;
    let everywhere = json!([
        { "apiGroups": ["cloudimages.dev"], "resources": ["*"], "verbs": ["get", "list", "watch", "patch"] },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] },
    ]);
    // A list of one name: whoever asks for all Secrets, or for all of a namespace, is refused.
    let here = json!([{
        "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["aliyun"], "verbs": ["get", "list", "watch"],
    }]);
    let granted =
        [rights("ClusterRole", OPERATOR, OPERATOR, everywhere), rights("Role", OPERATOR, OPERATOR, here)];
    for object in granted.concat() {
        world.create(object).await;
    }
    world.operator_user = Some(OPERATOR.into());
    world.start_operator().await;

    world.create(component("modest", json!({}))).await;
    world.until_ready(KIND, "modest").await;
    assert_eq!(world.until_events("modest", 1).await.len(), 1);
    world.until_condition("CloudAccount", "default", "Ready", "True", "Usable").await;

    let other = json!({ "aliyun": { "credentialsSecretRef": { "name": "other" } } });
    world.patch("CloudAccount", "default", json!({ "spec": other })).await;
    let message =
        world.until_condition("CloudAccount", "default", "Ready", "False", "SecretUnreadable").await;
    assert!(message.contains("Secret rights/other") && message.contains("forbidden"), "{message}");

    // The advice is taken: the right on that Secret.
    world.create(secret("other")).await;
    let both = json!([{
        "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["aliyun", "other"], "verbs": ["get", "list", "watch"],
    }]);
    world.patch("Role", OPERATOR, json!({ "rules": both })).await;
    world.until_condition("CloudAccount", "default", "Ready", "True", "Usable").await;
    world.delete(KIND, "modest").await;
    world.until_gone(KIND, "modest").await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
}

#[tokio::test]
async fn who_may_not_hold_an_account_makes_nothing_with_it_until_it_may() {
    const OPERATOR: &str = "holding-operator";
    let mut world = World::with_account("holding").await;
    let rules = |accounts: &[&str]| {
        json!([
            { "apiGroups": ["cloudimages.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"] },
            { "apiGroups": ["cloudimages.dev"], "resources": ["imagecomponents", "imagecomponents/status"], "verbs": ["patch"] },
            { "apiGroups": ["cloudimages.dev"], "resources": accounts, "verbs": ["patch"] },
            { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"] },
            { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] },
        ])
    };
    for object in rights("ClusterRole", OPERATOR, OPERATOR, rules(&["cloudaccounts/status"])) {
        world.create(object).await;
    }
    world.operator_user = Some(OPERATOR.into());
    world.start_operator().await;
    world.create(component("modest", json!({}))).await;
    let message = world.until_condition(KIND, "modest", "Ready", "False", "AccountNotHeld").await;
    assert!(message.contains("forbidden") && message.contains("the right to patch accounts"), "{message}");
    assert_eq!(world.calls("CreateImageComponent"), 0);

    // The advice is taken.
    let both = rules(&["cloudaccounts", "cloudaccounts/status"]);
    world.patch("ClusterRole", OPERATOR, json!({ "rules": both })).await;
    world.until_may_patch(OPERATOR, "CloudAccount", "default", true).await;
    world.until_ready(KIND, "modest").await;
    assert_eq!(world.effects("CreateImageComponent"), 1);
}
