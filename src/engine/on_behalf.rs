//! For which account a task works, so that what all accounts share can be shared fairly where no account is passed along.

use super::{accounts::AccountKey, pace};

tokio::task_local! {
    static ACCOUNT: u64;
}

/// Works for an account.
pub async fn on_behalf_of<F: Future>(account: &AccountKey, work: F) -> F::Output {
    ACCOUNT.scope(pace::seed(&account.to_string()), work).await
}

/// A number that stands for the account that this task works for.
pub fn account() -> Option<u64> {
    ACCOUNT.try_with(|account| *account).ok()
}
