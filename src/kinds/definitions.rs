//! The CRDs as the program holds them. They are made from the code when files are generated (`cargo xtask generate`), and not in a
//! release: with each kind, what makes them and the texts in there would take three times the room.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Resource;
use serde_json::Value;

/// `definitions.json`, one CRD a line, as the build compressed it.
static DEFINITIONS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/definitions"));

fn lines() -> String {
    let lines = lz4_flex::block::decompress_size_prepended(DEFINITIONS).unwrap_or_default();
    String::from_utf8(lines).unwrap_or_default()
}

/// The definition of a kind, of images or accounts.
pub fn of<K: Resource<DynamicType = ()>>() -> CustomResourceDefinition {
    held::<K>().unwrap_or_default()
}

/// The same; `None`: the program has none, as of a kind of a test's own, or a new one until files are generated.
pub fn held<K: Resource<DynamicType = ()>>() -> Option<CustomResourceDefinition> {
    let name = format!("{}.{}", K::plural(&()), K::group(&()));
    // Keys are in order, so that a line has the name where its metadata begin.
    let name = format!(r#""metadata":{{"name":"{name}"}}"#);
    let lines = lines();
    let line = lines.lines().find(|line| line.contains(&name))?;
    serde_json::from_str(line).ok()
}

/// All, as they are to be installed.
pub fn all() -> Vec<Value> {
    lines().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_holds_what_the_code_says() {
        let held = crate::kinds::crds(crate::kinds::KINDS);
        for (held, defined) in held.iter().zip(crate::kinds::defined::all()) {
            let kind = &defined.spec.names.kind;
            assert!(*held == defined, "{kind} is not what its code says; run `cargo xtask generate`");
        }
        let all: Vec<_> = held.iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
        assert_eq!(super::all(), all);
    }
}
