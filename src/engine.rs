//! The controller of image kinds: one engine, whatever the vendor.
//!
//! A pass over an object is a straight line (`reconcile`): read its progress from the status, decide (`progress`), act
//! through the kind (`external`), write what changed (`journal`, `status`). Nothing here names a vendor.

pub mod account_controller;
pub mod accounts;
pub mod batcher;
pub mod connection;
pub mod credentials;
pub mod external;
pub mod guarded;
pub mod health;
pub mod index;
pub mod journal;
pub mod lease;
pub mod limits;
pub mod locks;
mod malformed;
pub mod metrics;
mod object_state;
pub mod pace;
pub mod progress;
mod reconcile;
pub mod record;
pub mod request_id;
mod secrets;
pub mod standing;
pub mod status;
pub mod telemetry;
mod users;
mod workers;

use crate::image::{ImageStatus, OperationState, Phase};
use accounts::{AccountKey, Accounts};
use external::External;
use futures::{Stream, StreamExt, future::ready, stream};
use guarded::Guarded;
use health::{Health, Reading};
use index::{KindIndex, Referent, Signal};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Controller, Predicate, WatchStreamExt,
        controller::{Action, Config},
        predicates,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, watcher},
    },
};
use locks::{Holder, Key};
use metrics::Facts;
use progress::Origin;
use serde::de::DeserializeOwned;
use std::{
    collections::HashSet,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use telemetry::Telemetry;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use users::{ObjectName, Users};
use workers::Workers;

/// What the controllers of all kinds share.
#[derive(Clone)]
pub struct Shared {
    /// The API server.
    pub client: Client,
    /// The accounts.
    pub accounts: Arc<Accounts>,
    /// Events, metrics, logs.
    pub telemetry: Telemetry,
    /// What is missing, and what moves.
    pub health: Health,
    /// How far apart the looks are that wait for the vendor: [`pace::BEAT`], but for tests.
    pub beat: Duration,
    /// Cancelled when no new work is to be taken.
    pub stopping: CancellationToken,
}

/// How many objects kube works on at once: as many as get a worker of their account's.
const UNBOUNDED: u16 = 0;

/// The controller of one kind, for one namespace or all, until `stopping`; then it finishes what is under way.
pub fn run<K: External>(
    shared: Shared,
    namespace: Option<String>,
) -> impl Future<Output = ()> + Send + 'static {
    let Shared { client, accounts, telemetry, health, beat, stopping } = shared;
    let reading = health.reading(name_of::<K>(namespace.as_deref()));
    let api = match &namespace {
        Some(namespace) => Api::<Guarded<K>>::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (store, writer) = reflector::store();
    let index = accounts.index().clone();
    let users = Arc::new(Mutex::new(Users::default()));
    let stored =
        StoredKind { store: store.clone(), users: users.clone(), accounts: Arc::downgrade(&accounts) };
    let kind_id = index.add(Box::new(stored));
    let (workers, woken) = Workers::new();
    let world = Arc::new(reconcile::World {
        kind_id,
        journal: journal::Journal::new(client.clone()),
        accounts: accounts.clone(),
        telemetry,
        states: object_state::ObjectStates::default(),
        client,
        beat,
        stopping: stopping.clone(),
    });
    let objects = watched(api, writer, reading.clone(), {
        let (accounts, world, store, users) = (accounts.clone(), world.clone(), store.clone(), users.clone());
        move |event| {
            on_event(event, &accounts, &world, &users);
            if matches!(event, watcher::Event::InitDone) {
                // What went while nobody watched leaves nothing behind.
                let state = store.state();
                let there: HashSet<_> = state.iter().filter_map(|object| object.uid()).collect();
                world.states.retain(|uid| there.contains(uid));
                let there_by_name: HashSet<_> = state.iter().map(|object| object_name(&**object)).collect();
                lock(&users).retain(|object| there_by_name.contains(object));
                accounts.index().filled(kind_id, |uid| there.contains(uid));
                accounts.all_usage_changed();
            }
        }
    });
    // Status is ours: only what others write is a reason to look.
    let objects = objects.predicate_filter(
        predicates::generation.combine(predicates::annotations).combine(predicates::finalizers),
        kube::runtime::PredicateConfig::default(),
    );
    let affected = affected(accounts.changes(), store.clone(), users);
    let released = released(index.signals(), store.clone());
    Controller::for_stream(objects, store)
        .with_config(Config::default().concurrency(UNBOUNDED))
        .reconcile_on(affected)
        .reconcile_on(released)
        .reconcile_on(their_turn(&workers, woken))
        .reconcile_on(Reading::heartbeat())
        .graceful_shutdown_on(stopping.cancelled_owned())
        .run(work_on::<K>, |_, _, _| Action::await_change(), Arc::new((world, workers)))
        .for_each(move |done| {
            reading.came_through(&done);
            ready(())
        })
}

/// What a watch reads, for people.
pub fn name_of<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> String {
    let plural = K::plural(&());
    namespace.map_or_else(|| plural.to_string(), |namespace| format!("{plural} in namespace {namespace}"))
}

type WorkersOf<K> = Arc<Workers<ObjectRef<Guarded<K>>>>;

/// A pass over an object, once there is a worker for it. Until then nothing of it is held but its name.
async fn work_on<K: External>(
    object: Arc<Guarded<K>>,
    context: Arc<(Arc<reconcile::World>, WorkersOf<K>)>,
) -> Result<Action, reconcile::Error> {
    let (world, workers) = &*context;
    let _worker = match &object.0 {
        Ok(image) => match workers.enter(&account_of(image), &ObjectRef::from_obj(&*object)) {
            Some(worker) => Some(worker),
            None => return Ok(Action::await_change()),
        },
        Err(_) => None,
    };
    Box::pin(reconcile::reconcile::<K>(object, world.clone())).await
}

/// The objects that waited for a worker and may get one now.
fn their_turn<R: Clone + Eq + Hash + Send + 'static>(
    workers: &Arc<Workers<R>>,
    woken: mpsc::UnboundedReceiver<R>,
) -> impl Stream<Item = R> + Send + use<R> {
    let look_again = tokio::time::interval(pace::WORKERS);
    stream::unfold((workers.clone(), woken, look_again), |(workers, mut woken, mut look_again)| async move {
        loop {
            tokio::select! {
                object = woken.recv() => return object.map(|object| (object, (workers, woken, look_again))),
                _ = look_again.tick() => workers.look_again(),
            }
        }
    })
}

/// Watches `api` into a store without what nobody here reads, and lets `on_event` see each event once it is in there.
pub fn watched<K>(
    api: Api<K>,
    writer: Writer<K>,
    reading: Reading,
    on_event: impl Fn(&watcher::Event<K>) + Send + 'static,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default().timeout(pace::WATCH))
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .inspect({
            move |event| match event {
                Ok(event) => {
                    on_event(event);
                    if matches!(event, watcher::Event::InitDone) {
                        reading.done();
                    }
                }
                Err(error) => {
                    reading.failed(error);
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch failed, and is started again");
                }
            }
        })
        .applied_objects()
}

fn on_event<K: External>(
    event: &watcher::Event<Guarded<K>>,
    accounts: &Accounts,
    world: &reconcile::World,
    users: &Mutex<Users>,
) {
    let (object, gone) = match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => (object, false),
        watcher::Event::Delete(object) => (object, true),
        watcher::Event::Init | watcher::Event::InitDone => return,
    };
    let uid = object.uid().unwrap_or_default();
    if gone {
        world.states.forget(&uid);
        accounts.index().release(&uid);
        let ids = match &object.0 {
            Ok(object) => ids_of(object.status()),
            Err(unreadable) => unreadable.held.iter().map(String::as_str).collect(),
        };
        accounts.index().freed(&K::kind(&()), &ids);
    }
    let begins = matches!(event, watcher::Event::InitApply(_)) && world.states.is_new(&uid);
    if let (true, Ok(object)) = (begins, &object.0)
        && reconcile::may_be_under_way(object)
        && (object.exclusive().is_some() || object.reference().is_some())
    {
        accounts.index().expect_lock(&uid, world.kind_id);
    }
    if let (watcher::Event::Apply(_), Ok(object)) = (event, &object.0)
        && object.status().is_some_and(|status| status.phase == Some(Phase::Ready))
    {
        accounts.index().signal(Signal::Ready(object.namespace().unwrap_or_default(), object.name_any()));
    }
    // One that cannot be read any more goes on using the account that it was seen to use.
    let name = object_name(object);
    let changed = match &object.0 {
        _ if gone => lock(users).remove(&name).into_iter().collect(),
        Ok(object) => lock(users).set(name, account_of(object)),
        Err(_) => vec![],
    };
    for account in changed {
        accounts.usage_changed(account);
    }
}

fn object_name(object: &impl ResourceExt) -> ObjectName {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn account_of<K: External>(object: &K) -> AccountKey {
    AccountKey::of(&object.spec().account_ref, &object.namespace().unwrap_or_default())
}

/// The objects whose account or Secret has changed.
fn affected<K: External>(
    changes: broadcast::Receiver<AccountKey>,
    store: Store<Guarded<K>>,
    users: Arc<Mutex<Users>>,
) -> impl Stream<Item = ObjectRef<Guarded<K>>> + Send {
    heard(changes).flat_map(move |key| {
        let objects = match key {
            Some(key) => {
                let users = lock(&users).objects(&key).into_iter();
                users.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace)).collect()
            }
            // Which accounts changed is not known any more when some of it was lost: any may have.
            None => among(&store, |_| true),
        };
        stream::iter(objects)
    })
}

/// The objects that wait for another one, or for a lock.
fn released<K: External>(
    signals: broadcast::Receiver<Signal>,
    store: Store<Guarded<K>>,
) -> impl Stream<Item = ObjectRef<Guarded<K>>> + Send {
    heard(signals).flat_map(move |signal| {
        let waits = |object: &K| match &signal {
            Some(Signal::Ready(namespace, name)) => {
                object.namespace().as_ref() == Some(namespace)
                    && object.reference().is_some_and(|reference| reference.name == *name)
            }
            // What a reference means is not known here, so whoever has one looks.
            Some(Signal::Released(Key::Work { thing, .. })) => {
                object.exclusive().is_some_and(|mine| mine == *thing) || object.reference().is_some()
            }
            Some(Signal::Released(Key::Id { kind, id, .. })) => {
                let import = object.spec().import.as_ref();
                *kind == K::kind(&())
                    && import.is_some_and(|import| import.id.as_ref().is_none_or(|wanted| wanted == id))
            }
            None => {
                object.exclusive().is_some() || object.reference().is_some() || object.spec().import.is_some()
            }
        };
        stream::iter(among(&store, waits))
    })
}

/// What comes through a channel; `None` where some of it was lost.
fn heard<T: Clone + Send + 'static>(channel: broadcast::Receiver<T>) -> impl Stream<Item = Option<T>> + Send {
    stream::unfold(channel, |mut channel| async move {
        match channel.recv().await {
            Ok(news) => Some((Some(news), channel)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((None, channel)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    })
}

/// The objects that can be read and for which `wanted` holds.
fn among<K: External>(store: &Store<Guarded<K>>, wanted: impl Fn(&K) -> bool) -> Vec<ObjectRef<Guarded<K>>> {
    let state = store.state();
    state
        .iter()
        .filter(|object| object.0.as_ref().is_ok_and(&wanted))
        .map(|object| ObjectRef::from_obj(&**object))
        .collect()
}

/// What is counted of an object.
fn facts<K: External>(object: &K) -> Facts {
    let status = object.status();
    let condition = |type_: &str| {
        let conditions = status.map(|status| &*status.conditions).unwrap_or_default();
        conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    };
    let phase = status.and_then(|status| status.phase);
    let created = object.meta().creation_timestamp.as_ref().map(|time| time.0);
    let on_the_way = condition(status::RECONCILING).map(|condition| condition.last_transition_time.0);
    Facts {
        phase: format!("{:?}", phase.unwrap_or(Phase::Pending)),
        account: Some(account_of(object)),
        stalled: condition(status::STALLED).map(|condition| condition.reason.clone()),
        waiting_since: if phase.is_none() { created } else { on_the_way },
    }
}

/// What is counted of an object that cannot be read.
fn unreadable() -> Facts {
    let (phase, stalled) = ("Unreadable".into(), Some("InvalidObject".into()));
    Facts { phase, account: None, stalled, waiting_since: None::<Timestamp> }
}

/// The vendor's ids in a status.
fn ids_of(status: Option<&ImageStatus>) -> Vec<&str> {
    let ids = status.map(|status| [&status.image_id, &status.task_id]).into_iter().flatten().flatten();
    ids.map(String::as_str).collect()
}

/// The vendor's ids that an object owns by its status: what it only observes is others', and what came along with a status
/// from another object is not its own.
fn owned_ids<K: External>(object: &K) -> Vec<&str> {
    let operation = object.status().and_then(|status| status.operation.as_ref());
    let is_own = operation.is_none_or(|operation| {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        status::origin(operation) != Origin::Observed
            && operation.state != OperationState::Restored
            && operation.token == K::token(uid, operation.attempt)
    });
    if is_own { ids_of(object.status()) } else { vec![] }
}

struct StoredKind<K: External> {
    store: Store<Guarded<K>>,
    users: Arc<Mutex<Users>>,
    accounts: Weak<Accounts>,
}

impl<K: External> StoredKind<K> {
    /// Where an object's ids mean what they do; `None`: its account is not known.
    fn realm_of(&self, object: &K) -> Option<String> {
        let vendor = self.accounts.upgrade()?.vendor(&account_of(object))?;
        Some(object.realm(&vendor))
    }
}

impl<K: External> KindIndex for StoredKind<K> {
    fn kind(&self) -> String {
        K::kind(&()).into_owned()
    }

    fn users(&self, account: &AccountKey, counts: &dyn Fn(&str) -> bool) -> (usize, Option<String>) {
        let (count, example) = lock(&self.users).count(account, counts);
        (count, example.map(|(namespace, name)| format!("{} {namespace}/{name}", K::kind(&()))))
    }

    fn namespaces(&self, account: &AccountKey) -> Vec<String> {
        lock(&self.users).namespaces(account)
    }

    fn waiting(&self, account: &AccountKey) -> usize {
        let state = self.store.state();
        let readable = state.iter().filter_map(|object| object.0.as_ref().ok());
        let of = readable.filter(|object| account_of(*object) == *account);
        of.filter(|object| !reconcile::needs_account(*object)).count()
    }

    fn image(&self, namespace: &str, name: &str) -> Option<Referent> {
        let object = self.store.get(&ObjectRef::new(name).within(namespace))?;
        let status = object.0.as_ref().ok()?.status();
        let ready = status
            .filter(|status| status.phase == Some(Phase::Ready))
            .and_then(|status| status.image_id.clone());
        Some(Referent { kind: self.kind(), ready })
    }

    fn facts(&self) -> Vec<Facts> {
        self.store
            .state()
            .iter()
            .map(|object| object.0.as_ref().map_or_else(|_| unreadable(), facts))
            .collect()
    }

    fn knows(&self, uid: &str) -> bool {
        self.store.state().iter().any(|object| object.meta().uid.as_deref() == Some(uid))
    }

    fn holder(&self, realm: &str, id: &str, uid: &str) -> Option<Holder> {
        let state = self.store.state();
        let mut others = state.iter().filter(|object| object.meta().uid.as_deref() != Some(uid));
        let holder = others.find(|object| match &object.0 {
            Ok(object) => {
                owned_ids(object).contains(&id) && self.realm_of(object).is_none_or(|mine| mine == realm)
            }
            // Where its id means what, nobody knows.
            Err(unreadable) => unreadable.held.iter().any(|held| held == id),
        })?;
        Some(Holder {
            uid: holder.uid().unwrap_or_default(),
            // Only who takes a lock is looked for when his kind has been read.
            kind_id: 0,
            kind: self.kind(),
            namespace: holder.namespace().unwrap_or_default(),
            name: holder.name_any(),
        })
    }
}
