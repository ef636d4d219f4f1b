//! Two hundred at once: each is made once, with few writes and calls, and then nothing happens at all.

use crate::harness::{World, component};
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;

const KIND: &str = "ImageComponent";
const COUNT: usize = 200;

/// How long nothing may happen. Whatever comes at short intervals of the operator's own (the beat, the debounce, the first
/// retries) shows in this time; other tests run meanwhile.
const QUIET: Duration = Duration::from_secs(60);

#[tokio::test]
async fn two_hundred_at_once() {
    let mut world = World::new("scale").await;
    let names: Vec<_> = (0..COUNT).map(|number| format!("component-{number}")).collect();
    // Looks from time to time are what a user may do without; of two hundred, one every three minutes is due.
    let quiet = || json!({ "resyncInterval": "0s" });
    join_all(names.iter().map(|name| world.create(component(name, quiet())))).await;
    join_all(names.iter().map(|name| world.until_ready(KIND, name))).await;
    world.until_true("all Events are written", || world.writes("events").len() >= COUNT).await;

    let ledger = world.vendor.ledger();
    assert_eq!(ledger.effects_of("CreateImageComponent").count(), COUNT);
    assert_eq!(ledger.calls_of("CreateImageComponent").count(), COUNT);
    assert_eq!(world.vendor.aliyun_ecs().count(), COUNT);
    let looks = ledger.calls_of("DescribeImageComponents").count();
    assert!(looks <= COUNT / 2, "{looks} listings");

    // Those of the users who created them are among them.
    let writes = world.all_writes("imagecomponents");
    assert!(writes.len() <= 3 * COUNT, "{} writes", writes.len());
    let events = world.writes("events").len();
    assert!(events <= COUNT, "{events} Events");

    // The account's count follows with a delay of its own.
    world
        .until("CloudAccount", "default", "it counts them all", |account| {
            account["status"]["images"] == COUNT
        })
        .await;
    let done = |world: &World| {
        (
            world.vendor.ledger().calls.len(),
            ["imagecomponents", "cloudaccounts", "events"].map(|resource| world.writes(resource).len()),
        )
    };
    let before = done(&world);
    tokio::time::sleep(QUIET).await;
    assert_eq!(done(&world), before, "calls; writes of images, accounts, Events");

    // A new process looks at each of them, and finds nothing to ask or to say.
    world.stop_operator().await;
    world.start_operator().await;
    world.create(component("one-more", quiet())).await;
    world.until_ready(KIND, "one-more").await;
    world.until_events("one-more", 1).await;
    world
        .until("CloudAccount", "default", "it counts one more", |account| {
            account["status"]["images"] == COUNT + 1
        })
        .await;
    let (calls, [images, _, events]) = done(&world);
    assert_eq!((calls - before.0, images - before.1[0], events - before.1[2]), (2, 2, 1));
}
