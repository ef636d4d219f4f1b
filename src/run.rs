//! Puts the operator together and runs it until it is told to stop.

use crate::{
    account::{CloudAccount, ClusterCloudAccount},
    api_server,
    engine::{
        self, Shared, account_controller,
        accounts::{Account, Accounts, Seen},
        lease, pace,
        telemetry::{Events, Telemetry},
    },
    kinds::{self, KINDS, Kind},
    serve::{self, Readiness},
    vendors::VENDORS,
    wire::endpoint::{Denied, Endpoints},
};
use futures::{
    FutureExt,
    future::{FusedFuture, join_all},
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{reflector, watcher},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What `cloud-image-operator run` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Watch only this namespace, and use only those ClusterCloudAccounts whose Secret is in it; may be given several
    /// times. Without it: all namespaces.
    #[arg(long = "namespace", value_name = "NAMESPACE")]
    pub namespaces: Vec<String>,

    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_addr: SocketAddr,

    /// Work only while holding the Lease `cloud-image-operator`, for more than one replica.
    #[arg(long)]
    pub leader_elect: bool,

    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Which Kubernetes Events are written.
    #[arg(long, value_enum, default_value_t = Events::All)]
    pub events: Events,

    /// Let accounts name endpoints that begin with this, besides the vendors' own https addresses; may be given
    /// several times. Example: http://10.0.0.2:8080
    #[arg(long = "allow-endpoint", value_name = "URL-PREFIX")]
    pub allow_endpoints: Vec<String>,

    /// How far apart the looks are that wait for the vendor. Not for users: tests have less time.
    #[arg(skip = pace::BEAT)]
    pub beat: Duration,

    /// The image kinds that are looked after. Not for users: tests have one more.
    #[arg(skip = KINDS)]
    pub kinds: &'static [&'static dyn Kind],
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Why the operator could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig, and not in a cluster.
    #[error("no way to the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The API server cannot be used.
    #[error("the API server cannot be used: {0}")]
    Kube(#[from] kube::Error),
    /// The CRDs are missing.
    #[error(
        "the API server does not know {0}; install the CRDs first: cloud-image-operator crds | kubectl apply --server-side -f -"
    )]
    NoCrds(String),
    /// The metrics address cannot be used.
    #[error("--metrics-addr {0} cannot be used: {1}")]
    Metrics(SocketAddr, std::io::Error),
    /// A value of `--allow-endpoint` cannot be used.
    #[error("--allow-endpoint: {0}")]
    Endpoint(#[from] Denied),
    /// Another replica leads now.
    #[error("the lease was lost; another replica leads now")]
    LeaseLost,
}

/// Runs with the kubeconfig or in-cluster configuration that is found, until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), Error> {
    let config = kube::Config::infer().await?;
    run_with(api_server::client(config)?, options, stop).await
}

/// Runs against the API server of `client` until `stop` is cancelled: then takes no new work, finishes or has written
/// down what is under way, and returns within ten seconds.
pub async fn run_with(client: Client, options: Options, stop: CancellationToken) -> Result<(), Error> {
    let endpoints = Endpoints::new(&options.allow_endpoints)?;
    let telemetry = Telemetry::new(client.clone(), options.events);
    let ready = Readiness::default();
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    let mut server = tokio::spawn({
        let serving = serve::serve(
            options.metrics_addr,
            telemetry.clone(),
            ready.clone(),
            ended.clone().cancelled_owned(),
        );
        let address = options.metrics_addr;
        serving.map(move |served| served.map_err(|error| Error::Metrics(address, error)))
    });
    let work = async {
        // Nothing is under way yet, so nothing has to be waited for.
        tokio::select! {
            checked = check_api_server(&client, options.kinds) => checked?,
            () = stop.cancelled() => return Ok(()),
        }
        let lead = if options.leader_elect {
            let Some(lead) = lease::acquire(&client, &stop).await else { return Ok(()) };
            Some(lead)
        } else {
            None
        };
        ready.set(true);
        let stopping = stop.child_token();
        let (accounts, controllers) = controllers(&client, &options, endpoints, telemetry, stopping.clone());
        // Told to stop with nothing under way, they may have ended before anybody waits for their end.
        let mut controllers = std::pin::pin!(controllers.fuse());
        let lost = async {
            match &lead {
                Some(lead) => lead.lost().await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            () = &mut controllers => Ok(()),
            () = stop.cancelled() => Ok(()),
            () = lost => Err(Error::LeaseLost),
        };
        stopping.cancel();
        ready.set(false);
        if !controllers.is_terminated() && tokio::time::timeout(pace::GRACE, controllers).await.is_err() {
            tracing::warn!(
                "some work did not end in time; what it was about is written down, and the next start finds out"
            );
        }
        // Whether a vendor, or the next replica, hears that we go is not worth waiting for.
        let release = async {
            if let Some(lead) = lead {
                lead.release().await;
            }
        };
        let _ = tokio::join!(tokio::time::timeout(pace::FAREWELL, accounts.close()), release);
        outcome
    };
    let outcome = tokio::select! {
        served = &mut server => served.unwrap_or(Ok(())),
        done = work => done,
    };
    tracing::info!("stopped");
    outcome
}

async fn check_api_server(client: &Client, kinds: &[&dyn Kind]) -> Result<(), Error> {
    let version = client.apiserver_version().await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), api_server = version.git_version, "starting");
    check_crds(client, kinds).await
}

/// Fails when a CRD is missing, and gives those that were installed a moment ago the time to show.
async fn check_crds(client: &Client, kinds: &[&dyn Kind]) -> Result<(), Error> {
    let last = Instant::now() + pace::CRDS;
    loop {
        match missing_crd(client, kinds).await? {
            None => return Ok(()),
            Some(missing) if Instant::now() >= last => return Err(Error::NoCrds(missing)),
            Some(_) => sleep(pace::CRDS / 20).await,
        }
    }
}

async fn missing_crd(client: &Client, kinds: &[&dyn Kind]) -> Result<Option<String>, Error> {
    let known = match client.list_api_group_resources("cloudimages.dev/v1alpha1").await {
        Ok(list) => list.resources,
        Err(kube::Error::Api(status)) if status.code == 404 => vec![],
        Err(error) => return Err(error.into()),
    };
    let mut crds = kinds::crds(kinds).into_iter();
    let missing = crds.find(|crd| !known.iter().any(|resource| resource.kind == crd.spec.names.kind));
    Ok(missing.map(|crd| crd.spec.names.plural + "." + crate::image::GROUP))
}

fn controllers(
    client: &Client,
    options: &Options,
    endpoints: Endpoints,
    telemetry: Telemetry,
    stopping: CancellationToken,
) -> (Arc<Accounts>, impl Future<Output = ()> + use<>) {
    let namespaces: Vec<_> = if options.namespaces.is_empty() {
        vec![None]
    } else {
        options.namespaces.iter().cloned().map(Some).collect()
    };
    let (namespaced, stores): (Vec<_>, Vec<_>) = namespaces
        .iter()
        .map(|namespace| {
            let (store, writer) = reflector::store::<CloudAccount>();
            ((namespace.clone(), Seen::new(store.clone())), (store, writer))
        })
        .unzip();
    let (store, writer) = reflector::store::<ClusterCloudAccount>();
    let cluster = Seen::new(store.clone());
    let accounts = Accounts::new(
        client.clone(),
        VENDORS,
        endpoints,
        telemetry.clone(),
        Arc::default(),
        namespaced.clone(),
        cluster.clone(),
    );
    let shared = Shared {
        client: client.clone(),
        accounts: accounts.clone(),
        telemetry,
        beat: options.beat,
        stopping: stopping.clone(),
    };
    let mut running = vec![];
    for namespace in &namespaces {
        for kind in options.kinds {
            running.push(kind.run(shared.clone(), namespace.clone()));
        }
    }
    for ((namespace, seen), stored) in namespaced.into_iter().zip(stores) {
        let api = namespace.map_or_else(
            || Api::all(client.clone()),
            |namespace| Api::namespaced(client.clone(), &namespace),
        );
        running.push(steward(client, &accounts, api, seen, stored, &stopping).boxed());
    }
    let api = Api::all(client.clone());
    running.push(steward(client, &accounts, api, cluster, (store, writer), &stopping).boxed());
    (accounts, join_all(running).map(drop))
}

fn steward<A: Account>(
    client: &Client,
    accounts: &Arc<Accounts>,
    api: Api<A>,
    accounts_seen: Arc<Seen<A>>,
    (store, writer): (reflector::Store<A>, reflector::store::Writer<A>),
    stopping: &CancellationToken,
) -> impl Future<Output = ()> + Send + use<A> {
    let changed = accounts.clone();
    let known = Mutex::new(HashMap::new());
    let seen = engine::watched(api, writer, move |event| match event {
        // Our own status of it is no news.
        watcher::Event::Apply(account) | watcher::Event::InitApply(account) => {
            let news = (account.uid(), account.meta().generation, account.meta().deletion_timestamp.clone());
            if known.lock().unwrap_or_else(PoisonError::into_inner).insert(account.key(), news.clone())
                != Some(news)
            {
                changed.account_changed(account.key());
            }
        }
        watcher::Event::Delete(account) => {
            known.lock().unwrap_or_else(PoisonError::into_inner).remove(&account.key());
            changed.account_changed(account.key());
        }
        watcher::Event::InitDone => accounts_seen.completed(),
        watcher::Event::Init => {}
    });
    account_controller::run(client.clone(), accounts.clone(), seen, store, stopping.clone().cancelled_owned())
}
