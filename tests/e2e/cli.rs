//! The command line, as people type it: it says what the cluster has, and its exit codes can be relied on.

use crate::harness::{
    PATIENCE, World, component, condition, image_export, kubeconfig, kubeconfig_as, rights, secret,
    volcengine_account,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    process::Command,
    time::timeout,
};
use xtask::kubectl::Kubectl;

/// Runs the program under the plugin's name, as kubectl does.
pub(super) async fn cloudimages(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("kubectl-cloudimages");
    symlink(env!("CARGO_BIN_EXE_cloud-image-operator"), &plugin).expect("a link");
    let output = run(&plugin, world, arguments).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

/// What kubectl offers a shell after these words, with the plugin as a release's archive has it.
async fn completed(words: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["kubectl-cloudimages", "kubectl_complete-cloudimages"] {
        symlink(env!("CARGO_BIN_EXE_cloud-image-operator"), folder.path().join(name)).expect("a link");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = [folder.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).expect("a PATH");
    let kubectl = tokio::task::spawn_blocking(xtask::kubectl::kubectl).await.expect("no panic");
    let mut command = Command::new(kubectl.expect("kubectl"));
    command.args(["__complete", "cloudimages"]).args(words).env("PATH", path).env("KUBECONFIG", kubeconfig());
    let output = command.output().await.expect("kubectl runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
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

    for (words, offered) in [
        (&["stat"][..], "status\tShow where image objects stand"),
        (&["status", "-n", &world.namespace, "imagecomponents/he"], "imagecomponents/hello"),
        (&["wait", "-n", &world.namespace, "imgexp/"], "imgexp/nightly"),
        (&["import", "-n", &world.namespace, "--account", "vol"], "volcengine"),
        (&["tree", "-n", "cli"], "cli"),
        (&["plan", "-o", "y"], "yaml\tFor programs and people"),
    ] {
        let text = completed(words).await;
        assert!(
            text.lines().any(|line| line.starts_with(offered)),
            "{words:?} is to offer {offered:?}: {text}"
        );
        assert!(text.ends_with(":4\n"), "{words:?}, and no files: {text}");
    }
    assert_eq!(completed(&["plan", "-f", ""]).await, ":0\n", "files are the shell's");

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

    world.create(component("broken", json!({ "forProvider": { "content": "NOSUCHCOMMAND x" } }))).await;
    let failed = |object: &Value| object["status"]["phase"] == "Failed";
    let broken = world.until("ImageComponent", "broken", "it failed", failed).await;
    let (code, out, _) = cloudimages(&world, &["wait", "imgcomp/broken", "--timeout", "60s"]).await;
    let why = condition(&broken, "Ready");
    let why = format!("{}: ", why["reason"].as_str().expect("a reason"));
    assert!(code == 2 && out.contains(&format!("ImageComponent/broken {why}")), "{out}");

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
    assert!(code == 0 && out.contains("Usage: kubectl cloudimages <COMMAND>"), "{out}");
    assert!(out.contains("  plan ") && !out.contains("  run "), "nobody runs an operator as a plugin: {out}");
    let (code, out, _) = cloudimages(&world, &["completion", "bash"]).await;
    assert!(code == 0 && out.contains("kubectl-cloudimages"), "{out}");
    let (code, out, _) = cloudimages(&world, &["explain", "QuotaExceeded.Image", "--lang", "zh"]).await;
    assert!(code == 0 && out.contains("含义"), "{out}");
}

/// The program as it is asked for something in a world's namespace, with one more variable of the environment.
fn program(world: &World, arguments: &[&str], (variable, value): (&str, &str)) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-image-operator"));
    command.args(arguments).env("KUBECONFIG", kubeconfig());
    if arguments.first() != Some(&"explain") {
        command.args(["-n", &world.namespace]);
    }
    command.env(variable, value).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn told(mut command: Command) -> (Option<i32>, String) {
    let output = timeout(Duration::from_secs(120), command.output()).await.expect("it ends by itself");
    let text = output.expect("the program runs");
    let told = String::from_utf8_lossy(&[text.stdout, text.stderr].concat()).into_owned();
    assert!(!told.contains("panicked"), "{told}");
    (text.status.code(), told)
}

/// An API server that knows no image objects.
async fn knows_nothing() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whatever the request is, it is shorter.
            let _ = stream.read(&mut [0; 8192]).await;
            let text = "404 page not found\n";
            let head =
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length:";
            let _ = stream.write_all(format!("{head} {}\r\n\r\n{text}", text.len()).as_bytes()).await;
        }
    });
    address
}

/// The rights that the command line needs for what it shows of the cluster: accounts without their Secrets.
fn readable() -> Value {
    json!([{ "apiGroups": ["cloudimages.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"] }])
}

/// Runs it until it does what it is to do: rights take a moment to be known. Gives what it printed then.
async fn until_done(command: impl Fn() -> Command) -> String {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (code, text) = told(command()).await;
        if code == Some(0) {
            return text;
        }
        assert!(tokio::time::Instant::now() < end, "in vain waited for it to be done: {code:?} {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The start of a command in which the files of `folder` are a pod's, and there is no kubeconfig. `None`: whoever runs the test
/// may not have a view of the files of its own.
fn in_a_pod(folder: &Path) -> Option<Command> {
    const POD: &str = "files=/var/run/secrets/kubernetes.io/serviceaccount
        mount -t tmpfs pod /var/run && mkdir -p $files && cp \"$0\"/* $files && exec \"$@\"";
    let ways: [&[&str]; 3] = [
        &["unshare", "--mount"],
        &["sudo", "--non-interactive", "unshare", "--mount"], // runners of CI
        &["unshare", "--map-root-user", "--mount"],
    ];
    let may = |way: &&&[&str]| {
        let mut tried = std::process::Command::new(way[0]);
        tried.args(&way[1..]).args(["mount", "-t", "tmpfs", "pod", "/var/run"]).stderr(Stdio::null());
        tried.status().is_ok_and(|status| status.success())
    };
    let way = ways.iter().find(may)?;
    let mut command = Command::new(way[0]);
    let server = Kubeconfig::read_from(kubeconfig()).expect("a kubeconfig");
    let server = server.clusters[0].cluster.as_ref().expect("a cluster").server.clone().expect("an address");
    let (host, port) = server.trim_start_matches("https://").rsplit_once(':').expect("host and port");
    command.args(&way[1..]).args(["env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
    command.arg(format!("KUBERNETES_SERVICE_HOST={host}")).arg(format!("KUBERNETES_SERVICE_PORT={port}"));
    command.args(["sh", "-c", POD]).arg(folder).arg(env!("CARGO_BIN_EXE_cloud-image-operator"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    Some(command)
}

/// Where a pipeline runs in the cluster there is no kubeconfig: it acts as its service account, in its namespace, and no
/// further than that may go.
#[tokio::test]
async fn in_a_pod_it_acts_as_its_service_account() {
    let world = World::with_account("cli-pod").await;
    world.create(component("hello", json!({}))).await;
    for object in rights("Role", "pipeline", "system:serviceaccount:cli-pod:pipeline", readable()) {
        world.create(object).await;
    }
    let token = tokio::task::spawn_blocking(|| {
        let kubectl = Kubectl::new(kubeconfig()).expect("kubectl");
        kubectl.run(["create", "serviceaccount", "pipeline", "-n", "cli-pod"]).expect("it is made");
        kubectl.run(["create", "token", "pipeline", "-n", "cli-pod", "--duration=1h"]).expect("a token")
    });
    let token = token.await.expect("no panic");
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Kubeconfig::read_from(kubeconfig()).expect("a kubeconfig").clusters[0].cluster.clone();
    let authority = cluster.expect("a cluster").certificate_authority_data.expect("an authority");
    let authority = BASE64_STANDARD.decode(authority).expect("Base64");
    for (name, content) in
        [("token", token.trim().as_bytes()), ("ca.crt", &authority), ("namespace", b"cli-pod")]
    {
        fs::write(folder.path().join(name), content).expect("a file");
    }
    if in_a_pod(folder.path()).is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI has to be root, or allowed to become it");
        eprintln!("skipped: neither root, nor sudo without a password, nor user namespaces");
        return;
    }
    let asks = |arguments: &[&str]| {
        let mut command = in_a_pod(folder.path()).expect("what was allowed a moment ago");
        command.args(arguments);
        command
    };
    let text = until_done(|| asks(&["status"])).await;
    assert!(text.contains("ImageComponent/hello"), "its namespace is the pod's: {text}");
    let allowed = format!("--allow-endpoint={}", world.endpoint());
    for (arguments, sentence) in [
        (&["import", "--account", "default", &allowed][..], "Secret cli-pod/aliyun of CloudAccount"),
        (&["import", "--account", "default", &allowed], "system:serviceaccount:cli-pod:pipeline"),
        (&["status", "-n", "default"], "system:serviceaccount:cli-pod:pipeline"),
        (&["status", "--context", "prod"], "give --kubeconfig"),
    ] {
        let (code, text) = told(asks(arguments)).await;
        assert_eq!((code, text.contains(sentence)), (Some(1), true), "{arguments:?}: {text}");
    }
}

/// Whatever is wrong, a sentence says what to do, at once, and the exit code is 1.
#[expect(clippy::too_many_lines, reason = "one table, and what it needs")]
#[tokio::test]
async fn what_people_do_wrong_is_told() {
    let world = World::empty("cli-mistakes").await;
    world.create(secret("aliyun")).await;
    world.create(crate::harness::account("default", world.endpoint())).await;
    let mut no_secret = crate::harness::account("poor", world.endpoint());
    no_secret["spec"]["aliyun"]["credentialsSecretRef"]["name"] = json!("nowhere");
    world.create(no_secret).await;
    world.create(component("hello", json!({}))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let write = |name: &str, text: String| {
        fs::write(folder.path().join(name), text).expect("a file");
        path(name)
    };
    let api_server = |address: String| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": address } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
            "users": [{ "name": "c", "user": {} }],
        })
    };
    let good = component("good", json!({})).to_string();
    let broken = write("broken.yaml", format!("{good}\n---\n{good}\n---\nkind: [\n"));
    let typo = write("typo.yaml", good.replace("ImageComponent", "ImageComponet"));
    let old = write("old.yaml", good.replace("v1alpha1", "v1alpha7"));
    let nameless = write("nameless.yaml", good.replace("\"metadata\":{", "\"metadata\":\"m\",\"other\":{"));
    let good = write("good.yaml", good);
    let empty = write("empty.yaml", "# nothing\n".into());
    fs::create_dir(folder.path().join("folder")).expect("a folder");
    let bare = write("bare", api_server(knows_nothing().await).to_string());
    let dead = write("dead", api_server("http://127.0.0.1:9".into()).to_string());
    let mut wrong = vec![];
    let (folder, none) = (path("folder"), path("none"));
    let allowed = format!("--allow-endpoint={}", world.endpoint());
    let nobody = kubeconfig_as("nobody-at-all").to_str().expect("text").to_owned();
    let reader = kubeconfig_as("reader-without-secrets").to_str().expect("text").to_owned();
    for object in rights("Role", "reader", "reader-without-secrets", readable()) {
        world.create(object).await;
    }
    let asks = || {
        let mut command = program(&world, &["status"], ("NO_COLOR", "1"));
        command.env("KUBECONFIG", &reader);
        command
    };
    until_done(asks).await;
    let import = ["import", "--account", "default", &allowed];
    let with = |more: &[&'static str]| [&import[..], more].concat();
    for (kubeconfig, arguments, code, sentence) in [
        ("", vec!["status", "--context", "nowhere"], 1, "nowhere"),
        (&*none, vec!["status"], 1, "give --kubeconfig"),
        (&*bare, vec!["status"], 1, "does not know the operator's kinds"),
        (&*bare, vec!["status", "--watch"], 1, "does not know the operator's kinds"),
        (&*bare, vec!["wait", "imgcomp"], 1, "does not know the operator's kinds"),
        (&*bare, vec!["tree"], 1, "does not know the operator's kinds"),
        (&*bare, import.to_vec(), 1, "does not know the operator's kinds"),
        (&*bare, vec!["plan", "-f", &good], 1, "does not know the operator's kinds"),
        (&*dead, vec!["status"], 1, "is it up"),
        (&*dead, vec!["wait", "imgcomp/hello"], 1, "is it up"),
        (&*nobody, vec!["status"], 1, "ask for that right"),
        (&*nobody, vec!["wait", "imgcomp/hello"], 1, "ask for that right"),
        (&*nobody, vec!["status", "--watch"], 1, "ask for that right"),
        (&*nobody, import.to_vec(), 1, "ask for that right"),
        (&*reader, vec!["status"], 0, "ImageComponent/hello"),
        (&*reader, vec!["tree"], 0, "CloudAccount/default"),
        (&*reader, import.to_vec(), 1, "Secret cli-mistakes/aliyun of CloudAccount"),
        (&*reader, import.to_vec(), 1, "cannot get resource \"secrets\""),
        (&*reader, import.to_vec(), 1, "ask for that right"),
        (&*reader, vec!["plan", "-f", &good, &allowed], 1, "Secret cli-mistakes/aliyun of CloudAccount"),
        (&*reader, vec!["orphans", "--account", "default", &allowed], 1, "cannot get resource \"secrets\""),
        ("", vec!["import", "--account", "defualt", &allowed], 1, "there are default, poor"),
        ("", vec!["import", "--account", "poor", &allowed], 1, "nowhere of CloudAccount"),
        ("", vec!["import", "--account", "default"], 1, ", and give the same here"),
        ("", with(&["--filter", "nmae=x"]), 1, "componentVersion"),
        ("", with(&["--kind", "pods"]), 1, "ImageExport"),
        ("", with(&["--kind", "imgexp"]), 1, "not of Volcengine"),
        ("", vec!["orphans"], 1, "--account"),
        ("", vec!["plan", "-f", &broken], 1, "line 5"),
        ("", vec!["plan", "-f", &typo, &allowed], 2, "no kind ImageComponet"),
        ("", vec!["plan", "-f", &old, &allowed], 2, "v1alpha7"),
        ("", vec!["plan", "-f", &nameless, &allowed], 2, "metadata.name: is required"),
        ("", vec!["plan", "-f", &empty], 1, "has no objects"),
        ("", vec!["plan", "-f", &folder], 1, "folders below it are not read"),
        ("", vec!["plan", "-f", "deploy/samples/uses"], 1, "-k"),
        ("", vec!["plan", "-f", "-"], 1, "standard input has no objects"),
        ("", vec!["plan"], 1, "--filename"),
        ("", vec!["wait", "imgcomp/hello", "--timeout", "soon"], 1, "90s or 2h"),
        ("", vec!["wait", "imgcomp/hello", "--timeout", "10s"], 3, "waits for the operator"),
        ("", vec!["status", "-o", "xml"], 1, "table"),
        ("", vec!["explain", "Stalld", "--lang", "fr"], 1, "zh"),
    ] {
        let mut command = program(&world, &arguments, ("NO_COLOR", "1"));
        if !kubeconfig.is_empty() {
            command.env("KUBECONFIG", kubeconfig);
        }
        let (seen, text) = told(command).await;
        if (seen, text.contains(sentence)) != (Some(code), true) {
            wrong.push(format!(
                "{arguments:?} is to say {sentence:?} with {code}, and said with {seen:?}: {text}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Colours are for terminals, unless they are asked for.
    for (variable, coloured) in [("NO_COLOR", false), ("CLICOLOR_FORCE", true)] {
        let (code, text) = told(program(&world, &["status"], (variable, "1"))).await;
        assert_eq!((code, text.contains('\u{1b}')), (Some(0), coloured), "{variable}: {text}");
    }
    let (code, text) =
        told(program(&world, &["wait", "imgcomp", "--timeout", "10s", "-o", "json"], ("A", ""))).await;
    let shown: Value = serde_json::from_str(
        text.lines().filter(|line| !line.starts_with("ImageComponent")).collect::<Vec<_>>().join("").as_str(),
    )
    .unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((code, &shown[0]["name"]), (Some(3), &json!("hello")), "{text}");

    // A reader that has seen enough, and a person who has.
    let head = "\"$0\" \"$@\" 2>&1 | head -c 1 >/dev/null; echo ${PIPESTATUS[0]}";
    for arguments in [
        &["status"][..],
        &["explain", "OutcomeUnknown"],
        &["completion", "bash"],
        &["status", "pods"],
        &["crds"],
    ] {
        let mut shell = Command::new("bash");
        shell.args(["-c", head, env!("CARGO_BIN_EXE_cloud-image-operator")]).args(arguments);
        shell.env("KUBECONFIG", kubeconfig());
        let (_, text) = told(shell).await;
        assert!(["0\n", "1\n"].contains(&&*text), "{arguments:?}: {text}");
    }
    let mut command = program(&world, &["status", "--watch", "-o", "json"], ("NO_COLOR", "1"));
    let mut watch = command.stdout(Stdio::piped()).spawn().expect("the program runs");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next = async || {
        let line = timeout(Duration::from_secs(120), lines.next_line()).await.expect("a line in time");
        serde_json::from_str::<Value>(&line.expect("text").expect("a line")).expect("JSON")
    };
    let first = next().await;
    assert_eq!((&first["name"], &first["phase"]), (&json!("hello"), &json!("Pending")));
    world.delete("ImageComponent", "hello").await;
    assert_eq!(next().await["phase"], "Gone");
    let id = watch.id().expect("it runs").to_string();
    Command::new("kill").args(["-INT", &id]).status().await.expect("a signal");
    let ended = timeout(Duration::from_secs(120), watch.wait()).await.expect("it ends").expect("it ended");
    assert_eq!(ended.code(), Some(0), "whoever has seen enough is content");
}
