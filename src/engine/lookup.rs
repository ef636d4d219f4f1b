//! The objects of one kind by something that they name, kept up to date by the watch, so that nobody has to look through all
//! of them.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Namespace and name of an object.
pub type ObjectName = (String, String);

/// Objects by what they name; each may name several things.
#[derive(Debug)]
pub struct Lookup<T> {
    objects: HashMap<T, BTreeSet<ObjectName>>,
    named: HashMap<ObjectName, Vec<T>>,
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
            self.objects.entry(thing.clone()).or_default().insert(object.clone());
        }
        if !named.is_empty() {
            self.named.insert(object.clone(), named);
        }
    }

    /// The object is gone.
    pub fn remove(&mut self, object: &ObjectName) {
        for thing in self.named.remove(object).into_iter().flatten() {
            if let Some(objects) = self.objects.get_mut(&thing) {
                objects.remove(object);
                if objects.is_empty() {
                    self.objects.remove(&thing);
                }
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

    /// Those that name it.
    pub fn get(&self, thing: &T) -> impl Iterator<Item = &ObjectName> {
        self.objects.get(thing).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_what_they_name_now_and_nothing_is_left_of_what_is_gone() {
        let object = |name: &str| ("ns".to_owned(), name.to_owned());
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
