//! The straight line from an object to its status: read, decide, act, write. The same for every kind.

use super::{
    accounts::{Accounts, Connection},
    external::{External, Submitted, Unusable},
    journal::{Journal, Permit},
    memo::{Context, Memo, Memos},
    pace,
    progress::{
        Answer, Comparison, Deletion, Handle, Intent, Observation, Product, Progress, Recovered, Step, Wish,
    },
    status::{self, Notice, Shown},
    telemetry::{Telemetry, Transition},
};
use crate::{
    image::{
        DeletionPolicy, FINALIZER, ImageSpec, ImageStatus, ManagementPolicy, OUTCOME, REQUESTED_AT,
        RecreatePolicy,
    },
    wire::{CallError, Class},
};
use jiff::Timestamp;
use kube::{ResourceExt, core::DeserializeGuard, runtime::controller::Action};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What every pass of one kind needs.
pub struct World {
    /// Stores progress.
    pub journal: Journal,
    /// Knows the accounts.
    pub accounts: Arc<Accounts>,
    /// Shows what happens.
    pub telemetry: Telemetry,
    /// Remembers between passes.
    pub memos: Memos,
    /// Writes conditions onto objects that cannot be read.
    pub client: kube::Client,
    /// When this process began to act: calls of an earlier one may have been on the way until then.
    pub started: Instant,
    /// Cancelled when no new work is to be taken.
    pub stopping: CancellationToken,
}

/// Why a pass ended early. Everything of the vendor's is a notice on the object instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not take or give something.
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// One pass over one object.
pub async fn reconcile<K: External>(
    guarded: Arc<DeserializeGuard<K>>,
    world: Arc<World>,
) -> Result<Action, Error> {
    world.telemetry.pass::<K>();
    let object = match &guarded.0 {
        Ok(object) => object,
        Err(invalid) => {
            return super::malformed::report::<K>(&world.client, invalid).await.map_err(Error::Kube);
        }
    };
    let uid = object.uid().unwrap_or_default();
    let mut pass =
        Pass { object: object.clone(), world: &world, memo: world.memos.get(&uid), connection: None };
    let done = pass.run().await;
    let wake = match &done {
        Ok(Next::Forget) => {
            world.memos.forget(&uid);
            return Ok(Action::await_change());
        }
        Ok(Next::In(wait)) => Some(*wait),
        Ok(Next::Change) => None,
        // Somebody wrote the object meanwhile: its news is on the way.
        Err(Error::Kube(kube::Error::Api(status))) if status.code == 409 => Some(Duration::from_secs(1)),
        Err(Error::Kube(kube::Error::Api(status))) if status.code == 404 => {
            world.memos.forget(&uid);
            return Ok(Action::await_change());
        }
        Err(error) => {
            pass.memo.failures += 1;
            tracing::warn!(kind = %K::kind(&()), name = %object.name_any(), %error, "the API server failed");
            Some(pace::backoff(pass.memo.failures, false))
        }
    };
    let context = pass.context();
    let memo = Memo { wake: wake.map(|wait| Instant::now() + wait), context, ..pass.memo };
    world.memos.put(&uid, memo);
    Ok(wake.map_or_else(Action::await_change, Action::requeue))
}

/// When to come back.
enum Next {
    /// After this long, or when something changes.
    In(Duration),
    /// When something changes.
    Change,
    /// Never: the object is gone.
    Forget,
}

struct Pass<'a, K: External> {
    object: K,
    world: &'a World,
    memo: Memo,
    connection: Option<Arc<Connection>>,
}

impl<K: External> Pass<'_, K> {
    async fn run(&mut self) -> Result<Next, Error> {
        let uid = self.uid();
        let born = self.object.meta().creation_timestamp.as_ref().map(|time| time.0);
        let progress = match status::progress(self.object.status(), self.held(), born, || K::token(&uid, 1)) {
            Ok(progress) => progress,
            Err(garbled) => {
                let progress = Progress::New { attempt: 1, tried: None };
                return self.malformed(&progress, &garbled.to_string()).await;
            }
        };
        let wish = match self.wish(&progress) {
            Ok(wish) => wish,
            Err(notice) => return self.rest(&progress, Some(notice)).await,
        };
        let step = progress.next(&wish);
        match step {
            Step::Rest => return self.rest(&progress, None).await,
            Step::Suspended => return self.suspended(&progress, &wish).await,
            Step::Release => return self.release(&progress, &wish).await,
            _ => {}
        }
        let client = match self.connect(wish.deleting).await {
            Ok(client) => client,
            Err(unusable) => return self.unusable(&progress, &wish, unusable).await,
        };
        if let Some(next) = self.not_yet(&progress, &wish) {
            return Ok(next);
        }
        match step {
            Step::Find => self.find(&client, progress, &wish).await,
            Step::Submit { attempt } => self.submit(&client, progress, attempt, false).await,
            Step::Recover(intent) => self.recover(&client, progress, intent, &wish).await,
            Step::Observe(handle) => self.observe(&client, progress, handle, &wish).await,
            Step::Adopt { intent, id } => self.adopt(&client, progress, intent, &id).await,
            Step::Discard { handle, attempt } => self.discard(&client, progress, &handle, attempt).await,
            Step::Delete(handle) => self.delete(&client, progress, handle).await,
            Step::Rest | Step::Suspended | Step::Release => Ok(Next::Change),
        }
    }

    // ---- what is asked for -------------------------------------------------------------------------------------

    fn wish(&self, progress: &Progress) -> Result<Wish, Notice> {
        let (spec, status) = (self.spec(), self.object.status());
        let mut wish = Wish {
            deleting: self.deleting(),
            suspended: spec.suspend,
            observe_only: spec.management_policy == ManagementPolicy::Observe,
            import: spec.import.is_some(),
            retain: spec.deletion_policy == DeletionPolicy::Retain,
            recreate: spec.recreate_policy == RecreatePolicy::WhenMissing,
            changed: status.and_then(|status| status.observed_generation) != self.object.meta().generation,
            asked: self.annotation(REQUESTED_AT).is_some()
                && self.annotation(REQUESTED_AT)
                    != status.and_then(|status| status.last_handled_reconcile_at.as_deref()),
            answer: None,
        };
        if let (Progress::Unclear { .. }, Some(text)) = (progress, self.annotation(OUTCOME)) {
            if Some(text) != status.and_then(|status| status.last_handled_outcome.as_deref()) {
                wish.answer = Some(answer(text)?);
            }
        }
        Ok(wish)
    }

    /// When to come back instead of taking the next step now.
    fn not_yet(&mut self, progress: &Progress, wish: &Wish) -> Option<Next> {
        let wait = self.memo.wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        let at_rest =
            matches!(progress, Progress::Ready { .. }) && !wish.changed && !wish.asked && !wish.deleting;
        if at_rest {
            // Neither a new Secret nor a restart is a reason to look: only its own time is.
            return match wait.or_else(|| self.to_next_resync()) {
                Some(Duration::ZERO) => None,
                Some(wait) => Some(Next::In(wait)),
                None => Some(Next::Change),
            };
        }
        let context = self.context();
        if self.memo.context == context {
            return wait.filter(|wait| !wait.is_zero()).map(Next::In);
        }
        // What was tried before may work now.
        self.memo.failures = 0;
        if self.memo.context.generation != context.generation {
            self.memo.amended = 0;
        }
        None
    }

    fn to_next_resync(&self) -> Option<Duration> {
        let interval = Duration::from(self.spec().resync_interval);
        let next = pace::to_next_resync(since_epoch(), interval, &self.uid())?;
        // On the beat, so that looks that fall together share a call.
        let seed = self.connection.as_ref().map_or(0, |connection| connection.seed);
        Some(next + pace::to_next_beat(since_epoch() + next, pace::BEAT, seed))
    }

    async fn connect(&mut self, ending: bool) -> Result<K::Client, Unusable> {
        let namespace = self.object.namespace().unwrap_or_default();
        let connection = self.world.accounts.connect(&self.spec().account_ref, &namespace, ending).await?;
        let client = connection.client::<K::Client>()?;
        self.connection = Some(connection);
        Ok(client)
    }

    // ---- steps without the vendor ------------------------------------------------------------------------------

    async fn rest(&mut self, progress: &Progress, notice: Option<Notice>) -> Result<Next, Error> {
        self.show(progress, progress.clone(), notice, true, None).await?;
        Ok(Next::Change)
    }

    async fn malformed(&mut self, progress: &Progress, message: &str) -> Result<Next, Error> {
        let notice = Notice::stalled("InvalidStatus", message);
        let shown = self.shown(progress, Some(&notice), true, None);
        let mut new = status::status(&shown, None, Timestamp::now()).unwrap_or_default();
        if let Some(old) = self.object.status() {
            // Nothing that might still lead to the vendor's thing is thrown away.
            new = ImageStatus {
                observed_generation: new.observed_generation,
                conditions: new.conditions,
                ..old.clone()
            };
            if old.conditions.iter().any(|condition| condition.reason == "InvalidStatus") {
                return Ok(Next::Change);
            }
        }
        self.world.journal.advance(&self.object, &new).await?;
        Ok(Next::Change)
    }

    async fn suspended(&mut self, progress: &Progress, wish: &Wish) -> Result<Next, Error> {
        let notice = match progress {
            Progress::Ready { .. } if !wish.changed && !wish.deleting => None,
            _ if wish.deleting => Some(Notice::stalled(
                "Suspended",
                "suspend is true, so nothing is deleted at the vendor; set suspend: false, or deletionPolicy: Retain to let go of it",
            )),
            _ => Some(Notice::stalled(
                "Suspended",
                "suspend is true, so the vendor is not called; set suspend: false to go on",
            )),
        };
        self.rest(progress, notice).await
    }

    async fn release(&mut self, progress: &Progress, wish: &Wish) -> Result<Next, Error> {
        if self.held() {
            self.world.journal.release(&self.object).await?;
            if let Some(handle) = progress.handle().filter(|_| wish.retain) {
                let note = format!("{} stays at the vendor, as deletionPolicy Retain asks", handle.id());
                self.world.telemetry.released(&self.object, "Release", note).await;
            }
        }
        Ok(Next::Forget)
    }

    async fn unusable(
        &mut self,
        progress: &Progress,
        wish: &Wish,
        unusable: Unusable,
    ) -> Result<Next, Error> {
        // A Ready image stays Ready without an account: nothing was going to be done about it.
        let at_rest = matches!(progress, Progress::Ready { .. }) && !wish.changed && !wish.deleting;
        if !at_rest {
            self.show(
                progress,
                progress.clone(),
                Some(Notice::waiting(unusable.reason, unusable.message)),
                false,
                None,
            )
            .await?;
        }
        // The account's and the Secret's watches wake us; this is for what nobody watches, such as namespace labels.
        Ok(Next::In(pace::backoff(6, true).max(pace::NAMESPACE_LABELS * 2)))
    }

    // ---- creating ----------------------------------------------------------------------------------------------

    async fn submit(
        &mut self,
        client: &K::Client,
        from: Progress,
        attempt: u32,
        replay: bool,
    ) -> Result<Next, Error> {
        let Some(connection) = self.connection.clone() else { return Ok(Next::Change) };
        let lane = self.object.lane(client);
        let turn = tokio::select! {
            turn = connection.limits().turn(&lane, K::ACTION) => turn,
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
        let answer = self.object.submit(client, permit).await;
        self.world.telemetry.call(K::ACTION, started.elapsed(), &answer);
        turn.report(&answer);
        drop(turn);
        self.submitted(client, from, intent, answer).await
    }

    async fn permit(&mut self, from: &Progress, intent: &Intent, replay: bool) -> Result<Permit, Error> {
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

    async fn submitted(
        &mut self,
        client: &K::Client,
        from: Progress,
        intent: Intent,
        answer: Result<Submitted, CallError>,
    ) -> Result<Next, Error> {
        let request_id = match &answer {
            Ok(submitted) => submitted.request_id.clone(),
            Err(CallError::Refused(refusal)) => Some(refusal.request_id.clone()).filter(|id| !id.is_empty()),
            Err(_) => None,
        };
        let mut to = Progress::submitted(intent, answer.as_ref().map(|submitted| submitted.handle.clone()));
        if let (true, Progress::Building { handle, .. }) = (K::IMMEDIATE, &to) {
            if let Some(product) = self.look_at_once(client, handle).await {
                to = to.observed(Observation::Ready(product));
            }
        }
        let (notice, wait) = match &answer {
            Err(error) if !matches!(to, Progress::Failed { .. }) => {
                self.memo.failures += 1;
                if matches!(error, CallError::Unknown(_)) {
                    self.memo.lost_at = Some(Instant::now());
                }
                let wait =
                    if matches!(to, Progress::Submitting(_)) { K::SETTLE } else { self.backoff(error) };
                (Some(Notice::waiting(error.reason(), error.to_string())), Some(wait))
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
    async fn look_at_once(&self, client: &K::Client, handle: &Handle) -> Option<Product> {
        let observers = self.connection.as_ref()?.observers::<K>(client, &self.object.lane(client));
        let seen = tokio::time::timeout(Duration::from_secs(3), observers.ask(handle.clone())).await;
        match seen {
            Ok(Ok(Some(Observation::Ready(product))))
                if self.object.compare(client, &product) == Comparison::Same =>
            {
                Some(product)
            }
            _ => None,
        }
    }

    async fn recover(
        &mut self,
        client: &K::Client,
        from: Progress,
        intent: Intent,
        wish: &Wish,
    ) -> Result<Next, Error> {
        let lost_at = self.memo.lost_at.unwrap_or(self.world.started);
        let settled = lost_at + K::SETTLE;
        if let Some(wait) = settled.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            return Ok(Next::In(wait));
        }
        let since = intent.since.unwrap_or(Timestamp::UNIX_EPOCH);
        let recovered = match self.object.recover(client, &intent.token, since).await {
            Ok(recovered) => recovered,
            Err(error) => return self.trouble(&from, &error).await,
        };
        tracing::info!(kind = %K::kind(&()), name = %self.object.name_any(), token = intent.token, ?recovered, "recovered");
        let attempt = intent.attempt;
        match (recovered, wish.deleting) {
            (Recovered::Replay, _) => self.submit(client, from, attempt, true).await,
            (Recovered::Absent, false) => self.submit(client, from, attempt + 1, false).await,
            (Recovered::Absent, true) => self.release(&from, wish).await,
            (recovered, _) => {
                self.memo.failures = 0;
                let to = Progress::recovered(intent, recovered);
                let next = self.after(&to);
                self.show(&from, to, None, true, None).await?;
                Ok(next)
            }
        }
    }

    // ---- taking over -------------------------------------------------------------------------------------------

    async fn find(&mut self, client: &K::Client, from: Progress, wish: &Wish) -> Result<Next, Error> {
        let Some(import) = self.spec().import.clone() else { return Ok(Next::Change) };
        let found = match (&import.id, &import.matching) {
            (Some(id), _) => Ok(vec![K::handle(id)]),
            (None, Some(matching)) => self.object.find(client, matching).await,
            (None, None) => Ok(vec![]),
        };
        let handles = match found {
            Ok(handles) => handles,
            Err(error) => return self.trouble(&from, &error).await,
        };
        let [handle] = handles.as_slice() else {
            let ids: Vec<_> = handles.iter().take(10).map(Handle::id).collect();
            let notice = if ids.is_empty() {
                Notice::waiting(
                    "ImportNotFound",
                    "nothing at the vendor matches import.match; it is looked for again from time to time",
                )
            } else {
                Notice::stalled(
                    "ImportAmbiguous",
                    format!(
                        "import.match has {} hits ({}); narrow it down, or give import.id",
                        handles.len(),
                        ids.join(", ")
                    ),
                )
            };
            return self.wait_slowly(&from, notice).await;
        };
        match self.look(client, handle).await {
            Err(error) => self.trouble(&from, &error).await,
            Ok(Observation::Missing) => {
                let notice = Notice::waiting(
                    "ImportNotFound",
                    format!("the vendor has no {}; correct import.id, or create it", handle.id()),
                );
                self.wait_slowly(&from, notice).await
            }
            Ok(seen) => {
                if !wish.observe_only && !self.held() {
                    self.object = self.world.journal.hold(&self.object).await?;
                }
                let intent =
                    Intent { token: K::token(&self.uid(), 1), attempt: 1, since: Some(Timestamp::now()) };
                let to = Progress::Building { intent, handle: handle.clone(), percent: None };
                self.seen(client, from, to, seen, wish).await
            }
        }
    }

    async fn adopt(
        &mut self,
        client: &K::Client,
        from: Progress,
        intent: Intent,
        id: &str,
    ) -> Result<Next, Error> {
        let handle = K::handle(id);
        match self.look(client, &handle).await {
            Err(error) => self.trouble(&from, &error).await,
            Ok(Observation::Missing) => {
                let message = format!(
                    "the annotation {OUTCOME} names {id}, which the vendor does not have; correct it"
                );
                self.wait_slowly(&from, Notice::stalled("InvalidOutcome", message)).await
            }
            Ok(_) => {
                let to = Progress::Building { intent, handle, percent: None };
                self.show(&from, to, None, true, None).await?;
                Ok(Next::In(Duration::ZERO))
            }
        }
    }

    // ---- looking -----------------------------------------------------------------------------------------------

    async fn look(&self, client: &K::Client, handle: &Handle) -> Result<Observation, CallError> {
        let Some(connection) = &self.connection else {
            return Err(CallError::NotSent("no connection".into()));
        };
        let observers = connection.observers::<K>(client, &self.object.lane(client));
        tokio::select! {
            seen = observers.ask(handle.clone()) => Ok(seen?.unwrap_or(Observation::Missing)),
            () = self.world.stopping.cancelled() => Err(CallError::NotSent("the operator is stopping".into())),
        }
    }

    async fn observe(
        &mut self,
        client: &K::Client,
        from: Progress,
        handle: Handle,
        wish: &Wish,
    ) -> Result<Next, Error> {
        if let (Progress::Ready { .. }, false, Some(connection)) =
            (&from, wish.changed || wish.asked, &self.connection)
        {
            connection.limits().resync().await;
        }
        match self.look(client, &handle).await {
            Ok(seen) => self.seen(client, from.clone(), from, seen, wish).await,
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    /// `base` is the progress that the observation speaks of.
    async fn seen(
        &mut self,
        client: &K::Client,
        from: Progress,
        base: Progress,
        seen: Observation,
        wish: &Wish,
    ) -> Result<Next, Error> {
        if seen == Observation::Missing && !matches!(base, Progress::Missing { .. }) {
            let since = *self.memo.missing_since.get_or_insert_with(Instant::now);
            let patience = if matches!(base, Progress::Building { .. }) {
                pace::SECOND_LOOK.max(K::SETTLE)
            } else {
                pace::SECOND_LOOK
            };
            if let Some(wait) = patience.checked_sub(since.elapsed()).filter(|wait| !wait.is_zero()) {
                return Ok(Next::In(wait));
            }
        }
        self.memo.missing_since = None;
        let mut to = base.observed(seen);
        let mut notice = None;
        if let Progress::Ready { product, .. } = &to {
            match if wish.observe_only { Comparison::Same } else { self.object.compare(client, product) } {
                Comparison::Same => self.memo.amended = 0,
                Comparison::Fixed(fields) => {
                    let message = format!(
                        "the vendor's {} differs from the spec in {}, which cannot be changed there; correct the spec, or make a new object",
                        product.image_id.as_deref().unwrap_or("image"),
                        fields.join(", ")
                    );
                    notice = Some(Notice::stalled("SpecDiffers", message));
                }
                Comparison::Amendable(fields) if self.memo.amended >= pace::AMENDMENTS => {
                    let message = format!(
                        "{} was set at the vendor {} times and does not stay; somebody else sets it too",
                        fields.join(", "),
                        self.memo.amended
                    );
                    notice = Some(Notice::stalled("NotConverging", message));
                }
                Comparison::Amendable(_) => match self.amend(client, &from, &to, product.clone()).await? {
                    Ok(amended) => to = amended,
                    Err(next) => return Ok(next),
                },
            }
        }
        self.memo.failures = 0;
        let mut next = self.after(&to);
        if let (Progress::Building { intent, handle, .. }, Some(late)) = (&to, self.overdue(&to)) {
            let message = format!(
                "{} has not finished {} in {late:?} (spec.timeout, attempt {}); it is still looked at, and a late success counts; \
                 ask the vendor about it, raise timeout, or delete this object",
                K::ACTION,
                handle.id(),
                intent.attempt
            );
            notice = Some(Notice::stalled("TimedOut", message));
            next = Next::In(pace::SLOW_LOOK);
        }
        self.show(&from, to, notice, true, None).await?;
        Ok(next)
    }

    /// Sets a difference right and looks again.
    async fn amend(
        &mut self,
        client: &K::Client,
        from: &Progress,
        to: &Progress,
        product: Product,
    ) -> Result<Result<Progress, Next>, Error> {
        self.memo.amended += 1;
        if let Err(error) = self.object.amend(client, &product).await {
            return self.trouble_about(from, to.clone(), &error).await.map(Err);
        }
        let Some(handle) = to.handle() else { return Ok(Err(Next::Change)) };
        match self.look(client, handle).await {
            Err(error) => self.trouble_about(from, to.clone(), &error).await.map(Err),
            Ok(Observation::Ready(product)) if self.object.compare(client, &product) == Comparison::Same => {
                self.memo.amended = 0;
                Ok(Ok(to.clone().observed(Observation::Ready(product))))
            }
            Ok(_) => {
                let notice = Notice::waiting(
                    "Updating",
                    "a change was sent to the vendor and does not show there yet",
                );
                self.show(from, to.clone(), Some(notice), false, None).await?;
                Ok(Err(Next::In(self.to_beat())))
            }
        }
    }

    fn overdue(&self, progress: &Progress) -> Option<Duration> {
        let limit = Duration::from(self.spec().timeout);
        let since = progress.intent()?.since?;
        let taken = Duration::try_from(Timestamp::now().duration_since(since)).ok()?;
        (taken > limit).then_some(limit)
    }

    // ---- deleting ----------------------------------------------------------------------------------------------

    async fn discard(
        &mut self,
        client: &K::Client,
        from: Progress,
        handle: &Handle,
        attempt: u32,
    ) -> Result<Next, Error> {
        match self.object.delete(client, handle).await {
            Ok(Deletion::Gone) => self.submit(client, from, attempt, false).await,
            Ok(Deletion::Underway) => Ok(Next::In(self.to_beat())),
            Ok(Deletion::Waiting(why)) => {
                self.show(&from, from.clone(), Some(Notice::waiting("DeletionWaits", why)), false, None)
                    .await?;
                Ok(Next::In(self.to_beat()))
            }
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    async fn delete(&mut self, client: &K::Client, from: Progress, handle: Handle) -> Result<Next, Error> {
        if self.memo.deleting {
            match self.look(client, &handle).await {
                Ok(Observation::Missing) => return self.deleted(&handle).await,
                Ok(_) => {}
                Err(error) => return self.trouble(&from, &error).await,
            }
        }
        match self.object.delete(client, &handle).await {
            Ok(Deletion::Gone) => self.deleted(&handle).await,
            Ok(Deletion::Underway) => {
                self.memo.deleting = true;
                self.show(&from, from.clone(), None, true, None).await?;
                Ok(Next::In(self.to_beat()))
            }
            Ok(Deletion::Waiting(why)) => {
                self.show(&from, from.clone(), Some(Notice::waiting("DeletionWaits", why)), true, None)
                    .await?;
                Ok(Next::In(self.to_beat()))
            }
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    async fn deleted(&mut self, handle: &Handle) -> Result<Next, Error> {
        self.world.journal.release(&self.object).await?;
        self.world
            .telemetry
            .released(&self.object, "Delete", format!("{} is deleted at the vendor", handle.id()))
            .await;
        Ok(Next::Forget)
    }

    // ---- writing -----------------------------------------------------------------------------------------------

    /// A call failed; nothing moved.
    async fn trouble(&mut self, at: &Progress, error: &CallError) -> Result<Next, Error> {
        self.trouble_about(at, at.clone(), error).await
    }

    async fn trouble_about(
        &mut self,
        from: &Progress,
        to: Progress,
        error: &CallError,
    ) -> Result<Next, Error> {
        if self.world.stopping.is_cancelled() {
            return Ok(Next::Change);
        }
        self.memo.failures += 1;
        let wait = self.backoff(error);
        let wanted = self.deleting()
            || self.object.status().and_then(|status| status.observed_generation)
                != self.object.meta().generation;
        let at_rest = matches!(to, Progress::Ready { .. }) && !wanted;
        let passing = self.memo.failures < 3
            && (error.class().is_none()
                || matches!(error.class(), Some(Class::Throttled | Class::Unavailable)));
        if at_rest || passing {
            // That a periodic look failed says nothing against the image, and a hiccup is not worth two writes.
            tracing::warn!(kind = %K::kind(&()), name = %self.object.name_any(), %error, "a look at the vendor failed");
        } else {
            let stalled = error.class() == Some(Class::Invalid);
            let notice = Notice { reason: error.reason().into(), message: error.to_string(), stalled };
            self.show(from, to, Some(notice), stalled, None).await?;
        }
        Ok(Next::In(wait))
    }

    async fn wait_slowly(&mut self, at: &Progress, notice: Notice) -> Result<Next, Error> {
        self.memo.failures += 1;
        self.show(at, at.clone(), Some(notice), true, None).await?;
        Ok(Next::In(pace::backoff(self.memo.failures, true)))
    }

    fn backoff(&self, error: &CallError) -> Duration {
        let quick = matches!(error, CallError::NotSent(_) | CallError::Unknown(_))
            || matches!(error.class(), Some(Class::Throttled | Class::Busy | Class::Unavailable));
        let asked = match error {
            CallError::Refused(refusal) => refusal.retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        pace::backoff(self.memo.failures, !quick).max(asked)
    }

    /// When to look again at something that went well.
    fn after(&self, progress: &Progress) -> Next {
        match progress {
            Progress::Building { .. } => Next::In(self.to_beat()),
            Progress::Submitting(_) => Next::In(K::SETTLE),
            Progress::New { .. } => Next::In(Duration::ZERO),
            Progress::Ready { .. } => self.to_next_resync().map_or(Next::Change, Next::In),
            Progress::Missing { .. } => Next::In(pace::SLOW_LOOK),
            Progress::Failed { .. } | Progress::Unclear { .. } => Next::Change,
        }
    }

    fn to_beat(&self) -> Duration {
        let seed = self.connection.as_ref().map_or(0, |connection| connection.seed);
        pace::to_next_beat(since_epoch(), pace::BEAT, seed)
    }

    /// Writes what changed, guarded, and tells of it.
    async fn show(
        &mut self,
        from: &Progress,
        to: Progress,
        notice: Option<Notice>,
        settled: bool,
        request_id: Option<&str>,
    ) -> Result<(), Error> {
        let shown = self.shown(&to, notice.as_ref(), settled, request_id);
        if let Some(status) = status::status(&shown, self.object.status(), Timestamp::now()) {
            self.object = self.world.journal.advance(&self.object, &status).await?;
        }
        self.tell(from, &to, notice).await;
        Ok(())
    }

    /// Writes a vendor's answer, unguarded.
    async fn conclude(
        &mut self,
        from: &Progress,
        to: Progress,
        notice: Option<Notice>,
        request_id: Option<&str>,
    ) -> Result<(), Error> {
        let settled = notice.is_none();
        let shown = self.shown(&to, notice.as_ref(), settled, request_id);
        if let Some(status) = status::status(&shown, self.object.status(), Timestamp::now()) {
            self.object = self.world.journal.conclude(&self.object, &status).await?;
        }
        self.tell(from, &to, notice).await;
        Ok(())
    }

    async fn tell(&mut self, from: &Progress, to: &Progress, notice: Option<Notice>) {
        let trouble = self.memo.trouble.take();
        self.memo.trouble = notice.as_ref().map(|notice| notice.reason.clone());
        let action = self.action();
        let transition =
            Transition { from, to, trouble: trouble.as_deref(), notice: notice.as_ref(), action };
        self.world.telemetry.transition(&self.object, &transition).await;
    }

    fn shown<'s>(
        &'s self,
        progress: &'s Progress,
        notice: Option<&'s Notice>,
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
            notice,
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

    // ---- the object --------------------------------------------------------------------------------------------

    fn spec(&self) -> &ImageSpec<K::Match> {
        self.object.spec()
    }
    fn uid(&self) -> String {
        self.object.uid().unwrap_or_default()
    }
    fn generation(&self) -> i64 {
        self.object.meta().generation.unwrap_or_default()
    }
    fn held(&self) -> bool {
        self.object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
    }
    fn deleting(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }
    fn annotation(&self, name: &str) -> Option<&str> {
        self.object.annotations().get(name).map(String::as_str)
    }
    fn action(&self) -> &'static str {
        if self.spec().import.is_some() { "Import" } else { K::ACTION }
    }
    fn context(&self) -> Context {
        let asked =
            format!("{:?} {:?} {}", self.annotation(REQUESTED_AT), self.annotation(OUTCOME), self.deleting());
        Context {
            generation: self.generation(),
            epoch: self.connection.as_ref().map_or(0, |connection| connection.epoch),
            asked: pace::seed(&asked),
        }
    }
}

fn answer(text: &str) -> Result<Answer, Notice> {
    match text.trim().split_once('=') {
        None if text.trim() == "resubmit" => Ok(Answer::Resubmit),
        Some(("adopt", id)) if !id.trim().is_empty() => Ok(Answer::Adopt(id.trim().into())),
        _ => Err(Notice::stalled(
            "InvalidOutcome",
            format!("the annotation {OUTCOME} is {text:?}; it must be adopt=<id> or resubmit"),
        )),
    }
}

fn since_epoch() -> Duration {
    Duration::try_from(Timestamp::now().duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default()
}
