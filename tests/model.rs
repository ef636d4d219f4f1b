//! The real pure engine, model-checked: one or two operators that may crash anywhere and read caches of any age, an API server that
//! refuses guarded writes, vendors of every class that forget tokens and tasks, and people and tools that write whatever they like, whenever they like. Every
//! order of events within the bounds is tried, also where versions follow each other. With any of the engine's cures taken out, some order breaks a promise.

mod model {
    pub mod check;
    pub mod operator;
    pub mod people;
    pub mod world;
}

use model::{
    check::{self, Order, Settled},
    operator::{Fate, Pass, call, conclude, give_up},
    people::{self, Act, Menu, Turn},
    world::{Budget, Doing, Object, Spec, Uid, World},
};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::{env, sync::Arc, thread, time::Instant};

/// What a vendor offers after a lost answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The same token gives the same thing, until it is forgotten; names are unique. As `CreateImageComponent`.
    Token,
    /// There is only one of a name, or of an id that the caller chose. As BatchCompute and ZStack.
    Unique,
    /// Its list shows whose a thing is, some time later. As `BuildAOSPImage`.
    Marked,
    /// Its list shows what was made lately, some time later, and not by whom. As `ExportImage`.
    Twins,
    /// It tells nothing.
    Blind,
}

const APIS: [Api; 5] = [Api::Token, Api::Unique, Api::Marked, Api::Twins, Api::Blind];

/// A cure, taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Permits are given without a write.
    PermitsForNothing,
    /// Writes are not guarded by the version.
    UnguardedWrites,
    /// A permit is used however old it is.
    PermitsNeverAge,
    /// The effect of a lost call is looked for before it must show.
    LooksTooEarly,
    /// A lost answer counts as an error: try again.
    UnknownMeansNotDone,
    /// A call whose answer is not known is taken for one that was not made.
    LostMeansNotDone,
    /// An answer is written over whatever is there.
    AnswersOverwrite,
    /// What a failed build left is not removed before the next.
    FailedIsForgotten,
    /// An object whose call's answer is not known goes without a look.
    DeletionDoesNotLook,
    /// An object goes without its thing.
    DeletionForgets,
    /// Suspended objects are worked on.
    SuspendIsIgnored,
    /// Only who creates needs a right.
    RightsAreForCreation,
    /// Nobody owns a thing.
    NobodyOwns,
    /// The record of another object counts as one's own.
    FormerRecordCounts,
    /// The status of another object counts as one's own.
    FormerStatusCounts,
    /// What has the same metadata and phase as the newest version counts as that.
    LooksTheSame,
    /// What is made and whose task the vendor has forgotten counts as gone.
    ForgottenIsMissing,
    /// What nobody saw finished counts as something that was there.
    UnseenWasThere,
    /// An order that the vendor has lost is not given again.
    LostOrdersStayLost,
    /// Who gives an order again takes for his what came before that.
    AskedAgainAsBefore,
    /// What does not show is missing, and made anew.
    HiddenIsMissing,
    /// The vendor's side is changed and deleted as an old cache shows that it is asked for.
    ActsUponOldViews,
    /// The write that permits the next version does not put what is there into the list.
    PredecessorsAreForgotten,
    /// An object goes without its earlier versions.
    PredecessorsStay,
    /// Earlier versions are deleted while the next one is being made.
    VersionsGoEarly,
    /// Versions that are too many stay.
    SurplusStays,
    /// A call that is repeated asks for another number than the first.
    NumbersAreForgotten,
    /// The list of versions of another object counts as one's own.
    FormerVersionsCount,
    /// A finalizer alone says that something was begun.
    FinalizersAreTheIntent,
    /// A finalizer that was taken off stays off.
    FinalizersStayOff,
    /// What has the name is taken for what the call made.
    NamesAreProof,
    /// What is older than the call is taken for what it made.
    OlderIsOurs,
    /// What a repeated call is refused for is not looked at.
    RefusalsAreFinal,
    /// What the vendor made is dropped if somebody else wrote meanwhile that it failed.
    GoodNewsIsDropped,
    /// Nobody is told of what a call made that another operator has gone on from.
    OutdatedIsUntold,
    /// What was made for an object that went in the same moment stays.
    OutlivedIsForgotten,
    /// Nobody is told of what a call made whose object another operator has let go of.
    LeftIsUntold,
    /// What was taken over is deleted with its object.
    ImportedIsDeleted,
    /// What a failed build left stays where something else is taken over.
    FailedIsForgottenForImports,
    /// A suspended object counts as one that has what its spec asks for.
    SuspendedIsApplied,
    /// Versions that are too many are taken off the list before they are deleted.
    CrossedOffEarly,
}

/// How many there are at most of versions that follow each other.
const ATTEMPTS: u32 = 4;

/// A model's bounds.
#[derive(Clone, Debug)]
pub struct Settings {
    api: Api,
    menu: Menu,
    operators: usize,
    objects: usize,
    /// How many versions old what an operator reads may be, and a backup.
    memory: usize,
    restores: usize,
    imports: bool,
    spec: Spec,
    /// It begins where the first object is Ready.
    ready: bool,
    budget: Budget,
    mutation: Option<Mutation>,
    /// What is known to come to a good end.
    settled: Arc<Settled>,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// An operator passes over an object, from an old cache or not; it may be killed before its n-th effect.
    Pass {
        /// Which one.
        operator: usize,
        /// Of the object.
        uid: Uid,
        /// It reads what was stored so many versions ago.
        age: usize,
        /// It is killed there.
        cut: Option<u8>,
    },
    /// The creating call.
    Call(usize, Fate),
    /// The permit is too old by now.
    GiveUp(usize),
    /// The answer is stored.
    Conclude(usize),
    /// The operator is killed, and started again.
    Crash(usize),
    /// A person or a tool.
    Act(Act),
    /// The vendor.
    Turn(Turn),
}

impl Settings {
    fn new(api: Api, menu: Menu) -> Self {
        let budget = Budget { people: 2, faults: 1, second: 0 };
        let (operators, objects, restores, imports, spec) = (1, 1, 0, false, Spec::default());
        Self {
            api,
            menu,
            operators,
            objects,
            memory: usize::MAX,
            restores,
            imports,
            spec,
            ready: false,
            budget,
            mutation: None,
            settled: Arc::default(),
        }
    }

    /// All models, by what they are about.
    fn all() -> Vec<Self> {
        let mut all = vec![];
        for api in APIS {
            let users = Self::new(api, Menu::Users);
            all.push(Self { budget: Budget { people: 2, faults: 2, second: 0 }, ..users.clone() });
            let two = Budget { people: 1, faults: 1, second: 2 };
            all.push(Self { operators: 2, budget: two, ..users });
            let tools = Self::new(api, Menu::Tools);
            all.push(Self { spec: Spec { recreate: true, ..Spec::default() }, ..tools });
            // Whose a thing is has nothing to do with what becomes of lost answers.
            if api != Api::Blind {
                all.push(Self { objects: 2, imports: true, ..Self::new(api, Menu::Owners) });
            }
            all.push(Self { restores: 1, ..Self::new(api, Menu::Disaster) });
        }
        for api in [Api::Unique, Api::Twins] {
            let tasks =
                Self { spec: Spec { recreate: true, ..Spec::default() }, ..Self::new(api, Menu::Tasks) };
            all.push(Self { budget: Budget { people: 2, faults: 2, second: 0 }, ..tasks.clone() });
            all.push(Self { operators: 2, budget: Budget { people: 1, faults: 1, second: 2 }, ..tasks });
        }
        // Versions are told apart by their numbers, within a name.
        let one = Spec { keep: Some(1), ..Spec::default() };
        let versions = Self { spec: one, ..Self::new(Api::Token, Menu::Versions) };
        all.push(Self { budget: Budget { people: 2, faults: 2, second: 0 }, ..versions.clone() });
        let all_stay = Spec { keep: Some(9), ..one };
        let copied = Budget { people: 3, faults: 0, second: 0 };
        all.push(Self { spec: all_stay, restores: 1, budget: copied, ..versions.clone() });
        // How two make the first one is above.
        let two = Budget { people: 2, faults: 1, second: 2 };
        // What each of them reads is one version old at most: with more there are too many worlds.
        all.push(Self { operators: 2, ready: true, memory: 1, budget: two, ..versions });
        all
    }

    /// Whether the vendor forgets tasks that have ended. As `External::FORGETS`.
    pub fn forgets(&self) -> bool {
        self.menu == Menu::Tasks && self.api == Api::Twins
    }

    /// Whether the vendor loses orders that can be given again. As `External::REPEATABLE`.
    pub fn repeatable(&self) -> bool {
        self.menu == Menu::Tasks && self.api == Api::Unique
    }

    fn pass(&self, world: &World, event: Event) -> Option<(World, u8)> {
        let Event::Pass { operator, uid, age, cut } = event else { return None };
        let mut next = world.clone();
        let read = world.ago(uid, age)?.clone();
        let mut pass = Pass::new(&mut next, self, operator, uid, read, cut);
        pass.run();
        let effects = pass.effects;
        Some((next, effects))
    }
}

impl Model for Settings {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::new(self);
        if self.ready {
            // To the end, whatever is known of what comes after.
            let unknowing = Self { settled: Arc::default(), ..self.clone() };
            let _ = check::calm(&mut world, &unknowing, Order::AnswersFirst);
            world.budget = self.budget;
        }
        vec![world]
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        // What broke a promise need not be followed.
        if world.harm.is_some() {
            return;
        }
        let faults = world.budget.faults > 0;
        for (operator, doing) in world.operators.iter().enumerate() {
            if faults && *doing != Doing::Idle {
                events.push(Event::Crash(operator));
            }
            match doing {
                Doing::Idle if operator > 0 && world.budget.second == 0 => {}
                Doing::Idle => {
                    for (uid, object) in world.objects.iter().enumerate() {
                        let Object::There(_, past) = object else { continue };
                        let event = Event::Pass { operator, uid, age: 0, cut: None };
                        events.push(event);
                        let effects = self.pass(world, event).map_or(0, |(_, effects)| effects);
                        if faults {
                            let cuts = (2..=effects).map(Some);
                            events.extend(cuts.map(|cut| Event::Pass { operator, uid, age: 0, cut }));
                            let ages = 1..=past.len();
                            events.extend(ages.map(|age| Event::Pass { operator, uid, age, cut: None }));
                        }
                    }
                }
                Doing::Permitted { .. } => {
                    events.push(Event::Call(operator, Fate::Answered));
                    if faults {
                        let fates = [Fate::Lost, Fate::NotSent, Fate::Throttled, Fate::Invalid];
                        events.extend(fates.map(|fate| Event::Call(operator, fate)));
                        events.push(Event::GiveUp(operator));
                    }
                }
                Doing::Answered { .. } => events.push(Event::Conclude(operator)),
            }
        }
        events.extend(people::acts(world, self).into_iter().map(Event::Act));
        events.extend(people::turns(world, self).into_iter().map(Event::Turn));
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        match event {
            Event::Pass { operator, age, cut, .. } => {
                (next, _) = self.pass(world, event)?;
                if age > 0 || cut.is_some() {
                    next.budget.faults -= 1;
                }
                if operator > 0 {
                    next.budget.second -= 1;
                }
                // It is forgotten what was known only in memory.
                if operator == 0 && cut.is_some() {
                    next.ended.clear();
                }
            }
            Event::Call(operator, fate) => {
                call(&mut next, self, operator, fate);
                if fate != Fate::Answered {
                    next.budget.faults -= 1;
                }
            }
            Event::GiveUp(operator) => {
                give_up(&mut next, self, operator);
                next.budget.faults -= 1;
            }
            Event::Conclude(operator) => conclude(&mut next, self, operator),
            Event::Crash(operator) => {
                next.operators[operator] = Doing::Idle;
                next.budget.faults -= 1;
                if operator == 0 {
                    next.ended.clear();
                }
            }
            Event::Act(act) => people::act(&mut next, act),
            Event::Turn(turn) => people::turn(&mut next, turn),
        }
        next.forget(self);
        (next != *world).then_some(next)
    }

    /// A number of a version that is taken and that no list shows yet can be tried for ever: each time, a list may show it.
    fn within_boundary(&self, world: &World) -> bool {
        let attempts = world.there().filter_map(|(_, version)| version.attempt());
        self.menu != Menu::Versions || attempts.max().unwrap_or_default() <= ATTEMPTS
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one thing lives for an object", |_, world: &World| {
                check::one_for_each(world)
            }),
            Property::always("nothing lives that nobody knows", |_, world: &World| {
                check::nothing_is_lost(world)
            }),
            Property::always("Ready is true", |_, world: &World| check::ready_is_true(world)),
            Property::always("a thing has one owner", |_, world: &World| check::one_owner(world)),
            Property::always("nothing forbidden is done", |_, world: &World| world.harm.is_none()),
            Property::always(
                "in the end it is Ready, or says why not, or is gone",
                |settings: &Self, world: &World| check::settles(world, settings).is_ok(),
            ),
        ]
    }
}

/// Checks a model, and gives how many worlds there are and what was broken, with the events that lead there.
fn checked(settings: &Settings) -> (usize, Vec<String>) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let model = Settings { settled: Arc::default(), ..settings.clone() };
    let checker = model.checker().threads(threads).spawn_bfs().join();
    let broken = checker.discoveries().into_iter().map(|(name, path)| {
        let last = path.last_state().clone();
        let events: Vec<_> = path.into_actions().iter().map(|event| format!("\n    {event:?}")).collect();
        let stuck = check::settles(&last, settings).err().unwrap_or_default();
        format!("not so: {name}, after{}\n  {:?} {stuck}", events.concat(), last.harm)
    });
    (checker.unique_state_count(), broken.collect())
}

#[test]
fn every_promise_holds_in_every_order_of_events() {
    let (mut worlds, mut failures) = (0, vec![]);
    // To look into those of one menu alone.
    let menu = env::var("MODEL_MENU").unwrap_or_default();
    let wanted = |settings: &Settings| menu.is_empty() || format!("{:?}", settings.menu) == menu;
    for settings in Settings::all().into_iter().filter(wanted) {
        let begun = Instant::now();
        let (count, broken) = checked(&settings);
        println!(
            "{:?} {:?}, {} operators, {} objects: {count} worlds, {:.1} s",
            settings.api,
            settings.menu,
            settings.operators,
            settings.objects,
            begun.elapsed().as_secs_f64()
        );
        for broken in &broken {
            println!("{broken}");
        }
        worlds += count;
        failures.extend(broken.into_iter().map(|broken| format!("{settings:?}: {broken}")));
    }
    println!("{worlds} worlds");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Which models see that a cure is missing. Each hole that the changelog, the ADRs and the proof tell of has one, but for those of
/// what is no part of a model: time (a list that shows something after it was given up, a token whose age nobody knows, what is
/// shown for one look before it is changed), places (realms, credentials, namespaces, shards), likeness (whose task an export is,
/// texts that a vendor writes in another way), names that pass from one object to the next, fields that are closed at admission,
/// how fairly and how fast others are served, and messages. Those have tests of their own in `tests/e2e`, `tests/proof` and beside the code.
const MUTATIONS: &[(Mutation, Api, Menu)] = &[
    (Mutation::PermitsForNothing, Api::Marked, Menu::Users),
    (Mutation::UnguardedWrites, Api::Marked, Menu::Users),
    (Mutation::PermitsNeverAge, Api::Marked, Menu::Users),
    (Mutation::LooksTooEarly, Api::Marked, Menu::Users),
    (Mutation::UnknownMeansNotDone, Api::Marked, Menu::Users),
    (Mutation::LostMeansNotDone, Api::Marked, Menu::Users),
    (Mutation::AnswersOverwrite, Api::Marked, Menu::Users),
    (Mutation::FailedIsForgotten, Api::Marked, Menu::Users),
    (Mutation::DeletionDoesNotLook, Api::Marked, Menu::Users),
    (Mutation::DeletionForgets, Api::Marked, Menu::Users),
    (Mutation::SuspendIsIgnored, Api::Marked, Menu::Users),
    (Mutation::RightsAreForCreation, Api::Marked, Menu::Tools),
    (Mutation::NobodyOwns, Api::Marked, Menu::Owners),
    (Mutation::FormerRecordCounts, Api::Marked, Menu::Disaster),
    (Mutation::FormerStatusCounts, Api::Marked, Menu::Disaster),
    (Mutation::HiddenIsMissing, Api::Marked, Menu::Tools),
    (Mutation::ActsUponOldViews, Api::Marked, Menu::Users),
    (Mutation::PredecessorsAreForgotten, Api::Token, Menu::Versions),
    (Mutation::PredecessorsStay, Api::Token, Menu::Versions),
    (Mutation::VersionsGoEarly, Api::Token, Menu::Versions),
    (Mutation::SurplusStays, Api::Token, Menu::Versions),
    (Mutation::NumbersAreForgotten, Api::Token, Menu::Versions),
    (Mutation::FormerVersionsCount, Api::Token, Menu::Versions),
    (Mutation::FinalizersAreTheIntent, Api::Marked, Menu::Disaster),
    (Mutation::FinalizersStayOff, Api::Marked, Menu::Tools),
    (Mutation::NamesAreProof, Api::Unique, Menu::Owners),
    (Mutation::OlderIsOurs, Api::Unique, Menu::Owners),
    (Mutation::RefusalsAreFinal, Api::Unique, Menu::Users),
    (Mutation::GoodNewsIsDropped, Api::Unique, Menu::Users),
    (Mutation::OutdatedIsUntold, Api::Token, Menu::Versions),
    (Mutation::OutlivedIsForgotten, Api::Marked, Menu::Tools),
    (Mutation::LooksTheSame, Api::Unique, Menu::Users),
    (Mutation::ForgottenIsMissing, Api::Twins, Menu::Tasks),
    (Mutation::UnseenWasThere, Api::Twins, Menu::Tasks),
    (Mutation::LostOrdersStayLost, Api::Unique, Menu::Tasks),
    (Mutation::AskedAgainAsBefore, Api::Unique, Menu::Tasks),
    (Mutation::LeftIsUntold, Api::Unique, Menu::Users),
    (Mutation::ImportedIsDeleted, Api::Marked, Menu::Owners),
    (Mutation::FailedIsForgottenForImports, Api::Marked, Menu::Owners),
    (Mutation::SuspendedIsApplied, Api::Marked, Menu::Users),
    (Mutation::CrossedOffEarly, Api::Token, Menu::Versions),
];

#[test]
fn without_any_of_its_cures_the_engine_breaks_a_promise() {
    let mut unseen = vec![];
    for (mutation, api, menu) in MUTATIONS {
        let models = Settings::all().into_iter().filter(|it| it.api == *api && it.menu == *menu);
        let broken = models.into_iter().find_map(|settings| {
            // What becomes of versions begins with the first one.
            let ready = settings.ready || settings.menu == Menu::Versions;
            let settings = Settings { mutation: Some(*mutation), ready, settled: Arc::default(), ..settings };
            let threads = thread::available_parallelism().map_or(1, usize::from);
            let checker =
                settings.checker().threads(threads).finish_when(HasDiscoveries::Any).spawn_bfs().join();
            checker.discoveries().into_iter().next().map(|(name, path)| (name, path.into_actions()))
        });
        match broken {
            Some((name, events)) => println!("{mutation:?}: not so: {name}, after {events:?}"),
            None => unseen.push(mutation),
        }
    }
    assert!(unseen.is_empty(), "nothing shows that these are missing: {unseen:?}");
}
