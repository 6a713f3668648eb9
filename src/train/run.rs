//! `train`: the loop as prose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::checkpoint::{self, Checkpoints, Due, Parts, State, Weights};
use super::config::{Config, Stage};
use super::ema::Ema;
use super::embed::{Encoder, first_five};
use super::journal::Journal;
use super::metrics::EvaluationLine;
use super::skip::Skips;
use super::trainer::Trainer;
use super::{bad_samples, claim, device, feed, interrupt, sources, vocabulary};
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
        files: BTreeMap::new(),
        recall_sum: None,
    };
    if begins_with_a_random_frozen_tower(&config) {
        eprintln!(
            "the image encoder is frozen at first and has random weights: name some by model.image_weights or model.init, or \
             train it from the first stage on"
        );
    }
    let val = evaluated(&datasets);
    if config.run.eval_every > 0 && val.is_none() {
        eprintln!(
            "run.eval_every is {}, but no --data has a split `val` with an image: nothing is evaluated, and there \
                   will be no checkpoints/best",
            config.run.eval_every
        );
    }
    let mut checkpoints = Checkpoints::open(&request.run, config.run.keep_last)?;
    let (begin, skips) =
        resume(&request.run, &config, &state(0, Skips::default()), &mut trainer, ema.as_mut())?;
    if begin == total {
        return Ok(Ending::AlreadyDone(total));
    }
    sources::write(&request.run, &datasets)?;
    let mut best = best_so_far(&request.run, &config, &state(0, Skips::default()));
    let interrupted = interrupt::listen()?;
    let rows = bad_samples::rows_before(begin, batcher.order());
    let mut journal =
        Journal::open(&request.run, &config, (begin, total), rows, request.verbosity)?.after(skips);
    let batcher = trainer.keep_features(&request.run, batcher, begin);
    let cursor = Cursor::at(begin, steps_per_epoch);
    let epochs = total.div_ceil(steps_per_epoch);
    let mut batches = load::start(batcher, cursor, epochs, config.data.workers, config.data.prefetch);

    let mut done = begin;
    let mut saved = None;
    while done < total && !interrupted.asked() && !journal.skips().too_many() {
        let batch = batches.next().context("the loader ended early")??;
        journal.batch(&batch, done, batches.gauges())?;
        let outcome = trainer.step(&batch, done)?;
        if let Some(ema) = &mut ema {
            ema.update(trainer.store(), &outcome.skipped);
        }
        journal.step(&trainer, &batch, done, outcome)?;
        done += 1;
        let mut due = Due { step: is_due(done, config.run.checkpoint_every) || done == total, best: None };
        if let Some(val) = val.filter(|_| is_due(done, config.run.eval_every)) {
            let place = (done, batch.epoch);
            let sum = evaluate(&trainer, ema.as_ref(), &config, val, place, &mut journal)?;
            due.best = best.is_none_or(|best| sum > best).then_some(sum);
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
        let due = Due { step: true, best: None };
        checkpoints.save(due, state(done, journal.skips()), parts(&trainer, ema.as_ref()))?;
        trainer.checkpoint_features(done);
    }
    checkpoints.finish()?;
    interrupted.ends_at_once();
    journal.finish();
    ensure!(!stuck, "{}", stuck_at(&request.run, done, journal.skips()));
    Ok(if done < total { Ending::Stopped { done, total } } else { Ending::Done(total) })
}

fn begins_with_a_random_frozen_tower(config: &Config) -> bool {
    let frozen = |stage: &Stage| !stage.train.iter().any(|prefix| prefix.split('.').next() == Some("image"));
    let model = &config.model;
    config.stage.first().is_some_and(frozen) && model.image_weights.is_none() && model.init.is_none()
}

/// What a run says that stops because no step is finite any more.
fn stuck_at(run: &Path, done: u64, skips: Skips) -> String {
    let (row, run) = (skips.in_a_row, run.display());
    if skips.total == done {
        return format!(
            "loss or gradient was not finite in any of {done} steps: look at the weights that the run began with \
             (model.init, model.image_weights, model.text_weights), or lower the rates"
        );
    }
    format!(
        "loss or gradient was not finite in {row} steps in a row, up to step {}; none of them changed the weights, which \
         checkpoints/step-{done:08} holds. The checkpoints of before are kept, too: begin a new --out with lower rates or \
         optim.clip_grad, from one of them by --set model.init={run}/checkpoints/step-…/model.safetensors",
        done - 1
    )
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
    Ok(found.map_or_else(Default::default, |found| (found.state.step, found.state.skips.tried_again())))
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

/// The dataset whose `val` a run is evaluated on: the first that has one.
pub fn evaluated(datasets: &[Dataset]) -> Option<&Dataset> {
    let images = |dataset: &Dataset| dataset.manifest.splits.get("val").map_or(0, |split| split.images);
    datasets.iter().find(|dataset| images(dataset) > 0)
}

/// Recalls on `val`, of the averages where there are some, as a line of the log; gives back their sum.
fn evaluate(
    trainer: &Trainer,
    ema: Option<&Ema>,
    config: &Config,
    dataset: &Dataset,
    (step, epoch): (u64, u64),
    journal: &mut Journal,
) -> Result<f64> {
    let began = Instant::now();
    let (clip, weights) = ema.map_or((trainer.clip(), Weights::Model), |ema| (ema.clip(), Weights::Ema));
    let (device, kind) = (trainer.store().device(), trainer.kind());
    let split = Encoder { clip, device, kind, data: &config.data, most: u64::MAX }.split(
        dataset,
        "val",
        first_five,
        |_| {},
    )?;
    let recalls = split.embedded.recalls(1);
    let line = EvaluationLine { step, epoch, evaluation: "val".to_owned(), weights, recalls };
    journal.evaluation(&line, began.elapsed())?;
    Ok(recalls.sum())
}
