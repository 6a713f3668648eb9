//! Which rows a training step sees: pure arithmetic over row numbers. Knows nothing of files.
//!
//! Everything here is a function of the spec, the epoch and the step; never of threads, ranks or
//! what was asked before.

mod spec;

use std::ops::Range;
use std::sync::Arc;

use super::permute::Permutation;
use super::window::{Walk, Windows};
use crate::seed::{Purpose, hash64, seed_for};

pub use self::spec::{OrderError, OrderSpec, Shuffle};

/// The rows of every step of every epoch.
#[derive(Clone, Debug)]
pub struct Order {
    spec: OrderSpec,
    item: u64,
    kept: u64,
    /// For each excluded row, the kept rows before it.
    kept_before: Vec<u64>,
    /// Shared by clones: it keeps the layout of the epoch at hand.
    windows: Option<Arc<Windows>>,
}

/// How the kept rows of one epoch are numbered.
enum Numbering<'a> {
    File,
    Full(Permutation),
    Windows(Walk<'a>),
}

impl Order {
    /// The order of the rows of `shards`: how many each shard of the split holds, those of all
    /// datasets one after another.
    ///
    /// # Errors
    /// If an epoch would have no step.
    ///
    /// # Panics
    /// If `excluded` is not sorted, repeats itself or names a row that does not exist.
    pub fn new(spec: OrderSpec, shards: &[u64]) -> Result<Self, OrderError> {
        let rows: u64 = shards.iter().sum();
        assert!(spec.excluded.is_sorted_by(|a, b| a < b), "excluded rows are sorted and named once");
        assert!(spec.excluded.last().is_none_or(|&last| last < rows), "excluded rows exist");
        let kept = rows - spec.excluded.len() as u64;
        let split = spec.split.clone();
        if spec.batch == 0 {
            return Err(OrderError::EmptyBatch);
        }
        if spec.captions_per_image == 0 {
            return Err(OrderError::NoCaptionAsked);
        }
        if kept == 0 {
            return Err(OrderError::NoRows { split, rows, excluded: spec.excluded.len() });
        }
        if spec.drop_last && kept < spec.batch as u64 {
            return Err(OrderError::NoStep { batch: spec.batch, rows: kept, split });
        }
        let item = hash64(&format!("{}\n{}", spec.fingerprints.join("\n"), spec.split));
        let kept_before = spec.excluded.iter().zip(0..).map(|(&row, earlier)| row - earlier).collect();
        let windows = match spec.shuffle {
            Shuffle::Window(length) => {
                Some(Arc::new(Windows::new(length, kept_by_shard(shards, &spec.excluded))))
            }
            Shuffle::Full | Shuffle::None => None,
        };
        Ok(Self { spec, item, kept, kept_before, windows })
    }

    /// What it was made from.
    pub fn spec(&self) -> &OrderSpec {
        &self.spec
    }

    /// Rows of an epoch, before a short last step is dropped.
    pub fn rows(&self) -> u64 {
        self.kept
    }

    /// Steps of an epoch.
    pub fn steps(&self) -> u64 {
        let batch = self.spec.batch as u64;
        if self.spec.drop_last { self.kept / batch } else { self.kept.div_ceil(batch) }
    }

    /// The rows of a step in their order, over all ranks.
    ///
    /// # Panics
    /// If the epoch has no such step.
    pub fn batch(&self, epoch: u64, step: u64) -> impl Iterator<Item = u64> + '_ {
        assert!(step < self.steps(), "an epoch has {} steps", self.steps());
        let first = step * self.spec.batch as u64;
        let mut numbering = self.numbering(epoch, first);
        (first..self.kept.min(first + self.spec.batch as u64))
            .map(move |position| self.row(numbering.at(position)))
    }

    /// The row at a position of an epoch.
    ///
    /// # Panics
    /// If the epoch has no such position.
    pub fn row_at(&self, epoch: u64, position: u64) -> u64 {
        assert!(position < self.kept, "an epoch has {} rows", self.kept);
        self.row(self.numbering(epoch, position).at(position))
    }

    fn numbering(&self, epoch: u64, from: u64) -> Numbering<'_> {
        let key = || seed_for(self.spec.seed, Purpose::Order, epoch, self.item);
        match (self.spec.shuffle, &self.windows) {
            (Shuffle::None, _) => Numbering::File,
            (_, None) => Numbering::Full(Permutation::new(self.kept, key())),
            (_, Some(windows)) => Numbering::Windows(windows.walk(epoch, key(), from)),
        }
    }

    /// The number, among all rows, of a kept row.
    fn row(&self, kept: u64) -> u64 {
        kept + self.kept_before.partition_point(|&before| before <= kept) as u64
    }
}

impl Numbering<'_> {
    fn at(&mut self, position: u64) -> u64 {
        match self {
            Self::File => position,
            Self::Full(permutation) => permutation.at(position),
            Self::Windows(walk) => walk.at(position),
        }
    }
}

/// The rows of each shard that are not among the `excluded`.
fn kept_by_shard(shards: &[u64], mut excluded: &[u64]) -> impl Iterator<Item = u64> {
    let mut end = 0;
    shards.iter().map(move |&rows| {
        end += rows;
        let (here, later) = excluded.split_at(excluded.partition_point(|&row| row < end));
        excluded = later;
        rows - here.len() as u64
    })
}

/// The rows of a step of `rows` rows that belong to a rank.
///
/// # Panics
/// If `rank` is not below `world`.
pub fn rank_range(rows: usize, rank: usize, world: usize) -> Range<usize> {
    assert!(rank < world, "rank {rank} of {world}");
    rank * rows / world..(rank + 1) * rows / world
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::num::NonZeroU64;

    use crate::load::shown::CaptionWeights;

    fn spec(seed: u64, batch: usize, excluded: Vec<u64>) -> OrderSpec {
        OrderSpec {
            fingerprints: vec!["a".into()],
            split: "train".into(),
            seed,
            batch,
            shuffle: Shuffle::Full,
            weights: CaptionWeights::default(),
            captions_per_image: 1,
            drop_last: false,
            excluded,
        }
    }

    fn window(rows: u64) -> Shuffle {
        Shuffle::Window(NonZeroU64::new(rows).unwrap())
    }

    fn epoch_of(order: &Order, epoch: u64) -> Vec<u64> {
        (0..order.steps()).flat_map(|step| order.batch(epoch, step)).collect()
    }

    proptest! {
        #[test]
        fn an_epoch_has_every_kept_row_once_and_no_excluded_one(
            seed: u64, epoch in 0u64..9, rows in 1u64..500, batch in 1usize..70, flags in prop::collection::vec(prop::bool::weighted(0.2), 500)
        ) {
            let (excluded, kept): (Vec<u64>, Vec<u64>) = (0..rows).partition(|&row| flags[row as usize]);
            prop_assume!(!kept.is_empty());
            let order = Order::new(spec(seed, batch, excluded), &[rows]).unwrap();
            let shuffled = epoch_of(&order, epoch);
            prop_assert_eq!(&shuffled, &(0..order.rows()).map(|at| order.row_at(epoch, at)).collect::<Vec<_>>());
            let mut sorted = shuffled;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, kept);
        }

        #[test]
        fn the_ranks_of_any_world_make_up_the_step(rows in 0usize..700) {
            for world in [1, 2, 3, 4, 8] {
                let joined: Vec<usize> = (0..world).flat_map(|rank| rank_range(rows, rank, world)).collect();
                prop_assert!(joined.into_iter().eq(0..rows));
            }
        }

    }

    #[test]
    fn every_part_of_the_spec_changes_the_order() {
        let order = |change: fn(&mut OrderSpec), epoch| {
            let mut spec = spec(1, 10, Vec::new());
            change(&mut spec);
            epoch_of(&Order::new(spec, &[40, 0, 35, 25]).unwrap(), epoch)
        };
        let all = [
            order(|_| (), 0),
            order(|_| (), 1),
            order(|spec| spec.seed = 2, 0),
            order(|spec| spec.split = "val".into(), 0),
            order(|spec| spec.fingerprints.push("b".into()), 0),
            order(|spec| spec.shuffle = Shuffle::None, 0),
            order(|spec| spec.shuffle = window(30), 0),
            order(|spec| spec.shuffle = window(31), 0),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all[5].iter().copied().eq(0..100));
    }

    #[test]
    fn dropping_the_last_step_leaves_only_full_ones() {
        let order = Order::new(OrderSpec { drop_last: true, ..spec(0, 30, vec![5]) }, &[101]).unwrap();
        assert_eq!((order.steps(), order.batch(0, 2).count()), (3, 30));
        let order = Order::new(spec(0, 30, vec![5]), &[101]).unwrap();
        assert_eq!((order.steps(), order.batch(0, 3).count()), (4, 10));
    }

    #[test]
    fn an_order_without_a_step_is_refused_in_words() {
        let refused = |spec, rows| Order::new(spec, &[rows]).unwrap_err().to_string();
        assert_eq!(refused(spec(0, 0, vec![]), 1), "the batch must have at least one row");
        let silent = OrderSpec { captions_per_image: 0, ..spec(0, 1, vec![]) };
        assert_eq!(refused(silent, 1), "an image must show at least one caption");
        assert_eq!(refused(spec(0, 1, vec![0]), 1), "split `train` has no row left: 1 rows, 1 excluded");
        let short = OrderSpec { drop_last: true, ..spec(0, 9, vec![]) };
        let message = "a batch of 9 is larger than the 8 rows of split `train`: without the last, short batch no step is left";
        assert_eq!(refused(short, 8), message);
    }

    #[test]
    fn published_orders_never_change() {
        let order = Order::new(spec(7, 4, vec![2]), &[9]).unwrap();
        assert_eq!(epoch_of(&order, 3), [1, 7, 6, 4, 8, 5, 3, 0]);
        let windows = OrderSpec { shuffle: window(4), ..spec(7, 5, vec![2]) };
        let order = Order::new(windows, &[4, 0, 3, 5]).unwrap();
        assert_eq!(epoch_of(&order, 3), [6, 0, 5, 4, 8, 1, 7, 3, 10, 9, 11]);
        assert_eq!(epoch_of(&order, 4), [4, 6, 7, 5, 9, 10, 11, 8, 3, 1, 0]);
    }
}
