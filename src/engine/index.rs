//! What the controllers of all kinds know of each other's objects: who uses an account, which image a name means, which
//! of the vendor's things are taken, and which object holds the lock on something that only one may touch at a time.

use super::{
    accounts::AccountKey,
    lock,
    locks::{Held, Holder, Key, Locks},
    metrics::Facts,
    news::News,
    owned::{Change, Owned},
    shared_locks::SharedLocks,
};
pub use crate::image::Referent;
use futures::{
    Stream,
    future::{BoxFuture, try_join_all},
};
use kube::Client;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

/// The objects of one kind, as others need them.
pub trait KindIndex: Send + Sync {
    /// The kind's name.
    fn kind(&self) -> String;
    /// What its objects' ids are ids of: `AnyKind::ids`.
    fn ids(&self) -> String;
    /// How many objects of the namespaces that count name the account, and one of them as `Kind namespace/name`.
    fn users(&self, account: &AccountKey, counts: &dyn Fn(&str) -> bool) -> (usize, Option<String>);
    /// How many of those just wait for one that is made anew.
    fn waiting(&self, account: &AccountKey) -> usize;
    /// How many other objects than `uid` of the realm have a call under way, or may have, that asks for what could be taken for
    /// what `wanted` is, a `spec.forProvider`.
    fn asking_alike(&self, realm: &str, wanted: &Value, uid: &str) -> usize;
    /// The namespaces whose objects name the account.
    fn namespaces(&self, account: &AccountKey) -> Vec<String>;
    /// The object of that name, if there is one.
    fn image(&self, namespace: &str, name: &str) -> Option<Found>;
    /// The same, as the API server has it now, of whatever shard.
    fn read_image(
        &self,
        client: Client,
        namespace: &str,
        name: &str,
    ) -> BoxFuture<'static, Result<Option<Found>, kube::Error>>;
    /// Another object than `uid` that has this id of the vendor's as its own, by its status, whether it can be read or not.
    fn holder(&self, realm: &str, id: &str, uid: &str) -> Option<Holder>;
    /// All ids that its objects have as their own in a realm, and who has them, as the API server has it now, of all shards.
    fn read_holders(
        &self,
        shared: SharedLocks,
        realm: Option<String>,
    ) -> BoxFuture<'static, Result<Vec<(String, Holder)>, kube::Error>>;
    /// Another object than `uid` that cannot be read and may be at work on this, with whatever credentials.
    fn unreadable_worker(&self, thing: &str, uid: &str) -> Option<Holder>;
    /// An object one of whose references means the object of this kind, namespace and name, and that is at work on what that has
    /// under this id.
    fn at_work(&self, kind: &str, namespace: &str, name: &str, id: &str) -> Option<Holder>;
    /// The same, as the API server has it now, of whatever shard.
    fn read_at_work(
        &self,
        shared: SharedLocks,
        meant: (&str, &str, &str),
        id: &str,
    ) -> BoxFuture<'static, Result<Option<Holder>, kube::Error>>;
    /// What is counted of its objects.
    fn facts(&self) -> Vec<Facts>;
    /// Whether it has an object of this uid.
    fn knows(&self, uid: &str) -> bool;
    /// The objects that the one of this uid owns.
    fn owned_by(&self, uid: &str) -> Vec<Owned>;
}

/// How many things are awaited at most; some may never come, and who waited for them may be gone.
const AWAITED: usize = 10_000;

/// Names one kind in the index.
pub type KindId = usize;

/// An object that has the name that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its kind.
    pub kind: String,
    /// What it is to others, once it is Ready.
    pub ready: Option<Referent>,
}

/// What a kind makes, and what its references take.
#[derive(Clone, Debug)]
pub struct Ties {
    /// Its name.
    pub kind: String,
    /// What its ids are ids of: `External::YIELDS`.
    pub yields: Option<&'static str>,
    /// What its references may take: `External::TAKES`.
    pub takes: &'static [&'static str],
}

impl Ties {
    /// What its ids are ids of, as `AnyKind::ids` has it.
    pub fn ids(&self) -> &str {
        self.yields.unwrap_or(&self.kind)
    }
}

/// Which kinds' objects a reference can mean.
#[derive(Clone, Debug, Default)]
pub struct Fitting {
    kinds: Vec<Ties>,
    also: &'static [(&'static str, &'static str)],
}

impl Fitting {
    /// As the kinds say. `also`: pairs of a kind that refers and one that all its references take besides.
    pub fn new(kinds: Vec<Ties>, also: &'static [(&'static str, &'static str)]) -> Self {
        Self { kinds, also }
    }

    /// The kinds that a reference of the kind `asking` can mean.
    fn meant(&self, asking: &str, takes: &str) -> Vec<&str> {
        let own = self.kinds.iter().filter(|ties| ties.yields == Some(takes)).map(|ties| &*ties.kind);
        own.chain(self.also.iter().filter(|(refers, _)| *refers == asking).map(|(_, kind)| *kind)).collect()
    }

    /// The kinds whose references can mean an object of this kind.
    fn refers(&self, kind: &str) -> BTreeSet<&str> {
        let yields = self.kinds.iter().find(|ties| ties.kind == kind).and_then(|ties| ties.yields);
        let takes = |ties: &&Ties| yields.is_some_and(|yields| ties.takes.contains(&yields));
        let own = self.kinds.iter().filter(takes).map(|ties| &*ties.kind);
        own.chain(self.also.iter().filter(|(_, meant)| *meant == kind).map(|(refers, _)| *refers)).collect()
    }
}

/// Why a reference means no image id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The object is there, and its image is not yet.
    NotReady(String),
    /// There is no such object, which may still come.
    Missing(String),
    /// What there is can never be meant: a person has to change the reference.
    Unfit(String),
}

/// Names an object on whose result another one works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What that must be the id of: `External::YIELDS` of the kinds that it can mean.
    pub takes: &'static str,
    /// The field that takes the id itself, for messages.
    pub instead: &'static str,
    /// Its kind, if the user gave one.
    pub kind: Option<String>,
    /// Its name, in the same namespace.
    pub name: String,
    /// Whether what it has must be in the region of the object that refers to it.
    pub nearby: bool,
}

impl Reference {
    /// One to what the vendor looks for in the region of the object that refers to it, and nowhere else.
    #[must_use]
    pub fn nearby(self) -> Self {
        Self { nearby: true, ..self }
    }

    /// Why an object in the region `own` cannot use what this means.
    pub fn unreachable(&self, referent: &Referent, own: Option<&str>) -> Option<String> {
        let there = referent.region.as_deref()?;
        let here = own.filter(|own| self.nearby && *own != there)?;
        let (kind, name, instead) = (&referent.kind, &referent.name, self.instead);
        Some(format!(
            "{kind} {name} is in region {there}, and this object in {here}, where alone the vendor looks for it; give both the same \
             region, correct the reference, or give {instead} instead"
        ))
    }

    fn may_mean(&self, kind_index: &dyn KindIndex) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind_index.kind() == kind)
    }

    /// What it means, among what an object's references mean.
    pub fn among<'a>(&self, referents: &'a [Referent]) -> Option<&'a Referent> {
        let is_meant = |referent: &&Referent| {
            referent.name == self.name
                && referent.field == self.instead
                && self.kind.as_ref().is_none_or(|kind| *kind == referent.kind)
        };
        referents.iter().find(is_meant)
    }
}

/// Something that others may be waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The object of this namespace and name became Ready.
    Ready(String, String),
    /// Nobody holds this any more.
    Released(Key),
}

/// All kinds' objects.
pub struct Index {
    kinds: RwLock<Vec<Arc<dyn KindIndex>>>,
    locks: Mutex<Locks>,
    /// What somebody waits for: only that is told, since telling means a look through all objects.
    awaited: Mutex<HashSet<Signal>>,
    signals: News<Signal>,
    changes: News<Change>,
    fitting: Fitting,
    ended: Mutex<Ended>,
}

/// How many uids of objects that are gone are remembered.
const ENDED: usize = 10_000;

/// The uids of the objects that went last and left nothing behind: who is made anew from the manifest of one of them was not
/// restored. Losing them costs a question to a person.
#[derive(Debug, Default)]
struct Ended {
    uids: HashSet<String>,
    order: VecDeque<String>,
}

impl Ended {
    fn insert(&mut self, uid: &str) {
        if self.uids.insert(uid.to_owned()) {
            self.order.push_back(uid.to_owned());
        }
        if self.order.len() > ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }

    fn contains(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Fitting::default())
    }
}

impl Index {
    /// Without objects.
    pub fn new(fitting: Fitting) -> Self {
        Self {
            fitting,
            kinds: RwLock::default(),
            locks: Mutex::default(),
            awaited: Mutex::default(),
            signals: News::default(),
            changes: News::default(),
            ended: Mutex::default(),
        }
    }

    /// Adds a kind, whose objects are not known yet.
    pub fn add(&self, kind_index: Arc<dyn KindIndex>) -> KindId {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        kinds.push(kind_index);
        self.locks().add(kinds.len());
        kinds.len()
    }

    /// All objects of a kind are known; those that `is_there` does not know have gone unseen.
    pub fn filled(&self, kind_id: KindId, is_there: impl Fn(&str) -> bool) {
        for key in self.learn(|locks| locks.filled(kind_id, is_there)) {
            self.signal(Signal::Released(key));
        }
    }

    /// Which kinds' objects are not known yet, for the end of a sentence.
    pub fn missing(&self) -> String {
        let unread = self.locks().unread().clone();
        let kinds: Vec<_> = (1..)
            .zip(self.each(|kind_index| kind_index.kind()))
            .filter(|(kind_id, _)| unread.contains(kind_id))
            .map(|(_, kind)| kind)
            .collect();
        if kinds.is_empty() { String::new() } else { format!(" (still to be read: {})", kinds.join(", ")) }
    }

    /// Whether all objects that there are have been seen.
    pub fn is_filled(&self) -> bool {
        self.locks().unread().is_empty()
    }

    /// What the objects of one kind answer, be they watched in one namespace after the other or in all.
    fn of_kind<T>(&self, kind: &str, mut ask: impl FnMut(&dyn KindIndex) -> Option<T>) -> Option<T> {
        let answers = self.each(|it| (it.kind() == kind).then(|| ask(it)).flatten());
        answers.into_iter().flatten().next()
    }

    fn each<T>(&self, ask: impl FnMut(&dyn KindIndex) -> T) -> Vec<T> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().map(|kind_index| &**kind_index).map(ask).collect()
    }

    /// What is counted of all objects, by kind.
    pub fn facts(&self) -> Vec<(String, Vec<Facts>)> {
        let mut kinds = BTreeMap::<String, Vec<Facts>>::new();
        for (kind, mut facts) in self.each(|kind_index| (kind_index.kind(), kind_index.facts())) {
            kinds.entry(kind).or_default().append(&mut facts);
        }
        kinds.into_iter().collect()
    }

    /// Whether it is known what became of the object with this uid: it lives, or it is gone and left nothing.
    pub fn is_accounted_for(&self, uid: &str) -> bool {
        lock(&self.ended).contains(uid) || self.each(|kind_index| kind_index.knows(uid)).contains(&true)
    }

    /// Whether there is an object with this uid.
    pub fn knows(&self, uid: &str) -> bool {
        self.each(|kind_index| kind_index.knows(uid)).contains(&true)
    }

    /// The objects that the one of this uid owns, of all kinds.
    pub fn owned_by(&self, uid: &str) -> Vec<Owned> {
        self.each(|kind_index| kind_index.owned_by(uid)).into_iter().flatten().collect()
    }

    /// Something happened to an object that is owned, or any object is gone.
    pub fn changed(&self, change: &Change) {
        self.changes.tell(change);
    }

    /// What happens to objects that are owned, and which objects go.
    pub fn changes(&self) -> impl Stream<Item = Change> + Send + use<> {
        self.changes.listen()
    }

    /// The object is gone, and so is all that the vendor had of it.
    pub fn ended(&self, uid: &str) {
        lock(&self.ended).insert(uid);
    }

    /// How many objects of the namespaces that count name the account, and one of them.
    pub fn users(&self, account: &AccountKey, counts: &dyn Fn(&str) -> bool) -> (usize, Option<String>) {
        let all = self.each(|kind_index| kind_index.users(account, counts));
        all.into_iter().fold((0, None), |(count, example), (more, other)| (count + more, example.or(other)))
    }

    /// How many of those do not need it, since they just wait for one that is made anew.
    pub fn waiting(&self, account: &AccountKey) -> usize {
        self.each(|kind_index| kind_index.waiting(account)).into_iter().sum()
    }

    /// How many other objects of a kind and realm may have a call under way whose result could be taken for this object's.
    pub fn asking_alike(&self, holder: &Holder, realm: &str, wanted: &Value) -> usize {
        // Each watched namespace has an index of its own.
        let of_kind = |it: &dyn KindIndex| it.kind() == holder.kind;
        let counts =
            self.each(|it| if of_kind(it) { it.asking_alike(realm, wanted, &holder.uid) } else { 0 });
        counts.into_iter().sum()
    }

    /// The namespaces whose objects name the account.
    pub fn namespaces(&self, account: &AccountKey) -> BTreeSet<String> {
        self.each(|kind_index| kind_index.namespaces(account)).into_iter().flatten().collect()
    }

    /// What a reference means, or why that is not there yet. `asking` is the kind and the name of who asks: an
    /// object does not mean itself.
    pub fn resolve(
        &self,
        namespace: &str,
        reference: &Reference,
        asking: (&str, &str),
    ) -> Result<Referent, Unresolved> {
        let Reference { name, instead, .. } = reference;
        let taken = self.fitting.meant(asking.0, reference.takes);
        if taken.is_empty() {
            return Err(Unresolved::Unfit(format!(
                "no kind of this version has an image id that {} can use; give {instead} instead of the reference",
                asking.0
            )));
        }
        self.or_wait(Signal::Ready(namespace.into(), name.clone()), || {
            let referents = self.each(|kind_index| {
                reference.may_mean(kind_index).then(|| kind_index.image(namespace, name)).flatten()
            });
            meant(referents.into_iter().flatten(), namespace, reference, asking, &taken)
        })
    }

    /// The same, as the API server knows it now: what is referred to may be an object of another shard.
    pub async fn resolve_in_all_shards(
        &self,
        client: &Client,
        namespace: &str,
        reference: &Reference,
        asking: (&str, &str),
    ) -> Result<Result<Referent, Unresolved>, kube::Error> {
        let reads = self.each(|kind_index| {
            let read = || kind_index.read_image(client.clone(), namespace, &reference.name);
            reference.may_mean(kind_index).then(read)
        });
        let referents = try_join_all(reads.into_iter().flatten()).await?;
        let referents = referents.into_iter().flatten();
        let taken = self.fitting.meant(asking.0, reference.takes);
        Ok(meant(referents, namespace, reference, asking, &taken))
    }

    /// The object that is at work on the image of another one, which it refers to: as long as it is, that image must stay.
    pub fn at_work(&self, kind: &str, namespace: &str, name: &str, id: &str) -> Option<Holder> {
        let refers = self.fitting.refers(kind);
        refers.into_iter().find_map(|refers| self.of_kind(refers, |it| it.at_work(kind, namespace, name, id)))
    }

    /// The same, as the API server knows it now: what is at work may be an object of another shard.
    pub async fn at_work_in_all_shards(
        &self,
        shared: &SharedLocks,
        kind: &str,
        namespace: &str,
        name: &str,
        id: &str,
    ) -> Result<Option<Holder>, kube::Error> {
        let meant = (kind, namespace, name);
        let read = |it: &dyn KindIndex| Some(it.read_at_work(shared.clone(), meant, id));
        let refers = self.fitting.refers(kind).into_iter();
        let reads: Vec<_> = refers.filter_map(|refers| self.of_kind(refers, &read)).collect();
        Ok(try_join_all(reads).await?.into_iter().flatten().next())
    }

    /// The object other than `uid`, of this kind or of another one that may stand for the like, that owns this thing of the
    /// vendor's, if there is one.
    pub fn owner(&self, kind: &str, realm: &str, id: &str, uid: &str) -> Option<Holder> {
        let of = self.ids_of(kind);
        let stored = || self.stored_owner(&of, realm, id, uid);
        let key = Key::Id { of: of.clone(), realm: realm.into(), id: id.into() };
        let known = self.locks().holder(&key, uid).cloned();
        known.or_else(stored)
    }

    fn stored_owner(&self, of: &str, realm: &str, id: &str, uid: &str) -> Option<Holder> {
        let holders = self.each(|it| (it.ids() == of).then(|| it.holder(realm, id, uid)).flatten());
        holders.into_iter().flatten().next()
    }

    /// What objects of other kinds than this own of what its own objects may stand for, as the API server knows it now: they
    /// may be of another shard.
    pub async fn owned_by_other_kinds(
        &self,
        shared: &SharedLocks,
        kind: &str,
        realm: Option<&str>,
    ) -> Result<Vec<(String, Holder)>, kube::Error> {
        let of = self.ids_of(kind);
        let mut kinds = BTreeSet::from([kind.to_owned()]);
        let reads = self.each(|it| {
            // Each watched namespace has an index of its own, and all of them are read.
            let reads = it.ids() == of && kinds.insert(it.kind());
            reads.then(|| it.read_holders(shared.clone(), realm.map(Into::into)))
        });
        Ok(try_join_all(reads.into_iter().flatten()).await?.into_iter().flatten().collect())
    }

    /// What the ids of a kind's objects are ids of.
    fn ids_of(&self, kind: &str) -> String {
        self.of_kind(kind, |it| Some(it.ids())).unwrap_or_else(|| kind.into())
    }

    /// Takes the lock on a thing for an object, or says who holds it. With `evident`, its status says that it is at work on
    /// it already.
    pub fn lock(&self, key: &Key, by: &Holder, evident: bool) -> Result<(), Held> {
        self.or_wait(Signal::Released(key.clone()), || {
            if let (Key::Work { thing, .. }, false) = (key, evident)
                && let Some(worker) = self.unreadable_worker(&by.kind, thing, &by.uid)
            {
                return Err(Held::By(worker));
            }
            self.locks().take(key, by, evident)
        })
    }

    fn unreadable_worker(&self, kind: &str, thing: &str, uid: &str) -> Option<Holder> {
        self.of_kind(kind, |kind_index| kind_index.unreadable_worker(thing, uid))
    }

    /// Makes an object the owner of a thing of the vendor's, or says who is. With `evident`, its status says so already.
    pub fn claim(&self, realm: &str, id: &str, by: &Holder, evident: bool) -> Result<(), Held> {
        let of = self.ids_of(&by.kind);
        let key = Key::Id { of: of.clone(), realm: realm.into(), id: id.into() };
        self.or_wait(Signal::Released(key.clone()), || {
            let mut locks = self.locks();
            if let (false, Some(owner)) = (evident, self.stored_owner(&of, realm, id, &by.uid)) {
                return Err(Held::By(owner));
            }
            locks.take(&key, by, evident)
        })
    }

    /// What cannot be had is waited for; and then tried again, lest it became free in between.
    fn or_wait<T, E>(&self, signal: Signal, attempt: impl Fn() -> Result<T, E>) -> Result<T, E> {
        attempt().or_else(|_| {
            self.wait_for(signal);
            attempt()
        })
    }

    /// Gives back everything that an object holds.
    pub fn release(&self, uid: &str) {
        self.declared(uid);
        self.give_back(uid, |_| true);
    }

    /// Gives back the locks of an object that is at work on nothing any more.
    pub fn unlock(&self, uid: &str) {
        self.declared(uid);
        self.give_back(uid, |key| matches!(key, Key::Work { .. }));
    }

    /// Gives back what an object owned, but for these ids.
    pub fn keep(&self, uid: &str, ids: &[&str]) {
        self.give_back(uid, |key| matches!(key, Key::Id { id, .. } if !ids.contains(&id.as_str())));
    }

    fn give_back(&self, uid: &str, which: impl Fn(&Key) -> bool) {
        let given_back = self.locks().give_back(uid, which);
        for key in given_back {
            self.signal(Signal::Released(key));
        }
    }

    /// An object of this kind that had these ids is gone, and, if it could not be read, may have been at work on these things.
    pub fn freed(&self, kind: &str, ids: &[&str], things: &[String]) {
        let theirs = self.ids_of(kind);
        let is_of = |signal: &Signal| match signal {
            Signal::Released(Key::Id { of, id, .. }) => *of == theirs && ids.contains(&id.as_str()),
            Signal::Released(Key::Work { thing, .. }) => things.contains(thing),
            Signal::Ready(..) => false,
        };
        let awaited: Vec<_> = lock(&self.awaited).iter().filter(|signal| is_of(signal)).cloned().collect();
        for signal in awaited {
            self.signal(signal);
        }
    }

    /// An object had something under way when this process met it.
    pub fn expect_lock(&self, uid: &str, kind_id: KindId) {
        self.locks().expect(uid, kind_id);
    }

    /// An expected object has taken its lock, or needs none.
    pub fn declared(&self, uid: &str) {
        self.learn(|locks| locks.declared(uid));
    }

    /// Once all is known, whoever had to wait for that may begin.
    fn learn<T>(&self, learn: impl FnOnce(&mut Locks) -> T) -> T {
        let mut locks = self.locks();
        let knew = locks.is_all_known();
        let learned = learn(&mut locks);
        if !knew && locks.is_all_known() {
            let awaited = lock(&self.awaited).clone();
            awaited
                .into_iter()
                .filter(|signal| matches!(signal, Signal::Released(_)))
                .for_each(|it| self.signal(it));
        }
        learned
    }

    /// Tells those who wait, if any do.
    pub fn signal(&self, signal: Signal) {
        if lock(&self.awaited).remove(&signal) {
            self.signals.tell(&signal);
        }
    }

    fn wait_for(&self, signal: Signal) {
        let mut awaited = lock(&self.awaited);
        // Those who still wait say so again when they look by themselves; the others have gone.
        if awaited.len() >= AWAITED {
            awaited.clear();
        }
        awaited.insert(signal);
    }

    /// What others may be waiting for.
    pub fn signals(&self) -> impl Stream<Item = Signal> + Send + use<> {
        self.signals.listen()
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        lock(&self.locks)
    }
}

/// Which of the objects that have its name a reference means.
fn meant(
    found: impl Iterator<Item = Found>,
    namespace: &str,
    Reference { kind, name, instead, .. }: &Reference,
    asking: (&str, &str),
    taken: &[&str],
) -> Result<Referent, Unresolved> {
    let (found, unfit): (Vec<_>, Vec<_>) = found
        .filter(|found| (found.kind.as_str(), name.as_str()) != asking)
        .partition(|found| taken.contains(&found.kind.as_str()));
    let kind = kind.as_deref().unwrap_or("an image object");
    match found.as_slice() {
        [] if !unfit.is_empty() => Err(Unresolved::Unfit(format!(
            "{} {name} has no image id that {} can use, which takes that of {}; correct the reference, or give {instead} \
             instead",
            unfit[0].kind,
            asking.0,
            taken.join(" or ")
        ))),
        [] => Err(Unresolved::Missing(format!(
            "waits for {kind} named {name} in namespace {namespace}, which does not exist; create it, or correct the reference"
        ))),
        [Found { ready: Some(referent), .. }] => {
            Ok(Referent { field: (*instead).to_owned(), ..referent.clone() })
        }
        [Found { kind, ready: None }] => {
            Err(Unresolved::NotReady(format!("waits until {kind} {name} is Ready and has an image id")))
        }
        many => {
            let kinds: Vec<_> = many.iter().map(|found| found.kind.as_str()).collect();
            Err(Unresolved::Unfit(format!(
                "{name} is the name of several objects ({}); give the reference a kind",
                kinds.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};
    use std::{future::ready, pin::pin};

    fn object(uid: &str, kind_id: KindId) -> Holder {
        Holder { uid: uid.into(), kind_id, kind: "Kind".into(), namespace: "ns".into(), name: uid.into() }
    }

    fn heard(signals: &mut (impl Stream<Item = Signal> + Unpin)) -> Option<Signal> {
        signals.next().now_or_never().flatten()
    }

    fn image(thing: &str) -> Key {
        Key::Work { realm: "here".into(), thing: thing.into() }
    }

    struct Empty;
    impl KindIndex for Empty {
        fn kind(&self) -> String {
            "Kind".into()
        }
        fn ids(&self) -> String {
            "thing".into()
        }
        fn users(&self, _: &AccountKey, _: &dyn Fn(&str) -> bool) -> (usize, Option<String>) {
            (0, None)
        }
        fn namespaces(&self, _: &AccountKey) -> Vec<String> {
            vec![]
        }
        fn waiting(&self, _: &AccountKey) -> usize {
            0
        }
        fn asking_alike(&self, _: &str, _: &Value, _: &str) -> usize {
            0
        }
        fn image(&self, namespace: &str, name: &str) -> Option<Found> {
            let referent =
                Referent { kind: self.kind(), name: name.into(), id: "id-1".into(), ..Referent::default() };
            (namespace == "ns")
                .then(|| Found { kind: self.kind(), ready: (name == "ready").then_some(referent) })
        }
        fn read_image(
            &self,
            _: Client,
            namespace: &str,
            name: &str,
        ) -> BoxFuture<'static, Result<Option<Found>, kube::Error>> {
            Box::pin(ready(Ok(self.image(namespace, name))))
        }
        fn holder(&self, _: &str, id: &str, uid: &str) -> Option<Holder> {
            (id == "stored" && uid != "a").then(|| object("a", 1))
        }
        fn read_holders(
            &self,
            _: SharedLocks,
            _: Option<String>,
        ) -> BoxFuture<'static, Result<Vec<(String, Holder)>, kube::Error>> {
            Box::pin(ready(Ok(vec![])))
        }
        fn unreadable_worker(&self, thing: &str, _: &str) -> Option<Holder> {
            (thing == "image-of-one-that-cannot-be-read").then(|| object("odd", 1))
        }
        fn at_work(&self, _: &str, _: &str, _: &str, _: &str) -> Option<Holder> {
            None
        }
        fn read_at_work(
            &self,
            _: SharedLocks,
            _: (&str, &str, &str),
            _: &str,
        ) -> BoxFuture<'static, Result<Option<Holder>, kube::Error>> {
            Box::pin(ready(Ok(None)))
        }
        fn facts(&self) -> Vec<Facts> {
            vec![]
        }
        fn knows(&self, uid: &str) -> bool {
            uid == "living"
        }
        fn owned_by(&self, _: &str) -> Vec<Owned> {
            vec![]
        }
    }

    #[test]
    fn the_oldest_of_those_that_ended_are_forgotten() {
        let index = Index::default();
        index.add(Arc::new(Empty));
        assert!(index.is_accounted_for("living") && !index.is_accounted_for("unknown"));
        (0..=ENDED).for_each(|number| index.ended(&number.to_string()));
        let known = |number: usize| index.is_accounted_for(&number.to_string());
        assert!(!known(0) && known(1) && known(ENDED));
    }

    #[test]
    fn nobody_begins_before_all_objects_are_known_and_then_those_who_waited_are_told() {
        let index = Index::default();
        let mut signals = pin!(index.signals());
        let (one, two) = (index.add(Arc::new(Empty)), index.add(Arc::new(Empty)));
        index.expect_lock("gone", two);
        assert!(index.lock(&image("image-1"), &object("new", 1), false).is_err());
        index.filled(one, |_| false);
        assert!(heard(&mut signals).is_none(), "the other is not filled yet");
        assert!(!index.is_filled());
        index.filled(two, |uid| uid != "gone");
        assert_eq!(heard(&mut signals), Some(Signal::Released(image("image-1"))));
        assert_eq!(index.lock(&image("image-1"), &object("new", 1), false), Ok(()));
        index.filled(two, |_| false);
        let other = object("other", 1);
        assert!(index.lock(&image("image-1"), &other, false).is_err(), "not of that kind");
        index.filled(one, |_| false);
        assert_eq!(index.lock(&image("image-1"), &other, false), Ok(()), "who went unseen holds no lock");
    }

    #[test]
    fn one_object_owns_a_thing_and_who_waits_for_it_is_told() {
        let index = Index::default();
        let mut signals = pin!(index.signals());
        let kind = index.add(Arc::new(Empty));
        index.filled(kind, |_| true);
        let (a, b) = (object("a", kind), object("b", kind));
        assert_eq!(index.claim("here", "i-1", &a, false), Ok(()));
        assert_eq!(index.claim("here", "i-1", &b, false), Err(Held::By(a.clone())));
        assert_eq!(index.claim("there", "i-1", &b, false), Ok(()), "another thing of that id");
        assert_eq!(index.claim("here", "stored", &b, false), Err(Held::By(a.clone())), "its status says so");
        assert_eq!(index.owner("Kind", "here", "i-1", "b"), Some(a.clone()));
        assert_eq!(index.owner("Kind", "here", "i-1", "a"), None);
        // To be done with one's work is not to give up what one owns.
        index.unlock("a");
        index.keep("a", &["i-1"]);
        assert_eq!(index.claim("here", "i-1", &b, false), Err(Held::By(a)));
        index.keep("a", &[]);
        let freed = Key::Id { of: "thing".into(), realm: "here".into(), id: "i-1".into() };
        assert_eq!(heard(&mut signals), Some(Signal::Released(freed)));
        assert_eq!(index.claim("here", "i-1", &b, false), Ok(()));
        index.freed("Kind", &["stored"], &[]);
        assert!(matches!(heard(&mut signals), Some(Signal::Released(Key::Id { id, .. })) if id == "stored"));
    }

    #[test]
    fn what_one_that_cannot_be_read_works_on_is_held() {
        let index = Index::default();
        let kind = index.add(Arc::new(Empty));
        index.filled(kind, |_| true);
        let held = index.lock(&image("image-of-one-that-cannot-be-read"), &object("a", kind), false);
        assert_eq!(held, Err(Held::By(object("odd", 1))));
        assert_eq!(index.lock(&image("image-1"), &object("a", kind), false), Ok(()));
    }

    #[test]
    fn an_object_does_not_mean_itself() {
        let index = Index::new(fitting(&["Other", "Kind"]));
        index.add(Arc::new(Empty));
        let reference = reference(None);
        let other = index.resolve("ns", &reference, ("Other", "base")).unwrap_err();
        assert!(
            matches!(&other, Unresolved::NotReady(why) if why.contains("until Kind base is Ready")),
            "{other:?}"
        );
        let elsewhere = index.resolve("another", &reference, ("Other", "base")).unwrap_err();
        assert!(matches!(elsewhere, Unresolved::Missing(_)), "never across namespaces: {elsewhere:?}");
        let itself = index.resolve("ns", &reference, ("Kind", "base")).unwrap_err();
        assert!(matches!(&itself, Unresolved::Missing(why) if why.contains("does not exist")), "{itself:?}");
    }

    fn reference(kind: Option<&str>) -> Reference {
        let kind = kind.map(Into::into);
        Reference { takes: "thing", kind, name: "base".into(), instead: "forProvider.imageId", nearby: false }
    }

    /// `Kind` makes what these take, and `Image` makes something else.
    fn fitting(refer: &[&str]) -> Fitting {
        let ties = |kind: &&str| Ties {
            kind: (*kind).into(),
            yields: [("Kind", "thing"), ("Image", "image")].iter().find(|it| it.0 == *kind).map(|it| it.1),
            takes: if refer.contains(kind) { &["thing"] } else { &[] },
        };
        Fitting::new(["Kind", "Image", "Other"].iter().map(ties).collect(), &[])
    }

    #[test]
    fn a_reference_takes_only_kinds_whose_id_fits() {
        for (takes, also, says) in [
            (
                "nothing",
                &[][..],
                "no kind of this version has an image id that Other can use; give forProvider.imageId",
            ),
            (
                "image",
                &[],
                "Kind base has no image id that Other can use, which takes that of Image; correct",
            ),
            (
                "nothing",
                &[("Other", "Image")],
                "Kind base has no image id that Other can use, which takes that of Image",
            ),
        ] {
            let index = Index::new(Fitting { also, ..fitting(&[]) });
            index.add(Arc::new(Empty));
            for kind in [None, Some("Kind")] {
                let reference = Reference { takes, ..reference(kind) };
                let unfit = index.resolve("ns", &reference, ("Other", "name")).unwrap_err();
                assert!(matches!(&unfit, Unresolved::Unfit(why) if why.starts_with(says)), "{unfit:?}");
            }
        }
    }

    #[test]
    fn whose_references_may_mean_a_kind_is_what_kinds_say() {
        let fitting = Fitting { also: &[("Old", "Kind")], ..fitting(&["Other", "Image"]) };
        assert_eq!(fitting.refers("Kind"), ["Image", "Old", "Other"].into());
        assert!(fitting.refers("Image").is_empty() && fitting.refers("Unknown").is_empty());
        assert_eq!(fitting.meant("Other", "thing"), ["Kind"]);
        assert_eq!(fitting.meant("Old", "image"), ["Image", "Kind"]);
    }

    /// Two may have the same name, and take other things.
    #[test]
    fn each_reference_gets_what_it_means() {
        let index = Index::new(fitting(&["Other"]));
        index.add(Arc::new(Empty));
        let ready = Reference { name: "ready".into(), ..reference(None) };
        let referent = index.resolve("ns", &ready, ("Other", "name")).expect("it is Ready");
        assert_eq!((&*referent.field, &*referent.id), ("forProvider.imageId", "id-1"));
        let other = Reference { instead: "forProvider.other", ..ready.clone() };
        let kind = Reference { kind: Some("Image".into()), ..ready.clone() };
        let referents = [referent.clone()];
        assert_eq!(ready.among(&referents), Some(&referent));
        for reference in [other, kind, reference(None)] {
            assert_eq!(reference.among(&referents), None, "{reference:?}");
        }
    }

    #[test]
    fn what_must_be_nearby_is_in_the_same_region() {
        let far = Referent { region: Some("there".into()), ..Referent::default() };
        let (anywhere, nearby) = (reference(None), reference(None).nearby());
        for (reference, referent, own, fits) in [
            (&nearby, &far, Some("here"), false),
            (&nearby, &far, Some("there"), true),
            (&anywhere, &far, Some("here"), true),
            // Where the vendor has no regions, or one is not known, the vendor tells.
            (&nearby, &far, None, true),
            (&nearby, &Referent::default(), Some("here"), true),
        ] {
            let why = reference.unreachable(referent, own);
            assert_eq!(why.is_none(), fits, "{reference:?} {referent:?} {own:?}: {why:?}");
        }
    }

    #[test]
    fn names_that_never_come_do_not_fill_the_memory() {
        let index = Index::new(fitting(&["Other"]));
        index.add(Arc::new(Empty));
        let mut signals = pin!(index.signals());
        let asking = ("Other", "asking");
        for number in 0..AWAITED * 3 {
            let reference = Reference { name: number.to_string(), ..reference(None) };
            assert!(index.resolve("ns", &reference, asking).is_err());
        }
        assert!(lock(&index.awaited).len() <= AWAITED);
        // Who looks again is told again.
        let reference = Reference { name: "0".into(), ..reference(None) };
        assert!(index.resolve("ns", &reference, asking).is_err());
        index.signal(Signal::Ready("ns".into(), "0".into()));
        assert_eq!(heard(&mut signals), Some(Signal::Ready("ns".into(), "0".into())));
    }
}
