//! The README's five minutes and the quickstart, typed as they stand: only the ports are others.

use super::{
    blocks::script,
    page::{Block, page},
};
use crate::harness::{Program, World, kubeconfig, operator_kubeconfig};
use serde_json::json;
use std::{env, fs, path::Path, process::Command, time::Duration};
use xtask::kubectl::kubectl;

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_and_the_quickstart_work_as_they_stand() {
    let world = World::empty("followed").await;
    let mut calls = 0;
    for (file, sections) in [
        ("README.md", &["Five minutes with kubectl"][..]),
        (
            "docs/quickstart.md",
            &[
                "Start the vendors and the operator",
                "An account",
                "An image",
                "Look at it",
                "Change it and delete it",
            ],
        ),
    ] {
        let blocks: Vec<_> =
            page(file).blocks.into_iter().filter(|block| sections.contains(&block.under.as_str())).collect();
        assert!(blocks.len() >= 5, "{file} has only {} blocks there", blocks.len());
        // Blocking: kubectl is a program, and the simulator goes on beside it.
        let ports = ports(&world);
        tokio::task::spawn_blocking(move || follow(file, &blocks, &ports)).await.expect("no panic");
        assert!(world.calls("CreateImageComponent") > calls, "{file}: the vendor was called");
        assert_eq!(world.vendor.aliyun_ecs().count(), 0, "{file}: the image is deleted at the vendor");
        calls = world.calls("CreateImageComponent");
    }
    // Nothing looks after the object of these pages: what is typed is about an operator that is stuck or gone.
    let object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ImageComponent",
        "metadata": { "name": "hello", "namespace": "images", "finalizers": ["cloudimages.dev/external"] },
        "spec": {
            "accountRef": { "name": "aliyun" },
            "forProvider": { "name": "testComponent", "content": "RUN echo hello world" },
        },
    });
    world.create(object).await;
    for (file, sections) in [
        (
            "docs/troubleshooting.md",
            &["Where to look", "Ask again", "Answer an unclear outcome", "An object does not go away"][..],
        ),
        ("docs/backup.md", &["What to back up"]),
        ("docs/uninstalling.md", &["If the operator is gone already"]),
    ] {
        let blocks = page(file).blocks.into_iter().filter(|block| sections.contains(&block.under.as_str()));
        let lines: Vec<_> =
            blocks.flat_map(|block| script(&block).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        assert!(lines.len() >= sections.len(), "{file}: {lines:?}");
        let typed = move || {
            let folder = tempfile::tempdir().expect("a folder");
            for line in lines {
                shell(folder.path(), &line).unwrap_or_else(|why| panic!("{file}: {line}: {why}"));
            }
        };
        tokio::task::spawn_blocking(typed).await.expect("no panic");
    }
}

/// The simulator's default addresses, and where it is now.
fn ports(world: &World) -> Vec<(String, String)> {
    let at = world.vendor.addresses();
    [(8801, at.volcengine), (8802, at.aliyun_ecs), (8803, at.batchcompute), (8804, at.zstack)]
        .map(|(port, address)| (format!("127.0.0.1:{port}"), address.to_string()))
        .into()
}

/// Does what a reader does: saves files, starts programs, types commands.
fn follow(file: &str, blocks: &[Block], ports: &[(String, String)]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut operator: Option<Program> = None;
    for block in blocks {
        let mut text = if block.language == "yaml" || block.language == "sh" {
            block.text.clone()
        } else {
            script(block)
        };
        for (documented, actual) in ports {
            text = text.replace(documented, actual);
        }
        if block.language == "yaml" {
            let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a file's name");
            fs::write(folder.path().join(name), &text).expect("a file");
            continue;
        }
        for line in text.lines() {
            if line.contains("--bin vendor-simulator") {
                continue;
            }
            if let Some((_, arguments)) = line.split_once("--bin cloud-image-operator -- run") {
                let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
                // The reader may do everything; the operator is who it is where it is installed.
                let (kubeconfig, grace) = (operator_kubeconfig(), Some(Duration::from_secs(10)));
                operator = Some(Program::start_at(&kubeconfig, &arguments, grace));
                continue;
            }
            let binary = env!("CARGO_BIN_EXE_cloud-image-operator");
            let line = line.replace("cargo run --bin cloud-image-operator --", binary);
            let output = shell(folder.path(), &line);
            let log = operator.as_ref().map(Program::log).unwrap_or_default();
            let printed = output.unwrap_or_else(|why| panic!("{file}: {line}: {why}\n{log}"));
            expect_columns(file, block, &line, &printed);
        }
    }
    assert!(operator.is_some(), "{file} starts the operator");
}

/// Where a page shows what a command prints, the columns are those that it prints.
fn expect_columns(file: &str, block: &Block, line: &str, printed: &str) {
    let documented = block.text.lines().skip_while(|shown| *shown != format!("$ {line}")).skip(1);
    let documented = documented.take_while(|shown| !shown.starts_with("$ "));
    for head in documented.filter(|shown| shown.starts_with("NAME")) {
        let columns = |line: &str| {
            line.split("  ")
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let wanted = columns(head);
        assert!(
            printed.lines().any(|line| columns(line) == wanted),
            "{file}: {line} prints\n{printed}\nwhich has no columns {wanted:?}"
        );
    }
}

fn shell(folder: &Path, line: &str) -> Result<String, String> {
    let kubectl = kubectl().map_err(|why| why.to_string())?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path =
        env::join_paths(kubectl.parent().map(Path::to_owned).into_iter().chain(env::split_paths(&path)))
            .map_err(|why| why.to_string())?;
    let output = Command::new("sh")
        .args(["-ec", line])
        .current_dir(folder)
        .env("PATH", path)
        .env("KUBECONFIG", kubeconfig())
        .output()
        .map_err(|why| why.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    Err(format!("{printed}{}", String::from_utf8_lossy(&output.stderr)))
}
