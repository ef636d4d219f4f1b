//! The accounts of the cluster, and from an accountRef to a connection: opened once for each version of account and Secret, held
//! as long as an object uses it, and shared by all objects of the account.

mod failing;
mod holding;
mod needs;
mod opening;
mod sharing;

pub use holding::Usage;

use super::{
    connection::Connection,
    external::{Material, Unusable},
    guarded::Guarded,
    index::Index,
    limits::Published,
    lock,
    metrics::AccountFacts,
    news::News,
    pace,
    secrets::{NamespaceLabels, SecretKey, Secrets},
    shard::Shard,
    status::READY,
    telemetry::Telemetry,
};
use crate::{
    account::{AccountStatus, AccountVendor, AllowedNamespaces, CloudAccount, ClusterCloudAccount},
    image::{AccountKind, AccountRef},
    wire::{clients::Clients, endpoint::Endpoints},
};
use failing::Failure;
use futures::Stream;
use holding::{Edition, HeldAccount};
use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use needs::Needs;
use serde::de::DeserializeOwned;
pub use sharing::{SharedLimits, Used};
use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Debug},
    sync::{Arc, Mutex, Weak, atomic::AtomicU64},
};
use tokio::{sync::SetOnce, time::timeout};

/// Names one account of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// Which of the two kinds.
    pub kind: AccountKind,
    /// `None` for a cluster account.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl AccountKey {
    /// The account that an image in `namespace` means.
    pub fn of(reference: &AccountRef, namespace: &str) -> Self {
        let namespace = (reference.kind == AccountKind::CloudAccount).then(|| namespace.to_owned());
        Self { kind: reference.kind, namespace, name: reference.name.clone() }
    }
}

impl AccountKey {
    /// Short, for the labels of metrics: a cluster account has no namespace.
    pub fn label(&self) -> String {
        self.namespace
            .as_ref()
            .map_or_else(|| self.name.clone(), |namespace| format!("{namespace}/{}", self.name))
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(out, "CloudAccount {namespace}/{}", self.name),
            None => write!(out, "ClusterCloudAccount {}", self.name),
        }
    }
}

/// What the engine must know of the vendors without naming one.
#[derive(Clone, Copy, Debug)]
pub struct Vendors {
    /// Whether a connection could be made.
    pub check: fn(&AccountVendor, Material) -> Result<(), Unusable>,
    /// The keys of a Secret that vendors read.
    pub secret_keys: &'static [&'static str],
    /// The limits that the account's vendor publishes.
    pub published_limits: fn(&AccountVendor) -> &'static [Published],
    /// Where the account's calls go: who calls the same place with the same key shares its limits.
    pub place: fn(&AccountVendor) -> String,
}

/// The two account kinds, seen alike.
pub trait Account:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// The vendor's part of the spec.
    fn vendor(&self) -> &AccountVendor;
    /// The status as stored.
    fn status(&self) -> Option<&AccountStatus>;
    /// Its name in the cluster.
    fn key(&self) -> AccountKey {
        Self::key_of(self.meta())
    }
    /// The name of one that may not be readable.
    fn key_of(metadata: &ObjectMeta) -> AccountKey;
    /// An API for it.
    fn api(&self, client: &Client) -> Api<Self>;
    /// Which namespaces may use it; `None`: its own.
    fn allowed(&self) -> Option<AllowedNamespaces>;
}

impl Account for CloudAccount {
    fn vendor(&self) -> &AccountVendor {
        &self.spec.vendor
    }
    fn status(&self) -> Option<&AccountStatus> {
        self.status.as_ref()
    }
    fn key_of(metadata: &ObjectMeta) -> AccountKey {
        let name = metadata.name.clone().unwrap_or_default();
        AccountKey { kind: AccountKind::CloudAccount, namespace: metadata.namespace.clone(), name }
    }
    fn api(&self, client: &Client) -> Api<Self> {
        namespaced(client, self)
    }
    fn allowed(&self) -> Option<AllowedNamespaces> {
        None
    }
}

impl Account for ClusterCloudAccount {
    fn vendor(&self) -> &AccountVendor {
        &self.spec.vendor
    }
    fn status(&self) -> Option<&AccountStatus> {
        self.status.as_ref()
    }
    fn key_of(metadata: &ObjectMeta) -> AccountKey {
        let name = metadata.name.clone().unwrap_or_default();
        AccountKey { kind: AccountKind::ClusterCloudAccount, namespace: None, name }
    }
    fn api(&self, client: &Client) -> Api<Self> {
        Api::all(client.clone())
    }
    fn allowed(&self) -> Option<AllowedNamespaces> {
        Some(self.spec.allowed_namespaces.clone().unwrap_or_default())
    }
}

fn namespaced<K>(client: &Client, object: &K) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}

/// The accounts of one kind that a watch has seen.
pub struct Seen<A: Account> {
    /// Some may not be readable, which is their own trouble.
    store: Store<Guarded<A>>,
    /// Set once the store holds all that there were. [`Store::wait_until_ready`] wakes only one of several who wait.
    complete: SetOnce<()>,
}

impl<A: Account> Seen<A> {
    /// The store must be fed by a running watch.
    pub fn new(store: Store<Guarded<A>>) -> Arc<Self> {
        Arc::new(Self { store, complete: SetOnce::new() })
    }

    /// The watch has read all accounts that there are.
    pub fn completed(&self) {
        // It reads them again when it is started again.
        let _ = self.complete.set(());
    }

    async fn get(&self, account: &ObjectRef<Guarded<A>>) -> Result<Option<Arc<Guarded<A>>>, Unusable> {
        let not_read =
            |_| Unusable::new("AccountsNotRead", "the accounts could not be read from the API server yet");
        timeout(pace::ACCOUNTS, self.complete.wait()).await.map_err(not_read)?;
        Ok(self.store.get(account))
    }
}

/// The accounts of namespaces, by the namespace that a watch covers, or `None` for all.
pub type NamespacedAccounts = Vec<(Option<String>, Arc<Seen<CloudAccount>>)>;

/// How many locks there are for putting finalizers on accounts.
const HOLDING: usize = 64;

/// Every account of the cluster, and the connections to them.
pub struct Accounts {
    client: Client,
    vendors: Vendors,
    endpoints: Arc<Endpoints>,
    telemetry: Telemetry,
    namespaced: Vec<(Option<String>, Arc<Seen<CloudAccount>>)>,
    cluster: Arc<Seen<ClusterCloudAccount>>,
    secrets: Secrets,
    needs: Mutex<Needs>,
    labels: NamespaceLabels,
    connections: Mutex<HashMap<AccountKey, Arc<Connection>>>,
    /// All shards of a process have them in common.
    limits: Arc<Mutex<SharedLimits>>,
    shard: Shard,
    /// Which namespaces may use which account, as was seen last.
    admitted: Mutex<HashMap<AccountKey, HashSet<String>>>,
    /// The accounts that have our finalizer, though the watch may not have told so yet.
    held: Mutex<HashMap<AccountKey, HeldAccount>>,
    /// Which of its specs an account has, as the API server said that was asked: a watch may tell of it much later.
    newest: Mutex<HashMap<AccountKey, Edition>>,
    /// Those that the API server does not give now, or does not let be held.
    failing: Mutex<HashMap<AccountKey, Failure>>,
    /// One for each account, or for a few that do not meet often.
    holding: [tokio::sync::Mutex<()>; HOLDING],
    clients: Clients,
    index: Arc<Index>,
    epochs: AtomicU64,
    changes: News<AccountKey>,
    usage: Arc<News<AccountKey>>,
}

impl Accounts {
    /// Those of `namespaced` go by the namespace that they cover, or `None`
    /// for all.
    pub fn new(
        client: Client,
        vendors: Vendors,
        endpoints: Endpoints,
        telemetry: Telemetry,
        index: Arc<Index>,
        (namespaced, cluster): (NamespacedAccounts, Arc<Seen<ClusterCloudAccount>>),
        (shard, limits): (Shard, Arc<Mutex<SharedLimits>>),
    ) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let this = this.clone();
            let everywhere = namespaced.iter().any(|(of, _)| of.is_none());
            let secrets = Secrets::new(client.clone(), everywhere, vendors.secret_keys, move |key| {
                if let Some(accounts) = this.upgrade() {
                    accounts.secret_changed(key);
                }
            });
            Self {
                client,
                vendors,
                endpoints: Arc::new(endpoints),
                telemetry,
                namespaced,
                cluster,
                secrets,
                needs: Mutex::default(),
                labels: NamespaceLabels::default(),
                connections: Mutex::default(),
                limits: limits.clone(),
                shard,
                admitted: Mutex::default(),
                held: Mutex::default(),
                newest: Mutex::default(),
                failing: Mutex::default(),
                holding: std::array::from_fn(|_| tokio::sync::Mutex::default()),
                clients: Clients::new(pace::REQUEST_TIMEOUT, pace::CONNECT_TIMEOUT),
                index,
                epochs: AtomicU64::new(1),
                changes: News::default(),
                usage: Arc::default(),
            }
        })
    }

    /// The vendor's part of an account, as it is now.
    pub fn vendor(&self, key: &AccountKey) -> Option<AccountVendor> {
        if let Some(namespace) = &key.namespace {
            let account = self.seen_in(namespace)?.store.get(&ObjectRef::new(&key.name).within(namespace))?;
            return Some(account.0.as_ref().ok()?.vendor().clone());
        }
        let account = self.cluster.store.get(&ObjectRef::new(&key.name))?;
        Some(account.0.as_ref().ok()?.vendor().clone())
    }

    /// The accounts of a namespace; `None`: the operator does not watch it.
    fn seen_in(&self, namespace: &str) -> Option<&Seen<CloudAccount>> {
        let covers = |of: &Option<String>| of.as_deref().is_none_or(|of| of == namespace);
        self.namespaced.iter().find(|(of, _)| covers(of)).map(|(_, seen)| &**seen)
    }

    /// Whether the account is this operator's to use and to look after. One of the cluster belongs to who watches its
    /// Secret's namespace: two operators for different namespaces would each count its users alone, and let it go while
    /// the other still needs it.
    pub fn serve<A: Account>(&self, account: &A) -> Result<(), Unusable> {
        match secret_key(account) {
            _ if !self.shard.holds(&account.key()) => {
                Err(Unusable::new("AccountNotWatched", format!("{} belongs to another shard", account.key())))
            }
            Some((namespace, _)) if self.seen_in(&namespace).is_none() => Err(Unusable::new(
                "AccountNotWatched",
                format!(
                    "{} has its Secret in namespace {namespace}, which this operator does not watch; start it with --namespace {namespace} too, or use another account",
                    account.key()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Shows what happens.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// The image objects of the cluster.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Accounts whose spec or Secret changed.
    pub fn changes(&self) -> impl Stream<Item = AccountKey> + Send + use<> {
        self.changes.listen()
    }

    /// Accounts whose number of users may have changed.
    pub fn usage(&self) -> impl Stream<Item = AccountKey> + Send + use<> {
        self.usage.listen()
    }

    /// The watch has seen an account, or another version of one; `secret`: the Secret that it names, where it can be read.
    pub fn account_seen(&self, account: AccountKey, secret: Option<SecretKey>) {
        if !self.shard.holds(&account) {
            return;
        }
        self.forget_secrets(lock(&self.needs).set(account.clone(), secret));
        // What was said of another spec does not keep this one waiting.
        lock(&self.failing).remove(&account);
        self.changes.tell(&account);
    }

    /// An account is gone.
    pub fn account_gone(&self, account: AccountKey) {
        self.forget_secrets(lock(&self.needs).remove(&account));
        lock(&self.newest).remove(&account);
        lock(&self.failing).remove(&account);
        self.changes.tell(&account);
        self.forget_unused(&account);
    }

    /// A watch has seen an image come or go.
    pub fn usage_changed(&self, account: AccountKey) {
        self.forget_unused(&account);
        self.usage.tell(&account);
    }

    /// Images may have gone unseen, of whatever account.
    pub fn all_usage_changed(&self) {
        let known: HashSet<_> = lock(&self.needs).accounts.keys().cloned().collect();
        let connected: Vec<_> = lock(&self.connections).keys().cloned().collect();
        known.into_iter().chain(connected).for_each(|account| self.usage_changed(account));
    }

    /// As long as there are images, the credentials of an account that is gone are needed to delete them.
    fn forget_unused(&self, account: &AccountKey) {
        let is_there = lock(&self.needs).accounts.contains_key(account);
        if !is_there && self.index.is_filled() && self.index.users(account, &|_| true).0 == 0 {
            self.forget(account);
        }
    }

    fn secret_changed(&self, secret: &SecretKey) {
        let accounts: Vec<_> = lock(&self.needs).secrets.get(secret).into_iter().flatten().cloned().collect();
        for account in accounts {
            self.changes.tell(&account);
            self.usage.tell(&account);
        }
    }

    fn forget_secrets(&self, unused: Option<SecretKey>) {
        if let Some(secret) = unused {
            self.secrets.forget(&secret);
        }
    }

    /// The namespaces whose objects are looked after; `None`: all.
    pub fn watched(&self) -> Vec<Option<String>> {
        self.namespaced.iter().map(|(namespace, _)| namespace.clone()).collect()
    }

    /// What is counted of all accounts that can be read.
    pub fn facts(&self) -> Vec<AccountFacts> {
        fn facts<A: Account>(
            account: &Guarded<A>,
            limits: &SharedLimits,
            shard: Shard,
        ) -> Option<AccountFacts> {
            let account = account.0.as_ref().ok()?;
            let key = account.key();
            if !shard.holds(&key) {
                return None;
            }
            let credentials = account.status().and_then(|status| status.credentials.as_ref());
            let conditions = account.status().map(|status| &*status.conditions).unwrap_or_default();
            let unready = |condition: &&Condition| condition.type_ == READY && condition.status != "True";
            Some(AccountFacts {
                unusable: conditions.iter().find(unready).map(|condition| condition.reason.clone()),
                created: account.meta().creation_timestamp.as_ref().map(|time| time.0),
                credentials_since: credentials.and_then(|it| it.since.as_ref()).map(|time| time.0),
                vendor: account.vendor().name(),
                budgets: limits.get(&key).map(|limits| limits.budgets()).unwrap_or_default(),
                key,
            })
        }
        let limits = lock(&self.limits);
        let namespaced = self.namespaced.iter().flat_map(|(_, seen)| seen.store.state());
        let namespaced = namespaced.filter_map(|account| facts(&account, &limits, self.shard));
        let cluster = self.cluster.store.state();
        namespaced.chain(cluster.iter().filter_map(|account| facts(account, &limits, self.shard))).collect()
    }
}

/// Where an account's Secret is: a namespaced account can only name one beside it.
pub fn secret_key<A: Account>(account: &A) -> Option<SecretKey> {
    let reference = account.vendor().secret_ref()?;
    let namespace = account.namespace().or_else(|| reference.namespace.clone())?;
    Some((namespace, reference.name.clone()))
}
