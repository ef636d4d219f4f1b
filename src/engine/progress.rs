//! Where one object stands, and what to do next. Pure: no clock, no network, no Kubernetes client.

use crate::{
    image::Referent,
    wire::{CallError, Class, Refusal, outcome::one_line},
};
use jiff::Timestamp;
use serde_json::Value;

/// What the vendor gave us to hold on to: a task that makes something, the thing itself, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    /// The vendor's id of the thing.
    pub image: Option<String>,
    /// The vendor's id of the task that makes it.
    pub task: Option<String>,
}

impl Handle {
    /// A thing whose id is known.
    pub fn image(id: impl Into<String>) -> Self {
        Self { image: Some(id.into()), task: None }
    }
    /// A task, of a thing that has no id, or none yet.
    pub fn task(id: impl Into<String>) -> Self {
        Self { image: None, task: Some(id.into()) }
    }
    /// What a person asks the vendor about: the thing, and the task where there is one.
    pub fn in_full(&self) -> String {
        match (&self.image, &self.task) {
            (Some(image), Some(task)) => format!("{image} (task {task})"),
            (None, Some(task)) => format!("task {task}"),
            _ => self.id().to_owned(),
        }
    }
    /// The id to name it by.
    pub fn id(&self) -> &str {
        self.image.as_deref().or(self.task.as_deref()).unwrap_or_default()
    }
}

/// One attempt to create: written down before the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Sent with the call; the same for every repetition of this attempt.
    pub token: String,
    /// From 1.
    pub attempt: u32,
    /// A moment before the call; `None` where it is not known.
    pub since: Option<Timestamp>,
    /// What the spec's references meant then: they may mean something else by now.
    pub references: Vec<Referent>,
    /// The version that it makes, where it is to follow an earlier one of the object's.
    pub version: Option<String>,
    /// How the object came to what it has.
    pub origin: Origin,
}

/// How an object came to what it has: what it made is deleted with it unless the spec says otherwise, what it took over is
/// not, and what it only observes never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Its creating call made it.
    #[default]
    Made,
    /// It was there already.
    Imported,
    /// It is somebody else's.
    Observed,
}

/// What the vendor has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Product {
    /// The vendor's id of it, where it has one.
    pub image_id: Option<String>,
    /// Where the result lies, for kinds that write a file.
    pub artifact: Option<String>,
    /// The vendor's report, keys in lowerCamelCase.
    pub at_provider: Value,
    /// What there is to know of it although it is as the spec says: the end of a sentence. Not stored.
    pub note: Option<String>,
    /// What went wrong although it is usable, and what to do about it, in a sentence. A person is told of it once, and it stands
    /// in the condition as long as a look says so.
    pub warning: Option<String>,
}

impl Product {
    /// What to call it: the file that was written, where that is what it is about; the thing, and not the task that made it.
    pub fn name<'a>(&'a self, handle: &'a Handle) -> &'a str {
        self.artifact.as_deref().or(self.image_id.as_deref()).unwrap_or_else(|| handle.id())
    }
}

/// Why something ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// One CamelCase word, stable.
    pub reason: String,
    /// A sentence that a user can act on.
    pub message: String,
    /// What is there all the same, under an id of its own: it goes before the next attempt, and with the object.
    pub left: Option<Product>,
}

/// Exactly the possible situations of one object. `intent` is the attempt that led there, `handle` what the vendor gave.
#[expect(missing_docs, reason = "the fields are explained above")]
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Nothing is asked of the vendor, or nothing that had an effect (`tried`). The next attempt has this number.
    New { attempt: u32, tried: Option<Intent> },
    /// The intent is stored, the answer is not.
    Submitting(Intent),
    /// The vendor took the order.
    Building { intent: Intent, handle: Handle, percent: Option<u8> },
    /// The vendor has it.
    Ready { intent: Intent, handle: Handle, product: Product },
    /// The vendor has it, and it cannot be used now; `why` says what is in the way. It was made, and is looked at until it can
    /// be used or is gone.
    Unusable { intent: Intent, handle: Handle, product: Product, why: String },
    /// The vendor said no, or the build failed; `handle` is what it left behind. Only a new spec, or being asked to, helps.
    Failed { intent: Intent, handle: Option<Handle>, failure: Failure },
    /// What was asked for was so in the name of an earlier object, from which this one was restored. Nothing is asked for in
    /// its own name. The candidates are what a status that came along has.
    Restored { intent: Intent, candidates: Vec<String> },
    /// Asked, lost, and not knowable: a person decides. The candidates are what the vendor has that might be it. With
    /// `restored`, it was asked for in the name of an earlier object, and nothing in this one's.
    Unclear { intent: Intent, candidates: Vec<String>, restored: bool },
    /// The vendor does not have it any more. Without `was_ready` nobody has seen it usable: it may yet come.
    Missing { intent: Intent, handle: Handle, was_ready: bool },
}

/// What spec and annotations ask for at this moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent switch of the user's")]
pub struct Wish {
    /// The object has a deletion timestamp.
    pub deleting: bool,
    /// `suspend: true`.
    pub suspended: bool,
    /// Nothing of the vendor's may be created, changed or deleted.
    pub observe_only: bool,
    /// `import` names what to take over, so nothing is ever created.
    pub import: bool,
    /// The id that it names.
    pub import_id: Option<String>,
    /// Whether the vendor's side stays when the object goes; `None`: as it came to it.
    pub retain: Option<bool>,
    /// Make it again when the vendor no longer has it.
    pub recreate: bool,
    /// What a failed attempt left goes at once.
    pub clears: bool,
    /// What is there is to be succeeded by a new version, since the spec asks for what the vendor cannot change in it.
    pub succeed: bool,
    /// Earlier versions are there, which go with the object.
    pub predecessors: bool,
    /// The spec is newer than the status.
    pub changed: bool,
    /// A person asked for a look, or for a new attempt.
    pub asked: bool,
    /// A person's answer to `Unclear`.
    pub answer: Option<Answer>,
}

/// A person's answer to `Unclear`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It took effect, and this is its id.
    Adopt(String),
    /// It did not take effect; ask again.
    Resubmit,
}

/// What to do now.
#[expect(missing_docs, reason = "the fields are explained at Progress and Answer")]
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Wait for the user to lift `suspend`.
    Suspended,
    /// Find what `import` names.
    Find,
    /// Store the intent of this attempt and call.
    Submit { attempt: u32 },
    /// Find out what became of a call whose answer is not written down.
    Recover(Intent),
    /// Look at it, and set right what differs.
    Observe(Handle),
    /// Go on with what the user says is it.
    Adopt { intent: Intent, id: String },
    /// Remove what a failed attempt left behind, before the next one, or before something else takes its place.
    Discard { handle: Handle, attempt: u32 },
    /// Remove what the failed attempt left behind, though no other follows.
    Clear(Handle),
    /// Delete it at the vendor.
    Delete(Handle),
    /// Delete its earlier versions, when nothing else is left of it.
    Retire,
    /// Let the object go.
    Release,
}

/// The answer to "did the call that we lost take effect?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It bears what was sent along with this very attempt, so it is it, however soon it was looked for; or with another of
    /// the object's, and this one's call could make nothing as long as it is there.
    Found(Handle),
    /// It was looked for, long enough after the call to be seen: these could be it, unless another object holds them.
    Candidates(Vec<Handle>),
    /// The vendor honours the token: asking again yields the same thing, never a second one.
    Replay,
    /// It was looked for, and the vendor has things of which nobody could tell whether they are it: with `doubtful` ones that no
    /// other object holds, a person must say; without, as [`Recovered::Candidates`].
    Doubtful {
        /// What could be it.
        likely: Vec<Handle>,
        /// What hardly is, and might be.
        doubtful: Vec<Handle>,
    },
    /// Nobody can tell. What might be it.
    Undecidable(Vec<String>),
}

impl Recovered {
    /// Of what bears the mark of the attempt, where the vendor honours the attempt's token too: that is it. One call makes one
    /// thing, so that of several somebody has copied the mark.
    pub fn marked(mut handles: Vec<Handle>) -> Self {
        match handles.len() {
            0 => Self::Replay,
            1 => Self::Found(handles.remove(0)),
            _ => Self::Candidates(handles),
        }
    }
}

/// The answer to "how is it going?"
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Not there yet.
    Building {
        /// How far, where the vendor tells.
        percent: Option<u8>,
        /// What else there is to know, such as a status that no document has.
        note: Option<String>,
    },
    /// Usable.
    Ready(Product),
    /// There, and not usable now, though nothing needs to be made again: disabled, being moved, in a status that nobody knows.
    Unusable {
        /// What the vendor has.
        product: Product,
        /// What is in the way, and what to do about it, in a sentence.
        why: String,
        /// Whether it passes if nobody does anything.
        hindrance: Hindrance,
    },
    /// Over, without a result.
    Failed(Failure),
    /// The order was taken and then refused, as the creating call itself might have been: nothing is left of it.
    Refused(Refusal),
    /// The vendor does not know this handle.
    Missing,
}

/// Whether what keeps something from being used passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It does.
    Passing,
    /// Nobody knows: it is taken for a step of the way for as long as a build may take.
    Unknown,
    /// A person has to act.
    Lasting,
}

impl Observation {
    /// What the vendor has, where the look tells.
    pub fn product(&self) -> Option<&Product> {
        match self {
            Self::Ready(product) | Self::Unusable { product, .. } => Some(product),
            _ => None,
        }
    }
}

/// The answer to "is it as the spec says?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is.
    Same,
    /// It is not, in these fields, which the vendor can change.
    Amendable(Vec<Difference>),
    /// It is not, in these fields, which nobody can change.
    Fixed(Vec<Difference>),
}

/// A field in which what the vendor has is not what the spec asks for. Two are the same that are about the same field.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Of `spec.forProvider`.
    pub field: String,
    /// What the vendor has, for people.
    pub theirs: String,
    /// What the spec asks for, for people.
    pub ours: String,
    /// The calls that would set it right, where they depend on what differs; else `External::AMENDS` says which.
    pub calls: Vec<&'static str>,
}

impl Difference {
    /// Values as people read them; long ones are cut.
    pub fn new(field: &str, theirs: impl Into<Value>, ours: impl Into<Value>) -> Self {
        let shown = |value: Value| match value {
            Value::String(text) => format!("{:?}", one_line(&text, 80)),
            Value::Null => "nothing".into(),
            other => one_line(&other.to_string(), 80),
        };
        Self { field: field.into(), theirs: shown(theirs.into()), ours: shown(ours.into()), calls: vec![] }
    }

    /// The same, set right by these calls.
    #[must_use]
    pub fn by(mut self, calls: impl IntoIterator<Item = &'static str>) -> Self {
        self.calls = calls.into_iter().collect();
        self
    }
}

impl PartialEq for Difference {
    fn eq(&self, other: &Self) -> bool {
        self.field == other.field
    }
}
impl Eq for Difference {}

impl From<&str> for Difference {
    fn from(field: &str) -> Self {
        Self::new(field, Value::Null, Value::Null)
    }
}

/// Their fields, for a sentence.
pub fn fields(differences: &[Difference]) -> String {
    differences.iter().map(|difference| &*difference.field).collect::<Vec<_>>().join(", ")
}

/// What changed from what to what, for a sentence.
pub fn changes(differences: &[Difference]) -> String {
    let changes = differences
        .iter()
        .map(|Difference { field, theirs, ours, .. }| format!("{field}: {theirs} → {ours}"));
    changes.collect::<Vec<_>>().join(", ")
}

/// Something at the vendor that may be why a creating call was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookalike {
    /// What a person would name it by.
    pub id: String,
    /// When it came into being, where the vendor tells.
    pub created: Option<Timestamp>,
    /// How it differs from what the spec asks for.
    pub comparison: Comparison,
}

/// The answer to "delete it".
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// There is nothing left.
    Gone,
    /// There is nothing left of it that could be deleted; the sentence says what remains, or may.
    Remains(String),
    /// Before it is deleted, this is to be written down: what it leaves behind cannot be found without it.
    Seen(Product),
    /// The vendor is at it; it is gone when an observation misses it.
    Underway,
    /// It cannot be deleted now; the sentence says what it waits for.
    Waiting(String),
}

/// Whether a refused call is about what an earlier call of the same attempt made. That is the one thing that is there, as
/// the spec asks for and not older than `since`; what else is as young, nobody can tell. `since` is `None` where there
/// was no such call: then nothing that is there is ours, and a single thing that is in the way is only named.
pub fn refused(
    refusal: Refusal,
    since: Option<Timestamp>,
    there: &[Lookalike],
    is_taken: impl Fn(&str) -> bool,
) -> Result<String, CallError> {
    if since.is_some() {
        let is_young =
            |thing: &&Lookalike| thing.created.zip(since).is_none_or(|(born, since)| born >= since);
        let maybe: Vec<_> = there.iter().filter(is_young).filter(|thing| !is_taken(&thing.id)).collect();
        let fits = |thing: &&&Lookalike| !matches!(thing.comparison, Comparison::Fixed(_));
        let ours: Vec<_> = maybe.iter().filter(fits).collect();
        if let [one] = ours.as_slice() {
            return Ok(one.id.clone());
        }
        let in_doubt = match refusal.class {
            Class::TokenReused => true,
            Class::Conflict => !maybe.is_empty(),
            _ => ours.len() > 1,
        };
        if in_doubt {
            return Err(CallError::Undecidable(maybe.iter().map(|thing| thing.id.clone()).collect()));
        }
        // Lists may lag behind: what a call made whose answer was lost must not be given up.
        if there.is_empty() && refusal.class == Class::Conflict {
            return Err(unseen(&refusal));
        }
    }
    if let ([one], Class::Conflict) = (there, refusal.class) {
        let how = match &one.comparison {
            Comparison::Fixed(differences) => format!("it differs in {}", fields(differences)),
            Comparison::Same | Comparison::Amendable(_) => {
                format!("it is the same; set spec.import.id: {} to take it over", one.id)
            }
        };
        // The advice is not to be cut off with the vendor's text.
        let message = one_line(refusal.message.trim_end_matches('.'), 200);
        let message = format!("{message} ({} is there already; {how})", one.id);
        return Err(CallError::Refused(Refusal { message, ..refusal }));
    }
    Err(CallError::Refused(refusal))
}

/// What a call was refused for is not shown, so that nobody can tell whose it is.
pub fn unseen(refusal: &Refusal) -> CallError {
    CallError::Unknown(format!("{refusal}; the vendor does not show it yet"))
}

/// By how many points a build's progress must have moved to be written: an hour's build shows ten steps.
const STEP: u8 = 10;

/// Every write costs the API server, so a build's progress is written when it has moved far enough, and not any more when the
/// end is near. That a beat has passed since it was written last is the caller's to see to.
fn coarse(before: Option<u8>, now: Option<u8>) -> Option<u8> {
    let moved = now.is_some_and(|now| now <= 90 && now.abs_diff(before.unwrap_or(0)) >= STEP);
    if moved { now } else { before }
}

impl Progress {
    /// What to do, given what the user wishes.
    pub fn next(&self, wish: &Wish) -> Step {
        if wish.deleting { self.next_to_deletion(wish) } else { self.next_to_ready(wish) }
    }

    fn next_to_ready(&self, wish: &Wish) -> Step {
        match (self.next_of_managed(wish), self) {
            // It may have gone on from what `import` names, and what came of that be lost or have failed.
            (
                Step::Submit { .. } | Step::Discard { .. },
                Self::Ready { handle, .. } | Self::Missing { handle, .. },
            ) if wish.observe_only => Step::Observe(handle.clone()),
            (Step::Submit { .. } | Step::Discard { .. }, _) if wish.observe_only => Step::Rest,
            (step, _) => step,
        }
    }

    /// What to do about an object that is to be there, if whatever it takes may be done.
    fn next_of_managed(&self, wish: &Wish) -> Step {
        if wish.suspended {
            return Step::Suspended;
        }
        match self {
            Self::New { .. } | Self::Submitting(_) if wish.import => Step::Find,
            Self::New { .. } if wish.observe_only => Step::Rest,
            Self::New { attempt, .. } => Step::Submit { attempt: *attempt },
            Self::Ready { intent, .. } | Self::Missing { intent, was_ready: true, .. } if wish.succeed => {
                Step::Submit { attempt: intent.attempt + 1 }
            }
            Self::Restored { .. } | Self::Unclear { restored: true, .. } if wish.import => Step::Find,
            Self::Restored { .. } if wish.observe_only => Step::Rest,
            Self::Submitting(intent) | Self::Restored { intent, .. } => Step::Recover(intent.clone()),
            Self::Building { handle, .. } | Self::Ready { handle, .. } | Self::Unusable { handle, .. } => {
                Step::Observe(handle.clone())
            }
            Self::Failed { intent, handle: Some(handle), failure }
                if !(wish.changed || wish.asked)
                    && wish.clears
                    && failure.left.is_some()
                    && intent.origin == Origin::Made
                    && !wish.observe_only =>
            {
                Step::Clear(handle.clone())
            }
            Self::Failed { .. } if !(wish.changed || wish.asked) => Step::Rest,
            // What this object made is not forgotten for what it takes over.
            Self::Failed { intent, handle: Some(handle), .. }
                if wish.import
                    && intent.origin == Origin::Made
                    && !wish.observe_only
                    && wish.import_id.as_deref() != Some(handle.id()) =>
            {
                Step::Discard { handle: handle.clone(), attempt: intent.attempt + 1 }
            }
            Self::Failed { .. } if wish.import => Step::Find,
            Self::Failed { intent, handle: None, .. } => Step::Submit { attempt: intent.attempt + 1 },
            Self::Failed { intent, handle: Some(handle), .. } => {
                Step::Discard { handle: handle.clone(), attempt: intent.attempt + 1 }
            }
            Self::Unclear { intent, restored, .. } => match &wish.answer {
                Some(Answer::Adopt(id)) => Step::Adopt { intent: intent.clone(), id: id.clone() },
                // Attempts count for each object.
                Some(Answer::Resubmit) if *restored => Step::Submit { attempt: 1 },
                Some(Answer::Resubmit) => Step::Submit { attempt: intent.attempt + 1 },
                None if wish.asked => Step::Recover(intent.clone()),
                None => Step::Rest,
            },
            Self::Missing { intent, was_ready: true, .. } if wish.recreate && !wish.import => {
                Step::Submit { attempt: intent.attempt + 1 }
            }
            Self::Missing { handle, .. } => Step::Observe(handle.clone()),
        }
    }

    fn next_to_deletion(&self, wish: &Wish) -> Step {
        if self.stays(wish) {
            return Step::Release;
        }
        match self.next_of_newest(wish) {
            Step::Release if wish.predecessors && wish.suspended => Step::Suspended,
            Step::Release if wish.predecessors => Step::Retire,
            step => step,
        }
    }

    /// What to do about the last attempt of an object that goes.
    fn next_of_newest(&self, wish: &Wish) -> Step {
        match self {
            Self::New { .. } | Self::Failed { handle: None, .. } => Step::Release,
            // Nothing was asked for in its name, and what was in another's is not its to delete.
            Self::Restored { .. } | Self::Unclear { restored: true, .. } => Step::Release,
            Self::Submitting(_) if wish.import => Step::Release,
            Self::Unclear { .. } if wish.answer == Some(Answer::Resubmit) => Step::Release,
            _ if wish.suspended => Step::Suspended,
            Self::Submitting(intent) => Step::Recover(intent.clone()),
            // What is missing may be back, or only hidden.
            Self::Building { handle, .. }
            | Self::Ready { handle, .. }
            | Self::Unusable { handle, .. }
            | Self::Missing { handle, .. }
            | Self::Failed { handle: Some(handle), .. } => Step::Delete(handle.clone()),
            Self::Unclear { intent, .. } => match &wish.answer {
                Some(Answer::Adopt(id)) => Step::Adopt { intent: intent.clone(), id: id.clone() },
                _ if wish.asked => Step::Recover(intent.clone()),
                _ => Step::Rest,
            },
        }
    }

    /// Whether what the vendor has stays there when the object goes.
    pub fn stays(&self, wish: &Wish) -> bool {
        let origin = self.intent().map_or(Origin::Made, |intent| intent.origin);
        wish.observe_only || origin == Origin::Observed || wish.retain.unwrap_or(origin == Origin::Imported)
    }

    /// After the creating call. With `replay`, an earlier call of the same attempt may have had its effect, and that
    /// this one was not sent, or was put off, does not undo it. A final refusal does: the kind has looked. What was refused may
    /// have used its token up, so the next attempt is another one.
    pub fn submitted(intent: Intent, replay: bool, answer: Result<Handle, &CallError>) -> Self {
        match answer {
            Ok(handle) => Self::Building { intent, handle, percent: None },
            Err(CallError::Undecidable(candidates)) => {
                Self::Unclear { intent, candidates: candidates.clone(), restored: false }
            }
            // Somebody else has taken the number of the version meanwhile; there are others.
            Err(CallError::Refused(refusal))
                if refusal.class == Class::Conflict && intent.version.is_some() && !replay =>
            {
                Self::New { attempt: intent.attempt + 1, tried: Some(intent) }
            }
            Err(CallError::Refused(refusal))
                if matches!(refusal.class, Class::Conflict | Class::TokenReused)
                    || refusal.class.is_final() =>
            {
                let (reason, message) = (refusal.class.reason().into(), refusal.to_string());
                let failure = Failure { reason, message, left: None };
                Self::Failed { intent, handle: None, failure }
            }
            Err(CallError::Unknown(_) | CallError::NoAnswer(_)) => Self::Submitting(intent),
            Err(CallError::NotSent(_) | CallError::RateLimited { .. } | CallError::Refused(_)) if replay => {
                Self::Submitting(intent)
            }
            Err(CallError::NotSent(_) | CallError::RateLimited { .. }) => {
                Self::New { attempt: intent.attempt, tried: Some(intent) }
            }
            Err(CallError::Refused(_)) => Self::New { attempt: intent.attempt + 1, tried: Some(intent) },
        }
    }

    /// After looking for a lost call's effect: one candidate is it, none means that there was no effect, several are a
    /// person's to tell apart. [`Recovered::Replay`] changes nothing: the same attempt is asked again.
    pub fn recovered(intent: Intent, answer: Recovered) -> Self {
        match answer {
            Recovered::Found(handle) => Self::Building { intent, handle, percent: None },
            Recovered::Candidates(mut handles) => match handles.len() {
                0 => Self::New { attempt: intent.attempt + 1, tried: Some(intent) },
                1 => Self::Building { intent, handle: handles.remove(0), percent: None },
                _ => Self::Unclear {
                    intent,
                    candidates: handles.iter().map(|handle| handle.id().to_owned()).collect(),
                    restored: false,
                },
            },
            Recovered::Replay => Self::Submitting(intent),
            Recovered::Doubtful { likely, doubtful } if doubtful.is_empty() => {
                Self::recovered(intent, Recovered::Candidates(likely))
            }
            Recovered::Doubtful { likely, doubtful } => {
                let candidates =
                    likely.iter().chain(&doubtful).map(|handle| handle.id().to_owned()).collect();
                Self::Unclear { intent, candidates, restored: false }
            }
            Recovered::Undecidable(candidates) => Self::Unclear { intent, candidates, restored: false },
        }
    }

    /// Whether the vendor is, or may be, at work for the object.
    pub fn under_way(&self) -> bool {
        matches!(self, Self::Submitting(_) | Self::Building { .. } | Self::Unclear { restored: false, .. })
    }

    /// After a look. `missing` must have been confirmed by a second look. What was there once is never building again: it only
    /// cannot be used, so that it counts as made when it is gone.
    #[must_use]
    pub fn observed(self, seen: Observation) -> Self {
        let (before, made) = match &self {
            Self::Building { percent, .. } => (*percent, None),
            Self::Missing { was_ready: false, .. } => (None, None),
            Self::Ready { product, .. } | Self::Unusable { product, .. } => (None, Some(product.clone())),
            _ => (None, Some(Product::default())),
        };
        let (Self::Building { intent, handle, .. }
        | Self::Ready { intent, handle, .. }
        | Self::Unusable { intent, handle, .. }
        | Self::Missing { intent, handle, .. }) = self
        else {
            return self;
        };
        match (seen, made) {
            (Observation::Building { note, .. }, Some(product)) => {
                let at_work = || format!("the vendor is at work on {} again", handle.id());
                let why = note.unwrap_or_else(at_work);
                Self::Unusable { intent, handle, product, why }
            }
            (Observation::Building { percent, .. }, None) => {
                Self::Building { percent: coarse(before, percent), intent, handle }
            }
            (Observation::Ready(product), _) => Self::Ready { intent, handle, product },
            (Observation::Unusable { product, why, .. }, _) => {
                Self::Unusable { intent, handle, product, why }
            }
            (Observation::Failed(failure), _) => {
                let left = failure.left.as_ref().and_then(|left| left.image_id.clone());
                let handle = Handle { image: left.or(handle.image), task: handle.task };
                Self::Failed { intent, handle: Some(handle), failure }
            }
            (Observation::Refused(refusal), _) => {
                Self::submitted(intent, false, Err(&CallError::Refused(refusal)))
            }
            (Observation::Missing, made) => Self::Missing { intent, handle, was_ready: made.is_some() },
        }
    }

    /// What the vendor lost of an order that it took, and of which nobody saw anything, is asked for again as after a lost
    /// answer, with the same token: for vendors that make no second thing of it. From `now` on, since nothing was there until
    /// then.
    #[must_use]
    pub fn asked_again(self, now: Timestamp) -> Self {
        match self {
            Self::Missing { intent, was_ready: false, .. } => {
                Self::Submitting(Intent { since: Some(now), ..intent })
            }
            other => other,
        }
    }

    /// The same with what there is of it, before that is deleted: what it leaves behind cannot be found without it.
    #[must_use]
    pub fn seen_to_go(self, product: Product) -> Self {
        match self {
            Self::Failed { intent, handle, failure } => {
                let Handle { image, task } = handle.unwrap_or_default();
                let handle = Some(Handle { image: product.image_id.clone().or(image), task });
                Self::Failed { intent, handle, failure: Failure { left: Some(product), ..failure } }
            }
            other => other.observed(Observation::Ready(product)),
        }
    }

    /// The same without what the failed attempt left behind.
    #[must_use]
    pub fn cleared(self) -> Self {
        match self {
            Self::Failed { intent, handle, failure } => {
                let task = handle.and_then(|handle| handle.task);
                let failure = Failure { left: None, ..failure };
                Self::Failed { intent, handle: task.map(Handle::task), failure }
            }
            other => other,
        }
    }

    /// How far the build is, as far as it is written down.
    pub fn percent(&self) -> Option<u8> {
        match self {
            Self::Building { percent, .. } => *percent,
            _ => None,
        }
    }

    /// The same of what came to the object in another way.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        match &mut self {
            Self::Building { intent, .. }
            | Self::Ready { intent, .. }
            | Self::Unusable { intent, .. }
            | Self::Failed { intent, .. }
            | Self::Missing { intent, .. } => intent.origin = origin,
            Self::New { .. } | Self::Submitting(_) | Self::Restored { .. } | Self::Unclear { .. } => {}
        }
        self
    }

    /// The attempt that the object is at, or was at last.
    pub fn intent(&self) -> Option<&Intent> {
        match self {
            Self::New { tried, .. } => tried.as_ref(),
            Self::Submitting(intent)
            | Self::Building { intent, .. }
            | Self::Ready { intent, .. }
            | Self::Unusable { intent, .. }
            | Self::Failed { intent, .. }
            | Self::Restored { intent, .. }
            | Self::Unclear { intent, .. }
            | Self::Missing { intent, .. } => Some(intent),
        }
    }

    /// What the vendor has of this object, as far as is known.
    pub fn handle(&self) -> Option<&Handle> {
        match self {
            Self::Building { handle, .. }
            | Self::Ready { handle, .. }
            | Self::Unusable { handle, .. }
            | Self::Missing { handle, .. } => Some(handle),
            Self::Failed { handle, .. } => handle.as_ref(),
            Self::New { .. } | Self::Submitting(_) | Self::Restored { .. } | Self::Unclear { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(class: Class) -> Refusal {
        Refusal {
            action: "Create".into(),
            status: 400,
            code: "Code".into(),
            message: "No.".into(),
            request_id: String::new(),
            class,
            hint: "",
            retry_after: None,
        }
    }

    fn intent(attempt: u32, references: Vec<Referent>) -> Intent {
        Intent { token: "t".into(), attempt, since: None, references, version: None, origin: Origin::Made }
    }

    fn thing(id: &str, second: i64, comparison: Comparison) -> Lookalike {
        Lookalike { id: id.into(), created: Timestamp::from_second(second).ok(), comparison }
    }

    /// What comes of a refusal, in a word; the call was made at second 100, or by nobody before.
    fn verdict(class: Class, replay: bool, there: &[Lookalike]) -> String {
        let since = replay.then(|| Timestamp::from_second(100).unwrap());
        match refused(refusal(class), since, there, |id| id == "taken") {
            Ok(id) => format!("ours {id}"),
            Err(CallError::Refused(refusal)) => format!("refused {}", refusal.message),
            Err(CallError::Undecidable(ids)) => format!("undecidable {}", ids.join(" ")),
            Err(error) => error.reason().into(),
        }
    }

    #[test]
    fn whose_a_thing_is_that_is_in_the_way() {
        let differs = || Comparison::Fixed(vec!["content".into()]);
        let (young, old, taken, other) = (
            thing("young", 100, Comparison::Same),
            thing("old", 99, Comparison::Same),
            thing("taken", 100, Comparison::Same),
            thing("other", 100, differs()),
        );
        let undated = Lookalike { created: None, ..young.clone() };
        let amendable = thing("young", 100, Comparison::Amendable(vec!["tag".into()]));
        let same = |id: &str| {
            format!(
                "refused No ({id} is there already; it is the same; set spec.import.id: {id} to take it over)"
            )
        };
        for (class, replay, there, expected) in [
            (Class::Conflict, true, vec![young.clone()], "ours young".into()),
            (Class::Conflict, true, vec![undated], "ours young".into()),
            (Class::Conflict, true, vec![amendable], "ours young".into()),
            (Class::Conflict, true, vec![young.clone(), other.clone()], "ours young".into()),
            (
                Class::Conflict,
                true,
                vec![young.clone(), thing("twin", 100, Comparison::Same)],
                "undecidable young twin".into(),
            ),
            (Class::Conflict, true, vec![other.clone()], "undecidable other".into()),
            (Class::Conflict, true, vec![old.clone()], same("old")),
            (Class::Conflict, true, vec![taken], same("taken")),
            (Class::Conflict, true, vec![], "AnswerLost".into()),
            (Class::Conflict, false, vec![young.clone()], same("young")),
            (
                Class::Conflict,
                false,
                vec![other.clone()],
                "refused No (other is there already; it differs in content)".into(),
            ),
            (Class::Conflict, false, vec![], "refused No.".into()),
            (Class::TokenReused, true, vec![], "undecidable ".into()),
            (Class::TokenReused, true, vec![old], "undecidable ".into()),
            (Class::TokenReused, true, vec![young.clone()], "ours young".into()),
            (Class::TokenReused, false, vec![young.clone()], "refused No.".into()),
            (Class::TokenReused, false, vec![], "refused No.".into()),
            (Class::Invalid, true, vec![young], "ours young".into()),
            (Class::Invalid, true, vec![other], "refused No.".into()),
            (Class::Invalid, true, vec![], "refused No.".into()),
        ] {
            assert_eq!(verdict(class, replay, &there), expected, "{class:?}, replay {replay}, {there:?}");
        }
    }

    #[test]
    fn a_refusal_uses_the_number_up_and_what_was_not_sent_does_not() {
        let after = |answer: CallError| Progress::submitted(intent(3, vec![]), false, Err(&answer));
        for class in [Class::Busy, Class::Quota, Class::NotFound, Class::Permission, Class::Unlisted] {
            let to = after(CallError::Refused(refusal(class)));
            assert_eq!(to.next(&Wish::default()), Step::Submit { attempt: 4 }, "{class:?}");
        }
        for not_sent in
            [CallError::NotSent("no".into()), CallError::RateLimited { why: "no".into(), refused: false }]
        {
            assert_eq!(after(not_sent).next(&Wish::default()), Step::Submit { attempt: 3 });
        }
        let reused = after(CallError::Refused(refusal(Class::TokenReused)));
        assert!(matches!(reused, Progress::Failed { handle: None, .. }), "{reused:?}");
        let asked = Wish { asked: true, ..Wish::default() };
        assert_eq!(reused.next(&asked), Step::Submit { attempt: 4 });
        let replayed = CallError::Refused(refusal(Class::Busy));
        let replayed = Progress::submitted(intent(3, vec![]), true, Err(&replayed));
        assert!(matches!(replayed, Progress::Submitting(_)), "the call before it may have had its effect");
    }

    #[test]
    fn only_what_was_seen_is_made_again() {
        let wish = Wish { recreate: true, ..Wish::default() };
        let (intent, handle) = (intent(3, vec![]), Handle::image("img"));
        let building = Progress::Building { intent: intent.clone(), handle: handle.clone(), percent: None };
        let lost = building.observed(Observation::Missing);
        assert_eq!(lost.next(&wish), Step::Observe(handle.clone()), "it may yet come");
        let ready = lost.observed(Observation::Ready(Product::default()));
        let gone = ready.observed(Observation::Missing).observed(Observation::Missing);
        assert_eq!(gone.next(&wish), Step::Submit { attempt: 4 });
        let deleting = Wish { deleting: true, ..Wish::default() };
        assert_eq!(gone.next(&deleting), Step::Delete(handle), "it may be back");
    }

    /// Also where it had gone on from what it took over, so that nothing is imported any more.
    #[test]
    fn who_only_observes_has_nothing_made_and_nothing_removed() {
        let (made, image) = (|| intent(2, vec![]), || Handle::image("img"));
        let failure = || Failure { reason: "BuildFailed".into(), message: "it failed".into(), left: None };
        let all = [
            Progress::New { attempt: 2, tried: Some(made()) },
            Progress::Submitting(made()),
            Progress::Building { intent: made(), handle: image(), percent: None },
            Progress::Ready { intent: made(), handle: image(), product: Product::default() },
            Progress::Unusable {
                intent: made(),
                handle: image(),
                product: Product::default(),
                why: "no".into(),
            },
            Progress::Failed { intent: made(), handle: None, failure: failure() },
            Progress::Failed { intent: made(), handle: Some(image()), failure: failure() },
            Progress::Restored { intent: made(), candidates: vec![] },
            Progress::Unclear { intent: made(), candidates: vec![], restored: false },
            Progress::Unclear { intent: made(), candidates: vec![], restored: true },
            Progress::Missing { intent: made(), handle: image(), was_ready: true },
            Progress::Missing { intent: made(), handle: image(), was_ready: false },
        ];
        for switches in 0..64 {
            let is = |bit: u32| switches >> bit & 1 == 1;
            let wish = Wish {
                observe_only: true,
                deleting: is(0),
                import: is(1),
                recreate: is(2),
                succeed: is(3),
                changed: is(4),
                asked: is(4),
                predecessors: is(3),
                answer: is(5).then_some(Answer::Resubmit),
                ..Wish::default()
            };
            for progress in &all {
                let step = progress.next(&wish);
                let is_harmless = !matches!(
                    step,
                    Step::Submit { .. } | Step::Discard { .. } | Step::Delete(_) | Step::Retire
                );
                assert!(is_harmless, "{step:?} for {progress:?} {wish:?}");
            }
        }
        let gone = &all[10];
        let wish = Wish { observe_only: true, recreate: true, ..Wish::default() };
        assert_eq!(gone.next(&wish), Step::Observe(image()), "it may be back");
    }

    /// What a look makes of an object, in a word.
    fn seen(from: &Progress, seen: Observation) -> Progress {
        from.clone().observed(seen)
    }

    fn unusable() -> Observation {
        let why = "it is disabled".into();
        Observation::Unusable { product: Product::default(), why, hindrance: Hindrance::Lasting }
    }

    #[test]
    fn what_was_there_once_counts_as_made_whatever_it_looks_like_since() {
        let wish = Wish { recreate: true, ..Wish::default() };
        let building =
            Progress::Building { intent: intent(1, vec![]), handle: Handle::image("img"), percent: None };
        let at_work = || Observation::Building { percent: Some(50), note: None };
        let ready = seen(&building, Observation::Ready(Product::default()));
        let (first, later, again) =
            (seen(&building, unusable()), seen(&ready, unusable()), seen(&ready, at_work()));
        let back = seen(&seen(&ready, Observation::Missing), at_work());
        for there in [&first, &later, &again, &back] {
            assert!(matches!(there, Progress::Unusable { .. }), "{there:?}");
            assert_eq!(there.next(&wish), Step::Observe(Handle::image("img")));
            assert!(matches!(seen(there, Observation::Ready(Product::default())), Progress::Ready { .. }));
            let gone = seen(there, Observation::Missing);
            assert_eq!(gone.next(&wish), Step::Submit { attempt: 2 }, "{there:?}");
            let deleting = Wish { deleting: true, ..Wish::default() };
            assert_eq!(there.next(&deleting), Step::Delete(Handle::image("img")));
        }
        let lost = seen(&building, Observation::Missing);
        assert!(matches!(seen(&lost, at_work()), Progress::Building { .. }), "it was never there");
        let now = Timestamp::UNIX_EPOCH;
        let Progress::Submitting(again) = lost.asked_again(now) else { panic!("nobody saw anything of it") };
        assert_eq!(again, Intent { since: Some(now), ..intent(1, vec![]) });
        let gone = seen(&ready, Observation::Missing);
        assert_eq!(gone.clone().asked_again(now), gone, "it was there");
    }

    #[test]
    fn what_a_failed_attempt_left_goes_at_once_or_with_what_follows() {
        let building =
            Progress::Building { intent: intent(1, vec![]), handle: Handle::task("t-1"), percent: None };
        let left = Product { image_id: Some("i-1".into()), ..Product::default() };
        let failure = |left| Failure { reason: "TestFailed".into(), message: "no".into(), left };
        let failed = seen(&building, Observation::Failed(failure(Some(left))));
        let both = Handle { image: Some("i-1".into()), task: Some("t-1".into()) };
        let clears = Wish { clears: true, ..Wish::default() };
        for (wish, step) in [
            (Wish::default(), Step::Rest),
            (clears.clone(), Step::Clear(both.clone())),
            (Wish { suspended: true, ..clears.clone() }, Step::Suspended),
            (Wish { observe_only: true, ..clears.clone() }, Step::Rest),
            (Wish { asked: true, ..clears.clone() }, Step::Discard { handle: both.clone(), attempt: 2 }),
            (Wish { deleting: true, ..clears.clone() }, Step::Delete(both)),
        ] {
            assert_eq!(failed.next(&wish), step, "{wish:?}");
        }
        let theirs = failed.clone().with_origin(Origin::Imported);
        assert_eq!(theirs.next(&clears), Step::Rest, "somebody else's stays");
        // What is seen of it only now is known when it is gone, as well.
        let more = Product { image_id: Some("i-1".into()), at_provider: 7.into(), ..Product::default() };
        let late = seen(&building, Observation::Failed(failure(None))).seen_to_go(more.clone());
        let Progress::Failed { handle, failure: Failure { left: Some(left), reason, .. }, .. } = &late else {
            panic!("it stays failed: {late:?}")
        };
        let both = Handle { image: Some("i-1".into()), task: Some("t-1".into()) };
        assert_eq!((handle, left, &**reason), (&Some(both), &more, "TestFailed"));
        let made = building.clone().seen_to_go(more.clone());
        assert!(matches!(made, Progress::Ready { product, .. } if product == more));
        let cleared = failed.cleared();
        assert_eq!(cleared.handle(), Some(&Handle::task("t-1")));
        assert_eq!(cleared.next(&clears), Step::Rest);
        let nothing = seen(&building, Observation::Failed(failure(None)));
        assert_eq!(nothing.next(&clears), Step::Rest, "there is nothing to remove");
    }

    #[test]
    fn progress_is_written_in_ten_steps_at_most() {
        let mut progress =
            Progress::Building { intent: intent(1, vec![]), handle: Handle::task("t-1"), percent: None };
        let mut written = vec![];
        for percent in 0..=100 {
            let next = seen(&progress, Observation::Building { percent: Some(percent), note: None });
            if next != progress {
                written.push(percent);
            }
            progress = next;
        }
        assert_eq!(written, [10, 20, 30, 40, 50, 60, 70, 80, 90]);
        let unknown = seen(&progress, Observation::Building { percent: None, note: None });
        assert_eq!(unknown, progress, "what is not known changes nothing");
    }
}
