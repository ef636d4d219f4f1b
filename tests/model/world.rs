//! What there is: objects as the API server holds them, things at the vendor, operators in the middle of something, and what
//! may yet happen.

use super::people::Menu;
use crate::Settings;
use cloud_image_operator::{
    engine::record::Record,
    image::{ImageStatus, OperationState},
};
use jiff::Timestamp;
use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
};

/// Of an object: its place among them. It lives in one cluster only, and never comes back under the same.
pub type Uid = usize;

/// Of a thing at the vendor: its place among them.
pub type Id = usize;

/// The world between two events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// By uid.
    pub objects: Vec<Object>,
    /// By id.
    pub things: Vec<Thing>,
    /// What each operator's process is in the middle of.
    pub operators: Vec<Doing>,
    /// Uids of objects that went with all that they had, as the first operator's process remembers.
    pub ended: Vec<Uid>,
    /// Uids of objects whose finalizer a person took off, who means to let go of what the vendor has.
    pub let_go: Vec<Uid>,
    /// Whether the objects may use the account.
    pub right: bool,
    /// With two operators: a person has acted while a call was under way that still is, or one that was begun since.
    pub disturbed: bool,
    /// How much may yet happen.
    pub budget: Budget,
    /// What an operator did that it must never do.
    pub harm: Option<&'static str>,
}

/// How many events of each sort may yet happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Acts of people and their tools.
    pub people: u8,
    /// Crashes, lost answers, stale reads, refusals, failed builds.
    pub faults: u8,
    /// Passes of the second operator.
    pub second: u8,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// Not yet.
    Absent,
    /// As it is stored now, and as it was stored before, the newest last, which is what an old cache shows and what a backup has.
    There(Box<Version>, Vec<Version>),
    /// Not any more.
    Gone,
}

/// What is stored of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version {
    /// Ours.
    pub finalizer: bool,
    /// Of what was begun, for which object, at which attempt, and how many things there were then.
    pub record: Option<(Uid, u32, Id)>,
    /// What the operator wrote.
    pub status: Option<Status>,
    /// What is asked for.
    pub spec: Spec,
    /// Counts the specs.
    pub generation: i64,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// The annotation that asks for a look.
    pub asked: u8,
    /// The annotation that answers `Unclear`.
    pub outcome: Option<Outcome>,
}

/// A person's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This is it. The id may be one that nobody has.
    Adopt(Id),
    /// Ask again.
    Resubmit,
}

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Everything that the vendor is told.
    pub content: u8,
    /// Take over this one.
    pub import: Option<Id>,
    /// Call nobody.
    pub suspend: bool,
    /// Leave it at the vendor.
    pub retain: bool,
    /// Make it again when it is gone.
    pub recreate: bool,
    /// Make a new version for other content, and let so many stay.
    pub keep: Option<usize>,
}

/// The operator's own status; equal to another one in what it is read for.
#[derive(Clone, Debug)]
pub struct Status(pub ImageStatus);

/// A thing at the vendor.
#[expect(clippy::struct_excessive_bools, reason = "each can be so without the others")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thing {
    /// In whose name, at which attempt; `None`: by somebody else, long ago.
    pub by: Option<(Uid, u32)>,
    /// As which content it was made, or changed to.
    pub content: u8,
    /// Which version it is.
    pub number: u8,
    /// How many things there were before it was made.
    pub born: Id,
    /// It exists.
    pub alive: bool,
    /// Lists show it.
    pub shown: bool,
    /// It is usable.
    pub done: bool,
    /// The vendor still knows the token that it was made with.
    pub token_known: bool,
    /// A person was told of it, or has taken it into his own hands.
    pub told: bool,
    /// Somebody else deleted it.
    pub lost: bool,
    /// The vendor knows nothing of the task any more that made it; or that was to, and never will.
    pub forgotten: bool,
}

/// What an operator is in the middle of, with one object.
#[expect(clippy::large_enum_variant, reason = "there are two of them in a world")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Nothing.
    Idle,
    /// It has a permit, and has not called yet.
    Permitted {
        /// Of the object.
        uid: Uid,
        /// As it was when the permit was stored.
        version: Box<Version>,
        /// Which attempt.
        attempt: u32,
        /// An earlier call of this attempt may have had its effect.
        replay: bool,
        /// How many things there were before the first call of this attempt.
        since: Id,
        /// The number of the version that it makes, where it follows others.
        number: Option<u8>,
        /// The finalizer was put on in the same pass, so that the object may go while the call is made.
        just_held: bool,
    },
    /// It has the answer, and has not stored it yet.
    Answered {
        /// Of the object.
        uid: Uid,
        /// The status when the call was made.
        known: Option<Status>,
        /// What the answer leads to.
        new: Option<Status>,
        /// Whether what was made is to stay when the object goes.
        retain: bool,
        /// As of the permit.
        just_held: bool,
    },
}

impl Version {
    /// At which attempt it is, as its status says.
    pub fn attempt(&self) -> Option<u32> {
        Some(self.status.as_ref()?.0.operation.as_ref()?.attempt)
    }
}

impl World {
    /// Before anything has happened.
    pub fn new(settings: &Settings) -> Self {
        let mut things = vec![];
        if settings.imports {
            things.push(Thing { by: None, done: true, shown: true, ..Thing::new((0, 0), 0, 0) });
        }
        let born = Version { generation: 1, spec: settings.spec, ..Version::default() };
        let mut objects: Vec<_> =
            (0..settings.objects).map(|_| Object::There(Box::new(born.clone()), vec![])).collect();
        objects.resize(settings.objects + settings.restores, Object::Absent);
        Self {
            objects,
            things,
            operators: vec![Doing::Idle; settings.operators],
            ended: vec![],
            let_go: vec![],
            right: true,
            disturbed: false,
            budget: settings.budget,
            harm: None,
        }
    }

    /// The object as it is stored now.
    pub fn now(&self, uid: Uid) -> Option<&Version> {
        match &self.objects[uid] {
            Object::There(now, _) => Some(now),
            _ => None,
        }
    }

    /// Objects that are there.
    pub fn there(&self) -> impl Iterator<Item = (Uid, &Version)> {
        self.objects.iter().enumerate().filter_map(|(uid, object)| match object {
            Object::There(now, _) => Some((uid, &**now)),
            _ => None,
        })
    }

    /// Stores another version, and drops an object that is to go and that nobody holds.
    pub fn store(&mut self, uid: Uid, new: Version) {
        let Object::There(now, past) = &mut self.objects[uid] else { return };
        if new.deleting && !new.finalizer {
            self.objects[uid] = Object::Gone;
        } else if **now != new {
            past.push(std::mem::replace(&mut **now, new));
        }
    }

    /// The object as it was stored so many versions ago.
    pub fn ago(&self, uid: Uid, age: usize) -> Option<&Version> {
        match (&self.objects[uid], age) {
            (Object::There(now, _), 0) => Some(now),
            (Object::There(_, past), _) => past.len().checked_sub(age).and_then(|at| past.get(at)),
            _ => None,
        }
    }

    /// Whether no operator is in the middle of anything.
    pub fn at_rest(&self) -> bool {
        self.operators.iter().all(|doing| *doing == Doing::Idle)
    }

    /// Forgets the versions that nobody can read any more, and that a person acted while a call was under way that is over.
    pub fn forget(&mut self, settings: &Settings) {
        self.disturbed &= !self.at_rest();
        let readers = match settings.menu {
            Menu::Disaster => self.budget.faults + self.budget.people,
            _ => self.budget.faults,
        };
        let memory = if readers > 0 { settings.memory } else { 0 };
        for object in &mut self.objects {
            if let Object::There(_, past) = object {
                past.drain(..past.len().saturating_sub(memory));
            }
        }
    }

    /// Which things an object has, as its status says, if that is its own: the newest, and the earlier versions.
    pub fn owned(version: &Version, uid: Uid) -> Vec<Id> {
        let Some(Status(status)) = &version.status else { return vec![] };
        let own = status.operation.as_ref().is_none_or(|operation| {
            operation.state != OperationState::Restored && operation.token == token(uid, operation.attempt)
        });
        let earlier = status.versions.iter().map(|version| &*version.image_id);
        let all: BTreeSet<_> =
            status.image_id.as_deref().into_iter().chain(earlier).filter_map(id_of).collect();
        all.into_iter().filter(|_| own).collect()
    }
}

impl Thing {
    /// One that was made a moment ago.
    pub fn new(by: (Uid, u32), content: u8, born: Id) -> Self {
        Self {
            by: Some(by),
            content,
            number: 0,
            born,
            alive: true,
            shown: false,
            done: false,
            token_known: true,
            told: false,
            lost: false,
            forgotten: false,
        }
    }
}

/// As the API server shows it.
pub fn uid_text(uid: Uid) -> String {
    format!("uid{uid}")
}

/// What is sent along with an attempt.
pub fn token(uid: Uid, attempt: u32) -> String {
    token_of(&uid_text(uid), attempt)
}

/// The same, as the engine asks for it.
pub fn token_of(uid: &str, attempt: u32) -> String {
    format!("{uid}-{attempt}")
}

/// Back.
pub fn read_token(token: &str) -> Option<(Uid, u32)> {
    let (uid, attempt) = token.strip_prefix("uid")?.split_once('-')?;
    Some((uid.parse().ok()?, attempt.parse().ok()?))
}

/// As the vendor calls it.
pub fn id_text(id: Id) -> String {
    format!("t{id}")
}

/// Back.
pub fn id_of(text: &str) -> Option<Id> {
    text.strip_prefix('t')?.parse().ok()
}

/// As the annotation has it.
pub fn record_text((uid, attempt, since): (Uid, u32, Id)) -> String {
    Record { uid: uid_text(uid), attempt, at: moment(since) }.to_string()
}

/// A moment, by how many things there were at the vendor.
pub fn moment(things: Id) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(things).unwrap_or_default()).ok()
}

impl Status {
    fn key(&self) -> impl Eq + Hash + '_ {
        let Self(status) = self;
        let conditions: Vec<_> = status
            .conditions
            .iter()
            .map(|condition| (&*condition.status, &*condition.reason, condition.observed_generation))
            .collect();
        let operation = status.operation.as_ref().map(|operation| {
            let since = operation.started_at.as_ref().map(|since| since.0.as_second());
            let OperationStateKey(state) = operation.state.into();
            let version = operation.version.as_deref();
            let token = (&*operation.token, operation.attempt, version);
            (&*operation.action, token, state, &operation.candidates, since)
        });
        (
            (status.phase.map(|phase| phase as u8), status.observed_generation, status.image_id.as_deref()),
            status.at_provider.as_ref().and_then(|report| report["content"].as_u64()),
            operation,
            status.versions.iter().map(|it| (&it.image_id, &it.version, &it.digest)).collect::<Vec<_>>(),
            (status.last_handled_reconcile_at.as_deref(), status.last_handled_outcome.as_deref()),
            conditions,
        )
    }
}

struct OperationStateKey(u8);

impl From<OperationState> for OperationStateKey {
    fn from(state: OperationState) -> Self {
        Self(state as u8)
    }
}

impl PartialEq for Status {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Status {}

impl Hash for Status {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.key().hash(hasher);
    }
}
