//! What training minimises, of normalised embeddings.

use tch::{Kind, Reduction, Tensor};

/// InfoNCE: half the sum of the mean cross entropies over rows and over columns of `scale` · I·Tᵀ, row i's right column
/// being i. `image` and `text` are `[batch, embed_dim]`, `scale` is 0-dimensional.
///
/// `label_smoothing` ε gives every column ε/batch of the target, the right one 1 − ε more. An empty batch costs 0 and
/// has gradients of 0.
/// <https://arxiv.org/abs/2103.00020>
pub fn infonce(image: &Tensor, text: &Tensor, scale: &Tensor, label_smoothing: f64) -> Tensor {
    let logits = scale * image.matmul(&text.transpose(0, 1)); // [batch, batch]
    if logits.numel() == 0 {
        return logits.sum(logits.kind());
    }
    let right = Tensor::arange(logits.size()[0], (Kind::Int64, logits.device()));
    let cross_entropy = |logits: &Tensor| {
        logits.cross_entropy_loss(&right, None::<&Tensor>, Reduction::Mean, -100, label_smoothing)
    };
    (cross_entropy(&logits) + cross_entropy(&logits.transpose(0, 1))) / 2.0
}

/// Embeddings `[batch, embed_dim]` without the rows `bad`: what is left out here is no column of the logits, counts in
/// no mean and gets no gradient. Nothing is copied where no row is bad.
pub fn without(embeddings: &Tensor, bad: &[usize]) -> Tensor {
    if bad.is_empty() {
        return embeddings.shallow_clone();
    }
    let good: Vec<i64> = (0..embeddings.size()[0]).filter(|&row| !bad.contains(&(row as usize))).collect();
    embeddings.index_select(0, &Tensor::from_slice(&good).to_device(embeddings.device()))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn loss(embeddings: &[f64], scale: f64, smoothing: f64) -> f64 {
        let side = (embeddings.len() as f64).sqrt() as i64;
        let embeddings = Tensor::from_slice(embeddings).view([side, side]);
        infonce(&embeddings, &embeddings, &Tensor::from(scale), smoothing).double_value(&[])
    }

    #[test]
    fn pairs_that_cannot_be_told_apart_cost_the_logarithm_of_the_batch() {
        let same = Tensor::ones([4, 1], (Kind::Double, Device::Cpu));
        let cost = infonce(&same, &same, &Tensor::from(10.0), 0.0).double_value(&[]);
        assert!((cost - 4f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn orthogonal_pairs_cost_what_the_softmax_says() {
        let expected = -(2f64.exp() / (2f64.exp() + 1.0)).ln();
        assert!((loss(&[1.0, 0.0, 0.0, 1.0], 2.0, 0.0) - expected).abs() < 1e-12);
    }

    #[test]
    fn smoothing_shares_the_target_with_every_column() {
        let (right, wrong) = (-(2f64.exp() / (2f64.exp() + 1.0)).ln(), -(1.0 / (2f64.exp() + 1.0)).ln());
        assert!((loss(&[1.0, 0.0, 0.0, 1.0], 2.0, 0.2) - (0.9 * right + 0.1 * wrong)).abs() < 1e-12);
    }

    /// Random embeddings `[rows, 3]` that want gradients, the same every time.
    fn embeddings(rows: i64, seed: i64) -> Tensor {
        tch::manual_seed(seed);
        Tensor::randn([rows, 3], (Kind::Double, Device::Cpu)).set_requires_grad(true)
    }

    #[test]
    fn a_row_left_out_costs_nothing_and_the_others_what_they_cost_alone() {
        let (image, text, scale) = (embeddings(6, 1), embeddings(6, 2), Tensor::from(7.0));
        let good = Tensor::from_slice(&[0i64, 2, 3, 5]);
        for smoothing in [0.0, 0.1] {
            let (bad, whole) = ([4, 1], |tensor: &Tensor| tensor.detach().index_select(0, &good));
            let (alone_image, alone_text) = (whole(&image), whole(&text).set_requires_grad(true));
            let alone = infonce(&alone_image, &alone_text, &scale, smoothing);
            let masked = infonce(&without(&image, &bad), &without(&text, &bad), &scale, smoothing);
            assert!(masked.equal(&alone));
            let mut gradients = text.grad();
            if gradients.defined() {
                let _ = gradients.zero_();
            }
            masked.backward();
            alone.backward();
            assert!(text.grad().index_select(0, &good).allclose(&alone_text.grad(), 0.0, 1e-15, false));
            assert_eq!(text.grad().get(1).abs().sum(Kind::Double).double_value(&[]), 0.0);
        }
    }

    #[test]
    fn with_all_rows_good_nothing_changes() {
        let (image, text, scale) = (embeddings(5, 3), embeddings(5, 4), Tensor::from(7.0));
        let masked = infonce(&without(&image, &[]), &without(&text, &[]), &scale, 0.1);
        assert!(masked.equal(&infonce(&image, &text, &scale, 0.1)));
    }

    #[test]
    fn a_batch_without_a_good_row_costs_nothing_and_moves_nothing() {
        let (image, text, scale) = (embeddings(2, 5), embeddings(2, 6), Tensor::from(7.0));
        let cost = infonce(&without(&image, &[0, 1]), &without(&text, &[0, 1]), &scale, 0.0);
        cost.backward();
        assert_eq!(cost.double_value(&[]), 0.0);
        assert_eq!(image.grad().abs().sum(Kind::Double).double_value(&[]), 0.0);
    }
}
