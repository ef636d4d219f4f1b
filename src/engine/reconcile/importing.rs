//! Taking over what exists already: `import`, and a person's answer to `Unclear`.

use super::{Error, Next, Pass};
use crate::{
    engine::{
        object::Link,
        pace,
        progress::{Handle, Intent, Observation, Origin, Progress, Wish},
        status::Detail,
    },
    image::OUTCOME,
};
use jiff::Timestamp;
use std::time::Duration;

impl Pass<'_> {
    pub(super) async fn find(&mut self, client: &Link, from: Progress, wish: &Wish) -> Result<Next, Error> {
        let Some(import) = self.spec().import.clone() else { return Ok(Next::Change) };
        let found = match (&import.id, &import.matching) {
            (Some(id), _) => Ok(vec![self.world.kind.handle(id)]),
            (None, Some(())) => self.subject().find(client).await,
            (None, None) => Ok(vec![]),
        };
        let handles = match found {
            Ok(handles) => handles,
            Err(error) => return self.trouble(&from, &error).await,
        };
        let [handle] = handles.as_slice() else {
            let ids: Vec<_> = handles.iter().take(10).map(Handle::id).collect();
            let detail = if ids.is_empty() {
                Detail::trouble(
                    "ImportNotFound",
                    "nothing at the vendor matches import.match; it is looked for again from time to time",
                )
            } else {
                Detail::stalled(
                    "ImportAmbiguous",
                    format!(
                        "import.match has {} hits ({}); narrow it down, or give import.id",
                        handles.len(),
                        ids.join(", ")
                    ),
                )
            };
            return self.wait_slowly(&from, detail).await;
        };
        match self.look(client, handle).await {
            Err(error) => self.trouble(&from, &error).await,
            Ok(Observation::Missing) => {
                let detail = Detail::trouble(
                    "ImportNotFound",
                    format!("the vendor has no {}; correct import.id, or create it", handle.id()),
                );
                self.wait_slowly(&from, detail).await
            }
            Ok(seen) => {
                if !wish.observe_only
                    && let Err(detail) = self.claim(stands_for(handle, &seen)).await
                {
                    return self.wait_for_owner(&from, detail).await;
                }
                if !wish.observe_only
                    && let Some(next) = self.made_for_other(client, &from, handle, &seen).await?
                {
                    return Ok(next);
                }
                let since = Some(Timestamp::now());
                if !wish.observe_only && !self.held() {
                    self.object = self.world.journal.hold(&self.object, 1, since).await?;
                }
                let origin = if wish.observe_only { Origin::Observed } else { Origin::Imported };
                let token = self.world.kind.token(&self.uid(), 1);
                let intent = Intent { token, attempt: 1, since, references: vec![], version: None, origin };
                let to = Progress::Building { intent, handle: handle.clone(), percent: None };
                Box::pin(self.seen(client, from, to, seen, wish)).await
            }
        }
    }

    /// News of the owner wake it; they may get lost.
    pub(super) async fn wait_for_owner(&mut self, at: &Progress, detail: Detail) -> Result<Next, Error> {
        // What is at rest by its status would not look before its next resync.
        let settled = !matches!(at, Progress::Ready { .. });
        self.show(at, at.clone(), Some(detail), settled, None).await?;
        Ok(Next::Poll(self.until_ripe().unwrap_or(pace::OTHERS)))
    }

    /// Waits where what is about to be taken over bears the mark of another object, and nobody says that this one is done with
    /// it: that object may live in another cluster, whose operator changes and deletes the thing as its own.
    pub(super) async fn made_for_other(
        &mut self,
        client: &Link,
        from: &Progress,
        handle: &Handle,
        seen: &Observation,
    ) -> Result<Option<Next>, Error> {
        let other = match self.subject().made_for(client, handle, seen).await {
            Ok(other) => other.filter(|uid| *uid != self.uid() && !self.is_told_of(from, uid)),
            Err(error) => return self.trouble(from, &error).await.map(Some),
        };
        let Some(other) = other else { return Ok(None) };
        let id = handle.id();
        let advice = match from {
            Progress::Unclear { restored: false, .. } => {
                format!("it is not what this object asked for; correct the annotation {OUTCOME}")
            }
            _ => format!(
                "let go of it there first (deletionPolicy: Retain), and set spec.import to {{id: {id}, madeFor: {other}}} here to take \
                 it over, or managementPolicy: Observe to leave it to that one"
            ),
        };
        let message = format!(
            "{id} bears the operator's mark for the object with uid {other}, which may live in another cluster and manage it; {advice} / \
             {id} 带有 uid 为 {other} 的对象的标记，该对象可能仍在其他集群中管理它"
        );
        self.wait_slowly(from, Detail::stalled("MadeForOther", message)).await.map(Some)
    }

    /// Whether a person takes things over that were made for this object: since the spec says so, or in answer to what was shown of
    /// the object that this one was restored from.
    fn is_told_of(&self, from: &Progress, uid: &str) -> bool {
        let import = self.spec().import.as_ref();
        let was_shown = match from {
            Progress::Unclear { intent, restored: true, .. } => {
                self.world.kind.token(uid, intent.attempt) == intent.token
            }
            _ => false,
        };
        was_shown || import.is_some_and(|import| import.made_for.as_deref() == Some(uid))
    }

    pub(super) async fn adopt(
        &mut self,
        client: &Link,
        from: Progress,
        intent: Intent,
        id: &str,
    ) -> Result<Next, Error> {
        let handle = self.world.kind.handle(id);
        match self.look(client, &handle).await {
            Err(error) => self.trouble(&from, &error).await,
            Ok(Observation::Missing) => {
                let message = format!(
                    "the annotation {OUTCOME} names {id}, which the vendor does not have; correct it"
                );
                self.wait_slowly(&from, Detail::stalled("InvalidOutcome", message)).await
            }
            Ok(seen) => {
                if let Err(detail) = self.claim(stands_for(&handle, &seen)).await {
                    return self.wait_for_owner(&from, detail).await;
                }
                if let Some(next) = self.made_for_other(client, &from, &handle, &seen).await? {
                    return Ok(next);
                }
                let restored = matches!(from, Progress::Unclear { restored: true, .. });
                let intent = if restored {
                    // What was made for another object is taken over.
                    let token = self.world.kind.token(&self.uid(), 1);
                    Intent { token, attempt: 1, origin: Origin::Imported, ..intent }
                } else {
                    intent
                };
                let to = Progress::Building { intent, handle, percent: None };
                self.show(&from, to, None, true, None).await?;
                Ok(Next::In(Duration::ZERO))
            }
        }
    }
}

/// What an object would own: of a task that has ended, what it made, which another object may have under its own id.
fn stands_for<'a>(handle: &'a Handle, seen: &'a Observation) -> &'a str {
    seen.product().and_then(|product| product.image_id.as_deref()).unwrap_or(handle.id())
}

/// Two objects that manage one thing would change it and delete it under each other's hands.
pub(super) fn held_by_other(id: &str, other: &str) -> Detail {
    let message = format!(
        "{other} manages {id} already; this one goes on when that one is deleted with deletionPolicy: Retain, or set \
         managementPolicy: Observe here"
    );
    Detail::trouble("HeldByOther", message)
}
