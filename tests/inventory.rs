//! `import` of an account with more things than fit a screen: none is lost, and the memory that it takes does not grow with them.

use serde_json::json;
use std::{fs, io::Read, process::Stdio, time::Instant};
use tempfile::TempDir;
use vendor_simulator::{Simulator, aliyun_ecs::Component};

/// An account with so many components, each of a few hundred bytes.
async fn account_with(things: usize) -> (Simulator, TempDir) {
    let vendor =
        vendor_simulator::start(vendor_simulator::Options::default()).await.expect("the simulator starts");
    for index in 0..things {
        vendor.aliyun_ecs().seed(Component {
            name: format!("component-{index}"),
            version: "1.0.0".into(),
            content: format!("RUN echo {index} {}", "x".repeat(300)),
            ..Component::default()
        });
    }
    let folder = tempfile::tempdir().expect("a folder");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "aliyun" },
        "stringData": { "accessKeyId": "simulator", "accessKeySecret": "simulator-secret" },
    });
    let account = json!({
        "apiVersion": "cloudimages.dev/v1alpha1", "kind": "CloudAccount", "metadata": { "name": "aliyun" },
        "spec": { "aliyun": {
            "regionId": "cn-hangzhou",
            "credentialsSecretRef": { "name": "aliyun" },
            "ecs": { "endpoint": format!("http://{}", vendor.addresses().aliyun_ecs) },
        } },
    });
    fs::write(folder.path().join("account.json"), format!("{secret}\n{account}")).expect("a file");
    (vendor, folder)
}

/// What an import came to.
#[derive(Debug)]
struct Imported {
    /// The ids that manifests name.
    ids: usize,
    /// The most memory that it took, in MiB.
    peak: u64,
    seconds: f64,
}

/// Imports all, and reads the manifests as slowly as a pipe gives them.
async fn import(vendor: &Simulator, folder: &TempDir) -> Imported {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cloud-image-operator"));
    let file = folder.path().join("account.json");
    command
        .args([
            "import",
            "--account",
            "aliyun",
            "--kind",
            "imagecomponents",
            "-n",
            "images",
            "--account-file",
        ])
        .arg(&file)
        .arg(format!("--allow-endpoint=http://{}", vendor.addresses().aliyun_ecs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut child = command.spawn().expect("the program runs");
        let status = format!("/proc/{}/status", child.id());
        let mut out = child.stdout.take().expect("a pipe");
        let (mut text, mut peak, mut buffer) = (Vec::new(), 0, vec![0; 1 << 16]);
        loop {
            let read = out.read(&mut buffer).expect("the pipe is read");
            // While it still runs: afterwards there is nothing to read.
            let seen = fs::read_to_string(&status).ok().and_then(|status| {
                let line = status.lines().find(|line| line.starts_with("VmHWM:"))?.to_owned();
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            });
            peak = peak.max(seen.unwrap_or_default());
            if read == 0 {
                break;
            }
            text.extend_from_slice(&buffer[..read]);
        }
        let mut errors = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
        assert!(child.wait().expect("it ends").success(), "{errors}");
        let text = String::from_utf8(text).expect("text");
        let mut ids: Vec<_> =
            text.lines().filter_map(|line| line.split_once("id: ic-")).map(|(_, id)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        Imported { ids: ids.len(), peak: peak / 1024, seconds: started.elapsed().as_secs_f64() }
    });
    running.await.expect("no panic")
}

async fn compare(few: usize, many: usize) {
    let mut imported = vec![];
    for things in [few, many] {
        let (vendor, folder) = account_with(things).await;
        let came = import(&vendor, &folder).await;
        eprintln!("{things} things: {} MiB at most, {:.1} s", came.peak, came.seconds);
        assert_eq!(came.ids, things, "none is lost");
        assert_eq!(vendor.ledger().effects, [], "nothing is changed");
        imported.push(came);
    }
    // What a page takes, and what ids take that are known to be printed; not the manifests.
    let grown = imported[1].peak.saturating_sub(imported[0].peak);
    assert!(grown <= 16, "{grown} MiB more for {} more things", many - few);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_what_there_is() {
    compare(100, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; docs/performance.md says what was seen"]
async fn ten_thousand_things() {
    compare(1_000, 10_000).await;
}
