//! Randomness with an address: a draw depends on the run's seed, its purpose, an epoch and an item,
//! never on a thread, a rank, or what was drawn before it.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number
//! generators*, OOPSLA 2014).

use sha2::{Digest, Sha256};

/// What a draw is for. The numbers are part of the order contract and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Crop, flip and jitter of a stored view.
    Augment = 1,
    /// The permutation of rows in an epoch.
    Order = 2,
    /// Which stored view a shard shows in an epoch.
    View = 3,
    /// Which caption a row shows in an epoch.
    Caption = 4,
    /// Fresh weights.
    Weights = 5,
    /// Dropout of one training step: of its first micro-batch (of most steps the only one) at 0, of the next at 1, …
    Dropout = 6,
    /// Where the square is that a step sees of a stored picture.
    Crop = 7,
    /// Flip and jitter of what a step sees.
    Jitter = 8,
    /// Which words of a caption are replaced by synonyms.
    Synonyms = 9,
}

/// The seed at an address.
pub fn seed_for(run: u64, purpose: Purpose, epoch: u64, item: u64) -> u64 {
    [purpose as u64, epoch, item].into_iter().fold(mix(run), |state, part| mix(state ^ part))
}

/// The first 64 bits (big-endian) of a text's SHA-256: an item number for things that have a name.
pub fn hash64(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    u64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

/// SplitMix64's output function: a bijection of 64 bits in which every bit depends on every other.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A stream of draws from one address.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// The stream that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 fresh bits.
    pub fn bits(&mut self) -> u64 {
        let bits = mix(self.0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        bits
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [`low`, `high`); `low` where both are equal.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..`bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below 0");
        // Multiply-shift (Lemire 2019); its bias of bound/2⁶⁴ is far below anything that can be seen.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Fisher–Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_address_matters() {
        let seeds = [
            seed_for(0, Purpose::Order, 0, 0),
            seed_for(1, Purpose::Order, 0, 0),
            seed_for(0, Purpose::View, 0, 0),
            seed_for(0, Purpose::Order, 1, 0),
            seed_for(0, Purpose::Order, 0, 1),
        ];
        for (place, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..place].contains(seed));
        }
    }

    #[test]
    fn published_values_never_change() {
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF); // SplitMix64's first output from state 0
        assert_eq!(hash64(""), 0xE3B0_C442_98FC_1C14);
    }

    #[test]
    fn draws_below_a_bound_cover_it_evenly() {
        let mut draws = Draws::new(7);
        let mut counts = [0u32; 10];
        (0..10_000).for_each(|_| counts[draws.below(10) as usize] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Draws::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
