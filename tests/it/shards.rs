//! The program `shards`, from its command line.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use pairmill::load::{Batcher, Cursor, Order, OrderSpec, Padding, Pairs, Shape, Shuffle, start};
use pairmill::shard::Dataset;
use proptest::prelude::*;

use crate::dataset::{Recipe, SMALL};
use crate::load::damaged::damage_a_picture;
use crate::world::World;

pub fn shards(arguments: &str, folders: &[&Path]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shards"));
    let Output { status, stdout, stderr } =
        command.args(arguments.split_whitespace()).args(folders).arg("--quiet").output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Writes the small dataset, damages it, and expects `verify` to say each of `named`.
#[track_caller]
fn check_damage(damage: impl FnOnce(&Dataset), named: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    damage(&SMALL.write(folder.path()));
    let (code, stdout, stderr) = shards("verify", &[folder.path()]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stderr.starts_with(&format!("error: {}", folder.path().display())), "{stderr}");
    for words in named {
        assert!(stdout.contains(words), "`{words}` is not in\n{stdout}{stderr}");
    }
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_dataset_is_ok() {
    let folder = tempfile::tempdir().unwrap();
    SMALL.write(folder.path());
    assert_eq!(
        shards("verify", &[folder.path()]),
        (Some(0), "ok: 8 shards, 58 rows\n".into(), String::new())
    );
}

#[test]
fn a_flipped_bit_in_a_picture_is_found_with_its_key() {
    let named = ["train/v1-00001.parquet: key 000000000013: the picture does not match its crc32c"];
    check_damage(|data| drop(damage_a_picture(data, 1)), &named);
}

#[test]
fn a_flipped_bit_in_a_footer_is_found() {
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.len() - 40;
        bytes[at] ^= 1;
    };
    let named = ["val/v0-00000.parquet: its SHA-256 is not the manifest's"];
    check_damage(|data| change(&data.root.join("val/v0-00000.parquet"), flip), &named);
}

#[test]
fn a_cut_shard_is_found() {
    let named = ["train/v0-00002.parquet: 800 bytes, the manifest says ", "cannot read the shard"];
    check_damage(
        |data| change(&data.root.join("train/v0-00002.parquet"), |bytes| bytes.truncate(800)),
        &named,
    );
}

#[test]
fn a_missing_shard_is_found() {
    let named = ["train/v1-00000.parquet: the file is missing"];
    check_damage(|data| fs::remove_file(data.root.join("train/v1-00000.parquet")).unwrap(), &named);
}

#[test]
fn a_stray_shard_is_found() {
    let copy = |data: &Dataset| {
        fs::copy(data.root.join("val/v0-00000.parquet"), data.root.join("val/v0-00001.parquet")).unwrap();
    };
    check_damage(copy, &["val/v0-00001.parquet: the file is not part of the dataset"]);
}

#[test]
fn a_changed_count_in_the_manifest_is_found() {
    let edit = |data: &Dataset| {
        let path = data.root.join("_manifest.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("\"images\": 29", "\"images\": 28", 1)).unwrap();
    };
    check_damage(edit, &["the manifest says 28 images, its table has 29"]);
}

#[test]
fn a_folder_without_a_dataset_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = shards("verify", &[folder.path()]);
    let path = folder.path().display();
    let reason = "has no _manifest.json: it is no dataset, or `prepare` has not finished; run it again";
    assert_eq!((code, stderr), (Some(1), format!("error: {path} {reason}\n")));
}

#[test]
fn stats_count_pairs_as_papers_do() {
    let folder = tempfile::tempdir().unwrap();
    SMALL.write(folder.path());
    let (code, stdout, stderr) = shards("stats", &[folder.path()]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("29 images, 71 image–caption pairs\n58 rows in 8 shards, "), "{stdout}");
    for line in ["captions      50 original, 21 synonym; 0 empty ones dropped", "stored        29 of 16x16"] {
        assert!(stdout.contains(line), "{stdout}");
    }
}

#[test]
fn stats_in_json_have_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    SMALL.write(folder.path());
    let (_, stdout, _) = shards("stats --json", &[folder.path()]);
    let stats: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&stats["images"], &stats["pairs"], &stats["rows"]), (&29.into(), &71.into(), &58.into()));
    assert_eq!(stats["splits"]["train"]["views"], 2);
    assert_eq!(stats["words"]["max"], 5);
    let none = serde_json::json!(
        {"within_splits": 0, "within_example": null, "across_splits": 0, "across_example": null}
    );
    assert_eq!(stats["duplicates"], none);
}

/// Photographs 0, 2 and 5 are one and the same, in train, train and val; so are 3 and 6, both in val.
#[test]
fn stats_count_exact_duplicates_and_leakage_with_an_example_of_each() {
    let world = World::with_photos(8);
    for (copy, of) in [(2, 0), (5, 0), (6, 3)] {
        let bytes = fs::read(world.path(&format!("photos/p{of}.jpg"))).unwrap();
        world.write(&format!("photos/p{copy}.jpg"), bytes);
    }
    let images = [(0, "train"), (1, "train"), (2, "train"), (3, "val"), (4, "val"), (5, "val"), (6, "val")];
    let images = images.map(|(at, split)| {
        format!(
            r#"{{"filename": "p{at}.jpg", "cocoid": {at}, "split": "{split}", "sentences": [{{"raw": "x"}}]}}"#
        )
    });
    world.write("k.json", format!(r#"{{"images": [{}]}}"#, images.join(",")));
    world.prepare("coco --images photos --karpathy k.json --views 2 --shard-rows 2 --out out");
    let (_, stdout, _) = shards("stats --json", &[&world.path("out")]);
    let stats: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let place = |split: &str, at: u32| serde_json::json!({"split": split, "key": format!("{at:012}")});
    let expected = serde_json::json!({
        "within_splits": 2, "within_example": [place("train", 0), place("train", 2)],
        "across_splits": 1, "across_example": [place("train", 0), place("val", 5)],
    });
    assert_eq!(stats["duplicates"], expected);
    let (_, stdout, _) = shards("stats", &[&world.path("out")]);
    let line = "duplicates    2 images repeat another's source in their split, \
                e.g. train/000000000000 and train/000000000002; \
                1 sources stand in several splits, e.g. train/000000000000 and val/000000000005\n";
    assert!(stdout.ends_with(line), "{stdout}");
}

/// The lines of `shards order` without the header, cut at tabs.
pub fn listed(flags: &str, folders: &[&Path]) -> Vec<Vec<String>> {
    let (code, stdout, stderr) = shards(&format!("order {flags}"), folders);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let mut lines = stdout.lines().map(|line| line.split('\t').map(str::to_owned).collect());
    assert_eq!(lines.next(), Some(["step", "rank", "key", "view", "caption"].map(str::to_owned).to_vec()));
    lines.collect()
}

#[test]
fn an_order_is_what_the_loader_delivers() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Recipe { splits: &[("train", &[3, 4])], views: 3, first_key: 7, ..SMALL };
    let data = [SMALL.write(one.path()), other.write(two.path())];
    let weights = "original=2,synonym=1".parse().unwrap();
    let pairs = Arc::new(Pairs::open(&data, "train").unwrap());
    let spec = OrderSpec {
        fingerprints: data.iter().map(|data| data.fingerprint().to_owned()).collect(),
        split: "train".into(),
        seed: 5,
        batch: 6,
        shuffle: Shuffle::Full,
        weights,
        captions_per_image: 1,
        drop_last: true,
        excluded: pairs.rows_of(&["000000000009".to_owned()].into()).unwrap(),
    };
    assert_eq!(spec.excluded, [9, 26], "a key may stand in two datasets");
    let order = Order::new(spec, &pairs.shard_rows()).unwrap();
    let batcher = Batcher::new(
        pairs,
        order,
        Shape { crop: None, random_crop: false, max_tokens: 64, padding: Padding::Longest },
    )
    .unwrap();
    let cursor = Cursor { epoch: 3, step: 0 };
    let mut delivered = Vec::new();
    for batch in start(batcher, cursor, 4, 2, 2).map(Result::unwrap) {
        for row in 0..batch.rows() {
            let rank = (row >= 3).into();
            let numbers = [batch.step, rank].map(|number: u64| number.to_string());
            let shown = [batch.views[row], batch.captions[row]].map(|number| number.to_string());
            delivered.push([&numbers[..], &[batch.keys.get(row).to_owned()], &shown].concat());
        }
    }
    let exclude = one.path().join("exclude.txt");
    fs::write(&exclude, "000000000009\nnobody\n").unwrap();
    let flags =
        "--split train --batch 6 --seed 5 --epoch 3 --world 2 --drop-last --captions original=2,synonym=1";
    let flags = format!("{flags} --exclude {}", exclude.display());
    assert_eq!(listed(&flags, &[one.path(), two.path()]), delivered);
    assert_eq!(delivered.len(), 24, "29 rows in steps of 6");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_world_sees_the_same_epoch_and_every_key_once(seed: u64, epoch in 0u64..100, batch in 1usize..30) {
        let folder = tempfile::tempdir().unwrap();
        Recipe { views: 1, ..SMALL }.write(folder.path());
        let of_world = |world: usize| {
            let flags = format!("--batch {batch} --seed {seed} --epoch {epoch} --world {world}");
            let lines = listed(&flags, &[folder.path()]);
            lines.into_iter().map(|mut line| { line.remove(1); line }).collect::<Vec<_>>()
        };
        let alone = of_world(1);
        for world in [2, 4, 8] {
            prop_assert_eq!(&of_world(world), &alone);
        }
        prop_assert_eq!(alone.len(), 24);
        prop_assert_eq!(alone.iter().map(|line| &line[1]).collect::<BTreeSet<_>>().len(), 24);
    }
}

#[test]
fn an_unknown_split_and_an_empty_window_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    SMALL.write(folder.path());
    let (code, _, stderr) = shards("order --batch 4 --split test", &[folder.path()]);
    let path = folder.path().display();
    assert_eq!((code, stderr), (Some(1), format!("error: {path} has no split `test`; it has train, val\n")));
    let (code, _, stderr) = shards("order --batch 4 --shuffle window:0", &[folder.path()]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("a window is a whole number of rows, 1 or more"), "{stderr}");
}

#[test]
fn a_closed_pipe_ends_the_listing_quietly() {
    let folder = tempfile::tempdir().unwrap();
    Recipe { splits: &[("train", &[4000])], views: 1, ..SMALL }.write(folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_shards"));
    command.args(["order", "--batch", "1"]).arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}
