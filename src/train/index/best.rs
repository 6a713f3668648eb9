//! The best of many scored rows, in memory for a few of them.

use std::cmp::Ordering;

/// A row of a table: the number of its row group, and its own within that.
pub type Place = (usize, usize);

/// The `k` best rows of those offered so far. Which they are does not depend on the order of the offers.
#[derive(Clone, Debug)]
pub struct Best {
    k: usize,
    rows: Vec<(f64, Place)>,
    /// The worst row that can still matter, once there are `k`.
    bar: Option<(f64, Place)>,
}

impl Best {
    /// None so far.
    pub fn new(k: usize) -> Self {
        Self { k, rows: Vec::new(), bar: None }
    }

    /// Takes a row that may be among the best.
    pub fn offer(&mut self, score: f64, place: Place) {
        let row = (score, place);
        if self.k == 0 || self.bar.as_ref().is_some_and(|bar| order(&row, bar).is_gt()) {
            return;
        }
        self.rows.push(row);
        if self.rows.len() >= self.k.saturating_mul(2).max(64) {
            self.cut();
        }
    }

    /// The best of both.
    pub fn and(mut self, other: Self) -> Self {
        other.rows.into_iter().for_each(|(score, place)| self.offer(score, place));
        self
    }

    /// Scores and places, the highest score first; equal scores by place.
    pub fn sorted(mut self) -> Vec<(f64, Place)> {
        self.rows.sort_unstable_by(order);
        self.rows.truncate(self.k);
        self.rows
    }

    fn cut(&mut self) {
        if self.rows.len() > self.k {
            let (_, bar, _) = self.rows.select_nth_unstable_by(self.k - 1, order);
            self.bar = Some(*bar);
            self.rows.truncate(self.k);
        }
    }
}

fn order(a: &(f64, Place), b: &(f64, Place)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_that_sorting_gives() {
        let rows: Vec<(f64, Place)> =
            (0..500).map(|i| (f64::from(i * 37 % 101), (i as usize % 7, i as usize))).collect();
        let mut sorted = rows.clone();
        sorted.sort_by(order);
        for k in [0, 1, 10, 70, 499, 500, usize::MAX] {
            let offered = |rows: &[(f64, Place)]| {
                let mut best = Best::new(k);
                rows.iter().for_each(|(score, place)| best.offer(*score, *place));
                best
            };
            let (first, second) = rows.split_at(123);
            let expected = &sorted[..k.min(rows.len())];
            assert_eq!(offered(&rows).sorted(), expected, "{k}");
            assert_eq!(offered(second).and(offered(first)).sorted(), expected, "{k}, in two parts");
        }
    }
}
