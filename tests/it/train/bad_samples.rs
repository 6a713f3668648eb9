//! A damaged picture among the shards that are trained on.

use std::fs;

use pairmill::shard::{Dataset, ShardEntry, ShardReader};
use pairmill::store::Location;
use serde_json::{Value, json};

use super::{World, check_done, lines};

/// Flips one byte of the pictures of some rows; gives back the shard's path and their keys.
pub(super) fn damage(world: &World, rows: &[usize]) -> (String, Vec<String>) {
    let data = Dataset::open(&Location::local(world.path("shards"))).unwrap();
    let path = data.root.join(ShardEntry::path_of("train", 0, 0));
    let reader = ShardReader::open(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let samples: Vec<_> = reader.samples().unwrap().map(|sample| sample.unwrap().0).collect();
    for &row in rows {
        let mut picture = Vec::new();
        ShardReader::open(&path).unwrap().picture(row, &mut picture).unwrap();
        let at = bytes.windows(picture.len()).position(|window| window == picture).unwrap();
        bytes[at + picture.len() / 2] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    (path.display().to_string(), rows.iter().map(|&row| samples[row].key.clone()).collect())
}

const SETS: [&str; 4] = ["--set", "run.steps=6", "--set", "run.checkpoint_every=2"];
const SKIP: [&str; 2] = ["--set", "data.on_bad_sample=skip"];

#[test]
fn a_damaged_picture_stops_the_run_by_shard_row_and_key() {
    let world = World::new();
    let (shard, keys) = damage(&world, &[7]);
    let ran = world.train("run", &SETS);
    let expected =
        format!("error: row 7 of {shard}, key {}: the picture does not match its crc32c\n", keys[0]);
    assert_eq!((ran.code, ran.stderr), (Some(1), expected));
}

#[test]
fn a_damaged_picture_is_skipped_counted_and_recorded_once_an_epoch_also_after_a_resume() {
    let world = World::new();
    let sets = [&SETS[..], &SKIP].concat();
    let (shard, keys) = damage(&world, &[7]);
    check_done(&world.train("run", &sets));
    check_done(&world.train("broken", &sets));
    // What a kill after the step that followed the second checkpoint leaves.
    fs::remove_dir_all(world.path("broken/checkpoints/step-00000006")).unwrap();
    check_done(&world.train("broken", &[&sets[..], &["--resume"]].concat()));
    let record = |run: &str| fs::read_to_string(world.path(run).join("bad_samples.jsonl")).unwrap();
    assert_eq!(record("run"), record("broken"));
    let bad: Vec<Value> = record("run").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(bad.len(), 2, "once in each of two epochs: {bad:?}");
    for (epoch, line) in bad.iter().enumerate() {
        let expected = json!({
            "step": line["step"], "epoch": epoch, "shard": shard, "row": 7, "key": keys[0],
            "message": "the picture does not match its crc32c", "rows": line["rows"], "in_a_row": 1,
        });
        assert_eq!(*line, expected);
        let (step, rows) = (line["step"].as_u64().unwrap(), line["rows"].as_u64().unwrap());
        assert!((4 * step + 1..=4 * step + 4).contains(&rows) && step / 3 == epoch as u64, "{line}");
    }
    for run in ["run", "broken"] {
        for line in lines(&world.path(run)) {
            let before = bad.iter().filter(|bad| bad["step"].as_u64() <= line["step"].as_u64()).count();
            assert_eq!(line["bad_samples"], before, "{line}");
            assert!(line["loss"].is_f64(), "{line}");
        }
    }
}

#[test]
fn an_evaluation_leaves_damaged_pictures_out_and_counts_them() {
    let world = World::new();
    let (_, keys) = damage(&world, &[0, 7]);
    check_done(&world.train("run", &[&SETS[..], &SKIP].concat()));
    let evaluated =
        world.clip(&["evaluate", "--json", "--run", "run", "--data", "shards", "--split", "train"]);
    check_done(&evaluated);
    let figures: Value = serde_json::from_str(&evaluated.stdout).unwrap();
    let counts = ["images", "captions", "bad_samples"].map(|key| figures[key].as_u64().unwrap());
    assert_eq!(counts, [10, 50, 2]);
    let left_out = |row: usize, key: &str| {
        format!(
            "left out: row {row} of shards/train/v0-00000.parquet, key {key}: the picture does not match its crc32c\n"
        )
    };
    let notes = left_out(0, &keys[0]) + &left_out(7, &keys[1]);
    let expected = notes + "2 bad samples of 12 of the split `train` are left out\n";
    assert!(evaluated.stderr.contains(&expected), "{}", evaluated.stderr);
}

#[test]
fn skipping_changes_nothing_where_no_picture_is_damaged() {
    let world = World::new();
    check_done(&world.train("stop", &SETS));
    check_done(&world.train("skip", &[&SETS[..], &SKIP].concat()));
    let weights =
        |run: &str| fs::read(world.path(run).join("checkpoints/step-00000006/model.safetensors")).unwrap();
    assert!(weights("stop") == weights("skip"));
    assert_eq!(fs::read(world.path("skip/bad_samples.jsonl")).unwrap(), b"");
}

#[test]
fn a_dataset_that_is_damaged_all_over_ends_a_run_that_skips() {
    let world = World::new();
    damage(&world, &(0..12).collect::<Vec<_>>());
    let ran = world.train("run", &["--set", "run.steps=60", SKIP[0], SKIP[1]]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.starts_with("error: 100 bad samples in a row; the shards are damaged"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.ends_with(": the picture does not match its crc32c\n"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(world.path("run/bad_samples.jsonl")).unwrap().lines().count(), 100);
}
