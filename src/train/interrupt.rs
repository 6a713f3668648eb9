//! Ctrl-C, SIGTERM and SIGHUP while a run lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// How a shell sees a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// What was asked of this process, once [`listen`] was called.
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    saved: Arc<AtomicBool>,
}

/// Has signals ask for the end instead of being it.
///
/// # Errors
/// If the operating system refuses.
pub fn listen() -> Result<Interrupt> {
    let interrupt = Interrupt { asked: Arc::default(), saved: Arc::default() };
    let (asked, saved) = (interrupt.asked.clone(), interrupt.saved.clone());
    let handler = move || {
        if saved.load(Ordering::SeqCst) {
            torch_ext::exit_now(INTERRUPTED);
        }
        asked.store(true, Ordering::SeqCst);
    };
    ctrlc::set_handler(handler).context("cannot listen for Ctrl-C")?;
    Ok(interrupt)
}

impl Interrupt {
    /// Whether it is time to save and stop.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// From now on there is nothing to save: a signal ends the process.
    pub fn ends_at_once(&self) {
        self.saved.store(true, Ordering::SeqCst);
    }
}
