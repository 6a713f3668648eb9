//! The order: how long a step's rows take at 5·10⁹ rows, and how well each way to shuffle mixes.

use std::collections::HashSet;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use pairmill::load::{CaptionWeights, Order, OrderSpec};
use pairmill::seed::Draws;

const BATCH: usize = 256;

fn order(shuffle: &str, shards: &[u64]) -> Order {
    let spec = OrderSpec {
        fingerprints: vec!["of a dataset".to_owned()],
        split: "train".to_owned(),
        seed: 1,
        batch: BATCH,
        shuffle: shuffle.parse().expect("a way to shuffle"),
        weights: CaptionWeights::default(),
        captions_per_image: 1,
        drop_last: false,
        excluded: Vec::new(),
    };
    Order::new(spec, shards).expect("an order")
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("order/5e9 rows");
    group.throughput(Throughput::Elements(BATCH as u64));
    let shards = vec![4096; 1_220_704];
    for shuffle in ["full", "window:1000000"] {
        let order = order(shuffle, &shards);
        let mut step = 0;
        group.bench_function(format!("{shuffle}, a step"), |b| {
            b.iter(|| {
                step = (step + 7_654_321) % order.steps();
                order.batch(0, black_box(step)).sum::<u64>()
            });
        });
    }
    let order = order("window:1000000", &shards);
    let mut epoch = 0;
    group.bench_function("window:1000000, an epoch's first row", |b| {
        b.iter(|| {
            epoch += 1;
            order.row_at(epoch, 0)
        });
    });
    group.finish();
}

/// Rows of the table's dataset, and of a shard of it.
const ROWS: u64 = 1_000_000;
const SHARD: u64 = 4_000;

/// Mean distance between neighbours in `order`, as a share of its rows.
fn distance(order: &[u64]) -> f64 {
    let sum: u64 = order.windows(2).map(|pair| pair[0].abs_diff(pair[1])).sum();
    sum as f64 / (order.len() - 1) as f64 / order.len() as f64
}

/// Mean number of shards that the rows of a full batch come from.
fn shards_a_batch(order: &[u64]) -> f64 {
    let shards = |batch: &[u64]| batch.iter().map(|row| row / SHARD).collect::<HashSet<_>>().len();
    let batches = order.chunks_exact(BATCH);
    let count = batches.len() as f64;
    batches.map(shards).sum::<usize>() as f64 / count
}

fn mixing() {
    println!("\nEpoch 0 of {ROWS} rows in shards of {SHARD}, batches of {BATCH}\n");
    println!(
        "| order | distance of neighbours, share of the rows | shards in a batch | share of the ideal |"
    );
    println!("|---|---:|---:|---:|");
    let mut ideal: Vec<u64> = (0..ROWS).collect();
    Draws::new(0).shuffle(&mut ideal);
    let most = shards_a_batch(&ideal);
    let line = |name: &str, rows: &[u64]| {
        let (distance, mixed) = (distance(rows), shards_a_batch(rows));
        println!("| {name} | {distance:.4} | {mixed:.1} | {:.1}% |", 100.0 * mixed / most);
    };
    let shards = vec![SHARD; (ROWS / SHARD) as usize];
    for name in
        ["none", "window:1000", "window:10000", "window:50000", "window:100000", "window:500000", "full"]
    {
        let order = order(name, &shards);
        let rows: Vec<u64> = (0..order.steps()).flat_map(|step| order.batch(0, step)).collect();
        line(&format!("`{name}`"), &rows);
    }
    line("ideal: Fisher–Yates", &ideal);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    steps(&mut criterion);
    criterion.final_summary();
    mixing();
}
