//! An object as it is kept between two passes: a few hundred bytes instead of the six thousand that it takes to work on it.
//!
//! What others ask about it most (where it stands, whether it has something under way) can be had without unpacking.

use super::{
    guarded::{Guarded, Unreadable},
    lock,
    lookup::ObjectName,
    object::{Kind, Object},
    reconcile, status,
    urgency::Urgency,
};
use crate::image::{AccountRef, Phase};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt, api::ObjectMeta};
use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
};

/// An object, packed.
pub struct Packed {
    name: ObjectName,
    uid: Arc<str>,
    generation: Option<i64>,
    created: Option<Timestamp>,
    content: Content,
    summary: Summary,
}

enum Content {
    /// As JSON, compressed beside an example of its kind.
    Packed { text: Arc<[u8]>, example: Arc<[u8]> },
    /// What cannot be read, of which little is known.
    Whole(Arc<Guarded<Object>>),
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
    fn of(object: &Object) -> Self {
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

/// Why an object cannot be read is to be said at once, whatever made it so, and again where somebody took that away: it has no
/// looks of its own that would find it out.
pub(super) fn wishes(metadata: &ObjectMeta, unreadable: Option<&Unreadable>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let unreadable = unreadable.map(|unreadable| (&unreadable.error, &unreadable.says));
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
    /// Packs an object, of which this is the JSON that it was read from.
    pub fn pack(&self, object: &Guarded<Object>, text: &str) -> Packed {
        let whole = object.meta();
        let summary = match &object.0 {
            Ok(object) => Summary::of(object),
            Err(unreadable) => Summary {
                urgency: Urgency::Running,
                wishes: wishes(whole, Some(unreadable)),
                ..Summary::default()
            },
        };
        let content = match &object.0 {
            Ok(_) => self.compress(text.as_bytes(), summary.phase == Some(Phase::Ready)),
            Err(_) => Content::Whole(Arc::new(object.clone())),
        };
        Packed {
            name: Arc::new((object.namespace().unwrap_or_default(), object.name_any())),
            uid: whole.uid.as_deref().unwrap_or_default().into(),
            generation: whole.generation,
            created: whole.creation_timestamp.as_ref().map(|time| time.0),
            content,
            summary,
        }
    }

    fn compress(&self, text: &[u8], is_ready: bool) -> Content {
        let mut example = lock(&self.0).clone();
        // What is at rest shows best what most are like. That each example is half as long again as the one before bounds how
        // many there can be, since objects keep the one beside which they were packed.
        if (is_ready, 2 * text.len()) > (example.is_ready, 3 * example.text.len()) {
            example = Example { is_ready, text: text.into() };
            *lock(&self.0) = example.clone();
        }
        let packed = lz4_flex::block::compress_prepend_size_with_dict(text, &example.text);
        Content::Packed { text: packed.into(), example: example.text }
    }
}

impl Packed {
    /// The object as it was read, of the kind that it is of.
    pub fn unpack(&self, kind: Kind) -> Guarded<Object> {
        let (text, example) = match &self.content {
            Content::Packed { text, example } => (text, example),
            Content::Whole(object) => return (**object).clone(),
        };
        let text = lz4_flex::block::decompress_size_prepended_with_dict(text, example);
        let object = text
            .map_err(|error| error.to_string())
            .and_then(|text| String::from_utf8(text).map_err(|error| error.to_string()))
            .and_then(|text| kind.read(&text).map_err(|error| error.to_string()));
        // It was read before, so it can be read again.
        Guarded(object.map_err(|error| Unreadable {
            metadata: self.metadata(),
            error,
            held: vec![],
            works_on: vec![],
            says: String::new(),
            account: AccountRef::default(),
        }))
    }

    /// The object as JSON, if it could be read.
    pub fn json(&self) -> Option<Vec<u8>> {
        match &self.content {
            Content::Packed { text, example } => {
                lz4_flex::block::decompress_size_prepended_with_dict(text, example).ok()
            }
            Content::Whole(_) => None,
        }
    }

    /// Its namespace and name.
    pub fn name(&self) -> &ObjectName {
        &self.name
    }

    /// The same, with name and uid as others hold them.
    #[must_use]
    pub fn under(self, name: ObjectName, uid: Arc<str>) -> Self {
        Self { name, uid, ..self }
    }

    /// Which object of that name it is.
    pub fn uid(&self) -> &Arc<str> {
        &self.uid
    }

    /// As much of its metadata as it takes to write onto it.
    pub fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.1.clone()),
            namespace: Some(self.name.0.clone()),
            uid: Some((*self.uid).into()),
            generation: self.generation,
            creation_timestamp: self.created.map(Time),
            ..ObjectMeta::default()
        }
    }

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

impl fmt::Debug for Packed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} {:?}", self.name, self.summary)
    }
}
