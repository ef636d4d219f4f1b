//! The controller of image kinds: one engine, whatever the vendor.
//!
//! A pass over an object is a straight line (`reconcile`): read its progress from the status, decide (`progress`), act
//! through the kind (`external`), write what changed (`journal`, `status`). Nothing here names a vendor.

pub mod account_controller;
pub mod accounts;
pub mod batcher;
pub mod connection;
pub mod credentials;
pub mod existing;
pub mod external;
pub mod guarded;
pub mod health;
pub mod index;
pub mod journal;
pub mod lease;
pub mod limits;
pub mod locks;
mod lookup;
mod malformed;
pub mod metrics;
pub mod news;
mod object_state;
pub mod on_behalf;
pub mod pace;
pub mod packed;
pub mod preflight;
pub mod progress;
pub mod queue;
mod reconcile;
pub mod record;
pub mod request_id;
mod secrets;
pub mod standing;
pub mod status;
mod stored;
pub mod telemetry;
pub mod urgency;
mod users;
mod workers;

use crate::{
    image::{ImageStatus, OperationState, Phase},
    panics::{self, Panicked},
};
use accounts::{AccountKey, Accounts};
use external::External;
use futures::{Stream, StreamExt, future::ready, stream};
use guarded::Guarded;
use health::{Health, Reading};
use index::Signal;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Controller, WatchStreamExt,
        controller::{Action, Config},
        reflector::{self, ObjectRef, store::Writer},
        watcher::{self, watcher},
    },
};
use on_behalf::on_behalf_of;
use packed::{Packed, Packer};
use progress::Origin;
use serde::de::DeserializeOwned;
use std::{
    collections::HashSet,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use stored::StoredKind;
use telemetry::Telemetry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use urgency::Errand;
use workers::Workers;

#[cfg(test)]
pub use reconcile::sizes;

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
    let (store, writer) = reflector::store::<Packed<K>>();
    let index = accounts.index().clone();
    let stored = StoredKind::new(store.clone(), Arc::downgrade(&accounts));
    let kind_id = index.add(stored.clone());
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
    let packer = Packer::default();
    let pack = move |object: &Guarded<K>| packer.pack(object);
    let objects = watched(api, writer, reading.clone(), pack, {
        let (accounts, world, store, stored) =
            (accounts.clone(), world.clone(), store.clone(), stored.clone());
        move |event| {
            on_event(event, &accounts, &world, &stored);
            if matches!(event, watcher::Event::InitDone) {
                // What went while nobody watched leaves nothing behind.
                let there: HashSet<_> = store.state().iter().filter_map(|object| object.uid()).collect();
                world.states.retain(|uid| there.contains(uid));
                stored.retain();
                accounts.index().filled(kind_id, |uid| there.contains(uid));
                accounts.all_usage_changed();
            }
        }
    });
    // Status is ours: only what others write is a reason to look.
    let objects = objects.predicate_filter(
        |object: &Packed<K>| Some(object.summary().wishes),
        kube::runtime::PredicateConfig::default(),
    );
    let of_account = stored.clone();
    let affected = accounts.changes().flat_map(move |account| stream::iter(of_account.users_of(&account)));
    let waits = stored.clone();
    let released = index.signals().flat_map(move |signal| stream::iter(waits.waiting_for(&signal)));
    Controller::for_stream(objects, store)
        .with_config(Config::default().concurrency(UNBOUNDED))
        .reconcile_on(affected)
        .reconcile_on(released)
        .reconcile_on(their_turn(&workers, woken))
        .reconcile_on(Reading::heartbeat())
        .graceful_shutdown_on(stopping.cancelled_owned())
        .run(work_on::<K>, |_, _, _| Action::await_change(), Arc::new(Context { world, workers, stored }))
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

/// What passes over one kind's objects need before they begin.
struct Context<K: External> {
    world: Arc<reconcile::World>,
    workers: Arc<Workers<ObjectRef<Packed<K>>>>,
    stored: Arc<StoredKind<K>>,
}

/// A pass over an object, once there is a worker for it. Until then nothing of it is held but its name.
async fn work_on<K: External>(
    object: Arc<Packed<K>>,
    context: Arc<Context<K>>,
) -> Result<Action, reconcile::Error> {
    let Context { world, workers, stored } = &*context;
    let account = stored.account_of(&object);
    let errand = Errand::new(object.summary().urgency, &object.namespace().unwrap_or_default());
    let _worker = match &account {
        Some(account) => match workers.enter(account, &errand, &ObjectRef::from_obj(&*object)) {
            Some(worker) => Some(worker),
            None => return Ok(Action::await_change()),
        },
        None => None,
    };
    let pass = reconcile::reconcile::<K>(object.clone(), account.clone(), world.clone());
    let pass = panics::caught(urgency::within(errand, pass));
    let done = match &account {
        Some(account) => on_behalf_of(account, pass).await,
        None => pass.await,
    };
    match done {
        Ok(done) => done,
        // The next pass finds what this one began, as one after a crash does.
        Err(Panicked) => Ok(malformed::report_panic::<K>(&world.client, object.meta()).await),
    }
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

/// Watches `api` into a store, of each object what `keep` makes of it, and lets `on_event` see each event once it is in there.
/// What is kept of the objects is passed on.
pub fn watched<K, S>(
    api: Api<K>,
    mut writer: Writer<S>,
    reading: Reading,
    keep: impl Fn(&K) -> S + Send + 'static,
    on_event: impl Fn(&watcher::Event<K>) + Send + 'static,
) -> impl Stream<Item = Result<S, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    S: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default().timeout(pace::WATCH))
        .backoff(pace::watches())
        .map(move |event| match event {
            Ok(event) => {
                let kept = kept(&event, &keep);
                writer.apply_watcher_event(&kept);
                on_event(&event);
                if matches!(event, watcher::Event::InitDone) {
                    reading.done();
                }
                Ok(kept)
            }
            Err(error) => {
                reading.failed(&error);
                tracing::warn!(kind = %K::kind(&()), %error, "the watch failed, and is started again");
                Err(error)
            }
        })
        .applied_objects()
}

fn kept<K, S>(event: &watcher::Event<K>, keep: impl Fn(&K) -> S) -> watcher::Event<S> {
    match event {
        watcher::Event::Apply(object) => watcher::Event::Apply(keep(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(keep(object)),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(object) => watcher::Event::InitApply(keep(object)),
        watcher::Event::InitDone => watcher::Event::InitDone,
    }
}

fn on_event<K: External>(
    event: &watcher::Event<Guarded<K>>,
    accounts: &Accounts,
    world: &reconcile::World,
    stored: &StoredKind<K>,
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
        let (ids, things) = match &object.0 {
            Ok(object) => (ids_of(object.status()), &[][..]),
            Err(unreadable) => (unreadable.held.iter().map(String::as_str).collect(), &*unreadable.works_on),
        };
        accounts.index().freed(&K::kind(&()), &ids, things);
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
    for account in if gone { stored.gone(object) } else { stored.seen(object) } {
        accounts.usage_changed(account);
    }
}

/// What a thread that panicked left behind a lock is as good as before: every change to it is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn account_of<K: External>(object: &K) -> AccountKey {
    AccountKey::of(&object.spec().account_ref, &object.namespace().unwrap_or_default())
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
