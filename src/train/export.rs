//! A trained run → folders that other programs read: safetensors under the names of torchvision and
//! Hugging Face, or TorchScript.

mod tensors;
mod torchscript;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::model::bert::BertConfig;
use super::model::clip::{DEVIATION, MEAN};
use super::trained::Trained;
use crate::prepare::tokenize::WordPieces;

/// What an exported folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Weights for torchvision and transformers, and `load.py`, which joins them.
    Safetensors,
    /// A traced module a tower, for `torch.jit.load`.
    Torchscript,
}

/// Writes the run's model into `out`, which appears whole or not at all.
///
/// # Errors
/// If `out` is not empty, the tokenizer is not the run's, or the disk fails.
pub fn export(trained: &Trained, format: Format, tokenizer: &WordPieces, out: &Path) -> Result<()> {
    let is_free = !out.exists() || fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    ensure!(is_free, "--out: {} is not an empty folder; name another", out.display());
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let temporary = tempfile::Builder::new().prefix(".pairmill-export-").tempdir_in(parent)?;
    let folder = temporary.path();
    write_text(&folder.join("config.json"), &pretty(&config(trained))?)?;
    match format {
        Format::Safetensors => {
            tensors::write(trained, folder)?;
            write_tokenizer(tokenizer, &folder.join("text"))?;
        }
        Format::Torchscript => {
            torchscript::write(trained, folder)?;
            write_tokenizer(tokenizer, folder)?;
        }
    }
    make_readable(folder)?;
    fs::rename(temporary.keep(), out).with_context(|| format!("cannot name {}", out.display()))?;
    Ok(fs::File::open(parent)?.sync_all()?)
}

/// What a user of the towers must know beside their weights.
fn config(trained: &Trained) -> Value {
    let (model, data) = (&trained.config.model, &trained.config.data);
    let image = model.image.config();
    json!({
        "tool": concat!("pairmill ", env!("CARGO_PKG_VERSION")),
        "step": trained.checkpoint.state.step,
        "image": {
            "layers": image.layers, "width": image.width, "crop": data.crop, "mean": MEAN, "std": DEVIATION,
        },
        "text": { "pooling": model.pooling, "max_tokens": trained.max_tokens() },
        "embed_dim": model.embed_dim,
    })
}

/// The text tower's config as transformers reads it.
fn bert_config(config: &BertConfig) -> Result<Value> {
    let mut value = serde_json::to_value(config)?;
    let more = [
        ("model_type", json!("bert")),
        ("architectures", json!(["BertModel"])),
        ("position_embedding_type", json!("absolute")),
        ("pad_token_id", json!(0)),
    ];
    let object = value.as_object_mut().context("a config is an object")?;
    object.extend(more.map(|(key, value)| (key.to_owned(), value)));
    Ok(value)
}

/// The tokenizer as transformers' `AutoTokenizer` reads it.
fn write_tokenizer(tokenizer: &WordPieces, folder: &Path) -> Result<()> {
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": tokenizer.id().max_tokens,
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    });
    write_text(&folder.join("tokenizer_config.json"), &pretty(&config)?)?;
    write_text(&folder.join("tokenizer.json"), &tokenizer.to_json()?)?;
    let vocabulary: String = tokenizer.vocabulary().iter().flat_map(|token| [token.as_str(), "\n"]).collect();
    write_text(&folder.join("vocab.txt"), &vocabulary)
}

fn pretty(value: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    crate::files::write_whole(path, text.as_bytes())
}

/// Temporary folders are private; what is published is as readable as any other.
fn make_readable(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?)
}
