//! An account is brought under Git from the command line: what is there becomes manifests, what those would do is known before,
//! and done exactly so. The vendors' ledger is the witness.

use super::cli::cloudimages;
use crate::harness::{
    PATIENCE, World, account_of, aosp_image, component, is_ready, kubeconfig, secret, volcengine_account,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, time::Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use vendor_simulator::{
    Fault, FaultRule, When,
    aliyun_ecs::{Component, Image as EcsImage, pipelines::Pipeline},
    batchcompute,
    volcengine::acep::AospImage,
    zstack::images::Image,
};
use xtask::kubectl::Kubectl;

/// Calls that create, change or delete something.
fn effects(world: &World) -> BTreeMap<String, usize> {
    world.vendor.ledger().effect_counts()
}

async fn kubectl(world: &World, arguments: &[&str]) {
    let arguments: Vec<String> =
        arguments.iter().chain(&["-n", &world.namespace]).map(|&argument| argument.to_owned()).collect();
    let run = move || Kubectl::new(kubeconfig()).and_then(|kubectl| kubectl.run(&arguments));
    tokio::task::spawn_blocking(run).await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
}

/// Two commands of a shell, of which the second reads what the first one prints.
async fn pipe(world: &World, first: &str, second: &str) -> String {
    let endpoints: Vec<_> = world.endpoints().iter().map(|it| format!("--allow-endpoint={it}")).collect();
    let program = tokio::task::spawn_blocking(xtask::kubectl::kubectl).await.expect("no panic");
    let mut shell = tokio::process::Command::new("bash");
    shell.args([
        "-o",
        "pipefail",
        "-c",
        &format!("{first} -n $NAMESPACE {} | {second}", endpoints.join(" ")),
    ]);
    shell.env("KUBECONFIG", kubeconfig()).env("NAMESPACE", &world.namespace);
    shell
        .env("KUBECTL", program.expect("kubectl"))
        .env("PROGRAM", env!("CARGO_BIN_EXE_cloud-image-operator"));
    let output = shell.output().await.expect("a shell");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{first} | {second}: {text}");
    text
}

/// With the endpoints that the simulated vendors have.
async fn ask(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let endpoints: Vec<_> = world.endpoints().iter().map(|it| format!("--allow-endpoint={it}")).collect();
    let arguments: Vec<_> = arguments.iter().copied().chain(endpoints.iter().map(String::as_str)).collect();
    cloudimages(world, &arguments).await
}

async fn plan(world: &World, path: &Path) -> (i32, Value) {
    let (code, out, err) = ask(world, &["plan", "-f", path.to_str().expect("text"), "-o", "json"]).await;
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

/// The vendors of all tests give the same ids, and an object of another test whose account is gone may stand for whatever has its id.
pub(super) fn with_ids_of_its_own(world: &World, seed: u64) {
    world.vendor.configure(|settings| settings.seed = seed);
}

#[expect(clippy::too_many_lines, reason = "one story")]
/// Accounts with so many things of each of five kinds, under Git.
async fn watch_it_be_true(name: &str, of_each: usize) {
    let (mut world, began) = (World::empty(name).await, Instant::now());
    with_ids_of_its_own(&world, 2);
    let done = |what: &str| eprintln!("{what} after {:.1} s", began.elapsed().as_secs_f64());
    for object in account_of("BatchComputeImage", "aliyun", &world.vendor) {
        world.create(object).await;
    }
    for object in account_of("RootVolumeTemplate", "zstack", &world.vendor) {
        world.create(object).await;
    }
    for index in 0..of_each {
        world.vendor.aliyun_ecs().seed(Component {
            name: if index % 7 == 0 { String::new() } else { format!("组件 {index}:x") },
            version: format!("1.0.{index}"),
            description: (index % 2 == 0).then(|| format!("number {index}")),
            content: format!("RUN echo {index}\r\n"),
            tags: [("acs:rm".to_owned(), "x".to_owned()), ("team".to_owned(), "base".to_owned())].into(),
            ..Component::default()
        });
        world.vendor.aliyun_ecs().seed_pipeline(Pipeline {
            name: format!("流水线-{index}"),
            description: (index % 2 == 0).then(|| format!("pipeline {index}")),
            build_content: Some(format!("RUN echo {index}")),
            tags: [("team".to_owned(), "base".to_owned())].into(),
            ..Pipeline::default()
        });
        world.vendor.aliyun_ecs().seed_image(EcsImage {
            name: format!("copy {index}"),
            description: (index % 2 == 0).then(|| format!("copy number {index}")),
            copied_from: Some("m-base".into()),
            tags: [("acs:rm".to_owned(), "x".to_owned()), ("team".to_owned(), "base".to_owned())].into(),
            ..EcsImage::default()
        });
        world.vendor.batchcompute().seed(batchcompute::images::Image {
            name: format!("image_{index}"),
            ecs_image_id: format!("m-{index}"),
            ..Default::default()
        });
        world.vendor.zstack().seed(Image {
            name: format!("Template {index} "),
            description: Some(format!("number {index}")),
            ..Image::default()
        });
    }
    world.start_operator().await;

    done("seeded");
    let folder = tempfile::tempdir().expect("a folder");
    for (account, format) in [("aliyun", "json"), ("zstack", "yaml")] {
        let (code, out, err) = ask(&world, &["import", "--account", account, "-o", format]).await;
        assert_eq!(code, 0, "{err}");
        assert!(!err.contains("left out"), "{err}");
        if format == "json" {
            let list: Value = serde_json::from_slice(out.as_bytes()).expect("all of it is one document");
            let count = list["items"].as_array().map(Vec::len);
            assert_eq!((&list["kind"], count), (&json!("List"), Some(4 * of_each)), "{out}");
        }
        std::fs::write(folder.path().join(format!("{account}.{format}")), out).expect("a file");
    }
    done("imported");
    let (code, planned) = plan(&world, folder.path()).await;
    assert_eq!((code, &planned["summary"]), (2, &json!({ "adopt": 5 * of_each })), "{planned:#}");
    assert_eq!(planned["calls"], json!({}));

    done("planned");
    pipe(&world, "\"$PROGRAM\" import --account aliyun -o json", "\"$KUBECTL\" apply -n $NAMESPACE -f -")
        .await;
    kubectl(&world, &["apply", "-f", folder.path().to_str().expect("text")]).await;
    done("applied");
    let kinds =
        ["ImageComponent", "ImagePipeline", "AliyunImageCopy", "BatchComputeImage", "RootVolumeTemplate"];
    for kind in kinds {
        let objects = world.list(kind).await;
        assert_eq!(objects.len(), of_each, "{kind}");
        for object in objects {
            let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
            let ready = world.until(kind, &name, "it is Ready", is_ready).await;
            let message = &crate::harness::condition(&ready, "Ready")["message"];
            assert!(!message.as_str().is_some_and(|it| it.contains("differ")), "{name}: {message}");
        }
    }
    done("all Ready");
    let (code, planned) = plan(&world, folder.path()).await;
    done("planned again");
    assert_eq!((code, &planned["summary"]), (0, &json!({ "nothing": 5 * of_each })), "{planned:#}");
    let (_, out, err) = ask(&world, &["import", "--account", "zstack"]).await;
    assert!(out.is_empty() && err.contains("0 to import"), "it is all managed: {out}{err}");
    let (_, out, err) = ask(&world, &["import", "--account", "aliyun", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert_eq!(list["items"], json!([]), "{out}");

    // One is taken into hand, which changes nothing at the vendor.
    let path = folder.path().join("zstack.yaml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let managed = text.replacen("managementPolicy: Observe", "managementPolicy: Managed", 1);
    std::fs::write(&path, &managed).expect("a file");
    let (code, planned) = plan(&world, folder.path()).await;
    assert_eq!((code, &planned["calls"]), (2, &json!({})), "{planned:#}");
    assert_eq!(planned["summary"], json!({ "change": 1, "nothing": 5 * of_each - 1 }));
    kubectl(&world, &["apply", "-f", path.to_str().expect("text")]).await;
    let (code, planned) = plan(&world, folder.path()).await;
    assert_eq!(code, 0, "{planned:#}");
    assert_eq!(effects(&world), BTreeMap::new(), "nothing has changed at the vendors");

    // One description is edited.
    let at = managed.find("managementPolicy: Managed").expect("the edited one");
    let start = managed[..at].rfind("---\n").unwrap_or_default();
    let document = managed[start..].replacen("description: number", "description: edited", 1);
    std::fs::write(&path, format!("{}{document}", &managed[..start])).expect("a file");
    let (code, planned) = plan(&world, folder.path()).await;
    assert_eq!((code, &planned["calls"]), (2, &json!({ "UpdateImage": 1 })), "{planned:#}");
    let changed: Vec<_> = planned["objects"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|it| it["action"] != "nothing")
        .collect();
    assert_eq!(changed.len(), 1, "{changed:#?}");
    let change = &changed[0]["changes"];
    assert_eq!(change.as_array().map(Vec::len), Some(1), "{change}");
    assert_eq!(change[0]["field"], "forProvider.description");
    let (old, new) = (change[0]["old"].as_str().expect("text"), change[0]["new"].as_str().expect("text"));
    assert_eq!(old.replace("number", "edited"), new);

    kubectl(&world, &["apply", "-f", path.to_str().expect("text")]).await;
    let name = changed[0]["name"].as_str().expect("a name");
    world.until_ready("RootVolumeTemplate", name).await;
    world.until_true("the vendor has it", || world.effects("UpdateImage") == 1).await;
    assert_eq!(effects(&world), [("zstack/UpdateImage".to_owned(), 1)].into(), "exactly that");
    let edited =
        world.vendor.zstack().get(changed[0]["imageId"].as_str().expect("an id")).expect("it is there");
    done("edited");
    assert_eq!(edited.description.map(|it| format!("{it:?}")).as_deref(), Some(new));
    let (code, planned) = plan(&world, folder.path()).await;
    assert_eq!(code, 0, "{planned:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_brought_under_git() {
    watch_it_be_true("import", 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: five hundred things"]
async fn an_account_with_five_hundred_things_is_brought_under_git() {
    watch_it_be_true("import-many", 167).await;
}

/// Who waits at a terminal sees how far it is, of how much and for how long, where the vendor tells; otherwise how much there was.
#[tokio::test]
async fn who_waits_for_an_import_sees_how_far_it_is() {
    let world = World::with_account("import-progress").await;
    with_ids_of_its_own(&world, 3);
    for (kind, name) in [("RootVolumeTemplate", "zstack"), ("BatchComputeImage", "batch")] {
        for object in account_of(kind, name, &world.vendor) {
            world.create(object).await;
        }
    }
    for index in 0..250 {
        let (version, ecs_image_id) = (format!("1.0.{index}"), format!("m-{index}"));
        world.vendor.aliyun_ecs().seed(Component { name: "base".into(), version, ..Component::default() });
        world.vendor.batchcompute().seed(batchcompute::images::Image { ecs_image_id, ..Default::default() });
        world.vendor.zstack().seed(Image::default());
    }
    // Longer than it takes to draw.
    world.vendor.configure(|settings| settings.latency_millis = 700);
    for (account, kind, format, shown, hidden) in [
        ("default", "ImageComponent", "yaml", &["█", "100 of 250", "left"][..], &[][..]),
        ("zstack", "RootVolumeTemplate", "yaml", &["█", "100 of 250", "left"], &[]),
        ("batch", "BatchComputeImage", "table", &["100 read", "/s"], &["█", "left"]),
        ("default", "ImageComponent", "json", &["250 to import"], &["█", "read", " of 250"]),
    ] {
        // Of the two ways out only standard error is a terminal.
        let command = format!(
            "stty cols 120; \"$PROGRAM\" import --account {account} --kind {kind} -o {format} >/dev/null"
        );
        let endpoints =
            world.endpoints().iter().map(|it| format!(" --allow-endpoint={it}")).collect::<String>();
        let command =
            command.replace(" >/dev/null", &format!("{endpoints} -n {} >/dev/null", world.namespace));
        let mut terminal = tokio::process::Command::new("script");
        terminal
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .stdin(std::process::Stdio::null());
        terminal.env("PROGRAM", env!("CARGO_BIN_EXE_cloud-image-operator")).env("KUBECONFIG", kubeconfig());
        terminal.env("TERM", "xterm").env("SHELL", "/bin/sh");
        let output = terminal.output().await.expect("a terminal");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        for part in shown {
            assert!(text.contains(part), "{kind} as {format} is to show {part:?}: {text}");
        }
        for part in hidden {
            assert!(!text.contains(part), "{kind} as {format} is not to show {part:?}: {text}");
        }
    }

    // What has been read is printed before the rest is there, which here never comes.
    world.vendor.configure(|settings| settings.latency_millis = 0);
    let never = FaultRule::new(Fault::Hang { effect: false }).action("DescribeImageComponents");
    world.vendor.set_faults(vec![never.when(When::first(1).after(2))]);
    let mut import = tokio::process::Command::new(env!("CARGO_BIN_EXE_cloud-image-operator"));
    import.args([
        "import",
        "--account",
        "default",
        "--kind",
        "imgcomp",
        "-o",
        "json",
        "-n",
        &world.namespace,
    ]);
    import.args(world.endpoints().iter().map(|it| format!("--allow-endpoint={it}")));
    import.env("KUBECONFIG", kubeconfig()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut import = import.spawn().expect("the program runs");
    let mut lines = BufReader::new(import.stdout.take().expect("a pipe")).lines();
    for begun in 0..200 {
        let item = async { while lines.next_line().await.expect("text").expect("a line") != "    {" {} };
        let seen = tokio::time::timeout(PATIENCE, item).await;
        assert!(seen.is_ok(), "only {begun} of the first two hundred were printed");
    }
}

#[tokio::test]
async fn what_the_operator_s_marks_tell_of_and_no_object_stands_for_is_found() {
    let mut world = World::empty("orphans").await;
    with_ids_of_its_own(&world, 4);
    world.quicken();
    world.create(secret("volcengine")).await;
    world.create(volcengine_account("default", world.volcengine_endpoint())).await;
    let seed = |name: &str, annotation: &str| {
        world.vendor.volcengine().seed_aosp_image(AospImage {
            name: name.into(),
            annotation: annotation.into(),
            ..AospImage::default()
        })
    };
    let left = seed("left", "[cloudimages.dev/123e4567-e89b-12d3-a456-426655440000-2] nightly");
    let theirs = seed("theirs", "somebody's [cloudimages.dev/");
    world.start_operator().await;
    world.create(aosp_image("made", json!({}))).await;
    world.until_ready("AospImage", "made").await;

    let (code, out, err) = ask(&world, &["orphans", "--account", "default", "-o", "json"]).await;
    let orphans: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert_eq!(code, 2, "{out}");
    let ids: Vec<_> = orphans.as_array().expect("a list").iter().map(|it| it["id"].as_str()).collect();
    assert_eq!(ids, [Some(&*left)]);
    assert_eq!(orphans[0]["madeFor"], "123e4567-e89b-12d3-a456-426655440000");
    assert!(err.contains("ImageExport: nothing at the vendor says who made it"), "{err}");

    // Taking over leaves it out, but for who insists.
    let (code, out, err) = ask(&world, &["import", "--account", "default", "--kind", "aosp"]).await;
    assert!(code == 0 && out.contains(&theirs) && !out.contains(&left), "{out}");
    assert!(
        err.contains("1 to import, 3 seen, 1 managed, 1 left out that bear the operator's mark"),
        "{err}"
    );
    let command = orphans[0]["import"].as_str().expect("a command");
    let words: Vec<_> = command.split(' ').skip(2).collect();
    let (code, out, _) = ask(&world, &words).await;
    assert!(code == 0 && out.contains(&left) && !out.contains(&theirs), "{out}");
    assert!(out.contains("imageAnnotation: nightly"), "the mark is not the user's text: {out}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("left.yaml");
    std::fs::write(&path, out).expect("a file");
    kubectl(&world, &["apply", "-f", path.to_str().expect("text")]).await;
    let (code, out, err) = ask(&world, &["orphans", "--account", "default"]).await;
    assert_eq!(code, 0, "an object stands for it now: {out}{err}");
    assert_eq!(world.effects("UpdateAOSPImage"), 0);

    // What is left of all kinds, of which a finished export is one, is taken over without a change.
    world.create(crate::harness::image_export("done", "image-44", json!({}))).await;
    let task = world.until_ready("ImageExport", "done").await["status"]["taskId"].clone();
    world.delete("ImageExport", "done").await;
    world.until_gone("ImageExport", "done").await;
    let before = effects(&world);
    let (code, out, err) = ask(&world, &["import", "--account", "default", "-o", "json"]).await;
    let list: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let items = list["items"].as_array().expect("a list");
    let ids: Vec<_> = items.iter().map(|item| (&item["kind"], &item["spec"]["import"]["id"])).collect();
    assert_eq!((code, ids), (0, vec![(&json!("AospImage"), &json!(theirs)), (&json!("ImageExport"), &task)]));
    std::fs::write(&path, &out).expect("a file");
    kubectl(&world, &["apply", "-f", path.to_str().expect("text")]).await;
    for item in items {
        let text = |field: &Value| field.as_str().expect("text").to_owned();
        world.until_ready(&text(&item["kind"]), &text(&item["metadata"]["name"])).await;
    }
    let (code, planned) = plan(&world, &path).await;
    assert_eq!((code, &planned["summary"]), (0, &json!({ "nothing": 2 })), "{planned:#}");
    assert_eq!(effects(&world), before, "nothing has changed at the vendor");
}

#[expect(clippy::too_many_lines, reason = "one table, and what it needs")]
#[tokio::test]
async fn a_plan_says_what_would_be_done_and_does_nothing() {
    let world = World::new("plan").await;
    let theirs = world.vendor.aliyun_ecs().seed(Component {
        name: "theirs".into(),
        version: "1.0.0".into(),
        content: "RUN true".into(),
        ..Component::default()
    });
    let tagged = json!({ "forProvider": { "tag": [{ "key": "team", "value": "base" }] } });
    world.create(component("made", tagged)).await;
    world.until_ready("ImageComponent", "made").await;
    let versions = json!({ "versionPolicy": "Bump" });
    world.create(component("versions", versions)).await;
    world.until_ready("ImageComponent", "versions").await;
    let shared = format!("plan-{}", world.namespace);
    world
        .create(json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": "ClusterCloudAccount",
            "metadata": { "name": shared },
            "spec": {
                "allowedNamespaces": { "names": ["another"], "selector": { "matchLabels": { "team": "another" } } },
                "aliyun": { "regionId": "cn-hangzhou", "ecs": { "endpoint": world.endpoint() },
                    "credentialsSecretRef": { "name": "aliyun", "namespace": world.namespace } },
            },
        }))
        .await;
    let of_others = json!({ "accountRef": { "kind": "ClusterCloudAccount", "name": shared } });
    let mut referring = crate::harness::image_export(
        "referring",
        "image-1",
        json!({ "accountRef": { "name": "volcengine" } }),
    );
    referring["spec"]["forProvider"].as_object_mut().expect("parameters").remove("imageId");
    referring["spec"]["forProvider"]["imageRef"] = json!({ "name": "made" });
    world.vendor.volcengine().remove_image("image-nowhere");
    let lacking = crate::harness::image_export(
        "lacking",
        "image-nowhere",
        json!({ "accountRef": { "name": "volcengine" } }),
    );
    world.create(secret("volcengine")).await;
    world.create(crate::harness::volcengine_account("volcengine", world.volcengine_endpoint())).await;
    let before = effects(&world);

    let bumped = json!({ "versionPolicy": "Bump", "forProvider": { "content": "RUN echo another" } });
    let adopted = json!({ "import": { "id": theirs }, "forProvider": {
        "name": null, "content": null, "componentVersion": null, "tag": [{ "key": "a", "value": "b" }],
    } });
    let retagged = json!({ "forProvider": { "tag": [{ "key": "team", "value": "other" }] } });
    let rewritten =
        json!({ "forProvider": { "content": "RUN false", "tag": [{ "key": "team", "value": "base" }] } });
    let cases = [
        (component("new", json!({})), "create", json!(["CreateImageComponent"]), ""),
        (component("theirs", json!({})), "create", json!(["CreateImageComponent"]), "give import.id"),
        (component("adopted", adopted), "adopt", json!(["TagResources"]), ""),
        (component("made", retagged), "change", json!(["TagResources"]), ""),
        (component("made", rewritten), "replace", json!([]), "cannot be changed once it is asked for"),
        (
            component("bad", json!({ "forProvider": { "content": "FROM x" } })),
            "refused",
            json!([]),
            "the command FROM",
        ),
        (
            component("gone", json!({ "import": { "id": "ic-gone" } })),
            "blocked",
            json!([]),
            "does not have ic-gone",
        ),
        (component("held", json!({ "suspend": true })), "create", json!([]), "suspended"),
        (
            component("early", json!({ "accountRef": { "name": "later" } })),
            "create",
            json!(["CreateImageComponent"]),
            "nobody looked",
        ),
        (world.get("ImageComponent", "made").await.expect("it is there"), "nothing", json!([]), ""),
        (component("versions", bumped), "change", json!(["CreateImageComponent"]), "a new version is made"),
        (component("versions", json!({ "versionPolicy": "Bump" })), "nothing", json!([]), ""),
        (component("made", json!({ "forProvider": { "tag": [] } })), "change", json!(["UntagResources"]), ""),
        (component("of-others", of_others), "blocked", json!([]), "does not allow this namespace"),
        (referring, "blocked", json!([]), "give the id itself"),
        (lacking, "blocked", json!([]), "shows no image image-nowhere"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("all.json");
    let mut other =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" } }).to_string();
    for (object, ..) in &cases {
        other += &object.to_string();
    }
    std::fs::write(&path, other).expect("a file");
    let (code, planned) = plan(&world, &path).await;
    assert_eq!(code, 2);
    for (index, (object, action, calls, reason)) in cases.iter().enumerate() {
        let entry = &planned["objects"][index];
        assert_eq!(
            (&entry["action"], &entry["calls"]),
            (&json!(action), calls),
            "{} {entry:#}",
            object["metadata"]["name"]
        );
        assert!(entry["reason"].as_str().unwrap_or_default().contains(reason), "{entry:#}");
    }
    assert_eq!(effects(&world), before, "nothing was done");
    let (code, out, err) = ask(&world, &["plan", "-f", path.to_str().expect("text")]).await;
    assert!(code == 2 && out.contains("+ ImageComponent/new: to create"), "{out}{err}");
    assert!(err.contains("1 of kind ConfigMap left out"), "{err}");

    // The samples, whose namespace is not there, so that the API server cannot be asked.
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples/adoption");
    let (code, out, err) = ask(&world, &["plan", "-k", samples.to_str().expect("text"), "-o", "json"]).await;
    let planned: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert_eq!((code, &planned["summary"]), (2, &json!({ "adopt": 3 })), "{planned:#}");

    // Without the cluster, the same rules are evaluated here.
    let accounts = folder.path().join("accounts");
    std::fs::create_dir(&accounts).expect("a folder");
    let files = [secret("aliyun"), crate::harness::account("default", world.endpoint())];
    std::fs::write(accounts.join("a.json"), files.map(|it| it.to_string()).concat()).expect("a file");
    let alone = [
        "plan",
        "-o",
        "json",
        "--account-file",
        accounts.to_str().expect("text"),
        "-f",
        path.to_str().expect("text"),
    ];
    let (code, out, err) = ask(&world, &alone).await;
    assert_eq!(code, 2, "{err}");
    let planned: Value = serde_json::from_str(&out).expect("JSON");
    let action = |index: usize| planned["objects"][index]["action"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [0, 2, 5, 6].map(action),
        ["create", "adopt", "refused", "blocked"].map(str::to_owned),
        "{planned:#}"
    );
    let (code, out, err) =
        ask(&world, &["plan", "-f", folder.path().join("none.yaml").to_str().expect("text")]).await;
    assert!(code == 1 && err.contains("none.yaml"), "{out}{err}");
}
