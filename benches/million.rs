//! What a dataset of a million rows costs before its first batch: opening it, and resuming far
//! into an epoch, where every row of the batch lies in another shard.
//!
//! The million rows are one shard of 4,096 under 245 names: everything but the disk is real.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use pairmill::load::{
    Batcher, CaptionWeights, Cursor, Order, OrderSpec, Padding, Pairs, Shape, Shuffle, start,
};
use pairmill::prepare::encode::{Encoding, encode};
use pairmill::sample::{Caption, CaptionKind, Crop, Rgb, Sample, TokenIds};
use pairmill::shard::manifest::{TokenizerId, Totals};
use pairmill::shard::{Dataset, Manifest, Pixels, ShardEntry, ShardWriter, Written};
use pairmill::store::Location;

const SHARDS: u32 = 245;
const ROWS: u64 = 4096;
const SIDE: u32 = 256;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    make(folder.path())?;
    println!("{} rows in {SHARDS} shards", ROWS * u64::from(SHARDS));
    let before = peak_mb();
    let began = Instant::now();
    let dataset = Dataset::open(&Location::local(folder.path()))?;
    let pairs = Arc::new(Pairs::open(&[dataset], "train")?);
    println!("open            {:8.1} ms, {} MB", millis(began), peak_mb().saturating_sub(before));
    for (workers, step) in [(1, 0), (2, 3000), (2, 1234)] {
        let pairs = Arc::new(Pairs::open(&[Dataset::open(&Location::local(folder.path()))?], "train")?);
        let began = Instant::now();
        let mut batches = start(batcher(pairs)?, Cursor { epoch: 5, step }, 6, workers, 2);
        let rows = batches.next().expect("a batch")?.rows();
        println!("resume at {step:<5} {:8.1} ms to a batch of {rows}, {workers} workers", millis(began));
    }
    let began = Instant::now();
    let steps = 400;
    let batches = start(batcher(pairs)?, Cursor::default(), 1, 2, 2);
    let rows: usize =
        batches.take(steps).map(|batch| batch.map(|batch| batch.rows())).sum::<Result<_, _>>()?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "first {steps} steps {:8.0} images/s, {} MB",
        rows as f64 / seconds,
        peak_mb().saturating_sub(before)
    );
    Ok(())
}

fn batcher(pairs: Arc<Pairs>) -> anyhow::Result<Batcher> {
    let spec = OrderSpec {
        fingerprints: pairs.fingerprints().to_vec(),
        split: "train".to_owned(),
        seed: 1,
        batch: 256,
        shuffle: Shuffle::Full,
        weights: CaptionWeights::default(),
        captions_per_image: 1,
        drop_last: true,
        excluded: Vec::new(),
    };
    let order = Order::new(spec, &pairs.shard_rows())?;
    Batcher::new(
        pairs,
        order,
        Shape { crop: Some(224), random_crop: false, max_tokens: 64, padding: Padding::Longest },
    )
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024 / 1_000_000
}

/// A dataset whose shards are one file.
fn make(root: &Path) -> anyhow::Result<()> {
    let first = ShardEntry::path_of("train", 0, 0);
    let mut writer = ShardWriter::create(&root.join(&first), Pixels::Image)?;
    writer.write((0..ROWS).map(sample))?;
    let Written { bytes, sha256 } = writer.finish()?;
    let entry = |number| {
        let path = ShardEntry::path_of("train", 0, number);
        ShardEntry { path, split: "train".into(), view: 0, number, rows: ROWS, bytes, sha256: sha256.clone() }
    };
    let entries: Vec<ShardEntry> = (0..SHARDS).map(entry).collect();
    for entry in &entries[1..] {
        fs::hard_link(root.join(&first), root.join(&entry.path))?;
    }
    let rows = ROWS * u64::from(SHARDS);
    let shards = u64::from(SHARDS);
    let totals =
        Totals { images: rows, rows, captions: 5 * rows, empty_captions: 0, shards, bytes: bytes * shards };
    let manifest = Manifest {
        schema: 1,
        tool: "bench".into(),
        options: serde_json::json!({}),
        seed: 0,
        tokenizer: TokenizerId { sha256: String::new(), vocab_size: 30_522, max_tokens: 64 },
        codec: BTreeMap::new(),
        totals,
        splits: BTreeMap::from([("train".to_owned(), totals)]),
        rejects: BTreeMap::new(),
        tables: BTreeMap::new(),
    };
    manifest.publish(root, &entries, &[]).map(drop)
}

fn sample(at: u64) -> Sample {
    let pixels = (0..SIDE * SIDE).flat_map(|p| [(p + at as u32) as u8, (p >> 8) as u8, at as u8]).collect();
    let caption = |of: i32| Caption {
        text: format!("caption {of} of picture {at}, which is as long as captions are"),
        kind: CaptionKind::Original,
        of,
        tokens: TokenIds(
            [vec![101], (0..11).map(|t| 1000 + (at as i32 + t * of) % 9000).collect(), vec![102]].concat(),
        ),
    };
    Sample {
        key: format!("{at:012}"),
        image_id: at as i64,
        view: 0,
        stored: encode(&Rgb::new(SIDE, SIDE, pixels), Encoding::Jpeg { quality: 90 }),
        width: SIDE as i32,
        height: SIDE as i32,
        source_width: 640,
        source_height: 480,
        crop: Crop { x: 80.0, y: 0.0, width: 480.0, height: 480.0 },
        augment: None,
        captions: (0..5).map(caption).collect(),
        meta: None,
        source_sha256: std::array::from_fn(|byte| (at >> (byte % 8)) as u8),
    }
}
