//! What a step saw, computed anew, beside what the trainer really used.

use std::fs;
use std::ops::Range;

use pairmill::files::sha256_hex;
use pairmill::load::{Batch, Cursor, start};
use pairmill::shard::Dataset;
use pairmill::store::Location;
use pairmill::train::config::Config;
use pairmill::train::feed;
use pairmill::train::replay::{Pair, Replay, Seen};
use pairmill::train::trainer::Trainer;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::bad_samples::damage;
use super::{Ran, World, check_done, lines, resolved, run};

/// Everything that a step draws: views, captions, places of crops, flips and colours.
const DRAWN: [&str; 9] = [
    "data.batch=5",
    "data.crop=24",
    "data.drop_last=false",
    "data.random_crop=true",
    "data.flip=0.5",
    "data.jitter=[0.4,0.4,0.4,0.1]",
    "data.captions_per_image=2",
    "loss.kind=multi_positive",
    "run.seed=9",
];

fn world() -> World {
    World::prepared(&["--views", "3", "--flip", "0.5", "--jitter", "0.3,0.3,0.3,0.05", "--shard-rows", "5"])
}

fn flags<'a>(sets: &[&'a str]) -> Vec<&'a str> {
    sets.iter().flat_map(|set| ["--set", set]).collect()
}

/// The batches of a run's steps, as `train` has them.
fn delivered(world: &World, config: &Config, steps: Range<u64>) -> Vec<Batch> {
    let data = [Dataset::open(&Location::local(world.path("shards"))).unwrap()];
    let batcher = feed::batcher(&data, config).unwrap();
    let epochs = steps.end.div_ceil(batcher.order().steps());
    let first = Cursor::at(steps.start, batcher.order().steps());
    let batches = start(batcher, first, epochs, 2, 2);
    batches.take((steps.end - steps.start) as usize).map(Result::unwrap).collect()
}

/// Levels `[S, S, 3]` of every picture, from what the image tower is given.
fn levels(trainer: &Trainer, batch: &Batch) -> Vec<Vec<f64>> {
    let column = |values: [f64; 3]| Tensor::from_slice(&values).view([1, 3, 1, 1]);
    let given = trainer.pictures(batch, 0..batch.rows()).to_kind(Kind::Double);
    let shares = given * column([0.229, 0.224, 0.225]) + column([0.485, 0.456, 0.406]);
    let levels = (shares * 255.0).permute([0, 2, 3, 1]).contiguous();
    (0..batch.rows() as i64).map(|row| levels.get(row).view(-1).try_into().unwrap()).collect()
}

#[track_caller]
fn check_pairs(pairs: &[Pair], batch: &Batch, levels: &[Vec<f64>]) {
    assert_eq!(pairs.len(), batch.rows());
    let many = batch.captions_per_image();
    for (row, pair) in pairs.iter().enumerate() {
        assert_eq!(
            (pair.stored.key.as_str(), pair.stored.view as u32),
            (batch.keys.get(row), batch.views[row])
        );
        let chosen =
            batch.captions[row * many..][..many].iter().map(|&at| &pair.stored.captions[at as usize].text);
        assert!(pair.captions.iter().map(|(_, text)| text).eq(chosen));
        let shown = pair.picture.as_ref().unwrap().pixels();
        let apart = shown.iter().zip(&levels[row]).map(|(&shown, given)| (f64::from(shown) - given).abs());
        let most = apart.fold(0.0, f64::max);
        assert!(most < 0.51, "{}: {most} levels apart", pair.stored.key);
    }
}

/// Trains, is killed, goes on, and shows every step again.
#[track_caller]
fn check_replayed(world: &World, out: &str, more: &[&str]) {
    let sets = [&DRAWN[..], more].concat();
    let args = [&flags(&sets)[..], &flags(&["run.steps=8", "run.checkpoint_every=2"])].concat();
    check_done(&world.train(out, &args));
    fs::remove_dir_all(world.path(out).join("checkpoints/step-00000008")).unwrap();
    check_done(&world.train(out, &[&args[..], &["--resume"]].concat()));
    let config = resolved(&[&sets[..], &["run.steps=8"]].concat());
    let trainer = Trainer::new(&config, 3, Device::Cpu).unwrap();
    let (replay, lines) = (Replay::open(&world.path(out), &[]).unwrap(), lines(&world.path(out)));
    assert_eq!((replay.steps(), lines.len()), (8, 8));
    let mut flipped = 0;
    for (batch, step) in delivered(world, &config, 0..8).iter().zip(0..) {
        let seen = replay.step(step).unwrap();
        check_pairs(&seen.pairs, batch, &levels(&trainer, batch));
        let keys: String = seen.pairs.iter().map(|pair| format!("{}\n", pair.stored.key)).collect();
        assert_eq!(lines[step as usize]["keys_sha256"], sha256_hex(keys.as_bytes()));
        assert_eq!(lines[step as usize]["epoch"], seen.epoch);
        flipped += seen.pairs.iter().filter(|pair| pair.augment.unwrap().flip).count();
    }
    assert!((5..27).contains(&flipped), "{flipped} of 32");
}

#[test]
fn a_replayed_step_has_the_rows_captions_and_pixels_that_the_trainer_used() {
    let world = world();
    check_replayed(&world, "full", &[]);
    check_replayed(&world, "window", &["data.shuffle=window:7", "data.micro_batch=3"]);
}

fn seen(world: &World, run: &str, step: u64) -> Seen {
    Replay::open(&world.path(run), &[]).unwrap().step(step).unwrap()
}

#[test]
fn what_each_pair_costs_is_written_down_and_its_mean_is_the_loss() {
    let world = world();
    for (at, loss) in [&["loss.kind=infonce", "loss.label_smoothing=0.1"][..], &["loss.kind=siglip"], &DRAWN]
        .iter()
        .enumerate()
    {
        let (plain, logged) = (format!("plain {at}"), format!("logged {at}"));
        let sets = flags(&[loss, &["run.steps=4", "run.checkpoint_every=2"][..]].concat());
        check_done(&world.train(&plain, &sets));
        let sets = [&sets[..], &["--set", "run.log_pairs=true"]].concat();
        check_done(&world.train(&logged, &sets));
        fs::remove_dir_all(world.path(&logged).join("checkpoints/step-00000004")).unwrap();
        check_done(&world.train(&logged, &[&sets[..], &["--resume"]].concat()));
        assert!(!world.path(&plain).join("pairs.jsonl").exists());
        assert_eq!(fs::read_to_string(world.path(&logged).join("pairs.jsonl")).unwrap().lines().count(), 4);
        for (step, line) in lines(&world.path(&logged)).iter().enumerate() {
            assert_eq!(line["loss"], lines(&world.path(&plain))[step]["loss"]);
            let pairs = seen(&world, &logged, step as u64).pairs;
            let mean =
                pairs.iter().map(|pair| f64::from(pair.loss.unwrap())).sum::<f64>() / pairs.len() as f64;
            let loss = line["loss"].as_f64().unwrap();
            assert!((mean - loss).abs() < 1e-6 * loss.max(1.0), "{mean}, not {loss}");
        }
    }
}

#[test]
fn a_row_that_was_left_out_is_shown_as_such_and_cost_nothing() {
    let world = World::new();
    let (_, keys) = damage(&world, &[7]);
    check_done(
        &world.train("run", &flags(&["run.steps=3", "run.log_pairs=true", "data.on_bad_sample=skip"])),
    );
    let rows: Vec<Pair> = (0..3).flat_map(|step| seen(&world, "run", step).pairs).collect();
    let without: Vec<_> = rows.iter().filter(|pair| pair.picture.is_err()).collect();
    assert_eq!((without.len(), &without[0].stored.key), (1, &keys[0]));
    assert!(rows.iter().all(|pair| pair.loss.is_some() == pair.picture.is_ok()));
    let lines: Vec<Value> = fs::read_to_string(world.path("run/pairs.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let nothing =
        lines.iter().flat_map(|line| line["losses"].as_array().unwrap()).filter(|loss| loss.is_null());
    assert_eq!(nothing.count(), 1);
}

/// `shards show` of the run `run`.
fn show(world: &World, out: &str, args: &[&str]) -> Ran {
    let (of, out) = (world.path("run"), world.path(out));
    let base = ["show", "--run", of.to_str().unwrap(), "--out", out.to_str().unwrap()];
    run(env!("CARGO_BIN_EXE_shards"), &[&base[..], args].concat())
}

#[test]
fn a_step_becomes_a_page_or_a_sheet_and_what_cannot_be_is_refused() {
    let world = World::new();
    check_done(&world.train("run", &flags(&["run.steps=2", "run.log_pairs=true"])));
    check_done(&show(&world, "page.html", &["--step", "1"]));
    let page = fs::read_to_string(world.path("page.html")).unwrap();
    let seen = seen(&world, "run", 1);
    let mut rest = page.as_str();
    for (at, pair) in seen.pairs.iter().enumerate() {
        let part = format!("{at} · {}<", pair.stored.key);
        rest = rest.split_once(&part).unwrap_or_else(|| panic!("{part} in its order")).1;
    }
    assert!(page.contains("run / step 1") && page.contains("keys are those that the log has"), "{page}");
    check_done(&show(&world, "sheet.png", &["--step", "1"]));
    assert!(fs::read(world.path("sheet.png")).unwrap().starts_with(b"\x89PNG"));
    let refused = |args: &[&str], message: &str| {
        let ran = show(&world, "page.html", args);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    };
    refused(&["--step", "2"], "--step: the run has steps 0 to 1, no step 2");
    let (old, new) = (world.path("shards"), world.path("moved"));
    fs::rename(&old, &new).unwrap();
    refused(&["--step", "0"], "shards that are not there now; --data names where they are");
    check_done(&show(&world, "page.html", &["--step", "0", "--data", new.to_str().unwrap()]));
    refused(
        &["--step", "0", "--data", new.to_str().unwrap(), new.to_str().unwrap()],
        "--data: the run was trained on other shards; name the same ones",
    );
    fs::remove_file(world.path("run/data.json")).unwrap();
    refused(&["--step", "0"], "has no data.json that says where its shards are: name them with --data");
    check_done(&show(&world, "page.html", &["--step", "0", "--data", new.to_str().unwrap()]));
}
