//! What the caption files say, before any image is read: the rows, in the source's order.

pub mod coco;
pub mod flickr30k;

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reject::Reject;
use crate::files::sha256_hex;
use crate::store::Location;

/// Where pairs come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// MS COCO captions.
    Coco(coco::Coco),
    /// Flickr8k and Flickr30k.
    Flickr30k(flickr30k::Flickr30k),
}

/// One image that the source names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Folder of the dataset that it goes to.
    pub split: String,
    /// Unique in its split, unless `fault` says otherwise.
    pub key: String,
    /// The source's id, or the first 63 bits of the key's hash.
    pub image_id: i64,
    /// The file as the source names it.
    pub file: String,
    /// Sub-folders of the images folder to look in before the folder itself.
    pub folder: Option<String>,
    /// Trimmed, in the source's order, none empty.
    pub captions: Vec<String>,
    /// Empty captions that were dropped.
    pub empty_captions: u64,
    /// What is already known to be wrong.
    pub fault: Option<Fault>,
}

/// What the caption files alone show to be wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No caption, or only empty ones.
    NoCaption,
    /// The key stands twice in its split; the first one wins.
    Duplicate,
    /// Captions of an image that the file does not list.
    NotListed,
}

/// A caption file, as the manifest names it: by flag, split and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Flag that named it.
    pub flag: &'static str,
    /// Split that the flag named.
    pub split: Option<String>,
    /// SHA-256 of its bytes.
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
        }
    }

    /// Folders that images are looked for in, in order.
    pub fn images(&self) -> &[Location] {
        match self {
            Self::Coco(source) => &source.images,
            Self::Flickr30k(source) => &source.images,
        }
    }

    /// Reads the caption files. A row whose source names no split goes to `split`.
    ///
    /// # Errors
    /// If a file cannot be read or is not of its format; the message names flag, file and place.
    pub fn read(&self, split: &str) -> Result<Listing> {
        let mut listing = match self {
            Self::Coco(source) => source.read(split)?,
            Self::Flickr30k(source) => source.read(split)?,
        };
        find_faults(&mut listing.rows);
        ensure!(!listing.rows.is_empty(), "{}: no image is named in it", listing.inputs[0].flag);
        Ok(listing)
    }
}

impl Row {
    fn new(split: &str, key: String, image_id: i64, file: &str) -> Self {
        Self {
            split: split.to_owned(),
            key,
            image_id,
            file: file.to_owned(),
            folder: None,
            captions: Vec::new(),
            empty_captions: 0,
            fault: None,
        }
    }

    fn add_caption(&mut self, text: &str) {
        match text.trim() {
            "" => self.empty_captions += 1,
            text => self.captions.push(text.to_owned()),
        }
    }

    /// The bytes of the image file: the first of `folders` that has it.
    ///
    /// # Errors
    /// `Ok(Err(_))` where no folder has it or its name leaves the folder: a bad sample.
    /// `Err` where it is there and cannot be read: a bad run.
    pub fn read_image(&self, folders: &[Location]) -> Result<Result<Vec<u8>, Reject>> {
        if !stays_inside(&self.file) || self.folder.as_deref().is_some_and(|folder| !stays_inside(folder)) {
            return Ok(Err(Reject::Missing(format!("{}: it would be outside of --images", self.path()))));
        }
        let sub_folders = self.folder.as_deref().into_iter().chain([""]);
        for folder in folders {
            for sub_folder in sub_folders.clone() {
                let path = folder.path().join(sub_folder).join(&self.file);
                if let Some(bytes) = read_file(&path)? {
                    return Ok(Ok(bytes));
                }
            }
        }
        Ok(Err(Reject::Missing(self.path())))
    }

    /// The file as the source names it, with its sub-folder.
    pub fn path(&self) -> String {
        match self.folder.as_deref() {
            Some(folder) if !folder.is_empty() => format!("{folder}/{}", self.file),
            _ => self.file.clone(),
        }
    }
}

impl Fault {
    /// The same as a reject of `row`.
    pub fn reject(self, row: &Row) -> Reject {
        match self {
            Self::NoCaption => Reject::NoCaption,
            Self::Duplicate => {
                Reject::Duplicate(format!("an earlier one of {}: they share a key", row.split))
            }
            Self::NotListed => {
                Reject::Missing("for it: it has captions but is not in the list of images".into())
            }
        }
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

fn find_faults(rows: &mut [Row]) {
    let mut seen: HashSet<(String, String)> = HashSet::new();
    for row in rows {
        let first = seen.insert((row.split.clone(), row.key.clone()));
        row.fault = match row.fault {
            _ if !first => Some(Fault::Duplicate),
            None if row.captions.is_empty() => Some(Fault::NoCaption),
            fault => fault,
        };
    }
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

const NO_SUCH_FILE: [ErrorKind; 4] =
    [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::InvalidFilename, ErrorKind::InvalidInput];

fn stays_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The bytes of a file; `None` where there is no file of that name.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    // Looked at before it is opened: opening a pipe waits for somebody to write into it.
    let bytes = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::read(path),
        Ok(_) => return Ok(None),
        Err(error) => Err(error),
    };
    match bytes {
        Ok(bytes) => Ok(Some(bytes)),
        // Too long a name, or one with a NUL in it, is no file's either.
        Err(error) if NO_SUCH_FILE.contains(&error.kind()) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("--images: cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_images_folder() {
        for name in ["../a.jpg", "/etc/passwd", "a/../../b.jpg"] {
            assert!(!stays_inside(name), "{name}");
        }
        assert!(stays_inside("train2014/a.jpg") && stays_inside("a..jpg"));
    }

    #[test]
    fn a_split_is_a_plain_folder_name() {
        assert!(["train", "val2017", "minival_5k"].into_iter().all(is_split_name));
        assert!(!["", "_x", ".x", "..", "a/b", "a b", "a-b"].into_iter().any(is_split_name));
    }

    #[test]
    fn the_first_of_two_equal_keys_wins_within_a_split() {
        let row = |split, captions: &[&str]| {
            let mut row = Row::new(split, "a".into(), 1, "a.jpg");
            captions.iter().for_each(|caption| row.add_caption(caption));
            row
        };
        let mut rows = [row("train", &["x"]), row("train", &["y"]), row("val", &[" "])];
        find_faults(&mut rows);
        assert_eq!(rows.map(|row| row.fault), [None, Some(Fault::Duplicate), Some(Fault::NoCaption)]);
    }
}
