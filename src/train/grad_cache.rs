//! A step's batch through a tower in parts, as far as memory goes, with the gradient of the whole.
//!
//! The towers run without a graph, part by part; the loss of all features gives its gradient with respect to each; the
//! towers run again, part by part, with a graph, and take that gradient on. A tower that is frozen runs once.
//! <https://arxiv.org/abs/2101.06983>

use std::ops::Range;

use tch::Tensor;

use crate::load::order::rank_range;

/// Rows of a batch that pass through a tower together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MicroBatch {
    /// Its place among the batch's parts.
    pub number: u64,
    /// Its rows.
    pub rows: Range<usize>,
}

/// Cuts a batch into parts of at most `micro_batch` rows, whose sizes differ by one at most.
///
/// # Panics
/// If `micro_batch` is 0.
pub fn parts(rows: usize, micro_batch: Option<usize>) -> Vec<MicroBatch> {
    let count = rows.div_ceil(micro_batch.unwrap_or(rows).max(1)).max(1);
    (0..count).map(|part| MicroBatch { number: part as u64, rows: rank_range(rows, part, count) }).collect()
}

/// Features of a batch's rows, by the part: of one part as `tower` gives them, graph and all; of several without a
/// graph, and where the tower `trains` with room for a gradient, which [`second_pass`] takes on.
pub fn first_pass(parts: &[MicroBatch], trains: bool, tower: impl Fn(&MicroBatch) -> Tensor) -> Tensor {
    if let [whole] = parts {
        return tower(whole);
    }
    let features = tch::no_grad(|| Tensor::cat(&parts.iter().map(tower).collect::<Vec<_>>(), 0));
    features.set_requires_grad(trains)
}

/// Takes the gradient that `features` of several parts were given on into the tower, which has to draw what it drew
/// before.
pub fn second_pass(parts: &[MicroBatch], features: &Tensor, tower: impl Fn(&MicroBatch) -> Tensor) {
    if parts.len() < 2 || !features.requires_grad() {
        return;
    }
    let gradients = features.grad();
    let mut from = 0;
    for part in parts {
        let features = tower(part);
        let rows = features.size()[0]; // a text tower has several to an image
        let gradient = gradients.narrow(0, from, rows);
        (features * &gradient).sum(gradient.kind()).backward();
        from += rows;
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::seed::Draws;

    fn sizes(rows: usize, micro_batch: Option<usize>) -> Vec<usize> {
        parts(rows, micro_batch).into_iter().map(|part| part.rows.len()).collect()
    }

    #[test]
    fn parts_are_even_and_no_larger_than_asked_for() {
        assert_eq!(sizes(12, None), [12]);
        assert_eq!(sizes(12, Some(12)), [12]);
        assert_eq!(sizes(12, Some(4)), [4, 4, 4]);
        assert_eq!(sizes(9, Some(4)), [3, 3, 3]);
        assert_eq!(sizes(10, Some(4)), [3, 3, 4]);
    }

    /// The gradient of Σ(softmax of all features)² with respect to the weight of a tower that leaves out other features in
    /// each part, in so many rows at a time: with gradient caching, or with the graph of all parts.
    fn gradient(inputs: &Tensor, micro_batch: usize, cached: bool) -> Tensor {
        let weight = Tensor::ones([3, 2], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let tower = |part: &MicroBatch| {
            let (from, rows) = (part.rows.start as i64, part.rows.len() as i64);
            let mut draws = Draws::new(part.number);
            let kept: Vec<f64> = (0..2 * rows).map(|_| f64::from(draws.chance(0.5))).collect();
            let features = inputs.narrow(0, from, rows).matmul(&weight).tanh();
            features * Tensor::from_slice(&kept).view([rows, 2])
        };
        let parts = parts(7, Some(micro_batch));
        let features = match cached {
            true => first_pass(&parts, true, tower),
            false => Tensor::cat(&parts.iter().map(tower).collect::<Vec<_>>(), 0),
        };
        features.softmax(0, Kind::Double).square().sum(Kind::Double).backward();
        if cached {
            second_pass(&parts, &features, tower);
        }
        weight.grad()
    }

    #[test]
    fn the_gradient_is_that_of_the_whole_graph() {
        let inputs = Tensor::randn([7, 3], (Kind::Double, Device::Cpu));
        for micro_batch in [1, 3, 6, 7] {
            let apart =
                (gradient(&inputs, micro_batch, true) - gradient(&inputs, micro_batch, false)).abs().max();
            assert!(apart.double_value(&[]) < 1e-15, "{micro_batch}: {apart:?}");
        }
    }

    #[test]
    fn a_frozen_tower_runs_once() {
        let runs = std::cell::Cell::new(0);
        let tower = |part: &MicroBatch| {
            runs.set(runs.get() + 1);
            Tensor::ones([part.rows.len() as i64, 2], (Kind::Double, Device::Cpu))
        };
        let parts = parts(6, Some(2));
        let features = first_pass(&parts, false, tower);
        second_pass(&parts, &features, tower);
        assert_eq!((runs.get(), features.size()), (3, vec![6, 2]));
    }
}
