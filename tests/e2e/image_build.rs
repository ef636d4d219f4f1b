//! ImageBuild: one run of a pipeline, begun once, waiting for its pipeline and its turn, cancelled or waited for, and gone with its
//! image and snapshots.

use crate::harness::{World, condition, image_of};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{
    Fault, FaultRule, When,
    aliyun_ecs::{
        Image,
        executions::{Ending, Execution, Phase},
    },
};

const KIND: &str = "ImageBuild";
const CREATE: &str = "StartImagePipelineExecution";
const LOOK: &str = "DescribeImagePipelineExecutions";

/// A run that the vendor accepts, changed by a JSON merge patch of its spec.
fn build(name: &str, spec: Value) -> Value {
    let mut object = image_of(KIND, name);
    json_patch::merge(&mut object["spec"], &spec);
    object
}

fn of(pipeline: &str) -> Value {
    json!({ "forProvider": { "imagePipelineId": pipeline } })
}

fn id(object: &Value) -> String {
    object["status"]["imageId"].as_str().expect("an id").to_owned()
}

fn is_begun(object: &Value) -> bool {
    object["status"]["taskId"].is_string()
}

/// Nothing is left at the vendor, no snapshot either.
fn assert_nothing_left(world: &World) {
    let ecs = world.vendor.aliyun_ecs();
    assert_eq!((ecs.images(), ecs.snapshots()), (vec![], vec![]));
}

#[tokio::test]
async fn a_run_waits_for_its_pipeline_makes_an_image_and_is_copied_from() {
    let world = World::new("build-life").await;
    world.quicken();
    let spec = json!({ "forProvider": {
        "imagePipelineId": null, "pipelineRef": { "name": "base" }, "tag": [{ "key": "team", "value": "base" }],
    } });
    world.create(build("life", spec)).await;
    let mut copy = image_of("AliyunImageCopy", "far");
    copy["spec"]["forProvider"]["imageId"] = Value::Null;
    copy["spec"]["forProvider"]["imageRef"] = json!({ "name": "life" });
    world.create(copy).await;
    world.until_condition(KIND, "life", "Reconciling", "True", "ReferenceNotReady").await;
    assert_eq!(world.calls(CREATE), 0);
    let mut pipeline = image_of("ImagePipeline", "base");
    pipeline["spec"]["forProvider"]["imageOptions"] = json!({ "imageName": "base" });
    world.create(pipeline).await;
    let object = world.until_ready(KIND, "life").await;
    let pipeline = world.until_ready("ImagePipeline", "base").await;
    let ecs = world.vendor.aliyun_ecs();
    let [run] = ecs.executions().try_into().expect("one run");
    assert_eq!((object["status"]["taskId"].as_str(), run.pipeline), (Some(&*run.id), id(&pipeline)));
    let image = ecs.image(&id(&object)).expect("it is there");
    assert_eq!(image.name, format!("base_{}", run.id));
    assert_eq!(image.tags, [("team".to_owned(), "base".to_owned())].into());
    let token = object["status"]["operation"]["token"].as_str().expect("a token");
    assert_eq!(run.tags, [("cloudimages.dev/attempt".to_owned(), token.to_owned())].into());
    let at_provider = &object["status"]["atProvider"];
    assert_eq!(
        (&at_provider["imageId"], &at_provider["execution"]["status"]),
        (&json!(image.id), &json!("SUCCESS"))
    );
    world.until_ready("AliyunImageCopy", "far").await;

    // The pipeline may go, and the records of its runs with it: the image is known by its own id.
    world.delete("ImagePipeline", "base").await;
    world.until_gone("ImagePipeline", "base").await;
    let retag = json!({ "spec": { "forProvider": { "tag": [{ "key": "team", "value": "edge" }] } } });
    world.patch(KIND, "life", retag).await;
    let is_set = |_: &Value| ecs.image(&image.id).is_some_and(|image| image.tags["team"] == "edge");
    world.until(KIND, "life", "its tags are set", is_set).await;
    world.until_ready(KIND, "life").await;
    for (kind, name) in [("AliyunImageCopy", "far"), (KIND, "life")] {
        world.delete(kind, name).await;
        world.until_gone(kind, name).await;
    }
    assert_nothing_left(&world);
    assert_eq!((world.effects(CREATE), world.effects("DeleteSnapshot")), (1, 2));
}

/// As long as one of the pipeline is under way, others wait, whoever's that is; and none is begun twice.
#[tokio::test]
async fn one_run_of_a_pipeline_is_under_way_at_a_time_and_an_own_one_is_known_as_such() {
    let world = World::new("build-turn").await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.execution_seconds = 3600.0;
        // The token helps nobody.
        settings.aliyun_ecs.client_token_seconds = 0;
    });
    // Whose run it is that is in the way of a repeated call, its mark says. The first answer is lost.
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1))]);
    world.create(build("first", of("ip-shared"))).await;
    let first = world.until(KIND, "first", "its own run is found", is_begun).await;
    world.create(build("second", of("ip-shared"))).await;
    let told = world.until_condition(KIND, "second", "Reconciling", "True", "WaitsForOther").await;
    assert!(told.contains("/first, which is at work on ip-shared"), "{told}");
    assert_eq!(world.effects(CREATE), 1);
    // Somebody else's, of which no object knows.
    let phases = vec![Phase { status: "BUILDING".into(), seconds: 3600.0 }];
    let stranger = Execution { pipeline: "ip-taken".into(), phases, ..Execution::default() };
    ecs.seed_execution(stranger);
    world.create(build("third", of("ip-taken"))).await;
    world.until_condition(KIND, "third", "Reconciling", "True", "VendorBusy").await;
    assert_eq!(world.effects(CREATE), 1);

    world.vendor.advance(Duration::from_secs(3700));
    world.until_ready(KIND, "first").await;
    world.until(KIND, "second", "it is its turn", is_begun).await;
    world.request(KIND, "third", "now").await;
    world.until(KIND, "third", "it is its turn", is_begun).await;
    assert_eq!(world.effects(CREATE), 3);
    let begun: Vec<_> = ecs.executions().into_iter().filter(|run| run.pipeline == "ip-shared").collect();
    assert_eq!(begun.len(), 2);
    assert_eq!(first["status"]["taskId"], begun[0].id);
    world.vendor.advance(Duration::from_secs(3700));
    for name in ["first", "second", "third"] {
        world.until_ready(KIND, name).await;
        world.delete(KIND, name).await;
        world.until_gone(KIND, name).await;
    }
    let left: Vec<_> = ecs.images().into_iter().map(|image| image.id).collect();
    let theirs: Vec<_> =
        ecs.executions().into_iter().filter(|run| run.tags.is_empty()).map(|run| run.image.id).collect();
    assert_eq!(left, theirs, "only the stranger's stays");
}

/// The call arrives twice, since something in between repeats it: the second one is refused for the first.
#[tokio::test]
async fn a_refusal_that_is_the_echo_of_an_own_call_is_none() {
    let world = World::new("build-echo").await;
    world.quicken();
    let busy = Fault::VendorError {
        status: 403,
        code: "InvalidImagePipeline.HasRunningExecution".into(),
        message: "The specified image pipeline has a running execution.".into(),
        effect: true,
    };
    world.vendor.set_faults(vec![FaultRule::new(busy).action(CREATE).when(When::first(1))]);
    world.create(build("echo", json!({}))).await;
    let object = world.until_ready(KIND, "echo").await;
    assert_eq!((world.calls(CREATE), world.effects(CREATE)), (1, 1));
    assert_eq!(object["status"]["operation"]["attempt"], 1);
}

/// A list that shows a run without its tags does not tell whose it is, and a retry may come while the first call is still being
/// processed: the same token yields the same run in the end.
#[tokio::test]
async fn a_run_that_is_listed_before_its_tags_is_begun_once() {
    let world = World::new("build-tagless").await;
    world.quicken();
    world.vendor.configure(|settings| settings.aliyun_ecs.processing_seconds = 8);
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1)),
        FaultRule::new(Fault::TagLag { seconds: 7200 }).action(LOOK),
    ]);
    world.create(build("tagless", json!({}))).await;
    let object = world.until_ready(KIND, "tagless").await;
    assert_eq!(object["status"]["operation"]["attempt"], 1, "{object:#}");
    assert_eq!(world.effects(CREATE), 1, "{:#?}", world.call_log());
}

#[tokio::test]
async fn a_deletion_cancels_a_run_or_waits_for_its_end() {
    let world = World::new("build-cancel").await;
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.execution_seconds = 3600.0;
        settings.aliyun_ecs.cancelling_seconds = 1.0;
    });
    world.create(build("early", json!({}))).await;
    world.until(KIND, "early", "it is begun", is_begun).await;
    world.delete(KIND, "early").await;
    world.until_gone(KIND, "early").await;
    assert_eq!(world.effects("CancelImagePipelineExecution"), 1);
    assert_nothing_left(&world);

    world.create(build("late", json!({}))).await;
    world.until(KIND, "late", "it is begun", is_begun).await;
    world.vendor.advance(Duration::from_secs(2700));
    world.delete(KIND, "late").await;
    let told = world.until_condition(KIND, "late", "Ready", "False", "DeletionWaits").await;
    assert!(told.contains("cannot be cancelled any more"), "{told}");
    assert_eq!(world.vendor.aliyun_ecs().images().len(), 1);
    world.vendor.advance(Duration::from_secs(3600));
    world.until_gone(KIND, "late").await;
    // It was never seen Ready, and its snapshot is known all the same.
    assert_nothing_left(&world);
    assert_eq!((world.effects("DeleteImage"), world.effects("CancelImagePipelineExecution")), (1, 1));
}

/// The vendor's list may be behind, which does not mean that there is no run.
#[tokio::test]
async fn a_run_that_is_not_listed_yet_is_cancelled_all_the_same() {
    let world = World::new("build-unlisted").await;
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.execution_seconds = 3600.0;
        settings.aliyun_ecs.cancelling_seconds = 1.0;
    });
    world.create(build("new", json!({}))).await;
    world.until(KIND, "new", "it is begun", is_begun).await;
    let unlisted = FaultRule::new(Fault::ListLag { seconds: 7200 }).action(LOOK).when(When::always());
    world.vendor.set_faults(vec![unlisted]);
    world.delete(KIND, "new").await;
    world.until_true("it is cancelled", || world.effects("CancelImagePipelineExecution") == 1).await;
    world.vendor.set_faults(vec![]);
    world.vendor.advance(Duration::from_secs(3600));
    world.until_gone(KIND, "new").await;
    assert_nothing_left(&world);
}

/// A backup brings back the ids of the run and of its image: a person is asked about one thing.
#[tokio::test]
async fn a_restored_one_asks_about_its_run_and_not_about_the_image_as_well() {
    let mut world = World::new("build-restored").await;
    world.quicken();
    world.create(build("back", json!({}))).await;
    let saved = world.until_ready(KIND, "back").await;
    world.stop_operator().await;
    world.patch(KIND, "back", json!({ "metadata": { "finalizers": null } })).await;
    world.delete(KIND, "back").await;
    let mut object = build("back", json!({}));
    object["metadata"]["annotations"] = saved["metadata"]["annotations"].clone();
    object["metadata"]["finalizers"] = saved["metadata"]["finalizers"].clone();
    world.create(object).await;
    world.patch_status(KIND, "back", saved["status"].clone()).await;
    world.start_operator().await;
    world.until_condition(KIND, "back", "Stalled", "True", "Restored").await;
    let asked = world.get(KIND, "back").await.expect("it is there");
    let run = saved["status"]["taskId"].as_str().expect("a run");
    assert_eq!(asked["status"]["operation"]["candidates"], json!([run]), "{asked:#}");
    world.annotate(KIND, "back", "cloudimages.dev/outcome", &format!("adopt={run}")).await;
    let object = world.until_ready(KIND, "back").await;
    assert_eq!(object["status"]["imageId"], saved["status"]["imageId"]);
}

#[tokio::test]
async fn an_image_whose_tests_fail_goes_or_stays_and_is_built_again_when_asked() {
    let world = World::new("build-tests").await;
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_ending = Ending::TestFailed);
    world.create(build("goes", json!({}))).await;
    let told = world.until_condition(KIND, "goes", "Stalled", "True", "TestFailed").await;
    assert!(told.contains("onTestFailure: Keep"), "{told}");
    world.until_event("goes", "Cleared").await;
    assert_nothing_left(&world);
    let is_cleared = |object: &Value| {
        condition(object, "Stalled")["reason"] == "TestFailed" && object["status"]["imageId"].is_null()
    };
    world.until(KIND, "goes", "it stays failed, and nothing is left", is_cleared).await;

    let keep = json!({ "onTestFailure": "Keep", "forProvider": { "shareWith": ["1001"] } });
    world.create(build("stays", keep)).await;
    world.until_condition(KIND, "stays", "Stalled", "True", "TestFailed").await;
    let stays = world.get(KIND, "stays").await.expect("it is there");
    let refused = ecs.image(&id(&stays)).expect("it is there to be looked at");
    assert!(refused.shared_with.is_empty(), "what the tests refused is nobody else's to use");
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_ending = Ending::Success);
    for name in ["goes", "stays"] {
        world.request(KIND, name, "again").await;
        let object = world.until_ready(KIND, name).await;
        assert_eq!(object["status"]["operation"]["attempt"], 2, "{name}");
    }
    let stays = world.get(KIND, "stays").await.expect("it is there");
    assert!(ecs.image(&id(&stays)).expect("it is there").shared_with.contains("1001"));
    assert_eq!((ecs.images().len(), ecs.snapshots()), (2, vec![]), "what the tests refused is gone");
    // What its user kept goes with its object.
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_ending = Ending::TestFailed);
    world.create(build("kept", json!({ "onTestFailure": "Keep" }))).await;
    world.until_condition(KIND, "kept", "Stalled", "True", "TestFailed").await;
    for name in ["goes", "stays", "kept"] {
        world.delete(KIND, name).await;
        world.until_gone(KIND, name).await;
    }
    assert_nothing_left(&world);
}

/// A list that lags behind does not mean that there is nothing to delete.
#[tokio::test]
async fn an_image_whose_tests_fail_goes_although_it_is_not_listed_at_once() {
    let world = World::new("build-tests-lag").await;
    world.quicken();
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_ending = Ending::TestFailed);
    world.vendor.set_faults(vec![FaultRule::new(Fault::ListLag { seconds: 180 }).action("DescribeImages")]);
    world.create(build("late", json!({}))).await;
    let waits = |object: &Value| {
        let told = condition(object, "Reconciling")["message"].as_str().unwrap_or_default();
        object["status"]["phase"] == "Building" && told.contains("does not show")
    };
    world.until(KIND, "late", "its image is waited for", waits).await;
    world.until_condition(KIND, "late", "Stalled", "True", "TestFailed").await;
    world.until_event("late", "Cleared").await;
    assert_nothing_left(&world);
}

#[tokio::test]
async fn what_succeeded_in_part_is_ready_and_says_so_until_it_goes() {
    let mut world = World::new("build-part").await;
    world.quicken();
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_ending = Ending::PartitionSuccess);
    world.create(build("part", json!({}))).await;
    let told = world.until_condition(KIND, "part", "Ready", "True", "AvailableWithWarning").await;
    assert!(told.contains("The intermediate instance could not be released"), "{told}");
    world.until_event("part", "AvailableWithWarning").await;
    // Neither another operator nor a look at the image alone forgets it.
    world.stop_operator().await;
    world.start_operator().await;
    let retag = json!({ "spec": { "forProvider": { "tag": [{ "key": "team", "value": "base" }] } } });
    world.patch(KIND, "part", retag).await;
    let object = world.until_ready(KIND, "part").await;
    let ecs = world.vendor.aliyun_ecs();
    assert_eq!(ecs.image(&id(&object)).expect("it is there").tags["team"], "base");
    let ready = condition(&object, "Ready");
    assert_eq!((&ready["reason"], &ready["message"]), (&json!("AvailableWithWarning"), &json!(told)));
    assert_eq!(object["status"]["operation"]["reason"], "AvailableWithWarning");
    world.delete(KIND, "part").await;
    world.until_gone(KIND, "part").await;
    assert_nothing_left(&world);
}

/// Somebody deletes the pipeline between the end of the run and the next look at it.
#[tokio::test]
async fn an_image_is_found_by_the_name_that_its_run_gave_it_when_nothing_else_is_left_of_that() {
    let world = World::new("build-forgotten").await;
    let ecs = world.vendor.aliyun_ecs();
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_seconds = 3600.0);
    world.create(build("lost", of("ip-lost"))).await;
    let begun = world.until(KIND, "lost", "it is begun", is_begun).await;
    let run = begun["status"]["taskId"].as_str().expect("an id");
    let other = ecs.seed_image(Image { name: format!("{run}-other"), ..Image::default() });
    world.vendor.advance(Duration::from_secs(3700));
    let made = ecs.images().into_iter().find(|image| image.name == run).expect("it is made");
    ecs.remove_pipeline("ip-lost");
    let object = world.until_ready(KIND, "lost").await;
    assert_eq!(id(&object), made.id);
    world.delete(KIND, "lost").await;
    world.until_gone(KIND, "lost").await;
    assert_eq!(ecs.images().into_iter().map(|image| image.id).collect::<Vec<_>>(), [other]);
}
