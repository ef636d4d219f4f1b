//! An object that may not be readable: one odd object must not end a watch, and what it holds at the vendor stays held.

use crate::image::{AccountRef, OperationState};
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use serde_json::Value;
use std::{borrow::Cow, fmt::Debug};

/// An object as the API server gave it.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Unreadable>);

/// What can be known of an object that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Why it cannot be read.
    pub error: String,
    /// The vendor's ids in its status.
    pub held: Vec<String>,
    /// Whatever it may be at work on: all texts of its parameters, if its status says that something is under way.
    pub works_on: Vec<String>,
    /// Its conditions, as JSON: whether it still says that it cannot be read.
    pub says: String,
    /// The account that it names, as far as that can be told.
    pub account: AccountRef,
}

/// All texts in a value.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        // Who wrote which field is half of what comes, and nobody here reads it.
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        let error = match K::deserialize(&object) {
            Ok(read) => return Ok(Self(Ok(read))),
            Err(error) => error.to_string(),
        };
        let metadata = object.get("metadata").ok_or_else(|| D::Error::missing_field("metadata"))?;
        let metadata = ObjectMeta::deserialize(metadata).map_err(D::Error::custom)?;
        let ids = [&object["status"]["imageId"], &object["status"]["taskId"]];
        let versions = object["status"]["versions"].as_array().into_iter().flatten();
        let ids = ids.into_iter().chain(versions.map(|version| &version["imageId"]));
        let held = ids.filter_map(Value::as_str).map(str::to_owned).collect();
        let mut works_on = vec![];
        let operation = &object["status"]["operation"];
        let state = OperationState::deserialize(&operation["state"]);
        if matches!(state, Ok(OperationState::InFlight | OperationState::Running)) {
            texts(&object["spec"]["forProvider"], &mut works_on);
            texts(&operation["reference"], &mut works_on);
        }
        let says = object["status"]["conditions"].to_string();
        let account = AccountRef::deserialize(&object["spec"]["accountRef"]).unwrap_or_default();
        Ok(Self(Err(Unreadable { metadata, error, held, works_on, says, account })))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }
    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }
    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }
    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }
    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn an_unreadable_object_keeps_its_name_and_what_it_holds() {
        let read = |object: Value| serde_json::from_value::<Guarded<Pod>>(object);
        let right = read(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" } })).unwrap();
        assert!(right.0.is_ok());
        let odd = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "uid": "u" }, "spec": { "hostname": 7, "forProvider": { "list": ["x"] } }, "status": { "imageId": "i-1", "taskId": 7, "operation": { "state": "Running", "reference": "y" } } });
        let mut done = odd.clone();
        done["status"]["operation"]["state"] = "Succeeded".into();
        let odd = read(odd).unwrap();
        assert_eq!(odd.meta().uid.as_deref(), Some("u"));
        let unreadable = odd.0.unwrap_err();
        assert_eq!(unreadable.held, ["i-1"]);
        assert_eq!(unreadable.works_on, ["x", "y"]);
        assert!(unreadable.error.contains('7'), "{}", unreadable.error);
        assert!(read(done).unwrap().0.unwrap_err().works_on.is_empty());
        assert!(read(json!({ "kind": "Pod", "spec": 7 })).is_err());
    }
}
