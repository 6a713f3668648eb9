//! Row groups through Arrow: keys, and the embeddings of a table that another program wrote anew.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Float32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};

/// Rows that Arrow decodes at a time.
const ROWS: usize = 1024;

/// Calls `each` with the number in its row group and the embedding of every image of a row group.
///
/// # Errors
/// If a column is missing or an image has no embedding.
pub fn each_image(
    file: File,
    metadata: &ArrowReaderMetadata,
    group: usize,
    dim: usize,
    mut each: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let mut first = 0;
    for batch in reader(file, metadata, group, &["kind", "embedding"], None)? {
        let batch = batch?;
        let kinds = texts(&batch, "kind")?;
        let lists = batch.column_by_name("embedding").and_then(|column| column.as_fixed_size_list_opt());
        let lists = lists.context("no column embedding")?;
        let values = lists.values().as_primitive_opt::<Float32Type>().context("embedding is not float32")?;
        for row in (0..batch.num_rows()).filter(|&row| kinds.is_valid(row) && kinds.value(row) == "image") {
            ensure!(lists.is_valid(row), "an image has no embedding");
            let from = lists.value_offset_at(row);
            each(first + row, &values.values()[from..from + dim]);
        }
        first += batch.num_rows();
    }
    Ok(())
}

/// The keys of some rows of a row group, by rising number.
///
/// # Errors
/// If there is no column of keys.
pub fn keys(file: File, metadata: &ArrowReaderMetadata, group: usize, rows: &[usize]) -> Result<Vec<String>> {
    let mut selection = Vec::new();
    let mut next = 0;
    for &row in rows {
        selection.extend([RowSelector::skip(row - next), RowSelector::select(1)]);
        next = row + 1;
    }
    let mut found = Vec::with_capacity(rows.len());
    for batch in reader(file, metadata, group, &["key"], Some(selection.into()))? {
        let keys = texts(&batch?, "key")?;
        found.extend((0..keys.len()).map(|row| keys.value(row).to_owned()));
    }
    ensure!(found.len() == rows.len(), "a key is missing");
    Ok(found)
}

fn reader(
    file: File,
    metadata: &ArrowReaderMetadata,
    group: usize,
    columns: &[&str],
    selection: Option<RowSelection>,
) -> Result<ParquetRecordBatchReader> {
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let builder = builder.with_projection(mask).with_row_groups(vec![group]).with_batch_size(ROWS);
    Ok(match selection {
        Some(selection) => builder.with_row_selection(selection),
        None => builder,
    }
    .build()?)
}

fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).cloned();
    column.with_context(|| format!("no column {name} of text"))
}
