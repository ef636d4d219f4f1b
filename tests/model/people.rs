//! What people, their tools and the vendor do, whenever they like.

use super::{
    operator::BROKEN,
    world::{Doing, Id, Object, Outcome, Thing, Uid, Version, World},
};
use crate::{Api, Settings};
use cloud_image_operator::image::{OperationState, Phase};

/// An act of a person or a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Ask for other content.
    Change(Uid),
    /// Ask for the object's deletion.
    Delete(Uid),
    /// Suspend it, or go on.
    Suspend(Uid),
    /// Set the annotation that asks for a look, or for another try.
    Ask(Uid),
    /// Answer `Unclear`, truly or with what is another's or nobody's.
    Answer(Uid, Outcome),
    /// Replace the object with a manifest that has neither finalizer nor record.
    Replace(Uid),
    /// Take our finalizer off, which means to let go where the object is being deleted.
    TakeFinalizer(Uid),
    /// Write our finalizer onto an object.
    WriteFinalizer(Uid),
    /// Write a record onto an object that says that something was begun in its name.
    WriteRecord(Uid),
    /// Set `import`.
    Import(Uid, Id),
    /// Ask that the vendor's side stays, or not.
    Retain(Uid),
    /// The cluster is lost, and the object comes back from a backup of now or of before, with its status or without.
    Restore {
        /// The object that is lost.
        uid: Uid,
        /// It comes back as it was so many versions ago.
        age: usize,
        /// With its status.
        with_status: bool,
    },
    /// A copy of the object is made beside it, as by `kubectl get -o yaml`, with its status or without.
    Copy(Uid, bool),
    /// Somebody else deletes a thing at the vendor.
    Lose(Id),
    /// Somebody else makes the version at the vendor that would be the next.
    Squat,
    /// The account's administrator takes the right to use it, or gives it back.
    Right,
    /// The object was deleted when nobody held it yet, and goes although our finalizer has been put on meanwhile.
    Vanish(Uid),
}

/// What the vendor does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// A build ends well.
    Finish(Id),
    /// A build fails.
    Break(Id),
    /// A list shows it at last.
    Show(Id),
    /// It forgets the token that a thing was made with.
    ForgetToken(Id),
    /// It forgets a task: one that has ended, or the order that it took, of which nothing comes then.
    ForgetTask(Id),
}

/// Which acts there may be in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Menu {
    /// What users do every day.
    Users,
    /// What they and their tools do to metadata, and what others do around them.
    Tools,
    /// What is taken over and what is let go.
    Owners,
    /// Lost clusters and copies.
    Disaster,
    /// Versions that follow each other.
    Versions,
    /// What becomes of tasks that the vendor forgets.
    Tasks,
}

/// The acts that are possible now.
pub fn acts(world: &World, settings: &Settings) -> Vec<Act> {
    if world.budget.people == 0 {
        return vec![];
    }
    let mut acts = vec![];
    for (uid, version) in world.there() {
        let operation = version.status.as_ref().and_then(|status| status.0.operation.as_ref());
        let begun = operation.is_some() || version.record.is_some_and(|(by, ..)| by == uid);
        match settings.menu {
            Menu::Users => {
                acts.push(Act::Suspend(uid));
                acts.push(Act::Ask(uid));
                if !version.deleting {
                    acts.extend([Act::Change(uid), Act::Delete(uid)]);
                }
                acts.extend(answers(world, uid, version));
            }
            Menu::Tools => {
                if version.finalizer && version.deleting {
                    acts.push(Act::TakeFinalizer(uid));
                }
                // What is only in the record goes with it: docs/adr/0017 says what is left.
                if operation.is_some() && !version.deleting && version.finalizer {
                    acts.push(Act::Replace(uid));
                }
                if !version.deleting {
                    acts.push(Act::Delete(uid));
                }
                if !begun {
                    acts.extend([Act::WriteFinalizer(uid), Act::WriteRecord(uid)]);
                }
                let is_called =
                    |doing: &Doing| matches!(doing, Doing::Permitted { uid: of, .. } if *of == uid);
                if operation.is_none() && world.operators.iter().any(is_called) {
                    acts.push(Act::Vanish(uid));
                }
                acts.push(Act::Retain(uid));
                acts.push(Act::Right);
            }
            Menu::Owners => {
                let import = (0..world.things.len()).filter(|id| world.things[*id].alive);
                let failed = operation.is_some_and(|it| it.state == OperationState::Failed);
                if uid == 0 && (!begun || failed) && version.spec.import.is_none() {
                    acts.extend(import.map(|id| Act::Import(uid, id)));
                }
                if !version.deleting {
                    acts.push(Act::Delete(uid));
                }
                if uid == 0 {
                    acts.push(Act::Retain(uid));
                    acts.extend(answers(world, uid, version));
                }
            }
            Menu::Disaster => {
                if world.objects.contains(&Object::Absent) {
                    for age in (0..).take_while(|age| world.ago(uid, *age).is_some()) {
                        acts.extend([false, true].map(|with_status| Act::Restore { uid, age, with_status }));
                    }
                    acts.extend([Act::Copy(uid, false), Act::Copy(uid, true)]);
                }
                if !version.deleting {
                    acts.push(Act::Delete(uid));
                }
                acts.extend(answers(world, uid, version));
            }
            Menu::Tasks => {
                acts.push(Act::Ask(uid));
                if !version.deleting {
                    acts.push(Act::Delete(uid));
                }
            }
            // What two operators at once have to do with each other is about versions that follow or go.
            Menu::Versions if settings.operators > 1 => {
                if !version.deleting {
                    acts.extend([Act::Ask(uid), Act::Delete(uid)]);
                }
                if !version.deleting && is_open(version) {
                    acts.push(Act::Change(uid));
                }
            }
            Menu::Versions => {
                acts.extend([Act::Ask(uid), Act::Suspend(uid)]);
                if !version.deleting {
                    acts.push(Act::Delete(uid));
                }
                // Admission closes what a version is made of while one is under way.
                if uid == 0 && !version.deleting && is_open(version) {
                    acts.push(Act::Change(uid));
                }
                if uid == 0 && world.objects.contains(&Object::Absent) {
                    acts.push(Act::Copy(uid, true));
                }
            }
        }
    }
    if settings.operators == 1 {
        acts.extend(others_acts(world, settings));
    }
    acts
}

/// What somebody else may do at the vendor.
fn others_acts(world: &World, settings: &Settings) -> Vec<Act> {
    let mut acts = vec![];
    if settings.menu == Menu::Versions && world.things.iter().all(|thing| thing.by.is_some()) {
        acts.push(Act::Squat);
    }
    // In the moment in which it is asked for again, nobody could tell.
    if settings.repeatable() && world.things.iter().all(|thing| thing.by.is_some()) && !is_asked_for(world) {
        acts.push(Act::Squat);
    }
    if matches!(settings.menu, Menu::Tools | Menu::Versions | Menu::Tasks) {
        let alive = (0..world.things.len()).filter(|id| world.things[*id].alive);
        acts.extend(alive.map(Act::Lose));
    }
    acts
}

/// Whether a creating call may be under way.
fn is_asked_for(world: &World) -> bool {
    let open = |version: &Version| {
        let operation = version.status.as_ref().and_then(|status| status.0.operation.as_ref());
        operation.map_or(version.record.is_some(), |it| it.state == OperationState::InFlight)
    };
    !world.at_rest() || world.there().any(|(_, version)| open(version))
}

/// As `image::OPEN` and the kind's own rule have it.
fn is_open(version: &Version) -> bool {
    let Some(status) = version.status.as_ref().map(|status| &status.0) else { return false };
    let state = status.operation.as_ref().map(|operation| operation.state);
    match status.phase {
        Some(Phase::Pending | Phase::Ready) => true,
        Some(Phase::Failed) => state == Some(OperationState::Failed),
        _ => false,
    }
}

/// True answers, and such as name what is another's or nobody's.
fn answers(world: &World, uid: Uid, version: &Version) -> Vec<Act> {
    let operation = version.status.as_ref().and_then(|status| status.0.operation.as_ref());
    let Some(state) = operation.map(|operation| operation.state) else { return vec![] };
    if !matches!(state, OperationState::Unclear | OperationState::Restored) {
        return vec![];
    }
    let alive = || world.things.iter().enumerate().filter(|(_, thing)| thing.alive);
    let mine = |by: Option<(Uid, u32)>| by.is_some_and(|(by, _)| by == uid);
    let mut outcomes = vec![Outcome::Adopt(9)];
    if state == OperationState::Restored || !alive().any(|(_, thing)| mine(thing.by) && !thing.told) {
        outcomes.push(Outcome::Resubmit);
    }
    outcomes.extend(alive().filter_map(|(id, thing)| {
        let anothers =
            world.there().any(|(other, version)| other != uid && World::owned(version, other).contains(&id));
        (mine(thing.by) || anothers || state == OperationState::Restored).then_some(Outcome::Adopt(id))
    }));
    let new = outcomes.into_iter().filter(|outcome| version.outcome != Some(*outcome));
    new.map(|outcome| Act::Answer(uid, outcome)).collect()
}

/// What the vendor may do now.
pub fn turns(world: &World, settings: &Settings) -> Vec<Turn> {
    let mut turns = vec![];
    // Vendors know a token for minutes, and a permit lives for seconds. Where another number can be taken after a refusal, that
    // counts: docs/adr/0019.
    let is_asked = |thing: &Thing| {
        let of = |doing: &Doing| match doing {
            Doing::Permitted { uid, attempt, .. } => thing.by == Some((*uid, *attempt)),
            _ => false,
        };
        settings.menu == Menu::Versions && world.operators.iter().any(of)
    };
    for (id, thing) in world.things.iter().enumerate().filter(|(_, thing)| thing.alive) {
        if !thing.done && !thing.broken() {
            turns.push(Turn::Finish(id));
            if world.budget.faults > 0 {
                turns.push(Turn::Break(id));
            }
        }
        if !thing.shown {
            turns.push(Turn::Show(id));
        }
        if settings.api == Api::Token && thing.token_known && world.budget.faults > 0 && !is_asked(thing) {
            turns.push(Turn::ForgetToken(id));
        }
        let has_ended = thing.done || thing.broken();
        // What is forgotten before it was looked for, after a lost answer, is asked for again: docs/never-twice.md.
        let is_known = || world.there().any(|(uid, version)| World::owned(version, uid).contains(&id));
        let forgets = settings.forgets() && has_ended && is_known();
        let loses = settings.repeatable() && !has_ended && thing.by.is_some();
        if world.budget.faults > 0 && !thing.forgotten && (forgets || loses) {
            turns.push(Turn::ForgetTask(id));
        }
    }
    turns
}

/// The vendor's turn.
pub fn turn(world: &mut World, turn: Turn) {
    let (Turn::Finish(id) | Turn::Break(id) | Turn::Show(id) | Turn::ForgetToken(id) | Turn::ForgetTask(id)) =
        turn;
    let thing = &mut world.things[id];
    match turn {
        Turn::Finish(_) => thing.done = true,
        Turn::Show(_) => thing.shown = true,
        Turn::Break(_) => {
            thing.content = BROKEN;
            world.budget.faults -= 1;
        }
        Turn::ForgetTask(_) => {
            thing.forgotten = true;
            thing.alive &= thing.done || thing.broken();
            world.budget.faults -= 1;
        }
        Turn::ForgetToken(_) => {
            thing.token_known = false;
            world.budget.faults -= 1;
        }
    }
}

/// A person acts.
pub fn act(world: &mut World, act: Act) {
    world.budget.people -= 1;
    // What one operator alone is at, nobody goes on from.
    world.disturbed |= world.operators.len() > 1 && !world.at_rest();
    let uid = match act {
        Act::Right => {
            world.right = !world.right;
            return;
        }
        Act::Lose(id) => {
            world.things[id].alive = false;
            world.things[id].lost = true;
            return;
        }
        Act::Squat => {
            // Where nothing follows anything, they are all of one name.
            let follows = world.there().any(|(_, version)| version.spec.keep.is_some());
            let last = world.things.iter().map(|thing| thing.number).max().unwrap_or_default();
            let number = if follows { last + 1 } else { 0 };
            let made = Thing::new((0, 0), 0, world.things.len());
            let theirs = Thing { by: None, number, done: true, shown: true, ..made };
            world.things.push(theirs);
            return;
        }
        // Who ends in that moment forgets what was made in it: docs/adr/0019.
        Act::Vanish(uid) => {
            world.objects[uid] = Object::Gone;
            world.budget.faults = 0;
            return;
        }
        Act::Restore { uid, age, with_status } => return restore(world, uid, age, with_status),
        Act::Copy(uid, with_status) => {
            if let Some(version) = world.now(uid).cloned() {
                appear(world, &version, with_status);
            }
            return;
        }
        Act::Change(uid)
        | Act::Delete(uid)
        | Act::Suspend(uid)
        | Act::Ask(uid)
        | Act::Answer(uid, _)
        | Act::Replace(uid)
        | Act::TakeFinalizer(uid)
        | Act::WriteFinalizer(uid)
        | Act::WriteRecord(uid)
        | Act::Import(uid, _)
        | Act::Retain(uid) => uid,
    };
    let Some(mut new) = world.now(uid).cloned() else { return };
    match act {
        Act::Change(_) => new.spec.content += 1,
        Act::Delete(_) => {
            new.deleting = true;
            // Nobody holds it any more, or does as yet.
            if !new.finalizer {
                world.let_go.push(uid);
            }
        }
        Act::Suspend(_) => new.spec.suspend = !new.spec.suspend,
        Act::Ask(_) => new.asked += 1,
        Act::Answer(_, outcome) => new.outcome = Some(outcome),
        Act::Replace(_) => (new.finalizer, new.record) = (false, None),
        Act::TakeFinalizer(_) => {
            new.finalizer = false;
            world.let_go.push(uid);
        }
        Act::WriteFinalizer(_) => new.finalizer = true,
        Act::WriteRecord(_) => new.record = Some((uid, 1, world.things.len())),
        Act::Import(_, id) => new.spec.import = Some(id),
        Act::Retain(_) => new.spec.retain = !new.spec.retain,
        Act::Restore { .. } | Act::Copy(..) | Act::Lose(_) | Act::Squat | Act::Right | Act::Vanish(_) => {}
    }
    if world.now(uid).is_some_and(|now| now.spec != new.spec) {
        new.generation += 1;
    }
    world.store(uid, new);
}

fn restore(world: &mut World, uid: Uid, age: usize, with_status: bool) {
    let Some(backup) = world.ago(uid, age).cloned() else { return };
    // The process goes with the cluster, and a call that was under way with it.
    for doing in &mut world.operators {
        *doing = Doing::Idle;
    }
    world.ended.clear();
    world.objects[uid] = Object::Gone;
    // Nobody can know from a backup what was begun after it was made.
    let recorded = backup.record.filter(|(by, ..)| *by == uid).map(|(_, attempt, _)| attempt);
    let operation =
        backup.status.as_ref().filter(|_| with_status).and_then(|status| status.0.operation.as_ref());
    let known = operation.map(|operation| operation.attempt).max(recorded);
    for thing in &mut world.things {
        thing.told |=
            thing.by.is_some_and(|(by, attempt)| by == uid && known.is_none_or(|known| attempt > known));
    }
    appear(world, &backup, with_status);
}

/// An object with what another one had, under a uid of its own.
fn appear(world: &mut World, like: &Version, with_status: bool) {
    let Some(uid) = world.objects.iter().position(|object| *object == Object::Absent) else { return };
    let status = like.status.clone().filter(|_| with_status);
    let new = Version { status, generation: 1, deleting: false, ..like.clone() };
    world.objects[uid] = Object::There(Box::new(new), vec![]);
}
