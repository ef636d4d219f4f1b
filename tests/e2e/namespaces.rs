//! A namespace goes with everything in it: images of all kinds, their accounts and Secrets, in any order, whatever the images
//! are about to do; the accounts may be the whole cluster's, too. It ends, and nothing is left at the vendors.

use crate::harness::{World, account_at, condition, distribution, image_of, secret};
use cloud_image_operator::kinds;
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::Change;

const KINDS: [&str; 8] = [
    "ImageComponent",
    "ImagePipeline",
    "ImageBuild",
    "AliyunImageCopy",
    "BatchComputeImage",
    "AospImage",
    "ImageExport",
    "RootVolumeTemplate",
];
const _: () = assert!(KINDS.len() == kinds::KINDS.len(), "a kind is left out");
const ACCOUNT: &str = "CloudAccount";
const CLUSTER_ACCOUNT: &str = "ClusterCloudAccount";

/// It calls no vendor itself: it has a copy in each of these regions.
const DISTRIBUTION: &str = "ImageDistribution";
const COPY: &str = "AliyunImageCopy";
const REGIONS: [&str; 2] = ["cn-beijing", "cn-shenzhen"];

/// Everything that can be made.
fn all_kinds() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().chain([DISTRIBUTION])
}

/// With the kind's account, which is called like the kind.
fn object(kind: &str, name: &str) -> Value {
    let mut object =
        if kind == DISTRIBUTION { distribution(name, &REGIONS, json!({})) } else { image_of(kind, name) };
    object["spec"]["accountRef"] = json!({ "name": kind.to_lowercase() });
    object
}

async fn with_accounts(name: &str) -> World {
    let mut world = World::empty(name).await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    for kind in all_kinds() {
        for object in account_at(kind, &kind.to_lowercase(), world.vendor.addresses()) {
            world.create(object).await;
        }
    }
    world
}

/// The same accounts as the whole cluster's, whose Secrets are in the namespace.
async fn with_cluster_accounts(name: &str) -> World {
    let mut world = World::empty(name).await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    for kind in all_kinds() {
        let [secret, mut account] = account_at(kind, &kind.to_lowercase(), world.vendor.addresses());
        account["kind"] = json!(CLUSTER_ACCOUNT);
        account["metadata"]["name"] = json!(cluster_account(name, kind));
        account["spec"]["allowedNamespaces"] = json!({ "names": [name] });
        for vendor in ["aliyun", "volcengine", "zstack"] {
            if let Some(vendor) = account["spec"].get_mut(vendor) {
                vendor["credentialsSecretRef"]["namespace"] = json!(name);
            }
        }
        world.create(secret).await;
        world.create(account).await;
    }
    world
}

/// The name of a kind's account that is the whole cluster's.
fn cluster_account(namespace: &str, kind: &str) -> String {
    format!("{namespace}-{}", kind.to_lowercase())
}

/// What was made and not deleted; an exported file is the user's.
fn left(world: &World) -> Vec<String> {
    let effects = world.vendor.ledger().effects;
    let is_deleted =
        |id: &str| effects.iter().any(|effect| effect.change == Change::Deleted && effect.id == id);
    let made =
        effects.iter().filter(|effect| effect.change == Change::Created && effect.action != "ExportImage");
    made.filter(|effect| !is_deleted(&effect.id)).map(|effect| effect.id.clone()).collect()
}

/// Everything is deleted in an order that the seed chooses, with nothing waited for in between; somewhere on the way the
/// namespace itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_in_any_order_and_nothing_is_left() {
    let seeds = 0..5_u64;
    let has_cluster_accounts = |seed: u64| seed == 4;
    let mut worlds = vec![];
    for seed in seeds.clone() {
        let name = format!("any-order-{seed}");
        let world = if has_cluster_accounts(seed) {
            with_cluster_accounts(&name).await
        } else {
            with_accounts(&name).await
        };
        worlds.push(world);
    }
    let namespaces: Vec<_> = worlds.iter().skip(1).map(|world| world.namespace.clone()).collect();
    let namespaces: Vec<_> = namespaces.iter().map(String::as_str).collect();
    let endpoints: Vec<_> = worlds.iter().flat_map(World::endpoints).collect();
    let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
    worlds[0].start_operator_with(&namespaces, &endpoints).await;
    join_all(worlds.iter().zip(seeds).map(async |(world, seed)| {
        let mut random = StdRng::seed_from_u64(seed);
        let account = |kind: &str| {
            if has_cluster_accounts(seed) {
                (CLUSTER_ACCOUNT, cluster_account(&world.namespace, kind))
            } else {
                (ACCOUNT, kind.to_lowercase())
            }
        };
        let object = |kind: &str, name: &str| {
            let (mut object, (account_kind, account)) = (object(kind, name), account(kind));
            object["spec"]["accountRef"] = json!({ "kind": account_kind, "name": account });
            object
        };
        for kind in all_kinds() {
            world.create(object(kind, &format!("ready-{seed}"))).await;
        }
        for kind in all_kinds() {
            world.until_ready(kind, &format!("ready-{seed}")).await;
        }
        let mut all = vec![("Namespace", world.namespace.clone())];
        for kind in all_kinds() {
            all.push(("Secret", kind.to_lowercase()));
            all.push(account(kind));
            all.push((kind, format!("ready-{seed}")));
            // On its way, or just about to be.
            let new = format!("new-{seed}");
            world.create(object(kind, &new)).await;
            all.push((kind, new));
        }
        // It is made anew as long as its owner is there.
        all.push((COPY, format!("ready-{seed}-{}", REGIONS[0])));
        all.shuffle(&mut random);
        for (kind, name) in &all {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
            world.try_delete(kind, name).await;
        }
        // The namespace goes last, whatever is first.
        for (kind, name) in all.iter().filter(|(kind, _)| *kind != "Namespace") {
            world.until_gone(kind, name).await;
        }
        world.until_gone("Namespace", &world.namespace).await;
        // What was being made for an object that was gone before it had a finalizer goes after it.
        world.until_true(&format!("nothing is left, seed {seed}: {all:?}"), || left(world).is_empty()).await;
    }))
    .await;
}

/// The credentials that a running operator knows are gone with its process: each object names the Secret to put back, and what
/// helps where the API server lets nobody put anything back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_vanished_is_named_and_there_is_a_way_without_it() {
    let mut world = with_accounts("secret-gone").await;
    world.start_operator().await;
    for kind in KINDS {
        for name in ["first", "last"] {
            world.create(object(kind, &format!("{}-{name}", kind.to_lowercase()))).await;
        }
    }
    for kind in KINDS {
        for name in ["first", "last"] {
            world.until_ready(kind, &format!("{}-{name}", kind.to_lowercase())).await;
        }
    }
    let many = format!("{}-last", DISTRIBUTION.to_lowercase());
    world.create(object(DISTRIBUTION, &many)).await;
    world.until_ready(DISTRIBUTION, &many).await;
    world.stop_operator().await;
    for kind in all_kinds() {
        world.delete("Secret", &kind.to_lowercase()).await;
    }
    // What an export has made is in a bucket: there is nothing to delete, and so nothing to wait for.
    let kinds = KINDS.into_iter().filter(|kind| *kind != "ImageExport");
    let kinds: Vec<_> = kinds.collect();
    for kind in &kinds {
        world.delete(kind, &format!("{}-first", kind.to_lowercase())).await;
    }
    world.start_operator().await;
    for kind in &kinds {
        let (lower, name) = (kind.to_lowercase(), format!("{}-first", kind.to_lowercase()));
        let message = world.until_condition(kind, &name, "Ready", "False", "SecretNotFound").await;
        assert!(
            message.contains(&format!("Secret secret-gone/{lower} does not exist; create it")),
            "{message}"
        );
        world.create(secret(&lower)).await;
        world.until_gone(kind, &name).await;
        world.delete("Secret", &lower).await;
    }
    let stays = kinds.len() + REGIONS.len();
    assert_eq!(left(&world).len(), stays, "{:#?}", world.call_log());

    world.stop_operator().await;
    world.delete("Namespace", "secret-gone").await;
    for kind in &kinds {
        let name = format!("{}-last", kind.to_lowercase());
        world
            .until(kind, &name, "it goes", |object| object["metadata"]["deletionTimestamp"].is_string())
            .await;
    }
    world.start_operator().await;
    for kind in &kinds {
        let name = format!("{}-last", kind.to_lowercase());
        let message = world.until_condition(kind, &name, "Ready", "False", "SecretNotFound").await;
        let refusal = world.try_create(secret(&kind.to_lowercase())).await.unwrap_err();
        assert!(refusal.contains("being terminated"), "{refusal}");
        let object = world.get(kind, &name).await.expect("it is there");
        let id = object["status"]["imageId"].as_str().expect("an id");
        assert!(message.contains("deletionPolicy: Retain") && message.contains(id), "{message}");
        world.patch(kind, &name, json!({ "spec": { "deletionPolicy": "Retain" } })).await;
        world.until_gone(kind, &name).await;
    }
    // It names its copies' Secret, and its policy is theirs.
    let names_it = |object: &Value| {
        let message = condition(object, "Ready")["message"].as_str().unwrap_or_default();
        REGIONS.iter().all(|region| message.contains(&format!("{COPY} {many}-{region}: SecretNotFound: ")))
            && message.contains("deletionPolicy: Retain")
    };
    world.until(DISTRIBUTION, &many, "it names the Secret of its copies", names_it).await;
    world.patch(DISTRIBUTION, &many, json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.until_gone(DISTRIBUTION, &many).await;
    world.until_gone("Namespace", "secret-gone").await;
    assert_eq!(left(&world).len(), stays, "{:#?}", world.call_log());
}
