//! Helm 3 and Helm 4, and what they print.

use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};
use tempfile::TempDir;

/// The chart, from the workspace's root.
pub const CHART: &str = "charts/cloud-image-operator";

/// Where Helm keeps what it wants to remember: not at the user's.
static HOME: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));

/// One version of Helm, for one cluster or for none.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Helm {
    /// Helm 3 and Helm 4.
    pub fn both(kubeconfig: &Path) -> [Self; 2] {
        [xtask::tools::helm3(), xtask::tools::helm4()].map(|program| Self {
            program: program.expect("Helm can be built"),
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// The same without a cluster.
    pub fn both_alone() -> [Self; 2] {
        Self::both(Path::new("/nonexistent"))
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Lets a command that runs it remember nothing at the user's.
    pub fn at_home(command: &mut Command) -> &mut Command {
        command
            .env("HELM_CACHE_HOME", HOME.path())
            .env("HELM_CONFIG_HOME", HOME.path())
            .env("HELM_DATA_HOME", HOME.path())
    }

    /// What it prints, or what it says is wrong.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        run(Self::at_home(command.args(arguments).env("KUBECONFIG", &self.kubeconfig)))
    }

    /// The objects of the chart as it is rendered with some `--set` values.
    pub fn template(&self, values: &[&str]) -> Vec<Value> {
        let mut arguments =
            vec!["template", "release", CHART, "--namespace=operators", "--kube-version=1.36.0"];
        arguments.extend(values.iter().flat_map(|value| ["--set-json", *value]));
        objects(&self.run(arguments).unwrap_or_else(|error| panic!("{values:?}: {error}")))
    }
}

/// What a program prints, or what it says is wrong. It runs in the workspace's root.
pub fn run(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command
        .current_dir(xtask::workspace::root())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if status.success() { Ok(text(&stdout)) } else { Err(text(&stdout) + &text(&stderr)) }
}

/// The Kubernetes objects in a stream of YAML documents.
pub fn objects(stream: &str) -> Vec<Value> {
    let read = |document: &str| {
        serde_saphyr::from_str::<Value>(document).unwrap_or_else(|error| panic!("{error}: {document}"))
    };
    format!("\n{stream}").split("\n---\n").map(read).filter(|object| !object.is_null()).collect()
}

/// The only object of a kind with this name, or with one that ends so if it begins with a dash or is empty.
pub fn the<'a>(objects: &'a [Value], kind: &str, end: &str) -> &'a Value {
    let name = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        name == end || (end.is_empty() || end.starts_with('-')) && name.ends_with(end)
    };
    let mut found = objects.iter().filter(|object| object["kind"] == kind).filter(name);
    let one = found.next().unwrap_or_else(|| panic!("no {kind} ...{end}"));
    assert_eq!(found.next(), None, "one {kind} ...{end}");
    one
}
