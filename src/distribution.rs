//! `ImageDistribution`: one image in many regions. It owns an `AliyunImageCopy` for each region of its list, as a ReplicaSet owns
//! Pods, and calls no vendor itself. What is to be done and what is shown are decided here, purely; `controller` does it.

pub mod controller;

use crate::{
    engine::{
        external::External,
        status::{Detail, Outlook, READY, RECONCILING, STALLED, condition},
    },
    image::{
        AccountRef, DeletionPolicy, DriftPolicy, FINALIZER, ImageSpec, ManagementPolicy, Phase,
        PreflightPolicy, REQUESTED_AT, RecreatePolicy, ten_hours,
    },
    period::Period,
    vendors::aliyun::image_copy::{AliyunImageCopy, AliyunImageCopySpec, CopyParameters},
    wire::digest::sha256_hex,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use kube::{CustomResource, KubeSchema, Resource, ResourceExt, core::Rule};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

// ---- What a user writes --------------------------------------------------------------------------------------------

/// One image in many regions.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "ImageDistribution",
    plural = "imagedistributions",
    shortname = "imgdist",
    category = "cloudimages",
    namespaced,
    status = "DistributionStatus",
    doc = "A custom image of Alibaba Cloud ECS in many regions. It owns an AliyunImageCopy for each region of its list.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether all copies are Ready"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where it stands, in a word"),
    printcolumn(name = "Copies", type_ = "string", json_path = ".status.copies", description = "How many copies are Ready, of how many"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when the object is there"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why it is, or is not, Ready, in a word", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", description = "Why it is, or is not, Ready, and what to do about it", priority = 1),
    validation = fixed("accountRef"),
    validation = fixed("forProvider.regionId"),
    validation = fixed("forProvider.imageId"),
    validation = fixed("forProvider.imageRef"),
    validation = fixed("forProvider.encrypted"),
    validation = fixed("forProvider.resourceGroupId"),
    validation = Rule::new("has(self.spec.forProvider.destinationDescription) || !has(oldSelf.spec.forProvider.destinationDescription)").message("forProvider.destinationDescription can be changed and not taken out again: the vendor has no call that unsets it; give it the value that it is to have").field_path(".spec.forProvider"),
    validation = Rule::new("self.spec.regions.all(region, oldSelf.spec.regions.all(old, old.regionId != region.regionId || (has(old.encrypted) == has(region.encrypted) && (!has(old.encrypted) || old.encrypted == region.encrypted) && has(old.kmsKeyId) == has(region.kmsKeyId) && (!has(old.kmsKeyId) || old.kmsKeyId == region.kmsKeyId))))").message("encrypted and kmsKeyId of a region cannot be changed: the vendor has no call for it; take the region out, and put it in again when its copy is gone").field_path(".spec.regions")
)]
#[x_kube(
    validation = Rule::new("has(self.forProvider.imageId) != has(self.forProvider.imageRef)").message("forProvider must have exactly one of imageId and imageRef: the image to copy"),
    validation = Rule::new("!has(self.forProvider.regionId) || !has(self.forProvider.imageRef)").message("forProvider.regionId must be left out with imageRef: the object that it names says where its image is"),
    validation = Rule::new("has(self.forProvider.destinationImageName)").message("forProvider.destinationImageName is required: what the copies are called, by which a copy whose answer was lost is found again"),
    validation = Rule::new("self.regions.all(region, !has(region.kmsKeyId) || (has(region.encrypted) ? region.encrypted : (has(self.forProvider.encrypted) && self.forProvider.encrypted)))").message("a region's kmsKeyId needs encrypted: true, there or in forProvider"),
)]
pub struct ImageDistributionSpec {
    /// The account that calls the vendor for all copies. Cannot be changed. Example: `{name: aliyun}` or
    /// `{kind: ClusterCloudAccount, name: shared}`. Default: `{name: default}`.
    #[serde(default)]
    pub account_ref: AccountRef,

    /// The regions that the image is copied to, 1 to 50 (a limit of this operator), each once. One that is put in gets its copy;
    /// one that is taken out loses it, image and snapshots too, unless `deletionPolicy` is `Retain`. They are begun in this
    /// order. Example: `[{regionId: cn-shanghai}, {regionId: eu-central-1}]`.
    #[schemars(length(min = 1, max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["regionId"]))]
    pub regions: Vec<Region>,

    /// How many copies are unfinished at a time, 1 to 50; those beyond it are not begun. One that needs a person holds no place.
    /// Default: `5`.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 50))]
    pub max_parallel: u32,

    /// What becomes of the copies at the vendor when a region is taken out, or this object is deleted. `Delete`: they are deleted,
    /// and this object goes when the last of them is gone. `Retain`: they stay, and go on costing money. Default: `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Whether the snapshots that a copy consists of are deleted with it: the vendor keeps them when an image is deleted, and
    /// they cost. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_snapshots: Option<bool>,

    /// `true`: no copy is made, changed or deleted until it is `false` again; a deletion of this object waits as well. What is
    /// under way goes on. Default: `false`.
    #[serde(default)]
    pub suspend: bool,

    /// How often a copy that is Ready is looked at again at the vendor, as a duration. `0s`: never. At least `1m` otherwise, at
    /// most `8760h`. Left out: every `10h`. Example: `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "duration(self) == duration('0s') || (duration(self) >= duration('1m') && duration(self) <= duration('8760h'))",
        "message": "resyncInterval must be 0s (never) or between 1m and 8760h, for example 10h"
    }]))]
    pub resync_interval: Option<Period>,

    /// How long one copy may take before it needs a person, as a duration from `1m` to `720h`. It is not cancelled, and a late
    /// success still counts. Left out: `12h`. Example: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "duration(self) >= duration('1m') && duration(self) <= duration('720h')",
        "message": "timeout must be between 1m and 720h, for example 12h"
    }]))]
    pub timeout: Option<Period>,

    /// Whether a copy that the vendor no longer has is made again. `Never`: it needs a person, and says so. `WhenMissing`: it is
    /// made anew, under a new id. Default: `Never`.
    #[serde(default)]
    pub recreate_policy: RecreatePolicy,

    /// What to do about what somebody else changed of a copy at the vendor. `Correct`: it is set as the spec says. `Report`: it
    /// stays, and the AliyunImageCopy says field by field what differs. Default: `Correct`.
    #[serde(default)]
    pub drift_policy: DriftPolicy,

    /// What all copies have in common: the parameters of CopyImage, as an AliyunImageCopy has them, but for the region.
    #[schemars(transform = for_all_regions)]
    pub for_provider: CopyParameters,
}

const fn five() -> u32 {
    5
}

/// A region that the image is copied to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Region {
    /// The region's id, 1 to 64 characters (a limit of this operator). Example: `cn-shanghai`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$')").message("regionId must be a region's id of lower-case letters, digits and -, for example cn-shanghai"))]
    pub region_id: String,

    /// Whether the copy in this region is encrypted. Left out: as `forProvider.encrypted` says. Cannot be changed. Example: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,

    /// The key of KMS, in this region, that the copy is encrypted with, 1 to 256 characters (a limit of this operator). Needs
    /// `encrypted: true`, here or in `forProvider`. Left out: the vendor's own key of the service. Cannot be changed.
    /// Example: `e522b26d-abf6-4e0d-b5da-04b7aaaaaaaa`.
    #[serde(rename = "kmsKeyId", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub kms_key_id: Option<String>,
}

/// The parameters of a copy without those that each region has of its own.
fn for_all_regions(schema: &mut Schema) {
    if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        fields.remove("destinationRegionId");
        fields.remove("kmsKeyId");
    }
}

/// A rule for a field that cannot be changed: a copy is of one image, and the vendor has no call for it.
fn fixed(field: &str) -> Rule {
    let (new, old) = (format!("self.spec.{field}"), format!("oldSelf.spec.{field}"));
    Rule::new(format!("has({new}) == has({old}) && (!has({new}) || {new} == {old})"))
        .message(&*format!(
            "{field} cannot be changed: the vendor has no call for it; make a new object, and delete this one when that is Ready"
        ))
        .field_path(format!(".spec.{field}"))
}

/// Where the copies stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DistributionStatus {
    /// The generation of `spec` that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: Pending before the first copy is begun, Building while some are under way, Ready when all are, Failed
    /// when one needs a person, Deleting at the end. Submitting and Unclear are words of copies only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// How many copies are Ready, of how many. Example: `3/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub copies: Option<String>,
    /// The copies: those of the spec's regions, in its order, and then those that are being deleted. At most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = ROWS), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub regions: Vec<Row>,
    /// The value of the annotation `reconcile.cloudimages.dev/requested-at` that was passed on to the copies last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub last_handled_reconcile_at: Option<String>,
    /// `Ready`: all copies are, and no others are there. `Reconciling`: on the way, nothing to do. `Stalled`: a copy needs a
    /// person; the message names the region and says why, and the others go on. A suspended object is neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many rows are kept.
const ROWS: usize = 200;

/// Where one copy stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The region. Example: `cn-shanghai`.
    #[schemars(length(max = 64))]
    pub region_id: String,
    /// The name of its AliyunImageCopy, whether that is there already or not. Example: `base-cn-shanghai`.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The vendor's id of the copy. Example: `m-uf6c7w3j8zxk5g`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image_id: Option<String>,
    /// Where the copy stands: Pending, Submitting, Building, Ready, Failed, Unclear or Deleting, as its AliyunImageCopy says;
    /// Pending too if that is not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why it is not Ready, in a word. Example: `QuotaExceeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
}

// ---- What is to be done --------------------------------------------------------------------------------------------

/// The longest name of a copy: what a label's value takes.
const LONGEST_NAME: usize = 63;
/// The finalizer of `kubectl delete --cascade=orphan`: the owner's references are about to be taken off.
const ORPHAN: &str = "orphan";

/// A copy that the distribution owns, as it was seen last.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Its name.
    pub name: String,
    /// The object; `None`: it cannot be read.
    pub object: Option<Box<AliyunImageCopy>>,
}

/// A copy as the spec wants it.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    name: String,
    spec: AliyunImageCopySpec,
}

/// What is to be done about a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is not there.
    Create(String, Box<AliyunImageCopySpec>),
    /// It is not as this spec says.
    Amend(String, Box<AliyunImageCopySpec>),
    /// It is not wanted any more. With a value, that is merged into its spec before: it decides about what becomes of the image.
    Delete(String, Option<Value>),
}

/// The name of the copy of a distribution in a region: always the same, and cut where it would be too long.
pub fn copy_name(distribution: &str, region: &str) -> String {
    let name = format!("{distribution}-{region}");
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let hash = sha256_hex(format!("{distribution}/{region}").as_bytes());
    let (hash, start) = (&hash[..8], LONGEST_NAME - 9);
    format!("{}-{hash}", name.get(..start).unwrap_or(&name).trim_end_matches(['-', '.']))
}

fn wanted(distribution: &ImageDistribution) -> Vec<Wanted> {
    let name = distribution.name_any();
    distribution
        .spec
        .regions
        .iter()
        .map(|region| Wanted {
            name: copy_name(&name, &region.region_id),
            spec: copy_spec(&distribution.spec, region),
        })
        .collect()
}

fn copy_spec(spec: &ImageDistributionSpec, region: &Region) -> AliyunImageCopySpec {
    let for_provider = CopyParameters {
        destination_region_id: Some(region.region_id.clone()),
        encrypted: region.encrypted.or(spec.for_provider.encrypted),
        kms_key_id: region.kms_key_id.clone(),
        ..spec.for_provider.clone()
    };
    AliyunImageCopySpec {
        image: ImageSpec {
            account_ref: spec.account_ref.clone(),
            management_policy: ManagementPolicy::default(),
            deletion_policy: spec.deletion_policy,
            import: None,
            suspend: false,
            resync_interval: spec.resync_interval.unwrap_or_else(ten_hours),
            timeout: Some(spec.timeout.unwrap_or_else(|| AliyunImageCopy::TIMEOUT.after.into())),
            recreate_policy: spec.recreate_policy,
            drift_policy: spec.drift_policy,
            preflight_policy: PreflightPolicy::default(),
        },
        delete_snapshots: spec.delete_snapshots,
        for_provider,
    }
}

/// Whether the object may go only when we say so.
pub fn is_held(distribution: &ImageDistribution) -> bool {
    distribution.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

fn is_deleting(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// What is to be done now, in this order.
pub fn steps(distribution: &ImageDistribution, copies: &[Copy]) -> Vec<Step> {
    let spec = &distribution.spec;
    if spec.suspend || distribution.finalizers().iter().any(|finalizer| finalizer == ORPHAN) {
        return vec![];
    }
    let wanted = if is_deleting(distribution) { vec![] } else { wanted(distribution) };
    let names: BTreeSet<_> = wanted.iter().map(|wanted| &*wanted.name).collect();
    let mut steps = vec![];
    for copy in copies.iter().filter(|copy| !names.contains(&*copy.name)) {
        let object = copy.object.as_deref();
        let parting = object.and_then(|object| parting(spec, &object.spec));
        if parting.is_some() || !object.is_some_and(is_deleting) {
            steps.push(Step::Delete(copy.name.clone(), parting));
        }
    }
    let there = |name: &str| copies.iter().find(|copy| copy.name == name);
    for wanted in &wanted {
        let Some(object) = there(&wanted.name).and_then(|copy| copy.object.as_deref()) else { continue };
        // One copy may be stopped by itself.
        let mut spec = wanted.spec.clone();
        spec.image.suspend = object.spec.image.suspend;
        if spec != object.spec && !is_deleting(object) {
            steps.push(Step::Amend(wanted.name.clone(), Box::new(spec)));
        }
    }
    let unfinished = wanted.iter().filter_map(|wanted| there(&wanted.name)?.object.as_deref());
    let unfinished = unfinished.filter(|object| State::of(object).is_under_way()).count();
    let places = usize::try_from(spec.max_parallel).unwrap_or(usize::MAX).saturating_sub(unfinished);
    let missing = wanted.into_iter().filter(|wanted| there(&wanted.name).is_none());
    steps.extend(missing.take(places).map(|wanted| Step::Create(wanted.name, Box::new(wanted.spec))));
    steps
}

/// What has to be changed of a copy before it is deleted: what becomes of its image, and of the image's snapshots.
fn parting(spec: &ImageDistributionSpec, copy: &AliyunImageCopySpec) -> Option<Value> {
    let is_same =
        (spec.deletion_policy, spec.delete_snapshots) == (copy.image.deletion_policy, copy.delete_snapshots);
    (!is_same)
        .then(|| json!({ "deletionPolicy": spec.deletion_policy, "deleteSnapshots": spec.delete_snapshots }))
}

/// The request to look again that is to be passed on to the copies.
pub fn request(distribution: &ImageDistribution) -> Option<&str> {
    let asked = distribution.annotations().get(REQUESTED_AT)?;
    let handled = distribution.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    (handled != Some(asked) && !distribution.spec.suspend).then_some(asked)
}

/// The object of a copy that is to be made.
pub fn new_copy(distribution: &ImageDistribution, name: &str, spec: &AliyunImageCopySpec) -> Value {
    let owner = distribution.controller_owner_ref(&());
    let owner = owner.map(|owner| OwnerReference { block_owner_deletion: Some(true), ..owner });
    json!({
        "apiVersion": AliyunImageCopy::api_version(&()),
        "kind": AliyunImageCopy::kind(&()),
        "metadata": { "name": name, "namespace": distribution.namespace(), "ownerReferences": [owner] },
        "spec": spec,
    })
}

// ---- What is shown -------------------------------------------------------------------------------------------------

/// How many regions a message names.
const NAMED: usize = 10;

/// Where a copy stands, as far as its owner is concerned.
struct State<'a> {
    phase: Phase,
    is_ready: bool,
    /// Why it is not Ready, if it says so.
    reason: &'a str,
    message: &'a str,
    /// Whether it goes on by itself.
    goes_on: bool,
}

impl<'a> State<'a> {
    fn of(copy: &'a AliyunImageCopy) -> Self {
        let status = copy.status.as_ref();
        let conditions = status.map(|status| &*status.conditions).unwrap_or_default();
        let condition = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
        let is_true = |type_: &str| condition(type_).is_some_and(|condition| condition.status == "True");
        // What speaks of an older spec says nothing about this one.
        let is_current = status.is_some_and(|status| status.observed_generation == copy.metadata.generation);
        let ready = condition(READY);
        let deleting = is_deleting(copy);
        let phase = status.and_then(|status| status.phase).unwrap_or(Phase::Pending);
        let suspended = ready.is_some_and(|ready| ready.reason == "Suspended");
        Self {
            phase: if deleting { Phase::Deleting } else { phase },
            is_ready: is_current && !deleting && is_true(READY),
            reason: ready.map_or("", |ready| &ready.reason),
            message: ready.map_or("", |ready| &ready.message),
            goes_on: !suspended && (!is_current || ready.is_none() || is_true(RECONCILING) || is_true(READY)),
        }
    }

    /// Whether it takes one of the places.
    fn is_under_way(&self) -> bool {
        !self.is_ready && self.goes_on && self.phase != Phase::Deleting
    }
}

/// Something about a copy that is not in it.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The copy's name.
    pub name: String,
    /// What is wrong.
    pub detail: Detail,
}

/// The status to store, or `None` where the stored one already says so, and what there is to know besides that all is well.
pub fn status(
    distribution: &ImageDistribution,
    copies: &[Copy],
    troubles: &[Trouble],
    now: Timestamp,
) -> (Option<DistributionStatus>, Option<Detail>) {
    let none = DistributionStatus::default();
    let old = distribution.status.as_ref().unwrap_or(&none);
    // What is being deleted wants nothing.
    let wanted = if is_deleting(distribution) { vec![] } else { wanted(distribution) };
    let view = View::new(&wanted, copies, troubles);
    let (detail, all_is_well) = view.detail(distribution, copies);
    let generation = distribution.metadata.generation.unwrap_or_default();
    let (outlook, reason, message) = match &detail {
        Some(detail) => (detail.outlook, &*detail.reason, &*detail.message),
        None => (Outlook::Ready, "Available", &*all_is_well),
    };
    let conditions = [(READY, Outlook::Ready), (RECONCILING, Outlook::GoesOn), (STALLED, Outlook::Stalled)];
    let conditions = conditions.map(|(type_, of)| {
        condition(type_, outlook == of, reason, message, generation, &old.conditions, now)
    });
    let begun = view.rows.iter().any(|(_, there)| *there);
    let mut new = DistributionStatus {
        observed_generation: Some(generation),
        phase: Some(match outlook {
            _ if is_deleting(distribution) => Phase::Deleting,
            Outlook::Ready => Phase::Ready,
            Outlook::Stalled => Phase::Failed,
            Outlook::GoesOn | Outlook::Suspended if begun => Phase::Building,
            Outlook::GoesOn | Outlook::Suspended => Phase::Pending,
        }),
        copies: Some(format!("{}/{}", view.ready, distribution.spec.regions.len())),
        regions: view.rows.into_iter().map(|(row, _)| row).collect(),
        last_handled_reconcile_at: match request(distribution) {
            Some(asked) => Some(asked.to_owned()),
            None => old.last_handled_reconcile_at.clone(),
        },
        conditions: conditions.into(),
    };
    new.regions.truncate(ROWS);
    for condition in &mut new.conditions {
        condition.message = condition.message.chars().take(32_768).collect();
    }
    ((new != *old).then_some(new), detail)
}

/// All copies, as they are shown.
struct View {
    /// With whether its object is there.
    rows: Vec<(Row, bool)>,
    ready: usize,
    of: usize,
    /// What needs a person: a reason for each, and a sentence.
    stalled: Vec<(String, String)>,
    /// What goes on by itself, in words.
    under_way: Vec<String>,
    /// What is being deleted, in words.
    leaving: Vec<String>,
}

impl View {
    fn new(wanted: &[Wanted], copies: &[Copy], troubles: &[Trouble]) -> Self {
        let (of, kind) = (wanted.len(), AliyunImageCopy::kind(&()));
        let mut view =
            Self { rows: vec![], ready: 0, of, stalled: vec![], under_way: vec![], leaving: vec![] };
        for Wanted { name, spec } in wanted {
            let region = spec.for_provider.destination_region_id.clone().unwrap_or_default();
            let copy = copies.iter().find(|copy| copy.name == *name);
            let trouble = troubles.iter().find(|trouble| trouble.name == *name);
            let mut row = Row { region_id: region.clone(), name: name.clone(), ..Row::default() };
            row.phase = Some(Phase::Pending);
            let state = copy.and_then(|copy| copy.object.as_deref()).map(|object| {
                row.image_id = object.status.as_ref().and_then(|status| status.image_id.clone());
                State::of(object)
            });
            if let Some(state) = &state {
                row.phase = Some(state.phase);
                row.reason =
                    Some(state.reason.to_owned()).filter(|reason| !state.is_ready && !reason.is_empty());
            }
            if let Some(Trouble { detail, .. }) = trouble {
                row.reason = Some(detail.reason.clone());
                view.stalled.push((detail.reason.clone(), format!("{region}: {}", detail.message)));
            } else {
                match (copy, &state) {
                    (None, _) => view.under_way.push(format!("{region} waits for its turn")),
                    (Some(_), None) => view.stalled.push((
                        "CopyStalled".into(),
                        format!("{region}: {kind} {name} cannot be read; see its conditions"),
                    )),
                    (_, Some(state)) if state.is_ready => view.ready += 1,
                    (_, Some(state)) if state.goes_on => {
                        view.under_way.push(format!("{region}: {:?}", state.phase));
                    }
                    (_, Some(state)) => view.stalled.push(stalled(&region, name, state)),
                }
            }
            view.rows.push((row, copy.is_some()));
        }
        for copy in copies.iter().filter(|copy| !wanted.iter().any(|wanted| wanted.name == copy.name)) {
            let object = copy.object.as_deref();
            let status = object.and_then(|object| object.status.as_ref());
            let region = object.and_then(|object| object.spec.for_provider.destination_region_id.clone());
            let region_id = region.unwrap_or_default();
            let state = object.map(State::of);
            let place = if region_id.is_empty() { &copy.name } else { &region_id };
            match &state {
                Some(state) if !state.goes_on && !state.is_ready => {
                    view.stalled.push(stalled(place, &copy.name, state));
                }
                _ => view.leaving.push(place.clone()),
            }
            let row = Row {
                image_id: status.and_then(|status| status.image_id.clone()),
                phase: Some(Phase::Deleting),
                reason: state.map(|state| state.reason.to_owned()).filter(|reason| !reason.is_empty()),
                region_id,
                name: copy.name.clone(),
            };
            view.rows.push((row, true));
        }
        view
    }

    /// What there is to know besides that all is well, and how well it is.
    fn detail(&self, distribution: &ImageDistribution, copies: &[Copy]) -> (Option<Detail>, String) {
        let count = format!("{} of {} copies are Ready", self.ready, self.of);
        let going = self.under_way.iter().cloned();
        let going: Vec<_> =
            going.chain(self.leaving.iter().map(|place| format!("{place} is being deleted"))).collect();
        let rest = if going.is_empty() { String::new() } else { format!("; {}", some(&going)) };
        let stalled = |count: &str| {
            let (reason, _) = self.stalled.first()?;
            let sentences: Vec<_> = self.stalled.iter().map(|(_, sentence)| sentence.clone()).collect();
            Some(Detail::stalled(reason.clone(), format!("{}; {count}{rest}", some(&sentences))))
        };
        let detail = match (is_deleting(distribution), distribution.spec.suspend) {
            (true, true) => Some(Detail::suspended(format!(
                "suspend is true, so no copy is deleted, and this object waits; set suspend: false to have the copies deleted; with \
                 deletionPolicy: Retain they stay at the vendor; or take the finalizer {FINALIZER} off this object, and Kubernetes \
                 deletes the AliyunImageCopies"
            ))),
            (true, false) => stalled("the copies are deleted first").or_else(|| {
                let rest =
                    if self.leaving.is_empty() { "they are gone".to_owned() } else { some(&self.leaving) };
                Some(Detail::waiting("Deleting", format!("waiting until the copies are gone: {rest}")))
            }),
            // As of any object that is suspended and as its spec says.
            (false, true) if self.is_well() && is_applied(distribution, copies) => None,
            (false, true) => Some(Detail::suspended(format!(
                "suspend is true, so no copy is made, changed or deleted; {count}; set suspend: false to go on"
            ))),
            (false, false) => stalled(&count).or_else(|| {
                (!self.is_well()).then(|| Detail::waiting("Distributing", format!("{count}{rest}")))
            }),
        };
        (detail, format!("all {} copies are Ready", self.of))
    }

    fn is_well(&self) -> bool {
        self.stalled.is_empty() && self.under_way.is_empty() && self.leaving.is_empty()
    }
}

/// Whether nothing would have to be done if the distribution were not suspended.
fn is_applied(distribution: &ImageDistribution, copies: &[Copy]) -> bool {
    let mut going = distribution.clone();
    going.spec.suspend = false;
    steps(&going, copies).is_empty()
}

/// A copy that does not go on by itself: the reason, and a sentence.
fn stalled(place: &str, name: &str, state: &State<'_>) -> (String, String) {
    let (kind, message) = (AliyunImageCopy::kind(&()), state.message.trim_end_matches('.'));
    ("CopyStalled".into(), format!("{place}: {kind} {name}: {}: {message}", state.reason))
}

fn some(texts: &[String]) -> String {
    let named = texts.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    match texts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn distribution(regions: &[&str], spec: Value) -> ImageDistribution {
        let regions: Vec<_> = regions.iter().map(|region| json!({ "regionId": region })).collect();
        let mut whole = json!({
            "accountRef": { "name": "aliyun" }, "regions": regions, "forProvider": { "imageId": "m-1", "destinationImageName": "base-1" },
        });
        json_patch::merge(&mut whole, &spec);
        let mut distribution = ImageDistribution::new("base", serde_json::from_value(whole).unwrap());
        distribution.metadata.uid = Some("u-1".into());
        distribution.metadata.generation = Some(2);
        distribution
    }

    /// A copy as the distribution wants it, with the conditions that are true.
    fn copy(distribution: &ImageDistribution, region: &str, conditions: &[&str], reason: &str) -> Copy {
        let wanted = wanted(distribution).into_iter().find(|wanted| wanted.name == copy_name("base", region));
        let mut object = AliyunImageCopy::new(&copy_name("base", region), wanted.unwrap().spec);
        object.metadata.generation = Some(1);
        let conditions: Vec<_> = [READY, RECONCILING, STALLED]
            .iter()
            .map(|type_| {
                condition(
                    type_,
                    conditions.contains(type_),
                    reason,
                    "it says why.",
                    1,
                    &[],
                    Timestamp::UNIX_EPOCH,
                )
            })
            .collect();
        let phase = match reason {
            "Available" => "Ready",
            "Building" => "Building",
            _ => "Failed",
        };
        let status = json!({ "observedGeneration": 1, "phase": phase, "imageId": format!("m-{region}"), "conditions": conditions });
        object.status = Some(serde_json::from_value(status).unwrap());
        Copy { name: object.name_any(), object: Some(Box::new(object)) }
    }

    fn ready(distribution: &ImageDistribution, region: &str) -> Copy {
        copy(distribution, region, &[READY], "Available")
    }

    fn building(distribution: &ImageDistribution, region: &str) -> Copy {
        copy(distribution, region, &[RECONCILING], "Building")
    }

    fn failed(distribution: &ImageDistribution, region: &str) -> Copy {
        copy(distribution, region, &[STALLED], "QuotaExceeded")
    }

    fn with(mut copy: Copy, change: impl FnOnce(&mut AliyunImageCopy)) -> Copy {
        change(copy.object.as_mut().unwrap());
        copy
    }

    fn going(copy: Copy) -> Copy {
        with(copy, |object| object.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH)))
    }

    /// The steps in words.
    fn done(distribution: &ImageDistribution, copies: &[Copy]) -> Vec<String> {
        let word = |step| match step {
            Step::Create(name, _) => format!("create {name}"),
            Step::Amend(name, _) => format!("amend {name}"),
            Step::Delete(name, None) => format!("delete {name}"),
            Step::Delete(name, Some(_)) => format!("tell and delete {name}"),
        };
        steps(distribution, copies).into_iter().map(word).collect()
    }

    #[test]
    fn names_are_the_same_each_time_and_never_too_long() {
        assert_eq!(copy_name("base", "cn-shanghai"), "base-cn-shanghai");
        let names: BTreeSet<_> = ["cn-shanghai", "cn-shenzhen", &"r".repeat(64)]
            .iter()
            .flat_map(|region| {
                ["a".repeat(253), "a.".repeat(126) + "b", "a".repeat(51)].map(|name| copy_name(&name, region))
            })
            .collect();
        assert_eq!(names.len(), 9);
        for name in names {
            assert!(name.len() <= LONGEST_NAME, "{name}");
            assert!(!name.contains(".-") && !name.contains("--"), "{name}");
        }
    }

    #[test]
    fn a_copy_is_what_the_spec_says_of_all_and_of_its_region() {
        let spec = json!({
            "deletionPolicy": "Retain", "deleteSnapshots": false, "timeout": "24h", "recreatePolicy": "WhenMissing",
            "regions": [{ "regionId": "cn-a", "kmsKeyId": "key-a" }, { "regionId": "cn-b", "encrypted": false }],
            "forProvider": { "encrypted": true, "tag": [{ "key": "team", "value": "base" }], "regionId": "cn-c" },
        });
        let distribution = distribution(&[], spec);
        let object = new_copy(&distribution, "base-cn-a", &wanted(&distribution)[0].spec);
        assert_eq!(
            object["metadata"]["ownerReferences"],
            json!([{
                "apiVersion": "cloudimages.dev/v1alpha1", "kind": "ImageDistribution", "name": "base", "uid": "u-1",
                "controller": true, "blockOwnerDeletion": true,
            }])
        );
        let spec = &object["spec"];
        assert_eq!(
            spec["forProvider"],
            json!({
                "regionId": "cn-c", "imageId": "m-1", "destinationRegionId": "cn-a", "destinationImageName": "base-1",
                "encrypted": true, "kmsKeyId": "key-a", "tag": [{ "key": "team", "value": "base" }],
            })
        );
        assert_eq!(
            (
                &spec["accountRef"]["name"],
                &spec["deletionPolicy"],
                &spec["deleteSnapshots"],
                &spec["timeout"],
                &spec["recreatePolicy"]
            ),
            (&json!("aliyun"), &json!("Retain"), &json!(false), &json!("24h"), &json!("WhenMissing"))
        );
        let other = &wanted(&distribution)[1].spec.for_provider;
        assert_eq!((other.encrypted, &other.kms_key_id), (Some(false), &None));
    }

    #[test]
    fn what_is_missing_is_made_as_far_as_there_are_places() {
        let regions = &["a", "b", "c", "d"];
        let distribution = distribution(regions, json!({ "maxParallel": 2 }));
        let is = |copies: &[Copy], expected: &[&str]| {
            assert_eq!(done(&distribution, copies), expected);
        };
        is(&[], &["create base-a", "create base-b"]);
        is(&[building(&distribution, "a")], &["create base-b"]);
        is(&[building(&distribution, "a"), building(&distribution, "b")], &[]);
        is(&[ready(&distribution, "a"), building(&distribution, "b")], &["create base-c"]);
        // What needs a person, is stopped, or goes, keeps nobody waiting.
        let suspended = copy(&distribution, "b", &[], "Suspended");
        is(&[failed(&distribution, "a"), suspended], &["create base-c", "create base-d"]);
        is(&[going(building(&distribution, "a"))], &["create base-b", "create base-c"]);
        // What nobody has seen yet is under way, and so is what has a new spec.
        let unseen = with(ready(&distribution, "a"), |object| object.status = None);
        let stale = with(failed(&distribution, "b"), |object| object.metadata.generation = Some(2));
        is(&[unseen, stale], &[]);
        is(&regions.map(|region| ready(&distribution, region)), &[]);
    }

    #[test]
    fn what_differs_is_set_right_and_what_is_not_wanted_goes_as_the_policy_says() {
        let before = distribution(&["a", "b", "c"], json!({}));
        let distribution = distribution(&["a", "b"], json!({ "deletionPolicy": "Retain" }));
        let right = ready(&distribution, "a");
        let renamed = with(right.clone(), |object| {
            object.spec.for_provider.destination_image_name = Some("other".into());
        });
        assert_eq!(
            done(&distribution, &[renamed.clone(), ready(&before, "c")]),
            ["tell and delete base-c", "amend base-a", "create base-b"]
        );
        // One that is being deleted is not worth it, but for what becomes of its image.
        let all = [going(renamed.clone()), ready(&distribution, "b"), going(ready(&before, "c"))];
        assert_eq!(done(&distribution, &all), ["tell and delete base-c"]);
        let told = with(ready(&before, "c"), |object| {
            object.spec.image.deletion_policy = Some(DeletionPolicy::Retain);
        });
        assert_eq!(
            done(&distribution, &[right.clone(), ready(&distribution, "b"), told.clone()]),
            ["delete base-c"]
        );
        assert!(done(&distribution, &[right.clone(), ready(&distribution, "b"), going(told)]).is_empty());
        // One may be stopped by itself.
        let stopped = with(right.clone(), |object| object.spec.image.suspend = true);
        assert!(done(&distribution, &[stopped, ready(&distribution, "b")]).is_empty());
        let mut suspended = distribution.clone();
        suspended.spec.suspend = true;
        assert!(done(&suspended, &[renamed]).is_empty());
        let mut deleted = distribution.clone();
        deleted.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(done(&deleted, std::slice::from_ref(&right)), ["delete base-a"]);
        deleted.metadata.finalizers = Some(vec![ORPHAN.into()]);
        assert!(done(&deleted, &[right]).is_empty());
    }

    fn shown(
        distribution: &ImageDistribution,
        copies: &[Copy],
        troubles: &[Trouble],
    ) -> (DistributionStatus, String) {
        let (new, detail) = status(distribution, copies, troubles, Timestamp::UNIX_EPOCH);
        let new = new.expect("news");
        let mut again = distribution.clone();
        again.status = Some(new.clone());
        assert_eq!(status(&again, copies, troubles, Timestamp::now()).0, None, "nothing is written twice");
        let is_true: Vec<_> =
            new.conditions.iter().filter(|it| it.status == "True").map(|it| it.type_.as_str()).collect();
        let told = format!("{} {}: {}", is_true.join(), new.conditions[0].reason, new.conditions[0].message);
        assert_eq!(detail.is_none(), is_true == [READY]);
        (new, told)
    }

    trait Join {
        fn join(&self) -> String;
    }

    impl Join for Vec<&str> {
        fn join(&self) -> String {
            self.as_slice().join("+")
        }
    }

    #[test]
    fn it_is_ready_when_all_copies_are_and_says_which_is_not() {
        let distribution = distribution(&["a", "b"], json!({}));
        let three = self::distribution(&["a", "b", "c"], json!({}));
        let trouble =
            |reason: &str| Trouble { name: "base-b".into(), detail: Detail::stalled(reason, "why") };
        let one = ready(&distribution, "a");
        for (copies, troubles, count, phase, told) in [
            (
                vec![],
                vec![],
                "0/2",
                Phase::Pending,
                "Reconciling Distributing: 0 of 2 copies are Ready; a waits for its turn; b waits for its turn",
            ),
            (
                vec![one.clone()],
                vec![],
                "1/2",
                Phase::Building,
                "Reconciling Distributing: 1 of 2 copies are Ready; b waits for its turn",
            ),
            (
                vec![one.clone(), building(&distribution, "b")],
                vec![],
                "1/2",
                Phase::Building,
                "Reconciling Distributing: 1 of 2 copies are Ready; b: Building",
            ),
            (
                vec![one.clone(), ready(&distribution, "b")],
                vec![],
                "2/2",
                Phase::Ready,
                "Ready Available: all 2 copies are Ready",
            ),
            (
                vec![one.clone(), failed(&distribution, "b")],
                vec![],
                "1/2",
                Phase::Failed,
                "Stalled CopyStalled: b: AliyunImageCopy base-b: QuotaExceeded: it says why; 1 of 2 copies are Ready",
            ),
            (
                vec![building(&distribution, "a"), failed(&distribution, "b")],
                vec![],
                "0/2",
                Phase::Failed,
                "Stalled CopyStalled: b: AliyunImageCopy base-b: QuotaExceeded: it says why; 0 of 2 copies are Ready; a: Building",
            ),
            (
                vec![one.clone()],
                vec![trouble("NameTaken")],
                "1/2",
                Phase::Failed,
                "Stalled NameTaken: b: why; 1 of 2 copies are Ready",
            ),
            // What the spec asks for now is not there yet.
            (
                vec![
                    one.clone(),
                    with(ready(&distribution, "b"), |object| object.metadata.generation = Some(2)),
                ],
                vec![],
                "1/2",
                Phase::Building,
                "Reconciling Distributing: 1 of 2 copies are Ready; b: Ready",
            ),
            (
                vec![one.clone(), ready(&distribution, "b"), going(ready(&three, "c"))],
                vec![],
                "2/2",
                Phase::Building,
                "Reconciling Distributing: 2 of 2 copies are Ready; c is being deleted",
            ),
        ] {
            let (status, said) = shown(&distribution, &copies, &troubles);
            assert_eq!(
                (status.copies.as_deref(), status.phase, said.as_str()),
                (Some(count), Some(phase), told)
            );
            assert_eq!(status.observed_generation, Some(2));
            assert_eq!(status.regions.len(), 2 + usize::from(copies.len() > 2), "a row for each");
        }
        let (status, _) = shown(&distribution, &[one, failed(&distribution, "b")], &[]);
        let row = |region: &str, phase, reason: Option<&str>| Row {
            region_id: region.into(),
            name: format!("base-{region}"),
            image_id: Some(format!("m-{region}")),
            phase: Some(phase),
            reason: reason.map(Into::into),
        };
        assert_eq!(
            status.regions,
            [row("a", Phase::Ready, None), row("b", Phase::Failed, Some("QuotaExceeded"))]
        );
    }

    #[test]
    fn suspended_it_is_as_it_was_until_its_spec_asks_for_more() {
        let distribution = distribution(&["a"], json!({ "suspend": true }));
        let (_, told) = shown(&distribution, &[ready(&distribution, "a")], &[]);
        assert_eq!(told, "Ready Available: all 1 copies are Ready");
        let renamed = with(ready(&distribution, "a"), |object| {
            object.spec.for_provider.destination_image_name = Some("b".into());
        });
        for copies in [vec![], vec![renamed], vec![building(&distribution, "a")]] {
            let (_, told) = shown(&distribution, &copies, &[]);
            assert!(told.starts_with(" Suspended: suspend is true"), "{told}");
        }
    }

    #[test]
    fn while_it_is_deleted_it_says_what_it_waits_for() {
        let mut distribution = distribution(&["a", "b"], json!({}));
        let copies = [going(building(&distribution, "a")), failed(&distribution, "b")];
        distribution.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let (status, told) = shown(&distribution, &copies[..1], &[]);
        assert_eq!(
            (status.phase, told.as_str()),
            (Some(Phase::Deleting), "Reconciling Deleting: waiting until the copies are gone: a")
        );
        let (_, told) = shown(&distribution, &copies, &[]);
        assert!(told.starts_with("Stalled CopyStalled: b: AliyunImageCopy base-b: QuotaExceeded"), "{told}");
        distribution.spec.suspend = true;
        assert!(shown(&distribution, &copies, &[]).1.starts_with(" Suspended: "));
    }

    #[test]
    fn a_request_is_passed_on_once() {
        let mut distribution = distribution(&["a"], json!({}));
        assert_eq!(request(&distribution), None);
        distribution.metadata.annotations = Some([(REQUESTED_AT.to_owned(), "now".to_owned())].into());
        assert_eq!(request(&distribution), Some("now"));
        distribution.spec.suspend = true;
        assert_eq!(request(&distribution), None);
        distribution.spec.suspend = false;
        distribution.status = status(&distribution, &[], &[], Timestamp::UNIX_EPOCH).0;
        assert_eq!(request(&distribution), None);
    }
}
