//! One operator, as `engine::reconcile` drives the pure engine: read, decide, act, write. What it decides is the real engine's;
//! what it does between two events of others is one event here.

use super::people::Menu;
use super::world::{
    Doing, Id, Outcome, Spec, Status, Thing, Uid, Version, World, id_of, id_text, moment, read_token,
    record_text, token, token_of, uid_text,
};
use crate::{Api, Mutation, Settings};
use cloud_image_operator::{
    engine::{
        locks::{Held, Holder, Key, Locks},
        progress::{
            self, Answer, Comparison, Handle, Intent, Lookalike, Observation, Origin, Product, Progress,
            Recovered, Step, Wish,
        },
        record::{Record, Recorded},
        status::{self, Detail, Shown},
        versions::{self, Known, Succession},
    },
    image::{self, IMPORT, OperationState, Phase},
    wire::{CallError, Class, Refusal},
};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeSet;

/// What the vendor makes of a creating call, or the network of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It takes its effect, and the answer is lost.
    Lost,
    /// It is not sent.
    NotSent,
    /// It is refused, and will not be later.
    Throttled,
    /// It is refused for good.
    Invalid,
}

/// Why a pass ends: the process, or a write that came too late.
pub struct Stop;

/// One pass of one operator over one object.
pub struct Pass<'a> {
    /// What is acted upon.
    pub world: &'a mut World,
    settings: &'a Settings,
    operator: usize,
    uid: Uid,
    object: Version,
    /// It crashes before this effect, counted from 1.
    cut: Option<u8>,
    /// The earlier versions that it has deleted.
    retired: BTreeSet<String>,
    /// How many effects there were.
    pub effects: u8,
}

impl<'a> Pass<'a> {
    /// Over the object as it was read.
    pub fn new(
        world: &'a mut World,
        settings: &'a Settings,
        operator: usize,
        uid: Uid,
        object: Version,
        cut: Option<u8>,
    ) -> Self {
        Self { world, settings, operator, uid, object, cut, retired: BTreeSet::new(), effects: 0 }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.settings.mutation == Some(mutation)
    }

    /// From here on it goes on only if the process has not been killed.
    fn effect(&mut self) -> Result<(), Stop> {
        self.effects += 1;
        if self.cut == Some(self.effects) { Err(Stop) } else { Ok(()) }
    }

    // ---- the API server -----------------------------------------------------------------------------------------

    /// A guarded write.
    fn write(&mut self, new: Version) -> Result<(), Stop> {
        self.effect()?;
        if !self.is_newest() && !self.is(Mutation::UnguardedWrites) {
            return Err(Stop);
        }
        if let Some(now) = self.world.now(self.uid).cloned() {
            let Version { finalizer, record, ref status, .. } = new;
            self.world.store(self.uid, Version { finalizer, record, status: status.clone(), ..now });
        }
        self.object = new;
        Ok(())
    }

    fn hold(&mut self, attempt: u32, since: Id) -> Result<(), Stop> {
        let record = Some((self.uid, attempt, since));
        self.write(Version { finalizer: true, record, ..self.object.clone() })
    }

    fn release(&mut self) -> Result<(), Stop> {
        self.write(Version { finalizer: false, ..self.object.clone() })
    }

    fn show(&mut self, to: &Progress, detail: Option<&Detail>, settled: bool) -> Result<(), Stop> {
        match self.status_with(to, detail, settled) {
            Some(new) => self.write(Version { status: Some(new), ..self.object.clone() }),
            None => Ok(()),
        }
    }

    fn status_with(&self, to: &Progress, detail: Option<&Detail>, settled: bool) -> Option<Status> {
        status_of(self.settings, (self.uid, &self.object), &self.retired, to, detail, settled)
    }

    // ---- what the object says -----------------------------------------------------------------------------------

    fn recorded(&self) -> Recorded {
        let text = self.object.record.map(record_text);
        let world = &*self.world;
        let ended = world.ended.clone();
        let knows = |uid: &str| {
            let there = |known: Uid| world.now(known).is_some() || ended.contains(&known);
            uid.strip_prefix("uid").and_then(|uid| uid.parse().ok()).is_some_and(there)
        };
        let recorded = Recorded::read(text.as_deref(), &uid_text(self.uid), None, knows);
        if self.is(Mutation::FinalizersAreTheIntent) && self.object.finalizer && self.object.status.is_none()
        {
            return Recorded::Own(Record { uid: uid_text(self.uid), attempt: 1, at: None });
        }
        let waited = self.object.status.as_ref().is_some_and(|status| status.0.phase == Some(Phase::Pending));
        match recorded {
            Recorded::Own(_) if waited => Recorded::Begun,
            Recorded::Former(record) if self.is(Mutation::FormerRecordCounts) => Recorded::Own(record),
            recorded => recorded,
        }
    }

    fn held(&self) -> bool {
        self.object.finalizer && self.object.record.is_some_and(|(uid, ..)| uid == self.uid)
    }

    fn progress(&self) -> Option<Progress> {
        let status = self.object.status.as_ref().map(|status| &status.0);
        if self.is(Mutation::FormerStatusCounts) {
            // As if nothing in it said whose it is.
            let own =
                status.and_then(|status| status.operation.as_ref()).map(|operation| operation.token.clone());
            let token = |uid: &str, attempt: u32| own.clone().unwrap_or_else(|| token_of(uid, attempt));
            return status::progress(status, &self.recorded(), &uid_text(self.uid), token).ok();
        }
        status::progress(status, &self.recorded(), &uid_text(self.uid), token_of).ok()
    }

    fn wish(&self, progress: &Progress) -> Wish {
        let Version { spec, status, generation, deleting, asked, outcome, .. } = &self.object;
        let status = status.as_ref().map(|status| &status.0);
        let handled = status.and_then(|status| status.last_handled_outcome.clone());
        let answer = outcome.filter(|outcome| {
            matches!(progress, Progress::Unclear { .. }) && handled != Some(outcome_text(*outcome))
        });
        let mut wish = Wish {
            succeed: false,
            predecessors: !self.predecessors(progress).is_empty(),
            deleting: *deleting,
            suspended: spec.suspend && !self.is(Mutation::SuspendIsIgnored),
            observe_only: false,
            import: spec.import.is_some(),
            import_id: spec.import.map(id_text),
            retain: match spec.import {
                Some(_) if self.is(Mutation::ImportedIsDeleted) => Some(false),
                _ => spec.retain.then_some(true),
            },
            recreate: spec.recreate,
            clears: false,
            changed: status.and_then(|status| status.observed_generation) != Some(*generation),
            asked: *asked > 0
                && status.and_then(|status| status.last_handled_reconcile_at.clone())
                    != Some(asked.to_string()),
            answer: answer.map(|outcome| match outcome {
                Outcome::Adopt(id) => Answer::Adopt(id_text(id)),
                Outcome::Resubmit => Answer::Resubmit,
            }),
        };
        wish.succeed = (wish.changed || wish.asked) && self.is_to_be_succeeded(progress);
        wish
    }

    /// As `reconcile::succeeding` tells it.
    fn is_to_be_succeeded(&self, progress: &Progress) -> bool {
        let (Progress::Ready { handle, .. } | Progress::Missing { handle, .. }) = progress else {
            return false;
        };
        let Some(succession) = succession(&self.object.spec) else { return false };
        let outdated = match progress {
            Progress::Ready { product, .. } => is_outdated(&self.object.spec, product),
            _ => false,
        };
        versions::is_outdated(&self.versions_with(progress), handle.id(), &succession, outdated)
    }

    fn versions_with(&self, to: &Progress) -> Vec<image::Version> {
        versions_of(self.settings, (self.uid, &self.object), &self.retired, to)
    }

    /// The earlier versions that go with the object.
    fn predecessors(&self, progress: &Progress) -> Vec<String> {
        if self.is(Mutation::PredecessorsStay) {
            return vec![];
        }
        let newest = progress.handle().and_then(|handle| handle.image.as_deref());
        let versions = self.versions_with(progress);
        versions::predecessors(&versions, newest, false).into_iter().map(|it| it.image_id.clone()).collect()
    }

    /// Who has what, as the real locks tell it.
    fn owner(&self, id: Id) -> Result<(), Held> {
        if self.is(Mutation::NobodyOwns) {
            return Ok(());
        }
        let mut locks = Locks::default();
        for (uid, version) in self.world.there() {
            for owned in World::owned(version, uid) {
                let _ = locks.take(&key_of(owned), &holder(uid), true);
            }
        }
        locks.take(&key_of(id), &holder(self.uid), false)
    }

    fn is_taken(&self, id: &str) -> bool {
        id_of(id).is_some_and(|id| self.owner(id).is_err())
    }

    // ---- the pass -----------------------------------------------------------------------------------------------

    /// Makes it; an end in the middle is one.
    pub fn run(&mut self) {
        let _ = self.pass();
    }

    fn pass(&mut self) -> Result<(), Stop> {
        if self.object.deleting && !self.object.finalizer {
            return Ok(());
        }
        let Some(progress) = self.progress() else { return Ok(()) };
        let wish = self.wish(&progress);
        let has = progress.handle().is_some() || progress.under_way();
        if has && !wish.deleting && !self.held() && !self.is(Mutation::FinalizersStayOff) {
            let (attempt, since) =
                progress.intent().map_or((1, 0), |intent| (intent.attempt, since_of(intent)));
            self.hold(attempt, since)?;
        }
        let step = self.next(&progress, &wish);
        match step {
            Step::Rest => return self.show(&progress, None, true),
            Step::Suspended => return self.suspended(&progress, &wish),
            Step::Release => return self.let_go(&progress),
            _ => {}
        }
        if !self.world.right && !self.is(Mutation::RightsAreForCreation) {
            let detail = Detail::stalled("NamespaceNotAllowed", "it may not use the account");
            return self.show(&progress, Some(&detail), false);
        }
        if wish.deleting && !matches!(step, Step::Delete(_)) && self.phase() != Some(Phase::Deleting) {
            self.show(&progress, None, true)?;
        }
        let begins = matches!(step, Step::Submit { .. } | Step::Discard { .. });
        let begun = matches!(step, Step::Recover(_)) && progress.under_way() && !self.is_in_status();
        if self.settings.api == Api::Twins && (begun || begins && !progress.under_way()) && self.is_locked() {
            return self.show(
                &progress,
                Some(&Detail::waiting("WaitsForOther", "another is at work")),
                false,
            );
        }
        match step {
            Step::Find => self.find(&progress),
            Step::Submit { attempt } => self.submit(&progress, attempt, false),
            Step::Recover(intent) => self.recover(&progress, intent, &wish),
            Step::Observe(handle) => self.observe(progress, &handle, &wish),
            Step::Adopt { intent, id } => self.adopt(&progress, intent, &id),
            Step::Discard { handle, attempt } => {
                self.delete_at_vendor(handle.id())?;
                if wish.import {
                    let to = Progress::New { attempt, tried: progress.intent().cloned() };
                    return self.show(&to, None, false);
                }
                self.submit(&progress, attempt, false)
            }
            Step::Delete(handle) => {
                self.clear_predecessors(&progress)?;
                self.delete_at_vendor(handle.id())?;
                self.leave()
            }
            Step::Retire => {
                self.clear_predecessors(&progress)?;
                self.leave()
            }
            Step::Rest | Step::Suspended | Step::Release | Step::Clear(_) => Ok(()),
        }
    }

    fn next(&self, progress: &Progress, wish: &Wish) -> Step {
        match (progress.next(wish), self.settings.mutation) {
            (Step::Recover(_), Some(Mutation::DeletionDoesNotLook)) if wish.deleting => Step::Release,
            (Step::Recover(intent), Some(Mutation::LostMeansNotDone)) => {
                Step::Submit { attempt: intent.attempt + 1 }
            }
            (Step::Discard { attempt, .. }, Some(Mutation::FailedIsForgotten)) => Step::Submit { attempt },
            (Step::Discard { .. }, Some(Mutation::FailedIsForgottenForImports)) if wish.import => Step::Find,
            (Step::Delete(_), Some(Mutation::DeletionForgets)) => Step::Release,
            (Step::Observe(_), Some(Mutation::HiddenIsMissing))
                if wish.recreate && matches!(progress, Progress::Missing { .. }) =>
            {
                Step::Submit { attempt: progress.intent().map_or(1, |intent| intent.attempt) + 1 }
            }
            (step, _) => step,
        }
    }

    fn phase(&self) -> Option<Phase> {
        self.object.status.as_ref().and_then(|status| status.0.phase)
    }

    fn is_in_status(&self) -> bool {
        self.object.status.as_ref().is_some_and(|status| status.0.operation.is_some())
    }

    /// Whether another object is, or may be, at work on the same thing.
    fn is_locked(&self) -> bool {
        let others = self.world.there().filter(|(uid, _)| *uid != self.uid);
        let mut others = others.map(|(uid, version)| {
            let mut scratch = self.world.clone();
            Pass::new(&mut scratch, self.settings, 0, uid, version.clone(), None).progress()
        });
        others.any(|progress| progress.is_some_and(|progress| progress.under_way()))
    }

    fn suspended(&mut self, progress: &Progress, wish: &Wish) -> Result<(), Stop> {
        if !wish.deleting
            && let Progress::Ready { product, .. } = progress
            && (!wish.changed
                || product.at_provider["content"] == json!(self.object.spec.content)
                || self.is(Mutation::SuspendedIsApplied))
        {
            return self.show(progress, None, true);
        }
        self.show(progress, Some(&Detail::suspended("suspended")), wish.deleting)
    }

    /// Lets the object go and leaves what there is at the vendor, of which the Event tells.
    fn let_go(&mut self, progress: &Progress) -> Result<(), Stop> {
        let former = match progress {
            Progress::Restored { intent, .. } | Progress::Unclear { intent, restored: true, .. } => {
                read_token(&intent.token).map(|(uid, _)| uid)
            }
            _ => None,
        };
        let tells = self.object.spec.retain || self.object.spec.import.is_some();
        let answered = matches!(progress, Progress::Unclear { .. });
        let own = progress.handle().and_then(|handle| id_of(handle.id()));
        let (uid, ends) =
            (self.uid, matches!(progress, Progress::New { .. } | Progress::Failed { handle: None, .. }));
        self.release()?;
        if ends {
            self.ends();
        }
        for (id, thing) in self.world.things.iter_mut().enumerate() {
            let by = thing.by.map(|(uid, _)| uid);
            thing.told |= by.is_some() && by == former;
            thing.told |= (tells || answered) && (by == Some(uid) || own == Some(id));
        }
        Ok(())
    }

    fn ends(&mut self) {
        if self.operator == 0 && !self.world.ended.contains(&self.uid) {
            self.world.ended.push(self.uid);
        }
    }

    /// The vendor has nothing of it any more.
    fn leave(&mut self) -> Result<(), Stop> {
        self.release()?;
        self.ends();
        Ok(())
    }

    // ---- creating -----------------------------------------------------------------------------------------------

    fn submit(&mut self, from: &Progress, attempt: u32, replay: bool) -> Result<(), Stop> {
        let there = self.world.things.len();
        let earlier = from.intent().filter(|_| replay).map(since_of);
        let since = earlier.unwrap_or(there);
        let known = from.intent().filter(|_| replay && !self.is(Mutation::NumbersAreForgotten));
        let number = match known {
            Some(intent) => number_of(intent.version.as_deref()),
            None => self.following_number(attempt, since),
        };
        let intent = intent_of(self.uid, attempt, since, number);
        let status = self.object.status.as_ref().map(|status| &status.0);
        let just_held = !self.held();
        let untouched =
            just_held && status.is_none_or(|status| status.operation.is_none() && status.phase.is_none());
        if self.is(Mutation::PermitsForNothing) {
            // The writes are skipped.
        } else if untouched && attempt == 1 && number.is_none() {
            self.hold(1, since)?;
        } else {
            if !self.held() {
                self.hold(attempt, since)?;
            }
            let stored = self.status_with(&Progress::Submitting(intent), None, true);
            let status = stored.or_else(|| self.object.status.clone());
            self.write(Version { status, ..self.object.clone() })?;
        }
        self.world.operators[self.operator] = Doing::Permitted {
            uid: self.uid,
            version: Box::new(self.object.clone()),
            attempt,
            replay,
            since,
            number,
            just_held,
        };
        Ok(())
    }

    /// The number of the version that an attempt makes where it follows others: none that was used before, as far as can be seen.
    fn following_number(&self, attempt: u32, since: Id) -> Option<u8> {
        succession(&self.object.spec)?;
        let own = self.versions_with(&Progress::Submitting(intent_of(self.uid, attempt, since, None)));
        if own.is_empty() {
            return None;
        }
        let there = self.world.things.iter().filter(|thing| thing.alive && thing.shown);
        let used = there.map(|thing| thing.number);
        used.chain(own.iter().filter_map(|version| number_of(version.version.as_deref())))
            .max()
            .map(|it| it + 1)
    }

    fn recover(&mut self, from: &Progress, intent: Intent, wish: &Wish) -> Result<(), Stop> {
        if matches!(from, Progress::Restored { .. } | Progress::Unclear { restored: true, .. }) {
            return self.look_for_former(from, intent);
        }
        if !self.is_in_status() {
            self.show(from, None, true)?;
        }
        self.calls();
        // The moment after which everything shows, and no permit is used any more, that was there before.
        if !self.is(Mutation::LooksTooEarly) {
            self.world.things.iter_mut().for_each(|thing| thing.shown = true);
        }
        if !matches!(self.settings.api, Api::Token | Api::Unique) {
            self.permits_age();
        }
        let own = read_token(&intent.token);
        let since = since_of(&intent);
        let seen = self.world.things.iter().enumerate().filter(|(_, thing)| thing.alive && thing.shown);
        let recovered = match self.settings.api {
            Api::Token | Api::Unique => Recovered::Replay,
            Api::Marked => match seen.into_iter().find(|(_, thing)| thing.by == own) {
                Some((id, _)) => Recovered::Found(Handle::image(id_text(id))),
                None => Recovered::Candidates(vec![]),
            },
            Api::Twins => {
                let young = seen.filter(|(_, thing)| thing.born >= since);
                Recovered::Candidates(young.map(|(id, _)| Handle::image(id_text(id))).collect())
            }
            Api::Blind => Recovered::Undecidable(vec![]),
        };
        let recovered = match recovered {
            Recovered::Found(handle) if self.is_taken(handle.id()) => Recovered::Undecidable(vec![]),
            Recovered::Candidates(mut handles) => {
                handles.retain(|handle| !self.is_taken(handle.id()));
                Recovered::Candidates(handles)
            }
            recovered => recovered,
        };
        let attempt = intent.attempt;
        match (Progress::recovered(intent, recovered), wish.deleting) {
            (Progress::Submitting(_), _) => self.submit(from, attempt, true),
            (Progress::New { attempt, .. }, false) => self.submit(from, attempt, false),
            (Progress::New { .. }, true) if self.predecessors(from).is_empty() => self.leave(),
            (to, _) => self.show(&to, None, true),
        }
    }

    /// Others' permits are older by now than a permit may be: what was asked with them has been asked.
    fn permits_age(&mut self) {
        if self.is(Mutation::PermitsNeverAge) {
            return;
        }
        for doing in &mut self.world.operators {
            if matches!(doing, Doing::Permitted { uid, .. } if *uid == self.uid) {
                *doing = Doing::Idle;
            }
        }
    }

    fn look_for_former(&mut self, from: &Progress, intent: Intent) -> Result<(), Stop> {
        self.calls();
        let own = read_token(&intent.token);
        let mut candidates = match from {
            Progress::Restored { candidates, .. } => candidates.clone(),
            _ => vec![],
        };
        for (id, thing) in self.world.things.iter_mut().enumerate() {
            // What a person is asked about, he is told of.
            if thing.alive && thing.by.map(|by| by.0) == own.map(|own| own.0) {
                thing.told = true;
                candidates.push(id_text(id));
            }
        }
        candidates.sort();
        candidates.dedup();
        candidates.retain(|id| !self.is_taken(id));
        self.show(&Progress::Unclear { intent, candidates, restored: true }, None, true)
    }

    // ---- looking, changing, deleting -----------------------------------------------------------------------------

    fn observe(&mut self, from: Progress, handle: &Handle, wish: &Wish) -> Result<(), Stop> {
        self.calls();
        let seen = self.look(handle);
        let is_missing = seen == Observation::Missing;
        if self.settings.forgets()
            && is_missing
            && matches!(from, Progress::Ready { .. })
            && !self.is(Mutation::ForgottenIsMissing)
        {
            return self.show(&from, None, true);
        }
        let before = from.intent().and_then(|intent| intent.since);
        let mut to = from.observed(seen);
        if let (Progress::Missing { was_ready, .. }, true) = (&mut to, self.is(Mutation::UnseenWasThere)) {
            *was_ready = true;
        }
        let is_own = to.intent().is_some_and(|intent| intent.origin == Origin::Made);
        if self.settings.repeatable()
            && is_missing
            && is_own
            && !wish.import
            && !self.is(Mutation::LostOrdersStayLost)
        {
            // It was looked twice, with longer in between than a permit lives.
            self.permits_age();
            let again =
                if self.is(Mutation::AskedAgainAsBefore) { before } else { moment(self.world.things.len()) };
            to = to.asked_again(again.unwrap_or_default());
            if matches!(to, Progress::Submitting(_)) {
                let detail = Detail::trouble("AnswerLost", "the vendor has lost the order");
                return self.show(&to, Some(&detail), false);
            }
        }
        let differs =
            matches!(&to, Progress::Ready { product, .. } if is_outdated(&self.object.spec, product));
        if self.object.spec.keep.is_some() && differs {
            let detail = Detail::stalled("SpecDiffers", "ask for a look to have a new version made");
            return self.show(&to, Some(&detail), true);
        }
        if let Progress::Ready { handle, .. } = &to
            && let Some(id) = id_of(handle.id())
            && differs
        {
            self.confirm()?;
            self.effect()?;
            self.upon_what_is_over("changed as an earlier spec asked");
            self.world.things[id].content = self.object.spec.content;
            to = to.clone().observed(self.look(&handle.clone()));
        }
        if matches!(&to, Progress::Missing { was_ready: true, .. }) && wish.recreate && !wish.import {
            let detail = Detail::trouble("Missing", "it is made again");
            return self.show(&to, Some(&detail), true);
        }
        self.retire(&to)?;
        self.show(&to, None, true)
    }

    /// Deletes the versions that are too many, now that the newest is there.
    fn retire(&mut self, to: &Progress) -> Result<(), Stop> {
        let versions = self.versions_with(to);
        let surplus = match to {
            Progress::Building { .. } if self.is(Mutation::VersionsGoEarly) => self.predecessors(to),
            Progress::Ready { .. } if !self.is(Mutation::SurplusStays) => {
                let surplus = versions::surplus(&versions, self.object.spec.keep);
                surplus.into_iter().map(|version| version.image_id.clone()).collect()
            }
            _ => vec![],
        };
        for id in surplus {
            if self.is(Mutation::CrossedOffEarly) {
                self.retired.insert(id.clone());
                self.show(to, None, true)?;
            }
            self.delete_at_vendor(&id)?;
            let newest = to.handle().and_then(|handle| id_of(handle.id()));
            if !newest.is_some_and(|newest| self.world.things[newest].done) {
                self.world.harm = Some("deleted a version before the next one was there");
            }
            self.retired.insert(id);
        }
        Ok(())
    }

    /// Deletes the earlier versions of an object that goes.
    fn clear_predecessors(&mut self, from: &Progress) -> Result<(), Stop> {
        for id in self.predecessors(from) {
            self.delete_at_vendor(&id)?;
            self.retired.insert(id);
        }
        Ok(())
    }

    fn look(&self, handle: &Handle) -> Observation {
        let thing = id_of(handle.id()).and_then(|id| self.world.things.get(id));
        match thing {
            // What is not in the list for long enough is not there: by then it shows, if it is.
            Some(thing)
                if thing.alive
                    && !thing.forgotten
                    && (thing.shown || !self.is(Mutation::HiddenIsMissing)) =>
            {
                if thing.broken() {
                    let failure = progress::Failure {
                        reason: "BuildFailed".into(),
                        message: "it failed".into(),
                        left: None,
                    };
                    Observation::Failed(failure)
                } else if thing.done {
                    let report = json!({ "content": thing.content, "number": thing.number });
                    let image_id = handle.image.clone();
                    Observation::Ready(Product { image_id, at_provider: report, ..Product::default() })
                } else {
                    Observation::Building { percent: None, note: None }
                }
            }
            _ => Observation::Missing,
        }
    }

    /// Before anything is changed or deleted at the vendor.
    fn confirm(&self) -> Result<(), Stop> {
        if self.is_newest() || self.is(Mutation::ActsUponOldViews) { Ok(()) } else { Err(Stop) }
    }

    /// Whether the API server has nothing newer than what was read.
    fn is_newest(&self) -> bool {
        let Some(now) = self.world.now(self.uid) else { return false };
        if self.is(Mutation::LooksTheSame) {
            let looks = |version: &Version| {
                let phase =
                    version.status.as_ref().and_then(|status| status.0.phase.map(|phase| phase as u8));
                (version.generation, version.deleting, version.finalizer, version.record, phase)
            };
            return looks(now) == looks(&self.object);
        }
        *now == self.object
    }

    /// Nobody asks for it any more.
    fn upon_what_is_over(&mut self, harm: &'static str) {
        if self.world.now(self.uid).is_none_or(|now| now.spec != self.object.spec) {
            self.world.harm = Some(harm);
        }
    }

    fn delete_at_vendor(&mut self, id: &str) -> Result<(), Stop> {
        self.calls();
        let Some(id) = id_of(id).filter(|id| *id < self.world.things.len()) else { return Ok(()) };
        // Nothing is made, found and deleted again within the ten seconds that a permit lives.
        self.permits_age();
        self.confirm()?;
        self.effect()?;
        self.upon_what_is_over("deleted as an earlier spec asked");
        let others = self
            .world
            .there()
            .any(|(uid, version)| uid != self.uid && World::owned(version, uid).contains(&id));
        let thing = &mut self.world.things[id];
        if thing.alive && others {
            self.world.harm = Some("deleted what another object has");
        } else if thing.alive && thing.by.is_none() && !self.object.spec.retain {
            self.world.harm = Some("deleted what it took over");
        }
        thing.alive = false;
        Ok(())
    }

    fn find(&mut self, from: &Progress) -> Result<(), Stop> {
        let Some(id) = self.object.spec.import else { return Ok(()) };
        self.calls();
        let handle = Handle::image(id_text(id));
        let seen = self.look(&handle);
        if seen == Observation::Missing {
            let detail = Detail::trouble("ImportNotFound", "the vendor has no such thing");
            return self.show(from, Some(&detail), true);
        }
        if self.owner(id).is_err() {
            return self.show(from, Some(&Detail::trouble("HeldByOther", "another one manages it")), true);
        }
        if !self.held() {
            self.hold(1, 0)?;
        }
        let intent = Intent {
            token: token(self.uid, 1),
            attempt: 1,
            since: moment(0),
            references: vec![],
            version: None,
            origin: Origin::Imported,
        };
        let to = Progress::Building { intent, handle, percent: None };
        let to = to.observed(seen);
        self.show(&to, None, true)
    }

    fn adopt(&mut self, from: &Progress, intent: Intent, id: &str) -> Result<(), Stop> {
        self.calls();
        let handle = Handle::image(id);
        if self.look(&handle) == Observation::Missing {
            let detail = Detail::stalled("InvalidOutcome", "the vendor does not have it");
            return self.show(from, Some(&detail), true);
        }
        if self.is_taken(id) {
            return self.show(from, Some(&Detail::trouble("HeldByOther", "another one manages it")), true);
        }
        let restored = matches!(from, Progress::Unclear { restored: true, .. });
        let intent = if restored {
            Intent { token: token(self.uid, 1), attempt: 1, origin: Origin::Imported, ..intent }
        } else {
            intent
        };
        self.show(&Progress::Building { intent, handle, percent: None }, None, true)
    }

    /// A vendor is about to be called: nobody may do that whose object is suspended or who has no right.
    fn calls(&mut self) {
        if self.object.spec.suspend {
            self.world.harm = Some("called for a suspended object");
        } else if !self.world.right {
            self.world.harm = Some("called without a right");
        }
    }
}

impl Thing {
    /// The build failed.
    pub fn broken(&self) -> bool {
        self.content == BROKEN
    }
}

/// As which content what a failed build left behind counts.
pub const BROKEN: u8 = 99;

// ---- the creating call, between two passes -------------------------------------------------------------------------

/// The call of a permit arrives, and so does its answer, or not.
pub fn call(world: &mut World, settings: &Settings, operator: usize, fate: Fate) {
    let Doing::Permitted { uid, version, attempt, replay, since, number, just_held } =
        world.operators[operator].clone()
    else {
        return;
    };
    let answer = match fate {
        Fate::NotSent => Err(CallError::NotSent("connection refused".into())),
        Fate::Throttled => Err(refused(Class::Throttled)),
        Fate::Invalid => Err(refused(Class::Invalid)),
        Fate::Answered | Fate::Lost => made(world, settings, (uid, attempt), version.spec, number),
    };
    let answer = if fate == Fate::Lost { Err(CallError::Unknown("timeout".into())) } else { answer };
    let pass = Pass::new(world, settings, operator, uid, (*version).clone(), None);
    let answer = match answer {
        Ok(id) if replay && pass.is_taken(&id) => Err(CallError::Undecidable(vec![id])),
        Err(CallError::Refused(refusal))
            if settings.mutation != Some(Mutation::RefusalsAreFinal)
                && (matches!(refusal.class, Class::Conflict | Class::TokenReused)
                    || replay && refusal.class.is_final()) =>
        {
            let since = match settings.mutation {
                Some(Mutation::NamesAreProof) => moment(0),
                Some(Mutation::OlderIsOurs) if replay => moment(0),
                _ => replay.then(|| moment(since)).flatten(),
            };
            let there = lookalikes(pass.world, settings, version.spec, number);
            progress::refused(refusal, since, &there, |id| pass.is_taken(id))
        }
        answer => answer,
    };
    let intent = intent_of(uid, attempt, since, number);
    let lost = matches!(answer, Err(CallError::Unknown(_)));
    let to = if lost && settings.mutation == Some(Mutation::UnknownMeansNotDone) {
        Progress::New { attempt, tried: Some(intent) }
    } else {
        Progress::submitted(intent, replay, answer.as_ref().map(Handle::image))
    };
    let detail = match &answer {
        Err(error) if matches!(to, Progress::New { .. } | Progress::Submitting(_)) => {
            Some(Detail::from(error))
        }
        _ => None,
    };
    let none = BTreeSet::new();
    let new = status_of(settings, (uid, &version), &none, &to, detail.as_ref(), detail.is_none());
    let (known, retain) = (version.status.clone(), version.spec.retain);
    world.operators[operator] = Doing::Answered { uid, known, new, retain, just_held };
}

/// The permit is too old: it is not used, which is written down unless somebody has written the object since.
pub fn give_up(world: &mut World, settings: &Settings, operator: usize) {
    let Doing::Permitted { uid, version, attempt, replay, since, number, .. } =
        std::mem::replace(&mut world.operators[operator], Doing::Idle)
    else {
        return;
    };
    if !replay {
        let to = Progress::New { attempt, tried: Some(intent_of(uid, attempt, since, number)) };
        let _ = Pass::new(world, settings, operator, uid, *version, None).show(&to, None, false);
    }
}

/// As `journal::conclude` writes an answer, and `reconcile::outliving` clears away what nobody can write down any more.
pub fn conclude(world: &mut World, settings: &Settings, operator: usize) {
    let Doing::Answered { uid, known, new, retain, just_held } =
        std::mem::replace(&mut world.operators[operator], Doing::Idle)
    else {
        return;
    };
    let Some(new) = new else { return };
    let Some(now) = world.now(uid).cloned() else {
        let made = new.0.image_id.as_deref().and_then(id_of);
        match (made, settings.mutation) {
            (_, Some(Mutation::OutlivedIsForgotten)) if just_held => {}
            (Some(id), _) if just_held => {
                (world.things[id].alive, world.things[id].told) = (retain, retain);
            }
            (_, Some(Mutation::LeftIsUntold)) => {}
            _ => {
                let attempt = new.0.operation.as_ref().map(|operation| operation.attempt);
                let of_it = |thing: &&mut Thing| attempt.is_some_and(|it| thing.by == Some((uid, it)));
                world.things.iter_mut().filter(of_it).for_each(|thing| thing.told = true);
            }
        }
        return;
    };
    let stored = now.status.as_ref().map(|status| &status.0);
    let known = known.as_ref().map(|status| &status.0);
    let answers = status::answers(&new.0, stored) && settings.mutation != Some(Mutation::GoodNewsIsDropped);
    if status::is_at(stored, known) || answers || settings.mutation == Some(Mutation::AnswersOverwrite) {
        world.store(uid, Version { status: Some(new), ..now });
        return;
    }
    // Where a version follows another one, and where a person has acted meanwhile, another operator may have gone on; elsewhere
    // that must not come about.
    let made = new.0.image_id.as_deref().and_then(id_of).filter(|id| !World::owned(&now, uid).contains(id));
    if let Some(id) = made
        && (settings.menu == Menu::Versions || world.disturbed)
        && settings.mutation != Some(Mutation::OutdatedIsUntold)
    {
        world.things[id].told = true;
    }
}

/// What the vendor does with a creating call.
fn made(
    world: &mut World,
    settings: &Settings,
    (uid, attempt): (Uid, u32),
    spec: Spec,
    number: Option<u8>,
) -> Result<String, CallError> {
    let by = Some((uid, attempt));
    let number = number.unwrap_or_default();
    if settings.api == Api::Token
        && let Some(id) = world.things.iter().position(|thing| thing.by == by && thing.token_known)
    {
        let same = world.things[id].content == spec.content && world.things[id].number == number;
        return if same { Ok(id_text(id)) } else { Err(refused(Class::TokenReused)) };
    }
    // Both have names that nothing else may have, aside from versions.
    let is_in_the_way = |thing: &Thing| thing.alive && thing.number == number;
    if matches!(settings.api, Api::Token | Api::Unique) && world.things.iter().any(is_in_the_way) {
        return Err(refused(Class::Conflict));
    }
    let made = Thing { number, ..Thing::new((uid, attempt), spec.content, world.things.len()) };
    // The same order makes it under the same id.
    if settings.repeatable()
        && let Some(id) = world.things.iter().position(|thing| thing.by == by && thing.forgotten)
    {
        world.things[id] = made;
        return Ok(id_text(id));
    }
    world.things.push(made);
    Ok(id_text(world.things.len() - 1))
}

/// What is in the way of a creating call.
fn lookalikes(world: &World, settings: &Settings, spec: Spec, number: Option<u8>) -> Vec<Lookalike> {
    if !matches!(settings.api, Api::Token | Api::Unique) {
        return vec![];
    }
    let seen = world.things.iter().enumerate();
    let seen =
        seen.filter(|(_, thing)| thing.alive && thing.shown && thing.number == number.unwrap_or_default());
    let lookalike = |(id, thing): (Id, &Thing)| Lookalike {
        id: id_text(id),
        created: moment(thing.born),
        comparison: if thing.content == spec.content {
            Comparison::Same
        } else if spec.keep.is_some() {
            Comparison::Fixed(vec!["content".into()])
        } else {
            Comparison::Amendable(vec!["content".into()])
        },
    };
    seen.map(lookalike).collect()
}

// ---- words --------------------------------------------------------------------------------------------------------

/// The status to store, or none where the stored one says so already. As `reconcile::showing` makes it.
fn status_of(
    settings: &Settings,
    (uid, object): (Uid, &Version),
    retired: &BTreeSet<String>,
    to: &Progress,
    detail: Option<&Detail>,
    settled: bool,
) -> Option<Status> {
    let old = object.status.as_ref().map(|status| &status.0);
    let was_unclear = old.and_then(|old| old.operation.as_ref()).is_some_and(|operation| {
        matches!(operation.state, OperationState::Unclear | OperationState::Restored)
    });
    let handled = old.and_then(|old| old.last_handled_outcome.as_deref());
    let current = object.outcome.map(outcome_text);
    let asked = (object.asked > 0).then(|| object.asked.to_string());
    let shown = Shown {
        progress: to,
        detail,
        action: if object.spec.import.is_some() { IMPORT } else { "Create" },
        creates: "Create",
        deleting: object.deleting,
        generation: object.generation,
        settled,
        request_id: None,
        next_token: match to {
            Progress::New { attempt, .. } => Some(token(uid, *attempt)),
            _ => None,
        },
        named: vec![],
        versions: versions_of(settings, (uid, object), retired, to),
        overdue_at: None,
        last_seen: None,
        handled_request: asked.as_deref().filter(|_| settled),
        handled_outcome: match (matches!(to, Progress::Unclear { .. }), was_unclear) {
            (true, false) | (false, true) => current.as_deref(),
            (true, true) if current.is_none() => None,
            _ => handled,
        },
    };
    status::status(&shown, old, Timestamp::UNIX_EPOCH).map(Status)
}

/// The versions that the object lists with `to`. As `reconcile::succeeding` keeps them.
fn versions_of(
    settings: &Settings,
    (uid, object): (Uid, &Version),
    retired: &BTreeSet<String>,
    to: &Progress,
) -> Vec<image::Version> {
    let succession = succession(&object.spec);
    let status = object.status.as_ref().map(|status| &status.0);
    let operation = status.and_then(|status| status.operation.as_ref());
    let known = Known {
        succession: succession.as_ref(),
        is_own: operation.is_some_and(|operation| operation.token == token(uid, operation.attempt))
            || settings.mutation == Some(Mutation::FormerVersionsCount),
        deleting: object.deleting,
        gone: retired,
        version: &|product| product.at_provider["number"].as_u64().map(|number| number.to_string()),
        outdated: matches!(to, Progress::Ready { product, .. } if is_outdated(&object.spec, product)),
    };
    let mut versions = versions::stored(status, to, &known);
    if settings.mutation == Some(Mutation::PredecessorsAreForgotten) && matches!(to, Progress::Submitting(_))
    {
        versions.clear();
    }
    versions
}

fn succession(spec: &Spec) -> Option<Succession> {
    spec.keep.map(|keep| Succession { keep: Some(keep), digest: spec.content.to_string() })
}

fn is_outdated(spec: &Spec, product: &Product) -> bool {
    product.at_provider["content"] != json!(spec.content)
}

fn intent_of(uid: Uid, attempt: u32, since: Id, number: Option<u8>) -> Intent {
    Intent {
        token: token(uid, attempt),
        attempt,
        since: moment(since),
        references: vec![],
        version: number.map(|number| number.to_string()),
        origin: Origin::Made,
    }
}

fn number_of(version: Option<&str>) -> Option<u8> {
    version?.parse().ok()
}

fn outcome_text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Adopt(id) => format!("adopt={}", id_text(id)),
        Outcome::Resubmit => "resubmit".into(),
    }
}

fn since_of(intent: &Intent) -> Id {
    intent.since.and_then(|since| usize::try_from(since.as_second()).ok()).unwrap_or_default()
}

fn refused(class: Class) -> CallError {
    let text = String::new;
    CallError::Refused(Refusal {
        action: text(),
        status: 400,
        code: text(),
        message: text(),
        request_id: text(),
        class,
        hint: "",
        retry_after: None,
    })
}

fn key_of(id: Id) -> Key {
    Key::Id { of: "Kind".into(), realm: "here".into(), id: id_text(id) }
}

fn holder(uid: Uid) -> Holder {
    Holder {
        uid: uid_text(uid),
        kind_id: 0,
        kind: "Kind".into(),
        namespace: "ns".into(),
        name: uid_text(uid),
    }
}
