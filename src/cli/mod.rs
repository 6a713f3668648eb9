//! Flags → checked config. `clap` stays in here; a `Config` that leaves holds only valid values.

#[cfg(feature = "train")]
pub mod clip;
pub mod next;
pub mod prepare;
pub mod shards;
mod tars;
mod texts;
#[cfg(feature = "train")]
pub mod train;
mod views;

use anyhow::{Result, ensure};

use crate::store::Location;

fn file_exists(flag: &str, file: &Location) -> Result<()> {
    let path = file.path();
    ensure!(path.exists() && !path.is_dir(), "{flag}: no file at {file}"); // a pipe will do
    Ok(())
}
