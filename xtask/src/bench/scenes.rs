//! What is measured, one scene after the other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::floor::{Floor, PLURAL};
use super::lab::{API, Lab, Span, stored};
use super::report::Report;
use super::watch::Watch;
use super::{Options, Part, quota};
use crate::error::{Error, Result};

/// The operator's objects of which builds take a while.
const BUILDS: &str = "aospimages";

/// How long after the last thing that happened memory is looked at: allocators give it back with a delay.
const SETTLED: Duration = Duration::from_secs(10);

/// How far apart the operator's looks at builds are.
const BEAT: f64 = 15.0;

/// How many builds a look can take at once.
const BATCH: f64 = 100.0;

/// Adds to the report what is measured, so that it is there even if something fails later.
pub(super) async fn run(options: &Options, report: &mut Report) -> Result<()> {
    report.step("a control plane, simulated vendors");
    let mut lab = Lab::start(options).await?;
    let example = first(&mut lab, report).await?;
    let floor = Floor::new(&lab, example, options.floor)?;
    let compares =
        [Part::Create, Part::Crowd, Part::Rest, Part::Floor].into_iter().any(|part| options.has(part));
    let mut floors = None;
    if compares {
        let (floor, count) = (&floor, options.count(1000));
        let mut all = self::floors(&mut lab, report, floor, ("before", count)).await?;
        if options.has(Part::Create) {
            // The API server takes more for the same as it gets older, so that a floor is measured on both sides of the operator.
            let mut before = all.clone();
            for (events, label) in [("all", "with Events"), ("warnings", "without Events")] {
                let spans = creations(&mut lab, report, (events, label), count).await?;
                let after = self::floors(&mut lab, report, floor, (events, count)).await?;
                let around = before.and(&after);
                for (what, how, span, least) in [
                    ("create", "cold, ", &spans.cold, &around.cold),
                    ("delete", "", &spans.delete, &around.delete),
                    ("create", "burst, ", &spans.burst, &around.burst),
                ] {
                    let what = format!("{what} {count}, {how}{label}");
                    shown(report, &what, count, span, (least, around.count));
                }
                all = all.and(&after);
                before = after;
            }
        }
        if options.names(Part::Floor) {
            let many = self::floors(&mut lab, report, floor, ("many", options.count(5000))).await?;
            grown(report, &many, &all);
            all = many;
        }
        if options.has(Part::Crowd) {
            crowd(&mut lab, report, &all, options.count(5000)).await?;
        }
        floors = Some(all);
    }
    if options.has(Part::Builds) {
        for (count, rests) in [(1000, false), (5000, true)] {
            builds(&mut lab, options, report, (options.count(count), rests)).await?;
        }
    }
    if options.has(Part::Accounts) {
        accounts(&mut lab, report, options.count(5000)).await?;
    }
    // The last of all, since it takes a minute until all that it leaves is gone.
    if let Some(floors) = floors.filter(|_| options.has(Part::Rest)) {
        rest(&mut lab, options, report, (&floor, &floors)).await?;
    }
    // That waits for whole minutes of a vendor's: for so long as all else takes.
    if options.names(Part::Quota) {
        quota::run(&mut lab, options, report).await?;
    }
    Ok(())
}

/// Memory with nothing to do, and the first object, which is an example to the floor.
async fn first(lab: &mut Lab, report: &mut Report) -> Result<Value> {
    report.step("an operator with nothing to do");
    lab.start_operator("all")?;
    lab.pause(SETTLED).await?;
    memory(lab, report, "no objects");
    lab.namespace("example").await?;
    let watch = Watch::start(&lab.client, "example", PLURAL);
    lab.create("example", PLURAL, &objects(lab, "example", "component", 1)?).await?;
    lab.until("the first object is Ready", || watch.ready() == 1).await?;
    let example =
        lab.send("GET", &format!("{API}/namespaces/example/{PLURAL}/component-0"), &Value::Null).await?;
    lab.stop_operator()?;
    Ok(example)
}

/// Manifests of so many objects.
pub(super) fn objects(lab: &Lab, namespace: &str, name: &str, count: usize) -> Result<Vec<Value>> {
    let file = match name {
        "component" => "imagecomponents/imagecomponents.yaml",
        _ => "aospimages/aospimages.yaml",
    };
    let sample = lab.samples(file)?.pop();
    let sample = sample.ok_or_else(|| Error::Failed(format!("{file} has no object")))?;
    let one = |number: usize| {
        let mut object = sample.clone();
        object["metadata"] = json!({ "namespace": namespace, "name": format!("{name}-{number}") });
        let parameter = if name == "component" { "name" } else { "imageName" };
        object["spec"]["forProvider"][parameter] = json!(format!("{namespace}-{number}"));
        object
    };
    Ok((0..count).map(one).collect())
}

fn names(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number}")).collect()
}

/// What so many objects cost, each way.
#[derive(Clone)]
struct Spans {
    count: usize,
    cold: Span,
    delete: Span,
    burst: Span,
}

impl Spans {
    /// Both together, of which each is a half.
    fn and(self, other: &Self) -> Self {
        Self {
            count: self.count + other.count,
            cold: self.cold.and(&other.cold),
            delete: self.delete.and(&other.delete),
            burst: self.burst.and(&other.burst),
        }
    }
}

/// What so many objects cost at least. `name` tells this time from others.
async fn floors(
    lab: &mut Lab,
    report: &Report,
    floor: &Floor,
    (name, count): (&str, usize),
) -> Result<Spans> {
    report.step(&format!("the floor with {count} objects"));
    let namespace = format!("floor-cold-{name}");
    lab.namespace(&namespace).await?;
    let watch = Watch::start(&lab.client, &namespace, PLURAL);
    let there = lab.create(&namespace, PLURAL, &objects(lab, &namespace, "component", count)?).await?;
    let before = lab.read().await?;
    let made = floor.fulfil(lab, there).await?;
    lab.until("all are Ready", || watch.ready() == count).await?;
    let cold = lab.since(&before).await?;
    let before = lab.read().await?;
    floor.delete(lab, made).await?;
    lab.until("all are gone", || watch.left() == 0).await?;
    let delete = lab.since(&before).await?;
    let namespace = format!("floor-burst-{name}");
    lab.namespace(&namespace).await?;
    let watch = Watch::start(&lab.client, &namespace, PLURAL);
    let before = lab.read().await?;
    floor.create(lab, &namespace, &objects(lab, &namespace, "component", count)?).await?;
    lab.until("all are Ready", || watch.ready() == count).await?;
    let burst = lab.since(&before).await?;
    cleared(lab, &watch, &namespace).await?;
    Ok(Spans { count, cold, delete, burst })
}

/// Whether each of many costs the floor what each of fewer did.
fn grown(report: &mut Report, many: &Spans, few: &Spans) {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let each = |seconds: f64, floors: &Spans| seconds * 1e3 / floors.count as f64;
    for (what, span, least) in [
        ("create, cold", &many.cold, &few.cold),
        ("create, burst", &many.burst, &few.burst),
        ("delete", &many.delete, &few.delete),
    ] {
        let what = format!("the floor with {}, {what}", many.count);
        let [time, before] = [each(span.seconds, many), each(least.seconds, few)];
        report.add(format!("{what}: time, each; with {}", few.count), "ms", time, Some(before));
        let [cpu, before] =
            [each(span.api_server_cpu_seconds, many), each(least.api_server_cpu_seconds, few)];
        report.add("  CPU of the API server, each", "ms", cpu, Some(before));
        report.detail(&what, span);
    }
}

/// Takes away what was measured, without an operator, which has done so before, or does it elsewhere.
async fn cleared(lab: &mut Lab, watch: &Watch, namespace: &str) -> Result<()> {
    lab.stop_operator()?;
    lab.store.clear(&stored(PLURAL), namespace).await?;
    lab.until("all are gone", || watch.left() == 0).await
}

/// The operator with a setting of `--events`.
async fn creations(
    lab: &mut Lab,
    report: &Report,
    (events, label): (&str, &str),
    count: usize,
) -> Result<Spans> {
    let namespace = format!("cold-{events}");
    lab.namespace(&namespace).await?;
    let watch = Watch::start(&lab.client, &namespace, PLURAL);
    lab.create(&namespace, PLURAL, &objects(lab, &namespace, "component", count)?).await?;
    report.step(&format!("a cold start with {count} objects, {label}"));
    let before = lab.read().await?;
    lab.start_operator(events)?;
    lab.until("all are Ready", || watch.ready() == count).await?;
    let cold = lab.since(&before).await?;

    report.step(&format!("deleting {count} objects, {label}"));
    let before = lab.read().await?;
    lab.delete(&namespace, PLURAL, &names("component", count)).await?;
    lab.until("all are gone", || watch.left() == 0).await?;
    let delete = lab.since(&before).await?;

    report.step(&format!("a burst of {count} objects, {label}"));
    let namespace = format!("burst-{events}");
    lab.namespace(&namespace).await?;
    let watch = Watch::start(&lab.client, &namespace, PLURAL);
    let before = lab.read().await?;
    lab.create(&namespace, PLURAL, &objects(lab, &namespace, "component", count)?).await?;
    lab.until("all are Ready", || watch.ready() == count).await?;
    let burst = lab.since(&before).await?;
    cleared(lab, &watch, &namespace).await?;
    Ok(Spans { count, cold, delete, burst })
}

/// A cold start with many more: what was measured with a thousand must not grow with their number.
async fn crowd(lab: &mut Lab, report: &mut Report, floors: &Spans, count: usize) -> Result<()> {
    let (namespace, label) = ("crowd", "without Events");
    lab.namespace(namespace).await?;
    let watch = Watch::start(&lab.client, namespace, PLURAL);
    lab.create(namespace, PLURAL, &objects(lab, namespace, "component", count)?).await?;
    report.step(&format!("a cold start with {count} objects, {label}"));
    let before = lab.read().await?;
    lab.start_operator("warnings")?;
    lab.until("all are Ready", || watch.ready() == count).await?;
    let span = lab.since(&before).await?;
    shown(report, &format!("create {count}, cold, {label}"), count, &span, (&floors.cold, floors.count));
    cleared(lab, &watch, namespace).await
}

/// What so many objects cost, beside the floor, which was measured with so many.
fn shown(report: &mut Report, what: &str, count: usize, span: &Span, (floor, of): (&Span, usize)) {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let (each, floors_each) = (|total: f64| total / count as f64, |total: f64| total / of as f64);
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let whole = |number: u64| number as f64;
    let least = floors_each(floor.seconds) / each(1.0);
    report.add(format!("{what}: time"), "s", span.seconds, Some(least));
    report.add(
        "  CPU of the API server, each",
        "ms",
        each(span.api_server_cpu_seconds * 1e3),
        Some(floors_each(floor.api_server_cpu_seconds * 1e3)),
    );
    report.add(
        "  CPU of the operator, each; of the floor",
        "ms",
        each(span.operator_cpu_seconds * 1e3),
        Some(floors_each(floor.client_cpu_seconds * 1e3)),
    );
    let [writes, events, others] = split(span);
    let floor_writes = floors_each(whole(split(floor)[0]));
    report.add("  object writes, each", "", each(whole(writes)), Some(floor_writes));
    report.add("  Events, each", "", each(whole(events)), None);
    report.add("  other requests, each", "", each(whole(others)), None);
    let calls = |span: &Span, reads: bool| {
        let calls = span.vendor_calls.iter().filter(|(action, _)| is_read(action) == reads);
        whole(calls.map(|(_, count)| count).sum())
    };
    let floor_calls = floors_each(calls(floor, false));
    report.add("  vendor calls that make or delete, each", "", each(calls(span, false)), Some(floor_calls));
    report.add("  vendor calls that look, each", "", each(calls(span, true)), None);
    report.detail(what, json!({ "operator": span, "floor": floor, "objects": count, "objectsOfFloor": of }));
}

/// Whether a vendor's action, written `service/action`, changes nothing.
fn is_read(action: &str) -> bool {
    let action = action.rsplit('/').next().unwrap_or_default();
    ["Describe", "List", "Get", "Query"].iter().any(|verb| action.starts_with(verb))
}

/// Writes of objects, Events, all else; but for what the user asks for.
fn split(span: &Span) -> [u64; 3] {
    let mut counted = [0; 3];
    for (request, count) in &span.requests {
        let (verb, resource) = request.split_once(' ').unwrap_or_default();
        let is_image = resource.starts_with(PLURAL) || resource.starts_with(BUILDS);
        match (verb, is_image) {
            ("POST" | "DELETE", true) => {}
            ("PUT" | "PATCH", true) => counted[0] += count,
            _ if resource == "events" => counted[1] += count,
            _ => counted[2] += count,
        }
    }
    counted
}

fn memory(lab: &Lab, report: &mut Report, what: &str) {
    if let Some((now, most)) = lab.operator_memory() {
        report.add(format!("memory: {what}"), "MiB", now, None);
        report.add(format!("memory: {what}, at its height"), "MiB", most, None);
    }
}

/// More and more objects that are Ready; then nothing; then a restart.
async fn rest(
    lab: &mut Lab,
    options: &Options,
    report: &mut Report,
    (floor, floors): (&Floor, &Spans),
) -> Result<()> {
    lab.start_operator("warnings")?;
    lab.namespace("rest").await?;
    let watch = Watch::start(&lab.client, "rest", PLURAL);
    let [first, burst, all] = [1000, 5000, 10_000].map(|count| options.count(count));
    report.step(&format!("{first} objects at rest"));
    lab.create("rest", PLURAL, &objects(lab, "rest", "component", first)?).await?;
    lab.until("all are Ready", || watch.ready() == first).await?;
    lab.pause(SETTLED).await?;
    memory(lab, report, &format!("{first} Ready"));

    report.step(&format!("a burst of {burst} objects, without Events"));
    let (more, before) =
        (objects(lab, "rest", "component", first + burst)?.split_off(first), lab.read().await?);
    lab.create("rest", PLURAL, &more).await?;
    lab.until("all are Ready", || watch.ready() == first + burst).await?;
    let span = lab.since(&before).await?;
    let what = format!("create {burst}, burst, without Events");
    shown(report, &what, burst, &span, (&floors.burst, floors.count));

    // The rest as the operator would have left them: how many are created was measured.
    report.step(&format!("{all} objects at rest"));
    let there = all;
    floor.restore(lab, objects(lab, "rest", "component", all)?.split_off(first + burst)).await?;
    lab.until("all are Ready", || watch.ready() == all).await?;
    lab.pause(SETTLED).await?;
    memory(lab, report, &format!("{all} Ready"));
    report.step("nothing happens");
    let before = lab.read().await?;
    lab.pause(options.rest()).await?;
    let span = lab.since(&before).await?;
    let writes: u64 =
        span.requests.iter().filter(|(request, _)| !is_watch(request)).map(|(_, count)| count).sum();
    let calls: u64 = span.vendor_calls.values().sum();
    let minutes = span.seconds / 60.0;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    {
        report.add(format!("{there} at rest: API requests a minute"), "", writes as f64 / minutes, None);
        report.add(format!("{there} at rest: vendor calls a minute"), "", calls as f64 / minutes, None);
    }
    report.add(
        format!("{there} at rest: CPU of the operator a minute"),
        "s",
        span.operator_cpu_seconds / minutes,
        None,
    );
    report.detail("at rest", &span);
    memory(lab, report, &format!("{there} Ready, after a rest"));

    report.step("a restart");
    lab.stop_operator()?;
    let before = lab.read().await?;
    lab.start_operator("warnings")?;
    // One more object shows when all others have been looked at.
    let one = objects(lab, "rest", "component", there + 1)?.split_off(there);
    lab.create("rest", PLURAL, &one).await?;
    lab.until("the new object is Ready", || watch.ready() == there + 1).await?;
    let span = lab.since(&before).await?;
    report.add(format!("restart with {there} Ready: until a new one is Ready"), "s", span.seconds, None);
    lab.pause(SETTLED).await?;
    let span = lab.since(&before).await?;
    let calls: u64 = span.vendor_calls.values().sum();
    let writes = split(&span)[0];
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    {
        report.add(format!("restart with {there} Ready: vendor calls"), "", calls as f64, None);
        report.add(format!("restart with {there} Ready: object writes"), "", writes as f64, None);
    }
    report.add(
        format!("restart with {there} Ready: CPU of the operator"),
        "s",
        span.operator_cpu_seconds,
        None,
    );
    report.detail("restart", &span);
    memory(lab, report, &format!("{there} Ready, after a restart"));
    lab.stop_operator()?;

    let many = options.count(50_000);
    report.step(&format!("{many} objects at rest"));
    floor.restore(lab, objects(lab, "rest", "component", many)?.split_off(there + 1)).await?;
    lab.until("all are Ready", || watch.ready() == many).await?;
    let before = lab.read().await?;
    lab.start_operator("warnings")?;
    let one = objects(lab, "rest", "component", many + 1)?.split_off(many);
    lab.create("rest", PLURAL, &one).await?;
    lab.until("the new object is Ready", || watch.ready() == many + 1).await?;
    let span = lab.since(&before).await?;
    report.add(format!("restart with {many} Ready: until a new one is Ready"), "s", span.seconds, None);
    report.detail(&format!("restart with {many}"), &span);
    lab.pause(SETTLED).await?;
    memory(lab, report, &format!("{many} Ready, after a restart"));
    if options.names(Part::Quota) { cleared(lab, &watch, "rest").await } else { lab.stop_operator() }
}

/// Many accounts that the operator meets when it starts.
async fn accounts(lab: &mut Lab, report: &mut Report, count: usize) -> Result<()> {
    report.step(&format!("{count} accounts"));
    lab.empty_namespace("accounts").await?;
    let watch = Watch::start(&lab.client, "accounts", "cloudaccounts");
    lab.accounts("accounts", count).await?;
    let before = lab.read().await?;
    lab.start_operator("warnings")?;
    lab.until("all are usable", || watch.ready() == count).await?;
    let span = lab.since(&before).await?;
    report.add(format!("{count} accounts: until all are usable"), "s", span.seconds, None);
    report.add(format!("{count} accounts: CPU of the operator"), "s", span.operator_cpu_seconds, None);
    report.detail("accounts", &span);
    lab.pause(SETTLED).await?;
    memory(lab, report, &format!("{count} accounts"));
    lab.stop_operator()?;
    for resource in [&*stored("cloudaccounts"), "secrets"] {
        lab.store.clear(resource, "accounts").await?;
    }
    lab.until("all are gone", || watch.left() == 0).await
}

/// Watches are counted when they end, which they do every few minutes by themselves.
fn is_watch(request: &str) -> bool {
    request.starts_with("WATCH ") || request.starts_with("LIST ")
}

/// Builds that all end at one moment; before that, they are waited for in peace for two minutes, if `rests`.
async fn builds(
    lab: &mut Lab,
    options: &Options,
    report: &mut Report,
    (count, rests): (usize, bool),
) -> Result<()> {
    let namespace = format!("builds-{count}");
    report.step(&format!("{count} builds under way"));
    lab.admin("clock", &json!({ "speed": 0.0 })).await?;
    lab.namespace(&namespace).await?;
    let watch = Watch::start(&lab.client, &namespace, BUILDS);
    let new = objects(lab, &namespace, "image", count)?.into_iter().map(|it| lab.store.new_object(it));
    lab.store.put(&stored(BUILDS), &new.collect::<Vec<_>>()).await?;
    lab.start_operator("warnings")?;
    lab.until("all are under way", || watch.building() == count).await?;
    lab.pause(SETTLED).await?;
    memory(lab, report, &format!("{count} builds under way"));
    if rests {
        builds_wait(lab, options, report, count).await?;
    }

    report.step("all builds end");
    let before = lab.read().await?;
    let end = Instant::now();
    lab.admin("clock", &json!({ "advanceSeconds": 36_000.0, "speed": 1.0 })).await?;
    lab.until("all are Ready", || watch.ready() == count).await?;
    let span = lab.since(&before).await?;
    let after = watch.ready_after(end);
    let at = |part: usize| {
        after.get((after.len() * part / 100).min(after.len() - 1)).map_or(0.0, Duration::as_secs_f64)
    };
    report.add(format!("{count} builds end at once: Ready after, median"), "s", at(50), None);
    report.add(format!("{count} builds end at once: Ready after, 99th of 100"), "s", at(99), None);
    report.add(format!("{count} builds end at once: Ready after, last"), "s", at(100), None);
    report.detail(&format!("{count} builds end"), &span);
    lab.stop_operator()?;
    lab.store.clear(&stored(BUILDS), &namespace).await?;
    lab.until("all are gone", || watch.left() == 0).await
}

async fn builds_wait(lab: &mut Lab, options: &Options, report: &mut Report, count: usize) -> Result<()> {
    let before = lab.read().await?;
    lab.pause(options.rest()).await?;
    let span = lab.since(&before).await?;
    let calls: u64 = span.vendor_calls.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let (calls, least) = (calls as f64 / span.seconds * BEAT, (count as f64 / BATCH).ceil());
    report.add(format!("{count} builds: vendor calls a beat"), "", calls, Some(least));
    report.add(
        format!("{count} builds: CPU of the operator a minute"),
        "s",
        span.operator_cpu_seconds * 60.0 / span.seconds,
        None,
    );
    let writes = split(&span)[0];
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    report.add(
        format!("{count} builds: object writes a minute"),
        "",
        writes as f64 * 60.0 / span.seconds,
        None,
    );
    report.detail(&format!("{count} builds under way"), &span);
    Ok(())
}
