//! Through which every request of one operator passes: it numbers them, and does to one of them, or to some, what is to be
//! done to it. The operator knows nothing of it.

use super::past::Past;
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// One request of an operator, told from the others by what it is about and how many of those came before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// Such as `PATCH imagecomponents/status` or `CreateImageComponent`.
    pub label: String,
    /// From 1.
    pub nth: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} #{}", self.label, self.nth)
    }
}

/// What is done to a request, or to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Deed {
    /// It is not forwarded, and the operator is killed.
    KillBefore,
    /// It takes its effect, and the operator is killed before it has the answer.
    KillAfter,
    /// It is not forwarded, and the connection ends.
    NotSent,
    /// It takes its effect, and the connection ends without an answer.
    Lost,
    /// It takes its effect, and the connection ends in the middle of the answer.
    Truncated,
    /// It takes its effect, and nobody ever answers.
    Silence,
    /// It takes its effect; the answer comes seconds later.
    Delay,
    /// It is forwarded twice, as a network does that repeats what it takes for lost; the second answer is passed on.
    Twice,
    /// It is not forwarded, and something in between answers: 429.
    TooMany,
    /// It is not forwarded, and something in between answers: 400, as some vendors say that they are throttling.
    Throttled,
    /// It is not forwarded, and the answer is 403, as by who has not read yet what is allowed.
    Forbidden,
    /// It is not forwarded, and the answer is 409: somebody else is said to have written the object.
    Conflict,
    /// It takes its effect, and the answer is 409 all the same.
    ConflictAfter,
    /// Just before it is forwarded, somebody else writes the object that it is about: it goes on from an old version.
    Overtaken,
    /// It is not forwarded, and the answer is 410: the version that it goes on from is too old.
    Expired,
    /// Something in between answers: 500. Whether it was forwarded, the operator cannot know.
    Error(bool),
    /// Something in between answers: 502 with a page of HTML. Whether it was forwarded, the operator cannot know.
    BadGateway(bool),
    /// It takes its effect; the answer is 200 with a page of HTML, as of a portal where one logs in.
    Garbage,
    /// It takes its effect; the answer is 200 with `{}`, which says nothing, and means no "no".
    Hollow,
}

impl Deed {
    /// Whether the operator is to be killed for it.
    pub fn kills(self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfter)
    }

    /// Whether the request gets where it is to go, and takes its effect there.
    fn is_forwarded(self) -> bool {
        !matches!(
            self,
            Self::KillBefore
                | Self::NotSent
                | Self::TooMany
                | Self::Throttled
                | Self::Forbidden
                | Self::Conflict
                | Self::Expired
                | Self::Error(false)
                | Self::BadGateway(false)
        )
    }
}

/// What may be done to requests at random: the same seed does the same to the same requests.
#[derive(Clone, Debug)]
pub struct Chance {
    /// Printed, so that a run can be repeated.
    pub seed: u64,
    /// Of so many requests, one is hit.
    pub one_in: u64,
    /// At most so many are hit.
    pub most: u32,
    /// What may happen to those to the vendor.
    pub vendor: Vec<Deed>,
    /// What may happen to those to the API server.
    pub api_server: Vec<Deed>,
    /// Calls that no vendor tells from a repetition, so that no network may repeat them.
    pub unrepeatable: Vec<&'static str>,
}

/// What is done to which requests, by their labels.
pub type Habit = (Deed, fn(&str) -> bool);

/// To whom a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum To {
    /// The API server.
    ApiServer,
    /// A vendor.
    Vendor,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Pass,
    /// It belongs to an operator that is about to be killed: it gets nowhere.
    Held,
    /// It is hit.
    Hit(Deed),
}

/// How a watch ends that an API server has enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection ends.
    Gone,
    /// It says that the version that it goes on from is too old (410), and ends.
    Expired,
}

/// A gate.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    cuts: watch::Sender<Option<Cut>>,
    past: watch::Sender<Option<Arc<Past>>>,
    kept_back: watch::Sender<Option<&'static str>>,
}

#[derive(Debug)]
struct State {
    counts: HashMap<String, u32>,
    seen: Vec<(To, Point)>,
    plan: Option<(Point, Deed)>,
    /// What is done to the next requests to vendors once the plan was met.
    then: VecDeque<Deed>,
    told: Option<oneshot::Sender<()>>,
    chance: Option<Chance>,
    habits: Vec<Habit>,
    hits: Vec<(Point, Deed)>,
    held: bool,
    /// The API server cannot be reached.
    lost: bool,
    busy: Instant,
}

impl Default for Gate {
    fn default() -> Self {
        let state = Mutex::new(State {
            counts: HashMap::new(),
            seen: vec![],
            plan: None,
            then: VecDeque::new(),
            told: None,
            chance: None,
            habits: vec![],
            hits: vec![],
            held: false,
            lost: false,
            busy: Instant::now(),
        });
        Self {
            state,
            cuts: watch::channel(None).0,
            past: watch::channel(None).0,
            kept_back: watch::channel(None).0,
        }
    }
}

impl Gate {
    /// Counts anew, and does something to one request. The receiver is told when that is the case.
    pub fn arm(&self, plan: Option<(Point, Deed)>) -> oneshot::Receiver<()> {
        let (told, hit) = oneshot::channel();
        let mut state = self.state();
        state.counts.clear();
        state.seen.clear();
        state.told = plan.is_some().then_some(told);
        state.plan = plan;
        state.then.clear();
        hit
    }

    /// After what is armed was met, these are done to the next requests to vendors, such as those that ask what became of it.
    pub fn then(&self, deeds: impl IntoIterator<Item = Deed>) {
        self.state().then.extend(deeds);
    }

    /// From now on, things happen at random; `None`: no more.
    pub fn tempt(&self, chance: Option<Chance>) {
        let mut state = self.state();
        state.counts.clear();
        state.chance = chance;
    }

    /// From now on, these are done to requests to the API server: to the first of each label, and to a quarter of the others, always
    /// the same ones.
    pub fn adopt(&self, habits: Vec<Habit>) {
        self.state().habits = habits;
    }

    /// What the API server shows of the past; `None`: it is up to date, and tells what it held back.
    pub fn show(&self, past: Option<Past>) {
        self.past.send_replace(past.map(Arc::new));
    }

    /// What the API server shows of the past, now and from now on.
    pub fn past(&self) -> watch::Receiver<Option<Arc<Past>>> {
        self.past.subscribe()
    }

    /// Vendors' answers to requests of this label do not arrive for as long as that is so; `None`: they do.
    pub fn keep_back(&self, label: Option<&'static str>) {
        self.kept_back.send_replace(label);
    }

    /// Returns when an answer to such a request may arrive.
    pub async fn until_answered(&self, label: &str) {
        let _ = self.kept_back.subscribe().wait_for(|kept_back| *kept_back != Some(label)).await;
    }

    /// Ends all watches that there are.
    pub fn cut_watches(&self, how: Cut) {
        self.cuts.send_replace(Some(how));
    }

    /// Told of each cut from now on.
    pub fn cuts(&self) -> watch::Receiver<Option<Cut>> {
        self.cuts.subscribe()
    }

    /// What was done to which requests.
    pub fn hits(&self) -> Vec<(Point, Deed)> {
        self.state().hits.clone()
    }

    /// The API server cannot be reached, as when it or its etcd is restarted: no request gets there, and all watches end; or it
    /// is back.
    pub fn lose_api_server(&self, lost: bool) {
        self.state().lost = lost;
        if lost {
            self.cut_watches(Cut::Gone);
        }
    }

    /// From now on, no request gets anywhere: whoever makes one is about to be killed.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// From now on, requests pass again.
    pub fn open(&self) {
        let mut state = self.state();
        state.held = false;
        state.busy = Instant::now();
    }

    /// The requests since the gate was armed.
    pub fn seen(&self) -> Vec<(To, Point)> {
        self.state().seen.clone()
    }

    /// How long ago the last request passed that was about work: watches come by themselves.
    pub fn idle(&self) -> Duration {
        self.state().busy.elapsed()
    }

    /// A request has arrived.
    pub fn arrive(&self, to: To, label: &str) -> Verdict {
        let mut state = self.state();
        if state.held {
            return Verdict::Held;
        }
        if state.lost && to == To::ApiServer {
            return Verdict::Hit(Deed::NotSent);
        }
        let count = state.counts.entry(label.to_owned()).or_default();
        *count += 1;
        let point = Point { label: label.to_owned(), nth: *count };
        state.seen.push((to, point.clone()));
        if !comes_by_itself(label) {
            state.busy = Instant::now();
        }
        if state.plan.as_ref().is_some_and(|(planned, _)| *planned == point)
            && let Some((_, deed)) = state.plan.take()
        {
            state.hits.push((point, deed));
            state.held |= deed == Deed::KillBefore;
            if !deed.is_forwarded() {
                state.told.take().map(|told| told.send(()));
            }
            return Verdict::Hit(deed);
        }
        if to == To::Vendor
            && state.plan.is_none()
            && let Some(deed) = state.then.pop_front()
        {
            state.hits.push((point, deed));
            return Verdict::Hit(deed);
        }
        let habit = state.habits.iter().find(|(_, is_meant)| is_meant(label)).map(|(deed, _)| *deed);
        if let Some(deed) = habit
            && to == To::ApiServer
            && (point.nth == 1 || hash(0, 0, &point).is_multiple_of(4))
        {
            state.hits.push((point, deed));
            return Verdict::Hit(deed);
        }
        let chosen = state.chance.as_ref().and_then(|chance| chance.choose(to, &point));
        if let Some(deed) = chosen
            && let Some(chance) = &mut state.chance
        {
            chance.most -= 1;
            state.hits.push((point, deed));
            return Verdict::Hit(deed);
        }
        Verdict::Pass
    }

    /// A request that is hit has taken its effect.
    pub fn took_effect(&self, deed: Deed) {
        let mut state = self.state();
        // Where nobody waits for it any more, nobody kills for it.
        if deed == Deed::KillAfter && state.told.is_some() {
            state.held = true;
        }
        state.told.take().map(|told| told.send(()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chance {
    fn choose(&self, to: To, point: &Point) -> Option<Deed> {
        if self.most == 0 || comes_by_itself(&point.label) {
            return None;
        }
        let hash = |salt| hash(self.seed, salt, point);
        let deeds = match to {
            To::ApiServer => &self.api_server,
            To::Vendor => &self.vendor,
        };
        if hash(1) % self.one_in != 0 || deeds.is_empty() {
            return None;
        }
        let deed = deeds[usize::try_from(hash(2)).unwrap_or_default() % deeds.len()];
        (deed != Deed::Twice || !self.unrepeatable.contains(&&*point.label)).then_some(deed)
    }
}

fn hash(seed: u64, salt: u64, point: &Point) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, salt, point).hash(&mut hasher);
    hasher.finish()
}

/// Whether an operator makes such a request from time to time, whatever there is to do.
pub fn comes_by_itself(label: &str) -> bool {
    label.starts_with("WATCH ") || label == "GET customresourcedefinitions"
}

/// What was not met before, in its order.
pub fn distinct<T: Clone + Eq + Hash>(points: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut met = HashSet::new();
    points.into_iter().filter(|point| met.insert(point.clone())).collect()
}
