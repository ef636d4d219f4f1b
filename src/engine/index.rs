//! What the controllers of all kinds know of each other's objects: who uses an account, which image a name means, which
//! of the vendor's things are taken, and which object holds the lock on something that only one may touch at a time.

use super::{accounts::AccountKey, metrics::Facts};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};
use tokio::sync::broadcast;

/// The objects of one kind, as others need them.
pub trait KindIndex: Send + Sync {
    /// The kind's name.
    fn kind(&self) -> String;
    /// How many objects of the namespaces that count name the account, and one of them as `Kind namespace/name`.
    fn users(&self, account: &AccountKey, counts: &dyn Fn(&str) -> bool) -> (usize, Option<String>);
    /// The namespaces whose objects name the account.
    fn namespaces(&self, account: &AccountKey) -> Vec<String>;
    /// The object of that name, if there is one.
    fn image(&self, namespace: &str, name: &str) -> Option<Referent>;
    /// Whether another object than `uid` has this id of the vendor's as its own.
    fn holds(&self, id: &str, uid: &str) -> bool;
    /// What is counted of its objects.
    fn facts(&self) -> Vec<Facts>;
}

/// How many things are awaited at most; some may never come, and who waited for them may be gone.
const AWAITED: usize = 10_000;

/// Names one kind in the index.
pub type KindId = usize;

/// An object that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referent {
    /// Its kind.
    pub kind: String,
    /// Its image id, once it is Ready.
    pub ready: Option<String>,
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

/// Names an object whose image another one works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The field that takes the id itself, for messages.
    pub instead: &'static str,
    /// Its kind, if the user gave one.
    pub kind: Option<String>,
    /// Its name, in the same namespace.
    pub name: String,
}

/// Something that others may be waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The object of this namespace and name became Ready.
    Ready(String, String),
    /// Nobody holds the lock on this any more.
    Released(String),
}

/// All kinds' objects.
pub struct Index {
    kinds: RwLock<Vec<Box<dyn KindIndex>>>,
    locks: Mutex<Locks>,
    /// What somebody waits for: only that is told, since telling means a look through all objects.
    awaited: Mutex<HashSet<Signal>>,
    signals: broadcast::Sender<Signal>,
    /// Which kinds' image ids a kind's reference takes.
    fitting: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Default)]
struct Locks {
    /// What is locked, by the uid of which object of which kind, and that object's name for people.
    held: HashMap<String, (String, KindId, String)>,
    /// Kinds whose objects are not all known yet.
    unread: HashSet<KindId>,
    /// Objects that had something under way when this process met them, by uid, and have not taken their lock yet.
    undeclared: HashMap<String, KindId>,
}

impl Locks {
    fn is_all_known(&self) -> bool {
        self.unread.is_empty() && self.undeclared.is_empty()
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Index {
    /// Without objects. `fitting`: pairs of a kind that refers and one whose image id it takes.
    pub fn new(fitting: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            fitting,
            kinds: RwLock::default(),
            locks: Mutex::default(),
            awaited: Mutex::default(),
            signals: broadcast::channel(4096).0,
        }
    }

    /// Adds a kind, whose objects are not known yet.
    pub fn add(&self, kind_index: Box<dyn KindIndex>) -> KindId {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        kinds.push(kind_index);
        self.locks().unread.insert(kinds.len());
        kinds.len()
    }

    /// All objects of a kind are known; those that `is_there` does not know have gone unseen.
    pub fn filled(&self, kind_id: KindId, is_there: impl Fn(&str) -> bool) {
        self.learn(|locks| {
            locks.unread.remove(&kind_id);
            locks.undeclared.retain(|uid, of| *of != kind_id || is_there(uid));
        });
        let is_gone = |(uid, of, _): &&(String, KindId, String)| *of == kind_id && !is_there(uid);
        let gone: Vec<_> = self.locks().held.values().filter(is_gone).map(|(uid, ..)| uid.clone()).collect();
        for uid in &gone {
            self.release(uid);
        }
    }

    /// Which kinds' objects are not known yet, for the end of a sentence.
    pub fn missing(&self) -> String {
        let unread = self.locks().unread.clone();
        let kinds: Vec<_> = (1..)
            .zip(self.each(|kind_index| kind_index.kind()))
            .filter(|(kind_id, _)| unread.contains(kind_id))
            .map(|(_, kind)| kind)
            .collect();
        if kinds.is_empty() { String::new() } else { format!(" (still to be read: {})", kinds.join(", ")) }
    }

    /// Whether all objects that there are have been seen.
    pub fn is_filled(&self) -> bool {
        self.locks().unread.is_empty()
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

    /// How many objects of the namespaces that count name the account, and one of them.
    pub fn users(&self, account: &AccountKey, counts: &dyn Fn(&str) -> bool) -> (usize, Option<String>) {
        let all = self.each(|kind_index| kind_index.users(account, counts));
        all.into_iter().fold((0, None), |(count, example), (more, other)| (count + more, example.or(other)))
    }

    /// The namespaces whose objects name the account.
    pub fn namespaces(&self, account: &AccountKey) -> BTreeSet<String> {
        self.each(|kind_index| kind_index.namespaces(account)).into_iter().flatten().collect()
    }

    /// The image id that a reference means, or why there is none yet. `asking` is the kind and the name of who asks: an
    /// object does not mean itself.
    pub fn resolve(
        &self,
        namespace: &str,
        reference: &Reference,
        asking: (&str, &str),
    ) -> Result<String, Unresolved> {
        let Reference { kind, name, instead } = reference;
        let takes = |kind: &str| self.fitting.contains(&(asking.0, kind));
        let taken: Vec<_> =
            self.fitting.iter().filter(|(refers, _)| *refers == asking.0).map(|(_, kind)| *kind).collect();
        if taken.is_empty() {
            return Err(Unresolved::Unfit(format!(
                "no kind of this version has an image id that {} can use; give {instead} instead of the reference",
                asking.0
            )));
        }
        // First, so that what becomes Ready while we look is told.
        self.wait_for(Signal::Ready(namespace.into(), name.clone()));
        let wanted =
            |kind_index: &dyn KindIndex| kind.as_deref().is_none_or(|kind| kind_index.kind() == kind);
        let (found, unfit): (Vec<_>, Vec<_>) = self
            .each(|kind_index| wanted(kind_index).then(|| kind_index.image(namespace, name)).flatten())
            .into_iter()
            .flatten()
            .filter(|referent| (referent.kind.as_str(), name.as_str()) != asking)
            .partition(|referent| takes(&referent.kind));
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
            [Referent { ready: Some(id), .. }] => Ok(id.clone()),
            [Referent { kind, ready: None }] => {
                Err(Unresolved::NotReady(format!("waits until {kind} {name} is Ready and has an image id")))
            }
            many => {
                let kinds: Vec<_> = many.iter().map(|referent| referent.kind.as_str()).collect();
                Err(Unresolved::Unfit(format!(
                    "{name} is the name of several objects ({}); give the reference a kind",
                    kinds.join(", ")
                )))
            }
        }
    }

    /// Whether an object other than `uid` holds this id of the vendor's.
    pub fn is_taken(&self, kind: &str, id: &str, uid: &str) -> bool {
        self.each(|kind_index| kind_index.kind() == kind && kind_index.holds(id, uid)).contains(&true)
    }

    /// Takes the lock on `thing` for an object, or says who holds it; `None` as long as that is not known. With
    /// `under_way`, for an object that has acted already, it always gets it.
    pub fn lock(
        &self,
        thing: &str,
        (uid, kind_id): (String, KindId),
        name: &str,
        under_way: bool,
    ) -> Result<(), Option<String>> {
        let mut locks = self.locks();
        self.wait_for(Signal::Released(thing.into()));
        match locks.held.get(thing) {
            Some((holder, _, its_name)) if *holder != uid && !under_way => {
                return Err(Some(its_name.clone()));
            }
            None if !under_way && !locks.is_all_known() => {
                return Err(None);
            }
            _ => {}
        }
        locks.held.insert(thing.to_owned(), (uid, kind_id, name.to_owned()));
        Ok(())
    }

    /// Releases whatever locks the object holds.
    pub fn release(&self, uid: &str) {
        self.declared(uid);
        let mut locks = self.locks();
        let freed: Vec<_> = locks
            .held
            .iter()
            .filter(|(_, (holder, ..))| holder == uid)
            .map(|(thing, _)| thing.clone())
            .collect();
        for thing in freed {
            locks.held.remove(&thing);
            self.signal(Signal::Released(thing));
        }
    }

    /// An object had something under way when this process met it.
    pub fn expect_lock(&self, uid: &str, kind_id: KindId) {
        self.locks().undeclared.insert(uid.to_owned(), kind_id);
    }

    /// An expected object has taken its lock, or needs none.
    pub fn declared(&self, uid: &str) {
        self.learn(|locks| {
            locks.undeclared.remove(uid);
        });
    }

    /// Once all is known, whoever had to wait for that may begin.
    fn learn(&self, learn: impl FnOnce(&mut Locks)) {
        let mut locks = self.locks();
        let knew = locks.is_all_known();
        learn(&mut locks);
        if !knew && locks.is_all_known() {
            let awaited = lock(&self.awaited).clone();
            awaited
                .into_iter()
                .filter(|signal| matches!(signal, Signal::Released(_)))
                .for_each(|it| self.signal(it));
        }
    }

    /// Tells those who wait, if any do.
    pub fn signal(&self, signal: Signal) {
        if lock(&self.awaited).remove(&signal) {
            // Without receivers nobody listens any more.
            let _ = self.signals.send(signal);
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
    pub fn signals(&self) -> broadcast::Receiver<Signal> {
        self.signals.subscribe()
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        lock(&self.locks)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_at_a_time_holds_a_lock() {
        let index = Index::default();
        let mut signals = index.signals();
        assert_eq!(index.lock("image-1", ("a".into(), 1), "ns/a", false), Ok(()));
        assert_eq!(
            index.lock("image-1", ("a".into(), 1), "ns/a", false),
            Ok(()),
            "again, for the same object"
        );
        assert_eq!(index.lock("image-1", ("b".into(), 1), "ns/b", false), Err(Some("ns/a".into())));
        assert_eq!(index.lock("image-2", ("b".into(), 1), "ns/b", false), Ok(()));
        index.release("a");
        assert_eq!(signals.try_recv(), Ok(Signal::Released("image-1".into())));
        assert_eq!(index.lock("image-1", ("b".into(), 1), "ns/b", false), Ok(()));
    }

    #[test]
    fn after_a_start_nobody_begins_before_all_that_were_under_way_have_spoken() {
        let index = Index::default();
        index.expect_lock("old", 1);
        assert!(index.lock("image-1", ("new".into(), 1), "ns/new", false).is_err());
        assert_eq!(index.lock("image-1", ("old".into(), 1), "ns/old", true), Ok(()));
        index.declared("old");
        assert_eq!(index.lock("image-1", ("new".into(), 1), "ns/new", false), Err(Some("ns/old".into())));
        assert_eq!(index.lock("image-2", ("new".into(), 1), "ns/new", false), Ok(()));
    }

    struct Empty;
    impl KindIndex for Empty {
        fn kind(&self) -> String {
            "Kind".into()
        }
        fn users(&self, _: &AccountKey, _: &dyn Fn(&str) -> bool) -> (usize, Option<String>) {
            (0, None)
        }
        fn namespaces(&self, _: &AccountKey) -> Vec<String> {
            vec![]
        }
        fn image(&self, _: &str, _: &str) -> Option<Referent> {
            Some(Referent { kind: self.kind(), ready: None })
        }
        fn holds(&self, _: &str, _: &str) -> bool {
            false
        }
        fn facts(&self) -> Vec<Facts> {
            vec![]
        }
    }

    #[test]
    fn nobody_begins_before_all_objects_are_known_and_then_those_who_waited_are_told() {
        let index = Index::default();
        let mut signals = index.signals();
        let (one, two) = (index.add(Box::new(Empty)), index.add(Box::new(Empty)));
        index.expect_lock("gone", two);
        assert!(index.lock("image-1", ("new".into(), 1), "ns/new", false).is_err());
        index.filled(one, |_| false);
        assert!(signals.try_recv().is_err(), "the other is not filled yet");
        assert!(!index.is_filled());
        index.filled(two, |uid| uid != "gone");
        assert_eq!(signals.try_recv(), Ok(Signal::Released("image-1".into())));
        assert_eq!(index.lock("image-1", ("new".into(), 1), "ns/new", false), Ok(()));
        index.filled(two, |_| false);
        let other = || ("other".to_owned(), 1);
        assert!(index.lock("image-1", other(), "ns/other", false).is_err(), "not of that kind");
        index.filled(one, |_| false);
        let freed = index.lock("image-1", other(), "ns/other", false);
        assert_eq!(freed, Ok(()), "who went unseen holds no lock");
    }

    #[test]
    fn an_object_does_not_mean_itself() {
        let index = Index::new(&[("Other", "Kind"), ("Kind", "Kind")]);
        index.add(Box::new(Empty));
        let reference = reference(None);
        let other = index.resolve("ns", &reference, ("Other", "base")).unwrap_err();
        assert!(
            matches!(&other, Unresolved::NotReady(why) if why.contains("until Kind base is Ready")),
            "{other:?}"
        );
        let itself = index.resolve("ns", &reference, ("Kind", "base")).unwrap_err();
        assert!(matches!(&itself, Unresolved::Missing(why) if why.contains("does not exist")), "{itself:?}");
    }

    fn reference(kind: Option<&str>) -> Reference {
        Reference { kind: kind.map(Into::into), name: "base".into(), instead: "forProvider.imageId" }
    }

    #[test]
    fn a_reference_takes_only_kinds_whose_id_fits() {
        for (fitting, says) in [
            (&[][..], "no kind of this version has an image id that Other can use; give forProvider.imageId"),
            (
                &[("Other", "Image")],
                "Kind base has no image id that Other can use, which takes that of Image",
            ),
        ] {
            let index = Index::new(fitting);
            index.add(Box::new(Empty));
            for kind in [None, Some("Kind")] {
                let unfit = index.resolve("ns", &reference(kind), ("Other", "name")).unwrap_err();
                assert!(matches!(&unfit, Unresolved::Unfit(why) if why.starts_with(says)), "{unfit:?}");
            }
        }
    }

    #[test]
    fn names_that_never_come_do_not_fill_the_memory() {
        let index = Index::new(&[("Other", "Kind")]);
        index.add(Box::new(Empty));
        let mut signals = index.signals();
        let asking = ("Other", "asking");
        for number in 0..AWAITED * 3 {
            let reference = Reference { kind: None, name: number.to_string(), instead: "imageId" };
            assert!(index.resolve("ns", &reference, asking).is_err());
        }
        assert!(lock(&index.awaited).len() <= AWAITED);
        // Who looks again is told again.
        let reference = Reference { kind: None, name: "0".into(), instead: "imageId" };
        assert!(index.resolve("ns", &reference, asking).is_err());
        index.signal(Signal::Ready("ns".into(), "0".into()));
        assert_eq!(signals.try_recv(), Ok(Signal::Ready("ns".into(), "0".into())));
    }
}
