//! Alert rules and dashboard: Prometheus can read them, and every metric that they name is there.

use cloud_image_operator::engine::metrics::Metrics;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/cloud-image-operator/files");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(FILES).join(name)).expect("a file of the chart")
}

/// The series that a query can name.
fn series() -> BTreeSet<String> {
    let metrics = Metrics::default();
    let mut names = BTreeSet::new();
    for family in metrics.described() {
        match family.type_ {
            "histogram" => {
                names.extend(["_bucket", "_sum", "_count"].map(|suffix| family.name.clone() + suffix));
            }
            _ => drop(names.insert(family.name.clone())),
        }
    }
    names
}

fn named(text: &str) -> BTreeSet<String> {
    let names = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    names.filter(|name| name.starts_with("cloud_image_operator_")).map(str::to_owned).collect()
}

#[test]
fn prometheus_reads_the_alert_rules_and_each_says_what_to_do() {
    let path = Path::new(FILES).join("alerts.yaml");
    let checks = xtask::tools::checks().expect("the checks can be built");
    let read_by_prometheus = Command::new(checks).arg("rules").arg(&path).output().expect("the checks run");
    assert!(read_by_prometheus.status.success(), "{read_by_prometheus:?}");
    let alerts: Value = serde_saphyr::from_str(&read("alerts.yaml")).expect("YAML");
    let operating =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).expect("docs");
    for rule in alerts["groups"][0]["rules"].as_array().expect("rules") {
        let name = rule["alert"].as_str().expect("an alert");
        for annotation in ["summary", "description", "runbook"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{name} has no {annotation}");
        }
        assert!(operating.contains(&format!("`{name}`")), "docs/operating.md does not name {name}");
    }
}

#[test]
fn every_metric_that_alerts_and_dashboard_name_is_there_and_every_one_is_on_the_dashboard() {
    let there = series();
    for file in ["alerts.yaml", "dashboard.json"] {
        let unknown: Vec<_> = named(&read(file)).difference(&there).cloned().collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
    let shown = named(&read("dashboard.json"));
    for family in Metrics::default().described() {
        assert!(shown.iter().any(|name| name.starts_with(&family.name)), "{} is on no panel", family.name);
    }
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    assert!(rows.clone().all(|row| row["title"].as_str().is_some_and(|title| title.ends_with('?'))));
    assert!(rows.count() >= 6);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
}

/// The values of labels that rules and panels compare with are those that the code gives.
#[test]
fn every_outcome_that_alerts_and_dashboard_name_is_one_of_the_codes() {
    let outcomes =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire/outcome.rs")).expect("source");
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = read(file).replace('\\', "");
        for (_, rest) in text.match_indices("outcome").map(|(at, found)| text.split_at(at + found.len())) {
            let Some(values) = rest.strip_prefix("=~\"").or(rest.strip_prefix("=\"")) else { continue };
            for value in values.split('"').next().unwrap_or_default().split('|') {
                assert!(outcomes.contains(&format!("\"{value}\"")), "{file} names the outcome {value}");
            }
        }
    }
}
