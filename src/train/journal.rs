//! What is said while training: lines of the log and the bar. The tensors of a step are read a step
//! later, so that the device is never waited for.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::config::Config;
use super::metrics::{EvaluationLine, Metrics, StepLine};
use super::stages::Part;
use super::trainer::{Outcome, Trainer};
use crate::load::Batch;
use crate::progress::{Progress, Verbosity};

/// The log and the bar of a run.
pub struct Journal {
    metrics: Metrics,
    progress: Progress,
    log_every: u64,
    pairs: usize,
    since: Instant,
    waited: f64,
    waited_in_all: f64,
    began: Instant,
    pending: Option<(StepLine, Outcome)>,
}

impl Journal {
    /// Starts the clock.
    pub fn new(metrics: Metrics, config: &Config, total: u64, verbosity: Verbosity) -> Self {
        Self {
            metrics,
            progress: Progress::new("training", "steps", total, verbosity),
            log_every: config.run.log_every,
            pairs: 0,
            since: Instant::now(),
            waited: 0.0,
            waited_in_all: 0.0,
            began: Instant::now(),
            pending: None,
        }
    }

    /// Steps that an earlier process did.
    pub fn skip(&mut self, steps: u64) {
        self.progress.skip(steps);
    }

    /// Notes a step; its line is written when the next one is noted.
    ///
    /// # Errors
    /// If the loss of the step before was no number, or the disk fails.
    pub fn step(
        &mut self,
        trainer: &Trainer,
        batch: &Batch,
        step: u64,
        outcome: Outcome,
        waited: f64,
    ) -> Result<()> {
        self.flush()?;
        self.pairs += batch.rows();
        self.waited += waited;
        self.waited_in_all += waited;
        let seconds = self.since.elapsed().as_secs_f64().max(1e-9);
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
            wait_seconds: self.waited,
        };
        if step.is_multiple_of(self.log_every) {
            (self.pairs, self.waited, self.since) = (0, 0.0, Instant::now());
        }
        self.pending = Some((line, outcome));
        Ok(())
    }

    /// Writes the line that is still to be written.
    ///
    /// # Errors
    /// If its loss was no number, or the disk fails.
    pub fn flush(&mut self) -> Result<()> {
        let Some((mut line, outcome)) = self.pending.take() else { return Ok(()) };
        line.loss = outcome.loss.double_value(&[]);
        ensure!(
            line.loss.is_finite(),
            "the loss of step {} is {}; lower the rates or clip the gradient",
            line.step,
            line.loss
        );
        let share = 100.0 * self.waited_in_all / self.began.elapsed().as_secs_f64().max(1e-9);
        self.progress.add(1, || format!("loss {:.3}, {share:.1}% waiting for data", line.loss));
        if line.step.is_multiple_of(self.log_every) {
            line.grad_norm = outcome.grad_norm.double_value(&[]);
            line.scale = outcome.scale.double_value(&[]);
            self.metrics.write(&line)?;
        }
        Ok(())
    }

    /// Writes an evaluation.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn evaluation(&mut self, line: &EvaluationLine) -> Result<()> {
        self.flush()?;
        self.since = Instant::now();
        let (text, image) = (line.recalls.text_to_image.recall_1, line.recalls.image_to_text.recall_1);
        let (text, image) = (100.0 * text, 100.0 * image);
        self.progress.say(&format!(
            "step {}: recall@1 on val {text:.1}% text→image, {image:.1}% image→text",
            line.step
        ));
        self.metrics.write(line)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.progress.finish();
    }
}
