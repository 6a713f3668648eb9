//! What an order is asked to be, and why there is none.

use std::num::NonZeroU64;
use std::str::FromStr;

use crate::load::shown::CaptionWeights;

/// How the rows of an epoch are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shuffle {
    /// One permutation of all rows, another each epoch.
    #[default]
    Full,
    /// Shards are permuted, anew each epoch, and their rows within windows of so many: what is read
    /// at a time lies in few shards. For storage that is slow to seek.
    Window(NonZeroU64),
    /// File order.
    None,
}

impl FromStr for Shuffle {
    type Err = String;

    /// `full`, `window:N` or `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("window:")) {
            ("full", _) => Ok(Self::Full),
            ("none", _) => Ok(Self::None),
            (_, Some(rows)) => {
                let plain = rows.bytes().all(|byte| byte.is_ascii_digit()); // `parse` would take +8
                rows.parse().ok().filter(|_| plain).map(Self::Window).ok_or_else(|| {
                    format!("`{text}` is no way to shuffle: a window is a whole number of rows, 1 or more")
                })
            }
            _ => Err(format!("`{text}` is no way to shuffle: take `full`, `window:N` or `none`")),
        }
    }
}

/// All that an order depends on, besides the numbers of rows that the fingerprints imply.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderSpec {
    /// Fingerprint of each dataset, in the order of concatenation.
    pub fingerprints: Vec<String>,
    /// Split.
    pub split: String,
    /// Seed of the run.
    pub seed: u64,
    /// Rows of a step over all ranks.
    pub batch: usize,
    /// Order within an epoch.
    pub shuffle: Shuffle,
    /// Weights of the kinds of caption.
    pub weights: CaptionWeights,
    /// Captions that a row shows each epoch.
    pub captions_per_image: usize,
    /// Leaves out the short step at the end of an epoch.
    pub drop_last: bool,
    /// Rows that never appear: sorted, without repeats.
    pub excluded: Vec<u64>,
}

/// Why there is no order, or no caption.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A batch of no rows.
    #[error("the batch must have at least one row")]
    EmptyBatch,
    /// Nothing to order.
    #[error("split `{split}` has no row left: {rows} rows, {excluded} excluded")]
    NoRows {
        /// Split.
        split: String,
        /// Rows before exclusion.
        rows: u64,
        /// Rows excluded.
        excluded: usize,
    },
    /// Dropping the short step would leave none.
    #[error(
        "a batch of {batch} is larger than the {rows} rows of split `{split}`: without the last, short batch no step is left"
    )]
    NoStep {
        /// Rows of a step.
        batch: usize,
        /// Rows in the order.
        rows: u64,
        /// Split.
        split: String,
    },
    /// No caption of a row is asked for.
    #[error("an image must show at least one caption")]
    NoCaptionAsked,
    /// A row all of whose captions weigh 0.
    #[error("key {key}: none of its captions is of a kind that is used")]
    NoCaption {
        /// The row's key.
        key: String,
    },
    /// A row with fewer captions than it is to show at a time.
    #[error(
        "key {key}: {wanted} captions an image are asked for, it has {entries} of the kinds that are used"
    )]
    FewCaptions {
        /// The row's key.
        key: String,
        /// Its captions, each counted by its weight.
        entries: u64,
        /// Captions that it is to show.
        wanted: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_to_shuffle_is_read_from_its_name_or_refused_in_words() {
        let read = |text: &str| text.parse::<Shuffle>();
        assert_eq!(read("full"), Ok(Shuffle::Full));
        assert_eq!(read("none"), Ok(Shuffle::None));
        assert_eq!(read("window:1000"), Ok(Shuffle::Window(NonZeroU64::new(1000).unwrap())));
        for text in
            ["window:0", "window:", "window:-8", "window:+8", "window:1e3", "window:99999999999999999999"]
        {
            let message =
                format!("`{text}` is no way to shuffle: a window is a whole number of rows, 1 or more");
            assert_eq!(read(text), Err(message));
        }
        for text in ["window", "Full", ""] {
            let message = format!("`{text}` is no way to shuffle: take `full`, `window:N` or `none`");
            assert_eq!(read(text), Err(message));
        }
    }
}
