//! Retrieval: how far down the list the right one stands.

mod ranks;

use serde::{Deserialize, Serialize};

/// Embeddings of one split: images in file order, each with its captions.
#[derive(Clone, Debug, Default)]
pub struct Embedded {
    /// Length of an embedding.
    pub dim: usize,
    /// `[images, dim]`, unit rows.
    pub images: Vec<f32>,
    /// `[captions, dim]`, unit rows, by image.
    pub captions: Vec<f32>,
    /// The image of each caption; never falls.
    pub owners: Vec<usize>,
    /// Rows of the split that are not among them, because their picture is damaged.
    pub bad_samples: usize,
}

/// Recalls and ranks of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// Share of queries whose best right answer is the first.
    #[serde(rename = "recall@1")]
    pub recall_1: f64,
    /// … among the first five.
    #[serde(rename = "recall@5")]
    pub recall_5: f64,
    /// … among the first ten.
    #[serde(rename = "recall@10")]
    pub recall_10: f64,
    /// Median of the best right answers' ranks, from 1.
    pub median_rank: f64,
}

/// Both directions over one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recalls {
    /// A caption looks for its image.
    pub text_to_image: Direction,
    /// An image looks for any of its captions.
    pub image_to_text: Direction,
    /// Images compared.
    pub images: usize,
    /// Captions compared.
    pub captions: usize,
    /// Images left out as damaged.
    #[serde(default)]
    pub bad_samples: usize,
}

impl Recalls {
    /// Recall@1, 5 and 10 of both directions together, 0 to 6: what one checkpoint is better by than another.
    pub fn sum(&self) -> f64 {
        [self.text_to_image, self.image_to_text]
            .iter()
            .map(|way| way.recall_1 + way.recall_5 + way.recall_10)
            .sum()
    }
}

impl Embedded {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len() / self.dim.max(1)
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// One image's embedding.
    pub fn image(&self, at: usize) -> &[f32] {
        &self.images[at * self.dim..][..self.dim]
    }

    /// One caption's embedding.
    pub fn caption(&self, at: usize) -> &[f32] {
        &self.captions[at * self.dim..][..self.dim]
    }

    /// Images `begin..end` with their captions.
    pub fn slice(&self, begin: usize, end: usize) -> Self {
        let first = self.owners.partition_point(|&owner| owner < begin);
        let last = self.owners.partition_point(|&owner| owner < end);
        Self {
            dim: self.dim,
            images: self.images[begin * self.dim..end * self.dim].to_vec(),
            captions: self.captions[first * self.dim..last * self.dim].to_vec(),
            owners: self.owners[first..last].iter().map(|owner| owner - begin).collect(),
            bad_samples: 0,
        }
    }

    /// Appends other images with their captions.
    pub fn append(&mut self, more: &Self) {
        let first = self.len();
        self.dim = more.dim;
        self.images.extend_from_slice(&more.images);
        self.captions.extend_from_slice(&more.captions);
        self.owners.extend(more.owners.iter().map(|owner| first + owner));
        self.bad_samples += more.bad_samples;
    }

    /// For each caption, how many images score at least as high as its own, which is one of them:
    /// its rank, from 1.
    pub fn text_ranks(&self) -> Vec<usize> {
        ranks::ranks(self).0
    }

    /// Recalls over all images, or the mean over `folds` consecutive equal parts of them (a
    /// remainder is left out, as COCO's five thousands leave none).
    pub fn recalls(&self, folds: usize) -> Recalls {
        let size = self.len() / folds;
        let parts: Vec<Recalls> =
            (0..folds).map(|fold| whole(&self.slice(fold * size, (fold + 1) * size))).collect();
        let mean = |of: &dyn Fn(&Recalls) -> f64| parts.iter().map(of).sum::<f64>() / folds as f64;
        let direction = |of: fn(&Recalls) -> Direction| Direction {
            recall_1: mean(&|part| of(part).recall_1),
            recall_5: mean(&|part| of(part).recall_5),
            recall_10: mean(&|part| of(part).recall_10),
            median_rank: mean(&|part| of(part).median_rank),
        };
        Recalls {
            text_to_image: direction(|part| part.text_to_image),
            image_to_text: direction(|part| part.image_to_text),
            images: parts.iter().map(|part| part.images).sum(),
            captions: parts.iter().map(|part| part.captions).sum(),
            bad_samples: self.bad_samples,
        }
    }
}

fn whole(all: &Embedded) -> Recalls {
    let (text_ranks, image_ranks) = ranks::ranks(all);
    Recalls {
        text_to_image: direction(text_ranks),
        image_to_text: direction(image_ranks),
        images: all.len(),
        captions: all.owners.len(),
        bad_samples: 0,
    }
}

/// Dot product in double precision, summed in order: equal rows give equal scores, to the bit.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f64::from(*a) * f64::from(*b);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += f64::from(*a) * f64::from(*b);
    }
    sums.iter().sum()
}

fn direction(mut ranks: Vec<usize>) -> Direction {
    if ranks.is_empty() {
        return Direction::default();
    }
    ranks.sort_unstable();
    let within = |k: usize| ranks.partition_point(|&rank| rank <= k) as f64 / ranks.len() as f64;
    let middle = ranks.len() / 2;
    let median = match ranks.len() % 2 {
        0 => (ranks[middle - 1] + ranks[middle]) as f64 / 2.0,
        _ => ranks[middle] as f64,
    };
    Direction { recall_1: within(1), recall_5: within(5), recall_10: within(10), median_rank: median }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Draws;

    /// The definition, the long way round.
    fn reference(all: &Embedded) -> (Vec<usize>, Vec<usize>) {
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let text = (0..all.owners.len()).map(|caption| {
            let scores: Vec<f64> =
                (0..all.len()).map(|image| dot(all.caption(caption), all.image(image))).collect();
            scores.iter().filter(|&&score| score >= scores[all.owners[caption]]).count()
        });
        let image = (0..all.len()).map(|image| {
            let scores: Vec<f64> =
                (0..all.owners.len()).map(|c| dot(all.image(image), all.caption(c))).collect();
            let own = |c: &usize| all.owners[*c] == image;
            let best = (0..scores.len()).filter(own).map(|c| scores[c]).fold(f64::MIN, f64::max);
            1 + (0..scores.len()).filter(|c| !own(c) && scores[*c] >= best).count()
        });
        (text.collect(), image.collect())
    }

    fn random(images: usize, per_image: usize, dim: usize) -> Embedded {
        let mut draws = Draws::new(5);
        let mut rows =
            |count: usize| (0..count * dim).map(|_| draws.between(-1.0, 1.0) as f32).collect::<Vec<_>>();
        Embedded {
            dim,
            images: rows(images),
            captions: rows(images * per_image),
            owners: (0..images * per_image).map(|caption| caption / per_image).collect(),
            bad_samples: 0,
        }
    }

    #[test]
    fn ranks_are_those_of_the_definition() {
        let all = random(23, 3, 5);
        let (text, image) = reference(&all);
        let recalls = all.recalls(1);
        assert_eq!(recalls.text_to_image, direction(text));
        assert_eq!(recalls.image_to_text, direction(image));
    }

    #[test]
    fn a_tie_counts_against_us() {
        let all = Embedded {
            dim: 1,
            images: vec![1.0, 1.0, 1.0],
            captions: vec![1.0, 1.0, 1.0],
            owners: vec![0, 1, 2],
            bad_samples: 0,
        };
        let recalls = all.recalls(1);
        assert_eq!(recalls.text_to_image.median_rank, 3.0);
        assert_eq!(recalls.image_to_text.recall_1, 0.0);
    }

    #[test]
    fn folds_are_consecutive_parts_and_their_figures_are_averaged() {
        let all = random(20, 2, 4);
        let (a, b) = (all.slice(0, 10).recalls(1), all.slice(10, 20).recalls(1));
        let folded = all.recalls(2);
        let mean = (a.text_to_image.recall_1 + b.text_to_image.recall_1) / 2.0;
        assert_eq!((folded.text_to_image.recall_1, folded.images, folded.captions), (mean, 20, 40));
    }
}
