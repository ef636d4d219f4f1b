//! The image factory: components, a pipeline, a run of it, and its image in three regions, from one folder that is applied once.

use super::cli::cloudimages;
use crate::harness::{Program, World, is_ready, kubeconfig};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use tempfile::TempDir;
use vendor_simulator::{Fault, FaultRule, When};
use xtask::kubectl::Kubectl;

/// The folder's objects, and how often the vendor is to have made what they stand for.
const CREATIONS: [(&str, usize); 4] = [
    ("CreateImageComponent", 2),
    ("CreateImagePipeline", 1),
    ("StartImagePipelineExecution", 1),
    ("CopyImage", 3),
];

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/factory");

const OBJECTS: [(&str, &str); 5] = [
    ("ImageComponent", "factory-packages"),
    ("ImageComponent", "factory-settings"),
    ("ImagePipeline", "factory"),
    ("ImageBuild", "factory-1"),
    ("ImageDistribution", "factory"),
];

/// `kubectl` with the folder.
async fn kubectl(what: &'static [&'static str], folder: &Path) {
    let folder = folder.to_str().expect("text").to_owned();
    let run = move || {
        let arguments: Vec<_> = what.iter().copied().chain([&*folder]).collect();
        Kubectl::new(kubeconfig()).and_then(|kubectl| kubectl.run(&arguments))
    };
    tokio::task::spawn_blocking(run).await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
}

/// The sample's folder as it is, in one that fits it to the world's namespace and account.
fn sample_of(world: &World) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let base = folder.path().join("factory");
    fs::create_dir(&base).expect("a folder");
    for file in fs::read_dir(SAMPLE).expect("a sample") {
        let file = file.expect("a file");
        fs::copy(file.path(), base.join(file.file_name())).expect("a copy");
    }
    let account = json!([{ "op": "replace", "path": "/spec/accountRef/name", "value": "default" }]);
    let kustomization = json!({
        "resources": ["factory"],
        "namespace": world.namespace,
        "patches": [{ "target": { "group": "cloudimages.dev" }, "patch": account.to_string() }],
    });
    fs::write(folder.path().join("kustomization.yaml"), kustomization.to_string()).expect("a file");
    folder
}

/// Every second creating call is not answered, the first one of each that there is only one of, and the operator is killed five
/// times on the way. The account shares with whom the sample says.
#[tokio::test]
async fn a_folder_becomes_images_in_three_regions_once_and_leaves_nothing() {
    let mut world = World::with_account("factory").await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    world.vendor.set_faults(
        CREATIONS
            .map(|(action, count)| {
                let when = if count == 1 { When::first(1) } else { When::every(2) };
                FaultRule::new(Fault::AnswerLost).action(action).when(when)
            })
            .into(),
    );
    let folder = sample_of(&world);
    kubectl(&["apply", "-k"], folder.path()).await;

    // It is killed as soon as the vendor has acted on the next step, whose answer nobody has.
    let restarted = |former: Option<Program>| {
        drop(former);
        Some(world.start_program(None))
    };
    let mut program = None;
    for (action, count) in [CREATIONS[0], CREATIONS[1], CREATIONS[2], ("CopyImage", 1), ("CopyImage", 3)] {
        program = restarted(program);
        world.until_true(action, || world.effects(action) >= count).await;
    }
    drop(program);
    world.start_operator().await;
    for (kind, name) in OBJECTS {
        world.until_ready(kind, name).await;
    }
    for (action, count) in CREATIONS {
        assert_eq!(world.effects(action), count, "{action}: {:#?}", world.call_log());
    }
    let ecs = world.vendor.aliyun_ecs();
    let mut images: Vec<_> = ecs.images().into_iter().map(|image| image.region).collect();
    images.sort();
    assert_eq!(images, ["cn-beijing", "cn-hangzhou", "cn-shanghai", "cn-shenzhen"]);
    let shared = ecs.images().into_iter().filter(|image| image.shared_with.contains("1234567890123456"));
    assert_eq!(shared.count(), 3, "each copy, and not what it was copied from");
    assert!(world.list("AliyunImageCopy").await.iter().all(is_ready));

    let (code, tree, err) = cloudimages(&world, &["tree"]).await;
    assert_eq!((code, &*err), (0, ""), "{tree}");
    for (kind, name) in OBJECTS {
        assert!(tree.contains(&format!("{kind}/{name}")), "{tree}");
    }
    let indent = |of: &str| tree.lines().find(|line| line.contains(of)).map(|line| line.find(of));
    let steps = [
        "ImageComponent/factory-packages",
        "ImagePipeline/factory",
        "ImageBuild/factory-1",
        "ImageDistribution/factory",
    ];
    assert!(steps.map(indent).is_sorted(), "each step stands below the one before: {tree}");

    kubectl(&["delete", "--wait=false", "-k"], folder.path()).await;
    for (kind, name) in OBJECTS {
        world.until_gone(kind, name).await;
    }
    assert_eq!((ecs.images(), ecs.snapshots()), (vec![], vec![]), "{:#?}", world.call_log());
    assert_eq!((ecs.pipelines(), ecs.components().len()), (vec![], 0));
}

/// The command line with the world's vendors; its exit code, and its JSON.
async fn said(world: &World, arguments: &[&str]) -> (i32, Value) {
    let endpoint = format!("--allow-endpoint={}", world.endpoint());
    let calls = matches!(arguments.first(), Some(&("plan" | "import" | "orphans")));
    let more = calls.then_some(&*endpoint).into_iter().chain(["-o", "json"]);
    let arguments: Vec<_> = arguments.iter().copied().chain(more).collect();
    let (code, out, err) = cloudimages(world, &arguments).await;
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {arguments:?} {out}{err}")))
}

/// One of what `status` shows.
fn shown<'a>(all: &'a Value, kind: &str, name: &str) -> &'a Value {
    let mut all = all.as_array().expect("a list").iter();
    all.find(|it| it["kind"] == kind && it["name"] == name).unwrap_or_else(|| panic!("no {kind}/{name}"))
}

/// The kinds and ids of a list.
fn kinds_and_ids(list: &Value, id: &str) -> Vec<(String, String)> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut all: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| (text(it.get("kind")), text(it.pointer(id))))
        .collect();
    all.sort();
    all
}

/// Each command says of the same folder what is, and what would be, from its first plan to what is left at the vendor when the
/// cluster is lost. The vendor's clock stands, and goes on when it is told to.
#[expect(clippy::too_many_lines, reason = "one story")]
#[tokio::test]
async fn the_command_line_knows_the_whole_factory() {
    let mut world = World::with_account("factory-known").await;
    world.beat = Duration::from_secs(1);
    world.freeze();
    world.start_operator().await;
    let folder = sample_of(&world);
    let plan = ["plan", "-k", folder.path().to_str().expect("text")];

    // What it would do, calls included: a distribution's copies are its calls.
    let (code, planned) = said(&world, &plan).await;
    let calls: BTreeMap<_, _> = CREATIONS.into();
    assert_eq!(
        (code, &planned["summary"], &planned["calls"]),
        (2, &json!({ "create": 8 }), &json!(calls)),
        "{planned:#}"
    );
    assert_eq!(world.vendor.ledger().effect_counts(), BTreeMap::new(), "nothing is done yet");
    kubectl(&["apply", "-k"], folder.path()).await;

    // Where it stands, and what each step waits for.
    let building = |object: &Value| object["status"]["phase"] == "Building";
    world.until("ImageBuild", "factory-1", "it runs", building).await;
    let (code, all) = said(&world, &["status"]).await;
    assert_eq!((code, all.as_array().map(Vec::len)), (0, Some(8)), "each object, and its copies's: {all:#}");
    assert_eq!(shown(&all, "ImagePipeline", "factory")["phase"], "Ready");
    let build = shown(&all, "ImageBuild", "factory-1");
    assert_eq!((&build["phase"], &build["reason"]), (&json!("Building"), &json!("Building")), "{build:#}");
    let (code, out, _) = cloudimages(&world, &["wait", "imgbuild/factory-1", "--timeout", "1s"]).await;
    assert_eq!(code, 3, "{out}");
    // How far a copy is, in percent.
    world.vendor.configure(|settings| settings.aliyun_ecs.copy_seconds = 1_000.0);
    world.vendor.advance(Duration::from_secs(120));
    world.until_ready("ImageBuild", "factory-1").await;
    world.until_true("all are being copied", || world.effects("CopyImage") == 3).await;
    world.vendor.advance(Duration::from_secs(500));
    let half = |object: &Value| {
        object["status"]["progress"].as_i64().is_some_and(|percent| (30..100).contains(&percent))
    };
    let copy = world.until("AliyunImageCopy", "factory-cn-beijing", "it is half done", half).await;
    let (_, out, _) = cloudimages(&world, &["status", "alicopy"]).await;
    assert!(out.contains(&format!(" {}% ", copy["status"]["progress"])), "{out}");
    world.vendor.advance(Duration::from_secs(1_000));
    for (kind, name) in OBJECTS {
        let (code, out, err) =
            cloudimages(&world, &["wait", &format!("{kind}/{name}"), "--timeout", "200s"]).await;
        assert_eq!(code, 0, "{out}{err}");
    }

    // All is as the manifests say; then it is not.
    let (code, planned) = said(&world, &plan).await;
    assert_eq!((code, &planned["summary"]), (0, &json!({ "nothing": 8 })), "{planned:#}");
    let path = folder.path().join("factory/distribution.yaml");
    let edited =
        fs::read_to_string(&path).expect("a file").replace("regionId: cn-beijing", "regionId: cn-chengdu");
    fs::write(&path, edited).expect("a file");
    let (code, planned) = said(&world, &plan).await;
    let summary = json!({ "change": 1, "create": 1, "delete": 1, "nothing": 6 });
    assert_eq!((code, &planned["summary"]), (2, &summary), "{planned:#}");
    let calls =
        json!({ "CopyImage": 1, "ModifyImageSharePermission": 1, "DeleteImage": 1, "DeleteSnapshot": 1 });
    assert_eq!(planned["calls"], calls, "{planned:#}");
    kubectl(&["apply", "-k"], folder.path()).await;
    world.until_gone("AliyunImageCopy", "factory-cn-beijing").await;
    world.until_true("it is being copied", || world.effects("CopyImage") == 4).await;
    world.vendor.advance(Duration::from_secs(2_000));
    world.until_ready("ImageDistribution", "factory").await;
    let effects = ["CopyImage", "DeleteImage", "DeleteSnapshot"].map(|action| world.effects(action));
    assert_eq!(effects, [4, 1, 1], "{:#?}", world.call_log());
    let (code, planned) = said(&world, &plan).await;
    assert_eq!(code, 0, "{planned:#}");

    // The cluster is lost, and what it had made is found by its marks; and taken over, though nothing tells of a cluster any more.
    let pipeline = world.get("ImagePipeline", "factory").await.expect("there")["status"]["imageId"].clone();
    let image = world.get("ImageBuild", "factory-1").await.expect("there")["status"]["imageId"].clone();
    let copy = world.get("AliyunImageCopy", "factory-cn-shanghai").await.expect("there")["status"]["imageId"]
        .clone();
    assert_eq!(said(&world, &["orphans", "--account", "default"]).await, (0, json!([])));
    world.stop_operator().await;
    // What is owned first, or the garbage collector deletes it, too.
    for kind in ["AliyunImageCopy", "ImageDistribution", "ImageBuild", "ImagePipeline", "ImageComponent"] {
        for object in world.list(kind).await {
            let name = object["metadata"]["name"].as_str().expect("a name");
            world.patch(kind, name, json!({ "metadata": { "finalizers": null } })).await;
            world.delete(kind, name).await;
            world.until_gone(kind, name).await;
        }
    }
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let (code, orphans) = said(&world, &["orphans", "--account", "default"]).await;
    let expected = vec![("ImagePipeline".to_owned(), text(&pipeline))];
    assert_eq!((code, kinds_and_ids(&orphans, "/id")), (2, expected), "{orphans:#}");
    let there = ["orphans", "--account", "default", "--kind", "alicopy", "--place", "cn-shanghai"];
    let (code, orphans) = said(&world, &there).await;
    let expected = vec![("AliyunImageCopy".to_owned(), text(&copy))];
    assert_eq!((code, kinds_and_ids(&orphans, "/id")), (2, expected), "{orphans:#}");
    let kinds = ["imgcomp", "imgpipe", "imgbuild", "alicopy"].map(|kind| ["--kind", kind]);
    let import = [&["import", "--account", "default", "--include-marked"], kinds.as_flattened()].concat();
    let (code, list) = said(&world, &import).await;
    let found = kinds_and_ids(&list["items"], "/spec/import/id");
    let kinds: Vec<_> = found.iter().map(|(kind, _)| &**kind).collect();
    assert_eq!(
        (code, kinds),
        (0, vec!["ImageBuild", "ImageComponent", "ImageComponent", "ImagePipeline"]),
        "{list:#}"
    );
    assert_eq!((&found[0].1, &found[3].1), (&text(&image), &text(&pipeline)));
    let effects = world.vendor.ledger().effect_counts();
    let path = folder.path().join("left.json");
    fs::write(&path, list.to_string()).expect("a file");
    kubectl(&["apply", "-f"], &path).await;
    world.start_operator().await;
    for item in list["items"].as_array().expect("a list") {
        world.until_ready(&text(&item["kind"]), &text(&item["metadata"]["name"])).await;
    }
    let (code, planned) = said(&world, &["plan", "-f", path.to_str().expect("text")]).await;
    assert_eq!((code, &planned["summary"]), (0, &json!({ "nothing": 4 })), "{planned:#}");
    assert_eq!(world.vendor.ledger().effect_counts(), effects, "nothing has changed at the vendor");

    // What its codes and reasons mean.
    for (code, english, chinese) in [
        ("QuotaExceed.ImagePipeline", "quota", "配额"),
        ("OperationDenied.ImageCopying", "copied", "复制"),
        ("TestFailed", "test", "测试"),
        ("AvailableWithWarning", "in part", "部分"),
    ] {
        for (language, part) in [("en", english), ("zh", chinese)] {
            let (status, out, err) = cloudimages(&world, &["explain", code, "--lang", language]).await;
            assert!(status == 0 && out.to_lowercase().contains(part), "{code}: {out}{err}");
        }
    }
}
