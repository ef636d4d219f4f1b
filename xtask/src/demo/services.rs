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
use crate::{samples, workspace};

/// The operator's package and binary.
pub(super) const OPERATOR: &str = "cloud-image-operator";

/// The name of the operator's log file.
pub(super) const OPERATOR_LOG: &str = "operator.log";

/// Starts the operator as a program of this machine, with its eyes on the cluster.
pub(super) fn operator(ports: &Ports, cluster: &Cluster, folder: &Path) -> Result<Process> {
    let mut command = Command::new(workspace::binary(OPERATOR)?);
    command
        .args(["run", &format!("--metrics-addr=127.0.0.1:{}", free_port()?)])
        .env("NO_COLOR", "1")
        .env("KUBECONFIG", cluster.kubectl().kubeconfig());
    for (_, address) in ports.addresses().skip(1) {
        command.arg(format!("--allow-endpoint=http://{address}"));
    }
    if cluster.is_users() {
        command.arg(format!("--namespace={NAMESPACE}")); // what else is there is not the demo's business
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
