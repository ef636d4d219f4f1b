//! Looking at what the vendor has, and setting right what differs.

use super::{Error, Next, Pass, showing::wait_after};
use crate::{
    engine::{
        external::External,
        pace,
        progress::{
            self, Comparison, Difference, Handle, Intent, Observation, Origin, Product, Progress, Wish,
        },
        request_id,
        status::Detail,
    },
    wire::{CallError, Refusal},
};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

impl<K: External> Pass<'_, K> {
    pub(super) async fn look(&self, client: &K::Client, handle: &Handle) -> Result<Observation, CallError> {
        let Some(connection) = &self.connection else {
            return Err(CallError::NotSent("no connection".into()));
        };
        let observers = connection.observers::<K>(client, &self.subject().region(client));
        tokio::select! {
            seen = observers.ask(handle.clone()) => Ok(match seen? {
                Some(Observation::Ready(product)) => Observation::Ready(self.subject().finished(product)),
                Some(seen) => seen,
                None => Observation::Missing,
            }),
            () = self.world.stopping.cancelled() => Err(CallError::NotSent("the operator is stopping".into())),
        }
    }

    pub(super) async fn observe(
        &mut self,
        client: &K::Client,
        from: Progress,
        handle: Handle,
        wish: &Wish,
    ) -> Result<Next, Error> {
        let origin = from.intent().map_or(Origin::Made, |intent| intent.origin);
        // What was only observed until now is ours to change and delete from now on.
        if !wish.observe_only && (origin == Origin::Observed || !self.held()) {
            if let Err(detail) = self.claim(handle.id()) {
                return self.wait_for_owner(&from, detail).await;
            }
            let (attempt, since) = from.intent().map_or((1, None), |intent| (intent.attempt, intent.since));
            self.object = self.world.journal.hold(&self.object, attempt, since).await?;
        }
        let base = from.clone().with_origin(match (wish.observe_only, origin) {
            (true, _) => Origin::Observed,
            (false, Origin::Observed) => Origin::Imported,
            (false, origin) => origin,
        });
        if let (Progress::Ready { .. }, false, Some(connection)) =
            (&from, wish.changed || wish.asked, &self.connection)
            && let Err(wait) = connection.limits().resync(K::BATCH)
        {
            return Ok(Next::In(wait));
        }
        match self.look(client, &handle).await {
            Ok(seen) => self.seen(client, from, base, seen, wish).await,
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    /// `base` is the progress that the observation speaks of.
    pub(super) async fn seen(
        &mut self,
        client: &K::Client,
        from: Progress,
        base: Progress,
        seen: Observation,
        wish: &Wish,
    ) -> Result<Next, Error> {
        if K::FORGETS && seen == Observation::Missing && matches!(base, Progress::Ready { .. }) {
            self.show(&from, base, None, true, None).await?;
            return Ok(Next::Change);
        }
        if seen == Observation::Missing && !matches!(base, Progress::Missing { .. }) {
            let since = *self.local.missing_since.get_or_insert_with(Instant::now);
            let second = self.world.beat * pace::SECOND_LOOK;
            let patience = if matches!(base, Progress::Building { .. }) {
                second.max(self.settle(client))
            } else {
                second
            };
            if let Some(wait) = patience.checked_sub(since.elapsed()).filter(|wait| !wait.is_zero()) {
                return Ok(Next::In(wait));
            }
        }
        self.local.missing_since = None;
        if matches!(seen, Observation::Ready(_)) {
            self.local.last_seen = Some(Timestamp::now());
        }
        let mut detail = match &seen {
            Observation::Building { note: Some(note), .. } => Some(Detail::waiting("Building", note)),
            _ => None,
        };
        let refusal = match &seen {
            Observation::Refused(refusal) => Some(refusal.clone()),
            _ => None,
        };
        let mut to = base.observed(seen);
        if let (Progress::New { attempt, .. }, Some(refusal)) = (&to, refusal) {
            return self.refused(&from, attempt + 1, refusal).await;
        }
        if let Progress::Ready { product, .. } = &to {
            match if wish.observe_only { Comparison::Same } else { self.subject().compare(client, product) } {
                Comparison::Same => self.local.amended = 0,
                Comparison::Fixed(fields) => {
                    let origin = to.intent().map_or(Origin::Made, |intent| intent.origin);
                    detail = Some(differs(origin, product, &fields));
                }
                Comparison::Amendable(fields) if self.local.amended >= pace::AMENDMENTS => {
                    let message = format!(
                        "{} was set at the vendor {} times and does not stay: somebody else sets it too, or the vendor does not keep all of it",
                        progress::fields(&fields),
                        self.local.amended
                    );
                    detail = Some(Detail::stalled("NotConverging", message));
                }
                Comparison::Amendable(fields) => {
                    match self.amend(client, &from, &to, product.clone(), &fields, !wish.changed).await? {
                        Ok(amended) => to = amended,
                        Err(next) => return Ok(next),
                    }
                }
            }
        }
        if matches!(to, Progress::Ready { .. }) && !wish.observe_only {
            // Its own condition says nothing of it, so the next look tries again.
            if let Err(error) = self.clear_leftovers(client, &to).await {
                tracing::warn!(%error, "what earlier attempts left behind cannot be looked for");
            }
        }
        self.local.failures = 0;
        let mut next = self.after(&to);
        if let (Progress::Building { intent, handle, .. }, Some(late)) = (&to, self.overdue(&to)) {
            let message = format!(
                "{} has not finished {} in {late:?} (spec.timeout, attempt {}); it is still looked at, and a late success counts; \
                 ask the vendor about it, raise timeout, or delete this object",
                K::ACTION,
                handle.id(),
                intent.attempt
            );
            let message = match detail {
                Some(detail) => format!("{}; {message}", detail.message),
                None => message,
            };
            detail = Some(Detail::stalled("TimedOut", message));
            next = Next::In(pace::SLOW_LOOK);
        }
        if let (Progress::Missing { handle, was_ready: true, .. }, true) =
            (&to, wish.recreate && !wish.import)
        {
            let message =
                format!("the vendor no longer has {}; it is made again, as recreatePolicy asks", handle.id());
            detail = Some(Detail::trouble("Missing", message));
            next = Next::In(Duration::ZERO);
        }
        self.show(&from, to, detail, true, None).await?;
        Ok(next)
    }

    /// The vendor took the order and refused it afterwards. Its token is used up, so the next attempt is another one.
    async fn refused(&mut self, from: &Progress, attempt: u32, refusal: Refusal) -> Result<Next, Error> {
        let token = K::token(&self.uid(), attempt);
        let tried = Intent { token, attempt, since: None, reference: None, origin: Origin::Made };
        // The creating calls in between went well; how often it was all in vain is the number of attempts.
        self.local.failures = attempt - 1;
        let error = CallError::Refused(refusal);
        let detail = Detail::from(&error);
        self.show(from, Progress::New { attempt, tried: Some(tried) }, Some(detail), false, None).await?;
        Ok(Next::In(wait_after(self.local.failures, &error)))
    }

    /// Sets a difference right and looks again.
    pub(super) async fn amend(
        &mut self,
        client: &K::Client,
        from: &Progress,
        to: &Progress,
        product: Product,
        differences: &[Difference],
        is_drift: bool,
    ) -> Result<Result<Progress, Next>, Error> {
        if let Err(error) = self.subject().amend(client, &product).await {
            return self.trouble_about(from, to.clone(), &error).await.map(Err);
        }
        let name = product.image_id.as_deref().unwrap_or("the image");
        let changes = progress::changes(differences);
        // That a change of the spec arrives is no news; that somebody else changed the image is.
        if is_drift {
            let note = format!("{name} differed from the spec, and was set right: {changes}");
            self.world.telemetry.drift(&self.object, note).await;
        } else {
            tracing::info!(changes, request_id = request_id::last(), "changed at the vendor");
        }
        self.local.amended += 1;
        let Some(handle) = to.handle() else { return Ok(Err(Next::Change)) };
        match self.look(client, handle).await {
            Err(error) => self.trouble_about(from, to.clone(), &error).await.map(Err),
            Ok(Observation::Ready(product))
                if self.subject().compare(client, &product) == Comparison::Same =>
            {
                self.local.amended = 0;
                self.local.last_seen = Some(Timestamp::now());
                Ok(Ok(to.clone().observed(Observation::Ready(product))))
            }
            Ok(_) => {
                let detail = Detail::waiting(
                    "Updating",
                    "a change was sent to the vendor and does not show there yet",
                );
                self.show(from, to.clone(), Some(detail), false, None).await?;
                Ok(Err(Next::In(self.to_beat())))
            }
        }
    }

    pub(super) fn overdue(&self, progress: &Progress) -> Option<Duration> {
        let limit = Duration::from(self.spec().timeout);
        let since = progress.intent()?.since.or(self.born())?;
        let taken = Duration::try_from(Timestamp::now().duration_since(since)).ok()?;
        (taken > limit).then_some(limit)
    }
}

/// What the vendor cannot change differs from the spec.
fn differs(origin: Origin, product: &Product, fields: &[Difference]) -> Detail {
    let advice = match origin {
        Origin::Made => "make a new object, or set it to what the vendor has where the spec can be changed",
        Origin::Imported | Origin::Observed => {
            "set it to what the vendor has (status.atProvider), or delete this object: without deletionPolicy: Delete, the image stays there"
        }
    };
    let fields = progress::fields(fields);
    let message = format!(
        "the vendor's {} differs from the spec in {fields}, which cannot be changed there; {advice} / 厂商侧的镜像与 spec \
         不一致（{fields}），且厂商不支持修改，请将 spec 改为厂商侧的值，或删除此对象后新建",
        product.image_id.as_deref().unwrap_or("image"),
    );
    Detail::stalled("SpecDiffers", message)
}
