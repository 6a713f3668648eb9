//! `data.json`: where the datasets lay that a run is trained on, and which they were.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::shard::Dataset;
use crate::store::Location;

pub const FILE: &str = "data.json";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Source {
    path: String,
    fingerprint: String,
}

/// Writes down where a run's datasets lie now.
///
/// # Errors
/// If the disk fails.
#[cfg(feature = "train")]
pub fn write(run: &Path, datasets: &[Dataset]) -> Result<()> {
    let source = |dataset: &Dataset| -> Result<Source> {
        let path = std::path::absolute(&dataset.root)?.to_string_lossy().into_owned();
        Ok(Source { path, fingerprint: dataset.fingerprint().to_owned() })
    };
    let sources = datasets.iter().map(source).collect::<Result<Vec<_>>>()?;
    let mut json = serde_json::to_string_pretty(&sources)?;
    json.push('\n');
    crate::files::write_whole(&run.join(FILE), json.as_bytes())
}

/// Opens the datasets that a run was trained on, where they were, or `instead` of there where that names any.
///
/// # Errors
/// If they are not there, or are others.
pub fn open(run: &Path, instead: &[Location]) -> Result<Vec<Dataset>> {
    let path = run.join(FILE);
    let known: Option<Vec<Source>> = match path.is_file() {
        true => {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?)
        }
        false => None,
    };
    if !instead.is_empty() {
        let datasets = instead.iter().map(Dataset::open).collect::<Result<Vec<_>>>().context("--data")?;
        let known = known.iter().flatten().map(|source| source.fingerprint.as_str());
        let same = known.clone().eq(datasets.iter().map(Dataset::fingerprint));
        ensure!(
            same || known.count() == 0,
            "--data: the run was trained on other shards; name the same ones, all of them and in the order of `train`'s --data"
        );
        return Ok(datasets);
    }
    let known = known.with_context(|| {
        format!("{} has no {FILE} that says where its shards are: name them with --data", run.display())
    })?;
    known.iter().map(Source::open).collect()
}

impl Source {
    fn open(&self) -> Result<Dataset> {
        let dataset = Dataset::open(&Location::local(&self.path))
            .context("the run was trained on shards that are not there now; --data names where they are")?;
        ensure!(
            dataset.fingerprint() == self.fingerprint,
            "the run was trained on other shards than lie in {} now; --data names where the old ones are",
            self.path
        );
        Ok(dataset)
    }
}
