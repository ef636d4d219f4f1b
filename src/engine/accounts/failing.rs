//! Failing: an account that the API server does not give now, or does not let be held. Nobody asks again for a while; then whoever
//! comes first does, its controller if nobody else, and all who wait for it are woken once it is answered: they need not ask each for
//! himself, nor wait for a time of their own.

use super::{Account, AccountKey, Accounts};
use crate::engine::{external::Unusable, lock, may_pass, pace};
use std::time::Duration;
use tokio::time::Instant;

/// Why an account cannot be used for now.
#[derive(Debug)]
pub(super) struct Failure {
    why: Unusable,
    /// How many times in a row.
    count: u32,
    /// Until then nobody asks, and then whoever comes first: the controller's pass is put off while objects come and go.
    until: Instant,
}

impl Accounts {
    /// Whoever would ask the API server too soon about an account that it did not give is told what it said.
    pub(super) fn unless_failing(&self, key: &AccountKey) -> Result<(), Unusable> {
        match lock(&self.failing).get(key) {
            Some(failure) if Instant::now() < failure.until => Err(failure.why.clone()),
            _ => Ok(()),
        }
    }

    /// The API server does not give an account, or does not let it be held.
    pub(super) fn failed(&self, key: &AccountKey, error: &kube::Error, why: Unusable) -> Unusable {
        let is_news = {
            let mut failing = lock(&self.failing);
            let count = failing.get(key).map_or(0, |before| before.count).saturating_add(1);
            // How long the wait may grow: eight seconds where the trouble passes, and five minutes where somebody has to end it.
            let until = Instant::now() + pace::reading(count, may_pass(error));
            failing.insert(key.clone(), Failure { why: why.clone(), count, until }).is_none()
        };
        if !lock(&self.needs).accounts.contains_key(key) {
            // It has gone meanwhile, and nobody else is going to remove what is known of it.
            lock(&self.failing).remove(key);
        } else if is_news {
            self.usage.tell(key);
        }
        why
    }

    /// The API server has given an account, and let it be held if that was asked: whoever waits for it goes on.
    pub(super) fn answered(&self, key: &AccountKey) {
        if lock(&self.failing).remove(key).is_some() {
            self.changes.tell(key);
            self.usage.tell(key);
        }
    }

    /// Has an account held as long as it is used, or asks again for one that failed; or says why it cannot be used, and after what
    /// time it may be asked for again. Objects that come and go are no reason to ask sooner.
    pub async fn retry_or_hold<A: Account>(
        &self,
        account: &A,
        is_used: bool,
    ) -> (Result<(), Unusable>, Option<Duration>) {
        let key = account.key();
        let until = || lock(&self.failing).get(&key).map(|failure| failure.until);
        let asked = match self.unless_failing(&key) {
            Ok(()) if is_used => self.hold(account).await,
            Ok(()) if until().is_some() => self.confirm(account).await,
            done => done,
        };
        if asked.is_ok() {
            self.answered(&key);
        }
        (asked, until().map(|until| until.saturating_duration_since(Instant::now())))
    }
}
