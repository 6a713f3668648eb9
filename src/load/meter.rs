//! Where a loader's time goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::draw::Brush;
use super::prefetch::Prefetch;

/// What workers count together.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    drawing: AtomicU64,
    decoding: AtomicU64,
}

/// A loader's work so far. Seconds of workers are summed over them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Finished batches that wait for the consumer now.
    pub queued: usize,
    /// Seconds that the consumer has waited for batches.
    pub wait_seconds: f64,
    /// Seconds that workers have waited for the consumer: the queue was full.
    pub full_seconds: f64,
    /// Bytes of pictures that were read.
    pub read_bytes: u64,
    /// Seconds of workers spent on reading pictures and copying raw ones.
    pub read_seconds: f64,
    /// Seconds of workers spent on decoding pictures.
    pub decode_seconds: f64,
}

impl Meter {
    /// Adds the pictures of a batch, which took `time` in all.
    pub fn add(&self, brush: &Brush, time: Duration) {
        self.bytes.fetch_add(brush.read, Ordering::Relaxed);
        add(&self.decoding, brush.decoding);
        add(&self.drawing, time.saturating_sub(brush.decoding));
    }

    /// The sums so far, beside what the queue knows.
    pub fn gauges<T: Send + 'static>(&self, queue: &Prefetch<T>) -> Gauges {
        Gauges {
            queued: queue.queued(),
            wait_seconds: queue.wait_seconds(),
            full_seconds: queue.full_seconds(),
            read_bytes: self.bytes.load(Ordering::Relaxed),
            read_seconds: seconds(&self.drawing),
            decode_seconds: seconds(&self.decoding),
        }
    }
}

fn add(nanoseconds: &AtomicU64, time: Duration) {
    nanoseconds.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
}

fn seconds(nanoseconds: &AtomicU64) -> f64 {
    nanoseconds.load(Ordering::Relaxed) as f64 / 1e9
}
