//! `shards verify`

use std::io::Write;

use anyhow::{Result, ensure};

use crate::progress::{Progress, Verbosity};
use crate::shard::Dataset;
use crate::shard::verify::verify;
use crate::show::page::grouped;

/// Prints what is wrong, a line each, or that all is well.
///
/// # Errors
/// If anything is wrong.
pub fn run(dataset: &Dataset, verbosity: Verbosity, out: &mut impl Write) -> Result<()> {
    let rows = dataset.shards.iter().map(|entry| entry.rows).sum();
    let progress = Progress::new("verifying", "rows", rows, verbosity);
    let findings = verify(dataset, |rows| progress.add(rows, String::new))?;
    progress.finish();
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    let (root, count) = (dataset.root.display(), findings.len());
    ensure!(findings.is_empty(), "{root} is damaged: {count} findings; `prepare --overwrite` writes it anew");
    writeln!(out, "ok: {} shards, {} rows", grouped(dataset.shards.len() as u64), grouped(rows))?;
    Ok(())
}
