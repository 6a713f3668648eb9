//! Shards → batches: `order |> read |> decode |> batch |> prefetch`. Plain buffers, no tensors.
//! [`Padding`] says how wide token rows are: as the batch needs, or always the same.
//!
//! ```text
//! Dataset… ─▶ Pairs ──┐ rows, views, texts, read when they are first touched
//!                     ├─▶ Batcher::batch(epoch, step) ─▶ Prefetch ─▶ Batch, Batch, …
//! OrderSpec ─▶ Order ─┘ which rows, and nothing else
//! ```

pub mod batch;
pub mod cursor;
mod draw;
mod error;
pub mod in_order;
mod kept;
mod meter;
pub mod order;
pub mod pairs;
mod permute;
pub mod prefetch;
pub mod shown;
mod slab;
mod window;

pub use batch::{Batch, Batcher, Keys, Padding, Picture, Shape};
pub use cursor::Cursor;
pub use error::{LoadError, Place};
pub use in_order::{EvalBatch, InOrder};
pub use meter::Gauges;
pub use order::{Order, OrderError, OrderSpec, Shuffle};
pub use pairs::{Pairs, Row, read_keys};
pub use prefetch::Prefetch;
pub use shown::CaptionWeights;
pub use slab::{ALIGNMENT, Slab};

use std::sync::Arc;

use meter::Meter;

/// Starts `workers` threads that read, decode and collate the batches from `cursor` on, up to the
/// end of epoch `epochs − 1`. They come in the order of their steps, whatever `workers` is; about
/// `depth` finished ones wait for the consumer.
///
/// # Panics
/// If `workers` is 0, or the operating system refuses a thread.
pub fn start(batcher: Batcher, cursor: Cursor, epochs: u64, workers: usize, depth: usize) -> Batches {
    let steps = batcher.order().steps();
    let batcher = Arc::new(batcher.recycling(depth + 2 * workers));
    let meter = batcher.meter().clone();
    let jobs = cursor.place(steps)..epochs.saturating_mul(steps);
    let queue = Prefetch::start(jobs, workers, depth, move |job| {
        let at = Cursor::at(job, steps);
        batcher.batch(at.epoch, at.step)
    });
    Batches { queue, meter }
}

/// The batches of a run, in the order of their steps. After an error there are no more.
pub struct Batches {
    queue: Prefetch<Batch>,
    meter: Arc<Meter>,
}

impl Batches {
    /// Where the time went so far.
    pub fn gauges(&self) -> Gauges {
        self.meter.gauges(&self.queue)
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.queue.next()
    }
}
