//! Every reason in the code is declared in `src/docs/reasons.rs`, and so explained.

use super::page::root;
use cloud_image_operator::docs::reasons::REASONS;
use regex::Regex;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// CamelCase words in the engine's code that are no reasons.
const OTHERS: &[&str] = &[
    "SharedLocks",
    // What the API server calls a write of an old version, and one without the right to it
    "Conflict",
    "Forbidden",
    // Kinds and types of conditions and their values
    "CloudAccount",
    "ClusterCloudAccount",
    "Ready",
    "Reconciling",
    "Stalled",
    "True",
    "False",
    // States and actions in logs, metrics and Events
    "New",
    "Unclear",
    "Import",
    "Release",
    "Delete",
    "Observe",
    "Unreadable",
    "Update",
    "Write",
    "Call",
    "CredentialsAccepted",
    "Normal",
    "Warning",
    // Types
    "Telemetry",
    "Connection",
    "Health",
    "Metrics",
];

#[test]
fn every_reason_in_the_code_is_explained() {
    let anything = Regex::new(r#""([A-Z][a-z]+(?:[A-Z][a-z0-9]*)*)""#).unwrap();
    let reasons =
        Regex::new(r#"(?:Unusable::new\(|(?:Notice|Detail)::\w+\(|\breason: (?:Some\()?)\s*"([A-Z]\w+)""#)
            .unwrap();
    let arms = Regex::new(r#"=> "([A-Z]\w+)""#).unwrap();
    let mut said: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (file, code) in sources() {
        let found = if file.starts_with("src/engine") {
            &anything
        } else if file.ends_with("wire/outcome.rs") {
            &arms
        } else {
            &reasons
        };
        for captures in found.captures_iter(&code) {
            said.entry(captures[1].to_owned()).or_insert_with(|| file.clone());
        }
    }
    let declared = |name: &str| REASONS.iter().any(|reason| reason.name == name);
    for (name, file) in &said {
        assert!(
            declared(name) || OTHERS.contains(&name.as_str()),
            "{}: the reason {name} is not declared in src/docs/reasons.rs (if it is no reason, name it in OTHERS here)",
            file.display()
        );
    }
}

#[test]
fn a_new_reason_would_be_found() {
    let sources = sources();
    assert!(sources.iter().any(|(file, _)| file.ends_with("progress.rs")), "the engine is read");
    assert!(sources.iter().any(|(file, _)| file.starts_with("src/vendors")), "the vendors are read");
}

/// The code of the operator without comments and unit tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root()).expect("within the root").to_owned();
            if name.starts_with("src/docs") || name.ends_with("errors.rs") {
                continue;
            }
            found.push((name, code(&path)));
        }
    }
    found
}

fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a text");
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}
