//! What is measured and what it is measured with: control plane, simulated vendors, operator, and a client of our own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Options;
use super::reading::{self, difference};
use super::store::Store;
use crate::controlplane::{ControlPlane, free_port};
use crate::demo::services::{self, OPERATOR};
use crate::error::{Doing, Error, Result};
use crate::kubectl::Kubectl;
use crate::process::Process;
use crate::simulator::{self, Ports};
use crate::{identity, interrupt, samples, scratch, workspace};

/// The API group and version of the operator's kinds.
pub(super) const API: &str = "/apis/cloudimages.dev/v1alpha1";

/// The kubeconfig of the operator, which has the rights that the manifests give it.
const KUBECONFIG: &str = "operator.kubeconfig";

/// How many requests the client has under way at once.
pub(super) const AT_ONCE: usize = 64;

/// How long a vendor's call takes.
const CALL: Duration = Duration::from_millis(5);

/// How long anything may take; far more than it takes, for busy machines.
const LIMIT: Duration = Duration::from_mins(15);

/// How often something is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// Everything of one run. Dropped in this order: who needs somebody ends before that one.
pub(super) struct Lab {
    operator: Option<Process>,
    vendor: Process,
    plane: ControlPlane,
    folder: TempDir,
    ports: Ports,
    program: PathBuf,
    http: reqwest::Client,
    pub(super) store: Store,
    pub(super) client: Client,
}

/// What was done so far.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    at: Instant,
    /// CPU seconds of operator, API server, etcd, and this program.
    cpu: [f64; 4],
    requests: BTreeMap<String, u64>,
    calls: BTreeMap<String, u64>,
}

/// What was done between two readings.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span {
    pub(super) seconds: f64,
    pub(super) operator_cpu_seconds: f64,
    pub(super) api_server_cpu_seconds: f64,
    pub(super) etcd_cpu_seconds: f64,
    /// Of this program: the floor, or who creates objects, and the watch.
    pub(super) client_cpu_seconds: f64,
    pub(super) requests: BTreeMap<String, u64>,
    pub(super) vendor_calls: BTreeMap<String, u64>,
}

impl Span {
    /// Both together.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.seconds += other.seconds;
        self.operator_cpu_seconds += other.operator_cpu_seconds;
        self.api_server_cpu_seconds += other.api_server_cpu_seconds;
        self.etcd_cpu_seconds += other.etcd_cpu_seconds;
        self.client_cpu_seconds += other.client_cpu_seconds;
        for (counted, more) in
            [(&mut self.requests, &other.requests), (&mut self.vendor_calls, &other.vendor_calls)]
        {
            for (what, count) in more {
                *counted.entry(what.clone()).or_default() += count;
            }
        }
        self
    }
}

/// Where the API server keeps objects of a kind of the operator's.
pub(super) fn stored(plural: &str) -> String {
    format!("cloudimages.dev/{plural}")
}

impl Lab {
    pub(super) async fn start(options: &Options) -> Result<Self> {
        // The program's provider of cryptography; a second time, it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::start()?;
        let folder = scratch::folder("bench-")?;
        let ports = Ports::free()?;
        let vendor = simulator::start_built(options.profile(), &ports, folder.path())?;
        let kubectl = Kubectl::new(plane.kubeconfig())?;
        let crds = workspace::root().join("crds");
        let crds = crds.to_string_lossy();
        kubectl.run(["apply", "--server-side", "--filename", &crds])?;
        kubectl.run(["wait", "--for=condition=Established", "--timeout=60s", "--filename", &crds])?;
        let operators = folder.path().join(KUBECONFIG);
        identity::grant(&kubectl, &operators)?;
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).doing(|| "read the kubeconfig")?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = config.doing(|| "use the kubeconfig")?.try_into().doing(|| "make a client")?;
        let http = reqwest::Client::builder().no_proxy().build().doing(|| "make a client")?;
        let program = match &options.operator {
            Some(program) => std::path::absolute(program).doing(|| "find the operator")?,
            None => workspace::binary_of(options.profile(), OPERATOR)?,
        };
        let store = Store::of(&plane)?;
        let lab = Self { operator: None, vendor, plane, folder, ports, program, http, store, client };
        lab.admin("faults", &json!([{ "fault": { "slowAnswer": { "millis": CALL.as_millis() } } }])).await?;
        // The limits are not what is measured here.
        let no_limits = json!({ "aliyunEcs": { "flowLimits": [] }, "volcengine": { "flowLimits": [] } });
        lab.admin("settings", &no_limits).await?;
        Ok(lab)
    }

    /// A namespace with nothing in it.
    pub(super) async fn empty_namespace(&self, name: &str) -> Result<()> {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.send("POST", "/api/v1/namespaces", &namespace).await.map(drop)
    }

    /// A namespace with an account and its Secret, with limits that no measurement comes near to.
    pub(super) async fn namespace(&self, name: &str) -> Result<()> {
        self.empty_namespace(name).await?;
        let actions = [
            "CreateImageComponent",
            "DescribeImageComponents",
            "DeleteImageComponent",
            "BuildAOSPImage",
            "ListAOSPImage",
            "DeleteAOSPImage",
        ];
        let limits = actions.map(|action| json!({ "action": action, "requests": 1_000_000, "period": "1s" }));
        for vendor in ["aliyun", "volcengine"] {
            self.account(name, vendor, &json!(limits), None).await?;
        }
        Ok(())
    }

    /// An account of a vendor's and its Secret, with these limits; with `key`, that of the samples is not used.
    pub(super) async fn account(
        &self,
        namespace: &str,
        vendor: &str,
        limits: &Value,
        key: Option<(&str, &str)>,
    ) -> Result<()> {
        for mut object in self.samples(&format!("accounts/{vendor}.yaml"))? {
            object["metadata"]["namespace"] = json!(namespace);
            let path = if object["kind"] == "Secret" {
                if let Some((id, secret)) = key {
                    object["stringData"] = json!({ "accessKeyId": id, "accessKeySecret": secret });
                }
                format!("/api/v1/namespaces/{namespace}/secrets")
            } else {
                object["spec"]["limits"] = limits.clone();
                format!("{API}/namespaces/{namespace}/cloudaccounts")
            };
            self.send("POST", &path, &object).await?;
        }
        Ok(())
    }

    /// What the simulated vendors have written down of calls of an action, from the beginning.
    pub(super) async fn calls(&self, action: &str) -> Result<Vec<Value>> {
        let url = format!("http://{}/_sim/ledger?action={action}", self.ports.admin());
        let ledger = self.http.get(url).send().await.doing(|| "ask the simulated vendors")?;
        let mut ledger: Value = serde_json::from_str(&ledger.text().await.unwrap_or_default())
            .doing(|| "understand the simulated vendors")?;
        Ok(ledger["calls"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The documents of a sample, aimed at the simulated vendors.
    pub(super) fn samples(&self, file: &str) -> Result<Vec<Value>> {
        let path = samples::folder().join(file);
        let text = std::fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        let text = self.ports.aim(&text);
        text.split("\n---\n")
            .map(|document| serde_saphyr::from_str(document).doing(|| format!("read {}", path.display())))
            .collect()
    }

    /// Host and port of a vendor's service.
    pub(super) fn vendor(&self, service: &str) -> Result<String> {
        self.ports.address(service).ok_or_else(|| Error::Failed(format!("there is no service {service}")))
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(super) fn start_operator(&mut self, events: &str) -> Result<()> {
        let address = format!("127.0.0.1:{}", free_port()?);
        // What the manifests give, leader election too.
        let mut arguments = identity::arguments(&address)?;
        arguments.push(format!("--events={events}"));
        let kubeconfig = self.folder.path().join(KUBECONFIG);
        let started =
            services::operator(&self.program, &self.ports, &kubeconfig, &arguments, self.folder.path())?;
        self.operator = Some(started);
        Ok(())
    }

    pub(super) fn stop_operator(&mut self) -> Result<()> {
        self.operator.take().map_or(Ok(()), |operator| operator.stop().map(drop))
    }

    /// Resident memory of the operator in MiB, now and at its height.
    pub(super) fn operator_memory(&self) -> Option<(f64, f64)> {
        reading::memory(self.operator.as_ref()?.program())
    }

    /// A request to the simulated vendors' admin API that sets something.
    pub(super) async fn admin(&self, what: &str, value: &Value) -> Result<()> {
        let url = format!("http://{}/_sim/{what}", self.ports.admin());
        let request = self.http.put(url).body(value.to_string()).send().await;
        let answer = request.doing(|| "set up the simulated vendors")?;
        let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
        if status.is_success() { Ok(()) } else { Err(Error::Failed(format!("/_sim/{what}: {text}"))) }
    }

    /// A request to the API server, and its answer.
    pub(super) async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let what = || format!("{method} {path}");
        let kind = match (method, body) {
            ("PATCH", Value::Array(_)) => "application/json-patch+json",
            ("PATCH", _) => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", kind).body(body);
        self.client.request(request.doing(what)?).await.doing(what)
    }

    /// Objects of a kind like `sample`, each under its own name.
    pub(super) async fn create(
        &self,
        namespace: &str,
        plural: &str,
        objects: &[Value],
    ) -> Result<Vec<Value>> {
        let path = format!("{API}/namespaces/{namespace}/{plural}");
        let created = stream::iter(objects).map(|object| self.send("POST", &path, object));
        created.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Accounts in one namespace, each with a Secret of its own.
    pub(super) async fn accounts(&self, namespace: &str, count: usize) -> Result<()> {
        let sample = self.samples("accounts/aliyun.yaml")?;
        let named = |number: usize| {
            let mut objects = sample.clone();
            for object in &mut objects {
                object["metadata"] = json!({ "namespace": namespace, "name": format!("account-{number}") });
            }
            objects[1]["spec"]["aliyun"]["credentialsSecretRef"]["name"] =
                objects[0]["metadata"]["name"].clone();
            if let Value::Object(plain) = objects[0]["stringData"].take() {
                let coded = plain.into_iter().map(|(key, value)| {
                    (key, json!(BASE64_STANDARD.encode(value.as_str().unwrap_or_default())))
                });
                objects[0]["data"] = Value::Object(coded.collect());
            }
            objects.into_iter().map(|object| self.store.new_object(object)).collect::<Vec<_>>()
        };
        let (secrets, accounts): (Vec<_>, Vec<_>) =
            (0..count).map(named).filter_map(|mut pair| Some((pair.remove(0), pair.pop()?))).unzip();
        self.store.put("secrets", &secrets).await?;
        self.store.put(&stored("cloudaccounts"), &accounts).await
    }

    /// Asks for the deletion of each.
    pub(super) async fn delete(&self, namespace: &str, plural: &str, names: &[String]) -> Result<()> {
        let asked = stream::iter(names).map(|name| async move {
            let path = format!("{API}/namespaces/{namespace}/{plural}/{name}");
            self.send("DELETE", &path, &Value::Null).await.map(drop)
        });
        asked.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Waits for what the programs bring about.
    pub(super) async fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_so() {
            self.pause(LOOK).await?;
            if start.elapsed() > LIMIT {
                return Err(Error::Failed(format!(
                    "it took longer than {} minutes until {what}",
                    LIMIT.as_secs() / 60
                )));
            }
        }
        Ok(())
    }

    /// Lets time go by, unless a program ends or the user interrupts.
    pub(super) async fn pause(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            interrupt::check()?;
            self.plane.expect_running()?;
            self.vendor.expect_running()?;
            if let Some(operator) = &mut self.operator {
                operator.expect_running()?;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(Duration::from_millis(200))).await;
        }
    }

    pub(super) async fn read(&self) -> Result<Reading> {
        let operator = self.operator.as_ref().and_then(Process::program);
        let [api_server, etcd] = self.plane.processes();
        let processes = [operator, api_server, etcd, Some(std::process::id())];
        let cpu = processes.map(|pid| reading::cpu(pid).unwrap_or_default());
        let at = Instant::now();
        let metrics = Request::get("/metrics").body(vec![]).doing(|| "read the API server's metrics")?;
        let metrics = self.client.request_text(metrics).await.doing(|| "read the API server's metrics")?;
        let url = format!("http://{}/_sim/ledger/counts", self.ports.admin());
        let counts = self.http.get(url).send().await.doing(|| "ask the simulated vendors")?;
        let counts: Value = serde_json::from_str(&counts.text().await.unwrap_or_default())
            .doing(|| "understand the simulated vendors")?;
        let calls = counts["calls"].as_object().into_iter().flatten();
        let calls =
            calls.map(|(action, count)| (action.clone(), count.as_u64().unwrap_or_default())).collect();
        Ok(Reading { at, cpu, requests: reading::requests(&metrics), calls })
    }

    /// What was done since then.
    pub(super) async fn since(&self, before: &Reading) -> Result<Span> {
        let now = self.read().await?;
        let [operator, api_server, etcd, client] =
            std::array::from_fn(|of| (now.cpu[of] - before.cpu[of]).max(0.0));
        Ok(Span {
            seconds: (now.at - before.at).as_secs_f64(),
            operator_cpu_seconds: operator,
            api_server_cpu_seconds: api_server,
            etcd_cpu_seconds: etcd,
            client_cpu_seconds: client,
            requests: difference(&before.requests, &now.requests),
            vendor_calls: difference(&before.calls, &now.calls),
        })
    }
}
