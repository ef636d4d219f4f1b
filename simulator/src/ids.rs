//! Ids as the vendors make them, but repeatable: they follow from a seed and a count.

use std::sync::atomic::{AtomicU64, Ordering};

/// Makes ids that differ from each other for as long as the program runs.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: AtomicU64,
    count: AtomicU64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: seed.into(), count: AtomicU64::new(0) }
    }

    /// Starts a new series. The count goes on, so that no id of before comes again.
    pub(crate) fn reseed(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
    }

    fn next(&self) -> (u64, u64) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let first = mix(self.seed.load(Ordering::Relaxed) ^ mix(count));
        (first, mix(first ^ count))
    }

    /// Lower-case letters and digits.
    pub(crate) fn alphanumeric(&self, length: usize) -> String {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let (high, low) = self.next();
        let mut rest = u128::from(high) << 64 | u128::from(low);
        (0..length)
            .map(|_| {
                let letter = ALPHABET[usize::try_from(rest % 36).unwrap_or_default()];
                rest /= 36;
                char::from(letter)
            })
            .collect()
    }

    /// A version 4 UUID in its 32 lower-case hex digits.
    pub(crate) fn uuid(&self) -> String {
        let (high, low) = self.next();
        let high = high & 0xffff_ffff_ffff_0fff | 0x4000;
        let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
        format!("{high:016x}{low:016x}")
    }

    /// A version 4 UUID in upper case with its dashes, as Alibaba Cloud writes request ids.
    pub(crate) fn dashed_uuid(&self) -> String {
        let hex = self.uuid().to_uppercase();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// One step of `SplitMix64`: neighbouring inputs give unrelated outputs, different inputs different ones.
pub(crate) fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_shape_and_do_not_repeat() {
        let ids = Ids::new(1);
        let made: std::collections::HashSet<_> = (0..10_000).map(|_| ids.alphanumeric(17)).collect();
        assert_eq!(made.len(), 10_000);
        let uuid = ids.dashed_uuid();
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
        assert!("89AB".contains(&uuid[19..20]));
    }
}
