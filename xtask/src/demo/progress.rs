//! What has changed about the objects since the last look, in a line each.

use std::collections::HashMap;

use serde_json::Value;

/// Remembers what was shown of each object.
#[derive(Default)]
pub(super) struct Progress(HashMap<String, String>);

impl Progress {
    /// A line for each object that looks different now, and for each that is gone.
    pub(super) fn changes(&mut self, objects: &[Value]) -> Vec<String> {
        let now: HashMap<String, String> =
            objects.iter().map(|object| (title(object), state(object))).collect();
        let mut lines: Vec<String> = now
            .iter()
            .filter(|(title, state)| self.0.get(*title) != Some(*state))
            .map(|(title, state)| format!("{title:<44} {state}"))
            .collect();
        lines.extend(
            self.0.keys().filter(|title| !now.contains_key(*title)).map(|title| format!("{title:<44} gone")),
        );
        lines.sort();
        self.0 = now;
        lines
    }
}

/// Whether the object is Ready as its spec is now.
pub(super) fn is_ready(object: &Value) -> bool {
    let generation = &object["metadata"]["generation"];
    condition(object, "Ready")
        .is_some_and(|ready| ready["status"] == "True" && ready["observedGeneration"] == *generation)
}

fn title(object: &Value) -> String {
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let namespace =
        metadata["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{} {namespace}{}", text(&object["kind"]), text(&metadata["name"]))
}

/// The phase with the little that makes it tell more: how far, what was made, or why not.
fn state(object: &Value) -> String {
    let status = &object["status"];
    let ready = is_ready(object);
    let mut words = vec![match status["phase"].as_str() {
        Some(phase) => phase.to_owned(),
        None if ready => "Ready".to_owned(),
        None => "Pending".to_owned(),
    }];
    if let (Some(progress), false) = (status["progress"].as_i64(), ready) {
        words.push(format!("{progress} %"));
    }
    if ready {
        let made = ["artifact", "imageId"].iter().find_map(|field| status[*field].as_str());
        words.extend(made.map(str::to_owned));
    } else if condition(object, "Reconciling").is_none_or(|reconciling| reconciling["status"] != "True") {
        let message = condition(object, "Ready").and_then(|ready| ready["message"].as_str());
        words.extend(message.map(str::to_owned));
    }
    words.join("  ")
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(status: &Value) -> Value {
        json!({
            "kind": "ImageExport",
            "metadata": {"name": "a", "namespace": "images", "generation": 2},
            "status": status,
        })
    }

    fn condition(name: &str, status: &str, generation: u32) -> Value {
        json!({"type": name, "status": status, "observedGeneration": generation, "message": "the reason"})
    }

    #[test]
    fn ready_means_ready_for_the_spec_of_now() {
        let ready = |generation| image(&json!({"conditions": [condition("Ready", "True", generation)]}));
        assert!(is_ready(&ready(2)));
        assert!(!is_ready(&ready(1)));
        assert!(!is_ready(&image(&json!({"conditions": [condition("Ready", "False", 2)]}))));
        assert!(!is_ready(&image(&json!({"observedGeneration": -1}))));
    }

    #[test]
    fn a_change_is_a_line_and_the_same_again_is_none() {
        let mut progress = Progress::default();
        let mut look = |status: Value| -> Vec<String> {
            let lines = progress.changes(&[image(&status)]);
            lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        let going = condition("Reconciling", "True", 2);
        assert_eq!(
            look(json!({"phase": "Building", "progress": 42, "conditions": [going]})),
            ["ImageExport images/a Building 42 %"]
        );
        assert!(look(json!({"phase": "Building", "progress": 42, "conditions": [going]})).is_empty());
        let ready = condition("Ready", "True", 2);
        assert_eq!(
            look(
                json!({"phase": "Ready", "progress": 100, "imageId": "i", "artifact": "tos://b", "conditions": [ready]})
            ),
            ["ImageExport images/a Ready tos://b"]
        );
        let failed = condition("Ready", "False", 2);
        assert_eq!(
            look(json!({"phase": "Failed", "conditions": [failed]})),
            ["ImageExport images/a Failed the reason"]
        );
        assert_eq!(progress.changes(&[]).len(), 1, "it is gone");
    }
}
