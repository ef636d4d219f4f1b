//! The controller of image kinds: one engine, whatever the vendor.
//!
//! A pass over an object is a straight line (`reconcile`): read its progress from the status, decide (`progress`), act
//! through the kind (`external`), write what changed (`journal`, `status`). Nothing here names a vendor.

pub mod accounts;
pub mod carpool;
pub mod external;
pub mod journal;
pub mod lease;
pub mod limits;
mod malformed;
mod memo;
pub mod pace;
pub mod progress;
mod reconcile;
mod secrets;
pub mod status;
pub mod stewardship;
pub mod telemetry;

use accounts::{AccountKey, Accounts, Users};
use external::External;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller, Predicate, WatchStreamExt,
        controller::Config,
        predicates,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, watcher},
    },
};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, sync::Arc};
use telemetry::Telemetry;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// What the controllers of all kinds share.
#[derive(Clone)]
pub struct Shared {
    /// The API server.
    pub client: Client,
    /// The accounts.
    pub accounts: Arc<Accounts>,
    /// Events, metrics, logs.
    pub telemetry: Telemetry,
    /// When this process began to act.
    pub started: tokio::time::Instant,
    /// Cancelled when no new work is to be taken.
    pub stopping: CancellationToken,
}

/// How many objects of one kind are worked on at once: enough to fill every car.
const WORKERS: u16 = 1024;

/// Runs the controller of one kind, for one namespace or all, until `stopping`; then finishes what is under way.
pub async fn run<K: External>(shared: Shared, namespace: Option<String>) {
    let Shared { client, accounts, telemetry, started, stopping } = shared;
    let api = match &namespace {
        Some(namespace) => Api::<DeserializeGuard<K>>::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (store, writer) = reflector::store();
    accounts.add_users(Box::new(KindUsers(store.clone())));
    let world = Arc::new(reconcile::World {
        journal: journal::Journal::new(client.clone()),
        accounts: accounts.clone(),
        telemetry,
        memos: memo::Memos::default(),
        client,
        started,
        stopping: stopping.clone(),
    });
    let objects = watched(api, writer, {
        let (accounts, world) = (accounts.clone(), world.clone());
        move |event| noticed(event, &accounts, &world)
    });
    // Status is ours: only what others write is a reason to look.
    let objects = objects.predicate_filter(
        predicates::generation.combine(predicates::annotations).combine(predicates::finalizers),
        kube::runtime::PredicateConfig::default(),
    );
    let affected = affected(accounts.changes(), store.clone());
    Controller::for_stream(objects, store)
        .with_config(Config::default().concurrency(WORKERS))
        .reconcile_on(affected)
        .graceful_shutdown_on(stopping.cancelled_owned())
        .run(reconcile::reconcile::<K>, |_, _, _| kube::runtime::controller::Action::await_change(), world)
        .for_each(|_| async {})
        .await;
}

/// Watches `api` into a store without what nobody here reads, and lets `notice` see each event first.
pub fn watched<K>(
    api: Api<K>,
    writer: Writer<K>,
    notice: impl Fn(&watcher::Event<K>) + Send + 'static,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .inspect_ok(move |event| notice(event))
        .inspect_err(
            |error| tracing::warn!(kind = %K::kind(&()), %error, "the watch failed, and is started again"),
        )
        .reflect(writer)
        .applied_objects()
}

fn noticed<K: External>(
    event: &watcher::Event<DeserializeGuard<K>>,
    accounts: &Accounts,
    world: &reconcile::World,
) {
    let (object, gone) = match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => (object, false),
        watcher::Event::Delete(object) => (object, true),
        watcher::Event::Init | watcher::Event::InitDone => return,
    };
    if gone {
        world.memos.forget(&object.uid().unwrap_or_default());
    }
    // Objects come and go with these; in between, their number does not change.
    let fresh = object.finalizers().is_empty() || matches!(event, watcher::Event::InitApply(_));
    if let (true, Ok(object)) = (gone || fresh, &object.0) {
        accounts.usage_changed(account_of(object));
    }
}

fn account_of<K: External>(object: &K) -> AccountKey {
    AccountKey::of(&object.spec().account_ref, &object.namespace().unwrap_or_default())
}

/// The objects whose account or Secret has changed.
fn affected<K: External>(
    changes: broadcast::Receiver<AccountKey>,
    store: Store<DeserializeGuard<K>>,
) -> impl Stream<Item = ObjectRef<DeserializeGuard<K>>> + Send {
    stream::unfold(changes, |mut changes| async move {
        match changes.recv().await {
            Ok(key) => Some((Some(key), changes)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some((None, changes)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    })
    .flat_map(move |key| {
        let objects = store.state().into_iter().filter(move |object| match (&object.0, &key) {
            (Ok(object), Some(key)) => account_of(object) == *key,
            // Which accounts changed is not known any more: any may have.
            (Ok(_), None) => true,
            (Err(_), _) => false,
        });
        stream::iter(objects.map(|object| ObjectRef::from_obj(&*object)).collect::<Vec<_>>())
    })
}

struct KindUsers<K: External>(Store<DeserializeGuard<K>>);

impl<K: External> Users for KindUsers<K> {
    fn of(&self, account: &AccountKey) -> (usize, Option<String>) {
        let state = self.0.state();
        let mut users = state
            .iter()
            .filter_map(|object| object.0.as_ref().ok())
            .filter(|object| account_of(*object) == *account);
        let example = users.next().map(|object| {
            format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any())
        });
        (usize::from(example.is_some()) + users.count(), example)
    }
}
