//! A yes or no for every pair of the batch.

use tch::{Kind, Tensor};

/// −log σ(z · (`scale` · I·Tᵀ + `bias`)), z = 1 for a row's own text and −1 for any other, summed over the B×B pairs and
/// divided by B. `image` and `text` are `[B, embed_dim]`, normalised, `scale` and `bias` 0-dimensional.
///
/// An empty batch costs 0 and has gradients of 0.
/// <https://arxiv.org/abs/2303.15343>
pub fn siglip(image: &Tensor, text: &Tensor, scale: &Tensor, bias: &Tensor) -> Tensor {
    let logits = scale * image.matmul(&text.transpose(0, 1)) + bias; // [B, B]
    let rows = logits.size()[0];
    if rows == 0 {
        return logits.sum(logits.kind());
    }
    let sign = Tensor::eye(rows, (logits.kind(), logits.device())) * 2.0 - 1.0;
    -(sign * logits).log_sigmoid().sum(None::<Kind>) / rows as f64
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn every_pair_costs_what_the_sigmoid_says() {
        let embeddings = Tensor::from_slice(&[1.0, 0.0, 0.0, 1.0]).view([2, 2]);
        let loss = siglip(&embeddings, &embeddings, &Tensor::from(10.0), &Tensor::from(-4.0));
        let cost = |x: f64| (1.0 + (-x).exp()).ln();
        // Two right pairs with a logit of 10 − 4, two wrong ones with −4, of which the opposite is wanted.
        let expected = (2.0 * cost(6.0) + 2.0 * cost(4.0)) / 2.0;
        assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let empty = Tensor::zeros([0, 3], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let loss = siglip(&empty, &empty, &Tensor::from(10.0), &Tensor::from(-10.0));
        loss.backward();
        assert_eq!(loss.double_value(&[]), 0.0);
    }
}
