//! Which objects use which account: kept up to date by the watch, so that nobody has to look through all objects.

use super::{accounts::AccountKey, lookup::ObjectName};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// The objects of one kind, by the account that they name.
#[derive(Debug, Default)]
pub struct Users {
    /// By account and namespace.
    names: HashMap<Arc<AccountKey>, BTreeMap<String, BTreeSet<ObjectName>>>,
    accounts: HashMap<ObjectName, Arc<AccountKey>>,
}

impl Users {
    /// The object names this account; gives the accounts whose users have changed.
    pub fn set(&mut self, object: ObjectName, account: AccountKey) -> Vec<AccountKey> {
        if self.accounts.get(&object).is_some_and(|before| **before == account) {
            return vec![];
        }
        let changed = self.remove(&object).into_iter().chain([account.clone()]).collect();
        let known = self.names.get_key_value(&account).map(|(known, _)| known.clone());
        let account = known.unwrap_or_else(|| Arc::new(account));
        let namespaces = self.names.entry(account.clone()).or_default();
        namespaces.entry(object.0.clone()).or_default().insert(object.clone());
        self.accounts.insert(object, account);
        changed
    }

    /// The object is gone; gives the account that it named.
    pub fn remove(&mut self, object: &ObjectName) -> Option<AccountKey> {
        let account = self.accounts.remove(object)?;
        if let Some(namespaces) = self.names.get_mut(&account) {
            if let Some(names) = namespaces.get_mut(&object.0) {
                names.remove(object);
                if names.is_empty() {
                    namespaces.remove(&object.0);
                }
            }
            if namespaces.is_empty() {
                self.names.remove(&account);
            }
        }
        Some((*account).clone())
    }

    /// The account that the object names.
    pub fn account(&self, object: &(String, String)) -> Option<Arc<AccountKey>> {
        self.accounts.get(object).cloned()
    }

    /// Forgets the objects that are not there any more; gives their accounts.
    pub fn retain(&mut self, is_there: impl Fn(&ObjectName) -> bool) -> Vec<AccountKey> {
        let gone: Vec<_> = self.accounts.keys().filter(|object| !is_there(object)).cloned().collect();
        gone.iter().filter_map(|object| self.remove(object)).collect()
    }

    /// The namespaces whose objects name the account.
    pub fn namespaces(&self, account: &AccountKey) -> Vec<String> {
        self.names.get(account).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// How many objects of the namespaces that count name the account, and one of them.
    pub fn count(&self, account: &AccountKey, counts: &dyn Fn(&str) -> bool) -> (usize, Option<ObjectName>) {
        let namespaces = self.names.get(account).into_iter().flatten();
        let counted: Vec<_> = namespaces.filter(|(namespace, _)| counts(namespace)).collect();
        let example = counted.first().and_then(|(_, names)| names.first().cloned());
        (counted.iter().map(|(_, names)| names.len()).sum(), example)
    }

    /// The objects that name the account.
    pub fn objects(&self, account: &AccountKey) -> Vec<ObjectName> {
        let namespaces = self.names.get(account).into_iter().flatten();
        namespaces.flat_map(|(_, names)| names).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::AccountKind;

    fn account(name: &str) -> AccountKey {
        AccountKey { kind: AccountKind::ClusterCloudAccount, namespace: None, name: name.into() }
    }

    fn object(namespace: &str, name: &str) -> ObjectName {
        Arc::new((namespace.into(), name.into()))
    }

    #[test]
    fn users_are_counted_by_account_and_namespace() {
        let mut users = Users::default();
        for (namespace, name) in [("a", "one"), ("a", "two"), ("b", "one")] {
            assert_eq!(users.set(object(namespace, name), account("x")), [account("x")]);
            assert_eq!(users.set(object(namespace, name), account("x")), [], "no news");
        }
        assert_eq!(users.count(&account("x"), &|_| true), (3, Some(object("a", "one"))));
        assert_eq!(users.count(&account("x"), &|namespace| namespace == "b"), (1, Some(object("b", "one"))));
        assert_eq!(users.count(&account("x"), &|_| false), (0, None));
        assert_eq!(users.namespaces(&account("x")), ["a", "b"]);
        assert_eq!(users.set(object("b", "one"), account("y")), [account("x"), account("y")]);
        assert_eq!(users.namespaces(&account("x")), ["a"]);
        assert_eq!(users.objects(&account("y")), [object("b", "one")]);
    }

    #[test]
    fn nothing_is_left_of_what_is_gone() {
        let mut users = Users::default();
        users.set(object("a", "one"), account("x"));
        users.set(object("a", "two"), account("y"));
        assert_eq!(users.remove(&object("a", "one")), Some(account("x")));
        assert_eq!(users.remove(&object("a", "one")), None);
        assert_eq!(users.retain(|_| false), [account("y")]);
        assert!(users.names.is_empty() && users.accounts.is_empty());
    }
}
