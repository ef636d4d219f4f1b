//! `import` of an account with more things than fit a screen: none is lost, whatever is deleted meanwhile, and the memory that it
//! takes does not grow with them. The same of `orphans`, as far as it is the same.

use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, io::Read, process::Stdio, time::Duration, time::Instant};
use tempfile::TempDir;
use vendor_simulator::{
    Fault, FaultRule, Simulator, When,
    aliyun_ecs::{Component, Image as EcsImage},
    zstack::images::Image as Template,
};

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
    let folder = accounts_at(&vendor);
    (vendor, folder)
}

/// A folder with accounts of Alibaba Cloud and ZStack.
fn accounts_at(vendor: &Simulator) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (reference, at) = (json!({ "name": "simulator" }), vendor.addresses());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": reference,
        "stringData": { "accessKeyId": "simulator", "accessKeySecret": "simulator-secret" },
    });
    let passwords = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "passwords" },
        "stringData": { "accountName": "admin", "password": "password" },
    });
    let account = |name: &str, spec: Value| {
        let metadata = json!({ "name": name });
        json!({ "apiVersion": "cloudimages.dev/v1alpha1", "kind": "CloudAccount", "metadata": metadata, "spec": spec })
    };
    let aliyun = json!({ "aliyun": {
        "regionId": "cn-hangzhou",
        "credentialsSecretRef": reference,
        "ecs": { "endpoint": format!("http://{}", at.aliyun_ecs) },
    } });
    let zstack = json!({ "zstack": {
        "endpoint": format!("http://{}", at.zstack),
        "timeZone": "Asia/Shanghai",
        "credentialsSecretRef": { "name": "passwords" },
    } });
    let objects = [secret, passwords, account("aliyun", aliyun), account("zstack", zstack)];
    let text: Vec<_> = objects.iter().map(Value::to_string).collect();
    fs::write(folder.path().join("account.json"), text.join("\n")).expect("a file");
    folder
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

/// An account of Alibaba Cloud with copies, and one of ZStack with templates, two pages of each, that the operator made by their
/// marks; and the ids of each, the one that the vendor lists first at the beginning.
async fn accounts_with_marked_images() -> (Simulator, TempDir, [Vec<String>; 2]) {
    let vendor =
        vendor_simulator::start(vendor_simulator::Options::default()).await.expect("the simulator starts");
    let mark = "00000000-0000-4000-8000-000000000000-1";
    let copy = |index| {
        vendor.aliyun_ecs().seed_image(EcsImage {
            name: format!("copy-{index}"),
            copied_from: Some("m-base".into()),
            tags: [("cloudimages.dev/attempt".to_owned(), mark.to_owned())].into(),
            ..EcsImage::default()
        })
    };
    let template = |index| {
        let uuid = format!("a{index:011}5{:019}", 0);
        vendor.zstack().seed(Template { uuid, name: format!("template-{index}"), ..Template::default() })
    };
    let things = 0..150;
    let mut copies: Vec<_> = things.clone().map(copy).collect();
    copies.reverse();
    let templates = things.map(template).collect();
    let folder = accounts_at(&vendor);
    (vendor, folder, [copies, templates])
}

/// What a command tells of while the image that the vendor listed first is deleted between its first page and the second.
async fn told_meanwhile(command: &str, of: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let (vendor, folder, mut ids) = accounts_with_marked_images().await;
    let (account, kind, action) =
        [("aliyun", "aliyunimagecopies", "DescribeImages"), ("zstack", "rootvolumetemplates", "QueryImage")]
            [of];
    // The vendor reads its rows at once, and the command has them when one is gone.
    let slow = FaultRule::new(Fault::SlowAnswer { millis: 3000 }).action(action).when(When::first(1));
    vendor.set_faults(vec![slow]);
    let at = vendor.addresses();
    let asking = tokio::process::Command::new(env!("CARGO_BIN_EXE_cloud-image-operator"))
        .args([command, "--account", account, "--kind", kind, "-n", "images", "-o", "json"])
        .args((command == "import").then_some("--include-marked"))
        .args(["--account-file".as_ref(), folder.path().join("account.json").as_os_str()])
        .arg(format!("--allow-endpoint=http://{}", at.aliyun_ecs))
        .arg(format!("--allow-endpoint=http://{}", at.zstack))
        .output();
    let deleting = async {
        while vendor.count_calls(action) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let first = ids[of].remove(0);
        match of {
            0 => drop(vendor.aliyun_ecs().remove_image(&first)),
            _ => drop(vendor.zstack().remove(&first)),
        }
        assert_eq!(vendor.count_calls(action), 1, "between two pages");
    };
    let both = async { tokio::join!(asking, deleting) };
    let (output, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("it ends");
    let output = output.expect("the program runs");
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let (rows, id) = match command {
        "import" => (&told["items"], "/spec/import/id"),
        _ => (&told, "/id"),
    };
    let rows = rows.as_array().expect("a list");
    let told: Vec<_> = rows.iter().filter_map(|row| row.pointer(id)?.as_str().map(str::to_owned)).collect();
    let different: BTreeSet<_> = told.iter().cloned().collect();
    assert_eq!(different.len(), told.len(), "nothing is told of twice");
    (different, std::mem::take(&mut ids[of]).into_iter().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_between_two_pages_hides_nothing_else() {
    for command in ["import", "orphans"] {
        for of in [0, 1] {
            let (told, there) = told_meanwhile(command, of).await;
            let hidden: Vec<_> = there.difference(&told).collect();
            assert_eq!(hidden, Vec::<&String>::new(), "{command} {of}");
        }
    }
}
