//! The operator: within the test's process, and as the program that users run.

use super::plane;
use cloud_image_operator::{
    engine::telemetry::Events,
    kinds::Kind,
    run::{self, LogFormat, Options},
};
use futures::TryFutureExt;
use kube::Client;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use xtask::{
    identity,
    process::{Launch, Process},
};

/// An operator within the test's process; dropping it stops it.
pub struct Operator {
    stop: DropGuard,
    task: JoinHandle<Result<(), run::Error>>,
}

impl Operator {
    /// Starts it for some namespaces and with some addresses that accounts may name.
    pub fn start(
        client: Client,
        namespaces: Vec<String>,
        endpoints: &[String],
        beat: Duration,
        kinds: &'static [&'static dyn Kind],
        fitting: &'static [(&'static str, &'static str)],
    ) -> Self {
        let options = Options {
            namespaces,
            metrics_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(),
            leader_elect: false,
            shards: 1,
            log_format: LogFormat::Text,
            events: Events::All,
            metrics_accounts: 100,
            allow_endpoints: endpoints.to_vec(),
            beat,
            kinds,
            fitting,
        };
        let stop = CancellationToken::new();
        let running = run::run_with(client, options, stop.clone());
        // A test that waits in vain shows why.
        let task = tokio::spawn(running.inspect_err(|error| tracing::error!(%error, "the operator ended")));
        Self { stop: stop.drop_guard(), task }
    }

    /// Tells it to stop, and waits for its end.
    pub async fn stop(self) -> Result<(), run::Error> {
        drop(self.stop);
        self.task.await.expect("the operator does not panic")
    }
}

/// The operator as a program; dropping it kills it.
pub struct Program {
    process: Process,
    folder: TempDir,
}

impl Program {
    /// Starts it for one namespace. With `grace`, [`Program::stop`] sends SIGTERM and waits so long before SIGKILL.
    pub fn start(namespace: &str, endpoints: &[String], more: &[&str], grace: Option<Duration>) -> Self {
        let mut arguments = vec!["--namespace".to_owned(), namespace.to_owned()];
        arguments.extend(endpoints.iter().map(|endpoint| format!("--allow-endpoint={endpoint}")));
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        Self::start_at(&plane::operator_kubeconfig(), &arguments, grace)
    }

    /// Starts it with any kubeconfig.
    pub fn start_at(kubeconfig: &Path, arguments: &[String], grace: Option<Duration>) -> Self {
        Self::start_in(&[], kubeconfig, arguments, grace)
    }

    /// Starts it with more environment variables.
    pub fn start_in(
        environment: &[(&str, &str)],
        kubeconfig: &Path,
        arguments: &[String],
        grace: Option<Duration>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // With FILES in the environment, it may have no more than so many files and connections open.
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -n "${FILES:-$(ulimit -n)}" && exec "$0" "$@""#]);
        command.arg(env!("CARGO_BIN_EXE_cloud-image-operator"));
        // As the manifests start it, but for the Lease, which all worlds share: what is given later counts.
        let mut of_manifest = identity::arguments("127.0.0.1:0").expect("the manifest of the operator");
        of_manifest.retain(|argument| argument != "--leader-elect");
        command.args(of_manifest).args(arguments);
        command.env_clear().env("HOSTNAME", "test").env("KUBECONFIG", kubeconfig);
        command.envs(environment.iter().copied());
        let process = Launch::new("the operator", command)
            .log(folder.path().join("log"))
            .grace(grace.unwrap_or_default())
            .start()
            .expect("the operator starts");
        Self { process, folder }
    }

    /// What it serves at a path, such as `/readyz`: HTTP status and body. `None`: it does not serve, as yet or any more.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let log = self.log();
        // As text or as JSON.
        let (_, line) = log.split_once("serving /metrics, /healthz and /readyz")?;
        let (_, address) = line.split_once("address")?;
        let address = address.trim_start_matches(['=', '"', ':']);
        let address = address.split(|char: char| char.is_whitespace() || char == '"').next()?;
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Waits until what it serves at a path is as it should be, and gives it.
    pub async fn until(&self, path: &str, what: &str, met: impl Fn(u16, &str) -> bool) -> String {
        let end = Instant::now() + super::PATIENCE;
        loop {
            let got = self.get(path).await;
            if let Some((_, body)) = got.clone().filter(|(status, body)| met(*status, body)) {
                return body;
            }
            assert!(
                Instant::now() < end,
                "in vain waited until {what}; {path} is {got:?}; log: {}",
                self.log()
            );
            sleep(super::GLANCE).await;
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.exited().expect("a process").is_some()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until it ends by itself, and gives its exit code and what it logged.
    pub async fn ended(self) -> (Option<i32>, String) {
        let Self { mut process, folder } = self;
        let log = folder.path().join("log");
        let status = tokio::task::spawn_blocking(move || process.wait()).await.expect("no panic");
        (status.expect("the operator ends").code(), std::fs::read_to_string(log).unwrap_or_default())
    }

    /// Stops it where it is, as a machine that is suspended or has no time for it.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    /// Asks it to end, as a kubelet does.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let all = Command::new("ps").args(["-A", "-o", "pid=,ppid=,args="]).output().expect("ps runs");
        let all = String::from_utf8_lossy(&all.stdout).into_owned();
        let parent = self.process.supervisor().to_string();
        let operator = all.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, its_parent, program) = (words.next()?, words.next()?, words.next()?);
            (its_parent == parent && program.ends_with("cloud-image-operator")).then_some(pid)
        });
        let operator = operator.expect("the operator runs");
        assert!(Command::new("kill").args([signal, operator]).status().expect("kill runs").success());
    }

    /// Ends it, and gives its exit code (128 + 9 for one that was killed) and what it logged.
    pub async fn stop(self) -> (Option<i32>, String) {
        let Self { process, folder } = self;
        let log = folder.path().join("log");
        let status = tokio::task::spawn_blocking(move || process.stop()).await.expect("no panic");
        (status.expect("the operator ends").code(), std::fs::read_to_string(log).unwrap_or_default())
    }
}
