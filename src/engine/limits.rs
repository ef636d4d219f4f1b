//! Keeps one account below its vendor's limits: for each region and action a quota, and a gate that closes on a throttle; and
//! keeps everybody from waiting, one after the other, for a vendor that does not answer.

use super::{lock, pace};
use crate::{
    account::ActionLimit,
    wire::{CallError, Class, Effect},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};

/// How many requests that create something one account may have under way at once.
const CREATING: usize = 8;
/// How many more may have their intents stored meanwhile, so that none at the vendor waits for the API server.
const AHEAD: usize = 24;
/// And how many others. A creating call may need some of these itself, so they never wait for creating ones.
const OTHERS: usize = 8;
/// How many calls in a row must have had no answer before the next ones are not made.
const UNANSWERED: u32 = 3;
/// How many rate limiters an account has at most: regions are free text.
const BUCKETS: usize = 512;
/// The quota of an action that neither the vendor nor the user says anything about, per minute.
const UNPUBLISHED: u32 = 600;
/// Into how many shares a call of periodic looks is divided: as many as the largest batch has objects.
const SHARES: u32 = 100;
/// Stands for regions beyond those that have rate limiters of their own; no region has such a name.
const OTHER_REGIONS: &str = "*";

/// The limits of one account. They outlive its credentials.
#[derive(Debug)]
pub struct Limits {
    published: &'static [(&'static str, u32, Duration)],
    own: Vec<ActionLimit>,
    buckets: Mutex<HashMap<(String, String), Arc<Bucket>>>,
    /// Of each region, whatever the action.
    silence: Mutex<HashMap<String, Silence>>,
    creating: Arc<Semaphore>,
    preparing: Arc<Semaphore>,
    others: Arc<Semaphore>,
    resync: DefaultDirectRateLimiter,
}

/// The rate limiter of one action in one region.
#[derive(Debug)]
struct Bucket {
    quota: DefaultDirectRateLimiter,
    gate: Mutex<Gate>,
    spent: Mutex<Spent>,
    limit: (u32, Duration),
    silence: Mutex<Silence>,
    used: Mutex<Instant>,
}

/// How many permits were given lately, for people: in this period, and in the one before it.
#[derive(Debug)]
struct Spent {
    since: Instant,
    now: u32,
    before: u32,
}

impl Spent {
    /// The periods that have gone by since then are over.
    fn turn_over(&mut self, period: Duration) {
        let passed = self.since.elapsed().as_nanos() / period.as_nanos().max(1);
        if passed > 0 {
            self.before = if passed == 1 { self.now } else { 0 };
            self.now = 0;
            self.since += period.saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX));
        }
    }
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

/// Closed after a throttle; then opened for one probe at a time, until one gets through.
#[derive(Debug)]
struct Gate {
    strikes: u32,
    opens: Instant,
}

/// The right to make one call, returned by dropping it.
#[derive(Debug)]
pub struct RatePermit {
    bucket: Arc<Bucket>,
    _place: OwnedSemaphorePermit,
    /// Of a creating call, whose place here is only for its preparation.
    creating: Option<Arc<Semaphore>>,
}

impl Limits {
    /// `own` are the account's `limits`, which win over the `published` ones.
    pub fn new(published: &'static [(&'static str, u32, Duration)], own: Vec<ActionLimit>) -> Self {
        Self {
            published,
            own,
            buckets: Mutex::default(),
            silence: Mutex::default(),
            creating: Arc::new(Semaphore::new(CREATING)),
            preparing: Arc::new(Semaphore::new(CREATING + AHEAD)),
            others: Arc::new(Semaphore::new(OTHERS)),
            resync: RateLimiter::direct(quota(UNPUBLISHED / 2 * SHARES, Duration::from_secs(60))),
        }
    }

    /// Waits for a permit. Creating calls take theirs before the intent is stored, so that "asked, no answer" stays short, and
    /// then one of the places at the vendor, see [`RatePermit::in_flight`].
    pub async fn acquire(&self, region: &str, action: &str, effect: Effect) -> Result<RatePermit, CallError> {
        let bucket = self.bucket(region, action);
        self.is_answered(region, &bucket, false)?;
        let creates = effect == Effect::Create;
        let places = if creates { &self.preparing } else { &self.others };
        let wait = async {
            bucket.quota.until_ready().await;
            while let Some(opens) = bucket.closed_until() {
                sleep_until(opens).await;
            }
            places.clone().acquire_owned().await
        };
        let patience = if effect == Effect::Create { pace::CREATE_PERMIT_WAIT } else { pace::ADMISSION };
        match timeout(patience, wait).await {
            Ok(Ok(place)) => {
                // Those before may have found out meanwhile.
                self.is_answered(region, &bucket, true)?;
                bucket.spend();
                let creating = creates.then(|| self.creating.clone());
                Ok(RatePermit { bucket, _place: place, creating })
            }
            Ok(Err(_)) | Err(_) => Err(CallError::RateLimited(format!(
                "{action} waits for the rate limit: the account's limit for it is used up for now"
            ))),
        }
    }

    /// How much of each action's limit is used up, where 1 is all of it: in the region where that is most.
    pub fn used(&self) -> Vec<(String, f64)> {
        let mut used = HashMap::<String, f64>::new();
        for ((_, action), bucket) in &*lock(&self.buckets) {
            let most = used.entry(action.clone()).or_default();
            *most = most.max(bucket.used());
        }
        used.into_iter().collect()
    }

    /// Fails at once while the vendor keeps silent, unless this call is the one that finds out whether it still does.
    fn is_answered(&self, region: &str, bucket: &Bucket, goes: bool) -> Result<(), CallError> {
        let of_region = |regions: &mut HashMap<String, Silence>| {
            regions.get_mut(region).map_or(Ok(()), |silence| silence.pass(goes))
        };
        of_region(&mut lock(&self.silence)).and_then(|()| lock(&bucket.silence).pass(goes)).map_err(|why| {
            CallError::NotSent(format!(
                "the vendor did not answer the last calls ({why}), so this one waits; it is tried again every few seconds"
            ))
        })
    }

    /// Tells whether a call had an answer, whatever the answer was; `Err`: why not.
    pub fn heard(&self, region: &str, action: &str, answered: Result<(), &str>) {
        let bucket = self.bucket(region, action);
        lock(&bucket.silence).hear(answered);
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

    /// The slower queue of periodic looks, so that they never hold up what a user waits for: go now, or ask again after
    /// this long. Looks that share calls, `batch` at most to one, count for so little.
    pub fn resync(&self, batch: usize) -> Result<(), Duration> {
        let shares = SHARES / u32::try_from(batch).unwrap_or(u32::MAX).clamp(1, SHARES);
        let wait = |not_until: governor::NotUntil<_>| {
            not_until.wait_time_from(self.resync.clock().now()) + pace::backoff(4, false)
        };
        match self.resync.check_n(NonZeroU32::new(shares).unwrap_or(NonZeroU32::MIN)) {
            Ok(passed) => passed.map_err(wait),
            // More than the whole quota at once, which no look is.
            Err(_) => Ok(()),
        }
    }

    fn bucket(&self, region: &str, action: &str) -> Arc<Bucket> {
        let mut buckets = lock(&self.buckets);
        let mut key = (region.to_owned(), action.to_owned());
        if !buckets.contains_key(&key) && buckets.len() >= BUCKETS {
            // Whoever was not used for as long as the longest period has forgotten nothing that counts.
            buckets.retain(|_, bucket| {
                Arc::strong_count(bucket) > 1 || lock(&bucket.used).elapsed() < self.longest()
            });
            // Where that does not help, regions beyond those share what one may have.
            if buckets.len() >= BUCKETS {
                key.0 = OTHER_REGIONS.into();
            }
        }
        let bucket = buckets
            .entry(key)
            .or_insert_with(|| {
                let (requests, period) = self.limit(action);
                Arc::new(Bucket {
                    quota: RateLimiter::direct(quota(requests, period)),
                    gate: Mutex::new(Gate { strikes: 0, opens: Instant::now() }),
                    spent: Mutex::new(Spent { since: Instant::now(), now: 0, before: 0 }),
                    limit: (requests, period),
                    silence: Mutex::default(),
                    used: Mutex::new(Instant::now()),
                })
            })
            .clone();
        *lock(&bucket.used) = Instant::now();
        bucket
    }

    fn longest(&self) -> Duration {
        let own = self.own.iter().map(|limit| limit.period.into());
        own.chain(self.published.iter().map(|limit| limit.2)).max().unwrap_or_default().max(pace::PAUSE)
    }

    fn limit(&self, action: &str) -> (u32, Duration) {
        let own = self
            .own
            .iter()
            .find(|limit| limit.action == action)
            .map(|limit| (limit.requests, limit.period.into()));
        let published =
            || self.published.iter().find(|limit| limit.0 == action).map(|limit| (limit.1, limit.2));
        own.or_else(published).unwrap_or((UNPUBLISHED, Duration::from_secs(60)))
    }
}

/// `requests` in any `period`: a tenth as a burst, the rest spread out, so that no window of that length holds more.
fn quota(requests: u32, period: Duration) -> Quota {
    let burst = NonZeroU32::new(requests / 10).unwrap_or(NonZeroU32::MIN);
    let spread = requests.saturating_sub(burst.get()).max(1);
    Quota::with_period(period / spread).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst)
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

impl Bucket {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        lock(&self.gate)
    }

    fn spend(&self) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.turn_over(self.limit.1);
        spent.now += 1;
    }

    /// The permits of the last period, as if those of the one before had been given evenly.
    fn used(&self) -> f64 {
        let (requests, period) = self.limit;
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.turn_over(period);
        let left = 1.0 - (spent.since.elapsed().as_secs_f64() / period.as_secs_f64()).min(1.0);
        (f64::from(spent.before) * left + f64::from(spent.now)) / f64::from(requests.max(1))
    }

    /// `None`: go. While there are strikes, going closes the gate behind oneself for a second (one probe a second).
    fn closed_until(&self) -> Option<Instant> {
        let mut gate = self.gate();
        let now = Instant::now();
        if now < gate.opens {
            return Some(gate.opens);
        }
        if gate.strikes > 0 {
            gate.opens = now + Duration::from_secs(1);
        }
        None
    }
}

impl RatePermit {
    /// Waits for a place among the calls that are under way at the vendor, which ends when it is dropped.
    pub async fn in_flight(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.creating.clone()?.acquire_owned().await.ok()
    }

    /// Tells the gate how the call went.
    pub fn report<T>(&self, answer: &Result<T, CallError>) {
        let mut gate = self.bucket.gate();
        match answer {
            Err(CallError::Refused(refusal)) if refusal.class == Class::Throttled => {
                gate.strikes = (gate.strikes + 1).min(6);
                let pause = refusal.retry_after.unwrap_or(Duration::from_secs(1 << gate.strikes));
                gate.opens = gate.opens.max(Instant::now() + pause.min(pace::PAUSE));
            }
            Ok(_) | Err(CallError::Refused(_) | CallError::Undecidable(_)) => gate.strikes = 0,
            Err(CallError::NotSent(_) | CallError::RateLimited(_) | CallError::Unknown(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::status::{Detail, Outlook, Telling},
        period::Period,
        wire::Refusal,
    };

    const PUBLISHED: &[(&str, u32, Duration)] = &[("Create", 1000, Duration::from_secs(60))];

    fn throttle(retry_after: Option<Duration>) -> Result<(), CallError> {
        Err(CallError::Refused(Refusal {
            action: "Create".into(),
            status: 400,
            code: "Throttling".into(),
            message: String::new(),
            request_id: String::new(),
            class: Class::Throttled,
            hint: "",
            retry_after,
        }))
    }

    #[test]
    fn a_users_limit_wins_over_the_published_one() {
        let own = vec![ActionLimit { action: "Create".into(), requests: 5, period: Period::from_secs(1) }];
        assert_eq!(Limits::new(PUBLISHED, own).limit("Create"), (5, Duration::from_secs(1)));
        assert_eq!(Limits::new(PUBLISHED, vec![]).limit("Create"), (1000, Duration::from_secs(60)));
        assert_eq!(Limits::new(PUBLISHED, vec![]).limit("Other"), (UNPUBLISHED, Duration::from_secs(60)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_of_a_limit_is_that_of_its_last_period() {
        const HUNDRED: &[(&str, u32, Duration)] = &[("Create", 100, Duration::from_secs(60))];
        let limits = Limits::new(HUNDRED, vec![]);
        assert_eq!(limits.used(), []);
        for _ in 0..5 {
            drop(limits.acquire("r", "Create", Effect::Change).await.unwrap());
        }
        drop(limits.acquire("other", "Create", Effect::Change).await.unwrap());
        let used = |expected: f64| {
            let [(action, used)] = &*limits.used() else { panic!("one action") };
            assert!(action == "Create" && (used - expected).abs() < 0.01, "{used} is not {expected}");
        };
        used(0.05);
        tokio::time::advance(Duration::from_secs(60)).await;
        used(0.05);
        tokio::time::advance(Duration::from_secs(30)).await;
        used(0.025);
        tokio::time::advance(Duration::from_secs(30)).await;
        used(0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_closes_the_gate_for_everybody_and_a_success_opens_it() {
        let limits = Limits::new(PUBLISHED, vec![]);
        let start = Instant::now();
        limits.acquire("r", "Create", Effect::Create).await.unwrap().report(&throttle(None));
        let probe = limits.acquire("r", "Create", Effect::Create).await.unwrap();
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
        let limits = Limits::new(PUBLISHED, vec![]);
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
    async fn intents_are_stored_a_little_ahead_of_the_calls() {
        let limits = Limits::new(PUBLISHED, vec![]);
        let mut ahead = vec![];
        while let Ok(permit) = limits.acquire("r", "Create", Effect::Create).await {
            ahead.push(permit);
        }
        assert_eq!(ahead.len(), CREATING + AHEAD);
        let mut under_way = vec![];
        for permit in &ahead {
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
        let limits = Limits::new(PUBLISHED, vec![]);
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
        let limits = Limits::new(PUBLISHED, vec![]);
        for _ in 0..5 {
            limits.heard("r", "Query", Err("timeout"));
            limits.heard("r", "Delete", Ok(()));
        }
        assert!(limits.acquire("r", "Query", Effect::Read).await.is_err());
        assert!(limits.acquire("r", "Delete", Effect::Read).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn regions_that_users_make_up_do_not_fill_the_memory() {
        let limits = Limits::new(PUBLISHED, vec![]);
        for number in 0..BUCKETS * 4 {
            let _ = limits.bucket(&format!("r-{number}"), "Create");
            limits.heard(&format!("r-{number}"), "Create", Err("timeout"));
        }
        assert!(lock(&limits.buckets).len() <= BUCKETS + 1 && lock(&limits.silence).len() <= BUCKETS);
        tokio::time::advance(pace::PAUSE).await;
        let _ = limits.bucket("late", "Create");
        assert_eq!(lock(&limits.buckets).len(), 1, "what was not used for long is forgotten");
    }

    /// Ten thousand objects that are looked at each half an hour are a hundred calls.
    #[tokio::test]
    async fn periodic_looks_are_counted_by_their_calls() {
        let passed = |batch| {
            let limits = Limits::new(PUBLISHED, vec![]);
            (0..100_000).take_while(|_| limits.resync(batch).is_ok()).count()
        };
        assert!(passed(1) >= 30 && passed(1) < 40, "{}", passed(1));
        assert!(passed(100) >= 3000, "{}", passed(100));
        assert!(passed(1000) >= 3000, "{}", passed(1000));
    }
}
