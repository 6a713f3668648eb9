//! `shards bench`

use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;

use super::Format;
use crate::files::human_bytes;
use crate::load::{
    self, Batcher, CaptionWeights, Cursor, Gauges, Order, OrderSpec, Padding, Pairs, Shape, Shuffle,
};
use crate::shard::Dataset;
use crate::show::page::grouped;
use crate::store::Location;

/// Side of the crop where none is named: what ResNet-50 is trained on.
const CROP: u32 = 224;

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Folders that `prepare` wrote; several are one dataset, one after another
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<Location>,

    /// Split to read
    #[arg(long, default_value = "train")]
    split: String,

    /// Rows of a batch
    #[arg(long, value_name = "ROWS", default_value = "256")]
    batch: NonZeroUsize,

    /// Threads that read, decode and collate
    #[arg(long, value_name = "THREADS", default_value = "2")]
    workers: NonZeroUsize,

    /// Epochs; the first one also opens files and compares checksums
    #[arg(long, value_name = "EPOCHS", default_value = "2")]
    epochs: NonZeroUsize,

    /// Side of the centre crop in pixels [default: 224, or the stored side where that is less]
    #[arg(long, value_name = "PX")]
    crop: Option<u32>,

    /// `full` (all rows, anew each epoch), `window:N` (within windows of N rows over permuted shards) or `none` (file order)
    #[arg(long, value_name = "HOW", default_value = "full")]
    shuffle: Shuffle,

    /// Seed of the order
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Finished batches that may wait
    #[arg(long, value_name = "BATCHES", default_value = "4")]
    prefetch: NonZeroUsize,

    /// One line of JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What is to be read, and how.
pub struct Bench {
    batcher: Batcher,
    encoding: &'static str,
    workers: usize,
    epochs: u64,
    prefetch: usize,
    format: Format,
}

/// What was seen.
struct Seen {
    images: u64,
    seconds: Vec<f64>,
    gauges: Gauges,
}

impl BenchArgs {
    /// Opens what the flags name.
    ///
    /// # Errors
    /// If a folder holds no finished dataset, or its pictures have no room for the crop.
    pub fn resolve(self) -> Result<Bench> {
        let datasets = self.dirs.iter().map(Dataset::open).collect::<Result<Vec<_>>>()?;
        let pairs = Arc::new(Pairs::open(&datasets, &self.split)?);
        pairs.notes().for_each(|note| eprintln!("{note}"));
        let spec = OrderSpec {
            fingerprints: pairs.fingerprints().to_vec(),
            split: self.split,
            seed: self.seed,
            batch: self.batch.get(),
            shuffle: self.shuffle,
            weights: CaptionWeights::default(),
            captions_per_image: 1,
            drop_last: false,
            excluded: Vec::new(),
        };
        let order = Order::new(spec, &pairs.shard_rows())?;
        let crop = self.crop.unwrap_or(CROP.min(pairs.side()));
        let max_tokens = datasets.iter().map(|data| data.manifest.tokenizer.max_tokens).max().unwrap_or(0);
        let shape = Shape {
            crop: Some(crop),
            random_crop: false,
            max_tokens: max_tokens as usize,
            padding: Padding::Longest,
        };
        Ok(Bench {
            batcher: Batcher::new(pairs, order, shape).context("--crop")?,
            encoding: encoding(&datasets),
            workers: self.workers.get(),
            epochs: self.epochs.get() as u64,
            prefetch: self.prefetch.get(),
            format: if self.json { Format::Json } else { Format::Text },
        })
    }
}

/// As the manifests name it; `mixed` where they differ.
fn encoding(datasets: &[Dataset]) -> &'static str {
    let name = |data: &Dataset| match data.manifest.options["encoding"].as_str() {
        Some("jpeg") => "jpeg",
        Some("png") => "png",
        Some("raw") => "raw",
        _ => "unknown",
    };
    let first = name(&datasets[0]);
    if datasets.iter().all(|data| name(data) == first) { first } else { "mixed" }
}

/// Reads the epochs and says how fast that went.
///
/// # Errors
/// If a shard is damaged or cannot be read, or `out` cannot be written.
pub fn run(bench: Bench, out: &mut impl Write) -> Result<()> {
    let (encoding, workers, format) = (bench.encoding, bench.workers, bench.format);
    let seen = measure(bench)?;
    let rates: Vec<f64> = seen.seconds.iter().map(|seconds| seen.images as f64 / seconds).collect();
    let overall = (seen.images * rates.len() as u64) as f64 / seen.seconds.iter().sum::<f64>();
    let Gauges { wait_seconds, full_seconds, read_bytes, read_seconds, decode_seconds, .. } = seen.gauges;
    let peak = peak_rss_mb();
    if format == Format::Json {
        let line = json!({
            "images_per_second": rounded(overall), "epochs": rates.iter().copied().map(rounded).collect::<Vec<_>>(),
            "workers": workers, "encoding": encoding, "peak_rss_mb": peak, "images": seen.images,
            "wait_seconds": wait_seconds, "full_seconds": full_seconds, "read_bytes": read_bytes,
            "read_seconds": read_seconds, "decode_seconds": decode_seconds,
        });
        return Ok(writeln!(out, "{line}")?);
    }
    writeln!(out, "{} {encoding} images an epoch, {workers} workers", grouped(seen.images))?;
    for (epoch, rate) in rates.iter().enumerate() {
        writeln!(out, "epoch {epoch:<5}{:>10} images/s", grouped(rate.round() as u64))?;
    }
    writeln!(out, "pictures   {} read", human_bytes(read_bytes))?;
    writeln!(
        out,
        "workers    {read_seconds:.1} s reading and copying, {decode_seconds:.1} s decoding, {full_seconds:.1} s with the queue full"
    )?;
    writeln!(out, "consumer   {wait_seconds:.1} s waiting")?;
    if let Some(peak) = peak {
        writeln!(out, "memory     {peak} MB at most")?;
    }
    Ok(())
}

fn measure(bench: Bench) -> Result<Seen> {
    let (images, steps) = (bench.batcher.order().rows(), bench.batcher.order().steps());
    let mut began = Instant::now();
    let mut seconds = Vec::new();
    let mut batches =
        load::start(bench.batcher, Cursor::default(), bench.epochs, bench.workers, bench.prefetch);
    for batch in batches.by_ref() {
        if batch?.step + 1 == steps {
            seconds.push(began.elapsed().as_secs_f64());
            began = Instant::now();
        }
    }
    Ok(Seen { images, seconds, gauges: batches.gauges() })
}

fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

/// Most memory that this process has had, in MB; `None` where the system does not say.
fn peak_rss_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024 / 1_000_000)
}
