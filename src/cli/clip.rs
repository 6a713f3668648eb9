//! `clip`: flags in, results out.

mod evaluate;
mod export;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::files::write_whole;
use crate::progress::{Progress, Verbosity};
use crate::shard::Dataset;
use crate::show::page::grouped;
use crate::show::{pictures, results};
use crate::store::Location;
use crate::train::checkpoint::{Weights, Which};
use crate::train::device;
use crate::train::embed::embed;
use crate::train::index::Found;
use crate::train::search::{Answer, Search, search};
use crate::train::trained::{Choice, Trained};

/// Use a trained run: evaluate it, embed a split, search in it, export it
#[derive(Parser)]
#[command(name = "clip", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Evaluate(evaluate::Args),
    Embed(EmbedArgs),
    Search(SearchArgs),
    Export(export::Args),
}

#[derive(ClapArgs)]
struct Common {
    /// A folder that `train` made
    #[arg(long, value_name = "RUN")]
    run: PathBuf,

    /// Which of its checkpoints: latest, best (that with the largest recalls on `val` while training) or step-N
    #[arg(long, value_name = "WHICH", default_value = "latest")]
    checkpoint: Which,

    /// Which of the checkpoint's weights: model (those trained) or ema (their average); without it, ema where it has them
    #[arg(long, value_name = "WHICH")]
    weights: Option<Weights>,

    /// cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,

    /// No progress on stderr, nor how long a search took
    #[arg(long)]
    quiet: bool,
}

/// The images that are looked at.
#[derive(ClapArgs)]
struct Of {
    /// A folder that `prepare` made
    #[arg(long, value_name = "DIR")]
    data: Location,

    /// The split
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    split: String,
}

/// Embeddings of a split's images and captions as a Parquet table (key, kind, text, embedding)
///
/// Example: clip embed --run run --data shards --split test --out emb.parquet
#[derive(ClapArgs)]
struct EmbedArgs {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    of: Of,

    /// The table to write
    #[arg(long, value_name = "FILE.parquet")]
    out: PathBuf,
}

/// The images of an index that fit a text best
///
/// Example: clip search --run run --index emb.parquet "two dogs in snow" -k 10 --data shards --html page.html
#[derive(ClapArgs)]
struct SearchArgs {
    #[command(flatten)]
    common: Common,

    /// What `clip embed` wrote
    #[arg(long, value_name = "FILE.parquet")]
    index: PathBuf,

    /// What to look for
    #[arg(value_name = "TEXT")]
    query: String,

    /// How many to show
    #[arg(short, value_name = "N", default_value_t = 10)]
    k: usize,

    /// Where the thumbnails and captions come from
    #[arg(long, value_name = "DIR")]
    data: Option<Location>,

    /// Also write a page; with --data it has pictures
    #[arg(long, value_name = "PAGE.html")]
    html: Option<PathBuf>,

    /// The vocabulary of a run whose shards were made with another than the bundled one (tokenizer.json or vocab.txt)
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

impl Args {
    /// Does what was asked.
    ///
    /// # Errors
    /// Names the flag or file and what to do.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Evaluate(args) => args.run(),
            Command::Embed(args) => args.run(),
            Command::Search(args) => args.run(),
            Command::Export(args) => args.run(),
        }
    }
}

impl Common {
    fn open(&self) -> Result<Trained> {
        let choice = Choice { checkpoint: self.checkpoint, weights: self.weights };
        Trained::open(&self.run, &self.device, choice)
    }

    /// The dataset, of the run's vocabulary, and a bar over one of its splits.
    fn dataset(&self, trained: &Trained, of: &Of) -> Result<(Dataset, Progress)> {
        let dataset = Dataset::open(&of.data).context("--data")?;
        trained.check_vocabulary(&dataset)?;
        let images = dataset.manifest.splits.get(&of.split).map_or(0, |totals| totals.images);
        let verbosity = if self.quiet { Verbosity::Quiet } else { Verbosity::Normal };
        Ok((dataset, Progress::new("embedding", "images", images, verbosity)))
    }
}

impl EmbedArgs {
    fn run(self) -> Result<()> {
        let trained = self.common.open()?;
        let (dataset, progress) = self.common.dataset(&trained, &self.of)?;
        let (images, captions) = embed(&trained, &dataset, &self.of.split, &self.out, &progress)?;
        progress.finish();
        println!("{images} images and {captions} captions in {}", self.out.display());
        Ok(())
    }
}

impl SearchArgs {
    fn run(self) -> Result<()> {
        ensure!(self.k > 0, "-k is 0; it is a number of images");
        device::set_threads(1); // one text is little work: libtorch's threads would only wait for each other
        let trained = self.common.open()?;
        let (index, query, tokenizer) = (self.index, self.query, self.tokenizer);
        let request = Search { index, query, k: self.k, tokenizer };
        let Answer { found, images, took } = search(&trained, &request)?;
        if !self.common.quiet {
            eprintln!("searched {} embeddings in {} ms", grouped(images as u64), took.as_millis());
        }
        let hits = hits(found, self.data.as_ref())?;
        for (place, hit) in hits.iter().enumerate() {
            println!("{:>3}  {:.4}  {}  {}", place + 1, hit.score, hit.key, hit.caption);
        }
        self.html.as_deref().map_or(Ok(()), |out| page(out, &request.query, &hits))
    }
}

fn page(out: &Path, query: &str, hits: &[results::Hit]) -> Result<()> {
    write_whole(out, results::html(query, hits).as_bytes()).context("--html")
}

/// What was found, with picture and caption where the data is at hand.
fn hits(found: Vec<Found>, data: Option<&Location>) -> Result<Vec<results::Hit>> {
    let keys: HashSet<&str> = found.iter().map(|found| found.key.as_str()).collect();
    let shown = match data {
        Some(data) => pictures::of_keys(&Dataset::open(data).context("--data")?, None, &keys)?,
        None => Default::default(),
    };
    let hit = |found: Found| {
        let shown = shown.get(&found.key);
        let (picture, caption) = (shown.map(|s| s.picture.clone()), shown.map(|s| s.caption.clone()));
        let caption = caption.unwrap_or_default();
        results::Hit { key: found.key, score: found.score, picture, caption, right: false }
    };
    Ok(found.into_iter().map(hit).collect())
}
