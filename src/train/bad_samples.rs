//! Rows that were left out of the loss: counted, recorded, and no more of them than can be borne.

use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::metrics::Log;
use crate::load::{Batch, LoadError, Order};

/// So many bad rows one after another end the run.
const IN_A_ROW: u64 = 100;

/// Rows from which on the share counts …
const COUNTED_FROM: u64 = 1000;

/// … which ends the run where it is more than one in so many.
const ONE_IN: u64 = 100;

/// A line of `bad_samples.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadSample {
    /// The step that met it, from 0 over the whole run.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// The shard's file.
    pub shard: String,
    /// Row in it, from 0.
    pub row: usize,
    /// The row's key.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
    /// Rows of the run so far, this one included.
    pub rows: u64,
    /// Bad ones so far without a good one between, this one included.
    pub in_a_row: u64,
}

/// The bad rows of a run.
pub struct BadSamples {
    log: Log,
    rows: u64,
    bad: u64,
    in_a_row: u64,
}

/// Rows that the first `steps` steps of a run see.
pub fn rows_before(steps: u64, order: &Order) -> u64 {
    let (batch, per_epoch) = (order.spec().batch as u64, order.steps());
    let rows_of_epoch = order.rows().min(per_epoch * batch); // a short last step is part of it or dropped
    steps / per_epoch * rows_of_epoch + steps % per_epoch * batch
}

impl BadSamples {
    /// Opens the record of a run to go on after `steps` steps, which saw `rows` rows: lines of later
    /// steps, which a kill left behind, are dropped, the others count.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path, steps: u64, rows: u64) -> Result<Self> {
        let (log, kept) = Log::open(path, steps)?;
        let last: Option<BadSample> = kept.last().map(|line| serde_json::from_str(line)).transpose()?;
        let in_a_row = last.filter(|last| last.rows == rows).map_or(0, |last| last.in_a_row);
        Ok(Self { log, rows, bad: kept.len() as u64, in_a_row })
    }

    /// Counts the rows of a step and records the bad ones.
    ///
    /// # Errors
    /// If there are too many of them, or the disk fails.
    pub fn note(&mut self, step: u64, batch: &Batch) -> Result<()> {
        let first = self.rows;
        for (place, error) in &batch.bad {
            let rows = first + *place as u64 + 1;
            let follows = self.in_a_row > 0 && self.rows + 1 == rows;
            self.in_a_row = if follows { self.in_a_row + 1 } else { 1 };
            (self.rows, self.bad) = (rows, self.bad + 1);
            self.log.write(&self.line(step, batch.epoch, error))?;
            self.check(error)?;
        }
        let end = first + batch.rows() as u64;
        if self.rows < end {
            (self.rows, self.in_a_row) = (end, 0);
        }
        Ok(())
    }

    /// Bad rows so far, over the whole run.
    pub fn count(&self) -> u64 {
        self.bad
    }

    fn line(&self, step: u64, epoch: u64, error: &LoadError) -> BadSample {
        let (place, message) = match error {
            LoadError::Sample { place, why } => (Some(place), why.clone()),
            LoadError::Panic { place, message } => {
                (place.as_ref(), format!("a loader thread panicked: {message}"))
            }
            other => (None, other.to_string()),
        };
        let shard = place.map(|place| place.shard.display().to_string()).unwrap_or_default();
        let (row, key) = place.map(|place| (place.row, place.key.clone())).unwrap_or_default();
        BadSample { step, epoch, shard, row, key, message, rows: self.rows, in_a_row: self.in_a_row }
    }

    fn check(&self, last: &LoadError) -> Result<()> {
        let (rows, bad) = (self.rows, self.bad);
        let advice = "the shards are damaged: `shards verify` lists what is; the last one: ";
        if self.in_a_row >= IN_A_ROW {
            bail!("{IN_A_ROW} bad samples in a row; {advice}{last}");
        }
        if rows >= COUNTED_FROM && bad * ONE_IN > rows {
            bail!("{bad} bad samples in {rows}, more than 1%; {advice}{last}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{CaptionWeights, OrderSpec, Place, Shuffle};

    /// A batch of `rows` rows of which those in `bad` are.
    fn batch(rows: usize, bad: &[usize]) -> Batch {
        let mut batch = Batch::default();
        (0..rows).for_each(|row| batch.keys.push(&row.to_string()));
        batch.bad = bad.iter().map(|&row| (row, error(row))).collect();
        batch
    }

    fn error(row: usize) -> LoadError {
        let place = Place { shard: "a.parquet".into(), row, key: format!("k{row}") };
        LoadError::Sample { place, why: "it is cut".into() }
    }

    struct Run(tempfile::TempDir);

    impl Run {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn open(&self, steps: u64, rows: u64) -> BadSamples {
            BadSamples::open(&self.0.path().join("bad_samples.jsonl"), steps, rows).unwrap()
        }

        fn lines(&self) -> Vec<BadSample> {
            let text = std::fs::read_to_string(self.0.path().join("bad_samples.jsonl")).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    const ADVICE: &str = "the shards are damaged: `shards verify` lists what is; the last one";

    #[test]
    fn every_bad_row_is_recorded_with_its_place() {
        let run = Run::new();
        let mut samples = run.open(0, 0);
        samples.note(0, &batch(8, &[2, 3])).unwrap();
        samples.note(1, &batch(8, &[])).unwrap();
        samples.note(2, &batch(8, &[0])).unwrap();
        let line = |step, row: usize, rows, in_a_row| BadSample {
            step,
            epoch: 0,
            shard: "a.parquet".into(),
            row,
            key: format!("k{row}"),
            message: "it is cut".into(),
            rows,
            in_a_row,
        };
        assert_eq!(run.lines(), [line(0, 2, 3, 1), line(0, 3, 4, 2), line(2, 0, 17, 1)]);
        assert_eq!(samples.count(), 3);
    }

    #[test]
    fn a_hundred_in_a_row_end_the_run_also_across_steps_and_kills() {
        let (run, all) = (Run::new(), (0..40).collect::<Vec<_>>());
        run.open(0, 0).note(0, &batch(40, &all)).unwrap();
        let mut samples = run.open(1, 40);
        samples.note(1, &batch(40, &all)).unwrap();
        drop(samples);
        let mut samples = run.open(1, 40); // step 1 is done again
        assert_eq!(samples.count(), 40);
        samples.note(1, &batch(40, &all)).unwrap();
        let error = samples.note(2, &batch(40, &all)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("100 bad samples in a row; {ADVICE}: row 19 of a.parquet, key k19: it is cut")
        );
        assert_eq!(run.lines().len(), 100);
    }

    #[test]
    fn a_good_row_between_begins_the_count_anew() {
        let run = Run::new();
        let mut samples = run.open(0, 0);
        let all: Vec<usize> = (0..99).collect();
        samples.note(0, &batch(99, &all)).unwrap();
        samples.note(1, &batch(1, &[])).unwrap();
        samples.note(2, &batch(99, &all)).unwrap();
        drop(samples);
        let mut samples = run.open(2, 100); // the row before was good
        samples.note(2, &batch(99, &all)).unwrap();
    }

    #[test]
    fn more_than_one_in_a_hundred_end_the_run_from_a_thousand_rows_on() {
        let run = Run::new();
        let mut samples = run.open(0, 0);
        samples.note(0, &batch(999, &(1..20).step_by(2).collect::<Vec<_>>())).unwrap();
        samples.note(1, &batch(50, &[])).unwrap();
        let error = samples.note(2, &batch(50, &[3])).unwrap_err().to_string();
        let place = "row 3 of a.parquet, key k3: it is cut";
        assert_eq!(error, format!("11 bad samples in 1053, more than 1%; {ADVICE}: {place}"));
    }

    #[test]
    fn rows_before_a_step_count_short_steps_where_there_are_any() {
        let order = |drop_last| {
            let spec = OrderSpec {
                fingerprints: vec!["a".into()],
                split: "train".into(),
                seed: 0,
                batch: 4,
                shuffle: Shuffle::Full,
                weights: CaptionWeights::default(),
                captions_per_image: 1,
                drop_last,
                excluded: Vec::new(),
            };
            Order::new(spec, &[10]).unwrap()
        };
        assert_eq!([0, 1, 2, 3, 5].map(|steps| rows_before(steps, &order(true))), [0, 4, 8, 12, 20]);
        assert_eq!([0, 1, 2, 3, 4, 6].map(|steps| rows_before(steps, &order(false))), [0, 4, 8, 10, 14, 20]);
    }
}
