//! Looks are shared: what waits for the vendor in one account looks at one moment, a hundred in a call. A binary of its
//! own, since other tests at its side would spread what is to be counted.

#[path = "harness/harness.rs"]
mod harness;

use futures::future::join_all;
use harness::{World, aosp_image, component, image_export};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

/// Held by the test that runs, for the same reason.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A kind whose objects wait for the vendor.
struct Kind {
    name: &'static str,
    plural: &'static str,
    /// The call that makes one.
    create: &'static str,
    /// The call that looks at up to a hundred.
    look: &'static str,
    /// The call that looks at what up to a hundred need, where it is another.
    preflight: Option<&'static str>,
    object: fn(&str) -> Value,
}

const BUILDS: Kind = Kind {
    name: "AospImage",
    plural: "aospimages",
    create: "BuildAOSPImage",
    look: "ListAOSPImage",
    preflight: None,
    object: |name| aosp_image(name, json!({})),
};

/// Each of an image of its own, since those of one wait for each other.
const EXPORTS: Kind = Kind {
    name: "ImageExport",
    plural: "imageexports",
    create: "ExportImage",
    look: "DescribeTasks",
    preflight: Some("DescribeImages"),
    object: |name| image_export(name, &format!("image-{name}"), json!({})),
};

/// What is Ready is looked at from time to time: that writes nothing, changes nothing, and shares its calls.
#[tokio::test]
async fn a_resync_of_two_hundred_is_a_call_for_each_batch() {
    const KIND: &str = "ImageComponent";
    const COUNT: usize = 200;
    const BATCH: usize = 20;
    const INTERVAL: Duration = Duration::from_secs(60);
    let _alone = ALONE.lock().await;
    let world = World::new("resync").await;
    let names: Vec<_> = (0..COUNT).map(|number| format!("component-{number}")).collect();
    let interval = json!({ "resyncInterval": "1m" });
    join_all(names.iter().map(|name| world.create(component(name, interval.clone())))).await;
    join_all(names.iter().map(|name| world.until_ready(KIND, name))).await;
    world.until_true("all Events are written", || world.writes("events").len() >= COUNT).await;
    world
        .until("CloudAccount", "default", "it counts them all", |account| {
            account["status"]["images"] == COUNT
        })
        .await;
    let looks = || world.calls("DescribeImageComponents");
    let done = || {
        let writes =
            ["imagecomponents", "cloudaccounts", "events"].map(|resource| world.writes(resource).len());
        (world.vendor.ledger().calls.len() - looks(), writes)
    };
    let (before, looked) = (done(), looks());
    // Twice the interval: each is looked at twice.
    sleep(2 * INTERVAL).await;
    assert_eq!(done(), before, "calls that do not look; writes of images, accounts, Events");
    let looks = looks() - looked;
    let beats = usize::try_from(2 * INTERVAL.as_secs() / world.beat.as_secs()).expect("few");
    // A busy machine is late for some calls.
    let most = 2 * (2 * COUNT / BATCH + beats);
    assert!((2 * COUNT / BATCH..=most).contains(&looks), "{looks} calls, of {most} at most");
}

/// One kind after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_pending_objects_share_six_calls_a_look() {
    let _alone = ALONE.lock().await;
    for kind in [BUILDS, EXPORTS] {
        five_hundred_share_looks(&kind).await;
    }
}

async fn five_hundred_share_looks(kind: &Kind) {
    const COUNT: usize = 500;
    let mut world = World::at_volcengine(&format!("batched-{}", kind.plural)).await;
    world.stop_operator().await;
    let limits = json!([{ "action": kind.create, "requests": 100_000, "period": "60s" }]);
    world.patch("CloudAccount", "default", json!({ "spec": { "limits": limits } })).await;
    world.beat = Duration::from_secs(6);
    world.start_operator().await;
    let names: Vec<_> = (0..COUNT).map(|number| format!("many-{number}")).collect();
    join_all(names.iter().map(|name| world.create((kind.object)(name)))).await;
    world.until_true("all are asked for", || world.effects(kind.create) == COUNT).await;
    if let Some(preflight) = kind.preflight {
        let calls = world.calls(preflight);
        assert!(
            (COUNT / 100..=COUNT / 5).contains(&calls),
            "{calls} calls of {preflight} for {COUNT} objects"
        );
    }

    // The least of some looks: on a machine that is busy with something else, requests come late to some.
    let mut fewest = usize::MAX;
    for _ in 0..4 {
        fewest = fewest.min(one_look(&world, kind).await);
        if fewest <= COUNT / 100 + 1 {
            break;
        }
    }
    assert!(fewest <= COUNT / 100 + 1, "{fewest} calls of {} for one look", kind.look);
    // That look is over and the next one sees all at their end: so it is about all of them.
    let looks = world.calls(kind.look);
    world.vendor.advance(Duration::from_secs(300));
    join_all(names.iter().map(|name| world.until_ready(kind.name, name))).await;
    let calls = world.calls(kind.look) - looks;
    assert!(calls <= 4 * (COUNT / 100 + 1), "{calls} calls of {} until all are Ready", kind.look);
    assert_eq!(world.calls(kind.create), COUNT);
    let writes = world.writes(kind.plural).len();
    assert!(writes <= 4 * COUNT, "{writes} writes of {}", kind.plural);
    world.stop_operator().await;
}

/// Waits for the next look and its end, and tells how many calls it took.
async fn one_look(world: &World, kind: &Kind) -> usize {
    let quiet = world.beat / 3;
    let count = || world.vendor.count_calls(kind.look);
    let (mut before, mut since) = (count(), Instant::now());
    while since.elapsed() < quiet {
        sleep(Duration::from_millis(20)).await;
        if count() != before {
            (before, since) = (count(), Instant::now());
        }
    }
    world.until_true("the next look begins", || count() > before).await;
    let (mut last, mut since) = (count(), Instant::now());
    while since.elapsed() < quiet {
        sleep(Duration::from_millis(20)).await;
        if count() != last {
            (last, since) = (count(), Instant::now());
        }
    }
    last - before
}
