//! The threads of `prepare`: rows of a shard side by side, shards one after another.
//!
//! A shard's rows go in blocks through a pool of `--jobs` threads; while one block is computed the
//! one before it is written, so memory is bounded by the number of jobs. Blocks and rows are
//! written in the plan's order: the number of jobs never shows in a file. A bad run (a disk that
//! fails) ends the block it happens in and then the run; the unfinished files vanish with their
//! writers. The pool ends with [`Lanes`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::Config;
use super::captions::{Phrasing, Writer};
use super::dedup::Dedup;
use super::max_rejects::Tally;
use super::picture;
use super::plan::ShardPlan;
use super::reject::Reject;
use super::resize::Resizer;
use super::source::images::Images;
use super::source::{Cells, Place, Row};
use super::state::Filled;
use crate::progress::Progress;
use crate::sample::{Caption, Sample};
use crate::shard::manifest::RejectEntry;
use crate::shard::{ShardEntry, ShardWriter, Written};

/// Rows a thread gets of a block: enough that the threads end together, few enough for memory.
const ROWS_A_JOB: usize = 16;

/// A pool that fills shards.
pub struct Lanes<'a> {
    config: &'a Config,
    images: Images,
    pool: rayon::ThreadPool,
    scratch: Vec<Mutex<Scratch<'a>>>,
}

/// What a thread keeps from row to row.
struct Scratch<'a> {
    resizer: Resizer,
    writer: Writer<'a>,
}

/// What the rows so far, in the plan's order, mean for those to come.
pub struct SoFar {
    tally: Tally,
    dedup: Dedup,
}

impl SoFar {
    /// No row so far.
    pub fn new(config: &Config) -> Self {
        let tally = Tally::new(config.max_rejects, config.dedup);
        Self { tally, dedup: Dedup::new(config.dedup) }
    }

    /// Takes in a shard of so many planned rows that stands; `false` if it has to be made anew.
    ///
    /// # Errors
    /// If it cannot be read, or there have been too many rejects.
    pub fn take(&mut self, config: &Config, rows: u64, filled: &Filled) -> Result<bool> {
        let clean = &filled.entries[0];
        let stays = self.dedup.take_shard(config.out.join(&clean.path).path(), &clean.split)?;
        if stays {
            self.tally.add_shard(rows, filled)?;
        }
        Ok(stays)
    }
}

/// A row in every view, or why there is none.
type Milled = Result<Vec<Sample>, Reject>;

impl<'a> Lanes<'a> {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the operating system gives no threads, or a zip or table of images cannot be read.
    pub fn new(config: &'a Config, phrasing: Phrasing<'a>) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(config.jobs.get());
        let pool = pool.thread_name(|lane| format!("lane-{lane}")).build();
        let pool = pool.context("--jobs: cannot start the threads")?;
        let (side, filter) = (config.picture.side, config.picture.filter);
        let scratch = || Scratch { resizer: Resizer::new(side, filter), writer: Writer::new(phrasing) };
        let scratch = (0..config.jobs.get()).map(|_| Mutex::new(scratch())).collect();
        Ok(Self { config, images: Images::open(&config.source)?, pool, scratch })
    }

    /// Makes the files of one shard, one a view. In each stand the same keys in the same order;
    /// where every row was rejected they hold no row.
    ///
    /// # Errors
    /// If an image is there but cannot be read, a shard cannot be written, or too many rows are
    /// rejected.
    pub fn fill(
        &self,
        shard: &ShardPlan,
        rows: &[Row],
        progress: &Progress,
        so_far: &mut SoFar,
    ) -> Result<Filled> {
        self.pool.install(|| {
            let mut files = Files::create(self.config, shard)?;
            let mut blocks = shard.rows.chunks(ROWS_A_JOB * self.config.jobs.get());
            let mut cells = self.images.cells(rows, &shard.rows)?;
            let mut ready = blocks.next().map(|block| self.mill(block, rows, &mut cells)).transpose()?;
            while let Some(block) = ready {
                let next = || blocks.next().map(|block| self.mill(block, rows, &mut cells)).transpose();
                let (written, milled) = rayon::join(|| files.write(block, rows, so_far), next);
                let count = written?;
                progress.add(count, || format!("{} rejected", so_far.tally.rejects()));
                ready = milled?;
            }
            files.finish(shard)
        })
    }

    fn mill(&self, block: &[usize], rows: &[Row], cells: &mut Cells) -> Result<Vec<(usize, Milled)>> {
        // The cells of a block are read by one thread, files by each.
        let cell = |&place: &usize| match rows[place].place {
            Place::Cell(_) => Ok((place, cells.take()?)),
            Place::File | Place::Tar { .. } => Ok((place, None)),
        };
        let block: Vec<(usize, Option<Vec<u8>>)> = block.iter().map(cell).collect::<Result<_>>()?;
        let milled = block.into_par_iter().map(|(place, cell)| {
            let row = &rows[place];
            let milled = self.row(row, cell).with_context(|| format!("key {}", row.key))?;
            Ok((place, milled))
        });
        milled.collect()
    }

    /// That of the calling thread. A row asks rayon for nothing while it holds it, so the thread is
    /// never lent to another row meanwhile.
    fn scratch(&self) -> MutexGuard<'_, Scratch<'a>> {
        let lane = rayon::current_thread_index().expect("rows are milled by threads of the pool");
        self.scratch[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, row: &Row, cell: Option<Vec<u8>>) -> Result<Milled> {
        if let Some(fault) = row.fault {
            return Ok(Err(fault.reject(row)));
        }
        let bytes = match self.images.read(row, cell)? {
            Ok(bytes) => bytes,
            Err(reject) => {
                self.refuse_vanished()?;
                return Ok(Err(reject));
            }
        };
        let scratch = &mut *self.scratch();
        let picture = match picture::mill(self.config, &row.key, &bytes, &mut scratch.resizer) {
            Ok(picture) => picture,
            Err(reject) => return Ok(Err(reject)),
        };
        let captions = scratch.writer.captions(row)?;
        let hash = Sha256::digest(&bytes).into();
        let (width, height) = (picture.width, picture.height);
        let sample = |(number, view): (usize, picture::View)| {
            let captions = match view.augment {
                Some(augment) if augment.flip => scratch.writer.mirrored(&captions)?,
                _ => captions.clone(),
            };
            Ok(self.view(row, number, view, (width, height), captions, hash))
        };
        picture.views.into_iter().enumerate().map(sample).collect::<Result<_>>().map(Ok)
    }

    /// A folder that is gone is a bad run, not a hundred thousand bad samples.
    fn refuse_vanished(&self) -> Result<()> {
        let mut gone = self.config.source.images().iter().filter(|images| !images.path().exists());
        gone.next().map_or(Ok(()), |images| bail!("--images: {images} is gone; bring it back and run again"))
    }

    fn view(
        &self,
        row: &Row,
        number: usize,
        view: picture::View,
        (source_width, source_height): (u32, u32),
        captions: Vec<Caption>,
        source_sha256: [u8; 32],
    ) -> Sample {
        Sample {
            key: row.key.to_string(),
            image_id: row.image_id,
            view: number as i32,
            width: view.width as i32,
            height: view.height as i32,
            stored: view.stored,
            source_width: source_width as i32,
            source_height: source_height as i32,
            crop: view.crop,
            augment: view.augment,
            captions,
            meta: row.meta.as_deref().map(str::to_owned),
            source_sha256,
        }
    }
}

/// The files of one shard while they are written.
struct Files {
    writers: Vec<ShardWriter>,
    filled: Filled,
    rows: u64,
}

impl Files {
    fn create(config: &Config, shard: &ShardPlan) -> Result<Self> {
        let path = |view| config.out.join(ShardEntry::path_of(&shard.split, view, shard.number));
        let writer = |view| ShardWriter::create(path(view).path(), config.picture.pixels());
        let writers = (0..config.views.count.get()).map(writer).collect::<Result<_>>()?;
        Ok(Self { writers, filled: Filled::default(), rows: 0 })
    }

    /// Appends a block and gives back how many rows it had, rejected ones included.
    fn write(&mut self, block: Vec<(usize, Milled)>, rows: &[Row], so_far: &mut SoFar) -> Result<u64> {
        let count = block.len() as u64;
        let mut by_view: Vec<Vec<Sample>> = self.writers.iter().map(|_| Vec::new()).collect();
        for (place, milled) in block {
            let row = &rows[place];
            self.filled.empty_captions += row.empty_captions;
            let kept = milled.and_then(|views| {
                so_far.dedup.take(views[0].source_sha256, &row.key, &row.split).map(|()| views)
            });
            match kept {
                Err(reject) => {
                    let reject = entry(row, &reject);
                    so_far.tally.add(Some(&reject))?;
                    self.filled.rejects.push(reject);
                }
                Ok(views) => {
                    so_far.tally.add(None)?;
                    self.rows += 1;
                    self.filled.captions += views[0].captions.len() as u64;
                    by_view.iter_mut().zip(views).for_each(|(samples, sample)| samples.push(sample));
                }
            }
        }
        for (writer, samples) in self.writers.iter_mut().zip(by_view) {
            writer.write(samples)?;
        }
        Ok(count)
    }

    fn finish(self, shard: &ShardPlan) -> Result<Filled> {
        let finish = |(view, writer): (usize, ShardWriter)| {
            let Written { bytes, sha256 } = writer.finish()?;
            let (split, number, view) = (shard.split.clone(), shard.number, view as u32);
            let path = ShardEntry::path_of(&split, view, number);
            Ok(ShardEntry { path, split, view, number, rows: self.rows, bytes, sha256 })
        };
        let entries = self.writers.into_par_iter().enumerate().map(finish).collect::<Result<_>>()?;
        Ok(Filled { entries, ..self.filled })
    }
}

fn entry(row: &Row, reject: &Reject) -> RejectEntry {
    let (key, kind, message) = (row.key.to_string(), reject.kind().to_owned(), reject.to_string());
    RejectEntry { key, path: row.path(), kind, message }
}
