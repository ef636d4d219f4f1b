//! What the operator remembers of an object between two passes. Losing it costs a look, never a thing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;

/// Of one object.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    /// Failures in a row.
    pub failures: u32,
    /// Not before, unless `context` has changed.
    pub wake: Option<Instant>,
    /// What was in force when `wake` was set.
    pub context: Context,
    /// Since when the vendor seems not to have it.
    pub missing_since: Option<Instant>,
    /// When an answer was lost by this process.
    pub lost_at: Option<Instant>,
    /// Differences set right in a row without effect.
    pub amended: u32,
    /// The vendor was asked to delete it.
    pub deleting: bool,
    /// The trouble that was shown last, so that an Event is not repeated.
    pub trouble: Option<String>,
}

/// What makes waiting pointless when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Of the object.
    pub generation: i64,
    /// Of the connection; 0 where there was none.
    pub epoch: u64,
    /// Hash of the annotations that ask for something, and of the deletion.
    pub asked: u64,
}

/// Of all objects, by uid.
#[derive(Debug, Default)]
pub struct Memos(Mutex<HashMap<String, Memo>>);

impl Memos {
    /// A copy; empty for an object not met before.
    pub fn get(&self, uid: &str) -> Memo {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
    }
    /// Whether the object was never met.
    pub fn is_new(&self, uid: &str) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(uid)
    }
    /// Keeps it.
    pub fn put(&self, uid: &str, memo: Memo) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), memo);
    }
    /// The object is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
