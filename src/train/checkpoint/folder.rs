//! The folders of checkpoints: filled beside their names, then named; whole or absent.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::writer::{Copied, Due};
use super::{BEST, CONFIG, EMA, MODEL, OPTIMIZER, STATE, State, checksum, folders, name};
use crate::files::write_whole;
use crate::train::weights;

/// How the name of a folder begins that is being filled, and that of one that is being replaced.
const WRITING: &str = ".writing-";
const REPLACED: &str = ".replaced-";

/// Where the checkpoints of a run lie.
pub struct Folder {
    /// The run's folder.
    pub run: PathBuf,
    /// Its `checkpoints`.
    pub root: PathBuf,
    /// How many steps' are kept.
    pub keep: usize,
    /// The text of the run's config.
    pub config: String,
}

impl Folder {
    /// Fills a temporary folder and names it, the best first: once a step's checkpoint is there, nothing that belongs
    /// before it is still to come. Then removes all but the last checkpoints up to this step.
    pub fn write(&self, due: Due, state: &State, copied: &Copied) -> Result<()> {
        fs::create_dir_all(&self.root).with_context(|| format!("cannot make {}", self.root.display()))?;
        let (filled, files) = self.filled(copied)?;
        if due.best.is_some() {
            let files = files.clone().into_iter().filter(|(name, _)| name != OPTIMIZER).collect();
            let state = State { recall_sum: due.best, files, ..state.clone() };
            self.publish(self.linked(&filled)?, BEST, &state)?;
        }
        if due.step {
            self.publish(filled, &name(state.step), &State { files, ..state.clone() })?;
            // In a row of skipped steps, the last good weights are those of an older checkpoint.
            if state.skips.in_a_row == 0 {
                self.prune(state.step)?;
            }
        }
        Ok(())
    }

    fn temporary(&self) -> Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(WRITING).permissions(Permissions::from_mode(0o755)); // as readable as any other folder
        builder.tempdir_in(&self.root).with_context(|| format!("cannot write in {}", self.root.display()))
    }

    /// A folder with all but the state, and the checksums of its tensors.
    fn filled(&self, copied: &Copied) -> Result<(TempDir, BTreeMap<String, String>)> {
        let (folder, mut files) = (self.temporary()?, BTreeMap::new());
        for (file, tensors) in copied {
            let crc = weights::write_tensors(&folder.path().join(file), tensors)?;
            files.insert((*file).to_owned(), checksum(crc));
        }
        write_whole(&folder.path().join(CONFIG), self.config.as_bytes())?;
        Ok((folder, files))
    }

    /// The same files once more, all but the optimiser's, without their bytes where the file system can.
    fn linked(&self, filled: &TempDir) -> Result<TempDir> {
        let folder = self.temporary()?;
        for file in [MODEL, EMA, CONFIG] {
            let (from, to) = (filled.path().join(file), folder.path().join(file));
            if from.exists() && fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
                File::open(&to)?.sync_all()?;
            }
        }
        Ok(folder)
    }

    /// Gives a filled folder its state and its name; one that has the name goes out of the way first.
    fn publish(&self, filled: TempDir, name: &str, state: &State) -> Result<()> {
        write_whole(&filled.path().join(STATE), serde_json::to_string_pretty(state)?.as_bytes())?;
        let (folder, old) = (self.root.join(name), self.root.join(format!("{REPLACED}{name}")));
        let failed = || format!("cannot name {}", folder.display());
        if folder.exists() {
            fs::rename(&folder, &old).with_context(failed)?;
        }
        fs::rename(filled.keep(), &folder).with_context(failed)?;
        File::open(&self.root)?.sync_all()?;
        if old.exists() {
            fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }

    /// Removes all but the last checkpoints up to `step`; later ones, which a resumed run left aside, do not count.
    fn prune(&self, step: u64) -> Result<()> {
        let all = folders(&self.run)?;
        for (_, old) in all.iter().rev().filter(|(own, _)| *own <= step).skip(self.keep) {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }

    /// Removes folders that were being filled, and puts back one that was to be replaced and was not.
    pub fn tidy(&self) -> Result<()> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Ok(()) };
        for path in entries.flatten().map(|entry| entry.path()) {
            let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let replaced = own.strip_prefix(REPLACED).map(|name| self.root.join(name));
            let done = match replaced {
                Some(folder) if !folder.exists() => fs::rename(&path, folder),
                Some(_) => fs::remove_dir_all(&path),
                None if own.starts_with(WRITING) => fs::remove_dir_all(&path),
                None => Ok(()),
            };
            done.with_context(|| format!("cannot tidy up {}", path.display()))?;
        }
        Ok(())
    }
}
