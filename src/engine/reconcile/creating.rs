//! From nothing to something at the vendor: intent, call, answer; and what became of a lost one.

use super::{Error, Next, Pass, showing::wait_after};
use crate::{
    engine::{
        external::{External, Submitted},
        journal::Permit,
        pace,
        progress::{Comparison, Handle, Intent, Observation, Product, Progress, Recovered, Wish},
        status::{self, Notice},
    },
    wire::{CallError, Effect},
};
use jiff::Timestamp;
use kube::ResourceExt;
use std::time::Duration;
use tokio::time::Instant;

impl<K: External> Pass<'_, K> {
    pub(super) async fn submit(
        &mut self,
        client: &K::Client,
        from: Progress,
        attempt: u32,
        replay: bool,
    ) -> Result<Next, Error> {
        let Some(connection) = self.connection.clone() else { return Ok(Next::Change) };
        let lane = self.subject().lane(client);
        let turn = tokio::select! {
            turn = connection.limits().turn(&lane, K::ACTION, Effect::Create) => turn,
            () = self.world.stopping.cancelled() => return Ok(Next::Change),
        };
        // No place below the limit in time: nothing is stored yet, so there is nothing to show either.
        let Ok(turn) = turn else { return Ok(Next::In(pace::backoff(3, false))) };
        let uid = self.uid();
        let since =
            from.intent().filter(|_| replay).and_then(|intent| intent.since).unwrap_or_else(Timestamp::now);
        let intent = Intent { token: K::token(&uid, attempt), attempt, since: Some(since) };
        let permit = self.permit(&from, &intent, replay).await?;
        let started = Instant::now();
        let answer = self.subject().submit(client, permit).await;
        self.world.telemetry.call(K::ACTION, started.elapsed(), &answer);
        turn.report(&answer);
        drop(turn);
        let answer = answer.and_then(|submitted| self.own(submitted, replay));
        self.submitted(client, from, intent, replay, answer).await
    }

    /// What a repeated call found again is only ours if no other object holds it.
    fn own(&self, submitted: Submitted, replay: bool) -> Result<Submitted, CallError> {
        let id = submitted.handle.id();
        if replay && self.world.accounts.catalog().is_taken(&K::kind(&()), id, &self.uid()) {
            return Err(CallError::Undecidable(vec![id.to_owned()]));
        }
        Ok(submitted)
    }

    pub(super) async fn permit(
        &mut self,
        from: &Progress,
        intent: &Intent,
        replay: bool,
    ) -> Result<Permit, Error> {
        let untouched = !self.held() && self.object.status().is_none_or(|status| status.operation.is_none());
        if untouched && intent.attempt == 1 {
            let (object, permit) = self.world.journal.first_permit(&self.object, intent.clone()).await?;
            self.object = object;
            return Ok(permit);
        }
        if !self.held() {
            self.object = self.world.journal.hold(&self.object).await?;
        }
        let stored = Progress::Submitting(intent.clone());
        let shown = self.shown(&stored, None, true, None);
        // Unchanged, it is written all the same: what counts is that the API server has nothing newer.
        let status = status::status(&shown, self.object.status(), Timestamp::now())
            .unwrap_or_else(|| self.object.status().cloned().unwrap_or_default());
        let (object, permit) =
            self.world.journal.permit(&self.object, &status, intent.clone(), replay).await?;
        self.object = object;
        self.tell(from, &stored, None).await;
        Ok(permit)
    }

    pub(super) async fn submitted(
        &mut self,
        client: &K::Client,
        from: Progress,
        intent: Intent,
        replay: bool,
        answer: Result<Submitted, CallError>,
    ) -> Result<Next, Error> {
        let request_id = match &answer {
            Ok(submitted) => submitted.request_id.clone(),
            Err(CallError::Refused(refusal)) => Some(refusal.request_id.clone()).filter(|id| !id.is_empty()),
            Err(_) => None,
        };
        let mut to =
            Progress::submitted(intent, replay, answer.as_ref().map(|submitted| submitted.handle.clone()));
        if let (true, Progress::Building { handle, .. }) = (K::IMMEDIATE, &to)
            && let Some(product) = self.look_at_once(client, handle).await
        {
            to = to.observed(Observation::Ready(product));
        }
        let (notice, wait) = match &answer {
            Err(error) if matches!(to, Progress::New { .. } | Progress::Submitting(_)) => {
                self.memo.failures += 1;
                if matches!(error, CallError::Unknown(_)) {
                    self.memo.lost_at = Some(Instant::now());
                }
                let settle =
                    if matches!(to, Progress::Submitting(_)) { self.settle(client) } else { Duration::ZERO };
                let wait = wait_after(self.memo.failures, error).max(settle);
                (Some(Notice::from(error)), Some(wait))
            }
            _ => {
                self.memo.failures = 0;
                self.memo.lost_at = None;
                (None, None)
            }
        };
        let next = wait.map_or_else(|| self.after(&to), Next::In);
        self.conclude(&from, to, notice, request_id.as_deref()).await?;
        Ok(next)
    }

    /// For vendors whose creating call answers when the thing is there: one look, so that one write tells all of it.
    pub(super) async fn look_at_once(&self, client: &K::Client, handle: &Handle) -> Option<Product> {
        match tokio::time::timeout(Duration::from_secs(3), self.look(client, handle)).await {
            Ok(Ok(Observation::Ready(product))) => {
                (self.subject().compare(client, &product) == Comparison::Same).then_some(product)
            }
            _ => None,
        }
    }

    pub(super) async fn recover(
        &mut self,
        client: &K::Client,
        from: Progress,
        intent: Intent,
        wish: &Wish,
    ) -> Result<Next, Error> {
        let lost_at = self.memo.lost_at.unwrap_or(self.world.started);
        let settled = lost_at + self.settle(client);
        if let Some(wait) = settled.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            return Ok(Next::In(wait));
        }
        let since = intent.since.unwrap_or(Timestamp::UNIX_EPOCH);
        let recovered = match self.subject().recover(client, &intent.token, since).await {
            Ok(Recovered::Candidates(handles)) => Recovered::Candidates(self.not_taken(handles)),
            Ok(recovered) => recovered,
            Err(error) => return self.trouble(&from, &error).await,
        };
        tracing::info!(kind = %K::kind(&()), name = %self.object.name_any(), token = intent.token, ?recovered, "recovered");
        let attempt = intent.attempt;
        match (Progress::recovered(intent, recovered), wish.deleting) {
            (Progress::Submitting(_), _) => self.submit(client, from, attempt, true).await,
            (Progress::New { attempt, .. }, false) => self.submit(client, from, attempt, false).await,
            (Progress::New { .. }, true) => self.release(&from, wish).await,
            (to, _) => {
                self.memo.failures = 0;
                let next = self.after(&to);
                self.show(&from, to, None, true, None).await?;
                Ok(next)
            }
        }
    }

    /// Those of the vendor's things that no other object holds.
    pub(super) fn not_taken(&self, handles: Vec<Handle>) -> Vec<Handle> {
        let (kind, uid) = (K::kind(&()), self.uid());
        handles
            .into_iter()
            .filter(|handle| !self.world.accounts.catalog().is_taken(&kind, handle.id(), &uid))
            .collect()
    }
}
