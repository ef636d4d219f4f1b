//! Image components, found by name as well: fifty thousand are not compared with each new one.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::Component;
use crate::store::{AdminRefusal, AdminRequest, Store};

/// All components of the vendor.
#[derive(Debug, Default)]
pub(super) struct Components {
    all: Store<Component>,
    /// The ids of those that have a name.
    ids: HashMap<String, BTreeSet<String>>,
}

impl Components {
    /// Puts a component at the end; one with the same id is replaced where it is.
    pub(super) fn insert(&mut self, id: String, component: Component) {
        self.forget(&id);
        self.ids.entry(component.name.clone()).or_default().insert(id.clone());
        self.all.insert(id, component);
    }

    pub(super) fn get(&self, id: &str) -> Option<&Component> {
        self.all.get(id)
    }

    /// What may be changed without changing its name.
    pub(super) fn tagged(&mut self, id: &str) -> Option<&mut Component> {
        self.all.get_mut(id)
    }

    /// Changes a component.
    pub(super) fn change<T>(&mut self, id: &str, change: impl FnOnce(&mut Component) -> T) -> Option<T> {
        self.forget(id);
        let component = self.all.get_mut(id)?;
        let changed = change(component);
        self.ids.entry(component.name.clone()).or_default().insert(id.to_owned());
        Some(changed)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Component> {
        self.forget(id);
        self.all.remove(id)
    }

    /// Those of a name, whoever has them.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Component> {
        self.ids.get(name).into_iter().flatten().filter_map(|id| self.all.get(id))
    }

    /// All, with their places, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Component)> {
        self.all.iter()
    }

    /// All, oldest first.
    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &Component> {
        self.all.values()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// What the admin API asks of a store may change any of them.
    pub(super) fn administer(
        &mut self,
        request: &AdminRequest,
        prepare: impl FnOnce(&mut Component) -> String,
    ) -> Result<Value, AdminRefusal> {
        let done = self.all.administer(request, prepare);
        if request.method != "GET" {
            self.ids.clear();
            for component in self.all.values() {
                self.ids.entry(component.name.clone()).or_default().insert(component.id.clone());
            }
        }
        done
    }

    fn forget(&mut self, id: &str) {
        let Some(name) = self.all.get(id).map(|component| &component.name) else { return };
        if let Some(ids) = self.ids.get_mut(name) {
            ids.remove(id);
            if ids.is_empty() {
                self.ids.remove(name);
            }
        }
    }
}
