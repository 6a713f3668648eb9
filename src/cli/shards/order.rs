//! `shards order`

use std::io::Write;

use anyhow::Result;

use super::Ordering;
use crate::load::order::rank_range;
use crate::load::{Order, OrderSpec, Pairs};

/// Prints every row of an epoch in the order of steps, ranks, and places in the batch; several
/// captions of a row with commas between them.
///
/// # Errors
/// If there is no such order, a row has too few captions that are used, or `out` cannot be written.
pub fn run(ordering: Ordering, out: &mut impl Write) -> Result<()> {
    let Ordering { seed, epoch, world, weights, captions_per_image, .. } = ordering;
    let pairs = Pairs::open(&ordering.datasets, &ordering.split)?;
    let spec = OrderSpec {
        fingerprints: pairs.fingerprints().to_vec(),
        split: ordering.split,
        seed,
        batch: ordering.batch,
        shuffle: ordering.shuffle,
        weights,
        captions_per_image,
        drop_last: ordering.drop_last,
        excluded: pairs.rows_of(&ordering.excluded)?,
    };
    let order = Order::new(spec, &pairs.shard_rows())?;
    let mut shown = vec![0; captions_per_image];
    writeln!(out, "step\trank\tkey\tview\tcaption")?;
    for step in 0..order.steps() {
        let rows: Vec<u64> = order.batch(epoch, step).collect();
        for rank in 0..world {
            for &row in &rows[rank_range(rows.len(), rank, world)] {
                let row = pairs.row(row)?;
                row.captions(seed, weights, epoch, &mut shown)?;
                write!(out, "{step}\t{rank}\t{}\t{}", row.key(), row.view(seed, epoch))?;
                for (place, caption) in shown.iter().enumerate() {
                    write!(out, "{}{caption}", if place == 0 { '\t' } else { ',' })?;
                }
                writeln!(out)?;
            }
        }
    }
    Ok(())
}
