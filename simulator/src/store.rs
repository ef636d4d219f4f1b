//! Where a vendor keeps its things: in the order in which they were made, found by id, open to tests and the admin API.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Things of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Store<T> {
    rows: BTreeMap<u64, (String, T)>,
    places: HashMap<String, u64>,
    last: u64,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), places: HashMap::new(), last: 0 }
    }
}

impl<T> Store<T> {
    /// Puts a thing at the end; one with the same id is replaced where it is.
    pub(crate) fn insert(&mut self, id: impl Into<String>, thing: T) {
        let id = id.into();
        let place = *self.places.entry(id.clone()).or_insert_with(|| {
            self.last += 1;
            self.last
        });
        self.rows.insert(place, (id, thing));
    }

    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.rows.get(self.places.get(id)?).map(|(_, thing)| thing)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.rows.get_mut(self.places.get(id)?).map(|(_, thing)| thing)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<T> {
        self.rows.remove(&self.places.remove(id)?).map(|(_, thing)| thing)
    }

    /// All things with their places, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        self.rows.iter().map(|(place, (_, thing))| (*place, thing))
    }

    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.values().map(|(_, thing)| thing)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let places = &mut self.places;
        self.rows.retain(|_, (id, thing)| {
            let keep = keep(thing);
            if !keep {
                places.remove(id);
            }
            keep
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// What the admin API asks of a store: `GET`, `POST`, `PATCH` or `DELETE` on all things or on one.
#[derive(Clone, Debug)]
pub(crate) struct AdminRequest {
    pub(crate) method: String,
    pub(crate) collection: String,
    pub(crate) id: Option<String>,
    pub(crate) body: Value,
}

/// Why the admin API does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminRefusal {
    #[error("there is no {0}")]
    NotFound(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the method is not supported here")]
    Method,
}

impl<T: Clone + Serialize + DeserializeOwned> Store<T> {
    /// Looks at, adds, changes or removes things behind the vendor's back. `prepare` completes what is added and names it.
    pub(crate) fn administer(
        &mut self,
        request: &AdminRequest,
        prepare: impl FnOnce(&mut T) -> String,
    ) -> Result<Value, AdminRefusal> {
        let invalid = |error: serde_json::Error| AdminRefusal::Invalid(error.to_string());
        let missing = || AdminRefusal::NotFound(request.id.clone().unwrap_or_default());
        match (request.method.as_str(), request.id.as_deref()) {
            ("GET", None) => serde_json::to_value(self.values().collect::<Vec<_>>()).map_err(invalid),
            ("GET", Some(id)) => serde_json::to_value(self.get(id).ok_or_else(missing)?).map_err(invalid),
            ("POST", None) => {
                let mut thing: T = serde_json::from_value(request.body.clone()).map_err(invalid)?;
                let id = prepare(&mut thing);
                let shown = serde_json::to_value(&thing).map_err(invalid)?;
                self.insert(id, thing);
                Ok(shown)
            }
            ("PATCH", Some(id)) => {
                let thing = self.get_mut(id).ok_or_else(missing)?;
                let mut merged = serde_json::to_value(&*thing).map_err(invalid)?;
                merge(&mut merged, &request.body);
                *thing = serde_json::from_value(merged.clone()).map_err(invalid)?;
                Ok(merged)
            }
            ("DELETE", Some(id)) => {
                let removed = self.remove(id).ok_or_else(missing)?;
                serde_json::to_value(removed).map_err(invalid)
            }
            ("DELETE", None) => {
                let count = self.len();
                self.rows.clear();
                self.places.clear();
                Ok(serde_json::json!({ "removed": count }))
            }
            _ => Err(AdminRefusal::Method),
        }
    }
}

/// JSON merge patch (RFC 7396): objects are merged, null removes, everything else replaces.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
