//! Renders a COCO-format dataset of scenes: two or three coloured shapes of different sizes in
//! spatial relations over textured backgrounds, five captions each. A model can learn it in
//! minutes, and has to generalise to scenes it never saw.
//!
//! ```text
//! DIR/images/000000000001.jpg …   640×480
//! DIR/captions.json               COCO captions
//! DIR/dataset.json                the same with splits, in Karpathy's form
//! DIR/scenes.json                 n and seed; written last, so it vouches for the rest
//! ```
//!
//! The same n and seed give the same bytes, however many threads render.

mod draw;
mod paint;
mod scene;
mod tables;
#[cfg(test)]
mod tests;
mod words;

use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::scene::{HEIGHT, Scene, WIDTH};

/// Render scenes of coloured shapes with captions, as a COCO dataset
#[derive(Parser)]
struct Args {
    /// Folder to write; rendered scenes of the same n and seed in it are used again
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Number of scenes; of 4000, 3250 are for training, 250 for validation and 500 for testing
    #[arg(short, long = "n", value_name = "N", default_value_t = 4000,
          value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,

    /// Seed: the same n and seed give the same bytes
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let out = args.out.display();
    let stamp = json!({"version": 1, "n": args.n, "seed": args.seed});
    if finished(&args.out, &stamp)? {
        println!("{out}: {} scenes of seed {} are already there", args.n, args.seed);
        return Ok(());
    }
    let start = Instant::now();
    let scenes = scene::plan(args.n, args.seed);
    let images = args.out.join("images");
    fs::create_dir_all(&images).with_context(|| format!("--out: {}", images.display()))?;
    let bytes = render(&scenes, &images)?;
    write_json(&args.out.join("captions.json"), &tables::coco(&scenes))?;
    write_json(&args.out.join("dataset.json"), &tables::karpathy(&scenes))?;
    write_json(&args.out.join("scenes.json"), &stamp)?;
    let (n, megabytes, seconds) = (args.n, bytes as f64 / 1e6, start.elapsed().as_secs_f64());
    println!("{out}: {n} scenes of seed {}, {megabytes:.1} MB, {seconds:.1} s", args.seed);
    Ok(())
}

/// Whether the folder already holds these scenes.
///
/// # Errors
///
/// When it holds others: they are not this program's to delete.
fn finished(out: &Path, stamp: &Value) -> Result<bool> {
    let path = out.join("scenes.json");
    if !path.exists() {
        return Ok(false);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let found: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if found != *stamp {
        bail!(
            "--out: {} says {}, not {stamp}: name another folder, or delete this one",
            path.display(),
            text.trim()
        );
    }
    Ok(true)
}

/// Writes every picture; gives back their bytes in all.
fn render(scenes: &[Scene], images: &Path) -> Result<u64> {
    let progress = Progress::new(scenes.len() as u64);
    let sizes = scenes.par_iter().enumerate().map(|(index, scene)| {
        let path = images.join(tables::file_name(index));
        let jpeg = encode(&paint::paint(scene))?;
        fs::write(&path, &jpeg).with_context(|| format!("--out: {}", path.display()))?;
        progress.one_more();
        Ok(jpeg.len() as u64)
    });
    let bytes = sizes.try_reduce(|| 0, |a, b| Ok(a + b));
    progress.bar.finish_and_clear();
    bytes
}

/// Quality 90 with 4:2:0 chroma, as cameras write.
fn encode(pixels: &[u8]) -> Result<Vec<u8>> {
    let mut jpeg = Vec::with_capacity(96 << 10);
    let mut encoder = Encoder::new(&mut jpeg, 90);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.encode(pixels, WIDTH as u16, HEIGHT as u16, ColorType::Rgb)?;
    Ok(jpeg)
}

/// A bar on a terminal, eight lines elsewhere; both on stderr.
struct Progress {
    bar: ProgressBar,
    done: AtomicU64,
    plain: bool,
}

impl Progress {
    fn new(total: u64) -> Progress {
        let style = ProgressStyle::with_template("scenes {bar:30} {pos}/{len} {per_sec} {eta}");
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
            .with_style(style.expect("a template that was tried"));
        Progress { bar, done: AtomicU64::new(0), plain: !stderr().is_terminal() }
    }

    fn one_more(&self) {
        self.bar.inc(1);
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bar.length().unwrap_or(done);
        if self.plain && done.is_multiple_of(total.div_ceil(8)) {
            eprintln!("scenes: {done} of {total}");
        }
    }
}

/// Temp file first, so that a killed run leaves no half table.
fn write_json(path: &Path, value: &Value) -> Result<()> {
    let part = path.with_extension("json.part");
    fs::write(&part, format!("{value}\n"))
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("--out: {}", path.display()))
}
