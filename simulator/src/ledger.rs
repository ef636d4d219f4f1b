//! What was asked of the simulated vendors, and what they really did: the witness that tests call.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One request that reached a vendor's address, whatever became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// Counts all calls of all services from 1, in the order in which their effects were decided.
    pub sequence: u64,
    /// When, by the simulated world's clock.
    pub time: Timestamp,
    /// `aliyun-ecs`, `volcengine`, `batchcompute` or `zstack`.
    pub service: String,
    /// The vendor's name of the action.
    pub action: String,
    /// Who called, as the request claims.
    pub access_key: Option<String>,
    /// The request's own parameters, long values cut.
    pub parameters: BTreeMap<String, String>,
    /// The HTTP status that was sent; none when the connection ended without an answer.
    pub status: Option<u16>,
    /// The vendor's error code, when the answer is an error.
    pub code: Option<String>,
    /// The vendor's request id.
    pub request_id: String,
    /// The fault that was applied.
    pub fault: Option<String>,
}

/// One thing that a vendor really made, changed or deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// The call that caused it.
    pub call: u64,
    /// When, by the simulated world's clock.
    pub time: Timestamp,
    /// The service, as in [`Call::service`].
    pub service: String,
    /// The action, as in [`Call::action`].
    pub action: String,
    /// What happened.
    pub change: Change,
    /// The vendor's id of the thing.
    pub id: String,
    /// The idempotency token that came with the call, if the API has one.
    pub token: Option<String>,
}

/// What happened to a thing at the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It did not exist before.
    Created,
    /// It exists and is different now.
    Changed,
    /// It does not exist any more.
    Deleted,
}

/// A copy of the ledger at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// In the order in which they happened.
    pub effects: Vec<Effect>,
    /// In the order in which they were decided.
    pub calls: Vec<Call>,
}

impl Ledger {
    /// The effects of one action.
    pub fn effects_of<'a>(&'a self, action: &'a str) -> impl Iterator<Item = &'a Effect> {
        self.effects.iter().filter(move |effect| effect.action == action)
    }

    /// The calls of one action.
    pub fn calls_of<'a>(&'a self, action: &'a str) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| call.action == action)
    }

    /// How many things one service really created.
    pub fn created(&self, service: &str) -> usize {
        self.effects.iter().filter(|e| e.service == service && e.change == Change::Created).count()
    }

    /// Calls by service and action, written `service/action`.
    pub fn call_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            *counts.entry(format!("{}/{}", call.service, call.action)).or_default() += 1;
        }
        counts
    }

    /// Effects by service and action, written `service/action`.
    pub fn effect_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for effect in &self.effects {
            *counts.entry(format!("{}/{}", effect.service, effect.action)).or_default() += 1;
        }
        counts
    }
}

/// The ledger that is being written.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    ledger: Ledger,
    next: u64,
}

impl Book {
    /// The next call's sequence number.
    pub(crate) fn begin(&self) -> u64 {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.next += 1;
        pages.next
    }

    pub(crate) fn write(&self, call: Call, effects: Vec<Effect>) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.ledger.calls.push(call);
        pages.ledger.effects.extend(effects);
    }

    /// Looks at the ledger without copying it.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner).ledger)
    }

    pub(crate) fn snapshot(&self) -> Ledger {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ledger.clone()
    }

    pub(crate) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Pages::default();
    }
}
