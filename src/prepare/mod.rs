//! Photos and captions → shards.

pub mod augment;
mod captions;
pub mod dedup;
pub mod encode;
mod folder;
pub mod lanes;
pub mod max_rejects;
pub mod picture;
pub mod plan;
mod recipe;
pub mod reject;
pub mod resize;
pub mod retokenize;
mod retry;
pub mod source;
mod standing;
mod state;
mod summary;
pub mod tokenize;
pub mod words;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

pub use standing::Existing;
pub use summary::{Summary, Work};

use crate::decode::DECODERS;
use crate::progress::{Progress, Verbosity};
use crate::shard::manifest::{Manifest, RejectEntry, Totals};
use crate::shard::{Dataset, Pixels, ShardEntry, schema};
use crate::store::Location;
use augment::image::ViewSettings;
use augment::text::TextSettings;
use augment::text::back_translation::Translations;
use augment::text::wordnet::Wordnet;
use captions::Phrasing;
use encode::{Encoding, encoders};
use lanes::{Lanes, SoFar};
use max_rejects::MaxRejects;
use plan::{ShardPlan, plan};
use recipe::Recipe;
use resize::{Filter, Fit, RESIZER};
use source::{Listing, Source};
use standing::Found;
use state::{Filled, State};
use tokenize::WordPieces;

/// Everything `prepare` is told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the pairs come from.
    pub source: Source,
    /// Split of rows whose source names none.
    pub split: String,
    /// The dataset's folder.
    pub out: Location,
    /// How pictures are stored.
    pub picture: Picture,
    /// A WordPiece vocabulary or `tokenizer.json`; the bundled bert-base-uncased where `None`.
    pub tokenizer: Option<Location>,
    /// Longest row of token ids, `[CLS]` and `[SEP]` included.
    pub max_tokens: usize,
    /// Stored views of each image.
    pub views: Views,
    /// Captions beside the source's own.
    pub texts: TextSettings,
    /// Seed of every draw.
    pub seed: u64,
    /// Whether an image that equals an earlier one is dropped.
    pub dedup: bool,
    /// Rows planned into a shard.
    pub shard_rows: NonZeroU32,
    /// Threads.
    pub jobs: NonZeroUsize,
    /// How many rejects are borne.
    pub max_rejects: MaxRejects,
    /// What to do with a dataset that is there already.
    pub existing: Existing,
}

/// How pictures are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Picture {
    /// Width and height in pixels; with [`Fit::Shortest`] the shorter of them.
    pub side: u32,
    /// How a picture of another shape becomes square, or that it does not.
    pub fit: Fit,
    /// How pixels are weighed.
    pub filter: Filter,
    /// Compressed or raw.
    pub encoding: Encoding,
    /// Sources whose shorter side has fewer pixels are left out.
    pub min_size: Option<u32>,
    /// Sources whose longer side is more than so many times the shorter are left out.
    pub max_aspect: Option<f64>,
}

/// Stored views: view 0 is clean, the others are drawn from the settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Views {
    /// How many, the clean one included.
    pub count: NonZeroU32,
    /// What the others are drawn from.
    pub settings: ViewSettings,
}

/// Makes the dataset, or finishes the one that an earlier run began.
///
/// # Errors
/// If an input or OUT cannot be read or written, or OUT holds a dataset of other options.
pub fn run(config: &Config, verbosity: Verbosity) -> Result<Summary> {
    let tokenizer = load_tokenizer(config)?;
    let listing = config.source.read(&config.split)?;
    let shards = plan(&listing.rows, config.shard_rows);
    let dictionary = config.texts.dictionary()?;
    let recipe = config.recipe(&listing, &tokenizer, dictionary.as_ref());
    let state = match standing::open(&config.out, &recipe, config.existing)? {
        Found::Finished(dataset) => return already_finished(config, *dataset),
        Found::Rejected(dataset, state) => {
            retry::reopen(&state, *dataset, &recipe, &shards, &listing.rows)?;
            state
        }
        Found::Open(state) => state,
    };
    let translations = back_translate(config, &listing, verbosity)?;
    let synonyms = dictionary.as_ref().map(|wordnet| (wordnet, config.texts.synonyms));
    let phrasing =
        Phrasing { tokenizer: &tokenizer, synonyms, translations: &translations, seed: config.seed };
    let progress = Progress::new("preparing", "images", listing.rows.len() as u64, verbosity);
    let (filled, earlier) = fill(config, phrasing, &listing, &shards, &state, &progress)?;
    progress.finish();
    refuse_wrong_folder(&filled, &listing, config, &state)?;
    let (manifest, rejects) = publish(config, recipe, filled)?;
    state.close()?;
    let images = listing.rows.len() as u64 - earlier;
    let work = Work::Done { images, earlier, seconds: progress.seconds() };
    Summary::new(config, manifest, rejects, work)
}

impl Config {
    /// Whatever shapes bytes, and nothing else: no paths, no number of jobs.
    fn recipe(&self, listing: &Listing, tokenizer: &WordPieces, dictionary: Option<&Wordnet>) -> Recipe {
        let (decoders, encoders) = (DECODERS.join(", "), encoders().join(", "));
        let codec = [("decoder", decoders), ("encoder", encoders), ("resizer", RESIZER.to_owned())];
        Recipe {
            tool: concat!("pairmill ", env!("CARGO_PKG_VERSION")).to_owned(),
            options: self.options(listing, dictionary),
            tokenizer: tokenizer.id(),
            codec: codec.map(|(part, versions)| (part.to_owned(), versions)).into(),
        }
    }

    fn options(&self, listing: &Listing, dictionary: Option<&Wordnet>) -> Value {
        let Picture { side, fit, filter, encoding, min_size, max_aspect } = self.picture;
        let mut options = json!({
            "source": self.source.name(),
            "inputs": listing.inputs.iter().map(source::Input::to_json).collect::<Vec<_>>(),
            "split": self.split,
            "size": side,
            "fit": fit.name(),
            "filter": filter.name(),
            "encoding": encoding_name(encoding),
            "min_size": min_size,
            "max_aspect": max_aspect,
            "max_tokens": self.max_tokens,
            "views": self.views.count,
            "seed": self.seed,
            "dedup": self.dedup,
            "shard_rows": self.shard_rows,
        });
        for (name, value) in self.source.options() {
            options[name.as_str()] = value;
        }
        for (name, value) in self.texts.options(dictionary) {
            options[name] = value;
        }
        if let Encoding::Jpeg { quality } = encoding {
            options["quality"] = quality.into();
        }
        if self.views.count.get() > 1 {
            let settings = serde_json::to_value(self.views.settings).expect("numbers have a JSON form");
            for (name, value) in settings.as_object().into_iter().flatten() {
                options[name.as_str()] = value.clone();
            }
        }
        options
    }
}

impl Picture {
    /// The column that holds them.
    pub fn pixels(&self) -> Pixels {
        match self.encoding {
            Encoding::Jpeg { .. } | Encoding::Png => Pixels::Image,
            Encoding::Raw => Pixels::Raw { side: self.side },
        }
    }
}

fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Jpeg { .. } => "jpeg",
        Encoding::Png => "png",
        Encoding::Raw => "raw",
    }
}

fn load_tokenizer(config: &Config) -> Result<WordPieces> {
    match &config.tokenizer {
        Some(file) => WordPieces::from_file(file.path(), config.max_tokens).context("--tokenizer"),
        None => WordPieces::bundled(config.max_tokens),
    }
}

/// What the program of `--back-translate` makes of the captions; nothing without one.
fn back_translate(config: &Config, listing: &Listing, verbosity: Verbosity) -> Result<Translations> {
    let Some(filter) = &config.texts.back_translate else { return Ok(Translations::default()) };
    let rows = listing.rows.iter().filter(|row| row.fault.is_none());
    filter.translate(rows.flat_map(|row| row.captions.iter()), verbosity)
}

/// Fills the shards that no earlier run has finished. Gives back all of them, and how many rows the
/// earlier run had done.
fn fill(
    config: &Config,
    phrasing: Phrasing,
    listing: &Listing,
    shards: &[ShardPlan],
    state: &State,
    progress: &Progress,
) -> Result<(Vec<Filled>, u64)> {
    let lanes = Lanes::new(config, phrasing)?;
    let mut so_far = SoFar::new(config);
    let (mut all, mut earlier) = (Vec::with_capacity(shards.len()), 0);
    for shard in shards {
        let rows = shard.rows.len() as u64;
        let filled = match state.finished(shard)? {
            Some(filled) if so_far.take(config, rows, &filled)? => {
                earlier += rows;
                progress.skip(rows);
                filled
            }
            _ => {
                state.forget(shard)?;
                let filled = lanes.fill(shard, &listing.rows, progress, &mut so_far)?;
                state.finish(shard, &filled)?;
                filled
            }
        };
        all.push(filled);
    }
    Ok((all, earlier))
}

/// Not one image where the captions say 100,000: that is a wrong `--images`, not a dataset.
fn refuse_wrong_folder(filled: &[Filled], listing: &Listing, config: &Config, state: &State) -> Result<()> {
    let mut rejects = filled.iter().flat_map(|filled| &filled.rejects);
    let looked_for = listing.rows.iter().find(|row| row.fault.is_none());
    let (Some(row), true) = (looked_for, rejects.clone().count() == listing.rows.len()) else {
        return Ok(());
    };
    let kinds = ["missing", "no-caption", "duplicate"];
    if !rejects.all(|reject| kinds.contains(&reject.kind.as_str())) {
        return Ok(());
    }
    state.abandon()?;
    let folders = config.source.images().iter().map(Location::to_string).collect::<Vec<_>>().join(", ");
    bail!("--images: none of the images that the captions name is in {folders}; the first is {}", row.path())
}

fn publish(config: &Config, recipe: Recipe, filled: Vec<Filled>) -> Result<(Manifest, Vec<RejectEntry>)> {
    let mut splits: BTreeMap<String, Totals> = BTreeMap::new();
    let mut rejects: BTreeMap<String, u64> = BTreeMap::new();
    for shard in &filled {
        add(splits.entry(shard.entries[0].split.clone()).or_default(), &totals(shard));
        shard.rejects.iter().for_each(|reject| *rejects.entry(reject.kind.clone()).or_default() += 1);
    }
    let mut sums = Totals::default();
    splits.values().for_each(|split| add(&mut sums, split));
    let manifest = Manifest {
        schema: schema::VERSION,
        tool: recipe.tool,
        options: recipe.options,
        seed: config.seed,
        tokenizer: recipe.tokenizer,
        codec: recipe.codec,
        totals: sums,
        splits,
        rejects,
        tables: BTreeMap::new(),
    };
    let (entries, rejects): (Vec<Vec<ShardEntry>>, Vec<Vec<RejectEntry>>) =
        filled.into_iter().map(|filled| (filled.entries, filled.rejects)).unzip();
    let (entries, rejects) = (entries.concat(), rejects.concat());
    Ok((manifest.publish(config.out.path(), &entries, &rejects)?, rejects))
}

fn totals(shard: &Filled) -> Totals {
    let clean = &shard.entries[0];
    Totals {
        images: clean.rows,
        rows: shard.entries.iter().map(|entry| entry.rows).sum(),
        captions: shard.captions,
        empty_captions: shard.empty_captions,
        shards: shard.entries.len() as u64,
        bytes: shard.entries.iter().map(|entry| entry.bytes).sum(),
    }
}

fn add(sums: &mut Totals, more: &Totals) {
    sums.images += more.images;
    sums.rows += more.rows;
    sums.captions += more.captions;
    sums.empty_captions += more.empty_captions;
    sums.shards += more.shards;
    sums.bytes += more.bytes;
}

fn already_finished(config: &Config, dataset: Dataset) -> Result<Summary> {
    let rejects = dataset.rejects()?;
    let work = match config.existing {
        Existing::RetryRejected => Work::NoRejects,
        Existing::Keep | Existing::Overwrite => Work::None,
    };
    Summary::new(config, dataset.manifest, rejects, work)
}
