//! `emb.parquet`: `key`, `kind` (`image` or `text`), `text` (null for images), `embedding` (fixed-size
//! list of float32). A row group holds rows of one kind, so that a search reads no text, and the
//! embeddings lie in the file as the numbers that they are, so that it reads them at the pace of the disk.

mod best;
mod groups;
mod pages;
mod rows;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::PageIndexPolicy;
use rayon::prelude::*;

use self::best::{Best, Place};
use self::groups::Group;
use self::pages::Page;
use super::recall::cosine;

pub use self::writer::IndexWriter;

/// The column of the numbers.
const EMBEDDING: &str = "embedding.list.element";
/// The schema's key for the fingerprint of the weights.
const WEIGHTS: &str = "pairmill.weights";

/// The images of an `emb.parquet`, which stay in the file.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    /// Length of an embedding.
    dim: usize,
    groups: Vec<Group>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The image's key.
    pub key: String,
    /// Cosine of text and image.
    pub score: f64,
}

/// The answers to one query.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// The best first.
    pub found: Vec<Found>,
    /// How many images the query was compared with.
    pub images: usize,
}

impl Index {
    /// Opens a table; its embeddings are read by [`Index::nearest`].
    ///
    /// # Errors
    /// If it is not one that `clip embed` wrote.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&file, options).with_context(|| no_table(path))?;
        let field = metadata.schema().field_with_name("embedding").with_context(|| no_table(path))?;
        let dim = match field.data_type() {
            DataType::FixedSizeList(item, dim) if item.data_type() == &DataType::Float32 => *dim as usize,
            other => {
                anyhow::bail!("{}: its embedding is {other}, no fixed-size list of float32", no_table(path))
            }
        };
        let groups = groups::of_images(metadata.metadata(), EMBEDDING);
        Ok(Self { path: path.to_owned(), file, metadata, dim, groups })
    }

    /// Checks that its embeddings are of the weights with this fingerprint, as far as both are known.
    ///
    /// # Errors
    /// If they are of others: cosines between two models mean nothing.
    pub fn check_weights(&self, weights: Option<&str>) -> Result<()> {
        let own = self.metadata.schema().metadata().get(WEIGHTS).map(String::as_str);
        ensure!(
            own.is_none() || weights.is_none() || own == weights,
            "--index: {} was made with other weights; make it anew by `clip embed` with this --run, --checkpoint and --weights",
            self.path.display()
        );
        Ok(())
    }

    /// The `k` images nearest to `query` (a unit vector), the best first; ties by place. The embeddings are read
    /// as they are compared, on all cores, and none is kept.
    ///
    /// # Errors
    /// If the query has another length than the index, or that has no image or cannot be read.
    pub fn nearest(&self, query: &[f32], k: usize) -> Result<Nearest> {
        ensure!(
            query.len() == self.dim,
            "--index holds {} numbers an image, the run gives {}",
            self.dim,
            query.len()
        );
        let scored = self.groups.par_iter().map(|group| self.group(group, query, k));
        let none = || Scored { best: Best::new(k), images: 0 };
        let scored = scored.try_reduce(none, |a, b| Ok(a.and(b))).with_context(|| no_table(&self.path))?;
        ensure!(scored.images > 0, "--index: {} has no image", self.path.display());
        Ok(Nearest { found: self.named(scored.best)?, images: scored.images })
    }

    /// Whatever is odd about its pages, Arrow reads it or knows what is wrong.
    fn group(&self, group: &Group, query: &[f32], k: usize) -> Result<Scored> {
        let scanned = group.pages.as_ref().map(|pages| self.scan_pages(group.number, pages, query, k));
        match scanned {
            Some(Ok(scored)) => Ok(scored),
            Some(Err(_)) | None => self.scan_rows(group.number, query, k),
        }
    }

    fn scan_pages(&self, group: usize, pages: &[Page], query: &[f32], k: usize) -> Result<Scored> {
        let none = || Scored { best: Best::new(k), images: 0 };
        let scratch = || (none(), Vec::new(), vec![0.0; self.dim]);
        let score = |(mut scored, mut buffer, mut image): (Scored, Vec<u8>, Vec<f32>), page: &Page| {
            let values = page.read(&self.file, self.dim, &mut buffer)?;
            for (row, bytes) in values.chunks_exact(4 * self.dim).enumerate() {
                for (value, bytes) in image.iter_mut().zip(bytes.as_chunks().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
                scored.note(cosine(query, &image), (group, page.first_row + row));
            }
            anyhow::Ok((scored, buffer, image))
        };
        let scored =
            pages.par_iter().try_fold(scratch, score).map(|scored| scored.map(|(scored, ..)| scored));
        scored.try_reduce(none, |a, b| Ok(a.and(b)))
    }

    fn scan_rows(&self, group: usize, query: &[f32], k: usize) -> Result<Scored> {
        let mut scored = Scored { best: Best::new(k), images: 0 };
        rows::each_image(open(&self.path)?, &self.metadata, group, self.dim, |row, image| {
            scored.note(cosine(query, image), (group, row));
        })?;
        Ok(scored)
    }

    /// The keys of the best rows, which are read for them alone.
    fn named(&self, best: Best) -> Result<Vec<Found>> {
        let best = best.sorted();
        let mut wanted: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        best.iter().for_each(|(_, (group, row))| wanted.entry(*group).or_default().push(*row));
        let read = |(group, mut rows): (usize, Vec<usize>)| {
            rows.sort_unstable();
            let keys = rows::keys(open(&self.path)?, &self.metadata, group, &rows)?;
            Ok(rows.into_iter().map(move |row| (group, row)).zip(keys).collect())
        };
        let keys: Vec<Vec<(Place, String)>> =
            wanted.into_par_iter().map(read).collect::<Result<_>>().with_context(|| no_table(&self.path))?;
        let keys: BTreeMap<Place, String> = keys.into_iter().flatten().collect();
        Ok(best.into_iter().map(|(score, place)| Found { key: keys[&place].clone(), score }).collect())
    }
}

/// What part of a table gave.
struct Scored {
    best: Best,
    images: usize,
}

impl Scored {
    fn note(&mut self, score: f64, place: Place) {
        self.images += 1;
        self.best.offer(score, place);
    }

    fn and(self, other: Self) -> Self {
        Self { best: self.best.and(other.best), images: self.images + other.images }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("--index: no file at {}", path.display()))
}

fn no_table(path: &Path) -> String {
    format!("--index: {} is no table of embeddings", path.display())
}

#[cfg(test)]
mod tests {
    use groups::only_kind;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::Compression;
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::train::embed::Split;
    use crate::train::recall::Embedded;

    /// `images` images with two captions each, from number `first` on: image i stands at angle i.
    fn split(first: usize, images: usize) -> Split {
        let unit = |angle: f32| [angle.cos(), angle.sin()];
        let numbers = first..first + images;
        let embedded = Embedded {
            dim: 2,
            images: numbers.clone().flat_map(|i| unit(i as f32 * 1e-4)).collect(),
            captions: numbers.clone().flat_map(|_| [unit(0.0), unit(0.0)]).flatten().collect(),
            owners: (0..images * 2).map(|caption| caption / 2).collect(),
            bad_samples: 0,
        };
        let keys: Vec<String> = numbers.clone().map(|i| format!("k{i}")).collect();
        let texts = numbers.flat_map(|i| [format!("a {i}"), format!("b {i}")]).collect();
        Split { metas: vec![None; keys.len()], keys, texts, embedded }
    }

    fn table(parts: &[usize]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("emb.parquet");
        let mut writer = IndexWriter::create(&path, 2, Some("abc")).unwrap();
        let mut first = 0;
        for &images in parts {
            writer.add(split(first, images)).unwrap();
            first += images;
        }
        writer.finish().unwrap();
        (folder, path)
    }

    fn keys(index: &Index, query: [f32; 2], k: usize) -> Vec<String> {
        index.nearest(&query, k).unwrap().found.into_iter().map(|found| found.key).collect()
    }

    /// The same rows, written anew in one row group, as other programs write tables.
    fn rewritten(path: &Path) -> PathBuf {
        let out = path.with_file_name("rewritten.parquet");
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let schema = reader.schema().clone();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer = ArrowWriter::try_new(File::create(&out).unwrap(), schema, Some(properties)).unwrap();
        reader.build().unwrap().for_each(|batch| writer.write(&batch.unwrap()).unwrap());
        writer.close().unwrap();
        out
    }

    #[test]
    fn every_row_is_in_the_table_and_a_row_group_is_of_one_kind() {
        let (_folder, path) = table(&[3000, 3000, 10]);
        let metadata = ArrowReaderMetadata::load(&File::open(&path).unwrap(), Default::default()).unwrap();
        let groups = metadata.metadata().row_groups();
        let found: Vec<(i64, Option<&[u8]>)> =
            groups.iter().map(|group| (group.num_rows(), only_kind(group))).collect();
        let (image, text): (Option<&[u8]>, Option<&[u8]>) = (Some(b"image"), Some(b"text"));
        assert_eq!(found, [(6000, image), (12_000, text), (10, image), (20, text)]);
        let index = Index::open(&path).unwrap();
        index.check_weights(Some("abc")).unwrap();
        index.check_weights(None).unwrap();
        let error = index.check_weights(Some("abd")).unwrap_err().to_string();
        assert!(error.contains("was made with other weights"), "{error}");
        assert!(index.groups.iter().all(|group| group.pages.is_some()), "{:?}", index.groups);
        assert_eq!(index.nearest(&[1.0, 0.0], 1).unwrap().images, 6010);
    }

    #[test]
    fn the_nearest_come_first_and_ties_by_place() {
        let (_folder, path) = table(&[4096, 4]);
        let index = Index::open(&path).unwrap();
        assert_eq!(keys(&index, [1.0, 0.0], 3), ["k0", "k1", "k2"]);
        assert_eq!(keys(&index, [0.0, 1.0], 2), ["k4099", "k4098"]);
        assert_eq!(keys(&index, [0.0, 0.0], 2), ["k0", "k1"]);
        assert_eq!(keys(&index, [0.0, 1.0], 9999).len(), 4100);
    }

    #[test]
    fn a_table_that_was_written_anew_gives_the_same_answers() {
        let (_folder, path) = table(&[3000, 3000]);
        let (ours, theirs) = (Index::open(&path).unwrap(), Index::open(&rewritten(&path)).unwrap());
        assert!(theirs.groups.iter().all(|group| group.pages.is_none()), "{:?}", theirs.groups);
        let query = [0.3f32.cos(), 0.3f32.sin()];
        assert_eq!(ours.nearest(&query, 50).unwrap(), theirs.nearest(&query, 50).unwrap());
    }

    #[test]
    fn a_page_that_is_not_as_expected_is_left_to_arrow() {
        let (_folder, path) = table(&[20]);
        let mut index = Index::open(&path).unwrap();
        let expected = index.nearest(&[1.0, 0.0], 5).unwrap();
        index.groups[0].pages = Some(vec![Page::default()]);
        assert_eq!(index.nearest(&[1.0, 0.0], 5).unwrap(), expected);
    }

    #[test]
    fn a_table_of_another_kind_or_of_another_model_is_refused() {
        let (folder, path) = table(&[3]);
        let error = Index::open(&path).unwrap().nearest(&[1.0], 1).unwrap_err().to_string();
        assert_eq!(error, "--index holds 2 numbers an image, the run gives 1");
        let other = folder.path().join("other.parquet");
        std::fs::write(&other, "no table").unwrap();
        let error = Index::open(&other).unwrap_err().to_string();
        assert_eq!(error, format!("--index: {} is no table of embeddings", other.display()));
        let error = Index::open(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("--index: no file at "), "{error}");
    }

    #[test]
    fn a_table_without_images_or_cut_short_is_an_error() {
        let (folder, path) = table(&[]);
        let error = Index::open(&path).unwrap().nearest(&[1.0, 0.0], 1).unwrap_err().to_string();
        assert_eq!(error, format!("--index: {} has no image", path.display()));
        let cut = folder.path().join("cut.parquet");
        std::fs::write(&cut, &std::fs::read(&path).unwrap()[..30]).unwrap();
        assert!(Index::open(&cut).is_err());
    }
}
