//! One owner for one thing, whatever its owner can be read as, and within the cloud where its id means it; and what nobody
//! owns any more is cleared away.

use super::{cli::cloudimages, import::with_ids_of_its_own};
use crate::harness::{World, aosp_image, component, condition, image_of, is_ready, secret};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{
    Fault, FaultRule, When,
    aliyun_ecs::{Component, Image},
};

const COMPONENT: &str = "ImageComponent";
const DELETE: &str = "DeleteImageComponent";

fn import(name: &str, id: &str) -> Value {
    let none = json!({ "name": null, "componentVersion": null, "content": null });
    component(name, json!({ "import": { "id": id }, "forProvider": none, "deletionPolicy": "Delete" }))
}

#[tokio::test]
async fn of_many_that_import_one_thing_exactly_one_gets_it_and_the_next_when_it_is_free() {
    let world = World::new("one-owner").await;
    let id = world.vendor.aliyun_ecs().seed(Component { name: "theirs".into(), ..Component::default() });
    let mut names: Vec<_> = (0..6).map(|number| format!("import-{number}")).collect();
    join_all(names.iter().map(|name| world.create(import(name, &id)))).await;
    while !names.is_empty() {
        let seen = join_all(names.iter().map(|name| {
            world.until(COMPONENT, name, "it owns it or waits for who does", |object| {
                is_ready(object) || condition(object, "Ready")["reason"] == "HeldByOther"
            })
        }))
        .await;
        let owners: Vec<_> = seen.iter().filter(|object| is_ready(object)).collect();
        let [owner] = owners.as_slice() else {
            // Who waited may not have been told yet that the former owner is gone.
            assert!(owners.is_empty(), "{owners:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let owner = owner["metadata"]["name"].as_str().expect("a name").to_owned();
        names.retain(|name| *name != owner);
        for name in &names {
            let message = world.until_condition(COMPONENT, name, "Ready", "False", "HeldByOther").await;
            assert!(message.contains(&format!("{COMPONENT} one-owner/{owner}")), "{message}");
        }
        // It lets go of it.
        world.patch(COMPONENT, &owner, json!({ "spec": { "deletionPolicy": "Retain" } })).await;
        world.delete(COMPONENT, &owner).await;
        world.until_gone(COMPONENT, &owner).await;
    }
    assert_eq!(world.calls(DELETE), 0);
}

/// What a build makes and what a copy makes are images of the same region, so that one could be taken over as the other.
#[tokio::test]
async fn an_image_has_one_owner_of_whatever_kind() {
    const BUILD: &str = "ImageBuild";
    const COPY: &str = "AliyunImageCopy";
    let world = World::new("kinds-own").await;
    with_ids_of_its_own(&world, 9);
    world.quicken();
    let take_over = |kind: &str, id: &str| {
        let mut object = image_of(kind, "takes-over");
        if kind == COPY {
            object["spec"]["forProvider"] = json!({ "destinationRegionId": "cn-hangzhou" });
        }
        object["spec"]["import"] = json!({ "id": id });
        object["spec"]["deletionPolicy"] = json!("Delete");
        object
    };
    world.create(image_of(BUILD, "made")).await;
    let made = world.until_ready(BUILD, "made").await;
    let id = made["status"]["imageId"].as_str().expect("an id").to_owned();
    world.create(take_over(COPY, &id)).await;
    let message = world.until_condition(COPY, "takes-over", "Ready", "False", "HeldByOther").await;
    assert!(message.contains(&id) && message.contains("ImageBuild kinds-own/made"), "{message}");
    // It goes alone, and leaves the image to its owner.
    world.delete(COPY, "takes-over").await;
    world.until_gone(COPY, "takes-over").await;
    assert!(world.vendor.aliyun_ecs().image(&id).is_some());

    let theirs = Image { name: "theirs".into(), region: "cn-hangzhou".into(), ..Image::default() };
    let id = world.vendor.aliyun_ecs().seed_image(theirs);
    world.create(take_over(COPY, &id)).await;
    world.until_ready(COPY, "takes-over").await;
    world.create(take_over(BUILD, &id)).await;
    let message = world.until_condition(BUILD, "takes-over", "Ready", "False", "HeldByOther").await;
    assert!(message.contains("AliyunImageCopy kinds-own/takes-over"), "{message}");
    // Who waits gets it once its owner lets go of it.
    world.patch(COPY, "takes-over", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.delete(COPY, "takes-over").await;
    world.until_gone(COPY, "takes-over").await;
    world.until_ready(BUILD, "takes-over").await;
    world.delete(BUILD, "takes-over").await;
    world.until_gone(BUILD, "takes-over").await;
    assert!(world.vendor.aliyun_ecs().image(&id).is_none());

    // Nor is it had by way of the run that made it.
    let [id, run] = ["imageId", "taskId"].map(|id| made["status"][id].as_str().expect("an id"));
    world.patch(BUILD, "made", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.delete(BUILD, "made").await;
    world.until_gone(BUILD, "made").await;
    world.create(take_over(COPY, id)).await;
    world.until_ready(COPY, "takes-over").await;
    let endpoint = format!("--allow-endpoint={}", world.endpoint());
    let import = ["import", "--account", "default", "--kind", "imgbuild", "-o", "json", &endpoint];
    let (code, out, err) = cloudimages(&world, &import).await;
    assert!(code == 0 && !out.contains(id) && err.contains("1 managed"), "{out}{err}");
    world.create(take_over(BUILD, run)).await;
    let message = world.until_condition(BUILD, "takes-over", "Ready", "False", "HeldByOther").await;
    assert!(message.contains("AliyunImageCopy kinds-own/takes-over"), "{message}");
    world.delete(BUILD, "takes-over").await;
    world.until_gone(BUILD, "takes-over").await;
    assert!(world.vendor.aliyun_ecs().image(id).is_some());
}

/// A run's image has an id of its own: who takes it over before its build has seen it keeps it when the build goes.
#[tokio::test]
async fn what_was_taken_over_before_its_maker_saw_it_stays_when_the_maker_goes() {
    const BUILD: &str = "ImageBuild";
    const COPY: &str = "AliyunImageCopy";
    let world = World::new("taken-unseen").await;
    with_ids_of_its_own(&world, 12);
    world.quicken();
    let ecs = world.vendor.aliyun_ecs();
    for (name, is_seen_waiting) in [("waits", true), ("goes", false)] {
        world.vendor.configure(|settings| settings.aliyun_ecs.execution_seconds = 3600.0);
        world.create(image_of(BUILD, name)).await;
        world.until(BUILD, name, "it runs", |object| object["status"]["taskId"].is_string()).await;
        // Nobody sees how the run goes on.
        let unseen =
            FaultRule::new(Fault::InternalError { effect: false }).action("DescribeImagePipelineExecutions");
        world.vendor.set_faults(vec![unseen]);
        world.vendor.advance(Duration::from_secs(7200));
        let images = ecs.images();
        let [image] = images.as_slice() else { panic!("{images:#?}") };
        let mut copy = image_of(COPY, name);
        copy["spec"]["forProvider"] = json!({ "destinationRegionId": "cn-hangzhou" });
        copy["spec"]["import"] = json!({ "id": image.id });
        copy["spec"]["deleteSnapshots"] = json!(true);
        copy["spec"]["deletionPolicy"] = json!("Delete");
        world.create(copy).await;
        world.until_ready(COPY, name).await;
        if is_seen_waiting {
            world.vendor.set_faults(vec![]);
            world.until_condition(BUILD, name, "Ready", "False", "HeldByOther").await;
            world.delete(BUILD, name).await;
        } else {
            world.delete(BUILD, name).await;
            world
                .until(BUILD, name, "it goes", |object| object["metadata"]["deletionTimestamp"].is_string())
                .await;
            world.vendor.set_faults(vec![]);
        }
        world.until_gone(BUILD, name).await;
        assert!(ecs.image(&image.id).is_some(), "{name}");
        world.delete(COPY, name).await;
        world.until_gone(COPY, name).await;
        assert_eq!((ecs.images(), ecs.snapshots()), (vec![], vec![]));
    }
}

#[tokio::test]
async fn the_same_uuid_in_two_clouds_means_two_images() {
    const KIND: &str = "RootVolumeTemplate";
    const CREATE: &str = "CreateRootVolumeTemplateFromRootVolume";
    let mut world = World::empty("two-clouds").await;
    world.beat = Duration::from_secs(1);
    let other = world.beside(9).await;
    let mut keys = secret("zstack");
    keys["stringData"] = json!({ "accountName": "admin", "password": "password" });
    world.create(keys).await;
    for (name, cloud) in [("one", &world), ("two", &other)] {
        cloud.vendor.configure(|settings| settings.zstack.create_seconds = 1.0);
        let endpoint = format!("http://{}", cloud.vendor.addresses().zstack);
        world
            .create(json!({
                "apiVersion": "cloudimages.dev/v1alpha1",
                "kind": "CloudAccount",
                "metadata": { "name": name },
                "spec": { "zstack": {
                    "endpoint": endpoint, "credentialsSecretRef": { "name": "zstack" }, "timeZone": "UTC",
                } },
            }))
            .await;
    }
    let endpoints = other.endpoints();
    world.start_operator_with(&[], &endpoints.iter().map(String::as_str).collect::<Vec<_>>()).await;
    other.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1))]);
    let uuid = "c94ff32725d133fea53e8ada5ea7f0fc";
    for name in ["one", "two"] {
        world
            .create(json!({
                "apiVersion": "cloudimages.dev/v1alpha1",
                "kind": KIND,
                "metadata": { "name": name },
                "spec": { "accountRef": { "name": name }, "forProvider": {
                    "name": name, "rootVolumeUuid": "b94ff32725d133fea53e8ada5ea7f0fc", "resourceUuid": uuid,
                } },
            }))
            .await;
        let object = world.until_ready(KIND, name).await;
        assert_eq!(object["status"]["imageId"], uuid, "{name}");
    }
    world.delete(KIND, "two").await;
    world.until_gone(KIND, "two").await;
    let left = [&world, &other].map(|cloud| cloud.vendor.zstack().images().len());
    assert_eq!((left, other.effects(CREATE)), ([1, 0], 1));
}

/// The answer is lost, the list lags behind for longer than anybody waits, and the image is built again.
#[tokio::test]
async fn what_an_earlier_attempt_made_is_cleared_away_however_late_it_turns_up() {
    const KIND: &str = "AospImage";
    const BUILD: &str = "BuildAOSPImage";
    const CLEAR: &str = "DeleteAOSPImage";
    let world = World::at_volcengine("late").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(BUILD).when(When::first(1))]);
    world.create(aosp_image("phone", json!({}))).await;
    world.until_true("the first is built", || world.effects(BUILD) == 1).await;
    let images = world.vendor.volcengine().aosp_images();
    let first = images.into_iter().find(|image| !image.public).expect("an image");
    world.vendor.volcengine().remove_aosp_image(&first.id).expect("it is there");
    world.until_true("it is built again", || world.effects(BUILD) == 2).await;
    world.vendor.advance(Duration::from_secs(120));
    let ready = world.until_ready(KIND, "phone").await;
    let second = ready["status"]["imageId"].as_str().expect("an id").to_owned();
    assert_ne!(second, first.id);

    world.vendor.volcengine().seed_aosp_image(first.clone());
    world.request(KIND, "phone", "look").await;
    world.until_true("the late one is deleted", || world.effects(CLEAR) == 1).await;
    assert!(world.vendor.volcengine().aosp_image(&second).is_some());
    let late = world.until_event("phone", "LateImage").await;
    let note = late["note"].as_str().unwrap_or_default();
    assert!(note.contains(&first.id), "{note}");

    // Not even then is it seen, but when the object goes.
    world.vendor.advance(Duration::from_secs(120));
    world.vendor.volcengine().seed_aosp_image(first);
    world.delete(KIND, "phone").await;
    world.run(60.0);
    world.until_gone(KIND, "phone").await;
    let left: Vec<_> =
        world.vendor.volcengine().aosp_images().into_iter().filter(|image| !image.public).collect();
    assert!(left.is_empty(), "{left:#?}");
}
