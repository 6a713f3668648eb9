//! Pictures and captions of a dataset by their keys.

use std::collections::{HashMap, HashSet};

use anyhow::Result;

use crate::prepare::encode::{Encoding, encode};
use crate::sample::Rgb;
use crate::shard::{Dataset, Pixels, ShardReader};

/// Quality of the JPEGs made of raw pictures for a page.
const QUALITY: u8 = 90;

/// What a page shows of one key.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The clean view as a picture file.
    pub picture: Vec<u8>,
    /// Its first caption.
    pub caption: String,
}

/// The clean pictures of `keys`, from `split` or, without one, from whichever split has them first.
/// Keys that are nowhere are left out.
///
/// # Errors
/// If a shard cannot be read.
pub fn of_keys(
    dataset: &Dataset,
    split: Option<&str>,
    keys: &HashSet<&str>,
) -> Result<HashMap<String, Shown>> {
    let mut found = HashMap::new();
    let wanted = |name: &str| split.is_none_or(|split| split == name);
    for entry in dataset.shards.iter().filter(|entry| entry.view == 0 && wanted(&entry.split)) {
        if found.len() == keys.len() {
            break;
        }
        let reader = ShardReader::open(&dataset.root.join(&entry.path))?;
        let texts = reader.texts()?;
        for (row, key) in texts.keys.iter().enumerate().filter(|(_, key)| keys.contains(key.as_str())) {
            let caption = texts.captions[row].first().map(|caption| caption.text.clone()).unwrap_or_default();
            let picture = picture(&reader, row)?;
            found.entry(key.clone()).or_insert(Shown { picture, caption });
        }
    }
    Ok(found)
}

fn picture(reader: &ShardReader, row: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.picture(row, &mut bytes)?;
    Ok(match reader.pixels() {
        Pixels::Image => bytes,
        Pixels::Raw { side } => {
            let picture = Rgb::new(side, side, bytes);
            encode(&picture, Encoding::Jpeg { quality: QUALITY }).into_bytes()
        }
    })
}
