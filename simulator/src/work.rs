//! Something that takes a vendor a while: builds, exports, jobs. What it has come to follows from the clock alone.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::faults::Conditions;

/// A piece of work and how it will go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Work {
    /// When it was asked for.
    pub begun: Timestamp,
    /// Seconds that it waits in a queue.
    pub waiting_seconds: f64,
    /// Seconds that it runs after that.
    pub running_seconds: f64,
    /// What it comes to.
    pub outcome: Outcome,
}

/// What a piece of work comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It ends well.
    #[default]
    Success,
    /// It ends badly, in the middle of its run.
    Failure,
    /// It runs, makes no progress, and never ends.
    Stalled,
}

/// What a piece of work has come to at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits in a queue.
    Waiting,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
}

impl Work {
    pub(crate) fn new(
        begun: Timestamp,
        waiting_seconds: f64,
        running_seconds: f64,
        conditions: &Conditions,
    ) -> Self {
        let outcome = if conditions.fail_build {
            Outcome::Failure
        } else if conditions.stall_build || conditions.node_dies.is_some() {
            Outcome::Stalled
        } else {
            Outcome::Success
        };
        Self { begun, waiting_seconds, running_seconds, outcome }
    }

    /// What it has come to.
    pub fn stage(&self, now: Timestamp) -> Stage {
        if now < after(self.begun, self.waiting_seconds) {
            return Stage::Waiting;
        }
        match self.ended() {
            Some(end) if end <= now && self.outcome == Outcome::Success => Stage::Succeeded,
            Some(end) if end <= now => Stage::Failed,
            _ => Stage::Running,
        }
    }

    /// When it ends, if ever.
    pub fn ended(&self) -> Option<Timestamp> {
        let seconds = match self.outcome {
            Outcome::Success => self.running_seconds,
            Outcome::Failure => self.running_seconds / 2.0,
            Outcome::Stalled => return None,
        };
        Some(after(self.begun, self.waiting_seconds + seconds))
    }

    /// When anything of it last moved.
    pub(crate) fn moved(&self, now: Timestamp) -> Timestamp {
        let still = after(self.begun, self.waiting_seconds);
        now.min(self.ended().unwrap_or(still)).max(self.begun)
    }

    /// How far it is, in whole percent; 100 only at a good end.
    pub fn percent(&self, now: Timestamp) -> u8 {
        match self.stage(now) {
            Stage::Waiting => 0,
            Stage::Succeeded => 100,
            Stage::Running | Stage::Failed => {
                let end = self.ended().unwrap_or(self.begun).min(now);
                let ran = end.duration_since(self.begun).as_secs_f64() - self.waiting_seconds;
                let percent = (ran / self.running_seconds * 100.0).clamp(0.0, 99.0);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and 99"
                )]
                let whole = percent as u8;
                whole
            }
        }
    }
}

fn after(time: Timestamp, seconds: f64) -> Timestamp {
    SignedDuration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|by| time.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_through_its_stages() {
        let begun = Timestamp::UNIX_EPOCH;
        let work = |outcome| Work { begun, waiting_seconds: 10.0, running_seconds: 100.0, outcome };
        for (outcome, seconds, stage, percent) in [
            (Outcome::Success, 9, Stage::Waiting, 0),
            (Outcome::Success, 10, Stage::Running, 0),
            (Outcome::Success, 60, Stage::Running, 50),
            (Outcome::Success, 109, Stage::Running, 99),
            (Outcome::Success, 110, Stage::Succeeded, 100),
            (Outcome::Failure, 59, Stage::Running, 49),
            (Outcome::Failure, 60, Stage::Failed, 50),
            (Outcome::Failure, 600, Stage::Failed, 50),
            (Outcome::Stalled, 5, Stage::Waiting, 0),
            (Outcome::Stalled, 6000, Stage::Running, 0),
        ] {
            let now = begun + SignedDuration::from_secs(seconds);
            let work = work(outcome);
            assert_eq!(
                (work.stage(now), work.percent(now)),
                (stage, percent),
                "{outcome:?} after {seconds} s"
            );
        }
    }
}
