//! The past of one kind's objects in a namespace, version by version, and an API server that shows it: it lists them as they were,
//! and holds back what happened since. Writes, and reads of single objects, are the real one's.

use crate::harness::World;
use futures::StreamExt;
use kube::{
    Api,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
    runtime::watcher::{self, watcher},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};

/// What an API server shows that lags behind.
#[derive(Clone, Debug, Default)]
pub struct Past(HashMap<String, Option<String>>);

impl Past {
    /// Of these kinds in a namespace nothing is told; who asks what there is waits, too.
    pub fn unknown(kinds: &[&str], namespace: &str) -> Self {
        let paths = kinds.iter().map(|kind| (path(&resource(kind), namespace), None));
        Self(paths.collect())
    }

    /// Whether it is about what is listed here.
    pub fn is_about(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The list that it shows.
    pub fn list(&self, path: &str) -> Option<String> {
        self.0.get(path).cloned().flatten()
    }
}

/// All versions of one kind's objects in a namespace.
pub struct History {
    versions: Arc<Mutex<Vec<Version>>>,
    kind: String,
    path: String,
    _recording: JoinSet<()>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Version {
    number: u64,
    name: String,
    /// `None`: it is gone.
    pub object: Option<Value>,
}

impl History {
    /// Begins with what there is now.
    pub fn record(world: &World, kind: &str) -> Self {
        let resource = resource(kind);
        let api = Api::<DynamicObject>::namespaced_with(world.client.clone(), &world.namespace, &resource);
        let versions = Arc::<Mutex<Vec<Version>>>::default();
        let mut recording = JoinSet::new();
        let recorded = versions.clone();
        recording.spawn(async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let (object, gone) = match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => (object, false),
                    Ok(watcher::Event::Delete(object)) => (object, true),
                    _ => continue,
                };
                let version = Version {
                    number: number(object.metadata.resource_version.as_deref()),
                    name: object.metadata.name.clone().unwrap_or_default(),
                    object: (!gone).then(|| serde_json::to_value(&object).expect("JSON")),
                };
                recorded.lock().unwrap_or_else(PoisonError::into_inner).push(version);
            }
        });
        let path = path(&resource, &world.namespace);
        Self { versions, kind: kind.to_owned(), path, _recording: recording }
    }

    /// All so far, once the present state of an object is among them.
    pub async fn versions(&self, world: &World, name: &str) -> Vec<Version> {
        let now = world.get(&self.kind, name).await;
        let now = now.map(|object| number(object["metadata"]["resourceVersion"].as_str()));
        loop {
            let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let last = versions.iter().rfind(|version| version.name == name);
            let known = match now {
                Some(now) => last.is_some_and(|version| version.number >= now),
                None => last.is_none_or(|version| version.object.is_none()),
            };
            if known {
                return versions;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// As an API server shows it that knows only the first so many of these versions.
    pub fn past(&self, versions: &[Version], seen: usize) -> Past {
        let mut objects = BTreeMap::new();
        for version in &versions[..seen] {
            objects.insert(&version.name, version.object.as_ref());
        }
        let items: Vec<_> = objects.into_values().flatten().collect();
        let number = match (seen.checked_sub(1), versions.first()) {
            (Some(last), _) => versions[last].number,
            (None, Some(first)) => first.number - 1,
            (None, None) => panic!("nothing has happened yet"),
        };
        let list = json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": format!("{}List", self.kind),
            "metadata": { "resourceVersion": number.to_string() },
            "items": items,
        });
        Past([(self.path.clone(), Some(list.to_string()))].into())
    }
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cloudimages.dev", "v1alpha1", kind))
}

fn path(resource: &ApiResource, namespace: &str) -> String {
    format!("/apis/cloudimages.dev/v1alpha1/namespaces/{namespace}/{}", resource.plural)
}

fn number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}
