//! What every schema of ours has: words for people, and bounds for what the API server must hold and check.

use cloud_image_operator::{image::ImageStatus, kinds};
use serde_json::{Value, json};

/// Types of Kubernetes' own, whose schemas are not ours: any `conditions` entry, and a label selector.
const STANDARD: &[&str] = &[".status.conditions[]", ".spec.allowedNamespaces.selector"];

#[test]
fn every_property_is_described_and_bounded() {
    let mut faults = vec![];
    let crds = kinds::crds(kinds::KINDS);
    assert!(crds.len() >= 3, "accounts and kinds");
    for crd in crds {
        let crd = serde_json::to_value(crd).expect("a CRD is JSON");
        for version in crd["spec"]["versions"].as_array().expect("versions") {
            let schema = &version["schema"]["openAPIV3Schema"];
            let kind = crd["spec"]["names"]["kind"].as_str().expect("a kind");
            walk("", schema, &mut |path, fault| faults.push(format!("{kind}{path}: {fault}")));
            if schema["properties"]["status"]["default"] != json!({ "observedGeneration": -1 }) {
                faults.push(format!("{kind}.status: a fresh object would be taken as done"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Calls `fault` for whatever is missing in a schema and below it.
fn walk(path: &str, schema: &Value, fault: &mut impl FnMut(&str, &str)) {
    let has = |name: &str| !schema[name].is_null();
    if STANDARD.contains(&path) {
        return;
    }
    // What is in a list is described with the list, unless it has parts of its own.
    if !path.ends_with("[]") || has("properties") {
        match schema["description"].as_str() {
            None | Some("") => fault(path, "no description"),
            Some(text)
                if has("default")
                    && path != ".status"
                    && !text.contains("Default:")
                    && !text.contains("unless") =>
            {
                fault(path, "the description does not say the default");
            }
            Some(_) => {}
        }
    }
    if has("nullable") {
        fault(path, "nullable: null would not be dropped");
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        if rule["message"].as_str().is_none_or(str::is_empty) {
            fault(path, &format!("a rule without a message: {}", rule["rule"]));
        }
        // The API server calls the root <nil>.
        if path.is_empty() && rule["fieldPath"].is_null() {
            fault(path, &format!("a rule that names no field: {}", rule["rule"]));
        }
    }
    match schema["type"].as_str() {
        Some("string") if !has("maxLength") && !has("enum") && schema["format"] != "date-time" => {
            fault(path, "a string without maxLength or enum");
        }
        Some("array") => {
            if !has("maxItems") {
                fault(path, "a list without maxItems");
            }
            if !has("x-kubernetes-list-type") {
                fault(path, "a list without x-kubernetes-list-type");
            }
            walk(&format!("{path}[]"), &schema["items"], fault);
        }
        Some("object") if has("additionalProperties") => {
            if !has("maxProperties") {
                fault(path, "a map without maxProperties");
            }
            walk(&format!("{path}{{}}"), &schema["additionalProperties"], fault);
        }
        Some("object") if !has("properties") && schema["x-kubernetes-preserve-unknown-fields"] != true => {
            fault(path, "an object without properties");
        }
        None if schema["x-kubernetes-int-or-string"] != true => fault(path, "no type"),
        _ => {}
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, fault);
    }
}

#[test]
fn what_a_vendor_says_at_length_is_cut_to_what_the_schema_takes() {
    let long = "长".repeat(1_000_000);
    let mut status: ImageStatus = serde_json::from_value(json!({
        "imageId": "ic-1",
        "operation": {
            "action": "CreateImageComponent", "token": "t", "attempt": 1, "state": "Failed", "requestId": long,
            "message": long, "candidates": vec!["ic-1"; 1000],
        },
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "InvalidSpec", "message": long,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }))
    .expect("a status");
    status.fit();
    let crd = serde_json::to_value(kinds::KINDS[0].crd()).expect("a CRD is JSON");
    let schema =
        &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let operation = status.operation.expect("it stays");
    let most = |schema: &Value, bound: &str| {
        usize::try_from(schema[bound].as_u64().expect("a bound")).expect("small")
    };
    let parts = &schema["operation"]["properties"];
    assert_eq!(
        operation.request_id.expect("it stays").chars().count(),
        most(&parts["requestId"], "maxLength")
    );
    assert_eq!(operation.message.expect("it stays").chars().count(), most(&parts["message"], "maxLength"));
    assert_eq!(operation.candidates.len(), most(&parts["candidates"], "maxItems"));
    assert_eq!(
        status.conditions[0].message.chars().count(),
        32_768,
        "the bound of Kubernetes' own conditions"
    );
    assert_eq!(status.image_id.as_deref(), Some("ic-1"));
}
