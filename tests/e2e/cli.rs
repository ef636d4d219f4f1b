//! The command line, as people type it: it says what the cluster has, and its exit codes can be relied on.

use crate::harness::{World, component, condition, image_export, kubeconfig, secret, volcengine_account};
use serde_json::{Value, json};
use std::{os::unix::fs::symlink, path::Path, process::Output};
use tokio::process::Command;

/// Runs the program under the plugin's name, as kubectl does.
pub(super) async fn cloudimages(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("kubectl-cloudimages");
    symlink(env!("CARGO_BIN_EXE_cloud-image-operator"), &plugin).expect("a link");
    let output = run(&plugin, world, arguments).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

async fn run(program: &Path, world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("KUBECONFIG", kubeconfig());
    if !matches!(arguments.first(), Some(&("explain" | "completion" | "--help"))) {
        command.args(["-n", &world.namespace]);
    }
    command.output().await.expect("the program runs")
}

#[tokio::test]
async fn where_objects_stand_and_what_they_wait_for_is_shown() {
    let world = World::new("cli").await;
    world.create(secret("volcengine")).await;
    world.create(volcengine_account("volcengine", world.volcengine_endpoint())).await;
    world.create(component("hello", json!({}))).await;
    // Its builds take longer than the test: the clock stands.
    world.freeze();
    world
        .create(image_export("nightly", "image-44", json!({ "accountRef": { "name": "volcengine" } })))
        .await;
    world.create(component("lost", json!({ "accountRef": { "name": "nobody" } }))).await;

    let (code, out, err) = cloudimages(&world, &["wait", "imgcomp/hello", "--timeout", "60s"]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("ImageComponent/hello is Ready: ic-"), "{out}");
    world.until("ImageExport", "nightly", "under way", |it| it["status"]["phase"] == "Building").await;
    world.until("ImageComponent", "lost", "seen", |it| it["status"]["conditions"].is_array()).await;

    let (code, out, err) = cloudimages(&world, &["status"]).await;
    assert_eq!(code, 0, "{err}");
    let line =
        |start: &str| out.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{out}"));
    assert!(line("OBJECT").contains("NEXT LOOK"), "{out}");
    assert!(
        line("ImageComponent/hello").contains(" True ") && line("ImageComponent/hello").contains("ic-"),
        "{out}"
    );
    assert!(line("ImageExport/nightly").contains("Building"), "{out}");
    assert!(out.contains("    AccountNotFound: "), "{out}");
    assert!(out.contains("    last Event: "), "{out}");
    assert!(!out.contains('\u{1b}'), "no colours where nobody looks");

    let (code, out, _) = cloudimages(&world, &["status", "imagecomponents/hello", "-o", "json"]).await;
    let all: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (code, all[0]["phase"].as_str(), all.as_array().map(Vec::len)),
        (0, Some("Ready"), Some(1)),
        "{out}"
    );

    for account in ["default", "volcengine"] {
        world.until("CloudAccount", account, "Ready", |it| condition(it, "Ready")["status"] == "True").await;
    }
    let (code, out, err) = cloudimages(&world, &["tree"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("CloudAccount/volcengine  Ready\n└── ImageExport/nightly  Building"), "{out}");
    assert!(out.contains("CloudAccount/nobody  not there"), "{out}");
    world.run(1000.0);
}

#[tokio::test]
async fn exit_codes_tell_what_became_of_it() {
    let world = World::new("cli-codes").await;
    let refused = json!({ "suspend": true });
    world.create(component("held", refused)).await;
    world.until("ImageComponent", "held", "seen", |it| it["status"]["conditions"].is_array()).await;
    let (code, out, _) = cloudimages(&world, &["wait", "imagecomponent/held"]).await;
    assert_eq!(code, 2, "{out}");
    assert!(out.contains("ImageComponent/held Suspended: "), "{out}");

    world.create(component("late", json!({ "accountRef": { "name": "later" } }))).await;
    let (code, out, _) = cloudimages(&world, &["wait", "imagecomponent/late", "--timeout", "1s"]).await;
    assert_eq!(code, 3, "{out}");

    for wrong in [
        &["wait", "imagecomponent/nobody", "--timeout", "20s"][..],
        &["status", "imagecomponent/nobody"],
        &["status", "pods"],
        &["status", "--no-such-flag"],
        &["explain", "NoSuchCode"],
    ] {
        let (code, out, err) = cloudimages(&world, wrong).await;
        assert_eq!(code, 1, "{wrong:?}: {out}{err}");
        assert!(err.to_lowercase().contains("error: "), "{wrong:?}: {err}");
    }
    let (code, out, _) = cloudimages(&world, &["--help"]).await;
    assert!(code == 0 && out.contains("kubectl cloudimages"), "{out}");
    let (code, out, _) = cloudimages(&world, &["completion", "bash"]).await;
    assert!(code == 0 && out.contains("kubectl-cloudimages"), "{out}");
    let (code, out, _) = cloudimages(&world, &["explain", "QuotaExceeded.Image", "--lang", "zh"]).await;
    assert!(code == 0 && out.contains("含义"), "{out}");
}
