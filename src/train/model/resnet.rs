//! torchvision's Bottleneck ResNet (v1.5: the 3×3 convolution strides), without the classifier.
//! <https://arxiv.org/abs/1512.03385>

use tch::{Tensor, nn};

use super::{Mode, constant, normal, statistic, trains};
use crate::train::config::towers::EXPANSION;
pub use crate::train::config::towers::ResnetConfig;

/// A convolution without bias.
#[derive(Debug)]
struct Conv {
    weight: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv {
    fn new(path: nn::Path, planes: (i64, i64), kernel: i64, stride: i64) -> Self {
        let (from, to) = planes;
        let fan_out = to * kernel * kernel;
        let weight = normal(&path, "weight", &[to, from, kernel, kernel], (2.0 / fan_out as f64).sqrt());
        Self { weight, stride, padding: kernel / 2 }
    }

    fn forward(&self, xs: &Tensor) -> Tensor {
        xs.conv2d(&self.weight, None::<&Tensor>, self.stride, self.padding, 1, 1)
    }
}

#[derive(Debug)]
struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm {
    fn new(path: nn::Path, planes: i64) -> Self {
        Self {
            weight: constant(&path, "weight", &[planes], 1.0),
            bias: constant(&path, "bias", &[planes], 0.0),
            running_mean: statistic(&path, "running_mean", &[planes], 0.0),
            running_var: statistic(&path, "running_var", &[planes], 1.0),
        }
    }

    fn forward(&self, xs: &Tensor, mode: Mode) -> Tensor {
        let train = trains(mode, &self.weight);
        let kept = train && mode == Mode::Again; // batch statistics without running ones beside them
        xs.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            (!kept).then_some(&self.running_mean),
            (!kept).then_some(&self.running_var),
            train,
            0.1,
            1e-5,
            true,
        )
    }
}

/// Planes and stride of one block.
#[derive(Clone, Copy)]
struct Shape {
    from: i64,
    planes: i64,
    stride: i64,
}

#[derive(Debug)]
struct Bottleneck {
    conv1: Conv,
    bn1: BatchNorm,
    conv2: Conv,
    bn2: BatchNorm,
    conv3: Conv,
    bn3: BatchNorm,
    downsample: Option<(Conv, BatchNorm)>,
}

impl Bottleneck {
    fn new(path: nn::Path, Shape { from, planes, stride }: Shape) -> Self {
        let to = planes * EXPANSION;
        let downsample = (stride != 1 || from != to).then(|| {
            let path = &path / "downsample";
            (Conv::new(&path / 0, (from, to), 1, stride), BatchNorm::new(&path / 1, to))
        });
        Self {
            conv1: Conv::new(&path / "conv1", (from, planes), 1, 1),
            bn1: BatchNorm::new(&path / "bn1", planes),
            conv2: Conv::new(&path / "conv2", (planes, planes), 3, stride),
            bn2: BatchNorm::new(&path / "bn2", planes),
            conv3: Conv::new(&path / "conv3", (planes, to), 1, 1),
            bn3: BatchNorm::new(&path / "bn3", to),
            downsample,
        }
    }

    fn forward(&self, xs: &Tensor, mode: Mode) -> Tensor {
        let ys = self.bn1.forward(&self.conv1.forward(xs), mode).relu_();
        let ys = self.bn2.forward(&self.conv2.forward(&ys), mode).relu_();
        let ys = self.bn3.forward(&self.conv3.forward(&ys), mode);
        let identity = match &self.downsample {
            Some((conv, bn)) => bn.forward(&conv.forward(xs), mode),
            None => xs.shallow_clone(),
        };
        (ys + identity).relu_()
    }
}

/// The image tower, from normalised pixels to pooled features.
#[derive(Debug)]
pub struct Resnet {
    conv1: Conv,
    bn1: BatchNorm,
    layers: Vec<Bottleneck>,
}

impl Resnet {
    /// A ResNet whose variables stand under `path` by torchvision's names, initialised as torchvision's.
    pub fn new(path: &nn::Path, config: &ResnetConfig) -> Self {
        let width = config.width;
        Self {
            conv1: Conv::new(path / "conv1", (3, width), 7, 2),
            bn1: BatchNorm::new(path / "bn1", width),
            layers: blocks(path, config),
        }
    }

    /// Pooled features `[batch, features]` of images `[batch, 3, height, width]`.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Tensor {
        let xs = self.bn1.forward(&self.conv1.forward(images), mode).relu_(); // [B, width, H/2, W/2]
        let mut xs = xs.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false); // [B, width, H/4, W/4]
        for block in &self.layers {
            xs = block.forward(&xs, mode);
        }
        xs.adaptive_avg_pool2d([1, 1]).flatten(1, -1) // [B, 32·width]
    }
}

/// The blocks of `layer1` to `layer4`; each stage after the first halves the side and doubles the planes.
fn blocks(path: &nn::Path, config: &ResnetConfig) -> Vec<Bottleneck> {
    let mut blocks = Vec::new();
    let mut from = config.width;
    for (stage, &count) in config.layers.iter().enumerate() {
        let planes = config.width << stage;
        let path = path / format!("layer{}", stage + 1);
        for block in 0..count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            blocks.push(Bottleneck::new(&path / block, Shape { from, planes, stride }));
            from = planes * EXPANSION;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, nn::VarStore};

    use super::*;

    fn tiny() -> (VarStore, Resnet) {
        let vs = VarStore::new(Device::Cpu);
        let resnet = Resnet::new(&vs.root(), &ResnetConfig { layers: [1; 4], width: 4 });
        (vs, resnet)
    }

    fn images() -> Tensor {
        Tensor::randn([2, 3, 32, 32], (Kind::Float, Device::Cpu))
    }

    #[test]
    fn resnet50_has_torchvisions_variables() {
        let vs = VarStore::new(Device::Cpu);
        Resnet::new(&vs.root(), &ResnetConfig::resnet50());
        let variables = vs.variables();
        assert_eq!(vs.trainable_variables().iter().map(Tensor::numel).sum::<usize>(), 25_557_032 - 2_049_000);
        assert_eq!(variables.len(), 161 - 2 + 2 * 53);
        assert_eq!(variables["layer1.0.downsample.0.weight"].size(), [256, 64, 1, 1]);
        assert!(variables.contains_key("layer4.2.bn3.running_var"));
    }

    #[test]
    fn a_batch_norm_is_in_evaluation_exactly_when_its_weight_is_frozen() {
        let (vs, resnet) = tiny();
        let variables = vs.variables();
        let _ = variables["bn1.weight"].set_requires_grad(false);
        let _ = resnet.forward(&images(), Mode::Train);
        let moved = |name: &str| variables[name].abs().max().double_value(&[]) > 0.0;
        assert!(!moved("bn1.running_mean"), "frozen");
        assert!(moved("layer1.0.bn1.running_mean"), "trains");
    }

    #[test]
    fn a_second_pass_gives_the_same_and_leaves_every_statistic_alone() {
        let (vs, resnet) = tiny();
        let images = images();
        let first = resnet.forward(&images, Mode::Train);
        let statistics = || {
            let all = vs.variables().into_iter().filter(|(name, _)| name.contains(".running_"));
            all.map(|(name, tensor)| (name, tensor.copy())).collect::<std::collections::BTreeMap<_, _>>()
        };
        let before = statistics();
        assert_eq!(resnet.forward(&images, Mode::Again), first);
        assert_eq!(statistics(), before);
    }

    #[test]
    fn evaluation_leaves_every_statistic_alone() {
        let (vs, resnet) = tiny();
        let _ = resnet.forward(&images(), Mode::Eval);
        for (name, tensor) in vs.variables().iter().filter(|(name, _)| name.ends_with("running_mean")) {
            assert_eq!(tensor.abs().max().double_value(&[]), 0.0, "{name}");
        }
    }

    #[test]
    fn a_batch_that_lies_pixel_by_pixel_stays_so() {
        let (_vs, resnet) = tiny();
        let last = images().permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let xs = resnet.bn1.forward(&resnet.conv1.forward(&last), Mode::Eval);
        assert_eq!(xs.stride()[1], 1);
    }
}
