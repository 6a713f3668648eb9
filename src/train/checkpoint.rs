//! `checkpoints/step-<n>`: the run after n steps, whole or absent; `checkpoints/best`: the weights that found the most
//! on `val` so far.

mod background;
mod folder;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tch::nn;

pub use self::writer::{Checkpoints, Due, Parts};
use super::config::Config;
use super::ema::Ema;
use super::optim::AdamW;
use super::skip::Skips;
use super::weights::TensorFile;
use super::{claim, settings, weights};
use crate::files;
use crate::shard::manifest::TokenizerId;

const MODEL: &str = "model.safetensors";
const EMA: &str = "ema.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const CONFIG: &str = "config.toml";
const BEST: &str = "best";

/// What a checkpoint says beside its tensors. Schedule, stage and the loader's place follow from the step, and dropout's
/// generator is seeded anew in every one, so none of them has a state to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub total: u64,
    /// Steps that were skipped.
    #[serde(default)]
    pub skips: Skips,
    /// The shards it was trained on.
    pub fingerprints: Vec<String>,
    /// The vocabulary of their token ids.
    pub tokenizer: TokenizerId,
    /// The CRC-32C of each file of tensors beside it, in hexadecimal, by its name.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Of the best checkpoint: the sum of recall@1, 5 and 10 both ways on `val` that made it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall_sum: Option<f64>,
}

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The newest whole one.
    #[default]
    Latest,
    /// The one with the largest recall sum on `val`.
    Best,
    /// The one after so many steps.
    Step(u64),
}

/// Which weights of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// Those that are trained.
    Model,
    /// Their moving average.
    Ema,
}

/// A checkpoint's folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The folder.
    pub folder: PathBuf,
    /// What it says of itself.
    pub state: State,
}

/// The newest checkpoint of a run that `take` takes. One that is torn, or that `take` refuses, is named through `note`
/// and the one before it is tried; `None` where the run has none.
///
/// # Errors
/// If there are checkpoints and none of them will do.
pub fn newest(
    run: &Path,
    mut note: impl FnMut(&str),
    mut take: impl FnMut(&Checkpoint) -> Result<()>,
) -> Result<Option<Checkpoint>> {
    let folders = folders(run)?;
    let mut last = None;
    for (_, folder) in folders.iter().rev() {
        match Checkpoint::read(folder).and_then(|found| take(&found).map(|()| found)) {
            Ok(found) => return Ok(Some(found)),
            Err(error) => {
                note(&format!("{} is left aside: {error:#}", folder.display()));
                last.get_or_insert(error);
            }
        }
    }
    let advice = || format!("no checkpoint in {} can be used", run.display());
    last.map_or(Ok(None), |error| Err(error).with_context(advice))
}

/// The best checkpoint of a run so far; `None` where it has none.
///
/// # Errors
/// If it is torn.
pub fn best(run: &Path) -> Result<Option<Checkpoint>> {
    let folder = run.join("checkpoints").join(BEST);
    if !folder.exists() {
        return Ok(None);
    }
    let found = Checkpoint::read(&folder).with_context(|| folder.display().to_string())?;
    ensure!(found.state.recall_sum.is_some(), "{} does not say its recall sum", folder.display());
    Ok(Some(found))
}

impl Which {
    /// Finds the checkpoint; of the newest, those that `take` refuses are passed over as in [`newest`].
    ///
    /// # Errors
    /// If there is none, or it is torn or refused.
    pub fn open(self, run: &Path, mut take: impl FnMut(&Checkpoint) -> Result<()>) -> Result<Checkpoint> {
        let found = match self {
            Self::Latest => {
                let found = newest(run, |note| eprintln!("{note}"), take)?;
                return found.with_context(|| format!("--run: {} has no checkpoint", run.display()));
            }
            Self::Best => best(run)?.with_context(|| {
                let run = run.display();
                format!("--checkpoint: {run} has no best checkpoint; run.eval_every > 0 and a split `val` make one")
            })?,
            Self::Step(step) => {
                let folder = run.join("checkpoints").join(name(step));
                ensure!(folder.is_dir(), "--checkpoint: no folder at {}", folder.display());
                Checkpoint::read(&folder).with_context(|| folder.display().to_string())?
            }
        };
        take(&found).with_context(|| found.folder.display().to_string())?;
        Ok(found)
    }
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Self::Latest),
            BEST => Ok(Self::Best),
            _ => step_of(text).map(Self::Step).ok_or_else(|| "it is best, latest or step-N".to_owned()),
        }
    }
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "model" => Ok(Self::Model),
            "ema" => Ok(Self::Ema),
            _ => Err("it is model or ema".to_owned()),
        }
    }
}

impl Checkpoint {
    /// Reads what a folder says of itself and whether its files are whole.
    fn read(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join(STATE)).context(STATE)?;
        let state: State = serde_json::from_str(&text).context(STATE)?;
        let own = folder.file_name().and_then(|own| own.to_str()).unwrap_or_default();
        ensure!(own == BEST || step_of(own) == Some(state.step), "{STATE} is of step {}", state.step);
        let found = Self { folder: folder.to_owned(), state };
        for name in [MODEL, EMA, OPTIMIZER] {
            let (path, must) = (folder.join(name), name == MODEL || (name == OPTIMIZER && own != BEST));
            if must || path.exists() {
                TensorFile::open(&path).context(name)?;
            }
        }
        Ok(found)
    }

    /// A file of its weights, the averages where it has them and `wanted` says nothing else, and which they are.
    ///
    /// # Errors
    /// If the averages are wanted and it has none.
    pub fn weights(&self, wanted: Option<Weights>) -> Result<(PathBuf, Weights)> {
        let ema = self.folder.join(EMA);
        match wanted {
            Some(Weights::Model) => Ok((self.folder.join(MODEL), Weights::Model)),
            _ if ema.exists() => Ok((ema, Weights::Ema)),
            Some(Weights::Ema) => bail!("--weights: there is no {EMA}; optim.ema makes one"),
            None => Ok((self.folder.join(MODEL), Weights::Model)),
        }
    }

    /// What tells these weights from others, where the checkpoint says it.
    pub fn fingerprint(&self, weights: Weights) -> Option<&str> {
        let name = match weights {
            Weights::Model => MODEL,
            Weights::Ema => EMA,
        };
        self.state.files.get(name).map(String::as_str)
    }

    /// Checks that it is of this run: the same config, shards and number of steps.
    ///
    /// # Errors
    /// Names what differs.
    pub fn check(&self, expected: &State, config: &Config) -> Result<()> {
        let own = settings::read(&self.folder.join(CONFIG)).context(CONFIG)?;
        if let Some(key) = claim::difference(&own, config)? {
            bail!("it is of another config: {key}");
        }
        ensure!(
            self.state.fingerprints == expected.fingerprints,
            "it was trained on other shards; name the same --data in the same order, or start a new --out"
        );
        let (theirs, ours) = (self.state.total, expected.total);
        ensure!(theirs == ours, "it is of a run of {theirs} steps, this one has {ours}; start a new --out");
        Ok(())
    }

    /// Checks that a file has the bytes that were written.
    ///
    /// # Errors
    /// If it cannot be read or a bit of it changed.
    pub fn verify(&self, path: &Path) -> Result<()> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(written) = self.state.files.get(name) else { return Ok(()) };
        let found = checksum(files::crc32c_file(path)?);
        ensure!(found == *written, "{name} is damaged: its CRC-32C is {found}, {STATE} says {written}");
        Ok(())
    }

    /// Loads weights, averages and optimiser state.
    ///
    /// # Errors
    /// If they are damaged, or not those of this model.
    pub fn load(&self, model: &nn::VarStore, optimizer: &mut AdamW, ema: Option<&mut Ema>) -> Result<()> {
        for name in [MODEL, EMA, OPTIMIZER] {
            self.verify(&self.folder.join(name))?;
        }
        weights::load_all(model, &self.folder.join(MODEL))?;
        if let Some(ema) = ema {
            ema.load(&self.folder.join(EMA))?;
        }
        let tensors = weights::read_tensors(&self.folder.join(OPTIMIZER))?;
        optimizer.load_state(tensors.into_iter().collect())
    }
}

/// A CRC-32C as [`State::files`] has it.
fn checksum(crc: u32) -> String {
    format!("{crc:08x}")
}

/// The name of the folder after so many steps.
fn name(step: u64) -> String {
    format!("step-{step:08}")
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.parse().ok()
}

/// The step checkpoints of a run, oldest first.
fn folders(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let root = run.join("checkpoints");
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&root).with_context(|| format!("cannot read {}", root.display()))?;
    let step = |entry: &fs::DirEntry| step_of(&entry.file_name().to_string_lossy());
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut all: Vec<_> = folders.filter_map(|entry| Some((step(&entry)?, entry.path()))).collect();
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_named_by_its_step_or_by_what_it_is() {
        assert_eq!("latest".parse(), Ok(Which::Latest));
        assert_eq!("best".parse(), Ok(Which::Best));
        assert_eq!(["step-8", "step-00000008"].map(str::parse), [Ok(Which::Step(8)), Ok(Which::Step(8))]);
        assert_eq!("8".parse::<Which>(), Err("it is best, latest or step-N".to_owned()));
    }
}
