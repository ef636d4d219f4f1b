//! What is looked at before a costly creating call: what the call needs of the vendor, where that can be read. It saves a build
//! that would fail after an hour. It is no evidence of anything: what cannot be read, or is not understood, the vendor decides.

use crate::wire::CallError;
use futures::future::BoxFuture;
use serde_json::Value;
use std::collections::HashMap;

/// What is read for several objects of one region at once: rows by id. What the answer lacks is not there, so that every page
/// must have been read.
pub type Read<C> =
    fn(C, String, Vec<String>) -> BoxFuture<'static, Result<HashMap<String, Value>, CallError>>;

/// What one object's creating call needs. The engine reads it, together with what others need, and only then asks to judge.
#[derive(Debug)]
pub struct Preflight<C> {
    /// What the vendor calls it. Objects that need the same share a row.
    pub id: String,
    /// How it is read: the same for all objects of a kind.
    pub read: Read<C>,
    /// How many ids one read may carry.
    pub batch: usize,
    /// What is in the way, given the row; `None` of a row means that the vendor shows none. Whatever is not known to make the
    /// call fail, or what it makes useless, is nothing in the way. Pure.
    pub judge: fn(&str, Option<&Value>) -> Option<Obstacle>,
}

/// Why the creating call would be in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What is wrong and what to do, in a sentence; where a person has to act, in Chinese too.
    pub why: String,
    /// Whether it passes if nobody does anything.
    pub passes: bool,
}

impl Obstacle {
    /// It is on its way.
    pub fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), passes: true }
    }
    /// A person has to act, or the spec to change.
    pub fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), passes: false }
    }
}
