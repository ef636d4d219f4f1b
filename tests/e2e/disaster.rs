//! A cluster is lost, and its manifests come back from a backup: without status, with status, and into a second cluster while
//! the first still runs. For every kind and every phase: nothing is made twice, nothing is deleted that another object stands
//! for, and each object says how to go on, which works.

use crate::harness::{World, account_at, image_of};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use vendor_simulator::{Change, Fault, FaultRule, When, aliyun_ecs::Image};

/// Each kind, its creating call, the calls that delete it, and whether it has a build that takes time.
const KINDS: [(&str, &str, &[&str], bool); 8] = [
    ("ImageComponent", "CreateImageComponent", &["DeleteImageComponent"], false),
    ("ImagePipeline", "CreateImagePipeline", &["DeleteImagePipeline"], false),
    ("ImageBuild", "StartImagePipelineExecution", &["DeleteImage"], true),
    ("AliyunImageCopy", "CopyImage", &["DeleteImage"], true),
    ("BatchComputeImage", "CreateImage", &["DeleteImage"], false),
    ("AospImage", "BuildAOSPImage", &["DeleteAOSPImage"], true),
    ("ImageExport", "ExportImage", &[], true),
    ("RootVolumeTemplate", "CreateRootVolumeTemplateFromRootVolume", &["DeleteImage", "ExpungeImage"], true),
];

/// Where objects are when the backup is made.
const PHASES: [&str; 7] = ["waiting", "asked", "unclear", "building", "ready", "failed", "deleting"];

/// Of which the vendor may give one call two things that bear its mark. Of the others, only what somebody else has made leaves
/// anybody in doubt: `unclear.rs` has all of it.
const TWINS: [&str; 4] = ["ImagePipeline", "ImageBuild", "AliyunImageCopy", "AospImage"];

/// How long a build takes that does not end by itself here.
const LONG: Duration = Duration::from_secs(300);

fn object(kind: &str, phase: &str) -> Value {
    let mut object = image_of(kind, &name(kind, phase));
    let account = if phase == "waiting" { "later".to_owned() } else { kind.to_lowercase() };
    object["spec"]["accountRef"] = json!({ "name": account });
    object
}

fn name(kind: &str, phase: &str) -> String {
    format!("{}-{phase}", kind.to_lowercase())
}

/// What only concerns the calls that make this object's thing.
fn about(kind: &str, phase: &str, action: &str, fault: Fault) -> FaultRule {
    let (field, value) = match kind {
        "ImageComponent" => ("Name", name(kind, phase)),
        "ImagePipeline" => ("Name", format!("pipeline-{}", name(kind, phase))),
        "ImageBuild" => ("ImagePipelineId", format!("ip-{}", name(kind, phase))),
        "AliyunImageCopy" => ("DestinationImageName", format!("copy-{}", name(kind, phase))),
        "AospImage" => ("ImageName", name(kind, phase)),
        "ImageExport" => ("ImageId", format!("image-{}", name(kind, phase))),
        "BatchComputeImage" => ("Name", name(kind, phase)),
        _ => ("name", name(kind, phase)),
    };
    FaultRule::new(fault).action(action).parameter(field, value)
}

/// For good.
fn refusal(kind: &str) -> Fault {
    let code = match kind {
        "ImageComponent" | "ImagePipeline" => "InvalidName.Malformed",
        "AliyunImageCopy" => "InvalidImageName.Malformed",
        _ => "MissingName",
    };
    Fault::VendorError { status: 400, code: code.into(), message: "No.".into(), effect: false }
}

/// Each object's thing, by the object's name.
fn made(world: &World) -> BTreeMap<String, Vec<String>> {
    let ledger = world.vendor.ledger();
    let mut made = BTreeMap::<String, Vec<String>>::new();
    for effect in ledger.effects.iter().filter(|effect| effect.change == Change::Created) {
        let call = ledger.calls.iter().find(|call| call.sequence == effect.call).expect("its call");
        let of = |phase: &&str, kind: &str| {
            call.parameters.values().any(|value| value.contains(&name(kind, phase)))
        };
        for (kind, action, ..) in KINDS.iter().filter(|(_, action, ..)| *action == effect.action) {
            assert_eq!(*action, effect.action);
            if let Some(phase) = PHASES.iter().find(|phase| of(phase, kind)) {
                made.entry(name(kind, phase)).or_default().push(effect.id.clone());
            }
        }
    }
    made
}

/// By what each object finds its thing again: a run has an id of its own, and its image another one.
fn found(world: &World) -> BTreeMap<String, Vec<String>> {
    let runs = world.vendor.aliyun_ecs().executions();
    let run_of = |id: &String| runs.iter().find(|run| run.image.id == *id).map(|run| run.id.clone());
    let found = |ids: Vec<String>| ids.into_iter().map(|id| run_of(&id).unwrap_or(id)).collect();
    made(world).into_iter().map(|(name, ids)| (name, found(ids))).collect()
}

/// Gives the call of the kind's unclear object a second thing with its mark, by whose id that is found, too.
fn twin(world: &World, kind: &str) -> String {
    let name = name(kind, "unclear");
    let (ecs, volcengine) = (world.vendor.aliyun_ecs(), world.vendor.volcengine());
    match kind {
        "ImagePipeline" => {
            let mut pipelines = ecs.pipelines();
            pipelines.retain(|pipeline| pipeline.name == format!("pipeline-{name}"));
            let mut twin = pipelines.remove(0);
            twin.id.clear();
            ecs.seed_pipeline(twin)
        }
        "ImageBuild" => {
            let mut runs = ecs.executions();
            runs.retain(|run| run.pipeline == format!("ip-{name}"));
            let mut twin = runs.remove(0);
            twin.id.clear();
            (twin.image, twin.has_made) = (Image::default(), false);
            ecs.seed_execution(twin)
        }
        "AliyunImageCopy" => {
            let mut images = ecs.images();
            images.retain(|image| image.name == format!("copy-{name}"));
            let mut twin = images.remove(0);
            twin.id.clear();
            twin.name.clear();
            ecs.seed_image(twin)
        }
        _ => {
            let mut images = volcengine.aosp_images();
            images.retain(|image| image.name == name);
            let mut twin = images.remove(0);
            twin.id.clear();
            volcengine.seed_aosp_image(twin)
        }
    }
}

fn deleted(world: &World) -> Vec<String> {
    let effects = world.vendor.ledger().effects;
    // The snapshots of a copy go with it.
    let deleted = effects
        .into_iter()
        .filter(|effect| effect.change == Change::Deleted && effect.action != "DeleteSnapshot");
    let mut ids: Vec<_> = deleted.map(|effect| effect.id).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// The manifest that a backup keeps of an object, and its status.
fn backup(object: &Value, namespace: &str) -> (Value, Value) {
    let mut saved = object.clone();
    let metadata = saved["metadata"].as_object_mut().expect("metadata");
    metadata.retain(|key, _| matches!(key.as_str(), "name" | "annotations" | "finalizers" | "labels"));
    saved["metadata"]["namespace"] = json!(namespace);
    let status = saved.as_object_mut().expect("an object").remove("status").unwrap_or_default();
    (saved, status)
}

/// Objects of all kinds in all phases; gives what a backup has of each, and by what each finds its thing again.
async fn in_every_phase(first: &mut World) -> (BTreeMap<String, Value>, BTreeMap<String, Vec<String>>) {
    first.beat = Duration::from_secs(1);
    first.quicken();
    let mut rules = vec![];
    for (kind, action, deleting, builds) in KINDS {
        for object in account_at(kind, &kind.to_lowercase(), first.vendor.addresses()) {
            first.create(object).await;
        }
        for phase in ["asked", "unclear"] {
            rules.push(about(kind, phase, action, Fault::Hang { effect: true }).when(When::first(1)));
        }
        // A copy that failed keeps its name, so that the next one of that name would be refused.
        let fails = builds && kind != "AliyunImageCopy";
        let failure = if fails { Fault::FailBuild } else { refusal(kind) };
        rules.push(about(kind, "failed", action, failure).when(When::first(1)));
        // What is to be deleted is not, for as long as the vendor is busy.
        rules.extend(deleting.iter().map(|action| {
            let (code, message) = ("ServiceUnavailable".into(), "Try again later.".into());
            FaultRule::new(Fault::VendorError { status: 503, code, message, effect: false }).action(*action)
        }));
    }
    first.vendor.set_faults(rules);
    first.start_operator().await;
    let mut backups = BTreeMap::new();
    for (kind, ..) in KINDS {
        for phase in ["waiting", "asked", "ready", "failed", "deleting"] {
            if (kind, phase) != ("ImageExport", "deleting") {
                first.create(object(kind, phase)).await;
            }
        }
    }
    for kind in TWINS {
        first.create(object(kind, "unclear")).await;
    }
    // A call that is never answered is given up after a while, and then looked for: its backup is made before.
    for (kind, ..) in KINDS {
        let asked = name(kind, "asked");
        first.until_true("it is made", || made(first).contains_key(&asked)).await;
        backups.insert(asked.clone(), first.get(kind, &asked).await.expect("it is there"));
    }
    let mut twins = BTreeMap::new();
    for kind in TWINS {
        let unclear = name(kind, "unclear");
        first.until_true("it is made", || made(first).contains_key(&unclear)).await;
        twins.insert(unclear, twin(first, kind));
    }
    for (kind, ..) in KINDS {
        let (ready, failed) = (name(kind, "ready"), name(kind, "failed"));
        backups.insert(ready.clone(), first.until_ready(kind, &ready).await);
        let is_failed = |object: &Value| object["status"]["phase"] == "Failed";
        backups.insert(failed.clone(), first.until(kind, &failed, "it has failed", is_failed).await);
        let waiting = name(kind, "waiting");
        first.until_condition(kind, &waiting, "Ready", "False", "AccountNotFound").await;
        backups.insert(waiting.clone(), first.get(kind, &waiting).await.expect("it is there"));
        if kind != "ImageExport" {
            first.until_ready(kind, &name(kind, "deleting")).await;
        }
    }
    first.vendor.configure(|settings| {
        settings.volcengine.build_seconds = LONG.as_secs_f64();
        settings.volcengine.export_seconds = LONG.as_secs_f64();
        settings.zstack.create_seconds = LONG.as_secs_f64();
        settings.aliyun_ecs.copy_seconds = LONG.as_secs_f64();
        settings.aliyun_ecs.execution_seconds = LONG.as_secs_f64();
    });
    for (kind, ..) in KINDS.iter().filter(|(.., builds)| *builds) {
        first.create(object(kind, "building")).await;
    }
    // A file cannot be deleted, and its task is waited for.
    first.create(object("ImageExport", "deleting")).await;
    let is_building = |object: &Value| object["status"]["phase"] == "Building";
    for (kind, ..) in KINDS.iter().filter(|(.., builds)| *builds) {
        let building = name(kind, "building");
        backups.insert(building.clone(), first.until(kind, &building, "it is built", is_building).await);
    }
    first.until("ImageExport", &name("ImageExport", "deleting"), "it runs", is_building).await;
    for (kind, ..) in KINDS {
        let deleting = name(kind, "deleting");
        first.delete(kind, &deleting).await;
        let is_deleting = |object: &Value| object["status"]["phase"] == "Deleting";
        backups.insert(deleting.clone(), first.until(kind, &deleting, "it goes", is_deleting).await);
    }
    for kind in TWINS {
        let unclear = name(kind, "unclear");
        first.until_condition(kind, &unclear, "Stalled", "True", "OutcomeUnknown").await;
        backups.insert(unclear.clone(), first.get(kind, &unclear).await.expect("it is there"));
    }
    first.quicken();
    let mut found = found(first);
    for (name, twin) in twins {
        found.entry(name).or_default().push(twin);
    }
    (backups, found)
}

/// A cluster that knows nothing of the first one but what the backup has.
async fn restored(
    namespace: &str,
    first: &World,
    backups: &BTreeMap<String, Value>,
    with_status: bool,
) -> World {
    let mut world = World::empty(namespace).await;
    world.beat = Duration::from_secs(1);
    for (kind, ..) in KINDS {
        for object in account_at(kind, &kind.to_lowercase(), first.vendor.addresses()) {
            world.create(object).await;
        }
    }
    bring_back(&world, backups, with_status).await;
    let endpoints = first.endpoints();
    world.start_operator_with(&[], &endpoints.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world
}

async fn bring_back(world: &World, backups: &BTreeMap<String, Value>, with_status: bool) {
    for saved in backups.values() {
        let (object, status) = backup(saved, &world.namespace);
        let created = world.create(object).await;
        if with_status {
            let [kind, name] =
                [&created["kind"], &created["metadata"]["name"]].map(|it| it.as_str().expect("a name"));
            world.patch_status(kind, name, status).await;
        }
    }
}

fn all(backups: &BTreeMap<String, Value>) -> impl Iterator<Item = (&'static str, &'static str, String)> + '_ {
    let all = KINDS.iter().flat_map(|(kind, ..)| PHASES.map(|phase| (*kind, phase, name(kind, phase))));
    all.filter(|(.., name)| backups.contains_key(name))
}

/// Every object says what may be its thing and how to go on, and the vendor is asked for nothing.
async fn all_say_how_to_go_on(
    world: &World,
    made: &BTreeMap<String, Vec<String>>,
    found: &BTreeMap<String, Vec<String>>,
    backups: &BTreeMap<String, Value>,
) {
    join_all(all(backups).map(async |(kind, phase, name)| {
        if phase == "waiting" {
            world.until_condition(kind, &name, "Ready", "False", "AccountNotFound").await;
            return;
        }
        let message = world.until_condition(kind, &name, "Stalled", "True", "Restored").await;
        let ids = found.get(&name).map_or(&[][..], Vec::as_slice);
        for word in ["import", "adopt=", "resubmit"].into_iter().chain(ids.iter().map(String::as_str)) {
            assert!(message.contains(word), "{} {name}: {word} is not in {message}", world.namespace);
        }
        let object = world.get(kind, &name).await.expect("it is there");
        assert_eq!(object["status"]["phase"], "Unclear", "{object:#}");
        let listed = object["status"]["operation"]["candidates"].as_array().cloned().unwrap_or_default();
        let listed: BTreeSet<_> = listed.iter().map(|id| id.as_str().expect("an id")).collect();
        // What the status knew is listed, too: of a run that may be its image.
        let its_own = made.get(&name).into_iter().flatten().chain(ids).map(String::as_str).collect();
        assert!(listed.is_subset(&its_own) && ids.iter().all(|id| listed.contains(&**id)), "{object:#}");
    }))
    .await;
}

async fn delete_all(world: &World, backups: &BTreeMap<String, Value>) {
    for (kind, _, name) in all(backups) {
        world.try_delete(kind, &name).await;
    }
    for (kind, _, name) in all(backups) {
        world.until_gone(kind, &name).await;
    }
}

/// Each object goes one of the ways on that it names, and only what had failed is made again. Then they are deleted. Gives what
/// goes with them at the vendor: what an earlier object made is not theirs to delete, only what they made themselves.
async fn all_go_on_and_go(
    first: &World,
    world: &World,
    there: &BTreeMap<String, Vec<String>>,
    found: &BTreeMap<String, Vec<String>>,
    backups: &BTreeMap<String, Value>,
) -> Vec<String> {
    let (mut expected, before) = (made(first), deleted(first));
    join_all(all(backups).map(async |(kind, phase, name)| {
        let outcome = "cloudimages.dev/outcome";
        let [id, known_by] =
            [there, found].map(|ids| ids.get(&name).map(|ids| ids[0].clone()).unwrap_or_default());
        match phase {
            "asked" | "unclear" | "ready" => {
                drop(world.annotate(kind, &name, outcome, &format!("adopt={known_by}")).await);
            }
            "building" => {
                drop(world.patch(kind, &name, json!({ "spec": { "import": { "id": known_by } } })).await);
            }
            "failed" => drop(world.annotate(kind, &name, outcome, "resubmit").await),
            // It waits, or what it was is gone.
            _ => return,
        }
        let object = world.until_ready(kind, &name).await;
        let held =
            if kind == "ImageExport" { &object["status"]["taskId"] } else { &object["status"]["imageId"] };
        assert_eq!(*held == id.as_str(), phase != "failed", "{object:#}");
    }))
    .await;
    let now = made(first);
    let mut goes = vec![];
    for (kind, _, deleting, _) in KINDS {
        let failed = name(kind, "failed");
        let again = now[&failed].last().expect("it is made again");
        expected.entry(failed).or_default().push(again.clone());
        if !deleting.is_empty() {
            goes.push(again.clone());
        }
    }
    assert_eq!((now, deleted(first)), (expected, before), "{:#?}", first.call_log());
    delete_all(world, backups).await;
    goes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_lost_and_restored_and_nothing_is_made_twice() {
    let mut first = World::empty("disaster").await;
    let (backups, found) = in_every_phase(&mut first).await;
    let there = made(&first);
    assert!(there.values().all(|ids| ids.len() == 1), "{there:#?}");

    // The first one still runs.
    let bare = restored("disaster-bare", &first, &backups, false).await;
    let whole = restored("disaster-status", &first, &backups, true).await;
    all_say_how_to_go_on(&bare, &there, &found, &backups).await;
    all_say_how_to_go_on(&whole, &there, &found, &backups).await;
    assert_eq!((made(&first), deleted(&first)), (there.clone(), vec![]), "{:#?}", first.call_log());

    // One of them goes again, and takes nothing along.
    delete_all(&bare, &backups).await;
    assert_eq!((made(&first), deleted(&first)), (there.clone(), vec![]), "{:#?}", first.call_log());

    // The first one has not noticed: what it asked for, built and was to delete goes its way.
    first.vendor.set_faults(vec![]);
    first.vendor.advance(LONG + Duration::from_secs(10));
    for (kind, _, name) in
        all(&backups).filter(|(_, phase, _)| ["asked", "ready", "building"].contains(phase))
    {
        first.until_ready(kind, &name).await;
    }
    for (kind, ..) in KINDS {
        first.until_gone(kind, &name(kind, "deleting")).await;
    }
    let mut gone: Vec<_> = KINDS
        .iter()
        .filter(|(_, _, deleting, _)| !deleting.is_empty())
        .map(|(kind, ..)| there[&name(kind, "deleting")][0].clone())
        .collect();
    gone.sort();
    assert_eq!((made(&first), deleted(&first)), (there.clone(), gone.clone()), "{:#?}", first.call_log());

    // Then it is lost, and all goes on as the objects say, wherever they come back.
    first.stop_operator().await;
    bring_back(&bare, &backups, false).await;
    for world in [&bare, &whole] {
        gone.extend(all_go_on_and_go(&first, world, &there, &found, &backups).await);
        gone.sort();
        assert_eq!(deleted(&first), gone, "{}: {:#?}", world.namespace, first.call_log());
    }
}
