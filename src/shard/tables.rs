//! The two small tables beside the manifest.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::manifest::{RejectEntry, ShardEntry};

/// `_shards.parquet` as bytes.
pub fn shards(entries: &[ShardEntry]) -> Result<Vec<u8>> {
    let text = |value: fn(&ShardEntry) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(value)))
    };
    table(vec![
        ("path", text(|entry| &entry.path)),
        ("split", text(|entry| &entry.split)),
        ("view", Arc::new(Int32Array::from_iter_values(entries.iter().map(|e| e.view as i32)))),
        ("number", Arc::new(Int32Array::from_iter_values(entries.iter().map(|e| e.number as i32)))),
        ("rows", Arc::new(Int64Array::from_iter_values(entries.iter().map(|e| e.rows as i64)))),
        ("bytes", Arc::new(Int64Array::from_iter_values(entries.iter().map(|e| e.bytes as i64)))),
        ("sha256", text(|entry| &entry.sha256)),
    ])
}

/// `_rejects.parquet` as bytes.
pub fn rejects(entries: &[RejectEntry]) -> Result<Vec<u8>> {
    let text = |value: fn(&RejectEntry) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(value)))
    };
    table(vec![
        ("key", text(|entry| &entry.key)),
        ("path", text(|entry| &entry.path)),
        ("kind", text(|entry| &entry.kind)),
        ("message", text(|entry| &entry.message)),
    ])
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>> {
    let field = |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), false);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, array)| array).collect())?;
    let properties = WriterProperties::builder()
        .set_created_by(concat!("pairmill ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// Reads `_shards.parquet`.
pub fn read_shards(path: &Path) -> Result<Vec<ShardEntry>> {
    read(path, |batch| {
        let (paths, splits, hashes) = (text(batch, "path")?, text(batch, "split")?, text(batch, "sha256")?);
        let (views, numbers) = (int(batch, "view")?, int(batch, "number")?);
        let (rows, bytes) = (long(batch, "rows")?, long(batch, "bytes")?);
        let entry = |at: usize| ShardEntry {
            path: paths.value(at).to_owned(),
            split: splits.value(at).to_owned(),
            view: views.value(at) as u32,
            number: numbers.value(at) as u32,
            rows: rows.value(at) as u64,
            bytes: bytes.value(at) as u64,
            sha256: hashes.value(at).to_owned(),
        };
        Ok((0..batch.num_rows()).map(entry).collect())
    })
}

/// Reads `_rejects.parquet`.
pub fn read_rejects(path: &Path) -> Result<Vec<RejectEntry>> {
    read(path, |batch| {
        let columns =
            (text(batch, "key")?, text(batch, "path")?, text(batch, "kind")?, text(batch, "message")?);
        let entry = |at: usize| RejectEntry {
            key: columns.0.value(at).to_owned(),
            path: columns.1.value(at).to_owned(),
            kind: columns.2.value(at).to_owned(),
            message: columns.3.value(at).to_owned(),
        };
        Ok((0..batch.num_rows()).map(entry).collect())
    })
}

fn read<T>(path: &Path, rows: impl Fn(&RecordBatch) -> Result<Vec<T>>) -> Result<Vec<T>> {
    let reading = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(reading)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let mut all = Vec::new();
    for batch in reader.with_context(reading)? {
        all.extend(rows(&batch.with_context(reading)?).with_context(reading)?);
    }
    Ok(all)
}

fn column<'a>(batch: &'a RecordBatch, name: &str, kind: DataType) -> Result<&'a ArrayRef> {
    let column = batch.column_by_name(name).filter(|column| *column.data_type() == kind);
    column.with_context(|| format!("it has no column {name} of type {kind}"))
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    Ok(column(batch, name, DataType::Utf8)?.as_string())
}

fn int<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int32Array> {
    Ok(column(batch, name, DataType::Int32)?.as_primitive::<Int32Type>())
}

fn long<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    Ok(column(batch, name, DataType::Int64)?.as_primitive::<Int64Type>())
}
