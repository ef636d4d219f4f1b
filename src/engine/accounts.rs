//! From an accountRef to a connection: which account, may this namespace use it, which credentials; made once for each
//! version of account and Secret, and shared by all objects of the account.

use super::{
    connection::Connection,
    external::{Material, Unusable},
    index::Index,
    limits::Limits,
    metrics::AccountFacts,
    news::News,
    pace,
    secrets::{NamespaceLabels, SecretKey, Secrets},
    standing::Credit,
    status::READY,
    telemetry::Telemetry,
};
use crate::{
    account::{AccountStatus, AccountVendor, AllowedNamespaces, CloudAccount, ClusterCloudAccount},
    image::{AccountKind, AccountRef, FIELD_MANAGER, FINALIZER},
    panics,
    wire::{clients::Clients, endpoint::Endpoints},
};
use futures::{Stream, StreamExt, future::join_all, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{DeserializeGuard, Selector, SelectorExt, error_boundary::InvalidObject},
    runtime::reflector::{ObjectRef, Store},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Debug},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::SetOnce,
    time::{Instant, timeout},
};

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
    /// The limits that the account's vendor publishes: action, requests, period.
    pub published_limits: fn(&AccountVendor) -> &'static [(&'static str, u32, Duration)],
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
    store: Store<DeserializeGuard<A>>,
    /// Set once the store holds all that there were. [`Store::wait_until_ready`] wakes only one of several who wait.
    complete: SetOnce<()>,
}

impl<A: Account> Seen<A> {
    /// The store must be fed by a running watch.
    pub fn new(store: Store<DeserializeGuard<A>>) -> Arc<Self> {
        Arc::new(Self { store, complete: SetOnce::new() })
    }

    /// The watch has read all accounts that there are.
    pub fn completed(&self) {
        // It reads them again when it is started again.
        let _ = self.complete.set(());
    }

    async fn get(
        &self,
        account: &ObjectRef<DeserializeGuard<A>>,
    ) -> Result<Option<Arc<DeserializeGuard<A>>>, Unusable> {
        let not_read =
            |_| Unusable::new("AccountsNotRead", "the accounts could not be read from the API server yet");
        timeout(pace::ACCOUNTS, self.complete.wait()).await.map_err(not_read)?;
        Ok(self.store.get(account))
    }
}

/// Who uses an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// How many objects.
    pub objects: usize,
    /// In how many namespaces.
    pub namespaces: usize,
    /// One of them, where it may be named.
    pub example: Option<String>,
}

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { objects, namespaces, example } = self;
        match example {
            Some(example) => write!(out, "{objects} objects still use this account, {example} among them"),
            None => write!(out, "{objects} objects in {namespaces} namespaces still use this account"),
        }
    }
}

/// How many locks there are for putting finalizers on accounts.
const HOLDING: usize = 64;
/// How many namespaces' labels are looked at at once.
const LOOKS: usize = 16;

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
    limits: Mutex<HashMap<AccountKey, (AccountVendor, Arc<Limits>)>>,
    /// Which namespaces may use which account, as was seen last.
    admitted: Mutex<HashMap<AccountKey, HashSet<String>>>,
    /// The accounts that have our finalizer, though the watch may not have told so yet.
    held: Mutex<HashMap<AccountKey, HeldAccount>>,
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
        namespaced: Vec<(Option<String>, Arc<Seen<CloudAccount>>)>,
        cluster: Arc<Seen<ClusterCloudAccount>>,
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
                limits: Mutex::default(),
                admitted: Mutex::default(),
                held: Mutex::default(),
                holding: std::array::from_fn(|_| tokio::sync::Mutex::default()),
                clients: Clients::new(pace::REQUEST_TIMEOUT, pace::CONNECT_TIMEOUT),
                index,
                epochs: AtomicU64::new(1),
                changes: News::default(),
                usage: Arc::default(),
            }
        })
    }

    /// The connection for an image in `namespace`, if that may use the account. With `ending`, for an image that is being
    /// deleted: then an account that is going, or a Secret that is gone already, does not matter as long as the operator knows
    /// the credentials.
    pub async fn connect(
        &self,
        reference: &AccountRef,
        namespace: &str,
        ending: bool,
    ) -> Result<Arc<Connection>, Unusable> {
        let key = AccountKey::of(reference, namespace);
        match reference.kind {
            AccountKind::CloudAccount => {
                let Some(seen) = self.seen_in(namespace) else {
                    return Err(Unusable::new(
                        "AccountNotFound",
                        format!("the operator does not watch namespace {namespace}"),
                    ));
                };
                self.connect_to(seen, &key, namespace, ending).await
            }
            AccountKind::ClusterCloudAccount => self.connect_to(&self.cluster, &key, namespace, ending).await,
        }
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

    async fn connect_to<A: Account>(
        &self,
        seen: &Seen<A>,
        key: &AccountKey,
        namespace: &str,
        ending: bool,
    ) -> Result<Arc<Connection>, Unusable> {
        let mut object = ObjectRef::<DeserializeGuard<A>>::new(&key.name);
        object.namespace.clone_from(&key.namespace);
        // Whoever may not use an account may not use what is known of it either.
        let known = || {
            let admitted = lock(&self.admitted).get(key).is_some_and(|admitted| admitted.contains(namespace));
            lock(&self.connections).get(key).filter(|_| admitted).cloned()
        };
        let Some(account) = seen.get(&object).await? else {
            if let Some(connection) = known().filter(|_| ending) {
                return Ok(connection);
            }
            return Err(self.not_found(key, namespace).await);
        };
        let account = match &account.0 {
            Ok(account) => account,
            Err(invalid) => return known().filter(|_| ending).ok_or_else(|| unreadable(key, invalid)),
        };
        if let Err(unusable) = self.serve(account) {
            return known().filter(|_| ending).ok_or(unusable);
        }
        if let Err(unusable) = self.admit(account, namespace).await {
            if let Some(admitted) = lock(&self.admitted).get_mut(key) {
                admitted.remove(namespace);
            }
            return Err(unusable);
        }
        lock(&self.admitted).entry(key.clone()).or_default().insert(namespace.to_owned());
        if !ending {
            if account.meta().deletion_timestamp.is_some() {
                return Err(Unusable::new(
                    "AccountDeleting",
                    format!(
                        "{key} is being deleted, and goes when what was made with it is gone; this object goes on when it is made anew"
                    ),
                ));
            }
            self.hold(account).await?;
        }
        match self.open(account).await {
            Err(unusable) if ending => known().ok_or(unusable),
            done => done,
        }
    }

    /// What to do about an account that does not exist. An account of the cluster is named only to those who may use it.
    async fn not_found(&self, key: &AccountKey, namespace: &str) -> Unusable {
        let mut english = format!("{key} does not exist; create it, or correct spec.accountRef");
        let mut chinese = format!("{key} 不存在，请创建，或修改 spec.accountRef");
        let shared = self.cluster.get(&ObjectRef::new(&key.name)).await.ok().flatten();
        if let (AccountKind::CloudAccount, Some(shared)) = (key.kind, shared)
            && let Ok(shared) = &shared.0
            && self.serve(shared).is_ok()
            && self.admit(shared, namespace).await.is_ok()
        {
            let kind = "spec.accountRef.kind: ClusterCloudAccount";
            english += &format!(
                " (there is a ClusterCloudAccount {0} that this namespace may use: set {kind})",
                key.name
            );
            chinese += &format!("（本命名空间可以使用 ClusterCloudAccount {0}，请设置 {kind}）", key.name);
        }
        Unusable::new("AccountNotFound", format!("{english} / {chinese}"))
    }

    /// Whether images of `namespace` may use the account.
    async fn admit<A: Account>(&self, account: &A, namespace: &str) -> Result<(), Unusable> {
        let refused = |why: String| Unusable::new("NamespaceNotAllowed", why);
        if self.admits(account, namespace).await.map_err(refused)? {
            return Ok(());
        }
        Err(refused(format!(
            "{} does not allow namespace {namespace}; add it to its allowedNamespaces, or use another account",
            account.key()
        )))
    }

    /// Whether images of `namespace` may use the account, or why that cannot be told.
    async fn admits<A: Account>(&self, account: &A, namespace: &str) -> Result<bool, String> {
        let Some(allowed) = account.allowed() else { return Ok(true) };
        if allowed.names.iter().any(|name| name == namespace) {
            return Ok(true);
        }
        let Some(selector) = allowed.selector else { return Ok(false) };
        let selector = Selector::try_from(selector).map_err(|error| {
            format!("{}: allowedNamespaces.selector cannot be used: {error}", account.key())
        })?;
        if selector.selects_all() {
            return Ok(true);
        }
        let labels = self
            .labels
            .get(&self.client, namespace)
            .await
            .map_err(|error| format!("the labels of namespace {namespace} cannot be read: {error}"))?;
        Ok(selector.matches(&labels))
    }

    /// Who uses the account. Objects of namespaces that it does not allow count for nothing; those of which that cannot be told
    /// count.
    pub async fn users<A: Account>(&self, account: &A) -> Usage {
        let key = account.key();
        let namespaces = stream::iter(self.index.namespaces(&key)).map(|namespace| async move {
            let counts = self.admits(account, &namespace).await.unwrap_or(true);
            (counts, namespace)
        });
        let counted: HashSet<_> = namespaces
            .buffer_unordered(LOOKS)
            .filter_map(|(counts, namespace)| std::future::ready(counts.then_some(namespace)))
            .collect()
            .await;
        let (objects, example) = self.index.users(&key, &|namespace| counted.contains(namespace));
        // Who may read an account of the cluster need not see what others have in their namespaces.
        let example = example.filter(|_| key.namespace.is_some());
        Usage { objects, namespaces: counted.len(), example }
    }

    /// An account that an image uses must not vanish before it.
    pub async fn hold<A: Account>(&self, account: &A) -> Result<(), Unusable> {
        if account.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(());
        }
        // One at a time: the first puts the finalizer on, and the others are told.
        let key = account.key();
        let place = usize::try_from(pace::seed(&key.to_string()) % HOLDING as u64).unwrap_or_default();
        let _one = self.holding[place].lock().await;
        if lock(&self.held).get(&key).is_some_and(|held| held.is_newer_than(account)) {
            return Ok(());
        }
        let failed = |error: kube::Error| {
            Unusable::new("AccountNotHeld", format!("{key} cannot be kept from vanishing: {error}"))
        };
        let told = |newest: &ObjectMeta| {
            if let Some(held) = HeldAccount::of(newest) {
                lock(&self.held).insert(key.clone(), held);
            }
        };
        let api = account.api(&self.client);
        let mut tries = 3;
        loop {
            let newest = api.get_metadata(&account.name_any()).await.map_err(failed)?;
            if newest.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
                told(newest.meta());
                return Ok(());
            }
            let finalizers = [newest.finalizers(), &[FINALIZER.into()]].concat();
            match self.set_finalizers(account, newest.resource_version(), finalizers).await {
                // Its own status was written in between, most likely: that is no news for an image's user.
                Err(kube::Error::Api(status)) if status.code == 409 && tries > 1 => tries -= 1,
                done => return done.map(|newest| told(newest.meta())).map_err(failed),
            }
        }
    }

    async fn set_finalizers<A: Account>(
        &self,
        account: &A,
        version: Option<String>,
        finalizers: Vec<String>,
    ) -> Result<A, kube::Error> {
        let patch = json!({ "metadata": { "uid": account.uid(), "resourceVersion": version, "finalizers": finalizers } });
        account.api(&self.client).patch(&account.name_any(), &params(), &Patch::Merge(patch)).await
    }

    /// Lets an account go that nobody uses any more.
    pub async fn release<A: Account>(&self, account: &A) -> Result<(), kube::Error> {
        if account.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            let others =
                account.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
            lock(&self.held).remove(&account.key());
            self.set_finalizers(account, account.resource_version(), others).await?;
        }
        if let Some(connection) = self.disconnect(&account.key()) {
            connection.close().await;
        }
        Ok(())
    }

    /// Nobody needs the account's credentials any more.
    pub fn forget(&self, account: &AccountKey) {
        if let Some(connection) = self.disconnect(account) {
            tokio::spawn(panics::alone(async move { connection.close().await }));
        }
    }

    fn disconnect(&self, account: &AccountKey) -> Option<Arc<Connection>> {
        lock(&self.admitted).remove(account);
        lock(&self.held).remove(account);
        lock(&self.limits).remove(account);
        lock(&self.connections).remove(account)
    }

    /// The connection to an account with the credentials that it has now.
    pub async fn open<A: Account>(&self, account: &A) -> Result<Arc<Connection>, Unusable> {
        let key = account.key();
        let vendor = account.vendor();
        let Some(secret_key) = secret_key(account) else {
            return Err(Unusable::new(
                "InvalidAccount",
                format!("{key} names no vendor or no Secret; correct its spec"),
            ));
        };
        let secret = self
            .secrets
            .get(&secret_key)
            .await
            .map_err(|unusable| Unusable::new(unusable.reason, format!("{key}: {}", unusable.message)))?;
        let fingerprint = (account.uid(), account.meta().generation, secret_key, secret.credentials.clone());
        if let Some(connection) =
            lock(&self.connections).get(&key).filter(|connection| connection.fingerprint == fingerprint)
        {
            return Ok(connection.clone());
        }
        let http = self
            .clients
            .get(vendor.ca_bundle())
            .map_err(|error| Unusable::new("InvalidAccount", format!("{key}: {error}")))?;
        let material = Material {
            vendor: vendor.name(),
            secret: secret.credentials.clone(),
            http,
            limits: self.limits(&key, vendor),
            credit: self.credit(&key),
            telemetry: self.telemetry.clone(),
            endpoints: self.endpoints.clone(),
        };
        (self.vendors.check)(vendor, material.clone())
            .map_err(|unusable| Unusable::new(unusable.reason, format!("{key}: {}", unusable.message)))?;
        let connection = Arc::new(Connection::new(
            self.epochs.fetch_add(1, Ordering::Relaxed),
            pace::seed(&key.to_string()),
            secret,
            fingerprint,
            vendor.clone(),
            material,
        ));
        let mut connections = lock(&self.connections);
        // Many objects may have come here at once: they share the connection of the first.
        let current = connections.entry(key).and_modify(|current| {
            if current.fingerprint != connection.fingerprint {
                let former = std::mem::replace(current, connection.clone());
                tokio::spawn(panics::alone(async move { former.close().await }));
            }
        });
        Ok(current.or_insert(connection).clone())
    }

    /// Ends all connections, when nobody is going to use them any more.
    pub async fn close(&self) {
        let all: Vec<_> = lock(&self.connections).drain().map(|(_, connection)| connection).collect();
        join_all(all.iter().map(|connection| connection.close())).await;
    }

    /// New credentials have not been tried yet. What the vendor thinks of them is the account's news.
    fn credit(&self, key: &AccountKey) -> Arc<Credit> {
        let (usage, key) = (self.usage.clone(), key.clone());
        Arc::new(Credit::new(move || {
            usage.tell(&key);
        }))
    }

    /// The limits stay over a new Secret, so that a rotation does not reset what the vendor counts.
    fn limits(&self, key: &AccountKey, vendor: &AccountVendor) -> Arc<Limits> {
        let mut all = lock(&self.limits);
        match all.get(key) {
            Some((of, limits)) if of.limits == vendor.limits => limits.clone(),
            _ => {
                let limits =
                    Arc::new(Limits::new((self.vendors.published_limits)(vendor), vendor.limits.clone()));
                all.insert(key.clone(), (vendor.clone(), limits.clone()));
                limits
            }
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
        self.forget_secrets(lock(&self.needs).set(account.clone(), secret));
        self.changes.tell(&account);
    }

    /// An account is gone.
    pub fn account_gone(&self, account: AccountKey) {
        self.forget_secrets(lock(&self.needs).remove(&account));
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

    /// What is counted of all accounts that can be read.
    pub fn facts(&self) -> Vec<AccountFacts> {
        fn facts<A: Account>(
            account: &DeserializeGuard<A>,
            limits: &HashMap<AccountKey, (AccountVendor, Arc<Limits>)>,
        ) -> Option<AccountFacts> {
            let account = account.0.as_ref().ok()?;
            let key = account.key();
            let credentials = account.status().and_then(|status| status.credentials.as_ref());
            let conditions = account.status().map(|status| &*status.conditions).unwrap_or_default();
            let unready = |condition: &&Condition| condition.type_ == READY && condition.status != "True";
            Some(AccountFacts {
                unusable: conditions.iter().find(unready).map(|condition| condition.reason.clone()),
                created: account.meta().creation_timestamp.as_ref().map(|time| time.0),
                credentials_since: credentials.and_then(|it| it.since.as_ref()).map(|time| time.0),
                vendor: account.vendor().name(),
                quotas: limits.get(&key).map(|(_, limits)| limits.used()).unwrap_or_default(),
                key,
            })
        }
        let limits = lock(&self.limits);
        let namespaced = self.namespaced.iter().flat_map(|(_, seen)| seen.store.state());
        let namespaced = namespaced.filter_map(|account| facts(&account, &limits));
        let cluster = self.cluster.store.state();
        namespaced.chain(cluster.iter().filter_map(|account| facts(account, &limits))).collect()
    }
}

/// A version of an account that has our finalizer, as the API server answered.
#[derive(Debug)]
struct HeldAccount {
    uid: Option<String>,
    version: u64,
    told: Instant,
}

impl HeldAccount {
    fn of(account: &ObjectMeta) -> Option<Self> {
        let version = account.resource_version.as_deref()?.parse().ok()?;
        Some(Self { uid: account.uid.clone(), version, told: Instant::now() })
    }

    /// Whether the news of it is still on its way to who has this version. Not for ever, as with an object's own news.
    fn is_newer_than(&self, account: &impl ResourceExt) -> bool {
        let seen = account.resource_version().and_then(|version| version.parse::<u64>().ok());
        self.uid == account.uid()
            && seen.is_some_and(|seen| seen < self.version)
            && self.told.elapsed() < pace::NEWS
    }
}

/// Which Secret each account needs.
#[derive(Debug, Default)]
struct Needs {
    accounts: HashMap<AccountKey, Option<SecretKey>>,
    secrets: HashMap<SecretKey, HashSet<AccountKey>>,
}

impl Needs {
    /// Gives the Secret that nobody needs any more.
    fn set(&mut self, account: AccountKey, secret: Option<SecretKey>) -> Option<SecretKey> {
        if self.accounts.get(&account) == Some(&secret) {
            return None;
        }
        if let Some(secret) = &secret {
            self.secrets.entry(secret.clone()).or_default().insert(account.clone());
        }
        let before = self.accounts.insert(account.clone(), secret).flatten()?;
        self.release(&account, before)
    }

    fn remove(&mut self, account: &AccountKey) -> Option<SecretKey> {
        let secret = self.accounts.remove(account).flatten()?;
        self.release(account, secret)
    }

    fn release(&mut self, account: &AccountKey, secret: SecretKey) -> Option<SecretKey> {
        let needing = self.secrets.get_mut(&secret)?;
        needing.remove(account);
        if !needing.is_empty() {
            return None;
        }
        self.secrets.remove(&secret);
        Some(secret)
    }
}

/// An account that cannot be read is nobody else's trouble.
fn unreadable(key: &AccountKey, invalid: &InvalidObject) -> Unusable {
    Unusable::new("InvalidAccount", format!("{key} cannot be read: {}; correct it", invalid.error))
}

/// Where an account's Secret is: a namespaced account can only name one beside it.
pub fn secret_key<A: Account>(account: &A) -> Option<SecretKey> {
    let reference = account.vendor().secret_ref()?;
    let namespace = account.namespace().or_else(|| reference.namespace.clone())?;
    Some((namespace, reference.name.clone()))
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Namespace;

    fn account(name: &str) -> AccountKey {
        AccountKey { kind: AccountKind::CloudAccount, namespace: Some("ns".into()), name: name.into() }
    }

    fn secret(name: &str) -> SecretKey {
        ("ns".into(), name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_an_earlier_version_of_an_account_knows_that_it_is_held() {
        // Of whatever kind: only the metadata count.
        let version = |uid: &str, version: &str| {
            let metadata = json!({ "name": "a", "namespace": "ns", "uid": uid, "resourceVersion": version });
            serde_json::from_value::<Namespace>(json!({ "metadata": metadata })).unwrap()
        };
        let held = HeldAccount::of(version("u", "10").meta()).unwrap();
        assert!(held.is_newer_than(&version("u", "9")));
        assert!(!held.is_newer_than(&version("u", "10")), "somebody has taken it off since");
        assert!(!held.is_newer_than(&version("other", "9")), "it was made anew");
        tokio::time::advance(pace::NEWS).await;
        assert!(!held.is_newer_than(&version("u", "9")), "a restored etcd counts from an earlier version");
    }

    #[test]
    fn a_secret_is_forgotten_with_the_last_account_that_needs_it() {
        let mut needs = Needs::default();
        assert_eq!(needs.set(account("a"), Some(secret("s"))), None);
        assert_eq!(needs.set(account("b"), Some(secret("s"))), None);
        assert_eq!(needs.set(account("a"), Some(secret("s"))), None);
        assert_eq!(needs.set(account("a"), Some(secret("t"))), None, "the other needs it still");
        assert_eq!(needs.remove(&account("b")), Some(secret("s")));
        assert_eq!(needs.set(account("a"), None), Some(secret("t")));
        assert_eq!(needs.remove(&account("a")), None);
        assert!(needs.accounts.is_empty() && needs.secrets.is_empty());
    }
}
