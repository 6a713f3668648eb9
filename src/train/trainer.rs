//! One training step: a batch in, weights moved, what the log wants out.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor, nn};

use super::augment::{Augmentation, tensors};
use super::checkpoint::Checkpoint;
use super::config::{Config, LossKind, Precision};
use super::ema::Ema;
use super::features::{Cached, Features};
use super::grad_cache::{self, MicroBatch};
use super::layer_decay::LayerDecay;
use super::loss;
use super::model::Mode;
use super::model::clip::{Clip, Compute, Layout, Logits, ModelConfig, normalise_pixels, normalise_shares};
use super::optim::{AdamW, AdamWConfig};
use super::schedule::Schedule;
use super::skip::{Statistics, not_finite};
use super::stages::{Part, Plan, Span, check_prefixes};
use super::{hub, weights};
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
    layer_decay: LayerDecay,
    statistics: Statistics,
    /// First step of the stage whose parameters are set to train.
    set_for: Option<u64>,
    features: Features,
}

/// What a step leaves for the log; the tensors are read when the line is written.
pub struct Outcome {
    /// The loss before the update.
    pub loss: Tensor,
    /// What each pair of the batch adds to the contrastive one, `[B]`, where the config wants it logged; of a bad row
    /// no number.
    pub pairs: Option<Tensor>,
    /// The gradient's norm before clipping.
    pub grad_norm: Tensor,
    /// The scale before the update.
    pub scale: Tensor,
    /// 1 where loss or gradient was not finite, so that nothing was changed; else 0.
    pub skipped: Tensor,
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
    torch_ext::allow_tf32(config.run.precision == Precision::Tf32)?;
    let mut store = nn::VarStore::new(device);
    if config.run.precision == Precision::Fp64 {
        store.set_kind(Kind::Double); // `double` would convert what is there already: nothing
    }
    tch::manual_seed(seed_for(config.run.seed, Purpose::Weights, 0, 0) as i64);
    let model = &config.model;
    let text = model.text.config(model.dropout)?;
    let (embed_dim, pooling) = (model.embed_dim, model.pooling);
    let logits = match config.loss.kind {
        LossKind::Infonce | LossKind::MultiPositive => Logits::Softmax,
        LossKind::Siglip => Logits::Sigmoid,
    };
    let (image, matching) = (model.image.config(), config.loss.matching != 0.0);
    let clip = Clip::new(&store, &ModelConfig { image, text, embed_dim, pooling, logits, matching });
    let local = |path| hub::local(path, "model.safetensors");
    if let Some(path) = &model.image_weights {
        local(path).and_then(|path| weights::load_image(&store, &path)).context("model.image_weights")?;
    }
    if let Some(path) = &model.text_weights {
        local(path).and_then(|path| weights::load_text(&store, &path)).context("model.text_weights")?;
    }
    if let Some(path) = &model.init {
        local(path).and_then(|path| weights::load_all(&store, &path)).context("model.init")?;
    }
    let layout = if config.run.channels_last { Layout::ChannelsLast } else { Layout::ChannelsFirst };
    let clip = clip.computing(Compute { bf16: config.run.precision == Precision::Bf16, layout });
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
        check_prefixes(&config.stage, &names)?;
        let plan = Plan::of(config, steps_per_epoch)?;
        let schedule = Schedule { warmup: optim.warmup, total: plan.total(), decay: optim.schedule };
        let betas = (optim.betas[0], optim.betas[1]);
        let adamw = AdamWConfig { betas, eps: optim.eps, weight_decay: optim.weight_decay };
        let optimizer = AdamW::new(&store, adamw);
        let layer_decay = LayerDecay::of(config)?;
        let statistics = Statistics::default();
        let config = config.clone();
        let (set_for, features) = (None, Features::default());
        Ok(Self {
            config,
            store,
            clip,
            optimizer,
            plan,
            schedule,
            layer_decay,
            statistics,
            set_for,
            features,
        })
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

    /// Takes over weights, their averages and optimiser state.
    ///
    /// # Errors
    /// If they are another model's.
    pub fn resume(&mut self, checkpoint: &Checkpoint, ema: Option<&mut Ema>) -> Result<()> {
        checkpoint.load(&self.store, &mut self.optimizer, ema)
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

    /// Forward, backward, update. A step whose loss or gradient is not finite changes nothing.
    ///
    /// # Errors
    /// If kept features cannot be read.
    pub fn step(&mut self, batch: &Batch, step: u64) -> Result<Outcome> {
        self.enter_stage(step);
        let statistics = self.statistics.kept();
        let image = self.image_features(batch, step)?; // [B, F]
        let text = self.text_features(batch, step)?; // [B·m, H]
        let scale = self.clip.scale();
        let (loss, pairs) = self.loss(&image, &text, batch);
        self.optimizer.zero_grad();
        loss.backward();
        self.second_pass(&image, &text, batch, step);
        let grad_norm = self.optimizer.clip_grad(self.config.optim.clip_grad);
        let (span, factor) = (self.plan.at(step), self.schedule.factor(step));
        let skipped = not_finite(&loss, &grad_norm);
        let layers = &self.layer_decay;
        let rate = |name: &str| span.rate(Part::of(name)) * factor * layers.factor(name);
        self.optimizer.step_unless(Some(&skipped), rate);
        self.statistics.put_back_if(&skipped, &statistics);
        self.clip.clamp_scale(self.config.optim.max_scale);
        let (cached, notes) = self.features.end_step(step, span, batch);
        let (loss, scale) = (loss.detach(), scale.detach());
        Ok(Outcome { loss, pairs, grad_norm, scale, skipped, cached, notes })
    }

    /// Floating-point type of the model.
    pub fn kind(&self) -> Kind {
        kind(self.config.run.precision)
    }

    /// Pooled features `[B, F]` of a batch's pictures; those of a frozen tower are computed once and kept.
    fn image_features(&mut self, batch: &Batch, step: u64) -> Result<Tensor> {
        let (clip, device, kind) = (&self.clip, self.store.device(), self.kind());
        let forward = |images: &[u8]| {
            clip.image_features(&pixels(images, batch.side, device, kind, clip.layout()), Mode::Eval)
        };
        if let Some(features) = self.features.of_images(batch, forward)? {
            return Ok(torch_ext::send(&features, device)?);
        }
        let (parts, trains) = (self.parts(batch), self.clip.image_trains());
        ensure!(
            !(parts.iter().any(|part| part.rows.len() == 1) && self.a_norm_sees_one_pixel()),
            "step {step}: a picture of {side} pixels that passes the image tower alone gives a BatchNorm that trains one \
             value a channel, and no variance; data.micro_batch must leave two pictures together, data.drop_last leave \
             out a last batch of one, or data.crop be larger",
            side = batch.side
        );
        Ok(grad_cache::first_pass(&parts, trains, |part| self.image_tower(batch, step, part, Mode::Train)))
    }

    /// Whether a BatchNorm that trains stands where one picture's map is a single pixel.
    fn a_norm_sees_one_pixel(&self) -> bool {
        let stage = |number: usize| {
            (self.config.data.crop.div_ceil(2 << number) == 1).then(|| format!("image.layer{number}."))
        };
        let stages: Vec<String> = (1..=4).filter_map(stage).collect();
        let moves = |name: &str, tensor: &Tensor| {
            tensor.requires_grad()
                && name.ends_with("bn2.weight")
                && stages.iter().any(|stage| name.starts_with(stage))
        };
        self.store.variables().iter().any(|(name, tensor)| moves(name, tensor))
    }

    /// Pooled features `[B·m, H]` of a batch's captions, likewise.
    fn text_features(&mut self, batch: &Batch, step: u64) -> Result<Tensor> {
        let (clip, device) = (&self.clip, self.store.device());
        let forward = |ids: &[i32], lengths: &[i32], length| {
            let (tokens, mask) = padded(ids, lengths, length, device); // [n, length]
            clip.text_features(&tokens, &mask, Mode::Eval)
        };
        if let Some(features) = self.features.of_texts(batch, forward)? {
            return Ok(torch_ext::send(&features, device)?);
        }
        let (parts, trains) = (self.parts(batch), self.clip.text_trains());
        Ok(grad_cache::first_pass(&parts, trains, |part| self.text_tower(batch, step, part, Mode::Train)))
    }

    /// What is minimised, of a batch's features, and the part of each pair if it is to be logged.
    fn loss(&self, image: &Tensor, text: &Tensor, batch: &Batch) -> (Tensor, Option<Tensor>) {
        let rows = loss::Rows::of(batch);
        let image = rows.of_images(&self.clip.project_image(image)); // [B − bad, D]
        let text = rows.of_texts(&self.clip.project_text(text)); // [(B − bad)·m, D]
        let cost = loss::weighted(&self.config.loss, &self.clip, &image, &text, &rows);
        let logged = cost.pairs.filter(|_| self.config.run.log_pairs);
        (cost.loss, logged.map(|pairs| rows.spread(&pairs.detach(), batch.rows())))
    }

    /// With `data.micro_batch`, takes the gradients of features on into the towers that train.
    fn second_pass(&self, image: &Tensor, text: &Tensor, batch: &Batch, step: u64) {
        let parts = self.parts(batch);
        grad_cache::second_pass(&parts, image, |part| self.image_tower(batch, step, part, Mode::Again));
        grad_cache::second_pass(&parts, text, |part| self.text_tower(batch, step, part, Mode::Again));
    }

    /// What passes through a tower at a time.
    fn parts(&self, batch: &Batch) -> Vec<MicroBatch> {
        grad_cache::parts(batch.rows(), self.config.data.micro_batch)
    }

    /// Features of some of a batch's pictures: a function of weights, batch, step and part.
    fn image_tower(&self, batch: &Batch, step: u64, part: &MicroBatch, mode: Mode) -> Tensor {
        self.seed_dropout(step, part);
        self.clip.image_features(&self.pictures(batch, part.rows.clone()), mode)
    }

    /// Features of the captions of some of a batch's rows: a function of weights, batch, step and part.
    fn text_tower(&self, batch: &Batch, step: u64, part: &MicroBatch, mode: Mode) -> Tensor {
        self.seed_dropout(step, part);
        let many = batch.captions_per_image();
        let (first, last) = (part.rows.start * many, part.rows.end * many);
        let tokens = &batch.tokens[first * batch.max_len..last * batch.max_len];
        let device = self.store.device();
        let (tokens, mask) = padded(tokens, &batch.lengths[first..last], batch.max_len, device); // [rows·m, L]
        self.clip.text_features(&tokens, &mask, mode)
    }

    fn seed_dropout(&self, step: u64, part: &MicroBatch) {
        tch::manual_seed(seed_for(self.config.run.seed, Purpose::Dropout, part.number, step) as i64);
    }

    /// Some of a batch's pictures, flipped and jittered where the config says so, as the image tower
    /// sees them.
    pub fn pictures(&self, batch: &Batch, rows: Range<usize>) -> Tensor {
        let size = batch.side * batch.side * 3;
        let pixels = &batch.images[rows.start * size..rows.end * size];
        let pixels = uploaded(pixels, batch.side, self.store.device()); // [rows, S, S, 3] of u8
        match Augmentation::of(&self.config) {
            None => normalise_pixels(&pixels, self.kind(), self.clip.layout()),
            Some(augmentation) => {
                let keys = rows.map(|row| batch.keys.get(row));
                let drawn = augmentation.draw_all(batch.epoch, keys);
                normalise_shares(&tensors::apply(&pixels, self.kind(), &drawn))
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
        self.statistics = Statistics::that_move(&self.store);
        self.features.enter(step, &self.store);
        self.set_for = Some(span.begin);
    }
}

/// The floating-point type of a precision's weights.
pub fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Fp32 | Precision::Tf32 | Precision::Bf16 => Kind::Float,
        Precision::Fp64 => Kind::Double,
    }
}

fn set_trained(store: &nn::VarStore, span: &Span) {
    for (name, tensor) in store.variables() {
        let statistics = name.ends_with(".running_mean") || name.ends_with(".running_var");
        let trains = !statistics && span.trains(&name);
        let _ = tensor.set_requires_grad(trains);
        if !trains {
            torch_ext::drop_gradients([&tensor]).expect("a variable is defined");
        }
    }
}

/// Pictures `[B, side, side, 3]` u8 as the image tower wants them, normalised where the model is:
/// `[B, 3, side, side]`.
pub fn pixels(images: &[u8], side: usize, device: Device, kind: Kind, layout: Layout) -> Tensor {
    normalise_pixels(&uploaded(images, side, device), kind, layout)
}

/// Pictures `[B, side, side, 3]` of u8, where the model is; a CUDA device gets them through pinned memory, and nobody
/// waits for it.
///
/// # Panics
/// If the bytes are no whole pictures, or there is no memory for them.
pub fn uploaded(images: &[u8], side: usize, device: Device) -> Tensor {
    let count = images.len() / (3 * side * side);
    let side = side as i64;
    torch_ext::upload(images, &[count as i64, side, side, 3], device).expect("pictures fit on the device")
}

/// Padded ids and their lengths as tensors `[rows, length]` int64.
pub fn padded(ids: &[i32], lengths: &[i32], length: usize, device: Device) -> (Tensor, Tensor) {
    let tokens = Tensor::from_slice(ids).view([-1, length as i64]).to_kind(Kind::Int64);
    let places = Tensor::arange(length as i64, (Kind::Int, Device::Cpu));
    let mask = places.unsqueeze(0).lt_tensor(&Tensor::from_slice(lengths).unsqueeze(1)).to_kind(Kind::Int64);
    let sent = |tensor| torch_ext::send(tensor, device).expect("ids fit on the device");
    (sent(&tokens), sent(&mask))
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
