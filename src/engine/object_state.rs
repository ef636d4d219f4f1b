//! The in-memory state of an object between two passes. Losing it costs a look, never a thing.

use super::{pace, progress::Progress, shared_locks::SharedLock};
use jiff::Timestamp;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;

/// Of one object.
#[derive(Clone, Debug, Default)]
pub struct ObjectState {
    /// Failures in a row.
    pub failures: u32,
    /// Not before, unless `context` has changed.
    pub wake: Option<Instant>,
    /// What was in force when `wake` was set.
    pub context: Context,
    /// When it was last seen at the vendor.
    pub last_seen: Option<Timestamp>,
    /// Since when the vendor seems not to have it.
    pub missing_since: Option<Instant>,
    /// Since when this process does not know what became of the creating call: the last one that it made itself, or
    /// the moment when it found one that somebody else had made.
    pub lost_at: Option<Instant>,
    /// How often the effect of that call was looked for before it is sure to show.
    pub early_looks: u32,
    /// Where the vendor's answer led, as long as the API server did not take it, and what the call was made for.
    pub unwritten: Option<Box<(Progress, Asked)>>,
    /// When the build's progress was written last.
    pub percent_at: Option<Instant>,
    /// Differences set right in a row without effect.
    pub amended: u32,
    /// The vendor was asked to delete it.
    pub deleting: bool,
    /// Looks in a row that found the vendor still at work on what is to be deleted.
    pub deletion_looks: u32,
    /// What earlier attempts made and turned up late, as far as it was told of.
    pub leftovers: BTreeSet<String>,
    /// Earlier versions that are deleted at the vendor, and may still stand in the status.
    pub retired: BTreeSet<String>,
    /// Earlier versions that are too many and stay until the next look: they could not be deleted, or were not to be.
    pub kept: BTreeSet<String>,
    /// How often in a row the vendor refused to delete one of them, for another reason than that it is in use.
    pub retire_failures: u32,
    /// The newest version of the object that this process wrote or saw, and when.
    pub newest: Option<(u64, Instant)>,
    /// The lock on what it works on that shards have in common, and when it was renewed.
    pub work_lock: Option<(SharedLock, Instant)>,
    /// The one on the id that it takes over, and since when this process has known that it has it.
    pub id_lock: Option<(SharedLock, Instant)>,
    /// It has waited for all objects to be known.
    pub starting: bool,
    /// The fingerprint of the status that the API server did not take, and was told of.
    pub unstorable: Option<u64>,
    /// The fingerprint of the status that is stored without what the API server did not take.
    pub reduced: Option<u64>,
    /// What the creating call needs was there, and when: a hash of its id.
    pub found: Option<Box<(u64, Instant)>>,
    /// The trouble that was shown last, so that an Event is not repeated.
    pub trouble: Option<String>,
}

impl ObjectState {
    /// Whether this is an earlier version than one that was met already: the news of a write is still on the way. Acting
    /// on it would be acting on what is over. Not for ever, since a restored etcd counts from an earlier version again.
    pub fn is_ahead_of(&self, version: Option<&str>) -> bool {
        let seen = version.and_then(number);
        let met = self.newest.filter(|(_, when)| when.elapsed() < pace::NEWS);
        seen.zip(met).is_some_and(|(seen, (met, _))| seen < met)
    }

    /// Takes note of a version.
    pub fn meet(&mut self, version: Option<&str>) {
        let Some(version) = version.and_then(number) else { return };
        if self.newest.is_none_or(|(newest, _)| newest < version) {
            self.newest = Some((version, Instant::now()));
        }
    }
}

/// Versions of one resource are numbers that grow.
fn number(version: &str) -> Option<u64> {
    version.parse().ok()
}

/// What is asked of an object: its generation, and a hash of the annotations that ask for something and of the deletion.
pub type Asked = (i64, u64);

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

/// How a state is kept: most objects are at rest, and have little of it.
#[derive(Debug)]
enum Kept {
    AtRest {
        wake: Option<Instant>,
        context: Context,
        last_seen: Option<Timestamp>,
        newest: Option<(u64, Instant)>,
        starting: bool,
    },
    Whole(Box<ObjectState>),
}

impl From<ObjectState> for Kept {
    fn from(state: ObjectState) -> Self {
        match state {
            ObjectState {
                failures: 0,
                wake,
                context,
                last_seen,
                missing_since: None,
                lost_at: None,
                early_looks: 0,
                unwritten: None,
                percent_at: None,
                amended: 0,
                deleting: false,
                deletion_looks: 0,
                leftovers,
                retired,
                kept,
                retire_failures: 0,
                newest,
                work_lock: None,
                id_lock: None,
                starting,
                unstorable: None,
                reduced: None,
                found: None,
                trouble: None,
            } if leftovers.is_empty() && retired.is_empty() && kept.is_empty() => {
                Self::AtRest { wake, context, last_seen, newest, starting }
            }
            state => Self::Whole(Box::new(state)),
        }
    }
}

impl Kept {
    fn state(&self) -> ObjectState {
        match self {
            Self::AtRest { wake, context, last_seen, newest, starting } => ObjectState {
                wake: *wake,
                context: context.clone(),
                last_seen: *last_seen,
                newest: *newest,
                starting: *starting,
                ..ObjectState::default()
            },
            Self::Whole(state) => (**state).clone(),
        }
    }
}

/// Of all objects, by uid.
#[derive(Debug, Default)]
pub struct ObjectStates(Mutex<HashMap<String, Kept>>);

impl ObjectStates {
    /// A copy; empty for an object not met before.
    pub fn get(&self, uid: &str) -> ObjectState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).map(Kept::state).unwrap_or_default()
    }
    /// Whether the object was never met.
    pub fn is_new(&self, uid: &str) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(uid)
    }
    /// Keeps it.
    pub fn put(&self, uid: &str, local: ObjectState) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), local.into());
    }
    /// Forgets the objects that are not there any more.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
    }
    /// The object is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_earlier_version_than_one_that_was_met_is_not_acted_on_for_a_while() {
        let mut local = ObjectState::default();
        assert!(!local.is_ahead_of(Some("5")));
        local.meet(Some("10"));
        local.meet(Some("9"));
        assert!(local.is_ahead_of(Some("9")));
        assert!(!local.is_ahead_of(Some("10")) && !local.is_ahead_of(Some("11")));
        assert!(!local.is_ahead_of(None) && !local.is_ahead_of(Some("abc")));
        tokio::time::advance(pace::NEWS).await;
        assert!(!local.is_ahead_of(Some("9")), "a restored etcd counts from an earlier version");
    }

    #[tokio::test]
    async fn what_is_kept_of_a_state_is_all_of_it() {
        let states = ObjectStates::default();
        let rest = ObjectState {
            wake: Some(Instant::now()),
            context: Context { generation: 1, epoch: 2, asked: 3 },
            last_seen: Some(Timestamp::UNIX_EPOCH),
            newest: Some((4, Instant::now())),
            starting: true,
            ..ObjectState::default()
        };
        let others = [
            ObjectState { failures: 1, ..rest.clone() },
            ObjectState { missing_since: rest.wake, ..rest.clone() },
            ObjectState { lost_at: rest.wake, ..rest.clone() },
            ObjectState { early_looks: 1, ..rest.clone() },
            ObjectState { percent_at: rest.wake, ..rest.clone() },
            ObjectState { amended: 1, ..rest.clone() },
            ObjectState { deleting: true, ..rest.clone() },
            ObjectState { deletion_looks: 1, ..rest.clone() },
            ObjectState { leftovers: ["a".to_owned()].into(), ..rest.clone() },
            ObjectState { retired: ["a".to_owned()].into(), ..rest.clone() },
            ObjectState { kept: ["a".to_owned()].into(), ..rest.clone() },
            ObjectState { retire_failures: 1, ..rest.clone() },
            ObjectState { unstorable: Some(1), ..rest.clone() },
            ObjectState { reduced: Some(1), ..rest.clone() },
            ObjectState { found: Some(Box::new((1, Instant::now()))), ..rest.clone() },
            ObjectState { trouble: Some("Why".into()), ..rest.clone() },
        ];
        for state in [rest].into_iter().chain(others) {
            states.put("uid", state.clone());
            assert_eq!(format!("{:?}", states.get("uid")), format!("{state:?}"));
        }
        assert!(size_of::<Kept>() <= 128, "{}", size_of::<Kept>());
    }
}
