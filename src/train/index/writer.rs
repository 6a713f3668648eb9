//! Embeddings into a table, a batch of a split at a time.

use std::collections::HashMap;
use std::fs::File;
use std::mem::take;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::{EMBEDDING, WEIGHTS};
use crate::files::Pending;
use crate::train::embed::Split;

/// Images whose rows are gathered before they are written, with their texts: 50 MB or so.
const IMAGES: usize = 4096;

/// Writes a table of embeddings.
pub struct IndexWriter {
    pending: Pending,
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    images: Rows,
    texts: Rows,
}

#[derive(Default)]
struct Rows {
    keys: Vec<String>,
    texts: Vec<Option<String>>,
    embeddings: Vec<f32>,
}

impl IndexWriter {
    /// Begins a table of embeddings of length `dim` by the weights of this fingerprint, if they have one; its name it
    /// takes in [`IndexWriter::finish`].
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn create(path: &Path, dim: usize, weights: Option<&str>) -> Result<Self> {
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let fields = vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("kind", DataType::Utf8, false),
            Field::new("text", DataType::Utf8, true),
            Field::new("embedding", DataType::FixedSizeList(item, dim as i32), false),
        ];
        let weights = weights.map(|weights| (WEIGHTS.to_owned(), weights.to_owned()));
        let schema =
            Arc::new(Schema::new_with_metadata(fields, weights.into_iter().collect::<HashMap<_, _>>()));
        let embedding = ColumnPath::from(EMBEDDING.split('.').map(str::to_owned).collect::<Vec<_>>());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_column_compression(embedding.clone(), Compression::UNCOMPRESSED) // noise does not shrink
            .set_column_dictionary_enabled(embedding, false)
            .build();
        let pending = Pending::create(path)?;
        let writer = ArrowWriter::try_new(pending.handle()?, schema.clone(), Some(properties))?;
        Ok(Self { pending, writer, schema, images: Rows::default(), texts: Rows::default() })
    }

    /// Adds rows of a split: its images and their captions.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn add(&mut self, part: Split) -> Result<()> {
        let owners = part.embedded.owners.iter().map(|&owner| part.keys[owner].clone());
        self.texts.keys.extend(owners);
        self.texts.texts.extend(part.texts.into_iter().map(Some));
        self.texts.embeddings.extend(part.embedded.captions);
        self.images.texts.extend(part.keys.iter().map(|_| None));
        self.images.keys.extend(part.keys);
        self.images.embeddings.extend(part.embedded.images);
        if self.images.keys.len() >= IMAGES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let (images, texts) = (take(&mut self.images), take(&mut self.texts));
        self.group("image", images)?;
        self.group("text", texts)
    }

    fn group(&mut self, kind: &str, rows: Rows) -> Result<()> {
        if rows.keys.is_empty() {
            return Ok(());
        }
        let DataType::FixedSizeList(item, dim) = self.schema.field(3).data_type() else {
            unreachable!("the schema is ours")
        };
        let values = Arc::new(Float32Array::from(rows.embeddings));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(&rows.keys)),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(kind, rows.keys.len()))),
            Arc::new(StringArray::from(rows.texts)),
            Arc::new(FixedSizeListArray::try_new(item.clone(), *dim, values, None)?),
        ];
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.writer.flush().with_context(|| self.pending.failed())
    }

    /// Ends the table, and names it.
    ///
    /// # Errors
    /// If the disk is full or fails; there is then no table.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.writer.close().with_context(|| self.pending.failed())?;
        self.pending.commit()
    }
}
