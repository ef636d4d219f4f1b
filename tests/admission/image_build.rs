//! Every rule of a run of a pipeline: which pipeline, once and for all, and the tags of its image.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::{World, image_of};
use serde_json::{Value, json};

fn build() -> Value {
    image_of("ImageBuild", "hello")
}

#[tokio::test]
async fn a_run_is_of_one_pipeline() {
    let world = World::empty("build-pipeline").await;
    let parameters = |parameters: Value| with(&build(), "spec.forProvider", parameters);
    for good in [
        json!({ "imagePipelineId": "ip-1" }),
        json!({ "pipelineRef": { "name": "base" } }),
        json!({ "pipelineRef": { "name": "base", "kind": "ImagePipeline" }, "regionId": "cn-beijing" }),
    ] {
        assert_accepted(create(&world, &parameters(good.clone())).await, &good.to_string());
    }
    let needed = "forProvider.pipelineRef or imagePipelineId is required: the pipeline that runs (or name an existing image in import)";
    let nothing = parameters(json!({ "regionId": "cn-beijing" }));
    assert_refused(create(&world, &nothing).await, &[("spec", needed)], "no pipeline");
    let import = with(&nothing, "spec.import", json!({ "id": "m-1" }));
    assert_accepted(create(&world, &import).await, "an import");
    let one = "forProvider must have only one of pipelineRef and imagePipelineId";
    let both = parameters(json!({ "imagePipelineId": "ip-1", "pipelineRef": { "name": "base" } }));
    assert_refused(create(&world, &both).await, &[("spec", one)], "two pipelines");
}

#[tokio::test]
async fn single_values() {
    let world = World::empty("build-values").await;
    let id: &[&str] = &["imagePipelineId must be the id of a pipeline, for example ip-bp67acfmxazb4p"];
    let bad = [json!("ip 1"), json!("ip/1")].map(|value| (value, id));
    let good = [json!("ip-1"), json!("a".repeat(64))];
    try_values(&world, &build(), "spec.forProvider.imagePipelineId", good, bad).await;
    let region: &[&str] =
        &["regionId must be a region's id of lower-case letters, digits and -, for example cn-hangzhou"];
    let bad = [(json!("CN"), region), (json!("a.b"), region)];
    try_values(&world, &build(), "spec.forProvider.regionId", [json!("cn-beijing")], bad).await;
    let tags =
        |count: usize| json!((0..count).map(|n| json!({ "key": format!("k{n}") })).collect::<Vec<_>>());
    let most: &[&str] = &["tag must have at most 20 entries"];
    let bad = [(tags(21), most)];
    try_values(&world, &build(), "spec.forProvider.tag", [tags(20)], bad).await;
    for policy in ["Delete", "Keep"] {
        let object = with(&build(), "spec.onTestFailure", policy.into());
        assert_accepted(create(&world, &object).await, policy);
    }
    let bare = assert_accepted(create(&world, &build()).await, "no policy");
    assert_eq!(bare["spec"]["onTestFailure"], "Delete");
}

#[tokio::test]
async fn what_was_asked_for_stays_but_for_tags_and_policies() {
    let world = World::empty("build-fixed").await;
    world.create(build()).await;
    let operation =
        json!({ "action": "StartImagePipelineExecution", "token": "t", "attempt": 1, "state": "Running" });
    let running = json!({ "phase": "Building", "taskId": "exec-1", "operation": operation });
    world.patch_status("ImageBuild", "hello", running).await;
    for (field, value) in [("imagePipelineId", json!("ip-2")), ("regionId", json!("cn-beijing"))] {
        let sentence = format!(
            "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; make a new object: each is one \
             run"
        );
        let change = json!({ "spec": { "forProvider": { field: value } } });
        let answer = patch(&world, &build(), &change).await;
        assert_refused(answer, &[(&*format!("spec.forProvider.{field}"), &*sentence)], field);
    }
    for change in [
        json!({ "spec": { "forProvider": { "tag": [{ "key": "a" }] } } }),
        json!({ "spec": { "onTestFailure": "Keep", "deleteSnapshots": false } }),
    ] {
        assert_accepted(patch(&world, &build(), &change).await, &change.to_string());
    }
}
