//! `train`: the loop as prose.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::checkpoint::{self, Checkpoints, Due, Parts, State, Weights};
use super::config::Config;
use super::ema::Ema;
use super::embed::{Encoder, first_five};
use super::journal::Journal;
use super::metrics::EvaluationLine;
use super::skip::Skips;
use super::trainer::Trainer;
use super::{bad_samples, claim, device, feed, sources, vocabulary};
use crate::files::lock::Lock;
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
/// If data, weights or config do not fit together, a sample is damaged, the loss is no number ten times
/// in a row, the disk fails, or another `train` is at work in the run's folder. What the newest checkpoint holds is kept.
pub fn run(request: &Request) -> Result<Ending> {
    let device = device::parse(&request.device)?;
    let datasets = request.data.iter().map(Dataset::open).collect::<Result<Vec<_>>>()?;
    vocabulary::check(&datasets, &request.config)?;
    let _lock = Lock::take(&request.run, "train")?;
    let config = claim::claim(&request.run, &request.config, request.resume)?;
    device::set_threads(config.run.threads);
    let batcher = feed::batcher(&datasets, &config)?;
    let steps_per_epoch = batcher.order().steps();
    let mut trainer = Trainer::new(&config, steps_per_epoch, device)?;
    let total = trainer.plan().total();
    let mut ema = Ema::of(&config, trainer.store())?;
    let state = |step, skips| State {
        step,
        total,
        skips,
        fingerprints: datasets.iter().map(|dataset| dataset.fingerprint().to_owned()).collect(),
        tokenizer: datasets[0].manifest.tokenizer.clone(),
        recall_sum: None,
    };
    let mut checkpoints = Checkpoints::open(&request.run, config.run.keep_last)?;
    let (begin, skips) =
        resume(&request.run, &config, &state(0, Skips::default()), &mut trainer, ema.as_mut())?;
    if begin == total {
        return Ok(Ending::AlreadyDone(total));
    }
    sources::write(&request.run, &datasets)?;
    let mut best = best_so_far(&request.run, &config, &state(0, Skips::default()));
    let interrupted = listen()?;
    let rows = bad_samples::rows_before(begin, batcher.order());
    let mut journal =
        Journal::open(&request.run, &config, (begin, total), rows, request.verbosity)?.after(skips);
    let batcher = trainer.keep_features(&request.run, batcher, begin);
    let cursor = Cursor::at(begin, steps_per_epoch);
    let epochs = total.div_ceil(steps_per_epoch);
    let mut batches = load::start(batcher, cursor, epochs, config.data.workers, config.data.prefetch);

    let mut done = begin;
    let mut saved = None;
    while done < total && !interrupted.load(Ordering::SeqCst) && !journal.skips().too_many() {
        let batch = batches.next().context("the loader ended early")??;
        journal.batch(&batch, done, batches.gauges())?;
        let outcome = trainer.step(&batch, done)?;
        if let Some(ema) = &mut ema {
            ema.update(trainer.store(), &outcome.skipped);
        }
        journal.step(&trainer, &batch, done, outcome)?;
        done += 1;
        let mut due = Due { step: is_due(done, config.run.checkpoint_every) || done == total, best: None };
        if is_due(done, config.run.eval_every) {
            let place = (done, batch.epoch);
            let sum = evaluate(&trainer, ema.as_ref(), &config, &datasets[0], place, &mut journal)?;
            due.best = sum.filter(|sum| best.is_none_or(|best| *sum > best));
            best = due.best.or(best);
        }
        if due != Due::default() {
            journal.flush()?;
            checkpoints.save(due, state(done, journal.skips()), parts(&trainer, ema.as_ref()))?;
            if due.step {
                trainer.checkpoint_features(done);
                saved = Some(done);
            }
        }
    }
    journal.flush()?;
    let stuck = journal.skips().too_many();
    if saved != Some(done) || stuck {
        // Whoever goes on from where it was stuck tries as many again.
        let skips = if stuck { journal.skips().tried_again() } else { journal.skips() };
        let due = Due { step: true, best: None };
        checkpoints.save(due, state(done, skips), parts(&trainer, ema.as_ref()))?;
        trainer.checkpoint_features(done);
    }
    checkpoints.finish()?;
    journal.finish();
    ensure!(
        !stuck,
        "loss or gradient was not finite in {} steps in a row, up to step {}; none of them changed \
         the weights, and checkpoints/step-{done:08} holds these; lower the rates or clip the gradient",
        journal.skips().in_a_row,
        done - 1
    );
    Ok(if done < total { Ending::Stopped { done, total } } else { Ending::Done(total) })
}

/// Loads the newest checkpoint of this run, if any; gives back the steps that it has done, and the skipped ones of them.
fn resume(
    run: &Path,
    config: &Config,
    expected: &State,
    trainer: &mut Trainer,
    mut ema: Option<&mut Ema>,
) -> Result<(u64, Skips)> {
    let found = checkpoint::newest(
        run,
        |note| eprintln!("{note}"),
        |found| {
            found.check(expected, config)?;
            trainer.resume(found, ema.as_deref_mut())
        },
    )?;
    Ok(found.map_or_else(Default::default, |found| (found.state.step, found.state.skips)))
}

/// The recall sum of the best checkpoint so far. One that is torn or foreign is named and does not count.
fn best_so_far(run: &Path, config: &Config, expected: &State) -> Option<f64> {
    let found = checkpoint::best(run).and_then(|found| match found {
        Some(found) => found.check(expected, config).map(|()| found.state.recall_sum),
        None => Ok(None),
    });
    found.unwrap_or_else(|error| {
        eprintln!("checkpoints/best is left aside: {error:#}");
        None
    })
}

fn parts<'a>(trainer: &'a Trainer, ema: Option<&'a Ema>) -> Parts<'a> {
    Parts { model: trainer.store(), ema, optimizer: trainer.optimizer() }
}

fn is_due(done: u64, every: u64) -> bool {
    every > 0 && done.is_multiple_of(every)
}

/// Ctrl-C and SIGTERM ask for a checkpoint and the end.
fn listen() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).context("cannot listen for Ctrl-C")?;
    Ok(interrupted)
}

/// Recalls on `val`, of the averages where there are some, as a line of the log; gives back their sum, `None` where the
/// dataset has no `val`.
fn evaluate(
    trainer: &Trainer,
    ema: Option<&Ema>,
    config: &Config,
    dataset: &Dataset,
    (step, epoch): (u64, u64),
    journal: &mut Journal,
) -> Result<Option<f64>> {
    if !dataset.manifest.splits.contains_key("val") {
        return Ok(None);
    }
    let began = Instant::now();
    let (clip, weights) = ema.map_or((trainer.clip(), Weights::Model), |ema| (ema.clip(), Weights::Ema));
    let (device, kind) = (trainer.store().device(), trainer.kind());
    let split =
        Encoder { clip, device, kind, data: &config.data }.split(dataset, "val", first_five, |_| {})?;
    let recalls = split.embedded.recalls(1);
    let line = EvaluationLine { step, epoch, evaluation: "val".to_owned(), weights, recalls };
    journal.evaluation(&line, began.elapsed())?;
    Ok(Some(recalls.sum()))
}
