//! What an account has already, as a list of the vendor's shows it: for people who take it over, and for those who look for
//! what was left behind. Reading only.

use super::progress::Observation;
use serde_json::{Map, Value};

/// One thing that an account has and an object could stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Existing {
    /// What `import.id` takes.
    pub id: String,
    /// What people call it; the id where it has no name.
    pub name: String,
    /// The operator's mark on it.
    pub mark: Option<Mark>,
    /// How it is.
    pub observation: Observation,
    /// `spec.forProvider` of an object that stands for it and is content with it, as far as the vendor tells.
    pub parameters: Map<String, Value>,
}

/// What says that the operator made a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It names the object, by its uid.
    Of(String),
    /// It names none, and could be somebody else's: how it looks.
    Like(&'static str),
}

impl Existing {
    /// With nothing known of it but its id.
    pub fn new(id: impl Into<String>, observation: Observation) -> Self {
        let id = id.into();
        Self { name: id.clone(), id, mark: None, observation, parameters: Map::new() }
    }

    /// With a name, unless that is empty.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        if !name.trim().is_empty() {
            name.clone_into(&mut self.name);
        }
        self
    }

    /// With a parameter, unless the vendor says nothing of it: nothing, null, or an empty text or list.
    #[must_use]
    pub fn with(mut self, parameter: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let says_nothing = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if !says_nothing {
            self.parameters.insert(parameter.into(), value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_vendor_says_nothing_of_is_no_parameter() {
        let seen = Existing::new("i", Observation::Missing).named(" ");
        let seen = seen.with("a", "").with("b", Value::Null).with("c", json!([])).with("d", false);
        assert_eq!((seen.name.as_str(), Value::Object(seen.parameters)), ("i", json!({ "d": false })));
    }
}
