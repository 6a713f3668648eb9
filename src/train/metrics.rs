//! `metrics.jsonl`: a line a step, a line an evaluation.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::checkpoint::Weights;
use super::recall::Recalls;
use crate::files::write_whole;

/// A training line. Loss, rates and scale are the step's own, before its update. A number that is not finite is `null`
/// in the file, and NaN where it is read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepLine {
    /// From 0 over the whole run.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// Name of the stage.
    pub stage: String,
    /// The loss that was minimised.
    pub loss: f64,
    /// 0 while the image encoder is frozen.
    pub lr_image: f64,
    /// 0 while the text encoder is frozen.
    pub lr_text: f64,
    /// 0 while the projections are frozen.
    pub lr_projection: f64,
    /// L2 norm over all trained parameters, before clipping.
    pub grad_norm: f64,
    /// What cosines were multiplied by.
    pub scale: f64,
    /// Pairs a second since the line before.
    pub pairs_per_second: f64,
    /// Seconds waited for batches since the line before …
    pub wait_seconds: f64,
    /// … and which share of the time that was, 0 to 1.
    pub wait_share: f64,
    /// Steps so far, over the whole run, that changed nothing because loss or gradient was not finite; such a step's
    /// own loss is not a number.
    pub skipped_steps: u64,
    /// The most that libtorch's allocator has given out on the device since the program began, in megabytes (10⁶
    /// bytes); absent on the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_mb: Option<f64>,
    /// Where its batch came from.
    #[serde(flatten)]
    pub data: DataLine,
}

/// What a training line says of the loader.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataLine {
    /// Finished batches that still waited after the step had taken its own.
    pub queued: u64,
    /// Seconds that workers, summed, waited for room in the queue since the line before.
    pub full_seconds: f64,
    /// Megabytes (10⁶ bytes) of pictures that workers read since the line before.
    pub read_mb: f64,
    /// Seconds that workers, summed, spent on decoding since the line before.
    pub decode_seconds: f64,
    /// Rows left out as damaged so far, over the whole run.
    pub bad_samples: u64,
    /// Pictures whose features were kept from an earlier step, the image encoder being frozen.
    pub cached_images: u64,
    /// Captions likewise.
    pub cached_texts: u64,
    /// SHA-256 of the step's keys in their order, a newline after each.
    pub keys_sha256: String,
}

/// An evaluation line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationLine {
    /// Steps done.
    pub step: u64,
    /// Epoch of the step.
    pub epoch: u64,
    /// The split.
    pub evaluation: String,
    /// Which weights were evaluated.
    pub weights: Weights,
    /// Its figures.
    #[serde(flatten)]
    pub recalls: Recalls,
}

/// An open file of JSON lines, each with its `step`; every line is flushed.
pub struct Log {
    file: fs::File,
    path: PathBuf,
}

impl Log {
    /// Opens the log of a run to go on after `steps` steps: lines of later steps, which a kill left
    /// behind, are dropped, the others given back.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path, steps: u64) -> Result<(Self, Vec<String>)> {
        let failed = || format!("cannot write {}", path.display());
        let mut kept = Vec::new();
        if path.is_file() {
            let text = fs::read_to_string(path).with_context(failed)?;
            kept = text.lines().filter(|line| precedes(line, steps)).map(str::to_owned).collect();
            let text: String = kept.iter().map(|line| format!("{line}\n")).collect();
            write_whole(path, text.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).with_context(failed)?;
        Ok((Self { file, path: path.to_owned() }, kept))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut json = serde_json::to_string(line)?;
        json.push('\n');
        self.file.write_all(json.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// A training line of an earlier step, or an evaluation after at most so many.
fn precedes(line: &str, steps: u64) -> bool {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { return false };
    let Some(step) = value.get("step").and_then(serde_json::Value::as_u64) else { return false };
    step < steps || (value.get("evaluation").is_some() && step == steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_after_the_checkpoint_and_torn_ones_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(
            &path,
            "{\"step\":0}\n{\"step\":1}\n{\"step\":2,\"evaluation\":\"val\"}\n{\"step\":2}\n{\"st",
        )
        .unwrap();
        Log::open(&path, 2).unwrap().0.write(&serde_json::json!({"step": 2})).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":0}\n{\"step\":1}\n{\"step\":2,\"evaluation\":\"val\"}\n{\"step\":2}\n");
    }
}
