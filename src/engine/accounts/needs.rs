//! Which Secret each account needs, and so which Secrets nobody needs any more.

use super::AccountKey;
use crate::engine::secrets::SecretKey;
use std::collections::{HashMap, HashSet};

/// Which Secret each account needs.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) accounts: HashMap<AccountKey, Option<SecretKey>>,
    pub(super) secrets: HashMap<SecretKey, HashSet<AccountKey>>,
}

impl Needs {
    /// Gives the Secret that nobody needs any more.
    pub(super) fn set(&mut self, account: AccountKey, secret: Option<SecretKey>) -> Option<SecretKey> {
        if self.accounts.get(&account) == Some(&secret) {
            return None;
        }
        if let Some(secret) = &secret {
            self.secrets.entry(secret.clone()).or_default().insert(account.clone());
        }
        let before = self.accounts.insert(account.clone(), secret).flatten()?;
        self.release(&account, before)
    }

    pub(super) fn remove(&mut self, account: &AccountKey) -> Option<SecretKey> {
        let secret = self.accounts.remove(account).flatten()?;
        self.release(account, secret)
    }

    fn release(&mut self, account: &AccountKey, secret: SecretKey) -> Option<SecretKey> {
        let needing = self.secrets.get_mut(&secret)?;
        needing.remove(account);
        if !needing.is_empty() {
            return None;
        }
        self.secrets.remove(&secret);
        Some(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::AccountKind;

    fn account(name: &str) -> AccountKey {
        AccountKey { kind: AccountKind::CloudAccount, namespace: Some("ns".into()), name: name.into() }
    }

    fn secret(name: &str) -> SecretKey {
        ("ns".into(), name.into())
    }

    #[test]
    fn a_secret_is_forgotten_with_the_last_account_that_needs_it() {
        let mut needs = Needs::default();
        assert_eq!(needs.set(account("a"), Some(secret("s"))), None);
        assert_eq!(needs.set(account("b"), Some(secret("s"))), None);
        assert_eq!(needs.set(account("a"), Some(secret("s"))), None);
        assert_eq!(needs.set(account("a"), Some(secret("t"))), None, "the other needs it still");
        assert_eq!(needs.remove(&account("b")), Some(secret("s")));
        assert_eq!(needs.set(account("a"), None), Some(secret("t")));
        assert_eq!(needs.remove(&account("a")), None);
        assert!(needs.accounts.is_empty() && needs.secrets.is_empty());
    }
}
