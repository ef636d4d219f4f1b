//! `ImageDistribution`: one image in many regions. It owns an `AliyunImageCopy` for each region of its list, as a ReplicaSet owns
//! Pods, and calls no vendor itself. `steps` and `shown` decide, purely, what is to be done and what is shown; `controller` does it.

pub mod controller;
mod shown;
mod state;
mod steps;
#[cfg(test)]
mod tests;

pub use steps::wanted_copies;

use crate::{
    image::{AccountRef, DeletionPolicy, DriftPolicy, Phase, RecreatePolicy},
    period::Period,
    vendors::aliyun::{image_copy::CopyParameters, sharing},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, core::Rule};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    validation = Rule::new("!has(self.forProvider.shareWith) || self.forProvider.shareWith.size() == 0 || self.regions.all(region, has(region.kmsKeyId) || !(has(region.encrypted) ? region.encrypted : (has(self.forProvider.encrypted) && self.forProvider.encrypted)))").message("forProvider.shareWith needs a kmsKeyId for each region whose copy is encrypted: the vendor does not share what is encrypted with its own key of the service"),
    validation = sharing::not_both(),
    validation = sharing::policy_needs_accounts(),
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
    /// `encrypted: true`, here or in `forProvider`. Left out: the vendor's own key of the service, with which a copy cannot be
    /// shared. Cannot be changed.
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
