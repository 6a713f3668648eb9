//! `train`: flags in, a checked request out.

mod keys;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::files::write_whole;
use crate::progress::{Progress, Verbosity};
use crate::shard::Dataset;
use crate::show::run as run_page;
use crate::store::Location;
use crate::train::config::OnBadSample;
use crate::train::embed::{Encoder, first_five};
use crate::train::trained::{Choice, Trained};
use crate::train::{self, Ending, Request, settings};

/// The report's name in the run's folder.
const REPORT: &str = "report.html";
/// How many pictures of `train` a report's figures are of, where there is no `val`.
const SHOWN_OF_TRAIN: u64 = 5000;

/// Fine-tune CLIP from shards: ResNet and BERT towers, one shared space, contrastive loss
///
/// Trains on the split `train` of every --data and evaluates on `val` of the first that has one. Everything that matters
/// is in the config (TOML): a preset, then --config, then each --set, later ones winning. --help lists its keys.
///
/// Example: train --data shards --out run --preset article --set model.text_weights=minilm --set run.epochs=5
#[derive(Parser)]
#[command(name = "train", version, after_long_help = keys::help())]
pub struct Args {
    /// A folder that `prepare` made; several are one concatenated dataset
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
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
    fn resolve(self) -> Result<Request> {
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

    /// Trains, then writes the run's report.
    ///
    /// # Errors
    /// Names the flag, key or file and what to do.
    pub fn run(self) -> Result<()> {
        let request = self.resolve()?;
        let steps = match train::run(&request)? {
            Ending::Stopped { done, total } => {
                println!("stopped after {done} of {total} steps; the same command with --resume goes on");
                return Ok(());
            }
            Ending::AlreadyDone(steps) if request.run.join(REPORT).exists() => {
                println!("{} has finished: {steps} steps", request.run.display());
                return Ok(());
            }
            Ending::Done(steps) | Ending::AlreadyDone(steps) => steps,
        };
        match report(&request) {
            Ok(page) => println!("{steps} steps done; report: {}", page.display()),
            // What is skipped while training must not fail the run after it.
            Err(error) if request.config.data.on_bad_sample == OnBadSample::Skip => {
                println!("{steps} steps done; no report: {error:#}");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// `report.html` of a finished run, with figures and samples of the `val` that it was evaluated on, or of the first pictures
/// of `train` where there is none.
fn report(request: &Request) -> Result<PathBuf> {
    let trained = Trained::open(&request.run, &request.device, Choice::default())?;
    let datasets = request.data.iter().map(Dataset::open).collect::<Result<Vec<_>>>()?;
    let (dataset, split, most) = match train::evaluated(&datasets) {
        Some(dataset) => (dataset, "val", u64::MAX),
        None => (&datasets[0], "train", SHOWN_OF_TRAIN),
    };
    let images = dataset.manifest.splits[split].images.min(most);
    let progress = Progress::new("reporting", "images", images, request.verbosity);
    let count = |images| progress.add(images, String::new);
    let found = Encoder::of(&trained).at_most(most).split(dataset, split, first_five, count)?;
    progress.finish();
    let page = request.run.join(REPORT);
    let html = run_page::page(&trained, dataset, split, &found, &found.embedded.recalls(1))?;
    write_whole(&page, html.as_bytes())?;
    Ok(page)
}
