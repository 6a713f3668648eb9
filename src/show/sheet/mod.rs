//! Contact sheets: what a shard (or a batch) holds, all views side by side.

mod collect;
pub(super) mod page;
pub(super) mod thumbnails;
pub(super) mod words;

use std::path::Path;

use anyhow::{Result, bail};
use jpeg_encoder::{ColorType, Encoder};

use crate::files::write_whole;
use crate::sample::{Augment, CaptionKind, Crop, Rgb};
use crate::shard::Dataset;

pub use collect::collect;
pub(super) use collect::picture;
pub use page::html;
pub use thumbnails::png;

/// Side of a thumbnail of a PNG sheet, in pixels.
pub(super) const THUMBNAIL: u32 = 160;

/// A picture to be shown.
#[derive(Clone, Debug)]
pub enum Picture {
    /// A JPEG or PNG file's bytes; they need not be whole.
    File(Vec<u8>),
    /// Pixels.
    Rgb(Rgb),
}

/// One view of a row.
#[derive(Clone, Debug)]
pub struct SheetView {
    /// Number of the view.
    pub view: i32,
    /// Its picture; `None` where what is stored cannot be one.
    pub picture: Option<Picture>,
    /// The region of the source that it shows.
    pub crop: Option<Crop>,
    /// What was done to its pixels; `None` is nothing.
    pub augment: Option<Augment>,
    /// Its captions that are not the row's: sides have changed places in a mirrored view.
    pub captions: Vec<String>,
}

/// One key with all its views.
#[derive(Clone, Debug)]
pub struct SheetRow {
    /// Key.
    pub key: String,
    /// Width and height of the source in pixels, where known.
    pub source: Option<(i32, i32)>,
    /// Whether view 0 has borders that the source has not (`--fit pad`).
    pub padded: bool,
    /// Views by number.
    pub views: Vec<SheetView>,
    /// Captions of view 0 in the row's order; derived ones follow their originals.
    pub captions: Vec<(CaptionKind, String)>,
}

impl Picture {
    /// As a file: pixels become a JPEG of quality 92.
    pub(super) fn to_file(&self) -> Result<Vec<u8>> {
        let picture = match self {
            Self::File(bytes) => return Ok(bytes.clone()),
            Self::Rgb(picture) => picture,
        };
        let (width, height) = (picture.width().try_into()?, picture.height().try_into()?);
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, 92).encode(picture.pixels(), width, height, ColorType::Rgb)?;
        Ok(bytes)
    }
}

/// Writes the sheet of `n` rows of a split (without one: `train`, or the first split where there is
/// no `train`) to `out`: a page for `.html`, thumbnails for `.png`.
///
/// # Errors
/// If `out` ends otherwise, the split does not exist, a shard cannot be read or `out` not written.
pub fn write(dataset: &Dataset, split: Option<&str>, n: usize, out: &Path) -> Result<()> {
    let format = Format::of(out)?;
    let split = match split {
        Some(split) => split,
        None => default_split(dataset)?,
    };
    let rows = collect(dataset, split, n)?;
    let bytes = match format {
        Format::Html => html(&title(dataset, split), &rows).into_bytes(),
        Format::Png => png(&rows, THUMBNAIL)?,
    };
    write_whole(out, &bytes)
}

/// What a sheet's file is, by the end of its name.
pub(super) enum Format {
    Html,
    Png,
}

impl Format {
    pub(super) fn of(out: &Path) -> Result<Self> {
        match out.extension().and_then(|end| end.to_str()).map(str::to_lowercase).as_deref() {
            Some("html" | "htm") => Ok(Self::Html),
            Some("png") => Ok(Self::Png),
            _ => bail!("--out: {} must end in .html or .png", out.display()),
        }
    }
}

fn default_split(dataset: &Dataset) -> Result<&str> {
    let splits = &dataset.manifest.splits;
    match splits.keys().find(|split| *split == "train").or(splits.keys().next()) {
        Some(split) => Ok(split),
        None => bail!("{} has no splits", dataset.root.display()),
    }
}

fn title(dataset: &Dataset, split: &str) -> String {
    match dataset.root.file_name() {
        Some(name) => format!("{} / {split}", name.to_string_lossy()),
        None => split.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_ending_is_refused_by_the_flag() {
        let error = Format::of(Path::new("sheet.gif")).err().unwrap();
        assert_eq!(error.to_string(), "--out: sheet.gif must end in .html or .png");
        assert!(Format::of(Path::new("a/SHEET.PNG")).is_ok());
    }
}
