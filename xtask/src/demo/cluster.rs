//! The Kubernetes side of the demo: its own control plane, or a cluster that the user has.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::controlplane::ControlPlane;
use crate::error::{Doing, Result};
use crate::kubectl::{self, Kubectl};
use crate::workspace;

/// The namespace of the samples.
pub(super) const NAMESPACE: &str = "images";

/// The API group of everything that the operator serves.
const GROUP: &str = "cloudimages.dev/";

/// A cluster to show the demo in.
pub(super) struct Cluster {
    kubectl: Kubectl,
    name: String,
    /// Held for its end; `None` in the user's own cluster.
    own: Option<ControlPlane>,
}

impl Cluster {
    /// A new control plane that ends with the demo.
    pub(super) fn own() -> Result<Self> {
        let control_plane = ControlPlane::start()?;
        let kubectl = Kubectl::new(control_plane.kubeconfig())?;
        Ok(Self { kubectl, name: control_plane.url().to_owned(), own: Some(control_plane) })
    }

    /// The cluster of a context of the user's kubeconfig. A copy of only this context goes into `folder`, so that
    /// whatever the user switches to meanwhile does not concern the demo.
    pub(super) fn of_user(context: &str, folder: &Path) -> Result<Self> {
        let mut view = Command::new(kubectl::kubectl()?);
        view.args(["config", "view", "--raw", "--minify", "--flatten", "--context", context]);
        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, kubectl::output(&mut view)?)
            .and_then(|()| fs::set_permissions(&kubeconfig, Permissions::from_mode(0o600)))
            .doing(|| format!("write {}", kubeconfig.display()))?;
        Ok(Self { kubectl: Kubectl::new(kubeconfig)?, name: format!("context {context}"), own: None })
    }

    /// What to call it before the user.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// kubectl for this cluster.
    pub(super) fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Whether it is the user's, with things in it that are not the demo's.
    pub(super) fn is_users(&self) -> bool {
        self.own.is_none()
    }

    /// Teaches it the operator's kinds and makes the samples' namespace.
    pub(super) fn install_kinds(&self) -> Result<()> {
        let crds = workspace::root().join("crds");
        let crds = crds.as_os_str();
        self.with_file(&["apply", "--server-side", "--field-manager=demo"], crds)?;
        self.with_file(&["wait", "--for=condition=Established", "--timeout=60s"], crds)?;
        let exists =
            self.kubectl.run(["get", "namespace", NAMESPACE, "--ignore-not-found", "--output=name"])?;
        if exists.trim().is_empty() {
            self.kubectl.run(["create", "namespace", NAMESPACE])?;
        }
        Ok(())
    }

    /// The plural names of the operator's kinds.
    pub(super) fn kinds(&self) -> Result<Vec<String>> {
        let crds = workspace::root().join("crds");
        let crds = items(&self.with_file(&["get", "--output=json"], crds.as_os_str())?)?;
        Ok(crds.iter().filter_map(|crd| Some(crd["spec"]["names"]["plural"].as_str()?.to_owned())).collect())
    }

    /// Applies every manifest in a folder.
    pub(super) fn apply(&self, samples: &Path) -> Result<()> {
        self.with_file(&["apply"], samples.as_os_str()).map(drop)
    }

    /// The operator's objects among the manifests of a folder, as they are now.
    pub(super) fn objects(&self, samples: &Path) -> Result<Vec<Value>> {
        let mut objects = self.all_objects(samples)?;
        objects.retain(is_ours);
        Ok(objects)
    }

    fn all_objects(&self, samples: &Path) -> Result<Vec<Value>> {
        items(&self.with_file(&["get", "--ignore-not-found", "--output=json"], samples.as_os_str())?)
    }

    /// What `kubectl describe` says about an object.
    pub(super) fn describe(&self, object: &Value) -> Result<String> {
        self.kubectl.run(["describe", &reference(object), &namespace(object)])
    }

    /// Takes the samples out of a user's cluster while the operator can still let go of them, and says what stays.
    pub(super) fn tidy(&self, samples: &Path) {
        if !self.is_users() {
            return;
        }
        println!(
            "Deleting the samples; the namespace {NAMESPACE} and the CRDs stay (kubectl delete -f crds/)"
        );
        let deleted = self.all_objects(samples).and_then(|mut objects| {
            // The namespace may hold more than the samples.
            objects.retain(|object| object["kind"] != "Namespace");
            // The images first: to let go of them the operator needs their account, and both need its Secret.
            objects.sort_by_key(|object| (!is_image(object), !is_ours(object)));
            objects.iter().try_for_each(|object| self.delete(object))
        });
        if let Err(error) = deleted {
            eprintln!("warning: {error}");
        }
    }

    fn delete(&self, object: &Value) -> Result<()> {
        let (reference, namespace) = (reference(object), namespace(object));
        let delete = ["delete", &reference, &namespace, "--ignore-not-found", "--timeout=60s"];
        self.kubectl.run(delete).map(drop)
    }

    fn with_file(&self, arguments: &[&str], file: &OsStr) -> Result<String> {
        self.kubectl.run(arguments.iter().map(OsStr::new).chain([OsStr::new("--filename"), file]))
    }
}

/// Whether one of the operator's objects is an image, not an account.
pub(super) fn is_image(object: &Value) -> bool {
    object["spec"]["forProvider"].is_object()
}

/// The object as kubectl takes it, like `ImageComponent/hello`.
fn reference(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// The flag that names the object's namespace; of no effect for an object that has none.
fn namespace(object: &Value) -> String {
    format!("--namespace={}", object["metadata"]["namespace"].as_str().unwrap_or_default())
}

/// Whether the operator serves the object.
fn is_ours(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP))
}

/// Whether a shell finds this very file when asked for its name.
pub(super) fn is_on_path(program: &Path) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    program.parent().is_some_and(|folder| env::split_paths(&path).any(|entry| entry == folder))
}

/// The objects in what `kubectl get --output=json` printed: a list, one object, or nothing.
fn items(printed: &str) -> Result<Vec<Value>> {
    if printed.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut value: Value = serde_json::from_str(printed).doing(|| "understand what kubectl prints")?;
    Ok(match value["items"].take() {
        Value::Array(items) => items,
        _ => vec![value],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_single_objects_and_nothing_are_understood() {
        let (image, list) = (r#"{"kind": "A"}"#, r#"{"items": [{"kind": "A"}, {"kind": "B"}]}"#);
        for (printed, count) in [(list, 2), (image, 1), ("", 0), (r#"{"items": []}"#, 0)] {
            assert_eq!(items(printed).unwrap().len(), count, "{printed}");
        }
    }
}
