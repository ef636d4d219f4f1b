//! The registry: one line for each image kind. CRDs, controllers, samples, the README's table and the conformance suite
//! follow from it.

pub mod survey;

use crate::{
    account::{CloudAccount, ClusterCloudAccount},
    engine::{
        self, Shared,
        external::{External, Timeout},
        index::{Fitting, Ties},
    },
    image::{ImageStatus, account_is_kept, import_is_no_afterthought, observe_needs_import, unseen_says_so},
    period::Period,
    vendors::{aliyun, volcengine, zstack},
};
use futures::future::BoxFuture;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt;
use serde_json::Value;
use std::{fmt::Debug, marker::PhantomData};
use survey::Survey;

/// Every image kind.
pub static KINDS: &[&dyn Kind] = &[
    &Of::<volcengine::aosp_image::AospImage>::new("Volcengine", "ACEP", "2025-05-01"),
    &Of::<volcengine::image_export::ImageExport>::new("Volcengine", "ECS", "2020-04-01"),
    &Of::<aliyun::image_component::ImageComponent>::new("Alibaba Cloud", "ECS", "2014-05-26"),
    &Of::<aliyun::batch_compute_image::BatchComputeImage>::new("Alibaba Cloud", "BatchCompute", "2015-11-11"),
    &Of::<zstack::root_volume_template::RootVolumeTemplate>::new("ZStack", "Cloud", "v1"),
];

/// One image kind, as the rest of the program sees it.
pub trait Kind: Survey + Debug + Send + Sync {
    /// Its definition.
    fn crd(&self) -> CustomResourceDefinition;
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
    fn read(&self, object: &Value) -> Result<(), serde_json::Error>;
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
        completed(polished(K::crd()), K::TIMEOUT)
    }
    fn run(&self, shared: Shared, namespace: Option<String>) -> BoxFuture<'static, ()> {
        Box::pin(engine::run::<K>(shared, namespace))
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
    fn read(&self, object: &Value) -> Result<(), serde_json::Error> {
        K::deserialize(object).map(drop)
    }
}

/// The CRDs of the accounts and of some kinds, in this order.
pub fn crds(kinds: &[&dyn Kind]) -> Vec<CustomResourceDefinition> {
    let accounts = [polished(CloudAccount::crd()), polished(ClusterCloudAccount::crd())];
    accounts.into_iter().chain(kinds.iter().map(|kind| kind.crd())).collect()
}

/// Which kinds' objects references can mean, as the kinds say. `also`: more pairs of a kind that refers and one that it takes.
pub fn fitting(kinds: &[&dyn Kind], also: &'static [(&'static str, &'static str)]) -> Fitting {
    Fitting::new(kinds.iter().map(|kind| kind.ties()).collect(), also)
}

/// Whether some kind makes what a reference takes.
pub fn is_made(takes: &str) -> bool {
    KINDS.iter().any(|kind| kind.ties().yields == Some(takes))
}

/// The README's table of kinds.
pub fn table() -> String {
    let mut table =
        String::from("| kind | short name | vendor | the vendor's call | state |\n|---|---|---|---|---|\n");
    for kind in KINDS {
        let names = kind.crd().spec.names;
        let (api, version) = kind.api();
        let short = names.short_names.unwrap_or_default().join(", ");
        table += &format!(
            "| `{}` | {short} | {} | {api} `{}` {version} | alpha |\n",
            names.kind,
            kind.vendor(),
            kind.action()
        );
    }
    table
}

/// What all image kinds have: the first and the last columns of `kubectl get`, the rules for the whole spec, and a default of
/// `timeout` that is the kind's own.
fn completed(mut crd: CustomResourceDefinition, timeout: Timeout) -> CustomResourceDefinition {
    let ready = |field: &str| format!(".status.conditions[?(@.type=='Ready')].{field}");
    let column = |name: &str, json_path: String, description: &str| CustomResourceColumnDefinition {
        name: name.into(),
        json_path,
        type_: if name == "Age" { "date" } else { "string" }.into(),
        description: Some(description.into()),
        priority: matches!(name, "Reason" | "Message").then_some(1),
        ..CustomResourceColumnDefinition::default()
    };
    for version in &mut crd.spec.versions {
        let own = version.additional_printer_columns.take().unwrap_or_default();
        let first = [
            column("Ready", ready("status"), "Whether the vendor has it, as the spec says"),
            column("Phase", ".status.phase".into(), "Where it stands, in a word"),
        ];
        let last = [
            column("Age", ".metadata.creationTimestamp".into(), "Since when the object is there"),
            column("Reason", ready("reason"), "Why it is, or is not, Ready, in a word"),
            column("Message", ready("message"), "Why it is, or is not, Ready, and what to do about it"),
        ];
        version.additional_printer_columns = Some(first.into_iter().chain(own).chain(last).collect());
        let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        schema.x_kubernetes_validations.get_or_insert_default().insert(0, import_is_no_afterthought());
        schema.x_kubernetes_validations.get_or_insert_default().insert(1, account_is_kept());
        for rule in schema.x_kubernetes_validations.iter_mut().flatten() {
            rule.message_expression = unseen_says_so(rule);
        }
        if let Some(spec) = schema.properties.as_mut().and_then(|properties| properties.get_mut("spec")) {
            spec.x_kubernetes_validations.get_or_insert_default().insert(0, observe_needs_import());
            if let Some(field) = spec.properties.as_mut().and_then(|fields| fields.get_mut("timeout")) {
                let (after, why) = (Period::from(timeout.after).to_string(), timeout.why);
                let about = field.description.take().unwrap_or_default();
                field.description = Some(format!("{about} Default: `{after}`, since {why}."));
                field.default = Some(JSON(after.into()));
            }
        }
    }
    crd
}

/// What the derive cannot say: the default of `status` (see [`ImageStatus::unseen`]), that `null` is as good as leaving
/// a field out (without `nullable`, the API server drops it), no number formats that Kubernetes does not know, and no
/// default below a list: tools compare lists as a whole, so that what the API server filled in there would look like a
/// change that somebody made. The operator fills it in when it reads.
fn polished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        polish(schema);
        if let Some(status) = schema.properties.as_mut().and_then(|properties| properties.get_mut("status")) {
            status.default = Some(JSON(ImageStatus::unseen()));
        }
    }
    crd
}

/// The format lets through more than can be read: finer fractions, the last day of the year 9999, and an empty list.
fn readable_time(schema: &mut JSONSchemaProps) {
    schema.pattern = Some(r"^[^.]*(\.[0-9]{1,9}[^0-9.]+.*)?$".into());
    schema.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
        rule: "self < timestamp('9999-01-01T00:00:00Z')".into(),
        message: Some(
            "must be a time before the year 9999, with nine digits after the second at most".into(),
        ),
        ..ValidationRule::default()
    });
}

fn polish(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    schema.format = schema.format.take().filter(|format| !format.starts_with("uint"));
    if schema.format.as_deref() == Some("date-time") {
        readable_time(schema);
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(polish);
    for items in items(schema) {
        polish(items);
        fill_in_nothing(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        polish(values);
    }
}

fn fill_in_nothing(schema: &mut JSONSchemaProps) {
    schema.default = None;
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(fill_in_nothing);
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        fill_in_nothing(values);
    }
}

fn items(schema: &mut JSONSchemaProps) -> &mut [JSONSchemaProps] {
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => std::slice::from_mut(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all,
        None => &mut [],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        engine::{self, external::External},
        vendors::{aliyun::image_component::ImageComponent, volcengine::aosp_image::AospImage},
    };
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
        fn holds_little<K: External>() {
            let (task, pass) = engine::sizes::<K>();
            assert!(task <= 512 && pass <= 20 * 1024, "{}: {task} and {pass} bytes", K::kind(&()));
        }
        holds_little::<ImageComponent>();
        holds_little::<AospImage>();
    }
}
