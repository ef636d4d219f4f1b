//! The way to the API server: the kubeconfig's or the cluster's own, straight or through a proxy. Every request has a
//! deadline, and a connection that goes silent is closed: one whose other end only acknowledges, as behind a load balancer
//! that lost its server, would otherwise hold up all that is sent over it. There are few connections, however many requests
//! wait to be sent.

use crate::{
    engine::{may_pass, metrics::Metrics, on_behalf, pace},
    kubeconfig,
    wire::{self, proxy::Proxies},
};
use backon::Retryable;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use std::{
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tower::{BoxError, Service, service_fn, timeout::TimeoutLayer};

/// How requests to the API server go, for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way(Option<String>);

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(proxy) => write!(out, " (through the proxy {proxy}; what NO_PROXY names goes straight)"),
            None => Ok(()),
        }
    }
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum NoWay {
    /// No kubeconfig, and not in a cluster.
    #[error("no way to the API server: in-cluster: ({0}), kubeconfig: ({1})")]
    Config(InClusterError, KubeconfigError),
    /// A proxy that nothing here can speak to.
    #[error("the kubeconfig's proxy-url {0} cannot be used; only http:// and https:// proxies can, no SOCKS")]
    Proxy(String),
    /// What there is cannot be used.
    #[error("the kubeconfig cannot be used{0}: {1}")]
    Client(Way, kube::Error),
}

/// A client for the API server that the kubeconfig names, or for that of the cluster in which this runs.
/// What it writes in vain is counted.
pub async fn found(metrics: Arc<Metrics>) -> Result<(Client, Way), NoWay> {
    let (mut config, kubeconfig) = configured().await?;
    config.apply_debug_overrides();
    // The address of a cluster's own API server is inside the cluster, where no proxy leads.
    let proxy = kubeconfig.and_then(|kubeconfig| {
        let named = named(&kubeconfig).and_then(|named| named.parse().ok());
        proxy(&config.cluster_url, named, &Proxies::from_env())
    });
    if let Some(other) = proxy.as_ref().filter(|proxy| !matches!(proxy.scheme_str(), Some("http" | "https")))
    {
        return Err(NoWay::Proxy(shown(other)));
    }
    let way = Way(proxy.as_ref().map(shown));
    config.proxy_url = proxy;
    let client = counted(config, metrics).map_err(|error| NoWay::Client(way.clone(), error))?;
    Ok((client, way))
}

/// What the kubeconfig says, which is given too; or the cluster in which this runs, where that cannot be used.
async fn configured() -> Result<(Config, Option<Kubeconfig>), NoWay> {
    let (read, unusable) = match kubeconfig::read() {
        Ok(read) => match Config::from_custom_kubeconfig(read.clone(), &KubeConfigOptions::default()).await {
            Ok(config) => return Ok((config, Some(read))),
            Err(unusable) => (Some(read), unusable),
        },
        Err(unusable) => (None, unusable),
    };
    let config = Config::incluster().map_err(|in_cluster| NoWay::Config(in_cluster, unusable))?;
    Ok((config, read))
}

/// A client that never waits for ever.
pub fn client(config: Config) -> Result<Client, kube::Error> {
    counted(config, Arc::default())
}

fn counted(mut config: Config, metrics: Arc<Metrics>) -> Result<Client, kube::Error> {
    config.connect_timeout = Some(pace::CONNECT_TIMEOUT);
    // From the last byte in either direction, so that it does not count how long a connection was idle before.
    config.read_timeout = Some(pace::API_SILENCE);
    config.reset_reader_on_write = true;
    config.write_timeout = Some(pace::API_TIMEOUT);
    // Until the answer begins; a watch lasts longer than that.
    let builder = ClientBuilder::try_from(config)?.with_layer(&TimeoutLayer::new(pace::API_TIMEOUT));
    let counting = tower::layer::layer_fn(|service| Counting { service, metrics: metrics.clone() });
    Ok(builder.with_layer(&counting).build())
}

/// What the API server says that it is, as soon as it says anything: it may be on its way back. `waits` hears each time why it has
/// to be asked again. Fails when it was away for [`pace::API_AWAY`], and within seconds for what somebody has to mend.
pub async fn version(client: &Client, mut waits: impl FnMut(String) + Send) -> Result<Info, kube::Error> {
    let since = Instant::now();
    // One that comes back knows nobody for a moment, however long it was away before.
    let mut refused = None;
    let goes_on = |error: &kube::Error| {
        if is_for_somebody(error) {
            return refused.get_or_insert_with(Instant::now).elapsed() < pace::API_START;
        }
        refused = None;
        since.elapsed() < pace::API_AWAY
    };
    let ask = || client.apiserver_version();
    ask.retry(pace::api_steps()).when(goes_on).notify(|error, _| waits(wire::chain(error))).await
}

/// Whether it does not pass unless somebody mends something.
fn is_for_somebody(error: &kube::Error) -> bool {
    !may_pass(error) || matches!(error, kube::Error::Auth(_)) || is_about_a_certificate(error)
}

/// Whether the server's certificate is not that of the API server that is meant.
fn is_about_a_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    // What is in an input/output error is not what it names as its source.
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
        || within.is_some_and(|error| is_about_a_certificate(error))
        || error.source().is_some_and(is_about_a_certificate)
}

/// How many requests are under way at once, watches aside: each has a connection to itself. So many keep an API server busy
/// that takes ten milliseconds for each of three thousand writes a second.
const REQUESTS: usize = 32;
/// How many of them each account has to itself: what many objects of one have to tell at once must not keep another one's
/// waiting.
const OF_ACCOUNT: usize = 8;
/// How many more are lent to whoever has more to tell: what is left is enough for another account.
const LENT: usize = REQUESTS - 2 * OF_ACCOUNT;
/// How many queues there are for accounts: two that have much to tell share one rarely.
const QUEUES: usize = 256;

/// The connections for all requests that end soon. Watches have theirs besides.
#[derive(Clone, Debug)]
pub struct Connections {
    all: Arc<Semaphore>,
    lent: Arc<Semaphore>,
    accounts: Arc<[Semaphore]>,
}

impl Default for Connections {
    fn default() -> Self {
        let accounts = (0..QUEUES).map(|_| Semaphore::new(OF_ACCOUNT)).collect();
        let [all, lent] = [REQUESTS, LENT].map(|count| Arc::new(Semaphore::new(count)));
        Self { all, lent, accounts }
    }
}

impl Connections {
    /// A client whose requests wait for one of these connections before `client` has them.
    pub fn share(&self, client: &Client) -> Client {
        let (connections, inner) = (self.clone(), client.clone());
        let service = service_fn(move |request: Request<Body>| {
            let (connections, inner) = (connections.clone(), inner.clone());
            async move {
                let _one = if is_watch(&request) { None } else { Some(connections.acquire().await) };
                inner.send(request).await.map_err(BoxError::from)
            }
        });
        Client::new(service, client.default_namespace())
    }

    /// Asked in the task that sends the request.
    async fn acquire(&self) -> [Option<SemaphorePermit<'_>>; 2] {
        // Semaphores that nobody closes: it always comes to a permit.
        let of_account = match on_behalf::account() {
            Some(account) => {
                let queue = usize::try_from(account % QUEUES as u64).unwrap_or_default();
                tokio::select! {
                    biased;
                    own = self.accounts[queue].acquire() => own.ok(),
                    lent = self.lent.acquire() => lent.ok(),
                }
            }
            None => None,
        };
        [of_account, self.all.acquire().await.ok()]
    }
}

fn is_watch<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

/// The proxy that the kubeconfig names for its current cluster.
fn named(kubeconfig: &Kubeconfig) -> Option<&str> {
    let current = kubeconfig.current_context.as_deref();
    let context = kubeconfig.contexts.iter().find(|context| Some(&*context.name) == current)?;
    let cluster = &context.context.as_ref()?.cluster;
    let cluster = kubeconfig.clusters.iter().find(|it| it.name == *cluster)?.cluster.as_ref()?;
    cluster.proxy_url.as_deref().filter(|proxy| !proxy.is_empty())
}

/// What a kubeconfig names counts as it stands, as with kubectl; the environment's proxy only for what `NO_PROXY` does
/// not name. (kube by itself compares `NO_PROXY` with the proxy's address.)
fn proxy(api_server: &Uri, named: Option<Uri>, proxies: &Proxies) -> Option<Uri> {
    named.or_else(|| proxies.of(api_server)?.with_credentials())
}

/// Without user and password.
fn shown(proxy: &Uri) -> String {
    let host = proxy.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    format!("{}://{}", proxy.scheme_str().unwrap_or("http"), host.unwrap_or_default())
}

/// Tells the metrics of each request.
struct Counting<S> {
    service: S,
    metrics: Arc<Metrics>,
}

impl<S, Body, Answer> Service<Request<Body>> for Counting<S>
where
    S: Service<Request<Body>, Response = Response<Answer>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (answer, metrics) = (self.service.call(request), self.metrics.clone());
        Box::pin(async move {
            let answer = answer.await;
            metrics.api_request(&method, &path, answer.as_ref().ok().map(Response::status));
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::accounts::AccountKey, image::AccountKind};
    use serde_json::json;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    /// A client whose requests are counted and never answered.
    fn hanging() -> (Client, Arc<AtomicUsize>) {
        let busy = Arc::new(AtomicUsize::new(0));
        let counted = busy.clone();
        let hanging = service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<Response<Body>, BoxError>>()
        });
        (Connections::default().share(&Client::new(hanging, "default")), busy)
    }

    #[tokio::test]
    async fn the_crowd_of_one_account_leaves_connections_to_others() {
        let (client, busy) = hanging();
        for (account, busy_then) in [("crowd", OF_ACCOUNT + LENT), ("other", 2 * OF_ACCOUNT + LENT)] {
            let name = account.to_owned();
            let account = AccountKey { kind: AccountKind::ClusterCloudAccount, namespace: None, name };
            for number in 0..10 * REQUESTS {
                let request = Request::get(format!("/a/{number}")).body(Body::empty()).unwrap();
                let (client, account) = (client.clone(), account.clone());
                tokio::spawn(async move {
                    on_behalf::on_behalf_of(&account, async { client.send(request).await.map(drop) }).await
                });
            }
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            assert_eq!(busy.load(Ordering::SeqCst), busy_then, "{account}");
        }
    }

    #[tokio::test]
    async fn requests_share_few_connections_and_watches_do_not_wait_for_them() {
        let (client, busy) = hanging();
        let send = |path: String| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let client = client.clone();
            tokio::spawn(async move { client.send(request).await.map(drop) })
        };
        let requests: Vec<_> = (0..10 * REQUESTS).map(|number| send(format!("/a/{number}"))).collect();
        let watches: Vec<_> = (0..10).map(|number| send(format!("/a?x={number}&watch=true"))).collect();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(busy.load(Ordering::SeqCst), REQUESTS + watches.len());
        // Who gives up leaves room for another.
        requests[0].abort();
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(busy.load(Ordering::SeqCst), REQUESTS + watches.len() + 1);
    }

    /// A client whose first requests fail, and how the wait for the API server ends, after how long and how many times to hear why.
    async fn asked(
        fail: impl Fn() -> Result<Response<Body>, BoxError> + Clone + Send + 'static,
        lasts: Duration,
    ) -> (Result<Info, kube::Error>, Duration, usize) {
        let since = Instant::now();
        let service = service_fn(move |_: Request<Body>| {
            let version = json!({
                "major": "1", "minor": "35", "gitVersion": "v1.35.0", "gitCommit": "", "gitTreeState": "", "buildDate": "",
                "goVersion": "", "compiler": "", "platform": "",
            });
            let answer = Response::new(Body::from(version.to_string().into_bytes()));
            let answer = if since.elapsed() < lasts { fail() } else { Ok(answer) };
            async move { answer }
        });
        let mut heard = 0;
        let version = version(&Client::new(service, "default"), |_| heard += 1).await;
        (version, since.elapsed(), heard)
    }

    fn answered(status: u16) -> impl Fn() -> Result<Response<Body>, BoxError> + Clone {
        move || Ok(Response::builder().status(status).body(Body::from(b"No.".to_vec()))?)
    }

    fn unanswered() -> Result<Response<Body>, BoxError> {
        Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_is_away_at_the_start_is_waited_for() {
        let away = Duration::from_secs(300);
        for (what, found) in [
            ("no answer", asked(unanswered, away).await),
            ("503", asked(answered(503), away).await),
            ("429", asked(answered(429), away).await),
            ("a page", asked(answered(200), away).await),
        ] {
            let (version, took, heard) = found;
            assert_eq!(version.map(|version| version.git_version).ok().as_deref(), Some("v1.35.0"), "{what}");
            assert!(took < away + Duration::from_secs(10) && heard > 30, "{what}: {took:?}, {heard}");
        }
        let (version, took, _) = asked(unanswered, 2 * pace::API_AWAY).await;
        assert!(version.is_err() && took >= pace::API_AWAY && took < 2 * pace::API_AWAY, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_has_to_mend_is_said_within_seconds() {
        let wrong = || {
            let error = rustls::Error::InvalidCertificate(rustls::CertificateError::NotValidForName);
            Err(io::Error::other(error).into())
        };
        for (what, found) in [
            ("401", asked(answered(401), pace::API_AWAY).await),
            ("403", asked(answered(403), pace::API_AWAY).await),
            ("another's certificate", asked(wrong, pace::API_AWAY).await),
        ] {
            let (version, took, _) = found;
            assert!(version.is_err() && took < 3 * pace::API_START, "{what}: {took:?}");
        }
        // One that starts knows nobody for a moment.
        let (version, ..) = asked(answered(403), pace::API_START / 2).await;
        assert!(version.is_ok(), "{version:?}");
        // Also after it was away for long.
        let away = Instant::now() + 10 * pace::API_START;
        let comes_back = move || if Instant::now() < away { unanswered() } else { answered(403)() };
        let (version, ..) = asked(comes_back, 10 * pace::API_START + pace::API_START / 2).await;
        assert!(version.is_ok(), "{version:?}");
    }

    #[test]
    fn the_proxy_that_the_kubeconfig_names_is_that_of_its_current_cluster() {
        let kubeconfig = kubeconfig::parse(
            "{current-context: b, contexts: [{name: a, context: {cluster: A}}, {name: b, context: {cluster: B}}],
              clusters: [{name: A, cluster: {server: 'https://a', proxy-url: 'http://wrong'}},
                         {name: B, cluster: {server: 'https://b', proxy-url: 'http://me:secret@right:1'}}]}",
        )
        .unwrap();
        assert_eq!(named(&kubeconfig), Some("http://me:secret@right:1"));
        let way = Way(Some(shown(&named(&kubeconfig).unwrap().parse().unwrap())));
        assert_eq!(way.to_string(), " (through the proxy http://right:1; what NO_PROXY names goes straight)");
        assert_eq!(Way::default().to_string(), "");
    }
}
