//! The file of one tower's features: rows of one length, appended as they come and read by place.
//!
//! `NAME.rows` holds the rows, each with a checksum over itself and the item that it is of;
//! `NAME.index` says what they are of. The index is written, whole, after the rows that it names have
//! reached the disk, so a kill or a power cut costs rows and never gives wrong ones.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use crc32c::{crc32c, crc32c_append};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table::{Item, Table};
use crate::files::Pending;

/// Bytes of a row's checksum.
const CHECKSUM: usize = 4;

/// What a row is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Type of its elements.
    pub dtype: Dtype,
    /// Number of its elements.
    pub width: usize,
    /// Number of its bytes.
    pub bytes: usize,
}

/// The first line of an index; the table follows it.
#[derive(Serialize, Deserialize)]
struct Head {
    key: Value,
    layout: Layout,
}

/// An open file of rows.
#[derive(Debug)]
pub struct Store {
    rows: PathBuf,
    index: PathBuf,
    file: File,
    key: Value,
    layout: Layout,
    committed: u32,
}

/// What an earlier process kept under a key: how its rows lie and where.
pub struct Found {
    /// How the rows lie.
    pub layout: Layout,
    /// Where they are.
    pub table: Table,
}

/// What is kept in `folder` under `key`; nothing where there is nothing, or it is of another key.
pub fn find(folder: &Path, name: &str, key: &Value) -> Option<Found> {
    let bytes = fs::read(index_of(folder, name)).ok()?;
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
    let table = Table::read(&bytes[end + 1..])?;
    let whole = fs::metadata(rows_of(folder, name)).ok()?.len() >= at(head.layout, table.len());
    (head.key == *key && whole).then_some(Found { layout: head.layout, table })
}

/// Removes what is kept of a tower, and the folder with the last of them.
///
/// # Errors
/// If a file is there and cannot be removed.
pub fn remove(folder: &Path, name: &str) -> Result<()> {
    // The index first: without it, rows are nothing.
    for path in [index_of(folder, name), rows_of(folder, name)] {
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let _ = fs::remove_dir(folder); // not while the other tower's are there
    Ok(())
}

fn rows_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.rows"))
}

fn index_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.index"))
}

/// Where the row of a place begins.
fn at(layout: Layout, place: u32) -> u64 {
    u64::from(place) * (layout.bytes + CHECKSUM) as u64
}

/// The checksum of a row as that of its item.
fn checksum(item: Item, row: &[u8]) -> [u8; CHECKSUM] {
    let seen = crc32c_append(crc32c(&item.row.to_le_bytes()), &item.variant.to_le_bytes());
    crc32c_append(seen, row).to_le_bytes()
}

impl Store {
    /// Opens the rows that `found` speaks of, or begins anew with rows of `layout`.
    ///
    /// # Errors
    /// If the folder or the file cannot be made or opened.
    pub fn open(
        folder: &Path,
        name: &str,
        key: &Value,
        layout: Layout,
        found: Option<&Found>,
    ) -> Result<Self> {
        let (rows, index) = (rows_of(folder, name), index_of(folder, name));
        let failed = || format!("cannot write {}", rows.display());
        if found.is_none() {
            remove(folder, name)?;
            fs::create_dir_all(folder).with_context(failed)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&rows);
        let committed = found.map_or(0, |found| found.table.len());
        Ok(Self { file: file.with_context(failed)?, rows, index, key: key.clone(), layout, committed })
    }

    /// How its rows lie.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Writes the row of an item at its place.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn write(&self, place: u32, item: Item, row: &[u8]) -> Result<()> {
        let record = [row, &checksum(item, row)].concat();
        let written = self.file.write_all_at(&record, at(self.layout, place));
        written.with_context(|| format!("cannot write {}", self.rows.display()))
    }

    /// Reads the row of an item from its place.
    ///
    /// # Errors
    /// If the disk fails, or what it gives is not what was written.
    pub fn read(&self, place: u32, item: Item, row: &mut [u8]) -> Result<()> {
        let mut record = vec![0; self.layout.bytes + CHECKSUM];
        let damaged = || format!("{} is damaged: remove it, and add --resume to go on", self.rows.display());
        self.file.read_exact_at(&mut record, at(self.layout, place)).with_context(damaged)?;
        let (found, sum) = record.split_at(self.layout.bytes);
        ensure!(checksum(item, found) == sum, damaged());
        row.copy_from_slice(found);
        Ok(())
    }

    /// Makes the rows in `table` last: a later process will find them.
    ///
    /// # Errors
    /// If the disk is full or fails; what was made to last before still does.
    pub fn commit(&mut self, table: &Table) -> Result<()> {
        if table.len() == self.committed {
            return Ok(());
        }
        self.file.sync_data().with_context(|| format!("cannot write {}", self.rows.display()))?;
        let mut index = Pending::create(&self.index)?;
        let head = serde_json::to_string(&Head { key: self.key.clone(), layout: self.layout })?;
        let written = writeln!(index, "{head}").and_then(|()| table.write(&mut index));
        written.with_context(|| index.failed())?;
        index.commit()?;
        self.committed = table.len();
        Ok(())
    }
}

#[cfg(test)]
impl Store {
    /// As a full disk does.
    pub fn refuse_writes(&mut self) {
        self.file = File::open(&self.rows).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LAYOUT: Layout = Layout { dtype: Dtype::F32, width: 2, bytes: 8 };

    fn item(row: u64) -> Item {
        Item { row, variant: (row % 2) as u32 }
    }

    /// A store with rows 0 to `rows`, of which `committed` will be found again.
    fn filled(folder: &Path, rows: u64, committed: u64) -> Store {
        let (mut store, mut table) =
            (Store::open(folder, "image", &json!("a"), LAYOUT, None).unwrap(), Table::default());
        for row in 0..rows {
            let place = table.add(item(row));
            store.write(place, item(row), &[row as u8; 8]).unwrap();
            if row + 1 == committed {
                store.commit(&table).unwrap();
            }
        }
        store
    }

    fn read(store: &Store, table: &Table, row: u64) -> Result<Vec<u8>> {
        let mut found = vec![0; 8];
        store.read(table.get(item(row)).unwrap(), item(row), &mut found).map(|()| found)
    }

    #[test]
    fn committed_rows_are_found_again_and_the_rest_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 5, 3);
        let mut found = find(folder.path(), "image", &json!("a")).unwrap();
        assert_eq!((found.layout, found.table.len()), (LAYOUT, 3));
        let mut store = Store::open(folder.path(), "image", &json!("a"), LAYOUT, Some(&found)).unwrap();
        let place = found.table.add(item(9));
        store.write(place, item(9), &[9; 8]).unwrap();
        store.commit(&found.table).unwrap();
        let found = find(folder.path(), "image", &json!("a")).unwrap();
        for row in [0, 1, 2, 9] {
            assert_eq!(read(&store, &found.table, row).unwrap(), [row as u8; 8]);
        }
        assert_eq!([3, 4].map(|row| found.table.get(item(row))), [None; 2]);
    }

    #[test]
    fn another_key_a_missing_index_and_cut_rows_are_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        filled(folder.path(), 2, 2);
        assert!(find(folder.path(), "image", &json!("b")).is_none());
        let rows = fs::read(path("image.rows")).unwrap();
        fs::write(path("image.rows"), &rows[..rows.len() - 1]).unwrap();
        assert!(find(folder.path(), "image", &json!("a")).is_none());
        fs::write(path("image.rows"), rows).unwrap();
        assert!(find(folder.path(), "image", &json!("a")).is_some());
        fs::remove_file(path("image.index")).unwrap();
        assert!(find(folder.path(), "image", &json!("a")).is_none());
    }

    #[test]
    fn a_changed_byte_or_a_row_in_anothers_place_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path(), 2, 2);
        let path = folder.path().join("image.rows");
        let table = find(folder.path(), "image", &json!("a")).unwrap().table;
        let mut rows = fs::read(&path).unwrap();
        rows.rotate_left(12);
        fs::write(&path, &rows).unwrap();
        let expected = format!("{} is damaged: remove it, and add --resume to go on", path.display());
        assert_eq!(read(&store, &table, 0).unwrap_err().to_string(), expected);
        rows.rotate_left(12);
        rows[3] ^= 1;
        fs::write(&path, &rows).unwrap();
        assert_eq!(read(&store, &table, 0).unwrap_err().to_string(), expected);
        assert!(read(&store, &table, 1).is_ok());
    }

    #[test]
    fn rows_of_another_key_are_removed_before_the_first_is_written() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 3, 3);
        Store::open(folder.path(), "image", &json!("b"), LAYOUT, None).unwrap();
        assert!(find(folder.path(), "image", &json!("a")).is_none());
        assert_eq!(fs::metadata(folder.path().join("image.rows")).unwrap().len(), 0);
    }

    #[test]
    fn the_folder_goes_with_the_last_tower() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("features");
        filled(&inner, 1, 1);
        Store::open(&inner, "text", &json!("a"), LAYOUT, None).unwrap();
        remove(&inner, "image").unwrap();
        assert!(inner.join("text.rows").is_file());
        remove(&inner, "text").unwrap();
        assert!(!inner.exists());
        remove(&inner, "text").unwrap();
    }
}
