//! What a vendor thinks of an account's credentials: not tried yet, accepted, or refused until a call succeeds.

use super::pace;
use crate::wire::{CallError, Class, Refusal};
use jiff::{SignedDuration, Timestamp};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};
use tokio::time::Instant;

/// How exact the time of the last success is that an account shows: each call moves it, and none is worth a write.
const EXACT_TO: SignedDuration = SignedDuration::from_hours(1);

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When a call succeeded last.
    pub last_success: Option<Timestamp>,
    /// The vendor's refusal, if no call has succeeded since.
    pub refused: Option<String>,
}

impl Standing {
    /// Takes note of a call's answer. Whether that is worth telling.
    fn learn(&mut self, error: Option<&CallError>, now: Timestamp) -> bool {
        match error {
            None => {
                let told = self.last_success.is_some_and(|last| now.duration_since(last) < EXACT_TO);
                let news = self.refused.take().is_some() || !told;
                if news {
                    self.last_success = Some(now);
                }
                news
            }
            Some(CallError::Refused(refusal)) if refusal.class == Class::Credentials => {
                let is_known = self.refused.is_some();
                self.refused.get_or_insert_with(|| refusal.to_string());
                !is_known
            }
            // Says nothing about who called.
            Some(_) => false,
        }
    }
}

/// How many calls in a row must have been refused for the credentials' sake before the next ones are not made.
const REFUSED: u32 = 3;

/// Refusals in a row of one account's credentials. Then one call after the other finds out whether they are still refused, with
/// ever longer pauses, and all others fail with what the last one was told.
#[derive(Clone, Debug, Default)]
struct Refusals {
    in_a_row: u32,
    last: Option<(Refusal, Instant)>,
    /// The one that finds out is under way.
    finding_out: bool,
}

impl Refusals {
    fn learn(&mut self, error: Option<&CallError>, now: Instant) {
        match error {
            Some(CallError::Refused(refusal)) if refusal.class == Class::Credentials => {
                let is_closed =
                    self.in_a_row >= REFUSED && self.last.as_ref().is_some_and(|last| last.1 > now);
                if is_closed && !self.finding_out {
                    // It was under way when others were refused already.
                    return;
                }
                self.finding_out = false;
                self.in_a_row = self.in_a_row.saturating_add(1);
                let (first, most) = pace::REFUSED;
                let doubled = first.saturating_mul(1 << self.in_a_row.saturating_sub(REFUSED).min(10));
                self.last = Some((refusal.clone(), now + doubled.min(most)));
            }
            // A vendor says what is wrong with a call when it knows who calls.
            None => *self = Self::default(),
            Some(CallError::Refused(refusal))
                if !matches!(refusal.class, Class::Throttled | Class::Unavailable | Class::ClockSkew) =>
            {
                *self = Self::default();
            }
            Some(_) => {}
        }
    }

    fn pass(&mut self, now: Instant) -> Result<(), CallError> {
        let Some((refusal, opens)) = self.last.as_mut().filter(|_| self.in_a_row >= REFUSED) else {
            return Ok(());
        };
        if now < *opens {
            return Err(CallError::Refused(refusal.clone()));
        }
        // Should nobody hear what becomes of this one, another one goes.
        *opens = now + pace::REQUEST_TIMEOUT;
        self.finding_out = true;
        Ok(())
    }
}

/// What the vendor thinks of the credentials of one connection.
pub struct Credit {
    standing: Mutex<Standing>,
    refusals: Mutex<Refusals>,
    changed: Box<dyn Fn() + Send + Sync>,
}

impl Default for Credit {
    fn default() -> Self {
        Self::new(|| ())
    }
}

impl fmt::Debug for Credit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.standing().fmt(out)
    }
}

impl Credit {
    /// Nothing was tried yet. `changed` is called when what is known changes.
    pub fn new(changed: impl Fn() + Send + Sync + 'static) -> Self {
        Self { standing: Mutex::default(), refusals: Mutex::default(), changed: Box::new(changed) }
    }

    /// Whether it is worth making a call, or what the last one was told.
    pub fn pass(&self) -> Result<(), CallError> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now())
    }

    /// What is known now.
    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a call's answer.
    pub fn record<T>(&self, answer: &Result<T, CallError>) {
        let error = answer.as_ref().err();
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).learn(error, Instant::now());
        let news = {
            let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            standing.learn(answer.as_ref().err(), Timestamp::now())
        };
        if news {
            (self.changed)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Refusal;

    #[test]
    fn refused_credentials_stay_refused_until_a_call_succeeds() {
        let refusal = |class| {
            CallError::Refused(Refusal {
                action: "Look".into(),
                status: 403,
                code: "Code".into(),
                message: String::new(),
                request_id: "R-1".into(),
                class,
                hint: "Correct the Secret / 请修改 Secret",
                retry_after: None,
            })
        };
        let minute = |minute| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let mut standing = Standing::default();
        assert!(!standing.learn(Some(&refusal(Class::Throttled)), minute(0)), "untried still");
        assert!(standing.learn(None, minute(1)));
        assert!(!standing.learn(None, minute(2)), "no write for each call");
        assert!(standing.learn(None, minute(62)), "once in an hour");
        assert!(standing.learn(Some(&refusal(Class::Credentials)), minute(63)));
        assert!(!standing.learn(Some(&refusal(Class::Credentials)), minute(64)), "it is told already");
        assert!(!standing.learn(Some(&refusal(Class::NotFound)), minute(65)));
        assert!(standing.refused.as_deref().is_some_and(|refused| refused.starts_with("Correct the Secret")));
        assert_eq!(standing.last_success, Some(minute(62)));
        assert!(standing.learn(None, minute(66)));
        assert_eq!(standing, Standing { last_success: Some(minute(66)), refused: None });
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_are_refused_are_tried_by_one_call_at_a_time_and_ever_less_often() {
        let credit = Credit::default();
        let refused = |class| {
            Err::<(), _>(CallError::Refused(Refusal {
                action: "Create".into(),
                status: 403,
                code: "Code".into(),
                message: String::new(),
                request_id: "R-1".into(),
                class,
                hint: "",
                retry_after: None,
            }))
        };
        let start = Instant::now();
        let mut calls = 0;
        // A thousand objects that each ask every ten seconds, for an hour.
        while start.elapsed() < std::time::Duration::from_secs(3600) {
            for _ in 0..100 {
                match credit.pass() {
                    Ok(()) => {
                        calls += 1;
                        credit.record(&refused(Class::Credentials));
                    }
                    Err(error) => assert_eq!(error.request_id(), Some("R-1")),
                }
            }
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
        }
        assert!((60..80).contains(&calls), "{calls}");
        tokio::time::advance(pace::REFUSED.1).await;
        assert_eq!(credit.pass(), Ok(()));
        credit.record(&refused(Class::NotFound));
        assert_eq!(credit.pass(), Ok(()), "the vendor knows who calls");
        assert_eq!(credit.pass(), Ok(()));
    }
}
