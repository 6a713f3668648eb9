//! Rows → one batch of plain buffers.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::draw::{Brush, Window};
use super::error::LoadError;
use super::meter::Meter;
use super::order::Order;
use super::pairs::{Pairs, Row};
use super::slab::{Slab, Slabs};
use crate::decode::Cut;
use crate::files::sha256_hex;
use crate::shard::Lists;

/// Token rows are padded to a multiple of this, so that few shapes occur.
pub const TOKEN_STEP: usize = 8;

/// What one step sees: B rows, each with m captions.
#[derive(Debug, Default)]
pub struct Batch {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step within the epoch, from 0.
    pub step: u64,
    /// `[B, side, side, 3]` RGB.
    pub images: Slab,
    /// Width and height in pixels.
    pub side: usize,
    /// `[B·m, max_len]` token ids, padded with 0; the m captions of a row stand one after another.
    pub tokens: Vec<i32>,
    /// Token ids of each caption that are no padding.
    pub lengths: Vec<i32>,
    /// Width of `tokens`, by the loader's [`Padding`].
    pub max_len: usize,
    /// Number of each row among all rows of the split.
    pub numbers: Vec<u64>,
    /// Key of each row.
    pub keys: Keys,
    /// View that each row shows.
    pub views: Vec<u32>,
    /// The square of each row's stored picture that is there; `None` where the picture is bad, its
    /// pixels being 0, or the step can do without, its pixels being any.
    pub cuts: Vec<Option<Cut>>,
    /// `[B·m]` index of each caption in its row's list.
    pub captions: Vec<u32>,
    /// SHA-256 of each row's source.
    pub sources: Vec<[u8; 32]>,
    /// Rows whose picture is damaged, with what is wrong, where the loader skips such: their pixels
    /// are 0, their texts are right, and they are to be left out of the loss.
    pub bad: Vec<(usize, LoadError)>,
}

impl Batch {
    /// B.
    pub fn rows(&self) -> usize {
        self.keys.len()
    }

    /// m.
    pub fn captions_per_image(&self) -> usize {
        self.captions.len() / self.rows().max(1)
    }
}

/// Keys of rows, in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(Lists<u8>);

impl Keys {
    /// Appends a key.
    pub fn push(&mut self, key: &str) {
        self.0.push(key.bytes());
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A row's key.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn get(&self, row: usize) -> &str {
        std::str::from_utf8(self.0.get(row)).expect("it was packed from a string")
    }

    /// SHA-256 of the keys, a newline after each, in hexadecimal.
    pub fn sha256(&self) -> String {
        let lines = self.iter().flat_map(|key| [key, "\n"]);
        sha256_hex(lines.collect::<String>().as_bytes())
    }

    /// The keys, row by row.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }
}

/// What is made of each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Side of the crop in pixels; `None` keeps the stored square, or the largest square in every
    /// picture where they are not square.
    pub crop: Option<u32>,
    /// Draws the crop's place by (seed, epoch, key), another each epoch; otherwise it is the centre.
    pub random_crop: bool,
    /// Longest row of token ids, `[CLS]` and `[SEP]` included.
    pub max_tokens: usize,
    /// How wide the rows of token ids are.
    pub padding: Padding,
}

/// How wide the token rows of a batch are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// The batch's longest row, rounded up to a multiple of 8 (at most `max_tokens`): least work.
    #[default]
    Longest,
    /// `max_tokens`, always: one shape, for what is compiled or captured for one.
    Fixed,
}

/// A picture that a step would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step within the epoch, from 0.
    pub step: u64,
    /// Number of the row among all rows of the split.
    pub row: u64,
    /// View.
    pub view: u32,
}

/// Says of a picture whether the step can do without it.
type Spare = dyn Fn(Picture) -> bool + Send + Sync;

/// Makes batches; threads may share it.
pub struct Batcher {
    pairs: Arc<Pairs>,
    order: Order,
    shape: Shape,
    slabs: Slabs,
    skips_bad: bool,
    spare: Option<Box<Spare>>,
    meter: Arc<Meter>,
}

impl Batcher {
    /// A maker of the batches of `order`, which numbers the rows of `pairs`.
    ///
    /// # Errors
    /// If the crop is larger than the stored pictures, or `max_tokens` has no room for a word.
    pub fn new(pairs: Arc<Pairs>, order: Order, shape: Shape) -> Result<Self> {
        check_crop(&pairs, shape.crop)?;
        ensure!(shape.max_tokens >= 3, "max_tokens must be at least 3: [CLS], a token and [SEP]");
        let (slabs, meter) = (Slabs::new(1), Arc::default());
        Ok(Self { pairs, order, shape, slabs, skips_bad: false, spare: None, meter })
    }

    /// The same, but a row whose picture is damaged is named in [`Batch::bad`] and ends nothing.
    #[must_use]
    pub fn skipping_bad(self) -> Self {
        Self { skips_bad: true, ..self }
    }

    /// The same, but pictures of which `spare` says that their step can do without are not read.
    #[must_use]
    pub fn sparing(self, spare: impl Fn(Picture) -> bool + Send + Sync + 'static) -> Self {
        Self { spare: Some(Box::new(spare)), ..self }
    }

    /// The same, keeping up to `slabs` image buffers for use in later batches.
    pub(super) fn recycling(self, slabs: usize) -> Self {
        Self { slabs: Slabs::new(slabs), ..self }
    }

    /// Its order.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Its rows.
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// Longest row of token ids.
    pub fn max_tokens(&self) -> usize {
        self.shape.max_tokens
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The batch of a step.
    ///
    /// # Errors
    /// If a row is damaged, its shard cannot be read, or it has too few
    /// captions of a kind with a weight.
    ///
    /// # Panics
    /// If the epoch has no such step.
    pub fn batch(&self, epoch: u64, step: u64) -> Result<Batch, LoadError> {
        let spec = self.order.spec();
        let numbers: Vec<u64> = self.order.batch(epoch, step).collect();
        let shown = |&row| self.pairs.shown(row, spec.seed, epoch);
        let rows: Vec<Row> = numbers.iter().map(shown).collect::<Result<_, _>>()?;
        let mut batch = self.pictures(&rows, numbers, epoch, step)?;
        batch.captions = vec![0; rows.len() * spec.captions_per_image];
        let mut texts = Vec::with_capacity(batch.captions.len());
        for (row, shown) in rows.iter().zip(batch.captions.chunks_exact_mut(spec.captions_per_image)) {
            row.captions(spec.seed, spec.weights, epoch, shown)?;
            texts.extend(shown.iter().map(|&caption| row.tokens(caption as usize)));
            batch.keys.push(row.key());
            batch.sources.push(*row.source());
        }
        (batch.tokens, batch.lengths, batch.max_len) = pad(&texts, self.shape.max_tokens, self.shape.padding);
        Ok(batch)
    }

    fn pictures(&self, rows: &[Row], numbers: Vec<u64>, epoch: u64, step: u64) -> Result<Batch, LoadError> {
        let seed = self.order.spec().seed;
        let side = self.shape.crop.unwrap_or(self.pairs.side()) as usize;
        let size = side * side * 3;
        let images = self.slabs.take(rows.len() * size);
        let mut batch = Batch { epoch, step, side, images, numbers, ..Batch::default() };
        let mut brush = Brush::default();
        let began = Instant::now();
        for (place, row) in rows.iter().enumerate() {
            let view = row.view(seed, epoch);
            batch.views.push(view);
            let picture = Picture { epoch, step, row: batch.numbers[place], view };
            if self.spare.as_ref().is_some_and(|spare| spare(picture)) {
                batch.cuts.push(None);
                continue;
            }
            let window = match self.shape.random_crop {
                true => Window::random(side, seed, epoch, row.key()),
                false => Window::centre(side),
            };
            let out = &mut batch.images[place * size..][..size];
            let drawn = brush.draw(row, view, window, out);
            batch.cuts.push(drawn.as_ref().ok().copied());
            match drawn {
                Err(error) if self.skips_bad && error.is_of_a_sample() => {
                    out.fill(0);
                    batch.bad.push((place, error));
                }
                drawn => drop(drawn?),
            }
        }
        self.meter.add(&brush, began.elapsed());
        Ok(batch)
    }
}

/// # Errors
/// If `crop` is larger than the stored pictures.
pub(super) fn check_crop(pairs: &Pairs, crop: Option<u32>) -> Result<()> {
    let (crop, side) = (crop.unwrap_or(1), pairs.side());
    ensure!(crop > 0, "the crop must be at least one pixel");
    ensure!(crop <= side, "a crop of {crop} pixels is larger than the stored pictures, which have {side}");
    Ok(())
}

/// `[rows, L]` ids padded with 0, the length of each row, and L. A row that is too long keeps its
/// first `max − 1` ids and its last one, `[SEP]`.
fn pad(rows: &[&[i32]], max: usize, padding: Padding) -> (Vec<i32>, Vec<i32>, usize) {
    let longest = rows.iter().map(|row| row.len().min(max)).max().unwrap_or(0);
    let width = match padding {
        Padding::Longest => longest.next_multiple_of(TOKEN_STEP).min(max),
        Padding::Fixed => max,
    };
    let mut tokens = vec![0; rows.len() * width];
    let mut lengths = Vec::with_capacity(rows.len());
    for (row, out) in rows.iter().zip(tokens.chunks_exact_mut(width.max(1))) {
        let length = row.len().min(max);
        out[..length].copy_from_slice(&row[..length]);
        if let (Some(last), true) = (row.last(), row.len() > max) {
            out[length - 1] = *last;
        }
        lengths.push(length as i32);
    }
    (tokens, lengths, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_row_keeps_its_end_token() {
        let (tokens, lengths, width) = pad(&[&[101, 7, 8, 9, 102], &[101, 102]], 4, Padding::Longest);
        assert_eq!((tokens, lengths, width), (vec![101, 7, 8, 102, 101, 102, 0, 0], vec![4, 2], 4));
    }

    #[test]
    fn the_width_is_a_multiple_of_eight_up_to_the_maximum() {
        let width = |length: usize, max| pad(&[&vec![1; length]], max, Padding::Longest).2;
        assert_eq!(
            [width(3, 64), width(8, 64), width(9, 64), width(70, 64), width(11, 12)],
            [8, 8, 16, 64, 12]
        );
    }

    #[test]
    fn a_fixed_width_is_the_maximum_and_adds_only_pads() {
        let (tokens, lengths, width) = pad(&[&[101, 7, 102], &[101, 102]], 5, Padding::Fixed);
        let expected = vec![101, 7, 102, 0, 0, 101, 102, 0, 0, 0];
        assert_eq!((tokens, lengths, width), (expected, vec![3, 2], 5));
    }
}
