//! Steps whose loss or gradient is not finite change nothing and are counted; ten in a row end a run.

use std::fs;
use std::path::Path;

use pairmill::train::trainer::Trainer;
use serde_json::Value;
use tch::{Device, Tensor};

use super::{Ran, World, batches, check_done, lines, resolved};

/// What a step may move.
fn everything(trainer: &Trainer) -> Vec<(String, Tensor)> {
    let mut all: Vec<_> =
        trainer.store().variables().into_iter().chain(trainer.optimizer().state()).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn a_step_whose_gradient_is_no_number_leaves_no_trace() {
    let world = World::new();
    let config = resolved(&["run.steps=3", "model.dropout=0", "optim.clip_grad=1"]);
    let [mut whole, mut broken] = [(); 2].map(|()| Trainer::new(&config, 3, Device::Cpu).unwrap());
    let weights = whole.store().variables();
    tch::no_grad(|| broken.store().variables().iter_mut().for_each(|(name, to)| to.copy_(&weights[name])));
    for (step, batch) in (0..).zip(batches(&world, &config)) {
        let mut first = broken.store().variables()["image.conv1.weight"].detach();
        let kept = first.copy();
        if step == 1 {
            let _ = first.fill_(f64::NAN);
        } else {
            assert_eq!(whole.step(&batch, step).unwrap().skipped.double_value(&[]), 0.0);
        }
        assert_eq!(
            broken.step(&batch, step).unwrap().skipped.double_value(&[]),
            f64::from(u8::from(step == 1))
        );
        if step == 1 {
            first.copy_(&kept);
        }
    }
    let (whole, broken) = (everything(&whole), everything(&broken));
    assert_eq!(whole.len(), broken.len());
    for ((name, one), (_, other)) in whole.iter().zip(&broken) {
        assert!(one.equal(other), "{name} differs");
    }
}

/// Weights that overflow after their first update.
const TOO_FAST: [&str; 6] =
    ["--set", "optim.lr_text=1e30", "--set", "run.steps=50", "--set", "run.checkpoint_every=4"];

/// Ten steps in a row up to step `last`.
#[track_caller]
fn check_stuck(ran: &Ran, last: u64) {
    assert_eq!(ran.code, Some(1));
    let start = format!(
        "error: loss or gradient was not finite in 10 steps in a row, up to step {last}; none of them changed the weights, \
         which checkpoints/step-{:08} holds.",
        last + 1
    );
    assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
    assert!(ran.stderr.contains("--set model.init="), "{}", ran.stderr);
}

/// Lines count the steps without a loss.
#[track_caller]
fn check_counted(run: &Path, last: u64) {
    let lines = lines(run);
    assert_eq!(lines.len() as u64, last + 1);
    assert!(lines[0]["loss"].is_f64(), "{}", lines[0]);
    for (step, line) in lines.iter().enumerate() {
        assert_eq!(line["skipped_steps"], step, "{line}");
        assert!(step == 0 || line["loss"].is_null(), "{line}");
    }
}

#[test]
fn ten_skipped_steps_in_a_row_end_the_run_with_a_checkpoint_of_the_last_good_weights() {
    let world = World::new();
    check_stuck(&world.train("run", &TOO_FAST), 10);
    check_counted(&world.path("run"), 10);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let bytes = |step: &str| fs::read(world.path("run/checkpoints").join(step).join(file)).unwrap();
        assert!(bytes("step-00000004") == bytes("step-00000011"), "{file} moved");
    }
}

#[test]
fn a_row_of_skipped_steps_pushes_no_checkpoint_out() {
    let world = World::new();
    let stage = |name: &str, steps: u64, lr: &str| {
        format!("{{name=\"{name}\",train=[\"image\",\"text\",\"projection\"],steps={steps},lr_text={lr}}}")
    };
    let stages = format!("stage=[{},{}]", stage("good", 4, "1e-3"), stage("mad", 40, "1e30"));
    let sets = ["--set", &stages, "--set", "run.checkpoint_every=2", "--set", "run.keep_last=1"];
    check_stuck(&world.train("run", &sets), 14);
    let kept = |step: u64| world.path(&format!("run/checkpoints/step-{step:08}")).exists();
    assert!(kept(4), "the last checkpoint before the mad stage");
    assert!(kept(15) && !kept(2));
}

#[test]
fn a_resumed_run_goes_on_counting_skipped_steps() {
    let world = World::new();
    check_stuck(&world.train("run", &TOO_FAST), 10);
    let resume = [&TOO_FAST[..], &["--resume"]].concat();
    // A kill after the eighth step: seven were skipped in a row.
    fs::remove_dir_all(world.path("run/checkpoints/step-00000011")).unwrap();
    check_stuck(&world.train("run", &resume), 10);
    check_counted(&world.path("run"), 10);
    // From where it was stuck, as many are tried again.
    check_stuck(&world.train("run", &resume), 20);
    check_counted(&world.path("run"), 20);
}

#[test]
fn a_run_that_is_never_finite_says_where_to_look() {
    let world = World::new();
    check_done(&world.train("good", &["--set", "run.steps=1"]));
    let model = world.path("good/checkpoints/step-00000001/model.safetensors");
    let mut bytes = fs::read(&model).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(world.path("nan.safetensors"), bytes).unwrap();
    let init = format!("model.init={}", world.path("nan.safetensors").display());
    let ran = world.train("run", &["--set", &init, "--set", "run.steps=50"]);
    assert_eq!(ran.code, Some(1));
    let expected = "error: loss or gradient was not finite in any of 10 steps: look at the weights";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
}

#[test]
fn a_picture_alone_at_a_norm_of_one_pixel_is_an_error_and_not_a_statistic() {
    let world = World::new();
    let ran = world.train("run", &["--set", "run.steps=2", "--set", "data.micro_batch=1"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("passes the image tower alone gives a BatchNorm that trains"),
        "{}",
        ran.stderr
    );
    let frozen = r#"stage=[{name="text",steps=2,train=["text","projection"]}]"#;
    check_done(&world.train("frozen", &["--set", frozen, "--set", "data.micro_batch=1"]));
}

#[test]
fn a_fixed_temperature_stays_where_it_is_and_below_the_largest() {
    let world = World::new();
    let scales = |run: &str, most: &str| -> Vec<f64> {
        let sets = ["--set", "run.steps=3", "--set", "optim.lr_scale=0", "--set", most];
        check_done(&world.train(run, &sets));
        lines(&world.path(run)).iter().map(|line| line["scale"].as_f64().unwrap()).collect()
    };
    let near = |scales: &[f64], expected: [f64; 3]| {
        assert!(
            scales.iter().zip(expected).all(|(scale, wanted)| (scale - wanted).abs() < 1e-4),
            "{scales:?}"
        );
    };
    near(&scales("free", "optim.max_scale=100"), [1.0 / 0.07; 3]);
    near(&scales("clamped", "optim.max_scale=10"), [1.0 / 0.07, 10.0, 10.0]);
}

#[test]
fn a_run_that_skips_a_step_now_and_then_ends_well() {
    let world = World::new();
    check_done(&world.train("run", &["--set", "run.steps=5", "--set", "optim.lr_text=1e30"]));
    let losses: Vec<bool> =
        lines(&world.path("run")).iter().map(|line| line["loss"] == Value::Null).collect();
    assert_eq!(losses, [false, true, true, true, true]);
}
