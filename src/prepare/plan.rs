//! Rows → shards, by count alone, before any image is read.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::source::Row;

/// The rows that one shard is made from. Those that are rejected leave it shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlan {
    /// Split.
    pub split: String,
    /// Number within the split.
    pub number: u32,
    /// Places in the listing's rows, ascending.
    pub rows: Vec<usize>,
}

/// Splits by name, each cut into shards of `shard_rows` rows in the source's order; the last of a
/// split may be shorter.
pub fn plan(rows: &[Row], shard_rows: NonZeroU32) -> Vec<ShardPlan> {
    let mut splits: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        splits.entry(&*row.split).or_default().push(place);
    }
    let shards = splits.into_iter().flat_map(|(split, places)| {
        let chunks = places.chunks(shard_rows.get() as usize).map(<[usize]>::to_vec).collect::<Vec<_>>();
        chunks.into_iter().zip(0..).map(|(rows, number)| ShardPlan { split: split.to_owned(), number, rows })
    });
    shards.collect()
}

impl ShardPlan {
    /// `<split>-<number:05>`, the name of the shard's state in a half-done dataset.
    pub fn name(&self) -> String {
        format!("{}-{:05}", self.split, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_cut_by_count_in_the_order_of_the_source() {
        let row = |split: &str| Row::new(&split.into(), "", 0, "");
        let rows = ["val", "train", "train", "val", "train"].map(row);
        let shards = plan(&rows, NonZeroU32::new(2).unwrap());
        let found: Vec<_> = shards.iter().map(|shard| (shard.name(), shard.rows.as_slice())).collect();
        let expected: [(String, &[usize]); 3] =
            [("train-00000".into(), &[1, 2]), ("train-00001".into(), &[4]), ("val-00000".into(), &[0, 3])];
        assert_eq!(found, expected);
    }
}
