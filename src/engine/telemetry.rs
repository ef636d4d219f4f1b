//! What it did is what it shows: one function sees each transition once and makes its Event, metric and log line.

use crate::wire::CallError;
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Client, Resource,
    api::{PostParams, Request},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use std::{borrow::Cow, sync::Arc};
use tracing::{Span, error_span, field::Empty, info, warn};

use super::{
    accounts::Account,
    metrics::Metrics,
    object::Object,
    progress::Progress,
    request_id,
    status::{Detail, Telling, UNUSABLE, WARNED},
};

/// Reasons whose Events each have news in their notes. They are written one by one: the recorder counts an Event with the
/// reason of one of a moment ago, and forgets its note.
const NOTEWORTHY: &[&str] = &[
    "Updated",
    "DriftCorrected",
    "LateImage",
    "Retired",
    "Cleared",
    "CopyCreated",
    "CopyChanged",
    "CopyDeleted",
    "CopyStalled",
];

/// Which Events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Events {
    /// What a person wants to know: made, deleted, in trouble.
    #[default]
    All,
    /// Only trouble.
    Warnings,
    /// None.
    None,
}

/// What something is told of: an image object of whatever kind, or an account.
pub trait Told: Sync {
    /// The kind's name.
    fn kind_name(&self) -> Cow<'static, str>;
    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// What Events name it by.
    fn reference(&self) -> ObjectReference;
}

impl Told for Object {
    fn kind_name(&self) -> Cow<'static, str> {
        self.its_kind().name()
    }
    fn metadata(&self) -> &ObjectMeta {
        self.meta()
    }
    fn reference(&self) -> ObjectReference {
        self.object_ref(&self.its_kind().resource())
    }
}

impl<A: Account> Told for A {
    fn kind_name(&self) -> Cow<'static, str> {
        A::kind(&())
    }
    fn metadata(&self) -> &ObjectMeta {
        self.meta()
    }
    fn reference(&self) -> ObjectReference {
        self.object_ref(&())
    }
}

/// Shows what happens. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    recorder: Recorder,
    client: Client,
    reporter: Reporter,
    events: Events,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Telemetry")
    }
}

/// One transition of one object.
#[derive(Debug)]
pub struct Transition<'a> {
    /// Where it stood.
    pub from: &'a Progress,
    /// Where it stands.
    pub to: &'a Progress,
    /// What trouble there was before: its reason.
    pub trouble: Option<&'a str>,
    /// What trouble there is now.
    pub detail: Option<&'a Detail>,
    /// The creating call's name.
    pub action: &'static str,
    /// The vendor's id of the request that is behind it.
    pub request_id: Option<&'a str>,
}

impl Telemetry {
    /// Events go out through `client`.
    pub fn new(client: Client, events: Events, metrics: Arc<Metrics>) -> Self {
        let reporter =
            Reporter { controller: "cloud-image-operator".into(), instance: std::env::var("HOSTNAME").ok() };
        Self { recorder: Recorder::new(client.clone(), reporter.clone()), client, reporter, events, metrics }
    }

    /// The numbers.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A transition that has been stored.
    pub async fn transition(&self, object: &dyn Told, transition: &Transition<'_>) {
        let Transition { from, to, trouble, detail, action, request_id } = *transition;
        let entered = name(from) != name(to);
        let new_trouble = detail.filter(|detail| Some(detail.reason.as_str()) != trouble);
        if !entered && new_trouble.is_none() {
            return;
        }
        let kind = object.kind_name();
        let warning = match to {
            Progress::Ready { product, .. } => product.warning.as_deref(),
            _ => None,
        };
        let own = if warning.is_some() { WARNED } else { name(to) };
        let reason = detail.map_or(own, |detail| detail.reason.as_str());
        self.metrics.transition(&kind, name(to), reason);
        if let (true, Progress::Ready { .. }, Some(created)) =
            (entered && !was_made(from), to, &object.metadata().creation_timestamp)
        {
            self.metrics.ready(&kind, created.0);
        }
        let id = to.handle().map(super::progress::Handle::id).unwrap_or_default();
        let (reason, message) = match (detail, to) {
            (Some(detail), _) => (reason, detail.message.as_str()),
            (None, Progress::Failed { failure, .. }) => (failure.reason.as_str(), failure.message.as_str()),
            (None, Progress::Unusable { why, .. }) => (reason, why.as_str()),
            (None, _) => (reason, warning.unwrap_or_default()),
        };
        let request_id = request_id.map(str::to_owned).or_else(request_id::last);
        let is_trouble = match detail {
            Some(detail) => detail.event == Telling::Warning,
            None => {
                matches!(
                    to,
                    Progress::Failed { .. }
                        | Progress::Unusable { .. }
                        | Progress::Unclear { .. }
                        | Progress::Missing { .. }
                ) || warning.is_some()
            }
        };
        let (from_, to_) = (name(from), name(to));
        // The object stands in the pass' span.
        if is_trouble {
            warn!(from = from_, to = to_, reason, detail = message, action, id, request_id, "transition");
        } else {
            info!(from = from_, to = to_, reason, detail = message, action, id, request_id, "transition");
        }
        let event = match (new_trouble, to) {
            (Some(detail), _) => match detail.event {
                Telling::None => None,
                Telling::Normal => Some((EventType::Normal, detail.reason.clone(), detail.message.clone())),
                Telling::Warning => Some((EventType::Warning, detail.reason.clone(), detail.message.clone())),
            },
            (None, Progress::Ready { handle, product, .. }) if let (true, Some(warning)) = (entered, warning) => {
                let name = product.name(handle);
                Some((EventType::Warning, WARNED.into(), format!("{name} is there; {warning}")))
            }
            (None, Progress::Ready { intent, handle, product }) if entered => Some((
                EventType::Normal,
                "Ready".into(),
                format!("{} is there ({action}, attempt {})", product.name(handle), intent.attempt),
            )),
            (None, Progress::Failed { failure, .. }) => {
                Some((EventType::Warning, failure.reason.clone(), failure.message.clone()))
            }
            (None, Progress::Unusable { why, .. }) if entered => {
                Some((EventType::Warning, UNUSABLE.into(), why.clone()))
            }
            (None, Progress::Unclear { restored: true, .. }) => Some((
                EventType::Warning,
                "Restored".into(),
                "restored or copied from an earlier object, so nothing is made before a person says so; see the Stalled condition for how to go on".into(),
            )),
            (None, Progress::Unclear { .. }) => Some((
                EventType::Warning,
                "OutcomeUnknown".into(),
                format!(
                    "the answer to {action} was lost and cannot be found out; see the Stalled condition for how to go on"
                ),
            )),
            (None, Progress::Missing { .. }) => {
                Some((EventType::Warning, "Missing".into(), format!("the vendor no longer has {id}")))
            }
            _ => None,
        };
        if let Some((type_, reason, note)) = event {
            self.event(object, action, type_, reason, note).await;
        }
    }

    /// Somebody else changed what is at the vendor, and it was set right.
    pub async fn drift(&self, object: &dyn Told, note: String) {
        warn!(
            reason = "DriftCorrected",
            note,
            action = "Update",
            request_id = request_id::last(),
            "set right"
        );
        self.event(object, "Update", EventType::Normal, "DriftCorrected".into(), note).await;
    }

    /// What the spec asks for now was set at the vendor.
    pub async fn updated(&self, object: &dyn Told, note: String) {
        info!(reason = "Updated", note, action = "Update", request_id = request_id::last(), "changed");
        self.event(object, "Update", EventType::Normal, "Updated".into(), note).await;
    }

    /// Something that there is to know of an object that calls no vendor.
    pub async fn told(&self, object: &dyn Told, detail: &Detail) {
        let Detail { reason, message, event, .. } = detail;
        info!(name = object.metadata().name, reason, detail = message, "told");
        let type_ = match event {
            Telling::None => return,
            Telling::Normal => EventType::Normal,
            Telling::Warning => EventType::Warning,
        };
        self.event(object, "Update", type_, reason.clone(), message.clone()).await;
    }

    /// The API server does not take an object's status.
    pub async fn unstorable(&self, object: &dyn Told, note: String) {
        warn!(reason = "StatusRefused", note, "a status was refused");
        self.event(object, "Write", EventType::Warning, "StatusRefused".into(), note).await;
    }

    /// The API server does not let the operator write an account.
    pub async fn account_refused(&self, account: &dyn Told, note: String) {
        warn!(reason = "WriteRefused", note, "an account cannot be written");
        self.event(account, "Write", EventType::Warning, "WriteRefused".into(), note).await;
    }

    /// A vendor refuses an account's credentials (`Err`: its words), or accepts them again.
    pub async fn credentials(&self, account: &dyn Told, accepted: Result<(), &str>) {
        let name = account.metadata().name.as_deref();
        let (type_, reason, note) = match accepted {
            Ok(()) => {
                info!(reason = "CredentialsAccepted", account = name, "credentials are accepted again");
                (EventType::Normal, "CredentialsAccepted", "the vendor accepts the credentials again")
            }
            Err(why) => {
                warn!(reason = "CredentialsRefused", account = name, why, "credentials are refused");
                (EventType::Warning, "CredentialsRefused", why)
            }
        };
        self.event(account, "Call", type_, reason.into(), note.into()).await;
    }

    /// What an earlier attempt made turned up after it was given up.
    pub async fn turned_up(&self, object: &dyn Told, action: &str, id: &str) {
        let note = format!(
            "{id}, which an earlier attempt of this object made, turned up only now, since the vendor's list lags behind; no \
             object holds it, so it is deleted at the vendor"
        );
        warn!(id, "an image turned up late");
        self.event(object, action, EventType::Warning, "LateImage".into(), note).await;
    }

    /// An earlier version that is deleted at the vendor.
    pub async fn retired(&self, object: &dyn Told, note: String) {
        info!(reason = "Retired", note, action = "Delete", request_id = request_id::last(), "retired");
        self.event(object, "Delete", EventType::Normal, "Retired".into(), note).await;
    }

    /// What a failed attempt left behind is deleted at the vendor.
    pub async fn cleared(&self, object: &dyn Told, note: String) {
        info!(reason = "Cleared", note, action = "Delete", request_id = request_id::last(), "cleared");
        self.event(object, "Delete", EventType::Normal, "Cleared".into(), note).await;
    }

    /// A thing that is deleted at the vendor, or let go.
    pub async fn released(&self, object: &dyn Told, action: &str, note: String) {
        self.metrics.transition(&object.kind_name(), "Released", "Released");
        info!(note, action, request_id = request_id::last(), "released");
        self.event(object, action, EventType::Normal, "Released".into(), note).await;
    }

    /// Writes an Event that the recorder is not fit for, or need not remember.
    async fn write(&self, event: Event, about: ObjectReference) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let name = about.name.as_deref().unwrap_or_default();
        let start = name.get(..LONGEST_NAME).unwrap_or(name).trim_end_matches(['-', '.']);
        let reporter = self.reporter.controller.clone();
        let written = events::v1::Event {
            metadata: ObjectMeta {
                name: Some(format!("{start}.{:x}", now.as_nanosecond())),
                namespace: about.namespace.clone(),
                ..ObjectMeta::default()
            },
            action: Some(event.action),
            reason: Some(event.reason),
            note: event.note,
            type_: Some(if event.type_ == EventType::Normal { "Normal" } else { "Warning" }.into()),
            event_time: Some(MicroTime(now)),
            reporting_instance: Some(self.reporter.instance.clone().unwrap_or_else(|| reporter.clone())),
            reporting_controller: Some(reporter),
            regarding: Some(about),
            ..events::v1::Event::default()
        };
        let namespace = written.metadata.namespace.clone().unwrap_or_else(|| "default".into());
        let written = serde_json::to_vec(&written).map_err(kube::Error::SerdeError)?;
        let url = events::v1::Event::url_path(&(), Some(&namespace));
        let request = Request::new(url).create(&PostParams::default(), written);
        // What the API server makes of it, nobody here reads.
        self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
    }

    async fn event(&self, object: &dyn Told, action: &str, type_: EventType, reason: String, note: String) {
        let wanted = match self.events {
            Events::All => true,
            Events::Warnings => matches!(type_, EventType::Warning),
            Events::None => false,
        };
        if !wanted {
            return;
        }
        let event =
            Event { type_, reason, note: Some(cut(&note)), action: action.to_owned(), secondary: None };
        let about = object.reference();
        let long = about.name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME);
        let own = NOTEWORTHY.contains(&&*event.reason) || ONCE.contains(&&*event.reason);
        let written = if long || own {
            self.write(event, about).await
        } else {
            self.recorder.publish(&event, &about).await
        };
        if let Err(error) = written {
            warn!(%error, "an Event could not be written");
        }
    }
}

/// What happens to each object once. The recorder remembers for some minutes what it has written, to count repetitions, and looks
/// through all of it for each Event.
const ONCE: &[&str] = &["Ready", "Released"];

/// The recorder names an Event by its object, a dot and a time in 16 digits, and names have 253 characters at most.
const LONGEST_NAME: usize = 236;

/// The API server takes at most 1 KiB in a note.
fn cut(note: &str) -> String {
    note.chars()
        .scan(0, |bytes, char| {
            *bytes += char.len_utf8();
            (*bytes <= 1000).then_some(char)
        })
        .collect()
}

/// What happens within one pass over an object, in logs and traces. These spans have the highest level, so that no filter
/// of log lines takes them away from those that are left.
pub fn pass_span(kind: &str, object: &str, account: &str) -> Span {
    error_span!("reconcile", kind, object, account)
}

/// What happens within one call to a vendor.
pub fn call_span(vendor: &'static str, action: &str, region: &str) -> Span {
    error_span!(
        "vendor_call",
        otel.name = action,
        otel.kind = "client",
        otel.status_code = Empty,
        vendor,
        action,
        region,
        outcome = Empty,
        request_id = Empty
    )
}

/// How the call of a span went.
pub fn called(span: &Span, request_id: Option<&str>, error: Option<&CallError>) {
    span.record("outcome", error.map_or("ok", CallError::reason));
    if let Some(request_id) = request_id {
        span.record("request_id", request_id);
    }
    if error.is_some() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Whether the vendor had it before.
fn was_made(progress: &Progress) -> bool {
    matches!(progress, Progress::Missing { .. } | Progress::Unusable { .. })
}

fn name(progress: &Progress) -> &'static str {
    match progress {
        Progress::New { .. } => "New",
        Progress::Submitting(_) => "Submitting",
        Progress::Building { .. } => "Building",
        Progress::Ready { .. } => "Ready",
        Progress::Unusable { .. } => UNUSABLE,
        Progress::Failed { .. } => "Failed",
        Progress::Restored { .. } => "Restored",
        Progress::Unclear { .. } => "Unclear",
        Progress::Missing { .. } => "Missing",
    }
}
