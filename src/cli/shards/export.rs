//! `shards export`

use std::io::Write;
use std::str::FromStr;

use anyhow::Result;
use clap::ValueEnum;

use crate::export::{self, Existing, Export, Views};
use crate::progress::Verbosity;
use crate::shard::Dataset;
use crate::show::page::grouped;
use crate::store::Location;

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// Folder that `prepare` wrote
    dir: Location,

    /// What is written: `webdataset` is tars of .jpg or .png, .txt and .json
    #[arg(long, value_enum)]
    format: ExportFormat,

    /// Folder of the tars
    #[arg(long, value_name = "DIR")]
    out: Location,

    /// Split to export [default: all of them]
    #[arg(long)]
    split: Option<String>,

    /// A view's number, or `all`: views from 1 on go to tars of their own, named with -v<view>
    #[arg(long, value_name = "N|all", default_value = "0")]
    view: Views,

    /// Write tars anew that stand in --out already
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    Webdataset,
}

impl ExportArgs {
    pub(super) fn resolve(self) -> Result<Export> {
        let ExportFormat::Webdataset = self.format;
        Ok(Export {
            dataset: Dataset::open(&self.dir)?,
            out: self.out,
            split: self.split,
            views: self.view,
            existing: if self.overwrite { Existing::Overwrite } else { Existing::Keep },
        })
    }
}

impl FromStr for Views {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::One).map_err(|_| "neither a number nor `all`".into()),
        }
    }
}

/// Exports, and says what stands where and how to train from it.
///
/// # Errors
/// If there is nothing to export, or something cannot be read or written.
pub fn run(export: &Export, verbosity: Verbosity, out: &mut impl Write) -> Result<()> {
    let done = export::run(export, verbosity)?;
    let (tars, samples) = (done.tars.len() as u64, done.tars.values().sum());
    let kept = if done.kept > 0 { format!(", {} of them kept", grouped(done.kept)) } else { String::new() };
    writeln!(out, "{}: {} tars{kept}, {} samples", export.out, grouped(tars), grouped(samples))?;
    Ok(())
}
