//! What the caption files say, before any image is read: the rows, in the source's order.

mod cells;
pub mod coco;
pub mod flickr30k;
pub mod images;
mod row;
pub mod table;
pub mod webdataset;

use std::slice;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::files::sha256_hex;
use crate::store::Location;
pub use cells::Cells;
pub use row::{Captions, Fault, Place, Row};
use row::{Splits, find_faults};

/// Where pairs come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// MS COCO captions.
    Coco(coco::Coco),
    /// Flickr8k and Flickr30k.
    Flickr30k(flickr30k::Flickr30k),
    /// A table of pairs.
    Table(table::Table),
    /// WebDataset tars.
    Webdataset(webdataset::Webdataset),
}

/// A file of captions, as the manifest names it: by flag, split and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Flag that named it.
    pub flag: &'static str,
    /// Split that the flag named.
    pub split: Option<String>,
    /// SHA-256 of its bytes; of a tar, of its members' names and sizes and its captions' bytes.
    pub sha256: String,
}

/// Everything the caption files say.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Images in the source's order.
    pub rows: Vec<Row>,
    /// Files that were read.
    pub inputs: Vec<Input>,
}

impl Source {
    /// Its name on the command line and in manifests.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Coco(_) => "coco",
            Self::Flickr30k(_) => "flickr30k",
            Self::Table(_) => "table",
            Self::Webdataset(_) => "webdataset",
        }
    }

    /// Folders and zips that images are looked for in, in order.
    pub fn images(&self) -> &[Location] {
        match self {
            Self::Coco(source) => &source.images,
            Self::Flickr30k(source) => &source.images,
            Self::Table(source) => slice::from_ref(&source.images),
            Self::Webdataset(_) => &[],
        }
    }

    /// Its own options that shape bytes, by their names in the manifest.
    pub fn options(&self) -> Map<String, Value> {
        match self {
            Self::Coco(_) | Self::Flickr30k(_) => Map::new(),
            Self::Table(source) => source.columns.options(),
            Self::Webdataset(source) => {
                Map::from_iter([("keep_columns".to_owned(), json!(source.keep_columns))])
            }
        }
    }

    /// Reads the captions. A row whose source names no split goes to `split`.
    ///
    /// # Errors
    /// If a file cannot be read or is not of its format; the message names flag, file and place.
    pub fn read(&self, split: &str) -> Result<Listing> {
        let mut listing = match self {
            Self::Coco(source) => source.read(split)?,
            Self::Flickr30k(source) => source.read(split)?,
            Self::Table(source) => source.read(split)?,
            Self::Webdataset(source) => source.read(split)?,
        };
        find_faults(&mut listing.rows);
        ensure!(!listing.rows.is_empty(), "{}: no image is named in it", listing.inputs[0].flag);
        Ok(listing)
    }
}

impl Input {
    /// Its form in the manifest.
    pub fn to_json(&self) -> Value {
        json!({ "flag": self.flag, "split": self.split, "sha256": self.sha256 })
    }
}

/// Whether a split's name can be a folder's on every system, does not hide from readers, and is one
/// that Hugging Face `datasets` takes (it refuses hyphens).
pub fn is_split_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    name.bytes().all(allowed) && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// A caption file whole, and its hash. Both flags and paths are named in what goes wrong.
fn read_text(flag: &'static str, file: &Location, split: Option<&str>) -> Result<(String, Input)> {
    let reading = || format!("{flag}: cannot read {file}");
    let bytes = std::fs::read(file.path()).with_context(reading)?;
    let input = Input { flag, split: split.map(str::to_owned), sha256: sha256_hex(&bytes) };
    let text = String::from_utf8(bytes).with_context(|| format!("{flag}: {file} is not UTF-8 text"))?;
    Ok((text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text), input))
}

/// Andrej Karpathy's split files (`dataset_coco.json`, `dataset_flickr30k.json`).
#[derive(Deserialize)]
struct Karpathy {
    images: Vec<KarpathyImage>,
}

#[derive(Deserialize)]
struct KarpathyImage {
    filename: String,
    filepath: Option<String>,
    cocoid: Option<i64>,
    split: String,
    sentences: Vec<KarpathySentence>,
}

#[derive(Deserialize)]
struct KarpathySentence {
    raw: String,
}

impl Karpathy {
    fn read(file: &Location) -> Result<(Self, Input)> {
        let (text, input) = read_text("--karpathy", file, None)?;
        let mut all: Self = serde_json::from_str(&text)
            .with_context(|| format!("--karpathy: {file} is not a Karpathy split file"))?;
        for image in &mut all.images {
            if image.split == "restval" {
                image.split = "train".to_owned();
            }
            let split = &image.split;
            ensure!(is_split_name(split), "--karpathy: {file}: `{split}` cannot be the name of a split");
        }
        Ok((all, input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_a_plain_folder_name() {
        assert!(["train", "val2017", "minival_5k"].into_iter().all(is_split_name));
        assert!(!["", "_x", ".x", "..", "a/b", "a b", "a-b"].into_iter().any(is_split_name));
    }
}
