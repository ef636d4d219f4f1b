//! A gate that closes when a vendor throttles, and narrows when it refuses one call after the other: then calls of the account
//! go one at a time, whoever asks.

use crate::{
    engine::pace,
    wire::{CallError, Class},
};
use std::time::Duration;
use tokio::time::Instant;

/// How many calls in a row must have been refused before the gate narrows.
const REFUSED: u32 = 20;
/// The longest pause between calls that are refused for what each of them asks, which its user has to be told.
const SPECS: Duration = Duration::from_secs(2);
/// And between calls that are refused for what all have in common: a quota, rights, a dependency.
const COMMON: Duration = Duration::from_secs(30);

/// Of one action in one region.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Throttles in a row, not counting those of calls that were under way already.
    strikes: u32,
    struck: Option<Instant>,
    /// Refusals in a row.
    refused: u32,
    longest: Duration,
    opens: Instant,
}

impl Gate {
    /// Open.
    pub fn new(now: Instant) -> Self {
        Self { strikes: 0, struck: None, refused: 0, longest: SPECS, opens: now }
    }

    /// `None`: go.
    pub fn closed_until(&self, now: Instant) -> Option<Instant> {
        Some(self.opens).filter(|opens| *opens > now)
    }

    /// Whether it was narrowed by refusals.
    pub fn is_narrow(&self) -> bool {
        self.refused >= REFUSED
    }

    /// Whether the vendor has throttled since then, and has let nobody through after that.
    pub fn has_struck_since(&self, began: Instant) -> bool {
        self.struck.is_some_and(|struck| struck >= began)
    }

    /// Somebody goes through. While calls are throttled or refused, that closes the gate behind him for a while.
    pub fn pass(&mut self, now: Instant) {
        if self.strikes > 0 {
            self.opens = self.opens.max(now + Duration::from_secs(1));
        }
        if self.is_narrow() {
            let doubled = 1 << ((self.refused - REFUSED) / 4).min(5);
            self.opens = self.opens.max(now + Duration::from_secs(doubled).min(self.longest));
        }
    }

    /// How a call went that was begun then.
    pub fn learn<T>(&mut self, now: Instant, began: Instant, answer: &Result<T, CallError>) {
        match answer {
            Err(CallError::Refused(refusal)) if refusal.class == Class::Throttled => {
                let is_news = self.struck.is_none_or(|struck| began > struck);
                if is_news {
                    self.strikes = (self.strikes + 1).min(6);
                    self.struck = Some(now);
                }
                if is_news || refusal.retry_after.is_some() {
                    let pause = refusal.retry_after.unwrap_or(Duration::from_secs(1 << self.strikes));
                    self.opens = self.opens.max(now + pause.min(pace::PAUSE));
                }
            }
            Ok(_) | Err(CallError::Undecidable(_)) => {
                if self.is_narrow() && self.strikes == 0 {
                    self.opens = now;
                }
                self.refused = 0;
                self.unstrike(now, began);
            }
            Err(CallError::Refused(refusal)) => {
                self.refused = self.refused.saturating_add(1);
                self.longest = if refusal.class.is_final() { SPECS } else { COMMON };
                self.unstrike(now, began);
            }
            Err(
                CallError::NotSent(_)
                | CallError::RateLimited { .. }
                | CallError::Unknown(_)
                | CallError::NoAnswer(_),
            ) => {}
        }
    }

    /// What was let through before the throttle says nothing about now.
    fn unstrike(&mut self, now: Instant, began: Instant) {
        if self.strikes > 0 && self.struck.is_none_or(|struck| began > struck) {
            (self.strikes, self.struck) = (0, None);
            self.opens = now;
        }
    }
}
