//! One image that a source names, small enough to keep a million of them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::prepare::reject::Reject;
use crate::seed::hash64;

/// One image that the source names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Folder of the dataset that it goes to; shared by the rows of a split.
    pub split: Arc<str>,
    /// Unique in its split, unless `fault` says otherwise.
    pub key: Box<str>,
    /// The source's id, or the first 63 bits of the key's hash.
    pub image_id: i64,
    /// The file as the source names it; empty where it names none.
    pub file: Box<str>,
    /// Sub-folders of the images folder to look in before the folder itself.
    pub folder: Option<Box<str>>,
    /// Where the image's bytes are.
    pub place: Place,
    /// Trimmed, in the source's order, none empty.
    pub captions: Captions,
    /// Empty captions that were dropped.
    pub empty_captions: u64,
    /// A JSON object of the columns kept from the source.
    pub meta: Option<Box<str>>,
    /// What is already known to be wrong.
    pub fault: Option<Fault>,
}

/// Where the bytes of an image are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file of a folder or a zip of images, by its name.
    File,
    /// In a tar: `length` bytes from `offset` on.
    Tar {
        /// Which one of the source's tars.
        tar: u32,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// In a cell of the Parquet table's image column, by the row's number in the table; in a file
    /// by its name where that cell has no bytes.
    Cell(u64),
}

/// Texts, packed: each as its length in bytes (four bytes, little-endian) and its UTF-8.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Captions(Vec<u8>);

/// What the caption files alone show to be wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No caption, or only empty ones.
    NoCaption,
    /// The key stands twice in its split; the first one wins.
    Duplicate,
    /// Captions of an image that the file does not list.
    NotListed,
    /// Captions without an image.
    NoImage,
}

impl Row {
    /// A row without captions, its image in a file.
    pub(crate) fn new(split: &Arc<str>, key: &str, image_id: i64, file: &str) -> Self {
        Self {
            split: split.clone(),
            key: key.into(),
            image_id,
            file: file.into(),
            folder: None,
            place: Place::File,
            captions: Captions::default(),
            empty_captions: 0,
            meta: None,
            fault: None,
        }
    }

    pub(super) fn add_caption(&mut self, text: &str) {
        match text.trim() {
            "" => self.empty_captions += 1,
            text => self.captions.push(text),
        }
    }

    /// The file as the source names it, with its sub-folder; `row 7` for a cell without a name.
    pub fn path(&self) -> String {
        match (self.folder.as_deref(), self.place) {
            (Some(folder), _) if !folder.is_empty() => format!("{folder}/{}", self.file),
            (_, Place::Cell(row)) if self.file.is_empty() => format!("row {row}"),
            _ => self.file.to_string(),
        }
    }
}

impl Captions {
    fn push(&mut self, text: &str) {
        let length = u32::try_from(text.len()).expect("a caption is shorter than 4 GiB");
        self.0.reserve_exact(4 + text.len());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (text, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            rest = after;
            Some(std::str::from_utf8(text).expect("what was packed is text"))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Captions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
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
            Self::NoImage => Reject::Missing("for it: the source gives it captions but no image".into()),
        }
    }
}

/// The names of splits, each kept once.
#[derive(Default)]
pub(super) struct Splits(HashSet<Arc<str>>);

impl Splits {
    pub fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(split) = self.0.get(name) {
            return split.clone();
        }
        let split: Arc<str> = name.into();
        self.0.insert(split.clone());
        split
    }
}

/// The `image_id` of a key whose source numbers no images.
pub(super) fn id_of(key: &str) -> i64 {
    (hash64(key) >> 1) as i64
}

/// Marks rows whose key an earlier row of their split has, and rows without captions.
pub(super) fn find_faults(rows: &mut [Row]) {
    let mut seen: HashSet<(&str, &str)> = HashSet::with_capacity(rows.len());
    let again: Vec<bool> = rows.iter().map(|row| !seen.insert((&row.split, &row.key))).collect();
    drop(seen);
    for (row, again) in rows.iter_mut().zip(again) {
        row.fault = match row.fault {
            _ if again => Some(Fault::Duplicate),
            None if row.captions.is_empty() => Some(Fault::NoCaption),
            fault => fault,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_equal_keys_wins_within_a_split() {
        let row = |split: &str, captions: &[&str]| {
            let mut row = Row::new(&split.into(), "a", 1, "a.jpg");
            captions.iter().for_each(|caption| row.add_caption(caption));
            row
        };
        let mut rows = [row("train", &["x"]), row("train", &["y"]), row("val", &[" "])];
        find_faults(&mut rows);
        assert_eq!(rows.map(|row| row.fault), [None, Some(Fault::Duplicate), Some(Fault::NoCaption)]);
    }

    #[test]
    fn packed_captions_come_back_as_they_were() {
        let mut row = Row::new(&"train".into(), "a", 1, "a.jpg");
        [" a\n", "", "\u{e9}t\u{e9} \0", "b"].into_iter().for_each(|text| row.add_caption(text));
        assert_eq!(row.captions.iter().collect::<Vec<_>>(), ["a", "\u{e9}t\u{e9} \0", "b"]);
        assert_eq!((row.captions.len(), row.empty_captions), (3, 1));
    }

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Row>() <= 160, "{} bytes", size_of::<Row>());
    }
}
