//! Checkpoints are copied where the run stands, and written by a thread beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tch::{Device, Tensor, nn};

use super::background::Background;
use super::folder::Folder;
use super::{CONFIG, EMA, MODEL, OPTIMIZER, State};
use crate::train::ema::Ema;
use crate::train::optim::AdamW;

/// The checkpoints of a run, written one at a time by a thread that this owns: the next save waits for the one before
/// and has its error, as has [`Checkpoints::finish`]. Dropped early, it is waited for too.
pub struct Checkpoints {
    folder: Arc<Folder>,
    background: Background,
    snapshot: Snapshot,
}

/// What a save is due for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Due {
    /// A checkpoint of its own, `step-<n>`.
    pub step: bool,
    /// The best so far, with this sum of recalls.
    pub best: Option<f64>,
}

/// What a run has to keep.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The weights.
    pub model: &'a nn::VarStore,
    /// Their moving averages.
    pub ema: Option<&'a Ema>,
    /// The optimiser.
    pub optimizer: &'a AdamW,
}

type Tensors = BTreeMap<String, Tensor>;

/// Copies of tensors in the CPU's memory, by the names of their files.
pub type Copied = Vec<(&'static str, Tensors)>;

/// The memory that tensors are copied to, kept from one checkpoint to the next: to touch gigabytes of fresh pages takes
/// longer than to copy into them.
#[derive(Default)]
struct Snapshot(BTreeMap<&'static str, Tensors>);

impl Checkpoints {
    /// The checkpoints of the run in `run`, whose config is there. What a killed run left half done is tidied up.
    ///
    /// # Errors
    /// If the folder cannot be read or written.
    pub fn open(run: &Path, keep_last: u64) -> Result<Self> {
        let config = run.join(CONFIG);
        let config =
            fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
        let (run, root) = (run.to_owned(), run.join("checkpoints"));
        let folder = Folder { run, root, keep: keep_last as usize, config };
        folder.tidy()?;
        Ok(Self {
            folder: Arc::new(folder),
            background: Background::default(),
            snapshot: Snapshot::default(),
        })
    }

    /// Copies what is due, once the write before is done, and begins to write it.
    ///
    /// # Errors
    /// That of the write before.
    pub fn save(&mut self, due: Due, state: State, parts: Parts) -> Result<()> {
        self.background.wait()?;
        let copied = self.snapshot.copy(parts, due);
        let folder = self.folder.clone();
        self.background.start(move || folder.write(due, &state, &copied))
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// If the last write failed.
    pub fn finish(mut self) -> Result<()> {
        self.background.wait()
    }
}

impl Snapshot {
    /// The optimiser is left out where only the best is due: that one is to be used, not to go on from. What was copied
    /// before must no longer be read.
    fn copy(&mut self, parts: Parts, due: Due) -> Copied {
        let mut files: Copied = vec![(MODEL, parts.model.variables().into_iter().collect())];
        files.extend(parts.ema.map(|ema| (EMA, ema.store().variables().into_iter().collect())));
        files.extend(due.step.then(|| (OPTIMIZER, parts.optimizer.state().into_iter().collect())));
        for (file, tensors) in &mut files {
            let kept = self.0.entry(file).or_default();
            for (name, tensor) in tensors {
                let now = tensor.detach();
                let copy = kept
                    .entry(name.clone())
                    .or_insert_with(|| Tensor::empty_like(&now).to_device(Device::Cpu));
                copy.copy_(&now);
                *tensor = copy.shallow_clone();
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::shard::manifest::TokenizerId;
    use crate::train::checkpoint::{best, name, newest};
    use crate::train::optim::AdamWConfig;
    use crate::train::skip::Skips;
    use crate::train::weights;

    struct Run {
        folder: TempDir,
        store: nn::VarStore,
        optimizer: AdamW,
    }

    impl Run {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(CONFIG), "").unwrap();
            let store = nn::VarStore::new(Device::Cpu);
            let _ = store.root().zeros("a", &[3]);
            let optimizer = AdamW::new(&store, AdamWConfig::default());
            Self { folder, store, optimizer }
        }

        fn open(&self) -> Checkpoints {
            Checkpoints::open(self.folder.path(), 2).unwrap()
        }

        fn save(&self, checkpoints: &mut Checkpoints, step: u64, due: Due) -> Result<()> {
            let parts = Parts { model: &self.store, ema: None, optimizer: &self.optimizer };
            checkpoints.save(due, state(step), parts)
        }

        /// Saves one step's checkpoint after the other and waits.
        fn saved(&self, steps: &[u64]) {
            let mut checkpoints = self.open();
            steps.iter().for_each(|&step| self.save(&mut checkpoints, step, STEP).unwrap());
            checkpoints.finish().unwrap();
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join("checkpoints").join(name)
        }

        /// Names of all that is among the checkpoints.
        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.path("")).unwrap().flatten();
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    const STEP: Due = Due { step: true, best: None };

    fn state(step: u64) -> State {
        let tokenizer = TokenizerId { sha256: String::new(), vocab_size: 9, max_tokens: 8 };
        State {
            step,
            total: 9,
            skips: Skips::default(),
            fingerprints: vec!["a".into()],
            tokenizer,
            files: BTreeMap::new(),
            recall_sum: None,
        }
    }

    #[test]
    fn the_last_ones_are_kept_and_later_ones_of_another_run_are_not_counted() {
        let run = Run::new();
        fs::create_dir_all(run.path("step-00000099")).unwrap();
        run.saved(&[1, 2, 3]);
        assert_eq!(run.names(), ["step-00000002", "step-00000003", "step-00000099"]);
    }

    #[test]
    fn a_checkpoint_holds_what_was_there_when_it_was_saved() {
        let run = Run::new();
        let mut checkpoints = run.open();
        run.save(&mut checkpoints, 1, STEP).unwrap();
        tch::no_grad(|| drop(run.store.variables()["a"].shallow_clone().fill_(7.0)));
        checkpoints.finish().unwrap();
        let saved = weights::read_tensors(&run.path("step-00000001").join(MODEL)).unwrap();
        assert_eq!(saved["a"].double_value(&[0]), 0.0);
    }

    #[test]
    fn the_best_has_its_sum_and_no_optimiser_and_is_not_counted() {
        let run = Run::new();
        let mut checkpoints = run.open();
        run.save(&mut checkpoints, 1, Due { step: true, best: Some(2.5) }).unwrap();
        checkpoints.finish().unwrap();
        run.saved(&[2, 3]);
        assert_eq!(run.names(), ["best", "step-00000002", "step-00000003"]);
        let found = best(run.folder.path()).unwrap().unwrap();
        assert_eq!(found.state.files.keys().collect::<Vec<_>>(), [MODEL]);
        let files = found.state.files.clone();
        assert_eq!(found.state, State { recall_sum: Some(2.5), files, ..state(1) });
        assert!(!run.path("best").join(OPTIMIZER).exists());
        let mut checkpoints = run.open();
        run.save(&mut checkpoints, 4, Due { step: false, best: Some(3.0) }).unwrap();
        checkpoints.finish().unwrap();
        assert_eq!(best(run.folder.path()).unwrap().unwrap().state.step, 4);
        assert_eq!(run.names(), ["best", "step-00000002", "step-00000003"]);
    }

    #[test]
    fn a_failed_write_is_told_at_the_next_save_or_at_the_end() {
        let run = Run::new();
        let mut checkpoints = run.open();
        let root = run.folder.path().join("checkpoints");
        fs::write(&root, "a file where the folder has to be").unwrap();
        let expected = format!("cannot make {}", root.display());
        run.save(&mut checkpoints, 1, STEP).unwrap();
        assert_eq!(run.save(&mut checkpoints, 2, STEP).unwrap_err().to_string(), expected);
        run.save(&mut checkpoints, 3, STEP).unwrap();
        assert_eq!(checkpoints.finish().unwrap_err().to_string(), expected);
    }

    #[test]
    fn dropped_early_the_checkpoint_is_whole() {
        let run = Run::new();
        let mut checkpoints = run.open();
        run.save(&mut checkpoints, 1, STEP).unwrap();
        drop(checkpoints);
        assert_eq!(run.names(), ["step-00000001"]);
        let found = newest(run.folder.path(), |note| panic!("{note}"), |_| Ok(())).unwrap().unwrap();
        let files = found.state.files.clone();
        assert_eq!(files.keys().collect::<Vec<_>>(), [MODEL, OPTIMIZER]);
        assert_eq!(found.state, State { files, ..state(1) });
    }

    #[test]
    fn what_a_kill_left_half_done_is_tidied_up() {
        let run = Run::new();
        run.saved(&[1]);
        fs::create_dir_all(run.path(".writing-x")).unwrap();
        fs::rename(run.path("step-00000001"), run.path(".replaced-step-00000001")).unwrap();
        run.open();
        assert_eq!(run.names(), ["step-00000001"]);
        fs::create_dir_all(run.path(".replaced-step-00000001")).unwrap();
        run.open();
        assert_eq!(run.names(), ["step-00000001"]);
    }

    #[test]
    fn a_torn_or_foreign_one_is_named_and_the_one_before_is_taken() {
        let run = Run::new();
        run.saved(&[1, 2]);
        fs::write(run.path("step-00000002").join(OPTIMIZER), b"torn").unwrap();
        let mut notes = Vec::new();
        let mut newest = |take: fn(&super::super::Checkpoint) -> Result<()>| {
            let found = newest(run.folder.path(), |note| notes.push(note.to_owned()), take);
            (found.map(|found| found.map(|found| found.state.step)), std::mem::take(&mut notes))
        };
        let aside =
            |step: u64, why: &str| format!("{} is left aside: {why}", run.path(&name(step)).display());
        let torn = aside(2, "optimizer.safetensors: it is cut: failed to fill whole buffer");
        let (found, notes) = newest(|_| Ok(()));
        assert_eq!((found.unwrap(), notes), (Some(1), vec![torn.clone()]));
        let (found, notes) = newest(|_| anyhow::bail!("it is of another config"));
        assert_eq!(notes, [torn, aside(1, "it is of another config")]);
        assert!(found.unwrap_err().to_string().ends_with(" can be used"));
        fs::rename(run.path("step-00000001"), run.path("step-00000003")).unwrap();
        let (_, notes) = newest(|_| Ok(()));
        assert_eq!(notes[0], aside(3, "state.json is of step 1"));
    }
}
