//! An exponential moving average of the weights, as a model of its own.

use std::path::Path;

use anyhow::Result;
use tch::{Kind, Tensor, nn};

use super::config::Config;
use super::model::clip::Clip;
use super::{trainer, weights};

/// Averages of all parameters and of BatchNorm's statistics: after each step
/// `average += (1 − decay) · (weight − average)`, beginning with the run's first weights.
pub struct Ema {
    decay: f64,
    store: nn::VarStore,
    clip: Clip,
}

impl Ema {
    /// Averages that stand at the weights of `live`; `None` where the config has no `optim.ema`.
    ///
    /// # Errors
    /// If the model cannot be built.
    pub fn of(config: &Config, live: &nn::VarStore) -> Result<Option<Self>> {
        let Some(decay) = config.optim.ema else { return Ok(None) };
        let (mut store, clip) = trainer::build(&config.without_weights(), live.device())?;
        store.freeze();
        let live = live.variables();
        tch::no_grad(|| {
            store.variables().iter_mut().for_each(|(name, average)| average.copy_(&live[name]));
        });
        Ok(Some(Self { decay, store, clip }))
    }

    /// Takes a step's weights in, once after each step. Where `skipped` (0-dimensional) is 1 the averages stay: the
    /// weights did, and without a step there is nothing to go on towards. The device is not waited for.
    pub fn update(&mut self, live: &nn::VarStore, skipped: &Tensor) {
        let live = live.variables();
        let _guard = tch::no_grad_guard();
        let done: Tensor = 1.0 - skipped.to_kind(Kind::Double);
        let weight = done * (1.0 - self.decay);
        for (name, mut average) in self.store.variables() {
            let _ = average.lerp_tensor_(&live[&name], &weight.to_kind(average.kind()));
        }
    }

    /// The model with the averages as its weights.
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// The averages, by the names of the weights.
    pub fn store(&self) -> &nn::VarStore {
        &self.store
    }

    /// Takes over averages that were saved.
    ///
    /// # Errors
    /// If the file is missing or is another model's.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        weights::load_all(&self.store, path)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::train::settings;

    fn config(ema: &str) -> Config {
        let sets = [
            "model.image={layers=[1,1,1,1],width=2}",
            "model.text={vocab_size=9,hidden_size=8,num_hidden_layers=1,num_attention_heads=2,intermediate_size=8}",
            ema,
        ];
        settings::resolve(None, None, &sets.map(str::to_owned)).unwrap()
    }

    fn sum(store: &nn::VarStore, name: &str) -> f64 {
        store.variables()[name].sum(Kind::Double).double_value(&[])
    }

    /// A model, its averages with decay 0.75, and a step that adds 1 to every variable.
    fn stepped() -> (nn::VarStore, Ema) {
        let config = config("optim.ema=0.75");
        let (store, _) = trainer::build(&config, Device::Cpu).unwrap();
        let ema = Ema::of(&config, &store).unwrap().unwrap();
        tch::no_grad(|| {
            store.variables().into_values().for_each(|mut variable| drop(variable.g_add_scalar_(1.0)))
        });
        (store, ema)
    }

    #[test]
    fn averages_begin_at_the_weights_and_go_a_share_of_the_way_to_them() {
        let (store, mut ema) = stepped();
        for (weights, statistics) in [(0.0, 0.0), (0.25, 0.25), (0.4375, 0.4375)] {
            let scale = ema.store.variables()["logit_scale"].double_value(&[]);
            assert!((scale - (1.0f64 / 0.07).ln() - weights).abs() < 1e-6, "{scale}");
            let mean = ema.store.variables()["image.bn1.running_mean"].double_value(&[0]);
            assert!((mean - statistics).abs() < 1e-6, "{mean}");
            ema.update(&store, &Tensor::from(0.0f32));
        }
    }

    #[test]
    fn a_skipped_step_moves_no_average() {
        let (store, mut ema) = stepped();
        let before = sum(&ema.store, "image.conv1.weight");
        ema.update(&store, &Tensor::from(1.0f32));
        assert_eq!(sum(&ema.store, "image.conv1.weight"), before);
    }

    #[test]
    fn a_weight_that_stands_still_has_itself_as_its_average_to_the_bit() {
        let (store, mut ema) = stepped();
        let live = store.variables();
        tch::no_grad(|| {
            ema.store.variables().iter_mut().for_each(|(name, average)| average.copy_(&live[name]));
        });
        ema.update(&store, &Tensor::from(0.0f32));
        for (name, average) in ema.store.variables() {
            assert!(average.equal(&store.variables()[&name]), "{name}");
        }
        assert_eq!(sum(&ema.store, "image.conv1.weight"), sum(&store, "image.conv1.weight"));
    }

    #[test]
    fn averages_have_a_memory_of_their_own_and_no_gradient() {
        let (store, ema) = stepped();
        let (live, average) = (sum(&store, "logit_scale"), sum(&ema.store, "logit_scale"));
        assert!((live - average - 1.0).abs() < 1e-6);
        assert!(!ema.store.variables().values().any(Tensor::requires_grad));
    }

    #[test]
    fn without_the_key_there_is_none() {
        let config = config("optim.warmup=0");
        let (store, _) = trainer::build(&config, Device::Cpu).unwrap();
        assert!(Ema::of(&config, &store).unwrap().is_none());
    }
}
