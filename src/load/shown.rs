//! What a row shows in an epoch: a view and a caption, drawn from addresses.

use std::str::FromStr;

use super::order::OrderError;
use crate::sample::CaptionKind;
use crate::seed::{Draws, Purpose, hash64, seed_for};

/// How often each kind of caption stands among the entries of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptionWeights([u32; CaptionKind::ALL.len()]);

impl Default for CaptionWeights {
    /// Every kind once.
    fn default() -> Self {
        Self([1; CaptionKind::ALL.len()])
    }
}

impl CaptionWeights {
    /// Weights by the kinds' names; a kind that is left out weighs 0.
    ///
    /// # Errors
    /// If a name is no kind, or no weight is above 0.
    pub fn from_names<'a>(weights: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Self, String> {
        let mut all = [0; CaptionKind::ALL.len()];
        for (name, weight) in weights {
            let kind = CaptionKind::from_name(name).ok_or_else(|| {
                let known = CaptionKind::ALL.map(CaptionKind::name).join(", ");
                format!("`{name}` is no kind of caption; the kinds are {known}")
            })?;
            all[kind as usize] = weight;
        }
        if all.iter().all(|&weight| weight == 0) {
            return Err("no kind of caption has a weight above 0".into());
        }
        Ok(Self(all))
    }

    /// The weight of a kind.
    pub fn of(self, kind: CaptionKind) -> u32 {
        self.0[kind as usize]
    }
}

impl FromStr for CaptionWeights {
    type Err = String;

    /// `original=1,synonym=2`
    fn from_str(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').map(|part| {
            let (name, weight) =
                part.split_once('=').ok_or(format!("`{part}` is not of the form kind=weight"))?;
            let weight = weight.trim().parse().map_err(|_| format!("`{weight}` is no whole weight"))?;
            Ok((name.trim(), weight))
        });
        Self::from_names(pairs.collect::<Result<Vec<_>, String>>()?)
    }
}

/// The view that a shard shows in an epoch: all `views` in as many epochs.
///
/// # Panics
/// If `views` is 0.
pub fn view_of(seed: u64, shard_number: u32, views: u32, epoch: u64) -> u32 {
    let views = u64::from(views);
    let first = seed_for(seed, Purpose::View, 0, u64::from(shard_number)) % views;
    ((epoch % views + first) % views) as u32
}

/// The caption that a row shows in an epoch: index in the row's list. A caption of weight w is w
/// of the row's n entries, and any n epochs from a multiple of n on show every entry once.
///
/// # Errors
/// If every caption of the row weighs 0.
pub fn caption_of(
    seed: u64,
    key: &str,
    kinds: &[CaptionKind],
    weights: CaptionWeights,
    epoch: u64,
) -> Result<usize, OrderError> {
    let repeats =
        |(place, kind): (usize, &CaptionKind)| std::iter::repeat_n(place, weights.of(*kind) as usize);
    let mut entries: Vec<usize> = kinds.iter().enumerate().flat_map(repeats).collect();
    match entries.len() as u64 {
        0 => Err(OrderError::NoCaption { key: key.to_owned() }),
        1 => Ok(entries[0]),
        n => {
            Draws::new(seed_for(seed, Purpose::Caption, epoch / n, hash64(key))).shuffle(&mut entries);
            Ok(entries[(epoch % n) as usize])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_shard_shows_all_its_views_in_as_many_epochs(seed: u64, shard: u32, views in 1u32..9, first in 0u64..1 << 40) {
            let shown: BTreeSet<u32> = (first..first + u64::from(views)).map(|e| view_of(seed, shard, views, e)).collect();
            prop_assert!(shown.into_iter().eq(0..views));
        }

        #[test]
        fn a_row_shows_all_its_entries_in_as_many_epochs(
            seed: u64, key in "[a-z0-9]{1,12}", kinds in prop::collection::vec(0usize..3, 1..9), weights: [u8; 3], round in 0u64..50
        ) {
            let kinds: Vec<CaptionKind> = kinds.into_iter().map(|kind| CaptionKind::ALL[kind]).collect();
            let weights = CaptionWeights(weights.map(|weight| u32::from(weight % 4)));
            let mut expected: Vec<usize> = (0..kinds.len()).flat_map(|at| vec![at; weights.of(kinds[at]) as usize]).collect();
            let n = expected.len() as u64;
            let shown: Result<Vec<usize>, _> =
                (round * n..(round + 1) * n.max(1)).map(|epoch| caption_of(seed, &key, &kinds, weights, epoch)).collect();
            if n == 0 {
                prop_assert_eq!(shown, Err(OrderError::NoCaption { key }));
            } else {
                let mut shown = shown.unwrap();
                shown.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(shown, expected);
            }
        }
    }

    #[test]
    fn weights_are_read_from_their_text() {
        let weights: CaptionWeights = "original=2,back-translation=1".parse().unwrap();
        assert_eq!(CaptionKind::ALL.map(|kind| weights.of(kind)), [2, 0, 1]);
        let refused = |text: &str| text.parse::<CaptionWeights>().unwrap_err();
        assert_eq!(refused("original"), "`original` is not of the form kind=weight");
        assert_eq!(refused("original=0"), "no kind of caption has a weight above 0");
        assert_eq!(refused("synonym=-1"), "`-1` is no whole weight");
        assert!(refused("human=1").starts_with("`human` is no kind of caption; the kinds are original, "));
    }

    #[test]
    fn published_draws_never_change() {
        assert_eq!((0..6).map(|shard| view_of(7, shard, 3, 0)).collect::<Vec<_>>(), [2, 2, 0, 1, 1, 1]);
        let kinds = [CaptionKind::Original; 5];
        let caption =
            |epoch| caption_of(7, "000000000042", &kinds, CaptionWeights::default(), epoch).unwrap();
        assert_eq!((0..10).map(caption).collect::<Vec<_>>(), [3, 2, 0, 4, 1, 4, 1, 0, 3, 2]);
    }
}
