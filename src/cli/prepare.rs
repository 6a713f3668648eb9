//! The command line of `prepare`.

use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use crate::prepare::augment::image::ViewSettings;
use crate::prepare::encode::Encoding;
use crate::prepare::resize::{Filter, Fit};
use crate::prepare::source::coco::{CaptionFile, Captions, Coco};
use crate::prepare::source::flickr30k::Flickr30k;
use crate::prepare::source::{Source, is_split_name};
use crate::prepare::{Config, Existing, Picture, Views};
use crate::progress::Verbosity;
use crate::store::Location;

/// Mill image–text pairs into Parquet shards
///
/// Reads photos and captions; writes shards of pre-resized images, captions and token ids, with as
/// many augmented views as asked for. Run again with the same options, it goes on where it stopped;
/// a finished dataset is checked and left alone.
///
/// Example:
///
///     prepare flickr30k --images flickr30k-images --captions results_20130124.token --out shards
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
    ///     prepare coco --images train2017 --images val2017 \
    ///         --captions train=annotations/captions_train2017.json \
    ///         --captions val=annotations/captions_val2017.json --out shards
    #[command(verbatim_doc_comment)]
    Coco(CocoArgs),
    /// Flickr8k and Flickr30k captions
    ///
    /// The caption file is told by its content: results_20130124.token, results.csv, captions.txt
    /// or flickr_annotations_30k.csv.
    ///
    /// Example:
    ///
    ///     prepare flickr30k --images flickr30k-images --captions results.csv \
    ///         --karpathy dataset_flickr30k.json --out shards
    #[command(verbatim_doc_comment)]
    Flickr30k(FlickrArgs),
}

#[derive(Debug, clap::Args)]
struct CocoArgs {
    /// Folder of images; given several times, they are looked in in order
    #[arg(long, value_name = "DIR", required = true)]
    images: Vec<Location>,
    /// COCO captions file, with the split that its images go to; may be given several times
    ///
    /// Without SPLIT= they go to the split of --split. Write ./a=b.json for a file with `=` in its name.
    #[arg(
        long,
        value_name = "[SPLIT=]FILE",
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
    /// Folder of images; given several times, they are looked in in order
    #[arg(long, value_name = "DIR", required = true)]
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
struct CommonArgs {
    /// Folder of the dataset
    #[arg(long, value_name = "DIR")]
    out: Location,
    /// Split of images whose source names none
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,
    /// Side of the stored square images, in pixels
    #[arg(long, value_name = "PX", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=8192))]
    size: u32,
    /// How an image becomes square: cut to its centre, padded with black, or squashed
    #[arg(long, default_value = "crop", value_parser = choice(Fit::ALL, Fit::name))]
    fit: Fit,
    /// Resampling filter
    #[arg(long, default_value = "catmull-rom", value_parser = choice(Filter::ALL, Filter::name))]
    filter: Filter,
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
    #[command(flatten)]
    views: ViewArgs,
    /// Seed of every random draw
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Images planned into a shard
    #[arg(long, value_name = "N", default_value = "4096")]
    shard_rows: NonZeroU32,
    /// Threads [default: one a core]; never changes what is written
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Remove a dataset that is in --out already and begin anew; only a dataset's files are removed
    #[arg(long)]
    overwrite: bool,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

/// What is not given comes from `--augment`'s file, then from the default.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Augmented views (view 0 is always clean)")]
struct ViewArgs {
    /// Stored views of each image, the clean one included [default: 1]
    #[arg(long, value_name = "K")]
    views: Option<NonZeroU32>,
    /// Share of the image's area that a crop covers, drawn between two bounds [default: 0.6,1.0]
    #[arg(long, value_name = "LOW,HIGH")]
    crop_scale: Option<List<2>>,
    /// Width over height of a crop, drawn between two bounds [default: 0.75,1.333]
    #[arg(long, value_name = "LOW,HIGH")]
    crop_ratio: Option<List<2>>,
    /// Probability of a mirrored view [default: 0]
    #[arg(long, value_name = "P")]
    flip: Option<f64>,
    /// Strength of brightness, contrast and saturation, and hue in turns up to 0.5 [default: 0,0,0,0]
    #[arg(long, value_name = "B,C,S,H")]
    jitter: Option<List<4>>,
    /// Probability of a gray view [default: 0]
    #[arg(long, value_name = "P")]
    grayscale: Option<f64>,
    /// The settings above as a TOML file (views = 2, crop_scale = [0.6, 1.0], …); a flag wins over it
    #[arg(long, value_name = "FILE")]
    augment: Option<Location>,
}

/// Numbers with commas between.
#[derive(Clone, Copy, Debug, PartialEq)]
struct List<const N: usize>([f64; N]);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EncodingArg {
    Jpeg,
    Raw,
}

impl Args {
    /// Whether progress is shown.
    pub fn verbosity(&self) -> Verbosity {
        let (SourceArgs::Coco(CocoArgs { common, .. }) | SourceArgs::Flickr30k(FlickrArgs { common, .. })) =
            &self.source;
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
            EncodingArg::Raw => Encoding::Raw,
        };
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(Config {
            source,
            split: self.split,
            out: self.out,
            picture: Picture { side: self.size, fit: self.fit, filter: self.filter, encoding },
            tokenizer: self.tokenizer,
            max_tokens: self.max_tokens as usize,
            views: self.views.resolve()?,
            seed: self.seed,
            shard_rows: self.shard_rows,
            jobs: self.jobs.unwrap_or_else(cores),
            existing: if self.overwrite { Existing::Overwrite } else { Existing::Keep },
        })
    }
}

impl ViewArgs {
    fn resolve(self) -> Result<Views> {
        let file = self.augment.as_ref().map(Self::read).transpose()?;
        let file = file.as_ref();
        let views = self.views.or(file.and_then(|file| file.views));
        let crop_scale =
            self.crop_scale.or(file.and_then(|file| file.crop_scale)).unwrap_or(List([0.6, 1.0]));
        let crop_ratio =
            self.crop_ratio.or(file.and_then(|file| file.crop_ratio)).unwrap_or(List([0.75, 1.333]));
        let jitter = self.jitter.or(file.and_then(|file| file.jitter)).unwrap_or(List([0.0; 4]));
        let flip = self.flip.or(file.and_then(|file| file.flip)).unwrap_or(0.0);
        let grayscale = self.grayscale.or(file.and_then(|file| file.grayscale)).unwrap_or(0.0);
        bounds("--crop-scale", crop_scale, 1.0)?;
        bounds("--crop-ratio", crop_ratio, f64::MAX)?;
        probability("--flip", flip)?;
        probability("--grayscale", grayscale)?;
        let [brightness, contrast, saturation, hue] = jitter.0;
        ensure!(
            [brightness, contrast, saturation]
                .iter()
                .all(|&strength| strength >= 0.0 && strength.is_finite()),
            "--jitter: brightness, contrast and saturation are 0 or more"
        );
        ensure!((0.0..=0.5).contains(&hue), "--jitter: hue is between 0 and 0.5 turns, not {hue}");
        let settings =
            ViewSettings::new(crop_scale.0.into(), crop_ratio.0.into(), flip, jitter.0, grayscale)?;
        Ok(Views { count: views.unwrap_or(NonZeroU32::MIN), settings })
    }

    /// The settings of an `--augment` file.
    fn read(file: &Location) -> Result<Self> {
        file_exists("--augment", file)?;
        let reading = || format!("--augment: {file}");
        let text = fs::read_to_string(file.path()).with_context(reading)?;
        let table: toml::Table = text.parse().map_err(|error| anyhow!("{error}")).with_context(reading)?;
        let mut args = Self {
            views: None,
            crop_scale: None,
            crop_ratio: None,
            flip: None,
            jitter: None,
            grayscale: None,
            augment: None,
        };
        for (key, value) in table {
            args.set(&key, &value).with_context(reading)?;
        }
        Ok(args)
    }

    fn set(&mut self, key: &str, value: &toml::Value) -> Result<()> {
        match key {
            "views" => self.views = Some(count(value).context("`views` is a whole number from 1 on")?),
            "crop_scale" => self.crop_scale = Some(list(key, value)?),
            "crop_ratio" => self.crop_ratio = Some(list(key, value)?),
            "flip" => self.flip = Some(number(value).context("`flip` is a probability")?),
            "jitter" => self.jitter = Some(list(key, value)?),
            "grayscale" => self.grayscale = Some(number(value).context("`grayscale` is a probability")?),
            _ => {
                let keys = ["views", "crop_scale", "crop_ratio", "flip", "jitter", "grayscale"];
                let near = |known: &&&str| strsim::damerau_levenshtein(known, key);
                let nearest = keys.iter().min_by_key(near).expect("there are keys");
                bail!("there is no key `{key}`; did you mean `{nearest}`?")
            }
        }
        Ok(())
    }
}

fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|number| number as f64))
}

fn count(value: &toml::Value) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(value.as_integer()?).ok()?)
}

fn list<const N: usize>(key: &str, value: &toml::Value) -> Result<List<N>> {
    let numbers = || -> Option<[f64; N]> {
        value.as_array()?.iter().map(number).collect::<Option<Vec<_>>>()?.try_into().ok()
    };
    numbers().map(List).with_context(|| format!("`{key}` is a list of {N} numbers"))
}

fn bounds(flag: &str, List([low, high]): List<2>, most: f64) -> Result<()> {
    let right = 0.0 < low && low <= high && high <= most;
    let most = if most == f64::MAX { String::new() } else { format!(" and no more than {most}") };
    ensure!(right, "{flag}: {low},{high} is not a pair of bounds: above 0, the lower first{most}");
    Ok(())
}

fn probability(flag: &str, p: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&p), "{flag}: a probability is between 0 and 1, not {p}");
    Ok(())
}

fn images_exist(folders: &[Location]) -> Result<()> {
    let mut absent = folders.iter().filter(|folder| !folder.path().is_dir());
    absent.next().map_or(Ok(()), |folder| bail!("--images: no folder at {folder}"))
}

fn file_exists(flag: &str, file: &Location) -> Result<()> {
    ensure!(is_file_like(file.path()), "{flag}: no file at {file}");
    Ok(())
}

/// One of some names; `--help` lists them.
fn choice<T, const N: usize>(all: [T; N], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.map(name)).try_map(|name| name.parse::<T>())
}

/// A pipe will do too.
fn is_file_like(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}

impl<const N: usize> FromStr for List<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        let numbers = parts.and_then(|parts| parts.try_into().ok());
        numbers.map(List).ok_or_else(|| format!("expected {N} numbers with commas between"))
    }
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
