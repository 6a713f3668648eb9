//! `--dedup`: of images whose files are equal the first in the plan's order stays, in whatever split.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use anyhow::Result;

use super::reject::Reject;
use crate::shard::ShardReader;

/// The images that stay, so far; keeps nothing where nothing is to be dropped.
pub struct Dedup {
    /// Key and split by the SHA-256 of the file.
    first: Option<HashMap<[u8; 32], (String, String)>>,
}

impl Dedup {
    /// No image so far.
    pub fn new(on: bool) -> Self {
        Self { first: on.then(HashMap::new) }
    }

    /// Takes an image in, or names the one that came first.
    ///
    /// # Errors
    /// Where an image of the same bytes came first.
    pub fn take(&mut self, sha256: [u8; 32], key: &str, split: &str) -> Result<(), Reject> {
        let Some(first) = &mut self.first else { return Ok(()) };
        match first.entry(sha256) {
            Entry::Vacant(place) => {
                place.insert((key.to_owned(), split.to_owned()));
                Ok(())
            }
            Entry::Occupied(taken) => {
                let (key, split) = taken.get();
                Err(Reject::Duplicate(format!("{key} of {split}: their files are equal")))
            }
        }
    }

    /// Takes all images of a shard that stands. `false`, and none is taken, where one of them came
    /// before: an image that was rejected once and stands now. The shard is then to be made anew.
    ///
    /// # Errors
    /// If the shard cannot be read.
    pub fn take_shard(&mut self, path: &Path, split: &str) -> Result<bool> {
        let Some(first) = &mut self.first else { return Ok(true) };
        let texts = ShardReader::open(path)?.texts()?;
        if texts.sources.iter().any(|sha256| first.contains_key(sha256)) {
            return Ok(false);
        }
        let keys = texts.keys.into_iter().map(|key| (key, split.to_owned()));
        first.extend(texts.sources.into_iter().zip(keys));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_two_equal_images_names_the_first() {
        let mut dedup = Dedup::new(true);
        assert_eq!(dedup.take([1; 32], "a", "test"), Ok(()));
        assert_eq!(dedup.take([2; 32], "b", "test"), Ok(()));
        let reject = dedup.take([1; 32], "c", "train").unwrap_err();
        assert_eq!(
            (reject.kind(), reject.to_string()),
            ("duplicate", "the same as a of test: their files are equal".into())
        );
    }

    #[test]
    fn without_the_flag_nothing_is_dropped() {
        let mut dedup = Dedup::new(false);
        assert!((0..2).all(|_| dedup.take([1; 32], "a", "test").is_ok()));
    }
}
