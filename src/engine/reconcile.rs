//! The straight line from an object to its status: read, decide, act, write. The same for every kind.

mod creating;
mod deleting;
mod importing;
mod looking;
mod outliving;
mod preflighting;
mod sharing;
mod showing;
mod succeeding;

use super::{
    accounts::{AccountKey, Accounts},
    connection::Connection,
    external::Unusable,
    index::{Index, KindId, Reference, Referent, Unresolved},
    journal::{Journal, Unwritten},
    locks::{Held, Holder, Key},
    object::{Kind, Link, Object},
    object_state::{Asked, Context, ObjectState, ObjectStates},
    pace,
    packed::Packed,
    progress::{Answer, Comparison, Handle, Origin, Product, Progress, Step, Wish},
    record::Recorded,
    request_id,
    shared_locks::SharedLocks,
    status::{self, Detail, Garbled},
    telemetry::{self, Telemetry},
    urgency::Urgency,
};
use crate::image::{
    DeletionPolicy, FINALIZER, IMPORT, ImageSpec, ImageStatus, ManagementPolicy, OUTCOME, Phase, RECORD,
    REQUESTED_AT, RecreatePolicy,
};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;
use sharing::Elsewhere;
use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::OnceCell, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// What every pass of one kind needs.
pub struct World {
    /// The kind.
    pub kind: Kind,
    /// Stores progress.
    pub journal: Journal,
    /// Knows the accounts.
    pub accounts: Arc<Accounts>,
    /// Shows what happens.
    pub telemetry: Telemetry,
    /// Remembers between passes.
    pub states: ObjectStates,
    /// Writes conditions onto objects that cannot be read.
    pub client: kube::Client,
    /// How far apart the looks are that wait for the vendor.
    pub beat: Duration,
    /// Where this kind's objects are in the index.
    pub kind_id: KindId,
    /// Cancelled when no new work is to be taken.
    pub stopping: CancellationToken,
    /// The locks that it has in common with other shards, if there are any.
    pub shared: Option<SharedLocks>,
    /// What objects of other shards were at work on when this one began: they may have begun when all were in one.
    pub begun_elsewhere: OnceCell<Vec<Holder>>,
}

/// Why a pass ended early. Everything of the vendor's is shown on the object instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not take or give something.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// Somebody else went on with the object meanwhile.
    #[error("{}", Unwritten::Outdated)]
    Outdated,
    /// There is no such object any more.
    #[error("{}", Unwritten::Gone)]
    Gone,
}

impl From<Unwritten> for Error {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Kube(error) => Self::Kube(error),
            Unwritten::Outdated => Self::Outdated,
            Unwritten::Gone => Self::Gone,
        }
    }
}

impl Error {
    /// Whether the API server will not take the write, however often it is tried: rights, a policy, or an older CRD.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Kube(kube::Error::Api(status)) => {
                (400..500).contains(&status.code) && !matches!(status.code, 404 | 408..=410 | 429)
            }
            Self::Kube(_) | Self::Outdated | Self::Gone => false,
        }
    }

    /// Whether there is no such object any more.
    fn is_gone(&self) -> bool {
        match self {
            Self::Kube(kube::Error::Api(status)) => status.code == 404,
            error => matches!(error, Self::Gone),
        }
    }

    /// Whether it is about what was written, and not about who writes.
    fn is_invalid(&self) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if matches!(status.code, 400 | 413 | 422))
    }
}

/// One pass over one object, counted and traced. Gives the time after which the next one is due, if one is.
pub async fn reconcile(
    object: Arc<Packed>,
    account: Option<Arc<AccountKey>>,
    world: Arc<World>,
) -> Result<Option<Duration>, Error> {
    let _pass = world.telemetry.metrics().pass(&world.kind.name());
    let name = format!("{}/{}", object.name().0, object.name().1);
    let account = account.map(|account| account.label());
    let span = telemetry::pass_span(&world.kind.name(), &name, account.as_deref().unwrap_or_default());
    // What wraps a future holds it as many times as there are wrappings, and a thousand passes may wait at once.
    request_id::within(Box::pin(pass(object, world))).instrument(span).await.0
}

async fn pass(packed: Arc<Packed>, world: Arc<World>) -> Result<Option<Duration>, Error> {
    let object = match packed.unpack(world.kind).0 {
        Ok(object) => object,
        Err(invalid) => {
            super::malformed::report(
                &world.client,
                &world.kind.resource(),
                &invalid.metadata,
                &invalid.error,
            )
            .await?;
            return Ok(None);
        }
    };
    drop(packed);
    let uid = object.uid().unwrap_or_default();
    let mut local = world.states.get(&uid);
    if world.states.is_new(&uid) {
        // What an earlier process has told need not be told again.
        local.trouble = object.status().and_then(status::reason).map(Into::into);
    }
    if local.is_ahead_of(object.meta().resource_version.as_deref()) {
        return Ok(Some(pace::NEWS_LOOK));
    }
    let asked = asked_of(&object);
    let may_hold_lock = object.exclusive().is_some() || !object.references().is_empty();
    let mut pass = Pass {
        object,
        world: &world,
        local,
        connection: None,
        referents: vec![],
        version: None,
        retires_later: None,
        asked,
        began: Instant::now(),
        looked: AtomicBool::new(false),
        just_held: false,
        confirmed: None,
        elsewhere: Elsewhere::default(),
    };
    let done = pass.run().await;
    let wake = match &done {
        Ok(Next::Forget) => {
            pass.give_back_all_shared().await;
            world.accounts.index().release(&uid);
            world.states.forget(&uid);
            return Ok(None);
        }
        Ok(Next::In(wait) | Next::Poll(wait) | Next::Blocked(wait)) => Some(*wait),
        Ok(Next::Change) => None,
        // Somebody wrote the object meanwhile: its news is on the way.
        Err(Error::Outdated) => Some(Duration::from_secs(1)),
        Err(Error::Kube(kube::Error::Api(status))) if status.code == 409 => Some(Duration::from_secs(1)),
        Err(error) if error.is_gone() => {
            world.accounts.index().release(&uid);
            world.states.forget(&uid);
            return Ok(None);
        }
        Err(error) => {
            pass.local.failures += 1;
            if error.is_refusal() {
                pass.show_refusal(error).await;
                Some(pace::backoff(pass.local.failures, false))
            } else {
                tracing::warn!(%error, "the API server failed");
                Some(pace::api_backoff(pass.local.failures))
            }
        }
    };
    // Trouble with the API server is no reason to look at the vendor more often; an answer that is not stored waits in memory.
    let wake = match (wake, &done) {
        (Some(wait), Err(_)) if pass.looked.load(Ordering::Relaxed) && pass.local.unwritten.is_none() => {
            Some(wait.max(pass.to_beat()))
        }
        (wake, _) => wake,
    };
    let kept = if may_hold_lock { lock_kept(&pass.object) } else { Kept::No };
    let wake = match kept {
        Kept::For(left) => Some(wake.map_or(left, |wake| wake.min(left))),
        Kept::No | Kept::Always => wake,
    };
    if may_hold_lock && kept == Kept::No {
        world.accounts.index().unlock(&uid);
    }
    pass.give_back_shared(wake).await;
    if done.is_ok() {
        world.accounts.index().keep(&uid, &super::owned_ids(&pass.object));
    }
    let context = pass.context();
    pass.local.meet(pass.object.meta().resource_version.as_deref());
    let gated = wake.filter(|_| !matches!(done, Ok(Next::Poll(_))));
    let local = match done {
        Ok(Next::Blocked(_)) => pass.local,
        _ => ObjectState { wake: gated.map(|wait| Instant::now() + wait), context, ..pass.local },
    };
    world.states.put(&uid, local);
    Ok(wake)
}

/// Why an object waits that could begin if all others were known.
const STARTING: &str = "OperatorStarting";

/// What a suspended object says that is not Ready.
const SUSPENDED: &str = "suspend is true, so the vendor is not called; set suspend: false to go on";

/// When to come back.
enum Next {
    /// After this long, or when the object or its account changes.
    In(Duration),
    /// After this long, or whenever there is a reason to look again: other objects' news are one.
    Poll(Duration),
    /// After this long, or whenever the account may be usable; what was waited for until then is waited for still, so that an
    /// account that comes and goes makes no wait shorter.
    Blocked(Duration),
    /// When something changes.
    Change,
    /// Never: the object is gone.
    Forget,
}

struct Pass<'a> {
    object: Object,
    world: &'a World,
    local: ObjectState,
    connection: Option<Arc<Connection>>,
    /// What the spec's references mean, or meant when the attempt began that is under way.
    referents: Vec<Referent>,
    /// The version that the attempt makes, or made.
    version: Option<String>,
    /// After this long an earlier version is tried again that could not be deleted in this pass.
    retires_later: Option<Duration>,
    /// What was asked of the object when the pass began: its own writes may bring news that it has not acted on.
    asked: Asked,
    began: Instant,
    /// The vendor was looked at.
    looked: AtomicBool,
    /// Our finalizer was put on for the creating call, a moment ago.
    just_held: bool,
    /// When it was asked last, by a write of this pass, whether the object is the newest version, and it was.
    confirmed: Option<Instant>,
    /// What others have in this one's realm, of whatever shard, once they were looked at.
    elsewhere: Elsewhere,
}

impl Pass<'_> {
    async fn run(&mut self) -> Result<Next, Error> {
        if self.deleting() && !has_finalizer(&self.object) {
            // Ours is done, or a person took it off, which means to let go.
            return Ok(Next::Forget);
        }
        let progress = match self.progress() {
            Ok(Progress::Restored { .. }) if !self.world.accounts.index().is_filled() => {
                // It may be a copy of an object that has not been read yet.
                return Ok(Next::Poll(pace::ACCOUNTS));
            }
            Ok(progress) => progress,
            Err(garbled) => {
                let progress = Progress::New { attempt: 1, tried: None };
                return self.malformed(&progress, &garbled.to_string()).await;
            }
        };
        self.declare(&progress).await;
        if let (Some((to, asked)), Progress::Submitting(intent)) =
            (self.local.unwritten.take().map(|unwritten| *unwritten), &progress)
            && to.intent().is_some_and(|answered| answered.token == intent.token)
        {
            self.local.unwritten = Some(Box::new((to.clone(), asked)));
            return self.catch_up(&progress, to, asked).await;
        }
        if !matches!(&progress, Progress::Submitting(_) | Progress::Unclear { .. }) {
            self.local.lost_at = None;
        }
        let wish = match self.wish(&progress) {
            Ok(wish) => wish,
            Err(detail) => return self.rest(&progress, Some(detail)).await,
        };
        if self.is_to_be_held(&progress, &wish) {
            let intent = progress.intent();
            let (attempt, at) = intent.map_or((1, None), |intent| (intent.attempt, intent.since));
            self.object = self.world.journal.hold(&self.object, attempt, at).await?;
        }
        let step = progress.next(&wish);
        match &step {
            Step::Rest => return self.rest(&progress, None).await,
            Step::Suspended => return self.suspended(&progress, &wish).await,
            Step::Release => return self.release(&progress, &wish).await,
            Step::Delete(handle) if let Some(what) = self.object.remains(handle) => {
                return self.deleted(&progress, what).await;
            }
            _ => {}
        }
        let client = match self.connect(wish.deleting).await {
            Ok(client) => client,
            Err(unusable) => return self.unusable(&progress, &wish, unusable).await,
        };
        if let Some(next) = self.not_yet(&progress, &wish) {
            return Ok(next);
        }
        // Whoever looks must see that it goes before the vendor is asked for anything about that, but for what is gone at once.
        if wish.deleting && !matches!(step, Step::Delete(_)) && !self.is_shown_to_go() {
            self.show(&progress, progress.clone(), None, true, None).await?;
        }
        if let Err(detail) = self.prepare(&client, &progress, &step).await {
            // All objects have been read in a moment, which is not worth showing.
            if detail.reason == STARTING && !std::mem::replace(&mut self.local.starting, true) {
                return Ok(Next::Poll(pace::ACCOUNTS));
            }
            self.show(&progress, progress.clone(), Some(detail), false, None).await?;
            return Ok(Next::Poll(pace::OTHERS));
        }
        match step {
            Step::Find => self.find(&client, progress, &wish).await,
            Step::Submit { attempt } => Box::pin(self.submit(&client, progress, attempt, false)).await,
            Step::Recover(intent) => Box::pin(self.recover(&client, progress, intent, &wish)).await,
            Step::Observe(handle) => self.observe(&client, progress, handle, &wish).await,
            Step::Adopt { intent, id } => self.adopt(&client, progress, intent, &id).await,
            Step::Discard { handle, attempt } => {
                self.discard(&client, progress, &handle, attempt, &wish).await
            }
            Step::Clear(handle) => Box::pin(self.clear(&client, progress, &handle)).await,
            Step::Delete(handle) => Box::pin(self.delete(&client, progress, handle)).await,
            Step::Retire => Box::pin(self.delete_versions(&client, progress)).await,
            Step::Rest | Step::Suspended | Step::Release => Ok(Next::Change),
        }
    }

    fn progress(&self) -> Result<Progress, Garbled> {
        let recorded = recorded(&self.object, Some(self.world.accounts.index()));
        status::progress(self.object.status(), &recorded, &self.uid(), |uid, attempt| {
            self.world.kind.token(uid, attempt)
        })
    }

    fn wish(&self, progress: &Progress) -> Result<Wish, Detail> {
        let (spec, status) = (self.spec(), self.object.status());
        let mut wish = Wish {
            deleting: self.deleting(),
            suspended: spec.suspend,
            observe_only: spec.management_policy == ManagementPolicy::Observe,
            import: spec.import.is_some() && !self.has_gone_on(),
            succeed: false,
            predecessors: !self.predecessors(progress).is_empty(),
            import_id: spec.import.as_ref().and_then(|import| import.id.clone()),
            retain: spec.deletion_policy.map(|policy| policy == DeletionPolicy::Retain),
            recreate: spec.recreate_policy == RecreatePolicy::WhenMissing,
            clears: self.object.clears(),
            changed: status.and_then(|status| status.observed_generation) != self.object.meta().generation,
            asked: self.annotation(REQUESTED_AT).is_some()
                && self.annotation(REQUESTED_AT)
                    != status.and_then(|status| status.last_handled_reconcile_at.as_deref()),
            answer: None,
        };
        wish.succeed =
            (wish.changed || wish.asked) && !wish.observe_only && self.is_to_be_succeeded(progress);
        if let (Progress::Unclear { .. }, Some(text)) = (progress, self.annotation(OUTCOME))
            && Some(text) != status.and_then(|status| status.last_handled_outcome.as_deref())
        {
            wish.answer = match answer(text) {
                // It is read again when the object goes on.
                Err(_) if spec.suspend => None,
                answer => Some(answer?),
            };
        }
        Ok(wish)
    }

    /// Before anything is changed or deleted at the vendor: the object still asks for it. What the cache shows may be over,
    /// since an API server may lag behind, and another process, or an earlier one, may have gone on: a spec that was changed
    /// since would be undone, and what the object has let go of, another one's by now, deleted.
    async fn confirm(&mut self) -> Result<(), Error> {
        if self.confirmed.is_some_and(|at| at.elapsed() <= pace::PERMIT_AGE) {
            return Ok(());
        }
        let asked = Instant::now();
        self.world.journal.confirm(&self.object).await?;
        if asked.elapsed() > pace::PERMIT_AGE {
            // Who was asleep knows nothing of what happened meanwhile.
            return Err(Error::Outdated);
        }
        self.confirmed = Some(asked);
        Ok(())
    }

    /// Whether somebody took our finalizer, or the record that comes with it, off what has something at the vendor.
    fn is_to_be_held(&self, progress: &Progress, wish: &Wish) -> bool {
        let has = progress.handle().is_some() || progress.under_way();
        let ours = progress.intent().is_some_and(|intent| intent.origin != Origin::Observed);
        has && ours && !wish.observe_only && !wish.deleting && !self.held()
    }

    /// When to come back instead of taking the next step now.
    fn not_yet(&mut self, progress: &Progress, wish: &Wish) -> Option<Next> {
        let wait = self.local.wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        let at_rest =
            matches!(progress, Progress::Ready { .. }) && !wish.changed && !wish.asked && !wish.deleting;
        if at_rest && !self.is_to_retire(progress) {
            // Neither a new Secret nor a restart is a reason to look: only its own time is.
            return match wait.or_else(|| self.to_next_resync()) {
                Some(Duration::ZERO) => None,
                Some(wait) => Some(Next::In(wait)),
                None => Some(Next::Change),
            };
        }
        let context = self.context();
        if self.local.context == context {
            return wait.filter(|wait| !wait.is_zero()).map(Next::In);
        }
        // What was tried before may work now.
        self.local.failures = 0;
        // Whoever asks may have found who else sets it.
        let asks = |context: &Context| (context.generation, context.asked);
        if asks(&self.local.context) != asks(&context) {
            self.local.amended = 0;
        }
        None
    }

    fn to_next_resync(&self) -> Option<Duration> {
        if self.world.kind.traits().forgets {
            return None;
        }
        let interval = Duration::from(self.spec().resync_interval);
        let next = pace::to_next_resync(since_epoch(), interval, &self.uid())?;
        // On the beat, so that looks that fall together share a call.
        let seed = self.connection.as_ref().map_or(0, |connection| connection.seed);
        Some(next + pace::to_next_beat(since_epoch() + next, self.world.beat, seed))
    }

    async fn connect(&mut self, ending: bool) -> Result<Link, Unusable> {
        let namespace = self.object.namespace().unwrap_or_default();
        let connection = self.world.accounts.connect(&self.spec().account_ref, &namespace, ending).await?;
        let client = self.world.kind.connect(&connection)?;
        self.connection = Some(connection);
        Ok(client)
    }

    /// What must be so before the vendor is called: references resolved, nobody else at the same thing.
    async fn prepare(&mut self, client: &Link, progress: &Progress, step: &Step) -> Result<(), Detail> {
        let index = self.world.accounts.index();
        let begins = matches!(step, Step::Submit { .. } | Step::Discard { .. });
        if begins {
            self.referents = self.resolve(self.object.references()).await?;
        }
        if begins || matches!(step, Step::Recover(_)) {
            let checked = self.subject().check(client);
            checked.map_err(|unusable| Detail::unusable(&unusable, !self.youth().is_zero()))?;
        }
        // What is only in the record is no evidence that anything runs, so it gets its lock like everybody else.
        let begun = matches!(step, Step::Recover(_)) && progress.under_way() && !self.is_recorded_in_status();
        let thing = self.subject().exclusive().filter(|_| begun || begins);
        let Some(thing) = thing else { return Ok(()) };
        let Some(key) = self.work(&thing) else { return Ok(()) };
        index.lock(&key, &self.holder(), false).map_err(|held| match held {
            Held::By(who) => Detail::waiting(
                "WaitsForOther",
                format!(
                    "waits for {}, which is at work on {thing}; only one can be at a time",
                    who.name_for(&self.holder().namespace)
                ),
            ),
            Held::Unknown => self.starting("one of them may be at work on the same thing"),
        })?;
        self.lock_in_all_shards(&key, &thing).await
    }

    /// What all the object's references mean. Of those that mean nothing yet, all are waited for at once, and told.
    async fn resolve(&self, references: Vec<Reference>) -> Result<Vec<Referent>, Detail> {
        let index = self.world.accounts.index();
        let asking = (&*self.world.kind.name(), &*self.object.name_any());
        let namespace = self.object.namespace().unwrap_or_default();
        let is_young = !self.youth().is_zero();
        let own =
            || self.connection.as_ref().and_then(|connection| self.subject().place(connection.account()));
        let (mut referents, mut waiting, mut stalled) = (vec![], vec![], vec![]);
        for reference in references {
            if reference.among(&referents).is_some() {
                continue;
            }
            let mut resolved = index.resolve(&namespace, &reference, asking);
            if let Some(shared) = &self.world.shared
                && (reference.kind.is_none() || matches!(resolved, Err(Unresolved::Missing(_))))
            {
                // News of objects of other shards wake nobody here.
                let all = index.resolve_in_all_shards(shared.client(), &namespace, &reference, asking);
                resolved = all.await.map_err(|error| sharing::unreadable(&error))?;
            }
            let (whys, why) = match resolved {
                Ok(referent) => {
                    let Some(why) = reference.unreachable(&referent, own().as_deref()) else {
                        referents.push(referent);
                        continue;
                    };
                    (&mut stalled, why)
                }
                Err(Unresolved::NotReady(why)) => (&mut waiting, why),
                Err(Unresolved::Missing(why)) if is_young => (&mut waiting, why),
                Err(Unresolved::Missing(why) | Unresolved::Unfit(why)) => (&mut stalled, why),
            };
            if !whys.contains(&why) {
                whys.push(why);
            }
        }
        // What a person has to do comes before what comes by itself.
        if !stalled.is_empty() {
            return Err(Detail::stalled("ReferenceNotReady", some_of(&stalled)));
        }
        if !waiting.is_empty() {
            return Err(Detail::waiting("ReferenceNotReady", some_of(&waiting)));
        }
        Ok(referents)
    }

    /// Why nobody may begin yet.
    fn starting(&self, since: &str) -> Detail {
        let missing = self.world.accounts.index().missing();
        Detail::waiting(STARTING, format!("waits until all objects have been read, since {since}{missing}"))
    }

    /// The lock on a thing: calls with other credentials cannot be taken for this object's.
    fn work(&self, thing: &str) -> Option<Key> {
        let connection = self.connection.as_ref()?;
        let realm = format!("{} {:x}", self.subject().realm(connection.account()), connection.identity());
        Some(Key::Work { realm, thing: thing.to_owned() })
    }

    /// Whoever has something under way holds the lock on it, and whoever has something owns it, whatever else there is to
    /// show; if it may use the account, since nobody else can be at work there.
    async fn declare(&mut self, progress: &Progress) {
        if !self.object.references().is_empty() {
            self.referents = progress.intent().map(|intent| intent.references.clone()).unwrap_or_default();
        }
        self.version = progress.intent().and_then(|intent| intent.version.clone());
        let thing = self.subject().exclusive();
        let index = self.world.accounts.index();
        if let Some(thing) =
            thing.filter(|_| lock_kept(&self.object) != Kept::No && self.is_recorded_in_status())
            && self.connect(true).await.is_ok()
            && let Some(key) = self.work(&thing)
        {
            // Nobody can keep it from what it has begun.
            let _ = index.lock(&key, &self.holder(), true);
            if self.local.work_lock.is_none() {
                let _ = self.lock_in_all_shards(&key, &thing).await;
            }
        }
        if let Some(realm) = self.realm() {
            for id in super::owned_ids(&self.object) {
                let _ = index.claim(&realm, id, &self.holder(), true);
            }
        }
        index.declared(&self.uid());
    }

    /// Where the object's ids mean what they do; `None`: its account does not exist.
    fn realm(&self) -> Option<String> {
        let vendor = self.world.accounts.vendor(&super::account_of(&self.object))?;
        Some(self.subject().realm(&vendor))
    }

    /// Makes the object the owner of what the vendor has under an id, or says why it cannot be.
    async fn claim(&mut self, id: &str) -> Result<(), Detail> {
        self.claim_here(id)?;
        self.claim_in_all_shards(id).await
    }

    /// The same among the objects of this shard.
    fn claim_here(&self, id: &str) -> Result<(), Detail> {
        let Some(realm) = self.realm() else { return Ok(()) };
        let claimed = self.world.accounts.index().claim(&realm, id, &self.holder(), false);
        claimed.map_err(|held| match held {
            Held::By(who) => importing::held_by_other(id, &who.name_for(&self.holder().namespace)),
            Held::Unknown => self.starting("one of them may own it"),
        })
    }

    /// Whether what the object is at is in its status, which only the operator writes.
    fn is_recorded_in_status(&self) -> bool {
        self.object.status().is_some_and(|status| status.operation.is_some())
    }

    async fn rest(&mut self, progress: &Progress, detail: Option<Detail>) -> Result<Next, Error> {
        self.show(progress, progress.clone(), detail, true, None).await?;
        Ok(Next::Change)
    }

    async fn malformed(&mut self, progress: &Progress, message: &str) -> Result<Next, Error> {
        // A suspended object is never Stalled: what is wrong with it shows when it is to go on.
        let detail = if self.spec().suspend {
            Detail::suspended(SUSPENDED)
        } else {
            Detail::stalled("InvalidStatus", message)
        };
        let shown = self.shown(progress, Some(&detail), true, None);
        let mut new = status::status(&shown, None, Timestamp::now()).unwrap_or_default();
        if let Some(old) = self.object.status() {
            // Nothing that might still lead to the vendor's thing is thrown away.
            new = ImageStatus {
                observed_generation: new.observed_generation,
                conditions: new.conditions,
                ..old.clone()
            };
            if status::reason(old) == Some(&*detail.reason)
                && old.observed_generation == new.observed_generation
            {
                return Ok(Next::Change);
            }
        }
        self.world.journal.advance(&self.object, &new).await?;
        Ok(Next::Change)
    }

    async fn suspended(&mut self, progress: &Progress, wish: &Wish) -> Result<Next, Error> {
        if wish.deleting {
            let detail = Detail::suspended(format!(
                "suspend is true, so nothing is deleted at the vendor, and this object waits. Three ways on: set suspend: false to \
                 have it deleted there; set deletionPolicy: Retain to let this object go and leave it there; or take the finalizer \
                 {FINALIZER} off this object, which leaves it there too, without a record of it / suspend 为 true，厂商侧不会删除\
                 任何内容，此对象保持等待。可选：设置 suspend: false 以删除厂商侧镜像；设置 deletionPolicy: Retain 释放对象并保留\
                 镜像；或移除 finalizer {FINALIZER}，镜像同样保留，但不再有记录"
            ));
            return self.rest(progress, Some(detail)).await;
        }
        if let Progress::Ready { product, .. } = progress
            && (!wish.changed || self.is_applied(product, wish).await)
        {
            return self.rest(progress, None).await;
        }
        let detail = Detail::suspended(match progress {
            Progress::Ready { .. } => {
                "suspend is true, so the vendor is not called, and what the spec asks for now is not applied; set suspend: false to apply it"
            }
            _ => SUSPENDED,
        });
        // What the spec asks for is dealt with only when it is lifted.
        self.show(progress, progress.clone(), Some(detail), false, None).await?;
        Ok(Next::Change)
    }

    /// Whether what was seen last is what the present spec asks for, without asking the vendor: to suspend an object is a
    /// new generation of its spec, too.
    async fn is_applied(&mut self, product: &Product, wish: &Wish) -> bool {
        if wish.observe_only {
            return true;
        }
        let client = self.connect(true).await;
        client.is_ok_and(|client| self.subject().compare(&client, product) == Comparison::Same)
    }

    async fn release(&mut self, progress: &Progress, wish: &Wish) -> Result<Next, Error> {
        if has_finalizer(&self.object) {
            self.world.journal.release(&self.object).await?;
            if matches!(progress, Progress::New { .. } | Progress::Failed { handle: None, .. }) {
                self.world.accounts.index().ended(&self.uid());
            }
            let why = match (progress, wish.retain) {
                (Progress::Unclear { restored: true, .. }, _) => "it was made for an earlier object",
                (_, Some(true)) => "as deletionPolicy Retain asks",
                _ => "since this object took it over, and has no deletionPolicy Delete",
            };
            let stays = match progress {
                Progress::Unclear { candidates, restored: true, .. } if !candidates.is_empty() => {
                    Some(candidates.join(", "))
                }
                _ => progress.handle().filter(|_| progress.stays(wish)).map(|handle| handle.id().to_owned()),
            };
            if let Some(stays) = stays {
                let note = format!("{stays} stays at the vendor, {why}");
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
        let youth = self.youth();
        let of_api_server = matches!(unusable.reason, "AccountsNotRead" | "AccountNotHeld");
        // Nor does it touch what waits for a time of its own, until that comes.
        let waits = self.own_wait().filter(|_| of_api_server);
        if !at_rest && waits.is_none() {
            let mut detail = Detail::unusable(&unusable, !youth.is_zero());
            if wish.deleting && !of_api_server {
                // Where the namespace goes too, the API server lets nobody put back what is missing.
                let left = progress.handle().map_or("what may have been made", Handle::id);
                detail.message = format!(
                    "{}; or set deletionPolicy: Retain, which lets the object go and leaves {left} at the vendor, to be deleted \
                     there",
                    detail.message
                );
            }
            self.show(progress, progress.clone(), Some(detail), false, None).await?;
        }
        // The account's and the Secret's watches wake us, or who asks again about an account that the API server did not give;
        // nobody watches the labels of namespaces.
        let wait = match unusable.reason {
            // Later than they are remembered, and not all at once.
            "NamespaceNotAllowed" => pace::NAMESPACE_LABELS + pace::backoff(3, false),
            // Half a minute at most: it may be the labels that could not be read.
            "AccountsNotRead" => pace::backoff(2, true),
            _ => pace::backoff(6, true),
        };
        let wait = if youth.is_zero() { wait } else { wait.min(youth + Duration::from_secs(1)) };
        Ok(Next::Blocked(waits.map_or(wait, |own| wait.min(own))))
    }

    /// How long the object waits yet for a time of its own, if nothing else has been asked of it since that was set.
    fn own_wait(&self) -> Option<Duration> {
        let Context { generation, asked, .. } = self.local.context;
        let left = self.local.wake?.saturating_duration_since(Instant::now());
        ((generation, asked) == self.asked && !left.is_zero()).then_some(left)
    }

    /// The object as the vendor is to see it.
    fn subject(&self) -> Cow<'_, Object> {
        let object = &self.object;
        let resolved = match &*self.referents {
            [] => Cow::Borrowed(object),
            referents => Cow::Owned(object.resolved(referents)),
        };
        match self.version.as_ref().filter(|_| object.succession().is_some()) {
            Some(version) => Cow::Owned(resolved.with_version(version)),
            None => resolved,
        }
    }
    fn settle(&self, client: &Link) -> Duration {
        self.object.settle(client)
    }
    fn spec(&self) -> &ImageSpec<()> {
        self.object.spec()
    }
    fn uid(&self) -> String {
        self.object.uid().unwrap_or_default()
    }
    /// No call was made before this moment, where it is not known when one was.
    fn born(&self) -> Option<Timestamp> {
        self.object.meta().creation_timestamp.as_ref().map(|time| time.0)
    }
    /// For how long yet what the object names may be on its way.
    fn youth(&self) -> Duration {
        pace::youth(self.born(), Timestamp::now())
    }
    fn holder(&self) -> Holder {
        Holder {
            uid: self.uid(),
            kind_id: self.world.kind_id,
            kind: self.world.kind.name().into_owned(),
            namespace: self.object.namespace().unwrap_or_default(),
            name: self.object.name_any(),
        }
    }
    fn generation(&self) -> i64 {
        self.object.meta().generation.unwrap_or_default()
    }
    /// Whether our finalizer is on the object, and the record of whose it is.
    fn held(&self) -> bool {
        has_finalizer(&self.object) && recorded(&self.object, None).is_own()
    }
    fn deleting(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }
    fn is_shown_to_go(&self) -> bool {
        self.object.status().and_then(|status| status.phase) == Some(Phase::Deleting)
    }
    fn annotation(&self, name: &str) -> Option<&str> {
        self.object.annotations().get(name).map(String::as_str)
    }
    fn action(&self) -> &'static str {
        if self.spec().import.is_some() && !self.has_gone_on() {
            IMPORT
        } else {
            self.world.kind.traits().action
        }
    }
    fn context(&self) -> Context {
        let (generation, asked) = self.asked;
        let epoch = self.connection.as_ref().map_or(0, |connection| connection.epoch);
        Context { generation, epoch, asked }
    }
}

/// How long the next step of an object can wait, as far as that can be told before it is taken.
pub(super) fn urgency_of(object: &Object) -> Urgency {
    let status = object.status();
    let observed = status.and_then(|status| status.observed_generation);
    let asked = object.annotations().get(REQUESTED_AT).map(String::as_str);
    let handled = status.and_then(|status| status.last_handled_reconcile_at.as_deref());
    if object.meta().deletion_timestamp.is_some() {
        Urgency::Deletion
    } else if observed != object.meta().generation || asked.is_some() && asked != handled {
        Urgency::Changed
    } else if status.and_then(|status| status.phase) == Some(Phase::Ready) {
        Urgency::Resync
    } else {
        Urgency::Running
    }
}

fn asked_of(object: &Object) -> Asked {
    let annotations = object.annotations();
    let asked =
        (annotations.get(REQUESTED_AT), annotations.get(OUTCOME), object.meta().deletion_timestamp.is_some());
    (object.meta().generation.unwrap_or_default(), pace::seed(&format!("{asked:?}")))
}

/// Whether the vendor may be at work for an object that this process has not met yet.
pub(super) fn may_be_under_way(object: &Object) -> bool {
    let uid = object.uid().unwrap_or_default();
    let progress = status::progress(object.status(), &recorded(object, None), &uid, token_of(object));
    progress.is_ok_and(|progress| progress.under_way())
}

/// The tokens of an object's attempts.
fn token_of(object: &Object) -> impl Fn(&str, u32) -> String {
    let kind = object.its_kind();
    move |uid, attempt| kind.token(uid, attempt)
}

/// Whether an object keeps the lock on what it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    No,
    /// Not for longer than this.
    For(Duration),
    Always,
}

/// The lock is there so that nothing is taken for another's. What is suspended does nothing, and what it began is known by its
/// id; and what a later call makes cannot be taken for what a lost one made. So nobody keeps others waiting for ever, whatever
/// he writes into his object.
fn lock_kept(object: &Object) -> Kept {
    let uid = object.uid().unwrap_or_default();
    match status::progress(object.status(), &recorded(object, None), &uid, token_of(object)) {
        Ok(Progress::Building { .. }) if !object.spec().suspend => Kept::Always,
        Ok(Progress::Submitting(intent) | Progress::Unclear { intent, restored: false, .. }) => {
            let (now, born) =
                (Timestamp::now(), object.meta().creation_timestamp.as_ref().map(|time| time.0));
            // A time that is still to come was written by somebody else.
            let called = intent.since.filter(|since| now.duration_since(*since) >= -pace::CLOCKS).or(born);
            let over = called.and_then(|called| called.checked_add(pace::TOLD_BY_TIME).ok());
            over.map_or(Kept::Always, |over| match Duration::try_from(over.duration_since(now)) {
                Ok(left) if !left.is_zero() => Kept::For(left),
                _ => Kept::No,
            })
        }
        _ => Kept::No,
    }
}

/// Whether an object keeps the lock on what it works on, at this moment.
pub(super) fn keeps_lock(object: &Object) -> bool {
    lock_kept(object) != Kept::No
}

/// Since when an object has had no answer to a call that may have made something, unless that is long ago.
fn unanswered_since(object: &Object) -> Option<Timestamp> {
    let uid = object.uid().unwrap_or_default();
    match status::progress(object.status(), &recorded(object, None), &uid, token_of(object)) {
        Ok(Progress::Submitting(intent) | Progress::Unclear { intent, restored: false, .. })
            if keeps_lock(object) =>
        {
            intent.since.or_else(|| object.meta().creation_timestamp.as_ref().map(|time| time.0))
        }
        _ => None,
    }
}

/// What an object asks the vendor for, by its spec.
pub(super) fn wanted(object: &Object) -> Value {
    // A spec that was read can be written.
    let text = object.json().unwrap_or_default();
    let mut object: Value = serde_json::from_slice(&text).unwrap_or_default();
    object["spec"]["forProvider"].take()
}

/// Whether what one asks for could be taken for what the other does: they differ in no field that both give and that the vendor
/// cannot change.
pub(super) fn asks_alike(kind: Kind, one: &Value, other: &Value) -> bool {
    let (Value::Object(one), Value::Object(other)) = (one, other) else { return one == other };
    let amends = |field: &str| kind.traits().amends.iter().any(|(amended, _)| *amended == field);
    one.iter().all(|(field, value)| {
        let theirs = other.get(field).unwrap_or(&Value::Null);
        value.is_null() || theirs.is_null() || value == theirs || amends(field)
    })
}

/// Whether the account has to stay for the object: unless that only waits for one that is made anew, and the vendor has nothing
/// of it that it would have to delete or find.
pub(super) fn needs_account(object: &Object) -> bool {
    if object.status().and_then(status::reason) != Some("AccountDeleting") {
        return true;
    }
    let uid = object.uid().unwrap_or_default();
    match status::progress(object.status(), &recorded(object, None), &uid, token_of(object)) {
        Ok(progress) => progress.handle().is_some() || progress.under_way(),
        Err(_) => true,
    }
}

fn has_finalizer(object: &Object) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// What the record on the object means. Without an index, nobody else's object is known.
fn recorded(object: &Object, index: Option<&Index>) -> Recorded {
    let annotation = object.annotations().get(RECORD).map(String::as_str);
    let born = object.meta().creation_timestamp.as_ref().map(|time| time.0);
    let is_accounted_for = |uid: &str| index.is_some_and(|index| index.is_accounted_for(uid));
    let recorded = Recorded::read(annotation, &object.uid().unwrap_or_default(), born, is_accounted_for);
    // Where something was shown before, or a reference has to be stored too, the intent is in the status, and a record without
    // it only means that it was about to be.
    let waited = object.status().is_some_and(|status| status.phase == Some(Phase::Pending));
    match recorded {
        Recorded::Own(_) if waited || !object.references().is_empty() => Recorded::Begun,
        recorded => recorded,
    }
}

fn answer(text: &str) -> Result<Answer, Detail> {
    match text.trim().split_once('=') {
        None if text.trim() == "resubmit" => Ok(Answer::Resubmit),
        Some(("adopt", id)) if !id.trim().is_empty() => Ok(Answer::Adopt(id.trim().into())),
        _ => Err(Detail::stalled(
            "InvalidOutcome",
            format!("the annotation {OUTCOME} is {text:?}; it must be adopt=<id> or resubmit"),
        )),
    }
}

/// How many of many reasons are shown.
const SHOWN_REASONS: usize = 5;

/// The first of many reasons, and how many more there are.
fn some_of(whys: &[String]) -> String {
    let (shown, rest) = whys.split_at(whys.len().min(SHOWN_REASONS));
    let more = if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
    format!("{}{more}", shown.join("; "))
}

fn since_epoch() -> Duration {
    Duration::try_from(Timestamp::now().duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default()
}

/// How many bytes the task of a pass takes while it waits, and the pass itself.
#[cfg(test)]
pub fn sizes() -> (usize, usize) {
    fn task<F>(_: impl Fn(Arc<Packed>, Option<Arc<AccountKey>>, Arc<World>) -> F) -> usize {
        size_of::<F>()
    }
    fn pass_of<F>(_: impl Fn(Arc<Packed>, Arc<World>) -> F) -> usize {
        size_of::<F>()
    }
    (task(reconcile), pass_of(pass))
}
