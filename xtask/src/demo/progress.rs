//! How far the objects have come, in a line for each step.

use std::collections::HashMap;

use serde_json::Value;

use super::watch::Change;

/// Remembers how each object looked last.
#[derive(Default)]
pub(super) struct Progress(HashMap<String, Seen>);

struct Seen {
    state: String,
    ready: bool,
}

impl Progress {
    /// Takes note of a change, and puts it into a line if it is one that a person would see.
    pub(super) fn note(&mut self, change: &Change) -> Option<String> {
        let (Change::Seen(object) | Change::Gone(object)) = change;
        let title = title(object);
        let line = |state: &str| Some(format!("{title:<44} {state}"));
        if matches!(change, Change::Gone(_)) {
            return self.0.remove(&title).and_then(|_| line("gone"));
        }
        let now = Seen { state: state(object), ready: is_ready(object) };
        let shown = self.0.get(&title).is_some_and(|before| before.state == now.state);
        let line = if shown { None } else { line(&now.state) };
        self.0.insert(title, now);
        line
    }

    /// Whether the object was Ready when it was last seen.
    pub(super) fn is_ready(&self, object: &Value) -> bool {
        self.0.get(&title(object)).is_some_and(|seen| seen.ready)
    }
}

/// Whether the object is Ready as its spec is now.
fn is_ready(object: &Value) -> bool {
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
        let mut look = |status: Value| -> Option<String> {
            let line = progress.note(&Change::Seen(image(&status)))?;
            Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let going = condition("Reconciling", "True", 2);
        let building = json!({"phase": "Building", "progress": 42, "conditions": [going]});
        assert_eq!(look(building.clone()).unwrap(), "ImageExport images/a Building 42 %");
        assert_eq!(look(building), None);
        let failed = json!({"phase": "Failed", "conditions": [condition("Ready", "False", 2)]});
        assert_eq!(look(failed).unwrap(), "ImageExport images/a Failed the reason");
        let ready = [condition("Ready", "True", 2)];
        let ready = json!({"phase": "Ready", "progress": 100, "imageId": "i", "artifact": "tos://b", "conditions": ready});
        assert_eq!(look(ready).unwrap(), "ImageExport images/a Ready tos://b");
    }

    #[test]
    fn what_is_ready_is_remembered_until_it_is_gone() {
        let mut progress = Progress::default();
        let object = image(&json!({"conditions": [condition("Ready", "True", 2)]}));
        assert!(!progress.is_ready(&object));
        progress.note(&Change::Seen(object.clone()));
        assert!(progress.is_ready(&object));
        assert!(progress.note(&Change::Gone(object.clone())).is_some_and(|line| line.ends_with(" gone")));
        assert!(!progress.is_ready(&object));
        assert_eq!(progress.note(&Change::Gone(object)), None, "a second time says nothing new");
    }
}
