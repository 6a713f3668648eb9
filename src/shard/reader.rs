//! One shard file → pictures by the page index, text columns, or whole samples by the Arrow reader.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;

use super::columns;
use super::mapped::Lines;
use super::open_files::{OpenFile, OpenFiles};
use super::page::PageMap;
use super::schema::{Pixels, raw_side};
use super::shared::Shared;
use super::texts::PackedTexts;
use crate::sample::{Caption, Sample};

/// Rows that the Arrow reader gives at a time: memory is that of so many pictures.
const BATCH: usize = 64;

/// A shard whose footer and page index are in memory. Reading takes `&self`: threads may share it.
pub struct ShardReader {
    path: PathBuf,
    file: Arc<OpenFile>,
    metadata: ArrowReaderMetadata,
    pixels: Pixels,
    /// None where another writer did not lay pictures out one a page.
    pages: Option<PageMap>,
}

/// The text side of every row of a shard.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// Key of each row.
    pub keys: Vec<String>,
    /// Captions of each row.
    pub captions: Vec<Vec<Caption>>,
    /// SHA-256 of each row's source.
    pub sources: Vec<[u8; 32]>,
    /// What each row kept of its source's columns, as JSON.
    pub metas: Vec<Option<String>>,
}

/// What a row says of its stored picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Stored width in pixels.
    pub width: u32,
    /// Stored height in pixels.
    pub height: u32,
    /// Checksum of the stored bytes.
    pub crc32c: u32,
}

impl StoredRow {
    /// The shorter side in pixels.
    pub fn side(&self) -> u32 {
        self.width.min(self.height)
    }
}

impl ShardReader {
    /// Opens a shard and reads its footer and page index.
    ///
    /// # Errors
    /// If the file is missing, cut, not Parquet, or has neither picture column.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_among(path, &Arc::new(OpenFiles::new(1)))
    }

    /// As [`ShardReader::open`]; the file is one of `files`, which may close it between two reads.
    ///
    /// # Errors
    /// As [`ShardReader::open`].
    pub fn open_among(path: &Path, files: &Arc<OpenFiles>) -> Result<Self> {
        let reading = || format!("cannot read the shard {}", path.display());
        let named = OpenFiles::named(files, path);
        let file = Shared(named.get().with_context(reading)?);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&file, options.clone()).with_context(reading)?;
        let schema = metadata.schema();
        let pixels = match raw_side(schema) {
            Some(side) => Pixels::Raw { side },
            None if schema.field_with_name("image").is_ok() => Pixels::Image,
            None => bail!("{} has neither a column `image` nor `pixels` with a shape", path.display()),
        };
        let pages = PageMap::new(metadata.metadata(), pixels).with_context(reading)?;
        // Another writer's types for the same columns (large or dictionary texts, say) become ours.
        let foreign = || ArrowReaderMetadata::load(&file, options.with_skip_arrow_metadata(true));
        let metadata = if pages.is_some() { metadata } else { foreign().with_context(reading)? };
        Ok(Self { path: path.to_owned(), file: named, metadata, pixels, pages })
    }

    /// Where the shard is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.metadata.metadata().file_metadata().num_rows() as usize
    }

    /// How its pictures are stored.
    pub fn pixels(&self) -> Pixels {
        self.pixels
    }

    /// Its Arrow schema.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Whether a picture is a slice of the file: so `prepare` writes them. Otherwise each is read by
    /// the ordinary Arrow reader, which takes many times as long.
    pub fn is_mapped(&self) -> bool {
        self.pages.is_some()
    }

    /// Reads the stored bytes of one row's picture into `buffer`, which is overwritten.
    ///
    /// # Errors
    /// If the file was cut or changed since it was opened.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn picture(&self, row: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let place = || format!("row {row} of {}", self.path.display());
        match &self.pages {
            Some(pages) => {
                let file = self.file.get().with_context(place)?;
                pages.read(&file, row, buffer).with_context(place)
            }
            None => self.picture_by_arrow(row, buffer).with_context(place),
        }
    }

    fn picture_by_arrow(&self, row: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let name = if self.pixels == Pixels::Image { "image.bytes" } else { "pixels" };
        let batch =
            self.select(&|path: &str| path == name, Some(row))?.next().context("there is no such row")??;
        let picture = columns::pictures(&batch, self.pixels)?.pop().context("there is no such row")?;
        *buffer = picture.into_bytes();
        Ok(())
    }

    /// Copies lines of one row's raw pixels, which have `length` bytes in all, into `out`. `false`, and
    /// nothing is copied, where pictures are no slices of the file, or the system does not map it.
    ///
    /// # Errors
    /// If the pixels have another size, or the file was cut since it was opened.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn raw_lines(&self, row: usize, length: usize, lines: Lines, out: &mut [u8]) -> Result<bool> {
        let place = || format!("row {row} of {}", self.path.display());
        let Some(pages) = &self.pages else { return Ok(false) };
        let from = lines.from + pages.value(row, length).with_context(place)?;
        match self.file.copy(Lines { from, ..lines }, out).with_context(place)? {
            Some(true) => Ok(true),
            Some(false) => {
                Err(anyhow!("the file is shorter than its index says, or its disk does not give it"))
                    .with_context(place)
            }
            None => Ok(false),
        }
    }

    /// Keys, kinds, token ids and source hashes of all rows, or of one.
    ///
    /// # Errors
    /// If the columns cannot be read.
    pub fn packed_texts(&self, only: Option<usize>) -> Result<PackedTexts> {
        let mut texts = PackedTexts::default();
        for batch in self.select(&PackedTexts::is_leaf, only)? {
            texts.append(&batch?)?;
        }
        let expected = only.map_or(self.rows(), |_| 1);
        ensure!(texts.rows() == expected, "{} has rows without a key", self.path.display());
        Ok(texts)
    }

    /// Keys, captions, source hashes and metas of all rows, without touching a picture.
    ///
    /// # Errors
    /// If the columns cannot be read.
    pub fn texts(&self) -> Result<Texts> {
        let mut texts = Texts::default();
        for batch in self.batches(Some(&["key", "captions", "source_sha256", "meta"]))? {
            let batch = batch?;
            texts.keys.extend(columns::strings(&batch, "key")?.iter().flatten().map(str::to_owned));
            texts.captions.extend(columns::captions(&batch)?);
            texts.sources.extend(columns::hashes(&batch)?);
            texts.metas.extend(columns::strings(&batch, "meta")?.iter().map(|meta| meta.map(str::to_owned)));
        }
        ensure!(texts.keys.len() == self.rows(), "{} has rows without a key", self.path.display());
        Ok(texts)
    }

    /// Stored sizes and checksums of all rows, or of one, without touching a picture.
    ///
    /// # Errors
    /// If the columns cannot be read.
    pub fn stored(&self, only: Option<usize>) -> Result<Vec<StoredRow>> {
        let mut rows = Vec::with_capacity(only.map_or(self.rows(), |_| 1));
        for batch in self.select(&|path: &str| matches!(path, "width" | "height" | "crc32c"), only)? {
            rows.extend(columns::stored(&batch?)?);
        }
        Ok(rows)
    }

    /// The rows in order, by the ordinary Arrow reader.
    ///
    /// # Errors
    /// If the file cannot be read; each item carries the error of its own batch.
    pub fn samples(&self) -> Result<impl Iterator<Item = Result<(Sample, u32)>> + use<>> {
        let pixels = self.pixels;
        let batches = self.batches(None)?;
        Ok(batches.flat_map(move |batch| match batch.and_then(|batch| columns::samples(&batch, pixels)) {
            Ok(samples) => samples.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }))
    }

    /// One row, by the ordinary Arrow reader.
    ///
    /// # Errors
    /// If the file cannot be read.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn sample(&self, row: usize) -> Result<Sample> {
        let place = || format!("row {row} of {}", self.path.display());
        let batch = self.select(&|_| true, Some(row))?.next().with_context(place)??;
        let (sample, _) = columns::samples(&batch, self.pixels)?.pop().with_context(place)?;
        Ok(sample)
    }

    pub(super) fn batches(
        &self,
        only: Option<&[&str]>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let root = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
        self.select(&|path: &str| only.is_none_or(|names| names.contains(&&*root(path))), None)
    }

    /// The leaf columns whose path is wanted, of all rows or of one.
    fn select(
        &self,
        leaf: &dyn Fn(&str) -> bool,
        row: Option<usize>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let file = self.file.get().with_context(|| format!("cannot read {}", self.path.display()))?;
        let file = Shared(file);
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let schema = builder.parquet_schema();
        let leaves = (0..schema.num_columns()).filter(|&at| leaf(&schema.column(at).path().string()));
        let mask = ProjectionMask::leaves(schema, leaves.collect::<Vec<_>>());
        builder = builder.with_projection(mask);
        if let Some(row) = row {
            let (group, first) = self.group_of(row);
            let selection = vec![RowSelector::skip(row - first), RowSelector::select(1)];
            builder = builder.with_row_groups(vec![group]).with_row_selection(selection.into());
        }
        let path = Arc::new(self.path.clone());
        let reader = builder.with_batch_size(BATCH).build()?;
        Ok(reader.map(move |batch| batch.with_context(|| format!("cannot read {}", path.display()))))
    }

    /// The row group of a row, and the group's first row.
    fn group_of(&self, row: usize) -> (usize, usize) {
        let (mut group, mut first) = (0, 0);
        for (at, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            let next = first + metadata.num_rows() as usize;
            if row < next {
                group = at;
                break;
            }
            first = next;
        }
        (group, first)
    }
}
