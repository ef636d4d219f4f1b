//! The operator of the demo, and the samples aimed at the simulated vendors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cluster::{Cluster, NAMESPACE};
use crate::controlplane::free_port;
use crate::error::{Doing, Result};
use crate::process::{Launch, Process};
use crate::simulator::Ports;
use crate::{identity, samples, workspace};

/// The operator's package and binary.
pub(crate) const OPERATOR: &str = "cloud-image-operator";

/// The name of the operator's log file.
pub(super) const OPERATOR_LOG: &str = "operator.log";

/// Starts the operator as a program of this machine, with its eyes on the demo's cluster: in the demo's own as who it is where
/// the chart is installed, in a user's as the user, who need not be allowed to grant anything.
pub(super) fn operator_of(ports: &Ports, cluster: &Cluster, folder: &Path) -> Result<Process> {
    let address = format!("127.0.0.1:{}", free_port()?);
    let program = workspace::binary(OPERATOR)?;
    if cluster.is_users() {
        let arguments = [
            "run".into(),
            format!("--metrics-addr={address}"),
            format!("--namespace={NAMESPACE}"), // what else is there is not the demo's business
        ];
        return operator(&program, ports, cluster.kubectl().kubeconfig(), &arguments, folder);
    }
    let kubeconfig = folder.join("operator.kubeconfig");
    identity::grant(cluster.kubectl(), &kubeconfig)?;
    operator(&program, ports, &kubeconfig, &identity::arguments(&address)?, folder)
}

/// Starts the operator as a program of this machine, for the cluster of a kubeconfig.
pub(crate) fn operator(
    program: &Path,
    ports: &Ports,
    kubeconfig: &Path,
    arguments: &[String],
    folder: &Path,
) -> Result<Process> {
    let mut command = Command::new(program);
    command.args(arguments).env("NO_COLOR", "1").env("KUBECONFIG", kubeconfig);
    for (_, address) in ports.addresses().skip(1) {
        command.arg(format!("--allow-endpoint=http://{address}"));
    }
    // It writes down what is in flight when it is asked to end, within 10 s.
    Launch::new("the operator", command).log(folder.join(OPERATOR_LOG)).grace(Duration::from_secs(12)).start()
}

/// Copies the samples into `folder`, aimed at the simulator, and returns the folder of the copies.
pub(super) fn samples(ports: &Ports, folder: &Path) -> Result<PathBuf> {
    let copies = folder.join("samples");
    fs::create_dir(&copies).doing(|| format!("make {}", copies.display()))?;
    for (number, file) in samples::manifests()?.iter().enumerate() {
        let text = fs::read_to_string(file).doing(|| format!("read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        // kubectl goes by the names.
        fs::write(copies.join(format!("{number:02}-{name}")), ports.aim(&text)).doing(|| "write a sample")?;
    }
    Ok(copies)
}
