//! What every kind must stand, by its line in the registry and its sample alone: every way to lose, delay or spoil an
//! answer, on the creating call, on the calls that look, and on those that change and delete; and the vendors' habits that
//! no page tells of. Whatever happens, the vendor makes one thing, a person need not help unless nobody could know, and
//! nothing is left in the end.

#[path = "harness/harness.rs"]
mod harness;

mod conformance {
    pub mod faults;
    pub mod habits;
    pub mod subject;
    pub mod test_image;
}

use cloud_image_operator::kinds::{KINDS, Kind, Of};
use conformance::{
    faults::{self, FAULTS, Hardship, Site},
    habits,
    subject::{self, Calls, Subject},
    test_image::TestImage,
};
use futures::{FutureExt, future::join_all};
use harness::{OPERATOR, World, rights};
use serde_json::{Value, json};
use std::{any::Any, panic::AssertUnwindSafe, time::Duration};
use tokio::task::JoinSet;
use vendor_simulator::{Fault, FaultRule, When};

/// What adding a kind to the registry takes besides its file.
static ONE_MORE: &[&dyn Kind] = &[&Of::<TestImage>::new("Alibaba Cloud", "BatchCompute", "2015-11-11")];

/// What a user of the vendor's own tools would not find out either, by kind and hardship, and the reason that is shown.
const NOBODY_KNOWS: &[(&str, &str, &str)] = &[
    // The task's id is all that the vendor gave, and it knows it no more.
    ("ImageExport", "forgotten-task-creating", "Missing"),
    ("ImageExport", "habits-forgotten-task-creating", "Missing"),
];

/// Kinds whose results stay: the exported file is the user's, and a task cannot be deleted.
const STAYS: &[&str] = &["ImageExport"];

/// The faults that a version meets which follows another one: those after which nobody knows, and those that must be tried again.
const SUCCEEDING: &[&str] =
    &["answer-lost", "not-sent", "hang-acted", "400-throttle", "500", "500-acted", "list-lag"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_stands_every_fault() {
    // Kinds that share a creating call would hide each other's effects: they get vendors of their own.
    let groups = [("", subject::all(KINDS)), ("more-", subject::beside(ONE_MORE, "tests/conformance"))];
    // One operator for all: each hardship has vendors of its own.
    let mut first = World::empty("conformance").await;
    first.beat = Duration::from_secs(1);
    first.kinds = Vec::leak([KINDS, ONE_MORE].concat());
    first.fitting = &[("TestImage", "BatchComputeImage")];
    for kind in ONE_MORE {
        let crd = kind.crd();
        let plural = crd.spec.names.plural.clone();
        first.create(serde_json::to_value(crd).expect("a CRD is JSON")).await;
        // As the manifests do for the registry's kinds.
        let rules = json!([
            { "apiGroups": ["cloudimages.dev"], "resources": [plural], "verbs": ["get", "list", "watch", "patch"] },
            { "apiGroups": ["cloudimages.dev"], "resources": [format!("{plural}/status")], "verbs": ["patch"] },
        ]);
        for object in rights("ClusterRole", &format!("more-{plural}"), OPERATOR, rules) {
            first.create(object).await;
        }
    }
    let (mut quiet, mut places, mut seeds) = (vec![], vec![], 2..);
    for (prefix, subjects) in groups {
        quiet.push((subjects.clone(), first.beside(seeds.next().unwrap_or_default()).await));
        for mut hardship in FAULTS.iter().flat_map(faults::hardships) {
            hardship.name = format!("{prefix}{}", hardship.name);
            let world = first.beside(seeds.next().unwrap_or_default()).await;
            places.push((hardship, quiet.len() - 1, world));
        }
        // Vendors whose tokens have expired make a second thing for who does not look first, as the skeleton of a kind does not.
        let expired = prefix.is_empty();
        for mut hardship in
            FAULTS.iter().filter(|(name, _)| habits::MEETS.contains(name)).flat_map(faults::hardships)
        {
            hardship.name = format!("{prefix}habits-{}", hardship.name);
            let world = first.beside(seeds.next().unwrap_or_default()).await;
            habits::take_up(&world, &subjects, expired);
            places.push((hardship, quiet.len() - 1, world));
        }
    }
    // Of those whose versions follow each other, the next one stands what the first one has stood.
    let versioned: Vec<_> = subject::all(KINDS).into_iter().filter(|it| it.has_versions).collect();
    assert!(!versioned.is_empty());
    let mut successions = vec![];
    for mut hardship in
        FAULTS.iter().filter(|(name, _)| SUCCEEDING.contains(name)).flat_map(faults::hardships)
    {
        hardship.name = format!("next-{}", hardship.name);
        successions.push((hardship, first.beside(seeds.next().unwrap_or_default()).await));
    }
    let next = successions.iter().map(|(_, world)| world);
    let worlds =
        quiet.iter().map(|(_, world)| world).chain(next).chain(places.iter().map(|(_, _, world)| world));
    let endpoints: Vec<_> = worlds.flat_map(World::endpoints).collect();
    first.start_operator_with(&[], &endpoints.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut groups = vec![];
    for (subjects, world) in quiet {
        world.quicken();
        let calls = undisturbed(&world, &subjects).await;
        if subjects.iter().any(|subject| subject.kind == "TestImage") {
            a_bug_is_trouble_of_one_object(&world).await;
            what_a_call_lacks_is_waited_for(&world).await;
            each_of_several_references_counts(&world).await;
        }
        groups.push((subjects, calls));
    }
    let (mut worlds, mut lives) = (JoinSet::new(), 0);
    for (number, (hardship, group, world)) in (1..).zip(places) {
        let (subjects, calls) = groups[group].clone();
        lives += subjects.len();
        worlds.spawn(async move { stand(&hardship, number, &world, &subjects, &calls).await });
    }
    for (number, (hardship, world)) in (1..).zip(successions) {
        let (subjects, calls) = (versioned.clone(), groups[0].1.clone());
        lives += subjects.len();
        worlds.spawn(async move { succeed(&hardship, number, &world, &subjects, &calls).await });
    }
    let mut failed = vec![];
    while let Some(ended) = worlds.join_next().await {
        match ended {
            Ok(failures) => failed.extend(failures),
            Err(error) => failed.push(error.to_string()),
        }
    }
    assert!(failed.is_empty(), "of {lives} lives:\n{}", failed.join("\n"));
}

/// Without a fault: tells which calls look, which change, and so where faults can hit.
async fn undisturbed(world: &World, subjects: &[Subject]) -> Calls {
    let lives = subjects.iter().map(|subject| async {
        subject.apply(world, "undisturbed", 0).await;
        live(world, subject, "undisturbed", None).await
    });
    assert_eq!(join_all(lives).await.into_iter().find_map(Result::err), None);
    Calls::read(&world.vendor.ledger())
}

/// A panic in a kind's code ends one pass over one object, which says so; all that comes after goes on in the same operator.
async fn a_bug_is_trouble_of_one_object(world: &World) {
    world
        .create(json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": "TestImage",
            "metadata": { "name": "bug" },
            "spec": { "accountRef": { "name": "test-undisturbed" }, "forProvider": { "name": "bug" } },
        }))
        .await;
    let said = world.until_condition("TestImage", "bug", "Stalled", "True", "InternalError").await;
    assert!(said.contains("report it"), "{said}");
    let bug = world.get("TestImage", "bug").await.expect("it is there");
    assert_eq!(bug["status"]["observedGeneration"], -1, "its spec was not dealt with");
    world.patch("TestImage", "bug", json!({ "spec": { "forProvider": { "name": "mended" } } })).await;
    world.until_ready("TestImage", "bug").await;
    world.delete("TestImage", "bug").await;
    world.until_gone("TestImage", "bug").await;
}

/// A kind says what its call needs; the engine looks, and waits.
async fn what_a_call_lacks_is_waited_for(world: &World) {
    let before = world.calls("CreateImage");
    world
        .create(json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": "TestImage",
            "metadata": { "name": "lacking" },
            "spec": { "accountRef": { "name": "test-undisturbed" }, "forProvider": { "name": "lacking" } },
        }))
        .await;
    world.until_condition("TestImage", "lacking", "Reconciling", "True", "PreflightFailed").await;
    assert_eq!(world.calls("CreateImage"), before);
    world.patch("TestImage", "lacking", json!({ "spec": { "preflightPolicy": "Skip" } })).await;
    world.until_ready("TestImage", "lacking").await;
    world.delete("TestImage", "lacking").await;
    world.until_gone("TestImage", "lacking").await;
}

/// A kind refers to as many objects as it likes, of several kinds: it begins when all of them are Ready, holds on to what they
/// were then, and none of that goes while it is at work.
async fn each_of_several_references_counts(world: &World) {
    const KIND: &str = "TestImage";
    let object = |name: &str, parts: &[&str], tool: Value| {
        let parts: Vec<_> = parts.iter().map(|name| json!({ "name": name })).collect();
        json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": KIND,
            "metadata": { "name": name },
            "spec": {
                "accountRef": { "name": "test-undisturbed" },
                "forProvider": { "name": name, "partRefs": parts, "toolRef": tool },
            },
        })
    };
    let tool = |name: &str| json!({ "name": name, "kind": "BatchComputeImage" });
    world.create(object("whole", &["one", "two", "one"], tool("two"))).await;
    let message = world.until_condition(KIND, "whole", "Reconciling", "True", "ReferenceNotReady").await;
    for lacking in
        ["an image object named one ", "an image object named two ", "BatchComputeImage named two "]
    {
        assert_eq!(message.matches(lacking).count(), 1, "{lacking}: {message}");
    }
    world.create(object("one", &[], Value::Null)).await;
    world.until_ready(KIND, "one").await;
    world.create(object("two", &[], Value::Null)).await;
    world.until_ready(KIND, "two").await;
    let said = |object: &Value| {
        let message = object["status"]["conditions"].to_string();
        message.contains("BatchComputeImage named two ") && !message.contains("an image object named")
    };
    world.until(KIND, "whole", "it waits for the tool alone", said).await;
    let before = world.calls("CreateImage");

    // The call's answers are lost, so that it stays at work.
    let lost = FaultRule::new(Fault::AnswerLost).service("batchcompute").action("CreateImage");
    let tools = json!({ "spec": { "forProvider": { "toolRef": tool("base") } } });
    let image = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "BatchComputeImage",
        "metadata": { "name": "base" },
        "spec": {
            "accountRef": { "name": "test-undisturbed" },
            "forProvider": { "name": "base", "ecsImageId": "m-base", "platform": "Linux" },
        },
    });
    world.create(image).await;
    world.until_ready("BatchComputeImage", "base").await;
    assert_eq!(world.calls("CreateImage"), before + 1, "nothing is made of two parts only");
    world.vendor.set_faults(vec![lost.when(When::always())]);
    world.patch(KIND, "whole", tools).await;
    let asked = |object: &Value| object["status"]["operation"]["state"] == "InFlight";
    let whole = world.until(KIND, "whole", "it is at work", asked).await;
    let mut ids = vec![];
    for (kind, name) in [(KIND, "one"), (KIND, "two"), ("BatchComputeImage", "base")] {
        let part = world.get(kind, name).await.expect("it is there");
        ids.push(part["status"]["imageId"].as_str().expect("an id").to_owned());
        world.delete(kind, name).await;
    }
    let meant = |field: &str, kind: &str, name: &str, id: &str| json!({ "field": field, "kind": kind, "name": name, "id": id, "region": "cn-hangzhou" });
    let mut base = meant("forProvider.tool", "BatchComputeImage", "base", &ids[2]);
    base.as_object_mut().expect("an object").remove("region");
    let (one, two) =
        (meant("forProvider.parts", KIND, "one", &ids[0]), meant("forProvider.parts", KIND, "two", &ids[1]));
    assert_eq!(whole["status"]["operation"]["references"], json!([one, two, base]));
    for (kind, name) in [(KIND, "one"), (KIND, "two"), ("BatchComputeImage", "base")] {
        let message = world.until_condition(kind, name, "Ready", "False", "DeletionWaits").await;
        assert!(message.contains("/whole, which is at work on"), "{kind}/{name}: {message}");
    }
    world.vendor.set_faults(vec![]);
    let whole = world.until_ready(KIND, "whole").await;
    let made_of = format!("{} {} {} {}", ids[0], ids[1], ids[0], ids[2]);
    assert_eq!(whole["status"]["atProvider"]["description"], made_of);
    for (kind, name) in [(KIND, "one"), (KIND, "two"), ("BatchComputeImage", "base")] {
        world.until_gone(kind, name).await;
    }
    world.delete(KIND, "whole").await;
    world.until_gone(KIND, "whole").await;
}

/// A world in which all kinds live through one hardship side by side; gives what went wrong.
async fn stand(
    hardship: &Hardship,
    number: usize,
    world: &World,
    subjects: &[Subject],
    calls: &Calls,
) -> Vec<String> {
    world.quicken();
    world.vendor.set_faults(hardship.rules(calls));
    let lives = subjects.iter().map(|subject| async {
        subject.apply(world, &hardship.name, number).await;
        let known = (subject.kind.as_str(), hardship.name.as_str());
        let unknowable = NOBODY_KNOWS.iter().find(|row| (row.0, row.1) == known).map(|row| row.2);
        // A panic is one kind's failure; the others are worth knowing too.
        let life = AssertUnwindSafe(live(world, subject, &hardship.name, unknowable)).catch_unwind().await;
        let failure = life.unwrap_or_else(|panic| Err(said(panic.as_ref()))).err()?;
        Some(format!("{} {}: {failure}", hardship.name, subject.kind))
    });
    let mut failures: Vec<_> = join_all(lives).await.into_iter().flatten().collect();
    let missed = world.vendor.faults().iter().filter(|rule| rule.hit == 0).count();
    // Looks that not every way leads through may be spared; but a hardship that hits nothing proves nothing.
    if missed == world.vendor.faults().len() || hardship.site == Site::Creating && missed > 0 {
        failures.push(format!("{}: {missed} of its faults hit nothing", hardship.name));
    }
    failures
}

/// A world in which a new version takes the place of the first one through one hardship; gives what went wrong.
async fn succeed(
    hardship: &Hardship,
    number: usize,
    world: &World,
    subjects: &[Subject],
    calls: &Calls,
) -> Vec<String> {
    world.quicken();
    let name = |subject: &Subject| format!("{}-{}", subject.name, hardship.name);
    for subject in subjects {
        subject.apply(world, &hardship.name, number).await;
        world.until_ready(&subject.kind, &name(subject)).await;
    }
    world.vendor.set_faults(hardship.rules(calls));
    let lives = subjects.iter().map(|subject| async {
        let life = AssertUnwindSafe(next_version(world, subject, &name(subject))).catch_unwind().await;
        let failure = life.unwrap_or_else(|panic| Err(said(panic.as_ref()))).err()?;
        Some(format!("{} {}: {failure}; {:#?}", hardship.name, subject.kind, world.call_log()))
    });
    let mut failures: Vec<_> = join_all(lives).await.into_iter().flatten().collect();
    if world.vendor.faults().iter().all(|rule| rule.hit == 0) {
        failures.push(format!("{}: none of its faults hit anything", hardship.name));
    }
    failures
}

/// From the first version to the second, which alone stays, and to the end.
async fn next_version(world: &World, subject: &Subject, name: &str) -> Result<(), String> {
    let Subject { kind, action, .. } = subject;
    let first = subject::made(&world.vendor.ledger(), action);
    world.patch(kind, name, subject.next_version()).await;
    let alone = |object: &serde_json::Value| {
        let versions = object["status"]["versions"].as_array().cloned().unwrap_or_default();
        let [newest] = &versions[..] else { return false };
        harness::is_ready(object)
            && newest["imageId"] == object["status"]["imageId"]
            && first.iter().all(|id| newest["imageId"] != id.as_str())
    };
    world.until(kind, name, "the new version is alone", alone).await;
    let ledger = world.vendor.ledger();
    let made = subject::made(&ledger, action);
    let gone: Vec<_> = made.iter().filter(|id| subject::deleted(&ledger, id)).cloned().collect();
    if made.len() != 2 || gone != first {
        return Err(format!("the vendor made {made:?}, and of these {gone:?} are gone"));
    }
    world.delete(kind, name).await;
    world.until_gone(kind, name).await;
    let ledger = world.vendor.ledger();
    let left: Vec<_> = made.iter().filter(|id| !subject::deleted(&ledger, id)).collect();
    let all = subject::made(&ledger, action);
    if left.is_empty() && all == made { Ok(()) } else { Err(format!("{left:?} is left of {all:?}")) }
}

fn said(panic: &(dyn Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".into())
}

/// From applied to gone. `unknowable`: the reason with which it waits for a person instead of becoming Ready.
async fn live(
    world: &World,
    subject: &Subject,
    world_name: &str,
    unknowable: Option<&str>,
) -> Result<(), String> {
    let Subject { kind, action, .. } = subject;
    let name = &format!("{}-{world_name}", subject.name);
    match unknowable {
        None => drop(world.until_ready(kind, name).await),
        Some(reason) => {
            let stuck = |object: &serde_json::Value| {
                let stalled = harness::condition(object, "Stalled");
                stalled["status"] == "True" && stalled["reason"] == reason
            };
            world.until(kind, name, &format!("it is Stalled, {reason}"), stuck).await;
        }
    }
    let made = subject::made(&world.vendor.ledger(), action);
    if made.len() != 1 {
        return Err(format!("the vendor made {made:?}; {:#?}", world.call_log()));
    }
    world.delete(kind, name).await;
    world.until_gone(kind, name).await;
    let ledger = world.vendor.ledger();
    let left: Vec<_> =
        subject::made(&ledger, action).into_iter().filter(|id| !subject::deleted(&ledger, id)).collect();
    // What nobody has asked for, and everybody pays for.
    let mut snapshots = world.vendor.aliyun_ecs().snapshots();
    snapshots.retain(|snapshot| made.contains(&snapshot.image));
    if !snapshots.is_empty() {
        return Err(format!("{snapshots:?} are left at the vendor; {:#?}", world.call_log()));
    }
    if left.is_empty() == STAYS.contains(&kind.as_str()) {
        return Err(format!("{left:?} of {} is left at the vendor; {:#?}", subject.plural, world.call_log()));
    }
    Ok(())
}
