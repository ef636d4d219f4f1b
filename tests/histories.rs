//! Every way to crash, lose an answer, read a stale cache or be refused, seven passes deep, through the real state
//! machine: never more than one thing at the vendor, never one left behind, never stuck where the vendor can tell. With versions
//! that follow each other: none twice, and none gone that is not an earlier one of the object itself.

use cloud_image_operator::{
    engine::{
        progress::{Handle, Intent, Observation, Origin, Product, Progress, Recovered, Step, Wish},
        record::{Record, Recorded},
        status::{self, Shown},
        versions::{self, Known, Succession},
    },
    image::{ImageStatus, OperationState, Version},
    wire::{CallError, Class, Refusal},
};
use jiff::Timestamp;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};

const DEPTH: u32 = 7;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    CrashBeforeAsk,
    AnswerLost,
    CrashBeforeClose,
    StaleRead,
    NotSent,
    Throttled,
    Invalid,
    /// The answer comes when somebody else has made a pass meanwhile: a replica that was asleep.
    Late,
    /// The same with an answer that is lost.
    LateAndLost,
    /// Before the pass, a person replaces the object with a manifest that has no finalizer and no record.
    Replaced,
    /// Instead of a pass, a person asks for other content, where admission lets that through.
    Edited,
}

const FAULTS: [Fault; 11] = [
    Fault::None,
    Fault::CrashBeforeAsk,
    Fault::AnswerLost,
    Fault::CrashBeforeClose,
    Fault::StaleRead,
    Fault::NotSent,
    Fault::Throttled,
    Fault::Invalid,
    Fault::Late,
    Fault::LateAndLost,
    Fault::Replaced,
];

/// Those that an object with versions meets besides.
const EDITED: [Fault; 1] = [Fault::Edited];

/// What an API offers after a lost answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    HonoursToken,
    CanBeSearched,
    Neither,
}

/// What the API server holds: the record, which comes with the finalizer, and the status.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stored {
    record: Option<Record>,
    status: Option<ImageStatus>,
}

/// An answer on its way: what was stored when the call was made, and where it leads.
type Underway = (Option<ImageStatus>, Progress);

/// The world between two passes. `careless`: the usual operator, without intent and recovery.
#[derive(Clone, Debug)]
struct World {
    api: Api,
    careless: bool,
    before: Stored,
    stored: Stored,
    /// Tokens of the things that the vendor has; a thing's id is its place.
    made: Vec<Option<String>>,
    wish: Wish,
    released: bool,
    uid: &'static str,
    late: Option<Underway>,
    /// How its versions follow each other, if they do; the digest is the number of the content.
    succession: Option<Succession>,
    /// As which content each thing was made.
    contents: Vec<String>,
    /// Tokens of all that was ever made.
    ever: Vec<String>,
    /// What the process remembers of earlier versions that it deleted.
    gone: BTreeSet<String>,
}

impl World {
    fn new(api: Api, careless: bool) -> Self {
        // A person who always asks for another try: the most dangerous one.
        let wish = Wish { asked: true, ..Wish::default() };
        Self {
            api,
            careless,
            before: Stored::default(),
            stored: Stored::default(),
            made: vec![],
            wish,
            released: false,
            uid: UID,
            late: None,
            succession: None,
            contents: vec![],
            ever: vec![],
            gone: BTreeSet::new(),
        }
    }

    /// One with a first version, and with something of another's beside it.
    fn with_versions(api: Api, keep: Option<usize>) -> Self {
        let mut world = Self::new(api, false);
        world.succession = Some(Succession { keep, digest: "1".into() });
        world.made.push(Some(FOREIGN.into()));
        world.contents.push("1".into());
        (0..2).for_each(|_| world.pass(Fault::None));
        assert!(matches!(world.progress(&world.stored), Progress::Ready { .. }), "{world:?}");
        world
    }

    /// The object is lost, and made anew from a backup, with its status or without.
    fn restored(&self, with_status: bool) -> Self {
        let status = self.stored.status.clone().filter(|_| with_status);
        let stored = Stored { record: self.stored.record.clone(), status };
        let gone = BTreeSet::new();
        Self { uid: "restored", before: stored.clone(), stored, late: None, gone, ..self.clone() }
    }

    fn there(&self) -> usize {
        self.made.iter().flatten().count()
    }

    fn progress(&self, stored: &Stored) -> Progress {
        let record = stored.record.as_ref().map(Record::to_string);
        let recorded = Recorded::read(record.as_deref(), self.uid, None, |_| false);
        status::progress(stored.status.as_ref(), &recorded, self.uid, token).unwrap()
    }

    fn is_held(&self) -> bool {
        self.stored.record.as_ref().is_some_and(|record| record.uid == self.uid)
    }

    /// One pass, as `engine::reconcile` makes it.
    fn pass(&mut self, fault: Fault) {
        if self.released {
            return;
        }
        // An intent that is in the record alone goes with it; the first look writes it into the status.
        if fault == Fault::Replaced && self.operation().is_some() {
            self.write(Stored { record: None, ..self.stored.clone() });
        }
        if fault == Fault::Edited {
            return self.edit();
        }
        let late = self.late.take();
        self.pass_on(fault);
        if let Some((known, to)) = late {
            self.conclude(known.as_ref(), &to);
        }
    }

    fn pass_on(&mut self, fault: Fault) {
        let read = if fault == Fault::StaleRead { self.before.clone() } else { self.stored.clone() };
        let fresh = read == self.stored;
        let progress = self.progress(&read);
        let has = progress.handle().is_some() || progress.under_way();
        if has && fresh && !self.careless && !self.is_held() && !self.wish.deleting {
            let attempt = progress.intent().map_or(1, |intent| intent.attempt);
            self.write(Stored { record: Some(self.record(attempt)), ..self.stored.clone() });
        }
        let wish = self.wish_of(&progress, &read);
        match progress.next(&wish) {
            Step::Submit { attempt } => self.create(attempt, false, fresh, fault),
            Step::Recover(intent) if self.careless => self.create(intent.attempt, false, true, fault),
            Step::Recover(intent)
                if matches!(
                    progress,
                    Progress::Restored { .. } | Progress::Unclear { restored: true, .. }
                ) =>
            {
                self.guarded(&Progress::Unclear { intent, candidates: vec![], restored: true }, fresh);
            }
            Step::Recover(intent) => {
                if self.operation().is_none() {
                    self.guarded(&progress, fresh);
                }
                let attempt = intent.attempt;
                let to = Progress::recovered(intent, self.recover());
                if fault == Fault::CrashBeforeClose {
                    return;
                }
                match to {
                    Progress::Submitting(_) => self.create(attempt, true, fresh, fault),
                    Progress::New { attempt, .. } if !self.wish.deleting => {
                        self.create(attempt, false, fresh, fault);
                    }
                    // The earlier versions go first.
                    to @ Progress::New { .. } if !self.predecessors(&to, &self.stored).is_empty() => {
                        self.guarded(&to, fresh);
                    }
                    Progress::New { .. } => self.release(fresh),
                    to => self.guarded(&to, fresh),
                }
            }
            Step::Observe(handle)
                if fault == Fault::None
                    || self.succession.is_some()
                        && matches!(fault, Fault::CrashBeforeClose | Fault::StaleRead) =>
            {
                let seen = match self.find(&handle) {
                    Some(_) => {
                        let at_provider = json!({ "version": handle.image });
                        Observation::Ready(Product {
                            image_id: handle.image.clone(),
                            at_provider,
                            ..Product::default()
                        })
                    }
                    None => Observation::Missing,
                };
                let to = progress.observed(seen);
                if self.retire(&to, &read, fresh, fault) {
                    self.guarded(&to, fresh);
                }
            }
            Step::Discard { handle, attempt } => {
                self.delete(&handle);
                self.create(attempt, false, fresh, fault);
            }
            Step::Delete(handle) => {
                // As `Pass::confirm`.
                if self.succession.is_some() && !fresh || !self.clear(&progress, fault) {
                    return;
                }
                self.delete(&handle);
                if fault == Fault::None {
                    self.release(fresh);
                }
            }
            Step::Retire => {
                if fresh && self.clear(&progress, fault) && fault == Fault::None {
                    self.release(true);
                }
            }
            Step::Release => self.release(fresh),
            Step::Observe(_)
            | Step::Clear(_)
            | Step::Rest
            | Step::Suspended
            | Step::Find
            | Step::Adopt { .. } => {}
        }
    }

    // ---- versions that follow each other: as `reconcile::succeeding` -----------------------------------------------

    fn edit(&mut self) {
        let open = self.operation().is_none_or(|operation| {
            matches!(
                operation.state,
                OperationState::Succeeded
                    | OperationState::Missing
                    | OperationState::Failed
                    | OperationState::NotDone
            )
        });
        // An intent in the record alone is one, and a third content shows no more than a second.
        let begun = self.operation().is_some();
        if let Some(succession) = self.succession.as_mut().filter(|it| open && begun && it.digest != "3") {
            succession.digest = if succession.digest == "1" { "2" } else { "3" }.into();
        }
    }

    fn is_own(&self, stored: &Stored) -> bool {
        let operation = stored.status.as_ref().and_then(|status| status.operation.as_ref());
        operation.is_some_and(|operation| {
            operation.state != OperationState::Restored
                && operation.token == token(self.uid, operation.attempt)
        })
    }

    fn is_other(&self, id: &str) -> bool {
        let wanted = self.succession.as_ref().map(|succession| &succession.digest);
        id.parse::<usize>().ok().and_then(|id| self.contents.get(id)) != wanted
    }

    fn versions(&self, to: &Progress, stored: &Stored) -> Vec<Version> {
        let version = |product: &Product| product.at_provider["version"].as_str().map(Into::into);
        let outdated = to.handle().is_some_and(|handle| self.is_other(handle.id()));
        let known = Known {
            succession: self.succession.as_ref(),
            is_own: self.is_own(stored),
            deleting: self.wish.deleting,
            gone: &self.gone,
            version: &version,
            outdated,
        };
        versions::stored(stored.status.as_ref(), to, &known)
    }

    fn predecessors(&self, progress: &Progress, stored: &Stored) -> Vec<Version> {
        let newest = progress.handle().and_then(|handle| handle.image.as_deref());
        let versions = self.versions(progress, stored);
        versions::predecessors(&versions, newest, false).into_iter().cloned().collect()
    }

    fn wish_of(&self, progress: &Progress, read: &Stored) -> Wish {
        let succeed = match (progress, &self.succession) {
            (
                Progress::Ready { handle, .. } | Progress::Missing { handle, was_ready: true, .. },
                Some(succession),
            ) => {
                let versions = self.versions(progress, read);
                versions::is_outdated(&versions, handle.id(), succession, self.is_other(handle.id()))
            }
            _ => false,
        };
        let predecessors = !self.predecessors(progress, read).is_empty();
        Wish { succeed, predecessors, ..self.wish.clone() }
    }

    /// Deletes what is too many, unless the process reads an old cache; false: it was killed.
    fn retire(&mut self, to: &Progress, read: &Stored, fresh: bool, fault: Fault) -> bool {
        let Some(Succession { keep: Some(keep), .. }) = self.succession else { return true };
        if matches!(to, Progress::Ready { .. }) && fresh {
            let versions = self.versions(to, read);
            let surplus = versions::surplus(&versions, Some(keep)).into_iter().cloned().collect();
            return self.delete_versions(surplus, fault);
        }
        true
    }

    /// Deletes the earlier versions of an object that goes; false: it was killed.
    fn clear(&mut self, progress: &Progress, fault: Fault) -> bool {
        let predecessors = self.predecessors(progress, &self.stored);
        self.delete_versions(predecessors, fault)
    }

    fn delete_versions(&mut self, versions: Vec<Version>, fault: Fault) -> bool {
        for version in versions {
            self.delete(&Handle::image(&*version.image_id));
            self.gone.insert(version.image_id);
            if fault == Fault::CrashBeforeClose {
                self.gone.clear();
                return false;
            }
        }
        true
    }

    /// Whether this is what another object has, or an earlier version of this one.
    fn is_taken(&self, id: usize) -> bool {
        let text = id.to_string();
        let status = self.stored.status.as_ref().filter(|_| self.is_own(&self.stored));
        let earlier = status.is_some_and(|status| {
            status.image_id.as_ref() != Some(&text)
                && status.versions.iter().any(|version| version.image_id == text)
        });
        earlier || self.made[id].as_deref() == Some(FOREIGN)
    }

    // ----------------------------------------------------------------------------------------------------------------

    fn create(&mut self, attempt: u32, replay: bool, fresh: bool, fault: Fault) {
        let mut intent = Intent {
            token: token(self.uid, attempt),
            attempt,
            since: Some(Timestamp::UNIX_EPOCH),
            references: vec![],
            version: None,
            origin: Origin::Made,
        };
        let own = self.versions(&Progress::Submitting(intent.clone()), &self.stored);
        intent.version = (!own.is_empty()).then(|| "next".into());
        if !self.careless {
            if !fresh {
                return; // 409
            }
            let first = attempt == 1 && !self.is_held() && self.operation().is_none();
            if first {
                self.write(Stored { record: Some(self.record(1)), ..self.stored.clone() });
            } else {
                if !self.is_held() {
                    self.write(Stored { record: Some(self.record(attempt)), ..self.stored.clone() });
                }
                self.guarded(&Progress::Submitting(intent.clone()), true);
            }
        }
        let known =
            self.api == Api::HonoursToken && self.made.iter().flatten().any(|made| *made == intent.token);
        let answer = match fault {
            Fault::CrashBeforeAsk => return,
            // What was made under a token is given back before anything is checked anew.
            Fault::Invalid if known => Ok(self.make(&intent.token)),
            Fault::NotSent => Err(CallError::NotSent("connection refused".into())),
            Fault::Throttled => Err(CallError::Refused(refusal(Class::Throttled))),
            Fault::Invalid => Err(CallError::Refused(refusal(Class::Invalid))),
            _ => Ok(self.make(&intent.token)),
        };
        let lost = CallError::Unknown("timeout".into());
        let answer = match fault {
            Fault::CrashBeforeClose => return,
            Fault::AnswerLost | Fault::LateAndLost if self.careless => return, // "an error; try again"
            Fault::AnswerLost | Fault::LateAndLost => Err(&lost),
            _ => answer.as_ref().cloned(),
        };
        let (known, to) = (self.stored.status.clone(), Progress::submitted(intent, replay, answer));
        if matches!(fault, Fault::Late | Fault::LateAndLost) && !self.careless {
            self.late = Some((known, to));
        } else {
            self.conclude(known.as_ref(), &to);
        }
    }

    /// As `journal::conclude` writes an answer.
    fn conclude(&mut self, known: Option<&ImageStatus>, to: &Progress) {
        let Some(status) = self.status(to) else { return };
        let now = self.stored.status.as_ref();
        if status::is_at(now, known) || status::answers(&status, now) {
            self.write(Stored { status: Some(status), ..self.stored.clone() });
        }
    }

    fn record(&self, attempt: u32) -> Record {
        Record { uid: self.uid.into(), attempt, at: None }
    }

    fn make(&mut self, token: &str) -> Handle {
        let known = self
            .made
            .iter()
            .position(|made| made.as_deref() == Some(token))
            .filter(|_| self.api == Api::HonoursToken);
        let id = known.unwrap_or_else(|| {
            self.made.push(Some(token.to_owned()));
            self.ever.push(token.to_owned());
            self.contents.push(self.succession.as_ref().map(|it| it.digest.clone()).unwrap_or_default());
            self.made.len() - 1
        });
        Handle::image(id.to_string())
    }

    fn recover(&self) -> Recovered {
        let free = (0..self.made.len()).filter(|id| self.made[*id].is_some() && !self.is_taken(*id));
        let ids = free.map(|id| id.to_string());
        match self.api {
            Api::HonoursToken => Recovered::Replay,
            Api::CanBeSearched => Recovered::Candidates(ids.map(Handle::image).collect()),
            Api::Neither => Recovered::Undecidable(vec![]),
        }
    }

    fn find(&self, handle: &Handle) -> Option<usize> {
        let id: usize = handle.id().parse().unwrap();
        self.made[id].is_some().then_some(id)
    }

    fn delete(&mut self, handle: &Handle) {
        if let Some(id) = self.find(handle) {
            self.made[id] = None;
        }
    }

    fn release(&mut self, fresh: bool) {
        self.released |= fresh;
    }

    fn operation(&self) -> Option<&cloud_image_operator::image::Operation> {
        self.stored.status.as_ref().and_then(|status| status.operation.as_ref())
    }

    fn guarded(&mut self, to: &Progress, fresh: bool) {
        if let (true, Some(status)) = (fresh, self.status(to)) {
            self.write(Stored { status: Some(status), ..self.stored.clone() });
        }
    }

    fn status(&self, to: &Progress) -> Option<ImageStatus> {
        let shown = Shown {
            next_token: match to {
                Progress::New { attempt, .. } => Some(token(self.uid, *attempt)),
                _ => None,
            },
            named: vec![],
            versions: self.versions(to, &self.stored),
            overdue_at: None,
            last_seen: None,
            progress: to,
            detail: None,
            action: "Create",
            creates: "Create",
            deleting: self.wish.deleting,
            generation: 1,
            settled: true,
            request_id: None,
            handled_request: None,
            handled_outcome: None,
        };
        status::status(&shown, self.stored.status.as_ref(), Timestamp::UNIX_EPOCH)
    }

    fn write(&mut self, new: Stored) {
        self.before = std::mem::replace(&mut self.stored, new);
    }

    /// Two worlds with the same key have the same future.
    fn key(&self) -> String {
        let short = |stored: &Stored| {
            let uid = stored.record.as_ref().map(|record| &record.uid);
            let operation = stored.status.as_ref().and_then(|status| status.operation.as_ref());
            let versions = stored.status.as_ref().map(|status| &status.versions);
            format!("{uid:?} {:?} {} {versions:?}", self.progress(stored), operation.is_some())
        };
        let late = self.late.as_ref().map(|(known, to)| {
            (known.as_ref().and_then(|known| known.operation.as_ref()).map(|known| &known.state), to)
        });
        format!(
            "{} | {} | {:?} | {} | {late:?} | {:?} {:?} {:?}",
            short(&self.before),
            short(&self.stored),
            self.made,
            self.released,
            self.succession,
            self.contents,
            self.gone,
        )
    }
}

const UID: &str = "uid";

/// The token of what another one made.
const FOREIGN: &str = "foreign";

fn token(uid: &str, attempt: u32) -> String {
    format!("{uid}-{attempt}")
}

fn refusal(class: Class) -> Refusal {
    let text = String::new;
    Refusal {
        action: text(),
        status: 400,
        code: text(),
        message: text(),
        request_id: text(),
        class,
        hint: "",
        retry_after: None,
    }
}

/// Walks every history and calls `check` on each world that one ends in; gives their number.
fn explore(
    world: World,
    depth: u32,
    seen: &mut HashMap<(String, u32), u64>,
    check: &mut dyn FnMut(&World),
) -> u64 {
    let key = (world.key(), depth);
    if let Some(histories) = seen.get(&key) {
        return *histories;
    }
    check(&world);
    let mut histories = 1;
    if depth > 0 {
        let more = if world.succession.is_some() { &EDITED[..] } else { &[] };
        for fault in FAULTS.iter().chain(more) {
            let mut next = world.clone();
            next.pass(*fault);
            histories += explore(next, depth - 1, seen, check);
        }
    }
    seen.insert(key, histories);
    histories
}

fn every_history(api: Api, careless: bool, mut check: impl FnMut(&World)) -> u64 {
    explore(World::new(api, careless), DEPTH, &mut HashMap::new(), &mut check)
}

const APIS: [Api; 3] = [Api::HonoursToken, Api::CanBeSearched, Api::Neither];

#[test]
fn at_most_one_thing_whatever_happens() {
    for api in APIS {
        let mut worst = 0;
        let histories = every_history(api, false, |world| worst = worst.max(world.there()));
        println!("{api:?}: at most {worst} over {histories} histories");
        assert!(worst <= 1, "{api:?}");
        assert!(histories > 2_000_000, "{histories}");
    }
}

#[test]
fn the_usual_operator_would_fail_this_test() {
    let mut worst = 0;
    every_history(Api::Neither, true, |world| worst = worst.max(world.there()));
    assert_eq!(worst, DEPTH as usize);
}

#[test]
fn once_the_faults_end_it_becomes_ready_or_says_that_nobody_can_tell() {
    for api in APIS {
        every_history(api, false, |world| {
            let mut world = world.clone();
            (0..5).for_each(|_| world.pass(Fault::None));
            match world.progress(&world.stored) {
                Progress::Ready { .. } => assert_eq!(world.there(), 1, "{api:?} {world:?}"),
                Progress::Unclear { .. } => assert_eq!(api, Api::Neither, "{world:?}"),
                other => panic!("{api:?} is stuck at {other:?}"),
            }
        });
    }
}

#[test]
fn a_deletion_leaves_nothing_behind_unless_it_says_so() {
    for api in APIS {
        every_history(api, false, |world| {
            for fault in FAULTS {
                let mut world = world.clone();
                world.wish = Wish { deleting: true, asked: true, ..Wish::default() };
                world.pass(fault);
                (0..5).for_each(|_| world.pass(Fault::None));
                if world.released {
                    assert_eq!(world.there(), 0, "{api:?} {world:?}");
                } else {
                    assert!(
                        matches!(world.progress(&world.stored), Progress::Unclear { .. }),
                        "{api:?} {world:?}"
                    );
                    assert_eq!(api, Api::Neither);
                }
            }
        });
    }
}

#[test]
fn what_is_restored_makes_nothing_and_deletes_nothing_by_itself() {
    for api in APIS {
        every_history(api, false, |world| {
            if world.stored.record.is_none() || world.released {
                return;
            }
            for (with_status, fault) in
                [false, true].into_iter().flat_map(|with| FAULTS.map(|fault| (with, fault)))
            {
                let mut restored = world.restored(with_status);
                restored.pass(fault);
                (0..3).for_each(|_| restored.pass(Fault::None));
                assert_eq!(restored.made, world.made, "{api:?} {restored:?}");
                let progress = restored.progress(&restored.stored);
                assert!(matches!(progress, Progress::Unclear { restored: true, .. }), "{api:?} {restored:?}");
                restored.wish = Wish { deleting: true, ..Wish::default() };
                restored.pass(Fault::None);
                assert!(restored.released && restored.made == world.made, "{api:?} {restored:?}");
            }
        });
    }
}

/// How deep histories of versions go, after the first one is there.
const VERSIONS_DEEP: u32 = 6;

/// Walks every history of an object with a first version, of each sort of vendor, and of how many versions stay.
fn every_succession(mut check: impl FnMut(Api, Option<usize>, &World)) -> u64 {
    let mut histories = 0;
    for (api, keep) in APIS.into_iter().flat_map(|api| [None, Some(1), Some(2)].map(|keep| (api, keep))) {
        let world = World::with_versions(api, keep);
        let mut check = |world: &World| check(api, keep, world);
        histories += explore(world, VERSIONS_DEEP, &mut HashMap::new(), &mut check);
    }
    histories
}

impl World {
    /// What the vendor has in the object's own name.
    fn own(&self) -> Vec<usize> {
        let own = |id: &usize| self.made[*id].as_deref().is_some_and(|made| made != FOREIGN);
        (0..self.made.len()).filter(own).collect()
    }

    /// Whether the stored object leads to this thing.
    fn leads_to(&self, id: usize) -> bool {
        let Some(status) = &self.stored.status else { return false };
        let text = id.to_string();
        let listed = status.versions.iter().map(|version| &version.image_id).chain(&status.image_id);
        let asked = status.operation.as_ref().is_some_and(|operation| {
            let open = matches!(operation.state, OperationState::InFlight | OperationState::Unclear);
            open && self.made[id].as_ref() == Some(&operation.token)
        });
        // An answer on its way is stored as soon as it is there.
        asked || self.late.is_some() || listed.into_iter().any(|it| *it == text)
    }
}

#[test]
fn no_version_is_made_twice_or_lost_and_nothing_else_goes() {
    let mut most = 0;
    let histories = every_succession(|api, keep, world| {
        let own = world.own();
        most = most.max(own.len());
        assert_eq!(world.made[0].as_deref(), Some(FOREIGN), "it is another's: {world:?}");
        assert!(!own.is_empty(), "{api:?} {keep:?}: none is there: {world:?}");
        let contents: BTreeSet<_> = own.iter().map(|id| &world.contents[*id]).collect();
        assert_eq!(contents.len(), own.len(), "{api:?} {keep:?}: one is there twice: {world:?}");
        let tokens: BTreeSet<_> = world.ever.iter().collect();
        assert_eq!(tokens.len(), world.ever.len(), "{api:?} {keep:?}: made twice: {world:?}");
        for id in own {
            assert!(world.leads_to(id), "{api:?} {keep:?}: nobody knows of {id}: {world:?}");
        }
    });
    println!("at most {most} versions over {histories} histories");
    assert_eq!(most, 3);
    assert!(histories > 1_000_000, "{histories}");
}

#[test]
fn once_the_faults_end_the_newest_is_as_asked_and_no_more_stay_than_are_to() {
    every_succession(|api, keep, world| {
        let mut world = world.clone();
        (0..6).for_each(|_| world.pass(Fault::None));
        match world.progress(&world.stored) {
            Progress::Ready { handle, .. } => {
                assert!(!world.is_other(handle.id()), "{api:?} {keep:?} {world:?}");
                let made = world.ever.len();
                assert_eq!(world.own().len(), keep.map_or(made, |keep| keep.min(made)), "{api:?} {world:?}");
                let listed = world.stored.status.as_ref().map_or(0, |status| status.versions.len());
                assert_eq!(listed, world.own().len(), "{api:?} {keep:?} {world:?}");
            }
            Progress::Unclear { .. } => assert_eq!(api, Api::Neither, "{world:?}"),
            other => panic!("{api:?} {keep:?} is stuck at {other:?}: {world:?}"),
        }
    });
}

#[test]
fn a_deletion_at_any_point_of_a_succession_leaves_none_behind() {
    every_succession(|api, keep, world| {
        for fault in FAULTS {
            let mut world = world.clone();
            world.wish = Wish { deleting: true, asked: true, ..Wish::default() };
            world.pass(fault);
            (0..6).for_each(|_| world.pass(Fault::None));
            assert_eq!(world.made[0].as_deref(), Some(FOREIGN), "{api:?} {keep:?} {world:?}");
            if world.released {
                assert_eq!(world.own(), [0; 0], "{api:?} {keep:?} {fault:?} {world:?}");
            } else {
                let unclear = matches!(world.progress(&world.stored), Progress::Unclear { .. });
                assert!(unclear && api == Api::Neither, "{api:?} {keep:?} {fault:?} {world:?}");
            }
        }
    });
}

#[test]
fn a_restored_object_deletes_no_version_of_the_one_before_it() {
    every_succession(|api, keep, world| {
        if world.stored.record.is_none() {
            return;
        }
        for with_status in [false, true] {
            let mut restored = world.restored(with_status);
            (0..3).for_each(|_| restored.pass(Fault::None));
            restored.wish = Wish { deleting: true, ..Wish::default() };
            restored.pass(Fault::None);
            assert!(restored.released && restored.made == world.made, "{api:?} {keep:?} {restored:?}");
        }
    });
}
