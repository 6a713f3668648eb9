//! What a run computes with: precisions, memory formats, rates by layer.

use std::fs;

use pairmill::train::settings;
use pairmill::train::trainer::Trainer;
use serde_json::Value;
use tch::{Device, Kind};

use super::{World, batches, check_done, lines, resolved};

/// Losses of a short run.
fn losses(world: &World, name: &str, sets: &[&str]) -> Vec<f64> {
    let steady = ["run.steps=4", "model.dropout=0"];
    let sets: Vec<&str> = steady.iter().chain(sets).flat_map(|set| ["--set", set]).collect();
    check_done(&world.train(name, &sets));
    lines(&world.path(name)).iter().map(|line| line["loss"].as_f64().unwrap()).collect()
}

fn apart(ours: &[f64], theirs: &[f64]) -> f64 {
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn relative(one: f64, other: f64) -> f64 {
    (one - other).abs() / one.abs().max(other.abs())
}

#[test]
fn every_precision_and_layout_learns_the_same_as_far_as_it_rounds() {
    let world = World::new();
    let single = losses(&world, "fp32", &[]);
    assert_eq!(losses(&world, "tf32", &["run.precision=tf32"]), single, "it is nothing to the CPU");
    let double = losses(&world, "fp64", &["run.precision=fp64"]);
    assert!(apart(&single, &double) < 1e-3, "{single:?} {double:?}");
    let last = losses(&world, "last", &["run.precision=fp64", "run.channels_last=true"]);
    assert!(apart(&last, &double) < 1e-9, "{last:?} {double:?}");
    for (name, layout) in [("bf16", "run.channels_last=false"), ("bf16-last", "run.channels_last=true")] {
        let half = losses(&world, name, &["run.precision=bf16", layout]);
        // Eight bits of mantissa, batch statistics of four images, and a scale of 14: only the first loss is close.
        let apart = relative(half[0], double[0]);
        assert!(apart > 1e-5 && apart < 0.1, "{name}: {half:?} {double:?}");
    }
}

#[test]
fn bf16_learns_what_single_precision_learns() {
    let world = World::new();
    let towers = "stage=[{name='text',steps=20,train=['text','projection'],lr_text=1e-4,lr_projection=1e-4}]";
    let learnt = |precision: &str| {
        losses(&world, precision, &["run.steps=20", towers, &format!("run.precision={precision}")])
    };
    let (single, half) = (learnt("fp32"), learnt("bf16"));
    assert_eq!((single.len(), half.len()), (20, 20));
    for (step, (single, half)) in single.into_iter().zip(half).enumerate() {
        let apart = relative(half, single);
        assert!(apart > 1e-6 && apart < 1e-2, "step {step}: {half} in bf16, {single} in fp32");
    }
}

#[test]
fn a_bf16_run_in_channels_last_keeps_float_weights_and_resumes_to_the_same_bytes() {
    let world = World::new();
    let sets = ["run.steps=4", "run.checkpoint_every=2", "run.precision=bf16", "run.channels_last=true"];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    check_done(&world.train("whole", &sets));
    check_done(&world.train("broken", &sets));
    fs::remove_dir_all(world.path("broken/checkpoints/step-00000004")).unwrap();
    check_done(&world.train("broken", &[&sets[..], &["--resume"]].concat()));
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let bytes =
            |run: &str| fs::read(world.path(run).join("checkpoints/step-00000004").join(file)).unwrap();
        assert!(bytes("whole") == bytes("broken"), "{file} differs");
    }
    let model = world.path("whole/checkpoints/step-00000004/model.safetensors");
    let tensors = pairmill::train::weights::read_tensors(&model).unwrap();
    assert!(tensors.values().all(|tensor| tensor.kind() == Kind::Float));
    let evaluated = world
        .clip(&["evaluate", "--run", "whole", "--data", "shards", "--split", "train", "--json", "--quiet"]);
    check_done(&evaluated);
    let figures: Value = serde_json::from_str(&evaluated.stdout).unwrap();
    assert!(figures["text_to_image"]["recall@10"].as_f64().unwrap() > 0.0, "{figures}");
}

#[test]
fn a_first_update_moves_each_layer_by_its_own_rate() {
    let world = World::new();
    let sets =
        ["run.precision=fp64", "optim.layer_decay=0.5", "optim.weight_decay=0", "optim.schedule=constant"];
    let config = resolved(&[&sets[..], &["run.steps=1", "optim.lr_scale=2e-3"]].concat());
    let mut trainer = Trainer::new(&config, 1, Device::Cpu).unwrap();
    let before: Vec<_> = trainer
        .store()
        .variables()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.detach().copy()))
        .collect();
    trainer.step(&batches(&world, &config).next().unwrap(), 0).unwrap();
    let after = trainer.store().variables();
    let moved = |name: &str| {
        let (_, before) = before.iter().find(|(other, _)| other == name).unwrap();
        (&after[name].detach() - before).abs().max().double_value(&[])
    };
    let projection = settings::resolve(None, None, &[]).unwrap().optim.rates.lr_projection;
    for (name, rate) in [
        ("image.conv1.weight", 1e-3 / 16.0),
        ("image.layer1.0.conv2.weight", 1e-3 / 8.0),
        ("image.layer4.0.conv2.weight", 1e-3),
        ("text.embeddings.word_embeddings.weight", 1e-3 / 2.0),
        ("text.encoder.layer.0.output.dense.weight", 1e-3),
        ("image_projection.weight", projection),
        ("logit_scale", 2e-3),
    ] {
        assert!(
            (moved(name) / rate - 1.0).abs() < 1e-2,
            "{name} moved by {}, its rate is {rate}",
            moved(name)
        );
    }
}
