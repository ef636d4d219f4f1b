//! A leader that is stopped where it is, for longer than its lease, with calls under way for objects of all kinds: the next one
//! takes over in time, and when the former one wakes, nothing happens twice. And two that lead at once.

use crate::{
    harness::{PATIENCE, Program, World, is_ready},
    subject::{self, Subject},
};
use cloud_image_operator::kinds::KINDS;
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use vendor_simulator::{Fault, FaultRule};

/// As the manifests start it, another replica leads within this.
const TAKEOVER: Duration = Duration::from_secs(20);

/// What the objects of each kind are called.
const NAMES: [&str; 3] = ["one", "two", "three"];

/// Who holds the Lease, which is in the namespace that the operator's kubeconfig names: other tests have theirs elsewhere.
async fn holder(world: &World) -> Option<String> {
    const NAME: &str = "cloud-image-operator";
    let leases = Api::<Lease>::namespaced(world.client.clone(), NAME);
    leases.get_opt(NAME).await.expect("the API server answers")?.spec?.holder_identity
}

/// `from`: who is to take over, if that is one.
async fn until_another_leads(world: &World, than: Option<&str>, from: Option<&Program>) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(holder) = holder(world).await.filter(|holder| Some(&**holder) != than) {
            return holder;
        }
        let log = || from.map(Program::log).unwrap_or_default();
        assert!(Instant::now() < end, "in vain waited for another one than {than:?} to lead; {}", log());
        sleep(Duration::from_millis(50)).await;
    }
}

/// Objects of each kind, whose creating calls take effect at once and are answered late.
async fn apply(world: &World, subjects: &[Subject], late: Duration) {
    let millis = u64::try_from(late.as_millis()).expect("a few seconds");
    let slow = |subject: &Subject| FaultRule::new(Fault::SlowAnswer { millis }).action(subject.action);
    world.vendor.set_faults(subjects.iter().map(slow).collect());
    for subject in subjects {
        for (number, name) in NAMES.iter().enumerate() {
            for mut object in subject.documents_at(world.vendor.addresses(), name, number) {
                // What the vendor has under a name, it has once.
                if object["kind"] == subject.kind.as_str() {
                    for field in [
                        "name",
                        "imageName",
                        "ecsImageId",
                        "rootVolumeUuid",
                        "imagePipelineId",
                        "destinationImageName",
                    ] {
                        rename(&mut object["spec"]["forProvider"][field], field, number);
                    }
                }
                let applied = world.try_create(object).await;
                let shared = applied.as_ref().err().is_none_or(|error| error.contains("already exists"));
                assert!(shared, "{applied:?}");
            }
        }
    }
}

fn rename(value: &mut Value, field: &str, number: usize) {
    let Some(text) = value.as_str() else { return };
    *value = match field {
        // A uuid keeps its length.
        "rootVolumeUuid" => json!(format!("{}{number}", &text[..text.len() - 1])),
        _ => json!(format!("{text}{number}")),
    };
}

async fn until_all_are_ready(world: &World, subjects: &[Subject]) {
    let all = subjects.iter().flat_map(|subject| NAMES.map(|name| (subject, name)));
    join_all(all.map(async |(subject, name)| {
        world.until_ready(&subject.kind, &format!("{}-{name}", subject.name)).await;
    }))
    .await;
}

fn assert_each_is_made_once(world: &World, subjects: &[Subject]) {
    for subject in subjects {
        let made = subject::made(&world.vendor.ledger(), subject.action);
        assert_eq!(made.len(), NAMES.len(), "{}: {made:?}", subject.kind);
    }
}

async fn delete_all(world: &World, subjects: &[Subject]) {
    let all = subjects.iter().flat_map(|subject| NAMES.map(|name| (subject, name)));
    join_all(all.map(async |(subject, name)| {
        let name = format!("{}-{name}", subject.name);
        world.delete(&subject.kind, &name).await;
        world.until_gone(&subject.kind, &name).await;
    }))
    .await;
    let ledger = world.vendor.ledger();
    for subject in subjects.iter().filter(|subject| subject.kind != "ImageExport") {
        let made = subject::made(&ledger, subject.action);
        let left: Vec<_> = made.iter().filter(|id| !subject::deleted(&ledger, id)).collect();
        assert!(left.is_empty(), "{}: {left:?}", subject.kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leads_and_falls_asleep_does_nothing_twice_when_it_wakes() {
    let world = World::empty("falls-asleep").await;
    world.quicken();
    let subjects = subject::all(KINDS);
    let start = |grace| world.start_program_with(&["--leader-elect"], grace);
    let first = start(None);
    let former = until_another_leads(&world, None, Some(&first)).await;
    let second = start(Some(Duration::from_secs(20)));
    apply(&world, &subjects, Duration::from_secs(8)).await;
    let calls = || subjects.iter().map(|subject| world.calls(subject.action)).sum::<usize>();
    world.until_true("calls are under way", || calls() >= 2 * subjects.len()).await;
    first.pause();
    let asleep = Instant::now();
    let next = until_another_leads(&world, Some(&former), Some(&second)).await;
    let took = asleep.elapsed();
    assert!(took < TAKEOVER, "{took:?}");
    world.vendor.set_faults(vec![]);
    until_all_are_ready(&world, &subjects).await;
    assert_each_is_made_once(&world, &subjects);

    let effects = world.vendor.ledger().effect_counts();
    first.go_on();
    world.until_true("it stands by", || first.log().contains("this replica stands by")).await;
    first
        .until("/readyz", "it could lead again", |status, body| status == 200 && body.contains("stands by"))
        .await;
    for subject in &subjects {
        for name in NAMES {
            let object = world.get(&subject.kind, &format!("{}-{name}", subject.name)).await;
            assert!(object.as_ref().is_some_and(is_ready), "{object:#?}");
        }
    }
    assert_eq!(world.vendor.ledger().effect_counts(), effects);

    // The lease is given back, so that the other one need not wait until it runs out.
    let (code, log) = second.stop().await;
    let ended = Instant::now();
    assert_eq!(code, Some(0), "{log}");
    until_another_leads(&world, Some(&next), Some(&first)).await;
    let took = ended.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    delete_all(&world, &subjects).await;
    drop(first);
}

/// As in a rolling update without leader election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_lead_at_once_make_one_thing_each() {
    let world = World::empty("two-lead").await;
    world.quicken();
    let subjects = subject::all(KINDS);
    let both: [Program; 2] = [(); 2].map(|()| world.start_program(None));
    apply(&world, &subjects, Duration::from_millis(500)).await;
    until_all_are_ready(&world, &subjects).await;
    assert_each_is_made_once(&world, &subjects);
    delete_all(&world, &subjects).await;
    drop(both);
}
