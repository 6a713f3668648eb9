//! A split through the model: unit embeddings of its images and captions.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use tch::{Device, Kind, Tensor};

use super::config::Data;
use super::model::Mode;
use super::model::clip::Clip;
use super::recall::Embedded;
use super::trained::Trained;
use super::trainer::{padded, pixels};
use crate::files::Pending;
use crate::load::{EvalBatch, Pairs};
use crate::progress::Progress;
use crate::sample::{Caption, CaptionKind};
use crate::shard::Dataset;

/// Images a forward pass while nothing is learnt.
const BATCH: usize = 64;

/// A model ready to embed.
#[derive(Clone, Copy)]
pub struct Encoder<'a> {
    /// The model.
    pub clip: &'a Clip,
    /// Where it lives.
    pub device: Device,
    /// Its floating-point type.
    pub kind: Kind,
    /// How the images are cropped and the texts cut.
    pub data: &'a Data,
}

/// A split's embeddings with what they are of.
#[derive(Debug, Default)]
pub struct Split {
    /// Key of each image, in file order.
    pub keys: Vec<String>,
    /// Text of each caption, by image.
    pub texts: Vec<String>,
    /// The embeddings.
    pub embedded: Embedded,
}

/// The captions that papers evaluate on: the first five originals.
pub fn first_five(captions: &[Caption]) -> Vec<&Caption> {
    captions.iter().filter(|caption| caption.kind == CaptionKind::Original).take(5).collect()
}

/// Every caption.
pub fn all(captions: &[Caption]) -> Vec<&Caption> {
    captions.iter().collect()
}

impl<'a> Encoder<'a> {
    /// The encoder of an opened run.
    pub fn of(trained: &'a Trained) -> Self {
        let (clip, device, kind) = (trained.clip(), trained.device, trained.kind());
        Self { clip, device, kind, data: &trained.config.data }
    }

    /// Embeds a split in file order: clean view, centre crop, the captions that `choose` gives.
    ///
    /// # Errors
    /// If the split is missing or a sample cannot be read.
    pub fn split(
        &self,
        dataset: &Dataset,
        split: &str,
        choose: fn(&[Caption]) -> Vec<&Caption>,
        progress: impl Fn(u64),
    ) -> Result<Split> {
        let pairs = Pairs::open(std::slice::from_ref(dataset), split)?;
        let mut found = Split::default();
        for batch in pairs.in_order(Some(self.data.crop), BATCH)? {
            let batch = batch?;
            self.take(&batch, choose, &mut found)?;
            progress(batch.keys.len() as u64);
        }
        ensure!(!found.keys.is_empty(), "the split `{split}` has no image");
        found.embedded.dim = found.embedded.images.len() / found.keys.len();
        Ok(found)
    }

    fn take(
        &self,
        batch: &EvalBatch,
        choose: fn(&[Caption]) -> Vec<&Caption>,
        found: &mut Split,
    ) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let images = pixels(&batch.images, batch.side, self.device, self.kind, self.clip.layout());
        found.embedded.images.extend(floats(&self.clip.encode_image(&images, Mode::Eval))?);
        let mut chosen: Vec<&Caption> = Vec::new();
        for (key, captions) in batch.keys.iter().zip(&batch.captions) {
            let picked = choose(captions);
            found.embedded.owners.extend(std::iter::repeat_n(found.keys.len(), picked.len()));
            found.keys.push(key.clone());
            chosen.extend(picked);
        }
        for captions in chosen.chunks(4 * BATCH) {
            found.embedded.captions.extend(self.captions(captions)?);
        }
        found.texts.extend(chosen.into_iter().map(|caption| caption.text.clone()));
        Ok(())
    }

    /// `[captions, dim]`
    fn captions(&self, captions: &[&Caption]) -> Result<Vec<f32>> {
        let longest = self.data.max_tokens.unwrap_or(usize::MAX);
        let ids: Vec<Vec<i32>> = captions.iter().map(|caption| cut(&caption.tokens.0, longest)).collect();
        let lengths: Vec<i32> = ids.iter().map(|ids| ids.len() as i32).collect();
        let length = ids.iter().map(Vec::len).max().unwrap_or(0);
        let mut rows = vec![0; ids.len() * length];
        for (row, ids) in rows.chunks_mut(length.max(1)).zip(&ids) {
            row[..ids.len()].copy_from_slice(ids);
        }
        let (tokens, mask) = padded(&rows, &lengths, length, self.device);
        floats(&self.clip.encode_text(&tokens, &mask, Mode::Eval))
    }
}

/// The first `longest − 1` ids and the last, `[SEP]`.
fn cut(ids: &[i32], longest: usize) -> Vec<i32> {
    if ids.len() <= longest {
        return ids.to_vec();
    }
    let mut ids = [&ids[..longest - 1], &ids[ids.len() - 1..]].concat();
    ids.truncate(longest);
    ids
}

fn floats(embeddings: &Tensor) -> Result<Vec<f32>> {
    let embeddings = embeddings.to_kind(Kind::Float).to_device(Device::Cpu).contiguous().view(-1);
    Vec::<f32>::try_from(embeddings).context("the embeddings are no floats")
}

/// Embeds every image and caption of a split into a Parquet table: `key`, `kind` (`image` or
/// `text`), `text` (null for images), `embedding` (fixed-size list of float32).
///
/// # Errors
/// If the split cannot be read or the table not written.
pub fn embed(
    trained: &Trained,
    dataset: &Dataset,
    split: &str,
    out: &Path,
    progress: &Progress,
) -> Result<Split> {
    let found =
        Encoder::of(trained).split(dataset, split, all, |images| progress.add(images, String::new))?;
    write(&found, out)?;
    Ok(found)
}

fn write(split: &Split, out: &Path) -> Result<()> {
    let all = &split.embedded;
    let (images, texts) = (split.keys.len(), split.texts.len());
    let owners = all.owners.iter().map(|&owner| &split.keys[owner]);
    let keys = StringArray::from_iter_values(split.keys.iter().chain(owners));
    let kinds = (0..images + texts).map(|row| if row < images { "image" } else { "text" });
    let nothing = std::iter::repeat_n(None, images);
    let words = StringArray::from_iter(nothing.chain(split.texts.iter().map(|text| Some(text.as_str()))));
    let values = Float32Array::from_iter_values(all.images.iter().chain(&all.captions).copied());
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let embeddings = FixedSizeListArray::try_new(item.clone(), all.dim as i32, Arc::new(values), None)?;
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("embedding", DataType::FixedSizeList(item, all.dim as i32), false),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys),
        Arc::new(StringArray::from_iter_values(kinds)),
        Arc::new(words),
        Arc::new(embeddings),
    ];
    let pending = Pending::create(out)?;
    let mut writer = ArrowWriter::try_new(pending.handle()?, schema.clone(), None)?;
    writer.write(&RecordBatch::try_new(schema, columns)?)?;
    writer.close()?;
    pending.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_keeps_its_last_id() {
        assert_eq!(cut(&[101, 5, 6, 7, 102], 3), [101, 5, 102]);
        assert_eq!(cut(&[101, 102], 3), [101, 102]);
    }
}
