//! What users bring: the libraries of kstatus, Argo CD and Flux, which say what they make of objects, and Flux' controller.

use crate::harness::{World, kubeconfig};
use serde_json::Value;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;
use xtask::{
    kubectl::Kubectl,
    process::{Launch, Process},
};

/// What kstatus says of each object.
pub fn kstatus(objects: &[Value]) -> Vec<Value> {
    ask("kstatus", None, objects)
}

/// What Argo CD's health script says of each object.
pub fn argocd(objects: &[Value]) -> Vec<Value> {
    ask("lua", Some(&deployed("argocd/health.yaml")), objects)
}

/// What Flux' health check expressions say of each object.
pub fn flux(objects: &[Value]) -> Vec<Value> {
    ask("flux", Some(&deployed("flux/images.yaml")), objects)
}

/// A file that users deploy.
pub fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn ask(tool: &str, file: Option<&Path>, objects: &[Value]) -> Vec<Value> {
    let checks = xtask::tools::checks().expect("the checks can be built");
    let mut command = Command::new(checks);
    command.arg(tool).args(file).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.spawn().expect("the checks run");
    let text: String = objects.iter().map(|object| format!("{object}\n")).collect();
    // It reads all before it prints anything.
    running.stdin.take().expect("an input").write_all(text.as_bytes()).expect("it reads");
    let output = running.wait_with_output().expect("the checks end");
    assert!(output.status.success(), "{tool}: {}", output.status);
    let said: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list in JSON");
    assert_eq!(said.len(), objects.len(), "{tool}");
    said
}

/// Lets kubectl do something in a namespace, and gives what it prints.
pub async fn kubectl(namespace: &str, arguments: &[&str]) -> String {
    let namespace = ["-n", namespace];
    let arguments: Vec<String> =
        arguments.iter().chain(&namespace).map(|&argument| argument.to_owned()).collect();
    let run = move || Kubectl::new(kubeconfig()).and_then(|kubectl| kubectl.run(&arguments));
    tokio::task::spawn_blocking(run).await.expect("no panic").unwrap_or_else(|error| panic!("{error}"))
}

/// Flux' kustomize-controller; dropping it kills it.
pub struct Controller {
    _process: Process,
    folder: TempDir,
}

impl Controller {
    /// Installs its kind, and starts it for a world's namespace.
    pub async fn start(world: &World) -> Self {
        let (program, definition) = tokio::task::spawn_blocking(|| {
            let definition = xtask::tools::kustomization_crd().expect("the module is there");
            (xtask::tools::kustomize_controller().expect("it can be built"), definition)
        })
        .await
        .expect("no panic");
        let definition = std::fs::read_to_string(definition).expect("a file");
        world.create(serde_saphyr::from_str(&definition).expect("YAML")).await;
        world.until_established("kustomizations.kustomize.toolkit.fluxcd.io").await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", kubeconfig())
            .env("RUNTIME_NAMESPACE", &world.namespace)
            .env("TMPDIR", folder.path())
            .args([
                "--watch-all-namespaces=false",
                "--metrics-addr=127.0.0.1:0",
                "--health-addr=127.0.0.1:0",
            ]);
        let log = folder.path().join("log");
        let process = Launch::new("kustomize-controller", command).log(log).start().expect("it starts");
        Self { _process: process, folder }
    }

    /// Shows the end of its log when a test fails before what is given back goes.
    pub fn log_if_panicking(&self) -> impl Drop {
        ShownOnPanic(self.folder.path().join("log"))
    }
}

struct ShownOnPanic(PathBuf);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.0).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}
