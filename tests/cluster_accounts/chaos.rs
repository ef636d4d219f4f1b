//! A minute in which tenants do whatever they can, at random, while others' objects must stay right. They have objects, too, that
//! the operator cannot read, and in the middle it is started anew.
//!
//! `CHAOS_SECONDS` makes it longer, `CHAOS_SEED` takes the same choices again; a run prints its seed.

use crate::harness::{
    World, account, aosp_image, component, image_export, is_ready, secret, volcengine_account,
};
use base64::prelude::{BASE64_STANDARD, Engine};
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use vendor_simulator::{Fault, FaultRule, When};

const FINALIZER: &str = "cloudimages.dev/external";
const RECORD: &str = "cloudimages.dev/attempt";
const VOLUME: &str = "b94ff32725d133fea53e8ada5ea7f0fc";
/// How many objects the others have at a time.
const OTHERS: usize = 6;
/// How long each step of theirs may take.
const STEP: Duration = Duration::from_secs(90);
/// What no operator takes, where the schema does: as tenants write it, and as a hand writes it into a status.
const TIMEOUT: &str = "/schema/openAPIV3Schema/properties/spec/properties/timeout";
const ATTEMPT: &str = "/schema/openAPIV3Schema/properties/status/properties/operation/properties/attempt";
/// One for each client of a vendor, and each way to find a lost answer; pipelines and copies share those of components.
const KINDS: [&str; 4] = ["ImageComponent", "AospImage", "ImageExport", "RootVolumeTemplate"];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn zstack(name: &str, world: &World) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "CloudAccount",
        "metadata": { "name": name },
        "spec": { "zstack": {
            "endpoint": format!("http://{}", world.vendor.addresses().zstack),
            "credentialsSecretRef": { "name": "zstack" },
            "timeZone": "UTC",
        } },
    })
}

/// Accounts at a cloud, by the names `default` (Alibaba Cloud), `volcengine` and `zstack` with something before them.
async fn accounts(world: &World, cloud: &World, prefix: &str) {
    world.create(account(&format!("{prefix}default"), cloud.endpoint())).await;
    world.create(volcengine_account(&format!("{prefix}volcengine"), cloud.volcengine_endpoint())).await;
    world.create(zstack(&format!("{prefix}zstack"), cloud)).await;
}

async fn secrets(world: &World) {
    let mut keys = secret("zstack");
    keys["stringData"] = json!({ "accountName": "admin", "password": "password" });
    world.create(keys).await;
    for name in ["aliyun", "volcengine"] {
        world.create(secret(name)).await;
    }
}

/// An object of a kind; `prefix`: of the account's name.
fn object(kind: &str, name: &str, prefix: &str) -> Value {
    let of = |account: &str| json!({ "accountRef": { "name": format!("{prefix}{account}") } });
    match kind {
        "ImageComponent" => component(name, of("default")),
        "AospImage" => aosp_image(name, of("volcengine")),
        // Each has an image of its own: to wait for another's export would be right.
        "ImageExport" => image_export(name, &format!("image-{name}"), of("volcengine")),
        _ => json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": kind,
            "metadata": { "name": name },
            "spec": {
                "accountRef": { "name": format!("{prefix}zstack") },
                "forProvider": { "name": name, "rootVolumeUuid": VOLUME },
            },
        }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_tenants_do_others_objects_stay_right() {
    let seed = number("CHAOS_SEED").unwrap_or_else(rand::random);
    let lasts = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(40));
    eprintln!("CHAOS_SEED={seed} CHAOS_SECONDS={}", lasts.as_secs());
    let (world, tenant) = (World::empty("chaos").await, World::empty("chaos-tenant").await);
    for cloud in [&world, &tenant] {
        cloud.vendor.configure(|settings| {
            settings.volcengine.queue_seconds = 0.5;
            settings.volcengine.build_seconds = 1.0;
            settings.volcengine.export_queue_seconds = 0.5;
            settings.volcengine.export_seconds = 1.0;
            settings.zstack.create_seconds = 1.0;
        });
    }
    tenant.vendor.configure(|settings| settings.seed = 7);
    // Now and then an answer is lost, too.
    let lost = |action| FaultRule::new(Fault::AnswerLost).action(action).when(When::chance(0.05, seed));
    world
        .vendor
        .set_faults(vec![lost("CreateImageComponent"), lost("CreateRootVolumeTemplateFromRootVolume")]);
    for (of, cloud, prefix) in [(&world, &world, ""), (&tenant, &tenant, ""), (&tenant, &world, "their-")] {
        if prefix.is_empty() {
            secrets(of).await;
        }
        accounts(of, cloud, prefix).await;
    }
    let mut shared = account("chaos-shared", world.endpoint());
    shared["kind"] = json!("ClusterCloudAccount");
    shared["spec"]["aliyun"]["credentialsSecretRef"]["namespace"] = json!("chaos");
    shared["spec"]["allowedNamespaces"] = json!({ "names": ["chaos"] });
    world.create(shared).await;
    for kind in KINDS {
        world.loosen(&format!("{}s", kind.to_lowercase()), &[TIMEOUT, ATTEMPT]).await;
    }
    let endpoints: Vec<_> = [&world, &tenant].into_iter().flat_map(World::endpoints).collect();
    let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
    let namespaces = ["chaos", "chaos-tenant"];
    let mut keeper = World::empty("chaos-keeper").await;
    keeper.beat = Duration::from_secs(1);
    keeper.start_operator_with(&namespaces, &endpoints).await;

    let (over, deeds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let time = async {
        sleep(lasts / 2).await;
        keeper.stop_operator().await;
        sleep(Duration::from_secs(1)).await;
        keeper.start_operator_with(&namespaces, &endpoints).await;
        sleep(lasts / 2).await;
        over.store(true, Ordering::SeqCst);
    };
    let tenants = (0..3).map(|number| {
        let mut mischief =
            Mischief { world: &world, tenant: &tenant, random: random(seed, number), made: 0, number };
        let (over, deeds) = (&over, &deeds);
        async move {
            while !over.load(Ordering::SeqCst) {
                mischief.act().await;
                deeds.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(mischief.random.random_range(0..400))).await;
            }
        }
    });
    let others = (0..OTHERS).map(|number| {
        let mut random = random(seed, 1000 + number as u64);
        let (world, over) = (&world, &over);
        async move {
            let mut made = vec![];
            while !over.load(Ordering::SeqCst) {
                let kind = KINDS[(number + made.len()) % KINDS.len()];
                live(world, kind, &format!("good-{number}-{}", made.len()), &mut random).await;
                made.push(kind);
            }
            made
        }
    });
    let ((), _, made) = tokio::join!(time, join_all(tenants), join_all(others));
    let made: Vec<_> = made.into_iter().flatten().collect();
    eprintln!("{} objects lived through {deeds:?} deeds", made.len());

    // Each was made once, and is gone with its object.
    let count = |kind: &str| made.iter().filter(|it| **it == kind).count();
    for (kind, create, delete) in [
        ("ImageComponent", "CreateImageComponent", Some("DeleteImageComponent")),
        ("AospImage", "BuildAOSPImage", Some("DeleteAOSPImage")),
        ("ImageExport", "ExportImage", None),
        ("RootVolumeTemplate", "CreateRootVolumeTemplateFromRootVolume", None),
    ] {
        assert_eq!(world.effects(create), count(kind), "{create}; seed {seed}; {:#?}", world.call_log());
        if let Some(delete) = delete {
            assert_eq!(world.effects(delete), count(kind), "{delete}; seed {seed}; {:#?}", world.call_log());
        }
    }
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
    assert!(world.vendor.volcengine().aosp_images().iter().all(|image| image.public));
    assert!(world.vendor.zstack().images().is_empty());
    assert_eq!(world.vendor.volcengine().exported_objects().len(), count("ImageExport"));
    assert!(unreadable(&tenant).await > 0, "seed {seed}");
}

/// What cannot be read, of which each says so itself.
async fn unreadable(tenant: &World) -> usize {
    let mut odd = 0;
    for kind in KINDS {
        for object in tenant.list(kind).await {
            if is_odd(&object) {
                odd += 1;
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                tenant.until_condition(kind, name, "Stalled", "True", "InvalidObject").await;
            }
        }
    }
    odd
}

/// Whether no operator can read it.
fn is_odd(object: &Value) -> bool {
    object["spec"]["timeout"].is_number()
        || object["status"]["operation"]["attempt"].as_u64() > Some(u64::from(u32::MAX))
}

fn random(seed: u64, stream: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_add(stream))
}

/// One of the others' objects, from its creation to its end.
async fn live(world: &World, kind: &str, name: &str, random: &mut StdRng) {
    let step = |what: &'static str| format!("{kind} {name} is not {what} in time");
    world.create(object(kind, name, "")).await;
    let ready =
        timeout(STEP, world.until_ready(kind, name)).await.unwrap_or_else(|_| panic!("{}", step("Ready")));
    sleep(Duration::from_millis(random.random_range(0..2000))).await;
    if random.random_bool(0.3) {
        // As `kubectl replace -f` with the manifest that was there before.
        world.patch(kind, name, json!({ "metadata": { "finalizers": null, "annotations": null } })).await;
        let held = world.until(kind, name, "it is held again", |object| {
            object["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(FINALIZER)))
        });
        timeout(STEP, held).await.unwrap_or_else(|_| panic!("{}", step("held again")));
    }
    let now = world.get(kind, name).await.expect("it is there");
    assert!(is_ready(&now), "{now:#}");
    assert_eq!(now["status"]["imageId"], ready["status"]["imageId"], "{now:#}");
    world.delete(kind, name).await;
    timeout(STEP, world.until_gone(kind, name)).await.unwrap_or_else(|_| panic!("{}", step("gone")));
}

/// What a tenant does in its own namespace.
struct Mischief<'a> {
    world: &'a World,
    tenant: &'a World,
    random: StdRng,
    made: usize,
    number: u64,
}

impl Mischief<'_> {
    async fn act(&mut self) {
        let kind = *KINDS.choose(&mut self.random).expect("a kind");
        match self.random.random_range(0..16) {
            0 => self.forge(kind).await,
            1 => self.restore(kind).await,
            2 | 3 => self.take_over(kind).await,
            4 => self.use_what_is_not_allowed().await,
            5 => self.block_an_export().await,
            6 => self.touch_secrets().await,
            7 => self.break_a_secret().await,
            8 => self.make_an_account().await,
            9 => self.garble_a_status(kind).await,
            10 => self.replace(kind).await,
            11 => self.answer(kind).await,
            12 => drop(self.make(object(kind, "", "")).await),
            13 | 14 => self.make_unreadable(kind).await,
            _ => self.remove(kind).await,
        }
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("t{}-{}", self.number, self.made)
    }

    /// Creates an object under a new name, if the API server takes it.
    async fn make(&mut self, mut object: Value) -> Option<Value> {
        let name = self.name();
        object["metadata"]["name"] = json!(name);
        for field in ["name", "imageName"] {
            if object["spec"]["forProvider"][field].is_string() {
                object["spec"]["forProvider"][field] = json!(name);
            }
        }
        self.tenant.try_create(object).await.ok()
    }

    /// Some object of a namespace.
    async fn some(&mut self, of: &World, kind: &str) -> Option<Value> {
        of.list(kind).await.choose(&mut self.random).cloned()
    }

    async fn mine(&mut self, kind: &str) -> Option<String> {
        let some = self.some(self.tenant, kind).await?;
        some["metadata"]["name"].as_str().map(str::to_owned)
    }

    /// A finalizer and a record of an attempt that never was.
    async fn forge(&mut self, kind: &str) {
        let mut forged = object(kind, "", "their-");
        forged["spec"]["suspend"] = json!(true);
        forged["metadata"]["finalizers"] = json!([FINALIZER]);
        let Some(forged) = self.make(forged).await else { return };
        let name = forged["metadata"]["name"].as_str().unwrap_or_default();
        let record = format!(
            "{}/{}",
            forged["metadata"]["uid"].as_str().unwrap_or_default(),
            self.random.random_range(0..3)
        );
        let annotations = json!({ "metadata": { "annotations": { RECORD: record } } });
        let _ = self.tenant.try_patch(kind, name, annotations).await;
    }

    /// A copy of another's object, with its finalizer and record, as a backup or `sed` makes it.
    async fn restore(&mut self, kind: &str) {
        let Some(mut copy) = self.some(self.world, kind).await else { return };
        let metadata = copy["metadata"].clone();
        copy["metadata"] =
            json!({ "annotations": metadata["annotations"], "finalizers": metadata["finalizers"] });
        let status = copy["status"].take();
        // With an account that it may use; at the others' cloud, it would be told that the name is taken, or build its own.
        copy["spec"]["accountRef"] = object(kind, "", "")["spec"]["accountRef"].clone();
        let Some(copy) = self.make(copy).await else { return };
        if self.random.random_bool(0.5) {
            let _ = self
                .tenant
                .try_patch_status(kind, copy["metadata"]["name"].as_str().unwrap_or_default(), status)
                .await;
        }
    }

    /// Imports what another's object has, to delete it.
    async fn take_over(&mut self, kind: &str) {
        let Some(theirs) = self.some(self.world, kind).await else { return };
        let status = &theirs["status"];
        let id = status["imageId"].as_str().or(status["taskId"].as_str());
        let (Some(id), "Ready" | "Building") = (id, status["phase"].as_str().unwrap_or_default()) else {
            return;
        };
        let mut import = object(kind, "", "their-");
        let parameters = import["spec"]["forProvider"].as_object_mut().expect("parameters");
        parameters.retain(|name, _| matches!(name.as_str(), "imageId"));
        import["spec"]["import"] = json!({ "id": id });
        import["spec"]["deletionPolicy"] = json!("Delete");
        for _ in 0..2 {
            self.make(import.clone()).await;
        }
    }

    async fn use_what_is_not_allowed(&mut self) {
        let account = json!({ "accountRef": { "kind": "ClusterCloudAccount", "name": "chaos-shared" } });
        let mut object = component("", account);
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        let Some(made) = self.make(object).await else { return };
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        let record = format!("{}/1", made["metadata"]["uid"].as_str().unwrap_or_default());
        self.tenant.annotate("ImageComponent", name, RECORD, &record).await;
        self.tenant.delete("ImageComponent", name).await;
    }

    /// An export of another's image that never begins.
    async fn block_an_export(&mut self) {
        let Some(theirs) = self.some(self.world, "ImageExport").await else { return };
        let image = theirs["spec"]["forProvider"]["imageId"].as_str().unwrap_or_default();
        let spec = match self.random.random_range(0..2) {
            0 => json!({ "suspend": true, "accountRef": { "name": "their-volcengine" } }),
            _ => json!({ "accountRef": { "name": "none" } }),
        };
        let mut blocker = image_export("", image, spec);
        blocker["metadata"]["finalizers"] = json!([FINALIZER]);
        self.make(blocker).await;
    }

    /// As rotation tools do every few seconds, everywhere.
    async fn touch_secrets(&mut self) {
        let value = self.random.random_range(0..1000).to_string();
        for world in [self.world, self.tenant] {
            for name in ["aliyun", "volcengine", "zstack"] {
                world.annotate("Secret", name, "touched", &value).await;
            }
        }
    }

    async fn break_a_secret(&mut self) {
        let values: [&[u8]; 5] = [
            b"\xef\xbb\xbfsimulator-secret",
            b"\xff\xfes\0i\0m\0",
            b"\"simulator-secret\"",
            b"two\nlines",
            b"",
        ];
        let value = BASE64_STANDARD.encode(values.choose(&mut self.random).expect("a value"));
        self.tenant.patch("Secret", "volcengine", json!({ "data": { "accessKeySecret": value } })).await;
    }

    async fn make_an_account(&mut self) {
        let mut account = account("", self.tenant.endpoint());
        let periods = ["1m1h", "30s30s", "1.5h30m", "0s", "1h", "999999h"];
        account["spec"]["limits"] = json!([{
            "action": "CreateImageComponent",
            "requests": self.random.random_range(0..3),
            "period": periods.choose(&mut self.random),
        }]);
        match self.random.random_range(0..5) {
            0 => account["spec"]["aliyun"]["ecs"]["endpoint"] = json!("http://169.254.169.254/latest"),
            1 => account["spec"]["aliyun"]["credentialsSecretRef"]["name"] = json!("none"),
            2 => {
                account["spec"] = json!({ "zstack": {
                "endpoint": "https://127.0.0.1:1", "credentialsSecretRef": { "name": "zstack" },
                "timeZone": "Nowhere/Land", "caBundle": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            } });
            }
            _ => {}
        }
        let Some(made) = self.make(account).await else { return };
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        self.make(component("", json!({ "accountRef": { "name": name } }))).await;
    }

    /// What a restore, or a hand, may leave in a status.
    async fn garble_a_status(&mut self, kind: &str) {
        let Some(name) = self.mine(kind).await else { return };
        let theirs = self.some(self.world, kind).await.unwrap_or_default();
        let statuses = [
            json!({ "imageId": null, "conditions": null }),
            json!({ "operation": null }),
            json!({ "phase": "Ready", "imageId": theirs["status"]["imageId"], "taskId": theirs["status"]["taskId"] }),
            theirs["status"].clone(),
            json!({ "operation": { "attempt": 7 } }),
        ];
        let status = statuses.choose(&mut self.random).expect("a status").clone();
        let _ = self.tenant.try_patch_status(kind, &name, status).await;
    }

    /// One of its own that nobody can read, at its own cloud or at the others', also with what another's object has, or while
    /// something is made for it.
    async fn make_unreadable(&mut self, kind: &str) {
        let odd = json!({ "spec": { "timeout": 7 } });
        match self.random.random_range(0..3) {
            0 => {
                let prefix = ["", "their-"].choose(&mut self.random).expect("a prefix");
                let mut object = object(kind, "", prefix);
                json_patch::merge(&mut object, &odd);
                if let Some(theirs) = self.some(self.world, kind).await
                    && let Some(id) = theirs["status"]["imageId"].as_str()
                {
                    object["spec"]["import"] = json!({ "id": id });
                    object["metadata"]["finalizers"] = json!([FINALIZER]);
                }
                self.make(object).await;
            }
            1 => {
                let Some(name) = self.mine(kind).await else { return };
                let _ = self.tenant.try_patch(kind, &name, odd).await;
            }
            _ => {
                let Some(name) = self.mine(kind).await else { return };
                let status = json!({ "operation": { "attempt": 5_000_000_000_u64 } });
                let _ = self.tenant.try_patch_status(kind, &name, status).await;
            }
        }
    }

    async fn replace(&mut self, kind: &str) {
        let Some(name) = self.mine(kind).await else { return };
        let bare = json!({ "metadata": { "finalizers": null, "annotations": null } });
        let _ = self.tenant.try_patch(kind, &name, bare).await;
    }

    /// An answer to what nobody asked, which names another's image.
    async fn answer(&mut self, kind: &str) {
        let Some(name) = self.mine(kind).await else { return };
        let theirs = self.some(self.world, kind).await.unwrap_or_default();
        let id = theirs["status"]["imageId"].as_str().unwrap_or("none").to_owned();
        let request = self.random.random_range(0..1000).to_string();
        let annotations = json!({
            "cloudimages.dev/outcome": format!("adopt={id}"), "reconcile.cloudimages.dev/requested-at": request,
        });
        let _ =
            self.tenant.try_patch(kind, &name, json!({ "metadata": { "annotations": annotations } })).await;
    }

    async fn remove(&mut self, kind: &str) {
        if let Some(name) = self.mine(kind).await {
            self.tenant.try_delete(kind, &name).await;
        }
    }
}
