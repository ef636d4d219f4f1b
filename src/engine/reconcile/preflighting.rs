//! Looking, before an attempt, at what its creating call needs.

use super::{Error, Next, Pass, since_epoch};
use crate::{
    engine::{
        object::Link,
        pace,
        progress::{Intent, Origin, Progress},
        status::Detail,
    },
    image::PreflightPolicy,
};
use std::time::Duration;
use tokio::time::Instant;

impl Pass<'_> {
    /// When to come back if the call would be in vain. Before the call's permit, for which an object may have to get in line
    /// several times: what was there a moment ago is not looked at again.
    pub(super) async fn preflight(
        &mut self,
        client: &Link,
        from: &Progress,
        attempt: u32,
    ) -> Result<Option<Next>, Error> {
        if self.spec().preflight_policy == PreflightPolicy::Skip {
            return Ok(None);
        }
        let Some(connection) = self.connection.clone() else { return Ok(None) };
        let needs = self.subject().preflight(&connection, client);
        if needs.is_empty() {
            return Ok(None);
        }
        let ids: Vec<_> = needs.iter().map(|need| &*need.id).collect();
        let needed = pace::seed(&ids.join("\n"));
        if self
            .local
            .found
            .as_deref()
            .is_some_and(|(found, at)| *found == needed && at.elapsed() < pace::PREFLIGHT)
        {
            return Ok(None);
        }
        let mut obstacle = None;
        for need in &needs {
            let found = tokio::select! {
                found = need.look() => found,
                () = self.world.stopping.cancelled() => return Ok(Some(Next::Change)),
            };
            match found {
                Ok(None) => {}
                Ok(found) => {
                    obstacle = found;
                    break;
                }
                Err(error) => {
                    tracing::debug!(%error, needed = need.id, "what the call needs cannot be read");
                }
            }
        }
        let Some(obstacle) = obstacle else {
            self.local.found = Some(Box::new((needed, Instant::now())));
            return Ok(None);
        };
        let youth = self.youth();
        let detail = Detail::preflight(self.world.kind.traits().action, &obstacle, !youth.is_zero());
        // What is gone is made again only as long as the spec asks for it.
        let to = if matches!(from, Progress::New { .. } | Progress::Missing { .. }) {
            from.clone()
        } else {
            // No call was made, so that the number is not used up.
            let token = self.world.kind.token(&self.uid(), attempt);
            let tried = Intent {
                token,
                attempt,
                since: None,
                references: vec![],
                version: None,
                origin: Origin::Made,
            };
            Progress::New { attempt, tried: Some(tried) }
        };
        self.local.failures += 1;
        let wait = pace::backoff(self.local.failures, true);
        let wait = if youth.is_zero() { wait } else { wait.min(youth + Duration::from_secs(1)) };
        // On the beat, so that looks at the same moment share a call.
        let wait = wait + pace::to_next_beat(since_epoch() + wait, self.world.beat, connection.seed);
        self.show(from, to, Some(detail), true, None).await?;
        Ok(Some(Next::In(wait)))
    }
}
