//! `metrics.jsonl` → curves and evaluations.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::{Evaluation, Metrics, Recalls};
use crate::train::metrics::{DataLine, StepLine};

/// Reads a run's metrics. A line with the key `evaluation` (its split) is an evaluation, any other a
/// training step; a number that is missing or `null` is NaN. Where a resumed run wrote a step again,
/// the later line holds. A last line without its end is passed over: the run may still be writing.
///
/// # Errors
/// If the file cannot be read, or a line other than a torn last one is no JSON object with a `step`.
pub fn read_metrics(path: &Path) -> Result<Metrics> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&String::from_utf8_lossy(&text)).with_context(|| format!("{} is damaged", path.display()))
}

fn parse(text: &str) -> Result<Metrics> {
    let mut metrics = Metrics::default();
    let mut lines = text.split_inclusive('\n').enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let torn = lines.peek().is_none() && !line.ends_with('\n');
        match serde_json::from_str::<Value>(line) {
            Ok(value) => metrics.push(&value).with_context(|| format!("line {}", at + 1))?,
            Err(_) if torn => {}
            Err(error) => return Err(error).with_context(|| format!("line {}", at + 1)),
        }
    }
    Ok(metrics)
}

impl Metrics {
    fn push(&mut self, line: &Value) -> Result<()> {
        let step = line.get("step").and_then(Value::as_u64).context("it has no `step`")?;
        if let Some(split) = line.get("evaluation").and_then(Value::as_str) {
            self.evaluations.retain(|old| old.split != split || old.step < step);
            self.evaluations.push(evaluation(step, split, line));
        } else {
            while self.curves.last().is_some_and(|last| last.step >= step) {
                self.curves.pop();
            }
            self.curves.push(step_line(step, line));
        }
        Ok(())
    }
}

fn step_line(step: u64, line: &Value) -> StepLine {
    StepLine {
        step,
        epoch: line.get("epoch").and_then(Value::as_u64).unwrap_or_default(),
        stage: line.get("stage").and_then(Value::as_str).unwrap_or_default().to_owned(),
        loss: number(line, "loss"),
        lr_image: number(line, "lr_image"),
        lr_text: number(line, "lr_text"),
        lr_projection: number(line, "lr_projection"),
        grad_norm: number(line, "grad_norm"),
        scale: number(line, "scale"),
        pairs_per_second: number(line, "pairs_per_second"),
        wait_seconds: number(line, "wait_seconds"),
        skipped_steps: line.get("skipped_steps").and_then(Value::as_u64).unwrap_or_default(),
        peak_memory_mb: line.get("peak_memory_mb").and_then(Value::as_f64),
        wait_share: number(line, "wait_share"),
        data: data(line),
    }
}

fn data(line: &Value) -> DataLine {
    let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or_default();
    DataLine {
        queued: count("queued"),
        full_seconds: number(line, "full_seconds"),
        read_mb: number(line, "read_mb"),
        decode_seconds: number(line, "decode_seconds"),
        bad_samples: count("bad_samples"),
        cached_images: count("cached_images"),
        cached_texts: count("cached_texts"),
        keys_sha256: line.get("keys_sha256").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

fn evaluation(step: u64, split: &str, line: &Value) -> Evaluation {
    let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or_default();
    let recalls = |name: &str| {
        let part = line.get(name).unwrap_or(&Value::Null);
        Recalls {
            at_1: number(part, "recall@1"),
            at_5: number(part, "recall@5"),
            at_10: number(part, "recall@10"),
            median_rank: number(part, "median_rank"),
        }
    };
    Evaluation {
        step,
        split: split.to_owned(),
        images: count("images"),
        captions: count("captions"),
        weights: line.get("weights").and_then(Value::as_str).and_then(|weights| weights.parse().ok()),
        text_to_image: recalls("text_to_image"),
        image_to_text: recalls("image_to_text"),
    }
}

fn number(object: &Value, name: &str) -> f64 {
    object.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::checkpoint::Weights;

    #[test]
    fn steps_and_evaluations_are_told_apart() {
        let metrics = parse(
            "{\"step\":0,\"epoch\":0,\"stage\":\"head\",\"loss\":4.5,\"grad_norm\":null}\n\
             {\"step\":1,\"evaluation\":\"val\",\"images\":100,\"captions\":500,\"weights\":\"ema\",\
              \"text_to_image\":{\"recall@1\":0.25,\"median_rank\":7}}\n",
        )
        .unwrap();
        let (line, evaluation) = (&metrics.curves[0], &metrics.evaluations[0]);
        assert_eq!((line.step, line.stage.as_str(), line.loss), (0, "head", 4.5));
        assert!(line.grad_norm.is_nan() && line.scale.is_nan());
        assert_eq!((evaluation.split.as_str(), evaluation.images, evaluation.captions), ("val", 100, 500));
        assert_eq!((evaluation.text_to_image.at_1, evaluation.text_to_image.median_rank), (0.25, 7.0));
        assert!(evaluation.image_to_text.at_1.is_nan());
        assert_eq!(evaluation.weights, Some(Weights::Ema));
    }

    #[test]
    fn a_torn_last_line_is_passed_over() {
        assert_eq!(parse("{\"step\":0}\n{\"step\":1,\"lo").unwrap().curves.len(), 1);
        assert_eq!(parse("").unwrap().curves.len(), 0);
    }

    #[test]
    fn a_damaged_line_within_is_an_error_with_its_number() {
        assert_eq!(parse("{\"step\":0}\n{\"st\n{\"step\":2}\n").unwrap_err().to_string(), "line 2");
        assert_eq!(format!("{:#}", parse("{}\n").unwrap_err()), "line 1: it has no `step`");
    }

    #[test]
    fn a_step_that_a_resumed_run_wrote_again_counts_once() {
        let steps = |losses: &[(u64, f64)]| {
            losses
                .iter()
                .map(|(step, loss)| format!("{{\"step\":{step},\"loss\":{loss}}}\n"))
                .collect::<String>()
        };
        let metrics = parse(&steps(&[(0, 5.0), (1, 4.0), (2, 3.0), (1, 2.0)])).unwrap();
        let kept: Vec<_> = metrics.curves.iter().map(|line| (line.step, line.loss)).collect();
        assert_eq!(kept, [(0, 5.0), (1, 2.0)]);
    }
}
