//! What is to be done about the copies of a distribution, decided from what was seen of them.

use super::{ImageDistribution, ImageDistributionSpec, Region, state::State};
use crate::{
    engine::external::External,
    image::{FINALIZER, ImageSpec, ManagementPolicy, PreflightPolicy, REQUESTED_AT, ten_hours},
    vendors::aliyun::image_copy::{AliyunImageCopy, AliyunImageCopySpec, CopyParameters},
    wire::digest::sha256_hex,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The longest name of a copy: what a label's value takes.
pub(super) const LONGEST_NAME: usize = 63;
/// The finalizer of `kubectl delete --cascade=orphan`: the owner's references are about to be taken off.
pub(super) const ORPHAN: &str = "orphan";

/// A copy that the distribution owns, as it was seen last.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    /// Its name.
    pub(super) name: String,
    /// The object; `None`: it cannot be read.
    pub(super) object: Option<Box<AliyunImageCopy>>,
}

/// A copy as the spec wants it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) spec: AliyunImageCopySpec,
}

/// What is to be done about a copy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It is not there.
    Create(String, Box<AliyunImageCopySpec>),
    /// It is not as this spec says.
    Amend(String, Box<AliyunImageCopySpec>),
    /// It is not wanted any more. With a value, that is merged into its spec before: it decides about what becomes of the image.
    Delete(String, Option<Value>),
}

/// The name of the copy of a distribution in a region: always the same, and cut where it would be too long.
pub(super) fn copy_name(distribution: &str, region: &str) -> String {
    let name = format!("{distribution}-{region}");
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let hash = sha256_hex(format!("{distribution}/{region}").as_bytes());
    let (hash, start) = (&hash[..8], LONGEST_NAME - 9);
    format!("{}-{hash}", name.get(..start).unwrap_or(&name).trim_end_matches(['-', '.']))
}

pub(super) fn wanted(distribution: &ImageDistribution) -> Vec<Wanted> {
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

/// The objects of the copies that it wants, as they are made where none is there; none while it is suspended or being deleted.
pub fn wanted_copies(distribution: &ImageDistribution) -> Vec<Value> {
    let wants_none = distribution.spec.suspend || is_deleting(distribution);
    let wanted = if wants_none { vec![] } else { wanted(distribution) };
    wanted.iter().map(|wanted| new_copy(distribution, &wanted.name, &wanted.spec)).collect()
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
pub(super) fn is_held(distribution: &ImageDistribution) -> bool {
    distribution.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

pub(super) fn is_deleting(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// What is to be done now, in this order.
pub(super) fn steps(distribution: &ImageDistribution, copies: &[Copy]) -> Vec<Step> {
    let spec = &distribution.spec;
    if spec.suspend || distribution.finalizers().iter().any(|finalizer| finalizer == ORPHAN) {
        return vec![];
    }
    let wanted = if is_deleting(distribution) { vec![] } else { wanted(distribution) };
    let names: BTreeSet<_> = wanted.iter().map(|wanted| &*wanted.name).collect();
    let mut steps = vec![];
    for copy in copies.iter().filter(|copy| !names.contains(&*copy.name)) {
        let object = copy.object.as_deref();
        let patch = object.and_then(|object| deletion_patch(spec, &object.spec));
        if patch.is_some() || !object.is_some_and(is_deleting) {
            steps.push(Step::Delete(copy.name.clone(), patch));
        }
    }
    let there = |name: &str| copies.iter().find(|copy| copy.name == name);
    for wanted in &wanted {
        let Some(object) = there(&wanted.name).and_then(|copy| copy.object.as_deref()) else { continue };
        // One copy may be stopped by itself, and take over what is there: the distribution says nothing about either.
        let mut spec = wanted.spec.clone();
        spec.image.suspend = object.spec.image.suspend;
        spec.image.import.clone_from(&object.spec.image.import);
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
fn deletion_patch(spec: &ImageDistributionSpec, copy: &AliyunImageCopySpec) -> Option<Value> {
    let is_same =
        (spec.deletion_policy, spec.delete_snapshots) == (copy.image.deletion_policy, copy.delete_snapshots);
    (!is_same)
        .then(|| json!({ "deletionPolicy": spec.deletion_policy, "deleteSnapshots": spec.delete_snapshots }))
}

/// The request to look again that is to be passed on to the copies.
pub(super) fn request(distribution: &ImageDistribution) -> Option<&str> {
    let asked = distribution.annotations().get(REQUESTED_AT)?;
    let handled = distribution.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    (handled != Some(asked) && !distribution.spec.suspend).then_some(asked)
}

/// The object of a copy that is to be made.
pub(super) fn new_copy(distribution: &ImageDistribution, name: &str, spec: &AliyunImageCopySpec) -> Value {
    let owner = distribution.controller_owner_ref(&());
    let owner = owner.map(|owner| OwnerReference { block_owner_deletion: Some(true), ..owner });
    json!({
        "apiVersion": AliyunImageCopy::api_version(&()),
        "kind": AliyunImageCopy::kind(&()),
        "metadata": { "name": name, "namespace": distribution.namespace(), "ownerReferences": [owner] },
        "spec": spec,
    })
}
