//! The registry: one line for each image kind. CRDs, controllers, samples, the README's table and the conformance suite
//! follow from it.

#[cfg(debug_assertions)]
pub mod defined;
pub mod definitions;
pub mod survey;

use crate::{
    account::{CloudAccount, ClusterCloudAccount},
    distribution::ImageDistribution,
    engine::{
        self, Shared,
        external::External,
        guarded::without_place,
        index::{Fitting, Ties},
        object,
    },
    vendors::{aliyun, volcengine, zstack},
};
use futures::future::BoxFuture;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;
use std::{fmt::Debug, marker::PhantomData};
use survey::Survey;

/// Every image kind.
pub static KINDS: &[&dyn Kind] = &[
    &Of::<volcengine::aosp_image::AospImage>::new("Volcengine", "ACEP", "2025-05-01"),
    &Of::<volcengine::image_export::ImageExport>::new("Volcengine", "ECS", "2020-04-01"),
    &Of::<aliyun::image_component::ImageComponent>::new("Alibaba Cloud", "ECS", "2014-05-26"),
    &Of::<aliyun::image_pipeline::ImagePipeline>::new("Alibaba Cloud", "ECS", "2014-05-26"),
    &Of::<aliyun::image_build::ImageBuild>::new("Alibaba Cloud", "ECS", "2014-05-26"),
    &Of::<aliyun::image_copy::AliyunImageCopy>::new("Alibaba Cloud", "ECS", "2014-05-26"),
    &Of::<aliyun::batch_compute_image::BatchComputeImage>::new("Alibaba Cloud", "BatchCompute", "2015-11-11"),
    &Of::<zstack::root_volume_template::RootVolumeTemplate>::new("ZStack", "Cloud", "v1"),
];

/// One image kind, as the rest of the program sees it.
pub trait Kind: Survey + Debug + Send + Sync {
    /// Its definition, as it is in the program.
    fn crd(&self) -> CustomResourceDefinition;
    /// Its definition, as its code says it: see `defined`.
    #[cfg(debug_assertions)]
    fn defined(&self) -> CustomResourceDefinition;
    /// Its controller, for one namespace or all.
    fn run(&self, shared: Shared, namespace: Option<String>) -> BoxFuture<'static, ()>;
    /// The vendor's name for people.
    fn vendor(&self) -> &'static str;
    /// The vendor's API: name and version.
    fn api(&self) -> (&'static str, &'static str);
    /// The creating call.
    fn action(&self) -> &'static str;
    /// What it makes, and what its references take.
    fn ties(&self) -> Ties;
    /// Reads an object as the controller does.
    fn read(&self, object: &Value) -> Result<(), String>;
}

/// A line of the registry: an [`External`] kind, and whose API it stands for.
#[derive(Debug)]
pub struct Of<K> {
    vendor: &'static str,
    api: (&'static str, &'static str),
    kind: PhantomData<fn() -> K>,
}

impl<K> Of<K> {
    /// `vendor` and `api` in the vendor's own spelling, `version` as its requests say it.
    pub const fn new(vendor: &'static str, api: &'static str, version: &'static str) -> Self {
        Self { vendor, api: (api, version), kind: PhantomData }
    }
}

impl<K: External> Kind for Of<K> {
    fn crd(&self) -> CustomResourceDefinition {
        let held = definitions::held::<K>();
        #[cfg(debug_assertions)]
        let held = held.or_else(|| Some(self.defined()));
        held.unwrap_or_default()
    }
    #[cfg(debug_assertions)]
    fn defined(&self) -> CustomResourceDefinition {
        defined::of_kind(K::crd(), K::TIMEOUT)
    }
    fn run(&self, shared: Shared, namespace: Option<String>) -> BoxFuture<'static, ()> {
        Box::pin(engine::run(object::kind::<K>(), shared, namespace))
    }
    fn vendor(&self) -> &'static str {
        self.vendor
    }
    fn api(&self) -> (&'static str, &'static str) {
        self.api
    }
    fn action(&self) -> &'static str {
        K::ACTION
    }
    fn ties(&self) -> Ties {
        Ties { kind: K::kind(&()).into_owned(), yields: K::YIELDS, takes: K::TAKES }
    }
    fn read(&self, object: &Value) -> Result<(), String> {
        read::<K>(object).map(drop)
    }
}

/// By way of a text, as the controller reads it: what reads a type from values as well would be in the program once more.
fn read<K: External>(object: &Value) -> Result<K, String> {
    serde_json::from_str(&object.to_string()).map_err(|error| without_place(&error))
}

/// The CRDs of the accounts, of some kinds, and of what owns objects of them, in this order.
pub fn crds(kinds: &[&dyn Kind]) -> Vec<CustomResourceDefinition> {
    let accounts = [definitions::of::<CloudAccount>(), definitions::of::<ClusterCloudAccount>()];
    accounts.into_iter().chain(kinds.iter().map(|kind| kind.crd())).chain([distribution()]).collect()
}

/// The CRD of what makes copies in many regions: no image kind, since it calls no vendor.
pub fn distribution() -> CustomResourceDefinition {
    definitions::of::<ImageDistribution>()
}

/// Which kinds' objects references can mean, as the kinds say. `also`: more pairs of a kind that refers and one that it takes.
pub fn fitting(kinds: &[&dyn Kind], also: &'static [(&'static str, &'static str)]) -> Fitting {
    Fitting::new(kinds.iter().map(|kind| kind.ties()).collect(), also)
}

/// Whether some kind makes what a reference takes.
pub fn is_made(takes: &str) -> bool {
    KINDS.iter().any(|kind| kind.ties().yields == Some(takes))
}

#[cfg(test)]
mod tests {
    use crate::engine;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
    };

    /// A field says what each of its values means, also where its type is documented too.
    #[test]
    fn a_field_with_a_choice_explains_each_value() {
        fn look(field: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
            let description = schema.description.as_deref().unwrap_or_default();
            let values = schema.enum_.iter().flatten().filter_map(|JSON(value)| value.as_str());
            let words: Vec<_> =
                description.split(|char: char| !char.is_alphanumeric() && char != '_').collect();
            found.extend(
                values.filter(|value| !words.contains(value)).map(|value| format!("{field}: {value}")),
            );
            for (name, schema) in schema.properties.iter().flatten() {
                look(&format!("{field}.{name}"), schema, found);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                look(&format!("{field}[]"), schema, found);
            }
        }
        let mut unexplained = vec![];
        for crd in super::crds(super::KINDS) {
            for version in crd.spec.versions {
                let schema = version.schema.and_then(|schema| schema.open_api_v3_schema).expect("a schema");
                look(&crd.spec.names.kind, &schema, &mut unexplained);
            }
        }
        assert!(unexplained.is_empty(), "values that their field does not explain: {unexplained:#?}");
    }

    /// A thousand passes may wait at once. What is not optimised, as tests are, is larger than what is published.
    #[test]
    fn a_pass_that_waits_holds_little() {
        let (task, pass) = engine::sizes();
        assert!(task <= 512 && pass <= 20 * 1024, "{task} and {pass} bytes");
    }
}
