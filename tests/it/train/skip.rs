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

#[track_caller]
fn check_stuck(ran: &Ran, steps: u64, last: u64) {
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stderr,
        format!(
            "error: loss or gradient was not finite in {steps} steps in a row, up to step {last}; none of them \
             changed the weights, and checkpoints/step-{:08} holds these; lower the rates or clip the gradient\n",
            last + 1
        )
    );
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
    // A step's loss is read while the next one is at work, so there is an eleventh.
    check_stuck(&world.train("run", &TOO_FAST), 11, 11);
    check_counted(&world.path("run"), 11);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let bytes = |step: &str| fs::read(world.path("run/checkpoints").join(step).join(file)).unwrap();
        assert!(bytes("step-00000004") == bytes("step-00000012"), "{file} moved");
    }
}

#[test]
fn a_resumed_run_goes_on_counting_skipped_steps() {
    let world = World::new();
    check_stuck(&world.train("run", &TOO_FAST), 11, 11);
    let resume = [&TOO_FAST[..], &["--resume"]].concat();
    // A kill after the eighth step: seven were skipped in a row.
    fs::remove_dir_all(world.path("run/checkpoints/step-00000012")).unwrap();
    check_stuck(&world.train("run", &resume), 11, 11);
    check_counted(&world.path("run"), 11);
    // From where it was stuck, as many are tried again.
    check_stuck(&world.train("run", &resume), 11, 22);
    check_counted(&world.path("run"), 22);
}

#[test]
fn a_run_that_skips_a_step_now_and_then_ends_well() {
    let world = World::new();
    check_done(&world.train("run", &["--set", "run.steps=5", "--set", "optim.lr_text=1e30"]));
    let losses: Vec<bool> =
        lines(&world.path("run")).iter().map(|line| line["loss"] == Value::Null).collect();
    assert_eq!(losses, [false, true, true, true, true]);
}
