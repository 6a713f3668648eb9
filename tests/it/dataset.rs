//! A small dataset, written without `prepare`.

use std::collections::BTreeMap;
use std::path::Path;

use pairmill::sample::{Augment, Caption, CaptionKind, Crop, Sample, Stored, TokenIds};
use pairmill::shard::manifest::{TokenizerId, Totals};
use pairmill::shard::{Dataset, Manifest, Pixels, ShardEntry, ShardWriter, Written};
use pairmill::store::Location;

pub const SIDE: u32 = 16;

/// A small dataset: rows of each shard by split, two views unless changed.
pub struct Recipe<'a> {
    pub splits: &'a [(&'a str, &'a [usize])],
    pub views: u32,
    pub pixels: Pixels,
    pub first_key: usize,
    pub tokenizer: &'a str,
}

pub const SMALL: Recipe = Recipe {
    splits: &[("train", &[9, 7, 8]), ("val", &[5])],
    views: 2,
    pixels: Pixels::Image,
    first_key: 0,
    tokenizer: "bert",
};

impl Recipe<'_> {
    pub fn write(&self, root: &Path) -> Dataset {
        let (mut entries, mut splits) = (Vec::new(), BTreeMap::new());
        let mut at = self.first_key;
        for &(split, shards) in self.splits {
            let totals: &mut Totals = splits.entry(split.to_owned()).or_default();
            for (number, &rows) in shards.iter().enumerate() {
                for view in 0..self.views {
                    let samples: Vec<Sample> = (at..at + rows).map(|at| self.sample(at, view)).collect();
                    if view == 0 {
                        totals.images += rows as u64;
                        totals.captions +=
                            samples.iter().map(|sample| sample.captions.len() as u64).sum::<u64>();
                    }
                    let entry = self.shard(root, split, view, number as u32, &samples);
                    (totals.rows, totals.shards) = (totals.rows + rows as u64, totals.shards + 1);
                    totals.bytes += entry.bytes;
                    entries.push(entry);
                }
                at += rows;
            }
        }
        self.manifest(splits).publish(root, &entries, &[]).unwrap();
        Dataset::open(&Location::local(root)).unwrap()
    }

    fn shard(&self, root: &Path, split: &str, view: u32, number: u32, samples: &[Sample]) -> ShardEntry {
        let path = ShardEntry::path_of(split, view, number);
        let file = root.join(&path);
        let mut writer = ShardWriter::create(&file, self.pixels).unwrap();
        writer.write(samples.to_vec()).unwrap();
        let Written { bytes, sha256 } = writer.finish().unwrap();
        ShardEntry { path, split: split.into(), view, number, rows: samples.len() as u64, bytes, sha256 }
    }

    fn manifest(&self, splits: BTreeMap<String, Totals>) -> Manifest {
        let sum = |of: fn(&Totals) -> u64| splits.values().map(of).sum::<u64>();
        let totals = Totals {
            images: sum(|t| t.images),
            rows: sum(|t| t.rows),
            captions: sum(|t| t.captions),
            empty_captions: 0,
            shards: sum(|t| t.shards),
            bytes: sum(|t| t.bytes),
        };
        Manifest {
            schema: 1,
            tool: "test".into(),
            options: serde_json::json!({}),
            seed: 0,
            tokenizer: TokenizerId { sha256: self.tokenizer.into(), vocab_size: 100, max_tokens: 64 },
            codec: BTreeMap::new(),
            totals,
            splits,
            rejects: BTreeMap::new(),
            tables: BTreeMap::new(),
        }
    }

    fn sample(&self, at: usize, view: u32) -> Sample {
        let side = self.side();
        let colour = |x: u32, y: u32| [(at * 7) as u8, (x * 9 + view * 40) as u8, (y * 9) as u8];
        let pixels: Vec<u8> = (0..side * side).flat_map(|p| colour(p % side, p / side)).collect();
        let stored = match self.pixels {
            Pixels::Image => Stored::Jpeg(jpeg(&pixels, side)),
            Pixels::Raw { .. } => Stored::Raw(pixels),
        };
        let kind = |place: usize| if place < 2 { CaptionKind::Original } else { CaptionKind::Synonym };
        let caption = |place: usize| Caption {
            text: format!("caption {place} of picture {at}"),
            kind: kind(place),
            of: 0,
            tokens: TokenIds([vec![101], vec![at as i32 + 1; 2 + 5 * place + at % 9], vec![102]].concat()),
        };
        Sample {
            key: format!("{at:012}"),
            image_id: at as i64,
            view: view as i32,
            stored,
            width: side as i32,
            height: side as i32,
            source_width: 640,
            source_height: 480,
            crop: Crop { x: 0.0, y: 0.0, width: 480.0, height: 480.0 },
            augment: (view > 0).then_some(Augment::NONE),
            captions: (0..1 + at % 4).map(caption).collect(),
            meta: None,
            source_sha256: [at as u8; 32],
        }
    }

    fn side(&self) -> u32 {
        if let Pixels::Raw { side } = self.pixels { side } else { SIDE }
    }
}

fn jpeg(pixels: &[u8], side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.encode(pixels, side as u16, side as u16, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}
