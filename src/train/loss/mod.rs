//! What training minimises: a contrastive loss of normalised embeddings, and a matching head's.
//!
//! ```text
//! projections ─▶ Rows: without bad rows ─┬─ normalised ─▶ infonce | multi_positive | siglip ─ mean × contrastive ─┐
//!                                        └──────────────▶ matching ─────────────────────────────── × matching ───┴─▶ +
//! ```

mod infonce;
mod matching;
mod multi_positive;
mod rows;
mod siglip;

use tch::Tensor;

pub use infonce::infonce;
pub use matching::matching;
pub use multi_positive::multi_positive;
pub use rows::Rows;
pub use siglip::siglip;

use super::config::{Loss, LossKind};
use super::model::clip::{Clip, normalise};

/// What a batch costs.
pub struct Cost {
    /// The weighted sum of a config's losses, 0-dimensional.
    pub loss: Tensor,
    /// What each pair adds to the contrastive one, before weighing: `[B]`, whose mean it is. Absent where it weighs 0.
    pub pairs: Option<Tensor>,
}

/// The mean over pairs `[B]`; that of none is 0, and has gradients of 0.
pub fn mean(pairs: &Tensor) -> Tensor {
    pairs.sum(pairs.kind()) / pairs.size()[0].max(1) as f64
}

/// What a batch costs by a config's losses, from projections that are not normalised: `image`
/// `[B, embed_dim]` and `text` `[B·m, embed_dim]`, both without the bad rows. A loss of weight 0 is not computed.
///
/// # Panics
/// If the model was built for another config: it lacks `logit_bias` or the matching head.
pub fn weighted(config: &Loss, clip: &Clip, image: &Tensor, text: &Tensor, rows: &Rows) -> Cost {
    let pairs = (config.contrastive != 0.0).then(|| contrast(config, clip, image, text, rows));
    let matching = (config.matching != 0.0).then(|| {
        let head = clip.matching().expect("a model with a matching loss has its head");
        matching(head, image, text, rows) * config.matching
    });
    let contrastive = pairs.as_ref().map(|pairs| mean(pairs) * config.contrastive);
    let loss =
        contrastive.into_iter().chain(matching).reduce(|sum, loss| sum + loss).expect("a loss has a weight");
    Cost { loss, pairs }
}

/// The contrastive loss of each pair, `[B]`.
fn contrast(config: &Loss, clip: &Clip, image: &Tensor, text: &Tensor, rows: &Rows) -> Tensor {
    let (image, text, scale) = (normalise(image), normalise(text), clip.scale());
    let smoothing = config.label_smoothing;
    match config.kind {
        LossKind::Infonce => infonce(&image, &text, &scale, smoothing),
        LossKind::MultiPositive => {
            multi_positive(&image, &text, &scale, &rows.positives(image.device()), smoothing)
        }
        LossKind::Siglip => {
            let bias = clip.logit_bias().expect("a model with a sigmoid loss has a bias");
            siglip(&image, &text, &scale, bias)
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, nn};

    use super::rows::batch;
    use super::*;
    use crate::train::model::{BertConfig, Logits, ModelConfig, Pooling, ResnetConfig};

    const KINDS: [LossKind; 3] = [LossKind::Infonce, LossKind::MultiPositive, LossKind::Siglip];

    fn config(kind: LossKind, contrastive: f64, matching: f64) -> Loss {
        Loss { kind, contrastive, matching, ..Loss::default() }
    }

    /// A model with everything that a loss may ask for.
    fn clip() -> (nn::VarStore, Clip) {
        let mut vs = nn::VarStore::new(Device::Cpu);
        vs.set_kind(Kind::Double);
        tch::manual_seed(3);
        let text = "vocab_size = 9\nhidden_size = 4\nnum_hidden_layers = 1\nnum_attention_heads = 1";
        let clip = Clip::new(
            &vs,
            &ModelConfig {
                image: ResnetConfig { layers: [1; 4], width: 1 },
                text: BertConfig::from_table(text.parse().unwrap()).unwrap(),
                embed_dim: 3,
                pooling: Pooling::Mean,
                logits: Logits::Sigmoid,
                matching: true,
            },
        );
        (vs, clip)
    }

    /// Random projections `[rows, 3]` that want gradients, the same every time.
    fn projections(rows: i64, seed: i64) -> Tensor {
        tch::manual_seed(seed);
        Tensor::randn([rows, 3], (Kind::Double, Device::Cpu)).set_requires_grad(true)
    }

    fn cost(config: &Loss, clip: &Clip, image: &Tensor, text: &Tensor, rows: &Rows) -> Tensor {
        weighted(config, clip, &rows.of_images(image), &rows.of_texts(text), rows).loss
    }

    #[test]
    fn a_bad_row_costs_nothing_and_the_others_what_they_cost_alone() {
        let (_vs, clip) = clip();
        let (all, good) = (batch(&[1, 2, 3, 4, 5, 3], 1, &[1, 4]), batch(&[1, 3, 4, 3], 1, &[]));
        let places = Tensor::from_slice(&[0i64, 2, 3, 5]);
        for kind in KINDS {
            let config = config(kind, 1.0, 0.5);
            let (image, text) = (projections(6, 1), projections(6, 2));
            let alone =
                [&image, &text].map(|all| all.detach().index_select(0, &places).set_requires_grad(true));
            let masked = cost(&config, &clip, &image, &text, &Rows::of(&all));
            let expected = cost(&config, &clip, &alone[0], &alone[1], &Rows::of(&good));
            assert!(masked.equal(&expected), "{kind:?}");
            masked.backward();
            expected.backward();
            assert!(text.grad().index_select(0, &places).allclose(&alone[1].grad(), 0.0, 1e-15, false));
            assert_eq!(text.grad().get(1).abs().sum(Kind::Double).double_value(&[]), 0.0);
        }
    }

    #[test]
    fn a_batch_without_a_good_row_costs_nothing_and_moves_nothing() {
        let (_vs, clip) = clip();
        for kind in KINDS {
            let (image, text) = (projections(2, 5), projections(2, 6));
            let rows = Rows::of(&batch(&[1, 2], 1, &[0, 1]));
            let cost = cost(&config(kind, 1.0, 1.0), &clip, &image, &text, &rows);
            cost.backward();
            assert_eq!(cost.double_value(&[]), 0.0, "{kind:?}");
            assert_eq!(image.grad().abs().sum(Kind::Double).double_value(&[]), 0.0, "{kind:?}");
        }
    }

    #[test]
    fn losses_are_summed_by_their_weights_and_one_of_weight_0_is_left_out() {
        let (vs, clip) = clip();
        let (image, text) = (projections(4, 7), projections(4, 8));
        let rows = Rows::of(&batch(&[1, 2, 3, 4], 1, &[]));
        let cost = |contrastive, matching| {
            cost(&config(LossKind::Siglip, contrastive, matching), &clip, &image, &text, &rows)
        };
        let value = |contrastive, matching| cost(contrastive, matching).double_value(&[]);
        let expected = 2.0 * value(1.0, 0.0) + 0.25 * value(0.0, 1.0);
        assert!((value(2.0, 0.25) - expected).abs() < 1e-12);
        cost(0.0, 1.0).backward();
        assert!(vs.variables()["matching.2.weight"].grad().defined());
        assert!(!vs.variables()["logit_bias"].grad().defined());
    }
}
