//! The copies of an ImageDistribution, as a plan sees them: which it would have, and which of those that it has it would delete.

use crate::{
    cli::{Error, objects::Cluster},
    distribution::{ImageDistribution, ImageDistributionSpec, wanted_copies},
    image::DeletionPolicy,
    kinds::definitions,
    vendors::aliyun::image_copy::AliyunImageCopy,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::Value;

/// The kind whose copies these are.
pub const OWNER: &str = "ImageDistribution";

/// The definition of a copy.
pub fn crd() -> CustomResourceDefinition {
    definitions::of::<AliyunImageCopy>()
}

/// What a distribution wants.
#[derive(Debug)]
pub struct Copies {
    /// One for each region of its list.
    pub manifests: Vec<Value>,
    /// What becomes of the images of those that it wants no more.
    pub deletion_policy: DeletionPolicy,
    delete_snapshots: Option<bool>,
    suspended: bool,
}

impl Copies {
    /// Of a distribution, as the API server would store it; nothing of what cannot be read.
    pub fn of(distribution: &Value) -> Option<Self> {
        let distribution: ImageDistribution = serde_json::from_str(&distribution.to_string()).ok()?;
        let mut manifests = wanted_copies(&distribution);
        for manifest in &mut manifests {
            // A dry run gives an object that is new a uid that nothing will ever have.
            manifest["metadata"].as_object_mut().map(|metadata| metadata.remove("ownerReferences"));
        }
        let deletion_policy = distribution.spec.deletion_policy.unwrap_or(DeletionPolicy::Delete);
        let ImageDistributionSpec { delete_snapshots, suspend: suspended, .. } = distribution.spec;
        Some(Self { manifests, deletion_policy, delete_snapshots, suspended })
    }

    /// The copies of a distribution that is there which it would delete, with what it tells them before of their snapshots.
    pub async fn leaving(&self, cluster: &Cluster, distribution: &Value) -> Result<Vec<Value>, Error> {
        if self.suspended {
            return Ok(vec![]);
        }
        let mut leaving = vec![];
        let namespace = distribution["metadata"]["namespace"].as_str();
        let kept: Vec<_> = self.manifests.iter().map(|manifest| &manifest["metadata"]["name"]).collect();
        cluster
            .within(namespace)
            .each(&crd(), |copy| {
                let is_kept = kept.iter().any(|name| **name == copy.name_any());
                let Ok(mut copy) = serde_json::to_value(copy) else { return };
                if !is_kept && is_owned(&copy, distribution) {
                    copy["spec"]["deleteSnapshots"] = self.delete_snapshots.into();
                    leaving.push(copy);
                }
            })
            .await?;
        Ok(leaving)
    }
}

/// Whether a distribution that is there has made this copy.
pub fn is_owned(copy: &Value, distribution: &Value) -> bool {
    let owners = copy["metadata"]["ownerReferences"].as_array();
    let is_owner =
        |owner: &Value| owner["controller"] == true && owner["uid"] == distribution["metadata"]["uid"];
    owners.into_iter().flatten().any(is_owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn distribution(spec: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": OWNER,
            "metadata": { "name": "base", "namespace": "team", "uid": "u-1" },
            "spec": {
                "regions": [{ "regionId": "cn-beijing" }, { "regionId": "cn-shanghai" }],
                "forProvider": { "imageId": "m-1", "destinationImageName": "many" },
            },
        });
        json_patch::merge(&mut object["spec"], spec);
        object
    }

    #[test]
    fn a_distribution_wants_a_copy_in_each_region_unless_it_is_suspended() {
        let copies =
            Copies::of(&distribution(&json!({ "deletionPolicy": "Retain" }))).expect("it can be read");
        let names: Vec<_> = copies.manifests.iter().map(|it| &it["metadata"]).collect();
        let named = |name: &str| json!({ "name": name, "namespace": "team" });
        assert_eq!(
            names,
            [&named("base-cn-beijing"), &named("base-cn-shanghai")],
            "and no owner of a dry run"
        );
        assert_eq!(copies.deletion_policy, DeletionPolicy::Retain);
        let suspended = Copies::of(&distribution(&json!({ "suspend": true }))).expect("it can be read");
        assert_eq!((suspended.manifests, suspended.suspended), (vec![], true));
        assert!(Copies::of(&distribution(&json!({ "regions": 7 }))).is_none());
    }

    #[test]
    fn a_distribution_that_is_being_deleted_wants_no_copies() {
        let mut distribution = distribution(&json!({}));
        distribution["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let copies = Copies::of(&distribution).expect("it can be read");
        assert_eq!((copies.manifests, copies.suspended), (vec![], false), "those that it has go");
    }

    #[test]
    fn a_copy_is_owned_by_uid() {
        let owned = |uid: &str, controller: bool| {
            let copy =
                json!({ "metadata": { "ownerReferences": [{ "uid": uid, "controller": controller }] } });
            is_owned(&copy, &distribution(&json!({})))
        };
        assert!(owned("u-1", true) && !owned("u-2", true) && !owned("u-1", false));
        assert!(!is_owned(&json!({}), &json!({})));
    }
}
