//! The images of an index that fit a text best.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::embed::Encoder;
use super::index::{Found, Index, Nearest};
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

/// What was found, and what it took.
pub struct Answer {
    /// The best images, the best first.
    pub found: Vec<Found>,
    /// How many images the text was compared with.
    pub images: usize,
    /// How long the table was read and compared, the model not counted.
    pub took: Duration,
}

/// The best images for a text.
///
/// # Errors
/// If the index is wrong or of another model.
pub fn search(trained: &Trained, request: &Search) -> Result<Answer> {
    let ids = trained.tokenizer(request.tokenizer.as_deref())?.encode(&request.query)?;
    let query = Encoder::of(trained).texts(&[&ids.0])?;
    let began = Instant::now();
    let index = Index::open(&request.index)?;
    index.check_weights(trained.fingerprint())?;
    let Nearest { found, images } = index.nearest(&query, request.k)?;
    Ok(Answer { found, images, took: began.elapsed() })
}
