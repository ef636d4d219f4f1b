//! A cluster with a distribution is lost, and a backup brings that back: alone or with its copies, without status or with it. Its
//! copies name an owner that is gone, so that Kubernetes deletes them, or none. Nothing is copied twice, nothing is deleted at the
//! vendor, and what the objects say to do makes the distribution Ready with the images that are there. The same into a second
//! cluster while the first one still runs, which goes on as if nothing had been.

use super::cli::cloudimages;
use crate::harness::{World, account_at, condition, distribution};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, time::Duration};
use vendor_simulator::{Change, Fault, FaultRule, When};

const KIND: &str = "ImageDistribution";
const COPY: &str = "AliyunImageCopy";
const NAME: &str = "base";

/// The copy in the first one is Ready, in the second one under way, and in the third one asked for when the cluster is lost.
const REGIONS: [&str; 3] = ["cn-beijing", "cn-shanghai", "cn-shenzhen"];

/// How long a copy takes that does not end by itself here.
const LONG: Duration = Duration::from_secs(300);

/// What the backup has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Backup {
    /// The distribution, as Git has it.
    Alone,
    /// The copies as well, without their owners.
    Orphans,
    /// The copies as well, owned by a distribution that is no more.
    Owned,
}

fn regions(names: &[&str]) -> Value {
    names.iter().map(|region| json!({ "regionId": region })).collect()
}

fn copy_in(region: &str) -> String {
    format!("{NAME}-{region}")
}

/// The vendor's images, by their regions.
fn images(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut images = BTreeMap::<String, Vec<String>>::new();
    for image in world.vendor.aliyun_ecs().images() {
        images.entry(image.region).or_default().push(image.id);
    }
    images
}

/// How often something was made, and how often deleted.
fn changes(world: &World) -> [usize; 2] {
    let effects = world.vendor.ledger().effects;
    [Change::Created, Change::Deleted]
        .map(|change| effects.iter().filter(|effect| effect.change == change).count())
}

/// A cluster that runs, with a distribution whose copies are as [`REGIONS`] says.
async fn running(namespace: &str) -> World {
    let mut world = World::with_account(namespace).await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    let hang = FaultRule::new(Fault::Hang { effect: true }).parameter("DestinationRegionId", REGIONS[2]);
    world.vendor.set_faults(vec![hang.action("CopyImage").when(When::first(1))]);
    world.start_operator().await;
    world.create(distribution(NAME, &REGIONS[..1], json!({}))).await;
    world.until_ready(KIND, NAME).await;
    world.vendor.configure(|settings| settings.aliyun_ecs.copy_seconds = LONG.as_secs_f64());
    world.patch(KIND, NAME, json!({ "spec": { "regions": regions(&REGIONS) } })).await;
    let is_under_way = |object: &Value| object["status"]["regions"][1]["phase"] == "Building";
    world.until(KIND, NAME, "one is under way", is_under_way).await;
    world.until_true("one is asked for", || images(&world).len() == REGIONS.len()).await;
    world
}

/// What the backup has: the copies first, as they come back first.
async fn saved(world: &World, backup: Backup) -> Vec<Value> {
    let mut saved = if backup == Backup::Alone { vec![] } else { world.list(COPY).await };
    saved.push(world.get(KIND, NAME).await.expect("it is there"));
    saved
}

/// The cluster is gone, and the vendor as it left it.
async fn lose(world: &mut World) {
    world.stop_operator().await;
    for (kind, name) in REGIONS.map(|region| (COPY, copy_in(region))).into_iter().chain([(KIND, NAME.into())])
    {
        world.patch(kind, &name, json!({ "metadata": { "finalizers": null } })).await;
        world.try_delete(kind, &name).await;
        world.until_gone(kind, &name).await;
    }
}

async fn restore(world: &World, saved: &Value, backup: Backup, with_status: bool) {
    let mut object = saved.clone();
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    metadata.retain(|key, _| match key.as_str() {
        "name" | "annotations" | "finalizers" | "labels" => true,
        "ownerReferences" => backup == Backup::Owned,
        _ => false,
    });
    let status = object.as_object_mut().expect("an object").remove("status").unwrap_or_default();
    let created = world.create(object).await;
    if with_status {
        let [kind, name] =
            [&created["kind"], &created["metadata"]["name"]].map(|it| it.as_str().expect("a name"));
        world.patch_status(kind, name, status).await;
    }
}

fn namespace(what: &str, backup: Backup, with_status: bool) -> String {
    let status = if with_status { "whole" } else { "bare" };
    format!("{what}-{}-{status}", format!("{backup:?}").to_lowercase())
}

/// What the distribution's copies would be is there already, and each of them says what it is.
async fn all_are_refused(world: &World, there: &BTreeMap<String, Vec<String>>, backup: Backup) -> Value {
    if backup == Backup::Orphans {
        // They are nobody's, so that they are left alone, and each of them says what may be its image.
        world.until_condition(KIND, NAME, "Stalled", "True", "NameTaken").await;
        for region in REGIONS {
            let message = world.until_condition(COPY, &copy_in(region), "Stalled", "True", "Restored").await;
            assert!(message.contains(&there[region][0]), "{message}");
            world.delete(COPY, &copy_in(region)).await;
        }
    }
    let are_refused = |object: &Value| {
        let rows = object["status"]["regions"].as_array().cloned().unwrap_or_default();
        rows.len() == REGIONS.len() && rows.iter().all(|row| row["reason"] == "AlreadyExists")
    };
    let object = world.until(KIND, NAME, "all of its copies are refused", are_refused).await;
    for region in REGIONS {
        let copy = world.get(COPY, &copy_in(region)).await.expect("it is there");
        let message = condition(&copy, "Ready")["message"].as_str().expect("why");
        assert!(message.contains(&there[region][0]) && message.contains("spec.import"), "{message}");
    }
    for copy in world.list(COPY).await {
        assert_eq!(copy["metadata"]["ownerReferences"][0]["uid"], object["metadata"]["uid"], "{copy:#}");
    }
    object
}

async fn comes_back(backup: Backup, with_status: bool) {
    let namespace = namespace("restored", backup, with_status);
    let mut world = running(&namespace).await;
    let saved = saved(&world, backup).await;
    let former: BTreeMap<String, Value> = world
        .list(COPY)
        .await
        .into_iter()
        .map(|copy| {
            let name = copy["metadata"]["name"].as_str().expect("a name");
            (name.to_owned(), copy["metadata"]["uid"].clone())
        })
        .collect();
    lose(&mut world).await;
    let (there, before) = (images(&world), changes(&world));
    assert_eq!(before, [REGIONS.len(), 0]);
    for object in &saved {
        restore(&world, object, backup, with_status).await;
    }
    world.start_operator().await;
    all_are_refused(&world, &there, backup).await;
    assert_eq!((images(&world), changes(&world)), (there.clone(), before), "{:#?}", world.call_log());

    // What they say to do is done, and it works: to take it over, and to say for which copy of the lost cluster it was made.
    for region in REGIONS {
        let import = |import: Value| json!({ "spec": { "import": import } });
        world.patch(COPY, &copy_in(region), import(json!({ "id": there[region][0] }))).await;
        let made_for = former[&copy_in(region)].as_str().expect("a uid");
        let message = world.until_condition(COPY, &copy_in(region), "Stalled", "True", "MadeForOther").await;
        assert!(message.contains(made_for), "{message}");
        world.patch(COPY, &copy_in(region), import(json!({ "madeFor": made_for }))).await;
    }
    world.vendor.advance(LONG + Duration::from_secs(10));
    let object = world.until_ready(KIND, NAME).await;
    for (row, region) in object["status"]["regions"].as_array().expect("rows").iter().zip(REGIONS) {
        assert_eq!((&row["regionId"], &row["imageId"]), (&json!(region), &json!(there[region][0])));
    }
    assert_eq!((images(&world), changes(&world)), (there.clone(), before), "{:#?}", world.call_log());

    // Nor does a plan take it away.
    let manifest = tempfile::NamedTempFile::with_suffix(".json").expect("a file");
    let metadata = json!({ "name": NAME, "namespace": namespace });
    let applied = json!({
        "apiVersion": object["apiVersion"], "kind": KIND, "metadata": metadata, "spec": object["spec"],
    });
    fs::write(manifest.path(), applied.to_string()).expect("a file");
    let (path, endpoint) =
        (manifest.path().to_str().expect("text"), format!("--allow-endpoint={}", world.endpoint()));
    let (code, out, err) = cloudimages(&world, &["plan", "-f", path, &endpoint, "-o", "json"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let planned: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(planned["summary"], json!({ "nothing": 1 + REGIONS.len() }), "{planned:#}");

    // What was taken over goes with it only if it is told to.
    if with_status {
        world.patch(KIND, NAME, json!({ "spec": { "deletionPolicy": "Delete" } })).await;
    }
    world.delete(KIND, NAME).await;
    world.until_gone(KIND, NAME).await;
    assert_eq!(world.list(COPY).await, Vec::<Value>::new());
    let left = if with_status { BTreeMap::new() } else { there };
    assert_eq!(images(&world), left, "{:#?}", world.call_log());
}

async fn comes_back_beside_the_first(backup: Backup, with_status: bool) {
    let first = running(&namespace("beside-first", backup, with_status)).await;
    let saved = saved(&first, backup).await;
    let (there, before) = (images(&first), changes(&first));
    assert_eq!(before, [REGIONS.len(), 0]);

    let mut second = World::empty(&namespace("beside", backup, with_status)).await;
    second.beat = Duration::from_secs(1);
    for object in account_at(COPY, "default", first.vendor.addresses()) {
        second.create(object).await;
    }
    for object in &saved {
        restore(&second, object, backup, with_status).await;
    }
    let endpoints = first.endpoints();
    second.start_operator_with(&[], &endpoints.iter().map(String::as_str).collect::<Vec<_>>()).await;
    all_are_refused(&second, &there, backup).await;
    assert_eq!((images(&first), changes(&first)), (there.clone(), before), "{:#?}", first.call_log());

    // It goes again, and takes nothing along.
    second.delete(KIND, NAME).await;
    second.until_gone(KIND, NAME).await;
    assert_eq!(second.list(COPY).await, Vec::<Value>::new());
    assert_eq!((images(&first), changes(&first)), (there.clone(), before), "{:#?}", first.call_log());

    // The first one has not noticed.
    first.vendor.set_faults(vec![]);
    first.vendor.advance(LONG + Duration::from_secs(10));
    let object = first.until_ready(KIND, NAME).await;
    for (row, region) in object["status"]["regions"].as_array().expect("rows").iter().zip(REGIONS) {
        assert_eq!((&row["regionId"], &row["imageId"]), (&json!(region), &json!(there[region][0])));
    }
    assert_eq!((images(&first), changes(&first)), (there, before), "{:#?}", first.call_log());
    first.delete(KIND, NAME).await;
    first.until_gone(KIND, NAME).await;
    assert_eq!(images(&first), BTreeMap::new(), "{:#?}", first.call_log());
}

/// Each backup, without status and with it.
fn all() -> impl Iterator<Item = (Backup, bool)> {
    let all = [Backup::Alone, Backup::Orphans, Backup::Owned];
    all.into_iter().flat_map(|backup| [(backup, false), (backup, true)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distribution_comes_back_and_its_copies_are_not_made_twice() {
    join_all(all().map(|(backup, with_status)| comes_back(backup, with_status))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distribution_comes_back_into_a_second_cluster_while_the_first_one_runs() {
    join_all(all().map(|(backup, with_status)| comes_back_beside_the_first(backup, with_status))).await;
}
