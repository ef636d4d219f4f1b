//! Keeps the calls that are made with one key within the vendor's limits and uses those to the full: for each region and action
//! what the vendor takes, and a queue of those who wait; and keeps everybody from waiting, one after the other, for a vendor
//! that does not answer.

mod gate;
mod window;

use super::{
    accounts::AccountKey,
    lock, pace,
    queue::FairQueue,
    urgency::{self, URGENCIES, Urgency},
};
use crate::{
    account::ActionLimit,
    panics,
    wire::{CallError, Class, Effect},
};
use gate::Gate;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep_until, timeout},
};
use window::Window;

/// How many requests that create something one key may have under way at once.
const CREATING: usize = 8;
/// How many more may have their intents stored meanwhile, so that none at the vendor waits for the API server.
const AHEAD: usize = 24;
/// And how many others, by their urgency. A creating call may need some of these itself, so they never wait for creating ones.
const OTHERS: [usize; URGENCIES] = [16, 16, 12, 8];
/// Which share of a limit they may use, so that what can wait leaves some for what cannot.
const SHARES: [f64; URGENCIES] = [1.0, 1.0, 0.9, 0.5];
/// How many calls in a row must have had no answer before the next ones are not made.
const UNANSWERED: u32 = 3;
/// How many actions in how many regions are told apart: regions are free text.
const BUCKETS: usize = 512;
/// Stands for regions beyond those that are counted by themselves; no region has such a name.
const OTHER_REGIONS: &str = "*";

/// A limit that a vendor publishes: action, requests, period.
pub type Published = (&'static str, u32, Duration);

/// A region and an action.
type Key = (String, String);

/// The limits of one key. They outlive it where an account's key is changed for another.
#[derive(Debug)]
pub struct Limits {
    published: &'static [Published],
    state: Mutex<State>,
    /// Of each region, whatever the action.
    silence: Mutex<HashMap<String, Silence>>,
    creating: Arc<Semaphore>,
    accepted: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// What the accounts that share the key say.
    own: HashMap<AccountKey, Vec<ActionLimit>>,
    buckets: HashMap<Key, Bucket>,
    /// Those in whose queues somebody waits.
    waiting: HashSet<Key>,
    preparing: usize,
    others: [usize; URGENCIES],
    /// How many processes use the key, if this is not the only one.
    sharers: Option<u32>,
    /// When somebody looks whether there is room, if nothing happens before.
    alarm: Option<Instant>,
    served: u64,
}

/// One action in one region.
#[derive(Debug)]
struct Bucket {
    window: Window,
    gate: Gate,
    queue: FairQueue<Waiter>,
    silence: Silence,
    used: Instant,
    /// Which of all permits it got last: buckets take turns.
    turn: u64,
}

/// Somebody who waits for a permit.
#[derive(Debug)]
struct Waiter {
    place: Place,
    reply: oneshot::Sender<RatePermit>,
}

/// What a call takes up while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A creating call, from before its intent is stored.
    Preparing,
    Other(Urgency),
}

/// How a vendor has kept silent. While it does, one call after the other finds out whether it still does, and all others fail
/// at once with what the last one came to.
#[derive(Clone, Debug, Default)]
struct Silence {
    /// Calls in a row that had no answer.
    unanswered: u32,
    /// What the last of them came to, and when the next one is made.
    last: Option<(String, Instant)>,
}

/// The right to make one call, returned by dropping it.
#[derive(Debug)]
pub struct RatePermit {
    limits: Arc<Limits>,
    key: Key,
    place: Place,
    began: Instant,
    /// Whether the vendor may have counted it, unless it is said how it went.
    made: bool,
    reported: bool,
}

/// How much one action may be used, and is.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// The action.
    pub action: String,
    /// How much of what is allowed is used up, where 1 is all of it; `None`: nobody knows how much is allowed.
    pub used: Option<f64>,
    /// How many calls may be made in a second.
    pub rate: Option<f64>,
}

impl Limits {
    /// `published` are those of the vendor.
    pub fn new(published: &'static [Published]) -> Self {
        Self {
            published,
            state: Mutex::default(),
            silence: Mutex::default(),
            creating: Arc::new(Semaphore::new(CREATING)),
            accepted: AtomicBool::new(false),
        }
    }

    /// What an account that uses the key says in its `limits`, which wins over what is published. Of several accounts', the
    /// strictest counts.
    pub fn set_own(&self, account: &AccountKey, own: &[ActionLimit]) {
        let mut state = self.state();
        if state.own.get(account).map_or(&[][..], |before| before) == own {
            return;
        }
        state.own.insert(account.clone(), own.to_vec());
        self.apply(&mut state);
    }

    /// So many processes use the key: each has its part of what is published, or what accounts say.
    pub fn share(&self, sharers: u32) {
        let mut state = self.state();
        if state.sharers.replace(sharers) != Some(sharers) {
            self.apply(&mut state);
        }
    }

    /// Whether the vendor has ever done what was asked for with the key.
    pub fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// It has another key now.
    pub fn expect_acceptance(&self) {
        self.accepted.store(false, Ordering::Relaxed);
    }

    /// The account does not use the key any more.
    pub fn forget(&self, account: &AccountKey) {
        let mut state = self.state();
        if state.own.remove(account).is_some_and(|own| !own.is_empty()) {
            self.apply(&mut state);
        }
    }

    fn apply(&self, state: &mut State) {
        let State { own, buckets, sharers, .. } = state;
        for ((_, action), bucket) in buckets {
            bucket.window.set_limit(part(limit(own, self.published, action), *sharers));
        }
    }

    /// Waits for a permit, as urgently as this task's work is. Creating calls take theirs before the intent is stored, so that
    /// "asked, no answer" stays short, and then one of the places at the vendor, see [`RatePermit::in_flight`].
    pub async fn acquire(
        self: &Arc<Self>,
        region: &str,
        action: &str,
        effect: Effect,
    ) -> Result<RatePermit, CallError> {
        self.is_answered(region, action, false)?;
        let errand = urgency::current();
        let creates = effect == Effect::Create;
        let place = if creates { Place::Preparing } else { Place::Other(errand.urgency) };
        let (reply, permit) = oneshot::channel();
        let narrow = {
            let mut state = self.state();
            let key = self.bucket(&mut state, region, action);
            let State { buckets, waiting, .. } = &mut *state;
            if let Some(bucket) = buckets.get_mut(&key) {
                bucket.queue.push(&errand, Waiter { place, reply });
                waiting.insert(key.clone());
            }
            move |limits: &Self| {
                limits.state().buckets.get(&key).is_some_and(|bucket| bucket.gate.is_narrow())
            }
        };
        self.serve();
        let (patience, since) =
            (if creates { pace::CREATE_PERMIT_WAIT } else { pace::ADMISSION }, Instant::now());
        // A process that was stopped meanwhile finds it there, however late, when what was asked before the call is not true any
        // more.
        if let Ok(Ok(mut permit)) = timeout(patience, permit).await
            && since.elapsed() <= patience
        {
            // Those before may have found out meanwhile.
            self.is_answered(region, action, true)?;
            permit.made = !creates;
            return Ok(permit);
        }
        let refused = narrow(self);
        let why = if refused {
            "the vendor refused the last calls of this account, one after the other, so they are made one at a time until it takes one"
        } else {
            "the account's limit for it is used up for now"
        };
        Err(CallError::RateLimited { why: format!("{action} waits for the rate limit: {why}"), refused })
    }

    /// Gives permits to all who wait and for whom there is room: the most urgent first.
    fn serve(self: &Arc<Self>) {
        let mut unwanted = vec![];
        let mut state = self.state();
        let now = Instant::now();
        let mut alarm: Option<Instant> = None;
        let mut order: Vec<_> = state.waiting.iter().cloned().collect();
        order.sort_by_key(|key| state.buckets.get(key).map_or(0, |bucket| bucket.turn));
        for urgency in Urgency::ALL {
            for key in &order {
                let State { buckets, preparing, others, served, .. } = &mut *state;
                let Some(bucket) = buckets.get_mut(key) else { continue };
                while let Some(Waiter { place, reply }) = bucket.queue.peek(urgency) {
                    if reply.is_closed() {
                        bucket.queue.pop(urgency);
                        continue;
                    }
                    let place = *place;
                    if !place.is_free(*preparing, others) {
                        break;
                    }
                    if let Err(again) = bucket.admits(now, SHARES[urgency.rank()]) {
                        alarm = again.into_iter().chain(alarm).min();
                        break;
                    }
                    let Some(Waiter { reply, .. }) = bucket.queue.pop(urgency) else { break };
                    bucket.window.begin();
                    bucket.gate.pass(now);
                    (bucket.turn, bucket.used) = (*served, now);
                    *served += 1;
                    place.take(preparing, others);
                    let permit = RatePermit {
                        limits: self.clone(),
                        key: key.clone(),
                        place,
                        began: now,
                        made: false,
                        reported: false,
                    };
                    // Who has gone meanwhile takes none.
                    unwanted.extend(reply.send(permit).err());
                }
            }
        }
        let State { buckets, waiting, .. } = &mut *state;
        waiting.retain(|key| buckets.get(key).is_some_and(|bucket| !bucket.queue.is_empty()));
        self.set_alarm(&mut state, alarm);
        drop(state);
        // Giving one back takes the lock.
        drop(unwanted);
    }

    fn set_alarm(self: &Arc<Self>, state: &mut State, alarm: Option<Instant>) {
        let Some(at) = alarm.filter(|at| state.alarm.is_none_or(|before| *at < before)) else { return };
        // Without a runtime the program is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        state.alarm = Some(at);
        let limits = Arc::downgrade(self);
        runtime.spawn(panics::alone(async move {
            sleep_until(at).await;
            let Some(limits) = limits.upgrade() else { return };
            {
                let mut state = limits.state();
                if state.alarm == Some(at) {
                    state.alarm = None;
                }
            }
            limits.serve();
        }));
    }

    /// How much of each action's limit there is, and is used up: in the region where that is most.
    pub fn budgets(&self) -> Vec<Budget> {
        let now = Instant::now();
        let mut budgets = HashMap::<String, Budget>::new();
        for ((_, action), bucket) in &mut self.state().buckets {
            let used = bucket.window.used(now);
            let rate = bucket.window.allowed(now).map(|(calls, period)| calls / period.as_secs_f64());
            let budget = Budget { action: action.clone(), used, rate };
            let most = budgets.entry(action.clone()).or_insert_with(|| budget.clone());
            if used > most.used {
                *most = budget;
            }
        }
        budgets.into_values().collect()
    }

    /// Fails at once while the vendor keeps silent, unless this call is the one that finds out whether it still does.
    fn is_answered(&self, region: &str, action: &str, goes: bool) -> Result<(), CallError> {
        let of_region = |regions: &mut HashMap<String, Silence>| {
            regions.get_mut(region).map_or(Ok(()), |silence| silence.pass(goes))
        };
        let of_action = || {
            let mut state = self.state();
            let key = self.bucket(&mut state, region, action);
            state.buckets.get_mut(&key).map_or(Ok(()), |bucket| bucket.silence.pass(goes))
        };
        of_region(&mut lock(&self.silence)).and_then(|()| of_action()).map_err(|why| {
            CallError::NotSent(format!(
                "the vendor did not answer the last calls ({why}), so this one waits; it is tried again every few seconds"
            ))
        })
    }

    /// Tells whether a call had an answer, whatever the answer was; `Err`: why not.
    pub fn heard(&self, region: &str, action: &str, answered: Result<(), &str>) {
        {
            let mut state = self.state();
            let key = self.bucket(&mut state, region, action);
            if let Some(bucket) = state.buckets.get_mut(&key) {
                bucket.silence.hear(answered);
            }
        }
        let mut regions = lock(&self.silence);
        match answered {
            Ok(()) => {
                regions.remove(region);
            }
            Err(_) if regions.len() < BUCKETS || regions.contains_key(region) => {
                regions.entry(region.to_owned()).or_default().hear(answered);
            }
            Err(_) => {}
        }
    }

    /// Makes the bucket of a region and an action, and gives its key.
    fn bucket(&self, state: &mut State, region: &str, action: &str) -> Key {
        let now = Instant::now();
        let State { own, buckets, sharers, .. } = state;
        let mut key = (region.to_owned(), action.to_owned());
        if !buckets.contains_key(&key) && buckets.len() >= BUCKETS {
            // Whoever remembers nothing that counts is not missed.
            buckets.retain(|_, bucket| !bucket.is_idle(now));
            // Where that does not help, regions beyond those share what one may have.
            if buckets.len() >= BUCKETS {
                key.0 = OTHER_REGIONS.into();
            }
        }
        let bucket = buckets.entry(key.clone()).or_insert_with(|| Bucket {
            window: Window::new(part(limit(own, self.published, action), *sharers)),
            gate: Gate::new(now),
            queue: FairQueue::default(),
            silence: Silence::default(),
            used: now,
            turn: 0,
        });
        bucket.used = now;
        key
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limit of an action: the strictest that an account sets, else what the vendor publishes.
fn limit(
    own: &HashMap<AccountKey, Vec<ActionLimit>>,
    published: &[Published],
    action: &str,
) -> Option<(u32, Duration)> {
    let rate = |limit: &(u32, Duration)| f64::from(limit.0) / limit.1.as_secs_f64().max(0.001);
    let own = own.values().flatten().filter(|limit| limit.action == action);
    let own = own.map(|limit| (limit.requests, Duration::from(limit.period)));
    let published = || published.iter().find(|limit| limit.0 == action).map(|limit| (limit.1, limit.2));
    own.min_by(|one, other| rate(one).total_cmp(&rate(other))).or_else(published)
}

/// What one of several has of a limit, so that together they keep it.
fn part(limit: Option<(u32, Duration)>, sharers: Option<u32>) -> Option<(u32, Duration)> {
    let sharers = sharers.unwrap_or(1).max(1);
    limit.map(|(requests, period)| match requests / sharers {
        0 => (1, period * sharers / requests.max(1)),
        part => (part, period),
    })
}

impl Silence {
    fn pass(&mut self, goes: bool) -> Result<(), String> {
        let Some((why, opens)) = self.last.as_mut().filter(|_| self.unanswered >= UNANSWERED) else {
            return Ok(());
        };
        if Instant::now() < *opens {
            return Err(why.clone());
        }
        if goes {
            // Should nobody hear what becomes of this one, another one goes.
            *opens = Instant::now() + pace::REQUEST_TIMEOUT + pace::SILENCE;
        }
        Ok(())
    }

    fn hear(&mut self, answered: Result<(), &str>) {
        match answered {
            Ok(()) => *self = Self::default(),
            Err(why) => {
                self.unanswered = self.unanswered.saturating_add(1);
                self.last = Some((why.to_owned(), Instant::now() + pace::SILENCE));
            }
        }
    }
}

impl Place {
    fn is_free(self, preparing: usize, others: &[usize; URGENCIES]) -> bool {
        match self {
            Self::Preparing => preparing < CREATING + AHEAD,
            Self::Other(urgency) => {
                others[urgency.rank()] < OTHERS[urgency.rank()]
                    && others.iter().sum::<usize>() < OTHERS[Urgency::Changed.rank()]
            }
        }
    }

    fn take(self, preparing: &mut usize, others: &mut [usize; URGENCIES]) {
        match self {
            Self::Preparing => *preparing += 1,
            Self::Other(urgency) => others[urgency.rank()] += 1,
        }
    }

    fn give_back(self, preparing: &mut usize, others: &mut [usize; URGENCIES]) {
        match self {
            Self::Preparing => *preparing -= 1,
            Self::Other(urgency) => others[urgency.rank()] -= 1,
        }
    }
}

impl Bucket {
    /// Whether a call may be begun that may use this share of the limit; else when it is worth asking again, if that can be told.
    fn admits(&mut self, now: Instant, share: f64) -> Result<(), Option<Instant>> {
        if let Some(opens) = self.gate.closed_until(now) {
            return Err(Some(opens));
        }
        self.window.room(now, share)
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.queue.is_empty()
            && self.window.is_idle(now)
            && self.gate.closed_until(now).is_none()
            && now.saturating_duration_since(self.used) >= pace::PAUSE
    }
}

impl RatePermit {
    /// Waits for a place among the calls that are under way at the vendor, which ends when it is dropped. Who was overtaken by
    /// a throttle waits until calls go through again.
    pub async fn in_flight(&mut self) -> Option<OwnedSemaphorePermit> {
        let limits = self.limits.clone();
        loop {
            // It is never closed.
            let place = limits.creating.clone().acquire_owned().await.ok()?;
            let opens = self.overtaken(&mut limits.state());
            let Some(opens) = opens else {
                self.made = true;
                return Some(place);
            };
            drop(place);
            sleep_until(opens).await;
        }
    }

    /// Until when it waits, if it was overtaken by a throttle; who does not wait any more goes.
    fn overtaken(&mut self, state: &mut State) -> Option<Instant> {
        let now = Instant::now();
        let gate = state.buckets.get_mut(&self.key).map(|bucket| &mut bucket.gate);
        let gate = gate.filter(|gate| gate.has_struck_since(self.began))?;
        let closed = gate.closed_until(now);
        if closed.is_none() {
            gate.pass(now);
            self.began = now;
        }
        closed
    }

    /// Tells how the call went.
    pub fn report<T>(&mut self, answer: &Result<T, CallError>) {
        if answer.is_ok() {
            self.limits.accepted.store(true, Ordering::Relaxed);
        }
        let mut state = self.limits.state();
        let now = Instant::now();
        let Some(bucket) = state.buckets.get_mut(&self.key) else { return };
        bucket.gate.learn(now, self.began, answer);
        match answer {
            Err(CallError::Refused(refusal)) if refusal.class == Class::Throttled => {
                bucket.window.throttled(now, self.began);
                bucket.window.answered(now, false);
            }
            // The vendor cannot have counted it.
            Err(CallError::NotSent(_) | CallError::RateLimited { .. }) => bucket.window.not_made(),
            _ => bucket.window.answered(now, true),
        }
        self.reported = true;
    }
}

impl Drop for RatePermit {
    fn drop(&mut self) {
        {
            let mut state = self.limits.state();
            let State { buckets, preparing, others, .. } = &mut *state;
            self.place.give_back(preparing, others);
            // Nobody said how it went.
            if let Some(bucket) = buckets.get_mut(&self.key).filter(|_| !self.reported) {
                if self.made {
                    bucket.window.answered(Instant::now(), true);
                } else {
                    bucket.window.not_made();
                }
            }
        }
        self.limits.serve();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{
            status::{Detail, Outlook, Telling},
            urgency::Errand,
        },
        image::AccountKind,
        period::Period,
        wire::Refusal,
    };
    use futures::StreamExt as _;
    use tokio::time::sleep;

    const PUBLISHED: &[Published] = &[("Create", 1000, Duration::from_secs(60))];

    fn throttle(retry_after: Option<Duration>) -> Result<(), CallError> {
        let Err(CallError::Refused(refused)) = refusal(Class::Throttled) else { unreachable!() };
        Err(CallError::Refused(Refusal { retry_after, ..refused }))
    }

    fn refusal(class: Class) -> Result<(), CallError> {
        Err(CallError::Refused(Refusal {
            action: "Create".into(),
            status: 400,
            code: "Throttling".into(),
            message: String::new(),
            request_id: String::new(),
            class,
            hint: "",
            retry_after: None,
        }))
    }

    fn account(namespace: &str) -> AccountKey {
        AccountKey { kind: AccountKind::CloudAccount, namespace: Some(namespace.into()), name: "a".into() }
    }

    #[test]
    fn an_accounts_limit_wins_over_the_published_one_and_the_strictest_of_several_over_all() {
        let limits = Limits::new(PUBLISHED);
        let own =
            |requests| vec![ActionLimit { action: "Create".into(), requests, period: Period::from_secs(1) }];
        let allowed = |action: &str| {
            let mut state = limits.state();
            let key = limits.bucket(&mut state, "r", action);
            state.buckets.get_mut(&key).unwrap().window.allowed(Instant::now())
        };
        assert_eq!(allowed("Other"), None, "nothing is invented");
        assert_eq!(allowed("Create"), Some((1000.0, Duration::from_secs(60))));
        limits.set_own(&account("one"), &own(50));
        assert_eq!(allowed("Create"), Some((50.0, Duration::from_secs(1))));
        limits.set_own(&account("two"), &own(5));
        assert_eq!(allowed("Create"), Some((5.0, Duration::from_secs(1))));
        limits.forget(&account("two"));
        assert_eq!(allowed("Create"), Some((50.0, Duration::from_secs(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_of_a_limit_is_that_of_its_last_period() {
        const HUNDRED: &[Published] = &[("Create", 100, Duration::from_secs(60))];
        let limits = Arc::new(Limits::new(HUNDRED));
        assert_eq!(limits.budgets(), []);
        for _ in 0..5 {
            drop(limits.acquire("r", "Create", Effect::Change).await.unwrap());
        }
        drop(limits.acquire("other", "Create", Effect::Change).await.unwrap());
        let budget = || {
            let [Budget { used, rate, .. }] = &*limits.budgets() else { panic!("one action") };
            (used.unwrap(), rate.unwrap())
        };
        assert_eq!(budget(), (0.05, 100.0 / 60.0));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(budget(), (0.05, 100.0 / 60.0));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(budget(), (0.0, 100.0 / 60.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_closes_the_gate_for_everybody_and_a_success_opens_it() {
        let limits = Arc::new(Limits::new(PUBLISHED));
        let start = Instant::now();
        limits.acquire("r", "Create", Effect::Create).await.unwrap().report(&throttle(None));
        let mut probe = limits.acquire("r", "Create", Effect::Create).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
        let second = Instant::now();
        drop(limits.acquire("r", "Create", Effect::Create).await.unwrap());
        assert!(second.elapsed() >= Duration::from_secs(1), "one probe a second");
        drop(limits.acquire("other-region", "Create", Effect::Create).await.unwrap());
        probe.report(&Ok(()));
        let third = Instant::now();
        drop(limits.acquire("r", "Create", Effect::Create).await.unwrap());
        drop(limits.acquire("r", "Create", Effect::Create).await.unwrap());
        assert!(third.elapsed() <= Duration::from_secs(1));
    }
    #[tokio::test(start_paused = true)]
    async fn who_gets_no_permit_in_time_was_throttled_by_ourselves() {
        let limits = Arc::new(Limits::new(PUBLISHED));
        let closing = throttle(Some(pace::ADMISSION * 2));
        limits.acquire("r", "Create", Effect::Create).await.unwrap().report(&closing);
        let mut errors = vec![closing.unwrap_err()];
        for (effect, patience) in
            [(Effect::Create, pace::CREATE_PERMIT_WAIT), (Effect::Change, pace::ADMISSION)]
        {
            let start = Instant::now();
            let error = limits.acquire("r", "Create", effect).await.unwrap_err();
            assert_eq!((start.elapsed(), error.reason()), (patience, "Throttled"));
            errors.push(error);
        }
        for error in errors {
            let detail = Detail::from(&error);
            assert_eq!((detail.event, detail.outlook), (Telling::None, Outlook::GoesOn), "{detail:?}");
        }
        assert_eq!(Detail::from(&CallError::NotSent(String::new())).event, Telling::Warning);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_asleep_while_waiting_is_given_no_old_permit() {
        const ONE: &[Published] = &[("Delete", 1, Duration::from_secs(20))];
        let limits = Arc::new(Limits::new(ONE));
        drop(limits.acquire("r", "Delete", Effect::Change).await.unwrap());
        let waiting = {
            let limits = limits.clone();
            tokio::spawn(async move { limits.acquire("r", "Delete", Effect::Change).await.map(drop) })
        };
        tokio::task::yield_now().await;
        tokio::time::advance(pace::ADMISSION + Duration::from_secs(1)).await;
        let error = waiting.await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::RateLimited { .. }), "{error:?}");
        let start = Instant::now();
        drop(limits.acquire("r", "Delete", Effect::Change).await.unwrap());
        assert_eq!(start.elapsed(), Duration::ZERO, "what nobody took is there for the next one");
    }

    #[tokio::test(start_paused = true)]
    async fn intents_are_stored_a_little_ahead_of_the_calls() {
        let limits = Arc::new(Limits::new(PUBLISHED));
        let mut ahead = vec![];
        while let Ok(permit) = limits.acquire("r", "Create", Effect::Create).await {
            ahead.push(permit);
        }
        assert_eq!(ahead.len(), CREATING + AHEAD);
        let mut under_way = vec![];
        for permit in &mut ahead {
            if let Ok(place) = timeout(Duration::from_secs(1), permit.in_flight()).await {
                under_way.push(place.unwrap());
            }
        }
        assert_eq!(under_way.len(), CREATING);
        under_way.pop();
        assert!(ahead[CREATING].in_flight().await.is_some(), "the next one goes");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_after_calls_without_an_answer_does_not_wait_for_another() {
        let limits = Arc::new(Limits::new(PUBLISHED));
        let ask = async |action: &str| limits.acquire("r", action, Effect::Read).await.map(drop);
        for _ in 0..UNANSWERED {
            assert_eq!(ask("Query").await, Ok(()));
            limits.heard("r", "Query", Err("operation timed out"));
        }
        let start = Instant::now();
        for action in ["Query", "Delete"] {
            for _ in 0..1000 {
                let error = ask(action).await.unwrap_err();
                assert!(matches!(&error, CallError::NotSent(why) if why.contains("operation timed out")));
            }
        }
        assert_eq!(limits.acquire("other", "Query", Effect::Read).await.map(drop), Ok(()), "another region");
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::time::advance(pace::SILENCE).await;
        assert_eq!(ask("Query").await, Ok(()), "one finds out");
        assert!(ask("Query").await.is_err(), "and the others do not wait for it");
        limits.heard("r", "Query", Err("operation timed out"));
        assert!(ask("Query").await.is_err());
        tokio::time::advance(pace::SILENCE).await;
        assert_eq!(ask("Delete").await, Ok(()));
        limits.heard("r", "Delete", Ok(()));
        tokio::time::advance(pace::REQUEST_TIMEOUT).await;
        assert_eq!(ask("Query").await, Ok(()));
        limits.heard("r", "Query", Ok(()));
        for _ in 0..3 {
            assert_eq!(ask("Query").await, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_action_may_keep_silent_alone() {
        let limits = Arc::new(Limits::new(PUBLISHED));
        for _ in 0..5 {
            limits.heard("r", "Query", Err("timeout"));
            limits.heard("r", "Delete", Ok(()));
        }
        assert!(limits.acquire("r", "Query", Effect::Read).await.is_err());
        assert!(limits.acquire("r", "Delete", Effect::Read).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn regions_that_users_make_up_do_not_fill_the_memory() {
        let limits = Arc::new(Limits::new(PUBLISHED));
        for number in 0..BUCKETS * 4 {
            let _ = limits.bucket(&mut limits.state(), &format!("r-{number}"), "Create");
            limits.heard(&format!("r-{number}"), "Create", Err("timeout"));
        }
        assert!(limits.state().buckets.len() <= BUCKETS + 1 && lock(&limits.silence).len() <= BUCKETS);
        tokio::time::advance(pace::PAUSE).await;
        let _ = limits.bucket(&mut limits.state(), "late", "Create");
        assert_eq!(limits.state().buckets.len(), 1, "what was not used for long is forgotten");
    }

    /// A vendor that counts by whole minutes of its clock, as Alibaba Cloud describes it, throttled calls as well.
    struct Vendor {
        limit: u32,
        /// When a minute of its began.
        began: Instant,
        minute: u64,
        counted: u32,
        calls: u32,
        throttled: u32,
    }

    impl Vendor {
        fn new(limit: u32, into: Duration) -> Arc<Mutex<Self>> {
            let began = Instant::now().checked_sub(into).unwrap();
            Arc::new(Mutex::new(Self { limit, began, minute: 0, counted: 0, calls: 0, throttled: 0 }))
        }

        fn admits(&mut self) -> bool {
            let minute = self.began.elapsed().as_secs() / 60;
            if minute != self.minute {
                (self.minute, self.counted) = (minute, 0);
            }
            self.counted += 1;
            self.counted <= self.limit
        }

        fn call(&mut self) -> Result<(), CallError> {
            let admitted = self.admits();
            self.calls += 1;
            self.throttled += u32::from(!admitted);
            if admitted { Ok(()) } else { throttle(None) }
        }
    }

    /// Makes so many things, as the engine does: a permit, the intent, the call; who gets no permit or is throttled comes again.
    async fn make(limits: &Arc<Limits>, vendor: &Arc<Mutex<Vendor>>, count: u32) {
        let one = |number: u64| async move {
            let latency = Duration::from_millis(20 + number % 7 * 10);
            loop {
                let Ok(mut permit) = limits.acquire("r", "Create", Effect::Create).await else {
                    sleep(pace::AGAIN).await;
                    continue;
                };
                sleep(latency / 2).await;
                let Ok(Some(place)) = timeout(pace::PERMIT_AGE, permit.in_flight()).await else {
                    sleep(pace::backoff(1, false)).await;
                    continue;
                };
                sleep(latency / 3).await;
                let answer = lock(vendor).call();
                sleep(latency).await;
                permit.report(&answer);
                drop((place, permit));
                if answer.is_ok() {
                    return;
                }
                sleep(pace::backoff(1, false)).await;
            }
        };
        // As many as have workers.
        futures::stream::iter((0..u64::from(count)).map(one)).buffer_unordered(160).collect::<Vec<_>>().await;
    }

    /// Who may make a thousand calls a minute has made three thousand after two minutes at best.
    #[tokio::test(start_paused = true)]
    async fn three_thousand_are_made_in_the_time_that_the_published_limit_takes_and_none_is_throttled() {
        for into in [0, 1, 30, 59] {
            let (limits, vendor) =
                (Arc::new(Limits::new(PUBLISHED)), Vendor::new(1000, Duration::from_secs(into)));
            let start = Instant::now();
            make(&limits, &vendor, 3000).await;
            let (taken, vendor) = (start.elapsed().as_secs_f64(), lock(&vendor));
            assert_eq!((vendor.calls, vendor.throttled), (3000, 0), "{into} s into a minute");
            // What a thousand calls take, eight at a time, whatever the limit.
            let last = 1000.0 / 8.0 * 0.067;
            assert!(taken <= (120.0 + last) / 0.97, "{taken} s");
        }
    }

    /// Whether the other client spreads its calls or makes them at once.
    #[tokio::test(start_paused = true)]
    async fn beside_a_client_that_takes_half_hardly_a_call_is_throttled_and_the_other_half_is_used() {
        for (calls, every) in [(1, Duration::from_millis(120)), (500, Duration::from_secs(60))] {
            let (limits, vendor) = (Arc::new(Limits::new(PUBLISHED)), Vendor::new(1000, Duration::ZERO));
            let other = vendor.clone();
            let other = tokio::spawn(async move {
                loop {
                    for _ in 0..calls {
                        lock(&other).admits();
                    }
                    sleep(every).await;
                }
            });
            let start = Instant::now();
            make(&limits, &vendor, 6000).await;
            other.abort();
            let (taken, vendor) = (start.elapsed().as_secs_f64(), lock(&vendor));
            println!("{calls}: {taken} s, {} of {} throttled", vendor.throttled, vendor.calls);
            assert!(vendor.throttled * 100 <= vendor.calls, "{} of {}", vendor.throttled, vendor.calls);
            assert!(taken <= 12.0 * 60.0 / 0.75, "{taken} s");
        }
    }

    /// A thousand deletions: nobody publishes how many may be made.
    #[tokio::test(start_paused = true)]
    async fn what_is_not_published_is_paced_by_answers_only() {
        let limits = Arc::new(Limits::new(PUBLISHED));
        let start = Instant::now();
        let delete = |_| async {
            let mut permit = limits.acquire("r", "Delete", Effect::Change).await.unwrap();
            sleep(Duration::from_millis(50)).await;
            permit.report(&Ok(()));
        };
        futures::future::join_all((0..1000).map(delete)).await;
        assert!(start.elapsed() <= Duration::from_secs(4), "{:?}", start.elapsed());
    }

    /// Ten thousand looks that nobody waits for, in front of one thing that is new.
    #[tokio::test(start_paused = true)]
    async fn looks_from_time_to_time_keep_nobody_waiting_and_namespaces_take_turns() {
        const LOOKS: &[Published] = &[("Look", 100, Duration::from_secs(60))];
        for published in [LOOKS, &[]] {
            let limits = Arc::new(Limits::new(published));
            let look = |urgency, namespace: &str| {
                let limits = limits.clone();
                urgency::within(Errand::new(urgency, namespace), async move {
                    let start = Instant::now();
                    let mut permit = limits.acquire("r", "Look", Effect::Read).await.ok()?;
                    let waited = start.elapsed();
                    sleep(Duration::from_millis(300)).await;
                    permit.report(&Ok(()));
                    Some(waited)
                })
            };
            let crowd: Vec<_> = (0..10_000).map(|_| tokio::spawn(look(Urgency::Resync, "crowd"))).collect();
            for _ in 0..10 {
                sleep(Duration::from_secs(2)).await;
                let waited = look(Urgency::Changed, "crowd").await.unwrap();
                assert!(waited <= Duration::from_secs(1), "{waited:?}");
            }
            let mut many: Vec<_> = (0..40).map(|_| tokio::spawn(look(Urgency::Changed, "crowd"))).collect();
            tokio::task::yield_now().await;
            let waited = look(Urgency::Changed, "other").await.unwrap();
            assert!(waited <= Duration::from_secs(1), "{waited:?}");
            many.extend(crowd);
            many.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }

    /// A thousand objects whose calls are all refused.
    #[tokio::test(start_paused = true)]
    async fn refusals_one_after_the_other_make_calls_few_and_a_success_makes_them_many_again() {
        for (class, most) in [(Class::Invalid, 0.6), (Class::Quota, 0.05)] {
            let limits = Arc::new(Limits::new(PUBLISHED));
            let calls = Arc::new(Mutex::new(0));
            let (to, counted) = (limits.clone(), calls.clone());
            let ask = move |ok: bool| {
                let (limits, calls) = (to.clone(), counted.clone());
                async move {
                    let mut permit = limits.acquire("r", "Create", Effect::Create).await?;
                    let place = permit.in_flight().await;
                    *lock(&calls) += 1;
                    sleep(Duration::from_millis(50)).await;
                    permit.report(&if ok { Ok(()) } else { refusal(class) });
                    drop(place);
                    Ok::<_, CallError>(())
                }
            };
            let objects: Vec<_> = (0..1000)
                .map(|_| {
                    let ask = ask.clone();
                    tokio::spawn(async move {
                        loop {
                            if let Err(error) = ask(false).await {
                                assert!(error.to_string().contains("one at a time"), "{error}");
                            }
                            sleep(Duration::from_secs(15)).await;
                        }
                    })
                })
                .collect();
            sleep(Duration::from_secs(120)).await;
            let before = *lock(&calls);
            assert!(before <= 20 + CREATING + AHEAD + 120, "{before}");
            sleep(Duration::from_secs(600)).await;
            let rate = f64::from(u32::try_from(*lock(&calls) - before).unwrap()) / 600.0;
            assert!(rate <= most, "{class:?}: {rate} calls a second");
            objects.iter().for_each(tokio::task::JoinHandle::abort);
            while ask(true).await.is_err() {}
            let start = Instant::now();
            for _ in 0..10 {
                ask(true).await.unwrap();
            }
            assert!(start.elapsed() <= Duration::from_secs(1));
        }
    }

    #[test]
    fn parts_together_are_no_more_than_the_whole() {
        for (requests, period, sharers) in
            [(1000, 60, 2), (1000, 60, 3), (50, 1, 64), (1, 60, 2), (2, 3600, 5)]
        {
            let limit = Some((requests, Duration::from_secs(period)));
            let whole_period = Duration::from_secs(period).as_secs_f64();
            let (part, of) = part(limit, Some(sharers)).expect("a limit");
            let rate = f64::from(part) / of.as_secs_f64() * f64::from(sharers);
            assert!(part > 0 && rate <= f64::from(requests) / whole_period + 1e-9, "{sharers}");
            assert!(part == 1 || of.as_secs() == period);
        }
        assert_eq!(
            (part(None, Some(2)), part(Some((5, Duration::ZERO)), None)),
            (None, Some((5, Duration::ZERO)))
        );
    }
}
