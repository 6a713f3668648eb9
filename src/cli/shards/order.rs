//! `shards order`

use std::io::Write;

use anyhow::Result;

use super::Ordering;
use crate::load::order::rank_range;
use crate::load::{Order, OrderSpec, Pairs};

/// Prints every row of an epoch in the order of steps, ranks, and places in the batch.
///
/// # Errors
/// If there is no such order, a row has no caption that is used, or `out` cannot be written.
pub fn run(ordering: Ordering, out: &mut impl Write) -> Result<()> {
    let Ordering { seed, epoch, world, weights, .. } = ordering;
    let pairs = Pairs::open(&ordering.datasets, &ordering.split)?;
    let spec = OrderSpec {
        fingerprints: pairs.fingerprints().to_vec(),
        split: ordering.split,
        seed,
        batch: ordering.batch,
        shuffle: ordering.shuffle,
        weights,
        drop_last: ordering.drop_last,
        excluded: pairs.rows_of(&ordering.excluded)?,
    };
    let order = Order::new(spec, &pairs.shard_rows())?;
    writeln!(out, "step\trank\tkey\tview\tcaption")?;
    for step in 0..order.steps() {
        let rows: Vec<u64> = order.batch(epoch, step).collect();
        for rank in 0..world {
            for &row in &rows[rank_range(rows.len(), rank, world)] {
                let row = pairs.row(row)?;
                let (view, caption) = (row.view(seed, epoch), row.caption(seed, weights, epoch)?);
                writeln!(out, "{step}\t{rank}\t{}\t{view}\t{caption}", row.key())?;
            }
        }
    }
    Ok(())
}
