//! How many calls a vendor takes: what it publishes, or what its throttled answers teach. Pure: it is told the time.
//!
//! A vendor counts a call at some moment between its being sent and its being answered, in periods whose beginning nobody
//! tells. So a call counts here from when it is permitted until a period after its answer: then no period of the vendor's,
//! wherever it begins, holds more than the limit, and all of it can be used at once.

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Into how many slots a period is divided. Calls are counted by slot, and leave with the end of theirs.
const SLOTS: u32 = 256;
/// The period by which calls are counted where the vendor names none.
const UNPUBLISHED: Duration = Duration::from_secs(1);
/// How often what was learned is raised, at most.
const RAISE: Duration = Duration::from_secs(15);
/// By how much, of what the vendor publishes, or else of what it is.
const STEP: f64 = 0.01;
/// How much of what was let through before a throttle is tried after it.
const BACK: f64 = 0.85;
/// The least that is learned, in calls for each second.
const LEAST: f64 = 1.0 / 60.0;
/// What is learned beyond this many calls in a second is no limit any more.
const MOST: f64 = 1000.0;

/// The calls of one action in one region.
#[derive(Debug)]
pub struct Window {
    /// What the vendor publishes, or the user says.
    limit: Option<(u32, Duration)>,
    /// What its throttled answers taught: calls for each period.
    learned: Option<Learned>,
    /// Answered calls, and how many of them were let through, by the end of their slot.
    answered: VecDeque<(Instant, u32, u32)>,
    under_way: u32,
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    calls: f64,
    /// When it was lowered last: what was begun before teaches nothing new.
    lowered: Instant,
    raised: Instant,
}

impl Window {
    /// `None`: nobody says how many calls may be made.
    pub fn new(limit: Option<(u32, Duration)>) -> Self {
        Self { limit, learned: None, answered: VecDeque::new(), under_way: 0 }
    }

    /// The user has changed the limit.
    pub fn set_limit(&mut self, limit: Option<(u32, Duration)>) {
        if self.limit != limit {
            (self.limit, self.learned) = (limit, None);
        }
    }

    /// By which period calls are counted.
    pub fn period(&self) -> Duration {
        self.limit.map_or(UNPUBLISHED, |limit| limit.1)
    }

    /// How many calls may be made in which time; `None`: nothing is published, and nothing was learned.
    pub fn allowed(&mut self, now: Instant) -> Option<(f64, Duration)> {
        self.raise(now);
        let period = self.period();
        self.learned
            .map(|learned| learned.calls)
            .or(self.limit.map(|limit| f64::from(limit.0)))
            .map(|calls| (calls, period))
    }

    /// Whether a call may be begun, if such calls may have this `share` of the limit; else when it is worth asking again, where
    /// that is not when one of those under way has been answered.
    pub fn room(&mut self, now: Instant, share: f64) -> Result<(), Option<Instant>> {
        let Some((calls, _)) = self.allowed(now) else { return Ok(()) };
        let most = whole(calls * share).max(1);
        self.forget(now);
        let answered: u32 = self.answered.iter().map(|slot| slot.1).sum();
        if answered.saturating_add(self.under_way) < most {
            return Ok(());
        }
        // Of those that are answered, how many have to leave before there is room?
        let mut too_many = (answered + self.under_way + 1).saturating_sub(most);
        for (end, count, _) in &self.answered {
            too_many = too_many.saturating_sub(*count);
            if too_many == 0 {
                return Err(Some(*end + self.memory()));
            }
        }
        Err(None)
    }

    /// A call was permitted.
    pub fn begin(&mut self) {
        self.under_way += 1;
    }

    /// It was not made after all.
    pub fn not_made(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// It was answered, and let through or not.
    pub fn answered(&mut self, now: Instant, let_through: bool) {
        self.not_made();
        self.forget(now);
        let (period, passed) = (self.period(), u32::from(let_through));
        match self.answered.back_mut() {
            Some((end, count, through)) if *end >= now => {
                *count += 1;
                *through += passed;
            }
            _ => self.answered.push_back((now + period / SLOTS, 1, passed)),
        }
    }

    /// The vendor has throttled a call that was begun then.
    pub fn throttled(&mut self, now: Instant, began: Instant) {
        if self.learned.is_some_and(|learned| began <= learned.lowered) {
            return;
        }
        let period = self.period();
        self.forget(now);
        let passed = f64::from(self.answered.iter().map(|slot| slot.2).sum::<u32>());
        let calls = match (self.allowed(now), self.limit) {
            // Others may use the same limit, all of it for once.
            (Some((calls, _)), Some(_)) => (passed * BACK).clamp(calls / 4.0, calls * BACK),
            // By which period the vendor counts is not known either.
            (Some((calls, _)), None) => calls / 2.0,
            (None, _) => (passed / 2.0).max(1.0),
        };
        let calls = calls.max(LEAST * period.as_secs_f64());
        self.learned = Some(Learned { calls, lowered: now, raised: now });
    }

    /// How much of what is allowed is used up; `None`: nobody knows how much is.
    pub fn used(&mut self, now: Instant) -> Option<f64> {
        let (calls, _) = self.allowed(now)?;
        self.forget(now);
        let answered: u32 = self.answered.iter().map(|slot| slot.1).sum();
        Some(f64::from(answered.saturating_add(self.under_way)) / calls.max(1.0))
    }

    /// Whether it remembers nothing that counts.
    pub fn is_idle(&self, now: Instant) -> bool {
        let period = self.period();
        let is_over = self.answered.back().is_none_or(|slot| slot.0 + period <= now);
        self.under_way == 0 && is_over && self.learned.is_none()
    }

    /// For how long an answered call counts. Less than one call in a period is one in a longer one.
    fn memory(&self) -> Duration {
        let calls = self.learned.map_or(1.0, |learned| learned.calls.min(1.0));
        self.period().div_f64(calls)
    }

    fn forget(&mut self, now: Instant) {
        let memory = self.memory();
        while self.answered.front().is_some_and(|slot| slot.0 + memory <= now) {
            self.answered.pop_front();
        }
    }

    /// What was learned is tried anew, a little at a time.
    fn raise(&mut self, now: Instant) {
        let (limit, step) = (self.limit.map(|limit| f64::from(limit.0)), self.period().max(RAISE));
        let Some(learned) = &mut self.learned else { return };
        while now.saturating_duration_since(learned.raised) >= step {
            learned.raised += step;
            learned.calls += STEP * limit.unwrap_or(learned.calls);
            if learned.calls >= limit.unwrap_or(MOST) {
                self.learned = None;
                return;
            }
        }
    }
}

/// A number of calls, without the fraction.
fn whole(calls: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, as it should")]
    let whole = calls.floor() as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_call_counts_until_a_period_after_its_answer() {
        let mut window = Window::new(Some((2, MINUTE)));
        let start = Instant::now();
        window.begin();
        window.begin();
        assert_eq!(window.room(start, 1.0), Err(None), "both are under way");
        window.answered(start + Duration::from_secs(10), true);
        let Err(Some(again)) = window.room(start + Duration::from_secs(10), 1.0) else {
            panic!("one is known")
        };
        assert!(again >= start + Duration::from_secs(70) && again < start + Duration::from_secs(71));
        assert!(window.room(again - Duration::from_millis(1), 1.0).is_err());
        assert_eq!(window.room(again, 1.0), Ok(()));
        window.not_made();
        assert_eq!(window.room(start + Duration::from_secs(11), 1.0), Ok(()), "the vendor counted one");
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_can_wait_leave_room_for_others() {
        let mut window = Window::new(Some((10, MINUTE)));
        let now = Instant::now();
        for _ in 0..5 {
            assert_eq!(window.room(now, 0.5), Ok(()));
            window.begin();
            window.answered(now, true);
        }
        assert!(window.room(now, 0.5).is_err());
        assert_eq!(window.room(now, 1.0), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_published_is_learned_from_throttled_answers_and_slowly_forgotten() {
        let mut window = Window::new(None);
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(window.room(start, 1.0), Ok(()), "nothing is invented");
            window.begin();
            window.answered(start, true);
        }
        assert_eq!(window.used(start), None);
        window.throttled(start, start);
        // What was under way meanwhile teaches nothing new.
        window.throttled(start + Duration::from_secs(1), start);
        assert_eq!(window.allowed(start), Some((50.0, UNPUBLISHED)));
        let later = start + Duration::from_secs(1500);
        let raised = window.allowed(later).unwrap().0;
        assert!((100.0..150.0).contains(&raised), "{raised}");
        let mut now = later;
        for _ in 0..40 {
            now += Duration::from_millis(1);
            window.throttled(now, now);
        }
        let (least, _) = window.allowed(now).unwrap();
        assert!((least - LEAST).abs() < 0.001, "{least}");
        window.begin();
        window.answered(now, true);
        let Err(Some(again)) = window.room(now, 1.0) else { panic!("it is one a minute") };
        assert!(again > now + Duration::from_secs(55) && again < now + Duration::from_secs(65));
        // Whoever reads the metrics meanwhile changes nothing.
        let half = now + Duration::from_secs(30);
        assert!(window.used(half).is_some_and(|used| used > 0.0));
        assert!(window.room(half, 1.0).is_err(), "it is still one a minute");
        assert_eq!(window.allowed(now + MINUTE * 600), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_published_limit_comes_back_in_steps_of_its_own() {
        let mut window = Window::new(Some((1000, MINUTE)));
        let start = Instant::now();
        for _ in 0..500 {
            window.begin();
            window.answered(start, true);
        }
        window.throttled(start, start);
        assert_eq!(window.allowed(start), Some((425.0, MINUTE)));
        assert_eq!(window.allowed(start + MINUTE * 3), Some((455.0, MINUTE)));
        assert_eq!(window.allowed(start + MINUTE * 100), Some((1000.0, MINUTE)));
        window.throttled(start + MINUTE * 100, start + MINUTE * 100);
        assert_eq!(
            window.allowed(start + MINUTE * 100),
            Some((250.0, MINUTE)),
            "others may have used it all"
        );
        window.set_limit(Some((10, MINUTE)));
        assert_eq!(window.allowed(start + MINUTE * 100), Some((10.0, MINUTE)));
    }
}
