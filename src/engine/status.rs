//! Progress ⇄ the flat status. Conditions are a view of progress, made in one function and never read back. Pure.

use super::progress::{Failure, Handle, Intent, Product, Progress};
use crate::{
    image::{ImageStatus, OUTCOME, Operation, OperationState, Phase, REQUESTED_AT},
    wire::{CallError, Class},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

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
    /// Whether it does not go on by itself.
    pub stalled: bool,
    /// Whether a person wants to be told of it by an Event, too.
    pub event: bool,
}

impl Detail {
    /// It goes on by itself.
    pub fn waiting(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), stalled: false, event: true }
    }
    /// It does not.
    pub fn stalled(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), stalled: true, event: true }
    }
}

impl From<&CallError> for Detail {
    /// Being throttled, which may happen to hundreds of objects at once, is nothing to tell each time: it is how a limit
    /// works, and the condition and the metrics show it.
    fn from(error: &CallError) -> Self {
        Self {
            reason: error.reason().into(),
            message: error.to_string(),
            stalled: error.class() == Some(Class::Invalid),
            event: error.class() != Some(Class::Throttled),
        }
    }
}

/// Everything that a status shows.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// Where the object stands.
    pub progress: &'a Progress,
    /// What else there is to know.
    pub detail: Option<&'a Detail>,
    /// The creating call's name, for `operation.action`.
    pub action: &'a str,
    /// The object is being deleted.
    pub deleting: bool,
    /// The generation that this speaks of.
    pub generation: i64,
    /// Whether the spec of that generation has been dealt with.
    pub settled: bool,
    /// The request that was answered last, if this writes an answer down.
    pub request_id: Option<&'a str>,
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

/// Reads progress back. `held`: our finalizer is on the object.
///
/// The finalizer is put on as the intent of attempt 1, so "finalizer, no operation" means: asked, answer unknown.
pub fn progress(
    status: Option<&ImageStatus>,
    held: bool,
    first_token: impl FnOnce() -> String,
) -> Result<Progress, Garbled> {
    let Some((status, operation)) = status.and_then(|status| Some((status, status.operation.as_ref()?)))
    else {
        return Ok(if held {
            Progress::Submitting(Intent { token: first_token(), attempt: 1, since: None, reference: None })
        } else {
            Progress::New { attempt: 1, tried: None }
        });
    };
    let intent = Intent {
        token: operation.token.clone(),
        attempt: operation.attempt,
        since: operation.started_at.as_ref().map(|time| time.0),
        reference: operation.reference.clone(),
    };
    let handle = || {
        let handle = Handle { image: status.image_id.clone(), task: status.task_id.clone() };
        if handle == Handle::default() { Err(Garbled(operation.state)) } else { Ok(handle) }
    };
    Ok(match operation.state {
        OperationState::NotDone => Progress::New { attempt: operation.attempt, tried: Some(intent) },
        OperationState::InFlight => Progress::Submitting(intent),
        OperationState::Running => Progress::Building {
            intent,
            handle: handle()?,
            percent: status.progress.and_then(|percent| u8::try_from(percent).ok()),
        },
        OperationState::Succeeded => Progress::Ready {
            intent,
            handle: handle()?,
            product: Product {
                image_id: status.image_id.clone(),
                artifact: status.artifact.clone(),
                at_provider: status.at_provider.clone().unwrap_or_default(),
            },
        },
        OperationState::Failed => Progress::Failed {
            intent,
            handle: handle().ok(),
            failure: Failure {
                reason: operation.reason.clone().unwrap_or_else(|| "Failed".into()),
                message: operation.message.clone().unwrap_or_default(),
            },
        },
        OperationState::Unclear => Progress::Unclear { intent, candidates: operation.candidates.clone() },
        OperationState::Missing => Progress::Missing { intent, handle: handle()?, was_ready: true },
        OperationState::Lost => Progress::Missing { intent, handle: handle()?, was_ready: false },
    })
}

/// The status to store, or `None` where the stored one already says so.
pub fn status(shown: &Shown<'_>, old: Option<&ImageStatus>, now: Timestamp) -> Option<ImageStatus> {
    let none = ImageStatus::default();
    let old = old.unwrap_or(&none);
    let handle = shown.progress.handle();
    // These two act on a newer generation, so it must not be taken as seen before it is dealt with.
    let keeps = matches!(shown.progress, Progress::Ready { .. } | Progress::Failed { .. });
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
        conditions: conditions(shown, &old.conditions, now),
        ..ImageStatus::default()
    };
    match shown.progress {
        Progress::Building { percent, .. } => new.progress = percent.map(i32::from),
        Progress::Ready { product, .. } => {
            new.image_id = product.image_id.clone().or(new.image_id);
            new.artifact.clone_from(&product.artifact);
            new.at_provider = (!product.at_provider.is_null()).then(|| product.at_provider.clone());
            new.progress = old.progress.map(|_| 100);
        }
        _ => {}
    }
    new.fit();
    (!same(&new, old)).then_some(new)
}

fn operation(shown: &Shown<'_>, old: &ImageStatus) -> Option<Operation> {
    let (intent, state) = match shown.progress {
        Progress::New { tried, .. } => (tried.as_ref()?, OperationState::NotDone),
        Progress::Submitting(intent) => (intent, OperationState::InFlight),
        Progress::Building { intent, .. } => (intent, OperationState::Running),
        Progress::Ready { intent, .. } => (intent, OperationState::Succeeded),
        Progress::Failed { intent, .. } => (intent, OperationState::Failed),
        Progress::Unclear { intent, .. } => (intent, OperationState::Unclear),
        Progress::Missing { intent, was_ready: true, .. } => (intent, OperationState::Missing),
        Progress::Missing { intent, was_ready: false, .. } => (intent, OperationState::Lost),
    };
    let mut new = Operation {
        action: shown.action.into(),
        token: intent.token.clone(),
        attempt: intent.attempt,
        started_at: intent.since.map(|since| Time(to_second(since))),
        reference: intent.reference.clone(),
        request_id: shown.request_id.map(Into::into),
        state,
        candidates: vec![],
        reason: None,
        message: None,
    };
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
        Progress::Unclear { candidates, .. } => new.candidates.clone_from(candidates),
        _ => {}
    }
    Some(new)
}

fn phase(shown: &Shown<'_>) -> Phase {
    match shown.progress {
        _ if shown.deleting => Phase::Deleting,
        Progress::New { .. } => Phase::Pending,
        Progress::Submitting(_) => Phase::Submitting,
        Progress::Building { .. } => Phase::Building,
        Progress::Ready { .. } => Phase::Ready,
        Progress::Failed { .. } | Progress::Missing { .. } => Phase::Failed,
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

fn verdict(shown: &Shown<'_>) -> (bool, bool, bool, String, String) {
    if let Some(detail) = shown.detail {
        return (false, !detail.stalled, detail.stalled, detail.reason.clone(), detail.message.clone());
    }
    let action = shown.action;
    let (reason, message) = match shown.progress {
        Progress::Unclear { candidates, .. } => {
            return (false, false, true, "OutcomeUnknown".into(), unclear(action, candidates));
        }
        _ if shown.deleting => ("Deleting".into(), "waiting until the vendor no longer has it".into()),
        Progress::Ready { handle, product, .. } => {
            let message = format!("the vendor has {}, as the spec says", product.name(handle));
            return (true, false, false, "Available".into(), message);
        }
        Progress::Failed { failure, .. } => {
            let message = format!(
                "{}; change the spec, or set the annotation {REQUESTED_AT} to try again",
                failure.message.trim_end_matches('.')
            );
            return (false, false, true, failure.reason.clone(), message);
        }
        Progress::Missing { handle, was_ready: false, .. } => {
            let message = format!(
                "the vendor took the order and does not know {} now; look for it in the vendor's console: it is looked for \
                 here as well, and goes on if it appears; delete this object and make a new one if it never does",
                handle.id()
            );
            return (false, false, true, "Missing".into(), message);
        }
        Progress::Missing { handle, .. } => {
            let message = format!(
                "the vendor no longer has {}; set recreatePolicy: WhenMissing to have it made again, or delete this object",
                handle.id()
            );
            return (false, false, true, "Missing".into(), message);
        }
        Progress::New { .. } => ("Pending".into(), format!("{action} is about to be called")),
        Progress::Submitting(_) => (
            "Submitting".into(),
            format!("{action} was called; its answer is not known yet, and is being looked for"),
        ),
        Progress::Building { handle, .. } => {
            ("Building".into(), format!("the vendor is making {}", handle.id()))
        }
    };
    (false, true, false, reason, message)
}

fn unclear(action: &str, candidates: &[String]) -> String {
    let found = match candidates {
        [] => "the vendor has nothing that could be it for certain".to_owned(),
        some => format!("the vendor has {}, any of which might be it", some.join(", ")),
    };
    format!(
        "{action} was called, its answer was lost, and {found}. Look at the vendor's console, then set the annotation \
         {OUTCOME} to adopt=<id> to take one over, or to resubmit if it was not made"
    )
}

/// Whether two statuses say the same: times of transition and request ids aside.
fn same(new: &ImageStatus, old: &ImageStatus) -> bool {
    let plain = |status: &ImageStatus| {
        let mut status = status.clone();
        for condition in &mut status.conditions {
            condition.message = without_request_ids(&condition.message);
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        }
        if let Some(operation) = &mut status.operation {
            operation.request_id = None;
            operation.message = operation.message.as_deref().map(without_request_ids);
        }
        status
    };
    plain(new) == plain(old)
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
