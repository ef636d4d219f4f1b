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
    /// Whether another object than `uid` holds this id of the vendor's.
    fn holds(&self, id: &str, uid: &str) -> bool;
}

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
    /// What is being touched, by whose uid, and that object's name for people.
    held: HashMap<String, (String, String)>,
    /// Objects that had something under way when this process began, and have not spoken for it yet.
    unspoken: HashSet<String>,
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
    /// Adds a kind.
    pub fn add(&self, shelf: Box<dyn Shelf>) {
        self.shelves.write().unwrap_or_else(PoisonError::into_inner).push(shelf);
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

    /// The image id that a reference means, or why there is none yet.
    pub fn resolve(&self, namespace: &str, reference: &Reference) -> Result<String, String> {
        let Reference { kind, name } = reference;
        // First, so that what becomes Ready while we look is told.
        self.wait_for(Signal::Ready(namespace.into(), name.clone()));
        let wanted = |shelf: &dyn Shelf| kind.as_deref().is_none_or(|kind| shelf.kind() == kind);
        let found: Vec<_> = self
            .each(|shelf| wanted(shelf).then(|| shelf.image(namespace, name)).flatten())
            .into_iter()
            .flatten()
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

    /// Takes the word about `thing` for an object, or says who has it. With `under_way`, for an object that has acted
    /// already, it always gets it.
    pub fn claim(&self, thing: &str, uid: &str, name: &str, under_way: bool) -> Result<(), String> {
        let mut words = self.words();
        self.wait_for(Signal::Free(thing.into()));
        match words.held.get(thing) {
            Some((holder, its_name)) if holder != uid && !under_way => return Err(its_name.clone()),
            None if !under_way && !words.unspoken.is_empty() => {
                return Err("the exports that were under way when the operator started".into());
            }
            _ => {}
        }
        words.held.insert(thing.to_owned(), (uid.to_owned(), name.to_owned()));
        Ok(())
    }

    /// Gives back whatever words the object has.
    pub fn give_back(&self, uid: &str) {
        let mut words = self.words();
        words.unspoken.remove(uid);
        let freed: Vec<_> = words
            .held
            .iter()
            .filter(|(_, (holder, _))| holder == uid)
            .map(|(thing, _)| thing.clone())
            .collect();
        for thing in freed {
            words.held.remove(&thing);
            self.signal(Signal::Free(thing));
        }
    }

    /// An object had something under way when this process began.
    pub fn expect(&self, uid: &str) {
        self.words().unspoken.insert(uid.to_owned());
    }

    /// An expected object has spoken.
    pub fn spoken(&self, uid: &str) {
        self.words().unspoken.remove(uid);
    }

    /// Tells those who wait, if any do.
    pub fn signal(&self, signal: Signal) {
        if self.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&signal) {
            // Without receivers nobody listens any more.
            let _ = self.signals.send(signal);
        }
    }

    fn wait_for(&self, signal: Signal) {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(signal);
    }

    /// What others may be waiting for.
    pub fn signals(&self) -> broadcast::Receiver<Signal> {
        self.signals.subscribe()
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_at_a_time_has_the_word() {
        let catalog = Catalog::default();
        let mut signals = catalog.signals();
        assert_eq!(catalog.claim("image-1", "a", "ns/a", false), Ok(()));
        assert_eq!(catalog.claim("image-1", "a", "ns/a", false), Ok(()), "again, for the same object");
        assert_eq!(catalog.claim("image-1", "b", "ns/b", false), Err("ns/a".into()));
        assert_eq!(catalog.claim("image-2", "b", "ns/b", false), Ok(()));
        catalog.give_back("a");
        assert_eq!(signals.try_recv(), Ok(Signal::Free("image-1".into())));
        assert_eq!(catalog.claim("image-1", "b", "ns/b", false), Ok(()));
    }

    #[test]
    fn after_a_start_nobody_begins_before_all_that_were_under_way_have_spoken() {
        let catalog = Catalog::default();
        catalog.expect("old");
        assert!(catalog.claim("image-1", "new", "ns/new", false).is_err());
        assert_eq!(catalog.claim("image-1", "old", "ns/old", true), Ok(()));
        catalog.spoken("old");
        assert_eq!(catalog.claim("image-1", "new", "ns/new", false), Err("ns/old".into()));
        assert_eq!(catalog.claim("image-2", "new", "ns/new", false), Ok(()));
    }
}
