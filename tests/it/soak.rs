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

#[test]
fn memory_is_flat_over_ten_epochs() {
    // A batch is 2 MB, an epoch 20 MB: one batch that is kept in every epoch would be seen. After four
    // epochs each view was read once to compare checksums, and once out of a map, which counts as memory.
    for pixels in [Pixels::Raw { side: 128 }, Pixels::Image] {
        let folder = tempfile::tempdir().unwrap();
        let splits: &[(&str, &[usize])] = &[("train", &[100; 4])];
        Recipe { splits, views: 2, pixels, first_key: 0, tokenizer: "bert" }.write(folder.path());
        let (four, ten) = (peak(folder.path(), 4), peak(folder.path(), 10));
        assert!(ten <= four + 6, "{pixels:?}: {four} MB in four epochs, {ten} MB in ten");
    }
}
