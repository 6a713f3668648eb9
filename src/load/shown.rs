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

/// Entries of a row that are laid out without an allocation.
const FEW: usize = 64;

/// The captions that a row shows in an epoch, as many as `shown` has room for: indices in the row's
/// list. A caption of weight w is w of the row's n entries, and with m captions at a time, epoch e
/// shows entries e·m … e·m + m − 1 of the rounds: from any multiple of n on, n entries in a row are
/// every entry once.
///
/// # Errors
/// If every caption of the row weighs 0, or it has fewer entries than `shown` has room for.
pub fn captions_of(
    seed: u64,
    key: &str,
    kinds: &[CaptionKind],
    weights: CaptionWeights,
    epoch: u64,
    shown: &mut [u32],
) -> Result<(), OrderError> {
    let n: u64 = kinds.iter().map(|&kind| u64::from(weights.of(kind))).sum();
    check_entries(key, n, shown.len())?;
    let (mut few, mut many) = ([0; FEW], Vec::new());
    let entries = match n as usize {
        n @ ..=FEW => &mut few[..n],
        n => {
            many.resize(n, 0);
            &mut many[..]
        }
    };
    let first = u128::from(epoch) * shown.len() as u128;
    let mut drawn = None;
    for (at, caption) in (first..).zip(shown) {
        let (round, place) = ((at / u128::from(n)) as u64, (at % u128::from(n)) as usize);
        if drawn != Some(round) {
            lay_out(kinds, weights, entries);
            if n > 1 {
                Draws::new(seed_for(seed, Purpose::Caption, round, hash64(key))).shuffle(entries);
            }
            drawn = Some(round);
        }
        *caption = entries[place];
    }
    Ok(())
}

fn check_entries(key: &str, entries: u64, wanted: usize) -> Result<(), OrderError> {
    match entries {
        0 => Err(OrderError::NoCaption { key: key.to_owned() }),
        n if n < wanted as u64 => Err(OrderError::FewCaptions { key: key.to_owned(), entries, wanted }),
        _ => Ok(()),
    }
}

/// Each caption's place in the list, so often as it weighs.
fn lay_out(kinds: &[CaptionKind], weights: CaptionWeights, entries: &mut [u32]) {
    let repeats = |(place, &kind): (u32, &CaptionKind)| std::iter::repeat_n(place, weights.of(kind) as usize);
    let laid = (0..).zip(kinds).flat_map(repeats);
    entries.iter_mut().zip(laid).for_each(|(entry, place)| *entry = place);
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
        fn a_row_shows_all_its_entries_before_any_again(
            seed: u64, key in "[a-z0-9]{1,12}", kinds in prop::collection::vec(0usize..3, 1..30), weights: [u8; 3],
            many in 1usize..6, round in 0u64..50
        ) {
            let kinds: Vec<CaptionKind> = kinds.into_iter().map(|kind| CaptionKind::ALL[kind]).collect();
            let weights = CaptionWeights(weights.map(|weight| u32::from(weight % 4)));
            let mut expected: Vec<u32> = (0..).zip(&kinds).flat_map(|(at, &kind)| vec![at; weights.of(kind) as usize]).collect();
            let (n, mut shown) = (expected.len(), vec![0; many]);
            let mut show = |epoch| captions_of(seed, &key, &kinds, weights, epoch, &mut shown).map(|()| shown.clone());
            if n == 0 {
                prop_assert_eq!(show(round), Err(OrderError::NoCaption { key }));
            } else if n < many {
                prop_assert_eq!(show(round), Err(OrderError::FewCaptions { key, entries: n as u64, wanted: many }));
            } else {
                // n epochs from a multiple of n on: `many` rounds of n entries each.
                let epochs = round * n as u64..(round + 1) * n as u64;
                let shown: Vec<u32> = epochs.flat_map(|epoch| show(epoch).unwrap()).collect();
                expected.sort_unstable();
                for round in shown.chunks(n) {
                    let mut round = round.to_vec();
                    round.sort_unstable();
                    prop_assert_eq!(&round, &expected);
                }
            }
        }

        #[test]
        fn several_captions_at_a_time_are_those_of_as_many_epochs_with_one(
            seed: u64, key in "[a-z0-9]{1,12}", n in 1usize..80, many in 1usize..9, epoch in 0u64..1 << 40
        ) {
            prop_assume!(many <= n);
            let kinds = vec![CaptionKind::Original; n];
            let show = |epoch, many| {
                let mut shown = vec![0; many];
                captions_of(seed, &key, &kinds, CaptionWeights::default(), epoch, &mut shown).unwrap();
                shown
            };
            let one: Vec<u32> = (0..many as u64).flat_map(|at| show(epoch * many as u64 + at, 1)).collect();
            prop_assert_eq!(show(epoch, many), one);
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
        let captions = |epochs: std::ops::Range<u64>, many: usize| -> Vec<u32> {
            let mut shown = vec![0; many];
            let mut show = |epoch| {
                captions_of(7, "000000000042", &kinds, CaptionWeights::default(), epoch, &mut shown).unwrap();
                shown.clone()
            };
            epochs.flat_map(&mut show).collect()
        };
        assert_eq!(captions(0..10, 1), [3, 2, 0, 4, 1, 4, 1, 0, 3, 2]);
        assert_eq!(captions(0..5, 2), captions(0..10, 1));
        assert_eq!(captions(u64::MAX - 1..u64::MAX, 4).len(), 4, "the last epoch has captions too");
    }
}
