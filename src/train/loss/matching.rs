//! The loss of the matching head: true pairs against the batch's hardest wrong ones.

use tch::{Kind, Reduction, Tensor};

use super::Rows;
use crate::train::model::clip::normalise;
use crate::train::model::matching::Matching;

/// The mean binary cross entropy of `head` over the true pairs (each text with its image), each image with its hardest
/// wrong text and each text with its hardest wrong image: with one caption an image, 3B pairs. The hardest is the nearest
/// by cosine that is no positive; where all rows show one source there is none, and the true pairs are all. `image` is
/// `[B, embed_dim]`, `text` `[B·m, embed_dim]`, not normalised.
///
/// An empty batch costs 0 and has gradients of 0.
pub fn matching(head: &Matching, image: &Tensor, text: &Tensor, rows: &Rows) -> Tensor {
    let texts = text.size()[0];
    if texts == 0 {
        return image.sum(image.kind()) + text.sum(text.kind());
    }
    let own = Tensor::arange(texts, (Kind::Int64, text.device()))
        .divide_scalar_mode(rows.captions_per_image(), "floor");
    let mut images = vec![image.index_select(0, &own)];
    let mut others = vec![text.shallow_clone()];
    if rows.have_negatives() {
        let similarity = without_positives(image, text, rows); // [B, B·m]
        images.extend([image.shallow_clone(), image.index_select(0, &similarity.argmax(0, false))]);
        others.extend([text.index_select(0, &similarity.argmax(1, false)), text.shallow_clone()]);
    }
    let logits = head.forward(&Tensor::cat(&images, 0), &Tensor::cat(&others, 0)); // [pairs]
    let right = Tensor::arange(logits.size()[0], (Kind::Int64, logits.device())).lt(texts);
    let (weight, shift) = (None::<&Tensor>, None::<&Tensor>);
    logits.binary_cross_entropy_with_logits(&right.to_kind(logits.kind()), weight, shift, Reduction::Mean)
}

/// Cosines `[B, B·m]`, and −∞ where a text belongs to the image.
fn without_positives(image: &Tensor, text: &Tensor, rows: &Rows) -> Tensor {
    let _guard = tch::no_grad_guard();
    let similarity = normalise(image).matmul(&normalise(text).transpose(0, 1));
    similarity.masked_fill(&rows.positives(image.device()), f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use tch::{Device, nn};

    use super::*;

    /// A head that says x·(u·v) for embeddings of length 1: its hidden layer takes u⊙v alone.
    fn head(x: f64) -> (nn::VarStore, Matching) {
        let mut vs = nn::VarStore::new(Device::Cpu);
        vs.set_kind(Kind::Double);
        let head = Matching::new(&(vs.root() / "matching"), 1);
        tch::no_grad(|| {
            let variables = vs.variables();
            variables["matching.0.weight"]
                .shallow_clone()
                .copy_(&Tensor::from_slice(&[0.0, 0.0, 1.0, 0.0]).view([1, 4]));
            let _ = variables["matching.2.weight"].shallow_clone().fill_(x);
        });
        (vs, head)
    }

    fn column(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([-1, 1])
    }

    /// GELU, by the normal distribution's function.
    fn gelu(x: f64) -> f64 {
        Tensor::from(x).gelu("none").double_value(&[])
    }

    /// Mean cost of pairs with these products, true ones first.
    fn by_hand(right: &[f64], wrong: &[f64], x: f64) -> f64 {
        let cost = |sign: f64, product: f64| (1.0 + (-sign * x * gelu(product)).exp()).ln();
        let right_cost: f64 = right.iter().map(|&product| cost(1.0, product)).sum();
        let wrong_cost: f64 = wrong.iter().map(|&product| cost(-1.0, product)).sum();
        (right_cost + wrong_cost) / (right.len() + wrong.len()) as f64
    }

    #[track_caller]
    fn check(image: &[f64], text: &[f64], rows: &Rows, right: &[f64], wrong: &[f64]) {
        let (_vs, head) = head(1.5);
        let loss = matching(&head, &column(image), &column(text), rows).double_value(&[]);
        let expected = by_hand(right, wrong, 1.5);
        assert!((loss - expected).abs() < 1e-12, "{loss}, not {expected}");
    }

    #[test]
    fn true_pairs_stand_against_the_hardest_wrong_ones() {
        // In one dimension a cosine is a product of signs: the hardest is the first of the same sign.
        let rows = Rows::new([[1; 32], [2; 32], [3; 32]], 1);
        let (image, text) = ([2.0, -3.0, 5.0], [0.5, -0.25, 0.125]);
        let right = [2.0 * 0.5, 3.0 * 0.25, 5.0 * 0.125];
        let images_hardest = [2.0 * 0.125, -3.0 * 0.5, 5.0 * 0.5];
        let texts_hardest = [5.0 * 0.5, 2.0 * -0.25, 2.0 * 0.125];
        check(&image, &text, &rows, &right, &[images_hardest, texts_hardest].concat());
    }

    #[test]
    fn a_text_of_the_same_source_is_no_wrong_one() {
        let rows = Rows::new([[1; 32], [1; 32], [3; 32]], 1);
        let (image, text) = ([2.0, 3.0, -5.0], [0.5, 0.25, -0.125]);
        let right = [2.0 * 0.5, 3.0 * 0.25, 5.0 * 0.125];
        let images_hardest = [2.0 * -0.125, 3.0 * -0.125, -5.0 * 0.5];
        let texts_hardest = [-5.0 * 0.5, -5.0 * 0.25, 2.0 * -0.125];
        check(&image, &text, &rows, &right, &[images_hardest, texts_hardest].concat());
    }

    #[test]
    fn every_caption_of_an_image_is_a_true_pair() {
        let rows = Rows::new([[1; 32], [2; 32]], 2);
        let (image, text) = ([2.0, -3.0], [0.5, -0.25, 0.125, -0.75]);
        let right = [2.0 * 0.5, 2.0 * -0.25, -3.0 * 0.125, 3.0 * 0.75];
        let images_hardest = [2.0 * 0.125, 3.0 * 0.25];
        let texts_hardest = [-3.0 * 0.5, 3.0 * 0.25, 2.0 * 0.125, 2.0 * -0.75];
        check(&image, &text, &rows, &right, &[&images_hardest[..], &texts_hardest].concat());
    }

    #[test]
    fn where_all_rows_show_one_source_the_true_pairs_are_all() {
        check(&[2.0, 3.0], &[0.5, 0.25], &Rows::new([[1; 32], [1; 32]], 1), &[1.0, 0.75], &[]);
    }

    #[test]
    fn an_empty_batch_costs_nothing_and_moves_nothing() {
        let (vs, head) = head(1.0);
        let empty = Tensor::zeros([0, 1], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let loss = matching(&head, &empty, &empty, &Rows::new([], 1));
        loss.backward();
        assert_eq!(loss.double_value(&[]), 0.0);
        assert!(vs.variables().values().all(|variable| !variable.grad().defined()));
    }
}
