//! Learning rates over a run: one linear warm-up, then one decay over all stages.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// What the rate does after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine to 0 (Loshchilov & Hutter, *SGDR*, 2017).
    #[default]
    Cosine,
    /// A straight line to 0.
    Linear,
    /// None.
    Constant,
}

/// The factor on every base rate as a function of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Steps of warm-up.
    pub warmup: u64,
    /// Steps of the whole run.
    pub total: u64,
    /// What follows the warm-up.
    pub decay: Decay,
}

impl Schedule {
    /// The factor at `step`, counted from 0: `(step + 1) / warmup` while warming up, then the decay
    /// over the remaining steps.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.total.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / span).min(1.0);
        match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (PI * done).cos()),
            Decay::Linear => 1.0 - done,
            Decay::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(decay: Decay) -> Vec<f64> {
        let schedule = Schedule { warmup: 2, total: 6, decay };
        (0..6).map(|step| schedule.factor(step)).collect()
    }

    #[test]
    fn warm_up_reaches_the_base_in_its_last_step() {
        assert_eq!(factors(Decay::Constant), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn linear_decay_would_reach_zero_one_step_after_the_run() {
        assert_eq!(factors(Decay::Linear), [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
    }

    #[test]
    fn cosine_decay_is_half_way_in_the_middle() {
        let factors = factors(Decay::Cosine);
        assert_eq!(factors[2], 1.0);
        assert!((factors[4] - 0.5).abs() < 1e-15, "{factors:?}");
    }
}
