//! Ranks of all captions among the images and of all images among the captions, tile by tile: what
//! is in memory beside the embeddings does not grow with their number.
//!
//! A tile's scores are a matrix product, whose last bits depend on where a row stands in it. Where
//! that could matter, next to the right answer's score, [`cosine`] decides, whose bits depend on the
//! two rows alone. So the ranks are exactly those of `cosine`, and equal rows tie.

use std::cmp::Ordering;
use std::ops::Range;

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::{Embedded, cosine};

/// Captions and images of a tile: 32 MB of scores.
const TILE: usize = 2048;

/// Rank of each caption's image among all images, and of the best own caption of each image that
/// has one among the captions of all others, both from 1. Ties and scores that are no number count
/// against us.
pub fn ranks(all: &Embedded) -> (Vec<usize>, Vec<usize>) {
    let right: Vec<f64> = (0..all.owners.len())
        .into_par_iter()
        .map(|caption| cosine(all.caption(caption), all.image(all.owners[caption])))
        .collect();
    let mut best: Vec<Option<f64>> = vec![None; all.len()];
    for (&owner, &score) in all.owners.iter().zip(&right) {
        best[owner] =
            Some(best[owner].map_or(score, |best| if best.total_cmp(&score).is_lt() { score } else { best }));
    }
    let counts = count(all, &right, &best);
    let has_caption = |(rank, best): (usize, &Option<f64>)| best.map(|_| 1 + rank);
    (counts.0, counts.1.into_iter().zip(&best).filter_map(has_caption).collect())
}

/// For each caption the images that score at least `right`, its own among them; for each image the
/// captions of others that score at least `best`.
fn count(all: &Embedded, right: &[f64], best: &[Option<f64>]) -> (Vec<usize>, Vec<usize>) {
    let margin = margin(all);
    let best: Vec<f64> = best.iter().map(|best| best.unwrap_or(f64::INFINITY)).collect();
    let (mut of_captions, mut of_images) = (vec![0; right.len()], vec![0; best.len()]);
    for first_image in (0..best.len()).step_by(TILE) {
        let images = first_image..best.len().min(first_image + TILE);
        let columns = matrix(&all.images, images.clone(), all.dim).tr(); // [D, images]
        for first_caption in (0..right.len()).step_by(TILE) {
            let captions = first_caption..right.len().min(first_caption + TILE);
            let scores = floats(&matrix(&all.captions, captions.clone(), all.dim).matmul(&columns));
            let exact = |caption: usize, image: usize| cosine(all.caption(caption), all.image(image));
            let places = || captions.clone().zip(scores.chunks(images.len()));
            let count_images = || {
                for (caption, scores) in places() {
                    let bar = Bar { score: right[caption], margin };
                    let reached =
                        |(image, score): (usize, &f64)| bar.is_reached(*score, || exact(caption, image));
                    let reached = images.clone().zip(scores).filter(|&place| reached(place));
                    of_captions[caption] += reached.count();
                }
            };
            let count_captions = || {
                for (caption, scores) in places() {
                    for (image, score) in images.clone().zip(scores) {
                        let bar = Bar { score: best[image], margin };
                        if bar.is_reached(*score, || exact(caption, image)) && all.owners[caption] != image {
                            of_images[image] += 1;
                        }
                    }
                }
            };
            rayon::join(count_images, count_captions);
        }
    }
    (of_captions, of_images)
}

/// A score that others are held against.
struct Bar {
    score: f64,
    margin: f64,
}

impl Bar {
    /// Whether a score that is known to the margin is not below; `exact` gives it to the last bit.
    fn is_reached(&self, score: f64, exact: impl Fn() -> f64) -> bool {
        if score < self.score - self.margin {
            return false;
        }
        // Not "at least", so that a NaN counts.
        score > self.score + self.margin || exact().partial_cmp(&self.score) != Some(Ordering::Less)
    }
}

/// How far two ways to sum up a dot product of n terms can part: n·ε·|a||b| (products of two float32 are
/// exact in float64), and as much again.
fn margin(all: &Embedded) -> f64 {
    let longest = |rows: &[f32]| {
        let squares = rows.par_chunks(all.dim.max(1)).map(|row| cosine(row, row));
        squares.reduce(|| 0.0, f64::max).sqrt()
    };
    2.0 * all.dim as f64 * f64::EPSILON * longest(&all.images) * longest(&all.captions)
}

/// `[rows, dim]` of float64.
fn matrix(rows: &[f32], range: Range<usize>, dim: usize) -> Tensor {
    Tensor::from_slice(&rows[range.start * dim..range.end * dim]).view([-1, dim as i64]).to_kind(Kind::Double)
}

fn floats(scores: &Tensor) -> Vec<f64> {
    let mut values = vec![0.0; scores.numel()];
    scores.copy_data(&mut values, scores.numel());
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Draws;

    /// `count` rows drawn from `kinds` different ones, so that many are equal.
    fn repeated(draws: &mut Draws, count: usize, kinds: usize, dim: usize) -> Vec<f32> {
        let rows: Vec<f32> = (0..kinds * dim).map(|_| draws.between(-1.0, 1.0) as f32).collect();
        (0..count).flat_map(|_| &rows[draws.below(kinds as u64) as usize * dim..][..dim]).copied().collect()
    }

    #[test]
    fn equal_rows_tie_wherever_they_stand_in_a_tile() {
        let (dim, images, per_image) = (67, TILE + 131, 2);
        let mut draws = Draws::new(3);
        let all = Embedded {
            dim,
            images: repeated(&mut draws, images, 90, dim),
            captions: repeated(&mut draws, images * per_image, 70, dim),
            owners: (0..images * per_image).map(|caption| caption / per_image).collect(),
            bad_samples: 0,
        };
        let (text, image) = ranks(&all);
        let score = |caption: usize, image: usize| cosine(all.caption(caption), all.image(image));
        for caption in (0..text.len()).step_by(97) {
            let right = score(caption, all.owners[caption]);
            let expected = (0..images).filter(|&image| score(caption, image) >= right).count();
            assert_eq!(text[caption], expected, "caption {caption}");
        }
        for image_at in (0..images).step_by(53) {
            let own = per_image * image_at..per_image * (image_at + 1);
            let best = own.clone().map(|caption| score(caption, image_at)).fold(f64::MIN, f64::max);
            let others = (0..text.len()).filter(|caption| !own.contains(caption));
            let expected = 1 + others.filter(|&caption| score(caption, image_at) >= best).count();
            assert_eq!(image[image_at], expected, "image {image_at}");
        }
    }

    #[test]
    fn a_model_that_gives_no_numbers_finds_nothing() {
        let rows = vec![f32::NAN; 3 * 4];
        let all =
            Embedded { dim: 4, images: rows.clone(), captions: rows, owners: vec![0, 1, 2], bad_samples: 0 };
        assert_eq!(ranks(&all), (vec![3; 3], vec![3; 3]));
    }

    #[test]
    fn an_image_without_a_caption_has_no_rank_but_stands_in_the_way() {
        let all = Embedded {
            dim: 1,
            images: vec![1.0, 2.0, 1.0],
            captions: vec![1.0, 1.0],
            owners: vec![0, 2],
            bad_samples: 0,
        };
        assert_eq!(ranks(&all), (vec![3, 3], vec![2, 2]));
    }
}
