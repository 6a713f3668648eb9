//! A yes or no for every pair of the batch.

use tch::Tensor;

/// What each pair costs, `[B]`: half the sums of its row and of its column of −log σ(z · (`scale` · I·Tᵀ + `bias`)),
/// z = 1 for a row's own text and −1 for any other, so that the mean is the sum over the B×B pairs divided by B. `image`
/// and `text` are `[B, embed_dim]`, normalised, `scale` and `bias` 0-dimensional.
///
/// <https://arxiv.org/abs/2303.15343>
pub fn siglip(image: &Tensor, text: &Tensor, scale: &Tensor, bias: &Tensor) -> Tensor {
    let logits = scale * image.matmul(&text.transpose(0, 1)) + bias; // [B, B]
    let rows = logits.size()[0];
    let sign = Tensor::eye(rows, (logits.kind(), logits.device())) * 2.0 - 1.0;
    let costs = -(sign * logits).log_sigmoid();
    let sums = |dim: i64| costs.sum_dim_intlist([dim].as_slice(), false, costs.kind());
    (sums(0) + sums(1)) / 2.0
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::mean;
    use super::*;

    #[test]
    fn every_pair_costs_what_the_sigmoid_says() {
        let embeddings = Tensor::from_slice(&[1.0, 0.0, 0.0, 1.0]).view([2, 2]);
        let loss = siglip(&embeddings, &embeddings, &Tensor::from(10.0), &Tensor::from(-4.0));
        let cost = |x: f64| (1.0 + (-x).exp()).ln();
        // Two right pairs with a logit of 10 − 4, two wrong ones with −4, of which the opposite is wanted.
        let expected = (2.0 * cost(6.0) + 2.0 * cost(4.0)) / 2.0;
        assert!((mean(&loss).double_value(&[]) - expected).abs() < 1e-12);
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let empty = Tensor::zeros([0, 3], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let loss = mean(&siglip(&empty, &empty, &Tensor::from(10.0), &Tensor::from(-10.0)));
        loss.backward();
        assert_eq!(loss.double_value(&[]), 0.0);
    }
}
