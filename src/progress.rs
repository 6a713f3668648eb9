//! One line about how far a job is: a bar on a terminal, a plain line every few seconds elsewhere.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Whether anything is said on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Progress and notes.
    Normal,
    /// Errors only.
    Quiet,
}

/// Progress of a job with a known number of items. May be shared between threads.
pub struct Progress {
    what: &'static str,
    unit: &'static str,
    total: u64,
    done: AtomicU64,
    /// Of them, those that an earlier run did.
    skipped: AtomicU64,
    began: Instant,
    face: Face,
}

enum Face {
    Silent,
    Bar(ProgressBar),
    Lines(Mutex<Instant>),
}

impl Progress {
    /// Starts the clock. `what` is the verb shown ("preparing"), `unit` what is counted ("images").
    pub fn new(what: &'static str, unit: &'static str, total: u64, verbosity: Verbosity) -> Self {
        let face = match verbosity {
            Verbosity::Quiet => Face::Silent,
            Verbosity::Normal if std::io::stderr().is_terminal() => Face::Bar(bar(what, unit, total)),
            Verbosity::Normal => Face::Lines(Mutex::new(Instant::now())),
        };
        Self {
            what,
            unit,
            total,
            done: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            began: Instant::now(),
            face,
        }
    }

    /// Counts `items` more and shows `note` (a loss, a count of rejects) beside the rate.
    pub fn add(&self, items: u64, note: impl FnOnce() -> String) {
        let done = self.done.fetch_add(items, Ordering::Relaxed) + items;
        match &self.face {
            Face::Silent => {}
            Face::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(note());
            }
            Face::Lines(last) => {
                let Ok(mut last) = last.try_lock() else { return };
                if last.elapsed() >= PLAIN_EVERY {
                    *last = Instant::now();
                    eprintln!("{}", self.line(done, &note()));
                }
            }
        }
    }

    /// Items already done by an earlier run: they count towards the total, not towards the rate.
    pub fn skip(&self, items: u64) {
        self.done.fetch_add(items, Ordering::Relaxed);
        self.skipped.fetch_add(items, Ordering::Relaxed);
        if let Face::Bar(bar) = &self.face {
            bar.set_position(self.done.load(Ordering::Relaxed));
            bar.reset_eta();
        }
    }

    /// Prints a line above the bar.
    pub fn say(&self, line: &str) {
        match &self.face {
            Face::Silent => {}
            Face::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Face::Lines(_) => eprintln!("{line}"),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Face::Bar(bar) = &self.face {
            bar.finish_and_clear();
        }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn line(&self, done: u64, note: &str) -> String {
        let rate = (done - self.skipped.load(Ordering::Relaxed)) as f64 / self.seconds().max(1e-9);
        let left = self.total.saturating_sub(done) as f64 / rate.max(1e-9);
        let (what, unit, total) = (self.what, self.unit, self.total);
        let note = if note.is_empty() { String::new() } else { format!(", {note}") };
        format!("{what}: {done}/{total} {unit}, {rate:.1} {unit}/s, {left:.0} s left{note}")
    }
}

fn bar(what: &'static str, unit: &'static str, total: u64) -> ProgressBar {
    let template = format!(
        "{what} {{bar:30}} {{human_pos}}/{{human_len}} {unit}, {{rate}} {unit}/s, {{eta}} left  {{msg}}"
    );
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
    let style = ProgressStyle::with_template(&template).expect("the template is a constant");
    let rate = |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{:.1}", state.per_sec());
    };
    bar.set_style(style.with_key("rate", rate));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_count_rate_and_note() {
        let progress = Progress::new("preparing", "images", 10, Verbosity::Quiet);
        let line = progress.line(5, "2 rejected");
        assert!(line.starts_with("preparing: 5/10 images, "), "{line}");
        assert!(line.ends_with(" s left, 2 rejected"), "{line}");
    }

    #[test]
    fn what_an_earlier_run_did_counts_towards_the_total_and_not_towards_the_rate() {
        let progress = Progress::new("training", "steps", 10, Verbosity::Quiet);
        progress.skip(4);
        let line = progress.line(4, "");
        assert!(line.starts_with("training: 4/10 steps, 0.0 steps/s, "), "{line}");
    }
}
