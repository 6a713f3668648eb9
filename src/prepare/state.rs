//! What stands in OUT: nothing, a half-done dataset or a finished one; and the state that lets a
//! half-done one go on: `OUT/.pairmill/plan.json` and a small file for each finished shard.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::plan::ShardPlan;
use super::recipe::Recipe;
use crate::files::write_whole;
use crate::shard::manifest::{HUGGING_FACE, MANIFEST, REJECTS, RejectEntry, SHARDS};
use crate::shard::{Dataset, Manifest, ShardEntry};
use crate::store::Location;

const FOLDER: &str = ".pairmill";
const PLAN: &str = "plan.json";

/// What is kept of a finished shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// Its files, one a view.
    pub entries: Vec<ShardEntry>,
    /// Rows that are not in it.
    pub rejects: Vec<RejectEntry>,
    /// Captions of one view.
    pub captions: u64,
    /// Empty captions that were dropped from its rows.
    pub empty_captions: u64,
}

/// What stands in OUT.
pub enum Found {
    /// A finished dataset of the same recipe.
    Finished(Box<Dataset>),
    /// A dataset to begin or to go on with.
    Open(State),
}

/// A dataset that is being made.
pub struct State {
    out: PathBuf,
}

/// What to do with a dataset of another recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Keep it and stop.
    Keep,
    /// Begin anew in its place.
    Overwrite,
}

/// Looks at OUT and makes it ready: a finished dataset is checked by names and sizes, leftovers of
/// a run that was killed are swept away, another recipe's dataset is refused or removed.
///
/// # Errors
/// If OUT holds something else, is damaged or cannot be written.
pub fn open(out: &Location, recipe: &Recipe, existing: Existing) -> Result<Found> {
    let root = out.path();
    ensure!(!root.exists() || root.is_dir(), "--out: {out} is not a folder");
    let state = State { out: root.to_owned() };
    let half_done: Option<Recipe> = read(&state.path(PLAN))?;
    if existing == Existing::Overwrite {
        state.begin(recipe)?;
    } else if let Some(manifest) = Manifest::read(root)? {
        refuse_another(out, recipe, &Recipe::of(manifest))?;
        let dataset = finished(out, &state)?;
        return Ok(Found::Finished(Box::new(dataset)));
    } else if let Some(there) = half_done {
        refuse_another(out, recipe, &there)?;
    } else {
        refuse_foreign(out)?;
        state.begin(recipe)?;
    }
    state.sweep()?;
    Ok(Found::Open(state))
}

impl State {
    /// The record of a shard that an earlier run finished, if all of its files stand.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn finished(&self, shard: &ShardPlan) -> Result<Option<Filled>> {
        let filled: Option<Filled> = read(&self.path(&record(shard)))?;
        let stands = |entry: &ShardEntry| size(&self.out.join(&entry.path)) == Some(entry.bytes);
        Ok(filled.filter(|filled| filled.entries.iter().all(stands)))
    }

    /// Records that a shard's files stand.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn finish(&self, shard: &ShardPlan, filled: &Filled) -> Result<()> {
        write_whole(&self.path(&record(shard)), &serde_json::to_vec(filled)?)
    }

    /// Forgets everything; for after the manifest is there.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn close(&self) -> Result<()> {
        remove_all(&self.out.join(FOLDER))
    }

    /// Forgets everything and removes the shards; for a run whose result is of no use.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn abandon(&self) -> Result<()> {
        self.close()?;
        self.sweep()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.out.join(FOLDER).join(name)
    }

    /// The plan first, then the removals: killed in between, the next run knows what to go on with.
    fn begin(&self, recipe: &Recipe) -> Result<()> {
        self.close()?;
        write_whole(&self.path(PLAN), &serde_json::to_vec_pretty(recipe)?)?;
        for name in [MANIFEST, SHARDS, REJECTS, HUGGING_FACE] {
            remove(&self.out.join(name))?;
        }
        Ok(())
    }

    /// Removes our temporary files and every shard that no record names.
    fn sweep(&self) -> Result<()> {
        let known = self.recorded()?;
        for folder in folders(&self.out)? {
            for name in names_in(&folder)? {
                let path = folder.join(&name);
                if is_temporary(&name) || (is_shard(&name) && !known.contains(&path)) {
                    remove(&path)?;
                }
            }
            let _ = fs::remove_dir(&folder); // only where nothing is left in it
        }
        for folder in [self.out.clone(), self.out.join(FOLDER)] {
            for name in names_in(&folder)?.into_iter().filter(|name| is_temporary(name)) {
                remove(&folder.join(name))?;
            }
        }
        Ok(())
    }

    fn recorded(&self) -> Result<HashSet<PathBuf>> {
        let mut paths = HashSet::new();
        let records = names_in(&self.out.join(FOLDER))?;
        for name in records.into_iter().filter(|name| name.ends_with(".json") && name != PLAN) {
            let filled: Option<Filled> = read(&self.path(&name))?;
            paths.extend(filled.into_iter().flat_map(|filled| filled.entries).map(|e| self.out.join(e.path)));
        }
        Ok(paths)
    }
}

fn finished(out: &Location, state: &State) -> Result<Dataset> {
    let dataset = Dataset::open(out).map_err(|error| error.context("--out"))?;
    for entry in &dataset.shards {
        let path = dataset.root.join(&entry.path);
        let wrong = match size(&path) {
            Some(bytes) if bytes == entry.bytes => continue,
            Some(bytes) => format!("has {bytes} bytes, not {}", entry.bytes),
            None => "is missing".to_owned(),
        };
        bail!("--out: {} {wrong}; `--overwrite` makes the dataset anew", path.display());
    }
    state.close()?; // a run that was killed after its manifest leaves it
    Ok(dataset)
}

fn refuse_another(out: &Location, here: &Recipe, there: &Recipe) -> Result<()> {
    let differences = here.differences(there);
    ensure!(
        differences.is_empty(),
        "--out: {out} was made with other options: {}; name another folder, or give --overwrite",
        differences.join("; ")
    );
    Ok(())
}

/// A folder with anything but our files is not ours to fill.
fn refuse_foreign(out: &Location) -> Result<()> {
    let ours = [MANIFEST, SHARDS, REJECTS, HUGGING_FACE, FOLDER];
    for name in names_in(out.path())? {
        let path = out.path().join(&name);
        let inside =
            || names_in(&path).is_ok_and(|names| names.iter().all(|n| is_shard(n) || is_temporary(n)));
        let known = ours.contains(&name.as_str()) || is_temporary(&name) || (path.is_dir() && inside());
        ensure!(
            known,
            "--out: {out} holds {name}, which is not part of a dataset; name another folder, or give --overwrite \
             (it removes a dataset's files only)"
        );
    }
    Ok(())
}

fn record(shard: &ShardPlan) -> String {
    format!("shard-{}.json", shard.name())
}

/// `v<view>-<number>.parquet`
fn is_shard(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name.strip_prefix('v').and_then(|rest| rest.strip_suffix(".parquet")?.split_once('-'));
    parts.is_some_and(|(view, number)| digits(view) && number.len() >= 5 && digits(number))
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(".pairmill-") && name.ends_with(".tmp")
}

/// Folders that may hold shards.
fn folders(out: &Path) -> Result<Vec<PathBuf>> {
    let names = names_in(out)?.into_iter().filter(|name| !name.starts_with('.'));
    // A link to a folder is somebody else's.
    let is_folder = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    Ok(names.map(|name| out.join(name)).filter(is_folder).collect())
}

/// Names in a folder, sorted; none where there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let reading = || format!("--out: cannot read {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.with_context(reading)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => {
            let value = serde_json::from_slice(&bytes);
            value.map(Some).with_context(|| format!("--out: {} is damaged; give --overwrite", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("--out: cannot read {}", path.display())),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("--out: cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn remove_all(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("--out: cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_like_ours_are_shards() {
        assert!(is_shard("v0-00000.parquet") && is_shard("v12-123456.parquet"));
        let others = ["v0.parquet", "v0-1.parquet", "va-00000.parquet", "v0-00000.parquet.bak", "x.parquet"];
        assert!(!others.into_iter().any(is_shard));
    }
}
