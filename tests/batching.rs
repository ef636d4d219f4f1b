//! Looks are shared: what waits for the vendor in one account looks at one moment, a hundred in a call. A binary of its
//! own, since other tests at its side would spread what is to be counted.

#[path = "harness/harness.rs"]
mod harness;

use futures::future::join_all;
use harness::{World, aosp_image};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const BUILD: &str = "BuildAOSPImage";
const LOOK: &str = "ListAOSPImage";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_pending_builds_share_six_calls_a_look() {
    const COUNT: usize = 500;
    let mut world = World::at_volcengine("batched").await;
    world.stop_operator().await;
    let limits = json!([{ "action": BUILD, "requests": 100_000, "period": "60s" }]);
    world.patch("CloudAccount", "default", json!({ "spec": { "limits": limits } })).await;
    world.beat = Duration::from_secs(6);
    world.start_operator().await;
    let names: Vec<_> = (0..COUNT).map(|number| format!("phone-{number}")).collect();
    join_all(names.iter().map(|name| world.create(aosp_image(name, json!({}))))).await;
    world.until_true("all are asked for", || world.effects(BUILD) == COUNT).await;

    // The least of some looks: on a machine that is busy with something else, riders come late to some.
    let mut fewest = usize::MAX;
    for _ in 0..4 {
        fewest = fewest.min(one_look(&world).await);
    }
    assert!(fewest <= COUNT / 100 + 1, "{fewest} calls for one look");
    // That look is over and the next one sees all at their end: so it is about all of them.
    world.vendor.advance(Duration::from_secs(300));
    let calls = one_look(&world).await;
    assert!(calls <= 4 * (COUNT / 100 + 1), "{calls} calls for one look");
    let looks = world.calls(LOOK);
    join_all(names.iter().map(|name| world.until_ready("AospImage", name))).await;
    assert_eq!(world.calls(LOOK), looks, "it needed no other look");
    assert_eq!(world.calls(BUILD), COUNT);
    let writes = world.writes("aospimages").len();
    assert!(writes <= 4 * COUNT, "{writes} writes");
}

/// Waits for the next look and its end, and tells how many calls it took.
async fn one_look(world: &World) -> usize {
    let quiet = world.beat / 3;
    let count = || world.vendor.count_calls(LOOK);
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
