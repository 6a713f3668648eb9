//! `train`: flags in, a checked request out.

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
        match train::run(&request)? {
            Ending::Done(steps) => match report(&request) {
                Ok(page) => println!("{steps} steps done; report: {}", page.display()),
                // What is skipped while training must not fail the run after it.
                Err(error) if request.config.data.on_bad_sample == OnBadSample::Skip => {
                    println!("{steps} steps done; no report: {error:#}");
                }
                Err(error) => return Err(error),
            },
            Ending::AlreadyDone(steps) => println!("{} has finished: {steps} steps", request.run.display()),
            Ending::Stopped { done, total } => {
                println!("stopped after {done} of {total} steps; the same command with --resume goes on");
            }
        }
        Ok(())
    }
}

/// `report.html` of a finished run, with figures and samples of `val`, or of `train` where there is none.
fn report(request: &Request) -> Result<PathBuf> {
    let trained = Trained::open(&request.run, &request.device, Choice::default())?;
    let dataset = Dataset::open(&request.data[0])?;
    let split = if dataset.manifest.splits.contains_key("val") { "val" } else { "train" };
    let images = dataset.manifest.splits[split].images;
    let progress = Progress::new("reporting", "images", images, request.verbosity);
    let count = |images| progress.add(images, String::new);
    let found = Encoder::of(&trained).split(&dataset, split, first_five, count)?;
    progress.finish();
    let page = request.run.join("report.html");
    let html = run_page::page(&trained, &dataset, split, &found, &found.embedded.recalls(1))?;
    write_whole(&page, html.as_bytes())?;
    Ok(page)
}
