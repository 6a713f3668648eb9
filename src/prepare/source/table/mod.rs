//! A table of pairs: CSV, TSV, JSON Lines or Parquet, read as a stream.

mod json_lines;
mod parquet;
mod separated;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::row::id_of;
use super::{Fault, Input, Listing, Place, Row, Splits, is_split_name};
use crate::files::hex;
use crate::store::Location;

/// A table of pairs, and where the images are that it names.
#[derive(Clone, Debug)]
pub struct Table {
    /// The table.
    pub file: Location,
    /// How it is written.
    pub format: Format,
    /// Folder or zip of the images that it names.
    pub images: Location,
    /// What its columns mean.
    pub columns: Columns,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Cells between commas after a line of names.
    Csv,
    /// Cells between tabs after a line of names.
    Tsv,
    /// A JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

/// What the columns of a table mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Path or bytes of the image.
    pub image: String,
    /// A caption, or a list of them; the captions of several columns come in this order.
    pub captions: Vec<String>,
    /// Key of the image; the row's number from 0, padded to 12, where `None`.
    pub key: Option<String>,
    /// Split of the image.
    pub split: Option<String>,
    /// Columns that go to `meta`.
    pub keep: Vec<String>,
}

impl Format {
    /// Told by the end of the file's name.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl Columns {
    /// Their form in the manifest: an entry a flag.
    pub fn options(&self) -> Map<String, Value> {
        let options = json!({
            "image_column": self.image,
            "caption_column": self.captions,
            "key_column": self.key,
            "split_column": self.split,
            "keep_columns": self.keep,
        });
        options.as_object().cloned().unwrap_or_default()
    }

    /// Each with its flag.
    fn flags(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let captions = self.captions.iter().map(|name| ("--caption-column", name.as_str()));
        let key = self.key.iter().map(|name| ("--key-column", name.as_str()));
        let split = self.split.iter().map(|name| ("--split-column", name.as_str()));
        let keep = self.keep.iter().map(|name| ("--keep-columns", name.as_str()));
        [("--image-column", self.image.as_str())]
            .into_iter()
            .chain(captions)
            .chain(key)
            .chain(split)
            .chain(keep)
    }

    /// Refuses a table that lacks one of them.
    fn check<'a>(&self, file: &Location, present: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
        for (flag, name) in self.flags() {
            if !present.clone().any(|column| column == name) {
                let present = present.map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
                bail!("{flag}: {file} has no column `{name}`; its columns are {present}");
            }
        }
        Ok(())
    }
}

impl Table {
    /// The images in the order in which they are first named.
    pub(super) fn read(&self, split: &str) -> Result<Listing> {
        let mut pairs = Pairs::new(self.columns.key.is_some(), split);
        let sha256 = match self.format {
            Format::Csv => separated::read(self, b',', &mut pairs)?,
            Format::Tsv => separated::read(self, b'\t', &mut pairs)?,
            Format::JsonLines => json_lines::read(self, &mut pairs)?,
            Format::Parquet => parquet::read(self, &mut pairs)?,
        };
        let input = Input { flag: "--table", split: None, sha256 };
        Ok(Listing { rows: pairs.rows, inputs: vec![input] })
    }

    fn open(&self) -> Result<Hashed> {
        let file =
            File::open(self.file.path()).with_context(|| format!("--table: cannot read {}", self.file))?;
        Ok(Hashed { file, hasher: Sha256::new() })
    }
}

/// What a row of a table says.
#[derive(Default)]
struct Pair<'a> {
    key: Option<Cow<'a, str>>,
    split: Option<Cow<'a, str>>,
    file: Option<Cow<'a, str>>,
    /// The image may be a cell of this row of a Parquet file.
    cell: Option<u64>,
    captions: Vec<Cow<'a, str>>,
    meta: Option<String>,
}

/// The rows so far, pairs of one key together.
struct Pairs {
    keyed: bool,
    split: String,
    splits: Splits,
    rows: Vec<Row>,
    /// Places of the keys, by the first half of the SHA-256 of split and key.
    places: HashMap<[u8; 16], u32>,
    count: u64,
}

impl Pairs {
    fn new(keyed: bool, split: &str) -> Self {
        let (splits, rows, places) = (Splits::default(), Vec::new(), HashMap::new());
        Self { keyed, split: split.to_owned(), splits, rows, places, count: 0 }
    }

    fn add(&mut self, pair: Pair) -> Result<()> {
        let split =
            pair.split.as_deref().map(str::trim).filter(|split| !split.is_empty()).unwrap_or(&self.split);
        ensure!(is_split_name(split), "--split-column: `{split}` cannot be the name of a split");
        let split = self.splits.get(split);
        let number = self.count;
        self.count += 1;
        let row = match pair.key.as_deref().map(str::trim) {
            _ if !self.keyed => self.push(&pair, &split, &format!("{number:012}"), number as i64),
            None | Some("") => bail!("--key-column: the key is empty"),
            Some(key) => match self.places.entry(hash(&split, key)) {
                Entry::Occupied(place) => {
                    let place = *place.get() as usize;
                    take_image(&mut self.rows[place], &pair);
                    place
                }
                Entry::Vacant(place) => {
                    place.insert(u32::try_from(self.rows.len()).context("more than 4,294,967,295 images")?);
                    self.push(&pair, &split, key, id_of(key))
                }
            },
        };
        pair.captions.iter().for_each(|caption| self.rows[row].add_caption(caption));
        Ok(())
    }

    fn push(&mut self, pair: &Pair, split: &Arc<str>, key: &str, image_id: i64) -> usize {
        let mut row = Row::new(split, key, image_id, "");
        (row.fault, row.meta) = (Some(Fault::NoImage), pair.meta.as_deref().map(Box::from));
        take_image(&mut row, pair);
        self.rows.push(row);
        self.rows.len() - 1
    }
}

/// The first pair of a key that has an image gives it.
fn take_image(row: &mut Row, pair: &Pair) {
    let file = pair.file.as_deref().map(str::trim).unwrap_or_default();
    if row.fault == Some(Fault::NoImage) && (!file.is_empty() || pair.cell.is_some()) {
        row.file = file.into();
        row.place = pair.cell.map_or(Place::File, Place::Cell);
        row.fault = None;
    }
}

fn hash(split: &str, key: &str) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hasher.update((split.len() as u64).to_le_bytes());
    hasher.update(split);
    hasher.update(key);
    let hash: [u8; 32] = hasher.finalize().into();
    *hash.first_chunk().expect("a hash of 32 bytes")
}

/// A file, and the hash of what was read of it.
struct Hashed {
    file: File,
    hasher: Sha256,
}

impl Hashed {
    fn buffered(&mut self) -> BufReader<&mut Self> {
        BufReader::with_capacity(1 << 16, self)
    }

    /// In lower-case hexadecimal.
    fn finish(self) -> String {
        hex(&self.hasher.finalize())
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair<'a>(key: &'a str, file: &'a str, caption: &'a str) -> Pair<'a> {
        let captions = vec![caption.into()];
        Pair { key: Some(key.into()), file: Some(file.into()), captions, ..Pair::default() }
    }

    #[test]
    fn pairs_of_one_key_become_one_row_with_the_first_image() {
        let mut pairs = Pairs::new(true, "train");
        for (key, file, caption) in [("a", "1", "x"), ("b", "2", "y"), ("a", "3", "z"), ("a", "", " ")] {
            pairs.add(pair(key, file, caption)).unwrap();
        }
        let rows: Vec<_> = pairs.rows.iter().map(|row| (&*row.key, &*row.file, row.captions.len())).collect();
        assert_eq!(rows, [("a", "1", 2), ("b", "2", 1)]);
        assert_eq!(pairs.rows[0].empty_captions, 1);
    }

    #[test]
    fn a_key_stands_once_in_each_split() {
        let mut pairs = Pairs::new(true, "train");
        pairs.add(pair("a", "1", "x")).unwrap();
        pairs.add(Pair { split: Some("val".into()), ..pair("a", "1", "x") }).unwrap();
        assert_eq!(pairs.rows.len(), 2);
        let bad = Pair { split: Some("../x".into()), ..pair("a", "1", "x") };
        let error = pairs.add(bad).unwrap_err().to_string();
        assert_eq!(error, "--split-column: `../x` cannot be the name of a split");
    }

    #[test]
    fn a_format_is_told_by_the_end_of_the_name() {
        assert_eq!(Format::of(Path::new("a.b/c.CSV")), Some(Format::Csv));
        assert_eq!(Format::of(Path::new("c.parquet.bak")), None);
    }
}
