//! The report of a trained run: its log, the figures of one split, and sample searches in it.

use std::collections::{HashMap, HashSet};
use std::fs;

use anyhow::{Context, Result};

use super::page::grouped;
use super::pictures::{self, Shown};
use super::report::{self, Evaluation, Query, Report, Search};
use super::results::Hit;
use crate::shard::Dataset;
use crate::train::checkpoint::{self, Checkpoint, Weights};
use crate::train::embed::Split;
use crate::train::metrics::StepLine;
use crate::train::recall::{Direction, Recalls, cosine};
use crate::train::trained::Trained;

/// Captions that look for their image, and images that look for their captions.
const SAMPLES: (usize, usize) = (6, 4);
/// Answers shown of each.
const ANSWERS: usize = 5;

/// The page of a run with `recalls` of `split` as its newest evaluation.
///
/// # Errors
/// If the log or the pictures cannot be read.
pub fn page(
    trained: &Trained,
    dataset: &Dataset,
    name: &str,
    split: &Split,
    recalls: &Recalls,
) -> Result<String> {
    let run = &trained.run;
    let mut metrics = report::read_metrics(&run.join("metrics.jsonl"))?;
    let step = trained.checkpoint.state.step;
    metrics.evaluations.retain(|evaluation| (evaluation.split.as_str(), evaluation.step) != (name, step));
    metrics.evaluations.push(evaluation(step, name, trained.weights, recalls));
    let config = run.join("config.toml");
    let config_toml =
        fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let best = checkpoint::best(run);
    let title = run.file_name().map_or("run".into(), |name| name.to_string_lossy());
    Ok(report::html(&Report {
        title: format!("Training run: {title}"),
        facts: [facts(trained, &metrics.curves), best_fact(&best)].concat(),
        best: best.ok().flatten().map(|best| best.state.step),
        searches: searches(dataset, name, split)?,
        curves: metrics.curves,
        evaluations: metrics.evaluations,
        config_toml,
    }))
}

/// The best checkpoint, or what is wrong with it; nothing where the run has none.
fn best_fact(best: &Result<Option<Checkpoint>>) -> Vec<(String, String)> {
    let value = match best {
        Ok(None) => return Vec::new(),
        Ok(Some(best)) => {
            let sum = 100.0 * best.state.recall_sum.unwrap_or_default();
            format!("after step {}, recall sum {sum:.1} of 600", grouped(best.state.step))
        }
        Err(error) => format!("{error:#}"),
    };
    vec![("Best on val".to_owned(), value)]
}

fn evaluation(step: u64, split: &str, weights: Weights, recalls: &Recalls) -> Evaluation {
    let direction = |of: &Direction| report::Recalls {
        at_1: of.recall_1,
        at_5: of.recall_5,
        at_10: of.recall_10,
        median_rank: of.median_rank,
    };
    Evaluation {
        step,
        split: split.to_owned(),
        images: recalls.images as u64,
        captions: recalls.captions as u64,
        weights: Some(weights),
        text_to_image: direction(&recalls.text_to_image),
        image_to_text: direction(&recalls.image_to_text),
    }
}

fn facts(trained: &Trained, curves: &[StepLine]) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("Parameters", grouped(trained.parameters())),
        fact("Batch", format!("{} pairs", trained.config.data.batch)),
        fact("Weights shown", shown(trained)),
    ];
    let rates: Vec<f64> =
        curves.iter().map(|line| line.pairs_per_second).filter(|rate| rate.is_finite()).collect();
    if !rates.is_empty() {
        let mut sorted = rates.clone();
        sorted.sort_by(f64::total_cmp);
        facts.push(fact("Median rate", format!("{:.1} pairs/s", sorted[sorted.len() / 2])));
        let pairs = (trained.config.data.batch as u64 * trained.config.run.log_every) as f64;
        let seconds: f64 = rates.iter().map(|rate| pairs / rate).sum();
        let waited: f64 = curves.iter().map(|line| line.wait_seconds).filter(|wait| wait.is_finite()).sum();
        facts.push(fact("Time in steps", format!("{seconds:.0} s")));
        facts.push(fact("Waiting for data", format!("{:.1}% of it", 100.0 * waited / seconds.max(1e-9))));
    }
    facts
}

fn shown(trained: &Trained) -> String {
    let average = if trained.weights == Weights::Ema { "moving average " } else { "" };
    format!("{average}after step {}", grouped(trained.checkpoint.state.step))
}

fn searches(dataset: &Dataset, name: &str, split: &Split) -> Result<Vec<Search>> {
    let all = &split.embedded;
    let captions = spread(split.texts.len(), SAMPLES.0);
    let images = spread(split.keys.len(), SAMPLES.1);
    let nearest_images: Vec<Vec<(usize, f64)>> = captions
        .iter()
        .map(|&caption| best(split.keys.len(), |image| cosine(all.caption(caption), all.image(image))))
        .collect();
    let found = nearest_images.iter().flatten().map(|&(image, _)| image).chain(images.iter().copied());
    let keys: HashSet<&str> = found.map(|image| split.keys[image].as_str()).collect();
    let shown = pictures::of_keys(dataset, Some(name), &keys)?;
    let by_text = captions.iter().zip(nearest_images).map(|(&caption, nearest)| Search {
        query: Query::Text(split.texts[caption].clone()),
        hits: nearest
            .into_iter()
            .map(|(image, score)| picture_hit(split, &shown, image, score, caption))
            .collect(),
    });
    let by_picture = images.iter().map(|&image| {
        let key = &split.keys[image];
        let picture = shown.get(key).map(|shown| shown.picture.clone()).unwrap_or_default();
        let nearest = best(split.texts.len(), |caption| cosine(all.image(image), all.caption(caption)));
        let hit = |(caption, score): (usize, f64)| Hit {
            key: String::new(),
            score,
            picture: None,
            caption: split.texts[caption].clone(),
            right: all.owners[caption] == image,
        };
        Search { query: Query::Picture(picture, key.clone()), hits: nearest.into_iter().map(hit).collect() }
    });
    Ok(by_text.chain(by_picture).collect())
}

fn picture_hit(
    split: &Split,
    shown: &HashMap<String, Shown>,
    image: usize,
    score: f64,
    caption: usize,
) -> Hit {
    let key = split.keys[image].clone();
    let shown = shown.get(&key);
    Hit {
        score,
        picture: shown.map(|shown| shown.picture.clone()),
        caption: shown.map(|shown| shown.caption.clone()).unwrap_or_default(),
        right: split.embedded.owners[caption] == image,
        key,
    }
}

/// `count` places spread evenly over `0..all`.
fn spread(all: usize, count: usize) -> Vec<usize> {
    let count = count.min(all);
    (0..count).map(|at| at * all / count).collect()
}

/// The places with the highest scores, best first.
fn best(count: usize, score: impl Fn(usize) -> f64) -> Vec<(usize, f64)> {
    let mut scored: Vec<(usize, f64)> = (0..count).map(|at| (at, score(at))).collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scored.truncate(ANSWERS);
    scored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_over_the_split() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        assert_eq!(spread(2, 4), [0, 1]);
    }

    #[test]
    fn the_best_come_first() {
        assert_eq!(best(3, |at| [0.1, 0.9, 0.5][at]), [(1, 0.9), (2, 0.5), (0, 0.1)]);
    }
}
