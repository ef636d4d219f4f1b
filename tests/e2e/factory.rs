//! The image factory: components, a pipeline, a run of it, and its image in three regions, from one folder that is applied once.

use super::cli::cloudimages;
use crate::harness::{Program, World, is_ready, kubeconfig};
use serde_json::json;
use std::{fs, path::Path, time::Duration};
use vendor_simulator::{Fault, FaultRule, When};
use xtask::kubectl::Kubectl;

/// The folder's objects, and how often the vendor is to have made what they stand for.
const CREATIONS: [(&str, usize); 4] = [
    ("CreateImageComponent", 2),
    ("CreateImagePipeline", 1),
    ("StartImagePipelineExecution", 1),
    ("CopyImage", 3),
];

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
    let folder = tempfile::tempdir().expect("a folder");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/uses/factory.yaml");
    let sample = fs::read_to_string(sample).expect("a sample").replace("{name: aliyun}", "{name: default}");
    fs::write(folder.path().join("factory.yaml"), sample).expect("a file");
    let kustomization = json!({ "resources": ["factory.yaml"], "namespace": world.namespace });
    fs::write(folder.path().join("kustomization.yaml"), kustomization.to_string()).expect("a file");
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
