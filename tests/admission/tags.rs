//! What a tag at Alibaba Cloud may be: the same for every kind, wherever one is written; and what becomes of an object that was stored
//! when more was allowed.

use super::ask::{assert_accepted, assert_refused, create, with};
use super::image_distribution::distribution;
use crate::harness::{PATIENCE, World, component, image_of};
use cloud_image_operator::kinds::{KINDS, crds};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const OURS: &str = "a tag's key must not begin with cloudimages.dev/, which is the operator's own";

#[tokio::test]
async fn each_kind_has_the_same_rules() {
    let world = World::empty("tag-rules").await;
    let theirs = "a tag's key must not begin with aliyun or acs:, which are Alibaba Cloud's own";
    let (key, value) = (
        "a tag's key must not contain http:// or https://",
        "a tag's value must not contain http:// or https://",
    );
    let pipeline = with(&image_of("ImagePipeline", "hello"), "spec.forProvider.imageOptions", json!({}));
    for (object, field) in [
        (component("hello", json!({})), "tag"),
        (pipeline.clone(), "tag"),
        (pipeline, "imageOptions.imageTags"),
        (image_of("ImageBuild", "hello"), "tag"),
        (image_of("AliyunImageCopy", "hello"), "tag"),
        (distribution("hello"), "tag"),
    ] {
        let (kind, field) = (object["kind"].as_str().expect("a kind"), format!("spec.forProvider.{field}"));
        let tagged = |tag: &Value| with(&object, &field, json!([{ "key": "team" }, tag]));
        for tag in [
            json!({ "key": "cloudimages.dev" }),
            json!({ "key": "x-cloudimages.dev/attempt", "value": "cloudimages.dev/acs:" }),
            json!({ "key": "Aliyun", "value": "http:/a" }),
        ] {
            assert_accepted(create(&world, &tagged(&tag)).await, &format!("{kind} {field} {tag}"));
        }
        for (tag, part, sentence) in [
            (json!({ "key": "cloudimages.dev/attempt", "value": "x-1" }), "key", OURS),
            (json!({ "key": "cloudimages.dev/team" }), "key", OURS),
            (json!({ "key": "aliyun-team" }), "key", theirs),
            (json!({ "key": "acs:rm:rgId" }), "key", theirs),
            (json!({ "key": "a http://a" }), "key", key),
            (json!({ "key": "a", "value": "see https://a" }), "value", value),
        ] {
            let place = format!("{field}[1].{part}");
            let answer = create(&world, &tagged(&tag)).await;
            assert_refused(answer, &[(&*place, sentence)], &format!("{kind} {field} {tag}"));
        }
    }
}

/// The kind as it would have been before there were rules for tags, in a group of its own, and as it is.
fn before_and_now() -> [Value; 2] {
    let crds = crds(KINDS).into_iter().map(|crd| serde_json::to_value(crd).expect("JSON"));
    let mut now =
        crds.into_iter().find(|crd| crd["spec"]["names"]["kind"] == "AliyunImageCopy").expect("a CRD");
    now["spec"]["group"] = "before.example".into();
    now["metadata"]["name"] = "aliyunimagecopies.before.example".into();
    now["spec"]["names"]["categories"] = json!([]);
    let mut before = now.clone();
    let tag = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/forProvider/properties/tag";
    for part in ["", "/items/properties/key"] {
        let part =
            before.pointer_mut(&format!("{tag}{part}")).and_then(Value::as_object_mut).expect("a schema");
        part.remove("x-kubernetes-validations").expect("it has rules");
    }
    [before, now]
}

#[tokio::test]
async fn what_was_stored_with_a_tag_that_is_refused_now_can_still_be_changed() {
    let world = World::empty("tag-before").await;
    let resource = |group: &str, version: &str, kind: &str, plural: &str| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    };
    let definitions = Api::<DynamicObject>::all_with(
        world.client.clone(),
        &resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"),
    );
    let copies = Api::<DynamicObject>::namespaced_with(
        world.client.clone(),
        &world.namespace,
        &resource("before.example", "v1alpha1", "AliyunImageCopy", "aliyunimagecopies"),
    );
    let [before, now] = before_and_now();
    let force = PatchParams::apply("test").force();
    let name = "aliyunimagecopies.before.example";
    definitions.patch(name, &force, &Patch::Apply(&before)).await.expect("a CRD");

    let mut stored = image_of("AliyunImageCopy", "stored");
    stored["apiVersion"] = "before.example/v1alpha1".into();
    stored["metadata"]["finalizers"] = json!(["cloudimages.dev/external"]);
    let tags = |team: &str| json!([{ "key": "cloudimages.dev/team", "value": "a" }, { "key": "team", "value": team }]);
    stored["spec"]["forProvider"]["tag"] = tags("a");
    let typed = |object: &Value| serde_json::from_value::<DynamicObject>(object.clone()).expect("an object");
    let end = Instant::now() + PATIENCE;
    while let Err(error) = copies.create(&PostParams::default(), &typed(&stored)).await {
        assert!(Instant::now() < end, "the kind is not served: {error}");
        sleep(Duration::from_millis(100)).await;
    }
    definitions.patch(name, &force, &Patch::Apply(&now)).await.expect("a CRD");
    let another = with(&stored, "metadata.name", "another".into());
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let refused = loop {
        match copies.create(&dry, &typed(&another)).await {
            Err(refused) => break refused.to_string(),
            Ok(_) => assert!(Instant::now() < end, "the rule is not in force"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    assert!(refused.contains(OURS), "{refused}");

    let params = PatchParams::default();
    let parameters = |parameters: Value| json!({ "spec": { "forProvider": parameters } });
    for (what, patch) in [
        ("a label", json!({ "metadata": { "labels": { "a": "b" } } })),
        ("another field", parameters(json!({ "destinationImageName": "another" }))),
        ("another tag", parameters(json!({ "tag": tags("b") }))),
    ] {
        copies
            .patch("stored", &params, &Patch::Merge(&patch))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let status = json!({ "status": { "phase": "Pending" } });
    copies.patch_status("stored", &params, &Patch::Merge(&status)).await.expect("the operator's status");
    let worse = parameters(json!({ "tag": [{ "key": "cloudimages.dev/other" }] }));
    let refused =
        copies.patch("stored", &params, &Patch::Merge(&worse)).await.expect_err("a new one").to_string();
    assert!(refused.contains(OURS), "{refused}");
    let without = json!({ "metadata": { "finalizers": null } });
    let freed = copies.patch("stored", &params, &Patch::Merge(&without)).await.expect("it can go");
    assert_eq!(freed.finalizers(), &[] as &[String]);
    definitions.delete(name, &DeleteParams::default()).await.expect("the CRD goes");
}
