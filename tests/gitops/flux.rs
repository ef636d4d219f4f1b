//! Flux' own kustomize-controller brings account and images to the cluster, revision by revision, as `deploy/flux` says,
//! and its Kustomization tells the truth.

use super::{
    artifact::Source,
    samples,
    tools::{Controller, deployed},
};
use crate::harness::{World, condition};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use vendor_simulator::{Fault, FaultRule};

const CREATE: &str = "CreateImageComponent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kustomization_of_images_from_the_first_revision_to_its_deletion() {
    let mut world = World::empty("flux").await;
    world.beat = Duration::from_secs(1);
    world.freeze();
    world.start_operator().await;
    let mut source = Source::start(&world, "fleet").await;
    let controller = Controller::start(&world).await;
    let mut files = sample_files(&world);

    // It is Ready when all of its images are, and not before.
    source.publish(&world, "v1", &files).await;
    world.create(kustomization(&world)).await;
    let building = |object: &Value| {
        condition(object, "Reconciling")["message"]
            .as_str()
            .is_some_and(|text| text.contains("health checks"))
    };
    until(&world, &controller, "it waits for its objects", building).await;
    for object in samples::all(&world).into_iter().filter(samples::is_image) {
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        world.until(kind, name, "it was begun", |object| object["status"]["operation"].is_object()).await;
    }
    assert_ne!(condition(&get(&world).await, "Ready")["status"], "True", "nothing is built");
    world.run(600.0);
    until_ready(&world, &controller, "v1").await;
    for object in samples::all(&world).into_iter().filter(samples::is_image) {
        world.until_ready(text(&object["kind"]), text(&object["metadata"]["name"])).await;
    }

    one_more_look_changes_nothing(&world, &controller).await;

    // A revision that changes one object changes that one.
    let before = generations(&world).await;
    let component = "images/imagecomponents/imagecomponents.yaml";
    replace(
        &mut files,
        component,
        "tag: [{key: team, value: base}]",
        "tag: [{key: team}, {key: stage, value: test}]",
    );
    source.publish(&world, "v2", &files).await;
    until_ready(&world, &controller, "v2").await;
    let mut changed = generations(&world).await;
    changed.retain(|object, generation| before.get(object) != Some(generation));
    assert_eq!(changed.keys().map(String::as_str).collect::<Vec<_>>(), ["ImageComponent hello"]);
    let [made] = world.vendor.aliyun_ecs().components().try_into().expect("one component");
    assert_eq!(
        made.tags,
        [("team", ""), ("stage", "test")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    );

    // One that removes an object removes it, and what it stands for.
    let removed = "BatchComputeImage";
    replace(&mut files, "images/kustomization.yaml", "  - batchcomputeimages\n", "");
    source.publish(&world, "v3", &files).await;
    until_ready(&world, &controller, "v3").await;
    world.until_gone(removed, "batch").await;
    assert_eq!(world.effects("DeleteImage"), 1, "{:#?}", world.call_log());

    // One with an object that the vendor refuses is not Ready at once: its timeout is hours away.
    world.vendor.set_faults(vec![refusal()]);
    let refused =
        files[component].replace("name: hello", "name: refused").replace("testComponent", "refused");
    files.insert("images/refused.yaml".into(), refused);
    replace(&mut files, "images/kustomization.yaml", "resources:\n", "resources:\n  - refused.yaml\n");
    source.publish(&world, "v4", &files).await;
    let failed = |object: &Value| {
        object["status"]["lastAttemptedRevision"] == "v4" && condition(object, "Ready")["status"] == "False"
    };
    let kustomization = until(&world, &controller, "it is not Ready", failed).await;
    let ready = condition(&kustomization, "Ready");
    assert_eq!(ready["reason"], "HealthCheckFailed", "{ready}");
    assert!(text(&ready["message"]).contains("refused"), "{ready}");
    assert!(!text(&ready["message"]).contains("timeout waiting"), "{ready}");

    // And the one that mends it is Ready again.
    replace(
        &mut files,
        "images/refused.yaml",
        "name: refused\n    componentVersion",
        "name: mended\n    componentVersion",
    );
    source.publish(&world, "v5", &files).await;
    until_ready(&world, &controller, "v5").await;

    // With the Kustomization go the images, though their accounts and Secrets are deleted at the same time.
    let all = generations(&world).await;
    world.delete("Kustomization", "images").await;
    for object in all.keys() {
        let (kind, name) = object.split_once(' ').expect("kind and name");
        world.until_gone(kind, name).await;
    }
    world.until_gone("Kustomization", "images").await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
    assert_eq!(world.vendor.volcengine().aosp_images(), []);
}

/// Flux compares by applying: what it applies once more must be what is there.
async fn one_more_look_changes_nothing(world: &World, controller: &Controller) {
    let before = versions(world).await;
    world.annotate("Kustomization", "images", "reconcile.fluxcd.io/requestedAt", "now").await;
    let looked = |object: &Value| {
        object["status"]["lastHandledReconcileAt"] == "now" && condition(object, "Ready")["status"] == "True"
    };
    until(world, controller, "it has looked once more", looked).await;
    assert_eq!(versions(world).await, before);
}

fn refusal() -> FaultRule {
    FaultRule::new(Fault::VendorError {
        status: 400,
        code: "InvalidParameter.Content".into(),
        message: "The specified parameter Content is not valid.".into(),
        effect: false,
    })
    .action(CREATE)
    .parameter("Name", "refused")
}

/// As it is deployed, in the test's namespace.
fn kustomization(world: &World) -> Value {
    let file = fs::read_to_string(deployed("flux/images.yaml")).expect("the file");
    let mut kustomization: Value = serde_saphyr::from_str(&file).expect("YAML");
    kustomization["metadata"]["namespace"] = json!(world.namespace);
    kustomization
}

/// The samples, in a folder `images`, without the namespace: the test's is there already.
fn sample_files(world: &World) -> BTreeMap<String, String> {
    let folder = xtask::samples::folder();
    let mut files = BTreeMap::new();
    collect(&folder, &folder, &mut |path, file| {
        let text = samples::text(world, file);
        let text = text.replace("namespace: images", &format!("namespace: {}", world.namespace));
        files.insert(format!("images/{path}"), text);
    });
    files.remove("images/namespace.yaml");
    replace(&mut files, "images/kustomization.yaml", "  - namespace.yaml\n", "");
    files
}

fn collect(root: &Path, folder: &Path, found: &mut impl FnMut(String, &Path)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            found(path.strip_prefix(root).expect("it is below").display().to_string(), &path);
        }
    }
}

fn replace(files: &mut BTreeMap<String, String>, path: &str, old: &str, new: &str) {
    let text = files.get_mut(path).unwrap_or_else(|| panic!("no {path}"));
    assert!(text.contains(old), "{path} has no {old:?}: {text}");
    *text = text.replace(old, new);
}

async fn get(world: &World) -> Value {
    world.get("Kustomization", "images").await.expect("it is there")
}

async fn until_ready(world: &World, controller: &Controller, revision: &str) {
    let is_ready = |object: &Value| {
        object["status"]["lastAppliedRevision"] == revision && condition(object, "Ready")["status"] == "True"
    };
    until(world, controller, &format!("it is Ready at {revision}"), is_ready).await;
}

async fn until(world: &World, controller: &Controller, what: &str, met: impl Fn(&Value) -> bool) -> Value {
    // Shown if the test fails.
    let _log = controller.log_if_panicking();
    world.until("Kustomization", "images", what, met).await
}

/// The objects of Flux', with their generations.
async fn generations(world: &World) -> BTreeMap<String, Value> {
    field_of_all(world, "generation").await
}

/// The objects of Flux', with their versions.
async fn versions(world: &World) -> BTreeMap<String, Value> {
    field_of_all(world, "resourceVersion").await
}

async fn field_of_all(world: &World, field: &str) -> BTreeMap<String, Value> {
    let kustomization = get(world).await;
    let entries = kustomization["status"]["inventory"]["entries"].as_array().cloned().unwrap_or_default();
    let mut all = BTreeMap::new();
    for entry in entries {
        // Namespace, name, group and kind.
        let id: Vec<_> = text(&entry["id"]).split('_').map(str::to_owned).collect();
        let [_, name, group, kind] = id.try_into().expect("four parts");
        if group == "cloudimages.dev" {
            let object = world.get(&kind, &name).await.expect("what Flux has applied is there");
            all.insert(format!("{kind} {name}"), object["metadata"][field].clone());
        }
    }
    assert!(!all.is_empty(), "{kustomization:#}");
    all
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
