//! The order `window:N`: shards are permuted, and their rows, one shard after another, are permuted
//! within windows of N. A reader needs the shards of a window or two at a time, not all of them.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::permute::Permutation;
use crate::seed::{Purpose, seed_for};

/// What the order needs to know of the shards: 8 bytes for each, and as much an epoch at hand.
#[derive(Debug)]
pub(super) struct Windows {
    length: u64,
    /// For each shard, the rows before it; then all rows.
    before: Vec<u64>,
    /// Even and odd epochs: near the end of one, threads are already in the next.
    at_hand: [Mutex<Option<Arc<Laid>>>; 2],
}

/// The shards as an epoch lays them out.
#[derive(Debug)]
struct Laid {
    epoch: u64,
    key: u64,
    shards: Permutation,
    /// For each place, the rows up to the end of the shard that lies there.
    ends: Vec<u64>,
}

/// Neighbouring positions that are permuted among themselves.
struct Window {
    positions: Range<u64>,
    rows: Permutation,
    /// The places of the shards that the positions touch.
    places: Range<usize>,
}

/// Rows of one epoch by position. Neighbouring positions share most of the work.
pub(super) struct Walk<'a> {
    windows: &'a Windows,
    laid: Arc<Laid>,
    window: Window,
}

impl Windows {
    /// Windows of `length` rows over shards of so many `rows`.
    pub fn new(length: NonZeroU64, rows: impl IntoIterator<Item = u64>) -> Self {
        let mut before = vec![0];
        before.extend(rows.into_iter().scan(0, |sum, rows| {
            *sum += rows;
            Some(*sum)
        }));
        Self { length: length.get(), before, at_hand: Default::default() }
    }

    /// The rows of an epoch from `position` on, as `key` permutes them.
    ///
    /// # Panics
    /// If there is no such position.
    pub fn walk(&self, epoch: u64, key: u64, position: u64) -> Walk<'_> {
        let laid = self.laid(epoch, key);
        let window = self.window(&laid, position);
        Walk { windows: self, laid, window }
    }

    /// Threads that want the same epoch wait for the first of them to lay it out.
    fn laid(&self, epoch: u64, key: u64) -> Arc<Laid> {
        let mut at_hand = self.at_hand[(epoch % 2) as usize].lock().unwrap_or_else(PoisonError::into_inner);
        match &*at_hand {
            Some(laid) if (laid.epoch, laid.key) == (epoch, key) => laid.clone(),
            _ => at_hand.insert(Arc::new(self.lay(epoch, key))).clone(),
        }
    }

    fn lay(&self, epoch: u64, key: u64) -> Laid {
        let count = self.before.len() as u64 - 1;
        let shards = Permutation::new(count, key);
        let mut end = 0;
        let ends = (0..count).map(|place| {
            let shard = shards.at(place) as usize;
            end += self.before[shard + 1] - self.before[shard];
            end
        });
        let ends = ends.collect();
        Laid { epoch, key, shards, ends }
    }

    fn window(&self, laid: &Laid, position: u64) -> Window {
        let all = *self.before.last().expect("it begins with 0");
        assert!(position < all, "an epoch has {all} rows");
        let number = position / self.length;
        let first = number * self.length;
        let positions = first..all.min(first.saturating_add(self.length));
        // An address of its own: the epoch's key stands for the run's seed.
        let key = seed_for(laid.key, Purpose::Order, laid.epoch, number);
        let rows = Permutation::new(positions.end - first, key);
        let place = |row| laid.ends.partition_point(|&end| end <= row);
        Window { rows, places: place(first)..place(positions.end - 1) + 1, positions }
    }
}

impl Walk<'_> {
    /// The row at a position, counted in the order of the shards' numbers.
    ///
    /// # Panics
    /// If there is no such position.
    pub fn at(&mut self, position: u64) -> u64 {
        if !self.window.positions.contains(&position) {
            self.window = self.windows.window(&self.laid, position);
        }
        let Window { positions, rows, places } = &self.window;
        let row = positions.start + rows.at(position - positions.start);
        let ends = &self.laid.ends;
        let place = places.start + ends[places.clone()].partition_point(|&end| end <= row);
        let before = place.checked_sub(1).map_or(0, |earlier| ends[earlier]);
        self.windows.before[self.laid.shards.at(place as u64) as usize] + (row - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn windows(length: u64, rows: &[u64]) -> Windows {
        Windows::new(NonZeroU64::new(length).unwrap(), rows.iter().copied())
    }

    fn epoch_of(windows: &Windows, epoch: u64, key: u64) -> Vec<u64> {
        let mut walk = windows.walk(epoch, key, 0);
        (0..*windows.before.last().unwrap()).map(|position| walk.at(position)).collect()
    }

    proptest! {
        #[test]
        fn each_window_holds_the_rows_of_its_place_in_the_permuted_shards(
            length in 1u64..60, rows in prop::collection::vec(0u64..20, 1..30), epoch: u64, key: u64
        ) {
            prop_assume!(rows.iter().sum::<u64>() > 0);
            let windows = windows(length, &rows);
            let shards = Permutation::new(rows.len() as u64, key);
            let unmixed: Vec<u64> = (0..rows.len() as u64)
                .map(|place| shards.at(place) as usize)
                .flat_map(|shard| (0..rows[shard]).map(move |row| (shard, row)))
                .map(|(shard, row)| rows[..shard].iter().sum::<u64>() + row)
                .collect();
            let mixed = epoch_of(&windows, epoch, key);
            prop_assert_eq!(mixed.len(), unmixed.len());
            for (mixed, unmixed) in mixed.chunks(length as usize).zip(unmixed.chunks(length as usize)) {
                let sorted = |rows: &[u64]| { let mut rows = rows.to_vec(); rows.sort_unstable(); rows };
                prop_assert_eq!(sorted(mixed), sorted(unmixed));
            }
        }

        #[test]
        fn a_walk_may_begin_and_jump_anywhere(length in 1u64..9, from in 0usize..40, to in 0usize..40) {
            let windows = windows(length, &[7, 0, 20, 13]);
            let all = epoch_of(&windows, 1, 5);
            let mut walk = windows.walk(1, 5, from as u64);
            prop_assert_eq!([walk.at(from as u64), walk.at(to as u64)], [all[from], all[to]]);
        }
    }

    #[test]
    fn windows_of_an_epoch_are_mixed_in_ways_of_their_own() {
        let order = epoch_of(&windows(50, &[100]), 0, 0);
        let mixed: Vec<Vec<u64>> =
            order.chunks(50).map(|window| window.iter().map(|row| row % 50).collect()).collect();
        assert_ne!(mixed[0], mixed[1]);
    }

    #[test]
    fn threads_in_two_epochs_do_not_undo_each_others_layout() {
        let windows = windows(4, &[5, 6]);
        let (this, next) = (windows.laid(3, 1), windows.laid(4, 2));
        assert!(Arc::ptr_eq(&this, &windows.laid(3, 1)) && Arc::ptr_eq(&next, &windows.laid(4, 2)));
        assert!(!Arc::ptr_eq(&this, &windows.laid(5, 1)), "a third epoch takes the place of the first");
    }
}
