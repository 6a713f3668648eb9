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
    /// What each row kept of its source's columns, as JSON.
    pub metas: Vec<Option<String>>,
    /// Rows that are left out because their picture is damaged, where such are skipped.
    pub bad: Vec<LoadError>,
}

/// The batches of a split in file order.
pub struct InOrder<'a> {
    pairs: &'a Pairs,
    crop: Option<u32>,
    batch: usize,
    next: u64,
    skips_bad: bool,
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
        Ok(InOrder { pairs: self, crop, batch, next: 0, skips_bad: false, texts: (0, Texts::default()) })
    }
}

impl InOrder<'_> {
    /// The same, but a row whose picture is damaged is named in [`EvalBatch::bad`], left out of
    /// everything else, and ends nothing.
    #[must_use]
    pub fn skipping_bad(self) -> Self {
        Self { skips_bad: true, ..self }
    }

    fn make(&mut self) -> Result<EvalBatch, LoadError> {
        let side = self.crop.unwrap_or(self.pairs.side()) as usize;
        let size = side * side * 3;
        let rows = self.next..self.pairs.rows().min(self.next + self.batch as u64);
        let mut batch = EvalBatch { side, ..EvalBatch::default() };
        batch.images.resize((rows.end - rows.start) as usize * size, 0);
        let mut brush = Brush::default();
        for number in rows {
            let row = self.pairs.row(number)?;
            let out = &mut batch.images[batch.keys.len() * size..][..size];
            match brush.draw(&row, 0, Window::centre(side), out) {
                Err(error) if self.skips_bad && error.is_of_a_sample() => batch.bad.push(error),
                drawn => {
                    drawn?;
                    batch.keys.push(row.key().to_owned());
                    batch.sources.push(*row.source());
                    let (captions, meta) = self.texts(number, &row)?;
                    batch.captions.push(captions);
                    batch.metas.push(meta);
                }
            }
            self.next += 1;
        }
        batch.images.truncate(batch.keys.len() * size);
        Ok(batch)
    }

    /// Captions and meta of a row, from the texts of the shard at hand or of the one that it is of.
    fn texts(&mut self, number: u64, row: &Row) -> Result<(Vec<Caption>, Option<String>), LoadError> {
        if number >= self.texts.0 + self.texts.1.keys.len() as u64 {
            let (first, reader) = row.clean_file()?;
            let texts = reader.texts().map_err(LoadError::shard)?;
            self.texts = (first, texts);
        }
        let at = (number - self.texts.0) as usize;
        let texts = &mut self.texts.1;
        Ok((std::mem::take(&mut texts.captions[at]), texts.metas[at].take()))
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
