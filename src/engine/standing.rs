//! What a vendor thinks of an account's credentials: not tried yet, accepted, or refused until a call succeeds.

use crate::wire::{CallError, Class};
use jiff::{SignedDuration, Timestamp};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

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

/// What the vendor thinks of the credentials of one connection.
pub struct Credit {
    standing: Mutex<Standing>,
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
        Self { standing: Mutex::default(), changed: Box::new(changed) }
    }

    /// What is known now.
    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a call's answer.
    pub fn record<T>(&self, answer: &Result<T, CallError>) {
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
}
