//! What only one object at a time may have: the lock on something that it works on, and the vendor's things that it owns.
//! Who holds what, and who may not begin before that is known.

use super::index::KindId;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// What can be held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Something of the vendor's that only one object at a time may work on, such as an image that is exported, among those
    /// that call with the same credentials.
    Work {
        /// Whose calls could be taken for each other's.
        realm: String,
        /// The thing.
        thing: String,
    },
    /// A thing that one object owns: it changes it and deletes it.
    Id {
        /// What it is the id of: objects of several kinds may stand for the like. See `AnyKind::ids`.
        of: String,
        /// Where the id means this thing.
        realm: String,
        /// The vendor's.
        id: String,
    },
}

/// Who holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Of the object.
    pub uid: String,
    /// Of the object, in the index.
    pub kind_id: KindId,
    /// Of the object.
    pub kind: String,
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
}

impl Holder {
    /// What somebody in `namespace` is told of it: other tenants' names are none of his business.
    pub fn name_for(&self, namespace: &str) -> String {
        if self.namespace == namespace {
            format!("{} {}/{}", self.kind, self.namespace, self.name)
        } else {
            "an object in another namespace".into()
        }
    }
}

/// Why something cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// By another object.
    By(Holder),
    /// Nobody knows, before all objects have been read.
    Unknown,
}

/// Who holds what.
#[derive(Debug, Default)]
pub struct Locks {
    held: HashMap<Arc<Key>, Arc<Holder>>,
    /// What each object holds, by uid: hardly ever more than one or two.
    of: HashMap<String, Vec<Arc<Key>>>,
    /// Kinds whose objects are not all known yet.
    unread: HashSet<KindId>,
    /// Objects that had something under way when this process met them, by uid, and have not taken their lock yet.
    undeclared: HashMap<String, KindId>,
}

impl Locks {
    /// A kind, whose objects are not known yet.
    pub fn add(&mut self, kind_id: KindId) {
        self.unread.insert(kind_id);
    }

    /// All objects of a kind are known; those that `is_there` does not know have gone unseen, and what they held is given
    /// back.
    pub fn filled(&mut self, kind_id: KindId, is_there: impl Fn(&str) -> bool) -> Vec<Key> {
        self.unread.remove(&kind_id);
        self.undeclared.retain(|uid, of| *of != kind_id || is_there(uid));
        let gone = |holder: &&Arc<Holder>| holder.kind_id == kind_id && !is_there(&holder.uid);
        let gone: HashSet<_> = self.held.values().filter(gone).map(|holder| holder.uid.clone()).collect();
        gone.iter().flat_map(|uid| self.give_back(uid, |_| true)).collect()
    }

    /// Kinds whose objects are not all known yet.
    pub fn unread(&self) -> &HashSet<KindId> {
        &self.unread
    }

    /// Whether all objects are known, and what they have under way.
    pub fn is_all_known(&self) -> bool {
        self.unread.is_empty() && self.undeclared.is_empty()
    }

    /// An object had something under way when this process met it.
    pub fn expect(&mut self, uid: &str, kind_id: KindId) {
        self.undeclared.insert(uid.to_owned(), kind_id);
    }

    /// An expected object has taken its lock, or needs none.
    pub fn declared(&mut self, uid: &str) {
        self.undeclared.remove(uid);
    }

    /// Who else than `uid` holds it.
    pub fn holder(&self, key: &Key, uid: &str) -> Option<&Holder> {
        self.held.get(key).map(|holder| &**holder).filter(|holder| holder.uid != uid)
    }

    /// Takes what nobody else holds. With `evident`, the object has it already, by its status, so it need not wait until all
    /// others are known; but nobody takes anything from another.
    pub fn take(&mut self, key: &Key, by: &Holder, evident: bool) -> Result<(), Held> {
        if let Some(holder) = self.holder(key, &by.uid) {
            return Err(Held::By(holder.clone()));
        }
        let known = match key {
            Key::Work { .. } => self.is_all_known(),
            // Whoever owns something says so in his status, and need not declare it.
            Key::Id { .. } => self.unread.is_empty(),
        };
        if !evident && !known && !self.held.contains_key(key) {
            return Err(Held::Unknown);
        }
        if !self.held.contains_key(key) {
            let key = Arc::new(key.clone());
            self.held.insert(key.clone(), Arc::new(by.clone()));
            self.of.entry(by.uid.clone()).or_default().push(key);
        }
        Ok(())
    }

    /// Gives back what an object holds, as far as `which` says, and tells what that was.
    pub fn give_back(&mut self, uid: &str, which: impl Fn(&Key) -> bool) -> Vec<Key> {
        let Some(keys) = self.of.get_mut(uid) else { return vec![] };
        let given_back: Vec<_> = keys.extract_if(.., |key| which(key)).collect();
        if keys.is_empty() {
            self.of.remove(uid);
        }
        for key in &given_back {
            self.held.remove(key);
        }
        given_back.into_iter().map(Arc::unwrap_or_clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str) -> Holder {
        Holder { uid: uid.into(), kind_id: 1, kind: "Kind".into(), namespace: "ns".into(), name: uid.into() }
    }

    fn work(thing: &str) -> Key {
        Key::Work { realm: "here".into(), thing: thing.into() }
    }

    #[test]
    fn one_object_at_a_time_holds_a_lock() {
        let mut locks = Locks::default();
        let (a, b) = (object("a"), object("b"));
        assert_eq!(locks.take(&work("image-1"), &a, false), Ok(()));
        assert_eq!(locks.take(&work("image-1"), &a, false), Ok(()), "again, for the same object");
        assert_eq!(locks.take(&work("image-1"), &b, false), Err(Held::By(a.clone())));
        assert_eq!(locks.take(&work("image-1"), &b, true), Err(Held::By(a)), "whatever it says of itself");
        assert_eq!(locks.take(&work("image-2"), &b, false), Ok(()));
        let elsewhere = Key::Work { realm: "there".into(), thing: "image-1".into() };
        assert_eq!(locks.take(&elsewhere, &b, false), Ok(()));
        assert_eq!(locks.give_back("a", |_| true), [work("image-1")]);
        assert_eq!(locks.take(&work("image-1"), &b, false), Ok(()));
    }

    #[test]
    fn after_a_start_nobody_begins_before_all_that_were_under_way_have_told() {
        let mut locks = Locks::default();
        locks.expect("old", 1);
        assert_eq!(locks.take(&work("image-1"), &object("new"), false), Err(Held::Unknown));
        assert_eq!(locks.take(&work("image-1"), &object("old"), true), Ok(()));
        locks.declared("old");
        assert_eq!(locks.take(&work("image-1"), &object("new"), false), Err(Held::By(object("old"))));
        assert_eq!(locks.take(&work("image-2"), &object("new"), false), Ok(()));
    }

    #[test]
    fn nobody_takes_an_id_before_all_objects_are_read() {
        let mut locks = Locks::default();
        let id = Key::Id { of: "Kind".into(), realm: "here".into(), id: "i-1".into() };
        locks.add(1);
        locks.expect("old", 1);
        assert_eq!(locks.take(&id, &object("new"), false), Err(Held::Unknown));
        assert!(locks.filled(1, |_| true).is_empty());
        assert_eq!(locks.take(&id, &object("new"), false), Ok(()), "what others work on is another matter");
        assert_eq!(locks.filled(1, |uid| uid != "new"), [id], "who went unseen holds nothing");
    }

    #[test]
    fn only_those_of_the_same_namespace_are_named() {
        assert_eq!(object("a").name_for("ns"), "Kind ns/a");
        assert_eq!(object("a").name_for("other"), "an object in another namespace");
    }
}
