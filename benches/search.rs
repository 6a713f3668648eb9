//! Search and evaluation without the model: what a table of embeddings and ranks cost.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use pairmill::seed::Draws;
use pairmill::train::embed::Split;
use pairmill::train::index::{Index, IndexWriter};
use pairmill::train::recall::Embedded;

const DIM: usize = 512;
const INDEXED: usize = 100_000;

/// `images` images, each with `per_image` captions, of random unit rows.
fn split(draws: &mut Draws, images: usize, per_image: usize) -> Split {
    let captions = images * per_image;
    let embedded = Embedded {
        dim: DIM,
        images: units(draws, images),
        captions: units(draws, captions),
        owners: (0..captions).map(|caption| caption / per_image).collect(),
        bad_samples: 0,
    };
    let keys: Vec<String> = (0..images).map(|image| format!("{image:012}")).collect();
    let texts = (0..captions).map(|caption| format!("a caption of image {}", caption / per_image)).collect();
    Split { metas: vec![None; images], keys, texts, embedded }
}

fn units(draws: &mut Draws, rows: usize) -> Vec<f32> {
    let mut all: Vec<f32> = (0..rows * DIM).map(|_| draws.between(-1.0, 1.0) as f32).collect();
    for row in all.chunks_exact_mut(DIM) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    all
}

fn search(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("emb.parquet");
    let mut draws = Draws::new(1);
    let mut writer = IndexWriter::create(&path, DIM, None).expect("a table");
    for _ in 0..INDEXED / 1000 {
        writer.add(split(&mut draws, 1000, 1)).expect("rows");
    }
    writer.finish().expect("a table");
    let query = units(&mut draws, 1);
    let mut group = c.benchmark_group(format!("search/{INDEXED}x{DIM}"));
    group.throughput(Throughput::Elements(INDEXED as u64)).sample_size(10);
    let search = || Index::open(&path).expect("an index").nearest(black_box(&query), 10).expect("answers");
    group.bench_function("read and compared", |b| b.iter(search));
    group.finish();
}

fn recalls(c: &mut Criterion) {
    let found = split(&mut Draws::new(2), 5000, 5);
    let mut group = c.benchmark_group("recalls");
    group.sample_size(10);
    group.bench_function("5000x25000x512", |b| {
        b.iter_batched(|| &found.embedded, |all| all.recalls(1), BatchSize::LargeInput);
    });
    group.finish();
}

criterion::criterion_group!(benches, search, recalls);
criterion::criterion_main!(benches);
