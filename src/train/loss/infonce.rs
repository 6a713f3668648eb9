//! A softmax over the batch in both directions.

use tch::{Kind, Reduction, Tensor};

/// InfoNCE, what each pair costs: `[batch]`, half the sum of the cross entropies of row i and of column i of
/// `scale` · I·Tᵀ, the right one being i. `image` and `text` are `[batch, embed_dim]`, `scale` is 0-dimensional.
///
/// `label_smoothing` ε gives every column ε/batch of the target, the right one 1 − ε more.
/// <https://arxiv.org/abs/2103.00020>
pub fn infonce(image: &Tensor, text: &Tensor, scale: &Tensor, label_smoothing: f64) -> Tensor {
    let logits = scale * image.matmul(&text.transpose(0, 1)); // [batch, batch]
    if logits.numel() == 0 {
        return logits.sum_dim_intlist([1].as_slice(), false, logits.kind());
    }
    let right = Tensor::arange(logits.size()[0], (Kind::Int64, logits.device()));
    let cross_entropy = |logits: &Tensor| {
        logits.cross_entropy_loss(&right, None::<&Tensor>, Reduction::None, -100, label_smoothing)
    };
    (cross_entropy(&logits) + cross_entropy(&logits.transpose(0, 1))) / 2.0
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::super::mean;
    use super::*;

    fn loss(embeddings: &[f64], scale: f64, smoothing: f64) -> f64 {
        let side = (embeddings.len() as f64).sqrt() as i64;
        let embeddings = Tensor::from_slice(embeddings).view([side, side]);
        mean(&infonce(&embeddings, &embeddings, &Tensor::from(scale), smoothing)).double_value(&[])
    }

    #[test]
    fn pairs_that_cannot_be_told_apart_cost_the_logarithm_of_the_batch() {
        let same = Tensor::ones([4, 1], (Kind::Double, Device::Cpu));
        let cost = mean(&infonce(&same, &same, &Tensor::from(10.0), 0.0)).double_value(&[]);
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

    #[test]
    fn an_empty_batch_costs_nothing() {
        let empty = Tensor::zeros([0, 3], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let cost = mean(&infonce(&empty, &empty, &Tensor::from(7.0), 0.0));
        cost.backward();
        assert_eq!(cost.double_value(&[]), 0.0);
    }
}
