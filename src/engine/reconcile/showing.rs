//! What a pass writes: status, Events, and when to come back.

use super::{Error, Next, Pass, since_epoch};
use crate::{
    engine::{
        external::External,
        pace,
        progress::Progress,
        status::{self, Detail, Shown},
        telemetry::Transition,
    },
    image::{OUTCOME, REQUESTED_AT},
    wire::{CallError, Class},
};
use jiff::Timestamp;
use kube::ResourceExt;
use std::time::Duration;

impl<K: External> Pass<'_, K> {
    /// A call failed; nothing moved.
    pub(super) async fn trouble(&mut self, at: &Progress, error: &CallError) -> Result<Next, Error> {
        self.trouble_about(at, at.clone(), error).await
    }

    pub(super) async fn trouble_about(
        &mut self,
        from: &Progress,
        to: Progress,
        error: &CallError,
    ) -> Result<Next, Error> {
        if self.world.stopping.is_cancelled() {
            return Ok(Next::Change);
        }
        self.local.failures += 1;
        let wait = wait_after(self.local.failures, error);
        let wanted = self.deleting()
            || self.object.status().and_then(|status| status.observed_generation)
                != self.object.meta().generation;
        let at_rest = matches!(to, Progress::Ready { .. }) && !wanted;
        let passing = self.local.failures < 3
            && (error.class().is_none()
                || matches!(error.class(), Some(Class::Throttled | Class::Unavailable)));
        if at_rest || passing {
            // That a periodic look failed says nothing against the image, and a hiccup is not worth two writes.
            tracing::warn!(kind = %K::kind(&()), name = %self.object.name_any(), %error, "a look at the vendor failed");
        } else {
            // Only what the spec itself is to blame for has been dealt with.
            let settled = error.class().is_some_and(Class::is_final);
            self.show(from, to, Some(Detail::from(error)), settled, None).await?;
        }
        Ok(Next::In(wait))
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
            Progress::Unclear { .. } => Next::Change,
            // What was made meanwhile can be deleted now.
            _ if self.deleting() => Next::In(Duration::ZERO),
            Progress::Building { .. } => Next::In(self.to_beat()),
            Progress::New { .. } => Next::In(Duration::ZERO),
            Progress::Ready { .. } => self.to_next_resync().map_or(Next::Change, Next::In),
            Progress::Missing { .. } => Next::In(pace::SLOW_LOOK),
            Progress::Failed { .. } => Next::Change,
        }
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
            self.object = self.world.journal.advance(&self.object, &status).await?;
        }
        self.tell(from, &to, detail).await;
        Ok(())
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
            self.object = self.world.journal.conclude(&self.object, &status).await?;
        }
        self.tell(from, &to, detail).await;
        Ok(())
    }

    pub(super) async fn tell(&mut self, from: &Progress, to: &Progress, detail: Option<Detail>) {
        let trouble = self.local.trouble.take();
        self.local.trouble = detail.as_ref().map(|detail| detail.reason.clone());
        let action = self.action();
        let transition =
            Transition { from, to, trouble: trouble.as_deref(), detail: detail.as_ref(), action };
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
        let was_unclear = old
            .and_then(|old| old.operation.as_ref())
            .is_some_and(|operation| operation.state == crate::image::OperationState::Unclear);
        let handled = old.and_then(|old| old.last_handled_outcome.as_deref());
        let current = self.annotation(OUTCOME);
        Shown {
            progress,
            detail,
            action: self.action(),
            deleting: self.deleting(),
            generation: self.generation(),
            settled,
            request_id,
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
    let quick = matches!(error, CallError::NotSent(_) | CallError::Unknown(_))
        || matches!(error.class(), Some(Class::Throttled | Class::Busy | Class::Unavailable));
    let asked = match error {
        CallError::Refused(refusal) => refusal.retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    pace::backoff(failures, !quick).max(asked.min(pace::PAUSE))
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
