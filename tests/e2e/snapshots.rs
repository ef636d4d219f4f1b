//! The snapshots that an image consists of, which the vendor keeps and charges for when it is deleted: they go with it, whatever is
//! known of them when, and what cannot be known is told.

use crate::harness::{World, image_of};
use serde_json::Value;
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, aliyun_ecs::executions::Ending};

const COPY: &str = "AliyunImageCopy";
const BUILD: &str = "ImageBuild";
const DELETE: &str = "DeleteSnapshot";

fn fails_once() -> FaultRule {
    FaultRule::new(Fault::InternalError { effect: false }).action(DELETE).when(When::first(1))
}

fn unlisted() -> FaultRule {
    FaultRule::new(Fault::ListLag { seconds: 7200 }).action("DescribeImages")
}

fn assert_nothing_left(world: &World) {
    let ecs = world.vendor.aliyun_ecs();
    assert_eq!((ecs.images(), ecs.snapshots()), (vec![], vec![]), "{:#?}", world.call_log());
}

/// The image of a run that failed shows only when the object goes.
#[tokio::test]
async fn a_snapshot_that_shows_only_at_the_deletion_goes_although_that_fails_at_first() {
    let world = World::new("snapshots-late").await;
    let ecs = world.vendor.aliyun_ecs();
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_seconds = 3600.0);
    world.create(image_of(BUILD, "late")).await;
    let begun =
        world.until(BUILD, "late", "it is begun", |object| object["status"]["taskId"].is_string()).await;
    let run = begun["status"]["taskId"].as_str().expect("an id");
    world.vendor.advance(Duration::from_secs(2700));
    assert_eq!(ecs.images().len(), 1);
    world.vendor.set_faults(vec![unlisted()]);
    ecs.modify_execution(run, |run| run.ending = Ending::Failed);
    world.vendor.advance(Duration::from_secs(3600));
    world.until_condition(BUILD, "late", "Stalled", "True", "BuildFailed").await;
    let failed = world.get(BUILD, "late").await.expect("it is there");
    assert_eq!(failed["status"]["imageId"], Value::Null, "{failed:#}");
    world.vendor.set_faults(vec![fails_once()]);
    world.delete(BUILD, "late").await;
    world.until_gone(BUILD, "late").await;
    assert_nothing_left(&world);
    assert_eq!((world.calls(DELETE), world.effects(DELETE)), (2, 1));
}

#[tokio::test]
async fn the_snapshots_of_an_image_that_the_vendor_never_showed_are_told_of() {
    let world = World::new("snapshots-unseen").await;
    world.quicken();
    world.vendor.configure(|settings| settings.aliyun_ecs.copy_seconds = 0.1);
    world.vendor.set_faults(vec![unlisted()]);
    world.create(image_of(COPY, "unseen")).await;
    let has_id = |object: &Value| object["status"]["imageId"].is_string();
    let object = world.until(COPY, "unseen", "it is copied", has_id).await;
    let id = object["status"]["imageId"].as_str().expect("an id");
    let is_done = || {
        world.vendor.aliyun_ecs().images().iter().all(|image| !image.is_being_copied(jiff::Timestamp::now()))
    };
    world.until_true("it is there", is_done).await;
    world.delete(COPY, "unseen").await;
    world.until_gone(COPY, "unseen").await;
    let event = world.until_event("unseen", "Released").await;
    let note = event["note"].as_str().unwrap_or_default();
    assert!(
        note.contains(id) && note.contains("the snapshots that it may have left are not known"),
        "{event:#}"
    );
    assert_eq!(world.vendor.aliyun_ecs().images(), []);
}

/// Whoever deletes an image in the console leaves its snapshots there.
#[tokio::test]
async fn the_snapshots_of_an_image_that_somebody_else_deleted_go_with_its_object() {
    let world = World::new("snapshots-orphaned").await;
    world.quicken();
    world.create(image_of(COPY, "orphaned")).await;
    let object = world.until_ready(COPY, "orphaned").await;
    let ecs = world.vendor.aliyun_ecs();
    ecs.delete_image(object["status"]["imageId"].as_str().expect("an id"));
    assert_eq!(ecs.snapshots().len(), 1);
    world.request(COPY, "orphaned", "look").await;
    let is_missing = |object: &Value| object["status"]["operation"]["state"] == "Missing";
    world.until(COPY, "orphaned", "it is missed", is_missing).await;
    world.vendor.set_faults(vec![fails_once()]);
    world.delete(COPY, "orphaned").await;
    world.until_gone(COPY, "orphaned").await;
    assert_nothing_left(&world);
    assert_eq!((world.calls(DELETE), world.effects(DELETE)), (2, 1));
}
