//! The loader for many epochs: its memory is that of a few.

#![cfg(target_os = "linux")]

use std::process::Command;

use pairmill::shard::Pixels;
use serde_json::Value;

use crate::dataset::Recipe;

/// The most memory that `shards bench` had in so many epochs, in MB. A program of its own, so that
/// no other test is counted.
fn peak(root: &std::path::Path, epochs: u32) -> u64 {
    let line = format!("bench --batch 40 --workers 2 --prefetch 3 --json --epochs {epochs}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_shards"));
    let output = command.args(line.split_whitespace()).arg(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["epochs"].as_array().unwrap().len(), epochs as usize);
    assert!(seen["workers"] == 2 && seen["images"] == 400, "{seen}");
    assert!(seen["images_per_second"].as_f64().unwrap() > 0.0, "{seen}");
    seen["peak_rss_mb"].as_u64().unwrap()
}

/// MB that `shards bench` may have more in ten epochs than in fewer.
const SLACK: u64 = 6;
/// MB of the raw pixels of both views, which count as memory once they were read out of a map.
const MAPPED: u64 = 40;

// A batch is 2 MB, an epoch 20 MB: one batch that is kept in every epoch would be seen.
fn write(folder: &std::path::Path, pixels: Pixels) {
    let splits: &[(&str, &[usize])] = &[("train", &[100; 4])];
    Recipe { splits, views: 2, pixels, first_key: 0, tokenizer: "bert" }.write(folder);
}

#[test]
fn memory_is_flat_over_ten_epochs() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), Pixels::Image);
    let (two, ten) = (peak(folder.path(), 2), peak(folder.path(), 10));
    assert!(ten <= two + SLACK, "{two} MB in two epochs, {ten} MB in ten");
}

#[test]
fn memory_is_flat_once_every_raw_picture_is_mapped() {
    // Two epochs show each view once, to compare checksums; the next two read both out of a map.
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), Pixels::Raw { side: 128 });
    let [two, four, ten] = [2, 4, 10].map(|epochs| peak(folder.path(), epochs));
    assert!(ten <= four + SLACK, "{four} MB in four epochs, {ten} MB in ten");
    assert!(ten <= two + MAPPED + SLACK, "{two} MB in two epochs, {ten} MB in ten");
}
