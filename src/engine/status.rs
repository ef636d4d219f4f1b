//! Progress ⇄ the flat status. Conditions are a view of progress, made in one function and never read back. Pure.

use super::{
    external::Unusable,
    pace,
    preflight::Obstacle,
    progress::{Failure, Handle, Intent, Origin, Product, Progress},
    record::Recorded,
};
use crate::{
    image::{IMPORT, ImageStatus, OBSERVE, OUTCOME, Operation, OperationState, Phase, REQUESTED_AT, Version},
    wire::{CallError, Class, outcome::one_line},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use std::collections::BTreeSet;

/// Condition types, as kstatus knows them.
pub const READY: &str = "Ready";
/// On the way; nothing to do.
pub const RECONCILING: &str = "Reconciling";
/// Will not go on without a person or a new spec.
pub const STALLED: &str = "Stalled";

/// What a user should know besides the progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// One CamelCase word.
    pub reason: String,
    /// A sentence: what, why, and what to do.
    pub message: String,
    /// Whether it goes on.
    pub outlook: Outlook,
    /// Whether a person is told of it by an Event, too.
    pub event: Telling,
}

/// Whether an object goes on if nobody does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// By itself.
    GoesOn,
    /// Not before its user says so, who stopped it on purpose: no failure.
    Suspended,
    /// Not without a person or a new spec. It is tried again all the same, where that may help.
    Stalled,
    /// Nothing is to be done: it is Ready, and this is what else there is to know.
    Ready,
}

/// How an Event tells of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Not at all.
    None,
    /// As a thing that happens.
    Normal,
    /// As trouble.
    Warning,
}

impl Detail {
    /// It waits for something that comes by itself, which is no trouble.
    pub fn waiting(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(reason, message, Outlook::GoesOn, Telling::Normal)
    }
    /// It goes on by itself, and a person may want to know what is in the way.
    pub fn trouble(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(reason, message, Outlook::GoesOn, Telling::Warning)
    }
    /// A person has to act.
    pub fn stalled(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(reason, message, Outlook::Stalled, Telling::Warning)
    }
    /// Its user stopped it.
    pub fn suspended(message: impl Into<String>) -> Self {
        Self::new("Suspended", message, Outlook::Suspended, Telling::Normal)
    }
    /// The account cannot be used. What it lacks may still be on its way to an object that `is_young`, since manifests are
    /// applied in any order.
    pub fn unusable(unusable: &Unusable, is_young: bool) -> Self {
        let make: fn(String, String) -> Self = match unusable.reason {
            // Of the API server, not of the account.
            "AccountsNotRead" | "AccountNotHeld" => Self::trouble,
            "InvalidAccount" | "WrongVendor" | "EndpointNotAllowed" | "AccountNotWatched"
            | "ProductIdMissing" | "ContentTooLong" => Self::stalled,
            _ if is_young => Self::waiting,
            _ => Self::stalled,
        };
        make(unusable.reason.into(), unusable.message.clone())
    }

    /// Its creating call would be in vain. What a new object names may be on its way as well.
    pub fn preflight(action: &str, obstacle: &Obstacle, is_young: bool) -> Self {
        let make: fn(String, String) -> Self = match (obstacle.passes, is_young) {
            (true, _) => Self::waiting,
            (false, true) => Self::trouble,
            (false, false) => Self::stalled,
        };
        let message = format!("{action} is not called yet, since it would be in vain: {}", obstacle.why);
        make(obstacle.reason.into(), message)
    }

    /// It was Ready, and looks at it fail now, which says nothing against it.
    pub fn unseen(name: &str, last_seen: Option<Timestamp>, error: &CallError) -> Self {
        let when = last_seen.map(|seen| format!(", {}", to_second(seen))).unwrap_or_default();
        let message = format!(
            "the vendor had {name}, as the spec says, when it was last seen{when}; looks at it fail now: {error}"
        );
        // The account says so too, and needs no thousand Events.
        let event = match error.class() {
            Some(Class::Credentials | Class::Throttled) => Telling::None,
            _ => Telling::Warning,
        };
        Self::new("LookFailed", message, Outlook::Ready, event)
    }

    /// It is Ready, and not as the spec says, which is to stay so.
    pub fn drifted(message: impl Into<String>) -> Self {
        Self::new("Drifted", message, Outlook::Ready, Telling::Normal)
    }

    fn new(reason: impl Into<String>, message: impl Into<String>, outlook: Outlook, event: Telling) -> Self {
        Self { reason: reason.into(), message: message.into(), outlook, event }
    }
}

impl From<&CallError> for Detail {
    /// Being throttled, which may happen to hundreds of objects at once, is nothing to tell each time: it is how a limit
    /// works, and the condition and the metrics show it. Credentials and permissions are a person's to mend.
    fn from(error: &CallError) -> Self {
        let (outlook, event) = match error.class() {
            Some(Class::Invalid | Class::Credentials | Class::Permission | Class::ClockSkew) => {
                (Outlook::Stalled, Telling::Warning)
            }
            Some(Class::Throttled) => (Outlook::GoesOn, Telling::None),
            Some(Class::Busy) => (Outlook::GoesOn, Telling::Normal),
            _ => (Outlook::GoesOn, Telling::Warning),
        };
        Self::new(error.reason(), error.to_string(), outlook, event)
    }
}

/// Everything that a status shows.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// Where the object stands.
    pub progress: &'a Progress,
    /// What else there is to know.
    pub detail: Option<&'a Detail>,
    /// What is, or was, asked of the vendor, for people.
    pub action: &'a str,
    /// The creating call's name, for `operation.action`.
    pub creates: &'a str,
    /// The object is being deleted.
    pub deleting: bool,
    /// The generation that this speaks of.
    pub generation: i64,
    /// Whether the spec of that generation has been dealt with.
    pub settled: bool,
    /// The request that was answered last, if this writes an answer down.
    pub request_id: Option<&'a str>,
    /// The token of the next attempt.
    pub next_token: Option<String>,
    /// The keys of tags and the remarks that the spec names.
    pub named: Vec<String>,
    /// What the object has made, the newest first; see `engine::versions`.
    pub versions: Vec<Version>,
    /// When a build that goes on is called overdue.
    pub overdue_at: Option<Timestamp>,
    /// When the image was last seen at the vendor, if this process has seen it.
    pub last_seen: Option<Timestamp>,
    /// The `requested-at` value that was honoured.
    pub handled_request: Option<&'a str>,
    /// The `outcome` value that was honoured or is outdated.
    pub handled_outcome: Option<&'a str>,
}

/// A status that says something that no sequence of ours leads to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "status.operation.state is {0:?}, but status has neither imageId nor taskId; set them, or remove status.operation to start over"
)]
pub struct Garbled(OperationState);

/// The reason of what can be used although something went wrong.
pub const WARNED: &str = "AvailableWithWarning";

/// The reason of what is there and cannot be used.
pub const UNUSABLE: &str = "Unusable";

/// How an object came to what its status shows.
pub fn origin(operation: &Operation) -> Origin {
    match operation.action.as_str() {
        IMPORT => Origin::Imported,
        OBSERVE => Origin::Observed,
        _ => Origin::Made,
    }
}

/// Reads progress back. `token` makes that of an object's attempt, by uid and number.
///
/// The record is written as the intent of attempt 1, so "own record, no operation" means: asked, answer unknown. A finalizer
/// means nothing, and an operation whose token is not this object's came along from another one.
pub fn progress(
    status: Option<&ImageStatus>,
    recorded: &Recorded,
    uid: &str,
    token: impl Fn(&str, u32) -> String,
) -> Result<Progress, Garbled> {
    let Some((status, operation)) = status.and_then(|status| Some((status, status.operation.as_ref()?)))
    else {
        return Ok(match recorded {
            Recorded::Nothing | Recorded::Begun => Progress::New { attempt: 1, tried: None },
            Recorded::Own(record) => Progress::Submitting(Intent {
                token: token(uid, record.attempt),
                attempt: record.attempt,
                since: record.at,
                references: vec![],
                version: None,
                origin: Origin::Made,
            }),
            Recorded::Former(record) => Progress::Restored {
                intent: Intent {
                    token: token(&record.uid, record.attempt),
                    attempt: record.attempt,
                    since: record.at,
                    references: vec![],
                    version: None,
                    origin: Origin::Made,
                },
                candidates: vec![],
            },
        });
    };
    let intent = Intent {
        token: operation.token.clone(),
        attempt: operation.attempt,
        since: operation.started_at.as_ref().map(|time| time.0),
        references: operation.references.clone(),
        version: operation.version.clone(),
        origin: origin(operation),
    };
    let restored = operation.state == OperationState::Restored;
    if !restored && operation.token != token(uid, operation.attempt) {
        // The task that makes an image whose id is known is no image.
        let id = status.image_id.as_ref().or(status.task_id.as_ref());
        let versions = status.versions.iter().map(|version| &version.image_id);
        let candidates = operation.candidates.iter().chain(id).chain(versions).cloned().collect();
        return Ok(Progress::Restored { intent, candidates });
    }
    let handle = || {
        let handle = Handle { image: status.image_id.clone(), task: status.task_id.clone() };
        if handle == Handle::default() { Err(Garbled(operation.state)) } else { Ok(handle) }
    };
    let product = || Product {
        image_id: status.image_id.clone(),
        artifact: status.artifact.clone(),
        at_provider: status.at_provider.clone().unwrap_or_default(),
        note: None,
        warning: None,
    };
    let warned = || Product { warning: operation.message.clone(), ..product() };
    Ok(match operation.state {
        OperationState::NotDone => Progress::New { attempt: operation.attempt, tried: Some(intent) },
        OperationState::InFlight => Progress::Submitting(intent),
        OperationState::Running => Progress::Building {
            intent,
            handle: handle()?,
            percent: status.progress.and_then(|percent| u8::try_from(percent).ok()),
        },
        OperationState::Succeeded => Progress::Ready { intent, handle: handle()?, product: warned() },
        OperationState::Unusable => Progress::Unusable {
            intent,
            handle: handle()?,
            product: product(),
            why: operation.message.clone().unwrap_or_default(),
        },
        OperationState::Failed => Progress::Failed {
            intent,
            handle: handle().ok(),
            failure: Failure {
                reason: operation.reason.clone().unwrap_or_else(|| "Failed".into()),
                message: operation.message.clone().unwrap_or_default(),
                left: (status.image_id.is_some() && status.at_provider.is_some()).then(product),
            },
        },
        OperationState::Unclear | OperationState::Restored => {
            Progress::Unclear { intent, candidates: operation.candidates.clone(), restored }
        }
        OperationState::Missing => Progress::Missing { intent, handle: handle()?, was_ready: true },
        OperationState::Lost => Progress::Missing { intent, handle: handle()?, was_ready: false },
    })
}

/// The status to store, or `None` where the stored one already says so.
pub fn status(shown: &Shown<'_>, old: Option<&ImageStatus>, now: Timestamp) -> Option<ImageStatus> {
    let none = ImageStatus::default();
    let old = old.unwrap_or(&none);
    let handle = shown.progress.handle();
    // These act on a newer generation, so it must not be taken as seen before it is dealt with.
    let keeps = matches!(
        shown.progress,
        Progress::Ready { .. } | Progress::Unusable { .. } | Progress::Failed { .. }
    );
    let mut new = ImageStatus {
        observed_generation: if shown.settled || !keeps {
            Some(shown.generation)
        } else {
            old.observed_generation
        },
        phase: Some(phase(shown)),
        image_id: handle.and_then(|handle| handle.image.clone()),
        task_id: handle.and_then(|handle| handle.task.clone()),
        operation: operation(shown, old),
        last_handled_reconcile_at: shown
            .handled_request
            .map(Into::into)
            .or_else(|| old.last_handled_reconcile_at.clone()),
        last_handled_outcome: shown.handled_outcome.map(Into::into),
        last_seen_at: shown.last_seen.map(|seen| Time(to_second(seen))).or_else(|| old.last_seen_at.clone()),
        managed_tags: managed(shown, old),
        versions: shown.versions.clone(),
        conditions: conditions(shown, &old.conditions, now),
        ..ImageStatus::default()
    };
    match shown.progress {
        Progress::Building { percent, .. } => new.progress = percent.map(i32::from),
        // What came along is all that leads to the vendor's thing.
        Progress::Restored { .. } => {
            new.versions.clone_from(&old.versions);
            new.image_id.clone_from(&old.image_id);
            new.task_id.clone_from(&old.task_id);
        }
        Progress::Ready { product, .. } | Progress::Unusable { product, .. } => {
            new.image_id = product.image_id.clone().or(new.image_id);
            new.artifact.clone_from(&product.artifact);
            new.at_provider = (!product.at_provider.is_null()).then(|| product.at_provider.clone());
            new.progress = old.progress.map(|_| 100);
        }
        // What it consisted of may be there still.
        Progress::Missing { .. } if new.image_id == old.image_id => {
            new.at_provider.clone_from(&old.at_provider);
        }
        // What it consists of may have to be known when it is gone.
        Progress::Failed { failure: Failure { left: Some(product), .. }, .. } => {
            new.at_provider = (!product.at_provider.is_null()).then(|| product.at_provider.clone());
        }
        _ => {}
    }
    new.fit();
    (!same(&new, old)).then_some(new)
}

/// What is the operator's of the thing's tags: until all is as the spec says, what an earlier spec named as well as what this
/// one does, since either may be there.
fn managed(shown: &Shown<'_>, old: &ImageStatus) -> Vec<String> {
    let both = |old: &[String]| old.iter().chain(&shown.named).cloned().collect::<BTreeSet<_>>();
    let kept = || old.managed_tags.iter().cloned().collect();
    let is_new =
        |intent: &Intent| old.operation.as_ref().is_some_and(|operation| operation.token != intent.token);
    let keys = match shown.progress {
        // What an import is about to set is written down before it has anything.
        Progress::New { .. } if old.operation.is_none() => kept(),
        Progress::New { .. } | Progress::Failed { handle: None, .. } => BTreeSet::new(),
        Progress::Restored { .. } | Progress::Unclear { restored: true, .. } => kept(),
        _ if shown.deleting => kept(),
        progress => match progress.intent() {
            Some(intent) if intent.origin == Origin::Observed => kept(),
            Some(intent) if is_new(intent) => both(&[]),
            _ if matches!(progress, Progress::Ready { .. }) && shown.detail.is_none() && shown.settled => {
                both(&[])
            }
            _ => both(&old.managed_tags),
        },
    };
    keys.into_iter().collect()
}

fn operation(shown: &Shown<'_>, old: &ImageStatus) -> Option<Operation> {
    let (intent, state) = match shown.progress {
        Progress::Restored { .. } => return old.operation.clone(),
        Progress::New { tried, .. } => (tried.as_ref()?, OperationState::NotDone),
        Progress::Submitting(intent) => (intent, OperationState::InFlight),
        Progress::Building { intent, .. } => (intent, OperationState::Running),
        Progress::Ready { intent, .. } => (intent, OperationState::Succeeded),
        Progress::Unusable { intent, .. } => (intent, OperationState::Unusable),
        Progress::Failed { intent, .. } => (intent, OperationState::Failed),
        Progress::Unclear { intent, restored: false, .. } => (intent, OperationState::Unclear),
        Progress::Unclear { intent, restored: true, .. } => (intent, OperationState::Restored),
        Progress::Missing { intent, was_ready: true, .. } => (intent, OperationState::Missing),
        Progress::Missing { intent, was_ready: false, .. } => (intent, OperationState::Lost),
    };
    let mut new = Operation {
        action: match intent.origin {
            Origin::Made => shown.creates.into(),
            Origin::Imported => IMPORT.into(),
            Origin::Observed => OBSERVE.into(),
        },
        token: intent.token.clone(),
        attempt: intent.attempt,
        started_at: intent.since.map(|since| Time(to_second(since))),
        references: intent.references.clone(),
        version: intent.version.clone(),
        request_id: shown.request_id.map(Into::into),
        state,
        candidates: vec![],
        reason: None,
        message: None,
    };
    // The number and the token of a refused attempt are used up.
    if let (Progress::New { attempt, .. }, Some(token)) = (shown.progress, &shown.next_token) {
        (new.attempt, new.token) = (*attempt, token.clone());
    }
    if new.request_id.is_none() {
        new.request_id = old
            .operation
            .as_ref()
            .filter(|old| old.token == new.token)
            .and_then(|old| old.request_id.clone());
    }
    match shown.progress {
        Progress::Failed { failure, .. } => {
            new.reason = Some(failure.reason.clone());
            new.message = Some(failure.message.clone());
        }
        Progress::Unusable { why, .. } => {
            new.reason = Some(UNUSABLE.into());
            new.message = Some(why.clone());
        }
        Progress::Ready { product: Product { warning: Some(warning), .. }, .. } => {
            new.reason = Some(WARNED.into());
            new.message = Some(warning.clone());
        }
        Progress::Unclear { candidates, .. } => new.candidates.clone_from(candidates),
        _ => {}
    }
    Some(new)
}

fn phase(shown: &Shown<'_>) -> Phase {
    match shown.progress {
        _ if shown.deleting => Phase::Deleting,
        Progress::New { .. } | Progress::Restored { .. } => Phase::Pending,
        Progress::Submitting(_) => Phase::Submitting,
        Progress::Building { .. } => Phase::Building,
        Progress::Ready { .. } => Phase::Ready,
        Progress::Failed { .. } | Progress::Unusable { .. } | Progress::Missing { .. } => Phase::Failed,
        Progress::Unclear { .. } => Phase::Unclear,
    }
}

/// The three conditions: the one place where they are made.
pub fn conditions(shown: &Shown<'_>, old: &[Condition], now: Timestamp) -> Vec<Condition> {
    let (ready, reconciling, stalled, reason, message) = verdict(shown);
    [(READY, ready), (RECONCILING, reconciling), (STALLED, stalled)]
        .into_iter()
        .map(|(type_, status)| condition(type_, status, &reason, &message, shown.generation, old, now))
        .collect()
}

/// Whether two statuses are at the same point of the same operation.
pub fn is_at(status: Option<&ImageStatus>, other: Option<&ImageStatus>) -> bool {
    let point = |status: Option<&ImageStatus>| {
        let operation = status?.operation.as_ref()?;
        Some((operation.token.clone(), operation.attempt, operation.state))
    };
    point(status) == point(other)
}

/// Whether the answer that `new` holds is one to what `newest` shows, which somebody else wrote after the call. Bad news, and
/// that nothing is known, are outdated as soon as somebody has gone on: he may have made what the call was refused for, or be
/// about to find out. What the vendor made is worth keeping as long as nobody holds anything else.
pub fn answers(new: &ImageStatus, newest: Option<&ImageStatus>) -> bool {
    let Some((newest, shown)) = newest.and_then(|newest| Some((newest, newest.operation.as_ref()?))) else {
        return true;
    };
    let Some(answer) = &new.operation else { return false };
    if (&answer.token, answer.attempt) != (&shown.token, shown.attempt) {
        return false;
    }
    let found = matches!(answer.state, OperationState::Running | OperationState::Succeeded);
    match shown.state {
        OperationState::InFlight | OperationState::NotDone | OperationState::Unclear => found,
        OperationState::Failed => found && newest.image_id.is_none() && newest.task_id.is_none(),
        _ => false,
    }
}

/// The reason that was shown last.
pub fn reason(status: &ImageStatus) -> Option<&str> {
    status.conditions.iter().find(|condition| condition.type_ == READY).map(|ready| &*ready.reason)
}

/// One condition; its transition time moves only with its status.
pub fn condition(
    type_: &str,
    status: bool,
    reason: &str,
    message: &str,
    generation: i64,
    old: &[Condition],
    now: Timestamp,
) -> Condition {
    let status = if status { "True" } else { "False" };
    let before = old.iter().find(|before| before.type_ == type_ && before.status == status);
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: Some(generation),
        last_transition_time: before
            .map_or_else(|| Time(to_second(now)), |before| before.last_transition_time.clone()),
    }
}

/// Ready, Reconciling and Stalled, the reason and the message.
type Verdict = (bool, bool, bool, String, String);

fn verdict(shown: &Shown<'_>) -> Verdict {
    let Some(detail) = shown.detail else { return own_verdict(shown) };
    let mut stalled = detail.outlook == Outlook::Stalled;
    let mut message = detail.message.clone();
    if let Progress::Unclear { intent, candidates, restored: of_another } = shown.progress {
        // Whatever else is in the way, the question remains, and so does what could be the answer.
        stalled |= detail.outlook != Outlook::Suspended;
        let question = match of_another {
            true => restored(&intent.token, candidates),
            false => unclear(shown.action, candidates),
        };
        message = format!("{}. {question}", message.trim_end_matches('.'));
    }
    let ready = detail.outlook == Outlook::Ready;
    let reconciling = detail.outlook == Outlook::GoesOn && !stalled;
    (ready, reconciling, stalled, detail.reason.clone(), message)
}

/// Where there is nothing to know besides the progress.
fn own_verdict(shown: &Shown<'_>) -> Verdict {
    let action = shown.action;
    let (reason, message) = match shown.progress {
        Progress::Unclear { candidates, restored: false, .. } => {
            return (false, false, true, "OutcomeUnknown".into(), unclear(action, candidates));
        }
        Progress::Unclear { intent, candidates, restored: true } => {
            return (false, false, true, "Restored".into(), restored(&intent.token, candidates));
        }
        _ if shown.deleting => ("Deleting".into(), "waiting until the vendor no longer has it".into()),
        Progress::Ready { handle, product, .. } => {
            let note = product.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
            let message = format!("the vendor has {}, as the spec says{note}", product.name(handle));
            return match &product.warning {
                Some(warning) => (true, false, false, WARNED.into(), format!("{message}; {warning}")),
                None => (true, false, false, "Available".into(), message),
            };
        }
        Progress::Unusable { why, .. } => return (false, false, true, UNUSABLE.into(), why.clone()),
        Progress::Failed { failure, .. } => {
            let message = format!(
                "{}; change the spec, or set the annotation {REQUESTED_AT} to try again / 请修改 spec，或设置注解 \
                 {REQUESTED_AT} 以重试",
                failure.message.trim_end_matches('.')
            );
            return (false, false, true, failure.reason.clone(), message);
        }
        Progress::Missing { handle, was_ready, .. } => {
            let message = missing(handle.id(), *was_ready, action == IMPORT);
            return (false, false, true, "Missing".into(), message);
        }
        Progress::New { .. } => ("Pending".into(), format!("{action} is about to be called")),
        Progress::Restored { .. } => (
            "Restored".into(),
            "this object was restored or copied from an earlier one; what that one made is being looked for"
                .into(),
        ),
        Progress::Submitting(_) => (
            "Submitting".into(),
            format!("{action} was called; its answer is not known yet, and is being looked for"),
        ),
        Progress::Building { handle, .. } => {
            let message = format!("the vendor is making {}{}", handle.id(), deadline(shown.overdue_at));
            ("Building".into(), message)
        }
    };
    (false, true, false, reason, message)
}

/// From when on what goes on counts as taking too long: the end of a sentence.
pub fn deadline(overdue_at: Option<Timestamp>) -> String {
    overdue_at.map(|at| format!("; overdue from {} on (spec.timeout)", to_second(at))).unwrap_or_default()
}

fn missing(id: &str, was_ready: bool, imported: bool) -> String {
    match (was_ready, imported) {
        (false, _) => format!(
            "the vendor took the order and does not know {id} now; look for it in the vendor's console: it is looked for here \
             as well, and goes on if it appears; delete this object and make a new one if it never does / 厂商已接受请求，\
             但目前查不到 {id}，请在控制台查看；一旦出现会自动继续，若始终不出现，请删除此对象并新建"
        ),
        (true, false) => format!(
            "the vendor no longer has {id}; set recreatePolicy: WhenMissing to have it made again, or delete this object / \
             厂商侧已没有 {id}，请设置 recreatePolicy: WhenMissing 以重新创建，或删除此对象"
        ),
        // What was never made here has no spec to make it from, and import cannot be changed now.
        (true, true) => format!(
            "the vendor no longer has {id}, which this object took over; it is looked for from time to time, and goes on if it \
             is back; otherwise delete this object, and create one with spec.import of what took its place, or one without \
             import to have it made / 厂商侧已没有本对象接管的 {id}，恢复后会自动继续；否则请删除此对象，再新建一个 \
             import 指向替代镜像的对象，或新建一个不带 import 的对象以创建镜像"
        ),
    }
}

fn unclear(action: &str, candidates: &[String]) -> String {
    let (found, chinese) = match candidates {
        [] => (
            "the vendor has nothing that could be it for certain".to_owned(),
            "没有可以确认的结果".to_owned(),
        ),
        some => {
            let some = some.join(", ");
            (format!("the vendor has {some}, any of which might be it"), format!("可能的结果是 {some}"))
        }
    };
    format!(
        "{action} was called, its answer was lost, and {found}. Look at the vendor's console, then set the annotation \
         {OUTCOME} to adopt=<id> to take one over, or to resubmit if it was not made / 已调用 {action}，但响应丢失，\
         {chinese}。请在厂商控制台核对，然后设置注解 {OUTCOME}：adopt=<id> 表示接管，resubmit 表示未创建、重新提交"
    )
}

fn restored(token: &str, candidates: &[String]) -> String {
    let (found, chinese) = match candidates {
        [] => ("the vendor shows nothing that could be it".to_owned(), "没有找到可能的结果".to_owned()),
        some => {
            let some = some.join(", ");
            (format!("the vendor has {some}, which may be it"), format!("可能的结果是 {some}"))
        }
    };
    format!(
        "this object was restored or copied from an earlier one, in whose name the vendor was asked already (token {token}); \
         {found}. Nothing is made before a person says so: set spec.import.id, or the annotation {OUTCOME} to adopt=<id>, to \
         take one over, or that annotation to resubmit to have it made anew / 此对象由较早的对象恢复或复制而来，当时已向厂商提交\
         请求（token {token}），{chinese}。请设置 spec.import.id 或注解 {OUTCOME}：adopt=<id> 表示接管，resubmit 表示重新创建"
    )
}

/// Whether two statuses say the same: times of transition and of looks, and request ids aside.
fn same(new: &ImageStatus, old: &ImageStatus) -> bool {
    plain(new) == plain(old)
}

fn plain(status: &ImageStatus) -> ImageStatus {
    let mut status = ImageStatus { last_seen_at: None, ..status.clone() };
    for condition in &mut status.conditions {
        condition.message = without_request_ids(&condition.message);
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
    }
    if let Some(operation) = &mut status.operation {
        operation.request_id = None;
        operation.message = operation.message.as_deref().map(without_request_ids);
    }
    status
}

/// A number that is the same for statuses that say the same.
pub fn fingerprint(status: &ImageStatus) -> u64 {
    pace::seed(&serde_json::to_string(&plain(status)).unwrap_or_default())
}

/// A status that the API server does not take, without what the operator can do without: what the vendor reports, and the
/// ends of long texts.
pub fn reduced(status: &ImageStatus, why: &str) -> ImageStatus {
    let mut less = ImageStatus { at_provider: None, artifact: None, progress: None, ..status.clone() };
    for condition in &mut less.conditions {
        let message = one_line(&condition.message, REDUCED);
        condition.message =
            format!("{message} (the rest of the status was not taken by the API server: {why})");
    }
    if let Some(operation) = &mut less.operation {
        operation.message = operation.message.as_deref().map(|message| one_line(message, REDUCED));
        operation.candidates.truncate(10);
        operation.request_id = None;
    }
    less
}

/// How many characters are kept of a message in a status that was not taken.
const REDUCED: usize = 1000;

/// The stored status with conditions that say that it is not the true one.
pub fn unstorable(old: &ImageStatus, generation: i64, why: &str, now: Timestamp) -> ImageStatus {
    let message = format!(
        "the API server does not take the operator's status: {why}; what stands here is from before. Upgrade the operator's \
         CRDs if they are older than the operator; it is tried again"
    );
    let conditions = [(READY, false), (RECONCILING, false), (STALLED, true)]
        .into_iter()
        .map(|(type_, status)| {
            condition(type_, status, "StatusRefused", &message, generation, &old.conditions, now)
        })
        .collect();
    ImageStatus { conditions, ..old.clone() }
}

/// A message without its `[request id …]` parts: those differ at every try.
pub fn without_request_ids(message: &str) -> String {
    let mut rest = message;
    let mut plain = String::with_capacity(message.len());
    while let Some((before, after)) = rest.split_once(" [request id ") {
        plain.push_str(before);
        rest = after.split_once(']').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// Kubernetes' times are whole seconds; anything finer would look changed after the round trip.
fn to_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Refusal;

    fn intent() -> Intent {
        Intent {
            token: "t".into(),
            attempt: 1,
            since: None,
            references: vec![],
            version: None,
            origin: Origin::Made,
        }
    }

    /// Ready, Reconciling, Stalled, the reason and the message.
    fn verdict_of(progress: &Progress, detail: Option<&Detail>, action: &str) -> Verdict {
        verdict(&Shown {
            progress,
            detail,
            action,
            creates: "Make",
            deleting: false,
            generation: 1,
            settled: true,
            request_id: None,
            next_token: None,
            named: vec![],
            versions: vec![],
            overdue_at: None,
            last_seen: None,
            handled_request: None,
            handled_outcome: None,
        })
    }

    fn ready() -> Progress {
        Progress::Ready { intent: intent(), handle: Handle::image("i-1"), product: Product::default() }
    }

    fn stored(progress: &Progress, old: Option<&ImageStatus>) -> ImageStatus {
        let shown = Shown {
            progress,
            detail: None,
            action: "Make",
            creates: "Make",
            deleting: false,
            generation: 1,
            settled: true,
            request_id: None,
            next_token: None,
            named: vec![],
            versions: vec![],
            overdue_at: None,
            last_seen: None,
            handled_request: None,
            handled_outcome: None,
        };
        status(&shown, old, Timestamp::UNIX_EPOCH).expect("something new")
    }

    #[test]
    fn a_warning_stays_on_what_is_ready_and_what_a_failure_left_stays_known() {
        let read = |status: &ImageStatus| {
            progress(Some(status), &Recorded::Nothing, "u", |_, _| "t".into()).expect("a progress")
        };
        let handle = Handle { image: Some("i-1".into()), task: Some("t-1".into()) };
        let product = Product {
            image_id: Some("i-1".into()),
            at_provider: serde_json::json!({ "disks": ["s-1"] }),
            ..Product::default()
        };
        let warned = Product { warning: Some("something is left; look".into()), ..product.clone() };
        let made = |product| Progress::Ready { intent: intent(), handle: handle.clone(), product };
        let (is_warned, is_fine) = (made(warned), made(product.clone()));
        let (ready, _, stalled, reason, message) = verdict_of(&is_warned, None, "Make");
        assert_eq!((ready, stalled, &*reason), (true, false, WARNED));
        assert!(message.ends_with("; something is left; look"), "{message}");
        let shown = stored(&is_warned, None);
        assert_eq!(read(&shown), is_warned);
        let after = stored(&is_fine, Some(&shown));
        assert_eq!((self::reason(&after), read(&after)), (Some("Available"), is_fine), "it can pass");

        let failure = Failure { reason: "TestFailed".into(), message: "no".into(), left: Some(product) };
        let failed = Progress::Failed { intent: intent(), handle: Some(handle), failure };
        let shown = stored(&failed, None);
        assert_eq!(read(&shown), failed);
        let cleared = failed.cleared();
        let after = stored(&cleared, Some(&shown));
        assert_eq!((read(&after), after.at_provider, after.image_id), (cleared, None, None));
    }

    #[test]
    fn each_outlook_has_its_conditions() {
        for (detail, expected) in [
            (Detail::waiting("A", "m"), (false, true, false)),
            (Detail::trouble("A", "m"), (false, true, false)),
            (Detail::stalled("A", "m"), (false, false, true)),
            (Detail::suspended("m"), (false, false, false)),
            (Detail::unseen("i-1", None, &CallError::NotSent("m".into())), (true, false, false)),
        ] {
            let (ready, reconciling, stalled, ..) = verdict_of(&ready(), Some(&detail), "Make");
            assert_eq!((ready, reconciling, stalled), expected, "{detail:?}");
        }
    }

    #[test]
    fn what_a_person_must_mend_is_stalled_and_what_passes_is_not() {
        for (class, is_stalled, event) in [
            (Class::Invalid, true, Telling::Warning),
            (Class::Credentials, true, Telling::Warning),
            (Class::Permission, true, Telling::Warning),
            (Class::ClockSkew, true, Telling::Warning),
            (Class::Quota, false, Telling::Warning),
            (Class::NotFound, false, Telling::Warning),
            (Class::Unavailable, false, Telling::Warning),
            (Class::Busy, false, Telling::Normal),
            (Class::Throttled, false, Telling::None),
        ] {
            let refusal = Refusal {
                action: "Make".into(),
                status: 400,
                code: "Code".into(),
                message: String::new(),
                request_id: String::new(),
                class,
                hint: "",
                retry_after: None,
            };
            let detail = Detail::from(&CallError::Refused(refusal));
            assert_eq!((detail.outlook == Outlook::Stalled, detail.event), (is_stalled, event), "{class:?}");
        }
        for (reason, young, old) in [
            ("AccountNotFound", Outlook::GoesOn, Outlook::Stalled),
            ("SecretNotFound", Outlook::GoesOn, Outlook::Stalled),
            ("WrongVendor", Outlook::Stalled, Outlook::Stalled),
            ("EndpointNotAllowed", Outlook::Stalled, Outlook::Stalled),
            ("AccountsNotRead", Outlook::GoesOn, Outlook::GoesOn),
        ] {
            let unusable = Unusable::new(reason, "m");
            let outlooks = [true, false].map(|is_young| Detail::unusable(&unusable, is_young).outlook);
            assert_eq!(outlooks, [young, old], "{reason}");
        }
    }

    #[test]
    fn what_a_call_lacks_is_a_person_s_to_mend_unless_it_is_on_its_way() {
        for (obstacle, young, old) in [
            (Obstacle::passing("m"), Outlook::GoesOn, Outlook::GoesOn),
            (Obstacle::lasting("m"), Outlook::GoesOn, Outlook::Stalled),
        ] {
            let outlooks = [true, false].map(|young| Detail::preflight("Make", &obstacle, young).outlook);
            assert_eq!(outlooks, [young, old], "{obstacle:?}");
        }
        let detail = Detail::preflight("Make", &Obstacle::lasting("it is gone"), false);
        assert!(detail.message.contains("Make is not called yet") && detail.message.contains("it is gone"));
    }

    #[test]
    fn what_cannot_be_used_is_remembered_as_made() {
        let product =
            Product { at_provider: serde_json::json!({ "state": "Disabled" }), ..Product::default() };
        let why = "it is disabled".to_owned();
        let progress = Progress::Unusable { intent: intent(), handle: Handle::image("i-1"), product, why };
        let shown = Shown {
            next_token: None,
            named: vec![],
            versions: vec![],
            progress: &progress,
            detail: None,
            action: "Make",
            creates: "Make",
            deleting: false,
            generation: 2,
            settled: false,
            request_id: None,
            overdue_at: None,
            last_seen: None,
            handled_request: None,
            handled_outcome: None,
        };
        let stored = status(&shown, None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(stored.observed_generation, None, "the new spec is not dealt with");
        assert_eq!(reason(&stored), Some(UNUSABLE));
        let read = super::progress(Some(&stored), &Recorded::Nothing, "uid", |_, _| "t".into()).unwrap();
        let Progress::Unusable { handle, product, why, .. } = read else { panic!("{read:?}") };
        assert_eq!((handle.id(), why.as_str()), ("i-1", "it is disabled"));
        assert_eq!(product.at_provider["state"], "Disabled");
        let (ready, reconciling, stalled, ..) = verdict_of(&progress, None, "Make");
        assert_eq!((ready, reconciling, stalled), (false, false, true));
        let passes = Detail::waiting(UNUSABLE, "it is being moved");
        let (ready, reconciling, stalled, ..) = verdict_of(&progress, Some(&passes), "Make");
        assert_eq!((ready, reconciling, stalled), (false, true, false));
    }

    #[test]
    fn the_question_stays_with_its_candidates_whatever_else_is_said() {
        let unclear = Progress::Unclear {
            intent: intent(),
            candidates: vec!["i-7".into(), "i-8".into()],
            restored: false,
        };
        let typo = Detail::stalled("InvalidOutcome", "the annotation is \"adpot=i-7\".");
        let unreachable = Detail::trouble("VendorUnreachable", "cannot connect");
        for detail in [None, Some(&typo), Some(&unreachable)] {
            let (ready, reconciling, stalled, _, message) = verdict_of(&unclear, detail, "Make");
            assert_eq!((ready, reconciling, stalled), (false, false, true), "{detail:?}");
            assert!(message.contains("i-7, i-8") && message.contains("adopt=<id>"), "{message}");
            assert!(detail.is_none_or(|detail| message.starts_with(detail.message.trim_end_matches('.'))));
        }
        let suspended = Detail::suspended("m");
        let (_, _, stalled, ..) = verdict_of(&unclear, Some(&suspended), "Make");
        assert!(!stalled, "on purpose");
    }

    #[test]
    fn a_missing_image_is_made_again_only_where_there_is_a_spec_to_make_it_from() {
        let missing = Progress::Missing { intent: intent(), handle: Handle::image("i-1"), was_ready: true };
        let (.., made) = verdict_of(&missing, None, "Make");
        let (.., imported) = verdict_of(&missing, None, IMPORT);
        assert!(made.contains("recreatePolicy: WhenMissing"), "{made}");
        assert!(!imported.contains("recreatePolicy") && imported.contains("create one with"), "{imported}");
    }

    #[test]
    fn what_a_person_must_act_on_is_said_in_chinese_too() {
        let failure = Failure { reason: "BuildFailed".into(), message: "it broke".into(), left: None };
        let lost = Progress::Missing { intent: intent(), handle: Handle::image("i-1"), was_ready: false };
        let gone = Progress::Missing { intent: intent(), handle: Handle::image("i-1"), was_ready: true };
        for (progress, action) in [
            (&Progress::Unclear { intent: intent(), candidates: vec![], restored: false }, "Make"),
            (&Progress::Unclear { intent: intent(), candidates: vec!["i".into()], restored: false }, "Make"),
            (&Progress::Unclear { intent: intent(), candidates: vec!["i".into()], restored: true }, "Make"),
            (&Progress::Failed { intent: intent(), handle: None, failure }, "Make"),
            (&lost, "Make"),
            (&gone, "Make"),
            (&gone, IMPORT),
        ] {
            let (.., message) = verdict_of(progress, None, action);
            let (_, chinese) = message.rsplit_once(" / ").unwrap_or_default();
            assert!(chinese.chars().any(|char| ('\u{4e00}'..='\u{9fff}').contains(&char)), "{message}");
        }
    }
}
