//! Specs and how they are changed, made from nothing but a kind's schema and what its file in `tests/data/states` says the
//! schema cannot tell.

use super::life::DISTRIBUTION;
use crate::schema::{example, minimal, placed, values};
use cloud_image_operator::{distribution::ImageDistribution, kinds::KINDS};
use kube::CustomResourceExt;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};
use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

/// Of one field: another value, or none.
#[derive(Clone, Debug)]
pub struct Edit {
    path: String,
    value: Option<Value>,
}

impl Edit {
    /// Gives a field a value.
    pub fn set(path: &str, value: Value) -> Self {
        Self { path: path.into(), value: Some(value) }
    }
}

/// What is applied at once.
#[derive(Clone, Debug)]
pub struct Step {
    /// What differs from the spec before.
    pub edits: Vec<Edit>,
    /// Only when what was applied before has come to an end.
    pub waits: bool,
}

/// A sequence.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the first spec differs from the sample, unless that is refused.
    pub first: Vec<Edit>,
    /// What is applied after it.
    pub steps: Vec<Step>,
    /// What the values are from.
    pub values: Values,
}

/// What there is to choose from.
#[derive(Clone, Debug)]
pub struct Values {
    schema: Value,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    path: String,
    /// Such as a user would write.
    likely: Vec<Value>,
    /// At the bounds and beyond.
    odd: Vec<Value>,
}

impl Values {
    /// Of a kind of the registry, or of what owns objects of one.
    pub fn of(kind: &str) -> Self {
        let mut crds = KINDS.iter().map(|kind| kind.crd()).chain([ImageDistribution::crd()]);
        let crd = crds.find(|crd| crd.spec.names.kind == kind).expect("a kind");
        let file = format!("{}/tests/data/states/{}.yaml", env!("CARGO_MANIFEST_DIR"), crd.spec.names.plural);
        let hints = fs::read_to_string(Path::new(&file)).unwrap_or_else(|_| "{}".into());
        let hints: Map<String, Value> = serde_saphyr::from_str(&hints).expect("paths with lists of values");
        let crd = serde_json::to_value(crd).expect("JSON");
        let schema =
            crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").expect("a schema");
        let mut values = Self { schema: schema.clone(), fields: vec![] };
        let mut random = StdRng::seed_from_u64(0);
        values.add("", schema, &hints, &mut random);
        if kind == DISTRIBUTION {
            // What stays of a region that is taken out is in the way of its next copy, which a fresh one does not meet.
            values.fields.retain(|field| field.path != "deletionPolicy");
        }
        for path in hints.keys() {
            assert!(values.fields.iter().any(|field| field.path == *path), "{file}: no field {path}");
        }
        values
    }

    fn add(&mut self, path: &str, schema: &Value, hints: &Map<String, Value>, random: &mut StdRng) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let likely = match hints.get(&path) {
                Some(hints) => hints.as_array().cloned().unwrap_or_default(),
                None => likely(property),
            };
            let fits =
                |value: &Value| !value.is_null() && value.as_str().is_none_or(|text| text.len() <= 2_100);
            let odd = values(property, random).into_iter().filter(fits).collect();
            self.fields.push(Field { path: path.clone(), likely, odd });
            self.add(&path, property, hints, random);
        }
    }
}

fn likely(schema: &Value) -> Vec<Value> {
    let mut likely: Vec<Value> = schema["enum"].as_array().cloned().unwrap_or_default();
    likely.extend(Some(schema["default"].clone()).filter(|default| !default.is_null()));
    let example = example(schema);
    match (schema["type"].as_str(), &example) {
        (Some("boolean"), _) => likely.extend([json!(true), json!(false)]),
        (Some("string"), Some(Value::String(text))) => {
            likely.push(json!(text));
            // Another one like it: the last letter or digit becomes another one that most alphabets have.
            if let Some((place, last)) =
                text.char_indices().rev().find(|(_, char)| char.is_ascii_alphanumeric())
            {
                let other = if last == '3' { '4' } else { '3' };
                likely.push(json!(format!("{}{other}{}", &text[..place], &text[place + 1..])));
            }
        }
        (Some("array"), _) => {
            likely.push(json!([]));
            likely.push(json!([minimal(&schema["items"])]));
            likely.extend(example);
        }
        (Some("object"), _) => likely.push(minimal(schema)),
        (_, Some(example)) => likely.push(example.clone()),
        _ => {}
    }
    likely
}

impl Plan {
    /// Number `number` of a seed: the same each time.
    pub fn new(seed: u64, number: usize, values: &Values) -> Self {
        let mut hasher = DefaultHasher::new();
        (seed, number, values.fields.len()).hash(&mut hasher);
        let mut random = StdRng::seed_from_u64(hasher.finish());
        let count = random.random_range(2..=5);
        let steps = (0..count).map(|_| Step {
            edits: (0..random.random_range(1..=2)).map(|_| values.edit(&mut random)).collect(),
            waits: random.random_bool(0.7),
        });
        let mut steps: Vec<_> = steps.collect();
        // Most of what can go wrong goes wrong before anything is there.
        let first = if number.is_multiple_of(2) { steps.remove(0).edits } else { vec![] };
        Self { first, steps, values: values.clone() }
    }

    /// The same with a little less: without a step, without an edit, or with a wait where there was none.
    pub fn smaller(&self) -> Vec<Self> {
        let mut all = vec![];
        if !self.first.is_empty() {
            all.push(Self { first: vec![], ..self.clone() });
        }
        for at in 0..self.steps.len() {
            let mut less = self.clone();
            less.steps.remove(at);
            all.push(less);
        }
        for at in 0..self.steps.len() {
            for edit in 0..self.steps[at].edits.len() {
                if self.steps[at].edits.len() > 1 {
                    let mut less = self.clone();
                    less.steps[at].edits.remove(edit);
                    all.push(less);
                }
            }
            if !self.steps[at].waits {
                let mut less = self.clone();
                less.steps[at].waits = true;
                all.push(less);
            }
        }
        all
    }
}

impl Values {
    fn edit(&self, random: &mut StdRng) -> Edit {
        // What the vendor gets is what most faults are about.
        let own = |field: &&Field| field.path.starts_with("forProvider.");
        let fields: Vec<_> = if random.random_bool(0.7) {
            self.fields.iter().filter(own).collect()
        } else {
            self.fields.iter().filter(|field| field.path != "forProvider").collect()
        };
        let field = fields.choose(random).expect("fields");
        let of = |values: &[Value], random: &mut StdRng| values.choose(random).cloned();
        let value = match random.random_range(0..20) {
            0..=11 => of(&field.likely, random).or_else(|| of(&field.odd, random)),
            12..=15 => None,
            _ => of(&field.odd, random),
        };
        Edit { path: field.path.clone(), value }
    }
}

/// A spec with edits.
pub fn applied(spec: &Value, edits: &[Edit], values: &Values) -> Value {
    let mut spec = spec.clone();
    for edit in edits {
        if let Some(value) = &edit.value {
            spec = placed(&spec, &values.schema, &edit.path, value);
            continue;
        }
        let (parent, name) = edit.path.rsplit_once('.').unwrap_or(("", &edit.path));
        let pointer =
            if parent.is_empty() { String::new() } else { format!("/{}", parent.replace('.', "/")) };
        if let Some(Value::Object(parent)) = spec.pointer_mut(&pointer) {
            parent.remove(name);
        }
    }
    spec
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Some(("the sample, but:", &self.first)).filter(|(_, edits)| !edits.is_empty());
        let then = self
            .steps
            .iter()
            .map(|step| (if step.waits { "when it is settled:" } else { "at once:" }, &step.edits));
        for (when, edits) in first.into_iter().chain(then) {
            write!(out, "\n  {when}")?;
            for Edit { path, value } in edits {
                match value {
                    Some(value) => {
                        let value: String = value.to_string().chars().take(100).collect();
                        write!(out, " {path} = {value};")?;
                    }
                    None => write!(out, " {path} is left out;")?,
                }
            }
        }
        Ok(())
    }
}
