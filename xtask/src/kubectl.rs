//! kubectl as a program: the user's if it is recent, else built like the control plane.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::controlplane::binaries::{self, KUBECTL};
use crate::error::{Doing, Error, Result};
use crate::interrupt;
use crate::tools::CONTROL_PLANE;

/// The oldest kubectl 1.x that is taken from the user's `PATH`. What the project asks of it is older than this; it is
/// the age up to which surprises seem unlikely.
const OLDEST_MINOR: u32 = 28;

/// A kubectl that talks to one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// The kubectl of [`kubectl`], for the cluster of this kubeconfig.
    pub fn new(kubeconfig: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self { program: kubectl()?, kubeconfig: kubeconfig.into() })
    }

    /// The program itself.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The kubeconfig that it reads.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The start of a command for its cluster, to be continued with arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs it and returns what it prints; fails with what it says is wrong.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        output(self.command().args(arguments))
    }
}

/// What a kubectl command prints. One that failed since the user interrupted everything is an interruption.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().doing(|| "run kubectl")?;
    if output.status.success() {
        return String::from_utf8(output.stdout).doing(|| "read what kubectl prints");
    }
    interrupt::check()?;
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed(format!("`kubectl {}` failed: {}", arguments.join(" "), reason.trim())))
}

/// The path of a kubectl: from `KUBEBUILDER_ASSETS` or `PATH`, else built.
pub fn kubectl() -> Result<PathBuf> {
    match found()? {
        Some(kubectl) => Ok(kubectl),
        None => Ok(CONTROL_PLANE.built(&[&KUBECTL])?.join(KUBECTL.name)),
    }
}

/// Fails if there is no kubectl and none can be built, in a sentence that says what to do. Builds nothing.
pub fn expect_program() -> Result<()> {
    if found()?.is_some() { Ok(()) } else { CONTROL_PLANE.expect_built(&[&KUBECTL]) }
}

/// One that the user has.
fn found() -> Result<Option<PathBuf>> {
    let assets = binaries::assets()?.map(|folder| folder.join(KUBECTL.name));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join(KUBECTL.name)).find(|file| file.is_file());
    Ok(assets.into_iter().chain(on_path).find(|file| is_recent(file.clone())))
}

fn is_recent(kubectl: PathBuf) -> bool {
    let output = Command::new(kubectl).args(["version", "--client", "--output=json"]).output();
    output.is_ok_and(|output| minor(&output.stdout).is_some_and(|minor| minor >= OLDEST_MINOR))
}

/// The minor version in the answer of `kubectl version --client --output=json`. Some vendors' builds say `32+`.
fn minor(answer: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        client_version: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        minor: String,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    answer.client_version.minor.trim_end_matches('+').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_understood_and_doubt_means_no() {
        assert_eq!(minor(br#"{"clientVersion": {"major": "1", "minor": "36"}}"#), Some(36));
        assert_eq!(minor(br#"{"clientVersion": {"major": "1", "minor": "27+"}}"#), Some(27));
        assert_eq!(minor(b"Client Version: v1.30.0"), None);
        assert!(!is_recent("/nonexistent/kubectl".into()));
    }
}
