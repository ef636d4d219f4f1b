//! Watches the Secrets that accounts name, each by its name alone, so that a rotated key works at once and nothing
//! else in the cluster is read.

use super::{
    external::{Credentials, Unusable},
    pace,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::AbortHandle, time::Instant};

/// Namespace and name of a Secret.
pub type SecretKey = (String, String);

/// One version of a Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretVersion {
    /// The API server's name of this version.
    pub resource_version: String,
    /// What is in it.
    pub credentials: Arc<Credentials>,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Loading,
    Missing,
    Unreadable(String),
    Found(SecretVersion),
}

/// The watches under way.
pub struct Secrets {
    client: Client,
    watches: Mutex<HashMap<SecretKey, Watch>>,
    changed: Arc<dyn Fn(&SecretKey) + Send + Sync>,
}

struct Watch {
    seen: watch::Receiver<Seen>,
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Secrets {
    /// `changed` is told of every Secret that has a new version, appeared or went.
    pub fn new(client: Client, changed: impl Fn(&SecretKey) + Send + Sync + 'static) -> Self {
        Self { client, watches: Mutex::default(), changed: Arc::new(changed) }
    }

    /// The current version, waiting a moment for the first look at it.
    pub async fn get(&self, key: &SecretKey) -> Result<SecretVersion, Unusable> {
        let mut seen = self.watch(key);
        let loaded =
            tokio::time::timeout(Duration::from_secs(10), seen.wait_for(|seen| *seen != Seen::Loading)).await;
        let (namespace, name) = key;
        match loaded.ok().and_then(Result::ok).as_deref() {
            Some(Seen::Found(version)) => Ok(version.clone()),
            Some(Seen::Missing) => Err(Unusable::new(
                "SecretNotFound",
                format!("Secret {namespace}/{name} does not exist; create it with the account's credentials"),
            )),
            Some(Seen::Unreadable(why)) => Err(Unusable::new(
                "SecretUnreadable",
                format!("Secret {namespace}/{name} cannot be read: {why}"),
            )),
            Some(Seen::Loading) | None => Err(Unusable::new(
                "SecretUnreadable",
                format!("Secret {namespace}/{name} could not be read in time"),
            )),
        }
    }

    /// Ends the watches that no account needs any more.
    pub fn retain(&self, needed: impl Fn(&SecretKey) -> bool) {
        self.watches().retain(|key, _| needed(key));
    }

    fn watch(&self, key: &SecretKey) -> watch::Receiver<Seen> {
        self.watches().entry(key.clone()).or_insert_with(|| self.start(key.clone())).seen.clone()
    }

    fn watches(&self) -> std::sync::MutexGuard<'_, HashMap<SecretKey, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, key: SecretKey) -> Watch {
        let (tell, seen) = watch::channel(Seen::Loading);
        let api = Api::<Secret>::namespaced(self.client.clone(), &key.0);
        let changed = self.changed.clone();
        let task = tokio::spawn(async move {
            let mut versions =
                pin!(watcher::watch_object(api, &key.1).backoff(watcher::DefaultBackoff::default()));
            while let Some(version) = versions.next().await {
                let now = match version {
                    Ok(Some(secret)) => Seen::Found(read(&key, &secret)),
                    Ok(None) => Seen::Missing,
                    // A watch that breaks says nothing about the Secret; one that never worked does.
                    Err(error) if *tell.borrow() == Seen::Loading => Seen::Unreadable(error.to_string()),
                    Err(_) => continue,
                };
                if tell.send_if_modified(|seen| {
                    if *seen == now {
                        false
                    } else {
                        *seen = now;
                        true
                    }
                }) {
                    changed(&key);
                }
            }
        });
        Watch { seen, task: task.abort_handle() }
    }
}

fn read(key: &SecretKey, secret: &Secret) -> SecretVersion {
    let keys = secret
        .data
        .iter()
        .flatten()
        .map(|(name, value)| (name.clone(), String::from_utf8_lossy(&value.0).into_owned()))
        .collect();
    let credentials = Credentials { source: format!("{}/{}", key.0, key.1), keys };
    SecretVersion {
        resource_version: secret.resource_version().unwrap_or_default(),
        credentials: Arc::new(credentials),
    }
}

type Labels = BTreeMap<String, String>;

/// Labels of namespaces, remembered for a moment.
#[derive(Debug, Default)]
pub struct NamespaceLabels {
    known: Mutex<HashMap<String, (Instant, Labels)>>,
}

impl NamespaceLabels {
    /// The labels of one namespace.
    pub async fn get(&self, client: &Client, name: &str) -> Result<Labels, kube::Error> {
        let known = |labels: &Mutex<HashMap<_, _>>| {
            labels.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
        };
        if let Some((at, labels)) =
            known(&self.known).filter(|(at, _): &(Instant, _)| at.elapsed() < pace::NAMESPACE_LABELS)
        {
            let _ = at;
            return Ok(labels);
        }
        let namespace = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone()).get(name).await?;
        let labels = namespace.metadata.labels.unwrap_or_default();
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.into(), (Instant::now(), labels.clone()));
        Ok(labels)
    }
}
