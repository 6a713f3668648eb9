//! The embeddings of a row group as slices of the file: what [`super::IndexWriter`] writes lies there
//! number by number, and need not go through Arrow.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::ParquetMetaData;

use crate::shard::page;

/// A page of embeddings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// Where it begins in the file, in bytes.
    offset: u64,
    /// Its bytes, header included.
    bytes: usize,
    /// The number of its first row in the row group.
    pub first_row: usize,
    /// Its rows.
    rows: usize,
}

/// Where the embeddings of a row group lie; `None` where they are compressed, in a dictionary or without
/// a page index, as another program may have written them.
pub fn pages(metadata: &ParquetMetaData, group: usize, leaf: usize) -> Option<Vec<Page>> {
    let column = metadata.row_group(group).column(leaf);
    let plain = column.compression() == Compression::UNCOMPRESSED
        && column.dictionary_page_offset().is_none()
        && column.encodings().all(|encoding| matches!(encoding, Encoding::PLAIN | Encoding::RLE));
    let locations = metadata.page_index()?.offset_index(group, leaf)?.page_locations();
    let rows = metadata.row_group(group).num_rows();
    let ends = locations.iter().skip(1).map(|next| next.first_row_index).chain([rows]);
    let page = |(page, end): (&parquet::file::page_index::offset_index::PageLocation, i64)| {
        Some(Page {
            offset: page.offset.try_into().ok()?,
            bytes: page.compressed_page_size.try_into().ok()?,
            first_row: page.first_row_index.try_into().ok()?,
            rows: (end - page.first_row_index).try_into().ok()?,
        })
    };
    plain.then(|| locations.iter().zip(ends).map(page).collect())?
}

impl Page {
    /// Reads the page into `buffer`, and gives back its rows: `4 · dim` bytes each, float32 by the lowest byte first.
    ///
    /// # Errors
    /// If the file is shorter, or the page holds anything but so many rows without a null.
    pub fn read<'a>(&self, file: &File, dim: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        buffer.resize(self.bytes, 0);
        file.read_exact_at(buffer, self.offset).context("the file is shorter than its index says")?;
        let mut from = page::body_start(buffer)?;
        for _ in ["repetition levels", "definition levels"] {
            from += 4 + page::length_at(buffer, from)?;
        }
        let values = buffer.get(from..).context("the page is cut")?;
        ensure!(values.len() == 4 * self.rows * dim, "the page holds no {} rows of {dim} numbers", self.rows);
        Ok(values)
    }
}
