//! A release's life: installed from an older chart, upgraded, rolled back, uninstalled with objects left.

use super::helm::{CHART, Helm, run};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use xtask::{controlplane::ControlPlane, kubectl::Kubectl};

/// A field that the older chart's CRD does not have.
const FIELD: &str = "recreatePolicy";

const RELEASE: [&str; 2] = ["operator", "--namespace=operators"];

/// The chart as it might have been before: an older version, and a CRD with one field less.
fn older(folder: &Path) -> PathBuf {
    let chart = folder.join("older");
    copy(&xtask::workspace::root().join(CHART), &chart);
    let change = |file: &str, change: &dyn Fn(&str) -> String| {
        let file = chart.join(file);
        let text = fs::read_to_string(&file).expect("a text");
        let changed = change(&text);
        assert_ne!(changed, text, "{}", file.display());
        fs::write(file, changed).expect("a file");
    };
    change("Chart.yaml", &|text| text.replace("ersion: 0.1.0", "ersion: 0.0.1"));
    change("templates/crds/imagecomponents.cloudimages.dev.yaml", &|text| without(text, FIELD));
    chart
}

/// A YAML text without a key and what is below it.
fn without(text: &str, key: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut dropped = None;
    let kept = text.lines().filter(|line| {
        dropped = dropped.filter(|&depth| indent(line) > depth);
        if dropped.is_none() && line.trim() == format!("{key}:") {
            dropped = Some(indent(line));
        }
        dropped.is_none()
    });
    kept.map(|line| format!("{line}\n")).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("a copy");
        }
    }
}

/// Applies an ImageComponent that says what happens when it is missing.
fn apply(kubectl: &Kubectl, name: &str, policy: &str) -> Result<String, String> {
    let object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ImageComponent",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { FIELD: policy, "forProvider": { "name": "abc", "content": "x" } },
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("object.yaml");
    fs::write(&file, object.to_string()).expect("a file");
    run(kubectl.command().args(["apply", "--server-side", "--validate=strict", "-f"]).arg(&file))
}

#[test]
fn a_release_lives_with_helm_3_and_helm_4() {
    let plane = ControlPlane::start().expect("the control plane starts");
    let kubectl = Kubectl::new(plane.kubeconfig()).expect("kubectl");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let older = older(folder.path());
    let older = older.to_str().expect("a text");
    for (number, helm) in (3..).zip(Helm::both(plane.kubeconfig())) {
        let [release, namespace] = RELEASE;
        let helm = |arguments: &[&str]| {
            helm.run(arguments.iter().copied().chain([namespace]))
                .unwrap_or_else(|error| panic!("helm {number} {arguments:?}: {error}"))
        };
        let kubectl_says = |arguments: &[&str]| run(kubectl.command().args(arguments)).expect("kubectl");
        let field = |name: &str| {
            let path = format!("-o=jsonpath={{.spec.{FIELD}}}");
            kubectl_says(&["get", "imagecomponent", name, &path])
        };

        let notes = helm(&["install", release, older, "--create-namespace"]);
        let next = notes.split("Next:\n").nth(1).expect("what to do next");
        assert_eq!(
            next.lines().filter(|line| line.trim_start().starts_with("kubectl ")).count(),
            3,
            "{notes}"
        );
        until(|| kubectl.run(["get", "imagecomponents"]).is_ok());
        let refusal = apply(&kubectl, "new", "WhenMissing").expect_err("the field is not known");
        assert!(refusal.contains(FIELD), "{refusal}");
        helm(&["upgrade", release, CHART]);
        until(|| apply(&kubectl, "new", "WhenMissing").is_ok());
        assert_eq!(field("new"), "WhenMissing");

        // Back to the older CRD: the object stays, and so does what is in it as long as nobody writes it.
        helm(&["rollback", release, "1"]);
        until(|| apply(&kubectl, "other", "Never").is_err());
        kubectl_says(&["get", "imagecomponent", "new"]);
        helm(&["upgrade", release, CHART]);
        until(|| apply(&kubectl, "other", "Never").is_ok());

        helm(&["uninstall", release]);
        kubectl_says(&["get", "imagecomponent", "new"]);
        // What the Deployment made goes a little later.
        until(|| {
            let kinds = "deployments,replicasets,pods,services,serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings";
            kubectl_says(&["get", kinds, "-A", "-o=name", "-l=app.kubernetes.io/instance=operator"])
                .is_empty()
        });

        // CRDs that another release left are taken over only by who says so.
        let other = ["install", "other", CHART, namespace];
        let helm_of = &Helm::both(plane.kubeconfig())[number - 3];
        let refusal = helm_of.run(other).expect_err("they are another release's");
        assert!(refusal.contains("invalid ownership metadata"), "{refusal}");
        helm(&["install", "other", CHART, "--take-ownership"]);
        helm(&["uninstall", "other"]);
        kubectl_says(&["get", "imagecomponent", "new"]);
        helm(&["install", release, CHART, "--take-ownership"]);
        helm(&["uninstall", release]);

        // Who comes back finds all as it was.
        helm(&["install", release, CHART]);
        kubectl_says(&["get", "imagecomponent", "new"]);
        // And who wants to be rid of it, is, when nothing holds the objects.
        helm(&["upgrade", release, CHART, "--set", "crds.keep=false"]);
        // A CRD that is deleted while the API server still takes over its last change is left until the
        // API server looks again, minutes later: "could not list instances: storage is (re)initializing".
        let kinds = kubectl_says(&["get", "crds", "-o=jsonpath={.items[*].metadata.name}"]).replace(' ', ",");
        until(|| kubectl.run(["get", &kinds, "-A"]).is_ok());
        helm(&["uninstall", release]);
        until(|| kubectl.run(["get", "crds", "-o=name"]).is_ok_and(|crds| crds.is_empty()));
    }
}

/// Waits until something has come about; what did not is named by the caller's line.
#[track_caller]
pub fn until(mut met: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !met() {
        assert!(Instant::now() < end, "waited 120 s in vain");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn applying_the_operator_twice_changes_nothing() {
    let kubectl = super::kubectl();
    let apply = |arguments: &[&str]| {
        run(kubectl.command().args(["apply", "--server-side"]).args(arguments))
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let versions = |arguments: &[&str]| {
        let columns = "-o=custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
        run(kubectl.command().arg("get").args(arguments).arg(columns)).expect("kubectl")
    };
    apply(&["-f", "deploy/operator.yaml"]);
    // Who else writes CRDs, Deployments and roles is done when their status stands.
    for condition in
        [["--for=condition=Established", "crds"], ["--for=create", "deployment/cloud-image-operator"]]
    {
        run(kubectl
            .command()
            .args(["wait", "--timeout=120s", "--namespace=cloud-image-operator"])
            .args(condition)
            .args(if condition[1] == "crds" { &["--all"][..] } else { &[] }))
        .expect("kubectl");
    }
    let stable =
        ["-f", "deploy/base/rbac.yaml", "-f", "deploy/base/crds.yaml", "-f", "deploy/base/namespace.yaml"];
    let generation = || {
        let path = "-o=jsonpath={.metadata.generation}";
        run(kubectl.command().args([
            "get",
            "-n=cloud-image-operator",
            "deployment/cloud-image-operator",
            path,
        ]))
        .expect("kubectl")
    };
    let (before, first) = (versions(&stable), generation());
    apply(&["-f", "deploy/operator.yaml"]);
    apply(&["-k", "deploy/base"]);
    assert_eq!(versions(&stable), before);
    assert_eq!(generation(), first);
}
