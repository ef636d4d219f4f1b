//! Several operators that share the work: each holds some shards, and none of what must never happen happens between them.

use crate::harness::{
    PATIENCE, Program, World, component, condition, image_export, image_of, is_ready, kubeconfig_in, secret,
    volcengine_account,
};
use cloud_image_operator::{
    engine::{accounts::AccountKey, shard::Shard},
    image::{AccountKind, AccountRef},
};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use vendor_simulator::{Fault, FaultRule};

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";
const EXPORT: &str = "ExportImage";

/// A namespace of this shard of two.
fn namespace(prefix: &str, shard: usize) -> String {
    let shard = Shard::all(2)[shard];
    let is_of_shard = |name: &String| shard.holds(&AccountKey::of(&AccountRef::default(), name));
    (0..100).map(|number| format!("{prefix}-{number}")).find(is_of_shard).expect("a namespace of each shard")
}

/// Starts an operator that shares the work in the namespaces of these worlds, with its Leases in the first one. Without `grace` it
/// is killed.
fn start(worlds: &[&World], grace: Option<Duration>) -> Program {
    let mut arguments: Vec<_> = ["--shards=2".to_owned(), "--leader-elect".to_owned()].into();
    for world in worlds {
        arguments.push(format!("--namespace={}", world.namespace));
        arguments.extend(world.endpoints().iter().map(|endpoint| format!("--allow-endpoint={endpoint}")));
    }
    Program::start_at(&kubeconfig_in(&worlds[0].namespace), &arguments, grace)
}

async fn until_leads(program: &Program, shards: &[&str]) {
    let leads = |body: &str| shards.iter().all(|shard| body.contains(&format!("leads (shard {shard} of 2)")));
    let of_two = |body: &str| body.matches("replica leads").count() == shards.len();
    program.until("/readyz", "it leads its shards", |_, body| leads(body) && of_two(body)).await;
}

/// A replica that is alone has all shards, one that comes gets its part; one is killed in the middle of its calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_of_a_replica_that_is_killed_are_taken_over_and_nothing_is_made_twice() {
    let (leads, _, log) = one_of_two_is_killed("shards", 4).await;
    assert!(leads < Duration::from_secs(30), "{leads:?}: {log}");
}

/// The same with more objects, of which a new one is Ready as soon; on a machine with nothing else to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo test --test e2e -- --ignored shards"]
async fn a_new_object_of_a_shard_whose_replica_was_killed_is_ready_within_thirty_seconds() {
    let (leads, ready, log) = one_of_two_is_killed("taken-over", 20).await;
    assert!(ready < Duration::from_secs(30), "{ready:?}, {leads:?} of it for the lease: {log}");
}

/// With so many objects in each of two shards. How long after that another one leads, and a new object is Ready.
async fn one_of_two_is_killed(prefix: &str, count: usize) -> (Duration, Duration, String) {
    let worlds =
        [World::with_account(&namespace(prefix, 0)).await, World::with_account(&namespace(prefix, 1)).await];
    let [one, two] = &worlds;
    let first = start(&[one, two], None);
    until_leads(&first, &["0", "1"]).await;
    // One that comes gets one of the two.
    let second = start(&[one, two], Some(Duration::from_secs(20)));
    until_leads(&second, &["1"]).await;
    until_leads(&first, &["0"]).await;

    let slow = || FaultRule::new(Fault::SlowAnswer { millis: 3_000 }).action(CREATE);
    for world in &worlds {
        world.vendor.set_faults(vec![slow()]);
    }
    let names: Vec<_> = (0..count).map(|number| format!("component-{number}")).collect();
    let objects = names.iter().flat_map(|name| worlds.iter().map(move |world| (world, name)));
    let objects: Vec<_> = objects.collect();
    join_all(objects.iter().map(|(world, name)| world.create(component(name, json!({}))))).await;
    let most = count / 2;
    one.until_true("some calls are under way", || one.calls(CREATE) >= most && two.calls(CREATE) >= most)
        .await;
    drop(first);
    let killed = Instant::now();
    for world in &worlds {
        world.vendor.set_faults(vec![]);
    }
    one.create(component("after", json!({}))).await;
    until_leads(&second, &["0", "1"]).await;
    let leads = killed.elapsed();
    one.until_ready(KIND, "after").await;
    let ready = killed.elapsed();
    join_all(objects.iter().map(|(world, name)| world.until_ready(KIND, name))).await;
    for (world, more) in [(one, 1), (two, 0)] {
        assert_eq!((world.effects(CREATE), world.vendor.aliyun_ecs().count()), (count + more, count + more));
    }
    let (code, log) = second.stop().await;
    assert_eq!(code, Some(0), "{log}");
    (leads, ready, log)
}

/// In two namespaces of two shards: each is worked on by the replica that leads its shard, and by no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distribution_is_worked_on_by_one_replica_in_each_of_several_namespaces() {
    const REGIONS: [&str; 3] = ["cn-beijing", "cn-shanghai", "cn-shenzhen"];
    let worlds = [
        World::with_account(&namespace("spread", 0)).await,
        World::with_account(&namespace("spread", 1)).await,
    ];
    let [one, two] = &worlds;
    let grace = Some(Duration::from_secs(20));
    let first = start(&[one, two], grace);
    until_leads(&first, &["0", "1"]).await;
    let second = start(&[one, two], grace);
    until_leads(&second, &["1"]).await;
    until_leads(&first, &["0"]).await;
    for world in &worlds {
        world.quicken();
        let regions: Vec<_> = REGIONS.iter().map(|region| json!({ "regionId": region })).collect();
        let parameters = json!({ "imageId": "m-spread", "destinationImageName": "spread" });
        world
            .create(json!({
                "apiVersion": "cloudimages.dev/v1alpha1", "kind": "ImageDistribution", "metadata": { "name": "spread" },
                "spec": { "regions": regions, "forProvider": parameters },
            }))
            .await;
    }
    for world in &worlds {
        let object = world.until_ready("ImageDistribution", "spread").await;
        assert_eq!(object["status"]["copies"], "3/3");
        assert_eq!(world.effects("CopyImage"), REGIONS.len());
        // Another one would ask for each once more, and be refused.
        let asked = world.all_writes("aliyunimagecopies").into_iter().filter(|write| write.verb == "create");
        assert_eq!(asked.count(), REGIONS.len());
    }
    // Whoever is left takes over what the other one had.
    let (code, log) = second.stop().await;
    assert_eq!(code, Some(0), "{log}");
    until_leads(&first, &["0", "1"]).await;
    for world in &worlds {
        world.delete("ImageDistribution", "spread").await;
        world.until_gone("ImageDistribution", "spread").await;
        let ecs = world.vendor.aliyun_ecs();
        assert_eq!((ecs.images(), ecs.snapshots()), (vec![], vec![]));
    }
    let (code, log) = first.stop().await;
    assert_eq!(code, Some(0), "{log}");
}

/// A ClusterCloudAccount of this shard of two, at the vendors of a world and with its Secret.
fn cluster_account(world: &World, shard: usize) -> Value {
    let shard = Shard::all(2)[shard];
    let is_of_shard = |name: &String| {
        let reference = AccountRef { kind: AccountKind::ClusterCloudAccount, name: name.clone() };
        shard.holds(&AccountKey::of(&reference, &world.namespace))
    };
    let names = (0..100).map(|number| format!("{}-shared-{number}", world.namespace));
    let name = names.into_iter().find(is_of_shard).expect("an account of each shard");
    let mut account = crate::harness::account(&name, world.endpoint());
    account["kind"] = json!("ClusterCloudAccount");
    account["spec"]["aliyun"]["credentialsSecretRef"]["namespace"] = json!(world.namespace);
    account["spec"]["allowedNamespaces"] = json!({ "names": [world.namespace] });
    account
}

/// A component and a pipeline that uses it are in two shards where their accounts are. Who has the component asks all shards
/// before an old version goes, and not only when the whole object does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_stays_as_long_as_an_object_of_another_shard_is_at_work_on_it() {
    const USER: &str = "ImagePipeline";
    let world = World::with_account(&namespace("retired", 0)).await;
    let shared = cluster_account(&world, 1);
    world.create(shared.clone()).await;
    let programs = [start(&[&world], None), start(&[&world], None)];
    join_all(programs.iter().map(|program| {
        program.until("/readyz", "each leads one", |_, body| body.matches("replica leads").count() == 1)
    }))
    .await;
    let bumped = |content: &str| json!({ "versionPolicy": "Bump", "versionsToKeep": 1, "forProvider": { "content": content } });
    world.create(component("base", bumped("RUN echo a"))).await;
    let first = world.until_ready(KIND, "base").await["status"]["imageId"].clone();

    // Whether its call has made anything is not known, so that it goes on.
    let unknown = FaultRule::new(Fault::BadGateway { effect: false }).action("CreateImagePipeline");
    world.vendor.set_faults(vec![unknown]);
    let mut user = image_of(USER, "user");
    user["spec"]["accountRef"] = json!({ "kind": "ClusterCloudAccount", "name": shared["metadata"]["name"] });
    user["spec"]["forProvider"]["build"] = json!([{ "componentRef": { "name": "base" } }]);
    world.create(user).await;
    let asked = |object: &Value| object["status"]["operation"]["state"] == "InFlight";
    let user = world.until(USER, "user", "it is at work", asked).await;
    assert_eq!(user["status"]["operation"]["references"][0]["id"], first, "{user:#}");

    world.patch(KIND, "base", json!({ "spec": bumped("RUN echo b") })).await;
    let told = |object: &Value| {
        let message = condition(object, "Ready")["message"].as_str().unwrap_or_default();
        let waits = format!("waits for ImagePipeline {}/user, which is at work on", world.namespace);
        is_ready(object) && message.contains("earlier versions stay") && message.contains(&waits)
    };
    let object = world.until(KIND, "base", "it says who needs the old version", told).await;
    let versions = &object["status"]["versions"];
    assert_eq!((&versions[0]["version"], &versions[1]["imageId"]), (&json!("1.0.1"), &first), "{object:#}");
    assert_eq!(world.calls("DeleteImageComponent"), 0, "nobody else has asked for that");

    // Once nobody is at work on it any more, it goes.
    world.vendor.set_faults(vec![]);
    world.delete(USER, "user").await;
    world.until_gone(USER, "user").await;
    let alone = |object: &Value| object["status"]["versions"].as_array().map(Vec::len) == Some(1);
    world.until(KIND, "base", "the old version is gone", alone).await;
    assert_eq!(world.effects("DeleteImageComponent"), 1);
    drop(programs);
}

/// A replica that holds both shards is stopped in the middle of its calls, for longer than its Leases last, and goes on when another
/// one has found out what became of them: it writes nothing more, and makes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_asleep_with_two_shards_makes_nothing_twice() {
    const COUNT: usize = 6;
    let worlds = [
        World::with_account(&namespace("slept", 0)).await,
        World::with_account(&namespace("slept", 1)).await,
    ];
    let [one, two] = &worlds;
    let slow = || FaultRule::new(Fault::SlowAnswer { millis: 5_000 }).action(CREATE);
    for world in &worlds {
        world.vendor.set_faults(vec![slow()]);
    }
    let first = start(&[one, two], None);
    until_leads(&first, &["0", "1"]).await;
    // The vendor would make any number of these.
    let parameters = json!({ "forProvider": { "name": null, "componentVersion": null } });
    let names: Vec<_> = (0..COUNT).map(|number| format!("component-{number}")).collect();
    let objects: Vec<_> =
        names.iter().flat_map(|name| worlds.iter().map(move |world| (world, name))).collect();
    join_all(objects.iter().map(|(world, name)| world.create(component(name, parameters.clone())))).await;
    let most = COUNT / 2;
    one.until_true("some calls are under way", || one.calls(CREATE) >= most && two.calls(CREATE) >= most)
        .await;
    first.pause();
    for world in &worlds {
        world.vendor.set_faults(vec![]);
    }
    let second = start(&[one, two], Some(Duration::from_secs(20)));
    until_leads(&second, &["0", "1"]).await;
    join_all(objects.iter().map(|(world, name)| world.until_ready(KIND, name))).await;

    first.go_on();
    let ended = || first.log().matches("the lease was lost").count() == 2;
    one.until_true("it has seen of both shards that it does not lead", ended).await;
    // The one that leads goes on, and is the only one.
    join_all(worlds.iter().map(|world| world.create(component("after", parameters.clone())))).await;
    join_all(worlds.iter().map(|world| world.until_ready(KIND, "after"))).await;
    for (world, name) in &objects {
        let object = world.get(KIND, name).await.expect("it is there");
        assert_eq!(object["status"]["operation"]["state"], "Succeeded", "{object:#}");
    }
    for world in &worlds {
        assert_eq!((world.effects(CREATE), world.vendor.aliyun_ecs().count()), (COUNT + 1, COUNT + 1));
    }
    let (code, log) = second.stop().await;
    assert_eq!(code, Some(0), "{log}");
}

/// Two namespaces of two shards with one key: their objects work on one image, and want to own one thing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo test --test e2e -- --ignored shards"]
async fn what_only_one_may_have_is_held_in_all_shards() {
    let worlds =
        [World::with_account(&namespace("held", 0)).await, World::with_account(&namespace("held", 1)).await];
    let [one, two] = &worlds;
    one.vendor.configure(|settings| {
        settings.aliyun_ecs.execution_seconds = 1.0;
        settings.volcengine.export_queue_seconds = 1.0;
        settings.volcengine.export_seconds = 20.0;
        // The vendor is not the one who keeps exports apart.
        settings.volcengine.lock_while_exporting = false;
    });
    one.run(1.0);
    for world in &worlds {
        world.create(secret("volcengine")).await;
        world.create(volcengine_account("volcengine", one.volcengine_endpoint())).await;
        world.create(crate::harness::account("shared", one.endpoint())).await;
    }
    let programs = [start(&[one, two], None), start(&[one, two], None)];
    join_all(programs.iter().map(|program| {
        program.until("/readyz", "each leads one", |_, body| body.matches("replica leads").count() == 1)
    }))
    .await;

    // What one shard made, the other does not take over; nor do both take over what neither made.
    let shared = json!({ "accountRef": { "name": "shared" } });
    one.create(component("made", shared.clone())).await;
    let made = one.until_ready(KIND, "made").await;
    two.create(component("gone", shared.clone())).await;
    let left = two.until_ready(KIND, "gone").await;
    two.patch(KIND, "gone", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    two.delete(KIND, "gone").await;
    two.until_gone(KIND, "gone").await;
    let import = |object: &Value| {
        let id = object["status"]["imageId"].clone();
        json!({ "accountRef": { "name": "shared" }, "import": { "id": id }, "forProvider": { "name": null } })
    };
    two.create(component("theirs", import(&made))).await;
    // Nor as an object of another kind.
    let mut build = image_of("ImageBuild", "built");
    build["spec"]["accountRef"] = shared["accountRef"].clone();
    one.create(build).await;
    let built = one.until_ready("ImageBuild", "built").await;
    let mut copy = component("built", import(&built));
    copy["kind"] = json!("AliyunImageCopy");
    copy["spec"]["forProvider"] = json!({ "destinationRegionId": "cn-hangzhou" });
    two.create(copy).await;
    join_all(worlds.iter().map(|world| world.create(component("both", import(&left))))).await;

    let exports = worlds.iter().flat_map(|world| ["a"].map(|name| (world, name)));
    let exports: Vec<_> = exports.collect();
    let account = json!({ "accountRef": { "name": "volcengine" } });
    join_all(
        exports.iter().map(|(world, name)| world.create(image_export(name, "image-44", account.clone()))),
    )
    .await;
    one.until_true("one export runs", || one.effects(EXPORT) > 0).await;
    // The rest of them takes less.
    one.run(20.0);
    join_all(exports.iter().map(|(world, name)| world.until_ready("ImageExport", name))).await;
    assert_eq!(one.effects(EXPORT), 2);
    assert_eq!(one.vendor.volcengine().overlapping_exports(), []);

    // Two that use one key have half of what the vendor takes each: 1 000 in 60 s.
    let half = |body: &str| {
        let rates =
            body.lines().filter(|line| line.starts_with("cloud_image_operator_rate_limit_calls_per_second"));
        let mut rates = rates.filter(|line| line.contains(CREATE));
        rates.any(|rate| rate.rsplit_once(' ').is_some_and(|(_, rate)| rate.starts_with("8.3")))
    };
    join_all(programs.iter().map(|program| program.until("/metrics", "it takes half", |_, body| half(body))))
        .await;

    let held = |object: &Value| condition(object, "Ready")["reason"] == "HeldByOther";
    two.until(KIND, "theirs", "it is another's", held).await;
    two.until("AliyunImageCopy", "built", "it is another's", held).await;
    // Nor does it keep a lock on that from its owner, or from anybody once its owner lets go.
    one.patch(KIND, "made", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    one.delete(KIND, "made").await;
    one.until_gone(KIND, "made").await;
    two.until_ready(KIND, "theirs").await;
    let is_ready = |object: &Value| condition(object, "Ready")["status"] == "True";
    // One of them gets it; the other does not, however often it looks.
    let end = Instant::now() + PATIENCE;
    let number = loop {
        let both = join_all(worlds.iter().map(|world| world.get(KIND, "both"))).await;
        if let Some(number) = both.iter().position(|object| object.as_ref().is_some_and(is_ready)) {
            break number;
        }
        if Instant::now() >= end {
            let leases = one.list("Lease").await;
            let logs = programs.each_ref().map(Program::log);
            panic!("nobody owns the thing: {both:#?} {leases:#?} {logs:#?}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let other = &worlds[1 - number];
    other.until(KIND, "both", "it is another's", held).await;
}
