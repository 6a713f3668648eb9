//! Hugging Face's BertModel without its pooler.
//! <https://arxiv.org/abs/1810.04805>

mod config;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, nn};

use super::{Mode, constant, normal, trains};

pub use self::config::{Activation, BertConfig};

/// The token that fills a row up; its embedding starts at zero and gets no gradient.
const PAD: i64 = 0;

/// Standard deviation of fresh weights.
const INIT: f64 = 0.02;

/// How a text's hidden states become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over real tokens, \[CLS\] and \[SEP\] included.
    #[default]
    Mean,
    /// The first token's, \[CLS\].
    Cls,
}

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(path: nn::Path, from: i64, to: i64) -> Self {
        Self { weight: normal(&path, "weight", &[to, from], INIT), bias: constant(&path, "bias", &[to], 0.0) }
    }

    fn forward(&self, xs: &Tensor) -> Tensor {
        xs.linear(&self.weight, Some(&self.bias))
    }
}

#[derive(Debug)]
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    fn new(path: &nn::Path, config: &BertConfig) -> Self {
        let path = path / "LayerNorm";
        Self {
            weight: constant(&path, "weight", &[config.hidden_size], 1.0),
            bias: constant(&path, "bias", &[config.hidden_size], 0.0),
            eps: config.layer_norm_eps,
        }
    }

    fn forward(&self, xs: &Tensor) -> Tensor {
        xs.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

#[derive(Debug)]
struct Embeddings {
    words: Tensor,
    positions: Tensor,
    segments: Tensor,
    norm: LayerNorm,
    dropout: f64,
}

impl Embeddings {
    fn new(path: &nn::Path, config: &BertConfig) -> Self {
        let table = |name, rows| normal(&(path / name), "weight", &[rows, config.hidden_size], INIT);
        let words = table("word_embeddings", config.vocab_size);
        let _ = tch::no_grad(|| words.get(PAD).zero_());
        Self {
            words,
            positions: table("position_embeddings", config.max_position_embeddings),
            segments: table("token_type_embeddings", config.type_vocab_size),
            norm: LayerNorm::new(path, config),
            dropout: config.hidden_dropout_prob,
        }
    }

    fn forward(&self, tokens: &Tensor, mode: Mode) -> Tensor {
        let words = Tensor::embedding(&self.words, tokens, PAD, false, false); // [B, L, H]
        // By tensors, not by the batch's length: a trace must serve other lengths.
        let places = tokens.select(0, 0).ones_like().cumsum(0, None) - 1; // [L]: 0, 1, …
        let positions = self.positions.index_select(0, &places); // [L, H]
        let xs = self.norm.forward(&(words + self.segments.get(0) + positions));
        drop_out(xs, self.dropout, trains(mode, &self.norm.weight))
    }
}

/// One post-norm transformer layer.
#[derive(Debug)]
struct Layer {
    heads: i64,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    attention_norm: LayerNorm,
    widen: Linear,
    narrow: Linear,
    norm: LayerNorm,
    hidden_dropout: f64,
    attention_dropout: f64,
}

impl Layer {
    fn new(path: nn::Path, config: &BertConfig) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let attention = &path / "attention" / "self";
        let attended = &path / "attention" / "output";
        let output = &path / "output";
        Self {
            heads: config.num_attention_heads,
            query: Linear::new(&attention / "query", hidden, hidden),
            key: Linear::new(&attention / "key", hidden, hidden),
            value: Linear::new(&attention / "value", hidden, hidden),
            output: Linear::new(&attended / "dense", hidden, hidden),
            attention_norm: LayerNorm::new(&attended, config),
            widen: Linear::new(&path / "intermediate" / "dense", hidden, inner),
            narrow: Linear::new(&output / "dense", inner, hidden),
            norm: LayerNorm::new(&output, config),
            hidden_dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
        }
    }

    fn forward(&self, xs: &Tensor, mask: &Tensor, mode: Mode) -> Tensor {
        let attended = self.output.forward(&self.attend(xs, mask, mode));
        let attended = drop_out(attended, self.hidden_dropout, trains(mode, &self.output.weight));
        let xs = self.attention_norm.forward(&(attended + xs));
        let ys = self.narrow.forward(&self.widen.forward(&xs).gelu("none"));
        let ys = drop_out(ys, self.hidden_dropout, trains(mode, &self.narrow.weight));
        self.norm.forward(&(ys + xs))
    }

    fn attend(&self, xs: &Tensor, mask: &Tensor, mode: Mode) -> Tensor {
        let split = |linear: &Linear| {
            linear.forward(xs).unflatten(-1, [self.heads, -1]).transpose(1, 2) // [B, heads, L, H/heads]
        };
        let dropout = if trains(mode, &self.query.weight) { self.attention_dropout } else { 0.0 };
        let (query, key, value) = (split(&self.query), split(&self.key), split(&self.value));
        Tensor::scaled_dot_product_attention(&query, &key, &value, Some(mask), dropout, false, None, false)
            .transpose(1, 2)
            .flatten(2, -1) // [B, L, H]
    }
}

fn drop_out(xs: Tensor, p: f64, active: bool) -> Tensor {
    if active && p > 0.0 { xs.dropout(p, true) } else { xs }
}

/// The text tower, from token ids to hidden states.
#[derive(Debug)]
pub struct Bert {
    embeddings: Embeddings,
    layers: Vec<Layer>,
}

impl Bert {
    /// A BERT whose variables stand under `path` by Hugging Face's names, initialised as theirs.
    pub fn new(path: &nn::Path, config: &BertConfig) -> Self {
        let encoder = path / "encoder" / "layer";
        Self {
            embeddings: Embeddings::new(&(path / "embeddings"), config),
            layers: (0..config.num_hidden_layers).map(|layer| Layer::new(&encoder / layer, config)).collect(),
        }
    }

    /// Hidden states `[batch, length, hidden]` of token ids `[batch, length]` (i64), where `mask` (same shape, any
    /// kind) is nonzero on real tokens. A pad is never attended to.
    ///
    /// # Panics
    /// If a text is longer than `max_position_embeddings` or an id is not in the token table.
    pub fn forward(&self, tokens: &Tensor, mask: &Tensor, mode: Mode) -> Tensor {
        let mask = mask.to_kind(Kind::Bool).unsqueeze(1).unsqueeze(1); // [B, 1, 1, L]
        self.layers
            .iter()
            .fold(self.embeddings.forward(tokens, mode), |xs, layer| layer.forward(&xs, &mask, mode))
    }
}

/// One vector a text: `[batch, hidden]` of hidden states `[batch, length, hidden]`.
pub fn pool(hidden: &Tensor, mask: &Tensor, pooling: Pooling) -> Tensor {
    match pooling {
        Pooling::Cls => hidden.select(1, 0),
        Pooling::Mean => {
            let mask = mask.to_kind(Kind::Bool).to_kind(hidden.kind()).unsqueeze(-1); // [B, L, 1]
            (hidden * &mask).sum_dim_intlist(1, false, None) / mask.sum_dim_intlist(1, false, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn tiny() -> BertConfig {
        let sizes = "vocab_size = 20\nhidden_size = 8\nnum_hidden_layers = 1\nnum_attention_heads = 2\n\
                     intermediate_size = 16\nmax_position_embeddings = 10";
        BertConfig::from_table(sizes.parse().unwrap()).unwrap()
    }

    fn run(bert: &Bert, mode: Mode) -> Tensor {
        let tokens = Tensor::from_slice(&[2i64, 5, 3, 2, 3, 0]).view([2, 3]);
        bert.forward(&tokens, &tokens.not_equal(0), mode)
    }

    #[test]
    fn a_fresh_pad_is_zero() {
        let vs = nn::VarStore::new(Device::Cpu);
        let bert = Bert::new(&vs.root(), &tiny());
        assert_eq!(bert.embeddings.words.get(PAD).abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn dropout_needs_a_training_step_and_a_layer_that_trains() {
        let mut vs = nn::VarStore::new(Device::Cpu);
        let bert = Bert::new(&vs.root(), &tiny().with_dropout(0.5));
        let still = run(&bert, Mode::Eval);
        assert_ne!(run(&bert, Mode::Train), still);
        vs.freeze();
        assert_eq!(run(&bert, Mode::Train), still);
    }

    #[test]
    fn what_stands_on_a_pad_changes_no_real_token() {
        let vs = nn::VarStore::new(Device::Cpu);
        let bert = Bert::new(&vs.root(), &tiny());
        let mask = Tensor::from_slice(&[1i64, 1, 0]).view([1, 3]);
        let states = |pad: i64| {
            let tokens = Tensor::from_slice(&[2, 3, pad]).view([1, 3]);
            pool(&bert.forward(&tokens, &mask, Mode::Eval), &mask, Pooling::Mean)
        };
        assert_eq!(states(0), states(7));
    }
}
