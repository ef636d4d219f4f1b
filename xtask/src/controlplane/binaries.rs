//! The control plane's programs: found where the user says, else built once from the pinned Go modules.

use std::env;
use std::path::{self, Path, PathBuf};

use crate::error::{Doing, Error, Result};
use crate::tools::{CONTROL_PLANE, Program, missing};

/// The store.
pub(super) const ETCD: Program = Program::new("etcd", "go.etcd.io/etcd/server/v3");
/// The API server.
pub(super) const API_SERVER: Program = Program::new("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
/// Garbage collection, namespaces, service accounts.
pub(super) const CONTROLLERS: Program =
    Program::new("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");
/// The command line client.
pub(crate) const KUBECTL: Program = Program::new("kubectl", "k8s.io/kubernetes/cmd/kubectl");

/// The variable that names a folder of ready-made programs, as other Kubernetes projects use it.
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The folder that holds all of `programs`, which are built if need be.
pub(super) fn ready(programs: &[&Program]) -> Result<PathBuf> {
    match assets()? {
        Some(assets) => expect_in(&assets, programs).map(|()| assets),
        None => CONTROL_PLANE.built(programs),
    }
}

/// Fails if [`ready`] is bound to, in a sentence that says what to do; builds nothing.
pub(super) fn expect(programs: &[&Program]) -> Result<()> {
    match assets()? {
        Some(assets) => expect_in(&assets, programs),
        None => CONTROL_PLANE.expect_built(programs),
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
