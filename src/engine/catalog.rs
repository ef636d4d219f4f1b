//! What the controllers of all kinds know of each other's objects: who uses an account, which image a name means, which
//! of the vendor's things are taken, and which object has the word about something that only one may touch at a time.

use super::accounts::AccountKey;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};
use tokio::sync::broadcast;

/// The objects of one kind, as others need them.
pub trait Shelf: Send + Sync {
    /// The kind's name.
    fn kind(&self) -> String;
    /// How many objects name the account, and one of them as `Kind namespace/name`.
    fn users(&self, account: &AccountKey) -> (usize, Option<String>);
    /// The object of that name, if there is one.
    fn image(&self, namespace: &str, name: &str) -> Option<Referent>;
    /// Whether another object than `uid` has this id of the vendor's as its own.
    fn holds(&self, id: &str, uid: &str) -> bool;
}

/// One shelf among the others.
pub type Place = usize;

/// An object that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referent {
    /// Its kind.
    pub kind: String,
    /// Its image id, once it is Ready.
    pub ready: Option<String>,
}

/// Names an object whose image another one works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
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
    /// Nobody has the word about this any more.
    Free(String),
}

/// All kinds' objects.
pub struct Catalog {
    shelves: RwLock<Vec<Box<dyn Shelf>>>,
    words: Mutex<Words>,
    /// What somebody waits for: only that is told, since telling means a look through all objects.
    awaited: Mutex<HashSet<Signal>>,
    signals: broadcast::Sender<Signal>,
}

#[derive(Debug, Default)]
struct Words {
    /// What is being touched, by whose uid on which shelf, and that object's name for people.
    held: HashMap<String, (String, Place, String)>,
    /// Shelves that are not filled yet.
    unread: HashSet<Place>,
    /// Objects that had something under way when this process met them, by uid, and have not spoken for it yet.
    unspoken: HashMap<String, Place>,
}

impl Words {
    fn is_all_known(&self) -> bool {
        self.unread.is_empty() && self.unspoken.is_empty()
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            shelves: RwLock::default(),
            words: Mutex::default(),
            awaited: Mutex::default(),
            signals: broadcast::channel(4096).0,
        }
    }
}

impl Catalog {
    /// Adds a kind, whose objects are not known yet.
    pub fn add(&self, shelf: Box<dyn Shelf>) -> Place {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.push(shelf);
        self.words().unread.insert(shelves.len());
        shelves.len()
    }

    /// A shelf holds all objects that there are; those that `is_there` does not know have gone unseen.
    pub fn filled(&self, place: Place, is_there: impl Fn(&str) -> bool) {
        self.learn(|words| {
            words.unread.remove(&place);
            words.unspoken.retain(|uid, of| *of != place || is_there(uid));
        });
        let is_gone = |(uid, of, _): &&(String, Place, String)| *of == place && !is_there(uid);
        let gone: Vec<_> = self.words().held.values().filter(is_gone).map(|(uid, ..)| uid.clone()).collect();
        for uid in &gone {
            self.give_back(uid);
        }
    }

    /// Which kinds' objects are not known yet, for the end of a sentence.
    pub fn missing(&self) -> String {
        let unread = self.words().unread.clone();
        let kinds: Vec<_> = (1..)
            .zip(self.each(|shelf| shelf.kind()))
            .filter(|(place, _)| unread.contains(place))
            .map(|(_, kind)| kind)
            .collect();
        if kinds.is_empty() { String::new() } else { format!(" (still to be read: {})", kinds.join(", ")) }
    }

    /// Whether all objects that there are have been seen.
    pub fn is_filled(&self) -> bool {
        self.words().unread.is_empty()
    }

    fn each<T>(&self, ask: impl FnMut(&dyn Shelf) -> T) -> Vec<T> {
        let shelves = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        shelves.iter().map(|shelf| &**shelf).map(ask).collect()
    }

    /// How many objects name the account, and one of them.
    pub fn users(&self, account: &AccountKey) -> (usize, Option<String>) {
        let all = self.each(|shelf| shelf.users(account));
        all.into_iter().fold((0, None), |(count, example), (more, other)| (count + more, example.or(other)))
    }

    /// The image id that a reference means, or why there is none yet. `asking` is the kind and the name of who asks: an
    /// object does not mean itself.
    pub fn resolve(
        &self,
        namespace: &str,
        reference: &Reference,
        asking: (&str, &str),
    ) -> Result<String, String> {
        let Reference { kind, name } = reference;
        // First, so that what becomes Ready while we look is told.
        self.wait_for(Signal::Ready(namespace.into(), name.clone()));
        let wanted = |shelf: &dyn Shelf| kind.as_deref().is_none_or(|kind| shelf.kind() == kind);
        let found: Vec<_> = self
            .each(|shelf| wanted(shelf).then(|| shelf.image(namespace, name)).flatten())
            .into_iter()
            .flatten()
            .filter(|referent| (referent.kind.as_str(), name.as_str()) != asking)
            .collect();
        let kind = kind.as_deref().unwrap_or("an image object");
        match found.as_slice() {
            [] => Err(format!(
                "waits for {kind} named {name} in namespace {namespace}, which does not exist; create it, or correct the reference"
            )),
            [Referent { ready: Some(id), .. }] => Ok(id.clone()),
            [Referent { kind, ready: None }] => {
                Err(format!("waits until {kind} {name} is Ready and has an image id"))
            }
            many => {
                let kinds: Vec<_> = many.iter().map(|referent| referent.kind.as_str()).collect();
                Err(format!(
                    "{name} is the name of several objects ({}); give the reference a kind",
                    kinds.join(", ")
                ))
            }
        }
    }

    /// Whether an object other than `uid` holds this id of the vendor's.
    pub fn is_taken(&self, kind: &str, id: &str, uid: &str) -> bool {
        self.each(|shelf| shelf.kind() == kind && shelf.holds(id, uid)).contains(&true)
    }

    /// Takes the word about `thing` for an object, or says who has it; `None` as long as that is not known. With
    /// `under_way`, for an object that has acted already, it always gets it.
    pub fn claim(
        &self,
        thing: &str,
        (uid, place): (String, Place),
        name: &str,
        under_way: bool,
    ) -> Result<(), Option<String>> {
        let mut words = self.words();
        self.wait_for(Signal::Free(thing.into()));
        match words.held.get(thing) {
            Some((holder, _, its_name)) if *holder != uid && !under_way => {
                return Err(Some(its_name.clone()));
            }
            None if !under_way && !words.is_all_known() => {
                return Err(None);
            }
            _ => {}
        }
        words.held.insert(thing.to_owned(), (uid, place, name.to_owned()));
        Ok(())
    }

    /// Gives back whatever words the object has.
    pub fn give_back(&self, uid: &str) {
        self.spoken(uid);
        let mut words = self.words();
        let freed: Vec<_> = words
            .held
            .iter()
            .filter(|(_, (holder, ..))| holder == uid)
            .map(|(thing, _)| thing.clone())
            .collect();
        for thing in freed {
            words.held.remove(&thing);
            self.signal(Signal::Free(thing));
        }
    }

    /// An object had something under way when this process met it.
    pub fn announce(&self, uid: &str, place: Place) {
        self.words().unspoken.insert(uid.to_owned(), place);
    }

    /// An announced object has spoken, or has nothing to say.
    pub fn spoken(&self, uid: &str) {
        self.learn(|words| {
            words.unspoken.remove(uid);
        });
    }

    /// Once all is known, whoever had to wait for that may begin.
    fn learn(&self, learn: impl FnOnce(&mut Words)) {
        let mut words = self.words();
        let knew = words.is_all_known();
        learn(&mut words);
        if !knew && words.is_all_known() {
            let awaited = lock(&self.awaited).clone();
            awaited
                .into_iter()
                .filter(|signal| matches!(signal, Signal::Free(_)))
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
        lock(&self.awaited).insert(signal);
    }

    /// What others may be waiting for.
    pub fn signals(&self) -> broadcast::Receiver<Signal> {
        self.signals.subscribe()
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        lock(&self.words)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_at_a_time_has_the_word() {
        let catalog = Catalog::default();
        let mut signals = catalog.signals();
        assert_eq!(catalog.claim("image-1", ("a".into(), 1), "ns/a", false), Ok(()));
        assert_eq!(
            catalog.claim("image-1", ("a".into(), 1), "ns/a", false),
            Ok(()),
            "again, for the same object"
        );
        assert_eq!(catalog.claim("image-1", ("b".into(), 1), "ns/b", false), Err(Some("ns/a".into())));
        assert_eq!(catalog.claim("image-2", ("b".into(), 1), "ns/b", false), Ok(()));
        catalog.give_back("a");
        assert_eq!(signals.try_recv(), Ok(Signal::Free("image-1".into())));
        assert_eq!(catalog.claim("image-1", ("b".into(), 1), "ns/b", false), Ok(()));
    }

    #[test]
    fn after_a_start_nobody_begins_before_all_that_were_under_way_have_spoken() {
        let catalog = Catalog::default();
        catalog.announce("old", 1);
        assert!(catalog.claim("image-1", ("new".into(), 1), "ns/new", false).is_err());
        assert_eq!(catalog.claim("image-1", ("old".into(), 1), "ns/old", true), Ok(()));
        catalog.spoken("old");
        assert_eq!(catalog.claim("image-1", ("new".into(), 1), "ns/new", false), Err(Some("ns/old".into())));
        assert_eq!(catalog.claim("image-2", ("new".into(), 1), "ns/new", false), Ok(()));
    }

    struct Empty;
    impl Shelf for Empty {
        fn kind(&self) -> String {
            "Kind".into()
        }
        fn users(&self, _: &AccountKey) -> (usize, Option<String>) {
            (0, None)
        }
        fn image(&self, _: &str, _: &str) -> Option<Referent> {
            Some(Referent { kind: self.kind(), ready: None })
        }
        fn holds(&self, _: &str, _: &str) -> bool {
            false
        }
    }

    #[test]
    fn nobody_begins_before_all_objects_are_known_and_then_those_who_waited_are_told() {
        let catalog = Catalog::default();
        let mut signals = catalog.signals();
        let (one, two) = (catalog.add(Box::new(Empty)), catalog.add(Box::new(Empty)));
        catalog.announce("gone", two);
        assert!(catalog.claim("image-1", ("new".into(), 1), "ns/new", false).is_err());
        catalog.filled(one, |_| false);
        assert!(signals.try_recv().is_err(), "the other is not filled yet");
        assert!(!catalog.is_filled());
        catalog.filled(two, |uid| uid != "gone");
        assert_eq!(signals.try_recv(), Ok(Signal::Free("image-1".into())));
        assert_eq!(catalog.claim("image-1", ("new".into(), 1), "ns/new", false), Ok(()));
        catalog.filled(two, |_| false);
        let other = || ("other".to_owned(), 1);
        assert!(catalog.claim("image-1", other(), "ns/other", false).is_err(), "not of that shelf");
        catalog.filled(one, |_| false);
        let freed = catalog.claim("image-1", other(), "ns/other", false);
        assert_eq!(freed, Ok(()), "who went unseen has no word");
    }

    #[test]
    fn an_object_does_not_mean_itself() {
        let catalog = Catalog::default();
        catalog.add(Box::new(Empty));
        let reference = Reference { kind: None, name: "base".into() };
        let other = catalog.resolve("ns", &reference, ("Other", "base")).unwrap_err();
        assert!(other.contains("until Kind base is Ready"), "{other}");
        let itself = catalog.resolve("ns", &reference, ("Kind", "base")).unwrap_err();
        assert!(itself.contains("does not exist"), "{itself}");
    }
}
