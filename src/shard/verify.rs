//! A finished dataset against its manifest, down to every sample's checksum.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use anyhow::Result;

use super::manifest::{Dataset, REJECTS, ShardEntry};
use super::reader::ShardReader;
use super::schema::{Pixels, arrow_schema, difference};
use crate::files::sha256_file;
use crate::sample::Sample;

/// Everything that is wrong with a dataset, a sentence each; empty where all is well.
/// `checked` is called with the rows of each shard once it has been read.
///
/// # Errors
/// Never for damaged shards: those are findings.
pub fn verify(dataset: &Dataset, mut checked: impl FnMut(u64)) -> Result<Vec<String>> {
    let mut findings = rejects(dataset);
    findings.extend(totals(dataset));
    findings.extend(strays(dataset));
    let mut keys_of_view_0: Vec<String> = Vec::new();
    let mut split_keys: (String, HashSet<String>) = Default::default();
    for entry in &dataset.shards {
        if split_keys.0 != entry.split {
            split_keys = (entry.split.clone(), HashSet::new());
        }
        let (wrong, keys) = shard(dataset, entry);
        findings.extend(wrong.into_iter().map(|finding| format!("{}: {finding}", entry.path)));
        if entry.view == 0 {
            let twice = keys.iter().filter(|key| !split_keys.1.insert((*key).clone()));
            findings.extend(twice.map(|key| format!("{}: key {key} stands twice in its split", entry.path)));
            keys_of_view_0 = keys;
        } else if !keys.is_empty() && keys != keys_of_view_0 {
            findings.push(format!("{}: its keys are not those of view 0", entry.path));
        }
        checked(entry.rows);
    }
    Ok(findings)
}

fn shard(dataset: &Dataset, entry: &ShardEntry) -> (Vec<String>, Vec<String>) {
    let path = dataset.root.join(&entry.path);
    let Ok(metadata) = fs::metadata(&path) else { return (vec!["the file is missing".into()], Vec::new()) };
    let mut findings = Vec::new();
    if metadata.len() != entry.bytes {
        findings.push(format!("{} bytes, the manifest says {}", metadata.len(), entry.bytes));
    }
    match sha256_file(&path) {
        Ok(hash) if hash == entry.sha256 => {}
        Ok(_) => findings.push("its SHA-256 is not the manifest's".into()),
        Err(error) => findings.push(format!("{error:#}")),
    }
    let keys = match ShardReader::open(&path) {
        Ok(reader) => content(&reader, entry, &mut findings),
        Err(error) => {
            findings.push(format!("{error:#}"));
            Vec::new()
        }
    };
    (findings, keys)
}

/// Checks schema, count and samples of one shard; gives back the keys it could read.
fn content(reader: &ShardReader, entry: &ShardEntry, findings: &mut Vec<String>) -> Vec<String> {
    if let Some(difference) = difference(reader.schema(), &arrow_schema(reader.pixels())) {
        findings.push(difference);
    }
    if reader.rows() as u64 != entry.rows {
        findings.push(format!("{} rows, the manifest says {}", reader.rows(), entry.rows));
    }
    let (mut keys, mut picture) = (Vec::new(), Vec::new());
    let samples = match reader.samples() {
        Ok(samples) => samples,
        Err(error) => {
            findings.push(format!("{error:#}"));
            return keys;
        }
    };
    for (row, sample) in samples.enumerate() {
        match sample {
            Ok((sample, sum)) => {
                findings.extend(self::sample(&sample, sum, entry, reader.pixels()));
                match reader.picture(row, &mut picture) {
                    Ok(()) if picture == sample.stored.bytes() => {}
                    Ok(()) => findings.push(format!("key {}: the page index points elsewhere", sample.key)),
                    Err(error) => findings.push(format!("key {}: {error:#}", sample.key)),
                }
                keys.push(sample.key);
            }
            Err(error) => findings.push(format!("after {row} rows: {error:#}")),
        }
    }
    keys
}

fn sample(sample: &Sample, sum: u32, entry: &ShardEntry, pixels: Pixels) -> Vec<String> {
    let mut findings = Vec::new();
    let mut check = |right: bool, wrong: &str| {
        if !right {
            findings.push(format!("key {}: {wrong}", sample.key));
        }
    };
    check(crc32c::crc32c(sample.stored.bytes()) == sum, "the picture does not match its crc32c");
    check(sample.view == entry.view as i32, "it is of another view");
    check(sample.augment.is_some() == (sample.view > 0), "augment is for views from 1 on");
    check(!sample.captions.is_empty(), "it has no caption");
    let originals = 0..sample.captions.len() as i32;
    check(
        sample.captions.iter().all(|caption| originals.contains(&caption.of)),
        "a caption's original is not in its list",
    );
    if let Pixels::Raw { side } = pixels {
        let length = side as usize * side as usize * 3;
        check(sample.stored.bytes().len() == length, "its pixels do not have the shard's shape");
    }
    findings
}

fn rejects(dataset: &Dataset) -> Vec<String> {
    let path = dataset.root.join(REJECTS);
    let named = dataset.manifest.tables.get(REJECTS);
    match sha256_file(&path) {
        Err(error) => return vec![format!("{error:#}")],
        Ok(hash) if Some(&hash) != named => {
            return vec![format!("{REJECTS}: it is not the table that the manifest names")];
        }
        Ok(_) => {}
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    match dataset.rejects() {
        Ok(rejects) => rejects.into_iter().for_each(|reject| *counts.entry(reject.kind).or_default() += 1),
        Err(error) => return vec![format!("{error:#}")],
    }
    let agree = counts == dataset.manifest.rejects;
    if agree { Vec::new() } else { vec![format!("{REJECTS}: its counts are not the manifest's")] }
}

/// The manifest's totals against its table of shards.
fn totals(dataset: &Dataset) -> Vec<String> {
    let sum = |of: fn(&ShardEntry) -> u64| dataset.shards.iter().map(of).sum::<u64>();
    let totals = &dataset.manifest.totals;
    let found = [
        ("shards", totals.shards, sum(|_| 1)),
        ("rows", totals.rows, sum(|entry| entry.rows)),
        ("bytes", totals.bytes, sum(|entry| entry.bytes)),
        ("images", totals.images, sum(|entry| if entry.view == 0 { entry.rows } else { 0 })),
    ];
    let wrong = found.into_iter().filter(|(_, says, is)| says != is);
    wrong.map(|(what, says, is)| format!("the manifest says {says} {what}, its table has {is}")).collect()
}

/// Parquet files in the splits' folders that no table names.
fn strays(dataset: &Dataset) -> Vec<String> {
    let known: HashSet<&str> = dataset.shards.iter().map(|entry| entry.path.as_str()).collect();
    let mut strays = Vec::new();
    for split in dataset.manifest.splits.keys() {
        let Ok(folder) = fs::read_dir(dataset.root.join(split)) else { continue };
        for name in folder.flatten().filter_map(|file| file.file_name().into_string().ok()) {
            let path = format!("{split}/{name}");
            if name.ends_with(".parquet") && !known.contains(path.as_str()) {
                strays.push(format!("{path}: the file is not part of the dataset"));
            }
        }
    }
    strays.sort();
    strays
}
