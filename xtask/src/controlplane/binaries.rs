//! The control plane's programs: found where the user says, else built once from the pinned Go modules.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write, stderr};
use std::path::{self, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::error::{Doing, Error, Result};
use crate::process::{Launch, tail};
use crate::{interrupt, workspace};

/// A program that `tools/controlplane` pins.
#[derive(Debug)]
pub(crate) struct Program {
    /// The name of its file.
    pub(crate) name: &'static str,
    package: &'static str,
}

/// The store.
pub(super) const ETCD: Program = Program { name: "etcd", package: "go.etcd.io/etcd/server/v3" };
/// The API server.
pub(super) const API_SERVER: Program =
    Program { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" };
/// Garbage collection, namespaces, service accounts.
pub(super) const CONTROLLERS: Program =
    Program { name: "kube-controller-manager", package: "k8s.io/kubernetes/cmd/kube-controller-manager" };
/// The command line client.
pub(crate) const KUBECTL: Program = Program { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" };

/// The variable that names a folder of ready-made programs, as other Kubernetes projects use it.
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// How often a build says that it is still going on.
const PROGRESS: Duration = Duration::from_secs(5);

/// The folder that holds all of `programs`, which are built if need be.
pub(super) fn ready(programs: &[&Program]) -> Result<PathBuf> {
    match assets()? {
        Some(assets) => expect_in(&assets, programs).map(|()| assets),
        None => built(programs),
    }
}

/// Fails if [`ready`] is bound to, in a sentence that says what to do; builds nothing.
pub(super) fn expect(programs: &[&Program]) -> Result<()> {
    match assets()? {
        Some(assets) => expect_in(&assets, programs),
        None => expect_built(programs),
    }
}

/// The folder that [`ASSETS`] names, from the root; none if it is empty.
pub(crate) fn assets() -> Result<Option<PathBuf>> {
    let named = env::var_os(ASSETS).filter(|folder| !folder.is_empty());
    named.map(path::absolute).transpose().doing(|| format!("find {ASSETS}"))
}

fn expect_in(assets: &Path, programs: &[&Program]) -> Result<()> {
    missing(programs, assets).first().map_or(Ok(()), |missing| {
        Err(Error::Failed(format!(
            "{ASSETS} is {}, where {} is missing; add it, or unset {ASSETS} and all programs are built with Go",
            assets.display(),
            missing.name
        )))
    })
}

/// The cache folder with all of `programs`, which are built if need be.
pub(crate) fn built(programs: &[&Program]) -> Result<PathBuf> {
    expect_built(programs)?;
    let module = module();
    let folder = cache(&module)?;
    if missing(programs, &folder).is_empty() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).doing(|| format!("make {}", folder.display()))?;
    let _lock = lock(&folder.with_extension("lock"))?;
    let missing = missing(programs, &folder); // somebody else may have built some of them meanwhile
    for (number, program) in missing.iter().enumerate() {
        build(program, &module, &folder, &format!("{} of {}", number + 1, missing.len()))?;
    }
    Ok(folder)
}

/// Fails if some of `programs` are not built yet and Go is missing.
pub(crate) fn expect_built(programs: &[&Program]) -> Result<()> {
    let module = module();
    match missing(programs, &cache(&module)?).first() {
        None => Ok(()),
        Some(program) => expect_go(program, &module),
    }
}

fn expect_go(program: &Program, module: &Path) -> Result<()> {
    let version = Command::new("go").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_err_and(|cause| cause.kind() == ErrorKind::NotFound) {
        return Err(Error::Failed(format!(
            "{} has to be built and Go is not installed: install Go {} or newer (https://go.dev/dl/), or set {ASSETS} to a folder with etcd, kube-apiserver, kube-controller-manager and kubectl",
            program.name,
            go_version(module)?
        )));
    }
    Ok(())
}

fn missing<'a>(programs: &[&'a Program], folder: &Path) -> Vec<&'a Program> {
    programs.iter().copied().filter(|program| !folder.join(program.name).is_file()).collect()
}

/// Builds one program beside its place and moves it there, so that what is in its place is always whole.
fn build(program: &Program, module: &Path, folder: &Path, position: &str) -> Result<()> {
    let finished = folder.join(program.name);
    let partial = folder.join(format!(".{}.partial", program.name));
    let log = folder.join(format!("{}.log", program.name));
    let started = Instant::now();
    let mut go = Launch::new("go build", go(program, module, &partial)?)
        .log(&log)
        .grace(Duration::from_secs(1))
        .start()?;
    say(&format!("control plane: building {} ({position}); this happens once", program.name));
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
            say(&format!("control plane: building {} ({position}), {seconds} s{at}", program.name));
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
fn go(program: &Program, module: &Path, output: &Path) -> Result<Command> {
    let version = kubernetes_version(module)?;
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    // Without its version the API server calls itself v0.0.0, and clients take it for older than all they support.
    let package = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    );
    let mut command = Command::new("go");
    command
        .args(["build", "-mod=readonly", "-trimpath", "-ldflags", &flags, "-o"])
        .arg(output)
        .arg(program.package)
        .env("CGO_ENABLED", "0")
        .current_dir(module);
    Ok(command)
}

/// The Kubernetes version that `go.mod` pins, like `v1.36.3`.
fn kubernetes_version(module: &Path) -> Result<String> {
    directive(module, "k8s.io/kubernetes ")
}

/// The oldest Go that `go.mod` is content with.
fn go_version(module: &Path) -> Result<String> {
    directive(module, "go ")
}

fn directive(module: &Path, start: &str) -> Result<String> {
    let file = module.join("go.mod");
    let text = fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix(start)?.split_whitespace().next().map(str::to_owned))
        .ok_or_else(|| Error::Failed(format!("{} has no line `{start}...`", file.display())))
}

/// Names what was pinned: 16 hexadecimal digits of the hash of `go.mod` followed by `go.sum`.
fn key(module: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"].map(|name| module.join(name)) {
        hash.update(fs::read(&file).doing(|| format!("read {}", file.display()))?);
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// Where the programs are pinned.
fn module() -> PathBuf {
    workspace::root().join("tools/controlplane")
}

/// The folder of what `module` pins, among the user's cached things as is the platform's custom.
fn cache(module: &Path) -> Result<PathBuf> {
    let home = env::home_dir().filter(|home| home.is_absolute());
    let base = match env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(base) => Some(base),
        None if cfg!(target_os = "macos") => home.map(|home| home.join("Library/Caches")),
        None => home.map(|home| home.join(".cache")),
    };
    let base = base.ok_or_else(|| Error::Failed("no home folder to cache in: set XDG_CACHE_HOME".into()))?;
    Ok(base.join("cloud-image-operator/controlplane").join(key(module)?))
}

/// Keeps two builders apart, also of different processes; the kernel opens it when its holder dies.
fn lock(path: &Path) -> Result<File> {
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
            say("control plane: another process is building it, waiting");
        }
        interrupt::pause(Duration::from_millis(200))?;
    }
}

/// A line for whoever waits, past the capture of a test harness.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}"); // a closed terminal is no reason to stop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_both_files() {
        let module = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(module.path().join(name), text).unwrap();
        write("go.mod", "a");
        write("go.sum", "b");
        let first = key(module.path()).unwrap();
        assert_eq!(first, "fb8e20fc2e4c3f24", "the first digits of sha256(\"ab\")");
        write("go.sum", "c");
        assert_ne!(key(module.path()).unwrap(), first);
    }

    #[test]
    fn versions_are_read_from_the_pins() {
        let module = tempfile::tempdir().unwrap();
        let text = "module m\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";
        fs::write(module.path().join("go.mod"), text).unwrap();
        assert_eq!(kubernetes_version(module.path()).unwrap(), "v1.36.3");
        assert_eq!(go_version(module.path()).unwrap(), "1.26.0");
    }

    #[test]
    fn one_builder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap();
        assert!(matches!(File::open(&path).unwrap().try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        File::open(&path).unwrap().try_lock().unwrap();
    }
}
