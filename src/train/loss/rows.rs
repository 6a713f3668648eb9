//! Which rows of a batch count, and which images and texts belong together.

use std::collections::HashMap;

use tch::{Device, Tensor};

use crate::load::Batch;

/// The good rows of a batch: B images, each with m texts, that show so many different sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Places in the batch; `None` = all.
    good: Option<Vec<i64>>,
    /// The source of each good row, by number.
    source: Vec<i64>,
    sources: usize,
    captions_per_image: i64,
}

impl Rows {
    /// The rows of a batch that are not bad.
    pub fn of(batch: &Batch) -> Self {
        let bad = |row: usize| batch.bad.iter().any(|(place, _)| *place == row);
        let good: Vec<usize> = (0..batch.rows()).filter(|&row| !bad(row)).collect();
        let sources = good.iter().map(|&row| batch.sources[row]);
        let rows = Self::new(sources, batch.captions_per_image());
        let all = batch.bad.is_empty();
        Self { good: (!all).then(|| good.into_iter().map(|row| row as i64).collect()), ..rows }
    }

    /// Rows of these sources, all of them good.
    pub fn new(sources: impl IntoIterator<Item = [u8; 32]>, captions_per_image: usize) -> Self {
        let mut numbers = HashMap::new();
        let mut number = |source| {
            let next = numbers.len() as i64;
            *numbers.entry(source).or_insert(next)
        };
        let source = sources.into_iter().map(&mut number).collect();
        Self { good: None, source, sources: numbers.len(), captions_per_image: captions_per_image as i64 }
    }

    /// m.
    pub fn captions_per_image(&self) -> i64 {
        self.captions_per_image
    }

    /// Whether any image has a text that is not its own: else nothing can be told apart.
    pub fn have_negatives(&self) -> bool {
        self.sources > 1
    }

    /// What `[rows of the batch, …]` says of images, without the bad rows: what is left out here is no column of the
    /// logits, counts in no mean and gets no gradient. Nothing is copied where no row is bad.
    pub fn of_images(&self, all: &Tensor) -> Tensor {
        self.chosen(all, 1)
    }

    /// What `[rows of the batch · m, …]` says of texts, without those of the bad rows.
    pub fn of_texts(&self, all: &Tensor) -> Tensor {
        self.chosen(all, self.captions_per_image)
    }

    /// What `[B]` says of the good rows as `[rows of the batch]`, in which a bad one has no number.
    pub fn spread(&self, of_good: &Tensor, rows: usize) -> Tensor {
        let Some(good) = &self.good else { return of_good.shallow_clone() };
        let all = Tensor::full([rows as i64], f64::NAN, (of_good.kind(), of_good.device()));
        all.index_copy(0, &Tensor::from_slice(good).to_device(of_good.device()), of_good)
    }

    /// `[B, B·m]` of bool: the texts that an image belongs to are its own and those of every row with the same source.
    pub fn positives(&self, device: Device) -> Tensor {
        let image = Tensor::from_slice(&self.source).to_device(device); // [B]
        let text = image.repeat_interleave_self_int(self.captions_per_image, 0, None); // [B·m]
        image.unsqueeze(1).eq_tensor(&text.unsqueeze(0))
    }

    /// The rows of `all` that belong to good ones, `each` of them to a row.
    fn chosen(&self, all: &Tensor, each: i64) -> Tensor {
        let Some(good) = &self.good else { return all.shallow_clone() };
        let places: Vec<i64> = good.iter().flat_map(|row| row * each..(row + 1) * each).collect();
        all.index_select(0, &Tensor::from_slice(&places).to_device(all.device()))
    }
}

/// A batch of these sources of which the rows in `bad` are, for tests.
#[cfg(test)]
pub(super) fn batch(sources: &[u8], captions_per_image: usize, bad: &[usize]) -> Batch {
    use crate::load::{LoadError, Place};
    let error = |row: usize| {
        let place = Place { shard: "a.parquet".into(), row, key: row.to_string() };
        (row, LoadError::Sample { place, why: "it is cut".into() })
    };
    let mut batch = Batch {
        captions: vec![0; sources.len() * captions_per_image],
        sources: sources.iter().map(|&source| [source; 32]).collect(),
        bad: bad.iter().map(|&row| error(row)).collect(),
        ..Batch::default()
    };
    (0..sources.len()).for_each(|row| batch.keys.push(&row.to_string()));
    batch
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn numbers(tensor: &Tensor) -> Vec<i64> {
        tensor.to_kind(Kind::Int64).view(-1).try_into().unwrap()
    }

    #[test]
    fn a_bad_row_goes_with_all_its_texts() {
        let rows = Rows::of(&batch(&[7, 8, 9], 2, &[1]));
        assert_eq!(numbers(&rows.of_images(&Tensor::arange(3, (Kind::Int64, Device::Cpu)))), [0, 2]);
        assert_eq!(numbers(&rows.of_texts(&Tensor::arange(6, (Kind::Int64, Device::Cpu)))), [0, 1, 4, 5]);
        assert_eq!(rows.positives(Device::Cpu).size(), [2, 4]);
        let spread = Vec::<f64>::try_from(rows.spread(&Tensor::from_slice(&[0.5, 0.25]), 3)).unwrap();
        assert!(spread[0] == 0.5 && spread[1].is_nan() && spread[2] == 0.25, "{spread:?}");
    }

    #[test]
    fn without_a_bad_row_nothing_is_copied() {
        let rows = Rows::of(&batch(&[7, 8], 1, &[]));
        let all = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
        assert_eq!(rows.of_images(&all).data_ptr(), all.data_ptr());
    }

    #[test]
    fn rows_of_one_source_are_each_others_positives() {
        let rows = Rows::of(&batch(&[7, 8, 7], 2, &[]));
        let expected = [1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1];
        assert_eq!(numbers(&rows.positives(Device::Cpu)), expected);
        assert!(rows.have_negatives());
        assert!(!Rows::of(&batch(&[7, 7], 2, &[])).have_negatives());
    }
}
