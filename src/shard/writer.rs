//! Samples → one shard file: whole or absent, with one picture per data page, so that the page
//! index is a byte map of the pictures.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Error, Result};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Fields, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::schema::{Pixels, arrow_schema};
use crate::files::{Hashing, Pending};
use crate::sample::{Augment, Caption, Sample, Stored};

/// Row groups are closed at this many bytes of pictures: so much of a shard is in memory.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// Rows of text and tokens a page: random access to one row reads one page.
const TEXT_PAGE_ROWS: usize = 64;

/// What stands at a shard's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
}

/// Writes the rows of one shard in order.
pub struct ShardWriter {
    writer: ArrowWriter<Hashing<File>>,
    pending: Pending,
    schema: SchemaRef,
    waiting: Vec<Sample>,
    group_bytes: usize,
}

impl ShardWriter {
    /// Begins the shard that will stand at `path`.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn create(path: &Path, pixels: Pixels) -> Result<Self> {
        let pending = Pending::create(path)?;
        let schema = arrow_schema(pixels);
        let file = Hashing::new(pending.handle()?);
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties()))
            .map_err(|error| failed(&pending, error))?;
        Ok(Self { writer, pending, schema, waiting: Vec::new(), group_bytes: 0 })
    }

    /// Appends rows. How many come at a time never shows in the file: pages end where a batch that
    /// Arrow's writer is given ends, so rows wait until a whole page of text is there.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn write(&mut self, samples: impl IntoIterator<Item = Sample>) -> Result<()> {
        for sample in samples {
            self.group_bytes += sample.stored.bytes().len();
            self.waiting.push(sample);
            let group_is_full = self.group_bytes >= ROW_GROUP_BYTES;
            if group_is_full || self.waiting.len() == TEXT_PAGE_ROWS {
                self.write_waiting()?;
            }
            if group_is_full {
                self.writer.flush().map_err(|error| failed(&self.pending, error))?;
                self.pending.sync_soon()?;
                self.group_bytes = 0;
            }
        }
        Ok(())
    }

    fn write_waiting(&mut self) -> Result<()> {
        let batch = record_batch(&self.schema, &self.waiting)?;
        self.waiting.clear();
        self.writer.write(&batch).map_err(|error| failed(&self.pending, error))
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    /// If the disk is full or fails; the name is then untouched.
    pub fn finish(mut self) -> Result<Written> {
        self.write_waiting()?;
        let file = self.writer.into_inner().map_err(|error| failed(&self.pending, error))?;
        self.pending.commit()?;
        let (bytes, sha256) = file.finish();
        Ok(Written { bytes, sha256 })
    }
}

/// Names the file; what the disk said is said once.
fn failed(pending: &Pending, error: ParquetError) -> Error {
    let cause = match error {
        ParquetError::External(cause) => Error::from_boxed(cause),
        other => other.into(),
    };
    cause.context(pending.failed())
}

fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("pairmill ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_data_page_row_count_limit(TEXT_PAGE_ROWS)
        .set_write_batch_size(TEXT_PAGE_ROWS)
        .set_max_row_group_row_count(Some(usize::MAX));
    for picture in [vec!["image", "bytes"], vec!["pixels"]] {
        let column = ColumnPath::new(picture.into_iter().map(str::to_owned).collect());
        properties = properties
            .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_statistics_enabled(column.clone(), EnabledStatistics::None)
            .set_column_data_page_size_limit(column.clone(), 1)
            .set_column_data_page_row_count_limit(column, 1);
    }
    for unlike in ["key", "source_sha256", "crc32c"] {
        let column = ColumnPath::from(unlike);
        properties = properties.set_column_dictionary_enabled(column, false); // no value comes twice
    }
    properties.build()
}

fn record_batch(schema: &SchemaRef, samples: &[Sample]) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type(), samples));
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)?)
}

fn column(name: &str, data_type: &DataType, samples: &[Sample]) -> Result<ArrayRef> {
    let ints = |value: fn(&Sample) -> i32| Arc::new(Int32Array::from_iter_values(samples.iter().map(value)));
    let bytes = || samples.iter().map(|sample| sample.stored.bytes());
    Ok(match (name, data_type) {
        ("key", _) => Arc::new(StringArray::from_iter_values(samples.iter().map(|s| &s.key))),
        ("image_id", _) => Arc::new(Int64Array::from_iter_values(samples.iter().map(|s| s.image_id))),
        ("view", _) => ints(|s| s.view),
        ("image", DataType::Struct(fields)) => images(fields, samples),
        ("pixels", _) => Arc::new(BinaryArray::from_iter_values(bytes())),
        ("width", _) => ints(|s| s.width),
        ("height", _) => ints(|s| s.height),
        ("source_width", _) => ints(|s| s.source_width),
        ("source_height", _) => ints(|s| s.source_height),
        ("crop", DataType::Struct(fields)) => crops(fields, samples),
        ("augment", DataType::Struct(fields)) => augments(fields, samples),
        ("captions", DataType::List(element)) => {
            let lengths = samples.iter().map(|sample| sample.captions.len());
            let all: Vec<&Caption> = samples.iter().flat_map(|sample| &sample.captions).collect();
            let DataType::Struct(fields) = element.data_type() else { unreachable!("captions are structs") };
            Arc::new(ListArray::try_new(
                element.clone(),
                OffsetBuffer::from_lengths(lengths),
                captions(fields, &all)?,
                None,
            )?)
        }
        ("meta", _) => Arc::new(StringArray::from_iter(samples.iter().map(|s| s.meta.as_deref()))),
        ("source_sha256", _) => {
            Arc::new(BinaryArray::from_iter_values(samples.iter().map(|s| s.source_sha256)))
        }
        ("crc32c", _) => Arc::new(UInt32Array::from_iter_values(bytes().map(crc32c::crc32c))),
        _ => unreachable!("the writer knows no column {name}"),
    })
}

fn images(fields: &Fields, samples: &[Sample]) -> ArrayRef {
    let bytes = BinaryArray::from_iter_values(samples.iter().map(|sample| sample.stored.bytes()));
    let extension = |sample: &Sample| match sample.stored {
        Stored::Jpeg(_) => "jpg",
        Stored::Png(_) => "png",
        Stored::Raw(_) => unreachable!("raw pixels have a column of their own"),
    };
    let paths = samples.iter().map(|sample| format!("{}.{}", sample.key, extension(sample)));
    let columns: Vec<ArrayRef> = vec![Arc::new(bytes), Arc::new(StringArray::from_iter_values(paths))];
    Arc::new(StructArray::new(fields.clone(), columns, None))
}

fn crops(fields: &Fields, samples: &[Sample]) -> ArrayRef {
    let column = |value: fn(&Sample) -> f32| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(samples.iter().map(value)))
    };
    let columns =
        vec![column(|s| s.crop.x), column(|s| s.crop.y), column(|s| s.crop.width), column(|s| s.crop.height)];
    Arc::new(StructArray::new(fields.clone(), columns, None))
}

fn augments(fields: &Fields, samples: &[Sample]) -> ArrayRef {
    let all: Vec<Augment> = samples.iter().map(|sample| sample.augment.unwrap_or(Augment::NONE)).collect();
    let floats = |value: fn(&Augment) -> f32| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(all.iter().map(value)))
    };
    let flags = |value: fn(&Augment) -> bool| -> ArrayRef {
        Arc::new(BooleanArray::from_iter(all.iter().map(|augment| Some(value(augment)))))
    };
    let columns = vec![
        flags(|a| a.flip),
        floats(|a| a.brightness),
        floats(|a| a.contrast),
        floats(|a| a.saturation),
        floats(|a| a.hue),
        flags(|a| a.grayscale),
    ];
    let present = NullBuffer::from_iter(samples.iter().map(|sample| sample.augment.is_some()));
    Arc::new(StructArray::new(fields.clone(), columns, Some(present)))
}

fn captions(fields: &Fields, all: &[&Caption]) -> Result<ArrayRef> {
    let DataType::List(token) = fields[3].data_type() else { unreachable!("tokens are a list") };
    let ids = Int32Array::from_iter_values(all.iter().flat_map(|caption| &caption.tokens.0).copied());
    let lengths = OffsetBuffer::from_lengths(all.iter().map(|caption| caption.tokens.0.len()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(all.iter().map(|caption| &caption.text))),
        Arc::new(StringArray::from_iter_values(all.iter().map(|caption| caption.kind.name()))),
        Arc::new(Int32Array::from_iter_values(all.iter().map(|caption| caption.of))),
        Arc::new(ListArray::try_new(token.clone(), lengths, Arc::new(ids), None)?),
    ];
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
}
