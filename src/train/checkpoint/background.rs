//! Work that is done beside the run, one piece at a time.

use std::any::Any;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, anyhow};

/// A thread that does one piece of work. Its error or panic is told by the next [`Background::wait`]. Dropped, it is
/// waited for: what was begun is done, and an error that nobody asked for is said on stderr.
#[derive(Default)]
pub struct Background {
    thread: Option<JoinHandle<Result<()>>>,
}

impl Background {
    /// Begins a piece of work once the one before is done.
    ///
    /// # Errors
    /// That of the one before, or if the operating system refuses a thread.
    pub fn start(&mut self, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
        self.wait()?;
        let thread = Builder::new().name("checkpoint".to_owned()).spawn(work);
        self.thread = Some(thread.context("cannot start the thread that writes checkpoints")?);
        Ok(())
    }

    /// Waits for the work that was begun, if any.
    ///
    /// # Errors
    /// That of the work, a panic included.
    pub fn wait(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| Err(panicked(&*panic)))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Err(error) = self.wait() {
            eprintln!("the last checkpoint was not written: {error:#}");
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    anyhow!("the thread that writes checkpoints panicked: {text}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use anyhow::bail;

    use super::*;

    #[test]
    fn an_error_is_told_once_by_the_next_start_or_wait() {
        let mut background = Background::default();
        background.start(|| bail!("the disk is full")).unwrap();
        assert_eq!(background.start(|| Ok(())).unwrap_err().to_string(), "the disk is full");
        background.wait().unwrap();
        background.start(|| bail!("the disk is full")).unwrap();
        assert_eq!(background.wait().unwrap_err().to_string(), "the disk is full");
    }

    #[test]
    fn a_panic_is_an_error() {
        let mut background = Background::default();
        background.start(|| panic!("step {} is cursed", 7)).unwrap();
        let error = background.wait().unwrap_err().to_string();
        assert_eq!(error, "the thread that writes checkpoints panicked: step 7 is cursed");
    }

    #[test]
    fn dropped_early_it_has_done_what_was_begun() {
        let done = Arc::new(AtomicUsize::new(0));
        let mut background = Background::default();
        for _ in 0..2 {
            let count = done.clone();
            let work = move || {
                std::thread::yield_now();
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            background.start(work).unwrap();
        }
        drop(background);
        assert_eq!(done.load(Ordering::SeqCst), 2);
        assert_eq!(Arc::strong_count(&done), 1, "the thread still holds its work");
    }
}
