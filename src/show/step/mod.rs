//! What one step of a run saw, pair by pair.

mod page;

use std::path::Path;

use anyhow::Result;

use super::sheet::{self, Format, Picture, SheetRow, SheetView, THUMBNAIL};
use crate::files::write_whole;
use crate::sample::Crop;
use crate::train::replay::{Pair, Seen};

pub use page::html;

/// Writes the first `n` pairs of what a step saw, or all of them, to `out`: a page for `.html`, thumbnails for `.png`.
/// `run` is how the page names the run.
///
/// # Errors
/// If `out` ends otherwise or cannot be written.
pub fn write(run: &str, mut seen: Seen, n: Option<usize>, out: &Path) -> Result<()> {
    let format = Format::of(out)?;
    let all = seen.pairs.len();
    seen.pairs.truncate(n.unwrap_or(all));
    let bytes = match format {
        Format::Html => html(run, &seen, all).into_bytes(),
        Format::Png => sheet::png(&seen.pairs.iter().map(row).collect::<Vec<_>>(), THUMBNAIL)?,
    };
    write_whole(out, &bytes)
}

/// A pair as a row of one view; a damaged picture is none.
fn row(pair: &Pair) -> SheetRow {
    let view = SheetView {
        view: pair.stored.view,
        picture: shown(pair),
        crop: crop(pair),
        augment: pair.augment,
        captions: Vec::new(),
    };
    let source = Some((pair.stored.width, pair.stored.height));
    let (key, captions) = (pair.stored.key.clone(), pair.captions.clone());
    SheetRow { key, source, padded: false, views: vec![view], captions }
}

/// The picture that the step saw.
fn shown(pair: &Pair) -> Option<Picture> {
    pair.picture.as_ref().ok().map(|picture| Picture::Rgb(picture.clone()))
}

/// The part of the stored picture that it is.
fn crop(pair: &Pair) -> Option<Crop> {
    let cut = pair.cut?;
    let side = cut.side as f32;
    Some(Crop { x: cut.x as f32, y: cut.y as f32, width: side, height: side })
}
