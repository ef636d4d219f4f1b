//! Pipelines of Alibaba Cloud's image builder: what they refer to is waited for, and stays as long as they need it.

use crate::harness::{World, component, image_of};
use serde_json::{Value, json};
use vendor_simulator::{Fault, FaultRule, When, aliyun_ecs::pipelines::Pipeline};

const KIND: &str = "ImagePipeline";
const CREATE: &str = "CreateImagePipeline";
const RETIRE: &str = "DeleteImageComponent";

fn pipeline(name: &str, build: Value) -> Value {
    let mut object = image_of(KIND, name);
    object["spec"]["forProvider"]["build"] = build;
    object
}

/// What is being deleted at the vendor does not say so at once.
#[tokio::test]
async fn nothing_begins_with_a_component_that_goes() {
    let world = World::new("pipeline-late").await;
    world.create(component("one", json!({}))).await;
    world.until_ready("ImageComponent", "one").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::SlowAnswer { millis: 900 }).action(RETIRE)]);
    world.delete("ImageComponent", "one").await;
    world.until_true("the vendor deletes it", || world.calls(RETIRE) == 1).await;
    world.create(pipeline("base", json!([{ "componentRef": { "name": "one" } }]))).await;
    world.until_condition(KIND, "base", "Reconciling", "True", "ReferenceNotReady").await;
    world.until_gone("ImageComponent", "one").await;
    assert_eq!(world.calls(CREATE), 0, "{:#?}", world.call_log());
}

/// The vendor looks for what is referred to in the region of what refers to it.
#[tokio::test]
async fn what_is_in_another_region_is_said_before_the_vendor_is_asked() {
    let world = World::new("pipeline-far").await;
    world.quicken();
    world.create(component("far", json!({ "forProvider": { "regionId": "cn-beijing" } }))).await;
    world.until_ready("ImageComponent", "far").await;
    world.create(pipeline("base", json!([{ "componentRef": { "name": "far" } }]))).await;
    let message = world.until_condition(KIND, "base", "Stalled", "True", "ReferenceNotReady").await;
    assert!(
        message.contains("ImageComponent far is in region cn-beijing, and this object in cn-hangzhou"),
        "{message}"
    );
    assert_eq!(world.calls(CREATE), 0);
    // It is the person's to say which one is wrong.
    world.patch(KIND, "base", json!({ "spec": { "forProvider": { "regionId": "cn-beijing" } } })).await;
    world.until_ready(KIND, "base").await;

    let mut build = image_of("ImageBuild", "run");
    build["spec"]["forProvider"] = json!({ "pipelineRef": { "name": "base" } });
    world.create(build).await;
    let message = world.until_condition("ImageBuild", "run", "Stalled", "True", "ReferenceNotReady").await;
    assert!(message.contains("ImagePipeline base is in region cn-beijing"), "{message}");
    assert_eq!(world.calls("StartImagePipelineExecution"), 0);
}

#[tokio::test]
async fn a_pipeline_waits_for_its_components_which_stay_as_long_as_it_is_there() {
    let world = World::new("pipeline").await;
    world.quicken();
    let steps = json!([
        { "componentRef": { "name": "one" }, "parameters": { "b": "2", "a": "1" } },
        { "run": "true" },
        { "componentRef": { "name": "two" } },
    ]);
    world.create(pipeline("base", steps)).await;
    let message = world.until_condition(KIND, "base", "Reconciling", "True", "ReferenceNotReady").await;
    assert!(message.contains("named one ") && message.contains("named two "), "{message}");
    world.create(component("one", json!({}))).await;
    let one = world.until_ready("ImageComponent", "one").await;
    assert_eq!(world.calls(CREATE), 0);
    // The call acts, and its answer is lost.
    let lost = FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1));
    world.vendor.set_faults(vec![lost]);
    world.create(component("two", json!({}))).await;
    let two = world.until_ready("ImageComponent", "two").await;
    let base = world.until_ready(KIND, "base").await;
    assert_eq!(world.effects(CREATE), 1);
    let [there] = &world.vendor.aliyun_ecs().pipelines()[..] else { panic!("one pipeline") };
    let id = |object: &Value| object["status"]["imageId"].as_str().expect("an id").to_owned();
    assert_eq!(there.id, id(&base));
    let steps = format!("COMPONENT {} --a 1 --b 2\nRUN true\nCOMPONENT {}", id(&one), id(&two));
    assert_eq!(there.build_content.as_deref(), Some(&*steps));
    let meant = |object: &Value| {
        json!({
            "field": "forProvider.build[].componentId", "kind": "ImageComponent", "name": object["metadata"]["name"],
            "id": id(object), "region": "cn-hangzhou",
        })
    };
    assert_eq!(base["status"]["operation"]["references"], json!([meant(&one), meant(&two)]));

    world.delete("ImageComponent", "one").await;
    world.until_condition("ImageComponent", "one", "Ready", "False", "VendorBusy").await;
    world.vendor.aliyun_ecs().modify_pipeline(&there.id, |pipeline| pipeline.has_running_execution = true);
    world.delete(KIND, "base").await;
    world.until_condition(KIND, "base", "Ready", "False", "VendorBusy").await;
    world.vendor.aliyun_ecs().modify_pipeline(&there.id, |pipeline| pipeline.has_running_execution = false);
    world.until_gone(KIND, "base").await;
    world.until_gone("ImageComponent", "one").await;
    assert_eq!(world.vendor.aliyun_ecs().pipelines(), []);
}

/// The vendor has given one call two of them.
#[tokio::test]
async fn two_pipelines_with_one_mark_are_a_person_s_to_tell_apart() {
    let world = World::new("pipeline-twins").await;
    let ecs = world.vendor.aliyun_ecs();
    world
        .vendor
        .set_faults(vec![FaultRule::new(Fault::Hang { effect: true }).action(CREATE).when(When::first(1))]);
    world.create(image_of(KIND, "twins")).await;
    world.until_true("it is made", || ecs.pipelines().len() == 1).await;
    let [first] = ecs.pipelines().try_into().expect("one pipeline");
    let second = ecs.seed_pipeline(Pipeline { id: String::new(), ..first.clone() });
    let message = world.until_condition(KIND, "twins", "Stalled", "True", "OutcomeUnknown").await;
    assert!(message.contains(&first.id) && message.contains(&second), "{message}");
    assert_eq!(world.calls(CREATE), 1);
    world.annotate(KIND, "twins", "cloudimages.dev/outcome", &format!("adopt={second}")).await;
    let object = world.until_ready(KIND, "twins").await;
    assert_eq!(object["status"]["imageId"], second.as_str());
    world.delete(KIND, "twins").await;
    world.until_gone(KIND, "twins").await;
    assert_eq!(ecs.pipelines(), [first]);
}

#[tokio::test]
async fn steps_that_are_too_long_when_written_out_are_refused_before_the_call() {
    let world = World::new("pipeline-long").await;
    let value = "x".repeat(1000);
    let step = json!({ "componentId": "ic-1", "parameters": { "value": value } });
    world.create(pipeline("long", vec![step; 20].into())).await;
    let message = world.until_condition(KIND, "long", "Stalled", "True", "ContentTooLong").await;
    assert!(message.contains("16384 bytes and 127 commands"), "{message}");
    assert_eq!(world.calls(CREATE), 0);
    let shorter = json!({ "spec": { "forProvider": { "build": [{ "run": "true" }] } } });
    world.patch(KIND, "long", shorter).await;
    world.until_ready(KIND, "long").await;
}

/// What tagging calls call a pipeline is not documented: the account can say it.
#[tokio::test]
async fn tags_are_changed_in_place_whatever_the_vendor_calls_a_pipeline() {
    let mut world = World::with_account("pipeline-tags").await;
    world.vendor.configure(|settings| settings.aliyun_ecs.pipeline_resource_type = "pipeline".into());
    world.start_operator().await;
    world.create(pipeline("tagged", json!([{ "run": "true" }]))).await;
    world.until_ready(KIND, "tagged").await;
    let tag = json!({ "spec": { "forProvider": { "tag": [{ "key": "team", "value": "base" }], "resourceGroupId": "rg-bp67acfmxazb4p01" } } });
    world.patch(KIND, "tagged", tag).await;
    let message = world.until_condition(KIND, "tagged", "Ready", "False", "InvalidSpec").await;
    assert!(message.contains("ecs.pipelineResourceType"), "{message}");
    let setting = json!({ "spec": { "aliyun": { "ecs": { "pipelineResourceType": "pipeline" } } } });
    world.patch("CloudAccount", "default", setting).await;
    world.request(KIND, "tagged", "again").await;
    let object = world.until_ready(KIND, "tagged").await;
    let [there] = &world.vendor.aliyun_ecs().pipelines()[..] else { panic!("one pipeline") };
    assert_eq!(there.tags.get("team").map(String::as_str), Some("base"));
    let uid = object["metadata"]["uid"].as_str().expect("a uid");
    assert_eq!(
        there.tags.get("cloudimages.dev/attempt"),
        Some(&format!("{uid}-1")),
        "the operator's own stays"
    );
    assert_eq!(there.resource_group_id, "rg-bp67acfmxazb4p01");
    assert_eq!(object["status"]["managedTags"], json!(["team"]));
}
