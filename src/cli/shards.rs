//! The command line of `shards`.

mod bench;
mod export;
mod order;
mod retokenize;
mod show;
mod stats;
mod verify;

use std::collections::HashSet;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::export::Export;
use crate::load::{CaptionWeights, Shuffle, read_keys};
use crate::prepare::retokenize::Retokenize;
use crate::progress::Verbosity;
use crate::shard::Dataset;
use crate::store::Location;
use bench::{Bench, BenchArgs};
use export::ExportArgs;
use retokenize::RetokenizeArgs;

/// Look at, check and convert shards
#[derive(Debug, Parser)]
#[command(name = "shards", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    command: CommandArgs,

    /// No progress on stderr
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum CommandArgs {
    /// Read every byte and compare it with the manifest
    ///
    /// Exit code 0 and one line where all is well; else 1, with a line for everything that is wrong.
    Verify(VerifyArgs),
    /// Count rows, captions, words, tokens, sizes, rejects and duplicates
    Stats(StatsArgs),
    /// Print which rows, views and captions `train` would see in an epoch, as tab-separated values
    ///
    /// Columns: step (within the epoch, from 0), rank, key, view, caption (index in the row's list;
    /// with --captions-per-image several, with commas between them).
    Order(OrderArgs),
    /// Read epochs as `train` would, without a model, and say how fast that goes
    ///
    /// The last line on stdout with --json: images_per_second over all epochs, epochs (images/s of
    /// each), workers, encoding, peak_rss_mb, and where the time went, in seconds summed over workers.
    ///
    /// Example: shards bench shards --batch 256 --workers 2
    Bench(BenchArgs),
    /// A contact sheet: stored pictures, all views side by side, with their captions; or what a step of a run saw
    ///
    /// With --run and --step, the batch of a training step as the model saw it: pictures cut, flipped and jittered, the
    /// captions chosen and, where the run has `run.log_pairs`, what each pair cost, in the order of the batch. It is
    /// computed anew from the shards, and held against the keys in the run's log.
    ///
    /// Example: shards show shards --split train -n 64 --out sheet.html
    ///
    /// Example: shards show --run run --step 1200 --out step.html
    Show(ShowArgs),
    /// Tars that open_clip and WebDataset train from, one a shard
    ///
    /// Each row is <key>.jpg or .png (raw pixels become PNG), <key>.txt (its first original caption)
    /// and <key>.json (key, view, captions, caption_kinds, caption_of, width, height, source_sha256,
    /// meta).
    /// `.`, `/`, `\`, `%` and control characters of a key stand as %XX in the names, as in URLs.
    /// Run again, it keeps the tars that stand.
    ///
    /// Example: shards export shards --format webdataset --split train --out tars
    Export(ExportArgs),
    /// The same dataset with the token ids of another tokenizer; pictures are copied untouched
    ///
    /// Gives what `prepare` would with that tokenizer. Run again, it goes on where it stopped.
    ///
    /// Example: shards retokenize shards --tokenizer vocab.txt --out shards-cased
    Retokenize(RetokenizeArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Folder that `prepare` wrote
    dir: Location,
}

#[derive(Debug, clap::Args)]
struct StatsArgs {
    /// Folder that `prepare` wrote
    dir: Location,

    /// One line of JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OrderArgs {
    /// Folders that `prepare` wrote; several are one dataset, one after another
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<Location>,

    /// Split to order
    #[arg(long, default_value = "train")]
    split: String,

    /// Rows of a step over all ranks
    #[arg(long, value_name = "ROWS")]
    batch: NonZeroUsize,

    /// Seed of the run (`run.seed`)
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Epoch, from 0
    #[arg(long, default_value_t = 0)]
    epoch: u64,

    /// Ranks that share each step
    #[arg(long, value_name = "RANKS", default_value = "1")]
    world: NonZeroUsize,

    /// `full` (all rows, anew each epoch), `window:N` (within windows of N rows over shuffled shards,
    /// for storage that is slow to seek) or `none` (file order)
    #[arg(long, value_name = "HOW", default_value = "full")]
    shuffle: Shuffle,

    /// Leave out the short step at the end
    #[arg(long)]
    drop_last: bool,

    /// Whole weights of the kinds of caption; a kind left out weighs 0
    #[arg(long, value_name = "KIND=WEIGHT,…", default_value = "original=1,synonym=1,back-translation=1")]
    captions: CaptionWeights,

    /// Captions that an image shows at a time (`data.captions_per_image`)
    #[arg(long, value_name = "CAPTIONS", default_value = "1")]
    captions_per_image: NonZeroUsize,

    /// File of keys that are never used, one a line
    #[arg(long, value_name = "FILE")]
    exclude: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Folder that `prepare` wrote
    #[arg(required_unless_present = "run")]
    dir: Option<Location>,

    /// Split to show [default: train, else the first]
    #[arg(long)]
    split: Option<String>,

    /// Run of `train`, to show what a step of it saw
    #[arg(long, value_name = "RUN", requires = "step", conflicts_with_all = ["dir", "split"])]
    run: Option<PathBuf>,

    /// Step of the run, from 0
    #[arg(long, requires = "run")]
    step: Option<u64>,

    /// Where the run's shards are now, in the order of `train`'s --data [default: where they were]
    #[arg(long, value_name = "DIR", num_args = 1.., requires = "run")]
    data: Vec<Location>,

    /// Images to show [default: 64, spread over the split's shards; of a step, all]
    #[arg(short, value_name = "IMAGES")]
    n: Option<NonZeroUsize>,

    /// Page (.html: pictures, captions, crops) or sheet (.png: pictures alone) to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What is to be done, on datasets that are there.
pub enum Command {
    /// `shards verify`
    Verify(Dataset, Verbosity),
    /// `shards stats`
    Stats(Dataset, Format, Verbosity),
    /// `shards order`
    Order(Ordering),
    /// `shards bench`
    Bench(Bench),
    /// `shards show`
    Show(Showing),
    /// `shards export`
    Export(Export, Verbosity),
    /// `shards retokenize`
    Retokenize(Retokenize, Verbosity),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Which order is to be printed.
pub struct Ordering {
    datasets: Vec<Dataset>,
    split: String,
    batch: usize,
    seed: u64,
    epoch: u64,
    world: usize,
    shuffle: Shuffle,
    drop_last: bool,
    weights: CaptionWeights,
    captions_per_image: usize,
    excluded: HashSet<String>,
}

/// What is to be shown where.
pub struct Showing {
    what: Shown,
    images: Option<usize>,
    out: PathBuf,
}

/// What is to be shown.
enum Shown {
    Split(Box<Dataset>, Option<String>),
    Step { run: PathBuf, step: u64, data: Vec<Location> },
}

impl Args {
    /// Opens what the flags name.
    ///
    /// # Errors
    /// If a folder holds no finished dataset, or a file cannot be read.
    pub fn resolve(self) -> Result<Command> {
        let verbosity = if self.quiet { Verbosity::Quiet } else { Verbosity::Normal };
        Ok(match self.command {
            CommandArgs::Verify(args) => Command::Verify(Dataset::open(&args.dir)?, verbosity),
            CommandArgs::Stats(args) => {
                let format = if args.json { Format::Json } else { Format::Text };
                Command::Stats(Dataset::open(&args.dir)?, format, verbosity)
            }
            CommandArgs::Order(args) => Command::Order(args.resolve()?),
            CommandArgs::Bench(args) => Command::Bench(args.resolve()?),
            CommandArgs::Show(args) => Command::Show(args.resolve()?),
            CommandArgs::Export(args) => Command::Export(args.resolve()?, verbosity),
            CommandArgs::Retokenize(args) => Command::Retokenize(args.resolve()?, verbosity),
        })
    }
}

impl ShowArgs {
    fn resolve(self) -> Result<Showing> {
        let what = match (self.dir, self.run, self.step) {
            (_, Some(run), Some(step)) => Shown::Step { run, step, data: self.data },
            (dir, ..) => {
                let dataset = Dataset::open(&dir.context("no folder of shards is named")?)?;
                Shown::Split(Box::new(dataset), self.split)
            }
        };
        Ok(Showing { what, images: self.n.map(NonZeroUsize::get), out: self.out })
    }
}

impl OrderArgs {
    fn resolve(self) -> Result<Ordering> {
        let excluded = self.exclude.as_deref().map(read_keys).transpose().context("--exclude")?;
        Ok(Ordering {
            datasets: self.dirs.iter().map(Dataset::open).collect::<Result<_>>()?,
            split: self.split,
            batch: self.batch.get(),
            seed: self.seed,
            epoch: self.epoch,
            world: self.world.get(),
            shuffle: self.shuffle,
            drop_last: self.drop_last,
            weights: self.captions,
            captions_per_image: self.captions_per_image.get(),
            excluded: excluded.unwrap_or_default(),
        })
    }
}

/// Does it; results go to `out`.
///
/// # Errors
/// If a dataset is damaged or cannot be read, or `out` cannot be written.
pub fn run(command: Command, out: &mut impl Write) -> Result<()> {
    match command {
        Command::Verify(dataset, verbosity) => verify::run(&dataset, verbosity, out),
        Command::Stats(dataset, format, verbosity) => stats::run(&dataset, format, verbosity, out),
        Command::Order(ordering) => order::run(ordering, out),
        Command::Bench(bench) => bench::run(bench, out),
        Command::Show(showing) => show::run(&showing, out),
        Command::Export(export, verbosity) => export::run(&export, verbosity, out),
        Command::Retokenize(config, verbosity) => retokenize::run(&config, verbosity, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
