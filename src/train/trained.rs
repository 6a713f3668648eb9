//! A run, opened to be used.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor, nn};

use super::checkpoint::{Checkpoint, Weights, Which};
use super::config::Config;
use super::model::Undrawn;
use super::model::clip::Clip;
use super::{device, settings, trainer, weights};
use crate::prepare::tokenize::WordPieces;
use crate::shard::Dataset;

/// Which of a run's weights are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// The checkpoint.
    pub checkpoint: Which,
    /// Its weights; without a choice, the averages where it has them.
    pub weights: Option<Weights>,
}

/// The model of one of a run's checkpoints.
pub struct Trained {
    /// The run's folder.
    pub run: PathBuf,
    /// Its config.
    pub config: Config,
    /// Where the weights came from.
    pub checkpoint: Checkpoint,
    /// Which of its weights they are.
    pub weights: Weights,
    /// Where it lives.
    pub device: Device,
    clip: Clip,
    store: nn::VarStore,
}

impl Trained {
    /// Opens one checkpoint of a run, by default the newest whole one.
    ///
    /// # Errors
    /// If the folder is no run, or has no such checkpoint.
    pub fn open(run: &Path, device_name: &str, choice: Choice) -> Result<Self> {
        ensure!(run.is_dir(), "--run: no folder at {}", run.display());
        let config = settings::read(&run.join("config.toml")).context("--run")?.without_weights();
        let device = device::parse(device_name)?;
        device::set_threads(config.run.threads);
        let (store, clip) = {
            let _undrawn = Undrawn::guard(); // the checkpoint has every weight
            trainer::build(&config, device)?
        };
        let mut weights = Weights::Model;
        let checkpoint = choice.checkpoint.open(run, |found| {
            let (file, which) = found.weights(choice.weights)?;
            weights = which;
            found.verify(&file)?;
            weights::load_all(&store, &file)
        })?;
        Ok(Self { run: run.to_owned(), config, checkpoint, weights, device, clip, store })
    }

    /// The model.
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// Its variables by the names of the model file.
    pub fn variables(&self) -> Vec<(String, Tensor)> {
        self.store.variables().into_iter().collect()
    }

    /// Number of its parameters, statistics of norms not counted.
    pub fn parameters(&self) -> u64 {
        self.store.trainable_variables().iter().map(|tensor| tensor.numel() as u64).sum()
    }

    /// What tells its weights from others.
    pub fn fingerprint(&self) -> Option<&str> {
        self.checkpoint.fingerprint(self.weights)
    }

    /// Its floating-point type.
    pub fn kind(&self) -> Kind {
        trainer::kind(self.config.run.precision)
    }

    /// Checks that a dataset speaks the model's vocabulary.
    ///
    /// # Errors
    /// If its token ids belong to another.
    pub fn check_vocabulary(&self, dataset: &Dataset) -> Result<()> {
        let (theirs, ours) = (&dataset.manifest.tokenizer, &self.checkpoint.state.tokenizer);
        let root = dataset.root.display();
        ensure!(
            theirs.sha256 == ours.sha256,
            "--data: the token ids of {root} are not of this run's vocabulary"
        );
        Ok(())
    }

    /// The longest row of token ids that the model saw: that of the config, or of the shards where it is shorter.
    pub fn max_tokens(&self) -> usize {
        let stored = self.checkpoint.state.tokenizer.max_tokens as usize;
        self.config.data.max_tokens.unwrap_or(stored).min(stored)
    }

    /// The tokenizer of the run's vocabulary: the bundled one, or the one in `file`.
    ///
    /// # Errors
    /// If it has another vocabulary.
    pub fn tokenizer(&self, file: Option<&Path>) -> Result<WordPieces> {
        let ours = &self.checkpoint.state.tokenizer;
        let length = self.max_tokens();
        let pieces = match file {
            Some(file) => WordPieces::from_file(file, length).context("--tokenizer")?,
            None => WordPieces::bundled(length)?,
        };
        let same = pieces.id().sha256 == ours.sha256;
        ensure!(
            same,
            "--tokenizer: the run was trained with another vocabulary; name its tokenizer.json or vocab.txt"
        );
        Ok(pieces)
    }
}
