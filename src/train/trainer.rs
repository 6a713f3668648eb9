//! One training step: a batch in, weights moved, what the log wants out.

use std::path::Path;

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor, nn};

use super::augment::{self, Augmentation};
use super::checkpoint::Checkpoint;
use super::config::{Config, Precision};
use super::features::{Cached, Features};
use super::loss::{infonce, without};
use super::model::Mode;
use super::model::clip::{Clip, Layout, ModelConfig, normalise, normalise_pixels, normalise_shares};
use super::optim::{AdamW, AdamWConfig};
use super::schedule::Schedule;
use super::stages::{Part, Plan, Span};
use super::weights;
use crate::load::{Batch, Batcher};
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
    features: Features,
}

/// What a step leaves for the log; the tensors are read when the line is written.
pub struct Outcome {
    /// The loss before the update.
    pub loss: Tensor,
    /// The gradient's norm before clipping.
    pub grad_norm: Tensor,
    /// The scale before the update.
    pub scale: Tensor,
    /// How many features of frozen towers had not to be computed.
    pub cached: Cached,
    /// What there is to say of them.
    pub notes: Vec<String>,
}

/// A fresh model with the weights that the config names.
///
/// # Errors
/// If a weights file is missing or is of another model.
pub fn build(config: &Config, device: Device) -> Result<(nn::VarStore, Clip)> {
    let mut store = nn::VarStore::new(device);
    if config.run.precision == Precision::Fp64 {
        store.double();
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
        let (set_for, features) = (None, Features::default());
        Ok(Self { config: config.clone(), store, clip, optimizer, plan, schedule, set_for, features })
    }

    /// Keeps the features of frozen towers in the run's folder, from a step on, if the config does not
    /// forbid it; gives back the loader, which will leave out pictures that are not needed any more.
    pub fn keep_features(&mut self, run: &Path, batcher: Batcher, step: u64) -> Batcher {
        let names: Vec<String> = self.store.variables().into_keys().collect();
        let device = self.store.device();
        self.features = Features::new(run, &self.config, &self.plan, &names, &batcher, device);
        self.features.enter(step, &self.store);
        self.features.sparing(batcher)
    }

    /// Says that there will be a checkpoint after `done` steps: what it would need of kept features
    /// is made to last, and what no step needs any more is removed.
    pub fn checkpoint_features(&mut self, done: u64) {
        self.features.checkpoint(done);
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
    ///
    /// # Errors
    /// If kept features cannot be read.
    pub fn step(&mut self, batch: &Batch, step: u64) -> Result<Outcome> {
        self.enter_stage(step);
        tch::manual_seed(seed_for(self.config.run.seed, Purpose::Dropout, 0, step) as i64);
        let (image, text) = (self.image_features(batch)?, self.text_features(batch)?); // [B, F]
        let image = normalise(&self.clip.project_image(&image)); // [B, D]
        let text = normalise(&self.clip.project_text(&text)); // [B, D]
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
        let (cached, notes) = self.features.end_step(step, span, batch);
        Ok(Outcome { loss: loss.detach(), grad_norm, scale: scale.detach(), cached, notes })
    }

    /// Features of the batch's pictures; those of a frozen tower are computed once and kept.
    fn image_features(&mut self, batch: &Batch) -> Result<Tensor> {
        let (clip, device, kind) = (&self.clip, self.store.device(), self.kind());
        let forward =
            |images: &[u8]| clip.image_features(&pixels(images, batch.side, device, kind), Mode::Eval);
        let kept = self.features.of_images(batch, forward)?;
        Ok(match kept {
            Some(features) => features.to_device(device),
            None => self.clip.image_features(&self.pictures(batch), Mode::Train),
        })
    }

    /// Features of the batch's texts, likewise.
    fn text_features(&mut self, batch: &Batch) -> Result<Tensor> {
        let (clip, device) = (&self.clip, self.store.device());
        let pass = |ids: &[i32], lengths: &[i32], length, mode| {
            let (tokens, mask) = padded(ids, lengths, length, device); // [n, length]
            clip.text_features(&tokens, &mask, mode)
        };
        let kept =
            self.features.of_texts(batch, |ids, lengths, length| pass(ids, lengths, length, Mode::Eval))?;
        Ok(match kept {
            Some(features) => features.to_device(device),
            None => pass(&batch.tokens, &batch.lengths, batch.max_len, Mode::Train),
        })
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
        self.features.enter(step, &self.store);
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
