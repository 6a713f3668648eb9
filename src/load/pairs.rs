//! The rows of a split over one or more datasets, by number. Files are opened when a row of theirs is
//! first wanted.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};

use super::error::{LoadError, Place};
use super::kept::{Budget, Found, Kept};
use super::shown::{CaptionWeights, captions_of, view_of};
use crate::sample::{CaptionKind, Sample};
use crate::shard::manifest::ShardViews;
use crate::shard::{Dataset, Lines, OpenFiles, PackedTexts, Pixels, ShardReader, StoredRow};

/// Shard files open at a time: half of what the meanest system in use allows a process (macOS: 256).
const OPEN: usize = 128;
/// Bytes of texts and sizes kept in memory: those of two million rows or so.
const KEPT: usize = 512 << 20;

/// The rows of a split, those of all datasets one after another.
pub struct Pairs {
    split: String,
    fingerprints: Vec<String>,
    shards: Vec<Shard>,
    rows: u64,
    captions: u64,
    side: u32,
    slow: Vec<PathBuf>,
}

struct Shard {
    first: u64,
    files: ShardViews,
    open: Arc<OpenFiles>,
    budget: Arc<Budget>,
    views: Vec<OnceLock<Result<View, LoadError>>>,
    /// By view where captions differ between views, else those of view 0.
    texts: Vec<Kept<PackedTexts>>,
}

/// What is known of one file.
struct View {
    reader: ShardReader,
    stored: Kept<Vec<StoredRow>>,
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
            captions: 0,
            side: 0,
            slow: Vec::new(),
        };
        let (open, budget) = (Arc::new(OpenFiles::new(OPEN)), Arc::new(Budget::new(KEPT)));
        for dataset in datasets {
            ensure!(
                dataset.manifest.tokenizer.sha256 == first.manifest.tokenizer.sha256,
                "{} and {} were written with different tokenizers; prepare one of them anew",
                first.root.display(),
                dataset.root.display()
            );
            pairs.append(dataset, &open, &budget)?;
        }
        ensure!(pairs.rows > 0, "split `{split}` has no rows");
        Ok(pairs)
    }

    fn append(&mut self, dataset: &Dataset, open: &Arc<OpenFiles>, budget: &Arc<Budget>) -> Result<()> {
        let before = self.shards.len();
        self.captions += dataset.manifest.splits.get(&self.split).map_or(0, |split| split.captions);
        let differ = dataset.manifest.captions_differ();
        for files in dataset.split(&self.split)? {
            let first = self.rows;
            self.rows += files.rows;
            self.shards.push(Shard {
                first,
                open: open.clone(),
                budget: budget.clone(),
                views: files.paths.iter().map(|_| OnceLock::new()).collect(),
                texts: files.paths[..if differ { files.paths.len() } else { 1 }]
                    .iter()
                    .map(|_| Kept::new(files.number))
                    .collect(),
                files,
            });
        }
        let Some(shard) = self.shards[before..].iter().find(|shard| shard.rows() > 0) else { return Ok(()) };
        let (side, folder) = (shard.stored(0, 0)?.side(), dataset.root.display());
        let common = if self.side == 0 { side } else { self.side };
        ensure!(side == common, "{folder} stores pictures of side {side}, the data before it of {common}");
        self.side = side;
        if !shard.view(0)?.reader.is_mapped() {
            self.slow.push(dataset.root.clone());
        }
        Ok(())
    }

    /// What a program that opens them tells its user, once: which datasets another program has
    /// written anew, in a layout that the ordinary Arrow reader reads. That is right, and slow.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let note = |root: &PathBuf| {
            let root = root.display();
            format!(
                "{root}: another program has written its shards; they are read the ordinary way, which is slow"
            )
        };
        self.slow.iter().map(note)
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

    /// Number of pictures, each row's in all its views.
    pub fn pictures(&self) -> u64 {
        self.shards.iter().map(|shard| shard.files.rows * shard.views.len() as u64).sum()
    }

    /// The number of views of the rows that have fewest.
    pub fn fewest_views(&self) -> u32 {
        self.shards.iter().map(|shard| shard.views.len()).min().unwrap_or(1) as u32
    }

    /// Number of captions over all rows, as the manifests have it.
    pub fn captions(&self) -> u64 {
        self.captions
    }

    /// Number of views whose captions may differ: 1 where every view of a row has the same.
    pub fn caption_views(&self) -> u32 {
        self.shards.iter().map(|shard| shard.texts.len()).max().unwrap_or(1) as u32
    }

    /// Rows of each shard of the split, those of all datasets one after another.
    pub fn shard_rows(&self) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.files.rows).collect()
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
            let texts = shard.view(0)?.reader.packed_texts(None).map_err(LoadError::shard)?;
            let mine = (0..texts.rows()).filter(|&row| keys.contains(texts.key(row)));
            rows.extend(mine.map(|row| shard.first + row as u64));
        }
        Ok(rows)
    }

    /// A row by its number, with the captions of its clean view.
    ///
    /// # Errors
    /// If its texts cannot be read.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: u64) -> Result<Row<'_>, LoadError> {
        let (shard, row) = self.find(row);
        Ok(Row { shard, texts: shard.texts(0, row)?, row })
    }

    /// A row by its number, with the captions of the view that it shows in an epoch: in a mirrored one
    /// `left` and `right` have changed places.
    ///
    /// # Errors
    /// If its texts cannot be read.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn shown(&self, row: u64, seed: u64, epoch: u64) -> Result<Row<'_>, LoadError> {
        let (shard, row) = self.find(row);
        Ok(Row { shard, texts: shard.texts(shard.view_in(seed, epoch), row)?, row })
    }

    fn find(&self, row: u64) -> (&Shard, usize) {
        let shard = &self.shards[self.shards.partition_point(|shard| shard.first <= row) - 1];
        (shard, (row - shard.first) as usize)
    }
}

impl Shard {
    fn rows(&self) -> usize {
        self.files.rows as usize
    }

    fn view(&self, view: u32) -> Result<&View, LoadError> {
        let (path, size) = (&self.files.paths[view as usize], self.files.sizes[view as usize]);
        let open = || -> Result<View> {
            let name = path.display();
            let found =
                std::fs::metadata(path).with_context(|| format!("cannot read the shard {name}"))?.len();
            ensure!(
                found == size,
                "{name} has {found} bytes, not {size} as its table says: it was cut or changed; `shards verify` checks all"
            );
            let reader = ShardReader::open_among(path, &self.open)?;
            let (found, named) = (reader.rows(), self.rows());
            ensure!(found == named, "{name} has {found} rows, not {named} as its table says");
            let checked = std::iter::repeat_with(AtomicBool::default).take(found).collect();
            Ok(View { reader, stored: Kept::new(self.files.number), checked })
        };
        let made = self.views[view as usize].get_or_init(|| open().map_err(LoadError::shard));
        made.as_ref().map_err(Clone::clone)
    }

    fn stored(&self, view: u32, row: usize) -> Result<StoredRow, LoadError> {
        let view = self.view(view)?;
        let found = view.stored.find(row, &self.budget, |only| {
            let stored = view.reader.stored(only)?;
            let bytes = size_of_val(&*stored);
            Ok((stored, bytes))
        })?;
        Ok(found.all()[found.row(row)])
    }

    fn view_in(&self, seed: u64, epoch: u64) -> u32 {
        view_of(seed, self.files.number, self.files.paths.len() as u32, epoch)
    }

    fn texts(&self, view: u32, row: usize) -> Result<Found<'_, PackedTexts>, LoadError> {
        let view = view.min(self.texts.len() as u32 - 1); // 0 where all views have the same
        let file = self.view(view)?;
        self.texts[view as usize].find(row, &self.budget, |only| {
            let texts = file.reader.packed_texts(only)?;
            let bytes = texts.bytes();
            Ok((texts, bytes))
        })
    }
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
pub struct Row<'a> {
    shard: &'a Shard,
    texts: Found<'a, PackedTexts>,
    row: usize,
}

impl Row<'_> {
    /// Its key.
    pub fn key(&self) -> &str {
        self.texts.all().key(self.texts.row(self.row))
    }

    fn kinds(&self) -> &[CaptionKind] {
        self.texts.all().kinds(self.texts.row(self.row))
    }

    /// The view that it shows in an epoch.
    pub fn view(&self, seed: u64, epoch: u64) -> u32 {
        self.shard.view_in(seed, epoch)
    }

    /// The captions that it shows in an epoch, as many as `shown` has room for: indices in its list.
    ///
    /// # Errors
    /// If every one weighs 0, or it has too few.
    pub fn captions(
        &self,
        seed: u64,
        weights: CaptionWeights,
        epoch: u64,
        shown: &mut [u32],
    ) -> Result<(), LoadError> {
        Ok(captions_of(seed, self.key(), self.kinds(), weights, epoch, shown)?)
    }

    /// Token ids of a caption.
    pub fn tokens(&self, caption: usize) -> &[i32] {
        self.texts.all().tokens(self.texts.row(self.row), caption)
    }

    /// SHA-256 of its source.
    pub fn source(&self) -> &[u8; 32] {
        self.texts.all().source(self.texts.row(self.row))
    }

    /// Where it is stored.
    pub fn place(&self, view: u32) -> Place {
        let shard = self.shard.files.paths[view as usize].clone();
        Place { shard, row: self.row, key: self.key().to_owned() }
    }

    /// How its picture is stored, and whether its bytes were compared with their checksum before.
    ///
    /// # Errors
    /// If the shard cannot be read.
    pub(super) fn stored(&self, view: u32) -> Result<(Pixels, StoredRow, bool), LoadError> {
        let file = self.shard.view(view)?;
        let checked = file.checked[self.row].load(Ordering::Relaxed);
        Ok((file.reader.pixels(), self.shard.stored(view, self.row)?, checked))
    }

    /// Reads its stored picture into `buffer`. The first time, its checksum is compared: what the
    /// disk gives later comes from the same pages, and raw pictures are copied no faster than summed.
    ///
    /// # Errors
    /// If the shard was cut or the bytes are not those that were written.
    pub fn picture(&self, view: u32, buffer: &mut Vec<u8>) -> Result<(), LoadError> {
        let (file, stored) = (self.shard.view(view)?, self.shard.stored(view, self.row)?);
        file.reader.picture(self.row, buffer).map_err(|error| self.bad(view, why(&error)))?;
        if !file.checked[self.row].load(Ordering::Relaxed) {
            if crc32c::crc32c(buffer) != stored.crc32c {
                return Err(self.bad(view, "the picture does not match its crc32c".into()));
            }
            file.checked[self.row].store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies lines of its raw picture of `length` bytes into `out`. `false` where the file is not laid
    /// out for that.
    ///
    /// # Errors
    /// If the shard was cut.
    pub(super) fn raw_lines(
        &self,
        view: u32,
        length: usize,
        lines: Lines,
        out: &mut [u8],
    ) -> Result<bool, LoadError> {
        let reader = &self.shard.view(view)?.reader;
        reader.raw_lines(self.row, length, lines, out).map_err(|error| self.bad(view, why(&error)))
    }

    /// All that is stored of it in a view, its picture unchecked.
    ///
    /// # Errors
    /// If the shard cannot be read.
    pub fn sample(&self, view: u32) -> Result<Sample, LoadError> {
        self.shard.view(view)?.reader.sample(self.row).map_err(LoadError::shard)
    }

    fn bad(&self, view: u32, why: String) -> LoadError {
        LoadError::Sample { place: self.place(view), why }
    }

    /// The number of the first row of its shard, and the reader of the shard's clean view.
    pub(super) fn clean_file(&self) -> Result<(u64, &ShardReader), LoadError> {
        Ok((self.shard.first, &self.shard.view(0)?.reader))
    }
}

/// The first part of a reader's error is the place, which ours has already.
fn why(error: &anyhow::Error) -> String {
    error.chain().nth(1).unwrap_or(error.as_ref()).to_string()
}
