//! Looking at what the vendor has, and setting right what differs.

use super::{Error, Next, Pass, showing::wait_after};
use crate::{
    engine::{
        object::Link,
        pace,
        progress::{
            self, Comparison, Difference, Handle, Hindrance, Intent, Observation, Origin, Product, Progress,
            Wish,
        },
        status::{self, Detail, UNUSABLE},
    },
    image::{DriftPolicy, REQUESTED_AT},
    period::Period,
    wire::{CallError, Refusal},
};
use jiff::Timestamp;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

/// Why what was taken over is not Ready yet.
const TAKEN_OVER: &str = "TakenOver";

impl Pass<'_> {
    pub(super) async fn look(&self, client: &Link, handle: &Handle) -> Result<Observation, CallError> {
        let Some(connection) = &self.connection else {
            return Err(CallError::NotSent("no connection".into()));
        };
        self.looked.store(true, Ordering::Relaxed);
        let observers = connection.observers(self.world.kind, client, &self.subject().region(client));
        let complete = async |product: Product| {
            let product = self.subject().finished(product);
            if self.deleting() { Ok(product) } else { self.subject().completed(client, product).await }
        };
        let look = async {
            Ok(match observers.ask(handle.clone()).await? {
                Some(Observation::Ready(product)) => Observation::Ready(complete(product).await?),
                Some(Observation::Unusable { product, why, hindrance }) => {
                    Observation::Unusable { product: complete(product).await?, why, hindrance }
                }
                Some(seen) => seen,
                None => Observation::Missing,
            })
        };
        tokio::select! {
            seen = look => seen,
            () = self.world.stopping.cancelled() => Err(CallError::NotSent("the operator is stopping".into())),
        }
    }

    pub(super) async fn observe(
        &mut self,
        client: &Link,
        from: Progress,
        handle: Handle,
        wish: &Wish,
    ) -> Result<Next, Error> {
        let origin = from.intent().map_or(Origin::Made, |intent| intent.origin);
        let mut looked = None;
        // What was only observed until now is ours to change and delete from now on.
        if !wish.observe_only && (origin == Origin::Observed || !self.held()) {
            if let Err(detail) = self.claim(handle.id()).await {
                return self.wait_for_owner(&from, detail).await;
            }
            if origin == Origin::Observed {
                let seen = match self.look(client, &handle).await {
                    Ok(seen) => seen,
                    Err(error) => return self.trouble(&from, &error).await,
                };
                if seen != Observation::Missing
                    && let Some(next) = self.made_for_other(client, &from, &handle, &seen).await?
                {
                    return Ok(next);
                }
                looked = Some(seen);
            }
            let (attempt, since) = from.intent().map_or((1, None), |intent| (intent.attempt, intent.since));
            self.object = self.world.journal.hold(&self.object, attempt, since).await?;
        }
        let base = from.clone().with_origin(match (wish.observe_only, origin) {
            (true, _) => Origin::Observed,
            (false, Origin::Observed) => Origin::Imported,
            (false, origin) => origin,
        });
        let at_rest = matches!(from, Progress::Ready { .. }) && !wish.changed && !wish.asked;
        let looked = match looked {
            Some(seen) => Ok(seen),
            None => self.look(client, &handle).await,
        };
        match looked {
            Ok(seen) => self.seen(client, from, base, seen, wish).await,
            // Others come first: that is no trouble of an object that nothing has happened to.
            Err(CallError::RateLimited { .. }) if at_rest => Ok(Next::In(self.to_beat())),
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    /// `base` is the progress that the observation speaks of.
    pub(super) async fn seen(
        &mut self,
        client: &Link,
        from: Progress,
        base: Progress,
        mut seen: Observation,
        wish: &Wish,
    ) -> Result<Next, Error> {
        if self.world.kind.traits().forgets
            && seen == Observation::Missing
            && matches!(base, Progress::Ready { .. })
        {
            self.show(&from, base, None, true, None).await?;
            return Ok(Next::Change);
        }
        if let Some(wait) = self.until_second_look(client, &base, &seen) {
            return Ok(Next::In(wait));
        }
        self.local.missing_since = None;
        let is_there = seen.product().is_some();
        if is_there {
            self.local.last_seen = Some(Timestamp::now());
        }
        if let Observation::Building { percent, .. } = &mut seen
            && self.local.percent_at.is_some_and(|at| at.elapsed() < self.world.beat)
        {
            *percent = None;
        }
        let (hindrance, mut detail, refusal) = match (&seen, &base) {
            (Observation::Unusable { hindrance, .. }, _) => (*hindrance, None, None),
            (Observation::Refused(refusal), _) => (Hindrance::Lasting, None, Some(refusal.clone())),
            (Observation::Building { note: Some(note), .. }, Progress::Building { .. }) => {
                (Hindrance::Passing, Some(Detail::waiting("Building", note)), None)
            }
            _ => (Hindrance::Passing, None, None),
        };
        let made = seen.product().and_then(|product| product.image_id.clone());
        let mut to = base.observed(seen);
        // What a task makes has an id of its own, under which another object may have taken it over already.
        if let (Some(made), Progress::Building { intent, .. }) = (made, &from)
            && !super::super::owned_ids(&self.object).contains(&&*made)
            && let Err(detail) = match intent.origin {
                Origin::Observed => Ok(()),
                Origin::Imported => self.claim(&made).await,
                Origin::Made => self.claim_here(&made),
            }
        {
            return self.wait_for_owner(&from, detail).await;
        }
        if let (Progress::New { attempt, .. }, Some(refusal)) = (&to, refusal) {
            return self.refused(&from, *attempt, refusal).await;
        }
        if to.percent() != from.percent() {
            self.local.percent_at = to.percent().map(|_| Instant::now());
        }
        if let (true, Some(intent)) = (self.world.kind.traits().repeatable && !wish.import, to.intent())
            && intent.origin == Origin::Made
        {
            let id = to.handle().map(|handle| handle.id().to_owned()).unwrap_or_default();
            to = to.asked_again(Timestamp::now());
            if matches!(to, Progress::Submitting(_)) {
                return self.ask_again(&from, to, &id).await;
            }
        }
        if is_there && wish.observe_only {
            detail = detail.or_else(|| self.would_change(client, &to));
            self.leave_surplus(&to);
        } else if is_there {
            match self.align(client, &from, to, wish).await? {
                Ok((aligned, differs)) => (to, detail) = (aligned, differs),
                Err(next) => return Ok(next),
            }
            if detail.is_none() {
                Box::pin(self.retire(client, &mut to)).await;
            } else {
                self.leave_surplus(&to);
            }
            // Its own condition says nothing of it, so the next look tries again.
            if let Err(error) = self.clear_leftovers(client, &to).await {
                tracing::warn!(%error, "what earlier attempts left behind cannot be looked for");
            }
        }
        self.local.failures = 0;
        let (detail, next) = self.outlook(&to, detail, hindrance, wish);
        // What cannot be looked at cannot be as the spec says.
        let settled = is_there || !matches!(to, Progress::Unusable { .. });
        self.show(&from, to, detail, settled, None).await?;
        Ok(next)
    }

    /// How long until a missing thing is believed to be missing.
    fn until_second_look(&mut self, client: &Link, base: &Progress, seen: &Observation) -> Option<Duration> {
        if *seen != Observation::Missing || matches!(base, Progress::Missing { .. }) {
            return None;
        }
        let since = *self.local.missing_since.get_or_insert_with(Instant::now);
        let second = self.world.beat * pace::SECOND_LOOK;
        let patience =
            if matches!(base, Progress::Building { .. }) { second.max(self.settle(client)) } else { second };
        patience.checked_sub(since.elapsed()).filter(|wait| !wait.is_zero())
    }

    /// The vendor has lost the order.
    async fn ask_again(&mut self, from: &Progress, to: Progress, id: &str) -> Result<Next, Error> {
        let message = format!(
            "the vendor took the order and has no record of {id} any more; it is asked for again, with the same ids, so that it \
             cannot be made twice"
        );
        self.show(from, to, Some(Detail::trouble("AnswerLost", message)), false, None).await?;
        Ok(Next::In(Duration::ZERO))
    }

    /// Whether other differences than these were shown before what was taken over is changed.
    fn shows_another_takeover(&self, fields: &[Difference]) -> bool {
        let conditions = self.object.status().map(|status| &status.conditions[..]).unwrap_or_default();
        let shown =
            conditions.iter().find(|condition| condition.type_ == "Ready" && condition.reason == TAKEN_OVER);
        shown.is_some_and(|shown| !shown.message.contains(&progress::changes(fields)))
    }

    /// Compares what is there with the spec, and sets right what differs and is to be.
    async fn align(
        &mut self,
        client: &Link,
        from: &Progress,
        to: Progress,
        wish: &Wish,
    ) -> Result<Result<(Progress, Option<Detail>), Next>, Error> {
        let (Progress::Ready { product, .. } | Progress::Unusable { product, .. }) = &to else {
            return Ok(Ok((to, None)));
        };
        let compared = self.subject().compare(client, product);
        let was_shown = matches!(from, Progress::Ready { .. } | Progress::Unusable { .. });
        let origin = |progress: &Progress| progress.intent().map_or(Origin::Made, |intent| intent.origin);
        // What was somebody else's until now.
        let taken_over = origin(&to) == Origin::Imported && (!was_shown || origin(from) == Origin::Observed);
        let drifts = was_shown && !wish.changed;
        let reports = self.spec().drift_policy == DriftPolicy::Report;
        let detail = match compared {
            Comparison::Same => {
                self.local.amended = 0;
                None
            }
            Comparison::Fixed(fields) => {
                let bumps = self.object.succession().is_some() && self.object.is_outdated(product);
                Some(differs(origin(&to), product, &fields, bumps))
            }
            Comparison::Amendable(fields) if reports && (drifts || taken_over) => {
                Some(drifted(product, &fields, "driftPolicy is Report"))
            }
            // Whose it was may not have meant it: what is going to be changed is shown for one look, and nothing else is changed.
            Comparison::Amendable(fields) if taken_over || self.shows_another_takeover(&fields) => {
                let message = format!(
                    "{} is taken over and differs from the spec; it will be changed at the next look: {}; to keep it as it is, set \
                     driftPolicy: Report or managementPolicy: Observe",
                    product.image_id.as_deref().unwrap_or("the image"),
                    progress::changes(&fields),
                );
                self.show(from, to, Some(Detail::waiting(TAKEN_OVER, message)), false, None).await?;
                return Ok(Err(Next::In(self.to_beat())));
            }
            Comparison::Amendable(fields) if self.local.amended >= pace::AMENDMENTS => {
                let message = format!(
                    "{} was set at the vendor {} times and does not stay: somebody else sets it too, or the vendor does not keep all of \
                     it; find who sets it, and set the annotation {REQUESTED_AT} to have it set once more, or write it as the vendor \
                     keeps it",
                    progress::fields(&fields),
                    self.local.amended
                );
                Some(Detail::stalled("NotConverging", message))
            }
            Comparison::Amendable(fields) => {
                // What the vendor chose when it made it, whatever it was asked, is no drift.
                let amended =
                    Box::pin(self.amend(client, from, &to, product.clone(), &fields, drifts)).await?;
                return Ok(amended.map(|amended| (amended, None)));
            }
        };
        Ok(Ok((to, detail)))
    }

    /// What would be changed if it were managed.
    fn would_change(&self, client: &Link, to: &Progress) -> Option<Detail> {
        let Progress::Ready { product, .. } = to else { return None };
        match self.subject().compare(client, product) {
            Comparison::Same => None,
            Comparison::Fixed(fields) | Comparison::Amendable(fields) => {
                Some(drifted(product, &fields, "managementPolicy is Observe"))
            }
        }
    }

    /// What else there is to say of it, and when it is looked at again.
    fn outlook(
        &self,
        to: &Progress,
        detail: Option<Detail>,
        hindrance: Hindrance,
        wish: &Wish,
    ) -> (Option<Detail>, Next) {
        match to {
            Progress::Building { .. } if let (Some(detail), None) = (&detail, self.overdue(to)) => {
                let message = format!("{}{}", detail.message, status::deadline(self.overdue_at(to)));
                (Some(Detail { message, ..detail.clone() }), self.after(to))
            }
            Progress::Unusable { why, .. } if detail.is_none() => {
                let deadline = match hindrance {
                    Hindrance::Unknown => status::deadline(self.overdue_at(to)),
                    Hindrance::Passing | Hindrance::Lasting => String::new(),
                };
                let passes = match hindrance {
                    Hindrance::Passing => true,
                    Hindrance::Unknown => self.overdue(to).is_none(),
                    Hindrance::Lasting => false,
                };
                (passes.then(|| Detail::waiting(UNUSABLE, format!("{why}{deadline}"))), self.after(to))
            }
            Progress::Building { intent, handle, .. } if let Some(late) = self.overdue(to) => {
                let message = format!(
                    "{} has not finished {} in {late} (spec.timeout, attempt {}); it is still looked at, and a late success counts; \
                     ask the vendor about it, raise timeout, or delete this object",
                    self.world.kind.traits().action,
                    handle.in_full(),
                    intent.attempt
                );
                let parts = [
                    detail.map(|detail| detail.message),
                    Some(message),
                    self.world.kind.traits().when_overdue.map(str::to_owned),
                ];
                let message = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
                (Some(Detail::stalled("TimedOut", message)), Next::In(pace::SLOW_LOOK))
            }
            Progress::Missing { handle, was_ready: true, .. }
                if wish.recreate && !wish.import && !wish.observe_only =>
            {
                let message = format!(
                    "the vendor no longer has {}; it is made again, as recreatePolicy asks",
                    handle.id()
                );
                (Some(Detail::trouble("Missing", message)), Next::In(Duration::ZERO))
            }
            _ => (detail, self.after(to)),
        }
    }

    /// The vendor took the order and refused it afterwards. Its token is used up, so the next attempt is another one.
    async fn refused(&mut self, from: &Progress, attempt: u32, refusal: Refusal) -> Result<Next, Error> {
        let token = self.world.kind.token(&self.uid(), attempt);
        let tried =
            Intent { token, attempt, since: None, references: vec![], version: None, origin: Origin::Made };
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
        client: &Link,
        from: &Progress,
        to: &Progress,
        product: Product,
        differences: &[Difference],
        is_drift: bool,
    ) -> Result<Result<Progress, Next>, Error> {
        self.keep_named().await?;
        self.confirm().await?;
        if let Err(error) = self.subject().amend(client, &product).await {
            return self.trouble_about(from, to.clone(), &error).await.map(Err);
        }
        let name = product.image_id.as_deref().unwrap_or("the image");
        let changes = progress::changes(differences);
        if is_drift {
            let note = format!("{name} differed from the spec, and was set right: {changes}");
            for difference in differences {
                let field = self
                    .world
                    .kind
                    .traits()
                    .amends
                    .iter()
                    .map(|(field, _)| *field)
                    .find(|field| *field == difference.field);
                self.world.telemetry.metrics().drift(&self.world.kind.name(), field);
            }
            self.world.telemetry.drift(&self.object, note).await;
        } else {
            let note = format!("{name} was changed as the spec asks: {changes}");
            self.world.telemetry.updated(&self.object, note).await;
        }
        self.local.amended += 1;
        let Some(handle) = to.handle() else { return Ok(Err(Next::Change)) };
        match self.look(client, handle).await {
            Err(error) => self.trouble_about(from, to.clone(), &error).await.map(Err),
            Ok(seen)
                if seen
                    .product()
                    .is_some_and(|product| self.subject().compare(client, product) == Comparison::Same) =>
            {
                self.local.amended = 0;
                self.local.last_seen = Some(Timestamp::now());
                Ok(Ok(to.clone().observed(seen)))
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

    pub(super) fn overdue(&self, progress: &Progress) -> Option<Period> {
        (self.overdue_at(progress)? < Timestamp::now()).then(|| self.object.timeout().into())
    }

    /// When a build is called overdue.
    pub(super) fn overdue_at(&self, progress: &Progress) -> Option<Timestamp> {
        let since = progress.intent()?.since.or(self.born())?;
        since.checked_add(self.object.timeout()).ok()
    }
}

/// What differs from the spec, and is to stay so.
fn drifted(product: &Product, fields: &[Difference], why: &str) -> Detail {
    let name = product.image_id.as_deref().unwrap_or("image");
    let changes = progress::changes(fields);
    Detail::drifted(format!(
        "the vendor's {name} differs from the spec and is left as it is, since {why}; the spec would change {changes}"
    ))
}

/// What the vendor cannot change differs from the spec.
fn differs(origin: Origin, product: &Product, fields: &[Difference], bumps: bool) -> Detail {
    let advice = match origin {
        _ if bumps => {
            "versionPolicy Bump makes a new version of the spec when that changes, or when the annotation \
             reconcile.cloudimages.dev/requested-at asks for it; to have none, set it to what the vendor has (status.atProvider)"
        }
        Origin::Made => "set it to what the vendor has (status.atProvider), or make a new object",
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
