//! A finished dataset → one in which the shards without a reject are finished and the others are
//! still to be made.

use std::collections::BTreeMap;

use anyhow::Result;

use super::plan::ShardPlan;
use super::recipe::Recipe;
use super::source::Row;
use super::state::{Filled, State};
use crate::shard::{Dataset, ShardEntry, ShardReader};

/// Records the shards that hold every row that was planned into them, then takes the manifest away.
/// What is left to make is what a fresh run would make with the images as they are now. Killed in
/// the middle, the dataset is either finished still or goes on from there.
///
/// # Errors
/// If a shard cannot be read or OUT cannot be written.
pub fn reopen(
    state: &State,
    dataset: Dataset,
    recipe: &Recipe,
    shards: &[ShardPlan],
    rows: &[Row],
) -> Result<()> {
    let root = dataset.root;
    let mut entries: BTreeMap<(String, u32), Vec<ShardEntry>> = BTreeMap::new();
    for entry in dataset.shards {
        entries.entry((entry.split.clone(), entry.number)).or_default().push(entry);
    }
    for shard in shards {
        let Some(entries) = entries.remove(&(shard.split.clone(), shard.number)) else { continue };
        if entries[0].rows == shard.rows.len() as u64 {
            let texts = ShardReader::open(&root.join(&entries[0].path))?.texts()?;
            let captions = texts.captions.iter().map(|captions| captions.len() as u64).sum();
            let empty_captions = shard.rows.iter().map(|&place| rows[place].empty_captions).sum();
            state.finish(shard, &Filled { entries, rejects: Vec::new(), captions, empty_captions })?;
        }
    }
    state.open_again(recipe)?;
    state.sweep()
}
