//! What every image kind shares: the common half of `spec`, the flat `status`, and the rules between them.

use crate::{engine::index::Reference, period::Period};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{KubeSchema, core::Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// API group of every kind.
pub const GROUP: &str = "cloudimages.dev";
/// Field manager of every write to the API server.
pub const FIELD_MANAGER: &str = "cloudimages.dev";
/// Finalizer that stands on an object from before the first vendor call until nothing of it is left to clean up.
pub const FINALIZER: &str = "cloudimages.dev/external";
/// Annotation: any new value makes the operator look at the object now, or try a `Failed` one again.
pub const REQUESTED_AT: &str = "reconcile.cloudimages.dev/requested-at";
/// Annotation: the operator's record of what it began in the name of this very object, by its uid. See `engine::record`.
pub const RECORD: &str = "cloudimages.dev/attempt";
/// `operation.action` of what was taken over instead of made.
pub const IMPORT: &str = "Import";
/// The same of what is only looked at.
pub const OBSERVE: &str = "Observe";
/// Annotation that answers an `Unclear` object: `adopt=<id>` or `resubmit`.
pub const OUTCOME: &str = "cloudimages.dev/outcome";

/// The part of `spec` that does not depend on the kind. `M` says how the kind finds what exists already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec<M> {
    /// The account that calls the vendor. It can be changed as long as nothing was made: what was made stays in its
    /// account. Example: `{name: aliyun}` or `{kind: ClusterCloudAccount, name: shared}`. Default: `{name: default}`.
    #[serde(default)]
    pub account_ref: AccountRef,

    /// `Managed`: create, keep in shape and delete. `Observe`: only read what `import` names, never create, change
    /// or delete anything at the vendor; the object says field by field what `Managed` would change. Default: `Managed`.
    #[serde(default)]
    pub management_policy: ManagementPolicy,

    /// What happens at the vendor when this object is deleted. `Delete`: the image is deleted first. `Retain`: the
    /// object goes at once, the image stays (and goes on costing money). Left out: `Delete` what this object made, `Retain`
    /// what it took over with `import`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Take over an image that exists already instead of making one. Give `id`, or `match` with exactly one hit. It can be
    /// given or changed only before anything is asked for, after that failed, also after a restore, or to name what is there;
    /// what another object manages can only be observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<Import<M>>,

    /// `true`: no vendor call at all for this object until it is `false` again; a deletion waits as well, unless
    /// `deletionPolicy` is `Retain`. Default: `false`.
    #[serde(default)]
    pub suspend: bool,

    /// How often a Ready object is looked at again at the vendor, as a duration. Looks are spread over the interval.
    /// `0s`: never. At least `1m` otherwise, at most `8760h`. Default: `10h`. Example: `30m`.
    #[serde(default = "ten_hours")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "duration(self) == duration('0s') || (duration(self) >= duration('1m') && duration(self) <= duration('8760h'))",
        "message": "resyncInterval must be 0s (never) or between 1m and 8760h, for example 10h"
    }]))]
    pub resync_interval: Period,

    /// How long one build may take before the object is `Stalled`, as a duration; the condition of a build says when that will
    /// be. The build itself is not cancelled, and a late success still counts. From `1m` to `720h`. Example: `90m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "duration(self) >= duration('1m') && duration(self) <= duration('720h')",
        "message": "timeout must be between 1m and 720h, for example 2h"
    }]))]
    pub timeout: Option<Period>,

    /// Whether to make the image again when the vendor no longer has it. `Never`: the object becomes Stalled and
    /// says so. `WhenMissing`: it is made anew, under a new id. Default: `Never`.
    #[serde(default)]
    pub recreate_policy: RecreatePolicy,

    /// What to do about drift: what somebody else changed at the vendor while the spec stayed the same. `Correct`: it is set as
    /// the spec says. `Report`: it stays, and the object says field by field what differs (reason `Drifted`, still Ready);
    /// what `import` takes over is left as it is, too. A change of the spec is sent to the vendor all the same. Default:
    /// `Correct`.
    #[serde(default)]
    pub drift_policy: DriftPolicy,

    /// Whether to look, before a creating call that takes long, whether what it needs is there, where the vendor's API tells: the
    /// source of an ImageExport or AliyunImageCopy, whether the name of a copy is free, the product of an AospImage. `Check`: a
    /// call that would be in vain is not made, and the object says what is wrong (reason `PreflightFailed`, or `AlreadyExists` of
    /// a name); what cannot be read is left to the vendor. `Skip`: the call is made without a look. Other kinds have nothing to
    /// look at: the vendor says within seconds what is wrong. Default: `Check`.
    #[serde(default)]
    pub preflight_policy: PreflightPolicy,
}

impl<M> ImageSpec<M> {
    /// The same without what `import.match` says, which each kind has in other words; only whether it says anything.
    pub fn shared(&self) -> ImageSpec<()> {
        let import = self.import.as_ref().map(|import| Import {
            id: import.id.clone(),
            matching: import.matching.as_ref().map(|_| ()),
            made_for: import.made_for.clone(),
        });
        ImageSpec {
            account_ref: self.account_ref.clone(),
            management_policy: self.management_policy,
            deletion_policy: self.deletion_policy,
            import,
            suspend: self.suspend,
            resync_interval: self.resync_interval,
            timeout: self.timeout,
            recreate_policy: self.recreate_policy,
            drift_policy: self.drift_policy,
            preflight_policy: self.preflight_policy,
        }
    }
}

pub(crate) fn ten_hours() -> Period {
    Period::from_secs(10 * 3600)
}

/// Names the account of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountRef {
    /// `CloudAccount`: one in the image's own namespace. `ClusterCloudAccount`: one of the cluster, if it allows this
    /// namespace. Default: `CloudAccount`.
    #[serde(default)]
    pub kind: AccountKind,
    /// Name of the account object, 1 to 253 lower-case letters, digits, hyphens and full stops, as of any object. Default:
    /// `default`. Example: `aliyun`.
    #[serde(default = "default_account")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = object_name("accountRef.name"))]
    pub name: String,
}

fn default_account() -> String {
    "default".into()
}

impl Default for AccountRef {
    fn default() -> Self {
        Self { kind: AccountKind::default(), name: default_account() }
    }
}

/// Which sort of account an [`AccountRef`] means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AccountKind {
    /// An account in the image's namespace.
    #[default]
    CloudAccount,
    /// An account of the cluster.
    ClusterCloudAccount,
}

/// Who owns the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManagementPolicy {
    /// Create, change, delete.
    #[default]
    Managed,
    /// Read only.
    Observe,
}

/// Takes a type's own description out of its schema, so that the one of the field stays: for an optional enum whose values are
/// documented, kube puts the type's in its place, and `kubectl explain` would not show what the field says.
pub(crate) fn explained_by_its_field(schema: &mut schemars::Schema) {
    schema.remove("description");
}

/// What a deletion of the object does at the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = explained_by_its_field)]
pub enum DeletionPolicy {
    /// Delete the image too.
    Delete,
    /// Leave the image alone.
    Retain,
}

/// What to do when the vendor no longer has the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecreatePolicy {
    /// Say so and stop.
    #[default]
    Never,
    /// Make it again.
    WhenMissing,
}

/// What to do about what somebody else changed at the vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// Set it as the spec says.
    #[default]
    Correct,
    /// Leave it, and say what differs.
    Report,
}

/// Whether it is looked at beforehand what a creating call needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PreflightPolicy {
    /// Look, and do not call while it would be in vain.
    #[default]
    Check,
    /// Call.
    Skip,
}

/// What a change of what the vendor cannot change in a thing that is there leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VersionPolicy {
    /// It is refused.
    #[default]
    Never,
    /// A new version is made beside the one that is there, and takes its place.
    Bump,
}

/// Names something that exists at the vendor already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.id) != has(self.match)",
    "message": "import needs exactly one of id and match"
}]))]
pub struct Import<M> {
    /// The vendor's id of the image, 1 to 256 characters (a limit of this operator, not published by vendors), as it would
    /// stand in `status.imageId`; for an ImageExport, that of its task, as in `status.taskId`. Example: `ic-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub id: Option<String>,
    /// Properties that exactly one of the account's images must have.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matching: Option<M>,
    /// The `metadata.uid` of the object that the operator made the image for, 1 to 64 characters, where that was another one than
    /// this: of a cluster that was lost or is left, or one that was deleted. With it you say that nobody manages the image for
    /// that object any more. Needed where the image bears that object's mark (see `MadeForOther`); of no effect where it bears none.
    /// Example: `5d0f7b4e-3b8e-4a53-9d4e-0c3b5b0c7c11`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub made_for: Option<String>,
}

/// Names an object of the same namespace whose image is worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageRef {
    /// Name of the object, 1 to 253 lower-case letters, digits, hyphens and full stops. It must have, or get, a
    /// `status.imageId`. Example: `base`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = object_name("the reference's name"))]
    pub name: String,
    /// Kind of the object, 1 to 63 characters; needed only where several kinds have an object of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
}

impl ImageRef {
    /// As the engine takes it: `takes` is what it must be the id of, and `instead` the field that takes that itself.
    pub fn reference(&self, takes: &'static str, instead: &'static str) -> Reference {
        Reference { takes, kind: self.kind.clone(), name: self.name.clone(), instead, nearby: false }
    }
}

/// The longest id that a vendor gives, with much to spare.
const ID: usize = 1024;
/// How many references an object has at most, with some to spare.
const REFERENTS: usize = 300;
/// The longest request id that is kept.
const REQUEST_ID: usize = 256;
/// The longest message that is kept; what Kubernetes' own conditions take.
const MESSAGE: usize = 32_768;
/// How many candidates are kept.
const CANDIDATES: usize = 100;
/// How many keys of tags a spec names, and may have named before, with much to spare.
const MANAGED: usize = 256;
/// How many versions an object has at most.
pub const VERSIONS: usize = 100;
/// All annotations of an object together are at most so long.
const ANNOTATION: usize = 262_144;

/// Where an image stands: the same flat shape for every kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// The generation of `spec` that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people, derived from the rest: Pending, Submitting, Building, Ready, Failed, Unclear or Deleting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What the vendor calls the thing that was made. Example: `ic-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = ID))]
    pub image_id: Option<String>,
    /// The vendor's task that makes it, where there is one. Example: `t-3teco18f1w5a71`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = ID))]
    pub task_id: Option<String>,
    /// How far the build is, in percent (0 to 100), where the vendor tells it; written when it has moved by 10 or more, and at
    /// most every 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub progress: Option<i32>,
    /// Where the result lies, for kinds that write a file. Example: `tos://bucket-1/test123_image-44_system.qcow2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub artifact: Option<String>,
    /// The vendor call that makes the image: the one in flight, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// When it was last seen at the vendor, as of the last time that this status was written: a look that finds nothing new
    /// writes nothing, and one that fails does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Time>,
    /// What the operator has set because the spec named it: keys of tags, names of remarks such as `imageAnnotation`, and as
    /// `acs:account/1234567890123456` the accounts that an image is shared with. What the spec had and has no more is removed
    /// at the vendor, and so leaves this list; whatever is not in it and not in the spec is somebody else's, and stays.
    /// Example: `[team]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MANAGED), inner(length(max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub managed_tags: Vec<String>,
    /// Where `versionPolicy` is `Bump`: the version that the object has, and before it those that it had, the newest first. All
    /// of them are there at the vendor. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = VERSIONS), extend("x-kubernetes-list-type" = "atomic"))]
    pub versions: Vec<Version>,
    /// What the vendor reports about the image now, under the vendor's names in lowerCamelCase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub at_provider: Option<Value>,
    /// The value of the annotation `reconcile.cloudimages.dev/requested-at` that was honoured last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = ANNOTATION))]
    pub last_handled_reconcile_at: Option<String>,
    /// The value of the annotation `cloudimages.dev/outcome` that was honoured, or found outdated, last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = ANNOTATION))]
    pub last_handled_outcome: Option<String>,
    /// `Ready`: the vendor has it, usable, as the spec says. `Reconciling`: on the way, nothing to do; what the object names
    /// and is not there yet is waited for as well, for its first two minutes. `Stalled`: a person has to act, or the spec to
    /// change; the message says how, and what may help by itself is still tried again. A suspended object is neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One version of what an object has made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The vendor's id of it. Example: `ic-bp67acfmxazb4p`.
    #[schemars(length(max = ID))]
    pub image_id: String,
    /// Its version, as the vendor has it. Example: `1.0.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// `true`: it was there before the object, which took it over. It is deleted only with `deletionPolicy: Delete`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// A hash of what it was made from, by which a changed spec is told from one that only looks different at the vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub digest: Option<String>,
}

/// What a reference meant when an attempt was written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Referent {
    /// The field that takes an id itself in place of this reference. Example: `forProvider.imageId`.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub field: String,
    /// Kind of the object that was meant. Example: `ImageComponent`.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name. Example: `base`.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub name: String,
    /// The vendor's id of what it had then. Example: `image-44`.
    #[schemars(length(max = ID))]
    pub id: String,
    /// The region that this lies in, where the vendor has regions. Example: `cn-hangzhou`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub region: Option<String>,
}

/// The vendor call that makes an image, written down before it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The vendor's name of the call; `Import` where something was taken over that was there already, `Observe` where it is
    /// only looked at. Example: `CreateImageComponent`.
    #[schemars(length(max = 128))]
    pub action: String,
    /// What is sent along so that the vendor, or a later look, can tell this attempt from any other.
    #[schemars(length(max = 128))]
    pub token: String,
    /// Counts the attempts of this object, from 1.
    #[schemars(range(max = 1_000_000_000))]
    pub attempt: u32,
    /// What the references in `spec.forProvider` meant when the attempt was written down. At most 300.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = REFERENTS), extend("x-kubernetes-list-type" = "atomic"))]
    pub references: Vec<Referent>,
    /// The version that the attempt makes, where `versionPolicy: Bump` has a version follow an earlier one. Example: `1.0.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// When the attempt was written down, before the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// The vendor's id of the request, for its support. Example: `473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = REQUEST_ID))]
    pub request_id: Option<String>,
    /// What is known of the call: `InFlight` asked, no answer written down yet; `NotDone` it certainly had no effect;
    /// `Running` the vendor is at it; `Succeeded`; `Unusable` it succeeded, and the result is there and cannot be used now;
    /// `Failed`; `Unclear` nobody can tell whether it had an effect;
    /// `Missing` it succeeded, and the vendor no longer has the result; `Lost` the vendor took the order, and knows
    /// nothing of it any more; `Restored` the call was made for an earlier object, which this one was restored or copied
    /// from, so that a person must say what is to become of its result.
    pub state: OperationState,
    /// What the vendor has that might be the result, while `state` is `Unclear` or `Restored`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = CANDIDATES), inner(length(max = ID)), extend("x-kubernetes-list-type" = "atomic"))]
    pub candidates: Vec<String>,
    /// Why the attempt failed, or the result cannot be used: one CamelCase word, while `state` is `Failed` or `Unusable`; while it is
    /// `Succeeded`, that something went wrong although the result can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// The same in a sentence, with what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MESSAGE))]
    pub message: Option<String>,
}

/// See [`Operation::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each is explained, for users too, at Operation::state")]
pub enum OperationState {
    InFlight,
    NotDone,
    Running,
    Succeeded,
    Unusable,
    Failed,
    Unclear,
    Missing,
    Lost,
    Restored,
}

/// One word for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = explained_by_its_field)]
pub enum Phase {
    /// Nothing asked of the vendor yet; the conditions say what it waits for.
    Pending,
    /// The creating call is written down; its answer is not.
    Submitting,
    /// The vendor is making it.
    Building,
    /// The vendor has it.
    Ready,
    /// The vendor said no, the build failed, or the image is gone or cannot be used.
    Failed,
    /// Asked, the answer was lost, and nobody but a person can find out.
    Unclear,
    /// The object is being deleted.
    Deleting,
}

impl ImageStatus {
    /// The JSON default of `status`, in each CRD: without it, kstatus takes an object that nobody has looked at as done.
    pub fn unseen() -> Value {
        serde_json::json!({ "observedGeneration": -1 })
    }

    /// Whether what the object has was there before it.
    pub fn is_taken_over(&self) -> bool {
        self.operation.as_ref().is_some_and(|operation| matches!(&*operation.action, IMPORT | OBSERVE))
    }

    /// Cuts what vendors said to what the schema takes: a status that the API server refuses would lose their answer.
    pub fn fit(&mut self) {
        if let Some(operation) = &mut self.operation {
            operation.request_id.iter_mut().for_each(|id| cut(id, REQUEST_ID));
            operation.message.iter_mut().for_each(|message| cut(message, MESSAGE));
            operation.candidates.truncate(CANDIDATES);
        }
        self.managed_tags.truncate(MANAGED);
        for version in &mut self.versions {
            version.version.iter_mut().for_each(|version| cut(version, 128));
        }
        for condition in &mut self.conditions {
            cut(&mut condition.message, MESSAGE);
        }
    }
}

/// Cuts text to so many characters, which is what the API server counts.
fn cut(text: &mut String, most: usize) {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
    }
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A rule for the whole `spec`: who observes must say what.
pub fn observe_needs_import() -> ValidationRule {
    ValidationRule {
        rule: "self.managementPolicy != 'Observe' || has(self.import)".into(),
        message: Some(
            "managementPolicy Observe needs import.id or import.match: say which existing image to observe"
                .into(),
        ),
        ..ValidationRule::default()
    }
}

/// A rule for the whole object: what was asked for would be lost if something else took its place. To name what is there
/// is how a managed object becomes one that only observes.
pub fn import_is_no_afterthought() -> ValidationRule {
    let (new, old) = ("self.spec.__import__", "oldSelf.spec.__import__");
    let names = |id: &str| format!("(has(oldSelf.status.{id}) && {new}.id == oldSelf.status.{id})");
    let there = format!("has({new}.id) && ({} || {})", names("imageId"), names("taskId"));
    ValidationRule {
        rule: format!(
            "!has({new}) || (has({old}) && {new} == {old}) || ({OPEN}) || ({RESTORED}) \
             || (has(oldSelf.status) && has(oldSelf.status.phase) && (oldSelf.status.phase == 'Ready' || ({UNUSABLE})) && {there})"
        ),
        message: Some(
            "import can be given or changed only before anything is asked for, after that failed, after a restore, or to name \
             what is there; make a new object"
                .into(),
        ),
        field_path: Some(".spec.import".into()),
        ..ValidationRule::default()
    }
}

/// Whether the status lacks a field, in CEL.
fn none(field: &str) -> String {
    format!("!has(oldSelf.status.{field})")
}

/// A rule for the whole object: what was made stays in its account. What a failed build left behind was made, too.
pub fn account_is_kept() -> ValidationRule {
    ValidationRule {
        rule: format!(
            "self.spec.accountRef == oldSelf.spec.accountRef || (({OPEN}) && {} && {} && {})",
            none("imageId"),
            none("taskId"),
            none("versions")
        ),
        message: Some(
            "accountRef cannot be changed once something is asked for: what was made stays in its account; make a new object"
                .into(),
        ),
        field_path: Some(".spec.accountRef".into()),
        ..ValidationRule::default()
    }
}

/// Whether nothing of an object is under way or there, in CEL.
const OPEN: &str = "has(oldSelf.status) && has(oldSelf.status.phase) && (oldSelf.status.phase == 'Pending' \
                    || (oldSelf.status.phase == 'Failed' && oldSelf.status.operation.state == 'Failed'))";

/// Whether what there is cannot be used, in CEL.
const UNUSABLE: &str =
    "has(oldSelf.status) && has(oldSelf.status.operation) && oldSelf.status.operation.state == 'Unusable'";

/// Whether what there is was made for an earlier object, in CEL.
const RESTORED: &str =
    "has(oldSelf.status) && has(oldSelf.status.operation) && oldSelf.status.operation.state == 'Restored'";

/// Whether what there is was there before the object, in CEL: then nothing was asked for with the spec's fields.
const TAKEN_OVER: &str = "has(oldSelf.status) && has(oldSelf.status.operation) \
                          && (oldSelf.status.operation.action == 'Import' || oldSelf.status.operation.action == 'Observe')";

/// A rule for a text that names an object of Kubernetes: anything else names none, however long one waits for it.
pub fn object_name(field: &str) -> Rule {
    let part = "[a-z0-9]([a-z0-9-]*[a-z0-9])?";
    // That it must not be empty has a sentence of its own.
    Rule::new(format!("self.matches('^({part}([.]{part})*)?$')")).message(&*format!(
        "{field} must be the name of an object: lower-case letters, digits, hyphens and full stops, for example base-1"
    ))
}

/// Whether what the vendor has differs in what it cannot change, in CEL: then the spec may be set to what it has, and whatever
/// else it is set to changes nothing there.
const DIFFERS: &str = "has(oldSelf.status) && has(oldSelf.status.conditions) \
                       && oldSelf.status.conditions.exists(c, c.type == 'Stalled' && c.status == 'True' && c.reason == 'SpecDiffers')";

/// What a refusal says while nobody knows whether anything was asked for, in CEL, and while that is about to be known: what is
/// closed in that moment may be open in the next. `None`: the rule is about something else.
pub fn unseen_says_so(rule: &ValidationRule) -> Option<String> {
    let message = rule.message.as_deref().filter(|_| rule.rule.contains(OPEN))?;
    let unseen = "the operator has not seen this object yet, so it may be asking for it at this moment: try again when \
                  status.phase is there";
    let under_way = "the vendor is being asked for it at this moment, or it is not known yet whether it was made: try again \
                     when status.phase is no longer Submitting";
    let is_seen = "has(oldSelf.status) && has(oldSelf.status.phase)";
    Some(format!(
        "(!({is_seen}) ? '{unseen}; ' : oldSelf.status.phase == 'Submitting' ? '{under_way}; ' : '') + '{message}'"
    ))
}

/// A rule for a `spec.forProvider` field that says where the vendor's thing is: elsewhere its id means nothing, so that it
/// would be given up for lost. Open only until an attempt is under way and again after one failed, unless earlier versions are
/// there.
pub fn placed(field: &str, instead: &str) -> Rule {
    closed(field, instead, &format!("(({OPEN}) && {})", none("versions")))
}

/// Whether something is in the way, in CEL: then the vendor may not have taken what the spec says.
const NOT_READY: &str = "has(oldSelf.status) && has(oldSelf.status.conditions) \
                         && oldSelf.status.conditions.exists(c, c.type == 'Ready' && c.status == 'False')";

/// A rule for a `spec.forProvider` field that the vendor can change and not unset: what it would be without it, nobody could
/// tell. It can be taken out where nothing was made, where it was left to what was there, and where it may be what is wrong.
pub fn kept(field: &str) -> Rule {
    let (new, old) = (format!("self.spec.forProvider.{field}"), format!("oldSelf.spec.forProvider.{field}"));
    Rule::new(format!("has({new}) || !has({old}) || ({OPEN}) || ({TAKEN_OVER}) || ({NOT_READY})"))
        .message(&*format!(
            "forProvider.{field} can be changed and not taken out again once it is asked for: the vendor has no call that \
             unsets it; give it the value that it is to have"
        ))
        .field_path(".spec.forProvider")
}

/// A rule for a `spec.forProvider` field that the vendor cannot change: it is open until an attempt is under way and
/// again after one failed, where nothing was made, and where it differs from what was, closed otherwise. `field` is the name
/// in YAML, `instead` what to do about it.
pub fn fixed(field: &str, instead: &str) -> Rule {
    closed(field, instead, &format!("({OPEN}) || ({TAKEN_OVER}) || ({DIFFERS})"))
}

/// The same for a field of which `versionPolicy: Bump` makes a new version: with that it can be changed whenever nothing is under
/// way, since an answer that was lost is looked for by what was asked for.
pub fn versioned(field: &str, instead: &str) -> Rule {
    let bumps = "has(self.spec.versionPolicy) && self.spec.versionPolicy == 'Bump' && has(oldSelf.status) \
                 && has(oldSelf.status.operation) && oldSelf.status.operation.state in ['Succeeded', 'Missing']";
    closed(field, instead, &format!("({OPEN}) || ({TAKEN_OVER}) || ({DIFFERS}) || ({bumps})"))
}

/// The same for a field that the creating call does not need: where the vendor does not know what it names, nothing could be
/// seen of what was made, and only another value helps.
pub fn fixed_once_found(field: &str, instead: &str) -> Rule {
    let unknown = "has(oldSelf.status) && has(oldSelf.status.conditions) \
                   && oldSelf.status.conditions.exists(c, c.type == 'Stalled' && c.status == 'True' && c.reason == 'NotFound')";
    closed(field, instead, &format!("({OPEN}) || ({TAKEN_OVER}) || ({DIFFERS}) || ({unknown})"))
}

/// A rule for a `spec.forProvider` field that can be changed only while `open` holds, in CEL.
fn closed(field: &str, instead: &str, open: &str) -> Rule {
    let (new, old) = (format!("self.spec.forProvider.{field}"), format!("oldSelf.spec.forProvider.{field}"));
    Rule::new(format!("(has({new}) == has({old}) && (!has({new}) || {new} == {old})) || {open}"))
        .message(&*format!(
            "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; {instead}"
        ))
        .field_path(format!(".spec.forProvider.{field}"))
}
