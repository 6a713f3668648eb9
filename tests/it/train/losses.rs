//! Every loss, and a batch in parts: trained, resumed, and opened again.

use std::collections::BTreeMap;
use std::fs;

use pairmill::load::Batcher;
use pairmill::shard::Dataset;
use pairmill::store::Location;
use pairmill::train::config::Config;
use pairmill::train::model::{Layout, Mode};
use pairmill::train::trainer::{Trainer, pixels};
use pairmill::train::weights::{read_tensors, write_tensors};
use pairmill::train::{feed, settings};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{SMALL, World, check_done, lines};
use crate::shards::listed;

/// The image tower without its batch norms, and everything else.
const FROZEN_NORMS: &str = "[[stage]]\nname = 'all but norms'\nsteps = 3\ntrain = ['text', 'projection', \
    'image.conv1', 'image.layer1.0.conv1', 'image.layer1.0.conv2', 'image.layer1.0.conv3', 'image.layer4.0.conv1', \
    'image.layer4.0.conv2', 'image.layer4.0.conv3', 'image.layer4.0.downsample.0']\n";

fn config(sets: &[&str]) -> Config {
    let sets: Vec<String> = SMALL.iter().chain(sets).map(|&set| set.to_owned()).collect();
    settings::resolve(None, None, &sets).unwrap()
}

fn batcher(world: &World, config: &Config) -> Batcher {
    feed::batcher(&[Dataset::open(&Location::local(world.path("shards"))).unwrap()], config).unwrap()
}

/// A run of three steps of everything but the batch norms.
#[track_caller]
fn run(world: &World, out: &str, sets: &[&str]) {
    let config = world.path("stages.toml");
    fs::write(&config, FROZEN_NORMS).unwrap();
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let args: Vec<&str> = ["--config", config.to_str().unwrap()].into_iter().chain(sets).collect();
    let _ = fs::remove_dir_all(world.path(out));
    check_done(&world.train(out, &args));
}

/// Loss and gradient norm of every step of two runs, alike within `tolerance` of their size.
#[track_caller]
fn check_steps(world: &World, one: &str, other: &str, tolerance: f64) {
    let (one, other) = (lines(&world.path(one)), lines(&world.path(other)));
    assert_eq!((one.len(), other.len()), (3, 3));
    for (one, other) in one.iter().zip(&other) {
        for key in ["loss", "grad_norm"] {
            let (one, other) = (one[key].as_f64().unwrap(), other[key].as_f64().unwrap());
            assert!((one - other).abs() <= tolerance * one.abs(), "{key}: {one} and {other}");
        }
    }
}

fn weights(world: &World, run: &str, step: u64) -> BTreeMap<String, Tensor> {
    let folder = world.path(run).join(format!("checkpoints/step-{step:08}"));
    read_tensors(&folder.join("model.safetensors")).unwrap()
}

#[test]
fn with_frozen_batch_norms_a_batch_in_parts_trains_as_the_whole() {
    let world = World::new();
    let losses = [
        &["loss.kind=infonce", "loss.label_smoothing=0.1"][..],
        &["loss.kind=multi_positive", "data.captions_per_image=3", "loss.matching=0.5"],
        &["loss.kind=siglip", "optim.clip_grad=0.5"],
    ];
    for loss in losses {
        let whole = [&["run.precision=fp64", "model.dropout=0", "data.batch=6"][..], loss].concat();
        run(&world, "whole", &whole);
        for micro_batch in ["data.micro_batch=2", "data.micro_batch=4"] {
            run(&world, "parts", &[&whole[..], &[micro_batch]].concat());
            check_steps(&world, "whole", "parts", 1e-10);
            let parts = weights(&world, "parts", 3);
            for (name, tensor) in weights(&world, "whole", 3) {
                let apart = (tensor - &parts[&name]).abs().max().double_value(&[]);
                assert!(apart <= 1e-10, "{name} is {apart:e} apart");
            }
        }
    }
}

#[test]
fn in_single_precision_a_batch_in_parts_costs_what_the_whole_does() {
    let world = World::new();
    let sets = ["model.dropout=0", "data.batch=6"];
    run(&world, "whole", &sets);
    run(&world, "parts", &[&sets[..], &["data.micro_batch=2"]].concat());
    check_steps(&world, "whole", "parts", 1e-5);
}

/// The loss of a run's first step from these weights.
#[track_caller]
fn first_loss(world: &World, weights: BTreeMap<String, Tensor>, sets: &[&str]) -> f64 {
    let init = world.path("init.safetensors");
    write_tensors(&init, &weights).unwrap();
    let init = format!("model.init={}", init.display());
    let sets: Vec<&str> = sets.iter().chain(&[init.as_str()]).flat_map(|set| ["--set", set]).collect();
    let _ = fs::remove_dir_all(world.path("moved"));
    check_done(&world.train("moved", &sets));
    lines(&world.path("moved"))[0]["loss"].as_f64().unwrap()
}

/// Were the second pass another function than the first, by its dropout or its batch statistics, then what it gives would
/// not be the gradient of the loss that the first one had.
#[test]
fn with_dropout_and_batch_norms_that_train_the_gradient_of_a_batch_in_parts_is_the_slope_of_its_loss() {
    let world = World::new();
    let mut sets = vec!["run.precision=fp64", "model.dropout=0.3", "data.batch=12", "data.micro_batch=4"];
    sets.extend(["run.steps=1", "loss.kind=siglip", "loss.matching=0.5"]);
    sets.extend(["optim.lr_image=0", "optim.lr_text=0", "optim.lr_projection=0", "optim.lr_scale=1e-300"]);
    check_done(&world.train("still", &sets.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>()));
    let norm = lines(&world.path("still"))[0]["grad_norm"].as_f64().unwrap();
    let state = world.path("still/checkpoints/step-00000001/optimizer.safetensors");
    let state = read_tensors(&state).unwrap();
    // After one step the first moment is a tenth of the gradient.
    let moved = |far: f64| {
        // Statistics, which the step has moved, do not matter where batch norms train.
        let mut all = weights(&world, "still", 1);
        for (name, tensor) in &mut all {
            if let Some(moment) = state.get(&format!("{name}.exp_avg")) {
                *tensor += moment * (10.0 * far / norm);
            }
        }
        first_loss(&world, all, &sets)
    };
    let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
    assert!((slope - norm).abs() < 1e-4 * norm, "{slope}, not {norm}");
}

#[test]
fn running_statistics_move_once_a_micro_batch() {
    let world = World::new();
    check_done(&world.train("first", &["--set", "run.steps=1"]));
    let init = world.path("first/checkpoints/step-00000001/model.safetensors");
    let init = format!("model.init={}", init.display());
    let config = config(&["model.dropout=0", "data.batch=6", "data.micro_batch=3", &init]);
    let batch = batcher(&world, &config).batch(0, 0).unwrap();
    let mut trainer = Trainer::new(&config, 2, Device::Cpu).unwrap();
    let expected = Trainer::new(&config, 2, Device::Cpu).unwrap();
    for part in batch.images.chunks(3 * batch.side * batch.side * 3) {
        let images = pixels(part, batch.side, Device::Cpu, Kind::Float, Layout::ChannelsFirst);
        let _ = tch::no_grad(|| expected.clip().image_features(&images, Mode::Train));
    }
    trainer.step(&batch, 0).unwrap();
    let expected = expected.store().variables();
    let statistics = trainer.store().variables().into_iter().filter(|(name, _)| name.contains(".running_"));
    for (name, statistic) in statistics {
        assert_eq!(statistic, expected[&name], "{name}");
    }
}

/// Trains whole and in two halves, and looks at what the run left.
#[track_caller]
fn check_resumes(world: &World, sets: &[&str], keys: &[&str]) {
    let sets: Vec<&str> = ["run.steps=4", "run.checkpoint_every=2", "run.keep_last=9"]
        .iter()
        .chain(sets)
        .flat_map(|set| ["--set", set])
        .collect();
    for run in ["whole", "broken"] {
        let _ = fs::remove_dir_all(world.path(run));
        check_done(&world.train(run, &sets));
    }
    fs::remove_dir_all(world.path("broken/checkpoints/step-00000004")).unwrap();
    check_done(&world.train("broken", &[&sets[..], &["--resume"]].concat()));
    let last = |run: &str, file: &str| world.path(run).join("checkpoints/step-00000004").join(file);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert!(
            fs::read(last("whole", file)).unwrap() == fs::read(last("broken", file)).unwrap(),
            "{sets:?}: {file}"
        );
    }
    let losses = |run: &str| -> Vec<Value> {
        lines(&world.path(run)).iter().map(|line| line["loss"].clone()).collect()
    };
    assert_eq!(losses("whole"), losses("broken"));
    assert!(losses("whole").iter().all(Value::is_f64), "{:?}", losses("whole"));
    let model = read_tensors(&last("whole", "model.safetensors")).unwrap();
    let state = read_tensors(&last("whole", "optimizer.safetensors")).unwrap();
    let extra = |name: &&String| name.starts_with("matching.") || *name == "logit_bias";
    assert_eq!(model.keys().filter(extra).collect::<Vec<_>>(), keys);
    assert!(keys.iter().all(|key| state.contains_key(&format!("{key}.exp_avg"))), "{sets:?}");
    check_opens(world);
}

/// `clip` evaluates and embeds with the run.
#[track_caller]
fn check_opens(world: &World) {
    let base = ["--run", "whole", "--data", "shards", "--split", "train", "--quiet"];
    check_done(&world.clip(&[&["evaluate", "--json"], &base[..]].concat()));
    check_done(&world.clip(&[&["embed", "--out", "emb.parquet"], &base[..]].concat()));
}

const HEAD: [&str; 4] = ["matching.0.bias", "matching.0.weight", "matching.2.bias", "matching.2.weight"];

#[test]
fn every_loss_trains_and_resumes_to_the_same_bits() {
    let world = World::new();
    check_resumes(&world, &["loss.kind=infonce", "loss.matching=0.5"], &HEAD);
    check_resumes(
        &world,
        &["loss.kind=multi_positive", "data.captions_per_image=2", "loss.label_smoothing=0.1"],
        &[],
    );
    check_resumes(&world, &["loss.kind=siglip"], &["logit_bias"]);
}

#[test]
fn a_batch_in_parts_trains_and_resumes_to_the_same_bits() {
    let world = World::new();
    let both: Vec<&str> = ["logit_bias"].into_iter().chain(HEAD).collect();
    check_resumes(&world, &["loss.kind=siglip", "loss.matching=2", "data.micro_batch=2"], &both);
    let several = [
        "loss.kind=multi_positive",
        "data.captions_per_image=5",
        "data.micro_batch=3",
        "loss.contrastive=0.5",
    ];
    check_resumes(&world, &several, &[]);
}

/// `logit_scale`, and `logit_bias` where there is one, after so many steps.
fn numbers(world: &World, kind: &str, steps: u64, set: &str) -> BTreeMap<String, f64> {
    let config = config(&[kind, "run.steps=3", set]);
    let batcher = batcher(world, &config);
    let mut trainer = Trainer::new(&config, batcher.order().steps(), Device::Cpu).unwrap();
    (0..steps).for_each(|step| drop(trainer.step(&batcher.batch(0, step).unwrap(), step).unwrap()));
    let variables = trainer.store().variables().into_iter().filter(|(name, _)| name.starts_with("logit_"));
    variables.map(|(name, value)| (name, value.double_value(&[]))).collect()
}

#[test]
fn the_bias_is_fixed_with_the_temperature_and_the_scale_is_clamped_whatever_the_loss() {
    let world = World::new();
    for (kind, count) in [("infonce", 1), ("multi_positive", 1), ("siglip", 2)] {
        let numbers = |steps, set| numbers(&world, &format!("loss.kind={kind}"), steps, set);
        let (fresh, fixed) = (numbers(0, "optim.lr_scale=0"), numbers(3, "optim.lr_scale=0"));
        assert_eq!((&fixed, fixed.len()), (&fresh, count), "{kind}");
        let trained = numbers(3, "optim.lr_scale=1e-3");
        assert!(trained.iter().all(|(name, value)| *value != fresh[name]), "{kind}: {trained:?}");
        let clamped = numbers(3, "optim.max_scale=5")["logit_scale"];
        let below = 5f64.ln() - clamped; // it may have learnt to be a little less
        assert!((-1e-6..2e-3).contains(&below), "{kind}: {clamped}");
    }
}

#[test]
fn several_captions_an_image_are_those_of_the_listed_order() {
    let world = World::new();
    let config = config(&["loss.kind=multi_positive", "data.captions_per_image=3", "data.batch=5"]);
    let batcher = batcher(&world, &config);
    let mut delivered = Vec::new();
    for step in 0..batcher.order().steps() {
        let batch = batcher.batch(1, step).unwrap();
        for (row, key) in batch.keys.iter().enumerate() {
            let shown: Vec<String> = batch.captions[3 * row..][..3].iter().map(u32::to_string).collect();
            delivered.push([step.to_string(), key.to_owned(), shown.join(",")]);
        }
        assert_eq!((batch.captions_per_image(), batch.tokens.len()), (3, 15 * batch.max_len));
    }
    let lines = listed("--batch 5 --epoch 1 --drop-last --captions-per-image 3", &[&world.path("shards")]);
    let lines: Vec<_> =
        lines.into_iter().map(|line| [line[0].clone(), line[2].clone(), line[4].clone()]).collect();
    assert_eq!(lines, delivered);
}

#[test]
fn what_losses_do_not_bear_is_refused_by_name() {
    let world = World::new();
    let refused = |sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let ran = world.train("refused", &sets);
        let _ = fs::remove_dir_all(world.path("refused"));
        (ran.code, ran.stderr)
    };
    let (code, stderr) = refused(&["loss.kind=multi_positive", "data.captions_per_image=6", "run.steps=1"]);
    assert_eq!(code, Some(1));
    let why = ": 6 captions an image are asked for, it has 5 of the kinds that are used";
    assert!(stderr.contains("key ") && stderr.contains(why), "{stderr}");
    let (_, stderr) = refused(&["data.captions_per_image=2"]);
    assert!(
        stderr.contains("data.captions_per_image is 2; more than 1 needs loss.kind = \"multi_positive\""),
        "{stderr}"
    );
    check_done(&world.train("plain", &["--set", "run.steps=1"]));
    let init =
        format!("model.init={}", world.path("plain/checkpoints/step-00000001/model.safetensors").display());
    let (_, stderr) = refused(&[&init, "loss.matching=1"]);
    assert!(stderr.contains("missing: matching.0.bias, matching.0.weight"), "{stderr}");
}
