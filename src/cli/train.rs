//! `train`: flags in, a checked request out.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::progress::Verbosity;
use crate::store::Location;
use crate::train::{Request, settings};

/// Fine-tune CLIP from shards: ResNet and BERT towers, one shared space, contrastive loss
///
/// Trains on the split `train` of every --data and evaluates on `val`. Everything that matters is in the config
/// (TOML): a preset, then --config, then each --set, later ones winning.
///
/// Example: train --data shards --out run --preset article --set model.text_weights=minilm --set run.epochs=5
#[derive(Parser)]
#[command(name = "train", version)]
pub struct Args {
    /// A folder that `prepare` made; several are one concatenated dataset
    #[arg(long, value_name = "DIR", required = true)]
    data: Vec<Location>,

    /// The run's folder: config.toml, metrics.jsonl, checkpoints/, report.html
    #[arg(long, value_name = "RUN")]
    out: PathBuf,

    /// A config file; paths in it are relative to it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,

    /// Where to start from: article (image encoder frozen, then both), progressive, full, tiny (the demo's small model)
    #[arg(long, value_name = "NAME", value_parser = ["article", "progressive", "full", "tiny"])]
    preset: Option<String>,

    /// One key of the config, e.g. optim.lr_text=2e-5; the value is TOML, else a plain string
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,

    /// Go on from the newest checkpoint in --out; start where there is none
    #[arg(long)]
    resume: bool,

    /// cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,

    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

impl Args {
    /// Checks the flags and merges the config.
    ///
    /// # Errors
    /// Names the flag or key and what to do.
    pub fn resolve(self) -> Result<Request> {
        for data in &self.data {
            ensure!(data.path().is_dir(), "--data: no folder at {data}");
        }
        Ok(Request {
            data: self.data,
            run: self.out,
            config: settings::resolve(self.preset.as_deref(), self.config.as_deref(), &self.sets)?,
            resume: self.resume,
            device: self.device,
            verbosity: if self.quiet { Verbosity::Quiet } else { Verbosity::Normal },
        })
    }
}
