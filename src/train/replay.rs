//! What a step of a run saw, without the model: order, crops, captions, flips and colours are functions of the shards,
//! the config and the step.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::augment::{Augmentation, pixels};
use super::config::Config;
use super::pair_losses::PairLosses;
use super::stages::Plan;
use super::{feed, settings, sources};
use crate::decode::Cut;
use crate::load::{Batch, Batcher, Cursor};
use crate::sample::{Augment, CaptionKind, Rgb, Sample};
use crate::store::Location;

/// A run whose steps can be seen again.
pub struct Replay {
    run: PathBuf,
    config: Config,
    plan: Plan,
    batcher: Batcher,
}

/// What a step saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// From 0 over the whole run.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// Name of the stage.
    pub stage: String,
    /// What the log says of it; `None` where it has no line of the step.
    pub logged: Option<Logged>,
    /// Its pairs in the order of the batch.
    pub pairs: Vec<Pair>,
}

/// What a line of `metrics.jsonl` says of its step.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Logged {
    /// The loss that was minimised; none where the step was skipped.
    pub loss: Option<f64>,
    keys_sha256: String,
}

/// One image with its captions, as a step saw them.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The picture, cut, flipped and jittered, as the trainer has it before normalising, to half a level.
    pub picture: Result<Rgb, String>,
    /// The square of the stored picture that it is; `None` where that is damaged.
    pub cut: Option<Cut>,
    /// What was done to it after the cut; `None` where the config asks for nothing.
    pub augment: Option<Augment>,
    /// The captions chosen, in their order.
    pub captions: Vec<(CaptionKind, String)>,
    /// What it added to the contrastive loss, where the run has written that down.
    pub loss: Option<f32>,
    /// The row of the shard that it comes from.
    pub stored: Sample,
}

impl Replay {
    /// Opens a run by its config and the datasets that it was trained on, `data` instead of where they were if that
    /// names any.
    ///
    /// # Errors
    /// If the folder is no run, or the datasets are not there or are others.
    pub fn open(run: &Path, data: &[Location]) -> Result<Self> {
        let config = settings::read(&run.join("config.toml")).context("--run")?;
        let datasets = sources::open(run, data)?;
        let batcher = feed::batcher(&datasets, &config)?;
        let plan = Plan::of(&config, batcher.order().steps())?;
        Ok(Self { run: run.to_owned(), config, plan, batcher })
    }

    /// Steps of the run, those that are still to be done too.
    pub fn steps(&self) -> u64 {
        self.plan.total()
    }

    /// What a step saw, or will see. The order is held against the log, where that has a line of the step.
    ///
    /// # Errors
    /// If the run has no such step, it saw other keys by its log, a shard cannot be read, or a picture is damaged and
    /// the run stops at such.
    pub fn step(&self, step: u64) -> Result<Seen> {
        let last = self.steps() - 1;
        ensure!(step <= last, "--step: the run has steps 0 to {last}, no step {step}");
        let at = Cursor::at(step, self.batcher.order().steps());
        let batch = self.batcher.batch(at.epoch, at.step)?;
        let logged = line_of::<Logged>(&self.run.join("metrics.jsonl"), step)?;
        ensure!(
            logged.as_ref().is_none_or(|line| line.keys_sha256 == batch.keys.sha256()),
            "step {step} of {} saw other keys: its keys_sha256 in metrics.jsonl is not theirs; {}",
            self.run.display(),
            match &self.config.data.exclude {
                Some(path) => format!("{} may have changed since", path.display()),
                None =>
                    "the shards are not those that it was trained on, or another version trained it".into(),
            }
        );
        let losses = PairLosses::read(&self.run, step)?.map(|line| line.losses).unwrap_or_default();
        let pair = |row| -> Result<Pair> {
            Ok(Pair { loss: losses.get(row).copied().flatten(), ..self.pair(&batch, row)? })
        };
        let pairs = (0..batch.rows()).map(pair).collect::<Result<_>>()?;
        Ok(Seen { step, epoch: at.epoch, stage: self.plan.at(step).name.clone(), logged, pairs })
    }

    fn pair(&self, batch: &Batch, row: usize) -> Result<Pair> {
        let (seed, view) = (self.config.run.seed, batch.views[row]);
        let stored = self.batcher.pairs().shown(batch.numbers[row], seed, batch.epoch)?.sample(view)?;
        let augmentation = Augmentation::of(&self.config);
        let augment = augmentation.map(|augmentation| augmentation.draw(batch.epoch, batch.keys.get(row)));
        let picture = match batch.bad.iter().find(|(bad, _)| *bad == row) {
            Some((_, error)) => Err(error.to_string()),
            None => {
                let (side, size) = (batch.side as u32, batch.side * batch.side * 3);
                let mut picture = Rgb::new(side, side, batch.images[row * size..][..size].to_vec());
                augment.iter().for_each(|augment| pixels::apply(&mut picture, augment));
                Ok(picture)
            }
        };
        let many = batch.captions_per_image();
        let caption = |&at: &u32| {
            let caption = &stored.captions[at as usize];
            (caption.kind, caption.text.clone())
        };
        let captions = batch.captions[row * many..][..many].iter().map(caption).collect();
        Ok(Pair { picture, cut: batch.cuts[row], augment, captions, loss: None, stored })
    }
}

/// The last line of a file of JSON lines that is of a step and holds what a `T` needs; `None` where there is none, or
/// no file.
///
/// # Errors
/// If the file is there and cannot be read.
pub(super) fn line_of<T: DeserializeOwned>(path: &Path, step: u64) -> Result<Option<T>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let begins = format!("{{\"step\":{step},");
    let mut found = None;
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        if line.starts_with(&begins) {
            found = serde_json::from_str(&line).ok().or(found); // an evaluation, or a torn end, is none
        }
    }
    Ok(found)
}
