//! Objects that other objects own: what happens to them is told, and they are found by their owners.

use super::lookup::ObjectName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use std::borrow::Cow;

/// Something that happened to an object, of which its owner, or who wants its name, may want to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Change {
    /// The object's kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name; empty where all objects of the kind have been read.
    pub name: String,
    /// Kind and name of its owner; an object may have had one before.
    pub owner: Option<(String, String)>,
}

impl Change {
    /// Of this object.
    pub fn of(kind: Cow<'_, str>, name: &ObjectName, metadata: &ObjectMeta) -> Self {
        let owner = controller(metadata).map(|owner| (owner.kind.clone(), owner.name.clone()));
        Self { kind: kind.into_owned(), namespace: name.0.clone(), name: name.1.clone(), owner }
    }

    /// All objects of the kind have been read.
    pub fn all_read(kind: Cow<'_, str>) -> Self {
        Self { kind: kind.into_owned(), ..Self::default() }
    }
}

/// An object that another one owns, as it was seen last.
#[derive(Clone, Debug)]
pub struct Owned {
    /// Its kind.
    pub kind: String,
    /// Its namespace and name.
    pub name: ObjectName,
    /// As JSON; `None`: it cannot be read.
    pub json: Option<Vec<u8>>,
}

/// Who owns an object: an object has one such owner at most.
pub fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}
