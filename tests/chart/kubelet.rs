//! What a kubelet would do for the operator's pods: it runs them as they are, with their ServiceAccount's token, asks
//! their readiness probes, and writes their status.

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use xtask::process::{Launch, Process};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the pods of one namespace until it is dropped.
pub struct Kubelet {
    task: JoinHandle<()>,
    ran: Arc<Mutex<Vec<Ran>>>,
}

/// A container as it was run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its pod.
    pub pod: String,
    /// Its log.
    pub log: PathBuf,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kubelet {
    /// `aim` changes what a pod would find at its own addresses: pods have a network of their own, which they share here.
    pub async fn start(
        kubeconfig: &Path,
        namespace: &str,
        aim: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let client = client(kubeconfig).await;
        let ran = Arc::<Mutex<Vec<Ran>>>::default();
        let node = Node {
            kubeconfig: kubeconfig.to_owned(),
            namespace: namespace.to_owned(),
            client,
            folder: tempfile::tempdir().expect("a temporary folder"),
            pods: HashMap::new(),
            ran: ran.clone(),
        };
        Self { task: tokio::spawn(node.run(aim)), ran }
    }

    /// Everything that it ran so far.
    pub fn ran(&self) -> Vec<Ran> {
        self.ran.lock().expect("no panic").clone()
    }

    /// What all containers logged.
    pub fn logs(&self) -> String {
        let log = |ran: Ran| format!("{}:\n{}", ran.pod, fs::read_to_string(&ran.log).unwrap_or_default());
        self.ran().into_iter().map(log).collect()
    }
}

/// A client that may do everything.
pub async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a usable kubeconfig")).expect("a client")
}

struct Node {
    kubeconfig: PathBuf,
    namespace: String,
    client: Client,
    folder: TempDir,
    pods: HashMap<String, Running>,
    ran: Arc<Mutex<Vec<Ran>>>,
}

struct Running {
    process: Process,
    port: u16,
    ready: bool,
}

impl Node {
    async fn run(mut self, aim: impl Fn(&str) -> String + Send + Sync) {
        let api = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        loop {
            sleep(LOOK).await;
            let Ok(list) = api.list(&ListParams::default()).await else { continue };
            let there: HashMap<_, _> = list.items.iter().map(|pod| (pod.name_any(), pod)).collect();
            let gone: Vec<_> = self.pods.keys().filter(|name| !there.contains_key(*name)).cloned().collect();
            for name in gone {
                let running = self.pods.remove(&name).expect("it runs");
                // SIGTERM, and the time that a pod has.
                tokio::task::spawn_blocking(move || running.process.stop().expect("it ends"));
            }
            for (name, pod) in there {
                if !self.pods.contains_key(&name) {
                    let running = self.start(&name, pod, &aim).await;
                    self.pods.insert(name.clone(), running);
                }
                let running = self.pods.get_mut(&name).expect("it runs");
                let ready = probe(running.port).await;
                if ready != running.ready {
                    running.ready = ready;
                    let status = if ready { "True" } else { "False" };
                    let condition = |type_: &str| json!({ "type": type_, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z" });
                    let patch = json!({ "status": {
                        "phase": "Running",
                        "conditions": [condition("Ready"), condition("ContainersReady")],
                    } });
                    let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
                }
            }
        }
    }

    /// Runs the operator's container, exactly as the pod says but for the addresses.
    async fn start(&self, name: &str, pod: &Pod, aim: impl Fn(&str) -> String + Send + Sync) -> Running {
        let spec = pod.spec.clone().expect("a spec");
        let container =
            spec.containers.iter().find(|container| container.name == "operator").expect("the operator");
        let port = xtask::controlplane::free_port().expect("a port");
        let kubeconfig =
            self.kubeconfig_for(spec.service_account_name.as_deref().expect("an account"), name).await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-image-operator"));
        command.env_clear().env("KUBECONFIG", kubeconfig);
        for variable in container.env.iter().flatten() {
            let path =
                || variable.value_from.as_ref()?.field_ref.as_ref().map(|field| field.field_path.clone());
            match (&variable.value, path().as_deref()) {
                (Some(value), _) => command.env(&variable.name, value),
                (None, Some("metadata.name")) => command.env(&variable.name, name),
                other => panic!("an unknown source of {}: {other:?}", variable.name),
            };
        }
        let mut addressed = 0;
        for argument in container.args.iter().flatten() {
            if argument.starts_with("--metrics-addr=") {
                addressed += 1;
                command.arg(format!("--metrics-addr=[::]:{port}"));
            } else {
                command.arg(aim(argument));
            }
        }
        assert_eq!(addressed, 1, "the pod says where it is probed");
        let log = self.folder.path().join(format!("{name}.log"));
        self.ran.lock().expect("no panic").push(Ran { pod: name.into(), log: log.clone() });
        let grace = u64::try_from(spec.termination_grace_period_seconds.unwrap_or(30)).unwrap_or_default();
        let launch = Launch::new(name, command).log(log).grace(Duration::from_secs(grace));
        Running { process: launch.start().expect("the operator starts"), port, ready: false }
    }

    /// What is mounted into a pod: the token, and which namespace it is in.
    async fn kubeconfig_for(&self, account: &str, pod: &str) -> PathBuf {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(24 * 3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let token = Api::<ServiceAccount>::namespaced(self.client.clone(), &self.namespace)
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .expect("a token")
            .status
            .expect("a token")
            .token;
        let text = fs::read_to_string(&self.kubeconfig).expect("a kubeconfig");
        let mut config: Value = serde_saphyr::from_str(&text).expect("YAML");
        config["users"][0]["user"] = json!({ "token": token });
        config["contexts"][0]["context"]["namespace"] = json!(self.namespace);
        let path = self.folder.path().join(format!("{pod}.kubeconfig"));
        fs::write(&path, config.to_string()).expect("the kubeconfig is written");
        path
    }
}

/// Whether `/readyz` says 200.
async fn probe(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200 "))
    };
    matches!(timeout(Duration::from_secs(5), ask).await, Ok(Ok(true)))
}
