//! `shards show`

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::{Showing, Shown};
use crate::show::{sheet, step};
use crate::train::replay::Replay;

/// Images of a split that are shown where nothing is said.
const IMAGES: usize = 64;

/// Writes the sheet and prints its name.
///
/// # Errors
/// If a shard or the run cannot be read, or the sheet not be written.
pub fn run(showing: &Showing, out: &mut impl Write) -> Result<()> {
    let Showing { what, images, out: page } = showing;
    match what {
        Shown::Split(dataset, split) => {
            sheet::write(dataset, split.as_deref(), images.unwrap_or(IMAGES), page)?;
        }
        Shown::Step { run, step: number, data } => {
            let seen = Replay::open(run, data)?.step(*number)?;
            step::write(&name(run), seen, *images, page)?;
        }
    }
    Ok(writeln!(out, "{}", page.display())?)
}

/// The run's folder without those above it.
fn name(run: &Path) -> String {
    run.file_name().map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned())
}
