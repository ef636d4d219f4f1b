//! A real Kubernetes control plane on loopback, for tests and the demo: etcd, kube-apiserver, kube-controller-manager.

pub(crate) mod binaries;
mod certificates;
mod probe;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tempfile::TempDir;

use crate::error::{Doing, Error, Result};
use crate::process::{Launch, Process};
use crate::tools::Program;
use crate::{interrupt, scratch};
use binaries::{API_SERVER, CONTROLLERS, ETCD};
use certificates::{Authority, Identity};
use probe::Probe;

/// What a control plane consists of.
const PROGRAMS: [&Program; 3] = [&ETCD, &API_SERVER, &CONTROLLERS];

/// How long each part may take to get ready; far more than it takes, for busy machines.
const LIMIT: Duration = Duration::from_mins(2);

/// How often a part is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(50);

/// How often another port is tried when somebody else took the one that was free a moment ago.
const ATTEMPTS: usize = 5;

/// The controllers that a cluster without nodes has work for.
const CONTROLLER_NAMES: &str = "clusterrole-aggregation-controller,deployment-controller,\
    garbage-collector-controller,namespace-controller,replicaset-controller,\
    resourcequota-controller,root-ca-certificate-publisher-controller,serviceaccount-controller,\
    serviceaccount-token-controller,validatingadmissionpolicy-status-controller";

/// A running control plane, with RBAC on and the admission plugins at their defaults. It has no nodes, so pods stay
/// pending. Several can run at once. It ends when dropped, and also when its process dies in any way.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: who needs somebody ends before that one.
    controllers: Process,
    api_server: Process,
    etcd: Process,
    recipes: [Recipe; 2],
    probe: Probe,
    folder: TempDir,
    kubeconfig: PathBuf,
    url: String,
}

/// A part that can be killed and started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It keeps its port, and what its clients trust.
    ApiServer,
    /// It keeps its data.
    Etcd,
}

/// How a part is started, the first time and again.
#[derive(Debug)]
struct Recipe {
    name: &'static str,
    program: PathBuf,
    flags: Vec<String>,
}

impl Recipe {
    fn start(&self, folder: &Path) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.args(&self.flags).current_dir(folder);
        // Whichever is ended last leaves nothing of the folder, also when nobody is left to drop it.
        Launch::new(self.name, command).log(folder.join(format!("{}.log", self.name))).scratch(folder).start()
    }
}

/// What a control plane writes down about the requests that it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audit {
    Nothing,
    Writes,
}

impl ControlPlane {
    /// Starts one, building its programs first if need be. When this returns, `/readyz` is ok and objects of every
    /// built-in kind, pods included, can be made in the namespace `default`.
    pub fn start() -> Result<Self> {
        Self::start_with(Audit::Nothing)
    }

    /// The same, and every request that writes is in [`ControlPlane::audit_log`].
    pub fn start_audited() -> Result<Self> {
        Self::start_with(Audit::Writes)
    }

    fn start_with(audit: Audit) -> Result<Self> {
        let programs = binaries::ready(&PROGRAMS)?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&programs, free_port()?, audit) {
                Err(Failure::PortTaken) if attempt < ATTEMPTS => attempt += 1,
                Err(Failure::PortTaken) => {
                    return Err(Error::Failed(format!("{ATTEMPTS} free ports in turn were taken by others")));
                }
                Err(Failure::Other(error)) => return Err(error),
                Ok(started) => return Ok(started),
            }
        }
    }

    /// A kubeconfig whose user may do everything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's address, like `https://127.0.0.1:36443`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of everything that belongs to it, logs included (`etcd.log`, `kube-apiserver.log`,
    /// `kube-controller-manager.log`). It vanishes with the control plane.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The socket at which etcd answers, with all that the API server keeps.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join(ETCD_SOCKET)
    }

    /// The process ids of the API server and of etcd, where they can be told.
    pub fn processes(&self) -> [Option<u32>; 2] {
        [self.api_server.program(), self.etcd.program()]
    }

    /// The requests that wrote, if it was started so: one `audit.k8s.io/v1` Event in JSON a line, added as
    /// the request is answered.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.path().join(AUDIT_LOG)
    }

    /// Kills a part, as a machine that is lost does; the others go on without it.
    pub fn kill(&mut self, part: Part) -> Result<()> {
        let process = self.part(part);
        // Ended by us, it would take the folder with it.
        if let Some(program) = process.program() {
            let killed = Command::new("kill").args(["-KILL", &program.to_string()]).status();
            killed.doing(|| format!("kill {part:?}"))?;
        }
        process.wait().map(drop)
    }

    /// Starts again what was killed, where it was and with what it had, and returns when `/readyz` is ok.
    pub fn revive(&mut self) -> Result<()> {
        for (part, at) in [(Part::Etcd, 0), (Part::ApiServer, 1)] {
            if self.part(part).exited()?.is_some() {
                *self.part(part) = self.recipes[at].start(self.folder.path())?;
            }
        }
        let Self { api_server, probe, .. } = self;
        until("is ready", api_server, || probe.is_ok("/readyz"))
    }

    fn part(&mut self, part: Part) -> &mut Process {
        match part {
            Part::ApiServer => &mut self.api_server,
            Part::Etcd => &mut self.etcd,
        }
    }

    /// Fails, with the end of its log, when one of the three has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        [&mut self.etcd, &mut self.api_server, &mut self.controllers]
            .into_iter()
            .try_for_each(Process::expect_running)
    }

    fn start_once(programs: &Path, port: u16, audit: Audit) -> Result<Self, Failure> {
        let folder = scratch::folder("controlplane-")?;
        let authority = Authority::new()?;
        let url = format!("https://127.0.0.1:{port}");
        let setup = Setup { programs, folder: folder.path(), authority: &authority, url: &url };

        let admin = authority.client("admin", Some("system:masters"))?;
        let kubeconfig = setup.kubeconfig("admin", &admin)?;
        let etcd_recipe = setup.etcd();
        let mut etcd = etcd_recipe.start(folder.path())?;
        until("listens", &mut etcd, || Ok(folder.path().join(ETCD_SOCKET).exists()))?;

        let api_server_recipe = setup.api_server(port, audit)?;
        let mut api_server = api_server_recipe.start(folder.path())?;
        let probe = Probe::new(port, &authority, &admin)?;
        let ready = until("is ready", &mut api_server, || probe.is_ok("/readyz"));
        if ready.is_err() && api_server.log().contains("address already in use") {
            return Err(Failure::PortTaken);
        }
        ready?;

        let mut controllers = setup.controllers()?.start(folder.path())?;
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        until("has made the first service account", &mut controllers, || probe.is_ok(account))?;
        let recipes = [etcd_recipe, api_server_recipe];
        Ok(Self { controllers, api_server, etcd, recipes, probe, folder, kubeconfig, url })
    }
}

/// Runs `cargo xtask controlplane`: one control plane, until interrupted.
pub fn run() -> Result<()> {
    let mut control_plane = ControlPlane::start()?;
    println!("{}", control_plane.kubeconfig().display());
    eprintln!("export KUBECONFIG={}", control_plane.kubeconfig().display());
    eprintln!("The control plane runs at {} until it is interrupted (Ctrl-C).", control_plane.url());
    loop {
        control_plane.expect_running()?;
        match interrupt::pause(Duration::from_secs(1)) {
            Err(Error::Interrupted) => return Ok(()),
            other => other?,
        }
    }
}

/// The folder of the control plane's programs, which are built if need be.
pub fn programs() -> Result<PathBuf> {
    binaries::ready(&PROGRAMS)
}

/// Fails if the programs are not there and cannot be built either, in a sentence that says what to do. Builds nothing,
/// so that whoever has more to prepare can ask before.
pub fn expect_programs() -> Result<()> {
    binaries::expect(&PROGRAMS)
}

/// A port of 127.0.0.1 that nobody has now; somebody may take it before it is used.
pub fn free_port() -> Result<u16> {
    free_ports().map(|[port]| port)
}

/// So many ports, each another one.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held until all are chosen, or the same one could come again.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(|| "find a free port")?;
        *port = listener.local_addr().doing(|| "find a free port")?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The audit log, in the control plane's folder.
const AUDIT_LOG: &str = "audit.log";

const AUDIT_POLICY_FILE: &str = "audit-policy.yaml";

/// Who wrote what, without the contents; reads are many, and nobody asks for them.
const AUDIT_POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata, verbs: [create, update, patch, delete, deletecollection]}]
";

/// Where etcd listens, in the control plane's folder, which only its owner can enter. Unlike a port, nobody takes it.
const ETCD_SOCKET: &str = "etcd.sock";

enum Failure {
    PortTaken,
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// What the three parts are started from.
struct Setup<'a> {
    programs: &'a Path,
    folder: &'a Path,
    authority: &'a Authority,
    url: &'a str,
}

impl Setup<'_> {
    fn etcd(&self) -> Recipe {
        let socket = format!("unix://{}", self.path(ETCD_SOCKET));
        let peer = "unix://peer"; // a socket too, in the working directory; nobody ever connects
        self.recipe(
            ETCD.name,
            &[
                ("data-dir", &self.path("etcd")),
                ("listen-client-urls", &socket),
                ("advertise-client-urls", &socket),
                ("listen-peer-urls", peer),
                ("initial-advertise-peer-urls", peer),
                ("initial-cluster", &format!("default={peer}")),
                // Nothing has to survive a power cut, and a lone member need not wait long for other candidates.
                ("unsafe-no-fsync", "true"),
                ("heartbeat-interval", "50"),
                ("election-timeout", "250"),
                ("log-level", "warn"),
            ],
        )
    }

    fn api_server(&self, port: u16, audit: Audit) -> Result<Recipe> {
        let server = self.authority.server()?;
        let tokens = certificates::new_key()?;
        self.write("ca.crt", &self.authority.certificate().pem())?;
        self.write("server.crt", &server.certificate.pem())?;
        self.write("server.key", &server.key.serialize_pem())?;
        self.write("tokens.key", &tokens.serialize_pem())?;
        self.write("tokens.pub", &tokens.public_key_pem())?;
        let (policy, log) = (self.path(AUDIT_POLICY_FILE), self.path(AUDIT_LOG));
        let audit = match audit {
            Audit::Nothing => vec![],
            Audit::Writes => {
                self.write(AUDIT_POLICY_FILE, AUDIT_POLICY)?;
                vec![("audit-policy-file", &*policy), ("audit-log-path", &*log)]
            }
        };
        let flags = &[
            ("etcd-servers", &*format!("unix://{}", self.path(ETCD_SOCKET))),
            ("bind-address", "127.0.0.1"),
            ("advertise-address", "127.0.0.1"),
            ("endpoint-reconciler-type", "none"), // it would refuse a loopback address
            ("secure-port", &port.to_string()),
            ("tls-cert-file", &self.path("server.crt")),
            ("tls-private-key-file", &self.path("server.key")),
            ("client-ca-file", &self.path("ca.crt")),
            ("authorization-mode", "Node,RBAC"),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("service-account-key-file", &self.path("tokens.pub")),
            ("service-account-signing-key-file", &self.path("tokens.key")),
            ("service-cluster-ip-range", "10.0.0.0/24"),
        ];
        Ok(self.recipe(API_SERVER.name, &[flags, &audit[..]].concat()))
    }

    fn controllers(&self) -> Result<Recipe> {
        let identity = self.authority.client("system:kube-controller-manager", None)?;
        let kubeconfig = self.kubeconfig("kube-controller-manager", &identity)?;
        Ok(self.recipe(
            CONTROLLERS.name,
            &[
                ("kubeconfig", &kubeconfig.display().to_string()),
                ("controllers", CONTROLLER_NAMES),
                ("use-service-account-credentials", "true"), // its own user has few rights, as in any cluster
                ("service-account-private-key-file", &self.path("tokens.key")),
                ("root-ca-file", &self.path("ca.crt")),
                ("leader-elect", "false"),
                ("secure-port", "0"), // serves nothing
            ],
        ))
    }

    fn recipe(&self, name: &'static str, flags: &[(&str, &str)]) -> Recipe {
        let flags = flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        Recipe { name, program: self.programs.join(name), flags }
    }

    fn kubeconfig(&self, user: &str, identity: &Identity) -> Result<PathBuf> {
        let encode = |pem: String| BASE64_STANDARD.encode(pem);
        let text = json!({ // JSON is YAML too
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "controlplane",
            "clusters": [{"name": "controlplane", "cluster": {
                "server": self.url,
                "certificate-authority-data": encode(self.authority.certificate().pem()),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate-data": encode(identity.certificate.pem()),
                "client-key-data": encode(identity.key.serialize_pem()),
            }}],
            "contexts": [{"name": "controlplane", "context": {"cluster": "controlplane", "user": user}}],
        });
        let name = format!("{user}.kubeconfig");
        self.write(&name, &format!("{text:#}\n"))?;
        Ok(self.folder.join(name))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).doing(|| format!("write {}", path.display()))
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// Waits until `done`, and fails as soon as the part that it depends on has ended.
fn until(what: &str, part: &mut Process, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let found = interrupt::wait_for(LIMIT, LOOK, || {
        part.expect_running()?;
        Ok(done()?.then_some(()))
    })?;
    found.ok_or_else(|| part.failure(&format!("is running, but after {} s not yet {what}", LIMIT.as_secs())))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn ports_chosen_together_differ() {
        for _ in 0..5 {
            let ports = free_ports::<200>().unwrap();
            assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
        }
    }

    #[test]
    fn a_port_that_somebody_took_is_told_from_other_failures() {
        let programs = binaries::ready(&PROGRAMS).unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        thread::spawn(move || taken.incoming().for_each(drop)); // who asks whether it is ready gets no answer
        match ControlPlane::start_once(&programs, port, Audit::Nothing) {
            Err(Failure::PortTaken) => {}
            Err(Failure::Other(error)) => panic!("{error}"),
            Ok(_) => panic!("two cannot listen at one port"),
        }
    }
}
