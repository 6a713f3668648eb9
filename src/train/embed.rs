//! A split through the model: unit embeddings of its images and captions, a batch at a time.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};

use super::config::{Data, OnBadSample};
use super::index::IndexWriter;
use super::model::Mode;
use super::model::clip::Clip;
use super::recall::Embedded;
use super::trained::Trained;
use super::trainer::{padded, pixels};
use crate::load::{EvalBatch, LoadError, Pairs};
use crate::progress::Progress;
use crate::sample::{Caption, CaptionKind};
use crate::shard::Dataset;

/// Images a forward pass while nothing is learnt.
const BATCH: usize = 64;
/// Damaged pictures that are named on stderr before the rest is counted.
const NAMED: usize = 10;

/// A model ready to embed.
#[derive(Clone, Copy)]
pub struct Encoder<'a> {
    /// The model.
    pub clip: &'a Clip,
    /// Where it lives.
    pub device: Device,
    /// Its floating-point type.
    pub kind: Kind,
    /// How the images are cropped, the texts cut, and what a damaged picture does.
    pub data: &'a Data,
    /// How many rows of a split it looks at.
    pub most: u64,
}

/// Embeddings of a split's rows, or of some of them, with what they are of.
#[derive(Debug, Default)]
pub struct Split {
    /// Key of each image, in file order.
    pub keys: Vec<String>,
    /// What each image kept of its source's columns, as JSON.
    pub metas: Vec<Option<String>>,
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
        Self { clip, device, kind, data: &trained.config.data, most: u64::MAX }
    }

    /// The same, of the first `most` rows of a split alone; a batch that was begun is finished.
    pub fn at_most(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// Embeds a split in file order: clean view, centre crop, the captions that `choose` gives. All
    /// of it is in memory at the end, also keys and texts.
    ///
    /// # Errors
    /// As [`Encoder::each`].
    pub fn split(
        &self,
        dataset: &Dataset,
        split: &str,
        choose: fn(&[Caption]) -> Vec<&Caption>,
        progress: impl Fn(u64),
    ) -> Result<Split> {
        let mut found = Split::default();
        self.each(dataset, split, choose, |part| {
            progress(part.keys.len() as u64);
            found.keys.extend(part.keys);
            found.metas.extend(part.metas);
            found.texts.extend(part.texts);
            found.embedded.append(&part.embedded);
            Ok(())
        })?;
        Ok(found)
    }

    /// Embeds a split in file order and hands it over a batch at a time. Where the config skips
    /// damaged pictures, they are left out, counted and named on stderr.
    ///
    /// # Errors
    /// If the split is missing or has no image, a sample cannot be read, or `take` fails.
    pub fn each(
        &self,
        dataset: &Dataset,
        split: &str,
        choose: fn(&[Caption]) -> Vec<&Caption>,
        mut take: impl FnMut(Split) -> Result<()>,
    ) -> Result<()> {
        let pairs = Pairs::open(std::slice::from_ref(dataset), split)?;
        let batches = pairs.in_order(Some(self.data.crop), BATCH)?;
        let batches = match self.data.on_bad_sample {
            OnBadSample::Stop => batches,
            OnBadSample::Skip => batches.skipping_bad(),
        };
        let (mut images, mut bad) = (0, 0);
        for batch in batches {
            let batch = batch?;
            name_bad(&batch.bad, bad);
            bad += batch.bad.len();
            images += batch.keys.len();
            take(self.part(batch, choose)?)?;
            if (images + bad) as u64 >= self.most {
                break;
            }
        }
        ensure!(
            images > 0,
            "the split `{split}` has no image{}",
            if bad > 0 { " that is whole" } else { "" }
        );
        if bad > 0 {
            eprintln!("{bad} bad samples of {} of the split `{split}` are left out", images + bad);
        }
        Ok(())
    }

    fn part(&self, batch: EvalBatch, choose: fn(&[Caption]) -> Vec<&Caption>) -> Result<Split> {
        let mut embedded = Embedded { bad_samples: batch.bad.len(), ..Embedded::default() };
        let mut chosen: Vec<&Caption> = Vec::new();
        for (image, captions) in batch.captions.iter().enumerate() {
            let picked = choose(captions);
            embedded.owners.extend(std::iter::repeat_n(image, picked.len()));
            chosen.extend(picked);
        }
        if !batch.keys.is_empty() {
            embedded.images = self.images(&batch)?;
            embedded.dim = embedded.images.len() / batch.keys.len();
        }
        let ids: Vec<&[i32]> = chosen.iter().map(|caption| &*caption.tokens.0).collect();
        embedded.captions = self.texts(&ids)?;
        let texts = chosen.into_iter().map(|caption| caption.text.clone()).collect();
        Ok(Split { keys: batch.keys, metas: batch.metas, texts, embedded })
    }

    /// `[images, dim]`
    fn images(&self, batch: &EvalBatch) -> Result<Vec<f32>> {
        let _guard = tch::no_grad_guard();
        let images = pixels(&batch.images, batch.side, self.device, self.kind, self.clip.layout());
        floats(&self.clip.encode_image(&images, Mode::Eval))
    }

    /// Unit embeddings `[texts, dim]` of token ids with `[CLS]` and `[SEP]`.
    ///
    /// # Errors
    /// If libtorch gives something else than numbers.
    pub fn texts(&self, ids: &[&[i32]]) -> Result<Vec<f32>> {
        let _guard = tch::no_grad_guard();
        let mut all = Vec::new();
        for ids in ids.chunks(4 * BATCH) {
            let (tokens, mask) = self.padded(ids);
            all.extend(floats(&self.clip.encode_text(&tokens, &mask, Mode::Eval))?);
        }
        Ok(all)
    }

    fn padded(&self, ids: &[&[i32]]) -> (Tensor, Tensor) {
        let longest = self.data.max_tokens.unwrap_or(usize::MAX);
        let ids: Vec<Vec<i32>> = ids.iter().map(|ids| cut(ids, longest)).collect();
        let lengths: Vec<i32> = ids.iter().map(|ids| ids.len() as i32).collect();
        let length = ids.iter().map(Vec::len).max().unwrap_or(0);
        let mut rows = vec![0; ids.len() * length];
        for (row, ids) in rows.chunks_mut(length.max(1)).zip(&ids) {
            row[..ids.len()].copy_from_slice(ids);
        }
        padded(&rows, &lengths, length, self.device)
    }
}

/// Names damaged pictures on stderr, up to [`NAMED`] together with the `before` that were.
fn name_bad(bad: &[LoadError], before: usize) {
    for error in bad.iter().take(NAMED.saturating_sub(before)) {
        eprintln!("left out: {error}");
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

/// Embeds every image and caption of a split into a table for [`super::index::Index`]; gives back
/// how many there were.
///
/// # Errors
/// If the split cannot be read or the table not written.
pub fn embed(
    trained: &Trained,
    dataset: &Dataset,
    split: &str,
    out: &Path,
    progress: &Progress,
) -> Result<(usize, usize)> {
    let mut table = IndexWriter::create(out, trained.config.model.embed_dim as usize, trained.fingerprint())?;
    let mut written = (0, 0);
    Encoder::of(trained).each(dataset, split, all, |part| {
        progress.add(part.keys.len() as u64, String::new);
        written = (written.0 + part.keys.len(), written.1 + part.texts.len());
        table.add(part)
    })?;
    table.finish()?;
    Ok(written)
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
