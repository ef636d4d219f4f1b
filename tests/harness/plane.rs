//! The test binary's control plane, with the operator's kinds installed, and its record of who wrote what.

use super::proxy::Proxy;
use cloud_image_operator::{api_server, kinds};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config,
    api::PostParams,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{conditions, wait::await_condition},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, Once, PoisonError},
    thread,
    time::Duration,
};
use tower::timeout::TimeoutLayer;
use tracing_subscriber::EnvFilter;
use xtask::{controlplane::ControlPlane, identity, kubectl::Kubectl};

/// Never dropped, as statics are not: it ends when it notices the end of this process.
static PLANE: LazyLock<ControlPlane> = LazyLock::new(|| {
    // Whoever comes first may be within a runtime already, which must not be blocked by another.
    thread::spawn(start).join().expect("the control plane starts")
});

fn start() -> ControlPlane {
    let plane = ControlPlane::start_audited().expect("the control plane starts");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let api = Api::<CustomResourceDefinition>::all(people(plane.kubeconfig(), "install", None).await);
        for crd in kinds::crds(kinds::KINDS) {
            api.create(&PostParams::default(), &crd).await.expect("the CRD is accepted");
        }
        for crd in kinds::crds(kinds::KINDS) {
            let name = crd.metadata.name.expect("a name");
            await_condition(api.clone(), &name, conditions::is_crd_established())
                .await
                .expect("the CRD can be used");
        }
    });
    let admin = Kubectl::new(plane.kubeconfig()).expect("kubectl");
    identity::grant(&admin, &operator_kubeconfig_of(&plane)).expect("the manifests are accepted");
    plane
}

/// A control plane of one test's own, which it may break.
pub async fn another() -> ControlPlane {
    tokio::task::spawn_blocking(start).await.expect("the control plane starts")
}

/// A client of such a one that may do everything.
pub async fn client_of(plane: &ControlPlane, user_agent: &str) -> Client {
    people(plane.kubeconfig(), user_agent, None).await
}

/// The operator's ServiceAccount in the manifests, as the API server calls it.
pub const OPERATOR: &str = "system:serviceaccount:cloud-image-operator:cloud-image-operator";

/// The operator's kubeconfig of any of them.
pub fn operator_kubeconfig_of(plane: &ControlPlane) -> PathBuf {
    plane.folder().join("operator.kubeconfig")
}

/// A client whose requests carry this User-Agent, by which the record tells them from others'. It may do everything
/// unless it acts as another `user`.
pub async fn client(user_agent: &str, user: Option<&str>) -> Client {
    people(PLANE.kubeconfig(), user_agent, user).await
}

/// The operator's client: it has the rights that the manifests give it, unless it acts as another `user`.
pub async fn operator_client(user_agent: &str, user: Option<&str>) -> Client {
    match user {
        Some(_) => client(user_agent, user).await,
        None => connect(&operator_kubeconfig(), user_agent, None).await,
    }
}

/// The operator's way to the API server for somebody who passes its requests on: without deadlines of its own.
pub async fn operators_way() -> Client {
    let mut config = config(&operator_kubeconfig(), "proxy", None).await;
    config.headers.clear();
    config.read_timeout = None;
    ClientBuilder::try_from(config).expect("a client").build()
}

/// The operator's client, whose connections go over a proxy.
pub async fn client_behind_a_proxy(user_agent: &str) -> (Client, Proxy) {
    let mut config = config(&operator_kubeconfig(), user_agent, None).await;
    let target = config.cluster_url.authority().expect("host and port").to_string();
    let mut targets = tokio::net::lookup_host(target).await.expect("an address");
    let proxy = Proxy::start(targets.next().expect("an address")).await;
    config.cluster_url = format!("https://{}", proxy.address()).parse().expect("a URL");
    (api_server::client(config).expect("a client"), proxy)
}

/// The operator's client, to which the answers to writes of objects, their statuses aside, come so much later.
pub async fn slow_client(user_agent: &str, delay: Duration) -> Client {
    let inner = operator_client(user_agent, None).await;
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let inner = inner.clone();
        let is_slow = request.method() == http::Method::PATCH && !request.uri().path().ends_with("/status");
        async move {
            let answer = inner.send(request).await;
            if is_slow {
                tokio::time::sleep(delay).await;
            }
            answer
        }
    });
    Client::new(service, "default")
}

/// How often the operator has asked for what: verb and resource, like `PATCH imagecomponents/status`.
#[derive(Clone, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<String, usize>>>);

impl Requests {
    /// All so far.
    pub fn all(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, request: &http::Request<kube::client::Body>) {
        let (uri, method) = (request.uri(), request.method());
        let parts: Vec<_> = uri.path().trim_matches('/').split('/').collect();
        let rest =
            if parts.first() == Some(&"api") { &parts[2..] } else { parts.get(3..).unwrap_or_default() };
        let (resource, name, subresource) = match rest {
            ["namespaces", _, resource, name, subresource, ..] => (*resource, Some(name), Some(subresource)),
            ["namespaces", _, resource, rest @ ..] => (*resource, rest.first(), None),
            [resource, rest @ ..] => (*resource, rest.first(), rest.get(1)),
            [] => (uri.path(), None, None),
        };
        let is_watch = uri.query().is_some_and(|query| query.contains("watch="));
        let verb = match (method.as_str(), is_watch, name) {
            ("GET", true, _) => "WATCH",
            ("GET", false, None) => "LIST",
            (verb, ..) => verb,
        };
        let subresource = subresource.map(|part| format!("/{part}")).unwrap_or_default();
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.entry(format!("{verb} {resource}{subresource}")).or_default() += 1;
    }
}

/// The operator's client, with a record of what it asks for.
pub async fn counted_client(user_agent: &str) -> (Client, Requests) {
    let inner = operator_client(user_agent, None).await;
    let requests = Requests::default();
    let counted = requests.clone();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        counted.count(&request);
        let inner = inner.clone();
        async move { inner.send(request).await }
    });
    (Client::new(service, "default"), requests)
}

/// How long people wait for an answer: on a machine where several API servers start at once, longer than the operator does.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of anybody but the operator.
async fn people(kubeconfig: &Path, user_agent: &str, user: Option<&str>) -> Client {
    let mut config = config(kubeconfig, user_agent, user).await;
    config.read_timeout = None;
    let builder = ClientBuilder::try_from(config).expect("a client");
    builder.with_layer(&TimeoutLayer::new(PATIENCE)).build()
}

async fn connect(kubeconfig: &Path, user_agent: &str, user: Option<&str>) -> Client {
    api_server::client(config(kubeconfig, user_agent, user).await).expect("a client")
}

async fn config(kubeconfig: &Path, user_agent: &str, user: Option<&str>) -> Config {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig");
    config.auth_info.impersonate = user.map(Into::into);
    config.headers.push((http::header::USER_AGENT, user_agent.parse().expect("a header value")));
    config
}

/// The kubeconfig of who may do everything.
pub fn kubeconfig() -> &'static Path {
    PLANE.kubeconfig()
}

/// The operator's kubeconfig.
pub fn operator_kubeconfig() -> PathBuf {
    operator_kubeconfig_of(&PLANE)
}

/// A kubeconfig of who may do everything, but acts as another `user`.
pub fn kubeconfig_as(user: &str) -> PathBuf {
    let path = PLANE.folder().join(format!("{user}.kubeconfig"));
    let mut kubeconfig = Kubeconfig::read_from(kubeconfig()).expect("a kubeconfig");
    for named in &mut kubeconfig.auth_infos {
        named.auth_info.get_or_insert_default().impersonate = Some(user.to_owned());
    }
    fs::write(&path, serde_json::to_string(&kubeconfig).expect("JSON")).expect("the kubeconfig is written");
    path
}

/// A kubeconfig of who may do everything, for an operator whose own namespace, with its Leases, is this one.
pub fn kubeconfig_in(namespace: &str) -> PathBuf {
    let path = PLANE.folder().join(format!("in-{namespace}.kubeconfig"));
    // One that was started with it may be reading it.
    if path.exists() {
        return path;
    }
    let mut kubeconfig = Kubeconfig::read_from(kubeconfig()).expect("a kubeconfig");
    for named in &mut kubeconfig.contexts {
        named.context.get_or_insert_default().namespace = Some(namespace.to_owned());
    }
    fs::write(&path, serde_json::to_string(&kubeconfig).expect("JSON")).expect("the kubeconfig is written");
    path
}

/// A request that wrote, as the API server recorded it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Who, as the client says.
    #[serde(default)]
    pub user_agent: String,
    /// What about.
    #[serde(rename = "objectRef")]
    pub object: Target,
}

/// What a request was about.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// The plural, like `imagecomponents`.
    pub resource: String,
    /// `status`, for one.
    pub subresource: Option<String>,
    /// None for what belongs to the cluster.
    pub namespace: Option<String>,
    /// None for a creation.
    pub name: Option<String>,
}

/// All requests that wrote so far.
pub fn writes() -> Vec<Write> {
    let log = fs::read_to_string(PLANE.audit_log()).unwrap_or_default();
    // The last line may be half written.
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Lets a failed test show what the operator logged within it.
pub fn show_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter =
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("cloud_image_operator=info"));
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_test_writer().init();
    });
}
