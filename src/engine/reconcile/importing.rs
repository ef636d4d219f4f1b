//! Taking over what exists already: `import`, and a person's answer to `Unclear`.

use super::{Error, Next, Pass};
use crate::{
    engine::{
        external::External,
        progress::{Handle, Intent, Observation, Progress, Wish},
        status::Detail,
    },
    image::OUTCOME,
};
use jiff::Timestamp;
use std::time::Duration;

impl<K: External> Pass<'_, K> {
    pub(super) async fn find(
        &mut self,
        client: &K::Client,
        from: Progress,
        wish: &Wish,
    ) -> Result<Next, Error> {
        let Some(import) = self.spec().import.clone() else { return Ok(Next::Change) };
        let found = match (&import.id, &import.matching) {
            (Some(id), _) => Ok(vec![K::handle(id)]),
            (None, Some(matching)) => self.subject().find(client, matching).await,
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
        if !wish.observe_only && self.is_taken(handle.id()) {
            return self.wait_slowly(&from, held_by_other(handle.id())).await;
        }
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
                if !wish.observe_only && !self.held() {
                    self.object = self.world.journal.hold(&self.object).await?;
                }
                let intent = Intent {
                    token: K::token(&self.uid(), 1),
                    attempt: 1,
                    since: Some(Timestamp::now()),
                    reference: None,
                };
                let to = Progress::Building { intent, handle: handle.clone(), percent: None };
                self.seen(client, from, to, seen, wish).await
            }
        }
    }

    pub(super) async fn adopt(
        &mut self,
        client: &K::Client,
        from: Progress,
        intent: Intent,
        id: &str,
    ) -> Result<Next, Error> {
        let handle = K::handle(id);
        if self.is_taken(id) {
            return self.wait_slowly(&from, held_by_other(id)).await;
        }
        match self.look(client, &handle).await {
            Err(error) => self.trouble(&from, &error).await,
            Ok(Observation::Missing) => {
                let message = format!(
                    "the annotation {OUTCOME} names {id}, which the vendor does not have; correct it"
                );
                self.wait_slowly(&from, Detail::stalled("InvalidOutcome", message)).await
            }
            Ok(_) => {
                let to = Progress::Building { intent, handle, percent: None };
                self.show(&from, to, None, true, None).await?;
                Ok(Next::In(Duration::ZERO))
            }
        }
    }
}

/// Two objects that manage one thing would change it and delete it under each other's hands.
pub(super) fn held_by_other(id: &str) -> Detail {
    let message = format!(
        "another object manages {id} already; delete that one with deletionPolicy: Retain first, or set managementPolicy: Observe here"
    );
    Detail::trouble("HeldByOther", message)
}
