//! Programs of the Kubernetes world that tests and demo run, built once from the Go modules that `tools` pins.
//!
//! Each is built when it is first asked for, and kept in a cache folder of the user's that is named by what was pinned.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{Doing, Error, Result};
use crate::process::{Launch, tail};
use crate::{interrupt, workspace};

/// A program that a [`Module`] pins.
#[derive(Debug)]
pub(crate) struct Program {
    /// The name of its file.
    pub(crate) name: &'static str,
    package: &'static str,
}

/// A Go module below `tools`: one set of versions that its programs are built from.
#[derive(Debug)]
pub(crate) struct Module {
    /// The name of its folder, there and in the cache.
    folder: &'static str,
    /// What lines about its building begin with.
    spoken: &'static str,
    /// Variables that its programs tell their version by, set when they are linked.
    versions: &'static [Version],
    /// How to do without Go, to end a sentence; may be empty.
    without_go: &'static str,
}

/// A variable of a program, and what it is set to.
#[derive(Debug)]
struct Version {
    variable: &'static str,
    /// The module whose pinned version it is.
    of: &'static str,
    part: Part,
}

/// What is meant of a version like `v1.36.3`.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    Major,
    Minor,
}

/// The project's folder among the user's cached things, as is the platform's custom.
pub(crate) fn cache_base() -> Result<PathBuf> {
    let home = env::home_dir().filter(|home| home.is_absolute());
    let base = match env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(base) => Some(base),
        None if cfg!(target_os = "macos") => home.map(|home| home.join("Library/Caches")),
        None => home.map(|home| home.join(".cache")),
    };
    let base = base.ok_or_else(|| Error::Failed("no home folder to cache in: set XDG_CACHE_HOME".into()))?;
    Ok(base.join("cloud-image-operator"))
}

impl Program {
    pub(crate) const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }
}

impl Version {
    const fn new(variable: &'static str, of: &'static str, part: Part) -> Self {
        Self { variable, of, part }
    }
}

/// The control plane and its client.
///
/// Without its version the API server calls itself v0.0.0, and clients take it for older than all they support.
pub(crate) static CONTROL_PLANE: Module = Module {
    folder: "controlplane",
    spoken: "control plane",
    versions: &[
        Version::new("k8s.io/component-base/version.gitVersion", "k8s.io/kubernetes", Part::Whole),
        Version::new("k8s.io/component-base/version.gitMajor", "k8s.io/kubernetes", Part::Major),
        Version::new("k8s.io/component-base/version.gitMinor", "k8s.io/kubernetes", Part::Minor),
    ],
    without_go: ", or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kubectl",
};

// Each of the others has a module of its own, since their versions of the same libraries exclude each other.

/// Without the minor version it renders charts for Kubernetes 1.20.
static HELM_3: Module = Module::tool(
    "helm3",
    &[
        Version::new("helm.sh/helm/v3/internal/version.version", "helm.sh/helm/v3", Part::Whole),
        Version::new("helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor", "k8s.io/client-go", Part::Minor),
        Version::new("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor", "k8s.io/client-go", Part::Minor),
    ],
);
static HELM_4: Module = Module::tool(
    "helm4",
    &[Version::new("helm.sh/helm/v4/internal/version.version", "helm.sh/helm/v4", Part::Whole)],
);
static HELM_DOCS: Module = Module::tool("helm-docs", &[]);
static KUBECONFORM: Module = Module::tool("kubeconform", &[]);
static KUBE_SCORE: Module = Module::tool("kube-score", &[]);
static KUSTOMIZE_CONTROLLER: Module = Module::tool("kustomize-controller", &[]);
/// Never built.
static PROMETHEUS_OPERATOR: Module = Module::tool("prometheus-operator", &[]);
static CHECKS: Module = Module::tool("checks", &[]);
static CRANE: Module = Module::tool("crane", &[]);
static ACTIONLINT: Module = Module::tool("actionlint", &[]);

/// Helm 3.
pub fn helm3() -> Result<PathBuf> {
    HELM_3.program("helm", "helm.sh/helm/v3/cmd/helm")
}

/// Helm 4.
pub fn helm4() -> Result<PathBuf> {
    HELM_4.program("helm", "helm.sh/helm/v4/cmd/helm")
}

/// Writes a chart's README from its values.
pub fn helm_docs() -> Result<PathBuf> {
    HELM_DOCS.program("helm-docs", "github.com/norwoodj/helm-docs/cmd/helm-docs")
}

/// Holds manifests against JSON schemas.
pub fn kubeconform() -> Result<PathBuf> {
    KUBECONFORM.program("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")
}

/// Holds manifests against what is good practice.
pub fn kube_score() -> Result<PathBuf> {
    KUBE_SCORE.program("kube-score", "github.com/zegl/kube-score/cmd/kube-score")
}

/// Flux's controller of Kustomizations.
pub fn kustomize_controller() -> Result<PathBuf> {
    KUSTOMIZE_CONTROLLER.program("kustomize-controller", "github.com/fluxcd/kustomize-controller")
}

/// The definition of its kind, from the same sources.
pub fn kustomization_crd() -> Result<PathBuf> {
    let module = KUSTOMIZE_CONTROLLER.module("github.com/fluxcd/kustomize-controller")?;
    Ok(module.join("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"))
}

/// The definitions of the Prometheus operator's kinds that the chart makes, from its sources.
pub fn prometheus_crds() -> Result<[PathBuf; 2]> {
    let module = PROMETHEUS_OPERATOR.module("github.com/prometheus-operator/prometheus-operator")?;
    let crds = module.join("example/prometheus-operator-crd");
    Ok(["servicemonitors", "prometheusrules"]
        .map(|kind| crds.join(format!("monitoring.coreos.com_{kind}.yaml"))))
}

/// Our own `tools/checks`, which asks the libraries of Prometheus, Argo CD and Flux.
pub fn checks() -> Result<PathBuf> {
    CHECKS.program("checks", ".")
}

/// Carries images between layouts and registries, and is a registry itself.
pub fn crane() -> Result<PathBuf> {
    CRANE.program("crane", "github.com/google/go-containerregistry/cmd/crane")
}

/// Checks GitHub's workflows.
pub fn actionlint() -> Result<PathBuf> {
    ACTIONLINT.program("actionlint", "github.com/rhysd/actionlint/cmd/actionlint")
}

/// All of these, and how they are built.
type Tool = fn() -> Result<PathBuf>;
const ALL: [Tool; 9] =
    [helm3, helm4, helm_docs, kubeconform, kube_score, kustomize_controller, checks, crane, actionlint];

/// The paths of all tools; those that are not built yet are.
pub fn all() -> Result<Vec<PathBuf>> {
    ALL.iter().map(|tool| tool()).collect()
}

/// Runs `cargo xtask tools`: builds all, and prints where each is.
pub fn run() -> Result<()> {
    all()?.iter().for_each(|tool| println!("{}", tool.display()));
    Ok(())
}

/// How often a build says that it is still going on.
const PROGRESS: Duration = Duration::from_secs(5);

impl Module {
    /// One with programs that nothing replaces.
    const fn tool(folder: &'static str, versions: &'static [Version]) -> Self {
        Self { folder, spoken: folder, versions, without_go: "" }
    }

    /// The path of its only program, which is built if need be.
    fn program(&self, name: &'static str, package: &'static str) -> Result<PathBuf> {
        Ok(self.built(&[&Program { name, package }])?.join(name))
    }

    /// The folder with the sources of a module that is pinned, which are downloaded if need be.
    fn module(&self, name: &str) -> Result<PathBuf> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            dir: PathBuf,
        }
        let mut go = Command::new("go");
        go.args(["mod", "download", "-json", name]).current_dir(self.source());
        let output = go.stderr(Stdio::inherit()).output().doing(|| "run Go")?;
        let answer: Answer =
            serde_json::from_slice(&output.stdout).doing(|| format!("find the sources of {name}"))?;
        Ok(answer.dir)
    }

    /// The cache folder with all of `programs`, which are built if need be.
    pub(crate) fn built(&self, programs: &[&Program]) -> Result<PathBuf> {
        self.expect_built(programs)?;
        let folder = self.cache()?;
        if missing(programs, &folder).is_empty() {
            return Ok(folder);
        }
        fs::create_dir_all(&folder).doing(|| format!("make {}", folder.display()))?;
        let _lock = self.lock(&folder.with_extension("lock"))?;
        let missing = missing(programs, &folder); // somebody else may have built some of them meanwhile
        for (number, program) in missing.iter().enumerate() {
            self.build(program, &folder, &format!("{} of {}", number + 1, missing.len()))?;
        }
        Ok(folder)
    }

    /// Fails if some of `programs` are not built yet and Go is missing.
    pub(crate) fn expect_built(&self, programs: &[&Program]) -> Result<()> {
        match missing(programs, &self.cache()?).first() {
            None => Ok(()),
            Some(program) => self.expect_go(program),
        }
    }

    fn expect_go(&self, program: &Program) -> Result<()> {
        let version = Command::new("go").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_err_and(|cause| cause.kind() == ErrorKind::NotFound) {
            return Err(Error::Failed(format!(
                "{} has to be built and Go is not installed: install Go {} or newer (https://go.dev/dl/){}",
                program.name,
                go_version(&self.source())?,
                self.without_go
            )));
        }
        Ok(())
    }

    /// Builds one program beside its place and moves it there, so that what is in its place is always whole.
    fn build(&self, program: &Program, folder: &Path, position: &str) -> Result<()> {
        let finished = folder.join(program.name);
        let partial = folder.join(format!(".{}.partial", program.name));
        let log = folder.join(format!("{}.log", program.name));
        let started = Instant::now();
        let mut go = Launch::new("go build", self.go(program, &partial)?)
            .log(&log)
            .grace(Duration::from_secs(1))
            .start()?;
        say(&format!("{}: building {} ({position}); this happens once", self.spoken, program.name));
        let mut said = Instant::now();
        let status = loop {
            if let Some(status) = go.exited()? {
                break status;
            }
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                let seconds = started.elapsed().as_secs();
                let at = fs::read_to_string(&log).unwrap_or_default();
                let at = at.lines().last().map(|line| format!(" ({line})")).unwrap_or_default();
                say(&format!("{}: building {} ({position}), {seconds} s{at}", self.spoken, program.name));
            }
            interrupt::pause(Duration::from_millis(100))?;
        };
        if !status.success() {
            return Err(Error::Failed(format!("could not build {} with Go{}", program.name, tail(&log))));
        }
        fs::rename(&partial, &finished).doing(|| format!("move {} into place", finished.display()))?;
        let _ = fs::remove_file(log); // only a failed build's log is of use
        Ok(())
    }

    /// The call of Go that builds `program` into the file `output`.
    fn go(&self, program: &Program, output: &Path) -> Result<Command> {
        let source = self.source();
        let mut flags = String::from("-s -w");
        for Version { variable, of, part } in self.versions {
            let version = pinned(&source, of)?;
            let mut numbers = version.trim_start_matches('v').split('.');
            let value = match part {
                Part::Whole => &version,
                Part::Major => numbers.next().unwrap_or_default(),
                Part::Minor => numbers.nth(1).unwrap_or_default(),
            };
            flags += &format!(" -X {variable}={value}");
        }
        let mut command = Command::new("go");
        command
            .args(["build", "-mod=readonly", "-trimpath", "-ldflags", &flags, "-o"])
            .arg(output)
            .arg(program.package)
            .env("CGO_ENABLED", "0")
            .current_dir(source);
        Ok(command)
    }

    /// Where its versions are pinned.
    fn source(&self) -> PathBuf {
        workspace::root().join("tools").join(self.folder)
    }

    /// The folder of what is built from it.
    fn cache(&self) -> Result<PathBuf> {
        Ok(cache_base()?.join(self.folder).join(key(&self.source())?))
    }

    /// Keeps two builders apart, also of different processes; the kernel opens it when its holder dies.
    fn lock(&self, path: &Path) -> Result<File> {
        let file = File::create(path).doing(|| format!("write {}", path.display()))?;
        let mut said: Option<Instant> = None;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(cause)) => {
                    return Err(cause).doing(|| format!("lock {}", path.display()));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            if said.is_none_or(|said| said.elapsed() >= PROGRESS) {
                said = Some(Instant::now());
                say(&format!("{}: another process is building it, waiting", self.spoken));
            }
            interrupt::pause(Duration::from_millis(200))?;
        }
    }
}

/// Those of `programs` that are not in `folder`.
pub(crate) fn missing<'a>(programs: &[&'a Program], folder: &Path) -> Vec<&'a Program> {
    programs.iter().copied().filter(|program| !folder.join(program.name).is_file()).collect()
}

/// The version of a module that `go.mod` pins, like `v1.36.3`.
fn pinned(source: &Path, module: &str) -> Result<String> {
    directive(source, &format!("{module} "))
}

/// The oldest Go that `go.mod` is content with.
fn go_version(source: &Path) -> Result<String> {
    directive(source, "go ")
}

fn directive(source: &Path, start: &str) -> Result<String> {
    let file = source.join("go.mod");
    let text = fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix(start)?.split_whitespace().next().map(str::to_owned))
        .ok_or_else(|| Error::Failed(format!("{} has no line `{start}...`", file.display())))
}

/// Names what is built: 16 hexadecimal digits of the hash of `go.mod` followed by `go.sum`, and by the module's own code
/// where it has some.
fn key(source: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(source)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .doing(|| format!("list {}", source.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "go"));
    files.sort();
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"].map(|name| source.join(name)).iter().chain(&files) {
        hash.update(fs::read(file).doing(|| format!("read {}", file.display()))?);
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// A line for whoever waits, past the capture of a test harness.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}"); // a closed terminal is no reason to stop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_every_file() {
        let module = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(module.path().join(name), text).unwrap();
        write("go.mod", "a");
        write("go.sum", "b");
        let first = key(module.path()).unwrap();
        assert_eq!(first, "fb8e20fc2e4c3f24", "the first digits of sha256(\"ab\")");
        write("go.sum", "c");
        let second = key(module.path()).unwrap();
        assert_ne!(second, first);
        write("main.go", "package main");
        assert_ne!(key(module.path()).unwrap(), second);
    }

    #[test]
    fn versions_are_read_from_the_pins() {
        let module = tempfile::tempdir().unwrap();
        let text = "module m\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";
        fs::write(module.path().join("go.mod"), text).unwrap();
        assert_eq!(pinned(module.path(), "k8s.io/kubernetes").unwrap(), "v1.36.3");
        assert_eq!(go_version(module.path()).unwrap(), "1.26.0");
    }

    #[test]
    fn one_builder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = CONTROL_PLANE.lock(&path).unwrap();
        assert!(matches!(File::open(&path).unwrap().try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        // A program that another test starts in this moment holds a copy of the lock until it runs: wait.
        let free = File::open(&path).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while free.try_lock().is_err() {
            assert!(Instant::now() < end, "a builder that is done leaves the lock");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
