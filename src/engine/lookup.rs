//! The objects of one kind by something that they name, kept up to date by the watch, so that nobody has to look through all
//! of them.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    hash::Hash,
    sync::Arc,
};

/// Namespace and name of an object, which many places hold.
pub type ObjectName = Arc<(String, String)>;

/// Objects by what they name; each may name several things.
#[derive(Debug)]
pub struct Lookup<T> {
    objects: HashMap<T, Names>,
    named: HashMap<ObjectName, Box<[T]>>,
}

/// Nearly always there is one, for which a set is large.
#[derive(Debug)]
enum Names {
    One(ObjectName),
    Many(BTreeSet<ObjectName>),
}

impl Names {
    fn insert(&mut self, name: &ObjectName) {
        match self {
            Self::One(one) if one == name => {}
            Self::One(one) => *self = Self::Many([one.clone(), name.clone()].into()),
            Self::Many(many) => drop(many.insert(name.clone())),
        }
    }

    /// Says whether none is left.
    fn remove(&mut self, name: &ObjectName) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => {
                many.remove(name);
                many.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &ObjectName> {
        let (one, many) = match self {
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self { objects: HashMap::new(), named: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Lookup<T> {
    /// The object names these, and nothing that it named before.
    pub fn set(&mut self, object: &ObjectName, named: Vec<T>) {
        if self.named.get(object).map_or(&[][..], |before| before) == named {
            return;
        }
        self.remove(object);
        for thing in &named {
            match self.objects.entry(thing.clone()) {
                Entry::Occupied(mut names) => names.get_mut().insert(object),
                Entry::Vacant(none) => drop(none.insert(Names::One(object.clone()))),
            }
        }
        if !named.is_empty() {
            self.named.insert(object.clone(), named.into());
        }
    }

    /// The object is gone.
    pub fn remove(&mut self, object: &ObjectName) {
        for thing in self.named.remove(object).into_iter().flat_map(Vec::from) {
            if self.objects.get_mut(&thing).is_some_and(|names| names.remove(object)) {
                self.objects.remove(&thing);
            }
        }
    }

    /// Forgets the objects that are not there any more.
    pub fn retain(&mut self, is_there: impl Fn(&ObjectName) -> bool) {
        let gone: Vec<_> = self.named.keys().filter(|object| !is_there(object)).cloned().collect();
        for object in &gone {
            self.remove(object);
        }
    }

    /// Whether the object names anything.
    pub fn has(&self, object: &ObjectName) -> bool {
        self.named.contains_key(object)
    }

    /// Those that name it.
    pub fn get(&self, thing: &T) -> impl Iterator<Item = &ObjectName> {
        self.objects.get(thing).into_iter().flat_map(Names::iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_what_they_name_now_and_nothing_is_left_of_what_is_gone() {
        let object = |name: &str| Arc::new(("ns".to_owned(), name.to_owned()));
        let found = |lookup: &Lookup<u8>, thing| lookup.get(&thing).cloned().collect::<Vec<_>>();
        let mut lookup = Lookup::default();
        lookup.set(&object("a"), vec![1, 2]);
        lookup.set(&object("b"), vec![2]);
        assert_eq!(found(&lookup, 2), [object("a"), object("b")]);
        lookup.set(&object("a"), vec![3]);
        assert_eq!((found(&lookup, 1), found(&lookup, 2)), (vec![], vec![object("b")]));
        lookup.set(&object("b"), vec![]);
        lookup.retain(|_| false);
        assert!(lookup.objects.is_empty() && lookup.named.is_empty());
    }
}
