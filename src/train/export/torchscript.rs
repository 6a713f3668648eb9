//! The towers as traced modules: each a function of tensors of any batch size and text length.

use std::path::Path;

use anyhow::{Context, Result};
use tch::{CModule, Kind, Tensor};

use crate::train::model::Mode;
use crate::train::trained::Trained;

pub(super) fn write(trained: &Trained, folder: &Path) -> Result<()> {
    let _guard = tch::no_grad_guard();
    trained.variables().into_iter().for_each(|(_, variable)| drop(variable.set_requires_grad(false)));
    image(trained)?.save(folder.join("image.pt")).context("image.pt")?;
    text(trained)?.save(folder.join("text.pt")).context("text.pt")
}

/// Normalised pixels `[batch, 3, side, side]` of float32 → unit embeddings `[batch, embed_dim]`.
fn image(trained: &Trained) -> Result<CModule> {
    let side = i64::from(trained.config.data.crop);
    let pixels = Tensor::zeros([2, 3, side, side], (Kind::Float, trained.device));
    let mut embed = |inputs: &[Tensor]| {
        let pixels = inputs[0].to_kind(trained.kind());
        vec![trained.clip().encode_image(&pixels, Mode::Eval).to_kind(Kind::Float)]
    };
    CModule::create_by_tracing("ImageTower", "forward", &[pixels], &mut embed).context("the image tower")
}

/// Token ids and attention mask, both `[batch, length]` of int64 → unit embeddings `[batch, embed_dim]`.
fn text(trained: &Trained) -> Result<CModule> {
    let tokens = Tensor::ones([2, 3], (Kind::Int64, trained.device));
    let mask = tokens.ones_like();
    let mut embed = |inputs: &[Tensor]| {
        vec![trained.clip().encode_text(&inputs[0], &inputs[1], Mode::Eval).to_kind(Kind::Float)]
    };
    CModule::create_by_tracing("TextTower", "forward", &[tokens, mask], &mut embed).context("the text tower")
}
