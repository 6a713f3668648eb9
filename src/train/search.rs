//! The images of an index that fit a text best.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rayon::prelude::*;

use super::model::Mode;
use super::recall::cosine;
use super::trained::Trained;
use super::trainer::padded;
use crate::prepare::tokenize::WordPieces;

/// The images of an `emb.parquet`.
pub struct Index {
    /// Key of each image.
    pub keys: Vec<String>,
    /// `[images, dim]`, unit rows.
    embeddings: Vec<f32>,
    dim: usize,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The image's key.
    pub key: String,
    /// Cosine of text and image.
    pub score: f64,
}

impl Index {
    /// Reads the image rows of a table.
    ///
    /// # Errors
    /// If it is not one that `clip embed` wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let what = || format!("--index: {} is no table of embeddings", path.display());
        let file = File::open(path).with_context(|| format!("--index: no file at {}", path.display()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).with_context(what)?.build()?;
        let mut index = Self { keys: Vec::new(), embeddings: Vec::new(), dim: 0 };
        for batch in reader {
            index.take(&batch?).with_context(what)?;
        }
        ensure!(!index.keys.is_empty(), "--index: {} has no image", path.display());
        Ok(index)
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (keys, kinds) = (text("key").context("no column key")?, text("kind").context("no column kind")?);
        let lists = batch.column_by_name("embedding").and_then(|column| column.as_fixed_size_list_opt());
        let lists = lists.context("no column embedding")?;
        let values = lists.values().as_primitive_opt::<Float32Type>().context("embedding is not float32")?;
        self.dim = lists.value_length() as usize;
        for row in (0..batch.num_rows()).filter(|&row| kinds.value(row) == "image" && lists.is_valid(row)) {
            self.keys.push(keys.value(row).to_owned());
            self.embeddings.extend(&values.values()[lists.value_offset(row) as usize..][..self.dim]);
        }
        Ok(())
    }

    /// The `k` images nearest to `query` (a unit vector), the best first; ties by place.
    ///
    /// # Errors
    /// If the query has another length than the index.
    pub fn nearest(&self, query: &[f32], k: usize) -> Result<Vec<Found>> {
        ensure!(query.len() == self.dim, "--index holds {} numbers an image, the run gives {}", self.dim, query.len());
        let rows = self.embeddings.par_chunks(self.dim).enumerate();
        let mut scores: Vec<(f64, usize)> = rows.map(|(at, image)| (cosine(query, image), at)).collect();
        let order = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let k = k.min(scores.len());
        if k < scores.len() {
            scores.select_nth_unstable_by(k, order);
        }
        scores.truncate(k);
        scores.sort_by(order);
        Ok(scores.into_iter().map(|(score, at)| Found { key: self.keys[at].clone(), score }).collect())
    }
}

/// The unit embedding of a text.
///
/// # Errors
/// If the tokenizer fails.
pub fn embed_text(trained: &Trained, tokenizer: &WordPieces, text: &str) -> Result<Vec<f32>> {
    let ids = tokenizer.encode(text)?.0;
    let (tokens, mask) = padded(&ids, &[ids.len() as i32], ids.len(), trained.device);
    let embedding = tch::no_grad(|| trained.clip().encode_text(&tokens, &mask, Mode::Eval));
    Ok(Vec::<f32>::try_from(embedding.to_kind(tch::Kind::Float).view(-1))?)
}

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
    let tokenizer = trained.tokenizer(request.tokenizer.as_deref())?;
    index.nearest(&embed_text(trained, &tokenizer, &request.query)?, request.k)
}
