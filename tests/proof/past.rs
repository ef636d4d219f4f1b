//! The past of some kinds' objects in a namespace, version by version, and an API server that shows it: it lists them as they were,
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

/// The one kind whose objects have no namespace.
pub const CLUSTER_ACCOUNT: &str = "ClusterCloudAccount";

/// What an API server shows that lags behind.
#[derive(Clone, Debug, Default)]
pub struct Past(HashMap<String, Option<String>>);

impl Past {
    /// Of these kinds in a namespace nothing is told; who asks what there is waits, too.
    pub fn unknown(kinds: &[&str], namespace: &str) -> Self {
        let paths = kinds.iter().map(|kind| (path(kind, namespace), None));
        Self(paths.collect())
    }

    /// The same of one kind alone; the others are up to date.
    #[must_use]
    pub fn of(mut self, kind: &str, namespace: &str) -> Self {
        let path = path(kind, namespace);
        self.0.retain(|about, _| *about == path);
        self
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

/// All versions of some kinds' objects in a namespace.
pub struct History {
    versions: Arc<Mutex<Vec<Version>>>,
    kinds: Vec<String>,
    namespace: String,
    _recording: JoinSet<()>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Version {
    number: u64,
    /// Of this kind.
    pub kind: String,
    name: String,
    /// `None`: it is gone.
    pub object: Option<Value>,
}

impl History {
    /// Begins with what there is now.
    pub fn record(world: &World, kinds: &[&str]) -> Self {
        let versions = Arc::<Mutex<Vec<Version>>>::default();
        let mut recording = JoinSet::new();
        for kind in kinds {
            let (client, namespace, resource) = (world.client.clone(), &world.namespace, resource(kind));
            let api: Api<DynamicObject> = match *kind {
                CLUSTER_ACCOUNT => Api::all_with(client, &resource),
                _ => Api::namespaced_with(client, namespace, &resource),
            };
            let (recorded, kind) = (versions.clone(), (*kind).to_owned());
            recording.spawn(async move {
                let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
                while let Some(event) = events.next().await {
                    let (object, gone) = match event {
                        Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                            (object, false)
                        }
                        Ok(watcher::Event::Delete(object)) => (object, true),
                        _ => continue,
                    };
                    let version = Version {
                        number: number(object.metadata.resource_version.as_deref()),
                        kind: kind.clone(),
                        name: object.metadata.name.clone().unwrap_or_default(),
                        object: (!gone).then(|| serde_json::to_value(&object).expect("JSON")),
                    };
                    recorded.lock().unwrap_or_else(PoisonError::into_inner).push(version);
                }
            });
        }
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Self { versions, kinds, namespace: world.namespace.clone(), _recording: recording }
    }

    /// All so far, once the present state of these objects is among them.
    pub async fn versions(&self, world: &World, of: &[(&str, &str)]) -> Vec<Version> {
        let mut now = vec![];
        for (kind, name) in of {
            let object = world.get(kind, name).await;
            let version = object.map(|object| number(object["metadata"]["resourceVersion"].as_str()));
            now.push((*kind, *name, version));
        }
        loop {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_known = |(kind, name, now): &(&str, &str, Option<u64>)| {
                let last = versions.iter().rfind(|version| version.kind == *kind && version.name == *name);
                match now {
                    Some(now) => last.is_some_and(|version| version.number >= *now),
                    None => last.is_none_or(|version| version.object.is_none()),
                }
            };
            if now.iter().all(is_known) {
                // Those of a whole cluster may be other worlds' objects.
                let is_asked_for = |it: &Version| of.contains(&(&*it.kind, &*it.name));
                versions.retain(|version| version.kind != CLUSTER_ACCOUNT || is_asked_for(version));
                // The API server counts the versions of all kinds together.
                versions.sort_by_key(|version| version.number);
                return versions;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// As an API server shows it that knows only the first so many of these versions.
    pub fn past(&self, versions: &[Version], seen: usize) -> Past {
        let number = match (seen.checked_sub(1), versions.first()) {
            (Some(last), _) => versions[last].number,
            (None, Some(first)) => first.number - 1,
            (None, None) => panic!("nothing has happened yet"),
        };
        let lists = self.kinds.iter().map(|kind| {
            let mut objects = BTreeMap::new();
            for version in versions[..seen].iter().filter(|version| version.kind == *kind) {
                objects.insert(&version.name, version.object.as_ref());
            }
            let items = objects.into_values().flatten().map(|object| match kind.as_str() {
                // Nobody may see more of them in a list.
                "Secret" => json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
                }),
                _ => object.clone(),
            });
            let resource = resource(kind);
            let (version, list) = match kind.as_str() {
                "Secret" => ("meta.k8s.io/v1", "PartialObjectMetadataList".to_owned()),
                _ => (&*resource.api_version, format!("{kind}List")),
            };
            let list = json!({
                "apiVersion": version,
                "kind": list,
                "metadata": { "resourceVersion": number.to_string() },
                "items": items.collect::<Vec<_>>(),
            });
            (path(kind, &self.namespace), Some(list.to_string()))
        });
        Past(lists.collect())
    }
}

fn resource(kind: &str) -> ApiResource {
    let (group, version) = if kind == "Secret" { ("", "v1") } else { ("cloudimages.dev", "v1alpha1") };
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn path(kind: &str, namespace: &str) -> String {
    let resource = resource(kind);
    let api = if resource.group.is_empty() { "api".to_owned() } else { format!("apis/{}", resource.group) };
    let within = if kind == CLUSTER_ACCOUNT { String::new() } else { format!("namespaces/{namespace}/") };
    format!("/{api}/{}/{within}{}", resource.version, resource.plural)
}

fn number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}
