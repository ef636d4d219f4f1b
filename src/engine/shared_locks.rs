//! Locks that shards have in common: what two objects of different shards must not both have, such as an image's only export or
//! the ownership of an id, is held by a Lease for as long as it is held at all.
//!
//! It is taken by creating the Lease, of which the API server lets one succeed. It names its holder, so that whoever finds it can
//! ask the API server itself, not a cache, whether that object still has any right to it. A lock that has none behind it is free
//! only when it has not been renewed for much longer than its holder takes from locking to writing down what it locks. For how long
//! that is so, whoever waits for it finds out by his own clock.

use super::{
    accounts::Accounts,
    guarded::{Guarded, Unread},
    lock,
    locks::{Holder, Key},
    object::{Kind, Object},
    reconcile,
    shard::Shard,
};
use crate::image::FIELD_MANAGER;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Names the object that holds a lock.
const HELD_FOR: &str = "cloudimages.dev/held-for";
/// How long what is locked may take to be written down: after that, the lock is renewed before anything is done with it.
pub const FRESH: Duration = Duration::from_secs(60);
/// How long nobody must have seen a lock renewed that nothing is behind, until it is free.
const ABANDONED: Duration = Duration::from_secs(600);
/// How often locks that are free are taken away, which nobody has asked for since.
const SWEEP: Duration = Duration::from_secs(3600);
/// Tells locks from other Leases.
const SORT: &str = "cloudimages.dev/lock";
/// How many objects are read at once.
const PAGE: u32 = 500;

/// The locks that shards have in common.
#[derive(Clone)]
pub struct SharedLocks {
    client: Client,
    /// Those whose objects are looked after, in whatever shard; `None`: all.
    namespaces: Vec<Option<String>>,
    /// Locks of others, by name.
    seen: Arc<Mutex<HashMap<String, Seen>>>,
}

/// A lock of another object.
#[derive(Debug)]
struct Seen {
    version: Option<String>,
    /// Since when it has been that.
    since: Instant,
    /// When it was seen last.
    looked: Instant,
}

impl fmt::Debug for SharedLocks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SharedLocks")
    }
}

/// A lock that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLock {
    /// Of the Lease.
    pub name: String,
    /// When it was taken, by the clock of whoever took it.
    pub since: Timestamp,
}

impl SharedLocks {
    /// `None` where nobody shares the work.
    pub fn new(client: &Client, shard: Shard, namespaces: Vec<Option<String>>) -> Option<Self> {
        shard.is_part().then(|| Self { client: client.clone(), namespaces, seen: Arc::default() })
    }

    /// The API server, for this shard.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn api(&self) -> Api<Lease> {
        Api::default_namespaced(self.client.clone())
    }

    /// Takes a lock for an object of a kind, or renews it; or says who holds it.
    pub async fn take(
        &self,
        kind: Kind,
        key: &Key,
        by: &Holder,
    ) -> Result<Result<SharedLock, Holder>, kube::Error> {
        let name = name_of(key);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match self.api().create(&params, &lease(&name, by, None)).await {
            Ok(lease) => return Ok(Ok(taken(name, &lease))),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error),
        }
        let found = self.api().get_opt(&name).await?.unwrap_or_default();
        let holder = holder_of(&found);
        let is_ours = holder.uid == by.uid;
        if found.metadata.name.is_none()
            || !is_ours && !self.is_free(kind, &found, &holder, |object| has(object, key)).await?
        {
            return Ok(Err(holder));
        }
        let mut renewed = lease(&name, by, found.metadata.resource_version.clone());
        if let (true, Some(renewed)) = (is_ours, &mut renewed.spec) {
            renewed.acquire_time = found.spec.and_then(|spec| spec.acquire_time);
        }
        match self.api().replace(&name, &params, &renewed).await {
            Ok(lease) => {
                lock(&self.seen).remove(&name);
                Ok(Ok(taken(name, &lease)))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Err(holder)),
            Err(error) => Err(error),
        }
    }

    /// Whether another object than `uid` holds a lock.
    pub async fn is_held(&self, key: &Key, uid: &str) -> Result<bool, kube::Error> {
        let found = self.api().get_opt(&name_of(key)).await?;
        let holder = found.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
        Ok(holder.is_some_and(|holder| holder != uid))
    }

    /// Whether nothing is behind a lock any more: its holder is gone, or has had nothing to do with it for long.
    async fn is_free(
        &self,
        kind: Kind,
        lease: &Lease,
        holder: &Holder,
        has: impl Fn(&Guarded<Object>) -> bool,
    ) -> Result<bool, kube::Error> {
        let is_old = self.is_old(lease);
        // Of another kind that may own the like: that kind's controller takes away what is left of its objects' locks.
        if holder.kind != kind.name() {
            return Ok(holder.kind.is_empty() && is_old);
        }
        let api = Unread::api(kind, self.client.clone(), Some(&holder.namespace));
        let object = api.get_opt(&holder.name).await?;
        let object = object.filter(|object| object.uid().as_ref() == Some(&holder.uid));
        Ok(object.is_none_or(|object| is_old && !has(&object.read(kind))))
    }

    /// Whether a lock has not been renewed for long, as far as this process has seen: no other one's clock is asked.
    fn is_old(&self, lease: &Lease) -> bool {
        let (now, version) = (Instant::now(), lease.metadata.resource_version.clone());
        let mut seen = lock(&self.seen);
        seen.retain(|_, seen| now.duration_since(seen.looked) < SWEEP * 2);
        let new = || Seen { version: version.clone(), since: now, looked: now };
        let known = seen.entry(lease.name_any()).or_insert_with(new);
        known.looked = now;
        if known.version != version {
            *known = Seen { version, since: now, looked: now };
        }
        now.duration_since(known.since) > ABANDONED
    }

    /// Takes away what is left of locks of a kind, from time to time: whose object went while nobody worked on its shard, or was
    /// looked after by a process that knew nothing of its lock any more.
    pub async fn sweep(self, kind: Kind, stopping: CancellationToken) {
        loop {
            if let Err(error) = self.try_sweep(kind).await {
                tracing::debug!(%error, kind = %kind.name(), "locks that nothing is behind stay for another hour");
            }
            tokio::select! {
                () = sleep(SWEEP) => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    async fn try_sweep(&self, kind: Kind) -> Result<(), kube::Error> {
        let mut params = ListParams::default().labels(SORT).limit(PAGE);
        loop {
            let page = self.api().list(&params).await?;
            for lease in page.items {
                let holder = holder_of(&lease);
                // Which id or work it is on, its name does not tell: who has any keeps it.
                let has = |object: &Guarded<Object>| {
                    object.0.as_ref().map_or(true, |object| {
                        reconcile::keeps_lock(object) || !super::owned_ids(object).is_empty()
                    })
                };
                if holder.kind == kind.name() && self.is_free(kind, &lease, &holder, has).await? {
                    self.take_away(&lease).await;
                }
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether something is so of an object as the API server has it now; of one that cannot be read, it may be.
    pub(super) async fn is_so(
        &self,
        kind: Kind,
        holder: &Holder,
        so: impl Fn(&Object) -> bool,
    ) -> Result<bool, kube::Error> {
        let api = Unread::api(kind, self.client.clone(), Some(&holder.namespace));
        let object = api.get_opt(&holder.name).await?;
        let object = object.filter(|object| object.uid().as_ref() == Some(&holder.uid));
        Ok(object.is_some_and(|object| object.read(kind).0.as_ref().map_or(true, so)))
    }

    /// Gives a lock back, if it is still this object's. What is not given back is free after a while.
    pub async fn give_back(&self, name: &str, uid: &str) {
        let Ok(Some(lease)) = self.api().get_opt(name).await else { return };
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) != Some(uid) {
            return;
        }
        self.take_away(&lease).await;
    }

    /// Deletes a lock, if it is still what was seen.
    async fn take_away(&self, lease: &Lease) {
        let (name, version) = (lease.name_any(), lease.metadata.resource_version.clone());
        let preconditions = Preconditions { resource_version: version, uid: lease.metadata.uid.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api().delete(&name, &params).await {
            Ok(_) => drop(lock(&self.seen).remove(&name)),
            Err(error) => {
                tracing::debug!(%error, name, "a lock was not given back, and is free after a while");
            }
        }
    }

    /// Shows all objects of a kind, of all shards, as the API server has them now: one page after the other, since they may be
    /// more than there is room for.
    pub async fn look_at_all(
        &self,
        kind: Kind,
        mut look: impl FnMut(&Guarded<Object>) + Send,
    ) -> Result<(), kube::Error> {
        for namespace in &self.namespaces {
            // Other namespaces' objects are others' to look after, whose accounts are not known here.
            let api = Unread::api(kind, self.client.clone(), namespace.as_deref());
            look_at(kind, &api, &mut look).await?;
        }
        Ok(())
    }

    /// The same for those of one namespace.
    pub async fn look_at_namespace(
        &self,
        kind: Kind,
        namespace: &str,
        mut look: impl FnMut(&Guarded<Object>) + Send,
    ) -> Result<(), kube::Error> {
        look_at(kind, &Unread::api(kind, self.client.clone(), Some(namespace)), &mut look).await
    }
}

async fn look_at(
    kind: Kind,
    api: &Api<Unread>,
    look: &mut (impl FnMut(&Guarded<Object>) + Send),
) -> Result<(), kube::Error> {
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        page.items.iter().for_each(|object| look(&object.read(kind)));
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(());
        }
    }
}

/// Names an object.
pub(super) fn holder(kind: Kind, object: &Guarded<Object>) -> Holder {
    Holder {
        uid: object.uid().unwrap_or_default(),
        kind_id: 0,
        kind: kind.name().into_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

/// Whether an object's ids mean something in this realm; where they mean what, is not known without its account.
pub(super) fn is_in(object: &Object, realm: Option<&str>, accounts: Option<&Accounts>) -> bool {
    let vendor = accounts.and_then(|accounts| accounts.vendor(&super::account_of(object)));
    vendor.is_none_or(|vendor| Some(object.realm(&vendor).as_str()) == realm)
}

/// The ids that an object has as its own, and that may mean something in this realm.
pub(super) fn owned_in(
    object: &Guarded<Object>,
    realm: Option<&str>,
    accounts: Option<&Accounts>,
) -> Vec<String> {
    match &object.0 {
        Ok(object) if is_in(object, realm, accounts) => {
            super::owned_ids(object).into_iter().map(str::to_owned).collect()
        }
        Ok(_) => vec![],
        Err(unreadable) => unreadable.held.clone(),
    }
}

/// Who holds a lock, as far as it says.
fn holder_of(lease: &Lease) -> Holder {
    let held_for = lease.annotations().get(HELD_FOR).cloned().unwrap_or_default();
    let mut parts = held_for.splitn(3, '/').map(str::to_owned);
    let uid = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let mut part = || parts.next().unwrap_or_default();
    Holder { uid, kind_id: 0, kind: part(), namespace: part(), name: part() }
}

/// Whether an object has, by its own record, what the lock is on.
fn has(object: &Guarded<Object>, key: &Key) -> bool {
    match (&object.0, key) {
        (Ok(object), Key::Work { .. }) => reconcile::keeps_lock(object),
        (Ok(object), Key::Id { id, .. }) => super::owned_ids(object).contains(&id.as_str()),
        // What cannot be read may have anything.
        (Err(_), _) => true,
    }
}

fn taken(name: String, lease: &Lease) -> SharedLock {
    let since = lease.spec.as_ref().and_then(|spec| spec.acquire_time.as_ref()).map(|time| time.0);
    SharedLock { name, since: since.unwrap_or_else(Timestamp::now) }
}

/// Names are no secret of the tenants whose ids they are made of, and fit.
pub fn name_of(key: &Key) -> String {
    let (sort, parts) = match key {
        Key::Work { realm, thing } => ("work", vec![realm, thing]),
        Key::Id { of, realm, id } => ("id", vec![of, realm, id]),
    };
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    format!("cloud-image-operator-{sort}-{}", &hex::encode(hash.finalize())[..40])
}

fn lease(name: &str, by: &Holder, version: Option<String>) -> Lease {
    let now = MicroTime(Timestamp::now());
    let held_for = format!("{}/{}/{}", by.kind, by.namespace, by.name);
    Lease {
        metadata: ObjectMeta {
            name: Some(name.into()),
            resource_version: version,
            annotations: Some(BTreeMap::from([(HELD_FOR.into(), held_for)])),
            labels: Some(BTreeMap::from([(SORT.into(), by.kind.clone())])),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(by.uid.clone()),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    }
}
