//! The objects of one kind as its watch has seen them, by name.

use super::{lookup::ObjectName, packed::Packed};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Fed by one watch, read by many.
#[derive(Debug)]
pub struct Store(RwLock<Objects>);

#[derive(Debug)]
struct Objects {
    by_name: HashMap<ObjectName, Kept>,
    uids: HashSet<Arc<str>>,
    /// The number of the last list of all objects that was begun.
    list: u32,
    is_complete: bool,
}

#[derive(Debug)]
struct Kept {
    object: Arc<Packed>,
    /// The list during which it was seen last.
    list: u32,
}

/// What there is to say of an object that was kept.
#[derive(Debug)]
pub struct Seen {
    /// Its name, as it is held here.
    pub name: ObjectName,
    /// Whether there is a reason to look at it: it was not there before, or somebody else wrote it.
    pub is_news: bool,
    /// Another one that had the name until now, and went unseen.
    pub former: Option<Arc<Packed>>,
}

impl Default for Store {
    fn default() -> Self {
        let (by_name, uids) = (HashMap::new(), HashSet::new());
        Self(RwLock::new(Objects { by_name, uids, list: 0, is_complete: false }))
    }
}

impl Store {
    /// From now on a list of all objects is read.
    pub fn begin_list(&self) {
        self.write().list += 1;
    }

    /// All objects are there, and those that the list did not have are not: these are given.
    pub fn end_list(&self) -> Vec<Arc<Packed>> {
        let mut objects = self.write();
        let Objects { by_name, uids, list, is_complete } = &mut *objects;
        let gone: Vec<_> =
            by_name.extract_if(|_, kept| kept.list != *list).map(|(_, kept)| kept.object).collect();
        for object in &gone {
            uids.remove(object.uid());
        }
        *is_complete = true;
        gone
    }

    /// Keeps an object, under the name that is held here.
    pub fn keep(&self, object: Packed) -> Seen {
        let mut objects = self.write();
        let Objects { by_name, uids, list, .. } = &mut *objects;
        let known = by_name.get_key_value(object.name());
        let (name, uid, is_news) = match known {
            Some((name, known)) if known.object.uid() == object.uid() => {
                let is_news = known.object.summary().wishes != object.summary().wishes;
                (name.clone(), known.object.uid().clone(), is_news)
            }
            Some((name, known)) => {
                uids.remove(known.object.uid());
                (name.clone(), object.uid().clone(), true)
            }
            None => (object.name().clone(), object.uid().clone(), true),
        };
        uids.insert(uid.clone());
        let object = Arc::new(object.under(name.clone(), uid.clone()));
        let before = by_name.insert(name.clone(), Kept { object, list: *list });
        let former = before.map(|kept| kept.object).filter(|former| *former.uid() != uid);
        Seen { name, is_news, former }
    }

    /// The object is gone.
    pub fn remove(&self, name: &(String, String)) {
        let mut objects = self.write();
        if let Some(gone) = objects.by_name.remove(name) {
            objects.uids.remove(gone.object.uid());
        }
    }

    /// Whether there is an object of this uid.
    pub fn knows(&self, uid: &str) -> bool {
        self.read().uids.contains(uid)
    }

    /// The object of that name, if there is one.
    pub fn get(&self, name: &(String, String)) -> Option<Arc<Packed>> {
        self.read().by_name.get(name).map(|kept| kept.object.clone())
    }

    /// All.
    pub fn all(&self) -> Vec<Arc<Packed>> {
        self.read().by_name.values().map(|kept| kept.object.clone()).collect()
    }

    /// Whether all objects that there are have been seen once.
    pub fn is_complete(&self) -> bool {
        self.read().is_complete
    }

    fn read(&self) -> RwLockReadGuard<'_, Objects> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
