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
pub mod lookup;
pub mod malformed;
pub mod metrics;
pub mod news;
pub mod object;
mod object_state;
pub mod on_behalf;
mod own_writes;
pub mod owned;
pub mod pace;
pub mod packed;
pub mod preflight;
pub mod progress;
pub mod queue;
mod reconcile;
pub mod record;
pub mod request_id;
mod rights;
pub mod runner;
mod schedule;
mod secrets;
pub mod shard;
pub mod shared_locks;
pub mod standing;
pub mod status;
pub mod store;
mod stored;
pub mod telemetry;
pub mod urgency;
mod users;
pub mod versions;
mod workers;

use crate::{
    image::{ImageStatus, Operation, OperationState, Phase},
    panics::{self, Panicked},
};
use accounts::{Account, AccountKey, Accounts};
use futures::{
    Stream, StreamExt, TryStreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use guarded::{Guarded, Unread};
use health::{Health, Reading};
use index::{KindIndex, Signal};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::store::Writer,
        watcher::{self, watcher},
    },
};
use lookup::ObjectName;
use object::{Kind, Object};
use on_behalf::on_behalf_of;
use owned::Change;
use packed::Packer;
use progress::Origin;
use shard::Shard;
use shared_locks::SharedLocks;
use std::{
    borrow::Cow,
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::Store;
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
    /// Whose objects are looked after.
    pub shard: Shard,
}

/// The controller of one kind, for one namespace or all, until `stopping`; then it finishes what is under way.
pub fn run(
    kind: Kind,
    shared: Shared,
    namespace: Option<String>,
) -> impl Future<Output = ()> + Send + 'static {
    let Shared { client, accounts, telemetry, health, beat, stopping, shard } = shared;
    let reading = health.reading(name_of(&kind.plural(), namespace.as_deref()));
    let api = Unread::api(kind, client.clone(), namespace.as_deref());
    let store = Arc::new(Store::default());
    let stored = StoredKind::new(kind, store.clone(), Arc::downgrade(&accounts));
    let kind_id = accounts.index().add(stored.clone());
    let (workers, woken) = Workers::new();
    let world = Arc::new(reconcile::World {
        kind,
        kind_id,
        journal: journal::Journal::new(client.clone()),
        accounts: accounts.clone(),
        telemetry,
        states: object_state::ObjectStates::default(),
        shared: SharedLocks::new(&client, shard, accounts.watched()),
        begun_elsewhere: tokio::sync::OnceCell::new(),
        client,
        beat,
        stopping: stopping.clone(),
    });
    // Locks are the same whatever namespace is watched.
    let is_first = shard.number() == 0 && accounts.watched().first() == Some(&namespace);
    if is_first && let Some(shared) = world.shared.clone() {
        tokio::spawn(panics::alone(shared.sweep(kind, stopping.clone())));
    }
    let seen = seen(api, reading.clone(), shard, &world, &store, &stored);
    let of_account = stored.clone();
    let affected = accounts.changes().flat_map(move |account| stream::iter(of_account.users_of(&account)));
    let waits = stored.clone();
    let released =
        accounts.index().signals().flat_map(move |signal| stream::iter(waits.waiting_for(&signal)));
    let their_turn = their_turn(&workers, woken);
    let beats = Reading::beats().map(move |()| {
        reading.moves();
        None
    });
    let woken = stream::select_all([
        seen.boxed(),
        affected.map(Some).boxed(),
        released.map(Some).boxed(),
        their_turn.map(Some).boxed(),
        beats.boxed(),
    ]);
    let context = Arc::new(Context { world, workers, stored });
    let begin = move |name: &ObjectName| begin(name, &context);
    runner::run(woken, stopping.cancelled_owned(), move || store.is_complete(), begin)
}

/// What a watch reads, for people.
pub fn name_of(plural: &str, namespace: Option<&str>) -> String {
    namespace.map_or_else(|| plural.to_string(), |namespace| format!("{plural} in namespace {namespace}"))
}

/// Keeps what the watch sees of a shard, and names who is to be looked at; `None` once all objects have been seen.
fn seen(
    api: Api<Unread>,
    reading: Reading,
    shard: Shard,
    world: &Arc<reconcile::World>,
    store: &Arc<Store>,
    stored: &Arc<StoredKind>,
) -> impl Stream<Item = Option<ObjectName>> + Send + use<> {
    let (world, store, stored, packer) = (world.clone(), store.clone(), stored.clone(), Packer::default());
    let kind = world.kind;
    events(api, kind.name(), reading.clone()).filter_map(move |event| {
        let event = event.ok().map(|event| mapped(event, |unread| (unread.read(kind), unread)));
        // Whatever is kept, locked, counted or woken is so for what the store has, so others' objects must not get that far.
        let event = event.and_then(|event| of_shard(shard, &store, event));
        // Status is ours: only what others write is a reason to look.
        let woken = match event {
            Some(watcher::Event::Init) => {
                store.begin_list();
                None
            }
            Some(watcher::Event::InitApply((object, unread))) => {
                let seen = store.keep(packer.pack(&object, unread.text()));
                expect_lock(&object, &world);
                was_seen(&seen, &object, &world, &stored);
                is_news(&seen, &object, &world).then_some(Some(seen.name))
            }
            Some(watcher::Event::Apply((object, unread))) => {
                let seen = store.keep(packer.pack(&object, unread.text()));
                if let Ok(object) = &object.0
                    && object.status().is_some_and(|status| status.phase == Some(Phase::Ready))
                {
                    let (namespace, name) = &*seen.name;
                    world.accounts.index().signal(Signal::Ready(namespace.clone(), name.clone()));
                }
                was_seen(&seen, &object, &world, &stored);
                is_news(&seen, &object, &world).then_some(Some(seen.name))
            }
            Some(watcher::Event::Delete((object, _))) => {
                let name = Arc::new((object.namespace().unwrap_or_default(), object.name_any()));
                store.remove(&name);
                has_gone(&name, &object, &world, &stored);
                None
            }
            Some(watcher::Event::InitDone) => {
                // What went while nobody watched leaves nothing behind.
                for gone in store.end_list() {
                    has_gone(gone.name(), &gone.unpack(kind), &world, &stored);
                }
                let there: HashSet<_> = store.all().iter().map(|object| object.uid().clone()).collect();
                world.states.retain(|uid| there.contains(uid));
                world.journal.own_writes().retain(|uid| there.contains(uid));
                stored.retain();
                world.accounts.index().filled(world.kind_id, |uid| there.contains(uid));
                world.accounts.index().changed(&Change::all_read(world.kind.name()));
                world.accounts.all_usage_changed();
                reading.done();
                Some(None)
            }
            None => None,
        };
        ready(woken)
    })
}

/// What passes over one kind's objects need before they begin.
struct Context {
    world: Arc<reconcile::World>,
    workers: Arc<Workers<ObjectName>>,
    stored: Arc<StoredKind>,
}

/// A pass over an object, if there is one of that name, and a worker for it. Until then nothing of it is held but its name.
fn begin(
    name: &ObjectName,
    context: &Context,
) -> Option<impl Future<Output = Option<Duration>> + Send + use<>> {
    let Context { world, workers, stored } = context;
    let object = stored.get(name)?;
    let account = stored.account_of(&object);
    let errand = Errand::new(object.summary().urgency, &name.0);
    let worker = match &account {
        Some(account) => Some(workers.enter(account, &errand, name)?),
        None => None,
    };
    let pass = reconcile::reconcile(object.clone(), account.clone(), world.clone());
    let pass = panics::caught(urgency::within(errand, pass));
    let (world, stored) = (world.clone(), stored.clone());
    Some(async move {
        let _worker = worker;
        let done = match &account {
            Some(account) => on_behalf_of(account, pass).await,
            None => pass.await,
        };
        // An object that went during its pass was forgotten before the pass took its last locks, and ids: nobody else would ever
        // give them back, and who has its name by now would wait for itself.
        if !stored.knows(object.uid()) {
            forget(object.uid(), &world);
        }
        match done {
            // It has been told of already, and comes back when something changes.
            Ok(done) => done.unwrap_or_default(),
            // The next pass finds what this one began, as one after a crash does.
            Err(Panicked) => {
                Some(malformed::report_panic(&world.client, &world.kind.resource(), &object.metadata()).await)
            }
        }
    })
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

/// What the watch tells of an object: what it is, and what that was read from.
type Told = (Guarded<Object>, Unread);

/// What an event means for a shard: objects of others are not there, and go when they become others'.
fn of_shard(shard: Shard, store: &Store, event: watcher::Event<Told>) -> Option<watcher::Event<Told>> {
    let is_ours = |(object, _): &Told| {
        let namespace = object.namespace().unwrap_or_default();
        let account = match &object.0 {
            Ok(object) => &object.spec().account_ref,
            Err(unreadable) => &unreadable.account,
        };
        shard.holds(&AccountKey::of(account, &namespace))
    };
    let is_known = |(object, _): &Told| {
        store.get(&(object.namespace().unwrap_or_default(), object.name_any())).is_some()
    };
    match event {
        watcher::Event::Apply(object) if !is_ours(&object) => {
            is_known(&object).then_some(watcher::Event::Delete(object))
        }
        watcher::Event::InitApply(object) if !is_ours(&object) => None,
        watcher::Event::Delete(object) if !is_ours(&object) => {
            is_known(&object).then_some(watcher::Event::Delete(object))
        }
        event => Some(event),
    }
}

/// What `api` tells of its objects, for as long as somebody listens.
pub fn events(
    api: Api<Unread>,
    kind: Cow<'static, str>,
    reading: Reading,
) -> BoxStream<'static, Result<watcher::Event<Unread>, watcher::Error>> {
    let events = watcher(api, watcher::Config::default().timeout(pace::WATCH)).backoff(pace::watches());
    let told = events.inspect(move |event| {
        if let Err(error) = event {
            reading.failed(error);
            tracing::warn!(%kind, %error, "the watch failed, and is started again");
        }
    });
    told.boxed()
}

/// Watches accounts of a kind into a store, and lets `on_event` see each event once it is in there. What is kept of the accounts
/// is passed on.
pub fn watched<A: Account>(
    api: Api<Unread>,
    mut writer: Writer<Guarded<A>>,
    reading: Reading,
    on_event: impl Fn(&watcher::Event<Guarded<A>>) + Send + 'static,
) -> impl Stream<Item = Result<Guarded<A>, watcher::Error>> + Send {
    events(api, A::kind(&()), reading.clone())
        .map_ok(move |event| {
            let event = mapped(event, |account| account.read_by(|text| serde_json::from_str(text)));
            writer.apply_watcher_event(&event);
            on_event(&event);
            if matches!(event, watcher::Event::InitDone) {
                reading.done();
            }
            event
        })
        .applied_objects()
}

fn mapped<A, B>(event: watcher::Event<A>, make: impl Fn(A) -> B) -> watcher::Event<B> {
    match event {
        watcher::Event::Apply(object) => watcher::Event::Apply(make(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(make(object)),
        watcher::Event::InitApply(object) => watcher::Event::InitApply(make(object)),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitDone => watcher::Event::InitDone,
    }
}

fn was_seen(seen: &store::Seen, object: &Guarded<Object>, world: &reconcile::World, stored: &StoredKind) {
    if let Some(former) = &seen.former {
        has_gone(&seen.name, &former.unpack(world.kind), world, stored);
    }
    let was_owned = stored.is_owned(&seen.name);
    for account in stored.seen(&seen.name, object) {
        world.accounts.usage_changed(account);
    }
    if was_owned || owned::controller(object.meta()).is_some() {
        world.accounts.index().changed(&Change::of(world.kind.name(), &seen.name, object.meta()));
    }
}

/// Whether a pass is due for what was seen: what its own pass has just written is no news to it.
fn is_news(seen: &store::Seen, object: &Guarded<Object>, world: &reconcile::World) -> bool {
    seen.is_news && !world.journal.own_writes().is_one(object.meta())
}

fn has_gone(name: &ObjectName, object: &Guarded<Object>, world: &reconcile::World, stored: &StoredKind) {
    forget(&object.uid().unwrap_or_default(), world);
    let index = world.accounts.index();
    let (ids, things) = match &object.0 {
        Ok(object) => (ids_of(object.status()), &[][..]),
        Err(unreadable) => (unreadable.held.iter().map(String::as_str).collect(), &*unreadable.works_on),
    };
    index.freed(&world.kind.name(), &ids, things);
    for account in stored.gone(name) {
        world.accounts.usage_changed(account);
    }
    // Whoever it was of, somebody may wait for its name.
    index.changed(&Change::of(world.kind.name(), name, object.meta()));
}

/// Nothing is kept of an object that is gone, nor held for it.
fn forget(uid: &str, world: &reconcile::World) {
    world.states.forget(uid);
    world.journal.own_writes().forget(uid);
    world.accounts.index().release(uid);
}

/// What was under way when this process began may have a lock, of which it says so before anybody else gets it.
fn expect_lock(object: &Guarded<Object>, world: &reconcile::World) {
    let uid = object.uid().unwrap_or_default();
    if let (true, Ok(object)) = (world.states.is_new(&uid), &object.0)
        && reconcile::may_be_under_way(object)
        && (object.exclusive().is_some() || !object.references().is_empty())
    {
        world.accounts.index().expect_lock(&uid, world.kind_id);
    }
}

/// What a thread that panicked left behind a lock is as good as before: every change to it is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the API server may give, or take, the same a moment later: it is in trouble, or somebody else wrote in between, and
/// nobody has to mend anything.
pub(crate) fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 409 | 429) || status.code >= 500,
        _ => true,
    }
}

fn account_of(object: &Object) -> AccountKey {
    AccountKey::of(&object.spec().account_ref, &object.namespace().unwrap_or_default())
}

/// The vendor's ids in a status.
fn ids_of(status: Option<&ImageStatus>) -> Vec<&str> {
    let ids = status.map(|status| [&status.image_id, &status.task_id]).into_iter().flatten().flatten();
    let versions = status.into_iter().flat_map(|status| &status.versions).map(|version| &version.image_id);
    let own = |id: &&String| status.and_then(|status| status.image_id.as_ref()) != Some(*id);
    ids.chain(versions.filter(own)).map(String::as_str).collect()
}

/// The vendor's ids that an object owns by its status: what it only observes is others', and what came along with a status
/// from another object is not its own.
fn owned_ids(object: &Object) -> Vec<&str> {
    let operation = object.status().and_then(|status| status.operation.as_ref());
    let is_own = operation.is_none_or(|operation| {
        status::origin(operation) != Origin::Observed && is_operation_of(object, operation)
    });
    if is_own { ids_of(object.status()) } else { vec![] }
}

/// Whether an operation in an object's status is of this very object.
fn is_operation_of(object: &Object, operation: &Operation) -> bool {
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    operation.state != OperationState::Restored
        && operation.token == object.its_kind().token(uid, operation.attempt)
}
