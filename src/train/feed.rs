//! From datasets and config to the loader.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::config::{Config, OnBadSample, Text};
use crate::load::batch::Shape;
use crate::load::{Batcher, CaptionWeights, Order, OrderSpec, Padding, Pairs, Shuffle, read_keys};
use crate::shard::Dataset;

/// The loader of the split `train`. Datasets that are slow to read are named on stderr.
///
/// # Errors
/// If the datasets do not fit each other or the config.
pub fn batcher(datasets: &[Dataset], config: &Config) -> Result<Batcher> {
    let data = &config.data;
    let pairs = Pairs::open(datasets, "train")?;
    pairs.notes().for_each(|note| eprintln!("{note}"));
    let excluded = match &data.exclude {
        Some(path) => pairs.rows_of(&read_keys(path).context("data.exclude")?)?,
        None => Vec::new(),
    };
    let weights = match &data.captions {
        Some(table) => {
            CaptionWeights::from_names(table.iter().map(|(kind, weight)| (kind.as_str(), *weight)))
        }
        None => Ok(CaptionWeights::default()),
    };
    let spec = OrderSpec {
        fingerprints: pairs.fingerprints().to_vec(),
        split: pairs.split().to_owned(),
        seed: config.run.seed,
        batch: data.batch,
        shuffle: data.shuffle.parse::<Shuffle>().map_err(|error| anyhow::anyhow!("data.shuffle: {error}"))?,
        weights: weights.map_err(|error| anyhow::anyhow!("data.captions: {error}"))?,
        captions_per_image: data.captions_per_image,
        drop_last: data.drop_last,
        excluded,
    };
    let order = Order::new(spec, &pairs.shard_rows()).context("data.batch")?;
    let max_tokens = max_tokens(datasets, config)?;
    let shape =
        Shape { crop: Some(data.crop), random_crop: data.random_crop, max_tokens, padding: Padding::Longest };
    let batcher = Batcher::new(Arc::new(pairs), order, shape).context("data.crop, data.max_tokens")?;
    Ok(match data.on_bad_sample {
        OnBadSample::Stop => batcher,
        OnBadSample::Skip => batcher.skipping_bad(),
    })
}

fn max_tokens(datasets: &[Dataset], config: &Config) -> Result<usize> {
    let stored =
        datasets.iter().map(|dataset| dataset.manifest.tokenizer.max_tokens).max().unwrap_or(0) as usize;
    let wanted = config.data.max_tokens.unwrap_or(stored).min(stored);
    let Text::Inline(text) = &config.model.text else { bail!("model.text is resolved before") };
    let positions = text.max_position_embeddings as usize;
    ensure!(
        wanted <= positions,
        "rows have up to {wanted} tokens, the text model has {positions} positions; set data.max_tokens={positions} or less"
    );
    Ok(wanted)
}
