//! `checkpoints/step-<n>`: the run after n steps, whole or absent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tch::nn;

use super::optim::AdamW;
use super::skip::Skips;
use super::weights;
use crate::files::write_whole;
use crate::shard::manifest::TokenizerId;

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// What a checkpoint says beside its tensors. Dropout's generator is seeded anew in every step, so
/// it has no state to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// A checkpoint's folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The folder.
    pub folder: PathBuf,
    /// What it says of itself.
    pub state: State,
}

/// Writes a checkpoint into a temporary folder, names it, and removes all but the last `keep`.
///
/// # Errors
/// If the disk is full or fails; no checkpoint of that name is then there.
pub fn save(
    run: &Path,
    state: &State,
    model: &nn::VarStore,
    optimizer: &AdamW,
    keep: u64,
) -> Result<PathBuf> {
    let root = run.join("checkpoints");
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let temporary = tempfile::Builder::new().prefix(".writing-").tempdir_in(&root)?;
    weights::save(model, &temporary.path().join(MODEL))?;
    weights::write_tensors(&temporary.path().join(OPTIMIZER), optimizer.state().into_iter().collect())?;
    write_whole(&temporary.path().join(STATE), serde_json::to_string_pretty(state)?.as_bytes())?;
    let folder = root.join(format!("step-{:08}", state.step));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::rename(temporary.keep(), &folder).with_context(|| format!("cannot name {}", folder.display()))?;
    fs::File::open(&root)?.sync_all()?;
    let all = folders(run)?;
    for old in all.iter().rev().skip(keep as usize) {
        fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    Ok(folder)
}

/// The newest whole checkpoint of a run. A torn one is named through `note` and the one before it
/// is taken.
///
/// # Errors
/// If the folder cannot be read.
pub fn latest(run: &Path, mut note: impl FnMut(&str)) -> Result<Option<Checkpoint>> {
    for folder in folders(run)?.into_iter().rev() {
        match read(&folder) {
            Ok(state) => return Ok(Some(Checkpoint { folder, state })),
            Err(error) => note(&format!("{} is left aside: {error:#}", folder.display())),
        }
    }
    Ok(None)
}

impl Checkpoint {
    /// Its weights file.
    pub fn model(&self) -> PathBuf {
        self.folder.join(MODEL)
    }

    /// Loads weights and optimiser state.
    ///
    /// # Errors
    /// If they are not those of this model.
    pub fn load(&self, model: &nn::VarStore, optimizer: &mut AdamW) -> Result<()> {
        weights::load_all(model, &self.model())?;
        let tensors = weights::read_tensors(&self.folder.join(OPTIMIZER))?;
        optimizer.load_state(tensors.into_iter().collect())
    }
}

fn read(folder: &Path) -> Result<State> {
    let text = fs::read_to_string(folder.join(STATE)).context(STATE)?;
    let state: State = serde_json::from_str(&text).context(STATE)?;
    for name in [MODEL, OPTIMIZER] {
        check_whole(&folder.join(name)).context(name)?;
    }
    Ok(state)
}

/// A safetensors file says its own length: eight bytes of header length, the header, and the last
/// tensor's end in it.
fn check_whole(path: &Path) -> Result<()> {
    let bytes = fs::read(path)?;
    safetensors::SafeTensors::deserialize(&bytes).map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(!bytes.is_empty(), "it is empty");
    Ok(())
}

/// The checkpoint folders of a run, oldest first.
fn folders(run: &Path) -> Result<Vec<PathBuf>> {
    let root = run.join("checkpoints");
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("step-");
    let mut all: Vec<PathBuf> =
        fs::read_dir(&root)?.flatten().filter(named).map(|entry| entry.path()).collect();
    all.sort();
    Ok(all)
}
