//! When each object of a namespace becomes Ready, and when it is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Client;
use kube::api::WatchEvent;
use serde::Deserialize;
use tokio::task::JoinHandle;

use super::lab::API;

/// A watch of one kind in one namespace, until dropped. The same in every scene, since it costs the API server something.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    objects: HashMap<String, Object>,
    /// How many are in each phase: with tens of thousands, nobody counts them at each look.
    counts: HashMap<Phase, usize>,
}

impl Seen {
    fn moved(&mut self, from: Option<Phase>, to: Option<Phase>) {
        if let Some(count) = from.and_then(|from| self.counts.get_mut(&from)) {
            *count -= 1;
        }
        if let Some(to) = to {
            *self.counts.entry(to).or_default() += 1;
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Object {
    phase: Option<Phase>,
    ready: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Ready,
    Building,
    Other,
}

/// As much of an object as has to be read.
#[derive(Clone, Debug, Deserialize)]
struct Lean {
    metadata: Metadata,
    status: Option<Status>,
}

#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    phase: Option<String>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl Status {
    /// Accounts have no phase.
    fn phase(&self) -> Option<Phase> {
        let is_ready = |condition: &Condition| condition.type_ == "Ready" && condition.status == "True";
        match self.phase.as_deref() {
            Some("Ready") => Some(Phase::Ready),
            Some("Building") => Some(Phase::Building),
            Some(_) => Some(Phase::Other),
            None => self.conditions.iter().any(is_ready).then_some(Phase::Ready),
        }
    }
}

impl Watch {
    /// Begins with the objects that are there.
    pub(super) fn start(client: &Client, namespace: &str, plural: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let uri = format!("{API}/namespaces/{namespace}/{plural}?watch=1&timeoutSeconds=3600");
        let task = tokio::spawn(follow(client.clone(), uri, seen.clone()));
        Self { seen, task }
    }

    pub(super) fn ready(&self) -> usize {
        self.count(Phase::Ready)
    }

    pub(super) fn building(&self) -> usize {
        self.count(Phase::Building)
    }

    fn count(&self, phase: Phase) -> usize {
        self.seen().counts.get(&phase).copied().unwrap_or_default()
    }

    /// How many there are.
    pub(super) fn left(&self) -> usize {
        self.seen().objects.len()
    }

    /// How long after `start` each became Ready, in order.
    pub(super) fn ready_after(&self, start: Instant) -> Vec<Duration> {
        let seen = self.seen();
        let ready = seen.objects.values().filter_map(|object| object.ready);
        let mut after: Vec<_> = ready.map(|ready| ready.saturating_duration_since(start)).collect();
        after.sort();
        after
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A watch that the server ends tells of all objects that there are when it is opened again, and not of those that went.
async fn follow(client: Client, uri: String, seen: Arc<Mutex<Seen>>) {
    loop {
        if let Ok(request) = http::Request::get(&uri).body(vec![])
            && let Ok(events) = client.request_events::<Lean>(request).await
        {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), event),
                    // The server may be behind what it has told already, and says so.
                    Err(_) => break,
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn note(seen: &mut Seen, event: WatchEvent<Lean>) {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            let known = seen.objects.entry(object.metadata.name).or_default();
            let (before, now) = (known.phase, object.status.as_ref().and_then(Status::phase));
            known.phase = now;
            if now == Some(Phase::Ready) {
                known.ready.get_or_insert_with(Instant::now);
            }
            seen.moved(before, now);
        }
        WatchEvent::Deleted(object) => {
            let gone = seen.objects.remove(&object.metadata.name);
            seen.moved(gone.and_then(|gone| gone.phase), None);
        }
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
    }
}
