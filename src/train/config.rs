//! The config of a run: what each key of the TOML means, and its default.
//!
//! `schemas/train.v1.json` describes the same keys for editors; a test holds the two together.

#[cfg(feature = "train")]
mod check;
pub mod towers;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::towers::{Architecture, BertConfig, Image, Pooling};
use super::schedule::Decay;

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long, how often, how exact.
    pub run: Run,
    /// What is trained.
    pub model: Model,
    /// What it is trained on.
    pub data: Data,
    /// What is minimised.
    pub loss: Loss,
    /// How it is minimised.
    pub optim: Optim,
    /// What is trained when; without any, everything all the time.
    pub stage: Vec<Stage>,
}

/// `[run]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// Seed of every draw.
    pub seed: u64,
    /// Caps the stages, in epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Caps the stages, in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Steps between checkpoints; 0 = only at the end.
    pub checkpoint_every: u64,
    /// Checkpoints kept.
    pub keep_last: u64,
    /// Steps between evaluations on `val`; 0 = never.
    pub eval_every: u64,
    /// Steps between lines of the log.
    pub log_every: u64,
    /// Whether a line of the log goes with one of `pairs.jsonl`: what each pair of the step costs.
    pub log_pairs: bool,
    /// How exactly the model computes.
    pub precision: Precision,
    /// Whether images and convolutions lie pixel by pixel in memory.
    pub channels_last: bool,
    /// CPU threads of libtorch; 0 = all cores.
    pub threads: i32,
}

/// How exactly the model computes. Weights, losses and optimiser state are in single precision in all but
/// [`Precision::Fp64`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    Fp32,
    /// Single precision whose products round their inputs to TensorFloat-32 on CUDA devices.
    Tf32,
    /// The towers' products in bfloat16, by PyTorch's autocast.
    Bf16,
    /// Double precision (CPU), for comparisons.
    Fp64,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// `"resnet50"` or a table of `layers` and `width`.
    pub image: Image,
    /// A safetensors file of the image encoder's weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_weights: Option<PathBuf>,
    /// A folder or file with a BERT `config.json`, or a table of its keys.
    pub text: Text,
    /// A folder or file of the text encoder's weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_weights: Option<PathBuf>,
    /// One safetensors file for the whole model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Width of the shared space.
    pub embed_dim: i64,
    /// How tokens become one vector.
    pub pooling: Pooling,
    /// Both of BERT's dropouts, over its config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
}

/// `model.text`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// A Hugging Face folder, or its `config.json`.
    Path(PathBuf),
    /// The keys themselves.
    Inline(BertConfig),
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Pairs a step, over all ranks.
    pub batch: usize,
    /// Images that pass through the towers at a time; absent = all of the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Side of the crop in pixels.
    pub crop: u32,
    /// Draws the crop's place for every picture and epoch; otherwise it is the centre.
    pub random_crop: bool,
    /// Probability that a picture is mirrored left to right.
    pub flip: f64,
    /// Greatest change of brightness, contrast and saturation as factors, and of hue in turns.
    pub jitter: [f64; 4],
    /// `full`, `window:N` or `none`.
    pub shuffle: String,
    /// Threads that read and decode.
    pub workers: usize,
    /// Batches ready ahead of the trainer.
    pub prefetch: usize,
    /// Longest row of token ids; as the shards when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Integer weights by kind; absent = 1 each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captions: Option<std::collections::BTreeMap<String, u32>>,
    /// Captions of an image that a step sees.
    pub captions_per_image: usize,
    /// Leave out an epoch's last, short batch.
    pub drop_last: bool,
    /// A file of keys, one a line, that are never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<PathBuf>,
    /// Compute the features of a frozen tower once and keep them in the run's folder.
    pub cache_features: bool,
    /// What a row whose picture is damaged does to the run.
    pub on_bad_sample: OnBadSample,
}

/// `data.on_bad_sample`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadSample {
    /// It ends the run, by name.
    #[default]
    Stop,
    /// It is left out of the loss, counted and recorded; too many end the run.
    Skip,
}

/// `[loss]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// Which contrastive loss.
    pub kind: LossKind,
    /// Its weight.
    pub contrastive: f64,
    /// Weight of the matching head's loss; with 0 the model has no such head.
    pub matching: f64,
    /// Label smoothing of the contrastive loss's cross entropies.
    pub label_smoothing: f64,
}

/// Contrastive losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Symmetric InfoNCE over the batch (Radford et al. 2021).
    #[default]
    Infonce,
    /// The same, where an image may have several right texts and a text several right images.
    MultiPositive,
    /// A sigmoid for every pair (Zhai et al. 2023).
    Siglip,
}

/// `[optim]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Optim {
    /// Base rates; a stage may replace them.
    #[serde(flatten)]
    pub rates: Rates,
    /// Decoupled weight decay of tensors with two or more dimensions.
    pub weight_decay: f64,
    /// AdamW's averages.
    pub betas: [f64; 2],
    /// AdamW's epsilon.
    pub eps: f64,
    /// What a layer's rate is of the rate of the layer above it in its tower; absent = all layers have one rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// What follows the warm-up.
    pub schedule: Decay,
    /// Largest gradient norm; 0 = no clipping.
    pub clip_grad: f64,
    /// Largest scale (temperature's inverse).
    pub max_scale: f64,
    /// Decay of an exponential moving average of the weights; absent = none is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
}

/// Base learning rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Of the image encoder.
    pub lr_image: f64,
    /// Of the text encoder.
    pub lr_text: f64,
    /// Of both projections.
    pub lr_projection: f64,
    /// Of the temperature (and of `logit_bias`); absent = as `lr_projection`; 0 fixes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_scale: Option<f64>,
}

/// One `[[stage]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stage {
    /// Its name in the log.
    pub name: String,
    /// Its length in epochs …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// … or in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Module prefixes of what it trains.
    pub train: Vec<String>,
    /// Replaces `optim.lr_image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_image: Option<f64>,
    /// Replaces `optim.lr_text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_text: Option<f64>,
    /// Replaces `optim.lr_projection`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_projection: Option<f64>,
    /// Replaces `optim.lr_scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_scale: Option<f64>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            seed: 0,
            epochs: None,
            steps: None,
            checkpoint_every: 1000,
            keep_last: 3,
            eval_every: 0,
            log_every: 1,
            log_pairs: false,
            precision: Precision::Fp32,
            channels_last: false,
            threads: 0,
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self {
            image: Image::Named(Architecture::Resnet50),
            image_weights: None,
            text: Text::Inline(BertConfig::default()),
            text_weights: None,
            init: None,
            embed_dim: 512,
            pooling: Pooling::Mean,
            dropout: None,
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self {
            batch: 64,
            micro_batch: None,
            crop: 224,
            random_crop: false,
            flip: 0.0,
            jitter: [0.0; 4],
            shuffle: "full".to_owned(),
            workers: 2,
            prefetch: 4,
            max_tokens: None,
            captions: None,
            captions_per_image: 1,
            drop_last: true,
            exclude: None,
            cache_features: true,
            on_bad_sample: OnBadSample::Stop,
        }
    }
}

impl Default for Loss {
    fn default() -> Self {
        Self { kind: LossKind::Infonce, contrastive: 1.0, matching: 0.0, label_smoothing: 0.0 }
    }
}

impl Default for Optim {
    fn default() -> Self {
        Self {
            rates: Rates::default(),
            weight_decay: 0.01,
            betas: [0.9, 0.999],
            eps: 1e-8,
            layer_decay: None,
            warmup: 0,
            schedule: Decay::Cosine,
            clip_grad: 0.0,
            max_scale: 100.0,
            ema: None,
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self { lr_image: 1e-5, lr_text: 2e-5, lr_projection: 5e-4, lr_scale: None }
    }
}

impl Rates {
    /// The rate of the temperature.
    pub fn scale(&self) -> f64 {
        self.lr_scale.unwrap_or(self.lr_projection)
    }

    /// These rates with a stage's own over them.
    pub fn with(&self, stage: &Stage) -> Self {
        Self {
            lr_image: stage.lr_image.unwrap_or(self.lr_image),
            lr_text: stage.lr_text.unwrap_or(self.lr_text),
            lr_projection: stage.lr_projection.unwrap_or(self.lr_projection),
            lr_scale: stage.lr_scale.or(self.lr_scale),
        }
    }
}
