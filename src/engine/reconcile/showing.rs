//! What a pass writes: status, Events, and when to come back.

use super::{Error, Next, Pass, since_epoch};
use crate::{
    engine::{
        pace,
        progress::{Intent, Progress},
        request_id,
        status::{self, Detail, Shown},
        telemetry::Transition,
    },
    image::{ImageStatus, OUTCOME, OperationState, REQUESTED_AT},
    wire::{CallError, Class, outcome::one_line},
};
use jiff::Timestamp;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// What must not have changed for a write to go through.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guard {
    /// Anything.
    Version,
    /// Which object it is.
    Uid,
}

impl Pass<'_> {
    /// A call failed; nothing moved.
    pub(super) async fn trouble(&mut self, at: &Progress, error: &CallError) -> Result<Next, Error> {
        let at_rest = matches!(at, Progress::Ready { .. }) && !self.is_wanted();
        self.troubled(at, at.clone(), error, at_rest).await
    }

    /// The same where something else is known now: what differs from the spec and cannot be changed is not Ready.
    pub(super) async fn trouble_about(
        &mut self,
        from: &Progress,
        to: Progress,
        error: &CallError,
    ) -> Result<Next, Error> {
        self.troubled(from, to, error, false).await
    }

    /// Whether its spec asks for something that was not dealt with, or it is to go.
    fn is_wanted(&self) -> bool {
        self.deleting()
            || self.object.status().and_then(|status| status.observed_generation)
                != self.object.meta().generation
    }

    /// `at_rest`: it was as the spec says when it was last seen.
    async fn troubled(
        &mut self,
        from: &Progress,
        to: Progress,
        error: &CallError,
        at_rest: bool,
    ) -> Result<Next, Error> {
        if self.world.stopping.is_cancelled() {
            return Ok(Next::Change);
        }
        self.local.failures += 1;
        let wait = wait_after(self.local.failures, error);
        // What took long was no hiccup.
        let passing = self.local.failures < 3
            && self.began.elapsed() < pace::HICCUP
            && (error.class().is_none()
                || matches!(error.class(), Some(Class::Throttled | Class::Unavailable)));
        if passing {
            // A hiccup is not worth two writes.
            let request_id = request_id::last();
            tracing::warn!(reason = error.reason(), detail = %error, request_id, "a look at the vendor failed");
        } else if let (true, Progress::Ready { handle, product, .. }) = (at_rest, &to) {
            let last_seen = self.local.last_seen.or_else(|| self.stored_last_seen());
            let detail = Detail::unseen(product.name(handle), last_seen, error);
            self.show(from, to, Some(detail), false, None).await?;
        } else {
            // Only what the spec itself is to blame for has been dealt with.
            let settled = error.class().is_some_and(Class::is_final);
            self.show(from, to, Some(Detail::from(error)), settled, None).await?;
        }
        Ok(Next::In(wait))
    }

    fn stored_last_seen(&self) -> Option<Timestamp> {
        self.object.status()?.last_seen_at.as_ref().map(|time| time.0)
    }

    pub(super) async fn wait_slowly(&mut self, at: &Progress, detail: Detail) -> Result<Next, Error> {
        self.local.failures += 1;
        self.show(at, at.clone(), Some(detail), true, None).await?;
        Ok(Next::In(pace::backoff(self.local.failures, true)))
    }

    /// When to look again at something that went well.
    pub(super) fn after(&self, progress: &Progress) -> Next {
        match progress {
            Progress::Submitting(_) => Next::In(self.to_beat()),
            Progress::Restored { .. } | Progress::Unclear { .. } => Next::Change,
            // What was made meanwhile can be deleted now.
            _ if self.deleting() => Next::In(Duration::ZERO),
            Progress::Building { .. } => Next::In(self.to_beat()),
            Progress::New { .. } => Next::In(Duration::ZERO),
            Progress::Ready { .. } if self.is_to_retire(progress) => {
                Next::In(self.retires_later.unwrap_or_default())
            }
            Progress::Ready { intent, .. } if self.may_turn_up(intent) => {
                Next::In(self.to_next_resync().map_or(pace::SLOW_LOOK, |wait| wait.min(pace::SLOW_LOOK)))
            }
            Progress::Ready { .. } => self.to_next_resync().map_or(Next::Change, Next::In),
            Progress::Unusable { .. } => {
                Next::In(self.to_beat() + self.world.beat * (pace::UNUSABLE_LOOK - 1))
            }
            Progress::Missing { .. } => Next::In(pace::SLOW_LOOK),
            // The next pass finds what is left to remove, and rests where there is nothing.
            Progress::Failed { failure, .. } if failure.left.is_some() => Next::In(Duration::ZERO),
            Progress::Failed { .. } => Next::Change,
        }
    }

    /// Whether what an earlier attempt made may still turn up.
    fn may_turn_up(&self, intent: &Intent) -> bool {
        let since = intent.since.map(|since| Timestamp::now().duration_since(since));
        self.world.kind.traits().lags
            && intent.attempt > 1
            && since.is_some_and(|since| Duration::try_from(since).is_ok_and(|age| age < pace::LATE))
    }

    pub(super) fn to_beat(&self) -> Duration {
        let seed = self.connection.as_ref().map_or(0, |connection| connection.seed);
        pace::to_next_beat(since_epoch(), self.world.beat, seed)
    }

    /// Writes what changed, guarded, and tells of it.
    pub(super) async fn show(
        &mut self,
        from: &Progress,
        to: Progress,
        detail: Option<Detail>,
        settled: bool,
        request_id: Option<&str>,
    ) -> Result<(), Error> {
        let shown = self.shown(&to, detail.as_ref(), settled, request_id);
        if let Some(status) = status::status(&shown, self.object.status(), Timestamp::now()) {
            self.store(&status, Guard::Version).await?;
        }
        self.tell(from, &to, detail).await;
        Ok(())
    }

    /// What is about to be set at the vendor is written down first: were the operator to end in between, and the spec to
    /// change, nobody would know that it was its own.
    pub(super) async fn keep_named(&mut self) -> Result<(), Error> {
        let old = self.object.status().cloned().unwrap_or_default();
        let mut keys: BTreeSet<_> = old.managed_tags.iter().cloned().collect();
        keys.extend(self.object.named());
        if keys.len() == old.managed_tags.len() {
            return Ok(());
        }
        let mut new = ImageStatus { managed_tags: keys.into_iter().collect(), ..old };
        new.fit();
        self.store(&new, Guard::Version).await
    }

    /// Writes a status. One that the API server does not take, since its CRD is another or the status too big, is written
    /// without what can be done without; at least the conditions say so.
    async fn store(&mut self, status: &ImageStatus, guard: Guard) -> Result<(), Error> {
        // What it did not take a moment ago it does not take now, and the rest is there.
        if self.local.reduced.is_some_and(|reduced| reduced == status::fingerprint(status)) {
            return Ok(());
        }
        let refusal = match self.write(status, guard).await {
            Err(error) if error.is_invalid() => error,
            done => {
                self.local.reduced = None;
                return done;
            }
        };
        let (whole, why) = (status::fingerprint(status), one_line(&refusal.to_string(), 1000));
        if self.local.unstorable.replace(whole) != Some(whole) {
            let note = format!(
                "the API server does not take the status: {why}; upgrade the operator's CRDs if they are older"
            );
            self.world.telemetry.unstorable(&self.object, note).await;
        }
        if self.write(&status::reduced(status, &why), guard).await.is_ok() {
            self.local.reduced = Some(whole);
            return Ok(());
        }
        let old = self.object.status().cloned().unwrap_or_default();
        self.write(&status::unstorable(&old, self.generation(), &why, Timestamp::now()), guard).await?;
        Err(refusal)
    }

    async fn write(&mut self, status: &ImageStatus, guard: Guard) -> Result<(), Error> {
        let (journal, asked) = (&self.world.journal, Instant::now());
        self.object = match guard {
            Guard::Version => journal.advance(&self.object, status).await?,
            Guard::Uid => journal.conclude(&self.object, status).await?,
        };
        match guard {
            // That a status may be written does not say that the finalizer may be taken off, which is another right.
            Guard::Version if self.deleting() => {}
            Guard::Version => self.confirmed = Some(asked),
            Guard::Uid => self.confirmed = None,
        }
        Ok(())
    }

    /// The API server does not let the operator write the object: rights, or a policy.
    pub(super) fn write_refused(&self, error: &Error) -> Detail {
        let message = format!(
            "the API server does not let the operator write this object: {}. Give the operator the right to patch {}, or change \
             the policy that the message names; it is tried again",
            one_line(error.to_string().trim_end_matches('.'), 1000),
            self.world.kind.plural()
        );
        Detail::stalled("WriteRefused", message)
    }

    /// Shows a refusal of the API server's where that can be written, and tells of it in any case.
    pub(super) async fn show_refusal(&mut self, error: &Error) {
        // What was shown already, with all that could be written.
        if error.is_invalid() && self.local.unstorable.is_some() {
            return;
        }
        let (Ok(at), detail) = (self.progress(), self.write_refused(error)) else { return };
        if self.show(&at, at.clone(), Some(detail.clone()), false, None).await.is_err() {
            self.tell(&at, &at, Some(detail)).await;
        }
    }

    /// Writes a vendor's answer, unguarded.
    pub(super) async fn conclude(
        &mut self,
        from: &Progress,
        to: Progress,
        detail: Option<Detail>,
        settled: bool,
        request_id: Option<&str>,
    ) -> Result<(), Error> {
        let shown = self.shown(&to, detail.as_ref(), settled, request_id);
        if let Some(status) = status::status(&shown, self.object.status(), Timestamp::now()) {
            let stored = self.store(&status, Guard::Uid).await;
            if matches!(stored, Err(Error::Outdated)) {
                // Whoever went on found out by himself what became of the call.
                self.local.unwritten = None;
            }
            stored?;
        }
        self.tell(from, &to, detail).await;
        Ok(())
    }

    pub(super) async fn tell(&mut self, from: &Progress, to: &Progress, detail: Option<Detail>) {
        let trouble = self.local.trouble.take();
        self.local.trouble = detail.as_ref().map(|detail| detail.reason.clone());
        let action = self.action();
        let operation = self.object.status().and_then(|status| status.operation.as_ref());
        let request_id = operation.and_then(|operation| operation.request_id.as_deref());
        let transition =
            Transition { from, to, trouble: trouble.as_deref(), detail: detail.as_ref(), action, request_id };
        self.world.telemetry.transition(&self.object, &transition).await;
    }

    pub(super) fn shown<'s>(
        &'s self,
        progress: &'s Progress,
        detail: Option<&'s Detail>,
        settled: bool,
        request_id: Option<&'s str>,
    ) -> Shown<'s> {
        let old = self.object.status();
        let was_unclear = old.and_then(|old| old.operation.as_ref()).is_some_and(|operation| {
            matches!(operation.state, OperationState::Unclear | OperationState::Restored)
        });
        let handled = old.and_then(|old| old.last_handled_outcome.as_deref());
        let current = self.annotation(OUTCOME);
        Shown {
            progress,
            detail,
            action: self.action(),
            creates: self.world.kind.traits().action,
            deleting: self.deleting(),
            generation: self.generation(),
            settled,
            request_id,
            next_token: match progress {
                Progress::New { attempt, .. } => Some(self.world.kind.token(&self.uid(), *attempt)),
                _ => None,
            },
            named: self.object.named(),
            versions: self.versions_with(progress),
            overdue_at: self.overdue_at(progress),
            last_seen: self.local.last_seen,
            handled_request: self.annotation(REQUESTED_AT).filter(|_| settled),
            handled_outcome: match (matches!(progress, Progress::Unclear { .. }), was_unclear) {
                // An answer that stood there before the question does not answer it.
                (true, false) | (false, true) => current,
                (true, true) if current.is_none() => None,
                _ => handled,
            },
        }
    }
}

/// How long to wait after the `failures`-th failure in a row: as long as the vendor asks, within reason.
pub(super) fn wait_after(failures: u32, error: &CallError) -> Duration {
    let quick = passes(error) && !matches!(error, CallError::RateLimited { .. });
    let asked = match error {
        CallError::Refused(refusal) => refusal.retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    pace::backoff(failures, !quick).max(asked.min(pace::PAUSE))
}

/// Whether the same call may go well a moment later.
pub(super) fn passes(error: &CallError) -> bool {
    matches!(
        error,
        CallError::NotSent(_)
            | CallError::RateLimited { .. }
            | CallError::Unknown(_)
            | CallError::NoAnswer(_)
    ) || matches!(error.class(), Some(Class::Throttled | Class::Unavailable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Refusal;

    #[test]
    fn a_pause_that_the_vendor_asks_for_is_kept_within_reason() {
        let throttle = |seconds| {
            CallError::Refused(Refusal {
                action: "Make".into(),
                status: 429,
                code: "TooManyRequests".into(),
                message: String::new(),
                request_id: String::new(),
                class: Class::Throttled,
                hint: "",
                retry_after: Some(Duration::from_secs(seconds)),
            })
        };
        assert!(wait_after(1, &throttle(0)) <= Duration::from_secs(1));
        assert_eq!(wait_after(1, &throttle(100)), Duration::from_secs(100));
        assert_eq!(wait_after(1, &throttle(u64::MAX)), pace::PAUSE);
    }
}
