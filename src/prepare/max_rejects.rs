//! When a run goes wrong: too many rejects, counted in the plan's order.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

use super::state::Filled;
use crate::shard::manifest::RejectEntry;

/// Fewer samples than this say nothing about a run.
const SAMPLES: u64 = 100;

/// How many rejects a run bears.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxRejects {
    /// Per cent of the samples so far.
    Percent(f64),
    /// So many.
    Count(u64),
}

impl MaxRejects {
    fn exceeded(self, rejects: u64, samples: u64) -> bool {
        match self {
            Self::Percent(percent) => rejects as f64 * 100.0 > percent * samples as f64,
            Self::Count(count) => rejects > count,
        }
    }
}

impl fmt::Display for MaxRejects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for MaxRejects {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => {
                percent.parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).map(Self::Percent)
            }
            None => text.parse().ok().map(Self::Count),
        };
        parsed.ok_or_else(|| "a share from 0% to 100% or a count like 50".to_owned())
    }
}

/// The rejects of the samples so far.
pub struct Tally {
    limit: MaxRejects,
    dedup: bool,
    samples: u64,
    rejects: u64,
    /// Count and first example of each kind that counts.
    kinds: BTreeMap<String, (u64, RejectEntry)>,
}

impl Tally {
    /// Nothing so far. With `dedup`, equal images are dropped because a person wants it so.
    pub fn new(limit: MaxRejects, dedup: bool) -> Self {
        Self { limit, dedup, samples: 0, rejects: 0, kinds: BTreeMap::new() }
    }

    /// All rejects so far, whatever their kind.
    pub fn rejects(&self) -> u64 {
        self.rejects
    }

    /// Counts one more sample.
    ///
    /// # Errors
    /// If there have been too many rejects.
    pub fn add(&mut self, reject: Option<&RejectEntry>) -> Result<()> {
        self.count(1, reject);
        self.check()
    }

    /// Counts a shard that stands, of so many samples.
    ///
    /// # Errors
    /// If there have been too many rejects.
    pub fn add_shard(&mut self, samples: u64, filled: &Filled) -> Result<()> {
        self.count(samples, &filled.rejects);
        self.check()
    }

    fn count<'a>(&mut self, samples: u64, rejects: impl IntoIterator<Item = &'a RejectEntry>) {
        self.samples += samples;
        for reject in rejects {
            self.rejects += 1;
            if !self.is_wanted(&reject.kind) {
                self.kinds.entry(reject.kind.clone()).or_insert_with(|| (0, reject.clone())).0 += 1;
            }
        }
    }

    /// Whether samples of this kind are left out because an option says so.
    fn is_wanted(&self, kind: &str) -> bool {
        matches!(kind, "too-small" | "aspect") || (self.dedup && kind == "duplicate")
    }

    fn check(&self) -> Result<()> {
        let (samples, limit) = (self.samples, self.limit);
        let rejects = self.kinds.values().map(|(count, _)| count).sum::<u64>();
        if samples < SAMPLES || !limit.exceeded(rejects, samples) {
            return Ok(());
        }
        let commonest = self.kinds.iter().rev().max_by_key(|(_, (count, _))| *count);
        let Some((kind, (count, example))) = commonest else { return Ok(()) };
        bail!(
            "--max-rejects: {rejects} of the first {samples} samples were rejected ({:.1}%), more than {limit}; \
             {count} of them are {kind}, e.g. {}: {}; set it right and run again with --retry-rejected, or allow \
             more with --max-rejects",
            100.0 * rejects as f64 / samples as f64,
            example.key,
            example.message
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(kind: &str) -> RejectEntry {
        let (key, path, message) = ("k".to_owned(), "k.jpg".to_owned(), "why".to_owned());
        RejectEntry { key, path, kind: kind.to_owned(), message }
    }

    #[test]
    fn a_limit_is_a_share_or_a_count() {
        assert_eq!("1%".parse(), Ok(MaxRejects::Percent(1.0)));
        assert_eq!("0.5%".parse::<MaxRejects>().unwrap().to_string(), "0.5%");
        assert_eq!("50".parse(), Ok(MaxRejects::Count(50)));
        for wrong in ["", "%", "101%", "-1", "0.5", "nan%", "1 %"] {
            assert!(wrong.parse::<MaxRejects>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_stops_at_the_hundredth_sample_and_not_before() {
        let mut tally = Tally::new(MaxRejects::Percent(1.0), false);
        let broken = |at| (at % 3 == 0).then(|| reject(if at == 0 { "empty" } else { "missing" }));
        assert!((0..99).all(|at| tally.add(broken(at).as_ref()).is_ok()));
        let error = tally.add(None).unwrap_err().to_string();
        assert_eq!(
            error,
            "--max-rejects: 33 of the first 100 samples were rejected (33.0%), more than 1%; 32 of them are missing, \
             e.g. k: why; set it right and run again with --retry-rejected, or allow more with --max-rejects"
        );
    }

    #[test]
    fn exactly_the_limit_is_borne() {
        let mut tally = Tally::new(MaxRejects::Count(2), false);
        assert!((0..200).all(|at| tally.add((at < 2).then(|| reject("corrupt")).as_ref()).is_ok()));
        assert!(tally.add(Some(&reject("corrupt"))).is_err());
    }

    #[test]
    fn what_an_option_asked_for_does_not_count() {
        let mut tally = Tally::new(MaxRejects::Count(0), true);
        let kinds = ["too-small", "aspect", "duplicate"];
        assert!((0..300).all(|at| tally.add(Some(&reject(kinds[at % 3]))).is_ok()));
        assert_eq!(tally.rejects(), 300);
    }
}
