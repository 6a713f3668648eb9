//! Frozen towers whose features are computed once: the same run, and less of it.

use std::fs;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::{World, bad_samples, check_done, lines, ran};

const ALL: &str = "'image', 'text', 'projection'";
const TEXT: &str = "'text', 'projection'";
const PROJECTION: &str = "'projection'";

/// Dropout of a tower that trains is another draw for another batch of texts, so there is none.
const SETS: [&str; 4] = ["--set", "run.precision=fp64", "--set", "model.dropout=0.0"];
const OFF: [&str; 2] = ["--set", "data.cache_features=false"];
/// The loader is at most three batches ahead: one is taken, one waits, one is being made.
const CLOSE: [&str; 4] = ["--set", "data.workers=1", "--set", "data.prefetch=1"];

fn numbers(lines: &[Value], key: &str) -> Vec<f64> {
    lines.iter().map(|line| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"))).collect()
}

/// Trains with and without kept features; gives back the lines of the run that keeps.
#[track_caller]
fn check_same(world: &World, stages: &[(u64, &str)], sets: &[&str], most: f64) -> Vec<Value> {
    let stages = world.stages(stages);
    let all: Vec<&str> = stages.iter().map(String::as_str).chain(sets.iter().copied()).collect();
    check_done(&world.train("kept", &all));
    check_done(&world.train("computed", &[&all[..], &OFF].concat()));
    let (kept, computed) = (lines(&world.path("kept")), lines(&world.path("computed")));
    assert_eq!(kept.len(), computed.len());
    for key in ["loss", "grad_norm", "scale"] {
        for (step, (kept, computed)) in numbers(&kept, key).iter().zip(numbers(&computed, key)).enumerate() {
            assert!((kept - computed).abs() < most, "step {step}: {key} {kept}, not {computed}");
        }
    }
    assert!(!world.path("kept/features").exists(), "it goes with the last stage that uses it");
    assert!(!world.path("computed/features").exists());
    let used = |lines: &[Value]| numbers(lines, "cached_images").iter().sum::<f64>();
    assert!(used(&kept) > 0.0 && used(&computed) == 0.0);
    kept
}

#[test]
fn losses_are_those_of_a_run_that_computes_every_feature() {
    let world = World::prepared(&["--views", "2", "--flip", "0.5", "--jitter", "0.2,0.2,0.2,0.05"]);
    let article = [(5, TEXT), (2, ALL)];
    check_same(&world, &article, &SETS, 1e-9);
    for run in ["kept", "computed"] {
        fs::remove_dir_all(world.path(run)).unwrap();
    }
    // A second frozen stage, after one that moved the towers, wants features of its own.
    let layers = "'projection', 'image.layer4', 'text.encoder.layer.0'";
    let progressive = [(7, PROJECTION), (1, layers), (4, PROJECTION), (1, ALL)];
    let lines = check_same(&world, &progressive, &SETS, 1e-9);
    let cached = numbers(&lines, "cached_images");
    let of_epoch = |epoch: usize| cached[3 * epoch..3 * epoch + 3].iter().sum::<f64>();
    let epochs: Vec<f64> = (0..13).map(of_epoch).collect();
    assert_eq!(epochs, [0.0, 0.0, 12.0, 12.0, 12.0, 12.0, 12.0, 0.0, 0.0, 0.0, 12.0, 12.0, 0.0], "two views");
}

#[test]
fn in_single_precision_losses_of_frozen_towers_are_equal_to_a_millionth() {
    let world = World::prepared(&["--views", "2", "--flip", "0.5"]);
    check_same(&world, &[(6, PROJECTION)], &SETS[2..], 1e-6);
}

#[test]
fn what_is_kept_is_neither_read_nor_computed_again() {
    let world = World::new();
    let stages = world.stages(&[(8, PROJECTION)]);
    let sets: Vec<&str> = stages.iter().map(String::as_str).chain(CLOSE).collect();
    let mut command = world.command("run", &sets);
    let args: Vec<_> = command.get_args().filter(|arg| *arg != "--quiet").map(ToOwned::to_owned).collect();
    let program = command.get_program().to_owned();
    command = std::process::Command::new(program);
    let ran = ran(command.args(args));
    check_done(&ran);
    let lines = lines(&world.path("run"));
    let (images, texts) = (numbers(&lines, "cached_images"), numbers(&lines, "cached_texts"));
    assert_eq!(images, [vec![0.0; 3], vec![4.0; 21]].concat(), "one view");
    assert_eq!(texts, [vec![0.0; 15], vec![4.0; 9]].concat(), "five captions");
    let read = numbers(&lines, "read_mb");
    assert!(read[0] > 0.0 && read[6..].iter().all(|&read| read == 0.0), "{read:?}");
    assert!(numbers(&lines, "decode_seconds")[6..].iter().all(|&seconds| seconds == 0.0));
    let said = ran.stderr.lines().filter(|line| !line.starts_with("training: "));
    let (random, said): (Vec<&str>, Vec<&str>) = said.partition(|line| line.contains("has random weights"));
    assert_eq!(random.len(), 1, "{}", ran.stderr);
    let folder = world.path("run/features");
    let (begin, end) =
        (format!("its features are kept in {}, ", folder.display()), "of 96 pictures were not decoded");
    assert!(said[0].starts_with(&format!("the image tower is frozen: {begin}")), "{said:?}");
    assert!(said[1].starts_with(&format!("the text tower is frozen: {begin}")), "{said:?}");
    assert!(said[2].starts_with("stage `stage 0`: ") && said[2].contains(end), "{said:?}");
    assert!(said[2].ends_with("; 84 of 96 images and 36 of 96 texts did not pass their tower"), "{said:?}");
}

#[test]
fn what_varies_without_end_is_never_kept() {
    let world = World::new();
    let stages = world.stages(&[(3, PROJECTION)]);
    for set in ["data.flip=0.5", "data.jitter=[0.1,0,0,0]", "data.random_crop=true"] {
        let sets: Vec<&str> = stages.iter().map(String::as_str).chain(["--set", set]).collect();
        check_done(&world.train("run", &sets));
        let lines = lines(&world.path("run"));
        assert!(numbers(&lines, "cached_images").iter().all(|&cached| cached == 0.0), "{set}");
        fs::remove_dir_all(world.path("run")).unwrap();
    }
}

#[test]
fn a_damaged_picture_is_bad_in_every_epoch() {
    let world = World::new();
    let (_, keys) = bad_samples::damage(&world, &[7]);
    let sets = [&SETS[..], &["--set", "data.on_bad_sample=skip"]].concat();
    check_same(&world, &[(4, PROJECTION)], &sets, 1e-9);
    let record = |run: &str| fs::read_to_string(world.path(run).join("bad_samples.jsonl")).unwrap();
    assert_eq!(record("kept"), record("computed"));
    assert_eq!(record("kept").matches(&format!("\"key\":\"{}\"", keys[0])).count(), 4, "{}", record("kept"));
}

/// Starts a run and asks it to stop once it has written the line of a step.
fn stop_after(world: &World, out: &str, sets: &[&str], step: usize) {
    let mut command = world.command(out, sets);
    let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = world.path(out).join("metrics.jsonl");
    while fs::read_to_string(&metrics).unwrap_or_default().lines().count() <= step {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself before step {step}");
        std::thread::yield_now();
    }
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("stopped after "), "{said}");
}

fn weights(world: &World, run: &str, steps: u64) -> Vec<u8> {
    let folder = world.path(run).join(format!("checkpoints/step-{steps:08}"));
    fs::read(folder.join("model.safetensors")).unwrap()
}

#[test]
fn a_resumed_run_takes_up_what_was_kept_and_ends_with_the_same_weights() {
    let world = World::prepared(&["--views", "2", "--jitter", "0.2,0.2,0.2,0.05"]);
    let stages = world.stages(&[(150, PROJECTION), (1, ALL)]);
    let sets: Vec<&str> = stages.iter().map(String::as_str).chain(CLOSE).collect();
    let resumed = [&sets[..], &["--resume"]].concat();
    check_done(&world.train("whole", &sets));

    stop_after(&world, "stopped", &sets, 31);
    let before = lines(&world.path("stopped")).len();
    assert!(world.path("stopped/features/image.index").is_file());
    check_done(&world.train("stopped", &resumed));
    let lines = lines(&world.path("stopped"));
    assert!(
        numbers(&lines, "read_mb")[before..447].iter().all(|&read| read == 0.0),
        "from its first step on, until the loader reads ahead for the next stage"
    );
    assert_eq!(numbers(&lines, "cached_images")[before..450], vec![4.0; 450 - before]);
    assert_eq!(numbers(&lines, "cached_texts")[before..450], vec![4.0; 450 - before]);
    assert!(weights(&world, "whole", 453) == weights(&world, "stopped", 453), "the weights differ");

    stop_after(&world, "spoilt", &sets, 4);
    fs::remove_dir_all(world.path("spoilt/features")).unwrap();
    fs::write(world.path("spoilt/features"), "no folder").unwrap();
    check_done(&world.train("spoilt", &resumed));
    assert!(weights(&world, "whole", 453) == weights(&world, "spoilt", 453), "nothing could be kept");
}
