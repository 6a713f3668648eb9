//! A split in file order with every caption of every row, for evaluation: view 0, nothing drawn by
//! lot, the last batch short.

use anyhow::Result;

use super::batch::check_crop;
use super::draw::{Brush, Window};
use super::error::LoadError;
use super::pairs::{Pairs, Row};
use crate::sample::Caption;
use crate::shard::Texts;

/// B rows with all their captions.
#[derive(Debug, Default)]
pub struct EvalBatch {
    /// `[B, side, side, 3]` RGB.
    pub images: Vec<u8>,
    /// Width and height in pixels.
    pub side: usize,
    /// Key of each row.
    pub keys: Vec<String>,
    /// Captions of each row.
    pub captions: Vec<Vec<Caption>>,
    /// SHA-256 of each row's source.
    pub sources: Vec<[u8; 32]>,
}

/// The batches of a split in file order.
pub struct InOrder<'a> {
    pairs: &'a Pairs,
    crop: Option<u32>,
    batch: usize,
    next: u64,
    /// Number of the first row of the shard at hand, and its texts.
    texts: (u64, Texts),
}

impl Pairs {
    /// All rows in file order, `batch` at a time, with a centre crop of `crop` pixels or, without
    /// one, the stored square (of pictures that are not square the largest that each has).
    ///
    /// # Errors
    /// If the crop is larger than the stored pictures.
    ///
    /// # Panics
    /// If `batch` is 0.
    pub fn in_order(&self, crop: Option<u32>, batch: usize) -> Result<InOrder<'_>> {
        assert!(batch > 0, "a batch has at least one row");
        check_crop(self, crop)?;
        Ok(InOrder { pairs: self, crop, batch, next: 0, texts: (0, Texts::default()) })
    }
}

impl InOrder<'_> {
    fn make(&mut self) -> Result<EvalBatch, LoadError> {
        let side = self.crop.unwrap_or(self.pairs.side()) as usize;
        let rows = self.next..self.pairs.rows().min(self.next + self.batch as u64);
        let mut batch = EvalBatch { side, ..EvalBatch::default() };
        batch.images.resize((rows.end - rows.start) as usize * side * side * 3, 0);
        let mut brush = Brush::default();
        for (number, out) in rows.zip(batch.images.chunks_exact_mut(side * side * 3)) {
            let row = self.pairs.row(number)?;
            brush.draw(&row, 0, Window::centre(side), out)?;
            batch.keys.push(row.key().to_owned());
            batch.sources.push(*row.source());
            batch.captions.push(self.captions(number, &row)?);
            self.next += 1;
        }
        Ok(batch)
    }

    /// The captions of a row, from the texts of the shard at hand or of the one that begins here.
    fn captions(&mut self, number: u64, row: &Row) -> Result<Vec<Caption>, LoadError> {
        if number >= self.texts.0 + self.texts.1.keys.len() as u64 {
            let (first, reader) = row.clean_file()?;
            let texts = reader.texts().map_err(LoadError::shard)?;
            self.texts = (first, texts);
        }
        Ok(std::mem::take(&mut self.texts.1.captions[(number - self.texts.0) as usize]))
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<EvalBatch, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.pairs.rows() {
            return None;
        }
        let made = self.make();
        if made.is_err() {
            self.next = u64::MAX; // an error is the end
        }
        Some(made)
    }
}
