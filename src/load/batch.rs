//! Rows → one batch of plain buffers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::error::{LoadError, Place};
use super::order::Order;
use super::pairs::{Pairs, Row};
use super::slab::{Slab, Slabs};
use crate::decode::decode_stored_into;
use crate::shard::{Pixels, StoredRow};

/// Token rows are padded to a multiple of this, so that few shapes occur.
const TOKEN_STEP: usize = 8;

/// What one step sees: B rows.
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
    /// `[B, max_len]` token ids, padded with 0.
    pub tokens: Vec<i32>,
    /// Token ids of each row that are no padding.
    pub lengths: Vec<i32>,
    /// The longest row, rounded up to a multiple of 8 (at most the loader's `max_tokens`).
    pub max_len: usize,
    /// Key of each row.
    pub keys: Vec<String>,
    /// View that each row shows.
    pub views: Vec<u32>,
    /// Index of each row's caption in its list.
    pub captions: Vec<u32>,
    /// SHA-256 of each row's source.
    pub sources: Vec<[u8; 32]>,
}

impl Batch {
    /// B.
    pub fn rows(&self) -> usize {
        self.keys.len()
    }
}

/// What is made of each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Side of the centre crop in pixels; `None` keeps the stored square, or the largest square in
    /// every picture where they are not square.
    pub crop: Option<u32>,
    /// Longest row of token ids, `[CLS]` and `[SEP]` included.
    pub max_tokens: usize,
}

/// Makes batches; threads may share it.
pub struct Batcher {
    pairs: Arc<Pairs>,
    order: Order,
    shape: Shape,
    slabs: Slabs,
}

impl Batcher {
    /// A maker of the batches of `order`, which numbers the rows of `pairs`.
    ///
    /// # Errors
    /// If the crop is larger than the stored pictures, or `max_tokens` has no room for a word.
    pub fn new(pairs: Arc<Pairs>, order: Order, shape: Shape) -> Result<Self> {
        check_crop(&pairs, shape.crop)?;
        ensure!(shape.max_tokens >= 3, "max_tokens must be at least 3: [CLS], a token and [SEP]");
        Ok(Self { pairs, order, shape, slabs: Slabs::new(1) })
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

    /// The batch of a step.
    ///
    /// # Errors
    /// If a row is damaged, its shard cannot be read, or it has no
    /// caption of a kind with a weight.
    ///
    /// # Panics
    /// If the epoch has no such step.
    pub fn batch(&self, epoch: u64, step: u64) -> Result<Batch, LoadError> {
        let spec = self.order.spec();
        let rows: Vec<u64> = self.order.batch(epoch, step).collect();
        let side = self.shape.crop.unwrap_or(self.pairs.side()) as usize;
        let images = self.slabs.take(rows.len() * side * side * 3);
        let mut batch = Batch { epoch, step, side, images, ..Batch::default() };
        let mut texts = Vec::with_capacity(rows.len());
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        for row in rows {
            let row = self.pairs.row(row)?;
            let view = row.view(spec.seed, epoch);
            let caption = row.caption(spec.seed, spec.weights, epoch)?;
            let out = &mut batch.images[batch.keys.len() * side * side * 3..][..side * side * 3];
            draw(&row, view, side, out, &mut bytes, &mut scratch)?;
            texts.push(row.tokens(caption));
            batch.keys.push(row.key().to_owned());
            batch.views.push(view);
            batch.captions.push(caption as u32);
            batch.sources.push(*row.source());
        }
        (batch.tokens, batch.lengths, batch.max_len) = pad(&texts, self.shape.max_tokens);
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

/// Draws the centred square of `side` pixels of one row's picture into `out`, its place in the batch.
/// `bytes` and `scratch` are buffers.
pub(super) fn draw(
    row: &Row,
    view: u32,
    side: usize,
    out: &mut [u8],
    bytes: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) -> Result<(), LoadError> {
    let (pixels, stored) = row.picture(view, bytes)?;
    let bad = |why| LoadError::Sample { place: row.place(view), why };
    let (width, height) = (stored.width as usize, stored.height as usize);
    if side > width || side > height {
        return Err(bad(format!("it is stored as {width}x{height}: a square of {side} does not fit")));
    }
    at_place(
        || row.place(view),
        || match pixels {
            Pixels::Raw { .. } if bytes.len() != width * height * 3 => {
                Err("its pixels have another size".into())
            }
            Pixels::Raw { .. } => {
                copy_centre(bytes, width, height, side, out);
                Ok(())
            }
            Pixels::Image => draw_file(bytes, stored, side, out, scratch),
        },
    )
}

/// Errors and panics of work on one row, with its place.
fn at_place(place: impl Fn() -> Place, work: impl FnOnce() -> Result<(), String>) -> Result<(), LoadError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|why| LoadError::Sample { place: place(), why }),
        Err(panic) => Err(LoadError::panicked(Some(place()), &*panic)),
    }
}

fn draw_file(
    bytes: &[u8],
    stored: StoredRow,
    side: usize,
    out: &mut [u8],
    scratch: &mut Vec<u8>,
) -> Result<(), String> {
    let (width, height) = (stored.width as usize, stored.height as usize);
    let decode = |out: &mut [u8]| {
        decode_stored_into(bytes, stored.width, stored.height, out).map_err(|error| error.to_string())
    };
    if (width, height) == (side, side) {
        return decode(out);
    }
    scratch.resize(width * height * 3, 0);
    decode(scratch)?;
    copy_centre(scratch, width, height, side, out);
    Ok(())
}

/// The centred square; an odd margin leaves its extra pixel on the right or bottom.
fn copy_centre(pixels: &[u8], width: usize, height: usize, side: usize, out: &mut [u8]) {
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let lines = pixels.chunks_exact(width * 3).skip(top);
    for (line, out) in lines.zip(out.chunks_exact_mut(side * 3)) {
        out.copy_from_slice(&line[left * 3..][..side * 3]);
    }
}

/// `[B, L]` ids padded with 0, the length of each row, and L. A row that is too long keeps its
/// first `max − 1` ids and its last one, `[SEP]`.
fn pad(rows: &[&[i32]], max: usize) -> (Vec<i32>, Vec<i32>, usize) {
    let longest = rows.iter().map(|row| row.len().min(max)).max().unwrap_or(0);
    let width = longest.next_multiple_of(TOKEN_STEP).min(max);
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
        let (tokens, lengths, width) = pad(&[&[101, 7, 8, 9, 102], &[101, 102]], 4);
        assert_eq!((tokens, lengths, width), (vec![101, 7, 8, 102, 101, 102, 0, 0], vec![4, 2], 4));
    }

    #[test]
    fn the_width_is_a_multiple_of_eight_up_to_the_maximum() {
        let width = |length: usize, max| pad(&[&vec![1; length]], max).2;
        assert_eq!(
            [width(3, 64), width(8, 64), width(9, 64), width(70, 64), width(11, 12)],
            [8, 8, 16, 64, 12]
        );
    }

    #[test]
    fn errors_and_panics_name_the_row_that_was_worked_on() {
        let place = || Place { shard: "a.parquet".into(), row: 3, key: "k".into() };
        let message = |work: fn() -> Result<(), String>| at_place(place, work).unwrap_err().to_string();
        assert_eq!(message(|| Err("cut".into())), "row 3 of a.parquet, key k: cut");
        let panic = "row 3 of a.parquet, key k: a loader thread panicked: oh";
        assert_eq!(message(|| panic!("oh")), panic);
    }

    #[test]
    fn an_odd_margin_leaves_its_extra_pixel_on_the_right_and_bottom() {
        let pixels: Vec<u8> = (0..5 * 4).flat_map(|at| [at, at, at]).collect();
        let mut out = vec![0; 2 * 2 * 3];
        copy_centre(&pixels, 5, 4, 2, &mut out);
        assert_eq!(out.chunks(3).map(|pixel| pixel[0]).collect::<Vec<_>>(), [6, 7, 11, 12]);
    }
}
