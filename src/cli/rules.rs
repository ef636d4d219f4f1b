//! What the API server would say of an object, without one: the CRD's schema, and its rules in CEL.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use regex::Regex;
use serde_json::{Value, json};
use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
};

/// The schema and the rules of one kind.
#[derive(Debug)]
pub struct Rules {
    schema: Value,
    /// Made when the first object is looked at: most are looked at by the API server.
    compiled: OnceCell<(CompiledSchema, Validator)>,
    patterns: Patterns,
}

/// Patterns, each compiled when it is needed first, and kept: that takes far longer than to look at a text.
#[derive(Debug, Default)]
struct Patterns(RefCell<HashMap<String, Result<Regex, regex::Error>>>);

impl Patterns {
    /// Whether a text matches; or that the pattern is none.
    fn fit(&self, pattern: &str, text: &str) -> Result<bool, regex::Error> {
        let mut kept = self.0.borrow_mut();
        if !kept.contains_key(pattern) {
            kept.insert(pattern.to_owned(), Regex::new(pattern));
        }
        kept[pattern].as_ref().map(|pattern| pattern.is_match(text)).map_err(Clone::clone)
    }
}

/// Where the rules of a text stand that are looked at without CEL: as a list of what must hold, one of its parts at least.
const MATCHES: &str = "x-matches";

/// Why an object would be refused: the field, and the sentence of the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Dotted, without a list's places.
    pub field: String,
    /// What is wrong.
    pub sentence: String,
}

impl Rules {
    /// Those of the CRD's first version.
    pub fn of(crd: &CustomResourceDefinition) -> Self {
        let version = crd.spec.versions.first();
        let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
        let mut schema = schema.and_then(|schema| serde_json::to_value(schema).ok()).unwrap_or_default();
        take_matches(&mut schema);
        escape(&mut schema);
        Self { compiled: OnceCell::new(), schema, patterns: Patterns::default() }
    }

    fn compiled(&self) -> &(CompiledSchema, Validator) {
        self.compiled.get_or_init(|| (compile_schema(&self.schema), Validator::new()))
    }

    /// The object as the API server would store it, with defaults.
    pub fn defaulted(&self, object: &Value) -> Value {
        let mut object = object.clone();
        read_as_stored(&mut object);
        kube_cel::apply_defaults(&self.schema, &object)
    }

    /// What is wrong with an object; with `old`, with changing that into it. Rules are looked at only where the schema holds, as
    /// the API server does it.
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Vec<Refusal> {
        let mut refusals = vec![];
        structure(&self.schema, &self.patterns, object, "", &mut refusals);
        if !refusals.is_empty() {
            return refusals;
        }
        matches(&self.schema, &self.patterns, object, "", &mut refusals);
        let (compiled, validator) = self.compiled();
        let Err(errors) = validator.validate_compiled(compiled, object, old) else {
            return refusals;
        };
        let refusal = |error: kube_cel::ValidationError| Refusal {
            sentence: match error.kind {
                ErrorKind::ValidationFailure => error.message,
                _ => format!("the rule cannot be evaluated here ({}): {}", error.message, error.rule),
            },
            // Those that rules give begin with a dot.
            field: error.field_path.trim_start_matches('.').to_owned(),
        };
        refusals.extend(errors.into_iter().map(refusal));
        refusals
    }
}

/// Nothing of ours is nullable, so that the API server takes null for nothing; and it takes a number without a fraction for an
/// integer, however it is written.
fn read_as_stored(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(read_as_stored);
        }
        Value::Array(items) => items.iter_mut().for_each(read_as_stored),
        Value::Number(number) if number.is_f64() => {
            let whole =
                number.as_f64().filter(|float| float.fract() == 0.0).map(|float| format!("{float:.0}"));
            if let Some(whole) = whole.and_then(|text| text.parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        _ => {}
    }
}

/// The API server knows a field whose name is a word of CEL by that name too; the library knows it escaped. The size of a text is
/// in characters there, and in bytes here: between its characters, and before and after them, it is split here.
fn escape(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|type_| type_ == "string")
                && let Some(Value::Array(rules)) = fields.get_mut("x-kubernetes-validations")
            {
                for rule in rules {
                    if let Some(Value::String(rule)) = rule.get_mut("rule") {
                        *rule = rule.replace("self.size()", "(self.split('').size() - 2)");
                    }
                }
            }
            for (key, value) in fields {
                match value {
                    Value::String(rule) if key == "rule" => {
                        *rule = with_import(rule).replace(".namespace", ".__namespace__");
                    }
                    value => escape(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(escape),
        _ => {}
    }
}

/// `import` is a word of CEL's own, and only as a whole.
fn with_import(rule: &str) -> String {
    let mut parts = rule.split("elf.import");
    let mut escaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_whole = !part.starts_with(|char: char| char.is_ascii_alphanumeric());
        escaped += if is_whole { "elf.__import__" } else { "elf.import" };
        escaped += part;
    }
    escaped
}

/// Takes the rules of texts that only match patterns out of what the library looks at: it compiles a pattern at each call, which
/// for ten thousand objects takes minutes.
fn take_matches(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        if let Value::Array(items) = schema {
            items.iter_mut().for_each(take_matches);
        }
        return;
    };
    if fields.get("type").is_some_and(|type_| type_ == "string")
        && let Some(Value::Array(rules)) = fields.get_mut("x-kubernetes-validations")
    {
        let mut taken = vec![];
        rules.retain(|rule| {
            let is_plain =
                rule.as_object().is_some_and(|rule| rule.keys().all(|key| key == "rule" || key == "message"));
            let parts = rule["rule"].as_str().filter(|_| is_plain).and_then(matching);
            let Some(parts) = parts else { return true };
            let message = rule["message"].as_str().map(str::to_owned);
            let message = message
                .unwrap_or_else(|| format!("failed rule: {}", rule["rule"].as_str().unwrap_or_default()));
            taken.push(json!({ "anyOf": parts, "message": message }));
            false
        });
        if !taken.is_empty() {
            fields.insert(MATCHES.into(), taken.into());
        }
    }
    fields.values_mut().for_each(take_matches);
}

/// The parts of `self.matches('…') || !self.matches('…')`: whether each is to match, and its pattern. `None` of any other rule.
fn matching(rule: &str) -> Option<Vec<(bool, String)>> {
    let (mut rest, mut parts) = (rule.trim(), vec![]);
    loop {
        let positive = rest.strip_prefix('!').map_or((true, rest), |rest| (false, rest));
        let mut chars = positive.1.strip_prefix("self.matches('")?.char_indices();
        let mut pattern = String::new();
        let end = loop {
            match chars.next()? {
                (at, '\'') => break at,
                // Other escapes are none of ours.
                (_, '\\') => match chars.next()? {
                    (_, char @ ('\\' | '\'' | '"')) => pattern.push(char),
                    _ => return None,
                },
                (_, char) => pattern.push(char),
            }
        };
        parts.push((positive.0, pattern));
        rest = positive.1["self.matches('".len() + end + 1..].strip_prefix(')')?.trim_start();
        if rest.is_empty() {
            return Some(parts);
        }
        rest = rest.strip_prefix("||")?.trim_start();
    }
}

/// Looks at the rules that [`take_matches`] took, as the library looks at the others.
fn matches(schema: &Value, patterns: &Patterns, value: &Value, path: &str, refusals: &mut Vec<Refusal>) {
    match value {
        Value::String(text) => {
            for rule in schema[MATCHES].as_array().into_iter().flatten() {
                let mut parts = rule["anyOf"].as_array().into_iter().flatten();
                let fits = |part: &Value| {
                    let pattern = part[1].as_str().unwrap_or_default();
                    patterns.fit(pattern, text).map(|fits| fits == (part[0] == true))
                };
                let sentence = match parts.try_fold(false, |any, part| Ok(any || fits(part)?)) {
                    Ok(true) => continue,
                    Ok(false) => rule["message"].as_str().unwrap_or_default().to_owned(),
                    Err::<_, regex::Error>(error) => format!("the rule cannot be evaluated here: {error}"),
                };
                refusals.push(Refusal { field: path.to_owned(), sentence });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                matches(&schema["items"], patterns, item, &format!("{path}[{index}]"), refusals);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(schema) = schema["properties"].get(name) {
                    let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    matches(schema, patterns, value, &below, refusals);
                }
            }
        }
        _ => {}
    }
}

/// The part of OpenAPI that CRDs of this project use.
fn structure(schema: &Value, patterns: &Patterns, value: &Value, path: &str, refusals: &mut Vec<Refusal>) {
    let mut refuse = |sentence: String| refusals.push(Refusal { field: path.to_owned(), sentence });
    let number = |key: &str| schema[key].as_f64();
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    };
    if !fits {
        return refuse(format!("must be of type {}", schema["type"].as_str().unwrap_or_default()));
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
        refuse(format!("unsupported value {value}: supported values are {}", allowed.join(", ")));
    }
    #[expect(clippy::cast_precision_loss, reason = "no text or list is so long")]
    let length = match value {
        Value::String(text) => Some((text.chars().count() as f64, "minLength", "maxLength", "characters")),
        Value::Array(items) => Some((items.len() as f64, "minItems", "maxItems", "items")),
        _ => None,
    };
    if let Some((length, least, most, what)) = length {
        if let Some(least) = number(least).filter(|least| length < *least) {
            refuse(format!("must have at least {least} {what}"));
        }
        if let Some(most) = number(most).filter(|most| length > *most) {
            refuse(format!("must have at most {most} {what}"));
        }
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str())
        && patterns.fit(pattern, text).is_ok_and(|fits| !fits)
    {
        refuse(format!("must match {pattern}"));
    }
    if let Some(is) = value.as_f64() {
        if let Some(least) = number("minimum").filter(|least| is < *least) {
            refuse(format!("must be at least {least}"));
        }
        if let Some(most) = number("maximum").filter(|most| is > *most) {
            refuse(format!("must be at most {most}"));
        }
    }
    if let Value::Array(items) = value {
        for (index, item) in items.iter().enumerate() {
            structure(&schema["items"], patterns, item, &format!("{path}[{index}]"), refusals);
        }
        let keys = schema["x-kubernetes-list-map-keys"].as_array();
        let key = |item: &Value| match keys {
            Some(keys) => keys.iter().filter_map(Value::as_str).map(|key| item[key].clone()).collect(),
            None => vec![item.clone()],
        };
        let unique = matches!(schema["x-kubernetes-list-type"].as_str(), Some("set" | "map"));
        let twice =
            |(index, item): (usize, &Value)| items[..index].iter().any(|before| key(before) == key(item));
        if unique && items.iter().enumerate().any(twice) {
            refusals.push(Refusal { field: path.to_owned(), sentence: "has an entry twice".into() });
        }
    }
    let Value::Object(fields) = value else { return };
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            refusals.push(Refusal { field: below(name), sentence: "is required".into() });
        }
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match properties.get(name) {
            Some(schema) => structure(schema, patterns, value, &below(name), refusals),
            // The API server knows these without a schema.
            None if path.is_empty() => {}
            None if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            None => {
                refusals.push(Refusal { field: below(name), sentence: "is no field that is known".into() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;
    use serde_json::json;

    #[test]
    fn every_rule_of_every_kind_can_be_evaluated_here() {
        fn broken(schema: &CompiledSchema) -> Vec<String> {
            let own = schema.compilation_errors().into_iter().map(|error| format!("{error:?}"));
            let below = schema.properties.values().chain(schema.items.as_deref());
            own.chain(below.flat_map(broken)).collect()
        }
        for crd in crate::kinds::crds(KINDS) {
            let rules = Rules::of(&crd);
            assert_eq!(broken(&rules.compiled().0), Vec::<String>::new(), "{}", crd.spec.names.kind);
        }
    }

    /// How the library looks at them is what counts.
    #[test]
    fn patterns_mean_here_what_they_mean_in_cel() {
        fn each(schema: &Value, seen: &mut dyn FnMut(&Value, &Value)) {
            if schema["type"] == "string" {
                for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                    seen(schema, rule);
                }
            }
            match schema {
                Value::Object(fields) => fields.values().for_each(|below| each(below, seen)),
                Value::Array(items) => items.iter().for_each(|below| each(below, seen)),
                _ => {}
            }
        }
        let texts = [
            "",
            " ",
            "a",
            "A",
            "9",
            "镜像",
            "a-b.c",
            "-a",
            "1.0.0",
            "http://x",
            "https://a.volces.com/b?c=d e",
            "RUN true",
            "RUN",
            "FROM x",
            "RUN a \\\n  FROM x",
            "Tasks:\n  FROM x",
            "RESTART now",
            "{ FROM x",
            "'",
            "\"",
            "\\",
            "0123456789abcdef0123456789abcdef",
            "0123456789ab4def8123456789abcdef",
        ];
        let (mut taken, validator) = (0, Validator::new());
        for crd in crate::kinds::crds(KINDS) {
            let schema =
                serde_json::to_value(&crd.spec.versions[0].schema).unwrap()["openAPIV3Schema"].clone();
            each(&schema, &mut |_, rule| {
                let alone = json!({ "type": "string", "x-kubernetes-validations": [rule] });
                let mut here = alone.clone();
                take_matches(&mut here);
                if here.get(MATCHES).is_none() {
                    return;
                }
                assert_eq!(here["x-kubernetes-validations"], json!([]), "it is looked at once");
                taken += 1;
                let patterns = Patterns::default();
                for text in texts {
                    let mut refusals = vec![];
                    matches(&here, &patterns, &text.into(), "f", &mut refusals);
                    let refused = validator.validate(&alone, &text.into(), None);
                    let refused = refused.err().into_iter().flatten().map(|error| error.message);
                    let here: Vec<_> = refusals.into_iter().map(|refusal| refusal.sentence).collect();
                    assert_eq!(here, refused.collect::<Vec<_>>(), "{text:?} {rule}");
                }
            });
        }
        assert!(taken > 20, "{taken}");
        for other in [
            "self.matches('a') && self.matches('b')",
            "self.matches(r'a')",
            "self.matches('\\n')",
            "self.matches('a') || self == ''",
            "self.matches('a'",
        ] {
            assert_eq!(matching(other), None, "{other}");
        }
    }

    /// To compile a pattern takes longer than all else together.
    #[test]
    fn no_pattern_is_compiled_at_each_look() {
        fn in_cel(schema: &CompiledSchema) -> usize {
            let own =
                schema.validations.iter().flatten().filter(|it| it.rule.rule.contains("matches(")).count();
            own + schema.properties.values().chain(schema.items.as_deref()).map(in_cel).sum::<usize>()
        }
        for kind in KINDS {
            let crd = kind.crd();
            let rules = Rules::of(&crd);
            // Of a list, and of a field that another one decides about; of steps, what they run and what their parameters are called
            // and are, for build and test.
            let most = if crd.spec.names.kind == "ImagePipeline" { 6 } else { 2 };
            assert!(in_cel(&rules.compiled().0) <= most, "{}", crd.spec.names.kind);
            let object =
                json!({ "spec": { "forProvider": { "name": "n", "content": "RUN true" }, "timeout": "1h" } });
            rules.check(&object, None);
            let compiled = rules.patterns.0.borrow().len();
            rules.check(&object, None);
            assert_eq!(rules.patterns.0.borrow().len(), compiled, "{}", crd.spec.names.kind);
        }
    }

    #[test]
    fn the_schema_is_looked_at_before_the_rules() {
        let crd = KINDS.iter().map(|kind| kind.crd()).find(|crd| crd.spec.names.kind == "ImageComponent");
        let rules = Rules::of(&crd.unwrap());
        let check = |parameters: Value| {
            let spec = json!({ "forProvider": parameters });
            let object = json!({ "apiVersion": "v", "kind": "k", "metadata": { "name": "n" }, "spec": spec });
            let refusals = rules.check(&rules.defaulted(&object), None);
            refusals.into_iter().map(|it| format!("{}: {}", it.field, it.sentence)).collect::<Vec<_>>()
        };
        assert_eq!(check(json!({ "content": "RUN true", "tag": [{ "key": "a" }] })), [""; 0]);
        for (parameters, refusal) in [
            (json!({ "content": 7 }), "spec.forProvider.content: must be of type string"),
            (
                json!({ "content": "RUN true", "colour": "red" }),
                "spec.forProvider.colour: is no field that is known",
            ),
            (json!({ "content": "RUN true", "tag": [{}] }), "spec.forProvider.tag[0].key: is required"),
            (
                json!({ "content": "RUN true", "tag": [{ "key": "a" }, { "key": "a" }] }),
                "spec.forProvider.tag: has an entry twice",
            ),
            (
                json!({ "content": "FROM x" }),
                "spec.forProvider.content: content must not contain the command FROM: a component has no base image",
            ),
            (
                json!({}),
                "spec: forProvider.content is required: what the component runs (or name an existing component in import)",
            ),
        ] {
            assert_eq!(check(parameters.clone()), [refusal], "{parameters}");
        }
        assert_eq!(check(json!({ "content": "RUN true", "name": "镜".repeat(128), "tag": null })), [""; 0]);
        assert_eq!(rules.defaulted(&json!({ "a": [1.0, 1.5, 1e300] }))["a"], json!([1, 1.5, 1e300]));
        let long = "spec.forProvider.name: name must be 2 to 128 characters long";
        assert_eq!(check(json!({ "content": "RUN true", "name": "镜".repeat(129) })), [long]);
        let import = json!({ "import": { "id": "ic-1" }, "managementPolicy": "Observe", "forProvider": {} });
        let object = json!({ "apiVersion": "v", "kind": "k", "metadata": { "name": "n" }, "spec": import });
        assert_eq!(rules.check(&rules.defaulted(&object), None), [], "what is imported needs no content");
    }
}
