//! The offset index as a byte map: a picture is a slice of the file.
//!
//! Our pages hold one uncompressed PLAIN value (Parquet format: *Data Pages*, *Plain encoding*):
//! a header in Thrift's compact protocol, then, where the leaf is nullable, the definition levels
//! behind a 4-byte length, then the value's 4-byte length and the value.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaData;

use super::schema::Pixels;

/// Where the page of every picture lies.
pub struct PageMap {
    /// Offset and length in the file, header included.
    pages: Vec<(u64, u32)>,
    nullable: bool,
}

impl PageMap {
    /// Reads the map out of a file's metadata; `None` where the file lacks the page index, or its pages
    /// do not hold one picture each.
    ///
    /// # Errors
    /// If there is no column of pictures.
    pub fn new(metadata: &ParquetMetaData, pixels: Pixels) -> Result<Option<Self>> {
        let (name, nullable) = match pixels {
            Pixels::Image => ("image.bytes", true),
            Pixels::Raw { .. } => ("pixels", false),
        };
        let schema = metadata.file_metadata().schema_descr();
        let leaf = (0..schema.num_columns()).find(|&leaf| schema.column(leaf).path().string() == name);
        let leaf = leaf.with_context(|| format!("it has no column {name}"))?;
        let mut pages = Vec::with_capacity(metadata.file_metadata().num_rows() as usize);
        for group in 0..metadata.num_row_groups() {
            let index = metadata.page_index().and_then(|index| index.offset_index(group, leaf));
            let column = metadata.row_group(group).column(leaf);
            let plain = column.compression() == Compression::UNCOMPRESSED
                && column.dictionary_page_offset().is_none();
            let Some(index) = index.filter(|_| plain) else { return Ok(None) };
            let locations = index.page_locations();
            if locations.len() as i64 != metadata.row_group(group).num_rows() {
                return Ok(None);
            }
            pages.extend(locations.iter().map(|page| (page.offset as u64, page.compressed_page_size as u32)));
        }
        Ok(Some(Self { pages, nullable }))
    }

    /// Reads the value of one row into `buffer`.
    ///
    /// # Errors
    /// If the file was cut or the page is not what we write.
    pub fn read(&self, file: &File, row: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let (offset, length) = self.pages[row];
        buffer.resize(length as usize, 0);
        file.read_exact_at(buffer, offset).context("the file is shorter than its index says")?;
        let value = value_start(buffer, self.nullable)?;
        buffer.drain(..value);
        Ok(())
    }

    /// Where the value of one row begins in the file, if it has `length` bytes: a page ends with its
    /// value.
    ///
    /// # Errors
    /// If the page has no room for such a value.
    pub fn value(&self, row: usize, length: usize) -> Result<usize> {
        let (offset, page) = self.pages[row];
        let header = (page as usize).checked_sub(length).context("its pixels have another size")?;
        Ok(offset as usize + header)
    }
}

/// Where the value begins in a page that holds exactly one.
fn value_start(page: &[u8], nullable: bool) -> Result<usize> {
    let body = body_start(page)?;
    let levels = match nullable {
        true => 4 + length_at(page, body)?,
        false => 0,
    };
    let value = body + levels + 4;
    ensure!(value + length_at(page, value - 4)? == page.len(), "the page holds more than one value");
    Ok(value)
}

/// Where the levels and values of an uncompressed version-1 data page begin, behind its header.
///
/// # Errors
/// If it is another page, or cut.
pub(crate) fn body_start(page: &[u8]) -> Result<usize> {
    page.len().checked_sub(body_length(page)?).context("the page header is damaged")
}

/// The 4-byte length that stands at a place.
///
/// # Errors
/// If the page ends before it.
pub(crate) fn length_at(page: &[u8], at: usize) -> Result<usize> {
    let bytes = page.get(at..at + 4).context("the page is cut")?;
    Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize)
}

/// The third field of a page header, `compressed_page_size`: the first three are i32s, written as
/// a byte 0x15 (next field, type i32) and a zigzag varint each.
fn body_length(page: &[u8]) -> Result<usize> {
    let mut bytes = page.iter();
    let mut field = || -> Option<i64> {
        (*bytes.next()? == 0x15).then_some(())?;
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = *bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
            (shift < 64).then_some(())?;
        }
    };
    let (kind, uncompressed, compressed) = (field(), field(), field());
    match (kind, uncompressed, compressed) {
        (Some(0), Some(uncompressed), Some(compressed)) if uncompressed == compressed => {
            Ok(compressed as usize)
        }
        (Some(_), Some(_), Some(_)) => bail!("the page is compressed or of another kind"),
        _ => bail!("the page header is damaged"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version-1 data page header with nothing after the three sizes but a stop byte.
    fn page(body: &[u8]) -> Vec<u8> {
        let size = (body.len() as u8) << 1;
        [&[0x15, 0, 0x15, size, 0x15, size, 0][..], body].concat()
    }

    #[test]
    fn a_value_is_found_behind_header_and_levels() {
        let levels = [2, 0, 0, 0, 2, 2];
        let value = [3, 0, 0, 0, b'a', b'b', b'c'];
        let page = page(&[&levels[..], &value].concat());
        assert_eq!(&page[value_start(&page, true).unwrap()..], b"abc");
    }

    #[test]
    fn a_required_value_has_no_levels() {
        let page = page(&[2, 0, 0, 0, 7, 8]);
        assert_eq!(&page[value_start(&page, false).unwrap()..], &[7, 8]);
    }

    #[test]
    fn damaged_pages_are_errors_not_panics() {
        let good = page(&[2, 0, 0, 0, 7, 8]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _ = value_start(&bad, false);
            let _ = value_start(&bad[..at], true);
        }
        assert!(value_start(&page(&[9, 0, 0, 0, 7, 8]), false).is_err());
    }
}
