//! One shard file → pictures by the page index, text columns, or whole samples by the Arrow reader.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;

use super::columns;
use super::open_files::OpenFiles;
use super::page::PageMap;
use super::schema::{Pixels, raw_side};
use crate::sample::{Caption, Sample};

/// A shard whose footer and page index are in memory. Reading takes `&self`: threads may share it.
pub struct ShardReader {
    path: PathBuf,
    files: Arc<OpenFiles>,
    metadata: ArrowReaderMetadata,
    pixels: Pixels,
    pages: PageMap,
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
        Self::open_among(path, Arc::new(OpenFiles::new(1)))
    }

    /// As [`ShardReader::open`]; the file is one of `files`, which may close it between two reads.
    ///
    /// # Errors
    /// As [`ShardReader::open`].
    pub fn open_among(path: &Path, files: Arc<OpenFiles>) -> Result<Self> {
        let reading = || format!("cannot read the shard {}", path.display());
        let file = files.get(path).with_context(reading)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&*file, options).with_context(reading)?;
        let schema = metadata.schema();
        let pixels = match raw_side(schema) {
            Some(side) => Pixels::Raw { side },
            None if schema.field_with_name("image").is_ok() => Pixels::Image,
            None => bail!("{} has neither a column `image` nor `pixels` with a shape", path.display()),
        };
        let pages = PageMap::new(metadata.metadata(), pixels).with_context(reading)?;
        Ok(Self { path: path.to_owned(), files, metadata, pixels, pages })
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

    /// Reads the stored bytes of one row's picture into `buffer`, which is overwritten.
    ///
    /// # Errors
    /// If the file was cut or changed since it was opened.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn picture(&self, row: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let place = || format!("row {row} of {}", self.path.display());
        let file = self.files.get(&self.path).with_context(place)?;
        self.pages.read(&file, row, buffer).with_context(place)
    }

    /// Keys, captions and source hashes of all rows, without touching a picture.
    ///
    /// # Errors
    /// If the columns cannot be read.
    pub fn texts(&self) -> Result<Texts> {
        let mut texts = Texts::default();
        for batch in self.batches(Some(&["key", "captions", "source_sha256"]))? {
            let batch = batch?;
            texts.keys.extend(columns::strings(&batch, "key")?.iter().flatten().map(str::to_owned));
            texts.captions.extend(columns::captions(&batch)?);
            texts.sources.extend(columns::hashes(&batch)?);
        }
        ensure!(texts.keys.len() == self.rows(), "{} has rows without a key", self.path.display());
        Ok(texts)
    }

    /// Stored sizes and checksums of all rows, without touching a picture.
    ///
    /// # Errors
    /// If the columns cannot be read.
    pub fn stored(&self) -> Result<Vec<StoredRow>> {
        let mut rows = Vec::with_capacity(self.rows());
        for batch in self.batches(Some(&["width", "height", "crc32c"]))? {
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

    pub(super) fn batches(
        &self,
        only: Option<&[&str]>,
    ) -> Result<impl Iterator<Item = Result<arrow::array::RecordBatch>> + use<>> {
        let file = self.files.get(&self.path).and_then(|file| file.try_clone());
        let file = file.with_context(|| format!("cannot read {}", self.path.display()))?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        if let Some(names) = only {
            let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
            builder = builder.with_projection(mask);
        }
        let path = Arc::new(self.path.clone());
        let reader = builder.with_batch_size(64).build()?;
        Ok(reader.map(move |batch| batch.with_context(|| format!("cannot read {}", path.display()))))
    }
}
