//! Parquet: the columns of text as a stream, images not at all.

use std::borrow::Cow;
use std::fs::File;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, UInt64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

use super::{Columns, Pair, Pairs, Table};
use crate::files::sha256_file;

/// Rows decoded at a time.
const BATCH: usize = 1024;

/// Reads a table and gives back the SHA-256 of its bytes.
pub fn read(table: &Table, pairs: &mut Pairs) -> Result<String> {
    let reading = || format!("--table: cannot read {}", table.file);
    let file = File::open(table.file.path()).with_context(reading)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).with_context(reading)?;
    let schema = builder.schema().clone();
    table.columns.check(&table.file, schema.fields().iter().map(|field| field.name().as_str()))?;
    let field = schema.field_with_name(&table.columns.image)?;
    let image = Image::of(field).with_context(|| format!("--image-column: {}", table.file))?;
    for name in &table.columns.captions {
        check_captions(schema.field_with_name(name)?)
            .with_context(|| format!("--caption-column: {}", table.file))?;
    }
    let descriptor = builder.parquet_schema();
    let wanted = (0..descriptor.num_columns())
        .filter(|&leaf| is_wanted(&table.columns, image, descriptor.column(leaf).path().parts()));
    let mask = ProjectionMask::leaves(descriptor, wanted.collect::<Vec<_>>());
    let reader = builder.with_projection(mask).with_batch_size(BATCH).build().with_context(reading)?;
    for batch in reader {
        let columns = Texts::of(&table.columns, image, &batch.with_context(reading)?)
            .with_context(|| format!("--table: {}", table.file))?;
        for row in 0..columns.rows {
            let number = pairs.count;
            let added = columns.pair(row, number).and_then(|pair| pairs.add(pair));
            added.with_context(|| format!("--table: {}: row {number}", table.file))?;
        }
    }
    sha256_file(table.file.path()).context("--table")
}

/// What the image column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Image {
    Paths,
    Bytes,
    /// Hugging Face's struct of `bytes` and `path`, either of which may be absent.
    Struct {
        bytes: bool,
        path: bool,
    },
}

impl Image {
    fn of(field: &Field) -> Result<Self> {
        match field.data_type() {
            DataType::Struct(parts) => {
                let has = |name: &str, is: fn(&DataType) -> bool| {
                    parts.iter().any(|part| part.name() == name && is(part.data_type()))
                };
                let (bytes, path) = (has("bytes", is_bytes), has("path", is_text));
                if bytes || path {
                    return Ok(Self::Struct { bytes, path });
                }
            }
            kind if is_text(kind) => return Ok(Self::Paths),
            kind if is_bytes(kind) => return Ok(Self::Bytes),
            _ => {}
        }
        let (name, kind) = (field.name(), field.data_type());
        bail!("column `{name}` holds {kind}, not paths, bytes or a struct of `bytes` and `path`")
    }
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => is_text(values),
        kind => matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null),
    }
}

fn is_bytes(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
    )
}

fn check_captions(field: &Field) -> Result<()> {
    let (name, kind) = (field.name(), field.data_type());
    match kind {
        kind if is_text(kind) => Ok(()),
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _)
            if is_text(element.data_type()) =>
        {
            Ok(())
        }
        _ => bail!("column `{name}` holds {kind}, not texts or lists of texts"),
    }
}

/// Whether a leaf is read now: of the image column only what is text.
fn is_wanted(columns: &Columns, image: Image, path: &[String]) -> bool {
    let root = path[0].as_str();
    if root != columns.image {
        return columns.flags().any(|(_, name)| name == root);
    }
    match image {
        Image::Paths => true,
        Image::Bytes => columns.keep.contains(&columns.image),
        Image::Struct { .. } => path.get(1).is_some_and(|part| part == "path"),
    }
}

/// The columns of a batch that are of use.
struct Texts {
    rows: usize,
    key: Option<StringArray>,
    split: Option<StringArray>,
    file: Option<StringArray>,
    cells: bool,
    captions: Vec<ArrayRef>,
    keep: Vec<(String, ArrayRef)>,
}

impl Texts {
    fn of(columns: &Columns, image: Image, batch: &RecordBatch) -> Result<Self> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("no column `{name}`"));
        let words = |name: &Option<String>| name.as_deref().map(|name| texts(column(name)?)).transpose();
        let file = match image {
            Image::Paths => Some(texts(column(&columns.image)?)?),
            Image::Struct { path: true, .. } => {
                let parts = column(&columns.image)?.as_struct();
                Some(texts(parts.column_by_name("path").context("no `path`")?)?)
            }
            Image::Bytes | Image::Struct { .. } => None,
        };
        let captions = columns.captions.iter().map(|name| listed(column(name)?));
        let keep = columns.keep.iter().map(|name| Ok((name.clone(), column(name)?.clone())));
        Ok(Self {
            rows: batch.num_rows(),
            key: words(&columns.key)?,
            split: words(&columns.split)?,
            file,
            cells: matches!(image, Image::Bytes | Image::Struct { bytes: true, .. }),
            captions: captions.collect::<Result<_>>()?,
            keep: keep.collect::<Result<_>>()?,
        })
    }

    fn pair(&self, row: usize, number: u64) -> Result<Pair<'_>> {
        let word = |column: &'_ Option<StringArray>| {
            column.as_ref().and_then(|column| text(column, row).map(str::to_owned))
        };
        let owned = |column| word(column).map(Cow::Owned);
        let mut captions = Vec::with_capacity(self.captions.len());
        for column in &self.captions {
            match column.data_type() {
                DataType::List(_) if column.is_null(row) => captions.push(Cow::Borrowed("")),
                DataType::List(_) => {
                    let list = column.as_list::<i32>().value(row);
                    let list = list.as_string::<i32>();
                    captions.extend(list.iter().map(|text| Cow::Owned(text.unwrap_or_default().to_owned())));
                }
                _ => captions.push(Cow::Borrowed(text(column.as_string::<i32>(), row).unwrap_or_default())),
            }
        }
        let meta = (!self.keep.is_empty()).then(|| self.meta(row)).transpose()?;
        let cell = self.cells.then_some(number);
        Ok(Pair {
            key: owned(&self.key),
            split: owned(&self.split),
            file: owned(&self.file),
            cell,
            captions,
            meta,
        })
    }

    fn meta(&self, row: usize) -> Result<String> {
        let mut kept = Map::with_capacity(self.keep.len());
        for (name, column) in &self.keep {
            let value = json_of(column, row).with_context(|| format!("--keep-columns: column `{name}`"))?;
            kept.insert(name.clone(), value);
        }
        Ok(Value::Object(kept).to_string())
    }
}

fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

fn texts(column: &ArrayRef) -> Result<StringArray> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// Texts as texts, lists of any kind as plain lists of texts.
fn listed(column: &ArrayRef) -> Result<ArrayRef> {
    let kind = match column.data_type() {
        kind if is_text(kind) => DataType::Utf8,
        _ => DataType::new_list(DataType::Utf8, true),
    };
    Ok(cast(column, &kind)?)
}

/// A cell as JSON: numbers, texts, lists and structs as they are; dates and decimals as texts;
/// infinite numbers as null.
fn json_of(column: &ArrayRef, row: usize) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    let cell = column.slice(row, 1);
    Ok(match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => json!(cell.as_boolean().value(0)),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            json!(cast(&cell, &DataType::Int64)?.as_primitive::<Int64Type>().value(0))
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            json!(cast(&cell, &DataType::UInt64)?.as_primitive::<UInt64Type>().value(0))
        }
        // As short as it is written, not as the nearest double.
        DataType::Float16 | DataType::Float32 => {
            let short = cast(&cell, &DataType::Float32)?.as_primitive::<Float32Type>().value(0).to_string();
            json!(short.parse::<f64>().ok())
        }
        DataType::Float64 => json!(cell.as_primitive::<Float64Type>().value(0)),
        DataType::List(_) => list(&cell.as_list::<i32>().value(0))?,
        DataType::LargeList(_) => list(&cell.as_list::<i64>().value(0))?,
        DataType::FixedSizeList(..) => list(&cell.as_fixed_size_list().value(0))?,
        DataType::Struct(fields) => {
            let parts = fields.iter().zip(cell.as_struct().columns());
            parts.map(|(field, part)| Ok((field.name().clone(), json_of(part, 0)?))).collect::<Result<_>>()?
        }
        // Named zones need a database; the instant is the same in this one.
        DataType::Timestamp(unit, Some(_)) => {
            let utc = cast(&cell, &DataType::Timestamp(*unit, Some("+00:00".into())))?;
            json!(text(&texts(&utc)?, 0))
        }
        kind if is_bytes(kind) => bail!("it holds bytes, which JSON cannot hold"),
        _ => json!(text(&texts(&cell)?, 0)),
    })
}

fn list(elements: &ArrayRef) -> Result<Value> {
    (0..elements.len()).map(|at| json_of(elements, at)).collect()
}
