//! Which row groups hold images, and how their embeddings are read.

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::pages::{self, Page};

/// A row group with images.
#[derive(Debug)]
pub struct Group {
    /// Its number in the file.
    pub number: usize,
    /// Its embeddings, where it holds images alone and they need no decoding.
    pub pages: Option<Vec<Page>>,
}

/// The row groups that may hold images.
pub fn of_images(metadata: &ParquetMetaData, embedding: &str) -> Vec<Group> {
    let schema = metadata.file_metadata().schema_descr();
    let leaf = (0..schema.num_columns()).find(|&leaf| schema.column(leaf).path().string() == embedding);
    let group = |number: usize| {
        let kind = only_kind(metadata.row_group(number));
        let pages = || leaf.and_then(|leaf| pages::pages(metadata, number, leaf));
        match kind {
            Some(b"text") => None,
            Some(b"image") => Some(Group { number, pages: pages() }),
            _ => Some(Group { number, pages: None }),
        }
    };
    (0..metadata.num_row_groups()).filter_map(group).collect()
}

/// The kind of all rows of a row group, where its statistics say that there is one.
pub fn only_kind(group: &RowGroupMetaData) -> Option<&[u8]> {
    let kind = group.columns().iter().find(|column| column.column_path().string() == "kind")?;
    let Some(Statistics::ByteArray(kinds)) = kind.statistics() else { return None };
    let (least, most) = (kinds.min_opt()?.data(), kinds.max_opt()?.data());
    (kinds.null_count_opt() == Some(0) && least == most).then_some(least)
}
