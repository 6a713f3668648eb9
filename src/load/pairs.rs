//! The rows of a split over one or more datasets, by number. Footers and texts are read when a row of
//! theirs is first wanted, and kept.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};

use super::error::{LoadError, Place};
use super::shown::{CaptionWeights, caption_of, view_of};
use super::texts::PackedTexts;
use crate::shard::{Dataset, OpenFiles, Pixels, ShardReader, StoredRow};

/// Shard files open at a time: half of what the meanest system in use allows a process (macOS: 256).
const OPEN: usize = 128;

/// The rows of a split, those of all datasets one after another.
pub struct Pairs {
    split: String,
    fingerprints: Vec<String>,
    shards: Vec<Shard>,
    rows: u64,
    side: u32,
}

struct Shard {
    number: u32,
    first: u64,
    rows: usize,
    paths: Vec<PathBuf>,
    files: Arc<OpenFiles>,
    views: Vec<OnceLock<Result<View, LoadError>>>,
    texts: OnceLock<Result<PackedTexts, LoadError>>,
}

/// What is known of one file.
struct View {
    reader: ShardReader,
    stored: Vec<StoredRow>,
    checked: Vec<AtomicBool>,
}

impl Pairs {
    /// Finds the rows; opens the first shard of each dataset to see what it stores.
    ///
    /// # Errors
    /// If a dataset lacks the split, or they differ in vocabulary or in the stored size.
    pub fn open(datasets: &[Dataset], split: &str) -> Result<Self> {
        let first = datasets.first().context("no dataset was named")?;
        let mut pairs = Self {
            split: split.to_owned(),
            fingerprints: datasets.iter().map(|dataset| dataset.fingerprint().to_owned()).collect(),
            shards: Vec::new(),
            rows: 0,
            side: 0,
        };
        let files = Arc::new(OpenFiles::new(OPEN));
        for dataset in datasets {
            ensure!(
                dataset.manifest.tokenizer.sha256 == first.manifest.tokenizer.sha256,
                "{} and {} were written with different tokenizers; prepare one of them anew",
                first.root.display(),
                dataset.root.display()
            );
            pairs.append(dataset, &files)?;
        }
        ensure!(pairs.rows > 0, "split `{split}` has no rows");
        Ok(pairs)
    }

    fn append(&mut self, dataset: &Dataset, files: &Arc<OpenFiles>) -> Result<()> {
        let before = self.shards.len();
        for shard in dataset.split(&self.split)? {
            let views = shard.paths.iter().map(|_| OnceLock::new()).collect();
            self.shards.push(Shard {
                number: shard.number,
                first: self.rows,
                rows: shard.rows as usize,
                paths: shard.paths,
                files: files.clone(),
                views,
                texts: OnceLock::new(),
            });
            self.rows += shard.rows;
        }
        let Some(shard) = self.shards[before..].iter().find(|shard| shard.rows > 0) else { return Ok(()) };
        let (side, folder) = (shard.view(0)?.stored[0].side(), dataset.root.display());
        let common = if self.side == 0 { side } else { self.side };
        ensure!(side == common, "{folder} stores pictures of side {side}, the data before it of {common}");
        self.side = side;
        Ok(())
    }

    /// The split's name.
    pub fn split(&self) -> &str {
        &self.split
    }

    /// Fingerprints of the datasets, in their order.
    pub fn fingerprints(&self) -> &[String] {
        &self.fingerprints
    }

    /// Number of rows (keys), excluded ones too.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows of each shard of the split, those of all datasets one after another.
    pub fn shard_rows(&self) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.rows as u64).collect()
    }

    /// The shorter stored side of every picture, in pixels.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// Numbers of the rows whose key is one of `keys`, sorted.
    ///
    /// # Errors
    /// If a shard cannot be read.
    pub fn rows_of(&self, keys: &HashSet<String>) -> Result<Vec<u64>, LoadError> {
        let mut rows = Vec::new();
        for shard in self.shards.iter().filter(|_| !keys.is_empty()) {
            let texts = shard.texts()?;
            let mine = (0..shard.rows).filter(|&row| keys.contains(texts.key(row)));
            rows.extend(mine.map(|row| shard.first + row as u64));
        }
        Ok(rows)
    }

    /// A row by its number.
    ///
    /// # Errors
    /// If its shard's texts cannot be read.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: u64) -> Result<Row<'_>, LoadError> {
        let shard = &self.shards[self.shards.partition_point(|shard| shard.first <= row) - 1];
        let texts = shard.texts()?;
        Ok(Row { shard, texts, row: (row - shard.first) as usize })
    }
}

impl Shard {
    fn view(&self, view: u32) -> Result<&View, LoadError> {
        let path = &self.paths[view as usize];
        let open = || -> Result<View> {
            let reader = ShardReader::open_among(path, self.files.clone())?;
            let stored = reader.stored()?;
            let (found, named) = (stored.len(), self.rows);
            ensure!(found == named, "{} has {found} rows, not {named} as its table says", path.display());
            Ok(View {
                reader,
                stored,
                checked: std::iter::repeat_with(AtomicBool::default).take(found).collect(),
            })
        };
        once(&self.views[view as usize], open)
    }

    fn texts(&self) -> Result<&PackedTexts, LoadError> {
        // Every view has the same texts.
        let reader = || Ok(PackedTexts::new(self.view(0)?.reader.texts()?));
        once(&self.texts, reader)
    }
}

fn once<T>(cell: &OnceLock<Result<T, LoadError>>, make: impl FnOnce() -> Result<T>) -> Result<&T, LoadError> {
    let made = cell.get_or_init(|| make().map_err(|error| LoadError::Shard(format!("{error:#}"))));
    made.as_ref().map_err(Clone::clone)
}

/// The keys in a file, one a line; empty lines are nothing.
///
/// # Errors
/// If the file cannot be read.
pub fn read_keys(path: &Path) -> Result<HashSet<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// One row of the split.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    shard: &'a Shard,
    texts: &'a PackedTexts,
    row: usize,
}

impl<'a> Row<'a> {
    /// Its key.
    pub fn key(&self) -> &'a str {
        self.texts.key(self.row)
    }

    /// The view that it shows in an epoch.
    pub fn view(&self, seed: u64, epoch: u64) -> u32 {
        view_of(seed, self.shard.number, self.shard.paths.len() as u32, epoch)
    }

    /// The caption that it shows in an epoch: index in its list.
    ///
    /// # Errors
    /// If every one weighs 0.
    pub fn caption(&self, seed: u64, weights: CaptionWeights, epoch: u64) -> Result<usize, LoadError> {
        Ok(caption_of(seed, self.key(), self.texts.kinds(self.row), weights, epoch)?)
    }

    /// Token ids of a caption.
    pub fn tokens(&self, caption: usize) -> &'a [i32] {
        self.texts.tokens(self.row, caption)
    }

    /// SHA-256 of its source.
    pub fn source(&self) -> &'a [u8; 32] {
        self.texts.source(self.row)
    }

    /// The number of the first row of its shard, and the reader of the shard's clean view.
    pub(super) fn clean_file(&self) -> Result<(u64, &'a ShardReader), LoadError> {
        Ok((self.shard.first, &self.shard.view(0)?.reader))
    }

    /// Where it is stored.
    pub fn place(&self, view: u32) -> Place {
        let shard = self.shard.paths[view as usize].clone();
        Place { shard, row: self.row, key: self.key().to_owned() }
    }

    /// Reads its stored picture into `buffer`. The first time, its checksum is compared: what the
    /// disk gives later comes from the same pages, and raw pictures are copied no faster than summed.
    ///
    /// # Errors
    /// If the shard was cut or the bytes are not those that were written.
    pub fn picture(&self, view: u32, buffer: &mut Vec<u8>) -> Result<(Pixels, StoredRow), LoadError> {
        let file = self.shard.view(view)?;
        let bad = |why| LoadError::Sample { place: self.place(view), why };
        // The first part of the reader's error is the place, which ours has already.
        let why = |error: anyhow::Error| error.chain().nth(1).unwrap_or(error.as_ref()).to_string();
        file.reader.picture(self.row, buffer).map_err(|error| bad(why(error)))?;
        let (stored, checked) = (file.stored[self.row], &file.checked[self.row]);
        if !checked.load(Ordering::Relaxed) {
            if crc32c::crc32c(buffer) != stored.crc32c {
                return Err(bad("the picture does not match its crc32c".into()));
            }
            checked.store(true, Ordering::Relaxed);
        }
        Ok((file.reader.pixels(), stored))
    }
}
