//! Whether shards and text model speak one vocabulary.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::config::{Config, Text};
use super::hub;
use crate::prepare::tokenize::WordPieces;
use crate::shard::Dataset;

/// Checks that the token ids of the shards are those of the text model.
///
/// # Errors
/// If they are of another vocabulary, by its hash where the model's folder has one, by its size
/// otherwise.
pub fn check(datasets: &[Dataset], config: &Config) -> Result<()> {
    let Text::Inline(text) = &config.model.text else { bail!("model.text is resolved before") };
    let weights = config.model.text_weights.as_deref().map(weights_with_vocabulary).transpose()?;
    for dataset in datasets {
        let (shards, root) = (&dataset.manifest.tokenizer, dataset.root.display());
        ensure!(
            i64::from(shards.vocab_size) == text.vocab_size,
            "the shards in {root} have a vocabulary of {}, the text model one of {}; \
             prepare them with --tokenizer of this model",
            shards.vocab_size,
            text.vocab_size
        );
        if let Some(folder) = weights.as_deref().and_then(vocabulary) {
            let model =
                WordPieces::from_file(&folder, 64).with_context(|| format!("{}", folder.display()))?.id();
            ensure!(
                model.sha256 == shards.sha256,
                "the shards in {root} have another vocabulary than {}; prepare them with --tokenizer {}",
                folder.display(),
                folder.display()
            );
        }
    }
    Ok(())
}

/// Names of a vocabulary's file beside a model's weights.
const VOCABULARIES: [&str; 2] = ["tokenizer.json", "vocab.txt"];

/// The text weights on this machine, with a vocabulary beside them where their repository has one.
fn weights_with_vocabulary(path: &Path) -> Result<PathBuf> {
    let weights = hub::local(path, "model.safetensors").context("model.text_weights")?;
    hub::fetch_first(path, &VOCABULARIES)?;
    Ok(weights)
}

/// The vocabulary beside a model's weights.
fn vocabulary(weights: &Path) -> Option<PathBuf> {
    let folder = if weights.is_dir() { weights } else { weights.parent()? };
    VOCABULARIES.into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
}
