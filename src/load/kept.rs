//! What is known of a shard's rows: asked for row by row at first, and read as a whole once it is
//! asked for often.
//!
//! The first batch of a shuffled epoch touches hundreds of shards in one row each; reading all of
//! them would take seconds. Later every row of a shard is wanted, and one by one costs many times as
//! much.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use anyhow::Result;

use super::error::LoadError;
use crate::seed::mix;

/// Rows that are read alone before the whole is: at least so many, and less than twice as many.
/// Shards differ in it, so that an epoch does not stop to read them all in one step.
const ALONE: u64 = 24;

/// Memory that may still be filled.
pub struct Budget(AtomicUsize);

impl Budget {
    /// So many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn spend(&self, bytes: usize) {
        let less = |left: usize| Some(left.saturating_sub(bytes));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// A `T` about the rows of one shard.
pub struct Kept<T> {
    whole: OnceLock<Result<T, LoadError>>,
    asked: AtomicU32,
    alone: u32,
}

/// What was found: about all rows of the shard, or about the one alone.
pub enum Found<'a, T> {
    /// About all.
    Whole(&'a T),
    /// About the row that was asked for.
    Alone(Box<T>),
}

impl<T> Found<'_, T> {
    /// The rows that were read.
    pub fn all(&self) -> &T {
        match self {
            Self::Whole(whole) => whole,
            Self::Alone(alone) => alone,
        }
    }

    /// The place among them of the row that was asked for.
    pub fn row(&self, row: usize) -> usize {
        if matches!(self, Self::Whole(_)) { row } else { 0 }
    }
}

impl<T> Kept<T> {
    /// Nothing yet, of the shard of that number.
    pub fn new(shard: u32) -> Self {
        let alone = (ALONE + mix(shard.into()) % ALONE) as u32;
        Self { whole: OnceLock::new(), asked: AtomicU32::new(0), alone }
    }

    /// What `read` gives, together with its size in bytes, for the row, or for all where it is given
    /// none.
    ///
    /// # Errors
    /// Those of `read`; of the whole, they stay.
    pub fn find(
        &self,
        row: usize,
        budget: &Budget,
        read: impl Fn(Option<usize>) -> Result<(T, usize)>,
    ) -> Result<Found<'_, T>, LoadError> {
        let is_alone = || {
            let asked = self.asked.fetch_add(1, Ordering::Relaxed); // not once the whole is there: threads share it
            asked < self.alone || budget.is_spent()
        };
        if self.whole.get().is_none() && is_alone() {
            let (alone, _) = read(Some(row)).map_err(LoadError::shard)?;
            return Ok(Found::Alone(Box::new(alone)));
        }
        let whole = self.whole.get_or_init(|| {
            let (whole, bytes) = read(None).map_err(LoadError::shard)?;
            budget.spend(bytes);
            Ok(whole)
        });
        whole.as_ref().map(Found::Whole).map_err(Clone::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(only: Option<usize>) -> Result<(Vec<usize>, usize)> {
        Ok((only.map_or((0..10).collect(), |row| vec![row]), 80))
    }

    fn value(kept: &Kept<Vec<usize>>, row: usize, budget: &Budget) -> (usize, bool) {
        let found = kept.find(row, budget, read).unwrap();
        (found.all()[found.row(row)], matches!(found, Found::Whole(_)))
    }

    #[test]
    fn the_whole_is_read_once_it_is_asked_for_often() {
        let (kept, budget) = (Kept::new(3), Budget::new(1000));
        let found: Vec<(usize, bool)> = (0..100).map(|at| value(&kept, at % 10, &budget)).collect();
        assert!(found.iter().enumerate().all(|(at, &(value, _))| value == at % 10));
        let first_whole = found.iter().position(|&(_, whole)| whole).unwrap();
        assert!((24..48).contains(&first_whole), "{first_whole}");
        assert!(found[first_whole..].iter().all(|&(_, whole)| whole));
    }

    #[test]
    fn without_memory_left_rows_stay_alone() {
        let budget = Budget::new(100);
        let (first, second, third) = (Kept::new(1), Kept::new(2), Kept::new(3));
        let last = |kept: &Kept<Vec<usize>>| (0..100).map(|at| value(kept, at % 10, &budget)).last().unwrap();
        assert_eq!([last(&first), last(&second), last(&third)], [(9, true), (9, true), (9, false)]);
    }

    #[test]
    fn an_error_of_the_whole_stays() {
        let kept: Kept<Vec<usize>> = Kept::new(0);
        let read = |only: Option<usize>| match only {
            Some(row) => Ok((vec![row], 8)),
            None => anyhow::bail!("cut"),
        };
        let results: Vec<bool> = (0..60).map(|_| kept.find(0, &Budget::new(1000), read).is_ok()).collect();
        assert!(results[..24].iter().all(|ok| *ok) && results[48..].iter().all(|ok| !ok));
    }
}
