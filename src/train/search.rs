//! The images of an index that fit a text best.

use std::path::PathBuf;

use anyhow::Result;

use super::embed::Encoder;
use super::index::{Found, Index};
use super::trained::Trained;

/// What `clip search` was asked.
pub struct Search {
    /// The table of embeddings.
    pub index: PathBuf,
    /// The text.
    pub query: String,
    /// How many answers.
    pub k: usize,
    /// Another vocabulary than the bundled one.
    pub tokenizer: Option<PathBuf>,
}

/// The best images for a text.
///
/// # Errors
/// If the index is wrong or of another model.
pub fn search(trained: &Trained, request: &Search) -> Result<Vec<Found>> {
    let index = Index::read(&request.index)?;
    let ids = trained.tokenizer(request.tokenizer.as_deref())?.encode(&request.query)?;
    index.nearest(&Encoder::of(trained).texts(&[&ids.0])?, request.k)
}
