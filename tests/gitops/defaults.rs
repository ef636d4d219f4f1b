//! Argo CD and kubectl compare lists as a whole: what the API server filled in below one would look like somebody's change.

use cloud_image_operator::kinds;
use serde_json::{Value, json};

#[test]
fn nothing_is_filled_in_below_a_list() {
    let mut found = vec![];
    for crd in kinds::crds(kinds::KINDS) {
        let crd = serde_json::to_value(crd).expect("a CRD is JSON");
        for version in crd["spec"]["versions"].as_array().expect("versions") {
            let kind = crd["spec"]["names"]["kind"].as_str().expect("a kind");
            walk(&version["schema"]["openAPIV3Schema"], kind, false, &mut found);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_walk_finds_what_it_looks_for() {
    let deep = json!({ "properties": { "a": { "default": [], "items": { "properties": {
        "default": {},
        "b": { "additionalProperties": { "properties": { "c": { "default": "" } } } },
    } } } } });
    let mut found = vec![];
    walk(&deep, "Kind", false, &mut found);
    assert_eq!(found, ["Kind.a[].b{}.c"]);
}

/// Collects the paths of defaults below lists.
fn walk(schema: &Value, path: &str, below_list: bool, found: &mut Vec<String>) {
    if below_list && schema.get("default").is_some() {
        found.push(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), below_list, found);
    }
    walk_into(&schema["items"], &format!("{path}[]"), true, found);
    walk_into(&schema["additionalProperties"], &format!("{path}{{}}"), below_list, found);
}

fn walk_into(schema: &Value, path: &str, below_list: bool, found: &mut Vec<String>) {
    if schema.is_object() {
        walk(schema, path, below_list, found);
    }
}
