//! Images of the same source, by the hash of its bytes: 40 bytes of memory an image.

use anyhow::{Context, Result};

use super::columns;
use super::manifest::{Dataset, ShardEntry};
use super::reader::ShardReader;
use super::stats::{Duplicates, Place};

/// The source of every image of view 0, in the dataset's order.
#[derive(Default)]
pub struct Sources<'a> {
    /// Hash and number of each image.
    images: Vec<([u8; 32], u64)>,
    /// The shards, each with the number of its first image.
    shards: Vec<(u64, &'a ShardEntry)>,
}

impl<'a> Sources<'a> {
    /// What is added from now on stands in this shard.
    pub fn begin(&mut self, shard: &'a ShardEntry) {
        self.shards.push((self.images.len() as u64, shard));
    }

    /// Appends the sources of the next images.
    pub fn add(&mut self, hashes: Vec<[u8; 32]>) {
        let first = self.images.len() as u64;
        self.images.extend(hashes.into_iter().zip(first..));
    }

    /// Counts what stands twice, and reads the keys of an example of each kind.
    ///
    /// # Errors
    /// If a shard with an example cannot be read.
    pub fn duplicates(mut self, dataset: &Dataset) -> Result<Duplicates> {
        self.images.sort_unstable(); // images of one source side by side, in the dataset's order
        let mut found = Duplicates::default();
        let (mut within, mut across): (Option<[u64; 2]>, Option<[u64; 2]>) = (None, None);
        for same in self.images.chunk_by(|one, other| one.0 == other.0).filter(|same| same.len() > 1) {
            for pair in same.windows(2).map(|pair| [pair[0].1, pair[1].1]) {
                if self.split(pair[0]) == self.split(pair[1]) {
                    found.within_splits += 1;
                    within = earlier(within, pair);
                }
            }
            let first = same[0].1;
            if let Some(other) = same.iter().find(|image| self.split(image.1) != self.split(first)) {
                found.across_splits += 1;
                across = earlier(across, [first, other.1]);
            }
        }
        let named = |pair: [u64; 2]| -> Result<[Place; 2]> {
            Ok([self.place(dataset, pair[0])?, self.place(dataset, pair[1])?])
        };
        found.within_example = within.map(named).transpose()?;
        found.across_example = across.map(named).transpose()?;
        Ok(found)
    }

    fn shard(&self, image: u64) -> (u64, &'a ShardEntry) {
        self.shards[self.shards.partition_point(|&(first, _)| first <= image) - 1]
    }

    fn split(&self, image: u64) -> &'a str {
        &self.shard(image).1.split
    }

    fn place(&self, dataset: &Dataset, image: u64) -> Result<Place> {
        let (first, entry) = self.shard(image);
        let mut row = (image - first) as usize;
        for batch in ShardReader::open(&dataset.root.join(&entry.path))?.batches(Some(&["key"]))? {
            let batch = batch?;
            if row < batch.num_rows() {
                let key = columns::strings(&batch, "key")?.value(row).to_owned();
                return Ok(Place { split: entry.split.clone(), key });
            }
            row -= batch.num_rows();
        }
        None.with_context(|| format!("{}: fewer rows than the table of shards says", entry.path))
    }
}

fn earlier(known: Option<[u64; 2]>, pair: [u64; 2]) -> Option<[u64; 2]> {
    Some(known.map_or(pair, |known| known.min(pair)))
}
