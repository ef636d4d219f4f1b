//! The CRDs as the code says them, and what else the repository's files are generated from. Not in a release: see
//! [`super::definitions`].

use super::KINDS;
use crate::{
    account::{CloudAccount, ClusterCloudAccount},
    distribution::ImageDistribution,
    engine::external::Timeout,
    image::{ImageStatus, account_is_kept, import_is_no_afterthought, observe_needs_import, unseen_says_so},
    period::Period,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt;

/// The CRDs of the accounts and of all kinds, in the order of [`super::crds`].
pub fn all() -> Vec<CustomResourceDefinition> {
    let accounts = [polished(CloudAccount::crd()), polished(ClusterCloudAccount::crd())];
    let distribution = polished(ImageDistribution::crd());
    accounts.into_iter().chain(KINDS.iter().map(|kind| kind.defined())).chain([distribution]).collect()
}

/// The CRD of an image kind, of what is derived from its type.
pub fn of_kind(derived: CustomResourceDefinition, timeout: Timeout) -> CustomResourceDefinition {
    completed(polished(derived), timeout)
}

/// The README's table of kinds.
pub fn table() -> String {
    let mut table =
        String::from("| kind | short name | vendor | the vendor's call | state |\n|---|---|---|---|---|\n");
    for kind in KINDS {
        let names = kind.defined().spec.names;
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
