//! What a dataset holds, in numbers.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::columns;
use super::duplicates::Sources;
use super::manifest::Dataset;
use super::reader::ShardReader;
use crate::sample::CaptionKind;

/// The numbers of a dataset, over all splits; captions and sources are those of view 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Images (keys).
    pub images: u64,
    /// Image–caption pairs: what papers count.
    pub pairs: u64,
    /// Rows: images times views.
    pub rows: u64,
    /// Shard files.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Numbers of each split.
    pub splits: BTreeMap<String, SplitStats>,
    /// Captions by kind.
    pub captions: BTreeMap<&'static str, u64>,
    /// Empty captions that `prepare` dropped.
    pub empty_captions: u64,
    /// Words a caption, split at white space.
    pub words: Option<Summary>,
    /// Token ids a caption, `[CLS]` and `[SEP]` included.
    pub tokens: Option<Summary>,
    /// Longest row of token ids that was allowed.
    pub max_tokens: u32,
    /// Captions of exactly that many ids; those that were cut are among them.
    pub captions_at_max_tokens: u64,
    /// Source width in pixels.
    pub source_width: Option<Summary>,
    /// Source height in pixels.
    pub source_height: Option<Summary>,
    /// Stored sizes, `<width>x<height>`, with the number of images of view 0.
    pub stored: BTreeMap<String, u64>,
    /// Rejected samples by kind.
    pub rejects: BTreeMap<String, u64>,
    /// Images whose source bytes equal another image's.
    pub duplicates: Duplicates,
}

/// Numbers of one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SplitStats {
    /// Images (keys).
    pub images: u64,
    /// Image–caption pairs.
    pub pairs: u64,
    /// Views of each image.
    pub views: u32,
    /// Shard files.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Smallest.
    pub min: u32,
    /// The lower of two middle ones.
    pub median: u32,
    /// Arithmetic mean.
    pub mean: f64,
    /// At least 95 % of the values are at most this.
    pub p95: u32,
    /// Largest.
    pub max: u32,
}

/// Images that share their source's SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Images beyond the first of their source in their split, over all splits.
    pub within_splits: u64,
    /// The first two such images.
    pub within_example: Option<[Place; 2]>,
    /// Sources that stand in more than one split: what is trained on must not be tested on.
    pub across_splits: u64,
    /// The first two images of such a source.
    pub across_example: Option<[Place; 2]>,
}

/// An image of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its split.
    pub split: String,
    /// Its key.
    pub key: String,
}

/// Reads the text columns of every shard of view 0, no picture. `read` is called with the rows of each.
///
/// # Errors
/// If a shard cannot be read.
pub fn stats(dataset: &Dataset, mut read: impl FnMut(u64)) -> Result<Stats> {
    let (mut tally, mut sources) = (Tally::default(), Sources::default());
    for entry in dataset.shards.iter().filter(|entry| entry.view == 0) {
        let reader = ShardReader::open(&dataset.root.join(&entry.path))?;
        sources.begin(entry);
        tally.count(&entry.split, &reader, &mut sources)?;
        read(entry.rows);
    }
    let mut splits: BTreeMap<String, SplitStats> = BTreeMap::new();
    for entry in &dataset.shards {
        let split = splits.entry(entry.split.clone()).or_default();
        split.images += if entry.view == 0 { entry.rows } else { 0 };
        split.views = split.views.max(entry.view + 1);
        split.shards += 1;
        split.bytes += entry.bytes;
    }
    for (name, split) in &mut splits {
        split.pairs = tally.pairs.get(name).copied().unwrap_or_default();
    }
    let manifest = &dataset.manifest;
    Ok(Stats {
        images: splits.values().map(|split| split.images).sum(),
        pairs: splits.values().map(|split| split.pairs).sum(),
        rows: dataset.shards.iter().map(|entry| entry.rows).sum(),
        shards: dataset.shards.len() as u64,
        bytes: splits.values().map(|split| split.bytes).sum(),
        splits,
        captions: CaptionKind::ALL
            .into_iter()
            .map(|kind| (kind.name(), tally.kinds[kind as usize]))
            .collect(),
        empty_captions: manifest.totals.empty_captions,
        words: tally.words.summary(),
        captions_at_max_tokens: tally
            .tokens
            .0
            .get(&manifest.tokenizer.max_tokens)
            .copied()
            .unwrap_or_default(),
        tokens: tally.tokens.summary(),
        max_tokens: manifest.tokenizer.max_tokens,
        source_width: tally.source_width.summary(),
        source_height: tally.source_height.summary(),
        duplicates: sources.duplicates(dataset)?,
        stored: tally.stored,
        rejects: manifest.rejects.clone(),
    })
}

#[derive(Default)]
struct Tally {
    pairs: BTreeMap<String, u64>,
    kinds: [u64; CaptionKind::ALL.len()],
    words: Histogram,
    tokens: Histogram,
    source_width: Histogram,
    source_height: Histogram,
    stored: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, split: &str, reader: &ShardReader, sources: &mut Sources) -> Result<()> {
        let names = ["captions", "source_sha256", "source_width", "source_height", "width", "height"];
        for batch in reader.batches(Some(&names))? {
            let batch = batch?;
            for caption in columns::captions(&batch)?.into_iter().flatten() {
                *self.pairs.entry(split.to_owned()).or_default() += 1;
                self.kinds[caption.kind as usize] += 1;
                self.words.add(caption.text.split_whitespace().count() as u32);
                self.tokens.add(caption.tokens.0.len() as u32);
            }
            columns::ints(&batch, "source_width")?
                .values()
                .iter()
                .for_each(|&v| self.source_width.add(v as u32));
            columns::ints(&batch, "source_height")?
                .values()
                .iter()
                .for_each(|&v| self.source_height.add(v as u32));
            let (widths, heights) = (columns::ints(&batch, "width")?, columns::ints(&batch, "height")?);
            for (width, height) in widths.values().iter().zip(heights.values()) {
                *self.stored.entry(format!("{width}x{height}")).or_default() += 1;
            }
            sources.add(columns::hashes(&batch)?);
        }
        Ok(())
    }
}

/// How often each value occurs.
#[derive(Default)]
struct Histogram(BTreeMap<u32, u64>);

impl Histogram {
    fn add(&mut self, value: u32) {
        *self.0.entry(value).or_default() += 1;
    }

    /// `None` of no values.
    fn summary(&self) -> Option<Summary> {
        let count: u64 = self.0.values().sum();
        let sum: u64 = self.0.iter().map(|(&value, &times)| u64::from(value) * times).sum();
        let quantile = |share: f64| {
            let mut left = ((count as f64 * share).ceil() as u64).max(1);
            let found = self.0.iter().find(|&(_, &times)| {
                let here = left <= times;
                left = left.saturating_sub(times);
                here
            });
            found.map(|(&value, _)| value)
        };
        Some(Summary {
            min: *self.0.keys().next()?,
            median: quantile(0.5)?,
            mean: sum as f64 / count as f64,
            p95: quantile(0.95)?,
            max: *self.0.keys().next_back()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_how_values_are_spread() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|value| histogram.add(value));
        let summary = Summary { min: 1, median: 50, mean: 50.5, p95: 95, max: 100 };
        assert_eq!(histogram.summary(), Some(summary));
        assert_eq!(Histogram::default().summary(), None);
    }
}
