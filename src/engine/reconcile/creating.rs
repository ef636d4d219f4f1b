//! From nothing to something at the vendor: intent, call, answer; and what became of a lost one.

use super::{Error, Next, Pass, showing::wait_after, succeeding::Unfollowed};
use crate::{
    engine::{
        external::Submitted,
        journal::Permit,
        object::{Link, Object},
        object_state::Asked,
        pace,
        progress::{
            self, Comparison, Handle, Intent, Observation, Origin, Product, Progress, Recovered, Wish,
        },
        status::{self, Detail},
    },
    image::ImageStatus,
    wire::{CallError, Class, Effect, Refusal},
};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

impl Pass<'_> {
    pub(super) async fn submit(
        &mut self,
        client: &Link,
        from: Progress,
        attempt: u32,
        replay: bool,
    ) -> Result<Next, Error> {
        let Some(connection) = self.connection.clone() else { return Ok(Next::Change) };
        if !replay && let Some(next) = self.preflight(client, &from, attempt).await? {
            return Ok(next);
        }
        let region = self.subject().asked_in(client);
        let rate = async {
            // Before the permit, of which an account has few, and before anything is stored.
            client.begin().await?;
            connection.material().acquire(&region, self.world.kind.traits().action, Effect::Create).await
        };
        let rate = tokio::select! {
            rate = rate => rate,
            () = self.world.stopping.cancelled() => return Ok(Next::Change),
        };
        let mut rate = match rate {
            Ok(rate) => rate,
            // No permit of the rate limiter soon: nothing is stored yet, so there is nothing to show either. It waits on in the
            // account's queue for a worker, where others have their turns.
            Err(CallError::RateLimited { refused: false, .. }) => return Ok(Next::In(pace::AGAIN)),
            Err(error) => return self.trouble(&from, &error).await,
        };
        if !replay && let Err(error) = self.subject().clear(client).await {
            return self.not_clear(from, attempt, error).await;
        }
        let uid = self.uid();
        let earlier = from.intent().filter(|_| replay).and_then(|intent| intent.since.or(self.born()));
        let since = earlier.unwrap_or_else(Timestamp::now);
        let references = self.referents.clone();
        let token = self.world.kind.token(&uid, attempt);
        let since = Some(since);
        let mut intent = Intent { token, attempt, since, references, version: None, origin: Origin::Made };
        if replay {
            intent.version.clone_from(&self.version);
        } else {
            match Box::pin(self.following_version(client, &intent)).await {
                Ok(version) => intent.version = version,
                Err(Unfollowed::Call(error)) => return self.trouble(&from, &error).await,
                Err(Unfollowed::Detail(detail)) => return self.wait_for_room(&from, detail).await,
            }
            self.version.clone_from(&intent.version);
        }
        let asked = Instant::now();
        let permit = self.permit(&from, &intent).await?;
        let in_flight = tokio::select! {
            biased;
            place = rate.in_flight() => Some(place),
            () = tokio::time::sleep_until(asked + pace::PERMIT_AGE) => None,
            () = self.world.stopping.cancelled() => None,
        };
        let Some(place) = in_flight.filter(|_| asked.elapsed() <= pace::PERMIT_AGE && self.is_lock_fresh())
        else {
            return self.give_up_permit(intent, replay).await;
        };
        let started = Instant::now();
        self.local.found = None;
        self.local.lost_at = Some(started);
        let answer = self.subject().submit(client, permit).await;
        connection.material().called(self.world.kind.traits().action, started.elapsed(), &answer);
        rate.report(&answer);
        drop((place, rate));
        // Whether it, or an earlier call of the attempt, may have had its effect although this one was refused.
        let mut in_doubt = replay;
        let since = replay.then(|| before(earlier));
        let answer = match answer {
            Ok(submitted) => self.own(submitted).await,
            Err(CallError::Refused(refusal)) if self.echoes(refusal.class) => {
                match self.echo(client, &refusal, &intent).await {
                    Ok(Echo::Own(submitted)) => self.own(submitted).await,
                    Ok(echo) if refusal.class == Class::Conflict => {
                        self.settle_refusal(client, refusal, since, echo == Echo::Hidden).await
                    }
                    Ok(echo) => {
                        in_doubt = echo == Echo::Hidden;
                        Err(CallError::Refused(refusal))
                    }
                    Err(error) => Err(error),
                }
            }
            Err(CallError::Refused(refusal))
                if refusal.class == Class::Conflict
                    || replay
                        && (refusal.class == Class::TokenReused
                            || refusal.class.is_final()
                            || self.ends_with(&refusal, in_doubt)) =>
            {
                self.settle_refusal(client, refusal, since, false).await
            }
            Err(error) => Err(error),
        };
        if let (true, Err(CallError::Refused(refusal))) = (replay, &answer)
            && self.ends_with(refusal, in_doubt)
        {
            return self.nothing_came(&from, intent.attempt).await;
        }
        Box::pin(self.submitted(client, from, intent, in_doubt, answer)).await
    }

    /// Something is in the way, or it cannot be told. Guarded, since what is in the way may be what this object made, as
    /// newer versions of it know.
    async fn not_clear(&mut self, from: Progress, attempt: u32, error: CallError) -> Result<Next, Error> {
        let CallError::Refused(_) = &error else { return self.trouble(&from, &error).await };
        let token = self.world.kind.token(&self.uid(), attempt);
        let tried =
            Intent { token, attempt, since: None, references: vec![], version: None, origin: Origin::Made };
        let to = Progress::submitted(tried, false, Err(&error));
        if let Progress::New { tried, .. } = to {
            // No call was made, so that its number is not used up.
            return self.trouble_about(&from, Progress::New { attempt, tried }, &error).await;
        }
        self.local.failures = 0;
        let next = self.after(&to);
        self.show(&from, to, None, true, None).await?;
        Ok(next)
    }

    /// The permit took so long that others may have acted meanwhile, or the program ends. No call was made with it, which is
    /// written down unless somebody has written the object since.
    async fn give_up_permit(&mut self, intent: Intent, replay: bool) -> Result<Next, Error> {
        tracing::warn!(
            "what comes before the call took too long, or the operator ends; the call is not made"
        );
        if !replay {
            let stored = Progress::Submitting(intent.clone());
            let to = Progress::New { attempt: intent.attempt, tried: Some(intent) };
            self.show(&stored, to, None, false, None).await?;
        }
        Ok(Next::In(pace::backoff(1, false)))
    }

    /// For an object that goes, a call is repeated only to find out what the first one made: a refusal that might be
    /// lifted some day is as good as a final one.
    fn ends_with(&self, refusal: &Refusal, in_doubt: bool) -> bool {
        let may_be_lifted = match refusal.class {
            Class::Quota | Class::NotFound => true,
            // It was looked whose work is in the way.
            Class::Busy => self.echoes(Class::Busy) && !in_doubt,
            _ => false,
        };
        self.deleting() && may_be_lifted
    }

    /// Whether a refusal may be about what the object's own call made.
    fn echoes(&self, class: Class) -> bool {
        self.world.kind.traits().echoes.contains(&class)
    }

    /// What is in the way may be what this object's own call made: its mark says so. Lists may be behind, so that not to find it
    /// says nothing for a while: until then nothing is asked for under another token, which would make a second thing, or be
    /// refused for the first, of which nobody would know any more.
    async fn echo(&self, client: &Link, refusal: &Refusal, intent: &Intent) -> Result<Echo, CallError> {
        let call = intent.since.or(self.born());
        let request_id = Some(refusal.request_id.clone()).filter(|id| !id.is_empty());
        let unseen = |error| {
            CallError::Unknown(format!("{refusal}; whose work is in the way cannot be looked at: {error}"))
        };
        let subject = self.subject();
        let is_young = call.is_none_or(|call| Timestamp::now().duration_since(call) < pace::TOKEN);
        match subject.recover(client, &intent.token, before(call)).await.map_err(unseen)? {
            Recovered::Found(handle) => Ok(Echo::Own(Submitted { handle, request_id })),
            Recovered::Candidates(mut handles) if handles.len() == 1 => {
                Ok(Echo::Own(Submitted { handle: handles.remove(0), request_id }))
            }
            Recovered::Replay if is_young => {
                let is_others =
                    refusal.class == Class::Busy && subject.is_others(client).await.map_err(unseen)?;
                Ok(if is_others { Echo::None } else { Echo::Hidden })
            }
            _ => Ok(Echo::None),
        }
    }

    /// What the call made, or a repeated one found again, is only ours if no other object holds it; and at once, so that nobody
    /// who looks for what a lost call made takes it for that.
    async fn own(&self, submitted: Submitted) -> Result<Submitted, CallError> {
        let id = submitted.handle.id();
        if self.is_taken(id) || self.is_taken_over_elsewhere(id).await {
            return Err(CallError::Undecidable(vec![id.to_owned()]));
        }
        // Where it cannot be claimed yet, its status is what counts.
        let _ = self.claim_here(id);
        Ok(submitted)
    }

    /// What is there may be what an earlier call of this attempt made, after `since`; or this very call, if it arrived twice,
    /// which `echoes` says is possible.
    async fn settle_refusal(
        &mut self,
        client: &Link,
        refusal: Refusal,
        since: Option<Timestamp>,
        echoes: bool,
    ) -> Result<Submitted, CallError> {
        let there = self.subject().lookalikes(client).await;
        // After what is there was seen: whoever made it had written his intent before.
        self.look_elsewhere().await.map_err(|error| CallError::Unknown(error.to_string()))?;
        if since.is_some() && self.elsewhere.asking_alike > 0 {
            return Err(CallError::Unknown(format!(
                "{refusal}; another object asks for the same at this moment"
            )));
        }
        let there = match (there, since) {
            (Ok(there), _) => there,
            // Nothing of ours can be there, and what is only matters for the message.
            (Err(_), None) if refusal.class == Class::Conflict => vec![],
            (Err(error), _) => {
                return Err(CallError::Unknown(format!(
                    "{refusal}; what is there cannot be looked at: {error}"
                )));
            }
        };
        if echoes && there.is_empty() {
            return Err(progress::unseen(&refusal));
        }
        let request_id = Some(refusal.request_id.clone()).filter(|id| !id.is_empty());
        let id = progress::refused(refusal, since, &there, |id| self.is_taken(id))?;
        Ok(Submitted { handle: self.world.kind.handle(&id), request_id })
    }

    pub(super) async fn permit(&mut self, from: &Progress, intent: &Intent) -> Result<Permit, Error> {
        // A phase that is shown already would leave the spec open to changes, and what references mean must be stored too.
        self.just_held = !self.held();
        let untouched = self.just_held
            && self.object.status().is_none_or(|status| status.operation.is_none() && status.phase.is_none());
        if untouched && intent.attempt == 1 && intent.references.is_empty() && intent.version.is_none() {
            let (object, permit) = self.world.journal.first_permit(&self.object, intent.clone()).await?;
            self.object = object;
            return Ok(permit);
        }
        if !self.held() {
            self.object = self.world.journal.hold(&self.object, intent.attempt, intent.since).await?;
        }
        let stored = Progress::Submitting(intent.clone());
        let shown = self.shown(&stored, None, true, None);
        // Unchanged, it is written all the same: what counts is that the API server has nothing newer.
        let status = status::status(&shown, self.object.status(), Timestamp::now())
            .unwrap_or_else(|| self.object.status().cloned().unwrap_or_default());
        let (object, permit) = self.world.journal.permit(&self.object, &status, intent.clone()).await?;
        self.object = object;
        self.tell(from, &stored, None).await;
        Ok(permit)
    }

    pub(super) async fn submitted(
        &mut self,
        client: &Link,
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
        if let (true, Progress::New { attempt, tried: Some(tried) }, Err(CallError::Refused(refusal))) =
            (self.world.kind.traits().lags, &mut to, &answer)
            && refusal.class == Class::Throttled
        {
            // A second attempt is reason to look for what the first made; there, no token could be used up, and a throttle
            // comes before anything is made.
            *attempt = tried.attempt;
        }
        if let (true, Progress::Building { handle, .. }) = (self.world.kind.traits().immediate, &to)
            && let Some(product) = self.look_at_once(client, handle).await
        {
            self.local.last_seen = Some(Timestamp::now());
            to = to.observed(Observation::Ready(product));
        }
        let (detail, wait) = match &answer {
            Err(error) if matches!(to, Progress::New { .. } | Progress::Submitting(_)) => {
                self.local.failures += 1;
                if matches!(error, CallError::Unknown(_) | CallError::NoAnswer(_)) {
                    self.local.lost_at = Some(Instant::now());
                }
                let mut wait = wait_after(self.local.failures, error);
                if matches!(to, Progress::Submitting(_)) {
                    self.local.early_looks = 0;
                    wait = wait.max(self.settle(client).min(pace::backoff(1, true)));
                }
                (Some(Detail::from(error)), Some(wait))
            }
            _ => {
                self.local.failures = 0;
                (None, None)
            }
        };
        let next = wait.map_or_else(|| self.after(&to), Next::In);
        self.local.unwritten = Some(Box::new((to.clone(), self.asked)));
        let settled = detail.is_none();
        let made = to.clone();
        let concluded = self.conclude(&from, to, detail, settled, request_id.as_deref()).await;
        match &concluded {
            Err(error) if error.is_gone() && self.just_held => self.outlived(client, &made),
            Err(error) if error.is_gone() => self.tell_of_left(&made).await,
            Err(Error::Outdated) => self.tell_of_outdated(&made).await,
            _ => {}
        }
        concluded?;
        self.local.unwritten = None;
        Ok(next)
    }

    /// Somebody let the object go while its call was made: a person, or another operator, who may not have known of what it makes.
    /// So that is told, and left where it is.
    async fn tell_of_left(&self, made: &Progress) {
        let what = match made.handle() {
            Some(handle) => {
                format!("{} was made by a call whose answer came when this object had gone", handle.id())
            }
            None if made.under_way() => {
                "this object had gone when the answer to its creating call was lost, which may have made something".to_owned()
            }
            None => return,
        };
        let note = format!(
            "{what}; who let the object go may not have known of it: look at the vendor, and delete it there, or take it over in an \
             object of its own, with spec.import.id"
        );
        self.world.telemetry.released(&self.object, self.world.kind.traits().action, note).await;
    }

    /// Another operator has gone on with the object meanwhile. If that one does not know what the call made, a person must.
    async fn tell_of_outdated(&self, made: &Progress) {
        let Some(handle) = made.handle() else { return };
        let newest = self.world.journal.newest(&self.object).await;
        let is_known = |newest: &Object| crate::engine::owned_ids(newest).contains(&handle.id());
        if newest.is_ok_and(|newest| newest.as_ref().is_none_or(is_known)) {
            return;
        }
        let note = format!(
            "{} was made by a call whose answer came when another operator had gone on with this object; it stays at the vendor: \
             delete it there, or take it over in an object of its own, with spec.import.id",
            handle.id()
        );
        self.world.telemetry.released(&self.object, self.world.kind.traits().action, note).await;
    }

    /// Writes an answer down that the API server did not take before.
    pub(super) async fn catch_up(
        &mut self,
        from: &Progress,
        to: Progress,
        asked: Asked,
    ) -> Result<Next, Error> {
        let next = match &to {
            Progress::New { .. } => Next::In(pace::backoff(self.local.failures, false)),
            // What was asked for since then is not dealt with.
            _ if asked != self.asked => Next::In(Duration::ZERO),
            to => self.after(to),
        };
        self.conclude(from, to, None, asked == self.asked, None).await?;
        self.local.unwritten = None;
        Ok(next)
    }

    /// For vendors whose creating call answers when the thing is there: one look, so that one write tells all of it.
    pub(super) async fn look_at_once(&self, client: &Link, handle: &Handle) -> Option<Product> {
        match tokio::time::timeout(Duration::from_secs(3), self.look(client, handle)).await {
            Ok(Ok(Observation::Ready(product))) => {
                (self.subject().compare(client, &product) == Comparison::Same).then_some(product)
            }
            _ => None,
        }
    }

    pub(super) async fn recover(
        &mut self,
        client: &Link,
        from: Progress,
        intent: Intent,
        wish: &Wish,
    ) -> Result<Next, Error> {
        if matches!(from, Progress::Restored { .. } | Progress::Unclear { restored: true, .. }) {
            return self.look_for_former(client, from, intent).await;
        }
        if !self.is_recorded_in_status() {
            // What is only in the metadata is gone when somebody replaces the object.
            self.show(&from, from.clone(), None, true, None).await?;
        }
        // Whoever made the call, it may have done so a moment ago.
        let lost_at = *self.local.lost_at.get_or_insert_with(Instant::now);
        let settled = lost_at + self.settle(client);
        let early = settled.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero());
        let since = before(intent.since.or(self.born()));
        let recovered = self.subject().recover(client, &intent.token, since).await;
        let is_decided = match &recovered {
            Ok(Recovered::Found(_)) => true,
            // That looks again before it decides.
            Ok(Recovered::Replay) | Err(_) => false,
            Ok(_) => early.is_none(),
        };
        // After what is there was seen: whoever made it had written his intent before.
        if is_decided && let Err(error) = self.look_elsewhere().await {
            return self.trouble(&from, &error).await;
        }
        let recovered = match recovered {
            Ok(Recovered::Found(handle)) if self.is_taken(handle.id()) => Recovered::Undecidable(vec![]),
            Ok(Recovered::Found(handle)) => Recovered::Found(handle),
            // What does not show yet may do so a moment later, and what might be it may not be all.
            Ok(_) if let Some(wait) = early => {
                self.local.early_looks += 1;
                return Ok(Next::In(wait.min(pace::backoff(self.local.early_looks + 1, true))));
            }
            Ok(Recovered::Candidates(handles)) => Recovered::Candidates(self.not_taken(handles)),
            Ok(Recovered::Doubtful { likely, doubtful }) => {
                Recovered::Doubtful { likely: self.not_taken(likely), doubtful: self.not_taken(doubtful) }
            }
            Ok(Recovered::Replay) => match self.made_since(client, intent.since.or(self.born())).await {
                Ok(recovered) => recovered,
                Err(error) => return self.trouble(&from, &error).await,
            },
            Ok(Recovered::Undecidable(mut ids)) => {
                let named = !ids.is_empty();
                ids.retain(|id| !self.is_taken(id));
                if named && ids.is_empty() {
                    Recovered::Candidates(vec![])
                } else {
                    Recovered::Undecidable(ids)
                }
            }
            Err(error) => return self.trouble(&from, &error).await,
        };
        tracing::info!(token = intent.token, ?recovered, "recovered");
        let attempt = intent.attempt;
        match (Progress::recovered(intent, recovered), wish.deleting) {
            (Progress::Submitting(_), _) => Box::pin(self.submit(client, from, attempt, true)).await,
            // References may mean something else by now, which is for the next pass to find out.
            (to @ Progress::New { .. }, false) if !self.object.references().is_empty() => {
                self.show(&from, to, None, false, None).await?;
                Ok(Next::In(Duration::ZERO))
            }
            (Progress::New { attempt, .. }, false) => {
                Box::pin(self.submit(client, from, attempt, false)).await
            }
            (to @ Progress::New { .. }, true) => match self.clear_leftovers(client, &to).await {
                Ok(true) => self.nothing_came(&from, attempt).await,
                Ok(false) => Ok(Next::In(self.to_beat())),
                Err(error) => self.trouble(&from, &error).await,
            },
            (to, _) => {
                if let Some(handle) = to.handle()
                    && let Err(detail) = self.claim(handle.id()).await
                {
                    // Another one that looks for its own has found it a moment ago.
                    return self.wait_slowly(&from, detail).await;
                }
                self.local.failures = 0;
                let next = self.after(&to);
                self.show(&from, to, None, true, None).await?;
                Ok(next)
            }
        }
    }

    /// Before a call is repeated with its token, it is looked whether its effect is there: for how long a vendor honours a
    /// token is not published, and a forgotten one would make a second thing. What is there, as the spec asks for, since the
    /// call is it; of several, and of what is there a while longer by the vendor's clock, nobody can tell.
    async fn made_since(&mut self, client: &Link, call: Option<Timestamp>) -> Result<Recovered, CallError> {
        let there = self.subject().lookalikes(client).await?;
        // After what is there was seen: whoever made it had written his intent before.
        self.look_elsewhere().await?;
        let since = before(call);
        let later = call.and_then(|call| call.checked_sub(pace::CLOCKS).ok()).unwrap_or(since);
        let mut found: (Vec<_>, Vec<_>) = (vec![], vec![]);
        for thing in there {
            if matches!(thing.comparison, Comparison::Fixed(_)) || self.is_taken(&thing.id) {
                continue;
            }
            match thing.created {
                Some(created) if created < since => {}
                Some(created) if created < later => found.1.push(self.world.kind.handle(&thing.id)),
                _ => found.0.push(self.world.kind.handle(&thing.id)),
            }
        }
        let (likely, doubtful) = found;
        if likely.is_empty() && doubtful.is_empty() {
            return Ok(Recovered::Replay);
        }
        // It may be that of others who asked for the same at the same time, or for what the vendor can turn into it. Whose it is
        // the vendor knows by the token that it was given a moment ago.
        let is_young = call.is_some_and(|call| Timestamp::now().duration_since(call) < pace::TOKEN);
        let others = self.others_asking() + self.elsewhere.asking_alike;
        if is_young && others > 0 && doubtful.is_empty() && likely.len() <= others + 1 {
            return Ok(Recovered::Replay);
        }
        Ok(Recovered::Doubtful { likely, doubtful })
    }

    /// How many others may have a call under way that makes what could be taken for this object's.
    fn others_asking(&self) -> usize {
        let index = self.world.accounts.index();
        let wanted = super::wanted(&self.object);
        self.realm().map_or(0, |realm| index.asking_alike(&self.holder(), &realm, &wanted))
    }

    /// What was made in the name of the object that this one was restored from is for a person to decide about.
    async fn look_for_former(
        &mut self,
        client: &Link,
        from: Progress,
        intent: Intent,
    ) -> Result<Next, Error> {
        let since = intent.since.map_or(Timestamp::UNIX_EPOCH, |since| before(Some(since)));
        let subject = self.subject();
        let looked = match subject.recover(client, &intent.token, since).await {
            Ok(Recovered::Found(handle)) => Ok(vec![handle.id().to_owned()]),
            Ok(Recovered::Candidates(handles)) => {
                Ok(handles.iter().map(|handle| handle.id().to_owned()).collect())
            }
            Ok(Recovered::Doubtful { likely, doubtful }) => {
                Ok(likely.iter().chain(&doubtful).map(|handle| handle.id().to_owned()).collect())
            }
            Ok(Recovered::Undecidable(ids)) => Ok(ids),
            // Asking with its token would make it, if it was not made.
            Ok(Recovered::Replay) => subject
                .lookalikes(client)
                .await
                .map(|there| there.into_iter().map(|thing| thing.id).collect::<Vec<_>>()),
            Err(error) => Err(error),
        };
        drop(subject);
        let found = match looked {
            Ok(found) => found,
            Err(error) => return self.trouble(&from, &error).await,
        };
        // After what is there was seen, as in `recover`.
        if let Err(error) = self.look_elsewhere().await {
            return self.trouble(&from, &error).await;
        }
        let mut candidates = match &from {
            Progress::Restored { candidates, .. } => candidates.clone(),
            _ => vec![],
        };
        // The task that the status names and what it made are one thing.
        if let Some(ImageStatus { task_id: Some(task), image_id, .. }) = self.object.status()
            && found.contains(task)
        {
            candidates.retain(|id| Some(id) != image_id.as_ref());
        }
        candidates.extend(found);
        match self.subject().versions(client).await {
            Ok(versions) => candidates.extend(versions.into_iter().map(|(id, _)| id)),
            Err(error) => return self.trouble(&from, &error).await,
        }
        candidates.sort();
        candidates.dedup();
        candidates.retain(|id| !self.is_taken(id));
        self.local.failures = 0;
        self.show(&from, Progress::Unclear { intent, candidates, restored: true }, None, true, None).await?;
        Ok(Next::Change)
    }

    /// Those of the vendor's things that nothing else stands for.
    pub(super) fn not_taken(&self, handles: Vec<Handle>) -> Vec<Handle> {
        handles.into_iter().filter(|handle| !self.is_taken(handle.id())).collect()
    }

    /// Whether another object holds this thing of the vendor's, or this one has it as an earlier version, so that it is not what
    /// an attempt made.
    pub(super) fn is_taken(&self, id: &str) -> bool {
        if self.elsewhere.owned.iter().any(|(taken, _)| taken == id) {
            return true;
        }
        let index = self.world.accounts.index();
        self.is_predecessor(id)
            || self
                .realm()
                .is_some_and(|realm| index.owner(&self.world.kind.name(), &realm, id, &self.uid()).is_some())
    }
}

/// What is found of a creating call that was refused for what may be its own effect.
#[derive(PartialEq)]
enum Echo {
    /// This is it.
    Own(Submitted),
    /// Nothing: what is in the way is not the object's.
    None,
    /// Nothing yet.
    Hidden,
}

/// Earlier than anything that came of a call at this moment, by whatever clock.
pub(super) fn before(call: Option<Timestamp>) -> Timestamp {
    call.and_then(|call| call.checked_sub(pace::SKEW).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}
