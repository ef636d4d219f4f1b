//! An object as it is kept between two passes: a few hundred bytes instead of the six thousand that it takes to work on it.
//!
//! What others ask about it most (where it stands, whether it has something under way) can be had without unpacking.

use super::{
    external::External,
    guarded::{Guarded, Unreadable},
    lock, reconcile, status,
    urgency::Urgency,
};
use crate::image::Phase;
use jiff::Timestamp;
use kube::{Resource, api::ObjectMeta};
use serde::{Deserialize, Deserializer};
use std::{
    borrow::Cow,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
};

/// An object of kind `K`, packed.
pub struct Packed<K> {
    /// Which object it is, and its version.
    metadata: ObjectMeta,
    content: Content<K>,
    summary: Summary,
}

enum Content<K> {
    /// As JSON, compressed beside an example of its kind.
    Packed { text: Arc<[u8]>, example: Arc<[u8]> },
    /// What cannot be read, of which little is known.
    Whole(Arc<Guarded<K>>),
}

/// What is asked about an object without unpacking it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Where it stands, if it says so.
    pub phase: Option<Phase>,
    /// Why it is Stalled, if it is.
    pub stalled: Option<Box<str>>,
    /// Since when it is on the way, if it is.
    pub waiting_since: Option<Timestamp>,
    /// Whether the vendor may be at work for it.
    pub under_way: bool,
    /// How long its next step can wait.
    pub urgency: Urgency,
    /// A hash of what others write; status is ours.
    pub wishes: u64,
}

impl Summary {
    fn of<K: External>(object: &K) -> Self {
        let status = object.status();
        let condition = |type_: &str| {
            let conditions = status.map(|status| &*status.conditions).unwrap_or_default();
            conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
        };
        let phase = status.and_then(|status| status.phase);
        let created = object.meta().creation_timestamp.as_ref().map(|time| time.0);
        let on_the_way = condition(status::RECONCILING).map(|condition| condition.last_transition_time.0);
        Self {
            phase,
            stalled: condition(status::STALLED).map(|condition| condition.reason.as_str().into()),
            waiting_since: if phase.is_none() { created } else { on_the_way },
            under_way: reconcile::may_be_under_way(object),
            urgency: reconcile::urgency_of(object),
            wishes: wishes(object.meta()),
        }
    }
}

fn wishes(metadata: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    (metadata.generation, &metadata.annotations, &metadata.finalizers).hash(&mut hasher);
    hasher.finish()
}

/// Packs the objects of one kind: they look alike, so that one of them is most of all others.
#[derive(Debug, Default)]
pub struct Packer(Mutex<Example>);

#[derive(Clone, Debug, Default)]
struct Example {
    is_ready: bool,
    text: Arc<[u8]>,
}

impl Packer {
    /// Packs an object.
    pub fn pack<K: External>(&self, object: &Guarded<K>) -> Packed<K> {
        let whole = object.meta();
        // All else is in the content.
        let metadata = ObjectMeta {
            name: whole.name.clone(),
            namespace: whole.namespace.clone(),
            uid: whole.uid.clone(),
            resource_version: whole.resource_version.clone(),
            ..ObjectMeta::default()
        };
        let summary = match &object.0 {
            Ok(object) => Summary::of(object),
            Err(_) => Summary { urgency: Urgency::Running, wishes: wishes(whole), ..Summary::default() },
        };
        let text = object.0.as_ref().ok().and_then(|object| serde_json::to_vec(object).ok());
        let content = match text {
            Some(text) => self.compress(text, summary.phase == Some(Phase::Ready)),
            None => Content::Whole(Arc::new(object.clone())),
        };
        Packed { metadata, content, summary }
    }

    fn compress<K>(&self, text: Vec<u8>, is_ready: bool) -> Content<K> {
        let mut example = lock(&self.0).clone();
        // What is at rest shows best what most are like. That each example is half as long again as the one before bounds how
        // many there can be, since objects keep the one beside which they were packed.
        if (is_ready, 2 * text.len()) > (example.is_ready, 3 * example.text.len()) {
            example = Example { is_ready, text: text.clone().into() };
            *lock(&self.0) = example.clone();
        }
        let packed = lz4_flex::block::compress_prepend_size_with_dict(&text, &example.text);
        Content::Packed { text: packed.into(), example: example.text }
    }
}

impl<K: External> Packed<K> {
    /// The object as it was read.
    pub fn unpack(&self) -> Guarded<K> {
        let (text, example) = match &self.content {
            Content::Packed { text, example } => (text, example),
            Content::Whole(object) => return (**object).clone(),
        };
        let text = lz4_flex::block::decompress_size_prepended_with_dict(text, example);
        let object = text
            .map_err(|error| error.to_string())
            .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        // It was read before, so it can be read again.
        Guarded(object.map_err(|error| Unreadable {
            metadata: self.metadata.clone(),
            error,
            held: vec![],
            works_on: vec![],
        }))
    }
}

impl<K> Packed<K> {
    /// What can be had without unpacking.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Whether it can be read.
    pub fn is_readable(&self) -> bool {
        match &self.content {
            Content::Packed { .. } => true,
            Content::Whole(object) => object.0.is_ok(),
        }
    }
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        let content = match &self.content {
            Content::Packed { text, example } => {
                Content::Packed { text: text.clone(), example: example.clone() }
            }
            Content::Whole(object) => Content::Whole(object.clone()),
        };
        Self { metadata: self.metadata.clone(), content, summary: self.summary.clone() }
    }
}

impl<K> fmt::Debug for Packed<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        write!(out, "{namespace:?} {name:?} {:?}", self.summary)
    }
}

/// As the API server gives it, on its own.
impl<'de, K: External> Deserialize<'de> for Packed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Guarded::deserialize(deserializer).map(|object| Packer::default().pack(&object))
    }
}

impl<K: Resource> Resource for Packed<K> {
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
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::{aliyun::image_component::ImageComponent, volcengine::image_export::ImageExport};
    use kube::ResourceExt;
    use serde_json::{Value, json};

    fn component(name: &str, phase: &str) -> Value {
        let uid = format!("{:08x}-5c1e-4b6c-9d53-0c8a3b8a2f10", name.len() * 7919 + phase.len());
        let token = format!("{uid}-1");
        let conditions = ["Ready", "Reconciling", "Stalled"].map(|type_| {
            json!({
                "type": type_, "status": if type_ == phase { "True" } else { "False" }, "reason": "Reason",
                "message": "a message of some length, as they are", "observedGeneration": 2,
                "lastTransitionTime": "2026-01-02T03:04:06Z",
            })
        });
        json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": "ImageComponent",
            "metadata": {
                "name": name, "namespace": "images", "uid": uid, "resourceVersion": "4711", "generation": 2,
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "finalizers": ["cloudimages.dev/external"],
                "annotations": { "cloudimages.dev/attempt": format!("{uid} 1 2026-01-02T03:04:05Z"), "mine": "一" },
                "managedFields": [{ "manager": "kubectl", "operation": "Apply" }],
            },
            "spec": {
                "accountRef": { "name": "aliyun" }, "resyncInterval": "30m", "deletionPolicy": "Retain",
                "forProvider": {
                    "name": name, "componentVersion": "1.0.0", "description": "Says hello.",
                    "content": "Tasks:\n  - Name: HelloWorld\n    Action: RunShellCommand\n    Properties:\n      commandContent: echo\n",
                    "tag": [{ "key": "team", "value": "base" }],
                },
            },
            "status": {
                "phase": phase, "observedGeneration": 2, "imageId": format!("ic-{name}"), "lastSeenAt": "2026-01-02T03:04:06Z",
                "managedTags": ["team"],
                "operation": {
                    "action": "CreateImageComponent", "attempt": 1, "token": token, "state": "Succeeded", "generation": 1,
                    "startedAt": "2026-01-02T03:04:05.123456789Z", "requestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E",
                },
                "atProvider": { "imageComponentId": format!("ic-{name}"), "componentType": "Build", "number": 1.5, "big": u64::MAX },
                "conditions": conditions,
            },
        })
    }

    fn read<K: External>(object: &Value) -> Guarded<K> {
        serde_json::from_value(object.clone()).unwrap()
    }

    fn length<K>(packed: &Packed<K>) -> usize {
        match &packed.content {
            Content::Packed { text, .. } => text.len(),
            Content::Whole(_) => 0,
        }
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let packer = Packer::default();
        for (name, phase) in [("a", "Pending"), ("one", "Ready"), ("another", "Ready"), ("b", "Failed")] {
            let object = read::<ImageComponent>(&component(name, phase));
            let whole = serde_json::to_value(object.0.as_ref().unwrap()).unwrap();
            let packed = packer.pack(&object);
            assert_eq!(serde_json::to_value(packed.unpack().0.unwrap()).unwrap(), whole);
            assert_eq!(whole.pointer("/status/atProvider/big"), Some(&json!(u64::MAX)));
            assert_eq!(whole.pointer("/metadata/managedFields"), None);
            assert_eq!((packed.name_any(), packed.uid()), (name.to_owned(), object.uid()));
        }
    }

    #[test]
    fn what_is_at_rest_takes_little() {
        let packer = Packer::default();
        packer.pack(&read::<ImageComponent>(&component("first", "Pending")));
        packer.pack(&read::<ImageComponent>(&component("first", "Ready")));
        let whole = component("second", "Ready").to_string().len();
        let packed = length(&packer.pack(&read::<ImageComponent>(&component("second", "Ready"))));
        assert!(packed < whole / 5, "{packed} of {whole} bytes");
        assert!(size_of::<Packed<ImageComponent>>() <= 512, "{}", size_of::<Packed<ImageComponent>>());
    }

    #[test]
    fn there_are_few_examples() {
        let packer = Packer::default();
        let mut examples = std::collections::HashSet::new();
        for length in 1..2000 {
            let mut object = component("long", "Ready");
            object["spec"]["forProvider"]["content"] = "x".repeat(8 * length).into();
            packer.pack(&read::<ImageComponent>(&object));
            examples.insert(lock(&packer.0).text.len());
        }
        assert!(examples.len() < 10, "{examples:?}");
    }

    #[test]
    fn what_others_ask_needs_no_unpacking() {
        let packer = Packer::default();
        let packed = packer.pack(&read::<ImageComponent>(&component("it", "Ready")));
        let other = |change: &dyn Fn(&mut Value)| {
            let mut object = component("it", "Ready");
            change(&mut object);
            packer.pack(&read::<ImageComponent>(&object)).summary().clone()
        };
        assert_eq!(packed.summary().phase, Some(Phase::Ready));
        assert!(!packed.summary().under_way);
        let ours = other(&|object| object["status"]["phase"] = "Failed".into());
        assert_eq!((ours.wishes, ours.phase), (packed.summary().wishes, Some(Phase::Failed)));
        for change in ["/metadata/generation", "/metadata/annotations/mine", "/metadata/finalizers/0"] {
            let theirs = other(&|object| {
                let field = object.pointer_mut(change).unwrap();
                *field = if field.is_number() { json!(3) } else { json!("other") };
            });
            assert_ne!(theirs.wishes, packed.summary().wishes, "{change}");
        }
        let running = other(&|object| object["status"]["operation"]["state"] = "Running".into());
        assert!(running.under_way);
    }

    #[test]
    fn what_cannot_be_read_keeps_what_is_known_of_it() {
        let mut odd = component("odd", "Ready");
        odd["spec"]["forProvider"] = json!(7);
        let packed = Packer::default().pack(&read::<ImageExport>(&odd));
        assert!(!packed.is_readable());
        assert_eq!(packed.unpack().0.unwrap_err().held, ["ic-odd"]);
        assert_eq!(packed.name_any(), "odd");
    }
}
