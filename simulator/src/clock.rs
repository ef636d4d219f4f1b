//! Two clocks: what the vendors' gateways compare request timestamps with, and what everything else counts by.
//!
//! A test that wants a build to end advances the *world*; it must not thereby make every request of an honest client
//! look hours old. So advancing, and a speed other than 1, move the world alone. Setting a time moves both (this is how
//! recorded requests are replayed), and the skew moves the gateway alone (a vendor whose clock is wrong).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A change of the clocks; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClockChange {
    /// Sets both clocks to this time.
    pub at: Option<Timestamp>,
    /// Moves the world on by so many seconds.
    pub advance_seconds: Option<f64>,
    /// How many seconds of the world pass in one real second; 0 freezes the world.
    pub speed: Option<f64>,
    /// How far the gateways' clock is ahead (negative: behind).
    pub skew_seconds: Option<i64>,
}

/// What the clocks show.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockReading {
    /// The time by which things are made, builds go on and quotas count.
    pub world: Timestamp,
    /// The time that request timestamps are compared with.
    pub gateway: Timestamp,
    /// Seconds of the world in one real second.
    pub speed: f64,
    /// How far the gateway is ahead, in seconds.
    pub skew_seconds: i64,
}

/// The clocks of one simulator.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    world: Timestamp,
    gateway: Timestamp,
    since: Instant,
    speed: f64,
    skew_seconds: i64,
}

impl State {
    fn new() -> Self {
        let now = Timestamp::now();
        Self { world: now, gateway: now, since: Instant::now(), speed: 1.0, skew_seconds: 0 }
    }

    /// Brings both times up to this moment, so that a new speed holds from now on only.
    fn settle(&mut self) {
        let elapsed = self.since.elapsed();
        self.since += elapsed;
        self.gateway = later(self.gateway, elapsed);
        // A speed that a duration cannot hold is refused when it is set; the clock then stands still at worst.
        let world = Duration::try_from_secs_f64(elapsed.as_secs_f64() * self.speed).unwrap_or_default();
        self.world = later(self.world, world);
    }
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::new()))
    }

    /// The time of the simulated world.
    pub(crate) fn now(&self) -> Timestamp {
        self.read().world
    }

    pub(crate) fn read(&self) -> ClockReading {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        ClockReading {
            world: state.world,
            gateway: shifted(state.gateway, state.skew_seconds),
            speed: state.speed,
            skew_seconds: state.skew_seconds,
        }
    }

    /// Errors: a negative or unusable number; then nothing is changed.
    pub(crate) fn change(&self, change: &ClockChange) -> Result<(), String> {
        let advance = match change.advance_seconds {
            Some(seconds) => {
                Duration::try_from_secs_f64(seconds).map_err(|e| format!("advanceSeconds: {e}"))?
            }
            None => Duration::ZERO,
        };
        if let Some(speed) = change.speed
            && !(0.0..=1e9).contains(&speed)
        {
            return Err("speed: must be between 0 and 1000000000".into());
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        if let Some(at) = change.at {
            (state.world, state.gateway) = (at, at);
        }
        state.world = later(state.world, advance);
        state.speed = change.speed.unwrap_or(state.speed);
        state.skew_seconds = change.skew_seconds.unwrap_or(state.skew_seconds);
        Ok(())
    }

    /// Real time again, at its usual speed.
    pub(crate) fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::new();
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The time `seconds` later; stays within what a timestamp can hold.
pub(crate) fn shifted(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_the_world_and_leaves_the_gateway() {
        let clock = Clock::new();
        clock.change(&ClockChange { speed: Some(0.0), ..Default::default() }).unwrap();
        let before = clock.read();
        clock.change(&ClockChange { advance_seconds: Some(3600.0), ..Default::default() }).unwrap();
        let after = clock.read();
        assert_eq!(after.world.duration_since(before.world).as_secs(), 3600);
        assert!(after.gateway.duration_since(before.gateway).as_secs() < 60);
    }

    #[test]
    fn setting_moves_both_and_skew_only_the_gateway() {
        let clock = Clock::new();
        let at: Timestamp = "2026-11-21T08:30:00Z".parse().unwrap();
        clock
            .change(&ClockChange {
                at: Some(at),
                speed: Some(0.0),
                skew_seconds: Some(-90),
                ..Default::default()
            })
            .unwrap();
        let reading = clock.read();
        assert_eq!(reading.world, at);
        let behind = at.duration_since(reading.gateway).as_secs();
        assert!((60..=90).contains(&behind), "{behind}");
    }

    #[test]
    fn a_backward_step_is_refused() {
        let clock = Clock::new();
        assert!(clock.change(&ClockChange { advance_seconds: Some(-1.0), ..Default::default() }).is_err());
        assert!(clock.change(&ClockChange { speed: Some(f64::NAN), ..Default::default() }).is_err());
    }
}
