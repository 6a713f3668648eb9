//! One training step: a batch in, weights moved, what the log wants out.

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor, nn};

use super::augment::{self, Augmentation};
use super::checkpoint::Checkpoint;
use super::config::{Config, Precision};
use super::loss::{infonce, without};
use super::model::Mode;
use super::model::clip::{Clip, Layout, ModelConfig, normalise_pixels, normalise_shares};
use super::optim::{AdamW, AdamWConfig};
use super::schedule::Schedule;
use super::stages::{Part, Plan, Span};
use super::weights;
use crate::load::Batch;
use crate::seed::{Purpose, seed_for};

/// Model, optimiser and the plan that they follow.
pub struct Trainer {
    config: Config,
    store: nn::VarStore,
    clip: Clip,
    optimizer: AdamW,
    plan: Plan,
    schedule: Schedule,
    /// First step of the stage whose parameters are set to train.
    set_for: Option<u64>,
}

/// What a step leaves for the log; the tensors are read when the line is written.
pub struct Outcome {
    /// The loss before the update.
    pub loss: Tensor,
    /// The gradient's norm before clipping.
    pub grad_norm: Tensor,
    /// The scale before the update.
    pub scale: Tensor,
}

/// A fresh model with the weights that the config names.
///
/// # Errors
/// If a weights file is missing or is of another model.
pub fn build(config: &Config, device: Device) -> Result<(nn::VarStore, Clip)> {
    let mut store = nn::VarStore::new(device);
    if config.run.precision == Precision::Fp64 {
        store.set_kind(Kind::Double); // of what is made from now on; `double` would cast what is there
    }
    tch::manual_seed(seed_for(config.run.seed, Purpose::Weights, 0, 0) as i64);
    let model = &config.model;
    let text = model.text.config(model.dropout)?;
    let (embed_dim, pooling) = (model.embed_dim, model.pooling);
    let clip = Clip::new(&store, &ModelConfig { image: model.image.config(), text, embed_dim, pooling });
    if let Some(path) = &model.image_weights {
        weights::load_image(&store, path).context("model.image_weights")?;
    }
    if let Some(path) = &model.text_weights {
        weights::load_text(&store, path).context("model.text_weights")?;
    }
    if let Some(path) = &model.init {
        weights::load_all(&store, path).context("model.init")?;
    }
    Ok((store, clip))
}

impl Trainer {
    /// Builds the model and lays out the run.
    ///
    /// # Errors
    /// If a weights file is wrong or a stage trains nothing that exists.
    pub fn new(config: &Config, steps_per_epoch: u64, device: Device) -> Result<Self> {
        let (store, clip) = build(config, device)?;
        let optim = &config.optim;
        let mut names: Vec<String> = store.variables().into_keys().collect();
        names.sort();
        let plan =
            Plan::new(&config.stage, &optim.rates, steps_per_epoch, config.cap(steps_per_epoch), &names)?;
        let schedule = Schedule { warmup: optim.warmup, total: plan.total(), decay: optim.schedule };
        let betas = (optim.betas[0], optim.betas[1]);
        let adamw = AdamWConfig { betas, eps: optim.eps, weight_decay: optim.weight_decay };
        let optimizer = AdamW::new(&store, adamw);
        Ok(Self { config: config.clone(), store, clip, optimizer, plan, schedule, set_for: None })
    }

    /// Takes over weights and optimiser state.
    ///
    /// # Errors
    /// If they are another model's.
    pub fn resume(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint
            .load(&self.store, &mut self.optimizer)
            .with_context(|| format!("{}", checkpoint.folder.display()))
    }

    /// The stages.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The model.
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// The model's variables.
    pub fn store(&self) -> &nn::VarStore {
        &self.store
    }

    /// The optimiser.
    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    /// The rate of a part at a step; 0 while all of it is frozen.
    pub fn rate(&self, part: Part, step: u64) -> f64 {
        let span = self.plan.at(step);
        let trains = self.store.variables().keys().any(|name| Part::of(name) == part && span.trains(name));
        if trains { span.rate(part) * self.schedule.factor(step) } else { 0.0 }
    }

    /// Forward, backward, update.
    pub fn step(&mut self, batch: &Batch, step: u64) -> Outcome {
        self.enter_stage(step);
        tch::manual_seed(seed_for(self.config.run.seed, Purpose::Dropout, 0, step) as i64);
        let images = self.pictures(batch); // [B, 3, S, S]
        let device = self.store.device();
        let (tokens, mask) = padded(&batch.tokens, &batch.lengths, batch.max_len, device); // [B, L]
        let image = self.clip.encode_image(&images, Mode::Train); // [B, D]
        let text = self.clip.encode_text(&tokens, &mask, Mode::Train); // [B, D]
        let scale = self.clip.scale();
        let bad: Vec<usize> = batch.bad.iter().map(|(row, _)| *row).collect();
        let (image, text) = (without(&image, &bad), without(&text, &bad)); // [B − bad, D]
        let loss = infonce(&image, &text, &scale, self.config.loss.label_smoothing);
        self.optimizer.zero_grad();
        loss.backward();
        let grad_norm = self.optimizer.clip_grad(self.config.optim.clip_grad);
        let (span, factor) = (self.plan.at(step), self.schedule.factor(step));
        self.optimizer.step(|name| span.rate(Part::of(name)) * factor);
        self.clip.clamp_scale(self.config.optim.max_scale);
        Outcome { loss: loss.detach(), grad_norm, scale: scale.detach() }
    }

    /// Floating-point type of the model.
    pub fn kind(&self) -> Kind {
        kind(self.config.run.precision)
    }

    /// The batch's pictures, flipped and jittered where the config says so, as the image tower wants
    /// them.
    fn pictures(&self, batch: &Batch) -> Tensor {
        let pixels = uploaded(&batch.images, batch.side, self.store.device()); // [B, S, S, 3] of u8
        match Augmentation::of(&self.config) {
            None => normalise_pixels(&pixels, self.kind(), Layout::ChannelsFirst),
            Some(augmentation) => {
                let drawn = augmentation.draw_all(batch.epoch, &batch.keys);
                normalise_shares(&augment::apply(&pixels, self.kind(), &drawn))
            }
        }
    }

    /// Sets what trains, once a stage.
    fn enter_stage(&mut self, step: u64) {
        let span = self.plan.at(step);
        if self.set_for == Some(span.begin) {
            return;
        }
        set_trained(&self.store, span);
        self.set_for = Some(span.begin);
    }
}

/// The floating-point type behind a precision.
pub fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Fp32 => Kind::Float,
        Precision::Fp64 => Kind::Double,
    }
}

fn set_trained(store: &nn::VarStore, span: &Span) {
    for (name, mut tensor) in store.variables() {
        let statistics = name.ends_with(".running_mean") || name.ends_with(".running_var");
        let trains = !statistics && span.trains(&name);
        let _ = tensor.requires_grad_(trains);
        if !trains {
            tensor.zero_grad();
        }
    }
}

/// Pictures `[B, side, side, 3]` u8 as the image tower wants them, normalised where the model is:
/// `[B, 3, side, side]`.
pub fn pixels(images: &[u8], side: usize, device: Device, kind: Kind) -> Tensor {
    normalise_pixels(&uploaded(images, side, device), kind, Layout::ChannelsFirst)
}

/// Pictures `[B, side, side, 3]` of u8, where the model is.
pub fn uploaded(images: &[u8], side: usize, device: Device) -> Tensor {
    let side = side as i64;
    Tensor::from_slice(images).view([-1, side, side, 3]).to_device(device)
}

/// Padded ids and their lengths as tensors `[rows, length]` int64.
pub fn padded(ids: &[i32], lengths: &[i32], length: usize, device: Device) -> (Tensor, Tensor) {
    let tokens = Tensor::from_slice(ids).view([-1, length as i64]).to_kind(Kind::Int64);
    let places = Tensor::arange(length as i64, (Kind::Int, Device::Cpu));
    let mask = places.unsqueeze(0).lt_tensor(&Tensor::from_slice(lengths).unsqueeze(1)).to_kind(Kind::Int64);
    (tokens.to_device(device), mask.to_device(device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings;

    #[test]
    fn in_double_precision_every_variable_is_double() {
        let config = settings::resolve(Some("tiny"), None, &["run.precision=fp64".to_owned()]).unwrap();
        let (store, _) = build(&config, Device::Cpu).unwrap();
        let others: Vec<_> =
            store.variables().into_iter().filter(|(_, tensor)| tensor.kind() != Kind::Double).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}
