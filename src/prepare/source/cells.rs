//! Images that are cells of a Parquet table: read in the table's order, a block at a time, and the
//! image column alone.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};

use super::table::{Format, Table};

/// Rows decoded at a time.
const BATCH: usize = 16;

/// The image column of a Parquet table.
pub(super) struct ImageColumn {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
}

impl ImageColumn {
    /// `None` where the table holds no bytes of images.
    pub fn of(table: &Table) -> Result<Option<Self>> {
        if table.format != Format::Parquet {
            return Ok(None);
        }
        let path = table.file.path().to_owned();
        let file = File::open(&path).with_context(|| format!("--table: cannot read {}", path.display()))?;
        let metadata = ArrowReaderMetadata::load(&file, Default::default())
            .with_context(|| format!("--table: cannot read {}", path.display()))?;
        let descriptor = metadata.parquet_schema();
        let wanted = [vec![table.columns.image.as_str()], vec![table.columns.image.as_str(), "bytes"]];
        let leaf = (0..descriptor.num_columns()).find(|&leaf| {
            wanted.iter().any(|path| descriptor.column(leaf).path().parts() == path.as_slice())
        });
        let mask = ProjectionMask::leaves(descriptor, leaf);
        Ok(leaf.map(|_| Self { path, metadata, mask }))
    }

    /// A reader of the cells of these rows of the table, ascending.
    pub fn cells(&self, rows: Vec<u64>) -> Result<Cells> {
        if rows.is_empty() {
            return Ok(Cells::none());
        }
        let file = File::open(&self.path)
            .with_context(|| format!("--table: cannot read {}", self.path.display()))?;
        let (groups, selection) = self.selection(&rows);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(groups)
            .with_row_selection(selection)
            .with_batch_size(BATCH)
            .build()
            .with_context(|| format!("--table: cannot read {}", self.path.display()))?;
        Ok(Cells(Some(Reader { path: self.path.clone(), reader, batch: None, next: 0 })))
    }

    /// The row groups that hold the rows, and the rows within these.
    fn selection(&self, rows: &[u64]) -> (Vec<usize>, RowSelection) {
        let (mut groups, mut selectors, mut rest, mut start) = (Vec::new(), Vec::new(), rows, 0);
        for (group, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            let end = start + metadata.num_rows() as u64;
            let (inside, after) = rest.split_at(rest.partition_point(|&row| row < end));
            if !inside.is_empty() {
                groups.push(group);
                let mut at = start;
                for &row in inside {
                    selectors.push(RowSelector::skip((row - at) as usize));
                    selectors.push(RowSelector::select(1));
                    at = row + 1;
                }
                selectors.push(RowSelector::skip((end - at) as usize));
            }
            (rest, start) = (after, end);
        }
        (groups, RowSelection::from(selectors))
    }
}

/// A reader of cells in order.
pub struct Cells(Option<Reader>);

struct Reader {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    batch: Option<BinaryArray>,
    next: usize,
}

impl Cells {
    /// No cells.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The bytes of the next cell; `None` where it has none, or where the images are no cells.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.0 {
            None => Ok(None),
            Some(reader) => {
                let path = reader.path.clone();
                reader
                    .take()
                    .with_context(|| format!("--table: cannot read the images of {}", path.display()))
            }
        }
    }
}

impl Reader {
    fn take(&mut self) -> Result<Option<Vec<u8>>> {
        if self.batch.as_ref().is_none_or(|batch| self.next == batch.len()) {
            self.batch = None; // before the next one is decoded
            let batch = self.reader.next().context("it has become shorter while it was read")??;
            (self.batch, self.next) = (Some(bytes_of(&batch)?), 0);
        }
        let batch = self.batch.as_ref().context("an empty batch")?;
        ensure!(self.next < batch.len(), "an empty batch");
        let cell = batch.is_valid(self.next).then(|| batch.value(self.next).to_vec());
        self.next += 1;
        Ok(cell)
    }
}

fn bytes_of(batch: &RecordBatch) -> Result<BinaryArray> {
    let column = batch.column(0);
    let bytes: ArrayRef = match column.as_any().downcast_ref::<StructArray>() {
        // A missing struct makes its parts missing.
        Some(parts) => arrow::compute::nullif(parts.column(0), &arrow::compute::is_null(parts)?)?,
        None => column.clone(),
    };
    Ok(cast(&bytes, &DataType::Binary)?.as_binary::<i32>().clone())
}
