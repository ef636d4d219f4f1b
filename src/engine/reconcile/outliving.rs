//! What a call made whose object was gone before the answer could be stored.

use super::{Pass, creating::before, sharing::Elsewhere};
use crate::{
    engine::{
        accounts::Accounts,
        locks::Holder,
        object::{Link, Object},
        pace,
        progress::{Comparison, Deletion, Handle, Intent, Product, Progress, Recovered},
        shared_locks::SharedLocks,
        telemetry::Telemetry,
    },
    image::DeletionPolicy,
    panics,
    wire::CallError,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

impl Pass<'_> {
    /// The object went while its creating call was under way, although our finalizer had been put on before: an API server
    /// that has begun to delete an object that had none yet deletes it all the same. Nobody else knows what the call made, so
    /// it is deleted, unless it was to stay. What of it a process that ends has not done stays undone.
    pub(super) fn outlived(&self, client: &Link, made: &Progress) {
        let Some(intent) = made.intent().filter(|_| made.handle().is_some() || made.under_way()) else {
            return;
        };
        let left = Outlived {
            object: self.subject().into_owned(),
            client: client.clone(),
            intent: intent.clone(),
            holder: self.holder(),
            realm: self.realm(),
            accounts: self.world.accounts.clone(),
            shared: self.world.shared.clone(),
            telemetry: self.world.telemetry.clone(),
            beat: self.world.beat.max(Duration::from_secs(1)),
            stopping: self.world.stopping.clone(),
        };
        let handle = made.handle().cloned();
        // A bug that this one brings out is no reason to end all others' work.
        tokio::spawn(panics::alone(async move {
            let stopping = left.stopping.clone();
            tokio::select! {
                () = left.clear(handle) => {}
                () = stopping.cancelled() => {}
            }
        }));
    }
}

/// Everything that it takes to clear it away.
struct Outlived {
    object: Object,
    client: Link,
    intent: Intent,
    holder: Holder,
    realm: Option<String>,
    accounts: Arc<Accounts>,
    shared: Option<SharedLocks>,
    telemetry: Telemetry,
    beat: Duration,
    stopping: CancellationToken,
}

impl Outlived {
    async fn clear(mut self, made: Option<Handle>) {
        let made = match made {
            Some(handle) => Some(handle),
            None => self.look().await,
        };
        let Some(handle) = made else { return };
        let id = handle.id();
        let why = format!("{id} was made for this object, which was deleted in the same moment");
        if self.object.spec().deletion_policy == Some(DeletionPolicy::Retain) {
            let note = format!("{why}; it stays at the vendor, as deletionPolicy Retain asks");
            return self.telemetry.released(&self.object, "Release", note).await;
        }
        self.telemetry.released(&self.object, "Delete", format!("{why}; it is deleted at the vendor")).await;
        let (end, mut failures) = (Instant::now() + pace::OUTLIVED, 0);
        while Instant::now() < end {
            let wait = match self.object.delete(&self.client, &handle).await {
                Ok(Deletion::Gone) => return,
                Ok(Deletion::Remains(what)) => {
                    return self.telemetry.released(&self.object, "Delete", what).await;
                }
                Ok(Deletion::Seen(product)) => {
                    if let Some(made) = product.image_id.as_deref().filter(|made| self.is_taken(made)) {
                        let note = format!("{made} stays at the vendor: another object has taken it over");
                        return self.telemetry.released(&self.object, "Release", note).await;
                    }
                    if let Some(object) = with_seen(&self.object, &product) {
                        self.object = object;
                    } else {
                        tracing::warn!(id, "what is seen of what outlived its object cannot be kept");
                    }
                    self.beat
                }
                Ok(Deletion::Underway | Deletion::Waiting(_)) => self.beat,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(id, %error, "what outlived its object cannot be deleted yet");
                    pace::backoff(failures, false)
                }
            };
            sleep(wait).await;
        }
        tracing::warn!(id, "what outlived its object is left at the vendor: delete it there");
    }

    /// The answer was lost as well: what it may have made is looked for as if the object were there.
    async fn look(&self) -> Option<Handle> {
        sleep(self.object.settle(&self.client)).await;
        let mut failures = 0;
        let recovered = loop {
            match self.recover().await {
                Ok(recovered) => break recovered,
                Err(error) if failures < 10 => {
                    failures += 1;
                    tracing::warn!(%error, "what may have outlived its object cannot be looked for yet");
                    sleep(pace::backoff(failures, false)).await;
                }
                Err(_) => break Recovered::Undecidable(vec![]),
            }
        };
        match Progress::recovered(self.intent.clone(), recovered) {
            Progress::Unclear { candidates, .. } => {
                let note = format!(
                    "the object was deleted in the moment in which {} was called for it, and the answer was lost: it may have \
                     made one of {candidates:?}; look at the vendor",
                    self.object.its_kind().traits().action
                );
                self.telemetry.released(&self.object, "Delete", note).await;
                None
            }
            progress => progress.handle().cloned(),
        }
    }

    async fn recover(&self) -> Result<Recovered, CallError> {
        let since = before(self.intent.since);
        let recovered = self.object.recover(&self.client, &self.intent.token, since).await?;
        let there = match recovered {
            // Asking with its token would make it, if it was not made.
            Recovered::Replay => self.object.lookalikes(&self.client).await?,
            _ => vec![],
        };
        // After what is there was seen: whoever made it had written his intent before.
        let elsewhere = match &self.shared {
            Some(shared) => shared.seen(&self.accounts, self.realm.as_deref(), &self.object).await?,
            None => Elsewhere::default(),
        };
        let is_free = |id: &str| !self.is_taken(id) && elsewhere.owned.iter().all(|(taken, _)| taken != id);
        let free = |handles: Vec<Handle>| handles.into_iter().filter(|handle| is_free(handle.id())).collect();
        Ok(match recovered {
            Recovered::Found(handle) if !is_free(handle.id()) => Recovered::Candidates(vec![]),
            Recovered::Candidates(handles) => Recovered::Candidates(free(handles)),
            Recovered::Doubtful { likely, doubtful } => {
                Recovered::Doubtful { likely: free(likely), doubtful: free(doubtful) }
            }
            Recovered::Replay => {
                let there = there.into_iter().filter(|thing| {
                    !matches!(thing.comparison, Comparison::Fixed(_))
                        && thing.created.is_none_or(|created| created >= since)
                        && is_free(&thing.id)
                });
                let handles: Vec<_> = there.map(|thing| self.object.its_kind().handle(&thing.id)).collect();
                // It may be that of others who asked for the like at the same time, one made anew under this name for one.
                if self.others_ask() || elsewhere.asking_alike > 0 {
                    Recovered::Undecidable(handles.iter().map(|handle| handle.id().to_owned()).collect())
                } else {
                    Recovered::Candidates(handles)
                }
            }
            other => other,
        })
    }

    fn others_ask(&self) -> bool {
        let (index, wanted) = (self.accounts.index(), super::wanted(&self.object));
        self.realm.as_ref().is_some_and(|realm| index.asking_alike(&self.holder, realm, &wanted) > 0)
    }

    fn is_taken(&self, id: &str) -> bool {
        let index = self.accounts.index();
        let owner = |realm: &String| index.owner(&self.holder.kind, realm, id, &self.holder.uid);
        self.realm.as_ref().is_some_and(|realm| owner(realm).is_some())
    }
}

/// The same object with what was seen of its thing in a status that nobody can store any more.
fn with_seen(object: &Object, product: &Product) -> Option<Object> {
    let mut known: Value = serde_json::from_slice(&object.json().ok()?).ok()?;
    known["status"]["imageId"] = json!(product.image_id);
    known["status"]["atProvider"] = product.at_provider.clone();
    object.its_kind().read(&known.to_string()).ok()
}
