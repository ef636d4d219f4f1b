//! What the operator may do in the cluster: it needs no more than this, and above all no Secret that it was not given.

use crate::harness::{World, component, rights};
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

    let back = json!({ "aliyun": { "credentialsSecretRef": { "name": "aliyun" } } });
    world.patch("CloudAccount", "default", json!({ "spec": back })).await;
    world.delete(KIND, "modest").await;
    world.until_gone(KIND, "modest").await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
}
