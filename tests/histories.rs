//! Every way to crash, lose an answer, read a stale cache or be refused, seven passes deep, through the real state
//! machine: never more than one thing at the vendor, never one left behind, never stuck where the vendor can tell.

use cloud_image_operator::{
    engine::{
        progress::{Handle, Intent, Observation, Product, Progress, Recovered, Step, Wish},
        status::{self, Shown},
    },
    image::ImageStatus,
    wire::{CallError, Class, Refusal},
};
use jiff::Timestamp;
use std::collections::HashMap;

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
}

const FAULTS: [Fault; 8] = [
    Fault::None,
    Fault::CrashBeforeAsk,
    Fault::AnswerLost,
    Fault::CrashBeforeClose,
    Fault::StaleRead,
    Fault::NotSent,
    Fault::Throttled,
    Fault::Invalid,
];

/// What an API offers after a lost answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    HonoursToken,
    CanBeSearched,
    Neither,
}

/// What the API server holds: the finalizer, and the status.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stored {
    held: bool,
    status: Option<ImageStatus>,
}

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
        }
    }

    fn there(&self) -> usize {
        self.made.iter().flatten().count()
    }

    fn progress(stored: &Stored) -> Progress {
        status::progress(stored.status.as_ref(), stored.held, || token(1)).unwrap()
    }

    /// One pass, as `engine::reconcile` makes it.
    fn pass(&mut self, fault: Fault) {
        if self.released {
            return;
        }
        let read = if fault == Fault::StaleRead { self.before.clone() } else { self.stored.clone() };
        let fresh = read == self.stored;
        let progress = Self::progress(&read);
        match progress.next(&self.wish) {
            Step::Submit { attempt } => self.create(attempt, false, fresh, fault),
            Step::Recover(intent) if self.careless => self.create(intent.attempt, false, true, fault),
            Step::Recover(intent) => {
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
                    Progress::New { .. } => self.release(fresh),
                    to => self.guarded(&to, fresh),
                }
            }
            Step::Observe(handle) if fault == Fault::None => {
                let seen = match self.find(&handle) {
                    Some(_) => {
                        Observation::Ready(Product { image_id: handle.image.clone(), ..Product::default() })
                    }
                    None => Observation::Missing,
                };
                self.guarded(&progress.observed(seen), fresh);
            }
            Step::Discard { handle, attempt } => {
                self.delete(&handle);
                self.create(attempt, false, fresh, fault);
            }
            Step::Delete(handle) => {
                self.delete(&handle);
                if fault == Fault::None {
                    self.release(fresh);
                }
            }
            Step::Release => self.release(fresh),
            Step::Observe(_) | Step::Rest | Step::Suspended | Step::Find | Step::Adopt { .. } => {}
        }
    }

    fn create(&mut self, attempt: u32, replay: bool, fresh: bool, fault: Fault) {
        let intent =
            Intent { token: token(attempt), attempt, since: Some(Timestamp::UNIX_EPOCH), reference: None };
        if !self.careless {
            if !fresh {
                return; // 409
            }
            let first = attempt == 1 && !self.stored.held && self.operation().is_none();
            if first {
                self.write(Stored { held: true, ..self.stored.clone() });
            } else {
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
        match fault {
            Fault::CrashBeforeClose => {}
            Fault::AnswerLost if self.careless => {} // "an error; try again"
            Fault::AnswerLost => {
                let lost = CallError::Unknown("timeout".into());
                self.unguarded(&Progress::submitted(intent, replay, Err(&lost)));
            }
            _ => self.unguarded(&Progress::submitted(intent, replay, answer.as_ref().cloned())),
        }
    }

    fn make(&mut self, token: &str) -> Handle {
        let known = self
            .made
            .iter()
            .position(|made| made.as_deref() == Some(token))
            .filter(|_| self.api == Api::HonoursToken);
        let id = known.unwrap_or_else(|| {
            self.made.push(Some(token.to_owned()));
            self.made.len() - 1
        });
        Handle::image(id.to_string())
    }

    fn recover(&self) -> Recovered {
        let ids =
            self.made.iter().enumerate().filter(|(_, made)| made.is_some()).map(|(id, _)| id.to_string());
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
        if fresh {
            self.unguarded(to);
        }
    }

    fn unguarded(&mut self, to: &Progress) {
        let shown = Shown {
            last_seen: None,
            progress: to,
            detail: None,
            action: "Create",
            deleting: self.wish.deleting,
            generation: 1,
            settled: true,
            request_id: None,
            handled_request: None,
            handled_outcome: None,
        };
        if let Some(status) = status::status(&shown, self.stored.status.as_ref(), Timestamp::UNIX_EPOCH) {
            self.write(Stored { held: true, status: Some(status) });
        }
    }

    fn write(&mut self, new: Stored) {
        self.before = std::mem::replace(&mut self.stored, new);
    }

    /// Two worlds with the same key have the same future.
    fn key(&self) -> String {
        let short = |stored: &Stored| format!("{} {:?}", stored.held, Self::progress(stored));
        format!("{} | {} | {:?} | {}", short(&self.before), short(&self.stored), self.made, self.released)
    }
}

fn token(attempt: u32) -> String {
    format!("uid-{attempt}")
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
        for fault in FAULTS {
            let mut next = world.clone();
            next.pass(fault);
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
            match World::progress(&world.stored) {
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
                        matches!(World::progress(&world.stored), Progress::Unclear { .. }),
                        "{api:?} {world:?}"
                    );
                    assert_eq!(api, Api::Neither);
                }
            }
        });
    }
}
