//! What is said while training: lines of the log and the bar. The numbers of a step are read when the device has sent
//! them, at the earliest when the next step is noted, so that no later step is ever waited for.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use torch_ext::Download;

use super::bad_samples::BadSamples;
use super::config::{Config, OnBadSample};
use super::features::Cached;
use super::metrics::{DataLine, EvaluationLine, Log, StepLine};
use super::pair_losses::{self, PairLosses};
use super::skip::Skips;
use super::stages::Part;
use super::tensorboard::Events;
use super::trainer::{Outcome, Trainer};
use crate::load::{Batch, Gauges};
use crate::progress::{Progress, Verbosity};

/// Steps that a device may be behind before the numbers of the oldest are waited for.
const BEHIND: usize = 4;

/// The log and the bar of a run.
pub struct Journal {
    metrics: Log,
    /// Where the config wants what each pair costs.
    pairs_log: Option<Log>,
    events: Events,
    /// Where bad samples end no run.
    bad: Option<BadSamples>,
    progress: Progress,
    log_every: u64,
    pairs: usize,
    since: Instant,
    gauges: Gauges,
    /// The loader's work up to the last line.
    logged: Gauges,
    began: Instant,
    skips: Skips,
    /// Lines that are still to be written, the oldest first.
    pending: VecDeque<Pending>,
}

/// A line, and what a device is still to send of it.
struct Pending {
    line: StepLine,
    /// Loss, gradient norm, scale, whether the step was skipped, and what each pair costs where that is logged.
    numbers: Download,
}

impl Pending {
    fn new(line: StepLine, outcome: &Outcome) -> Result<Self> {
        let Outcome { loss, grad_norm, scale, skipped, pairs, .. } = outcome;
        let numbers: Vec<_> = [loss, grad_norm, scale, skipped].into_iter().chain(pairs).collect();
        Ok(Self { line, numbers: Download::begin(&numbers)? })
    }

    /// The whole line, whether the step was skipped, and what each pair costs; waits for the step's own
    /// numbers alone.
    fn read(mut self) -> Result<(StepLine, bool, Vec<f32>)> {
        let numbers = self.numbers.wait()?;
        let (&[loss, grad_norm, scale, skipped], pairs) =
            numbers.split_first_chunk().expect("four were sent");
        let skipped = skipped != 0.0;
        self.line.loss = if skipped { f64::NAN } else { loss };
        (self.line.grad_norm, self.line.scale) = (grad_norm, scale);
        Ok((self.line, skipped, pairs.iter().map(|&loss| loss as f32).collect()))
    }
}

impl Journal {
    /// Opens the files of a run's folder to go on after `steps` of `total` steps, which saw `rows`
    /// rows, and starts the clock.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub fn open(
        run: &Path,
        config: &Config,
        (steps, total): (u64, u64),
        rows: u64,
        verbosity: Verbosity,
    ) -> Result<Self> {
        let (metrics, kept) = Log::open(&run.join("metrics.jsonl"), steps)?;
        let pairs_log = match config.run.log_pairs {
            true => Some(Log::open(&run.join(pair_losses::FILE), steps)?.0),
            false => None,
        };
        let mut events = Events::open(run, steps)?;
        if let Some(line) = kept.last().and_then(|line| serde_json::from_str::<EvaluationLine>(line).ok())
            && line.step == steps
        {
            events.evaluation(&line)?; // a reader forgets what is not before `steps`
        }
        let bad = match config.data.on_bad_sample {
            OnBadSample::Stop => None,
            OnBadSample::Skip => Some(BadSamples::open(&run.join("bad_samples.jsonl"), steps, rows)?),
        };
        let journal = Self {
            metrics,
            pairs_log,
            events,
            bad,
            progress: Progress::new("training", "steps", total, verbosity),
            log_every: config.run.log_every,
            pairs: 0,
            since: Instant::now(),
            gauges: Gauges::default(),
            logged: Gauges::default(),
            began: Instant::now(),
            skips: Skips::default(),
            pending: VecDeque::new(),
        };
        journal.progress.skip(steps);
        Ok(journal)
    }

    /// The same, counting on from the steps that an earlier run skipped.
    pub fn after(self, skips: Skips) -> Self {
        Self { skips, ..self }
    }

    /// The steps skipped so far, of those whose lines are written.
    pub fn skips(&self) -> Skips {
        self.skips
    }

    /// Notes a batch that came: `gauges` is the loader's work so far.
    ///
    /// # Errors
    /// If too many samples are bad, or the disk fails.
    pub fn batch(&mut self, batch: &Batch, step: u64, gauges: Gauges) -> Result<()> {
        self.gauges = gauges;
        self.bad.as_mut().map_or(Ok(()), |bad| bad.note(step, batch))
    }

    /// Notes a step; its line is written when a later one is noted: on the CPU the next, on a device one
    /// of the next four.
    ///
    /// # Errors
    /// If the disk or the device fails.
    pub fn step(&mut self, trainer: &Trainer, batch: &Batch, step: u64, outcome: Outcome) -> Result<()> {
        self.write_arrived()?;
        outcome.notes.iter().for_each(|note| self.progress.say(note));
        self.pairs += batch.rows();
        let seconds = self.since.elapsed().as_secs_f64().max(1e-9);
        let wait_seconds = self.gauges.wait_seconds - self.logged.wait_seconds;
        let line = StepLine {
            step,
            epoch: batch.epoch,
            stage: trainer.plan().at(step).name.clone(),
            loss: 0.0,
            lr_image: trainer.rate(Part::Image, step),
            lr_text: trainer.rate(Part::Text, step),
            lr_projection: trainer.rate(Part::Projection, step),
            grad_norm: 0.0,
            scale: 0.0,
            pairs_per_second: self.pairs as f64 / seconds,
            wait_seconds,
            wait_share: wait_seconds / seconds,
            skipped_steps: 0,
            peak_memory_mb: peak_memory(trainer)?,
            data: self.data(batch, outcome.cached),
        };
        if step.is_multiple_of(self.log_every) {
            (self.pairs, self.logged, self.since) = (0, self.gauges, Instant::now());
        }
        self.pending.push_back(Pending::new(line, &outcome)?);
        // A row of skipped steps is worth waiting for: the run may have to stop.
        if self.skips.in_a_row > 0 { self.flush() } else { Ok(()) }
    }

    fn data(&self, batch: &Batch, cached: Cached) -> DataLine {
        let (now, before) = (&self.gauges, &self.logged);
        DataLine {
            queued: now.queued as u64,
            full_seconds: now.full_seconds - before.full_seconds,
            read_mb: (now.read_bytes - before.read_bytes) as f64 / 1e6,
            decode_seconds: now.decode_seconds - before.decode_seconds,
            bad_samples: self.bad.as_ref().map_or(0, BadSamples::count),
            cached_images: cached.images as u64,
            cached_texts: cached.texts as u64,
            keys_sha256: batch.keys.sha256(),
        }
    }

    /// Writes the lines whose numbers are there, and waits for those of a step that is too far behind.
    fn write_arrived(&mut self) -> Result<()> {
        while let Some(oldest) = self.pending.front() {
            if self.pending.len() < BEHIND && !oldest.numbers.has_arrived()? {
                break;
            }
            self.write_oldest()?;
        }
        Ok(())
    }

    /// Writes the lines that are still to be written.
    ///
    /// # Errors
    /// If the disk or the device fails.
    pub fn flush(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            self.write_oldest()?;
        }
        Ok(())
    }

    fn write_oldest(&mut self) -> Result<()> {
        let Some(oldest) = self.pending.pop_front() else { return Ok(()) };
        let (mut line, skipped, pairs) = oldest.read()?;
        self.skips.note(skipped);
        line.skipped_steps = self.skips.total;
        if skipped {
            let step = line.step;
            self.progress.say(&format!("step {step} is skipped: its loss or gradient is not finite"));
        }
        let (loss, rate, share) = (line.loss, line.pairs_per_second, self.waited());
        self.progress.add(1, || format!("loss {loss:.3}, {rate:.1} pairs/s, {share:.1}% waiting for data"));
        if line.step.is_multiple_of(self.log_every) {
            if let Some(log) = self.pairs_log.as_mut().filter(|_| !pairs.is_empty()) {
                log.write(&PairLosses::new(line.step, &pairs))?;
            }
            self.metrics.write(&line)?;
            self.events.step(&line)?;
        }
        Ok(())
    }

    /// Per cent of this process's time in steps that went by waiting for batches.
    fn waited(&self) -> f64 {
        100.0 * self.gauges.wait_seconds / self.began.elapsed().as_secs_f64().max(1e-9)
    }

    /// Writes an evaluation, whose time counts as none of the steps'.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn evaluation(&mut self, line: &EvaluationLine, took: Duration) -> Result<()> {
        self.flush()?;
        (self.since, self.began) = (self.since + took, self.began + took);
        let (text, image) = (line.recalls.text_to_image.recall_1, line.recalls.image_to_text.recall_1);
        let (text, image) = (100.0 * text, 100.0 * image);
        self.progress.say(&format!(
            "step {}: recall@1 on {} {text:.1}% text→image, {image:.1}% image→text",
            line.step, line.evaluation
        ));
        self.metrics.write(line)?;
        self.events.evaluation(line)
    }

    /// Takes the bar away and says how much of the time went by waiting for data.
    pub fn finish(&self) {
        self.progress.finish();
        self.progress.say(&format!("{:.1}% of the time in steps was waiting for data", self.waited()));
        let bad = self.bad.as_ref().map_or(0, BadSamples::count);
        if bad > 0 {
            self.progress.say(&format!("{bad} bad samples were left out; bad_samples.jsonl names them"));
        }
    }
}

/// What the allocator of the trainer's device has given out at most, in megabytes.
fn peak_memory(trainer: &Trainer) -> Result<Option<f64>> {
    let memory = torch_ext::memory(trainer.store().device())?;
    Ok(memory.map(|memory| memory.peak as f64 / 1e6))
}
