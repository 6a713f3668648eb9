//! Whether an image and a text belong together, from both embeddings at once.
//! <https://arxiv.org/abs/2107.07651>, §3.2: the task, there on top of a fusing transformer.

use tch::{Tensor, nn};

use super::{constant, normal};

/// Two layers over an image's and a text's projections.
#[derive(Debug)]
pub struct Matching {
    hidden: Linear,
    output: Linear,
}

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Matching {
    /// A fresh head whose layers stand under `path` as `0` and `2`.
    pub fn new(path: &nn::Path, embed_dim: i64) -> Self {
        Self {
            hidden: Linear::new(path / "0", 4 * embed_dim, embed_dim),
            output: Linear::new(path / "2", embed_dim, 1),
        }
    }

    /// The logit `[pairs]` that each image and text belong together, of their projections `[pairs, embed_dim]`, not
    /// normalised.
    pub fn forward(&self, image: &Tensor, text: &Tensor) -> Tensor {
        let both = [image.shallow_clone(), text.shallow_clone(), image * text, (image - text).abs()];
        let xs = Tensor::cat(&both, -1); // [pairs, 4 · embed_dim]
        self.output.forward(&self.hidden.forward(&xs).gelu("none")).squeeze_dim(-1)
    }
}

impl Linear {
    fn new(path: nn::Path, from: i64, to: i64) -> Self {
        let weight = normal(&path, "weight", &[to, from], (from as f64).powf(-0.5));
        Self { weight, bias: constant(&path, "bias", &[to], 0.0) }
    }

    fn forward(&self, xs: &Tensor) -> Tensor {
        xs.linear(&self.weight, Some(&self.bias))
    }
}
