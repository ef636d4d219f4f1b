//! An object that may not be readable: one odd object must not end a watch, and what it holds at the vendor stays held.

use super::object::{Kind, Object};
use crate::image::{AccountRef, OperationState};
use kube::{
    Api, Client, Resource,
    api::ObjectMeta,
    core::{ApiResource, DynamicResourceScope},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use std::{
    borrow::Cow,
    fmt::{self, Debug},
};

/// An object, if it can be read.
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

/// An object of whatever kind as the API server gave it, in JSON and not understood yet but for its name and version: one type, so
/// that what lists and watches is compiled once and not for each kind.
#[derive(Clone)]
pub struct Unread {
    /// Only what whoever lists and watches asks for. The rest is decoded once, with the object.
    metadata: ObjectMeta,
    text: String,
}

impl Debug for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A page of them would be a log line of half a megabyte.
        self.metadata.fmt(out)
    }
}

impl Unread {
    /// The objects of a kind, in one namespace or all.
    pub fn api(kind: Kind, client: Client, namespace: Option<&str>) -> Api<Self> {
        Self::of(&kind.resource(), client, namespace)
    }

    /// The same of whatever is no kind of images.
    pub fn of(resource: &ApiResource, client: Client, namespace: Option<&str>) -> Api<Self> {
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, resource),
            None => Api::all_with(client, resource),
        }
    }

    /// The object as JSON, without who wrote which field.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The object, as far as it can be read.
    pub fn read(&self, kind: Kind) -> Guarded<Object> {
        self.read_by(|text| kind.read(text))
    }

    /// The same of whatever is no image object.
    pub fn read_by<T>(&self, read: impl Fn(&str) -> Result<T, serde_json::Error>) -> Guarded<T> {
        if let Ok(read) = read(&self.text) {
            return Guarded(Ok(read));
        }
        // What it says about why not must not change with what stands before it in the text: all in order, and without the place.
        let object: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let error = match read(&object.to_string()) {
            Ok(read) => return Guarded(Ok(read)),
            Err(error) => without_place(&error),
        };
        Guarded(Err(self.unreadable(&object, error)))
    }

    fn unreadable(&self, object: &Value, error: String) -> Unreadable {
        let ids = [&object["status"]["imageId"], &object["status"]["taskId"]];
        let versions = object["status"]["versions"].as_array().into_iter().flatten();
        let ids = ids.into_iter().chain(versions.map(|version| &version["imageId"]));
        let held = ids.filter_map(Value::as_str).map(str::to_owned).collect();
        let mut works_on = vec![];
        let operation = &object["status"]["operation"];
        let state = OperationState::deserialize(&operation["state"]);
        if matches!(state, Ok(OperationState::InFlight | OperationState::Running)) {
            texts(&object["spec"]["forProvider"], &mut works_on);
            for referent in operation["references"].as_array().into_iter().flatten() {
                texts(&referent["id"], &mut works_on);
            }
        }
        let says = object["status"]["conditions"].to_string();
        let account = AccountRef::deserialize(&object["spec"]["accountRef"]).unwrap_or_default();
        let metadata = ObjectMeta::deserialize(&object["metadata"]).unwrap_or_else(|_| self.metadata.clone());
        Unreadable { metadata, error, held, works_on, says, account }
    }
}

/// What is wrong, and not where in a text that nobody sees.
pub fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Named,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            name: Option<String>,
            namespace: Option<String>,
            uid: Option<String>,
            resource_version: Option<String>,
        }
        let mut text = Vec::with_capacity(4096);
        // Who wrote which field is half of what comes, and nobody here reads it.
        Copy { into: &mut text, without: &["metadata", "managedFields"] }.deserialize(deserializer)?;
        let text = String::from_utf8(text).map_err(D::Error::custom)?;
        let Object { metadata } = serde_json::from_str(&text).map_err(D::Error::custom)?;
        let Named { name, namespace, uid, resource_version } = metadata;
        let metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        Ok(Self { metadata, text })
    }
}

impl Resource for Unread {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }
    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }
    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }
    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Copies a value as JSON, but for the entry that this path of keys leads to. It makes nothing of what it reads, which is most of
/// the work where a value is only kept.
struct Copy<'a> {
    into: &'a mut Vec<u8>,
    without: &'static [&'static str],
}

impl Copy<'_> {
    fn write<E: Error>(self, value: impl serde::Serialize) -> Result<(), E> {
        serde_json::to_writer(self.into, &value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Copy<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Copy<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.write(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.write(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.write(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.write(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.write(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.write(())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.write(())
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        self.into.push(b'[');
        let start = self.into.len();
        loop {
            let before = self.into.len();
            if before > start {
                self.into.push(b',');
            }
            if values.next_element_seed(Copy { into: self.into, without: &[] })?.is_none() {
                self.into.truncate(before);
                break;
            }
        }
        self.into.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.into.push(b'{');
        let start = self.into.len();
        loop {
            let before = self.into.len();
            if before > start {
                self.into.push(b',');
            }
            let key = self.into.len();
            if fields.next_key_seed(Copy { into: self.into, without: &[] })?.is_none() {
                self.into.truncate(before);
                break;
            }
            // Names of fields have nothing to be escaped, and stand between quotes.
            let name = self.into.get(key + 1..self.into.len() - 1).unwrap_or_default();
            let is_next = |next: &&str| name == next.as_bytes();
            match self.without {
                [last] if is_next(last) => {
                    self.into.truncate(before);
                    fields.next_value::<IgnoredAny>()?;
                }
                [next, rest @ ..] if is_next(next) => {
                    self.into.push(b':');
                    fields.next_value_seed(Copy { into: self.into, without: rest })?;
                }
                _ => {
                    self.into.push(b':');
                    fields.next_value_seed(Copy { into: self.into, without: &[] })?;
                }
            }
        }
        self.into.push(b'}');
        Ok(())
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Unread::deserialize(deserializer)?.read_by(|text| serde_json::from_str(text)))
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
        let read = |object: Value| {
            serde_json::from_value::<Unread>(object)
                .map(|object| object.read_by(|text| serde_json::from_str::<Pod>(text)))
        };
        let right = read(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" } })).unwrap();
        assert!(right.0.is_ok());
        let odd = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "uid": "u" }, "spec": { "hostname": 7, "forProvider": { "list": ["x"] } }, "status": { "imageId": "i-1", "taskId": 7, "operation": { "state": "Running", "references": [{ "name": "z", "id": "y" }] } } });
        let mut done = odd.clone();
        done["status"]["operation"]["state"] = "Succeeded".into();
        let odd = read(odd).unwrap();
        assert_eq!(odd.meta().uid.as_deref(), Some("u"));
        let unreadable = odd.0.unwrap_err();
        assert_eq!(unreadable.held, ["i-1"]);
        assert_eq!(unreadable.works_on, ["x", "y"]);
        assert!(unreadable.error.contains('7'), "{}", unreadable.error);
        assert!(!unreadable.error.contains("line"), "{}", unreadable.error);
        assert!(read(done).unwrap().0.unwrap_err().works_on.is_empty());
        assert!(read(json!({ "kind": "Pod", "spec": 7 })).is_err());
    }

    #[test]
    fn all_is_copied_but_who_wrote_what() {
        let copied = |text: &str| {
            let mut copy = vec![];
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let whole = Copy { into: &mut copy, without: &["metadata", "managedFields"] };
            whole.deserialize(&mut deserializer).map(|()| String::from_utf8(copy).unwrap())
        };
        let managed = r#""managedFields":[{"manager":"x","fieldsV1":{"f:a":{}}}]"#;
        for rest in ["", r#""name":"a""#, r#""name":"a","labels":{"managedFields":"mine"}"#] {
            let comma = if rest.is_empty() { "" } else { "," };
            let expected = format!(r#"{{"kind":"Pod","metadata":{{{rest}}},"spec":null}}"#);
            for metadata in [format!("{managed}{comma}{rest}"), format!("{rest}{comma}{managed}")] {
                let text = format!(r#"{{"kind":"Pod","metadata":{{{metadata}}},"spec":null}}"#);
                assert_eq!(copied(&text).unwrap(), expected);
            }
        }
        for text in [
            "{}",
            r#"{"managedFields":1,"spec":{"metadata":{"managedFields":2},"managedFields":[]},"metadata":3}"#,
            r#"{"":[],"a\"\n\\":[{},[[]],[null,true,false],-1,18446744073709551615,1.5,"\u0000\"一"],"b":{"c":{}}}"#,
        ] {
            assert_eq!(copied(text).unwrap(), text);
            // From a tree of values, as from text.
            let mut copy = vec![];
            let whole = Copy { into: &mut copy, without: &[] };
            let value: Value = serde_json::from_str(text).unwrap();
            whole.deserialize(value.clone()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&copy).unwrap(), value);
        }
        for broken in ["", "{", r#"{"a":}"#, r#"{"a":[1,]}"#, r#"{"metadata":{"managedFields":[}}"#] {
            assert!(copied(broken).is_err(), "{broken}");
        }
    }
}
