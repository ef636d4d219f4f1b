//! The vendors' ledger, held against the objects: what there is at the vendors, whose it is, and what must never be.

use super::{COPY, DISTRIBUTION, KINDS, users::is_settled};
use crate::harness::{World, condition, is_ready};
use regex::Regex;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use vendor_simulator::{Change, Ledger, Stage, aliyun_ecs::executions::Ending};

/// Which calls make things, and of which kind.
const MAKING: [(&str, &str); 8] = [
    ("CreateImageComponent", "ImageComponent"),
    ("CreateImagePipeline", "ImagePipeline"),
    ("StartImagePipelineExecution", "ImageBuild"),
    ("CopyImage", "AliyunImageCopy"),
    ("CreateImage", "BatchComputeImage"),
    ("BuildAOSPImage", "AospImage"),
    ("ExportImage", "ImageExport"),
    ("CreateRootVolumeTemplateFromRootVolume", "RootVolumeTemplate"),
];

/// Why an object may need a person here: the vendor's build failed, as it was told to; the vendor says that somebody's clock is
/// wrong, as it was told to; the object names what another one holds, or what that one has just deleted.
const NAMED: [&str; 6] =
    ["BuildFailed", "ExportFailed", "Failed", "ClockSkew", "HeldByOther", "ImportNotFound"];

/// So long after an object is gone, what it left must be deleted, or named by an Event: Kubernetes deletes an object that the
/// operator has just put its finalizer on if it had begun to before. Longer than any blow to the operator lasts.
const TELLING: Duration = Duration::from_secs(60);

/// How many of the slowest objects are told.
const SLOWEST: usize = 12;

/// What happened, and how often, in groups.
pub type Tally = BTreeMap<String, BTreeMap<String, u64>>;

/// Each object's name is in what its thing is called at the vendor.
static OWNER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"soak-\d+-\d+").expect("an expression"));

/// The token of an attempt, in what was sent along with its call: the object's uid, and a number.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-\d+").expect("an expression")
});

/// A thing at a vendor that was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thing {
    pub kind: &'static str,
    pub id: String,
    /// The name of the object that it was made for.
    pub owner: String,
    /// That object's uid, where it was sent along.
    pub made_for: Option<String>,
    /// The region that it was copied to; none of another kind.
    pub region: Option<String>,
    /// Its build failed: nothing that anybody could use.
    pub failed: bool,
}

/// Objects and things at one moment.
pub struct Seen {
    /// After that.
    begun: Instant,
    /// By kind and name.
    pub objects: HashMap<(String, String), Value>,
    pub things: HashSet<Thing>,
    /// What lives without its object, as long as nobody was told of it.
    pub untold: Vec<Thing>,
}

pub struct Books {
    seen: watch::Sender<Arc<Seen>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Kind and name of all objects that users asked for and whose things must go with them.
    kept: HashSet<(&'static str, String)>,
    /// What lives without its object, by id, and since when.
    left: HashMap<String, Instant>,
    /// What has not come to rest, by kind and name: since when, and what it says.
    restless: HashMap<(String, String), (Instant, String)>,
    /// What took longest to come to rest: for how many seconds, and what it said last.
    slowest: Vec<(u64, String)>,
    /// Since when nothing goes wrong any more.
    calm: Option<Instant>,
    violations: BTreeSet<String>,
    tally: Tally,
}

impl Default for Books {
    fn default() -> Self {
        let (objects, things) = (HashMap::new(), HashSet::new());
        let nothing = Seen { begun: Instant::now(), objects, things, untold: vec![] };
        Self { seen: watch::channel(Arc::new(nothing)).0, state: Mutex::default() }
    }
}

impl Books {
    /// Compares, again and again, and never ends.
    pub async fn keep(&self, world: &World) {
        loop {
            let begun = Instant::now();
            let before = things(world);
            let mut objects = HashMap::new();
            for kind in KINDS {
                for object in world.list(kind).await {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                    objects.insert((kind.to_owned(), name), object);
                }
            }
            self.note_restless(&objects);
            let after = things(world);
            let mut untold = vec![];
            for thing in self.compare(&before, &objects, &after) {
                if !self.is_told(world, &thing).await {
                    untold.push(thing);
                }
            }
            self.seen.send_replace(Arc::new(Seen { begun, objects, things: after, untold }));
            sleep(Duration::from_secs(1).saturating_sub(begun.elapsed())).await;
        }
    }

    /// Keeps what takes long, for people to ask why.
    fn note_restless(&self, objects: &HashMap<(String, String), Value>) {
        let mut state = self.state();
        let State { restless, slowest, .. } = &mut *state;
        let is_at_rest = |object: &Value| {
            object["metadata"]["deletionTimestamp"].is_null()
                && (is_settled(object) || object["spec"]["suspend"] == true)
        };
        for (key, object) in objects.iter().filter(|(_, object)| !is_at_rest(object)) {
            let ready = condition(object, "Ready");
            let says = format!("{} {}", ready["reason"], ready["message"]);
            restless.entry(key.clone()).or_insert((Instant::now(), String::new())).1 = says;
        }
        for ((kind, name), (since, says)) in
            restless.extract_if(|key, _| objects.get(key).is_none_or(is_at_rest))
        {
            slowest.push((
                since.elapsed().as_secs(),
                format!("{} {kind} {name}: {says}", jiff::Timestamp::now()),
            ));
        }
        slowest.sort_by_key(|(seconds, _)| std::cmp::Reverse(*seconds));
        slowest.truncate(SLOWEST);
    }

    /// What took longest to come to rest, from the slowest on.
    pub fn slowest(&self) -> Vec<(u64, String)> {
        self.state().slowest.clone()
    }

    /// The object is gone, and its thing is not: whether an Event says what becomes of it, as one must in time.
    async fn is_told(&self, world: &World, thing: &Thing) -> bool {
        let Thing { kind, id, owner, .. } = thing;
        let since = *self.state().left.entry(id.clone()).or_insert_with(Instant::now);
        let events = world.events(owner).await;
        if events.iter().any(|event| event["note"].as_str().is_some_and(|note| note.contains(id.as_str()))) {
            self.count("things that outlived their objects, and were told of", kind, id);
            return true;
        }
        if since.elapsed() > TELLING {
            self.violation(format!("leaked: {kind} {owner} is gone, and {id} lives"));
        }
        false
    }

    /// What there was at the vendors before and after the objects were read. Gives what lives without its object.
    fn compare(
        &self,
        before: &HashSet<Thing>,
        objects: &HashMap<(String, String), Value>,
        after: &HashSet<Thing>,
    ) -> Vec<Thing> {
        let mut left = vec![];
        let mut owners: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
        for thing in after.iter().filter(|thing| !thing.failed) {
            owners.entry((thing.kind, &thing.owner)).or_default().push(&thing.id);
        }
        for ((kind, owner), ids) in owners.iter_mut().filter(|(_, ids)| ids.len() > 1) {
            ids.sort_unstable();
            let object = objects.get(&((*kind).to_owned(), (*owner).to_owned()));
            if *kind == "ImageComponent" && object.is_none_or(bumps) {
                // The next version is begun when what was there is in the status: of what was made before the status was read, it
                // lacks one at most. What is left of one that is gone is looked at below.
                let known = object.map(|object| object["status"].to_string()).unwrap_or_default();
                let was_made = |id: &&str| before.iter().any(|thing| thing.id == *id);
                ids.retain(|id| object.is_some() && was_made(id) && !known.contains(*id));
                if ids.len() < 2 {
                    continue;
                }
            }
            self.violation(format!("made twice: {kind} {owner} has {ids:?}"));
        }
        for thing in before.intersection(after).filter(|thing| !thing.failed) {
            let Thing { kind, id, owner, .. } = thing;
            match objects.get(&((*kind).to_owned(), owner.clone())) {
                // The exported file is the user's.
                None if *kind == "ImageExport" || !self.must_go(kind, owner) => {}
                None => left.push(thing.clone()),
                Some(object) => {
                    let settled = object["metadata"]["deletionTimestamp"].is_null()
                        && matches!(object["status"]["phase"].as_str(), Some("Ready" | "Failed"));
                    if settled && !object["status"].to_string().contains(id.as_str()) {
                        self.violation(format!("unknown: {kind} {owner} does not know its {id}: {object}"));
                    }
                }
            }
        }
        let live: HashSet<&str> = before.union(after).map(|thing| thing.id.as_str()).collect();
        for ((kind, name), object) in objects {
            let status = &object["status"];
            let id = if kind == "ImageExport" { &status["taskId"] } else { &status["imageId"] };
            let id = id.as_str().unwrap_or_default();
            let holds = kind != DISTRIBUTION;
            if holds
                && is_ready(object)
                && object["metadata"]["deletionTimestamp"].is_null()
                && !live.contains(id)
            {
                self.violation(format!("Ready for nothing: {kind} {name} has {id:?}"));
            }
            let stalled = condition(object, "Stalled");
            let reason = stalled["reason"].as_str().unwrap_or_default();
            if stalled["status"] == "True" {
                self.count("objects that needed a person", &format!("{kind} {reason}"), name);
                // Why its copy does is looked at there.
                let is_of_copy = kind == DISTRIBUTION && reason == "CopyStalled";
                if !is_of_copy && !NAMED.contains(&reason) {
                    self.violation(format!("{kind} {name} needs a person: {stalled}"));
                }
            }
        }
        left
    }

    /// What is in the ledger at the end.
    pub fn close(&self, ledger: &Ledger) {
        for (action, kind) in MAKING {
            let made = ledger.effects_of(action).filter(|effect| effect.change == Change::Created).count();
            self.add("things made", kind, made as u64);
        }
        self.add("calls to vendors", "answered or not", ledger.calls.len() as u64);
        for fault in ledger.calls.iter().filter_map(|call| call.fault.as_ref()) {
            self.did("faults of vendors", fault);
        }
    }

    /// The thing of an object of this kind and name must go with it.
    pub fn expect_end_of(&self, kind: &'static str, name: &str) {
        self.state().kept.insert((kind, name.to_owned()));
    }

    fn must_go(&self, kind: &'static str, name: &str) -> bool {
        self.state().kept.contains(&(kind, name.to_owned()))
    }

    /// Nothing goes wrong any more.
    pub fn calm(&self) {
        self.state().calm = Some(Instant::now());
    }

    /// Waits until the objects and things are as they should be, as seen after now. It may take so long from when nothing goes wrong
    /// any more: how long it takes before depends on what goes wrong, and on the machine.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        met: impl Fn(&Seen) -> bool,
    ) -> Result<Arc<Seen>, String> {
        let (called, mut seen) = (Instant::now(), self.seen.subscribe());
        loop {
            let now = seen.borrow_and_update().clone();
            if now.begun >= called && met(&now) {
                return Ok(now);
            }
            let calm = self.state().calm;
            if calm.is_some_and(|calm| calm.max(called).elapsed() > limit) {
                return Err(format!("in vain waited {} s until {what}", limit.as_secs()));
            }
            // The sender is here.
            let _ = seen.changed().await;
        }
    }

    /// The last look.
    pub fn last(&self) -> Arc<Seen> {
        self.seen.borrow().clone()
    }

    /// Something that must never be.
    pub fn violation(&self, what: String) {
        if self.state().violations.insert(what.clone()) {
            eprintln!("{}: {what}", jiff::Timestamp::now());
        }
    }

    /// Something was done.
    pub fn did(&self, group: &str, what: &str) {
        self.add(group, what, 1);
    }

    fn add(&self, group: &str, what: &str, count: u64) {
        *self.state().tally.entry(group.into()).or_default().entry(what.into()).or_default() += count;
    }

    /// Counts each of `whose` once.
    fn count(&self, group: &str, what: &str, whose: &str) {
        static COUNTED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
        let key = format!("{group}/{what}/{whose}");
        if COUNTED.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            self.did(group, what);
        }
    }

    pub fn tally(&self) -> Tally {
        self.state().tally.clone()
    }

    pub fn violations(&self) -> Vec<String> {
        self.state().violations.iter().cloned().collect()
    }

    /// For people who wait.
    pub fn line(&self) -> String {
        let state = self.state();
        let sum = |group: &str| -> u64 { state.tally.get(group).map_or(0, |rows| rows.values().sum()) };
        format!(
            "{} objects, {} acts, {} blows to the operator, {} violations",
            sum("objects created"),
            sum("acts of users"),
            sum("blows to the operator"),
            state.violations.len()
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the copies of a distribution are called at the vendor.
pub fn called(distribution: &str) -> String {
    format!("many-{distribution}")
}

fn is_of_distribution(image: &str) -> bool {
    image.starts_with("many-")
}

/// The object of a distribution's copy.
pub fn copy_in(distribution: &str, region: &str) -> String {
    format!("{distribution}-{region}")
}

/// What is not as it should be once nobody does anything any more: each distribution has a copy in each region of its list, knows
/// its image, and has no others.
pub fn astray(seen: &Seen) -> Vec<String> {
    let all_of = |kind: &'static str| seen.objects.iter().filter(move |((of, _), _)| of == kind);
    let mut astray = vec![];
    for ((_, name), object) in all_of(DISTRIBUTION).filter(|(_, object)| is_ready(object)) {
        let is_own =
            |copy: &Value| copy["metadata"]["ownerReferences"][0]["uid"] == object["metadata"]["uid"];
        let has: BTreeSet<_> = all_of(COPY)
            .filter(|(_, copy)| is_own(copy))
            .map(|((_, copy), object)| (copy.clone(), object["status"]["imageId"].to_string()))
            .collect();
        let rows = object["status"]["regions"].as_array().cloned().unwrap_or_default();
        let knows: BTreeSet<_> = rows
            .iter()
            .map(|row| (row["name"].as_str().unwrap_or_default().to_owned(), row["imageId"].to_string()))
            .collect();
        let regions = object["spec"]["regions"].as_array().cloned().unwrap_or_default();
        let wants: BTreeSet<_> = regions
            .iter()
            .map(|region| copy_in(name, region["regionId"].as_str().unwrap_or_default()))
            .collect();
        let names: BTreeSet<_> = has.iter().map(|(copy, _)| copy.clone()).collect();
        if has != knows || names != wants {
            astray.push(format!("{DISTRIBUTION} {name} wants {wants:?}, knows {knows:?} and has {has:?}"));
        }
    }
    astray
}

/// Whether new versions take the place of what an object has.
fn bumps(object: &Value) -> bool {
    object["spec"]["versionPolicy"] == "Bump"
}

/// What there is at the vendors.
fn things(world: &World) -> HashSet<Thing> {
    let ledger = world.vendor.ledger();
    let parameters: HashMap<u64, _> =
        ledger.calls.iter().map(|call| (call.sequence, &call.parameters)).collect();
    let gone: HashSet<&str> = ledger
        .effects
        .iter()
        .filter(|effect| effect.change == Change::Deleted)
        .map(|effect| effect.id.as_str())
        .collect();
    let now = world.vendor.clock().world;
    let (volcengine, zstack) = (world.vendor.volcengine(), world.vendor.zstack());
    let tasks: HashMap<_, _> = volcengine.tasks().into_iter().map(|task| (task.id, task.work)).collect();
    let runs = world.vendor.aliyun_ecs().executions();
    let endings: HashMap<_, _> = runs.into_iter().map(|run| (run.image.id, run.ending)).collect();
    // Whether it failed; `None`: the vendor cleared it away by itself when it did. A task that is forgotten made its file.
    let failed = |kind: &str, id: &str| {
        let work = match kind {
            "AliyunImageCopy" => world.vendor.aliyun_ecs().image(id).map(|image| image.work),
            // A run that fails makes no image.
            "ImageBuild" => {
                return endings.get(id).is_none_or(|ending| *ending != Ending::Failed).then_some(false);
            }
            "AospImage" => volcengine.aosp_image(id).map(|image| image.build),
            "ImageExport" => tasks.get(id).cloned(),
            "RootVolumeTemplate" => zstack.get(id).map(|image| image.creation),
            _ => return Some(false),
        };
        work.map(|work| work.stage(now) == Stage::Failed)
    };
    let made = ledger.effects.iter().filter(|effect| effect.change == Change::Created);
    made.filter(|effect| !gone.contains(effect.id.as_str()))
        .filter_map(|effect| {
            let (_, kind) = MAKING.iter().find(|(action, _)| *action == effect.action)?;
            let parameters = parameters.get(&effect.call)?;
            let mut owner = parameters.values().find_map(|value| OWNER.find(value))?.as_str().to_owned();
            let region = parameters.get("DestinationRegionId").cloned();
            // All copies of a distribution are called alike, and their objects after their regions.
            let is_distributed =
                parameters.get("DestinationImageName").is_some_and(|name| is_of_distribution(name));
            if let Some(region) = region.as_deref().filter(|_| is_distributed) {
                owner = copy_in(&owner, region);
            }
            let made_for = parameters.values().find_map(|value| Some(TOKEN.captures(value)?[1].to_owned()));
            let failed = failed(kind, &effect.id)?;
            Some(Thing { kind, id: effect.id.clone(), owner, made_for, region, failed })
        })
        .collect()
}
