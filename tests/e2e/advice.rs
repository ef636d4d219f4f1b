//! What a message advises can be done as it stands, and helps.

use crate::harness::{World, component, image_export};
use cloud_image_operator::kinds::FITTING;
use serde_json::{Value, json};
use vendor_simulator::aliyun_ecs::Component;

const KIND: &str = "ImageComponent";

#[tokio::test]
async fn a_wrong_account_can_be_corrected_as_long_as_nothing_was_made() {
    let mut world = World::with_account("advice-account").await;
    let shared = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ClusterCloudAccount",
        "metadata": { "name": "advice-shared" },
        "spec": {
            "aliyun": {
                "regionId": "cn-hangzhou",
                "credentialsSecretRef": { "name": "aliyun", "namespace": "advice-account" },
                "ecs": { "endpoint": world.endpoint() },
            },
            "allowedNamespaces": { "names": ["advice-account"] },
        },
    });
    world.create(shared).await;
    world.start_operator().await;
    world.create(component("image", json!({ "accountRef": { "name": "advice-shared" } }))).await;
    let message = world.until_condition(KIND, "image", "Ready", "False", "AccountNotFound").await;
    assert!(message.contains("set spec.accountRef.kind: ClusterCloudAccount"), "{message}");

    // First another wrong one, which names nobody else's.
    world.patch(KIND, "image", json!({ "spec": { "accountRef": { "name": "nobody" } } })).await;
    let message = world.until_condition(KIND, "image", "Ready", "False", "AccountNotFound").await;
    assert!(
        message.contains("correct spec.accountRef") && !message.contains("ClusterCloudAccount"),
        "{message}"
    );
    let right = json!({ "kind": "ClusterCloudAccount", "name": "advice-shared" });
    world.patch(KIND, "image", json!({ "spec": { "accountRef": right } })).await;
    world.until_ready(KIND, "image").await;
    let counts = |count: i64| move |account: &Value| account["status"]["images"] == count;
    world.until("ClusterCloudAccount", "advice-shared", "it counts the image", counts(1)).await;

    let back = json!({ "spec": { "accountRef": { "kind": "CloudAccount", "name": "default" } } });
    let refusal = world.try_patch(KIND, "image", back).await.expect_err("what was made stays in its account");
    assert!(refusal.contains("spec.accountRef") && refusal.contains("make a new object"), "{refusal}");
    world.delete(KIND, "image").await;
    world.until_gone(KIND, "image").await;
    world.until("ClusterCloudAccount", "advice-shared", "it counts nobody", counts(0)).await;
    world.delete("ClusterCloudAccount", "advice-shared").await;
    world.until_gone("ClusterCloudAccount", "advice-shared").await;
}

#[tokio::test]
async fn what_was_imported_and_is_gone_can_be_made_by_a_new_object() {
    let world = World::new("advice-missing").await;
    let id = world.vendor.aliyun_ecs().seed(Component { name: "theirs".into(), ..Component::default() });
    let spec = json!({
        "import": { "id": id },
        "recreatePolicy": "WhenMissing",
        "forProvider": { "name": null, "componentVersion": null, "content": null },
    });
    world.create(component("theirs", spec)).await;
    world.until_ready(KIND, "theirs").await;
    world.vendor.aliyun_ecs().remove(&id);
    world.request(KIND, "theirs", "look").await;
    let message = world.until_condition(KIND, "theirs", "Stalled", "True", "Missing").await;
    assert!(!message.contains("recreatePolicy") && message.contains("without import"), "{message}");
    world.delete(KIND, "theirs").await;
    world.until_gone(KIND, "theirs").await;
    world.create(component("theirs", json!({}))).await;
    world.until_ready(KIND, "theirs").await;
}

#[tokio::test]
async fn an_import_that_asks_for_nothing_is_as_it_is() {
    let world = World::new("advice-windows").await;
    let theirs = Component { name: "theirs".into(), system_type: "Windows".into(), ..Component::default() };
    let id = world.vendor.aliyun_ecs().seed(theirs);
    let import = |parameters: Value| {
        let mut object = component("theirs", json!({ "import": { "id": id } }));
        object["spec"]["forProvider"] = parameters;
        object
    };
    let created = world.create(import(json!({}))).await;
    assert_eq!(created["spec"]["forProvider"], json!({}), "nothing is filled in");
    let object = world.until_ready(KIND, "theirs").await;
    assert_eq!(object["status"]["atProvider"]["systemType"], "Windows");
}

#[tokio::test]
async fn a_reference_that_nothing_fits_can_be_replaced_by_the_id() {
    let mut world = World::at_volcengine("advice-reference").await;
    world.stop_operator().await;
    world.fitting = FITTING;
    world.start_operator().await;
    let spec =
        json!({ "forProvider": { "imageId": null, "imageRef": { "name": "phone", "kind": "AospImage" } } });
    world.create(image_export("export", "", spec)).await;
    let message =
        world.until_condition("ImageExport", "export", "Stalled", "True", "ReferenceNotReady").await;
    assert!(message.contains("give forProvider.imageId instead"), "{message}");
    let instead = json!({ "imageRef": null, "imageId": "image-44" });
    world.patch("ImageExport", "export", json!({ "spec": { "forProvider": instead } })).await;
    world.until("ImageExport", "export", "it runs", |object| object["status"]["phase"] == "Building").await;
}

/// Somebody changed at the vendor what its API has no call for.
#[tokio::test]
async fn what_was_made_and_differs_can_be_corrected_to_what_the_vendor_has() {
    let world = World::new("advice-differs").await;
    world.create(component("made", json!({}))).await;
    let made = world.until_ready(KIND, "made").await;
    let id = made["status"]["imageId"].as_str().expect("an id");
    let content = |content: &str| json!({ "spec": { "forProvider": { "content": content } } });
    let refusal = world.try_patch(KIND, "made", content("RUN echo other")).await.expect_err("it is fixed");
    assert!(refusal.contains("content"), "{refusal}");
    assert!(world.vendor.aliyun_ecs().modify(id, |component| component.content = "RUN echo theirs".into()));
    world.request(KIND, "made", "look").await;
    let message = world.until_condition(KIND, "made", "Stalled", "True", "SpecDiffers").await;
    assert!(message.contains("content") && message.contains("status.atProvider"), "{message}");
    world.patch(KIND, "made", content("RUN echo wrong again")).await;
    world.until_condition(KIND, "made", "Stalled", "True", "SpecDiffers").await;
    world.patch(KIND, "made", content("RUN echo theirs")).await;
    world.until_ready(KIND, "made").await;
    world.try_patch(KIND, "made", content("RUN echo other")).await.expect_err("it is fixed again");
    assert_eq!(world.effects("CreateImageComponent"), 1);
    world.delete(KIND, "made").await;
    world.until_gone(KIND, "made").await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
}
