//! The programs of the demo: the simulated vendors and the operator, and the samples aimed at them.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cluster::{Cluster, NAMESPACE};
use crate::controlplane::{free_port, free_ports};
use crate::error::{Doing, Error, Result};
use crate::process::{Launch, Process};
use crate::{interrupt, samples, workspace};

/// The operator's package and binary.
pub(super) const OPERATOR: &str = "cloud-image-operator";

/// The simulator's package and binary.
pub(super) const SIMULATOR: &str = "vendor-simulator";

/// The name of the operator's log file.
pub(super) const OPERATOR_LOG: &str = "operator.log";

/// The simulator's services, by the flags that give their addresses, with the ports that the samples name.
const SERVICES: [(&str, u16); 5] =
    [("admin", 8800), ("volcengine", 8801), ("aliyun-ecs", 8802), ("batchcompute", 8803), ("zstack", 8804)];

/// How long the simulator may take until it listens.
const LIMIT: Duration = Duration::from_secs(30);

/// The simulator's ports on 127.0.0.1, in the order of its services.
pub(super) struct Ports([u16; SERVICES.len()]);

impl Ports {
    /// The default ones if they are all free, else others.
    pub(super) fn choose() -> Result<Self> {
        let ports = SERVICES.map(|(_, port)| port);
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        Ok(Self(if ports.iter().all(free) { ports } else { free_ports()? }))
    }

    /// Host and port of the admin API.
    pub(super) fn admin(&self) -> String {
        self.addresses().map(|(_, address)| address).next().unwrap_or_default()
    }

    /// All of them, for people.
    pub(super) fn hosts(&self) -> String {
        let [first, .., last] = self.0;
        if usize::from(last.wrapping_sub(first)) + 1 == self.0.len() {
            return format!("127.0.0.1:{first}-{last}");
        }
        format!("127.0.0.1:{}", self.0.map(|port| port.to_string()).join(","))
    }

    /// Each service's flag with its address.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, String)> {
        SERVICES.iter().zip(self.0).map(|((flag, _), port)| (*flag, format!("127.0.0.1:{port}")))
    }

    /// A manifest with the addresses of the default ports replaced by ours.
    fn aim(&self, manifest: &str) -> String {
        let mut aimed = String::with_capacity(manifest.len());
        let mut rest = manifest;
        while let Some(at) = rest.find("127.0.0.1:") {
            let (before, address) = rest.split_at(at + "127.0.0.1:".len());
            let digits = address.find(|c: char| !c.is_ascii_digit()).unwrap_or(address.len());
            let (port, after) = address.split_at(digits);
            let found = SERVICES.iter().position(|(_, default)| port == default.to_string());
            aimed.push_str(before);
            match found {
                Some(service) => drop(write!(aimed, "{}", self.0[service])), // writing to a String cannot fail
                None => aimed.push_str(port),
            }
            rest = after;
        }
        aimed + rest
    }
}

/// Starts the simulated vendors and waits until they listen.
pub(super) fn simulator(ports: &Ports, folder: &Path) -> Result<Process> {
    let mut command = Command::new(workspace::binary(SIMULATOR)?);
    command.env("NO_COLOR", "1"); // it goes into a file
    for (flag, address) in ports.addresses() {
        command.arg(format!("--{flag}={address}"));
    }
    let mut simulator = Launch::new("the simulator", command)
        .log(folder.join("simulator.log"))
        .grace(Duration::from_secs(2))
        .start()?;
    let admin = ports.admin();
    let listens = interrupt::wait_for(LIMIT, Duration::from_millis(50), || {
        simulator.expect_running()?;
        Ok(TcpStream::connect(&admin).ok())
    })?;
    listens
        .map(|_| simulator)
        .ok_or_else(|| Error::Failed(format!("the simulator does not answer at {admin}")))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_aimed_at_other_ports() {
        let ports = Ports([1, 2, 3, 4, 5]);
        let manifest =
            "a: http://127.0.0.1:8801\nb: 127.0.0.1:8804/zstack\nc: 127.0.0.1:88010\nd: 8802 127.0.0.1:";
        let aimed = "a: http://127.0.0.1:2\nb: 127.0.0.1:5/zstack\nc: 127.0.0.1:88010\nd: 8802 127.0.0.1:";
        assert_eq!(ports.aim(manifest), aimed);
        assert_eq!(Ports(SERVICES.map(|(_, port)| port)).aim(manifest), manifest);
    }

    #[test]
    fn taken_ports_are_replaced_all_at_once() {
        let taken: Vec<_> =
            SERVICES.iter().map(|(_, port)| TcpListener::bind((Ipv4Addr::LOCALHOST, *port))).collect();
        let Ports(ports) = Ports::choose().unwrap();
        assert!(ports.iter().all(|port| SERVICES.iter().all(|(_, default)| port != default)), "{ports:?}");
        drop(taken);
    }

    #[test]
    fn neighbouring_ports_are_shown_as_a_range() {
        assert_eq!(Ports([8800, 8801, 8802, 8803, 8804]).hosts(), "127.0.0.1:8800-8804");
        assert_eq!(Ports([9, 1, 7, 3, 5]).hosts(), "127.0.0.1:9,1,7,3,5");
    }
}
