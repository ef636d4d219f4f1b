//! Which part of the cluster's objects this operator looks after, where several share the work.
//!
//! An object belongs to the shard of its account: of a CloudAccount by its namespace, of a ClusterCloudAccount by its name. So
//! everything that must see all objects of an account (its limits, its finalizer, its count of users, the locks on what its
//! objects work on) is in one place, and what an object's shard is can be told from the object alone.

use super::accounts::AccountKey;

/// The name of the Lease of an operator that works alone, and of the first shard, so that the two exclude each other.
const LEASE: &str = "cloud-image-operator";

/// One of several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Shard {
    /// All objects.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// All parts of a whole that is divided into so many.
    pub fn all(of: u32) -> Vec<Self> {
        let of = of.max(1);
        (0..of).map(|number| Self { number, of }).collect()
    }

    /// Which one, from 0.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The one whose Lease names the number of all.
    #[must_use]
    pub fn first(self) -> Self {
        Self { number: 0, of: self.of }
    }

    /// Of how many it is one.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether there are others.
    pub fn is_part(self) -> bool {
        self.of > 1
    }

    /// The name of the Lease that its holder has.
    pub fn lease(self) -> String {
        if self.number == 0 { LEASE.into() } else { format!("{LEASE}-{}", self.number) }
    }

    /// What else to say of a part, after its name.
    pub fn label(self) -> String {
        if self.is_part() { format!(" (shard {} of {})", self.number, self.of) } else { String::new() }
    }

    /// Whether an account and the objects that name it belong to it.
    pub fn holds(self, account: &AccountKey) -> bool {
        let place = match &account.namespace {
            Some(namespace) => hash(&["namespace", namespace]),
            None => hash(&["account", &account.name]),
        };
        !self.is_part() || place % u64::from(self.of) == u64::from(self.number)
    }
}

/// FNV-1a with a finish that spreads it over the low bits: the same in every version of the program, since several versions may
/// divide the work while one replaces the other.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::AccountKind;

    fn account(namespace: Option<&str>, name: &str) -> AccountKey {
        let kind =
            if namespace.is_some() { AccountKind::CloudAccount } else { AccountKind::ClusterCloudAccount };
        AccountKey { kind, namespace: namespace.map(Into::into), name: name.into() }
    }

    #[test]
    fn every_account_belongs_to_one_shard_and_those_of_a_namespace_to_the_same() {
        let shards = Shard::all(4);
        let mut sizes = [0; 4];
        for number in 0..1000 {
            let namespace = format!("team-{number}");
            let of = |account: &AccountKey| -> Vec<_> {
                shards.iter().filter(|shard| shard.holds(account)).map(|shard| shard.number()).collect()
            };
            let one = of(&account(Some(&namespace), "one"));
            assert_eq!((one.len(), &one), (1, &of(&account(Some(&namespace), "two"))));
            assert_eq!(of(&account(None, &namespace)).len(), 1);
            sizes[one[0] as usize] += 1;
        }
        assert!(sizes.iter().all(|size| (200..300).contains(size)), "{sizes:?}");
        assert!(Shard::all(0) == [Shard::WHOLE] && Shard::WHOLE.holds(&account(None, "any")));
    }

    /// Other versions of the program divide the work in the same way.
    #[test]
    fn the_division_never_changes() {
        let of = |namespace: &str| {
            Shard::all(1000)
                .into_iter()
                .find(|shard| shard.holds(&account(Some(namespace), "a")))
                .map(Shard::number)
        };
        assert_eq!(["images", "team-a", "team-b"].map(of), [Some(945), Some(693), Some(74)]);
    }

    #[test]
    fn the_first_of_several_excludes_one_that_works_alone() {
        assert_eq!(Shard::WHOLE.lease(), Shard::all(3)[0].lease());
        assert_eq!(Shard::all(3)[2].lease(), "cloud-image-operator-2");
    }
}
