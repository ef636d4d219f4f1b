//! What must hold in every world, and what every world must come to.

use super::{
    operator::{Fate, Pass, call, conclude},
    people::{self, Turn},
    world::{Doing, Id, Object, Thing, Uid, Version, World, id_of, token},
};
use crate::Settings;
use cloud_image_operator::image::{Operation, OperationState, Phase};
use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// At most one thing lives for an object, besides its earlier versions and what people have given to another one.
pub fn one_for_each(world: &World) -> bool {
    (0..world.objects.len()).all(|uid| {
        let its = world.things.iter().enumerate().filter(|(id, thing)| {
            let is_anothers =
                world.there().any(|(other, it)| other != uid && World::owned(it, other).contains(id));
            let is_earlier = world.now(uid).is_some_and(|version| is_predecessor(version, *id));
            let others = thing.told || is_anothers || is_earlier || is_about_to_be_told(world, *id);
            thing.alive && !others && thing.by.is_some_and(|(by, _)| by == uid)
        });
        its.count() <= 1
    })
}

/// Whether an operator has an answer of which it will tell, since another one has gone on to a further attempt.
fn is_about_to_be_told(world: &World, id: Id) -> bool {
    world.operators.iter().any(|doing| match doing {
        Doing::Answered { uid, new: Some(new), .. } => {
            let answered = new.0.operation.as_ref().map(|operation| operation.attempt);
            let is_further = world.now(*uid).and_then(Version::attempt) > answered;
            is_further && new.0.image_id.as_deref().and_then(id_of) == Some(id)
        }
        _ => false,
    })
}

fn is_predecessor(version: &Version, id: Id) -> bool {
    let Some(status) = version.status.as_ref().map(|status| &status.0) else { return false };
    let is_it = |text: &str| id_of(text) == Some(id);
    status.versions.iter().any(|version| is_it(&version.image_id))
        && !status.image_id.as_deref().is_some_and(is_it)
}

/// Nothing lives that no object knows and that nobody was told of.
pub fn nothing_is_lost(world: &World) -> bool {
    world.things.iter().enumerate().all(|(id, thing)| {
        let Some((by, attempt)) = thing.by.filter(|_| thing.alive && !thing.told) else { return true };
        let called = world.operators.iter().any(|doing| match doing {
            Doing::Idle => false,
            Doing::Permitted { uid, .. } | Doing::Answered { uid, .. } => *uid == by,
        });
        called
            || world.let_go.contains(&by)
            || world.there().any(|(uid, version)| knows(uid, version, id, by, attempt))
    })
}

fn knows(uid: Uid, version: &Version, id: Id, by: Uid, attempt: u32) -> bool {
    let status = version.status.as_ref().map(|status| &status.0);
    let is_it = |text: &String| id_of(text) == Some(id);
    let shows = status.is_some_and(|status| {
        status.image_id.as_ref().is_some_and(is_it)
            || status.versions.iter().any(|version| is_it(&version.image_id))
            || status.operation.as_ref().is_some_and(|operation| operation.candidates.iter().any(is_it))
    });
    let operation = status.and_then(|status| status.operation.as_ref());
    let looks = match operation {
        Some(operation) => {
            let open = matches!(
                operation.state,
                OperationState::InFlight | OperationState::Unclear | OperationState::Restored
            );
            let of_it = operation.token == token(by, attempt);
            // Of another object: what that one made is being looked for.
            of_it && (open || uid != by)
        }
        None => version.record.is_some_and(|(uid, ..)| uid == by),
    };
    shows || looks
}

/// Ready means that the vendor has it as the spec says.
pub fn ready_is_true(world: &World) -> bool {
    world.there().all(|(uid, version)| {
        let Some(status) = version.status.as_ref().map(|status| &status.0) else { return true };
        // One that came along from another object says nothing of this one.
        let own = |operation: &Operation| operation.token == token(uid, operation.attempt);
        if !status.operation.as_ref().is_some_and(own) {
            return true;
        }
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let says = ready.is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation == Some(version.generation)
        }) && status.observed_generation == Some(version.generation);
        let thing = status.image_id.as_ref().and_then(|id| world.things.get(id_of(id)?));
        let holds = |thing: &Thing| {
            thing.lost || thing.told || thing.alive && thing.done && thing.content == version.spec.content
        };
        !says || version.deleting || thing.is_some_and(holds)
    })
}

/// No two objects have the same thing.
pub fn one_owner(world: &World) -> bool {
    let mut owned: Vec<_> = world.there().flat_map(|(uid, version)| World::owned(version, uid)).collect();
    let all = owned.len();
    owned.sort_unstable();
    owned.dedup();
    owned.len() == all
}

/// Who comes when, round after round, once nothing goes wrong any more and nobody does anything. Every other order that is fair
/// to each event comes to an end as well, since each world on its way is one from which these do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Calls are answered and the vendor does all that it has to do before the operator looks again.
    AnswersFirst,
    /// The vendor does one thing at a time, between two looks of the operator, which begins with the last object.
    SlowVendor,
    /// The second operator leads, and the first one only ends what it is in the middle of.
    SecondLeads,
    /// Both operators are at it, the second one first, and calls of both are under way at once.
    BothLead,
}

const ORDERS: [Order; 4] = [Order::AnswersFirst, Order::SlowVendor, Order::SecondLeads, Order::BothLead];

impl Order {
    /// Those that there are with so many operators.
    fn of(operators: usize) -> &'static [Self] {
        if operators > 1 { &ORDERS } else { &ORDERS[..2] }
    }
}

/// How many rounds without trouble it may take.
const ROUNDS: usize = 40;

/// Worlds that come to a good end, by their hash and the order.
#[derive(Debug, Default)]
pub struct Settled(Mutex<HashSet<u64>>);

impl Settled {
    fn key(world: &World, order: Order) -> u64 {
        let mut hasher = DefaultHasher::new();
        (order, world).hash(&mut hasher);
        hasher.finish()
    }

    fn known(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One round without trouble.
fn round(world: &mut World, settings: &Settings, order: Order) {
    let answers = |world: &mut World| {
        for operator in 0..world.operators.len() {
            call(world, settings, operator, Fate::Answered);
            conclude(world, settings, operator);
        }
    };
    let vendor = |world: &mut World, most: usize| {
        let turns = people::turns(world, settings).into_iter();
        for turn in turns.filter(|turn| matches!(turn, Turn::Finish(_) | Turn::Show(_))).take(most) {
            people::turn(world, turn);
        }
    };
    let look = |world: &mut World, operator: usize, uid: Uid| {
        if let (Some(version), Doing::Idle) = (world.now(uid).cloned(), &world.operators[operator]) {
            Pass::new(world, settings, operator, uid, version, None).run();
        }
    };
    let objects = 0..world.objects.len();
    match order {
        Order::AnswersFirst => {
            answers(world);
            vendor(world, usize::MAX);
            objects.for_each(|uid| look(world, 0, uid));
        }
        Order::SlowVendor => {
            objects.rev().for_each(|uid| look(world, 0, uid));
            answers(world);
            vendor(world, 1);
        }
        Order::SecondLeads => {
            objects.for_each(|uid| look(world, 1, uid));
            answers(world);
            vendor(world, usize::MAX);
        }
        Order::BothLead => {
            objects.clone().for_each(|uid| look(world, 1, uid));
            objects.for_each(|uid| look(world, 0, uid));
            answers(world);
            vendor(world, 1);
        }
    }
    world.forget(settings);
}

/// Nothing goes wrong any more and nobody does anything, until nothing happens any more, or until it is known what comes of it.
/// Gives the worlds on the way.
pub fn calm(world: &mut World, settings: &Settings, order: Order) -> Result<Vec<u64>, String> {
    (world.budget.people, world.budget.faults, world.budget.second) = (0, 0, 0);
    world.forget(settings);
    let mut way = vec![];
    for _ in 0..ROUNDS {
        let key = Settled::key(world, order);
        if settings.settled.known().contains(&key) {
            return Ok(way);
        }
        way.push(key);
        let before = world.clone();
        round(world, settings, order);
        if *world == before {
            return is_good(world, settings, order).map(|()| way);
        }
    }
    Err(format!("{order:?}: it goes on and on: {world:?}"))
}

/// Once nothing goes wrong any more and nobody does anything, each object becomes Ready, or says why not, or goes.
pub fn settles(world: &World, settings: &Settings) -> Result<(), String> {
    for order in Order::of(world.operators.len()) {
        let way = calm(&mut world.clone(), settings, *order)?;
        settings.settled.known().extend(way);
    }
    Ok(())
}

/// Nothing happens any more, in this order.
fn is_good(world: &World, settings: &Settings, order: Order) -> Result<(), String> {
    for other in Order::of(world.operators.len()) {
        let mut next = world.clone();
        round(&mut next, settings, *other);
        if next != *world {
            return Err(format!("at rest for {order:?} and not for {other:?}: {world:?} and {next:?}"));
        }
    }
    for (uid, version) in world.there() {
        is_final(world, uid, version)?;
    }
    if !one_for_each(world) {
        return Err(format!("in the end there are two: {:?}", world.things));
    }
    if !nothing_is_lost(world) {
        return Err(format!("in the end something is lost: {:?} {:?}", world.things, world.objects));
    }
    let gone = |uid: Uid| matches!(world.objects[uid], Object::Gone);
    let leaked = world.things.iter().find(|thing| {
        let by = thing.by.map(|(by, _)| by).filter(|by| gone(*by) && !world.let_go.contains(by));
        thing.alive && !thing.told && by.is_some() && world.there().next().is_none()
    });
    leaked.map_or(Ok(()), |thing| Err(format!("left behind: {thing:?}")))
}

fn is_final(world: &World, uid: Uid, version: &Version) -> Result<(), String> {
    let status = version.status.as_ref().map(|status| &status.0);
    let verdict = |type_: &str| {
        let condition = status?.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((condition.status == "True", condition.reason.as_str()))
    };
    let phase = status.and_then(|status| status.phase);
    let is_current = status.is_some_and(|status| {
        status.conditions.iter().all(|condition| condition.observed_generation == Some(version.generation))
    });
    let waits = ["HeldByOther", "ImportNotFound", "WaitsForOther", "NamespaceNotAllowed", "Suspended"];
    let reason = verdict("Ready").map(|(_, reason)| reason);
    let done = match (verdict("Ready"), verdict("Stalled")) {
        _ if version.spec.suspend => true,
        (Some((true, _)), _) => !version.deleting && phase == Some(Phase::Ready),
        (_, Some((true, _))) => true,
        _ => reason.is_some_and(|reason| waits.contains(&reason)),
    };
    if !version.deleting && !version.finalizer && !World::owned(version, uid).is_empty() {
        return Err(format!("uid{uid} may go without what it has: {version:?}"));
    }
    let living = world
        .things
        .iter()
        .filter(|thing| thing.alive && !thing.told && thing.by.is_some_and(|(by, _)| by == uid));
    if let (Some((true, _)), Some(keep)) = (verdict("Ready"), version.spec.keep)
        && !version.spec.suspend
        && living.count() > keep
    {
        return Err(format!("uid{uid} keeps too many versions: {version:?}, things {:?}", world.things));
    }
    let seen = status.and_then(|status| world.things.get(id_of(status.image_id.as_ref()?)?));
    let is_to_come = seen.is_some_and(|thing| !thing.lost && !thing.alive);
    if reason == Some("Missing") && is_to_come && !version.deleting {
        return Err(format!("uid{uid} waits for what nobody makes: {version:?}, things {:?}", world.things));
    }
    if done && (is_current || version.deleting || version.spec.suspend || !world.right) {
        return Ok(());
    }
    Err(format!("uid{uid} is stuck at {phase:?} {reason:?}: {version:?}, things {:?}", world.things))
}
