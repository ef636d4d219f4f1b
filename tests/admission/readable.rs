//! What the API server accepts, the operator reads: generated from every field of every CRD, with values at and around every
//! bound, pattern and format.

use super::ask::{create, patch_status};
use crate::harness::World;
use cloud_image_operator::{
    account::{CloudAccount, ClusterCloudAccount},
    kinds::{self, KINDS},
};
use futures::{StreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// How many texts of each pattern are tried.
const TEXTS: usize = 20;
/// How many requests are under way at once.
const AT_ONCE: usize = 16;
/// What the ends of their ranges and several formats have in common: many readers go wrong there.
const DURATIONS: &[&str] = &[
    "1m1h",
    "1.5h30m",
    "30s30s",
    "60s",
    "1h",
    "61m1s",
    "3600000ms",
    "0.5m",
    "0001h",
    "1.000000000000000000000001h",
    "59999ms1ms",
    "1ms999s",
    "99999999999999999999999h",
];
const TIMES: &[&str] = &[
    "2026-01-01T00:00:00Z",
    "2026-01-01t00:00:00z",
    "2026-01-01T00:00:00.123456789Z",
    "2026-01-01T00:00:00+23:59",
    "2026-01-01 00:00:00Z",
    "2026-12-31T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-01-01T00:00:00.1234567890123Z",
    "2026-01-01T24:00:00Z",
    "2026-02-30T00:00:00Z",
    "1-01-01T00:00:00Z",
    "",
];

fn read(kind: &str, object: &Value) -> Result<(), serde_json::Error> {
    match kind {
        "CloudAccount" => CloudAccount::deserialize(object).map(drop),
        "ClusterCloudAccount" => ClusterCloudAccount::deserialize(object).map(drop),
        _ => KINDS.iter().find(|of| of.crd().spec.names.kind == kind).expect("a kind").read(object),
    }
}

/// Texts that rules ask for where the schema alone takes any.
const RULED: &[&str] = &["fadea0efc22e4e6fa43f537f1af6ee6b", "https://b.tos-cn-beijing.volces.com/a", "abc"];

/// Fields that are accepted only with others beside them, which have tests of their own, or are kept for later.
const NEED_OTHERS: &[&str] = &[
    "spec.forProvider.imageUrlInfo",
    "spec.forProvider.imageRef",
    "spec.forProvider.ecsImageRef",
    "spec.import.match",
];

/// Objects that are accepted, with as many fields as go together.
fn bases(crd: &CustomResourceDefinition) -> Vec<Value> {
    let kind = &crd.spec.names.kind;
    let secret = match kind.as_str() {
        "CloudAccount" => json!({ "name": "s" }),
        "ClusterCloudAccount" => json!({ "name": "s", "namespace": "n" }),
        _ => {
            let path =
                format!("{0}/deploy/samples/{1}/{1}.yaml", env!("CARGO_MANIFEST_DIR"), crd.spec.names.plural);
            let text = fs::read_to_string(Path::new(&path)).expect("a sample");
            let sample = text.split("\n---\n").last().expect("a document");
            let mut sample: Value = serde_saphyr::from_str(sample).expect("YAML");
            sample["metadata"]["namespace"] = Value::Null;
            return vec![sample];
        }
    };
    [
        json!({ "volcengine": { "region": "r", "credentialsSecretRef": secret } }),
        json!({ "aliyun": { "regionId": "r", "credentialsSecretRef": secret } }),
        json!({ "zstack": { "endpoint": "http://a", "credentialsSecretRef": secret } }),
    ]
    .map(|spec| json!({ "apiVersion": "cloudimages.dev/v1alpha1", "kind": kind, "metadata": { "name": "a" }, "spec": spec }))
    .into()
}

/// Each field below `path` with values for it.
fn fields(path: &str, schema: &Value, random: &mut StdRng, found: &mut Vec<(String, Vec<Value>)>) {
    found.push((path.to_owned(), values(schema, random)));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        // In a map of Kubernetes' own, such as a label selector's, names may have dots.
        fields(&format!("{path}.{name}"), property, random, found);
    }
    if schema["items"].is_object() {
        fields(&format!("{path}.0"), &schema["items"], random, found);
    }
}

fn values(schema: &Value, random: &mut StdRng) -> Vec<Value> {
    let bound = |name: &str| schema[name].as_i64();
    let mut values = vec![Value::Null, json!("x"), json!(1), json!(true), json!([]), json!({})];
    values.extend(schema["enum"].as_array().into_iter().flatten().cloned());
    values.extend(Some(schema["default"].clone()));
    match schema["type"].as_str() {
        Some("string") => {
            let lengths = [bound("minLength"), bound("maxLength")].into_iter().flatten();
            let lengths = lengths.flat_map(|length| [length - 1, length, length + 1]);
            let lengths: Vec<_> = lengths.filter_map(|length| usize::try_from(length).ok()).collect();
            values.extend(
                lengths.iter().filter(|length| **length < 100_000).map(|length| json!("a".repeat(*length))),
            );
            values.extend(
                ["", " ", "a b", "长", "\u{feff}", "1", "1.0", "-", "http://a.example/b"].map(Value::from),
            );
            if schema["format"] == "date-time" {
                values.extend(TIMES.iter().map(|text| json!(text)));
            }
            if let Some(pattern) = schema["pattern"].as_str() {
                if pattern.contains("ms") {
                    values.extend(DURATIONS.iter().map(|text| json!(text)));
                }
                // Where a pattern ends is a matter of course for what makes texts from it.
                let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
                let texts = rand_regex::Regex::compile(pattern, 4)
                    .unwrap_or_else(|error| panic!("texts of {pattern:?} cannot be made: {error}"));
                values.extend(random.sample_iter::<String, _>(&texts).take(TEXTS).map(Value::from));
            }
        }
        Some("integer" | "number") => {
            let bounds = [bound("minimum"), bound("maximum")].into_iter().flatten();
            let ends = [0, i64::from(i32::MIN), i64::from(i32::MAX), i64::from(u32::MAX), i64::MIN, i64::MAX];
            let around = bounds.chain(ends);
            values.extend(
                around.flat_map(|end| [end.saturating_sub(1), end, end.saturating_add(1)].map(Value::from)),
            );
            values.extend([json!(1.0), json!(1.5), json!(1e3), json!(-0.0), json!(1e18), json!(u64::MAX)]);
        }
        Some("array") => {
            let item = minimal(&schema["items"]);
            let most = schema["maxItems"].as_u64().unwrap_or(1).min(300);
            for count in [1, most, most + 1] {
                // Lists with keys want each of them once.
                values.push((0..count).map(|number| numbered(&item, number)).collect());
            }
        }
        Some("object") => {
            values.push(minimal(schema));
            if schema["additionalProperties"].is_object() {
                values.push(json!({ "a": minimal(&schema["additionalProperties"]), "b.c/d": "" }));
            }
            if schema["x-kubernetes-preserve-unknown-fields"] == true {
                values.push(json!({ "a": [1, { "b": null }, 1.5, "x"] }));
            }
        }
        _ => {}
    }
    values
}

/// The least that the schema itself asks for.
fn minimal(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if !schema["default"].is_null() {
        return schema["default"].clone();
    }
    match schema["type"].as_str() {
        Some("string") if schema["format"] == "date-time" => json!("2026-01-01T00:00:00Z"),
        Some("string") if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms")) => {
            json!("60s")
        }
        Some("string") if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("https")) => {
            json!("http://a")
        }
        Some("string") => {
            json!("a".repeat(usize::try_from(schema["minLength"].as_u64().unwrap_or(1).max(1)).unwrap_or(1)))
        }
        Some("integer" | "number") => schema["minimum"].as_i64().unwrap_or(1).into(),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required
                .map(|name| (name.to_owned(), minimal(&schema["properties"][name])))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
    }
}

/// The same as the others of its list, but for the number in one of its texts.
fn numbered(item: &Value, number: u64) -> Value {
    match item {
        Value::String(text) => format!("{text}{number}").into(),
        Value::Object(map) => {
            let mut map = map.clone();
            if let Some(text) = map.values_mut().find(|value| value.is_string()) {
                *text = numbered(text, number);
            }
            map.into()
        }
        other => other.clone(),
    }
}

/// `object` with `value` at `path`, whose parents are made as the schema asks where they are missing.
fn placed(object: &Value, schema: &Value, path: &str, value: &Value) -> Value {
    let mut object = object.clone();
    let (mut place, mut schema) = (&mut object, schema);
    for step in path.split('.') {
        if let Ok(number) = step.parse::<usize>() {
            schema = &schema["items"];
            if !place.is_array() {
                *place = json!([]);
            }
            let items = place.as_array_mut().expect("a list");
            while items.len() <= number {
                items.push(minimal(schema));
            }
            place = &mut items[number];
        } else {
            if !place.is_object() {
                *place = minimal(schema);
            }
            schema = &schema["properties"][step];
            place = &mut place[step];
        }
    }
    *place = value.clone();
    object
}

#[tokio::test]
async fn what_the_api_server_accepts_can_be_read() {
    let world = World::empty("readable").await;
    let mut random = StdRng::seed_from_u64(7);
    let (mut unread, mut never, mut count) = (vec![], vec![], 0);
    for crd in kinds::crds(KINDS) {
        let kind = crd.spec.names.kind.clone();
        let json = serde_json::to_value(&crd).expect("a CRD is JSON");
        let schema = &json["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let bases = bases(&crd);
        let stored = world.create(bases[0].clone()).await;
        for part in ["spec", "status"] {
            let mut found = vec![];
            fields(part, &schema["properties"][part], &mut random, &mut found);
            let base = |path: &str| {
                // An account of the vendor that the field is about.
                let about =
                    |base: &&Value| path.split('.').nth(1).is_some_and(|name| !base["spec"][name].is_null());
                let base =
                    if part == "spec" { bases.iter().find(about).unwrap_or(&bases[0]) } else { &stored };
                let mut base = base.clone();
                if part == "spec" {
                    // The name of the one that is stored is taken.
                    base["metadata"]["name"] = json!("another");
                }
                base
            };
            for (path, values) in &mut found {
                // What the sample has there, and what rules ask for that no schema tells.
                let theirs = path
                    .split('.')
                    .try_fold(&base(path), |place, step| {
                        step.parse().map_or_else(|_| place.get(step), |at: usize| place.get(at)).ok_or(())
                    })
                    .ok()
                    .cloned();
                values.extend(theirs);
                values.extend(RULED.iter().map(|text| json!(text)));
            }
            let tries = found.iter().flat_map(|(path, values)| {
                let base = base(path);
                values.iter().map(move |value| (path.clone(), placed(&base, schema, path, value)))
            });
            let answers = stream::iter(tries).map(|(path, object)| {
                let world = &world;
                async move {
                    let answer = if part == "spec" {
                        create(world, &object).await
                    } else {
                        patch_status(world, &object).await
                    };
                    (path, object, answer)
                }
            });
            let mut accepted: BTreeMap<_, _> = found.iter().map(|(path, _)| (path.clone(), 0)).collect();
            for (path, object, answer) in answers.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
                let Ok(stored) = answer else { continue };
                count += 1;
                *accepted.entry(path.clone()).or_default() += 1;
                if let Err(error) = read(&kind, &stored) {
                    unread.push(format!("{kind} {path}: {error}: {}", object[part]));
                }
            }
            never.extend(
                accepted
                    .into_iter()
                    .filter(|(path, count)| {
                        *count == 0 && !NEED_OTHERS.iter().any(|start| path.starts_with(start))
                    })
                    .map(|(path, _)| format!("{kind} {path}")),
            );
        }
        world.delete(&kind, stored["metadata"]["name"].as_str().expect("a name")).await;
    }
    assert!(unread.is_empty(), "accepted and cannot be read:\n{}", unread.join("\n"));
    assert!(
        never.is_empty(),
        "no value was accepted, so that nothing was tested, for:\n{}",
        never.join("\n")
    );
    assert!(count > 2000, "{count} accepted");
}
