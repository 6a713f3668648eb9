//! InfoNCE with several right answers.

use tch::{Reduction, Tensor};

/// What each image and its m texts cost: `[B]`, half the sum of the cross entropy of its row of `scale` · I·Tᵀ and of the
/// mean of its columns', where the positives of a row, or of a column, share its target evenly. `image` is
/// `[B, embed_dim]`, `text` `[B·m, embed_dim]`, both normalised, `scale` 0-dimensional, `positives` `[B, B·m]` of bool.
///
/// `label_smoothing` ε gives every column ε/columns of the target, its positives 1 − ε more together.
/// <https://arxiv.org/abs/2004.11362>, `L_out`
pub fn multi_positive(
    image: &Tensor,
    text: &Tensor,
    scale: &Tensor,
    positives: &Tensor,
    label_smoothing: f64,
) -> Tensor {
    let logits = scale * image.matmul(&text.transpose(0, 1)); // [B, B·m]
    if logits.numel() == 0 {
        return logits.sum_dim_intlist([1].as_slice(), false, logits.kind());
    }
    let positives = positives.to_kind(logits.kind());
    let cross_entropy = |logits: &Tensor, positives: &Tensor| {
        let kind = positives.kind();
        let target = positives / positives.sum_dim_intlist([1].as_slice(), true, kind);
        logits.cross_entropy_loss(&target, None::<&Tensor>, Reduction::None, -100, label_smoothing)
    };
    let image_to_text = cross_entropy(&logits, &positives); // [B]
    let text_to_image = cross_entropy(&logits.transpose(0, 1), &positives.transpose(0, 1)); // [B·m]
    let of_image = text_to_image.view([image_to_text.size()[0], -1]).mean_dim([1].as_slice(), false, None);
    (image_to_text + of_image) / 2.0
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::train::loss::{Rows, infonce, mean};

    fn embeddings(rows: i64, seed: i64) -> Tensor {
        tch::manual_seed(seed);
        Tensor::randn([rows, 3], (Kind::Double, Device::Cpu))
    }

    /// The definition, the long way round.
    fn by_hand(logits: &[Vec<f64>], positives: &[Vec<bool>], smoothing: f64) -> f64 {
        let row = |(logits, positives): (&Vec<f64>, &Vec<bool>)| -> f64 {
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            let right = positives.iter().filter(|&&right| right).count() as f64;
            let target = |right_one: bool| {
                smoothing / logits.len() as f64 + if right_one { (1.0 - smoothing) / right } else { 0.0 }
            };
            logits.iter().zip(positives).map(|(logit, &p)| -target(p) * (logit.exp() / sum).ln()).sum()
        };
        logits.iter().zip(positives).map(row).sum::<f64>() / logits.len() as f64
    }

    fn transposed<T: Copy>(rows: &[Vec<T>]) -> Vec<Vec<T>> {
        (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
    }

    #[test]
    fn every_positive_has_an_equal_share_in_both_directions() {
        let (image, text, scale) = (embeddings(3, 1), embeddings(6, 2), Tensor::from(2.5));
        let positives = Rows::new([[7; 32], [8; 32], [7; 32]], 2).positives(Device::Cpu);
        let logits: Vec<Vec<f64>> = (&scale * image.matmul(&text.transpose(0, 1))).try_into().unwrap();
        let right: Vec<Vec<bool>> = (0..3)
            .map(|row| (0..6).map(|column| positives.int64_value(&[row, column]) == 1).collect())
            .collect();
        for smoothing in [0.0, 0.1] {
            let columns = by_hand(&transposed(&logits), &transposed(&right), smoothing);
            let expected = (by_hand(&logits, &right, smoothing) + columns) / 2.0;
            let loss = multi_positive(&image, &text, &scale, &positives, smoothing);
            let loss = mean(&loss).double_value(&[]);
            assert!((loss - expected).abs() < 1e-12, "{loss}, not {expected}");
        }
    }

    #[test]
    fn with_one_caption_and_no_shared_source_it_is_infonce() {
        let (image, text, scale) = (embeddings(5, 3), embeddings(5, 4), Tensor::from(7.0));
        let positives = Rows::new((0..5).map(|row| [row; 32]), 1).positives(Device::Cpu);
        for smoothing in [0.0, 0.1] {
            let one = infonce(&image, &text, &scale, smoothing);
            let many = multi_positive(&image, &text, &scale, &positives, smoothing);
            assert!((one - many).abs().max().double_value(&[]) < 1e-14);
        }
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        let (image, text) = (embeddings(0, 1).set_requires_grad(true), embeddings(0, 2));
        let positives = Rows::new([], 2).positives(Device::Cpu);
        let loss = mean(&multi_positive(&image, &text, &Tensor::from(1.0), &positives, 0.1));
        loss.backward();
        assert_eq!(loss.double_value(&[]), 0.0);
    }
}
