//! What cannot be known: for every kind, the case that the page `never-twice` names, each way out of it, and answers that are
//! wrong: an id that does not exist, one that is another object's, and words that mean nothing.

use crate::harness::{World, account_at, condition, image_of, is_ready};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{
    Change, Fault, FaultRule, When, Work,
    aliyun_ecs::{Component, Image as EcsImage, executions::Execution, pipelines::Pipeline},
    batchcompute::images::Image,
    volcengine::exports::Task,
    zstack,
};

const OUTCOME: &str = "cloudimages.dev/outcome";
const KINDS: [(&str, &str); 8] = [
    ("ImageComponent", "CreateImageComponent"),
    ("ImagePipeline", "CreateImagePipeline"),
    ("ImageBuild", "StartImagePipelineExecution"),
    ("AliyunImageCopy", "CopyImage"),
    ("BatchComputeImage", "CreateImage"),
    ("AospImage", "BuildAOSPImage"),
    ("ImageExport", "ExportImage"),
    ("RootVolumeTemplate", "CreateRootVolumeTemplateFromRootVolume"),
];
/// Of which there cannot be two alike: of one registration, one uuid, one name.
const ONCE: [&str; 3] = ["BatchComputeImage", "RootVolumeTemplate", "AliyunImageCopy"];
/// Of which the vendor has given one call two, which both bear its mark: nothing less leaves anybody in doubt.
const TWINS: [&str; 2] = ["ImagePipeline", "ImageBuild"];
/// How long after the call the console begins an export: not at once, and soon enough to be taken for the call's.
const LATER: Duration = Duration::from_secs(180);
/// The ways out: while the object is wanted, and while it is being deleted.
const WAYS: [&str; 6] = ["adopt", "again", "look", "gone-adopt", "gone-again", "gone-retain"];

fn name(kind: &str, way: &str) -> String {
    format!("{}-{way}", kind.to_lowercase())
}

fn object(kind: &str, way: &str) -> Value {
    let name = name(kind, way);
    let mut object = image_of(kind, &name);
    object["spec"]["accountRef"] = json!({ "name": kind.to_lowercase() });
    if kind == "ImageComponent" {
        // The vendor chooses the version, so that there may be several of a name.
        object["spec"]["forProvider"]["componentVersion"] = Value::Null;
    }
    if kind == "RootVolumeTemplate" {
        object["spec"]["forProvider"]["resourceUuid"] = json!(uuid(way));
    }
    object
}

fn uuid(way: &str) -> String {
    let hex: String = way.bytes().map(|byte| format!("{byte:02x}")).collect();
    // The version is in the thirteenth digit, and the variant in the seventeenth.
    let digits = format!("{hex:0<24}");
    format!("{}4{}8{}", &digits[..12], &digits[12..15], &digits[8..23])
}

/// An export of the same image from the console, which is not listed before the vendor's clock has come to its beginning.
fn export_from_the_console(world: &World, way: &str) -> String {
    let work = Work { begun: Timestamp::now() + LATER, running_seconds: 60.0, ..Work::default() };
    let task = Task { resource_id: format!("image-{}", name("ImageExport", way)), work, ..Task::default() };
    world.vendor.volcengine().seed_task(task)
}

/// What keeps the answer of the creating call back.
fn loss(kind: &str) -> Fault {
    match kind {
        // The account has few places for these; and where nobody answers, all but one of its calls would wait.
        "ImageExport" => Fault::BadGateway { effect: false },
        kind if TWINS.contains(&kind) => Fault::BadGateway { effect: true },
        kind => Fault::Hang { effect: kind == "AospImage" },
    }
}

/// While the object's call is waited for: all that it may have made, the last of which is what the ways out are about.
fn candidates(world: &World, kind: &str, way: &str) -> Vec<String> {
    let (name, ecs) = (name(kind, way), world.vendor.aliyun_ecs());
    match kind {
        "ImagePipeline" => {
            let is_made = |pipeline: &Pipeline| pipeline.name == format!("pipeline-{name}");
            let first = ecs.pipelines().into_iter().find(is_made).expect("the call took effect");
            let second = Pipeline { id: String::new(), ..first.clone() };
            vec![first.id, ecs.seed_pipeline(second)]
        }
        "ImageBuild" => {
            let first = run_of(world, &name);
            let second =
                Execution { id: String::new(), image: EcsImage::default(), has_made: false, ..first.clone() };
            vec![first.id, ecs.seed_execution(second)]
        }
        _ => vec![candidate(world, kind, way)],
    }
}

/// The run that the call of an ImageBuild has begun.
fn run_of(world: &World, name: &str) -> Execution {
    let runs = world.vendor.aliyun_ecs().executions();
    runs.into_iter().find(|run| run.pipeline == format!("ip-{name}")).expect("the call took effect")
}

/// Something that nobody can tell from what the call may have made.
fn candidate(world: &World, kind: &str, way: &str) -> String {
    let name = name(kind, way);
    let before = Timestamp::now() - Duration::from_secs(300);
    match kind {
        "ImageComponent" => world.vendor.aliyun_ecs().seed(Component {
            name,
            version: "1.0.0".into(),
            content: "RUN echo hello".into(),
            creation_time: before,
            ..Component::default()
        }),
        // Of the same name, without a mark, and as young as what the call may have made.
        "AliyunImageCopy" => world.vendor.aliyun_ecs().seed_image(EcsImage {
            name: format!("copy-{name}"),
            region: "cn-shanghai".into(),
            ..EcsImage::default()
        }),
        "BatchComputeImage" => world.vendor.batchcompute().seed(Image {
            ecs_image_id: format!("m-{name}"),
            name,
            platform: "Linux".into(),
            creation_time: before,
            ..Image::default()
        }),
        "ImageExport" => {
            let (image, tasks) = (format!("image-{name}"), world.vendor.volcengine().tasks());
            tasks.into_iter().find(|task| task.resource_id == image).expect("it is seeded").id
        }
        "AospImage" => {
            let images = world.vendor.volcengine().aosp_images();
            images.into_iter().find(|image| image.name == name).expect("the call took effect").id
        }
        _ => {
            let image = zstack::images::Image {
                uuid: uuid(way),
                name: "theirs".into(),
                root_volume_uuid: "b94ff32725d133fea53e8ada5ea7f0fc".into(),
                ..zstack::images::Image::default()
            };
            world.vendor.zstack().seed(image);
            uuid(way)
        }
    }
}

fn is_there(world: &World, kind: &str, id: &str) -> bool {
    match kind {
        "ImageComponent" => world.vendor.aliyun_ecs().get(id).is_some(),
        "ImagePipeline" => world.vendor.aliyun_ecs().pipelines().iter().any(|pipeline| pipeline.id == id),
        // The record of a run stays; what it comes to is its image.
        "ImageBuild" => {
            let (runs, images) = (world.vendor.aliyun_ecs().executions(), world.vendor.aliyun_ecs().images());
            let run = runs.into_iter().find(|run| run.id == id);
            run.is_some_and(|run| images.iter().any(|image| image.id == run.image.id))
        }
        "AliyunImageCopy" => world.vendor.aliyun_ecs().image(id).is_some(),
        "BatchComputeImage" => world.vendor.batchcompute().get(id).is_some(),
        "AospImage" => world.vendor.volcengine().aosp_image(id).is_some(),
        "ImageExport" => world.vendor.volcengine().tasks().iter().any(|task| task.id == id),
        _ => world.vendor.zstack().get(id).is_some_and(|image| image.deleted.is_none()),
    }
}

fn take_away(world: &World, kind: &str, id: &str) {
    match kind {
        "ImageComponent" => drop(world.vendor.aliyun_ecs().remove(id)),
        "ImagePipeline" => world.vendor.aliyun_ecs().remove_pipeline(id),
        "ImageBuild" => drop(world.vendor.aliyun_ecs().remove_execution(id)),
        "AliyunImageCopy" => drop(world.vendor.aliyun_ecs().remove_image(id)),
        "BatchComputeImage" => drop(world.vendor.batchcompute().remove(id)),
        "AospImage" => drop(world.vendor.volcengine().remove_aosp_image(id)),
        "ImageExport" => drop(world.vendor.volcengine().remove_task(id)),
        _ => drop(world.vendor.zstack().remove(id)),
    }
}

fn held(kind: &str, object: &Value) -> String {
    let is_task = ["ImageExport", "ImageBuild"].contains(&kind);
    let id = if is_task { &object["status"]["taskId"] } else { &object["status"]["imageId"] };
    id.as_str().unwrap_or_default().to_owned()
}

/// What the vendor made for the kind.
fn made(world: &World, action: &str) -> usize {
    world.vendor.ledger().effects_of(action).filter(|effect| effect.change == Change::Created).count()
}

/// Each wrong answer is said to be one, and changes nothing.
async fn wrong_answers(world: &World, kind: &str, name: &str, others: &str) {
    world.annotate(kind, name, OUTCOME, "adpot=it").await;
    let message = world.until_condition(kind, name, "Stalled", "True", "InvalidOutcome").await;
    assert!(message.contains("adpot=it") && message.contains("resubmit"), "{message}");
    world.annotate(kind, name, OUTCOME, "adopt=that-nobody-has").await;
    let names = |object: &Value| {
        let stalled = condition(object, "Stalled");
        let message = stalled["message"].as_str().unwrap_or_default();
        stalled["reason"] == "InvalidOutcome"
            && message.contains("that-nobody-has")
            && message.contains("correct it")
    };
    world.until(kind, name, "an id that does not exist is refused", names).await;
    world.annotate(kind, name, OUTCOME, &format!("adopt={others}")).await;
    let message = world.until_condition(kind, name, "Ready", "False", "HeldByOther").await;
    assert!(
        message.contains(&format!("{kind} {}/{}", world.namespace, self::name(kind, "other"))),
        "{message}"
    );
}

/// Goes this way out, as far as it leads; gives what the object holds then. `told`: what it says of its call until then.
async fn goes(world: &World, kind: &str, way: &str, id: &str, told: &str) -> String {
    let name = name(kind, way);
    match way {
        "adopt" => drop(world.annotate(kind, &name, OUTCOME, &format!("adopt={id}")).await),
        "again" => drop(world.annotate(kind, &name, OUTCOME, "resubmit").await),
        "look" => world.request(kind, &name, "look").await,
        _ => {
            world.delete(kind, &name).await;
            let stays = |object: &Value| {
                let ready = condition(object, "Ready");
                object["status"]["phase"] == "Deleting"
                    && ready["message"].as_str().is_some_and(|message| message.contains(told))
            };
            world.until(kind, &name, "it says why it stays", stays).await;
            match way {
                "gone-adopt" => drop(world.annotate(kind, &name, OUTCOME, &format!("adopt={id}")).await),
                "gone-again" => drop(world.annotate(kind, &name, OUTCOME, "resubmit").await),
                _ => drop(world.patch(kind, &name, json!({ "spec": { "deletionPolicy": "Retain" } })).await),
            }
            world.until_gone(kind, &name).await;
            return String::new();
        }
    }
    let (again, once) = (way == "again", ONCE.contains(&kind));
    let arrived = |object: &Value| {
        let is_told = condition(object, "Stalled")["reason"] == "AlreadyExists";
        if again && once { is_told } else { is_ready(object) }
    };
    held(kind, &world.until(kind, &name, "it has arrived", arrived).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_out_works_for_every_kind_and_no_wrong_answer_does() {
    let mut world = World::empty("unclear").await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    world.vendor.configure(|settings| settings.volcengine.echo_annotation = false);
    for (kind, _) in KINDS {
        for mut object in account_at(kind, &kind.to_lowercase(), world.vendor.addresses()) {
            if kind == "ImageExport" && object["kind"] == "CloudAccount" {
                // Long enough for the test to do what the console does.
                object["spec"]["volcengine"]["ecs"]["listDelay"] = json!("25s");
            }
            world.create(object).await;
        }
    }
    world.start_operator().await;
    let world = &world;
    for (kind, _) in KINDS {
        world.create(object(kind, "other")).await;
    }
    let mut others = vec![];
    for (kind, _) in KINDS {
        others.push(held(kind, &world.until_ready(kind, &name(kind, "other")).await));
    }
    // One call of each object is not answered, and has no effect but where that is what nobody could find out.
    let rules = KINDS.iter().flat_map(|(kind, action)| {
        WAYS.map(|way| {
            let (field, value) = match *kind {
                "ImageComponent" | "BatchComputeImage" => ("Name", name(kind, way)),
                "ImagePipeline" => ("Name", format!("pipeline-{}", name(kind, way))),
                "ImageBuild" => ("ImagePipelineId", format!("ip-{}", name(kind, way))),
                "AliyunImageCopy" => ("DestinationImageName", format!("copy-{}", name(kind, way))),
                "AospImage" => ("ImageName", name(kind, way)),
                "ImageExport" => ("ImageId", format!("image-{}", name(kind, way))),
                _ => ("resourceUuid", uuid(way)),
            };
            FaultRule::new(loss(kind)).action(*action).parameter(field, value).when(When::first(1))
        })
    });
    // Whoever could look before both twins are there would take the first for the only one.
    let looks = ["DescribeImagePipelines", "DescribeImagePipelineExecutions"];
    let blind = looks.map(|action| FaultRule::new(Fault::BadGateway { effect: false }).action(action));
    world.vendor.set_faults(rules.chain(blind).collect());
    for way in WAYS {
        export_from_the_console(world, way);
    }
    for (kind, _) in KINDS {
        for way in WAYS {
            world.create(object(kind, way)).await;
        }
    }
    world.until_true("all have asked", || world.vendor.faults().iter().all(|rule| rule.hit > 0)).await;
    world.until_true("what takes effect has", || made(world, "BuildAOSPImage") > WAYS.len()).await;
    world.vendor.advance(LATER);
    let ids = KINDS.map(|(kind, _)| WAYS.map(|way| candidates(world, kind, way)));
    world.vendor.set_faults(vec![]);
    let before = KINDS.map(|(_, action)| made(world, action));
    let all = KINDS.iter().zip(&ids).zip(&others);
    let all = all.flat_map(|((&(kind, _), ids), other)| {
        WAYS.iter().zip(ids).map(move |(&way, ids)| (kind, way, ids, other))
    });
    let all: Vec<_> = all.collect();
    join_all(all.iter().map(async |&(kind, way, ids, other)| {
        let name = name(kind, way);
        let message = world.until_condition(kind, &name, "Stalled", "True", "OutcomeUnknown").await;
        assert!(message.contains(&ids.join(", ")) && message.contains(OUTCOME), "{kind}: {message}");
        let object = world.get(kind, &name).await.expect("it is there");
        assert_eq!(object["status"]["phase"], "Unclear");
        assert_eq!(object["status"]["operation"]["candidates"], json!(ids), "{kind}");
        if way == "adopt" || way == "gone-adopt" {
            wrong_answers(world, kind, &name, other).await;
        }
    }))
    .await;
    assert_eq!(KINDS.map(|(_, action)| made(world, action)), before, "nothing is asked for again");

    world.vendor.advance(Duration::from_secs(300));
    join_all(all.iter().map(async |&(kind, way, ids, _)| {
        let [first @ .., id] = ids.as_slice() else { panic!("{kind} has a candidate") };
        if way == "look" {
            take_away(world, kind, id);
        }
        let held = goes(world, kind, way, id, id).await;
        match (way, first) {
            ("adopt", _) => assert_eq!(held, *id, "{kind}"),
            ("again", _) => assert!(!ids.contains(&held), "{kind}: {held}"),
            // Which of the two it was is certain without the other.
            ("look", [first]) => assert_eq!(held, *first, "{kind}"),
            _ => {}
        }
        for first in first {
            assert!(is_there(world, kind, first), "{kind} {way}: {:#?}", world.call_log());
        }
        // What a person calls the object's own goes with it, and nothing else does; a file cannot.
        let goes =
            way == "look" && kind != "RootVolumeTemplate" || way == "gone-adopt" && kind != "ImageExport";
        assert_eq!(is_there(world, kind, id), !goes, "{kind} {way}: {:#?}", world.call_log());
    }))
    .await;
    let again = KINDS.map(|(kind, action)| {
        // One after a look, where that says that there is none, and one as a person asked for, where there may be two.
        let more = if ONCE.contains(&kind) || TWINS.contains(&kind) { 1 } else { 2 };
        (kind, made(world, action), more)
    });
    for ((kind, made, more), before) in again.into_iter().zip(before) {
        assert_eq!(made, before + more, "{kind}: {:#?}", world.call_log());
    }
}

/// The run that a call has begun is not listed, and the same call is refused, since its token was used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_out_works_for_a_run_that_the_vendor_does_not_show_and_no_wrong_answer_does() {
    const KIND: &str = "ImageBuild";
    const CREATE: &str = "StartImagePipelineExecution";
    const NOTHING: &str = "the vendor has nothing that could be it for certain";
    let mut world = World::empty("unclear-unlisted").await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    for object in account_at(KIND, &KIND.to_lowercase(), world.vendor.addresses()) {
        world.create(object).await;
    }
    world.start_operator().await;
    world.create(object(KIND, "other")).await;
    let other = held(KIND, &world.until_ready(KIND, &name(KIND, "other")).await);
    let used = Fault::VendorError {
        status: 400,
        code: "IdempotentParameterMismatch".into(),
        message: "The request uses the same client token as a previous, but non-identical request.".into(),
        effect: false,
    };
    let of = |fault: Fault, way: &str| {
        FaultRule::new(fault).parameter("ImagePipelineId", format!("ip-{}", name(KIND, way)))
    };
    let rules = WAYS.into_iter().flat_map(|way| {
        [
            of(Fault::BadGateway { effect: true }, way).action(CREATE).when(When::first(1)),
            of(used.clone(), way).action(CREATE),
            of(Fault::ListLag { seconds: 3600 }, way).action("DescribeImagePipelineExecutions"),
        ]
    });
    world.vendor.set_faults(rules.collect());
    let world = &world;
    for way in WAYS {
        world.create(object(KIND, way)).await;
    }
    join_all(WAYS.map(async |way| {
        let name = name(KIND, way);
        let message = world.until_condition(KIND, &name, "Stalled", "True", "OutcomeUnknown").await;
        assert!(message.contains(NOTHING) && message.contains(OUTCOME), "{message}");
        let object = world.get(KIND, &name).await.expect("it is there");
        assert_eq!(object["status"]["phase"], "Unclear");
        assert!(object["status"]["operation"]["candidates"].is_null(), "{object:#}");
        if way == "adopt" || way == "gone-adopt" {
            wrong_answers(world, KIND, &name, &other).await;
        }
    }))
    .await;
    assert_eq!(made(world, CREATE), 1 + WAYS.len(), "nothing is made again");

    // The console shows it, and a while later so does the list.
    world.vendor.set_faults(vec![]);
    world.vendor.advance(Duration::from_secs(300));
    join_all(WAYS.map(async |way| {
        let name = name(KIND, way);
        let run = run_of(world, &name).id;
        let held = goes(world, KIND, way, &run, NOTHING).await;
        match way {
            "adopt" | "look" => assert_eq!(held, run),
            "again" => assert_ne!(held, run),
            _ => {}
        }
        assert_eq!(is_there(world, KIND, &run), way != "gone-adopt", "{way}: {:#?}", world.call_log());
    }))
    .await;
    assert_eq!(made(world, CREATE), 1 + WAYS.len() + 1, "{:#?}", world.call_log());
}
