//! Two hundred at once: what each costs the API server and the vendor is counted, from creation to deletion, and that nothing
//! happens at all in between.
//!
//! A count that rises fails here; `cargo xtask bench` says what that means in time, CPU and memory.

use crate::harness::{Requests, World, component};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use vendor_simulator::{Fault, FaultRule};

const KIND: &str = "ImageComponent";
const COUNT: usize = 200;

/// How long nothing may happen. Whatever comes at short intervals of the operator's own (the beat, the debounce, the first
/// retries) shows in this time; other tests run meanwhile.
const QUIET: Duration = Duration::from_secs(60);

/// What belongs to no object in particular: watches that begin anew, and looks at the CRDs and at the operator's own rights.
const STANDING: [&str; 6] =
    ["WATCH", "LIST", "customresourcedefinitions", "selfsubject", "leases", "namespaces"];

/// Requests for each object: what writes the objects, Events, and all else that has to do with them.
fn each(requests: &Requests) -> (usize, usize, usize) {
    let mut counted = (0, 0, 0);
    for (request, count) in requests.all() {
        match request.as_str() {
            "PATCH imagecomponents" | "PATCH imagecomponents/status" => counted.0 += count,
            "POST events" | "PATCH events" => counted.1 += count,
            standing if STANDING.iter().any(|word| standing.contains(word)) => {}
            _ => counted.2 += count,
        }
    }
    counted
}

/// A thousand that are looked at from time to time, by a vendor that is slow at it, and one after the other that is new. What each
/// layer does about that, `cargo test` shows with ten thousand and no clock: here all of them are together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, on a machine with nothing else to do"]
async fn a_resync_of_a_thousand_keeps_nothing_new_waiting() {
    const MANY: usize = 1000;
    let mut world = World::with_account("resync-many").await;
    // The thousand are all that the vendor's limit has room for in their minute.
    let limit = json!({ "action": "CreateImageComponent", "requests": 100_000, "period": "60s" });
    world.patch("CloudAccount", "default", json!({ "spec": { "limits": [limit] } })).await;
    world.start_operator().await;
    let names: Vec<_> = (0..MANY).map(|number| format!("component-{number}")).collect();
    let interval = json!({ "resyncInterval": "1m" });
    join_all(names.iter().map(|name| world.create(component(name, interval.clone())))).await;
    join_all(names.iter().map(|name| world.until_ready(KIND, name))).await;
    let slow = FaultRule::new(Fault::SlowAnswer { millis: 2_000 }).action("DescribeImageComponents");
    world.vendor.set_faults(vec![slow]);
    let (looks, began) = (world.calls("DescribeImageComponents"), Instant::now());
    let mut waited = vec![];
    // Each of the crowds in which they are looked at comes by.
    for number in 0..30 {
        let calls = world.calls("CreateImageComponent");
        world.create(component(&format!("new-{number}"), json!({}))).await;
        let created = Instant::now();
        world.until_true("it is asked for", || world.calls("CreateImageComponent") > calls).await;
        waited.push(created.elapsed());
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let (looks, minutes) =
        (world.calls("DescribeImageComponents") - looks, began.elapsed().as_secs_f64() / 60.0);
    println!("{looks} looks in {minutes:.1} minutes; the longest wait: {:?}", waited.iter().max());
    assert!(waited.iter().all(|waited| *waited <= Duration::from_secs(1)), "{waited:?}");
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let (looks, least) = (looks as f64, (MANY / 20) as f64 * minutes);
    assert!(looks >= least * 0.8 && looks <= least * 3.0, "{looks} calls in {minutes} minutes");
}

/// The intent and the answer that a pass writes come back by the watch: neither is a reason for another pass.
#[tokio::test]
async fn what_a_pass_writes_itself_begins_no_other() {
    const FEW: usize = 20;
    let world = World::with_account("echoes").await;
    let operator = world.start_program(None);
    let passes = |body: &str| -> usize {
        let counts = body.lines().filter(|line| {
            line.starts_with("cloud_image_operator_reconcile_duration_seconds_count") && line.contains(KIND)
        });
        counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
    };
    let quiet = || json!({ "resyncInterval": "0s" });
    // The first one waits for the account, which is held for it; each of the others comes when the one before is Ready, so that
    // none waits for its turn.
    let create = async |name: String| {
        world.create(component(&name, quiet())).await;
        world.until_ready(KIND, &name).await;
    };
    create("first".into()).await;
    let images = |account: &Value| account["status"]["images"] == 1;
    world.until("CloudAccount", "default", "it counts it", images).await;
    let before = passes(&operator.until("/metrics", "it serves", |_, body| passes(body) > 0).await);
    for number in 0..FEW {
        create(format!("component-{number}")).await;
    }
    let all = |_: u16, body: &str| passes(body) >= before + FEW;
    let after = passes(&operator.until("/metrics", "each pass has ended", all).await);
    assert_eq!(after - before, FEW, "one for each: {}", operator.log());

    // What somebody else writes is one.
    world.patch(KIND, "first", json!({ "metadata": { "annotations": { "mine": "1" } } })).await;
    let one_more = |_: u16, body: &str| passes(body) > after;
    operator.until("/metrics", "it was looked at", one_more).await;
}

#[tokio::test]
async fn two_hundred_at_once() {
    let mut world = World::with_account("scale").await;
    let names: Vec<_> = (0..COUNT).map(|number| format!("component-{number}")).collect();
    // Looks from time to time are what a user may do without; of two hundred, one every three minutes is due.
    let quiet = || json!({ "resyncInterval": "0s" });
    join_all(names.iter().map(|name| world.create(component(name, quiet())))).await;
    // All of them meet an account that the operator does not hold yet.
    let requests = world.start_counted_operator().await;
    join_all(names.iter().map(|name| world.until_ready(KIND, name))).await;
    world.until_true("all Events are written", || world.writes("events").len() >= COUNT).await;

    let ledger = world.vendor.ledger();
    assert_eq!(ledger.effects_of("CreateImageComponent").count(), COUNT);
    assert_eq!(ledger.calls_of("CreateImageComponent").count(), COUNT);
    assert_eq!(world.vendor.aliyun_ecs().count(), COUNT);
    let looks = ledger.calls_of("DescribeImageComponents").count();
    assert!(looks <= COUNT / 2, "{looks} listings");
    let (writes, events, others) = each(&requests);
    assert_eq!((writes, events), (2 * COUNT, COUNT), "{:#?}", requests.all());
    assert!(others <= COUNT / 20, "{others}: {:#?}", requests.all());

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
    let requests = world.start_counted_operator().await;
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

    // Of each it is asked whether it is the newest; it is deleted at the vendor once, and goes.
    let before = each(&requests);
    join_all(names.iter().map(|name| world.delete(KIND, name))).await;
    join_all(names.iter().map(|name| world.until_gone(KIND, name))).await;
    world.until_events("component-0", 2).await;
    let ledger = world.vendor.ledger();
    assert_eq!(ledger.effects_of("DeleteImageComponent").count(), COUNT);
    assert_eq!(ledger.calls_of("DeleteImageComponent").count(), COUNT);
    let (writes, events, others) = each(&requests);
    let all = requests.all();
    let others = others - before.2;
    assert!(writes - before.0 == COUNT && (COUNT..=COUNT + COUNT / 20).contains(&others), "{all:#?}");
    assert!(events - before.1 <= COUNT, "{events} Events: {all:#?}");
}
