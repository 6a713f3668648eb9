//! The command line of `prepare`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use super::views::ViewArgs;
use super::{file_exists, tars};
use crate::prepare::encode::Encoding;
use crate::prepare::max_rejects::MaxRejects;
use crate::prepare::resize::{Filter, Fit};
use crate::prepare::source::coco::{CaptionFile, Captions, Coco};
use crate::prepare::source::flickr30k::Flickr30k;
use crate::prepare::source::table::{Columns, Format, Table};
use crate::prepare::source::webdataset::Webdataset;
use crate::prepare::source::{Source, is_split_name};
use crate::prepare::{Config, Existing, Picture};
use crate::progress::Verbosity;
use crate::store::Location;

/// Mill image–text pairs into Parquet shards
///
/// Reads photos and captions; writes shards of pre-resized images, captions and token ids, with as
/// many augmented views and captions as asked for. Run again with the same options, it goes on where it stopped;
/// a finished dataset is checked and left alone.
///
/// Example:
///
///   prepare flickr30k --images flickr30k-images --captions results_20130124.token --out shards
#[derive(Debug, Parser)]
#[command(name = "prepare", version, verbatim_doc_comment, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    source: SourceArgs,
}

#[derive(Debug, Subcommand)]
enum SourceArgs {
    /// MS COCO captions
    ///
    /// Example: train and validation images in one dataset:
    ///
    ///   prepare coco --images train2017 --images val2017 \
    ///       --captions train=annotations/captions_train2017.json \
    ///       --captions val=annotations/captions_val2017.json --out shards
    #[command(verbatim_doc_comment)]
    Coco(CocoArgs),
    /// Flickr8k and Flickr30k captions
    ///
    /// The caption file is told by its content: results_20130124.token, results.csv, captions.txt
    /// or flickr_annotations_30k.csv.
    ///
    /// Example:
    ///
    ///   prepare flickr30k --images flickr30k-images --captions results.csv \
    ///       --karpathy dataset_flickr30k.json --out shards
    #[command(verbatim_doc_comment)]
    Flickr30k(FlickrArgs),
    /// A table of pairs: CSV, TSV, JSON Lines or Parquet
    ///
    /// An image cell is a path, or in Parquet also bytes or Hugging Face's struct of bytes and path.
    /// A caption cell is a text or a list of texts (in CSV and TSV: JSON). Rows of one --key-column
    /// are one image with all their captions, however they are ordered.
    ///
    /// Example: three columns of a CSV, and a dataset from Hugging Face:
    ///
    ///   prepare table --table pairs.csv --image-column file --caption-column title,alt \
    ///       --images photos --keep-columns url --out shards
    ///   prepare table --table train-00000-of-00001.parquet --out shards
    #[command(verbatim_doc_comment)]
    Table(TableArgs),
    /// WebDataset tars, as img2dataset and open_clip write them
    ///
    /// The files of a sample share a name up to the first dot: an image (.jpg, .jpeg, .png, .webp)
    /// and .txt or .json or both. Captions are the list `captions` of the .json; without one the
    /// .txt; without that the text `caption` of the .json.
    ///
    /// Example:
    ///
    ///   prepare webdataset --tars 'cc3m/*.tar' --keep-columns url,width --out shards
    #[command(verbatim_doc_comment)]
    Webdataset(WebdatasetArgs),
}

#[derive(Debug, clap::Args)]
struct CocoArgs {
    /// Folder or zip of images; several are looked in in order
    #[arg(long, value_name = "DIR|ZIP", required = true, num_args = 1..)]
    images: Vec<Location>,
    /// COCO captions file, with the split that its images go to; may be several
    ///
    /// Without SPLIT= they go to the split of --split. Write ./a=b.json for a file with `=` in its name.
    #[arg(
        long,
        value_name = "[SPLIT=]FILE",
        num_args = 1..,
        required_unless_present = "karpathy",
        conflicts_with = "karpathy"
    )]
    captions: Vec<CaptionFile>,
    /// dataset_coco.json: captions and splits in one file; restval counts as train
    #[arg(long, value_name = "FILE")]
    karpathy: Option<Location>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct FlickrArgs {
    /// Folder or zip of images; several are looked in in order
    #[arg(long, value_name = "DIR|ZIP", required = true, num_args = 1..)]
    images: Vec<Location>,
    /// Caption file, in any of the four forms that exist
    #[arg(long, value_name = "FILE")]
    captions: Location,
    /// dataset_flickr30k.json: the split of each image that it names
    #[arg(long, value_name = "FILE")]
    karpathy: Option<Location>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct TableArgs {
    /// The table; its format is told by its end: .csv, .tsv, .jsonl or .parquet
    #[arg(long, value_name = "FILE")]
    table: Location,
    /// Folder or zip of the images that it names [default: the table's folder]
    #[arg(long, value_name = "DIR|ZIP")]
    images: Option<Location>,
    /// Column of images
    #[arg(long, value_name = "NAME", default_value = "image")]
    image_column: String,
    /// Column of captions; may be several, their captions come in this order
    #[arg(long, value_name = "NAME", default_value = "caption", value_delimiter = ',', num_args = 1..)]
    caption_column: Vec<String>,
    /// Column of keys; rows of one key are one image [default: the row's number from 0]
    #[arg(long, value_name = "NAME")]
    key_column: Option<String>,
    /// Column of splits; an empty cell means that of --split
    #[arg(long, value_name = "NAME")]
    split_column: Option<String>,
    /// Columns that go into `meta`, as JSON
    #[arg(long, value_name = "NAMES", value_delimiter = ',', num_args = 1..)]
    keep_columns: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct WebdatasetArgs {
    /// Tars: files or quoted patterns with *, ?, [..] and {00..12}; may be several
    #[arg(long, value_name = "GLOB", required = true, num_args = 1..)]
    tars: Vec<String>,
    /// Keys of the .json files that go into `meta`, as JSON
    #[arg(long, value_name = "NAMES", value_delimiter = ',', num_args = 1..)]
    keep_columns: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct CommonArgs {
    /// Folder of the dataset
    #[arg(long, value_name = "DIR")]
    out: Location,
    /// Split of images whose source names none
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,
    /// Side of the stored square images, in pixels; smaller images are enlarged
    #[arg(long, value_name = "PX", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=8192))]
    size: u32,
    /// How an image becomes square: cut to its centre, padded with black, or squashed; with
    /// `shortest` it does not, and --size is its shorter side (jpeg and png only)
    #[arg(long, default_value = "crop", value_parser = choice(Fit::ALL, Fit::name))]
    fit: Fit,
    /// Resampling filter
    #[arg(long, default_value = "catmull-rom", value_parser = choice(Filter::ALL, Filter::name))]
    filter: Filter,
    /// Leave out images with a side of fewer pixels
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    min_size: Option<u32>,
    /// Leave out images with one side more than R times the other
    #[arg(long, value_name = "R", value_parser = aspect)]
    max_aspect: Option<f64>,
    /// How pixels are stored
    #[arg(long, value_enum, default_value_t = EncodingArg::Jpeg)]
    encoding: EncodingArg,
    /// JPEG quality, 1 to 100
    #[arg(long, value_name = "Q", default_value = "90", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// vocab.txt or tokenizer.json of a WordPiece tokenizer [default: bert-base-uncased, bundled]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<Location>,
    /// Longest row of token ids, [CLS] and [SEP] included
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(3..=512))]
    max_tokens: u32,
    /// Seed of every random draw
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Images planned into a shard
    #[arg(long, value_name = "N", default_value = "4096")]
    shard_rows: NonZeroU32,
    /// Drop images whose files equal an earlier one's byte for byte, also across splits
    ///
    /// The first in the order of the splits' names, then of the source, stays; the others are
    /// rejects of kind `duplicate`.
    #[arg(long)]
    dedup: bool,
    /// Threads [default: one a core]; never changes what is written
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Remove a dataset that is in --out already and begin anew; only a dataset's files are removed
    #[arg(long)]
    overwrite: bool,
    /// Try again what an earlier run rejected; only shards that something was rejected from are
    /// written anew
    #[arg(long, conflicts_with = "overwrite")]
    retry_rejected: bool,
    /// Rejects at which the run stops, a share of the samples so far or a count
    ///
    /// Counted after 100 samples. What --dedup, --min-size and --max-aspect leave out does not count.
    #[arg(long, value_name = "P%|N", default_value = "1%")]
    max_rejects: MaxRejects,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    views: ViewArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EncodingArg {
    Jpeg,
    Png,
    Raw,
}

impl Args {
    /// Whether progress is shown.
    pub fn verbosity(&self) -> Verbosity {
        let (SourceArgs::Coco(CocoArgs { common, .. })
        | SourceArgs::Flickr30k(FlickrArgs { common, .. })
        | SourceArgs::Table(TableArgs { common, .. })
        | SourceArgs::Webdataset(WebdatasetArgs { common, .. })) = &self.source;
        if common.quiet { Verbosity::Quiet } else { Verbosity::Normal }
    }

    /// Checks everything that can be checked without reading captions or images.
    ///
    /// # Errors
    /// The first thing that is wrong, named by its flag.
    pub fn resolve(self) -> Result<Config> {
        let (source, common) = match self.source {
            SourceArgs::Coco(args) => {
                (Source::Coco(coco(args.images, args.captions, args.karpathy)?), args.common)
            }
            SourceArgs::Flickr30k(args) => {
                images_exist(&args.images)?;
                file_exists("--captions", &args.captions)?;
                args.karpathy.iter().try_for_each(|file| file_exists("--karpathy", file))?;
                let (images, captions, karpathy) = (args.images, args.captions, args.karpathy);
                (Source::Flickr30k(Flickr30k { images, captions, karpathy }), args.common)
            }
            SourceArgs::Table(args) => args.resolve()?,
            SourceArgs::Webdataset(args) => {
                let tars = tars::matching(&args.tars)?;
                (Source::Webdataset(Webdataset { tars, keep_columns: args.keep_columns }), args.common)
            }
        };
        common.resolve(source)
    }
}

fn coco(images: Vec<Location>, captions: Vec<CaptionFile>, karpathy: Option<Location>) -> Result<Coco> {
    images_exist(&images)?;
    let captions = match karpathy {
        Some(file) => {
            file_exists("--karpathy", &file)?;
            Captions::Karpathy(file)
        }
        None => {
            captions.iter().try_for_each(|caption| file_exists("--captions", &caption.file))?;
            Captions::Files(captions)
        }
    };
    Ok(Coco { images, captions })
}

impl TableArgs {
    fn resolve(self) -> Result<(Source, CommonArgs)> {
        file_exists("--table", &self.table)?;
        let format = Format::of(self.table.path());
        let format = format.with_context(|| {
            format!("--table: {} ends in none of .csv, .tsv, .jsonl and .parquet", self.table)
        })?;
        self.images.iter().try_for_each(|images| images_exist(std::slice::from_ref(images)))?;
        let parent = || self.table.path().parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = || Location::local(parent().unwrap_or(".".as_ref()));
        let images = self.images.unwrap_or_else(folder);
        let (key, split) = (self.key_column, self.split_column);
        let (captions, keep) = (self.caption_column, self.keep_columns);
        let columns = Columns { image: self.image_column, captions, key, split, keep };
        Ok((Source::Table(Table { file: self.table, format, images, columns }), self.common))
    }
}

impl CommonArgs {
    fn resolve(self, source: Source) -> Result<Config> {
        ensure!(
            is_split_name(&self.split),
            "--split: `{}` cannot be the name of a split: letters, digits, `_` and `.` can, a letter or digit first",
            self.split
        );
        self.tokenizer.iter().try_for_each(|file| file_exists("--tokenizer", file))?;
        let encoding = match self.encoding {
            EncodingArg::Jpeg => Encoding::Jpeg { quality: self.quality },
            EncodingArg::Png => Encoding::Png,
            EncodingArg::Raw => Encoding::Raw,
        };
        ensure!(
            self.fit != Fit::Shortest || encoding != Encoding::Raw,
            "--fit shortest: raw pictures all have one shape; take --encoding jpeg or png"
        );
        let (views, texts) = self.views.resolve()?;
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(Config {
            source,
            split: self.split,
            out: self.out,
            picture: Picture {
                side: self.size,
                fit: self.fit,
                filter: self.filter,
                encoding,
                min_size: self.min_size,
                max_aspect: self.max_aspect,
            },
            tokenizer: self.tokenizer,
            max_tokens: self.max_tokens as usize,
            views,
            texts,
            seed: self.seed,
            dedup: self.dedup,
            shard_rows: self.shard_rows,
            jobs: self.jobs.unwrap_or_else(cores),
            max_rejects: self.max_rejects,
            existing: match (self.overwrite, self.retry_rejected) {
                (true, _) => Existing::Overwrite,
                (false, true) => Existing::RetryRejected,
                (false, false) => Existing::Keep,
            },
        })
    }
}

fn images_exist(folders: &[Location]) -> Result<()> {
    let mut absent = folders.iter().filter(|folder| !folder.path().exists());
    absent.next().map_or(Ok(()), |folder| bail!("--images: no folder at {folder}"))
}

/// A ratio of two sides, the longer over the shorter.
fn aspect(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if ratio >= 1.0 && ratio.is_finite() { Ok(ratio) } else { Err("not 1 or more".to_owned()) }
}

/// One of some names; `--help` lists them.
fn choice<T, const N: usize>(all: [T; N], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.map(name)).try_map(|name| name.parse::<T>())
}

impl FromStr for CaptionFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((split, file)) if is_split_name(split) => {
                Ok(Self { split: Some(split.to_owned()), file: file.parse()? })
            }
            _ => Ok(Self { split: None, file: text.parse()? }),
        }
    }
}
