//! `train`: the loop as prose.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use super::checkpoint::{self, State};
use super::config::Config;
use super::embed::{Encoder, first_five};
use super::journal::Journal;
use super::metrics::EvaluationLine;
use super::trainer::Trainer;
use super::{bad_samples, claim, device, feed};
use crate::load::{self, Cursor};
use crate::progress::Verbosity;
use crate::shard::Dataset;
use crate::store::Location;

/// What `train` was asked.
pub struct Request {
    /// The datasets.
    pub data: Vec<Location>,
    /// The run's folder.
    pub run: PathBuf,
    /// The checked config.
    pub config: Config,
    /// Whether an earlier run there goes on.
    pub resume: bool,
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Progress or none.
    pub verbosity: Verbosity,
}

/// How a call of [`run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps were done, now.
    Done(u64),
    /// All steps had been done before.
    AlreadyDone(u64),
    /// Ctrl-C: a checkpoint holds what was done.
    Stopped {
        /// Steps done.
        done: u64,
        /// Steps of the whole run.
        total: u64,
    },
}

/// Trains until the plan is done or Ctrl-C, and leaves a checkpoint either way.
///
/// # Errors
/// If data, weights or config do not fit together, a sample is damaged, the loss is no number, or
/// the disk fails. What the newest checkpoint holds is kept.
pub fn run(request: &Request) -> Result<Ending> {
    let device = device::parse(&request.device)?;
    let datasets = request.data.iter().map(Dataset::open).collect::<Result<Vec<_>>>()?;
    feed::check_vocabulary(&datasets, &request.config)?;
    let config = claim::claim(&request.run, &request.config, request.resume)?;
    device::set_threads(config.run.threads);
    let batcher = feed::batcher(&datasets, &config)?;
    let steps_per_epoch = batcher.order().steps();
    let mut trainer = Trainer::new(&config, steps_per_epoch, device)?;
    let total = trainer.plan().total();
    let state = |step| State {
        step,
        total,
        fingerprints: datasets.iter().map(|dataset| dataset.fingerprint().to_owned()).collect(),
        tokenizer: datasets[0].manifest.tokenizer.clone(),
    };
    let begin = resume(&request.run, &mut trainer, &state(0))?;
    if begin == total {
        return Ok(Ending::AlreadyDone(total));
    }
    let interrupted = listen()?;
    let rows = bad_samples::rows_before(begin, batcher.order());
    let mut journal = Journal::open(&request.run, &config, (begin, total), rows, request.verbosity)?;
    let batcher = trainer.keep_features(&request.run, batcher, begin);
    let cursor = Cursor::at(begin, steps_per_epoch);
    let epochs = total.div_ceil(steps_per_epoch);
    let mut batches = load::start(batcher, cursor, epochs, config.data.workers, config.data.prefetch);

    let mut done = begin;
    let mut saved = begin;
    while done < total && !interrupted.load(Ordering::SeqCst) {
        let batch = batches.next().context("the loader ended early")??;
        journal.batch(&batch, done, batches.gauges())?;
        let outcome = trainer.step(&batch, done)?;
        journal.step(&trainer, &batch, done, outcome)?;
        done += 1;
        if due(done, config.run.eval_every) {
            evaluate(&trainer, &config, &datasets[0], done, batch.epoch, &mut journal)?;
        }
        if due(done, config.run.checkpoint_every) && done < total {
            journal.flush()?;
            save(&request.run, &state(done), &mut trainer, config.run.keep_last)?;
            saved = done;
        }
    }
    journal.flush()?;
    if saved < done || done == begin {
        save(&request.run, &state(done), &mut trainer, config.run.keep_last)?;
    }
    journal.finish();
    Ok(if done < total { Ending::Stopped { done, total } } else { Ending::Done(total) })
}

/// Loads the newest checkpoint, if any; gives back the steps that it has done.
fn resume(run: &Path, trainer: &mut Trainer, expected: &State) -> Result<u64> {
    let Some(found) = checkpoint::latest(run, |note| eprintln!("{note}"))? else { return Ok(0) };
    let (name, state) = (found.folder.display(), &found.state);
    ensure!(
        state.fingerprints == expected.fingerprints,
        "{name} was trained on other shards; name the same --data in the same order, or start a new --out"
    );
    ensure!(
        state.total == expected.total,
        "{name} is of a run of {} steps, this one has {}; start a new --out",
        state.total,
        expected.total
    );
    trainer.resume(&found)?;
    Ok(found.state.step)
}

fn save(run: &Path, state: &State, trainer: &mut Trainer, keep: u64) -> Result<()> {
    checkpoint::save(run, state, trainer.store(), trainer.optimizer(), keep)?;
    trainer.checkpoint_features(state.step);
    Ok(())
}

fn due(done: u64, every: u64) -> bool {
    every > 0 && done.is_multiple_of(every)
}

/// Ctrl-C and SIGTERM ask for a checkpoint and the end.
fn listen() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).context("cannot listen for Ctrl-C")?;
    Ok(interrupted)
}

/// Recalls on `val`, if the dataset has one, as a line of the log.
fn evaluate(
    trainer: &Trainer,
    config: &Config,
    dataset: &Dataset,
    step: u64,
    epoch: u64,
    journal: &mut Journal,
) -> Result<()> {
    if !dataset.manifest.splits.contains_key("val") {
        return Ok(());
    }
    let (clip, device, kind) = (trainer.clip(), trainer.store().device(), trainer.kind());
    let split =
        Encoder { clip, device, kind, data: &config.data }.split(dataset, "val", first_five, |_| {})?;
    let recalls = split.embedded.recalls(1);
    journal.evaluation(&EvaluationLine { step, epoch, evaluation: "val".to_owned(), recalls })
}
