//! The model against PyTorch's on the same weights: `tests/data/golden/make.py` made the files.
//!
//! Both sides fill weights and inputs by the same integer formula, in double precision.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pairmill::train::loss::{Rows, infonce, matching, mean, multi_positive, siglip};
use pairmill::train::model::bert::{Bert, pool};
use pairmill::train::model::clip::normalise;
use pairmill::train::model::matching::Matching;
use pairmill::train::model::resnet::Resnet;
use pairmill::train::model::{
    BertConfig, Clip, Layout, Logits, Mode, ModelConfig, Pooling, ResnetConfig, normalise_pixels,
};
use pairmill::train::optim::{AdamW, AdamWConfig};
use pairmill::train::weights::read_tensors;
use tch::{Device, Kind, Tensor, nn};

type Golden = BTreeMap<String, Tensor>;

const MASK: i64 = 0x7fff_ffff;

/// Numbers in [-1, 1), exact in double precision, from the name and the position.
fn noise(name: &str, shape: &[i64]) -> Tensor {
    let seed =
        name.bytes().fold(2_166_136_261u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(16_777_619));
    let count: i64 = shape.iter().product();
    let folded = |h: &Tensor, shift: i64| h.bitwise_xor_tensor(&h.bitwise_right_shift_tensor_scalar(shift));
    let mut h = Tensor::arange(count, (Kind::Int64, Device::Cpu)) * 2_654_435_761i64 + i64::from(seed);
    h = h.bitwise_and(MASK);
    for (shift, factor) in [(15, 739_982_445i64), (13, 695_872_825)] {
        h = (folded(&h, shift) * factor).bitwise_and(MASK);
    }
    (folded(&h, 16).to_kind(Kind::Double) / f64::from(1 << 30) - 1.0).reshape(shape)
}

/// A plausible value for a variable of this name.
fn weight(name: &str, shape: &[i64]) -> Tensor {
    let xs = noise(name, shape);
    let fan_in: i64 = shape.iter().skip(1).product();
    match shape.len() {
        _ if name == "logit_scale" => xs * 0.0 + 2.0,
        4 => xs * (6.0 / fan_in as f64).sqrt(),
        2.. => xs * (3.0 / fan_in as f64).sqrt(),
        _ if name.ends_with("bn3.weight") => xs * 0.05 + 0.25,
        _ if name.ends_with("weight") || name.ends_with("running_var") => xs * 0.25 + 1.0,
        _ => xs * 0.1,
    }
}

fn store(kind: Kind) -> nn::VarStore {
    let mut vs = nn::VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    vs
}

fn fill(vs: &nn::VarStore) {
    let _guard = tch::no_grad_guard();
    for (name, mut variable) in vs.variables() {
        let size = variable.size();
        variable.copy_(&weight(&name, &size));
    }
}

/// Largest magnitude, root mean square, mean and eight entries, as the golden files keep a large tensor.
fn summary(tensor: &Tensor) -> Tensor {
    let flat = tensor.detach().to_kind(Kind::Double).flatten(0, -1);
    let last = flat.size()[0] - 1;
    let whole = [flat.abs().max(), flat.square().mean(Kind::Double).sqrt(), flat.mean(Kind::Double)];
    let entries = (0..8).map(|i| flat.get(i * last / 7));
    Tensor::stack(&whole.into_iter().chain(entries).collect::<Vec<_>>(), 0)
}

fn golden(name: &str) -> Golden {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(name);
    read_tensors(&path.with_extension("safetensors")).unwrap()
}

/// Two tensors whose difference is at most `tolerance` of the golden one's largest entry.
#[track_caller]
fn near(what: &str, ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    near_on(what, ours, theirs, largest(theirs), tolerance);
}

#[track_caller]
fn near_on(what: &str, ours: &Tensor, theirs: &Tensor, scale: f64, tolerance: f64) {
    assert_eq!(ours.size(), theirs.size(), "{what}");
    let apart = largest(&(ours.detach().to_kind(Kind::Double) - theirs)) / scale;
    assert!(apart <= tolerance, "{what} is {apart:e} of its scale away from PyTorch's");
}

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

/// Every gradient and running statistic, each on its own scale; and nothing in the golden file beyond them.
#[track_caller]
fn check_variables(vs: &nn::VarStore, golden: &Golden, tolerance: f64) {
    let variables = vs.variables();
    for (name, variable) in &variables {
        let (ours, kept) = match variable.requires_grad() {
            true => (variable.grad(), format!("grad.{name}")),
            false => (variable.shallow_clone(), format!("after.{name}")),
        };
        // A softmax does not feel what a key bias adds to a whole row: this gradient is zero but for rounding.
        let scale = largest(&golden[&kept.replace("key.bias", "key.weight")]);
        near_on(&kept, &summary(&ours), &golden[&kept], scale, tolerance);
    }
    let kept = |key: &&String| key.starts_with("grad.") || key.starts_with("after.");
    assert_eq!(variables.len(), golden.keys().filter(kept).count());
}

fn tokens(batch: i64, length: i64) -> (Tensor, Tensor) {
    let ids = ((noise("tokens", &[batch, length]) + 1.0) / 2.0 * 210.0).to_kind(Kind::Int64) + 1;
    let real = Tensor::from_slice(&(0..batch).map(|row| (length - 3 * row).max(2)).collect::<Vec<_>>());
    let mask = Tensor::arange(length, (Kind::Int64, Device::Cpu)).unsqueeze(0).lt_tensor(&real.unsqueeze(1));
    (ids * mask.to_kind(Kind::Int64), mask.to_kind(Kind::Int64))
}

fn images(name: &str, side: i64) -> Tensor {
    noise(name, &[2, 3, side, side]) * 2.0
}

/// Features to `outputs`; gradients and statistics to `gradients`.
fn check_resnet50(name: &str, images: &Tensor, mode: Mode, outputs: f64, gradients: f64) {
    let kind = images.kind();
    let (vs, golden) = (store(kind), golden(name));
    let resnet = Resnet::new(&(vs.root() / "image"), &ResnetConfig::resnet50());
    fill(&vs);
    let features = resnet.forward(images, mode);
    near("features", &features, &golden["features"], outputs);
    (&features * noise("cotangent", &features.size()).to_kind(kind)).sum(kind).backward();
    check_variables(&vs, &golden, gradients);
}

/// The same images, each pixel's channels side by side in memory.
fn pixel_by_pixel(images: &Tensor) -> Tensor {
    images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

#[test]
fn resnet50_in_evaluation_equals_torchvisions() {
    check_resnet50("resnet50-eval-224", &images("images", 224), Mode::Eval, 1e-10, 1e-9);
    check_resnet50("resnet50-eval-32", &images("images 33", 32), Mode::Eval, 1e-10, 1e-9);
}

#[test]
fn resnet50_in_training_equals_torchvisions() {
    check_resnet50("resnet50-train-97", &images("images", 97), Mode::Train, 1e-10, 1e-9);
}

/// With running statistics and images that keep every activation clear of a ReLU's kink. Where one crosses it, or batch
/// statistics of a few pixels amplify rounding, PyTorch in single precision parts from itself in double by far more.
#[test]
fn resnet50_in_single_precision_and_either_layout_equals_torchvisions() {
    let images = images("images 33", 32).to_kind(Kind::Float);
    check_resnet50("resnet50-eval-32", &images, Mode::Eval, 1e-5, 1e-5);
    check_resnet50("resnet50-eval-32", &pixel_by_pixel(&images), Mode::Eval, 1e-5, 1e-5);
}

#[test]
fn resnet50s_features_of_whole_images_in_single_precision_equal_torchvisions() {
    let (vs, golden) = (store(Kind::Float), golden("resnet50-eval-224"));
    let resnet = Resnet::new(&(vs.root() / "image"), &ResnetConfig::resnet50());
    fill(&vs);
    let _guard = tch::no_grad_guard();
    let images = images("images", 224).to_kind(Kind::Float);
    near("channels first", &resnet.forward(&images, Mode::Eval), &golden["features"], 1e-5);
    near("channels last", &resnet.forward(&pixel_by_pixel(&images), Mode::Eval), &golden["features"], 1e-5);
}

fn bert_config(hidden: i64, layers: i64, heads: i64) -> BertConfig {
    let config = BertConfig {
        vocab_size: 211,
        hidden_size: hidden,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        intermediate_size: 4 * hidden,
        max_position_embeddings: 40,
        ..BertConfig::default()
    };
    config.with_dropout(0.0)
}

fn check_bert(name: &str, config: &BertConfig, kind: Kind, outputs: f64, gradients: f64) {
    let (vs, golden) = (store(kind), golden(name));
    let bert = Bert::new(&(vs.root() / "text"), config);
    fill(&vs);
    let (ids, mask) = tokens(3, 17);
    let states = bert.forward(&ids, &mask, Mode::Train);
    let mean = pool(&states, &mask, Pooling::Mean);
    near("mean", &mean, &golden["mean"], outputs);
    near("cls", &pool(&states, &mask, Pooling::Cls), &golden["cls"], outputs);
    near("states", &summary(&(&states * mask.unsqueeze(-1))), &golden["states"], outputs);
    (&mean * noise("cotangent", &mean.size()).to_kind(kind)).sum(kind).backward();
    check_variables(&vs, &golden, gradients);
}

#[test]
fn bert_equals_hugging_faces() {
    check_bert("bert-2x128", &bert_config(128, 2, 4), Kind::Double, 1e-10, 1e-9);
    check_bert("bert-6x64", &bert_config(64, 6, 2), Kind::Double, 1e-10, 1e-9);
    check_bert("bert-12x96", &bert_config(96, 12, 12), Kind::Double, 1e-10, 1e-9);
}

/// Twelve layers of weights drawn at random make all tokens alike, and what is left of the last queries' and keys'
/// gradients is rounding in part: there PyTorch in single precision parts from itself in double by 6e-5.
#[test]
fn bert_in_single_precision_equals_hugging_faces() {
    check_bert("bert-2x128", &bert_config(128, 2, 4), Kind::Float, 1e-5, 1e-5);
    check_bert("bert-6x64", &bert_config(64, 6, 2), Kind::Float, 1e-5, 1e-5);
    check_bert("bert-12x96", &bert_config(96, 12, 12), Kind::Float, 1e-5, 2e-4);
}

fn check_clip(name: &str, smoothing: f64) {
    let (vs, golden) = (store(Kind::Double), golden(name));
    let image = ResnetConfig { layers: [1; 4], width: 16 };
    let text = bert_config(32, 2, 4);
    let (pooling, logits) = (Pooling::Mean, Logits::Softmax);
    let clip = Clip::new(&vs, &ModelConfig { image, text, embed_dim: 24, pooling, logits, matching: false });
    fill(&vs);
    let pixels = ((noise("pixels", &[4, 64, 64, 3]) + 1.0) * 128.0).to_kind(Kind::Uint8);
    let images = normalise_pixels(&pixels, Kind::Double, Layout::ChannelsFirst);
    let (ids, mask) = tokens(4, 12);
    let image = clip.encode_image(&images, Mode::Train);
    let text = clip.encode_text(&ids, &mask, Mode::Train);
    near("image", &image, &golden["image"], 1e-10);
    near("text", &text, &golden["text"], 1e-10);
    let loss = mean(&infonce(&image, &text, &clip.scale(), smoothing));
    near("loss", &loss, &golden["loss"], 1e-12);
    loss.backward();
    check_variables(&vs, &golden, 1e-9);
}

#[test]
fn the_whole_models_loss_and_gradients_equal_pytorchs() {
    check_clip("clip", 0.0);
    check_clip("clip-smoothed", 0.1);
}

/// What a loss may ask for beside the projections.
struct Parts {
    scale: Tensor,
    bias: Tensor,
    rows: Rows,
    head: Matching,
}

/// Seven images, two of one source, each with so many captions.
fn check_loss(name: &str, captions: usize, loss: impl Fn(&Tensor, &Tensor, &Parts) -> Tensor) {
    let (vs, golden) = (store(Kind::Double), golden(name));
    let head = Matching::new(&(vs.root() / "matching"), 8);
    fill(&vs);
    let leaf = |values: Tensor| values.set_requires_grad(true);
    let (image, text) = (leaf(noise("image", &[7, 8])), leaf(noise("text", &[7 * captions as i64, 8])));
    let rows = Rows::new([0, 1, 2, 1, 3, 4, 5].map(|source| [source; 32]), captions);
    let parts = Parts { scale: leaf(Tensor::from(3.0)), bias: leaf(Tensor::from(-2.0)), rows, head };
    let cost = loss(&image, &text, &parts);
    near("loss", &cost, &golden["loss"], 1e-13);
    cost.backward();
    let mut tensors: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
    let others = [("image", &image), ("text", &text), ("scale", &parts.scale), ("bias", &parts.bias)];
    tensors.extend(others.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())));
    tensors.retain(|_, tensor| tensor.grad().defined());
    for (name, tensor) in &tensors {
        near(name, &tensor.grad(), &golden[&format!("grad.{name}")], 1e-12);
    }
    assert_eq!(tensors.len() + 1, golden.len(), "{name}: a gradient is missing");
}

#[test]
fn every_loss_and_its_gradients_equal_pytorchs() {
    let unit = |image: &Tensor, text: &Tensor| (normalise(image), normalise(text));
    check_loss("loss-infonce", 1, |image, text, parts| {
        let (image, text) = unit(image, text);
        mean(&infonce(&image, &text, &parts.scale, 0.1))
    });
    for (name, captions, smoothing) in
        [("loss-multi-positive", 3, 0.0), ("loss-multi-positive-smoothed", 2, 0.1)]
    {
        check_loss(name, captions, |image, text, parts| {
            let (image, text) = unit(image, text);
            let positives = parts.rows.positives(Device::Cpu);
            mean(&multi_positive(&image, &text, &parts.scale, &positives, smoothing))
        });
    }
    check_loss("loss-siglip", 1, |image, text, parts| {
        let (image, text) = unit(image, text);
        mean(&siglip(&image, &text, &parts.scale, &parts.bias))
    });
    for (name, captions) in [("loss-matching", 1), ("loss-matching-3", 3)] {
        check_loss(name, captions, |image, text, parts| matching(&parts.head, image, text, &parts.rows));
    }
}

/// The second parameter trains from the third step on.
fn check_adamw(name: &str, max_norm: f64) {
    let (vs, golden) = (store(Kind::Double), golden(name));
    let shapes = [("matrix", &[5i64, 7][..]), ("late", &[3, 4]), ("vector", &[6])];
    let parameters = shapes.map(|(name, shape)| (name, vs.root().var_copy(name, &noise(name, shape))));
    let mut adamw = AdamW::new(&vs, AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() });
    for step in 0..5 {
        adamw.zero_grad();
        for (name, parameter) in &parameters {
            let trains = *name != "late" || step >= 2;
            let parameter = parameter.set_requires_grad(trains);
            if trains {
                (&parameter * noise(&format!("{name} {step}"), &parameter.size()))
                    .sum(Kind::Double)
                    .backward();
            }
        }
        let norm = adamw.clip_grad(max_norm);
        if let Some(theirs) = golden.get(&format!("norm.{step}")) {
            near("norm", &norm, theirs, 1e-14);
        }
        adamw.step(|_| 0.01 * f64::from(step + 1));
    }
    for (name, ours) in
        parameters.map(|(name, tensor)| (name.to_owned(), tensor)).into_iter().chain(adamw.state())
    {
        near(&name, &ours, &golden[&name], 1e-14);
    }
}

#[test]
fn adamw_steps_as_pytorchs() {
    check_adamw("adamw", 0.0);
    check_adamw("adamw-clipped", 1.5);
}
