//! Values for the fields of a CRD, made from nothing but its schema: the bounds, patterns and formats, and the examples that
//! its descriptions give. A new field or kind needs nothing here.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use rand::{RngExt, rngs::StdRng};
use serde_json::{Value, json};

/// How many texts of each pattern are tried.
const TEXTS: usize = 20;
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

/// Each field below `path` with values for it.
pub fn fields(path: &str, schema: &Value, random: &mut StdRng, found: &mut Vec<(String, Vec<Value>)>) {
    found.push((path.to_owned(), values(schema, random)));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        // In a map of Kubernetes' own, such as a label selector's, names may have dots.
        fields(&format!("{path}.{name}"), property, random, found);
    }
    if schema["items"].is_object() {
        fields(&format!("{path}.0"), &schema["items"], random, found);
    }
}

/// Values at and around every bound of a field's schema, most of which it takes.
pub fn values(schema: &Value, random: &mut StdRng) -> Vec<Value> {
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

/// The example that a field's description gives, as every description does where there is one to give.
pub fn example(schema: &Value) -> Option<Value> {
    let description = schema["description"].as_str()?.replace('\n', " ");
    let (_, after) = description.rsplit_once("Example: `")?;
    let (example, _) = after.split_once('`')?;
    match schema["type"].as_str() {
        Some("string") => Some(example.into()),
        _ => serde_saphyr::from_str(example).ok(),
    }
}

/// The least that the schema itself asks for, by the examples of its descriptions.
pub fn minimal(schema: &Value) -> Value {
    if let Some(example) = example(schema) {
        return example;
    }
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
pub fn placed(object: &Value, schema: &Value, path: &str, value: &Value) -> Value {
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
