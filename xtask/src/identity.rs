//! Who the operator is in a cluster: the ServiceAccount of the manifests, with the rights that those give it and no others,
//! and how they start it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Doing, Error, Result};
use crate::kubectl::Kubectl;
use crate::workspace;

/// Its namespace and its ServiceAccount, in the manifests.
const NAME: &str = "cloud-image-operator";

/// The manifests, from the workspace's root.
const BASE: &str = "deploy/base";

/// Makes namespace, ServiceAccount and rights as the manifests have them, and writes a kubeconfig with its token to `path`.
pub fn grant(admin: &Kubectl, path: &Path) -> Result<()> {
    let base = workspace::root().join(BASE);
    let file = |name: &str| format!("--filename={}", base.join(name).display());
    admin.run(["apply", "--server-side", &file("namespace.yaml"), &file("rbac.yaml")])?;
    let namespace = format!("--namespace={NAME}");
    let token = admin.run(["create", "token", NAME, &namespace, "--duration=24h"])?;
    let text = fs::read_to_string(admin.kubeconfig()).doing(|| "read the kubeconfig")?;
    let mut config: Value = serde_saphyr::from_str(&text).doing(|| "understand the kubeconfig")?;
    config["users"][0]["user"] = json!({ "token": token.trim() });
    config["contexts"][0]["context"]["namespace"] = json!(NAME);
    fs::write(path, config.to_string()).doing(|| format!("write {}", path.display()))
}

/// The arguments that the manifests' Deployment gives the operator, but for where it serves, which is at `address`.
pub fn arguments(address: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace::root().join(BASE).join("operator.yaml"))
        .doing(|| "read the manifest of the operator")?;
    let of = |document: &str| -> Option<Vec<String>> {
        let object: Value = serde_saphyr::from_str(document).ok()?;
        let arguments = object.pointer("/spec/template/spec/containers/0/args")?.as_array()?;
        let served = |argument: &str| match argument.split_once('=') {
            Some((flag @ "--metrics-addr", _)) => format!("{flag}={address}"),
            _ => argument.to_owned(),
        };
        Some(arguments.iter().filter_map(Value::as_str).map(served).collect())
    };
    text.split("\n---\n")
        .find_map(of)
        .ok_or_else(|| Error::Failed(format!("{BASE}/operator.yaml has no container with arguments")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_manifest() {
        let arguments = arguments("127.0.0.1:1").unwrap();
        assert_eq!(arguments[..2], ["run", "--metrics-addr=127.0.0.1:1"]);
        assert!(arguments.contains(&"--leader-elect".to_owned()), "{arguments:?}");
    }
}
