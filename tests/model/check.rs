//! What must hold in every world, and what every world must come to.

use super::{
    operator::{Fate, Pass, call, conclude},
    people::{self, Turn},
    world::{Doing, Id, Object, Thing, Uid, Version, World, id_of, token},
};
use crate::Settings;
use cloud_image_operator::image::{Operation, OperationState, Phase};

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

/// Whether an operator has an answer of which it will tell, since another one has gone on to a further version.
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

/// How many rounds without trouble it may take.
const ROUNDS: usize = 14;

/// Nothing goes wrong any more and nobody does anything, until nothing happens any more.
pub fn calm(world: &mut World, settings: &Settings) {
    (world.budget.people, world.budget.faults, world.budget.second) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let before = world.clone();
        for operator in 0..world.operators.len() {
            call(world, settings, operator, Fate::Answered);
            conclude(world, settings, operator);
        }
        for turn in people::turns(world, settings) {
            if matches!(turn, Turn::Finish(_) | Turn::Show(_)) {
                people::turn(world, turn);
            }
        }
        for uid in 0..world.objects.len() {
            if let (Some(version), Doing::Idle) = (world.now(uid).cloned(), &world.operators[0]) {
                Pass::new(world, settings, 0, uid, version, None).run();
            }
        }
        if *world == before {
            break;
        }
    }
}

/// Once nothing goes wrong any more and nobody does anything, each object becomes Ready, or says why not, or goes.
pub fn settles(world: &World, settings: &Settings) -> Result<(), String> {
    let mut world = world.clone();
    calm(&mut world, settings);
    for (uid, version) in world.there() {
        is_final(&world, uid, version)?;
    }
    if !one_for_each(&world) {
        return Err(format!("in the end there are two: {:?}", world.things));
    }
    if !nothing_is_lost(&world) {
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
    if done && (is_current || version.deleting || version.spec.suspend || !world.right) {
        return Ok(());
    }
    Err(format!("uid{uid} is stuck at {phase:?} {reason:?}: {version:?}, things {:?}", world.things))
}
