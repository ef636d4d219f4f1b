//! Which limits an account's calls count for: a vendor counts by whose key it is, in whatever account object that stands.

use super::AccountKey;
use crate::engine::limits::{Limits, Published};
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

/// The place that a key is used at, and what tells the key from others.
type Key = (String, u64);

/// The limits of all accounts.
#[derive(Debug, Default)]
pub(super) struct SharedLimits {
    accounts: HashMap<AccountKey, (Key, Arc<Limits>)>,
    keys: HashMap<Key, Weak<Limits>>,
}

impl SharedLimits {
    /// The limits of an account that calls this place with this key. They stay over a new key, so that a rotation does not
    /// forget what the vendor counts.
    pub(super) fn of(
        &mut self,
        account: &AccountKey,
        place: String,
        identity: u64,
        published: &'static [Published],
    ) -> Arc<Limits> {
        let key = (place, identity);
        let before = self.accounts.get(account).cloned();
        if let Some((known, limits)) = &before
            && *known == key
        {
            return limits.clone();
        }
        let shared = self.keys.get(&key).and_then(Weak::upgrade);
        let rotated =
            || before.as_ref().filter(|(known, _)| known.0 == key.0).map(|(_, limits)| limits.clone());
        let limits = shared.or_else(rotated).unwrap_or_else(|| Arc::new(Limits::new(published)));
        if let Some((_, former)) = &before
            && !Arc::ptr_eq(former, &limits)
        {
            former.forget(account);
        }
        self.keys.retain(|_, limits| limits.strong_count() > 0);
        self.keys.insert(key.clone(), Arc::downgrade(&limits));
        self.accounts.insert(account.clone(), (key, limits.clone()));
        limits
    }

    /// The limits of an account that has called.
    pub(super) fn get(&self, account: &AccountKey) -> Option<&Arc<Limits>> {
        self.accounts.get(account).map(|(_, limits)| limits)
    }

    /// Nobody needs the account any more.
    pub(super) fn remove(&mut self, account: &AccountKey) {
        if let Some((_, limits)) = self.accounts.remove(account) {
            limits.forget(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::AccountKind;

    fn account(namespace: &str) -> AccountKey {
        AccountKey { kind: AccountKind::CloudAccount, namespace: Some(namespace.into()), name: "a".into() }
    }

    #[test]
    fn one_key_has_one_limit_in_whatever_accounts_and_a_rotation_keeps_it() {
        let mut all = SharedLimits::default();
        let mut of = |namespace: &str, place: &str, key| all.of(&account(namespace), place.into(), key, &[]);
        let first = of("one", "cloud", 1);
        assert!(Arc::ptr_eq(&first, &of("two", "cloud", 1)), "one key in two namespaces");
        assert!(!Arc::ptr_eq(&first, &of("three", "cloud", 2)), "another key");
        assert!(!Arc::ptr_eq(&first, &of("four", "elsewhere", 1)), "another cloud that takes the same key");
        assert!(Arc::ptr_eq(&first, &of("one", "cloud", 3)), "a new key");
        assert!(Arc::ptr_eq(&first, &of("two", "cloud", 3)));
        let third = of("three", "cloud", 2);
        assert!(Arc::ptr_eq(&third, &of("one", "cloud", 2)), "a key that others use");
        drop((first, third));
        for namespace in ["one", "two", "three", "four"] {
            all.remove(&account(namespace));
        }
        let _ = all.of(&account("five"), "cloud".into(), 9, &[]);
        assert_eq!(all.keys.len(), 1, "nothing is left of those that are gone");
    }
}
