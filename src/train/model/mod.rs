//! The two towers and the model that joins them.
//!
//! Variables are named as in the model file (`image.*` by torchvision, `text.*` by Hugging Face), so loading and
//! saving go by name alone.

pub mod bert;
pub mod clip;
pub mod matching;
pub mod resnet;

use std::cell::Cell;

use tch::{Device, Kind, Tensor, nn};

pub use bert::{BertConfig, Pooling};
pub use clip::{Clip, Compute, Layout, Logits, ModelConfig, normalise_pixels};
pub use resnet::ResnetConfig;

/// Whether a pass is a training step's. A frozen part behaves as in [`Mode::Eval`] either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norms that train use and update batch statistics; parts that train drop out.
    Train,
    /// The same over a batch that a training step has seen before: running statistics stay as they are.
    Again,
    /// Running statistics, no dropout.
    Eval,
}

/// Whether a module behaves as in training: in a training step, and only while its `weight` trains.
fn trains(mode: Mode, weight: &Tensor) -> bool {
    mode != Mode::Eval && weight.requires_grad()
}

thread_local! {
    static UNDRAWN: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, the models that this thread builds have zeros where fresh weights would be drawn: for those whose
/// weights all come from a file, since a ResNet-50 and a BERT take two seconds to draw.
#[derive(Debug)]
pub struct Undrawn {
    before: bool,
}

impl Undrawn {
    /// Begins.
    #[must_use]
    pub fn guard() -> Self {
        Self { before: UNDRAWN.replace(true) }
    }
}

impl Drop for Undrawn {
    fn drop(&mut self) {
        UNDRAWN.set(self.before);
    }
}

/// A trainable variable from the normal distribution around 0. It is drawn on the CPU in single precision, so one seed
/// gives one model on every device and in every precision.
fn normal(path: &nn::Path, name: &str, dims: &[i64], deviation: f64) -> Tensor {
    if UNDRAWN.get() {
        return constant(path, name, dims, 0.0);
    }
    let values = Tensor::randn(dims, (Kind::Float, Device::Cpu)) * deviation;
    path.add(name, values.to_kind(path.kind()).to_device(path.device()), true)
}

/// A trainable variable that starts at one value everywhere.
fn constant(path: &nn::Path, name: &str, dims: &[i64], value: f64) -> Tensor {
    path.add(name, Tensor::full(dims, value, (path.kind(), path.device())), true)
}

/// A statistic: in the file, never trained.
fn statistic(path: &nn::Path, name: &str, dims: &[i64], value: f64) -> Tensor {
    path.add(name, Tensor::full(dims, value, (path.kind(), path.device())), false)
}
