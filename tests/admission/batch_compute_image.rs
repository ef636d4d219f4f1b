//! Every rule of BatchCompute's `CreateImage` page, and that nothing of an image can be changed.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::World;
use serde_json::{Value, json};

const KIND: &str = "BatchComputeImage";

fn image(name: &str) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": KIND,
        "metadata": { "name": name },
        "spec": { "forProvider": { "name": "ImageName", "ecsImageId": "m-bp67acfmxazb4p", "platform": "Linux" } },
    })
}

fn times(text: &str, count: usize) -> Value {
    text.repeat(count).into()
}

#[tokio::test]
async fn parameters() {
    let world = World::empty("batch-rules").await;
    let object = image("rules");
    let length = "name must be 1 to 64 characters long";
    let alphabet = "name must contain only letters, digits, underscores (_) and hyphens (-)";
    let digit = "name must not start with a digit";
    let good = [json!("a"), json!("_1"), json!("-a-B_9"), times("a", 64)];
    let bad: [(Value, &[&str]); 7] = [
        (json!(""), &[length]),
        (times("a", 65), &[length]),
        (json!("a.b"), &[alphabet]),
        (json!("镜像"), &[alphabet]),
        (json!("a\n"), &[alphabet]),
        (json!("1a"), &[digit]),
        (json!("1 a"), &[alphabet, digit]),
    ];
    try_values(&world, &object, "spec.forProvider.name", good, bad).await;

    let length: &[&str] = &["description must be at most 1024 characters long"];
    let bad = [(times("a", 1025), length), (times("镜", 1025), length)];
    let good = [json!(""), times("a", 1024), times("镜", 1024)];
    try_values(&world, &object, "spec.forProvider.description", good, bad).await;

    let length: &[&str] = &["ecsImageId must be 1 to 256 characters long"];
    let id: &[&str] =
        &["ecsImageId must be the id of an image: letters, digits, -, _ and ., for example m-bp67acfmxazb4p"];
    let bad = [
        (json!(""), length),
        (times("m", 257), length),
        (json!("m 1"), id),
        (json!("m-1\n"), id),
        (json!("m-1&x=y"), id),
        (json!("镜像"), id),
    ];
    let good = [json!("m"), json!("centos_7_9_x64_20G_alibase_20220101.vhd"), times("m", 256)];
    try_values(&world, &object, "spec.forProvider.ecsImageId", good, bad).await;
    let wrong = with(&object, "spec.import", json!({ "match": { "ecsImageId": "m 1" } }));
    assert_refused(
        create(&world, &wrong).await,
        &[("spec.import.match.ecsImageId", id[0])],
        "a match of none",
    );

    let platforms: &[&str] = &[r#"supported values: "Linux", "Windows""#];
    let bad = ["linux", "AIX", ""].map(|platform| (platform.into(), platforms));
    try_values(&world, &object, "spec.forProvider.platform", ["Linux", "Windows"].map(Value::from), bad)
        .await;
}

#[tokio::test]
async fn what_is_needed() {
    let world = World::empty("batch-needs").await;
    let object = image("needs");
    let import = with(&object, "spec.import", json!({ "id": "img-1" }));
    for (field, sentence) in [
        (
            "name",
            "forProvider.name is required: what the image is called (or name an existing image in import)",
        ),
        ("ecsImageId", "forProvider.ecsImageId or ecsImageRef is required: the ECS image to register"),
        ("platform", "forProvider.platform is required: Linux or Windows"),
    ] {
        let field = format!("spec.forProvider.{field}");
        let answer = create(&world, &with(&object, &field, Value::Null)).await;
        assert_refused(answer, &[("spec", sentence)], &field);
        assert_accepted(create(&world, &with(&import, &field, Value::Null)).await, &field);
    }
    let both = with(&object, "spec.forProvider.ecsImageRef", json!({ "name": "base" }));
    let one: &str = "forProvider must have only one of ecsImageId and ecsImageRef";
    assert_refused(create(&world, &both).await, &[("spec", one)], "both");
    let reference = with(&both, "spec.forProvider.ecsImageId", Value::Null);
    assert_accepted(create(&world, &reference).await, "a reference");

    let some: &[&str] = &["import.match needs name or ecsImageId"];
    let object = with(&object, "spec.import", json!({ "match": {} }));
    let good = [json!({ "name": "a" }), json!({ "ecsImageId": "m-1" })];
    try_values(&world, &object, "spec.import.match", good, [(json!({}), some)]).await;
}

#[tokio::test]
async fn nothing_can_be_changed_while_the_vendor_has_it() {
    let world = World::empty("batch-fixed").await;
    let object = image("fixed");
    world.create(object.clone()).await;
    let operation =
        |state: &str| json!({ "action": "CreateImage", "token": "t", "attempt": 1, "state": state });
    for (status, is_open) in [
        (json!({ "phase": "Ready", "imageId": "img-1", "operation": operation("Succeeded") }), false),
        (json!({ "phase": "Failed", "imageId": null, "operation": operation("Failed") }), true),
    ] {
        world.patch_status(KIND, "fixed", status).await;
        for (change, field) in [
            (json!({ "name": "other" }), "name"),
            (json!({ "description": "other" }), "description"),
            (json!({ "ecsImageId": "m-other" }), "ecsImageId"),
            (json!({ "platform": "Windows" }), "platform"),
        ] {
            let answer = patch(&world, &object, &json!({ "spec": { "forProvider": change } })).await;
            let sentence = format!(
                "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; delete this \
                 object and make a new one"
            );
            if is_open {
                assert_accepted(answer, field);
            } else {
                assert_refused(answer, &[(&*format!("spec.forProvider.{field}"), &sentence)], field);
            }
        }
    }
}
