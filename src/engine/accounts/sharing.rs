//! Which limits an account's calls count for: a vendor counts by whose key it is, in whatever account object that stands.

use super::AccountKey;
use crate::engine::{
    limits::{Limits, Published},
    shard::Shard,
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::Instant;

/// The place that a key is used at, and what tells the key from others.
type Key = (String, u64);

/// The limits of all accounts.
#[derive(Debug, Default)]
pub struct SharedLimits {
    accounts: HashMap<AccountKey, (Key, Arc<Limits>)>,
    keys: HashMap<Key, Known>,
    /// In how many shards the work is divided, and which keys each of the other replicas uses.
    shared: Option<(u32, Vec<Used>)>,
}

/// A key, and by what name others hear of it.
#[derive(Debug)]
struct Known {
    limits: Weak<Limits>,
    since: Instant,
    name: u32,
}

/// How long it may take until two replicas know of each other that they use a key: until then, as many are taken to use it as
/// there can be. Longer than a renewal of a Lease and the looks at it take.
const HEARD: Duration = Duration::from_secs(15);
/// How many keys are named one by one.
const NAMED: usize = 8_000;

/// Which keys somebody uses: those that a vendor has accepted, so that nobody takes a part of another's limit by naming his key. By
/// names that are made of nothing secret: whoever may read a Lease could try guesses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Used {
    /// None.
    #[default]
    None,
    /// These.
    Keys(BTreeSet<u32>),
    /// More than can be named.
    Any,
}

impl Used {
    /// As it is displayed.
    pub fn read(text: &str) -> Self {
        match text {
            "" => Self::None,
            "*" => Self::Any,
            keys => Self::Keys(keys.split(',').filter_map(|key| u32::from_str_radix(key, 16).ok()).collect()),
        }
    }

    fn of(keys: BTreeSet<u32>) -> Self {
        match keys.len() {
            0 => Self::None,
            1..=NAMED => Self::Keys(keys),
            _ => Self::Any,
        }
    }

    /// And those.
    pub fn add(&mut self, more: &Self) {
        *self = match (std::mem::take(self), more) {
            (Self::None, keys) => keys.clone(),
            (keys, Self::None) => keys,
            (Self::Keys(keys), Self::Keys(more)) => Self::of(keys.union(more).copied().collect()),
            (Self::Any, _) | (_, Self::Any) => Self::Any,
        };
    }

    fn has(&self, key: u32) -> bool {
        match self {
            Self::None => false,
            Self::Keys(keys) => keys.contains(&key),
            Self::Any => true,
        }
    }
}

impl fmt::Display for Used {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| format!("{key:x}")).collect();
                out.write_str(&keys.join(","))
            }
            Self::Any => out.write_str("*"),
        }
    }
}

/// The same in every process.
fn name_of(place: &str, caller: &str) -> u32 {
    let hash = Sha256::new().chain_update(place).chain_update([0]).chain_update(caller).finalize();
    hash.iter().take(4).fold(0, |name, byte| name << 8 | u32::from(*byte))
}

impl SharedLimits {
    /// The limits of an account that calls this place with this key. They stay over a new key, so that a rotation does not
    /// forget what the vendor counts. `caller`: what tells the key from others, and whose it is.
    pub(super) fn of(
        &mut self,
        account: &AccountKey,
        place: String,
        (identity, caller): (u64, &str),
        published: &'static [Published],
    ) -> Arc<Limits> {
        let key = (place, identity);
        let before = self.accounts.get(account).cloned();
        if let Some((known, limits)) = &before
            && *known == key
        {
            return limits.clone();
        }
        let shared = self.keys.get(&key).and_then(|known| known.limits.upgrade());
        let rotated =
            || before.as_ref().filter(|(known, _)| known.0 == key.0).map(|(_, limits)| limits.clone());
        let limits = shared.or_else(rotated).unwrap_or_else(|| Arc::new(Limits::new(published)));
        if !self.keys.contains_key(&key) {
            // A former key's success says nothing of this one.
            limits.expect_acceptance();
        }
        if let Some((_, former)) = &before
            && !Arc::ptr_eq(former, &limits)
        {
            former.forget(account);
        }
        self.keys.retain(|_, known| known.limits.strong_count() > 0);
        let name = name_of(&key.0, caller);
        let known = || Known { limits: Weak::new(), since: Instant::now(), name };
        self.keys.entry(key.clone()).or_insert_with(known).limits = Arc::downgrade(&limits);
        self.apply();
        self.accounts.insert(account.clone(), (key, limits.clone()));
        limits
    }

    /// The work is divided into so many shards, and the other replicas use these keys: what is published is shared with them.
    pub fn share(&mut self, shards: u32, others: Vec<Used>) {
        self.shared = Some((shards, others));
        self.apply();
    }

    fn apply(&self) {
        let Some((shards, others)) = &self.shared else { return };
        // After a rotation several keys have the same limits.
        let mut sharers = HashMap::<_, (Arc<Limits>, u32)>::new();
        for Known { limits, since, name } in self.keys.values() {
            let Some(limits) = limits.upgrade() else { continue };
            let others = others.iter().filter(|used| used.has(*name)).count();
            let known = u32::try_from(others + 1).unwrap_or(u32::MAX);
            let count = if since.elapsed() < HEARD { known.max(*shards) } else { known };
            let most = sharers.entry(Arc::as_ptr(&limits)).or_insert((limits, count));
            most.1 = most.1.max(count);
        }
        for (limits, count) in sharers.into_values() {
            limits.share(count);
        }
    }

    /// Which keys are used for the objects of a shard.
    pub fn used(&self, shard: Shard) -> Used {
        let accounts = self
            .accounts
            .iter()
            .filter(|(account, (_, limits))| shard.holds(account) && limits.is_accepted());
        Used::of(accounts.filter_map(|(_, (key, _))| Some(self.keys.get(key)?.name)).collect())
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
    use crate::{
        image::AccountKind,
        wire::{CallError, Effect},
    };
    use futures::FutureExt;

    fn account(namespace: &str) -> AccountKey {
        AccountKey { kind: AccountKind::CloudAccount, namespace: Some(namespace.into()), name: "a".into() }
    }

    const CREATES: &[Published] = &[("Create", 1000, Duration::from_secs(60))];

    /// How many calls a replica may make in a minute.
    fn room(limits: &Arc<Limits>) -> String {
        let permit = limits.acquire("r", "Create", Effect::Read).now_or_never();
        permit.expect("there is room").expect("a permit").report(&Ok(()));
        let budgets = limits.budgets();
        format!("{:.0}", budgets[0].rate.expect("a limit") * 60.0)
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_use_one_key_keep_its_limit_together() {
        let of_shard = |number: usize| {
            let of = |name: &String| Shard::all(2)[number].holds(&account(name));
            (0..100).map(|number| number.to_string()).find(of).expect("one of each")
        };
        let all = || {
            let mut all = SharedLimits::default();
            all.share(2, vec![]);
            all
        };
        let (mut one, mut two) = (all(), all());
        let in_one = one.of(&account(&of_shard(0)), "cloud".into(), (1, "key"), CREATES);
        let in_two = two.of(&account(&of_shard(1)), "cloud".into(), (1, "key"), CREATES);
        // Neither has heard of the other, so that each leaves it its part.
        assert_eq!([room(&in_one), room(&in_two)], ["500", "500"]);
        let hear = |all: &mut SharedLimits, used: Used| all.share(2, vec![Used::read(&used.to_string())]);
        tokio::time::sleep(HEARD * 10).await;
        hear(&mut one, two.used(Shard::all(2)[1]));
        hear(&mut two, one.used(Shard::all(2)[0]));
        assert_eq!([room(&in_one), room(&in_two)], ["500", "500"]);
        // What nobody else uses is used to the full.
        tokio::time::sleep(HEARD * 10).await;
        hear(&mut one, two.used(Shard::all(2)[0]));
        assert_eq!(room(&in_one), "1000");
        // A new key may be used by others that have not been heard of.
        let other = one.of(&account(&of_shard(0)), "cloud".into(), (2, "other"), CREATES);
        assert_eq!(room(&other), "500");
        tokio::time::sleep(HEARD).await;
        hear(&mut one, two.used(Shard::all(2)[1]));
        assert_eq!(room(&other), "500", "the other goes on with the former one");
        hear(&mut one, two.used(Shard::all(2)[0]));
        assert_eq!(room(&other), "1000");
    }

    /// Whoever names another's key beside a secret of his own takes no part of its limit.
    #[tokio::test(start_paused = true)]
    async fn only_keys_that_a_vendor_has_accepted_are_named_to_others() {
        let mut all = SharedLimits::default();
        let used = |all: &SharedLimits| all.used(Shard::WHOLE);
        let forged = all.of(&account("a"), "cloud".into(), (666, "key"), CREATES);
        let refused = Err(CallError::NotSent("the signature is wrong".into()));
        forged.acquire("r", "Create", Effect::Read).await.expect("a permit").report::<()>(&refused);
        assert_eq!(used(&all), Used::None);
        let true_one = all.of(&account("b"), "cloud".into(), (1, "key"), CREATES);
        assert_eq!(used(&all), Used::None);
        room(&true_one);
        assert!(used(&all).has(name_of("cloud", "key")) && !used(&all).has(name_of("cloud", "other")));
    }

    #[test]
    fn who_uses_more_keys_than_can_be_named_may_use_any() {
        let many = Used::of((0..9000).collect());
        assert!(many == Used::Any && Used::read(&many.to_string()).has(7));
        let mut some = Used::of([1, 0xffff_ffff].into());
        assert_eq!(Used::read(&some.to_string()), some);
        assert!(some.has(1) && !some.has(2) && !Used::default().has(1));
        some.add(&Used::of([2].into()));
        assert!(some.has(1) && some.has(2));
        some.add(&Used::Any);
        assert!(some.has(3));
        assert!(Used::of((0..8000).map(|key| key | 0xf000_0000).collect()).to_string().len() < 100_000);
    }

    #[test]
    fn one_key_has_one_limit_in_whatever_accounts_and_a_rotation_keeps_it() {
        let mut all = SharedLimits::default();
        let mut of =
            |namespace: &str, place: &str, key| all.of(&account(namespace), place.into(), (key, ""), &[]);
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
        let _ = all.of(&account("five"), "cloud".into(), (9, ""), &[]);
        assert_eq!(all.keys.len(), 1, "nothing is left of those that are gone");
    }
}
