//! Failing: an account that the API server does not give now, or does not let be held. Of all who use it, its controller alone asks
//! again, and wakes the others once it is answered: they need not ask each for himself, nor wait for a time of their own.

use super::{Account, AccountKey, Accounts};
use crate::engine::{external::Unusable, lock, may_pass, pace};
use std::time::Duration;

/// Why an account cannot be used for now.
#[derive(Debug)]
pub(super) struct Failure {
    why: Unusable,
    /// How many times in a row.
    count: u32,
    /// It is the API server's trouble, and nobody's to mend.
    passes: bool,
}

impl Accounts {
    /// Whoever would ask the API server about an account that it did not give is told what it said.
    pub(super) fn unless_failing(&self, key: &AccountKey) -> Result<(), Unusable> {
        match lock(&self.failing).get(key) {
            Some(failure) => Err(failure.why.clone()),
            None => Ok(()),
        }
    }

    /// The API server does not give an account, or does not let it be held: its controller is to ask again.
    pub(super) fn failed(&self, key: &AccountKey, error: &kube::Error, why: Unusable) -> Unusable {
        let is_news = {
            let mut failing = lock(&self.failing);
            let count = failing.get(key).map_or(0, |before| before.count);
            let failure =
                Failure { why: why.clone(), count: count.saturating_add(1), passes: may_pass(error) };
            failing.insert(key.clone(), failure).is_none()
        };
        if is_news {
            self.usage.tell(key);
        }
        why
    }

    /// Has an account held as long as it is used. One that the API server did not give, or did not let be held, is asked for again,
    /// and whoever waits for it is woken; or it is said after what time it is to be asked for once more.
    pub async fn look_after<A: Account>(
        &self,
        account: &A,
        is_used: bool,
    ) -> (Result<(), Unusable>, Option<Duration>) {
        let key = account.key();
        if self.unless_failing(&key).is_ok() {
            return (if is_used { self.hold(account).await } else { Ok(()) }, None);
        }
        let asked = if is_used { self.hold_anew(account).await } else { self.read_anew(account).await };
        let mut failing = lock(&self.failing);
        if let (Err(_), Some(failure)) = (&asked, failing.get(&key)) {
            let wait = pace::reading(failure.count, failure.passes);
            return (asked, Some(wait));
        }
        failing.remove(&key);
        drop(failing);
        self.changes.tell(&key);
        (asked, None)
    }
}
