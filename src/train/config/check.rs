//! Whether a config's values can be, each and together.

use anyhow::{Context, Result, ensure};

use super::towers::BertConfig;
use super::{Config, LossKind, Stage, Text};
use crate::train::{hub, stages};

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
        self.check_loss()?;
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
        let within = |value: usize, least: usize, most: usize, key: &str| {
            ensure!((least..=most).contains(&value), "{key} is {value}; it must be {least} to {most}");
            Ok(())
        };
        within(self.data.workers, 1, 1024, "data.workers")?;
        within(self.data.prefetch, 1, 1024, "data.prefetch")?;
        ensure!(self.run.log_every > 0, "run.log_every is 0; it counts steps");
        ensure!(self.run.keep_last > 0, "run.keep_last is 0; one checkpoint at least is kept");
        let (dim, threads) = (self.model.embed_dim, self.run.threads);
        ensure!((1..=1 << 16).contains(&dim), "model.embed_dim is {dim}; it must be 1 to {}", 1 << 16);
        ensure!((0..=1024).contains(&threads), "run.threads is {threads}; it must be 0 (all cores) to 1024");
        for (path, key) in
            [(&self.model.image_weights, "image_weights"), (&self.model.text_weights, "text_weights")]
        {
            let both = self.model.init.is_some() && path.is_some();
            ensure!(!both, "model.init has every tensor; leave out model.{key}, or model.init");
        }
        ensure!(
            self.optim.max_scale > 0.0,
            "optim.max_scale is {}; it must be positive",
            self.optim.max_scale
        );
        if let Some(decay) = self.optim.ema {
            ensure!(
                decay > 0.0 && decay < 1.0,
                "optim.ema is {decay}; it is a decay between 0 and 1, or absent"
            );
        }
        ensure!(
            self.model.dropout.is_none_or(|p| (0.0..1.0).contains(&p)),
            "model.dropout must be in [0, 1)"
        );
        ensure!(
            self.optim.betas.iter().all(|beta| (0.0..1.0).contains(beta)),
            "optim.betas must be in [0, 1)"
        );
        let decay = self.optim.layer_decay.unwrap_or(1.0);
        ensure!(decay > 0.0 && decay <= 1.0, "optim.layer_decay is {decay}; it must be in (0, 1]");
        let rates = &self.optim.rates;
        for (value, key) in [
            (rates.lr_image, "optim.lr_image"),
            (rates.lr_text, "optim.lr_text"),
            (rates.lr_projection, "optim.lr_projection"),
            (rates.scale(), "optim.lr_scale"),
            (self.loss.contrastive, "loss.contrastive"),
            (self.loss.matching, "loss.matching"),
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
        let text = self.model.text.config(self.model.dropout)?;
        for prefix in self.stage.iter_mut().flat_map(|stage| &mut stage.train) {
            *prefix = stages::from_the_first(prefix, text.num_hidden_layers);
        }
        self.model.text = Text::Inline(text);
        Ok(self)
    }

    /// What the losses and what feeds them allow of each other.
    fn check_loss(&self) -> Result<()> {
        let (data, loss) = (&self.data, &self.loss);
        if let Some(rows) = data.micro_batch {
            ensure!(rows > 0, "data.micro_batch is 0; one image at least must pass at a time");
            ensure!(rows <= data.batch, "data.micro_batch is {rows}, more than data.batch, {}", data.batch);
        }
        ensure!(
            data.captions_per_image > 0,
            "data.captions_per_image is 0; a step sees one caption at least"
        );
        ensure!(
            data.captions_per_image == 1 || loss.kind == LossKind::MultiPositive,
            "data.captions_per_image is {}; more than 1 needs loss.kind = \"multi_positive\"",
            data.captions_per_image
        );
        ensure!((0.0..1.0).contains(&loss.label_smoothing), "loss.label_smoothing must be in [0, 1)");
        ensure!(
            loss.label_smoothing == 0.0 || loss.kind != LossKind::Siglip,
            "loss.label_smoothing is {}; it smooths cross entropies, and siglip has none",
            loss.label_smoothing
        );
        ensure!(
            loss.contrastive > 0.0 || loss.matching > 0.0,
            "loss.contrastive and loss.matching are both 0; there is nothing to learn from"
        );
        ensure!(
            loss.contrastive > 0.0 || !self.run.log_pairs,
            "run.log_pairs needs loss.contrastive above 0: what it logs is the contrastive loss of each pair"
        );
        Ok(())
    }

    /// This config without files of weights: for a model that gets its own from elsewhere.
    pub fn without_weights(&self) -> Self {
        let mut config = self.clone();
        (config.model.image_weights, config.model.text_weights, config.model.init) = (None, None, None);
        config
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
