//! `emb.parquet`: `key`, `kind` (`image` or `text`), `text` (null for images), `embedding` (fixed-size
//! list of float32). A row group holds rows of one kind, so that a search reads no text.

use std::fs::File;
use std::mem::take;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;

use super::embed::Split;
use super::recall::cosine;
use crate::files::Pending;

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
    /// Begins a table of embeddings of length `dim`; its name it takes in [`IndexWriter::finish`].
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn create(path: &Path, dim: usize) -> Result<Self> {
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let schema = Arc::new(Schema::new(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("kind", DataType::Utf8, false),
            Field::new("text", DataType::Utf8, true),
            Field::new("embedding", DataType::FixedSizeList(item, dim as i32), false),
        ]));
        let embedding = ColumnPath::from(["embedding", "list", "element"].map(str::to_owned).to_vec());
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

/// The images of an `emb.parquet`.
#[derive(Debug)]
pub struct Index {
    parts: Vec<Part>,
    dim: usize,
}

/// Some rows as Arrow read them.
#[derive(Debug)]
struct Part {
    keys: StringArray,
    /// `[images, dim]`, unit rows.
    embeddings: ScalarBuffer<f32>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The image's key.
    pub key: String,
    /// Cosine of text and image.
    pub score: f64,
}

impl Index {
    /// Reads the image rows of a table.
    ///
    /// # Errors
    /// If it is not one that `clip embed` wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let what = || format!("--index: {} is no table of embeddings", path.display());
        let open = || File::open(path).with_context(|| format!("--index: no file at {}", path.display()));
        let metadata = ArrowReaderMetadata::load(&open()?, Default::default()).with_context(what)?;
        let dim = match metadata.schema().field_with_name("embedding").with_context(what)?.data_type() {
            DataType::FixedSizeList(item, dim) if item.data_type() == &DataType::Float32 => *dim as usize,
            other => anyhow::bail!("{}: its embedding is {other}, no fixed-size list of float32", what()),
        };
        let groups = metadata.metadata().row_groups().iter().enumerate();
        let groups: Vec<usize> =
            groups.filter(|(_, group)| !is_of_texts(group)).map(|(number, _)| number).collect();
        let parts: Vec<Vec<Part>> = groups
            .into_par_iter()
            .map(|group| read_group(open()?, &metadata, group, dim))
            .collect::<Result<_>>()
            .with_context(what)?;
        let index = Self { parts: parts.into_iter().flatten().collect(), dim };
        ensure!(!index.is_empty(), "--index: {} has no image", path.display());
        Ok(index)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.keys.len()).sum()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` images nearest to `query` (a unit vector), the best first; ties by place.
    ///
    /// # Errors
    /// If the query has another length than the index.
    pub fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<Found>> {
        ensure!(
            query.len() == self.dim,
            "--index holds {} numbers an image, the run gives {}",
            self.dim,
            query.len()
        );
        let scored = |(number, part): (usize, &Part)| {
            let rows = part.embeddings.chunks_exact(self.dim).enumerate();
            rows.map(|(row, image)| (cosine(query, image), number, row)).collect::<Vec<_>>()
        };
        let mut scores: Vec<_> = self.parts.par_iter().enumerate().flat_map_iter(scored).collect();
        let order = |a: &(f64, usize, usize), b: &(f64, usize, usize)| {
            b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)))
        };
        let k = k.min(scores.len());
        if k < scores.len() {
            scores.select_nth_unstable_by(k, order);
        }
        scores.truncate(k);
        scores.sort_by(order);
        let found = |(score, part, row): (f64, usize, usize)| {
            let key = self.parts[part].keys.value(row).to_owned();
            Found { key, score }
        };
        Ok(scores.into_iter().map(found).collect())
    }
}

/// Whether the statistics of a row group say that it holds texts alone.
fn is_of_texts(group: &RowGroupMetaData) -> bool {
    let kind = group.columns().iter().find(|column| column.column_path().string() == "kind");
    let Some(Statistics::ByteArray(kinds)) = kind.and_then(|kind| kind.statistics()) else { return false };
    let is_text = |bound: Option<&parquet::data_type::ByteArray>| bound.is_some_and(|b| b.data() == b"text");
    is_text(kinds.min_opt()) && is_text(kinds.max_opt())
}

fn read_group(file: File, metadata: &ArrowReaderMetadata, group: usize, dim: usize) -> Result<Vec<Part>> {
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["key", "kind", "embedding"]);
    let rows = metadata.metadata().row_group(group).num_rows() as usize;
    let reader = builder.with_projection(mask).with_row_groups(vec![group]).with_batch_size(rows).build()?;
    reader.map(|batch| part(&batch?, dim)).collect()
}

/// The image rows of a batch.
fn part(batch: &RecordBatch, dim: usize) -> Result<Part> {
    let text = |batch: &RecordBatch, name: &str| {
        let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).cloned();
        column.with_context(|| format!("no column {name} of text"))
    };
    let kinds = text(batch, "kind")?;
    let is_image: BooleanArray = kinds.iter().map(|kind| Some(kind == Some("image"))).collect();
    let filtered = match is_image.true_count() == batch.num_rows() {
        true => batch.clone(),
        false => filter_record_batch(batch, &is_image)?,
    };
    let lists = filtered.column_by_name("embedding").and_then(|column| column.as_fixed_size_list_opt());
    let lists = lists.context("no column embedding")?;
    ensure!(lists.null_count() == 0, "an image has no embedding");
    let values = lists.values().as_primitive_opt::<Float32Type>().context("embedding is not float32")?;
    let (first, count) = (lists.value_offset_at(0), lists.len() * dim);
    Ok(Part { keys: text(&filtered, "key")?, embeddings: values.values().slice(first, count) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recall::Embedded;

    /// `images` images with two captions each, from number `first` on: image i stands at angle i.
    fn split(first: usize, images: usize) -> Split {
        let unit = |angle: f32| [angle.cos(), angle.sin()];
        let numbers = first..first + images;
        let embedded = Embedded {
            dim: 2,
            images: numbers.clone().flat_map(|i| unit(i as f32 * 1e-4)).collect(),
            captions: numbers.clone().flat_map(|_| [unit(0.0), unit(0.0)]).flatten().collect(),
            owners: (0..images * 2).map(|caption| caption / 2).collect(),
            bad_samples: 0,
        };
        let keys: Vec<String> = numbers.clone().map(|i| format!("k{i}")).collect();
        let texts = numbers.flat_map(|i| [format!("a {i}"), format!("b {i}")]).collect();
        Split { metas: vec![None; keys.len()], keys, texts, embedded }
    }

    fn table(parts: &[usize]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("emb.parquet");
        let mut writer = IndexWriter::create(&path, 2).unwrap();
        let mut first = 0;
        for &images in parts {
            writer.add(split(first, images)).unwrap();
            first += images;
        }
        writer.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn every_row_is_in_the_table_and_a_row_group_is_of_one_kind() {
        let (_folder, path) = table(&[3000, 3000, 10]);
        let metadata = ArrowReaderMetadata::load(&File::open(&path).unwrap(), Default::default()).unwrap();
        let groups = metadata.metadata().row_groups();
        let found: Vec<(i64, bool)> =
            groups.iter().map(|group| (group.num_rows(), is_of_texts(group))).collect();
        assert_eq!(found, [(6000, false), (12_000, true), (10, false), (20, true)]);
        let index = Index::read(&path).unwrap();
        assert_eq!(index.len(), 6010);
    }

    #[test]
    fn the_nearest_come_first_and_ties_by_place() {
        let (_folder, path) = table(&[4096, 4]);
        let index = Index::read(&path).unwrap();
        let keys = |query: [f32; 2], k| -> Vec<String> {
            index.nearest(&query, k).unwrap().into_iter().map(|found| found.key).collect()
        };
        assert_eq!(keys([1.0, 0.0], 3), ["k0", "k1", "k2"]);
        assert_eq!(keys([0.0, 1.0], 2), ["k4099", "k4098"]);
        assert_eq!(keys([0.0, 0.0], 2), ["k0", "k1"]);
        assert_eq!(keys([0.0, 1.0], 9999).len(), 4100);
    }

    #[test]
    fn a_table_of_another_kind_or_of_another_model_is_refused() {
        let (folder, path) = table(&[3]);
        let error = Index::read(&path).unwrap().nearest(&[1.0], 1).unwrap_err().to_string();
        assert_eq!(error, "--index holds 2 numbers an image, the run gives 1");
        let other = folder.path().join("other.parquet");
        std::fs::write(&other, "no table").unwrap();
        let error = Index::read(&other).unwrap_err().to_string();
        assert_eq!(error, format!("--index: {} is no table of embeddings", other.display()));
        let error = Index::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("--index: no file at "), "{error}");
    }
}
