//! What is known of the objects of one kind: whatever its watch has seen, and who among them names what.

use super::{
    account_of,
    accounts::{AccountKey, Accounts},
    guarded::{Guarded, Unread},
    ids_of,
    index::{Found, KindIndex, Referent, Signal},
    locks::{Holder, Key},
    lookup::{Lookup, ObjectName},
    metrics::Facts,
    object::{Kind, Object},
    owned::{self, Owned},
    owned_ids,
    packed::Packed,
    reconcile,
    shared_locks::{self, SharedLocks},
    store::Store,
    users::Users,
};
use crate::image::Phase;
use futures::future::BoxFuture;
use kube::{Client, Resource, ResourceExt};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The objects of one kind that its watch has seen.
pub struct StoredKind {
    kind: Kind,
    store: Arc<Store>,
    named: Mutex<Named>,
    accounts: Weak<Accounts>,
}

/// Who names what.
#[derive(Debug, Default)]
struct Named {
    users: Users,
    /// The vendor's ids in the status.
    ids: Lookup<Arc<str>>,
    waits: Lookup<Wait>,
    /// What those that cannot be read may be at work on.
    works: Lookup<String>,
    /// The uid of the owner.
    owners: Lookup<Arc<str>>,
}

/// What an object may be waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wait {
    /// The object of this namespace and name.
    Object(String, String),
    /// Whatever its reference means, which is not known here.
    Reference,
    /// The lock on this.
    Thing(String),
    /// The thing of this id, to take it over.
    Import(String),
    /// Anything, to take it over if it matches.
    Match,
}

impl Wait {
    fn of(object: &Object) -> Vec<Self> {
        let mut waits = vec![];
        for reference in object.references() {
            waits.push(Self::Object(object.namespace().unwrap_or_default(), reference.name));
            waits.push(Self::Reference);
        }
        waits.extend(object.exclusive().map(Self::Thing));
        if let Some(import) = &object.spec().import {
            waits.push(import.id.clone().map_or(Self::Match, Self::Import));
        }
        waits
    }

    /// What is over with a signal.
    fn ended_by(signal: &Signal, ids: &str) -> Vec<Self> {
        match signal {
            Signal::Ready(namespace, name) => vec![Self::Object(namespace.clone(), name.clone())],
            Signal::Released(Key::Work { thing, .. }) => vec![Self::Thing(thing.clone()), Self::Reference],
            Signal::Released(Key::Id { of, id, .. }) if of == ids => {
                vec![Self::Import(id.clone()), Self::Match]
            }
            Signal::Released(Key::Id { .. }) => vec![],
        }
    }
}

impl StoredKind {
    /// `store` is fed by the watch that tells of what it sees here.
    pub fn new(kind: Kind, store: Arc<Store>, accounts: Weak<Accounts>) -> Arc<Self> {
        Arc::new(Self { kind, store, named: Mutex::default(), accounts })
    }

    /// The watch has seen an object, and keeps it under this name; gives the accounts whose users have changed.
    pub fn seen(&self, name: &ObjectName, object: &Guarded<Object>) -> Vec<AccountKey> {
        let mut named = self.named();
        named.owners.set(
            name,
            owned::controller(object.meta()).map(|owner| owner.uid.as_str().into()).into_iter().collect(),
        );
        match &object.0 {
            Ok(object) => {
                named.ids.set(name, ids_of(object.status()).into_iter().map(Arc::from).collect());
                named.waits.set(name, Wait::of(object));
                named.works.remove(name);
                named.users.set(name.clone(), account_of(object))
            }
            Err(unreadable) => {
                named.ids.set(name, unreadable.held.iter().map(|id| Arc::from(id.as_str())).collect());
                named.works.set(name, unreadable.works_on.clone());
                // It goes on using the account that it was seen to use.
                vec![]
            }
        }
    }

    /// The watch has seen an object go; gives the accounts whose users have changed.
    pub fn gone(&self, name: &ObjectName) -> Vec<AccountKey> {
        let mut named = self.named();
        named.ids.remove(name);
        named.waits.remove(name);
        named.works.remove(name);
        named.owners.remove(name);
        named.users.remove(name).into_iter().collect()
    }

    /// Forgets the objects that went unseen.
    pub fn retain(&self) {
        let mut named = self.named();
        let is_there = |name: &ObjectName| self.store.get(name).is_some();
        named.ids.retain(is_there);
        named.waits.retain(is_there);
        named.works.retain(is_there);
        named.owners.retain(is_there);
        named.users.retain(is_there);
    }

    /// Whether another object owned it when it was seen last.
    pub fn is_owned(&self, name: &ObjectName) -> bool {
        self.named().owners.has(name)
    }

    /// The objects that name the account.
    pub fn users_of(&self, account: &AccountKey) -> Vec<ObjectName> {
        self.named().users.objects(account)
    }

    /// The objects that may be waiting for this.
    pub fn waiting_for(&self, signal: &Signal) -> Vec<ObjectName> {
        let named = self.named();
        let ended = Wait::ended_by(signal, &self.kind.ids());
        ended.iter().flat_map(|wait| named.waits.get(wait)).cloned().collect()
    }

    /// The account of an object that can be read.
    pub fn account_of(&self, object: &Packed) -> Option<Arc<AccountKey>> {
        if object.is_readable() { self.named().users.account(object.name()) } else { None }
    }

    /// The object of that name, if there is one.
    pub fn get(&self, name: &ObjectName) -> Option<Arc<Packed>> {
        self.store.get(name)
    }

    fn holder_of(&self, object: &Packed) -> Holder {
        Holder {
            uid: (**object.uid()).into(),
            // Only who takes a lock is looked for when his kind has been read.
            kind_id: 0,
            kind: self.kind.name().into_owned(),
            namespace: object.name().0.clone(),
            name: object.name().1.clone(),
        }
    }

    /// Where an object's ids mean what they do; `None`: its account is not known.
    fn realm_of(&self, object: &Object) -> Option<String> {
        let vendor = self.accounts.upgrade()?.vendor(&account_of(object))?;
        Some(object.realm(&vendor))
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an object is to those that refer to it.
fn found(object: &Guarded<Object>, accounts: &Weak<Accounts>) -> Option<Found> {
    let object = object.0.as_ref().ok()?;
    let kind = object.its_kind().name().into_owned();
    // What goes need not say so yet, and nobody begins anything with it.
    let stays = object.meta().deletion_timestamp.is_none();
    let status = object.status().filter(|status| stays && status.phase == Some(Phase::Ready));
    let ready = status.and_then(|status| {
        // Where its account is not known, neither is its region.
        let vendor = accounts.upgrade()?.vendor(&account_of(object))?;
        Some(Referent {
            field: String::new(),
            kind: kind.clone(),
            name: object.name_any(),
            id: status.image_id.clone()?,
            region: object.place(&vendor),
        })
    });
    Some(Found { kind, ready })
}

impl KindIndex for StoredKind {
    fn kind(&self) -> String {
        self.kind.name().into_owned()
    }

    fn ids(&self) -> String {
        self.kind.ids().into_owned()
    }

    fn users(&self, account: &AccountKey, counts: &dyn Fn(&str) -> bool) -> (usize, Option<String>) {
        let (count, example) = self.named().users.count(account, counts);
        (count, example.map(|name| format!("{} {}/{}", self.kind.name(), name.0, name.1)))
    }

    fn namespaces(&self, account: &AccountKey) -> Vec<String> {
        self.named().users.namespaces(account)
    }

    fn waiting(&self, account: &AccountKey) -> usize {
        let users = self.named().users.objects(account);
        let objects = users.iter().filter_map(|name| self.get(name));
        // What waits is Pending, and what is at rest need not be unpacked for that.
        objects
            .filter(|object| object.summary().phase != Some(Phase::Ready))
            .filter(|object| {
                object.unpack(self.kind).0.as_ref().is_ok_and(|object| !reconcile::needs_account(object))
            })
            .count()
    }

    fn asking_alike(&self, realm: &str, wanted: &Value, uid: &str) -> usize {
        let asks = |object: &Object| {
            object.meta().uid.as_deref().is_some_and(|of| of != uid)
                && self.realm_of(object).is_none_or(|of| of == realm)
                && reconcile::asks_alike(self.kind, wanted, &reconcile::wanted(object))
        };
        // With other keys, or by another account's name, one reaches the same things.
        let objects = self.store.all();
        objects
            .iter()
            .filter(|object| {
                object.summary().under_way && object.unpack(self.kind).0.as_ref().is_ok_and(asks)
            })
            .count()
    }

    fn image(&self, namespace: &str, name: &str) -> Option<Found> {
        found(&self.store.get(&(namespace.into(), name.into()))?.unpack(self.kind), &self.accounts)
    }

    fn read_image(
        &self,
        client: Client,
        namespace: &str,
        name: &str,
    ) -> BoxFuture<'static, Result<Option<Found>, kube::Error>> {
        let (api, name) = (Unread::api(self.kind, client, Some(namespace)), name.to_owned());
        let (kind, accounts) = (self.kind, self.accounts.clone());
        Box::pin(async move {
            let object = api.get_opt(&name).await?;
            Ok(object.and_then(|object| found(&object.read(kind), &accounts)))
        })
    }

    fn facts(&self) -> Vec<Facts> {
        let objects = self.store.all();
        let named = self.named();
        objects.iter().map(|object| facts(object, named.users.account(object.name()))).collect()
    }

    fn knows(&self, uid: &str) -> bool {
        self.store.knows(uid)
    }

    fn owned_by(&self, uid: &str) -> Vec<Owned> {
        let names: Vec<_> = self.named().owners.get(&uid.into()).cloned().collect();
        let objects = names.into_iter().filter_map(|name| self.get(&name));
        let owned = |object: Arc<Packed>| Owned {
            kind: self.kind.name().into_owned(),
            name: object.name().clone(),
            json: object.json(),
        };
        objects.map(owned).collect()
    }

    fn holder(&self, realm: &str, id: &str, uid: &str) -> Option<Holder> {
        let names: Vec<_> = self.named().ids.get(&id.into()).cloned().collect();
        let mut others = names.iter().filter_map(|name| self.get(name));
        let holder = others.find(|object| {
            **object.uid() != *uid
                && match &object.unpack(self.kind).0 {
                    Ok(object) => {
                        owned_ids(object).contains(&id)
                            && self.realm_of(object).is_none_or(|mine| mine == realm)
                    }
                    // Where its id means what, nobody knows.
                    Err(unreadable) => unreadable.held.iter().any(|held| held == id),
                }
        })?;
        Some(self.holder_of(&holder))
    }

    fn read_holders(
        &self,
        shared: SharedLocks,
        realm: Option<String>,
    ) -> BoxFuture<'static, Result<Vec<(String, Holder)>, kube::Error>> {
        let (kind, accounts) = (self.kind, self.accounts.clone());
        Box::pin(async move {
            let mut holders = vec![];
            let look = |object: &Guarded<Object>| {
                let ids = shared_locks::owned_in(object, realm.as_deref(), accounts.upgrade().as_deref());
                holders.extend(ids.into_iter().map(|id| (id, shared_locks::holder(kind, object))));
            };
            shared.look_at_all(kind, look).await?;
            Ok(holders)
        })
    }

    fn unreadable_worker(&self, thing: &str, uid: &str) -> Option<Holder> {
        let names: Vec<_> = self.named().works.get(&thing.to_owned()).cloned().collect();
        let mut others = names.iter().filter_map(|name| self.get(name));
        let worker = others.find(|object| !object.is_readable() && **object.uid() != *uid)?;
        Some(self.holder_of(&worker))
    }

    fn at_work(&self, kind: &str, namespace: &str, name: &str, id: &str) -> Option<Holder> {
        let wait = Wait::Object(namespace.into(), name.into());
        let names: Vec<_> = self.named().waits.get(&wait).cloned().collect();
        let objects = names.iter().filter_map(|name| self.get(name));
        // What is at rest need not be unpacked for that.
        let mut busy = objects.filter(|object| object.summary().under_way);
        let works = |object: &Object| works_on(object, kind, id);
        let worker = busy.find(|object| object.unpack(self.kind).0.as_ref().is_ok_and(works))?;
        Some(self.holder_of(&worker))
    }

    fn read_at_work(
        &self,
        shared: SharedLocks,
        (kind, namespace, name): (&str, &str, &str),
        id: &str,
    ) -> BoxFuture<'static, Result<Option<Holder>, kube::Error>> {
        let [kind, namespace, name, id] = [kind, namespace, name, id].map(str::to_owned);
        let own = self.kind;
        Box::pin(async move {
            let mut worker = None;
            let is_at_work = |object: &Object| {
                let refers = object.references().iter().any(|reference| reference.name == name);
                refers && works_on(object, &kind, &id) && reconcile::may_be_under_way(object)
            };
            let look = |object: &Guarded<Object>| {
                if worker.is_none() && object.0.as_ref().is_ok_and(&is_at_work) {
                    worker = Some(shared_locks::holder(own, object));
                }
            };
            shared.look_at_namespace(own, &namespace, look).await?;
            Ok(worker)
        })
    }
}

/// Whether an attempt is under way one of whose references meant this.
fn works_on(object: &Object, kind: &str, id: &str) -> bool {
    let operation = object.status().and_then(|status| status.operation.as_ref());
    let mut referents = operation.into_iter().flat_map(|operation| &operation.references);
    referents.any(|referent| referent.kind == kind && referent.id == id)
}

/// What is counted of an object.
fn facts(object: &Packed, account: Option<Arc<AccountKey>>) -> Facts {
    if !object.is_readable() {
        let (phase, stalled) = ("Unreadable".into(), Some("InvalidObject".into()));
        return Facts { phase, account: None, stalled, waiting_since: None };
    }
    let summary = object.summary();
    Facts {
        phase: format!("{:?}", summary.phase.unwrap_or(Phase::Pending)),
        account: account.map(|account| (*account).clone()),
        stalled: summary.stalled.as_deref().map(str::to_owned),
        waiting_since: summary.waiting_since,
    }
}
