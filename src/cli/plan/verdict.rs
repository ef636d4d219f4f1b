//! What becomes of one object, from what there is and what there is to be. Pure.

use crate::{
    cli::rules::Refusal,
    engine::{
        index::Reference,
        progress::{Comparison, Difference, Lookalike, Observation, fields},
    },
    image::DeletionPolicy,
    kinds::{self, Kind, survey::Look},
    vendors::aliyun::image_copy::AliyunImageCopy,
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// The object is new, or is to have what it does not have.
    Create,
    /// The object takes over what the vendor has.
    Adopt,
    /// In place: at the vendor, where calls stand beside it, or only in the cluster.
    Change,
    /// The vendor cannot change it: it takes a new object.
    Replace,
    /// The API server refuses it.
    Refused,
    /// The object would wait for a person.
    Blocked,
    /// The object goes.
    Delete,
    /// It could not be found out.
    Unknown,
    /// All is as the manifest says.
    Nothing,
}

impl Action {
    /// For people, after a number too.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "to create",
            Self::Adopt => "to adopt",
            Self::Change => "to change",
            Self::Replace => "to replace by a new object",
            Self::Refused => "refused",
            Self::Blocked => "waiting for a person",
            Self::Delete => "to delete",
            Self::Unknown => "unknown",
            Self::Nothing => "unchanged",
        }
    }
}

/// A field, and what it changes from and to, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Below `spec`, or with `metadata.` before it.
    pub field: String,
    /// What is there.
    pub old: String,
    /// What is to be.
    pub new: String,
}

impl Change {
    fn new(field: String, old: &Value, new: &Value) -> Self {
        Self::from((field.as_str(), &Difference::new(&field, old.clone(), new.clone())))
    }
}

impl From<(&str, &Difference)> for Change {
    fn from((field, difference): (&str, &Difference)) -> Self {
        Self { field: field.into(), old: difference.theirs.clone(), new: difference.ours.clone() }
    }
}

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// What would be done.
    pub action: Action,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What would change.
    pub changes: Vec<Change>,
    /// The calls that create, change or delete something at the vendor.
    pub calls: Vec<String>,
    /// What the vendor calls it, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
}

impl Verdict {
    fn new(action: Action) -> Self {
        Self { action, reason: None, changes: vec![], calls: vec![], image_id: None }
    }

    /// Something else to know.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(match self.reason {
            Some(before) => format!("{reason}; {before}"),
            None => reason.to_owned(),
        });
        self
    }

    fn with(mut self, changes: Vec<Change>) -> Self {
        self.changes = changes;
        self
    }

    /// It could not be found out.
    pub fn unknown(why: String) -> Self {
        Self::new(Action::Unknown).because(&why)
    }

    /// It would wait for a person.
    pub fn blocked(changes: Vec<Change>, why: &str) -> Self {
        Self::new(Action::Blocked).with(changes).because(why)
    }

    /// What it takes over was not looked at.
    pub fn adopted() -> Self {
        Self::new(Action::Adopt)
    }

    /// Only the object is looked at.
    pub fn of_object(is_new: bool, changes: Vec<Change>) -> Self {
        match (is_new, changes.is_empty()) {
            (true, _) => Self::new(Action::Create),
            (false, true) => Self::new(Action::Nothing),
            (false, false) => Self::new(Action::Change).with(changes),
        }
    }

    /// A copy that its owner does not want any more: its image and that one's snapshots go with it, or stay.
    pub fn deletion(copy: &Value, policy: DeletionPolicy) -> Self {
        let id = copy["status"]["imageId"].as_str();
        let verdict = Self { image_id: id.map(Into::into), ..Self::new(Action::Delete) };
        match (policy, id) {
            (_, None) => verdict,
            (DeletionPolicy::Retain, Some(id)) => {
                verdict.because(&format!("deletionPolicy is Retain: {id} stays"))
            }
            (DeletionPolicy::Delete, Some(_)) => {
                let Ok(copy) = serde_json::from_str::<AliyunImageCopy>(&copy.to_string()) else {
                    return Self::blocked(vec![], "it cannot be read, so it is not deleted; delete it");
                };
                let (calls, snapshots) = copy.deletion_calls();
                let verdict = Self { calls: calls.into_iter().map(Into::into).collect(), ..verdict };
                if snapshots.is_empty() {
                    return verdict;
                }
                verdict.because(&format!("what cannot be brought back: snapshots {}", snapshots.join(", ")))
            }
        }
    }

    /// Of an object that is being deleted already, whatever is to become of it.
    pub fn of_deleting(current: &Value) -> Option<Self> {
        current["metadata"]["deletionTimestamp"].as_str()?;
        let owners = current["metadata"]["ownerReferences"].as_array();
        let is_owned = owners.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true));
        let then = if is_owned {
            "its owner makes it anew when it is gone"
        } else {
            "what is applied now goes with it; apply again when it is gone"
        };
        Some(Self::new(Action::Delete).because(&format!("it is being deleted already: {then}")))
    }

    /// By the API server, or by its rules.
    pub fn refused(refusals: &[Refusal]) -> Self {
        let is_fixed =
            |refusal: &Refusal| refusal.sentence.contains("cannot be changed once it is asked for");
        let action = if refusals.iter().all(is_fixed) { Action::Replace } else { Action::Refused };
        let sentences: Vec<_> = refusals
            .iter()
            .map(
                |Refusal { field, sentence }| {
                    if field.is_empty() { sentence.clone() } else { format!("{field}: {sentence}") }
                },
            )
            .collect();
        Self::new(action).because(&sentences.join("; "))
    }
}

/// What of an object itself changes; nothing for a new one.
pub fn object_changes(current: Option<&Value>, stored: &Value) -> Vec<Change> {
    let Some(current) = current else { return vec![] };
    let mut changes = vec![];
    different(&current["spec"], &stored["spec"], |field, old, new| {
        if field == "forProvider" {
            different(old, new, |field, old, new| {
                changes.push(Change::new(format!("forProvider.{field}"), old, new));
            });
        } else {
            changes.push(Change::new(field.into(), old, new));
        }
    });
    for part in ["labels", "annotations"] {
        different(&current["metadata"][part], &stored["metadata"][part], |field, old, new| {
            changes.push(Change::new(format!("metadata.{part}.{field}"), old, new));
        });
    }
    changes
}

fn different(old: &Value, new: &Value, mut tell: impl FnMut(&str, &Value, &Value)) {
    let none = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
        if old != new {
            tell(key, old, new);
        }
    }
}

/// What becomes of an image object, after a look at the vendor.
pub fn of(
    kind: &dyn Kind,
    current: Option<&Value>,
    stored: &Value,
    changes: Vec<Change>,
    look: Look,
) -> Verdict {
    let text = |object: &Value, field: &str| object["status"][field].as_str().map(str::to_owned);
    let is_new = current.is_none();
    let has_none = current.is_none_or(|it| text(it, "imageId").is_none() && text(it, "taskId").is_none());
    let is_asked_for = is_new || !changes.is_empty();
    let creation = || {
        let mut verdict = Verdict::new(Action::Create).with(changes.clone());
        verdict.calls.push(kind.action().into());
        verdict
    };
    match look {
        Look::Waits(references) => {
            let unmade = references.iter().find(|reference| !kinds::is_made(reference.takes));
            if let Some(Reference { name, instead, .. }) = unmade {
                let why = format!(
                    "no kind of this version has an image id that {name} ({instead}) can mean; give the id itself"
                );
                return Verdict::blocked(changes, &why);
            }
            let verdict = if is_asked_for { creation() } else { Verdict::new(Action::Nothing) };
            let mut names: Vec<_> = references.into_iter().map(|reference| reference.name).collect();
            names.dedup();
            verdict.because(&format!("waits for {}", names.join(", ")))
        }
        Look::Free(in_the_way) if is_asked_for => match in_the_way.first() {
            Some(Lookalike { id, .. }) => creation().because(&format!(
                "the vendor has {id} already, which it may refuse this for; to take that over, give import.id"
            )),
            None => creation(),
        },
        Look::Lacks(obstacle) if is_asked_for && obstacle.passes => creation().because(&obstacle.why),
        Look::Lacks(obstacle) if is_asked_for => Verdict::blocked(changes, &obstacle.why),
        Look::Free(_) | Look::Lacks(_) => Verdict::new(Action::Nothing).because(&standing(stored)),
        Look::Matches(ids) => {
            let what = match &*ids {
                [] => "nothing at the vendor fits import".to_owned(),
                ids => format!("import.match fits several: {}", ids.join(", ")),
            };
            Verdict::new(Action::Blocked).with(changes).because(&what)
        }
        Look::Missing(id) => {
            let again =
                stored["spec"]["recreatePolicy"] == "WhenMissing" && !stored["spec"]["import"].is_object();
            let gone = format!("the vendor does not have {id}");
            if again && !has_none { creation() } else { Verdict::new(Action::Blocked).with(changes) }
                .because(&gone)
        }
        Look::MadeForOther(id, uid) => Verdict::new(Action::Blocked).with(changes).because(&format!(
            "{id} bears the mark of the object with uid {uid}; if nobody manages it for that one any more, give import.madeFor: {uid}"
        )),
        Look::Outdated(id, differences) if has_none => Verdict::new(Action::Adopt)
            .with(over(changes, &differences))
            .because(&format!("{id} differs in what only a new version can have: it is made when the annotation reconcile.cloudimages.dev/requested-at asks for it")),
        Look::Outdated(id, differences) => {
            let mut verdict = Verdict::new(Action::Change).with(over(changes, &differences));
            verdict.calls.push(kind.action().into());
            verdict.image_id = Some(id.clone());
            verdict.because(&format!("a new version is made, and {id} stays as the one before"))
        }
        Look::There(id, observation, comparison) => {
            let verdict = there(kind, stored, has_none, changes, &observation, comparison);
            Verdict { image_id: Some(id), ..verdict }
        }
    }
}

fn there(
    kind: &dyn Kind,
    stored: &Value,
    is_adopted: bool,
    changes: Vec<Change>,
    observation: &Observation,
    comparison: Option<Comparison>,
) -> Verdict {
    let plain = |changes: Vec<Change>| match (is_adopted, changes.is_empty()) {
        (true, _) => Verdict::new(Action::Adopt).with(changes),
        (false, true) => Verdict::new(Action::Nothing),
        (false, false) => Verdict::new(Action::Change).with(changes),
    };
    let observes = stored["spec"]["managementPolicy"] == "Observe";
    // A change of the spec is sent all the same.
    let drifts = changes.iter().all(|change| change.field.starts_with("metadata."));
    let reports = stored["spec"]["driftPolicy"] == "Report" && (is_adopted || drifts);
    let verdict = match comparison {
        None | Some(Comparison::Same) => plain(changes),
        Some(Comparison::Amendable(differences) | Comparison::Fixed(differences)) if observes => {
            let what =
                format!("only observed: the vendor has others in {}, and keeps them", fields(&differences));
            plain(changes).because(&what)
        }
        Some(Comparison::Amendable(differences)) if reports => {
            let what = format!(
                "driftPolicy is Report: the vendor has others in {}, and keeps them",
                fields(&differences)
            );
            plain(changes).because(&what)
        }
        Some(Comparison::Amendable(differences)) => {
            let calls: BTreeSet<_> = differences
                .iter()
                .flat_map(|it| {
                    if it.calls.is_empty() {
                        kind.amends(&it.field).into_iter().collect()
                    } else {
                        it.calls.clone()
                    }
                })
                .collect();
            let mut verdict = plain(over(changes, &differences));
            verdict.calls = calls.into_iter().map(Into::into).collect();
            verdict
        }
        Some(Comparison::Fixed(differences)) => Verdict::new(Action::Replace)
            .with(over(changes, &differences))
            .because("the vendor has no call that changes this: the object would be Stalled, make a new one"),
    };
    match observation {
        Observation::Unusable { why, .. } => verdict.because(why),
        Observation::Failed(failure) => verdict.because(&failure.message),
        Observation::Refused(refusal) => verdict.because(&refusal.to_string()),
        Observation::Building { .. } => verdict.because("the vendor is making it"),
        Observation::Ready(_) | Observation::Missing => verdict,
    }
}

/// What differs at the vendor says more of a field than what changes in the object.
fn over(mut changes: Vec<Change>, differences: &[Difference]) -> Vec<Change> {
    for difference in differences {
        let field = format!("forProvider.{}", difference.field);
        changes.retain(|change| change.field != field);
        changes.push(Change::from((field.as_str(), difference)));
    }
    changes
}

/// How an object stands that has nothing at the vendor.
fn standing(object: &Value) -> String {
    let phase = object["status"]["phase"].as_str().unwrap_or("Pending");
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let message =
        ready.and_then(|ready| ready["message"].as_str()).unwrap_or("the operator has not seen it yet");
    format!("{phase}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{preflight::Obstacle, progress::Product},
        kinds::KINDS,
    };
    use serde_json::json;

    fn component() -> &'static dyn Kind {
        *KINDS.iter().find(|kind| kind.action() == "CreateImageComponent").unwrap()
    }

    fn seen(comparison: Comparison) -> Look {
        Look::There("ic-1".into(), Observation::Ready(Product::default()), Some(comparison))
    }

    fn tag() -> Vec<Difference> {
        vec![Difference::new("tag", "a=1", "a=2")]
    }

    #[test]
    fn what_is_there_decides() {
        let has = json!({ "spec": {}, "status": { "imageId": "ic-1", "phase": "Ready" } });
        let managed = json!({ "spec": {} });
        let observed = json!({ "spec": { "managementPolicy": "Observe" } });
        let reported = json!({ "spec": { "driftPolicy": "Report" } });
        let again = json!({ "spec": { "recreatePolicy": "WhenMissing" } });
        let failed = json!({ "spec": {}, "status": { "phase": "Failed" } });
        let missing = || Look::Missing("ic-1".into());
        let lookalike = || {
            let comparison = Comparison::Same;
            Look::Free(vec![Lookalike { id: "ic-2".into(), created: None, comparison }])
        };
        let several = || Look::Matches(vec!["a".into(), "b".into()]);
        let (create, tags) = (&["CreateImageComponent"][..], &["TagResources"][..]);
        for (current, stored, look, action, calls) in [
            (None, &managed, Look::Free(vec![]), Action::Create, create),
            (None, &managed, lookalike(), Action::Create, create),
            (Some(&failed), &failed, Look::Free(vec![]), Action::Nothing, &[]),
            (None, &managed, Look::Lacks(Obstacle::lasting("no such image")), Action::Blocked, &[]),
            (None, &managed, Look::Lacks(Obstacle::passing("it is made")), Action::Create, create),
            (Some(&failed), &failed, Look::Lacks(Obstacle::lasting("none")), Action::Nothing, &[]),
            (None, &managed, several(), Action::Blocked, &[]),
            (None, &managed, missing(), Action::Blocked, &[]),
            (Some(&has), &managed, missing(), Action::Blocked, &[]),
            (Some(&has), &again, missing(), Action::Create, create),
            (None, &observed, seen(Comparison::Same), Action::Adopt, &[]),
            (Some(&has), &managed, seen(Comparison::Same), Action::Nothing, &[]),
            (Some(&has), &managed, seen(Comparison::Amendable(tag())), Action::Change, tags),
            (None, &managed, seen(Comparison::Amendable(tag())), Action::Adopt, tags),
            (Some(&has), &observed, seen(Comparison::Amendable(tag())), Action::Nothing, &[]),
            (Some(&has), &reported, seen(Comparison::Amendable(tag())), Action::Nothing, &[]),
            (None, &reported, seen(Comparison::Amendable(tag())), Action::Adopt, &[]),
            (Some(&has), &managed, seen(Comparison::Fixed(tag())), Action::Replace, &[]),
            (Some(&has), &observed, seen(Comparison::Fixed(tag())), Action::Nothing, &[]),
            (Some(&has), &managed, Look::Outdated("ic-1".into(), tag()), Action::Change, create),
            (None, &managed, Look::Outdated("ic-1".into(), tag()), Action::Adopt, &[]),
        ] {
            let verdict = of(component(), current, stored, vec![], look.clone());
            assert_eq!(
                (verdict.action, &*verdict.calls),
                (action, &*calls.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()),
                "{look:?} {stored}"
            );
        }
    }

    /// A copy with these beside what each has.
    fn copy(spec: &Value, status: &Value) -> Value {
        let mut copy = json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": "AliyunImageCopy",
            "metadata": { "name": "base-cn-beijing", "namespace": "team" },
            "spec": { "forProvider": { "imageId": "m-1", "destinationImageName": "many" } },
        });
        json_patch::merge(&mut copy["spec"], spec);
        copy["status"] = status.clone();
        copy
    }

    #[test]
    fn what_goes_takes_its_image_and_snapshots_along_unless_they_are_retained() {
        let operation =
            |state: &str| json!({ "action": "CopyImage", "token": "u-1", "attempt": 1, "state": state });
        let disks = json!({ "diskDeviceMapping": [{ "snapshotId": "s-1" }, { "snapshotId": "s-2" }] });
        let row = json!({ "status": "Available", "isPublic": false, "diskDeviceMappings": disks });
        let there = json!({ "imageId": "m-2", "phase": "Ready", "operation": operation("Succeeded"), "atProvider": row });
        let building = json!({ "imageId": "m-2", "phase": "Building", "operation": operation("Running") });
        let (delete, keep) = (json!({}), json!({ "deleteSnapshots": false }));
        let shared = json!({ "deleteSnapshots": false, "forProvider": { "shareWith": ["1", "2"] } });
        let snapshots = Some("what cannot be brought back: snapshots s-1, s-2");
        let all = &["DeleteImage", "DeleteSnapshot", "DeleteSnapshot"][..];
        let unshared = &["ModifyImageSharePermission", "DeleteImage"][..];
        for (spec, status, policy, calls, says) in [
            (&delete, &there, DeletionPolicy::Delete, all, snapshots),
            (&keep, &there, DeletionPolicy::Delete, &["DeleteImage"][..], None),
            (&shared, &there, DeletionPolicy::Delete, unshared, None),
            (&delete, &there, DeletionPolicy::Retain, &[], Some("deletionPolicy is Retain: m-2 stays")),
            (&shared, &building, DeletionPolicy::Delete, &["CancelCopyImage"], None),
            (&delete, &json!({}), DeletionPolicy::Delete, &[], None),
        ] {
            let verdict = Verdict::deletion(&copy(spec, status), policy);
            assert_eq!(
                (
                    verdict.action,
                    verdict.calls.iter().map(String::as_str).collect(),
                    verdict.reason.as_deref()
                ),
                (Action::Delete, calls.to_vec(), says),
                "{policy:?} {spec} {status}"
            );
        }
        let unreadable = copy(&json!({ "deleteSnapshots": 7 }), &there);
        assert_eq!(Verdict::deletion(&unreadable, DeletionPolicy::Delete).action, Action::Blocked);
    }

    #[test]
    fn what_is_being_deleted_already_goes_whatever_is_applied() {
        let mut object = copy(&json!({}), &json!({ "imageId": "m-2" }));
        assert_eq!(Verdict::of_deleting(&object), None);
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        for (owners, says) in [
            (json!(null), "apply again when it is gone"),
            (json!([{ "uid": "u-1", "controller": true }]), "its owner makes it anew when it is gone"),
        ] {
            object["metadata"]["ownerReferences"] = owners;
            let verdict = Verdict::of_deleting(&object).expect("it is being deleted");
            assert_eq!(verdict.action, Action::Delete);
            assert!(verdict.reason.as_ref().is_some_and(|reason| reason.ends_with(says)), "{verdict:?}");
        }
    }

    #[test]
    fn what_differs_at_the_vendor_is_told_once() {
        let current = json!({ "spec": { "suspend": false, "forProvider": { "tag": [], "name": "n" } } });
        let stored = json!({ "spec": { "suspend": true, "forProvider": { "tag": [1], "name": "n" } } });
        let changes = object_changes(Some(&current), &stored);
        let fields: Vec<_> = changes.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(fields, ["forProvider.tag", "suspend"]);
        let changes = over(changes, &tag());
        let shown: Vec<_> = changes.iter().map(|it| format!("{} {} {}", it.field, it.old, it.new)).collect();
        assert_eq!(shown, ["suspend false true", "forProvider.tag \"a=1\" \"a=2\""]);
        assert_eq!(object_changes(None, &stored), []);
    }

    #[test]
    fn what_only_a_new_object_can_change_is_told_from_what_is_wrong() {
        let fixed = Refusal {
            field: "spec.forProvider.content".into(),
            sentence:
                "forProvider.content cannot be changed once it is asked for: the vendor has no call for it"
                    .into(),
        };
        let wrong = Refusal { field: "spec".into(), sentence: "must be".into() };
        assert_eq!(Verdict::refused(std::slice::from_ref(&fixed)).action, Action::Replace);
        let refused = Verdict::refused(&[fixed, wrong]);
        assert_eq!(refused.action, Action::Refused);
        assert!(refused.reason.is_some_and(|reason| reason.ends_with("spec: must be")));
    }
}
