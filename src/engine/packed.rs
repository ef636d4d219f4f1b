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
    /// Which object it is, its version and its times: what takes no room of its own.
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
            wishes: wishes(object.meta(), None),
        }
    }
}

/// `unreadable`: why it cannot be read, which is to be said at once, whatever made it so.
fn wishes(metadata: &ObjectMeta, unreadable: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (metadata.generation, &metadata.annotations, &metadata.finalizers, unreadable).hash(&mut hasher);
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
            generation: whole.generation,
            creation_timestamp: whole.creation_timestamp.clone(),
            deletion_timestamp: whole.deletion_timestamp.clone(),
            ..ObjectMeta::default()
        };
        let summary = match &object.0 {
            Ok(object) => Summary::of(object),
            Err(unreadable) => Summary {
                urgency: Urgency::Running,
                wishes: wishes(whole, Some(&unreadable.error)),
                ..Summary::default()
            },
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

    /// How many bytes its content takes beside the example.
    pub fn bytes(&self) -> usize {
        match &self.content {
            Content::Packed { text, .. } => text.len(),
            Content::Whole(_) => 0,
        }
    }

    /// How many bytes the example takes, which many share.
    pub fn example_bytes(&self) -> usize {
        match &self.content {
            Content::Packed { example, .. } => example.len(),
            Content::Whole(_) => 0,
        }
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
