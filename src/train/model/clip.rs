//! Two towers and two projections into one space.
//! <https://arxiv.org/abs/2103.00020>

use tch::{Kind, Tensor, nn};
use torch_ext::Autocast;

use super::bert::{self, Bert, BertConfig, Pooling};
use super::matching::Matching;
use super::resnet::{Resnet, ResnetConfig};
use super::{Mode, constant, normal};

/// ImageNet's mean and standard deviation by channel, of pixels in 0…1.
pub const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
/// See [`MEAN`].
pub const DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];

/// The size of the whole model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The image tower.
    pub image: ResnetConfig,
    /// The text tower.
    pub text: BertConfig,
    /// Length of an embedding.
    pub embed_dim: i64,
    /// How a text becomes one vector.
    pub pooling: Pooling,
    /// How a cosine becomes a logit.
    pub logits: Logits,
    /// Whether it has a head for matching pairs: `matching.*`.
    pub matching: bool,
}

/// How a cosine becomes a logit: what the contrastive loss wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// Times the scale, at first 1/0.07, for a softmax.
    Softmax,
    /// Times the scale, at first 10, plus `logit_bias`, at first −10, for a sigmoid.
    Sigmoid,
}

/// How a batch of images lies in memory; the convolutions follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Channel by channel.
    ChannelsFirst,
    /// Pixel by pixel.
    ChannelsLast,
}

/// How a model computes, whatever its weights' kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    /// Whether the towers' and the projections' products are in bfloat16 where their weights are in float32.
    pub bf16: bool,
    /// The layout of images and convolutions.
    pub layout: Layout,
}

/// An image tower and a text tower with their projections into one space.
#[derive(Debug)]
pub struct Clip {
    image: Resnet,
    text: Bert,
    image_projection: Tensor,
    text_projection: Tensor,
    logit_scale: Tensor,
    logit_bias: Option<Tensor>,
    matching: Option<Matching>,
    pooling: Pooling,
    compute: Compute,
    image_variables: Vec<Tensor>,
    text_variables: Vec<Tensor>,
}

impl Clip {
    /// A fresh model in an empty `vs`, of the store's kind and device. It draws from libtorch's CPU generator: seed that
    /// first (`tch::manual_seed`).
    ///
    /// # Panics
    /// If `vs` already holds variables, whose names would no longer be the file's.
    pub fn new(vs: &nn::VarStore, config: &ModelConfig) -> Self {
        assert!(vs.is_empty(), "a model wants a variable store of its own");
        let root = vs.root();
        let image = Resnet::new(&(&root / "image"), &config.image);
        let image_variables = vs.trainable_variables();
        let text = Bert::new(&(&root / "text"), &config.text);
        let text_variables = vs.trainable_variables().split_off(image_variables.len());
        let (scale, bias) = match config.logits {
            Logits::Softmax => (1.0 / 0.07, None),
            Logits::Sigmoid => (10.0, Some(-10.0)),
        };
        Self {
            image,
            text,
            image_projection: projection(
                root.sub("image_projection"),
                config.image.features(),
                config.embed_dim,
            ),
            text_projection: projection(
                root.sub("text_projection"),
                config.text.hidden_size,
                config.embed_dim,
            ),
            logit_scale: constant(&root, "logit_scale", &[], f64::ln(scale)),
            logit_bias: bias.map(|bias| constant(&root, "logit_bias", &[], bias)),
            matching: config.matching.then(|| Matching::new(&(&root / "matching"), config.embed_dim)),
            pooling: config.pooling,
            compute: Compute { bf16: false, layout: Layout::ChannelsFirst },
            image_variables,
            text_variables,
        }
    }

    /// The same model, computing as `compute` says from now on. Convolutions' weights take on its layout in place.
    pub fn computing(self, compute: Compute) -> Self {
        if compute.layout == Layout::ChannelsLast {
            for weight in self.image_variables.iter().filter(|variable| variable.dim() == 4) {
                torch_ext::to_channels_last(weight).expect("it has four dimensions");
            }
        }
        Self { compute, ..self }
    }

    /// The layout of its convolutions, which images had better have.
    pub fn layout(&self) -> Layout {
        self.compute.layout
    }

    /// Pooled features `[batch, features]` of normalised images `[batch, 3, height, width]` in either layout. A frozen
    /// tower keeps no graph.
    pub fn image_features(&self, images: &Tensor, mode: Mode) -> Tensor {
        let _guard = is_frozen(&self.image_variables).then(tch::no_grad_guard);
        let _autocast = self.autocast();
        match self.compute.layout {
            Layout::ChannelsFirst => self.image.forward(images, mode),
            Layout::ChannelsLast => {
                let images = torch_ext::channels_last(images).expect("images have four dimensions");
                self.image.forward(&images, mode)
            }
        }
    }

    /// Pooled features `[batch, hidden]` of token ids `[batch, length]` and their mask (nonzero on real tokens). A
    /// frozen tower keeps no graph.
    pub fn text_features(&self, tokens: &Tensor, mask: &Tensor, mode: Mode) -> Tensor {
        let _guard = is_frozen(&self.text_variables).then(tch::no_grad_guard);
        let _autocast = self.autocast();
        bert::pool(&self.text.forward(tokens, mask, mode), mask, self.pooling)
    }

    /// Image features in the common space, not normalised: `[batch, embed_dim]`.
    pub fn project_image(&self, features: &Tensor) -> Tensor {
        self.project(features, &self.image_projection)
    }

    /// Text features in the common space, not normalised: `[batch, embed_dim]`.
    pub fn project_text(&self, features: &Tensor) -> Tensor {
        self.project(features, &self.text_projection)
    }

    /// Embeddings `[batch, embed_dim]` of length 1 of normalised images `[batch, 3, height, width]`.
    pub fn encode_image(&self, images: &Tensor, mode: Mode) -> Tensor {
        normalise(&self.project_image(&self.image_features(images, mode)))
    }

    /// Embeddings `[batch, embed_dim]` of length 1 of token ids `[batch, length]` and their mask.
    pub fn encode_text(&self, tokens: &Tensor, mask: &Tensor, mode: Mode) -> Tensor {
        normalise(&self.project_text(&self.text_features(tokens, mask, mode)))
    }

    /// The natural logarithm of the scale, 0-dimensional.
    pub fn logit_scale(&self) -> &Tensor {
        &self.logit_scale
    }

    /// What cosines are multiplied by, 0-dimensional, in the graph.
    pub fn scale(&self) -> Tensor {
        self.logit_scale.exp()
    }

    /// What is added to a scaled cosine, 0-dimensional, where the logits are a sigmoid's.
    pub fn logit_bias(&self) -> Option<&Tensor> {
        self.logit_bias.as_ref()
    }

    /// The head that says whether an image and a text belong together, if it has one.
    pub fn matching(&self) -> Option<&Matching> {
        self.matching.as_ref()
    }

    /// Whether any of the image tower trains now.
    pub fn image_trains(&self) -> bool {
        !is_frozen(&self.image_variables)
    }

    /// Whether any of the text tower trains now.
    pub fn text_trains(&self) -> bool {
        !is_frozen(&self.text_variables)
    }

    /// Brings the scale back to at most `max_scale`, after an update.
    pub fn clamp_scale(&self, max_scale: f64) {
        let _ = tch::no_grad(|| self.logit_scale.shallow_clone().clamp_max_(max_scale.ln()));
    }

    /// In the parameters' precision, whatever the towers ran in: losses are not for half precision.
    fn project(&self, features: &Tensor, weight: &Tensor) -> Tensor {
        let _autocast = self.autocast();
        features.linear(weight, None::<&Tensor>).to_kind(self.logit_scale.kind())
    }

    /// The guard of a forward pass. Each pass has its own: what one casts without a graph is not for the next.
    fn autocast(&self) -> Option<Autocast> {
        let begin =
            || Autocast::bf16(self.logit_scale.device()).expect("the model is on the CPU or a CUDA device");
        self.compute.bf16.then(begin)
    }
}

fn projection(path: nn::Path, from: i64, to: i64) -> Tensor {
    normal(&path, "weight", &[to, from], (from as f64).powf(-0.5))
}

fn is_frozen(variables: &[Tensor]) -> bool {
    !variables.iter().any(Tensor::requires_grad)
}

/// Rows divided by their L2 norm (by 1e-12 where that is smaller).
pub fn normalise(xs: &Tensor) -> Tensor {
    xs / xs.norm_scalaropt_dim(2, [-1].as_slice(), true).clamp_min(1e-12)
}

/// Pixels (x/255 − mean)/deviation as the image tower wants them: `[batch, 3, height, width]` of `kind`, from
/// `[batch, height, width, 3]` of u8, where the pixels are. A convolution takes its layout from its input.
pub fn normalise_pixels(pixels: &Tensor, kind: Kind, layout: Layout) -> Tensor {
    let shares = (pixels.to_kind(kind) / 255.0).permute([0, 3, 1, 2]); // [B, 3, H, W], still pixel by pixel
    let xs = normalise_shares(&shares);
    match layout {
        Layout::ChannelsFirst => xs.contiguous(),
        Layout::ChannelsLast => xs,
    }
}

/// Shares of 1 `[batch, 3, height, width]` as the image tower wants them, in the layout that they have.
pub fn normalise_shares(shares: &Tensor) -> Tensor {
    let channels = |values: [f64; 3]| {
        let values = Tensor::from_slice(&values).to_kind(shares.kind()).view([3, 1, 1]);
        torch_ext::send(&values, shares.device()).expect("three numbers fit on the device")
    };
    (shares - channels(MEAN)) / channels(DEVIATION)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn tiny() -> (nn::VarStore, Clip) {
        let vs = nn::VarStore::new(Device::Cpu);
        let text = BertConfig {
            vocab_size: 20,
            hidden_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 16,
            ..BertConfig::default()
        };
        let image = ResnetConfig { layers: [1; 4], width: 2 };
        let (pooling, logits) = (Pooling::Mean, Logits::Softmax);
        let clip =
            Clip::new(&vs, &ModelConfig { image, text, embed_dim: 6, pooling, logits, matching: false });
        (vs, clip)
    }

    fn freeze(vs: &nn::VarStore, prefix: &str) {
        for (_, variable) in vs.variables().iter().filter(|(name, _)| name.starts_with(prefix)) {
            let _ = variable.set_requires_grad(false);
        }
    }

    #[test]
    fn variables_have_the_model_files_names() {
        let (vs, _) = tiny();
        let variables = vs.variables();
        for name in ["image.conv1.weight", "text.embeddings.LayerNorm.bias", "logit_scale"] {
            assert!(variables.contains_key(name), "{name}");
        }
        assert_eq!(variables["image_projection.weight"].size(), [6, 64]);
        assert_eq!(variables["text_projection.weight"].size(), [6, 8]);
        assert!((variables["logit_scale"].double_value(&[]) - 2.659_260_036_932_778).abs() < 1e-6);
    }

    #[test]
    fn a_frozen_tower_keeps_no_graph() {
        let (vs, clip) = tiny();
        freeze(&vs, "image.");
        let images = Tensor::zeros([2, 3, 32, 32], (Kind::Float, Device::Cpu));
        assert!(!clip.image_features(&images, Mode::Train).requires_grad());
        assert!(clip.encode_image(&images, Mode::Train).requires_grad(), "its projection trains");
        let tokens = Tensor::from_slice(&[2i64, 3]).view([1, 2]);
        assert!(clip.text_features(&tokens, &tokens, Mode::Train).requires_grad());
    }

    #[test]
    fn embeddings_have_length_one() {
        let (_vs, clip) = tiny();
        let tokens = Tensor::from_slice(&[2i64, 4, 3, 2, 3, 0]).view([2, 3]);
        let lengths = clip
            .encode_text(&tokens, &tokens.not_equal(0), Mode::Eval)
            .square()
            .sum_dim_intlist(1, false, None);
        assert!((lengths - 1.0).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn the_scale_is_brought_back_to_its_largest() {
        let (_vs, clip) = tiny();
        clip.clamp_scale(100.0);
        assert!((clip.scale().double_value(&[]) - 1.0 / 0.07).abs() < 1e-4);
        clip.clamp_scale(10.0);
        assert!((clip.scale().double_value(&[]) - 10.0).abs() < 1e-5);
    }

    #[test]
    fn pixels_are_normalised_by_channel_in_either_layout() {
        let pixels = Tensor::from_slice(&[0u8, 128, 255, 255, 0, 128]).view([1, 1, 2, 3]);
        let first = normalise_pixels(&pixels, Kind::Double, Layout::ChannelsFirst);
        let last = normalise_pixels(&pixels, Kind::Double, Layout::ChannelsLast);
        assert_eq!((first.size(), first.stride()), (vec![1, 3, 1, 2], vec![6, 2, 2, 1]));
        assert_eq!((last.stride()[1], first == last), (1, true));
        let expected = (128.0 / 255.0 - 0.456) / 0.224;
        assert!((first.double_value(&[0, 1, 0, 0]) - expected).abs() < 1e-12);
    }
}
