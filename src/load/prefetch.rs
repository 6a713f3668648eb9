//! Work done ahead of its consumer by threads that this module owns.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::error::LoadError;

/// The results of numbered jobs, in the order of their numbers.
///
/// Worker w of W does jobs w, w + W, w + 2W, … and hands them over in a queue of its own, so order
/// needs no bookkeeping: the consumer takes from the queues in turn. At most `depth` results
/// (rounded up to a multiple of W) wait, and each worker holds one more.
///
/// An error or panic of a job comes out in its place, after which the iterator is at its end. On
/// that and on drop the workers stop at their next hand-over and are joined.
pub struct Prefetch<T> {
    queues: Vec<Receiver<Result<T, LoadError>>>,
    workers: Vec<JoinHandle<()>>,
    next: u64,
    left: u64,
    waited: Duration,
    full: Arc<AtomicU64>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `workers` threads on `jobs`.
    ///
    /// # Panics
    /// If `workers` is 0, or the operating system refuses a thread.
    pub fn start(
        jobs: Range<u64>,
        workers: usize,
        depth: usize,
        work: impl Fn(u64) -> Result<T, LoadError> + Send + Sync + 'static,
    ) -> Self {
        assert!(workers > 0, "somebody must do the work");
        let (work, full) = (Arc::new(work), Arc::new(AtomicU64::new(0)));
        let left = jobs.end.saturating_sub(jobs.start);
        let (queues, workers) = (0..workers)
            .map(|worker| {
                let (done, queue) = bounded(depth.div_ceil(workers));
                let (work, full) = (work.clone(), full.clone());
                let mine = jobs.clone().skip(worker).step_by(workers);
                let thread = std::thread::Builder::new().name(format!("load-{worker}"));
                let thread = thread.spawn(move || run(mine, &*work, &done, &full)).expect("a thread starts");
                (queue, thread)
            })
            .unzip();
        Self { queues, workers, next: 0, left, waited: Duration::ZERO, full }
    }
}

/// Does `jobs` until one fails or nobody wants the results any more.
fn run<T>(
    jobs: impl Iterator<Item = u64>,
    work: &dyn Fn(u64) -> Result<T, LoadError>,
    done: &Sender<Result<T, LoadError>>,
    full: &AtomicU64,
) {
    for job in jobs {
        let result = catch_unwind(AssertUnwindSafe(|| work(job)));
        let result = result.unwrap_or_else(|panic| Err(LoadError::panicked(None, &*panic)));
        let failed = result.is_err();
        let began = Instant::now();
        let sent = done.send(result);
        full.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        if sent.is_err() || failed {
            return;
        }
    }
}

impl<T> Prefetch<T> {
    /// Seconds that the consumer has waited for results so far.
    pub fn wait_seconds(&self) -> f64 {
        self.waited.as_secs_f64()
    }

    /// Seconds that the workers, summed, have waited for the consumer so far.
    pub fn full_seconds(&self) -> f64 {
        self.full.load(Ordering::Relaxed) as f64 / 1e9
    }

    /// Results that wait for the consumer now.
    pub fn queued(&self) -> usize {
        self.queues.iter().map(Receiver::len).sum()
    }

    /// Ends the work; a failed `send` is how the workers learn of it.
    fn stop(&mut self) {
        self.left = 0;
        self.queues.clear();
        for worker in self.workers.drain(..) {
            let _ = worker.join(); // its panics were caught and handed over
        }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let queue = &self.queues[(self.next % self.queues.len() as u64) as usize];
        let began = Instant::now();
        let result = queue.recv().expect("a worker hands over every job until one fails");
        self.waited += began.elapsed();
        self.next += 1;
        if result.is_err() {
            self.stop();
        }
        Some(result)
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn failing_at(bad: u64, how: fn(u64) -> Result<u64, LoadError>) -> Vec<Result<u64, String>> {
        let work = move |job| if job == bad { how(job) } else { Ok(job) };
        Prefetch::start(0..100, 3, 4, work).map(|item| item.map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn results_come_in_order_whatever_the_number_of_workers() {
        for workers in 1..5 {
            for depth in 0..4 {
                let results: Vec<u64> =
                    Prefetch::start(5..47, workers, depth, Ok).collect::<Result<_, _>>().unwrap();
                assert!(results.into_iter().eq(5..47));
            }
        }
    }

    #[test]
    fn an_error_comes_in_its_place_and_ends_the_queue() {
        let results = failing_at(41, |_| Err(LoadError::Shard("gone".into())));
        assert_eq!(results.len(), 42);
        assert_eq!(results[41], Err("gone".into()));
        assert!(results[..41].iter().all(Result::is_ok));
    }

    #[test]
    fn a_panic_comes_in_its_place_and_ends_the_queue() {
        let results = failing_at(7, |job| panic!("job {job} is cursed"));
        assert_eq!(results.len(), 8);
        assert_eq!(results[7], Err("a loader thread panicked: job 7 is cursed".into()));
    }

    #[test]
    fn dropping_early_joins_the_workers() {
        let alive = Arc::new(());
        let held = alive.clone();
        let mut prefetch = Prefetch::start(0..u64::MAX, 4, 2, move |job| {
            let _ = &held;
            Ok(job)
        });
        assert_eq!(prefetch.next().unwrap().unwrap(), 0);
        drop(prefetch);
        assert_eq!(Arc::strong_count(&alive), 1, "a worker still holds its work");
    }

    #[test]
    fn no_more_is_made_than_may_wait() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let mut prefetch = Prefetch::start(0..1000, 2, 4, move |job| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(job)
        });
        for taken in 1..500 {
            prefetch.next().unwrap().unwrap();
            assert!(made.load(Ordering::SeqCst) <= taken + 4 + 2);
        }
    }

    #[test]
    fn waiting_is_measured() {
        let mut prefetch = Prefetch::start(0..1, 1, 1, Ok);
        prefetch.next().unwrap().unwrap();
        assert!(prefetch.next().is_none());
        assert!(prefetch.wait_seconds() > 0.0);
    }
}
