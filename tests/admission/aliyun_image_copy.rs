//! Every rule of `CopyImage` that a spec can break, and what can be changed when the copy is asked for.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::World;
use serde_json::{Value, json};

const KIND: &str = "AliyunImageCopy";

fn copy(name: &str) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": KIND,
        "metadata": { "name": name },
        "spec": { "forProvider": {
            "imageId": "m-bp67acfmxazb4p", "destinationRegionId": "cn-shanghai", "destinationImageName": "base-1",
        } },
    })
}

fn times(text: &str, count: usize) -> Value {
    text.repeat(count).into()
}

#[tokio::test]
async fn parameters() {
    let world = World::empty("copy-rules").await;
    let object = copy("rules");
    let length: &[&str] = &["destinationImageName must be 2 to 128 characters long"];
    let scheme: &[&str] = &["destinationImageName must not begin with http:// or https://"];
    let reserved: &[&str] =
        &["destinationImageName must not begin with aliyun or acs:, which are Alibaba Cloud's own"];
    let bad = [
        (json!("a"), length),
        (times("a", 129), length),
        (json!("http://a"), scheme),
        (json!("acs:base"), reserved),
        (json!("aliyun-base"), reserved),
    ];
    let good = [json!("ab"), json!("镜像"), times("镜", 128), json!("a b")];
    try_values(&world, &object, "spec.forProvider.destinationImageName", good, bad).await;

    let length: &[&str] = &["destinationDescription must be 2 to 256 characters long; leave it out for none"];
    let scheme: &[&str] = &["destinationDescription must not begin with http:// or https://"];
    let bad = [(json!("a"), length), (times("a", 257), length), (json!("https://a"), scheme)];
    try_values(
        &world,
        &object,
        "spec.forProvider.destinationDescription",
        [json!("ab"), times("镜", 256)],
        bad,
    )
    .await;

    let region: &[&str] = &[
        "destinationRegionId must be a region's id of lower-case letters, digits and -, for example cn-shanghai",
    ];
    let bad = [(json!("CN"), region), (json!("cn shanghai"), region), (json!("cn.evil.com"), region)];
    try_values(&world, &object, "spec.forProvider.destinationRegionId", [json!("eu-central-1")], bad).await;
    let region: &[&str] =
        &["regionId must be a region's id of lower-case letters, digits and -, for example cn-hangzhou"];
    try_values(&world, &object, "spec.forProvider.regionId", [json!("us-west-1")], [(json!("cn/x"), region)])
        .await;

    let id: &[&str] =
        &["imageId must be the id of an image: letters, digits, -, _ and ., for example m-bp67acfmxazb4p"];
    let bad = [(json!("m 1"), id), (json!("m-1\n"), id), (json!("镜像"), id)];
    try_values(&world, &object, "spec.forProvider.imageId", [json!("m-1"), json!("centos_7_9.vhd")], bad)
        .await;

    let tags =
        |count: usize| (0..count).map(|index| json!({ "key": format!("k{index}") })).collect::<Vec<_>>();
    let many: &[&str] = &["tag must have at most 19 entries: the vendor takes 20, and one is the operator's"];
    let bad = [(json!(tags(20)), many)];
    try_values(&world, &object, "spec.forProvider.tag", [json!([]), json!(tags(19))], bad).await;
}

#[tokio::test]
async fn what_a_copy_needs() {
    let world = World::empty("copy-needs").await;
    let object = copy("needs");
    let key: &[(&str, &str)] = &[("spec", "forProvider.kmsKeyId needs encrypted: true")];
    for (encrypted, fits) in [(json!(true), true), (json!(false), false), (Value::Null, false)] {
        let object = with(&object, "spec.forProvider.kmsKeyId", json!("key-1"));
        let object = with(&object, "spec.forProvider.encrypted", encrypted.clone());
        let answer = create(&world, &object).await;
        if fits {
            assert_accepted(answer, &encrypted.to_string());
        } else {
            assert_refused(answer, key, &encrypted.to_string());
        }
    }
    let other = json!({ "name": "base" });
    let both = with(&object, "spec.forProvider.imageRef", other.clone());
    let one = ("spec", "forProvider must have only one of imageId and imageRef");
    assert_refused(create(&world, &both).await, &[one], "both");
    let refers = with(&both, "spec.forProvider.imageId", Value::Null);
    assert_accepted(create(&world, &refers).await, "a reference");
    let placed = with(&refers, "spec.forProvider.regionId", json!("cn-beijing"));
    let where_it_is = (
        "spec",
        "forProvider.regionId must be left out with imageRef: the object that it names says where its image is",
    );
    assert_refused(create(&world, &placed).await, &[where_it_is], "a reference and a region");
    for (field, sentence) in [
        (
            "imageId",
            "forProvider.imageId or imageRef is required: the image to copy (or name an existing copy in import)",
        ),
        (
            "destinationImageName",
            "forProvider.destinationImageName is required: what the copy is called, by which a copy whose answer was lost is found \
             again",
        ),
    ] {
        let lacking = with(&object, &format!("spec.forProvider.{field}"), Value::Null);
        assert_refused(create(&world, &lacking).await, &[("spec", sentence)], field);
        let imported = with(&lacking, "spec.import", json!({ "id": "m-2" }));
        assert_accepted(create(&world, &imported).await, field);
    }
}

#[tokio::test]
async fn what_is_asked_for_stays_but_for_its_name_description_and_tags() {
    let world = World::empty("copy-fixed").await;
    let mut object = copy("fixed");
    object["spec"]["forProvider"]["destinationDescription"] = json!("text");
    world.create(object.clone()).await;
    let operation = json!({ "action": "CopyImage", "token": "t", "attempt": 1, "state": "Running" });
    let status = json!({ "phase": "Building", "imageId": "m-2", "operation": operation });
    world.patch_status(KIND, "fixed", status).await;
    let fixed = |field: &str| {
        format!(
            "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; delete this object and make \
             a new one"
        )
    };
    for (field, value) in [
        ("regionId", json!("eu-central-1")),
        ("destinationRegionId", json!("eu-central-1")),
        ("imageId", json!("m-other")),
        ("encrypted", json!(true)),
        ("resourceGroupId", json!("rg-1")),
    ] {
        let answer = patch(&world, &object, &json!({ "spec": { "forProvider": { field: value } } })).await;
        assert_refused(answer, &[(&format!("spec.forProvider.{field}"), &fixed(field))], field);
    }
    for field in ["destinationImageName", "destinationDescription"] {
        let answer = patch(&world, &object, &json!({ "spec": { "forProvider": { field: null } } })).await;
        assert!(
            answer.is_err_and(|error| error.0.iter().any(|(_, said)| said.contains("not taken out again"))),
            "{field}"
        );
    }
    for change in [
        json!({ "destinationImageName": "base-2" }),
        json!({ "destinationDescription": "another" }),
        json!({ "tag": [{ "key": "team", "value": "edge" }] }),
    ] {
        let answer = patch(&world, &object, &json!({ "spec": { "forProvider": change } })).await;
        assert_accepted(answer, &change.to_string());
    }
}

/// The vendor shares nothing that is encrypted with its own key of the service.
#[tokio::test]
async fn an_encrypted_copy_is_shared_with_a_key_of_one_s_own_only() {
    let world = World::empty("copy-keys").await;
    let object = copy("keys");
    let shared: &[(&str, &str)] = &[(
        "spec",
        "forProvider.shareWith of an encrypted copy needs kmsKeyId: the vendor does not share what is encrypted with its own key of \
         the service",
    )];
    for (encrypted, key, with_whom, fits) in [
        (json!(true), Value::Null, json!(["7"]), false),
        (json!(true), Value::Null, json!([]), true),
        (json!(true), json!("key-1"), json!(["7"]), true),
        (json!(false), Value::Null, json!(["7"]), true),
        (Value::Null, Value::Null, json!(["7"]), true),
    ] {
        let what = format!("{encrypted} {key} {with_whom}");
        let object = with(&object, "spec.forProvider.encrypted", encrypted);
        let object = with(&object, "spec.forProvider.kmsKeyId", key);
        let answer = create(&world, &with(&object, "spec.forProvider.shareWith", with_whom)).await;
        if fits {
            assert_accepted(answer, &what);
        } else {
            assert_refused(answer, shared, &what);
        }
    }
}
