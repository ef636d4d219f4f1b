//! Puts the operator together and runs it until it is told to stop.

use crate::{
    account::{CloudAccount, ClusterCloudAccount},
    api_server::{self, Connections, NoWay, Way},
    distribution,
    engine::{
        self, Shared, account_controller,
        accounts::{Account, Accounts, Seen, SharedLimits, secret_key},
        guarded::{Guarded, Unread},
        health::{Health, Reading},
        index::Index,
        lease,
        metrics::Metrics,
        pace,
        shard::Shard,
        telemetry::{Events, Telemetry},
    },
    kinds::{self, KINDS, Kind},
    serve::{self, Address},
    served::{self, Unfit},
    vendors::VENDORS,
    wire::{
        self, Http,
        endpoint::{Denied, Endpoints},
        proxy::{self, Proxies},
    },
};
use futures::{
    FutureExt,
    future::{FusedFuture, join_all},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::ApiResource,
    runtime::{reflector, watcher},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// What `cloud-image-operator run` takes. Of what is given twice and can be one thing only, the last counts, so that the
/// chart's `extraArgs` can say otherwise than the chart.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Watch only this namespace, and use only those ClusterCloudAccounts whose Secret is in it; may be given several
    /// times. Without it: all namespaces.
    #[arg(long = "namespace", value_name = "NAMESPACE", value_parser = namespace)]
    pub namespaces: Vec<String>,

    /// Where /metrics, /healthz and /readyz are served: everywhere over IPv6 and IPv4, like [::]:8080 or :8080, or at one
    /// address or name only.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080", overrides_with = "metrics_addr")]
    pub metrics_addr: Address,

    /// Work only while holding the Lease `cloud-image-operator`, for more than one replica.
    #[arg(long, overrides_with = "leader_elect")]
    pub leader_elect: bool,

    /// Divide the work into so many shards, each with a Lease of its own, for several replicas that each hold some: an object
    /// belongs to the shard of its account's namespace, or of its ClusterCloudAccount. All replicas must be given the same
    /// number: those with another one wait until none works that has the former. More than 1 means --leader-elect.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), overrides_with = "shards")]
    pub shards: u32,

    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, overrides_with = "log_format")]
    pub log_format: LogFormat,

    /// Which Kubernetes Events are written.
    #[arg(long, value_enum, default_value_t = Events::All, overrides_with = "events")]
    pub events: Events,

    /// How many accounts have a label value of their own in metrics, those that are there for longest; all others count
    /// as "other".
    #[arg(long, value_name = "NUMBER", default_value_t = 100, overrides_with = "metrics_accounts")]
    pub metrics_accounts: usize,

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

    /// Which kinds' references take which kinds' objects besides those that fit. Not for users: tests have some.
    #[arg(skip = NO_MORE)]
    pub fitting: &'static [(&'static str, &'static str)],
}

const NO_MORE: &[(&str, &str)] = &[];

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
    /// No way to the API server is known.
    #[error(transparent)]
    NoWay(#[from] NoWay),
    /// The API server cannot be used.
    #[error("the API server cannot be used{0}: {why}", why = wire::chain(.1))]
    Kube(Way, kube::Error),
    /// The environment names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] proxy::Unusable),
    /// The CRDs are missing.
    #[error("{0}")]
    NoCrds(Unfit),
    /// The metrics address cannot be used.
    #[error("--metrics-addr {0} cannot be used: {1}")]
    Metrics(Address, std::io::Error),
    /// A value of `--allow-endpoint` cannot be used.
    #[error("--allow-endpoint: {0}")]
    Endpoint(#[from] Denied),
    /// A part of the operator panicked. As a program it ends at once; within another one this says so.
    #[error("{0} ended, which is a bug: please report it with the log")]
    Panicked(&'static str),
}

/// An empty name would mean all namespaces to the API server.
fn namespace(name: &str) -> Result<String, String> {
    let fits = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
    if name.is_empty() {
        Err("an empty name is no namespace; name one, or leave --namespace out to watch all of them".into())
    } else if name.len() > 63 || !name.chars().all(fits) || name.starts_with('-') || name.ends_with('-') {
        Err("no namespace can have that name: up to 63 of a-z, 0-9 and - inside".into())
    } else {
        Ok(name.to_owned())
    }
}

/// Runs with the kubeconfig or in-cluster configuration that is found, until `stop` is cancelled.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), Error> {
    Proxies::check(|name| std::env::var(name).ok())?;
    let metrics = Arc::new(Metrics::new(options.metrics_accounts));
    let (client, way) = api_server::found(metrics.clone()).await?;
    run_counted((client, way), metrics, options, stop).await
}

/// Runs against the API server of `client` until `stop` is cancelled: then takes no new work, finishes or has written
/// down what is under way, and returns within ten seconds.
pub async fn run_with(client: Client, options: Options, stop: CancellationToken) -> Result<(), Error> {
    let metrics = Arc::new(Metrics::new(options.metrics_accounts));
    run_counted((client, Way::default()), metrics, options, stop).await
}

async fn run_counted(
    (client, way): (Client, Way),
    metrics: Arc<Metrics>,
    options: Options,
    stop: CancellationToken,
) -> Result<(), Error> {
    let endpoints = Endpoints::new(&options.allow_endpoints)?;
    metrics.divided(options.shards);
    let connections = Connections::default();
    let telemetry = Telemetry::new(connections.share(&client), options.events, metrics.clone());
    let health = Health::default();
    health.lack(START, NOT_REACHED);
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    let mut server = tokio::spawn({
        let (address, telemetry) = (options.metrics_addr.clone(), telemetry.clone());
        let (health, ended) = (health.clone(), ended.clone());
        async move {
            let served = serve::serve(&address, telemetry, health, ended).await;
            served.map_err(|error| Error::Metrics(address, error))
        }
    });
    let limits = Arc::<Mutex<SharedLimits>>::default();
    let parts = Parts {
        client,
        connections,
        options,
        endpoints,
        telemetry,
        health,
        replica: Arc::new(lease::Replica::new(limits.clone())),
        limits,
    };
    let work = async {
        let Parts { client, options, health, .. } = &parts;
        // Nothing is under way yet, so nothing has to be waited for.
        let unfit = tokio::select! {
            checked = check_api_server(client, way, options.kinds, health) => checked?,
            () = stop.cancelled() => return Ok(()),
        };
        let crds = served::watch(client.clone(), options.kinds, health.clone(), unfit);
        let crds = tokio::spawn(ended.clone().run_until_cancelled_owned(crds));
        // Each shard hears of it.
        let broken = CancellationToken::new();
        let shards =
            Shard::all(options.shards).into_iter().map(|shard| parts.look_after(shard, &stop, &broken));
        let mut shards = std::pin::pin!(join_all(shards).fuse());
        let outcomes = tokio::select! {
            outcomes = &mut shards => outcomes,
            _ = crds => {
                broken.cancel();
                shards.await
            }
        };
        outcomes.into_iter().collect()
    };
    let outcome = tokio::select! {
        // It serves until all else has ended.
        served = &mut server => served.unwrap_or(Ok(())).and(Err(Error::Panicked("what serves --metrics-addr"))),
        done = work => done,
    };
    tracing::info!("stopped");
    outcome
}

/// What all shards of a process have in common.
struct Parts {
    client: Client,
    connections: Connections,
    options: Options,
    endpoints: Endpoints,
    telemetry: Telemetry,
    health: Health,
    replica: Arc<lease::Replica>,
    limits: Arc<Mutex<SharedLimits>>,
}

/// Why the work on a shard ended.
enum End {
    /// The operator is told to stop, or a part of it has ended.
    Over(Result<(), Error>),
    /// Another replica has the shard, or asks for it.
    GivenUp,
}

impl Parts {
    /// Looks after a shard whenever this replica holds its lease, until `stop`.
    async fn look_after(
        &self,
        shard: Shard,
        stop: &CancellationToken,
        broken: &CancellationToken,
    ) -> Result<(), Error> {
        loop {
            let lead = if self.options.leader_elect || shard.is_part() {
                let lead = lease::acquire(&self.client, &self.health, stop, shard, &self.replica);
                self.health.have(START);
                let Some(lead) = lead.await else { return Ok(()) };
                Some(lead)
            } else {
                None
            };
            match self.work(shard, lead, stop, broken).await {
                End::Over(outcome) => return outcome,
                // An API server that was away for longer than a lease lasts is no reason to start anew, and to fail at that until
                // it is back.
                End::GivenUp => {}
            }
        }
    }

    /// Works on the objects of a shard until `stop`, or until another replica does.
    async fn work(
        &self,
        shard: Shard,
        lead: Option<lease::Lead>,
        stop: &CancellationToken,
        broken: &CancellationToken,
    ) -> End {
        let leading = self.telemetry.metrics().leads();
        let stopping = stop.child_token();
        // Who does not lead any more writes nothing.
        let client = lead.as_ref().map_or_else(|| self.client.clone(), |lead| lead.guard(&self.client));
        // Whether it leads is asked when there is a connection, not before.
        let client = self.connections.share(&client);
        let health = self.health.labelled(&shard.label());
        let (accounts, controllers) = controllers(&client, self, &health, shard, stopping.clone());
        // What has to be read is known now.
        health.have(START);
        // Told to stop with nothing under way, they may have ended before anybody waits for their end.
        let mut controllers = std::pin::pin!(controllers.fuse());
        let given_up = async {
            let Some(lead) = &lead else { return std::future::pending().await };
            tokio::select! {
                () = lead.lost() => tracing::warn!(
                    lease = shard.lease(),
                    "the lease was lost, so another replica may lead; work is stopped here, and this replica stands by"
                ),
                () = lead.asked() => tracing::info!(
                    lease = shard.lease(),
                    "another replica asks for the lease and gets it; work is stopped here, and this replica stands by"
                ),
            }
        };
        let end = tokio::select! {
            () = &mut controllers => End::Over(Ok(())),
            () = stop.cancelled() => End::Over(Ok(())),
            () = given_up => End::GivenUp,
            () = broken.cancelled() => End::Over(Err(Error::Panicked("what watches the CRDs"))),
        };
        if matches!(end, End::Over(_)) {
            health.lack("stop", "told to stop: no new work is taken");
        }
        drop(leading);
        stopping.cancel();
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
        if matches!(end, End::GivenUp) {
            health.stand_down();
        }
        end
    }
}

/// What is not known before the API server has answered.
const START: &str = "start";
const NOT_REACHED: &str = "the API server has not been reached yet";

/// What keeps the operator from working with the CRDs that there are, if that can be told; none at all is an error.
async fn check_api_server(
    client: &Client,
    way: Way,
    kinds: &[&dyn Kind],
    health: &Health,
) -> Result<Option<Unfit>, Error> {
    let mut was_away = false;
    let waits = |why| {
        was_away = true;
        tracing::warn!("waiting for the API server{way}: {why}");
        health.lack(START, format!("{NOT_REACHED}{way}: {why}"));
    };
    let version = match api_server::version(client, waits).await {
        Ok(version) => version,
        Err(error) => return Err(Error::Kube(way, error)),
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), api_server = version.git_version, "starting");
    if Http::new(pace::REQUEST_TIMEOUT, pace::CONNECT_TIMEOUT, None).is_ok_and(|http| !http.trusts()) {
        tracing::warn!("{}", wire::NO_AUTHORITIES);
    }
    let patience = if was_away { pace::CRDS_BACK } else { pace::CRDS };
    match served::first_look(client, kinds, health, patience).await {
        Some(missing @ Unfit::Missing(_)) => Err(Error::NoCrds(missing)),
        unfit => Ok(unfit),
    }
}

fn controllers(
    client: &Client,
    Parts { options, endpoints, telemetry, limits, .. }: &Parts,
    health: &Health,
    shard: Shard,
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
            let (store, writer) = reflector::store::<Guarded<CloudAccount>>();
            ((namespace.clone(), Seen::new(store.clone())), (store, writer))
        })
        .unzip();
    let (store, writer) = reflector::store::<Guarded<ClusterCloudAccount>>();
    let cluster = Seen::new(store.clone());
    let accounts = Accounts::new(
        client.clone(),
        VENDORS,
        endpoints.clone(),
        telemetry.clone(),
        Arc::new(Index::new(kinds::fitting(options.kinds, options.fitting))),
        (namespaced.clone(), cluster.clone()),
        (shard, limits.clone()),
    );
    telemetry.metrics().observe(Arc::downgrade(&accounts));
    let shared = Shared {
        client: client.clone(),
        accounts: accounts.clone(),
        telemetry: telemetry.clone(),
        health: health.clone(),
        beat: options.beat,
        stopping: stopping.clone(),
        shard,
    };
    let mut running = vec![];
    for namespace in &namespaces {
        for kind in options.kinds {
            running.push(kind.run(shared.clone(), namespace.clone()));
        }
        running.push(distribution::controller::run(shared.clone(), namespace.clone()).boxed());
    }
    for ((namespace, seen), stored) in namespaced.into_iter().zip(stores) {
        let reading = health.reading(engine::name_of(&CloudAccount::plural(&()), namespace.as_deref()));
        let resource = ApiResource::erase::<CloudAccount>(&());
        let api = Unread::of(&resource, client.clone(), namespace.as_deref());
        running.push(steward(client, &accounts, api, (seen, reading), stored, &stopping).boxed());
    }
    let api = Unread::of(&ApiResource::erase::<ClusterCloudAccount>(&()), client.clone(), None);
    let reading = health.reading(engine::name_of(&ClusterCloudAccount::plural(&()), None));
    running.push(steward(client, &accounts, api, (cluster, reading), (store, writer), &stopping).boxed());
    // Each in a task of its own, since one that wakes looks at all that it has under way.
    let running = running.into_iter().map(|controller| AbortOnDropHandle::new(tokio::spawn(controller)));
    let ended = join_all(running).map(|ended| {
        if let Some(panic) = ended.into_iter().find_map(|ended| ended.err()?.try_into_panic().ok()) {
            std::panic::resume_unwind(panic);
        }
    });
    (accounts, ended)
}

fn steward<A: Account>(
    client: &Client,
    accounts: &Arc<Accounts>,
    api: Api<Unread>,
    (accounts_seen, reading): (Arc<Seen<A>>, Reading),
    (store, writer): (reflector::Store<Guarded<A>>, reflector::store::Writer<Guarded<A>>),
    stopping: &CancellationToken,
) -> impl Future<Output = ()> + Send + use<A> {
    let changed = accounts.clone();
    let known = Mutex::new(HashMap::new());
    let state = store.clone();
    let seen = engine::watched(api, writer, reading.clone(), move |event| match event {
        // Our own status of it is no news.
        watcher::Event::Apply(account) | watcher::Event::InitApply(account) => {
            let news = (account.uid(), account.meta().generation, account.meta().deletion_timestamp.clone());
            let key = A::key_of(account.meta());
            if known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), news.clone())
                != Some(news)
            {
                changed.account_seen(key, account.0.as_ref().ok().and_then(secret_key));
            }
        }
        watcher::Event::Delete(account) => {
            let key = A::key_of(account.meta());
            known.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            changed.account_gone(key);
        }
        watcher::Event::InitDone => {
            let there: HashSet<_> = state.state().iter().map(|account| A::key_of(account.meta())).collect();
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let gone: Vec<_> = known.extract_if(|key, _| !there.contains(key)).map(|(key, _)| key).collect();
            for key in gone {
                changed.account_gone(key);
            }
            accounts_seen.completed();
        }
        watcher::Event::Init => {}
    });
    account_controller::run(
        client.clone(),
        accounts.clone(),
        seen,
        store,
        reading,
        stopping.clone().cancelled_owned(),
    )
}
