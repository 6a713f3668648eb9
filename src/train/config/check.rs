//! Whether a config's values can be, each and together.

use anyhow::{Context, Result, ensure};

use super::{Config, Stage, Text};
use crate::train::hub;
use crate::train::model::bert::BertConfig;

impl Config {
    /// Checks values against each other and fills in what a path stands for.
    ///
    /// # Errors
    /// Names the key and what it may be.
    pub fn checked(mut self) -> Result<Self> {
        let positive = |value: f64, key: &str| {
            ensure!(value >= 0.0 && value.is_finite(), "{key} is {value}; it must be 0 or more");
            Ok(())
        };
        ensure!(self.data.batch > 1, "data.batch is {}; a contrastive loss needs 2 or more", self.data.batch);
        ensure!(self.data.crop > 0, "data.crop is 0; it is a side in pixels");
        ensure!(
            (0.0..=1.0).contains(&self.data.flip),
            "data.flip is {}; it is a probability",
            self.data.flip
        );
        let [brightness, contrast, saturation, hue] = self.data.jitter;
        for (change, of) in [(brightness, "brightness"), (contrast, "contrast"), (saturation, "saturation")] {
            positive(change, &format!("data.jitter's {of}"))?;
        }
        ensure!((0.0..=0.5).contains(&hue), "data.jitter's hue is {hue}; it must be in [0, 0.5] turns");
        ensure!(self.data.workers > 0, "data.workers is 0; one thread at least must read");
        ensure!(self.data.prefetch > 0, "data.prefetch is 0; one batch at least must be ready");
        ensure!(self.run.log_every > 0, "run.log_every is 0; it counts steps");
        ensure!(self.run.keep_last > 0, "run.keep_last is 0; one checkpoint at least is kept");
        ensure!(self.model.embed_dim > 0, "model.embed_dim is {}", self.model.embed_dim);
        ensure!(
            self.optim.max_scale > 0.0,
            "optim.max_scale is {}; it must be positive",
            self.optim.max_scale
        );
        ensure!((0.0..1.0).contains(&self.loss.label_smoothing), "loss.label_smoothing must be in [0, 1)");
        ensure!(
            self.model.dropout.is_none_or(|p| (0.0..1.0).contains(&p)),
            "model.dropout must be in [0, 1)"
        );
        ensure!(
            self.optim.betas.iter().all(|beta| (0.0..1.0).contains(beta)),
            "optim.betas must be in [0, 1)"
        );
        let rates = &self.optim.rates;
        for (value, key) in [
            (rates.lr_image, "optim.lr_image"),
            (rates.lr_text, "optim.lr_text"),
            (rates.lr_projection, "optim.lr_projection"),
            (rates.scale(), "optim.lr_scale"),
            (self.optim.weight_decay, "optim.weight_decay"),
            (self.optim.eps, "optim.eps"),
            (self.optim.clip_grad, "optim.clip_grad"),
        ] {
            positive(value, key)?;
        }
        if self.stage.is_empty() {
            let train = ["image", "text", "projection"].map(str::to_owned).to_vec();
            let epochs = (self.run.epochs.is_none() && self.run.steps.is_none()).then_some(1);
            self.stage = vec![Stage { name: "all".to_owned(), epochs, train, ..Stage::default() }];
        }
        self.model.text = Text::Inline(self.model.text.config(self.model.dropout)?);
        Ok(self)
    }

    /// The steps that `run.steps` and `run.epochs` allow.
    pub fn cap(&self, steps_per_epoch: u64) -> Option<u64> {
        let epochs = self.run.epochs.map(|epochs| epochs * steps_per_epoch);
        [self.run.steps, epochs].into_iter().flatten().min()
    }
}

impl Text {
    /// The BERT config behind a path or a table, with `dropout` over its own.
    ///
    /// # Errors
    /// If the file is missing or is not a BERT config.
    pub fn config(&self, dropout: Option<f64>) -> Result<BertConfig> {
        let config = match self {
            Self::Inline(config) => config.clone(),
            Self::Path(path) => hub::local(path, "config.json")
                .and_then(|path| BertConfig::read(&path))
                .context("model.text")?,
        };
        Ok(match dropout {
            Some(dropout) => config.with_dropout(dropout),
            None => config,
        })
    }
}
