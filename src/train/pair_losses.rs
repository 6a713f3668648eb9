//! `pairs.jsonl`: what each pair of a step adds to the contrastive loss.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::replay::line_of;

/// The file's name in a run's folder.
pub const FILE: &str = "pairs.jsonl";

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairLosses {
    /// From 0 over the whole run.
    pub step: u64,
    /// In the order of the batch: half of what the pair's image costs among all texts and half of what its text (with
    /// several, their mean) costs among all images. Their mean is the step's contrastive loss, before it is weighed.
    /// Nothing of a row that was left out as bad, or where the loss is not finite.
    pub losses: Vec<Option<f32>>,
}

impl PairLosses {
    /// The line of a step, of which a loss that is not finite is none.
    pub fn new(step: u64, losses: &[f32]) -> Self {
        let losses = losses.iter().map(|&loss| loss.is_finite().then_some(loss)).collect();
        Self { step, losses }
    }

    /// The line of a step of a run; `None` where it has none.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn read(run: &Path, step: u64) -> Result<Option<Self>> {
        line_of(&run.join(FILE), step)
    }
}
