//! `clip export`

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use super::Common;
use crate::train::export::{Format, export};

/// The model for other programs
///
/// safetensors: image.safetensors (torchvision's names), text/ (a folder for transformers' from_pretrained),
/// projections.safetensors, and load.py, which joins them in 30 lines of Python.
///
/// torchscript: image.pt (normalised pixels [B, 3, S, S] → unit embeddings) and text.pt (token ids and attention mask
/// [B, L] → unit embeddings) for torch.jit.load, with the tokenizer's files.
///
/// Example: clip export --run run --format safetensors --out exported
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,

    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Choice,

    /// A folder that is new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The vocabulary of a run whose shards were made with another than the bundled one (tokenizer.json or vocab.txt)
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    Safetensors,
    Torchscript,
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let trained = self.common.open()?;
        let format = match self.format {
            Choice::Safetensors => Format::Safetensors,
            Choice::Torchscript => Format::Torchscript,
        };
        let tokenizer = trained.tokenizer(self.tokenizer.as_deref())?;
        export(&trained, format, &tokenizer, &self.out)?;
        println!("step {} in {}", trained.checkpoint.state.step, self.out.display());
        Ok(())
    }
}
