//! What is looked at before a costly creating call: what the call needs of the vendor, where that can be read. It saves a build
//! that would fail after an hour. It is no evidence of anything: what cannot be read, or is not understood, the vendor decides.

use crate::wire::CallError;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

/// What is read for several objects of one region at once, in no more calls than there are ids: rows by id. What the answer lacks
/// is not there; what was not looked for to the end has the row `null`.
pub type Read<C> =
    fn(C, String, Vec<String>) -> BoxFuture<'static, Result<HashMap<String, Value>, CallError>>;

/// One thing that an object's creating call needs. The engine reads it, together with what others need, and only then asks to
/// judge.
#[derive(Debug)]
pub struct Preflight<C> {
    /// What it is, in a word: objects of a kind share the reads of what has the same.
    pub what: &'static str,
    /// The region that it is read in.
    pub region: String,
    /// What the vendor calls it. Objects that need the same share a row.
    pub id: String,
    /// How it is read: the same for all objects of a kind.
    pub read: Read<C>,
    /// How many ids one read may carry.
    pub batch: usize,
    /// What is in the way, given the row; `None` of a row means that the vendor shows none. Whatever is not known to make the
    /// call fail, or what it makes useless, is nothing in the way. Pure.
    pub judge: fn(&Needed<'_>, Option<&Value>) -> Option<Obstacle>,
}

/// What is looked for, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Needed<'a> {
    /// What the vendor calls it.
    pub id: &'a str,
    /// The object's uid; empty before the API server has it.
    pub uid: &'a str,
    /// When the object was made: what is younger may have come of a call of its own. `None`: there is no such call yet.
    pub born: Option<Timestamp>,
}

/// Why the creating call would be in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What is wrong and what to do, in a sentence; where a person has to act, in Chinese too.
    pub why: String,
    /// Whether it passes if nobody does anything.
    pub passes: bool,
    /// The reason of the condition.
    pub reason: &'static str,
}

/// What the call needs is not there, or cannot be used.
const LACKING: &str = "PreflightFailed";
/// What the call would make is there, and another's: the same as when the vendor says so.
const TAKEN: &str = "AlreadyExists";

impl Obstacle {
    /// It is on its way.
    pub fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), passes: true, reason: LACKING }
    }
    /// A person has to act, or the spec to change.
    pub fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), passes: false, reason: LACKING }
    }
    /// Somebody else has what only one can have.
    pub fn taken(why: impl Into<String>) -> Self {
        Self { why: why.into(), passes: false, reason: TAKEN }
    }
}
