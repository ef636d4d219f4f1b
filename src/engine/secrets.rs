//! Reads the Secrets that accounts name, and notices when they change, with as few connections as the rights allow: one
//! watch for all, one for each namespace, one for each Secret, or none.
//!
//! Watches bring metadata alone; what is in a Secret is read by its name, and only for Secrets that accounts name. Which
//! watch serves a Secret is found on the way down a ladder: the widest that is allowed and for which there is room. What
//! finds no room is read from time to time.

use super::{credentials::Credentials, external::Unusable, lock, may_pass, pace, rights};
use crate::wire::outcome::one_line;
use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::{
    authorization::v1::ResourceAttributes,
    core::v1::{Namespace, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, Weak},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// Namespace and name of a Secret.
pub type SecretKey = (String, String);

/// How many Secrets are read at once.
const READERS: usize = 16;
/// How many namespaces, and how many single Secrets, have a watch of their own at most.
const ROOM: usize = 32;

/// What is in a Secret, as far as vendors read it.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretVersion {
    /// The API server's name of the version that brought it; later ones had the same in them.
    pub resource_version: String,
    /// What is in it.
    pub credentials: Arc<Credentials>,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Loading,
    Missing,
    /// `passes`: it is the API server's trouble, and nobody's to mend who looks after the account.
    Unreadable {
        why: String,
        passes: bool,
    },
    Found(SecretVersion),
}

/// What one watch covers, from the top of the ladder down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Cluster,
    Namespace(String),
    Name(SecretKey),
}

/// The Secrets that accounts name.
pub struct Secrets(Arc<Shared>);

struct Shared {
    client: Client,
    /// Whether all namespaces are looked after, or only some.
    everywhere: bool,
    /// The keys that vendors read. Nothing else is kept, nor does it count as a change.
    read_keys: &'static [&'static str],
    state: Mutex<State>,
    queue: mpsc::UnboundedSender<SecretKey>,
    changed: Box<dyn Fn(&SecretKey) + Send + Sync>,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

#[derive(Default)]
struct State {
    secrets: HashMap<SecretKey, Entry>,
    watches: HashMap<Scope, Watch>,
    /// Waiting to be read.
    queued: HashSet<SecretKey>,
}

struct Entry {
    seen: watch::Sender<Seen>,
    /// The version that was read last.
    version: Option<String>,
    /// Which watch serves it; `None`: it is read from time to time.
    scope: Option<Scope>,
    /// How many times in a row it could not be read, and what waits to read it again.
    failures: u32,
    retry: Option<AbortOnDropHandle<()>>,
}

enum Watch {
    /// It is not allowed; tried again after a while.
    Forbidden(Instant),
    Running(AbortOnDropHandle<()>),
}

impl Secrets {
    /// `everywhere`: whether all namespaces are looked after. `changed` is told of every Secret of which something else
    /// is known than before.
    pub fn new(
        client: Client,
        everywhere: bool,
        read_keys: &'static [&'static str],
        changed: impl Fn(&SecretKey) + Send + Sync + 'static,
    ) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            client,
            everywhere,
            read_keys,
            state: Mutex::default(),
            queue,
            changed: Box::new(changed),
            tasks: Mutex::default(),
        });
        let readers = tokio::spawn(read_queued(Arc::downgrade(&shared), waiting));
        let poller = tokio::spawn(poll(Arc::downgrade(&shared)));
        *lock(&shared.tasks) = [readers, poller].map(AbortOnDropHandle::new).into();
        Self(shared)
    }

    /// What is known of it, waiting a moment for the first look at it.
    pub async fn get(&self, key: &SecretKey) -> Result<SecretVersion, Unusable> {
        let mut seen = self.0.want(key);
        let loaded = timeout(pace::SECRET, seen.wait_for(|seen| *seen != Seen::Loading)).await;
        let (namespace, name) = key;
        match loaded.ok().and_then(Result::ok).as_deref() {
            Some(Seen::Found(version)) => Ok(version.clone()),
            Some(Seen::Missing) => Err(Unusable::new(
                "SecretNotFound",
                format!("Secret {namespace}/{name} does not exist; create it with the account's credentials"),
            )),
            Some(Seen::Unreadable { why, passes }) => Err(Unusable::new(
                if *passes { "AccountsNotRead" } else { "SecretUnreadable" },
                format!("Secret {namespace}/{name} cannot be read: {why}"),
            )),
            Some(Seen::Loading) | None => Err(Unusable::new(
                "AccountsNotRead",
                format!("Secret {namespace}/{name} could not be read in time"),
            )),
        }
    }

    /// No account names it any more.
    pub fn forget(&self, key: &SecretKey) {
        let mut state = self.0.state();
        state.secrets.remove(key);
        state.queued.remove(key);
        state.watches.remove(&Scope::Name(key.clone()));
        let namespace = Scope::Namespace(key.0.clone());
        if state.watches.contains_key(&namespace)
            && !state.secrets.values().any(|entry| entry.scope.as_ref() == Some(&namespace))
        {
            state.watches.remove(&namespace);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn want(self: &Arc<Self>, key: &SecretKey) -> watch::Receiver<Seen> {
        let mut state = self.state();
        if let Some(entry) = state.secrets.get(key) {
            return entry.seen.subscribe();
        }
        let (tell, seen) = watch::channel(Seen::Loading);
        state
            .secrets
            .insert(key.clone(), Entry { seen: tell, version: None, scope: None, failures: 0, retry: None });
        self.serve(&mut state, key);
        self.read_soon(&mut state, key);
        seen
    }

    fn read_soon(&self, state: &mut State, key: &SecretKey) {
        if state.queued.insert(key.clone()) {
            // Without a reader the program is ending.
            let _ = self.queue.send(key.clone());
        }
    }

    /// Finds the watch for a Secret, and begins it if it is new.
    fn serve(self: &Arc<Self>, state: &mut State, key: &SecretKey) {
        let scope = place(state, key, self.everywhere);
        if let Some(scope) = &scope
            && !matches!(state.watches.get(scope), Some(Watch::Running(_)))
        {
            let task = tokio::spawn(watch_scope(Arc::downgrade(self), self.client.clone(), scope.clone()));
            state.watches.insert(scope.clone(), Watch::Running(AbortOnDropHandle::new(task)));
        }
        if let Some(entry) = state.secrets.get_mut(key) {
            entry.scope = scope;
        }
    }

    /// A watch is not allowed: those that it was to serve go down the ladder.
    fn forbidden(self: &Arc<Self>, scope: &Scope) {
        tracing::info!(?scope, "Secrets cannot be watched so widely, and are watched otherwise");
        let mut state = self.state();
        // Its task is what runs here, and ends by itself.
        if let Some(Watch::Running(task)) =
            state.watches.insert(scope.clone(), Watch::Forbidden(Instant::now() + pace::RIGHTS))
        {
            drop(task.detach());
        }
        let served = |entry: &Entry| entry.scope.as_ref() == Some(scope);
        let keys: Vec<_> =
            state.secrets.iter().filter(|(_, entry)| served(entry)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.serve(&mut state, &key);
            // What happened in between was seen by nobody.
            self.read_soon(&mut state, &key);
        }
    }

    /// A watch has seen this version of a Secret.
    fn touched(&self, key: &SecretKey, version: Option<String>) {
        let mut state = self.state();
        if state.secrets.get(key).is_some_and(|entry| version.is_none() || entry.version != version) {
            self.read_soon(&mut state, key);
        }
    }

    /// A watch has seen all that there is; what it did not see may be gone.
    fn listed(&self, scope: &Scope, seen: &HashSet<SecretKey>) {
        let mut state = self.state();
        let unseen: Vec<_> = state
            .secrets
            .iter()
            .filter(|(key, entry)| entry.scope.as_ref() == Some(scope) && !seen.contains(*key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in unseen {
            self.read_soon(&mut state, &key);
        }
    }

    /// Reads a Secret by its name, and again after a while where that fails.
    async fn read(self: &Arc<Self>, key: &SecretKey) {
        let api = Api::<Secret>::namespaced(self.client.clone(), &key.0);
        let answer = timeout(pace::SECRET, api.get_opt(&key.1)).await;
        let (now, version) = match answer {
            Ok(Ok(Some(secret))) => (Ok(self.found(key, &secret)), secret.resource_version()),
            Ok(Ok(None)) => (Ok(Seen::Missing), None),
            Ok(Err(error)) => {
                let passes = may_pass(&error);
                (Err(Seen::Unreadable { why: one_line(&error.to_string(), 300), passes }), None)
            }
            Err(_) => {
                (Err(Seen::Unreadable { why: "the API server does not answer".into(), passes: true }), None)
            }
        };
        let mut state = self.state();
        let Some(entry) = state.secrets.get_mut(key) else { return };
        let failures = entry.failures;
        (entry.failures, entry.retry) = (0, None);
        if let Err(Seen::Unreadable { passes, .. }) = &now {
            let (shared, key, failures) = (Arc::downgrade(self), key.clone(), failures + 1);
            let wait = pace::reading(failures, *passes);
            let retry = tokio::spawn(async move {
                sleep(wait).await;
                if let Some(shared) = shared.upgrade() {
                    shared.touched(&key, None);
                }
            });
            (entry.failures, entry.retry) = (failures, Some(AbortOnDropHandle::new(retry)));
        }
        let is_news = entry.seen.send_if_modified(|seen| {
            let now = match now {
                Ok(now) => now,
                Err(now) if matches!(seen, Seen::Loading | Seen::Unreadable { .. }) => now,
                // That it cannot be read now says nothing against what it was.
                Err(_) => return false,
            };
            let is_news = *seen != now;
            *seen = now;
            is_news
        });
        if version.is_some() {
            entry.version = version;
        }
        drop(state);
        if is_news {
            (self.changed)(key);
        }
    }

    /// What is in it, as it was known before where it is the same.
    fn found(&self, key: &SecretKey, secret: &Secret) -> Seen {
        let read = secret.data.iter().flatten().filter(|(name, _)| self.read_keys.contains(&name.as_str()));
        let keys = read.map(|(name, value)| (name.clone(), value.0.clone()));
        let credentials = Credentials::new(format!("{}/{}", key.0, key.1), keys);
        if let Some(Seen::Found(before)) = self.seen(key)
            && *before.credentials == credentials
        {
            return Seen::Found(before);
        }
        let resource_version = secret.resource_version().unwrap_or_default();
        Seen::Found(SecretVersion { resource_version, credentials: Arc::new(credentials) })
    }

    fn seen(&self, key: &SecretKey) -> Option<Seen> {
        self.state().secrets.get(key).map(|entry| entry.seen.borrow().clone())
    }
}

/// The widest watch for a Secret that may be allowed and for which there is room.
fn place(state: &State, key: &SecretKey, everywhere: bool) -> Option<Scope> {
    let ladder = [
        everywhere.then_some((Scope::Cluster, 1)),
        // Those who look after some namespaces watch each of them for images already.
        Some((Scope::Namespace(key.0.clone()), if everywhere { ROOM } else { usize::MAX })),
        Some((Scope::Name(key.clone()), ROOM)),
    ];
    ladder.into_iter().flatten().find_map(|(scope, room)| {
        let is_free = match state.watches.get(&scope) {
            Some(Watch::Running(_)) => true,
            Some(Watch::Forbidden(until)) if Instant::now() < *until => false,
            _ => {
                let alike = |(other, watch): &(&Scope, &Watch)| {
                    matches!(watch, Watch::Running(_))
                        && std::mem::discriminant(*other) == std::mem::discriminant(&scope)
                };
                state.watches.iter().filter(alike).count() < room
            }
        };
        is_free.then_some(scope)
    })
}

/// Watches metadata until that turns out not to be allowed.
async fn watch_scope(shared: Weak<Shared>, client: Client, scope: Scope) {
    let allowed = is_allowed(&client, &scope).await;
    let (api, config) = match &scope {
        Scope::Cluster => (Api::<PartialObjectMeta<Secret>>::all(client), watcher::Config::default()),
        Scope::Namespace(namespace) => (Api::namespaced(client, namespace), watcher::Config::default()),
        Scope::Name((namespace, name)) => (
            Api::namespaced(client, namespace),
            watcher::Config::default().fields(&format!("metadata.name={name}")),
        ),
    };
    let mut events = pin!(watcher::watcher(api, config.timeout(pace::SECRET_WATCH)).backoff(pace::watches()));
    let mut listed = HashSet::new();
    while allowed && let Some(event) = events.next().await {
        let Some(shared) = shared.upgrade() else { return };
        let key =
            |secret: &PartialObjectMeta<Secret>| (secret.namespace().unwrap_or_default(), secret.name_any());
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(secret)) => {
                let key = key(&secret);
                shared.touched(&key, secret.resource_version());
                // Of all that there are, only those that are wanted are remembered.
                if shared.seen(&key).is_some() {
                    listed.insert(key);
                }
            }
            Ok(watcher::Event::InitDone) => shared.listed(&scope, &std::mem::take(&mut listed)),
            Ok(watcher::Event::Apply(secret)) => shared.touched(&key(&secret), secret.resource_version()),
            Ok(watcher::Event::Delete(secret)) => shared.touched(&key(&secret), None),
            Err(error) if is_forbidden(&error) => break,
            Err(error) => tracing::warn!(?scope, %error, "the watch of Secrets failed, and is started again"),
        }
    }
    if let Some(shared) = shared.upgrade() {
        shared.forbidden(&scope);
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 403,
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

/// Whether the API server lets Secrets be listed and watched like this, as far as it tells.
async fn is_allowed(client: &Client, scope: &Scope) -> bool {
    let (namespace, name) = match scope {
        Scope::Cluster => (None, None),
        Scope::Namespace(namespace) => (Some(namespace.clone()), None),
        Scope::Name((namespace, name)) => (Some(namespace.clone()), Some(name.clone())),
    };
    for verb in ["list", "watch"] {
        let what = ResourceAttributes {
            verb: Some(verb.into()),
            version: Some("v1".into()),
            resource: Some("secrets".into()),
            namespace: namespace.clone(),
            name: name.clone(),
            ..ResourceAttributes::default()
        };
        if let Ok(Ok(Some(false))) = timeout(pace::SECRET, rights::is_allowed(client, what)).await {
            return false;
        }
    }
    true
}

/// Reads what is queued, so many at once, and each Secret once at a time.
async fn read_queued(shared: Weak<Shared>, mut queue: mpsc::UnboundedReceiver<SecretKey>) {
    let mut reading = FuturesUnordered::new();
    let mut busy = HashSet::new();
    // Queued again while they were being read.
    let mut again = HashSet::new();
    loop {
        tokio::select! {
            Some(key) = reading.next(), if !reading.is_empty() => {
                busy.remove(&key);
                if again.remove(&key) && let Some(shared) = shared.upgrade() {
                    shared.touched(&key, None);
                }
            }
            key = queue.recv(), if reading.len() < READERS => {
                let (Some(key), Some(shared)) = (key, shared.upgrade()) else { return };
                shared.state().queued.remove(&key);
                if !busy.insert(key.clone()) {
                    again.insert(key);
                    continue;
                }
                reading.push(async move {
                    shared.read(&key).await;
                    key
                });
            }
        }
    }
}

/// Reads those that no watch serves from time to time, one after the other; and looks whether a watch may serve them now.
async fn poll(shared: Weak<Shared>) {
    let mut round = vec![];
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let wait = {
            let mut state = strong.state();
            if round.is_empty() {
                let unserved = state.secrets.iter().filter(|(_, entry)| entry.scope.is_none());
                round = unserved.map(|(key, _)| key.clone()).collect();
            }
            let count = u32::try_from(round.len()).unwrap_or(u32::MAX).max(1);
            if let Some(key) = round.pop()
                && state.secrets.get(&key).is_some_and(|entry| entry.scope.is_none())
            {
                strong.serve(&mut state, &key);
                strong.read_soon(&mut state, &key);
            }
            (pace::SECRET_POLL / count).max(pace::SECRET_POLL_GAP)
        };
        drop(strong);
        sleep(wait).await;
    }
}

type Labels = BTreeMap<String, String>;

#[derive(Debug, Default)]
struct Known {
    /// Until when they are remembered, and they, or why they cannot be read.
    labels: HashMap<String, (Instant, Result<Labels, Unusable>)>,
    /// When those that are remembered no more are removed next.
    sweep: Option<Instant>,
}

/// Labels of namespaces, remembered for a moment.
#[derive(Debug, Default)]
pub struct NamespaceLabels {
    known: Mutex<Known>,
}

impl NamespaceLabels {
    /// The labels of one namespace. Many objects of it may ask at once: where they cannot be read, the first few are told so by the
    /// API server, and the others by them.
    pub async fn get(&self, client: &Client, name: &str) -> Result<Labels, Unusable> {
        let is_over = |until: &Instant| *until <= Instant::now();
        if let Some((_, labels)) = lock(&self.known).labels.get(name).filter(|(until, _)| !is_over(until)) {
            return labels.clone();
        }
        let namespace = Api::<Namespace>::all(client.clone()).get_metadata(name).await;
        let labels = namespace.map(|namespace| namespace.metadata.labels.unwrap_or_default());
        let labels = labels.map_err(|error| {
            let reason = if may_pass(&error) { "AccountsNotRead" } else { "NamespaceNotAllowed" };
            Unusable::new(reason, format!("the labels of namespace {name} cannot be read: {error}"))
        });
        let mut known = lock(&self.known);
        // Namespaces come and go.
        if known.sweep.as_ref().is_none_or(is_over) {
            known.labels.retain(|_, (until, _)| !is_over(until));
            known.sweep = Some(Instant::now() + pace::NAMESPACE_LABELS);
        }
        let lasts = if labels.is_ok() { pace::NAMESPACE_LABELS } else { pace::RIGHT_AWAY };
        known.labels.insert(name.into(), (Instant::now() + lasts, labels.clone()));
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, http::StatusCode};
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    fn key(number: usize) -> SecretKey {
        (format!("ns-{}", number / 2), format!("s-{number}"))
    }

    fn running() -> Watch {
        Watch::Running(AbortOnDropHandle::new(tokio::spawn(async {})))
    }

    fn forbidden() -> Watch {
        Watch::Forbidden(Instant::now() + Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn the_widest_watch_that_is_allowed_serves_a_secret() {
        let mut state = State::default();
        let namespace = Scope::Namespace("ns-0".into());
        assert_eq!(place(&state, &key(0), true), Some(Scope::Cluster));
        assert_eq!(place(&state, &key(0), false), Some(namespace.clone()));
        state.watches.insert(Scope::Cluster, forbidden());
        assert_eq!(place(&state, &key(0), true), Some(namespace.clone()));
        state.watches.insert(namespace.clone(), forbidden());
        assert_eq!(place(&state, &key(0), true), Some(Scope::Name(key(0))));
        state.watches.insert(Scope::Name(key(0)), forbidden());
        assert_eq!(place(&state, &key(0), true), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(place(&state, &key(0), true), Some(Scope::Cluster), "rights may be given later");
    }

    #[tokio::test(start_paused = true)]
    async fn labels_that_cannot_be_read_are_asked_for_once_a_second() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let serve = move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::ready(StatusCode::INTERNAL_SERVER_ERROR)
        };
        let client = Client::new(Router::new().fallback(serve), "default");
        let labels = NamespaceLabels::default();
        for seconds in 1..=2 {
            for _ in 0..3 {
                assert_eq!(labels.get(&client, "ns").await.unwrap_err().reason, "AccountsNotRead");
            }
            assert_eq!(asked.load(Ordering::Relaxed), seconds);
            tokio::time::advance(pace::RIGHT_AWAY).await;
        }
    }

    #[tokio::test]
    async fn watches_are_bounded_whatever_the_rights() {
        let mut state = State::default();
        state.watches.insert(Scope::Cluster, forbidden());
        for number in 0..10_000 {
            let scope = place(&state, &key(number), true);
            if let Some(scope) = scope
                && !state.watches.contains_key(&scope)
            {
                state.watches.insert(scope, running());
            }
        }
        let running = state.watches.values().filter(|watch| matches!(watch, Watch::Running(_))).count();
        assert_eq!(running, 2 * ROOM);
    }
}
