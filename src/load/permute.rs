//! A permutation of 0..n that is computed, not stored: a Feistel network over the next power of
//! four, walked until it lands below n (Black, Rogaway: *Ciphers with arbitrary finite domains*,
//! CT-RSA 2002).

use crate::seed::mix;

const ROUNDS: usize = 6;

/// A keyed bijection of 0..n.
#[derive(Clone, Debug)]
pub struct Permutation {
    n: u64,
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of 0..`n` that `key` names.
    pub fn new(n: u64, key: u64) -> Self {
        let bits = u64::BITS - n.saturating_sub(1).leading_zeros();
        let half = bits.div_ceil(2).max(1);
        let keys = std::array::from_fn(|round| mix(key ^ mix(round as u64)));
        Self { n, half, keys }
    }

    /// Where `index` goes.
    ///
    /// # Panics
    /// If `index` is not below n.
    pub fn at(&self, index: u64) -> u64 {
        assert!(index < self.n, "{index} is not below {}", self.n);
        let mut value = self.encrypt(index);
        // The domain is less than four times n, so this is a walk of four steps on average at most.
        while value >= self.n {
            value = self.encrypt(value);
        }
        value
    }

    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(key ^ right) & mask));
        }
        left << self.half | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_index_comes_once(n in 1u64..3000, key: u64) {
            let permutation = Permutation::new(n, key);
            let mut seen: Vec<u64> = (0..n).map(|index| permutation.at(index)).collect();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..n));
        }

        #[test]
        fn five_thousand_million_rows_need_no_table(a in 0u64..5_000_000_000, b in 0u64..5_000_000_000, key: u64) {
            let permutation = Permutation::new(5_000_000_000, key);
            prop_assert!(permutation.at(a) < 5_000_000_000);
            prop_assert_eq!(permutation.at(a) == permutation.at(b), a == b);
        }
    }

    #[test]
    fn every_place_is_reached_about_evenly() {
        let mut counts = [[0u32; 6]; 6];
        for key in 0..6000 {
            let permutation = Permutation::new(6, key);
            (0..6).for_each(|index| counts[index as usize][permutation.at(index) as usize] += 1);
        }
        assert!(counts.as_flattened().iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
