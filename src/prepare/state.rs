//! What lets a half-done dataset go on: `OUT/.pairmill/plan.json` and a small file for each finished
//! shard.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::folder::{is_shard, is_temporary, names_in, read, remove, size, splits};
use super::plan::ShardPlan;
use super::recipe::Recipe;
use crate::files::lock::{Lock, STATE};
use crate::files::write_whole;
use crate::shard::ShardEntry;
use crate::shard::manifest::{HUGGING_FACE, MANIFEST, REJECTS, RejectEntry, SHARDS};
use crate::store::Location;

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

/// A dataset that is being made, by this process alone.
pub struct State {
    out: PathBuf,
    _lock: Lock,
}

impl State {
    /// Takes hold of OUT.
    ///
    /// # Errors
    /// If another process has, or OUT cannot be written.
    pub fn take(out: &Location) -> Result<Self> {
        Ok(Self { out: out.path().to_owned(), _lock: Lock::take(out.path(), "prepare")? })
    }

    /// What the half-done dataset is made by; `None` where there is none.
    ///
    /// # Errors
    /// If the plan cannot be read.
    pub fn plan(&self) -> Result<Option<Recipe>> {
        read(&self.path(PLAN))
    }

    /// Begins a dataset in the place of whatever stands there.
    ///
    /// # Errors
    /// If OUT cannot be written.
    pub fn begin(&self, recipe: &Recipe) -> Result<()> {
        self.close()?;
        self.open_again(recipe)
    }

    /// Makes a finished dataset a half-done one of which the recorded shards are finished. The plan
    /// first, then the removals: killed in between, the next run knows what to go on with.
    ///
    /// # Errors
    /// If OUT cannot be written.
    pub fn open_again(&self, recipe: &Recipe) -> Result<()> {
        write_whole(&self.path(PLAN), &serde_json::to_vec_pretty(recipe)?)?;
        [MANIFEST, SHARDS, REJECTS, HUGGING_FACE].iter().try_for_each(|name| remove(&self.out.join(name)))
    }

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

    /// Forgets a shard's record, before its files are written anew: a record never speaks of files
    /// of another run.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn forget(&self, shard: &ShardPlan) -> Result<()> {
        remove(&self.path(&record(shard)))
    }

    /// Forgets the shards that something was rejected from.
    ///
    /// # Errors
    /// If a record cannot be read or removed.
    pub fn forget_rejected(&self) -> Result<()> {
        for name in self.records()? {
            let filled: Option<Filled> = read(&self.path(&name))?;
            if filled.is_some_and(|filled| !filled.rejects.is_empty()) {
                remove(&self.path(&name))?;
            }
        }
        Ok(())
    }

    /// Forgets everything; for after the manifest is there. The folder goes with the lock.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn close(&self) -> Result<()> {
        let names = names_in(&self.out.join(STATE))?;
        names.iter().filter(|name| !Lock::is(name)).try_for_each(|name| remove(&self.path(name)))
    }

    /// Forgets everything and removes the shards; for a run whose result is of no use.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn abandon(&self) -> Result<()> {
        self.close()?;
        self.sweep()
    }

    /// Removes our temporary files and every shard that no record names.
    ///
    /// # Errors
    /// If something cannot be read or removed.
    pub fn sweep(&self) -> Result<()> {
        let known = self.recorded()?;
        for folder in splits(&self.out)? {
            for name in names_in(&folder)? {
                let path = folder.join(&name);
                if is_temporary(&name) || (is_shard(&name) && !known.contains(&path)) {
                    remove(&path)?;
                }
            }
            let _ = std::fs::remove_dir(&folder); // only where nothing is left in it
        }
        for folder in [self.out.clone(), self.out.join(STATE)] {
            for name in names_in(&folder)?.into_iter().filter(|name| is_temporary(name)) {
                remove(&folder.join(name))?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.out.join(STATE).join(name)
    }

    fn records(&self) -> Result<Vec<String>> {
        let names = names_in(&self.out.join(STATE))?;
        Ok(names.into_iter().filter(|name| name.ends_with(".json") && name != PLAN).collect())
    }

    fn recorded(&self) -> Result<HashSet<PathBuf>> {
        let mut paths = HashSet::new();
        for name in self.records()? {
            let filled: Option<Filled> = read(&self.path(&name))?;
            paths.extend(filled.into_iter().flat_map(|filled| filled.entries).map(|e| self.out.join(e.path)));
        }
        Ok(paths)
    }
}

fn record(shard: &ShardPlan) -> String {
    format!("shard-{}.json", shard.name())
}
