//! The simulated vendors as a program: their ports, and their start.

use std::fmt::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::controlplane::free_ports;
use crate::error::{Error, Result};
use crate::process::{Launch, Process};
use crate::{interrupt, workspace};

/// The simulator's package and binary.
pub(crate) const PROGRAM: &str = "vendor-simulator";

/// The simulator's services, by the flags that give their addresses, with the ports that the samples name.
const SERVICES: [(&str, u16); 5] =
    [("admin", 8800), ("volcengine", 8801), ("aliyun-ecs", 8802), ("batchcompute", 8803), ("zstack", 8804)];

/// How long the simulator may take until it listens.
const LIMIT: Duration = Duration::from_secs(30);

/// The simulator's ports on 127.0.0.1, in the order of its services.
pub(crate) struct Ports([u16; SERVICES.len()]);

impl Ports {
    /// The default ones if they are all free, else others.
    pub(crate) fn choose() -> Result<Self> {
        let ports = SERVICES.map(|(_, port)| port);
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        Ok(Self(if ports.iter().all(free) { ports } else { free_ports()? }))
    }

    /// Any that are free.
    pub(crate) fn free() -> Result<Self> {
        free_ports().map(Self)
    }

    /// Host and port of a service, by its flag.
    pub(crate) fn address(&self, service: &str) -> Option<String> {
        self.addresses().find(|(flag, _)| *flag == service).map(|(_, address)| address)
    }

    /// Host and port of the admin API.
    pub(crate) fn admin(&self) -> String {
        self.addresses().map(|(_, address)| address).next().unwrap_or_default()
    }

    /// All of them, for people.
    pub(crate) fn hosts(&self) -> String {
        let [first, .., last] = self.0;
        if usize::from(last.wrapping_sub(first)) + 1 == self.0.len() {
            return format!("127.0.0.1:{first}-{last}");
        }
        format!("127.0.0.1:{}", self.0.map(|port| port.to_string()).join(","))
    }

    /// Each service's flag with its address.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, String)> {
        SERVICES.iter().zip(self.0).map(|((flag, _), port)| (*flag, format!("127.0.0.1:{port}")))
    }

    /// A manifest with the addresses of the default ports replaced by ours.
    pub(crate) fn aim(&self, manifest: &str) -> String {
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

/// Starts the simulated vendors, as the last build left them, and waits until they listen.
pub(crate) fn start(ports: &Ports, folder: &Path) -> Result<Process> {
    start_built("dev", ports, folder)
}

/// The same as the last build with this profile left them.
pub(crate) fn start_built(profile: &str, ports: &Ports, folder: &Path) -> Result<Process> {
    let mut command = Command::new(workspace::binary_of(profile, PROGRAM)?);
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
