//! Exports of images: percent while they run, one at a time for each image, and every end that a task can come to.

use crate::harness::{World, aosp_image, condition, image_export};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{
    ClockChange, Fault, FaultRule, Outcome, When, Work,
    volcengine::{ecs::EcsImage, exports::Task},
};

const KIND: &str = "ImageExport";
const CREATE: &str = "ExportImage";
const LOOK: &str = "DescribeTasks";
const IMAGE: &str = "image-44";
const MINUTE: Duration = Duration::from_secs(60);

/// Waits until an export runs, and gives its task's id.
async fn until_running(world: &World, name: &str) -> String {
    let runs = |object: &Value| object["status"]["phase"] == "Building";
    let object = world.until(KIND, name, "it is Building", runs).await;
    object["status"]["taskId"].as_str().expect("a task id").to_owned()
}

/// Waits until the operator has looked once more.
async fn until_looked(world: &World) {
    let before = world.calls(LOOK);
    // The first of two may have been under way already.
    world.until_true("it has been looked at", || world.calls(LOOK) >= before + 2).await;
}

fn task(world: &World, id: &str) -> Task {
    let mut tasks = world.vendor.volcengine().tasks();
    tasks.retain(|task| task.id == id);
    tasks.pop().expect("the task")
}

#[tokio::test]
async fn an_export_shows_how_far_it_is_with_few_writes() {
    let world = World::at_volcengine("export").await;
    world.create(image_export("base", IMAGE, json!({}))).await;
    let id = until_running(&world, "base").await;
    let mut seen = vec![];
    for _ in 0..12 {
        world.vendor.advance(Duration::from_secs(5));
        until_looked(&world).await;
        let object = world.get(KIND, "base").await.expect("it is there");
        seen.push(object["status"]["progress"].as_i64().unwrap_or_default());
    }
    world.vendor.advance(Duration::from_secs(5));
    let base = world.until_ready(KIND, "base").await;
    seen.dedup();
    assert!(seen.is_sorted() && seen.len() >= 4, "{seen:?}");
    let status = &base["status"];
    assert_eq!((&status["taskId"], &status["progress"]), (&json!(id), &json!(100)));
    assert_eq!(status["artifact"], "tos://bucket-1/test123_image-44_system.qcow2");
    assert_eq!(status["atProvider"]["status"], "Succeeded");
    assert_eq!(
        world.vendor.volcengine().exported_objects(),
        ["tos://bucket-1/test123_image-44_system.qcow2"]
    );
    let writes = world.writes("imageexports");
    // Two to ask, one for each step of ten points, and the last.
    assert!(writes.len() <= 2 + 9 + 1, "{writes:#?}");

    let calls = world.vendor.ledger().calls.len();
    world.delete(KIND, "base").await;
    world.until_gone(KIND, "base").await;
    assert_eq!(world.vendor.ledger().calls.len(), calls, "there is nothing to delete");
    assert_eq!(world.vendor.volcengine().exported_objects().len(), 1, "the file is the user's");
    assert_eq!(world.effects(CREATE), 1);
}

#[tokio::test]
async fn percent_is_read_as_text_too() {
    let world = World::at_volcengine("export-text").await;
    world.vendor.configure(|settings| settings.volcengine.process_as_text = true);
    world.create(image_export("base", IMAGE, json!({}))).await;
    until_running(&world, "base").await;
    world.vendor.advance(Duration::from_secs(35));
    world.until(KIND, "base", "half of it is done", |object| object["status"]["progress"] == 50).await;
}

#[tokio::test]
async fn exports_of_one_image_wait_for_each_other_whoever_runs_the_operator() {
    let mut world = World::at_volcengine("export-turns").await;
    // The vendor is not the one who keeps them apart.
    world.vendor.configure(|settings| settings.volcengine.lock_while_exporting = false);
    world.create(image_export("first", IMAGE, json!({}))).await;
    until_running(&world, "first").await;
    world.create(image_export("second", IMAGE, json!({}))).await;
    let message = world.until_condition(KIND, "second", "Reconciling", "True", "WaitsForOther").await;
    assert!(message.contains("ImageExport export-turns/first") && message.contains(IMAGE), "{message}");

    world.stop_operator().await;
    world.start_operator().await;
    world.create(image_export("third", IMAGE, json!({}))).await;
    world.until_condition(KIND, "third", "Reconciling", "True", "WaitsForOther").await;
    until_looked(&world).await;
    assert_eq!(world.effects(CREATE), 1);

    world.run(60.0);
    for name in ["first", "second", "third"] {
        world.until_ready(KIND, name).await;
    }
    assert_eq!(world.effects(CREATE), 3);
    assert_eq!(world.vendor.volcengine().overlapping_exports(), []);
}

#[tokio::test]
async fn an_image_that_something_else_has_locked_is_waited_for() {
    let world = World::at_volcengine("export-locked").await;
    let image = |locked| EcsImage { id: IMAGE.into(), locked, ..EcsImage::default() };
    world.vendor.volcengine().seed_image(image(true));
    world.create(image_export("base", IMAGE, json!({}))).await;
    let message = world.until_condition(KIND, "base", "Reconciling", "True", "VendorBusy").await;
    assert!(
        message.contains("OperationDenied.ResourceLocked") && message.contains("request id"),
        "{message}"
    );
    world.vendor.volcengine().seed_image(image(false));
    until_running(&world, "base").await;
    world.vendor.advance(2 * MINUTE);
    world.until_ready(KIND, "base").await;
    assert_eq!(world.effects(CREATE), 1);
}

/// A lock says nothing about whose it is: what ended before is not taken for what this attempt made.
#[tokio::test]
async fn a_lock_at_a_later_attempt_is_waited_for_too() {
    let world = World::at_volcengine("export-locked-later").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::FailBuild).action(CREATE).when(When::first(1))]);
    world.create(image_export("base", IMAGE, json!({}))).await;
    let first = until_running(&world, "base").await;
    world.vendor.advance(2 * MINUTE);
    world.until_condition(KIND, "base", "Stalled", "True", "ExportFailed").await;
    // Somebody else's, which no object holds.
    world.vendor.volcengine().seed_task(Task { resource_id: IMAGE.into(), ..Task::default() });
    let image = |locked| EcsImage { id: IMAGE.into(), locked, ..EcsImage::default() };
    world.vendor.volcengine().seed_image(image(true));
    world.request(KIND, "base", "again").await;
    world.until_condition(KIND, "base", "Reconciling", "True", "VendorBusy").await;

    world.vendor.volcengine().seed_image(image(false));
    let second = until_running(&world, "base").await;
    assert_ne!(second, first);
    assert_eq!(task(&world, &second).prefix, "test123");
    world.vendor.advance(2 * MINUTE);
    world.until_ready(KIND, "base").await;
    assert_eq!(world.effects(CREATE), 2);
}

/// Of an object that was let go of, and of somebody who has no object at all.
#[tokio::test]
async fn an_export_that_runs_already_is_waited_for_whoever_began_it() {
    let world = World::at_volcengine("export-others").await;
    // The vendor is not the one who keeps them apart.
    world.vendor.configure(|settings| settings.volcengine.lock_while_exporting = false);
    world.create(image_export("left", "image-left", json!({ "deletionPolicy": "Retain" }))).await;
    let left = until_running(&world, "left").await;
    world.delete(KIND, "left").await;
    world.until_gone(KIND, "left").await;
    let mut console = task(&world, &left);
    (console.id, console.resource_id) = (String::new(), "image-console".into());
    console.odd_status = Some("UnknownStatus".into());
    let console = world.vendor.volcengine().seed_task(console);

    let tasks = [("left", &left), ("console", &console)];
    for (name, id) in tasks {
        world.create(image_export(&format!("after-{name}"), &format!("image-{name}"), json!({}))).await;
        let after = format!("after-{name}");
        let message = world.until_condition(KIND, &after, "Reconciling", "True", "VendorBusy").await;
        assert!(message.contains(id) && message.contains("ExportRunning"), "{message}");
    }
    assert_eq!(world.effects(CREATE), 1);

    world.vendor.volcengine().modify_task(&console, |task| task.odd_status = None);
    world.vendor.advance(2 * MINUTE);
    for (name, id) in tasks {
        assert_ne!(until_running(&world, &format!("after-{name}")).await, *id);
    }
    assert_eq!(world.vendor.volcengine().overlapping_exports(), []);
    assert_eq!(world.effects(CREATE), 3);
}

#[tokio::test]
async fn a_status_that_says_nothing_is_shown_and_waited_out() {
    let world = World::at_volcengine("export-odd").await;
    world.create(image_export("base", IMAGE, json!({}))).await;
    let id = until_running(&world, "base").await;
    let odd = |status: Option<&str>| {
        let status = status.map(Into::into);
        world.vendor.volcengine().modify_task(&id, |task| task.odd_status = status);
    };
    odd(Some("UnknownStatus"));
    let shown = |object: &Value| {
        let message = condition(object, "Reconciling")["message"].as_str().unwrap_or_default();
        message.contains("UnknownStatus") && message.contains(&id) && message.contains("overdue from 20")
    };
    world.until(KIND, "base", "the odd status is shown", shown).await;
    odd(None);
    world.vendor.advance(2 * MINUTE);
    world.until_ready(KIND, "base").await;
}

#[tokio::test]
async fn a_failed_export_says_what_to_check_and_tries_again_when_asked() {
    let world = World::at_volcengine("export-failed").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::FailBuild).action(CREATE).when(When::first(1))]);
    world.create(image_export("base", IMAGE, json!({}))).await;
    let first = until_running(&world, "base").await;
    world.vendor.advance(2 * MINUTE);
    let message = world.until_condition(KIND, "base", "Stalled", "True", "ExportFailed").await;
    for word in [first.as_str(), "tos:PutObject", "quotas", "requested-at"] {
        assert!(message.contains(word), "{word} is not in {message}");
    }
    until_quiet(&world).await;
    assert_eq!(world.effects(CREATE), 1, "nothing is tried again by itself");
    assert!(message.contains("失败"), "{message}");

    world.request(KIND, "base", "again").await;
    let runs = |object: &Value| {
        object["status"]["phase"] == "Building" && object["status"]["operation"]["attempt"] == 2
    };
    let second = world.until(KIND, "base", "it runs again", runs).await;
    assert_ne!(second["status"]["taskId"], first);
    world.vendor.advance(2 * MINUTE);
    world.until_ready(KIND, "base").await;
    assert_eq!(world.effects(CREATE), 2);
}

/// Waits for three beats without a call.
async fn until_quiet(world: &World) {
    loop {
        let before = world.vendor.ledger().calls.len();
        tokio::time::sleep(3 * world.beat).await;
        if world.vendor.ledger().calls.len() == before {
            return;
        }
    }
}

/// Sets the vendor's clock to the present and some more, and lets it run at this speed.
fn set_clock(world: &World, ahead: Duration, speed: f64) {
    let change =
        ClockChange { at: Some(Timestamp::now() + ahead), speed: Some(speed), ..ClockChange::default() };
    world.vendor.set_clock(&change).expect("a time and a speed that a clock can have");
}

/// By the clock, which has to be right: nothing else tells a task from somebody else's.
#[tokio::test]
async fn a_lost_answer_is_found_by_its_image_and_time() {
    let world = World::at_volcengine("export-lost").await;
    set_clock(&world, Duration::ZERO, 1.0);
    world.vendor.configure(|settings| {
        settings.volcengine.export_queue_seconds = 0.5;
        settings.volcengine.export_seconds = 1.5;
    });
    let cases = [
        ("acted", Fault::AnswerLost),
        ("ignored", Fault::ConnectionClosed),
        ("errored", Fault::InternalError { effect: true }),
    ];
    let image = |name: &str| format!("image-{name}");
    // Exports of the same images from before, which others hold.
    for (name, _) in &cases {
        world.create(image_export(&format!("before-{name}"), &image(name), json!({}))).await;
    }
    for (name, _) in &cases {
        world.until_ready(KIND, &format!("before-{name}")).await;
    }
    let rules = cases.iter().map(|(name, fault)| {
        FaultRule::new(fault.clone()).action(CREATE).parameter("ImageId", image(name)).when(When::first(1))
    });
    world.vendor.set_faults(rules.collect());
    for (name, _) in &cases {
        world.create(image_export(name, &image(name), json!({}))).await;
    }
    for (name, _) in &cases {
        world.until_ready(KIND, name).await;
    }
    assert_eq!(world.effects(CREATE), 6);
    assert_eq!(world.vendor.volcengine().overlapping_exports(), []);
}

/// The console exports the same image while the lost answer is looked for: whose bucket it fills, no task says.
#[tokio::test]
async fn an_export_from_the_console_is_not_taken_for_the_lost_one() {
    let world = World::at_volcengine("export-console").await;
    world
        .vendor
        .set_faults(vec![FaultRule::new(Fault::ConnectionClosed).action(CREATE).when(When::first(1))]);
    world.create(image_export("base", IMAGE, json!({}))).await;
    world.until_condition(KIND, "base", "Reconciling", "True", "AnswerLost").await;
    set_clock(&world, 3 * MINUTE, 0.0);
    let work = Work { begun: world.vendor.clock().world, running_seconds: 60.0, ..Work::default() };
    let console = Task { resource_id: IMAGE.into(), work, ..Task::default() };
    let id = world.vendor.volcengine().seed_task(console);
    let message = world.until_condition(KIND, "base", "Stalled", "True", "OutcomeUnknown").await;
    assert!(message.contains(&id), "{message}");
    assert_eq!(world.effects(CREATE), 0);
    world.annotate(KIND, "base", "cloudimages.dev/outcome", &format!("adopt={id}")).await;
    world.vendor.advance(2 * MINUTE);
    assert_eq!(world.until_ready(KIND, "base").await["status"]["taskId"], id, "a person may know");
}

/// Unless the account says that nothing else exports, the moment in which a task began proves nothing: here the call never
/// reached the vendor, and the console began to export seconds later.
#[tokio::test]
async fn an_export_from_the_console_in_the_moment_of_the_lost_call_is_for_a_person_to_tell() {
    let world = World::at_volcengine("export-moment").await;
    let anyone = json!({ "spec": { "volcengine": { "ecs": { "exportedBy": "Anyone" } } } });
    world.patch("CloudAccount", "default", anyone).await;
    set_clock(&world, Duration::ZERO, 1.0);
    // Long enough that none ends before it is looked at.
    world.vendor.configure(|settings| settings.volcengine.export_seconds = 600.0);
    let lost = |fault, image: &str| {
        FaultRule::new(fault).action(CREATE).parameter("ImageId", image).when(When::first(1))
    };
    let cases = [
        ("never-sent", Fault::ConnectionClosed),
        ("acted", Fault::AnswerLost),
        ("ignored", Fault::ConnectionClosed),
    ];
    let image = |name: &str| format!("image-{name}");
    world.vendor.set_faults(cases.iter().map(|(name, fault)| lost(fault.clone(), &image(name))).collect());
    for (name, _) in &cases {
        world.create(image_export(name, &image(name), json!({}))).await;
        world.until_condition(KIND, name, "Reconciling", "True", "AnswerLost").await;
        if *name == "never-sent" {
            let work = Work { begun: world.vendor.clock().world, running_seconds: 600.0, ..Work::default() };
            let console = Task { resource_id: image(name), work, ..Task::default() };
            world.vendor.volcengine().seed_task(console);
        }
    }
    let task_of = |name: &str| {
        let mut tasks = world.vendor.volcengine().tasks();
        tasks.retain(|task| task.resource_id == image(name));
        tasks.pop().expect("a task").id
    };
    // What the vendor has is named, whether it is ours or not, and nothing is green or made twice.
    for name in ["never-sent", "acted"] {
        let message = world.until_condition(KIND, name, "Stalled", "True", "OutcomeUnknown").await;
        assert!(message.contains(&task_of(name)), "{message}");
    }
    let made =
        |name: &str| world.vendor.ledger().effects.iter().filter(|made| made.id == task_of(name)).count();
    assert_eq!((made("never-sent"), made("acted")), (0, 1));
    // Where the vendor has none, nobody is asked.
    until_running(&world, "ignored").await;
    world.annotate(KIND, "acted", "cloudimages.dev/outcome", &format!("adopt={}", task_of("acted"))).await;
    assert_eq!(until_running(&world, "acted").await, task_of("acted"));
    // And once the account says that only the operator exports, looking again takes what began in that moment.
    let only = json!({ "spec": { "volcengine": { "ecs": { "exportedBy": "OperatorOnly" } } } });
    world.patch("CloudAccount", "default", only).await;
    world.annotate(KIND, "never-sent", "reconcile.cloudimages.dev/requested-at", "now").await;
    assert_eq!(until_running(&world, "never-sent").await, task_of("never-sent"));
}

#[tokio::test]
async fn a_task_that_the_vendor_forgot_is_named() {
    let world = World::at_volcengine("export-forgotten").await;
    world.create(image_export("base", IMAGE, json!({}))).await;
    let id = until_running(&world, "base").await;
    world.vendor.volcengine().remove_task(&id);
    let message = world.until_condition(KIND, "base", "Stalled", "True", "Missing").await;
    assert!(message.contains(&id), "{message}");
    assert_eq!(world.effects(CREATE), 1);
}

/// What is over is not looked at again: the vendor forgets it sooner or later.
#[tokio::test]
async fn a_finished_export_stays_ready_when_its_task_is_forgotten() {
    let world = World::at_volcengine("export-finished").await;
    world.create(image_export("base", IMAGE, json!({}))).await;
    let id = until_running(&world, "base").await;
    world.vendor.advance(2 * MINUTE);
    world.until_ready(KIND, "base").await;
    world.vendor.volcengine().remove_task(&id);
    world.request(KIND, "base", "look").await;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == "look";
    let base = world.until(KIND, "base", "it is looked at", handled).await;
    assert_eq!(condition(&base, "Ready")["status"], "True", "{base:#}");
}

#[tokio::test]
async fn a_task_that_stands_still_is_named_and_a_late_end_counts() {
    let world = World::at_volcengine("export-stalled").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::StallBuild).action(CREATE)]);
    world.create(image_export("base", IMAGE, json!({ "timeout": "1h" }))).await;
    let id = until_running(&world, "base").await;
    // As if it had been asked for long ago.
    let began = json!({ "operation": { "startedAt": "2020-01-01T00:00:00Z" } });
    world.patch_status(KIND, "base", began).await;
    let message = world.until_condition(KIND, "base", "Stalled", "True", "TimedOut").await;
    assert!(message.contains(&format!("task {id}")) && message.contains("in 1h (spec.timeout"), "{message}");

    world.vendor.volcengine().modify_task(&id, |task| task.work.outcome = Outcome::Success);
    world.vendor.advance(2 * MINUTE);
    world.request(KIND, "base", "look").await;
    world.until_ready(KIND, "base").await;
    assert_eq!(world.effects(CREATE), 1);
}

#[tokio::test]
async fn a_running_export_holds_its_object_or_is_let_go() {
    let world = World::at_volcengine("export-deleting").await;
    for (name, image) in [("waits", "image-1"), ("goes", "image-2")] {
        world.create(image_export(name, image, json!({}))).await;
        let id = until_running(&world, name).await;
        world.delete(KIND, name).await;
        let message = world.until_condition(KIND, name, "Ready", "False", "DeletionWaits").await;
        assert!(message.contains(&id) && message.contains("Retain"), "{message}");
    }
    world.patch(KIND, "goes", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.until_gone(KIND, "goes").await;
    assert!(world.get(KIND, "waits").await.is_some());

    world.vendor.advance(2 * MINUTE);
    world.until_gone(KIND, "waits").await;
    assert_eq!(world.vendor.volcengine().exported_objects().len(), 2);
}

/// A new task may be missing in the list for a while, which does not mean that it has ended.
#[tokio::test]
async fn a_new_export_that_is_not_listed_yet_holds_its_object() {
    let world = World::at_volcengine("export-unlisted").await;
    let delay = json!({ "spec": { "volcengine": { "ecs": { "listDelay": "5m" } } } });
    world.patch("CloudAccount", "default", delay).await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::ListLag { seconds: 50 }).action(LOOK)]);
    world.create(image_export("base", IMAGE, json!({}))).await;
    let id = until_running(&world, "base").await;
    world.delete(KIND, "base").await;
    let message = world.until_condition(KIND, "base", "Ready", "False", "DeletionWaits").await;
    assert!(message.contains(&id) && message.contains("does not list"), "{message}");
    world.vendor.set_faults(vec![]);
    let listed = |object: &Value| {
        condition(object, "Ready")["message"].as_str().unwrap_or_default().contains("is running")
    };
    world.until(KIND, "base", "the running export is named", listed).await;
    world.vendor.advance(2 * MINUTE);
    world.until_gone(KIND, "base").await;
}

#[tokio::test]
async fn an_export_of_another_object_s_image_waits_for_it() {
    let world = World::at_volcengine("export-ref").await;
    let spec = json!({ "forProvider": { "imageId": null, "imageRef": { "name": "phone" } } });
    world.create(image_export("base", IMAGE, spec)).await;
    let message = world.until_condition(KIND, "base", "Reconciling", "True", "ReferenceNotReady").await;
    assert!(message.contains("phone") && message.contains("does not exist"), "{message}");

    world.create(aosp_image("phone", json!({}))).await;
    let has_id = |object: &Value| object["status"]["imageId"].is_string();
    let phone = world.until("AospImage", "phone", "it has an image id", has_id).await;
    let image = phone["status"]["imageId"].as_str().expect("an id").to_owned();
    world.vendor.volcengine().seed_image(EcsImage { id: image.clone(), ..EcsImage::default() });
    assert_eq!(world.calls(CREATE), 0);

    world.vendor.advance(2 * MINUTE);
    world.until_ready("AospImage", "phone").await;
    let id = until_running(&world, "base").await;
    assert_eq!(task(&world, &id).resource_id, image);
    world.vendor.advance(2 * MINUTE);
    let base = world.until_ready(KIND, "base").await;
    assert_eq!(base["status"]["artifact"], format!("tos://bucket-1/test123_{image}_system.qcow2"));
}

/// ExportImage is a GET, which an HTTP client repeats by itself when it believes that it may.
#[tokio::test]
async fn no_client_repeats_the_creating_call() {
    let world = World::at_volcengine("export-once").await;
    // So long that nobody believes in the time of this test that there was no effect.
    world
        .patch(
            "CloudAccount",
            "default",
            json!({ "spec": { "volcengine": { "ecs": { "listDelay": "10m" } } } }),
        )
        .await;
    // The connections that the looks leave in a pool are closed.
    let mut faults = vec![FaultRule::new(Fault::CloseAfterAnswer).action(LOOK)];
    let named = [
        ("closed", Fault::ConnectionClosed),
        ("lost", Fault::AnswerLost),
        ("cut", Fault::CutBody),
        ("redirected", Fault::Redirect { location: None }),
        ("unavailable", Fault::BadGateway { effect: false }),
    ];
    world.create(image_export("first", "image-first", json!({}))).await;
    until_running(&world, "first").await;
    let image = |name: &str| format!("image-{name}");
    faults.extend(
        named.iter().map(|(name, fault)| {
            FaultRule::new(fault.clone()).action(CREATE).parameter("ImageId", image(name))
        }),
    );
    world.vendor.set_faults(faults);
    until_looked(&world).await;
    for (name, _) in &named {
        world.create(image_export(name, &image(name), json!({}))).await;
        world.until_condition(KIND, name, "Reconciling", "True", "AnswerLost").await;
    }
    until_looked(&world).await;
    let ledger = world.vendor.ledger();
    for (name, _) in &named {
        let of_image = |call: &&vendor_simulator::Call| call.parameters["ImageId"] == image(name);
        assert_eq!(ledger.calls_of(CREATE).filter(of_image).count(), 1, "{name}");
    }
}

/// Exports name neither bucket nor prefix: one that ended well a while before the call is not the file that was asked for.
#[tokio::test]
async fn an_earlier_export_of_nobody_s_is_not_taken_for_the_lost_one() {
    let world = World::at_volcengine("export-earlier").await;
    let earlier = Timestamp::now() - Duration::from_secs(600);
    let work = Work { begun: earlier, running_seconds: 60.0, ..Work::default() };
    let task = Task { resource_id: IMAGE.into(), work, ..Task::default() };
    let id = world.vendor.volcengine().seed_task(task);
    world
        .vendor
        .set_faults(vec![FaultRule::new(Fault::ConnectionClosed).action(CREATE).when(When::first(1))]);
    world.create(image_export("base", IMAGE, json!({}))).await;
    let message = world.until_condition(KIND, "base", "Stalled", "True", "OutcomeUnknown").await;
    assert!(message.contains(&id), "{message}");
    world.annotate(KIND, "base", "cloudimages.dev/outcome", "resubmit").await;
    assert_ne!(until_running(&world, "base").await, id);
    assert_eq!(world.effects(CREATE), 1);
}
