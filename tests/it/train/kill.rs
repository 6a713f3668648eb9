//! SIGKILL at random steps, over and over: the keys that `train` saw are those of a run that nobody disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use pairmill::files::sha256_hex;
use serde_json::Value;

use super::events::scalars;
use super::{World, check_done, lines, run};

const STEPS: u64 = 40;

/// Kills of the test; PAIRMILL_KILLS sets another number.
fn kills() -> u64 {
    std::env::var("PAIRMILL_KILLS").map_or(3, |count| count.parse().expect("PAIRMILL_KILLS is a number"))
}

/// Steps whose lines are whole in the metrics of a run that may be at work.
fn written(world: &World, name: &str) -> BTreeMap<u64, Value> {
    let text = fs::read_to_string(world.path(name).join("metrics.jsonl")).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(is_of_step)
        .map(|line| (line["step"].as_u64().unwrap(), line))
        .collect()
}

fn is_of_step(line: &Value) -> bool {
    line["evaluation"].is_null()
}

/// What a line says of a step that is the same whenever the step is done.
fn seen(line: &Value) -> [Value; 3] {
    ["step", "keys_sha256", "loss"].map(|key| line[key].clone())
}

/// Starts the run and kills it some time after the line of step `step` was written; whether it was
/// still at work.
fn killed_after(command: &mut Command, world: &World, name: &str, step: u64, delay: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !written(world, name).contains_key(&step) {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "it ended by itself before step {step}");
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(delay);
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap().code().is_none()
}

/// The digest of each step's keys over all epochs, from what `shards order` prints.
fn ordered(world: &World, steps_per_epoch: u64) -> Vec<String> {
    let shards = world.path("shards");
    let epochs = STEPS.div_ceil(steps_per_epoch);
    let digests = (0..epochs).flat_map(|epoch| {
        let epoch = epoch.to_string();
        let args = ["order", shards.to_str().unwrap(), "--split", "train", "--batch", "4", "--epoch", &epoch];
        let ran = run(env!("CARGO_BIN_EXE_shards"), &[&args[..], &["--drop-last"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let mut keys: BTreeMap<u64, String> = BTreeMap::new();
        for row in ran.stdout.lines().skip(1) {
            let cells: Vec<&str> = row.split('\t').collect();
            *keys.entry(cells[0].parse().unwrap()).or_default() += &format!("{}\n", cells[2]);
        }
        keys.into_values().map(|keys| sha256_hex(keys.as_bytes())).collect::<Vec<_>>()
    });
    digests.take(STEPS as usize).collect()
}

#[track_caller]
fn check_killed(world: &World, more: &[&str]) {
    let steps = format!("run.steps={STEPS}");
    let sets = [&steps[..], "run.checkpoint_every=3", "run.keep_last=2", "run.eval_every=2", "optim.ema=0.9"];
    let sets: Vec<&str> = sets.into_iter().flat_map(|set| ["--set", set]).collect();
    let sets = [&sets[..], more].concat();
    check_done(&world.train("whole", &sets));
    let whole: Vec<[Value; 3]> =
        lines(&world.path("whole")).iter().filter(|line| is_of_step(line)).map(seen).collect();
    let digests: Vec<&str> = whole.iter().map(|[_, keys, _]| keys.as_str().unwrap()).collect();
    assert_eq!(digests, ordered(world, 3), "`shards order` prints what `train` sees");

    let resumed = [&sets[..], &["--resume"]].concat();
    let (mut chance, mut left) = (crate::kill::Chance(8), kills());
    let mut begun = 0;
    while left > 0 {
        // Somewhere between the first line of this process and what is still to be done.
        let step = begun + chance.below((STEPS - begun).min(2 * STEPS / kills().max(1)).max(1));
        let delay = Duration::from_micros(chance.below(20_000));
        if killed_after(&mut world.command("broken", &resumed), world, "broken", step, delay) {
            left -= 1;
            let lines = written(world, "broken");
            for (step, line) in &lines {
                assert_eq!(seen(line), whole[*step as usize], "step {step}, which may have been done twice");
            }
            begun = lines.keys().last().map_or(0, |last| last + 1).min(STEPS - 1);
        } else {
            fs::remove_dir_all(world.path("broken")).unwrap(); // it was done before its kill
            begun = 0;
        }
    }
    check_done(&world.train("broken", &resumed));
    let of_both = |of: &dyn Fn(&Path) -> Vec<Value>| ["whole", "broken"].map(|run| of(&world.path(run)));
    let steps = |run: &Path| lines(run).iter().filter(|line| is_of_step(line)).flat_map(seen).collect();
    let [undisturbed, broken] = of_both(&steps);
    assert_eq!(broken, undisturbed, "every step once, with its keys and its loss");
    let evaluations = |run: &Path| lines(run).into_iter().filter(|line| !is_of_step(line)).collect();
    let [undisturbed, broken] = of_both(&evaluations);
    assert_eq!((broken.len(), broken), (20, undisturbed), "every evaluation once, with its recalls");
    let points = |run: &str| {
        let mut all = scalars(&world.path(run));
        all.retain(|(tag, _), _| !tag.starts_with("data/"));
        assert!(all.values().all(|values| values.len() == 1), "a point is there twice");
        all
    };
    assert_eq!(points("broken"), points("whole"), "the events, too, have every point once");
    for (checkpoint, file) in [
        ("step-00000040", "model.safetensors"),
        ("step-00000040", "ema.safetensors"),
        ("step-00000040", "optimizer.safetensors"),
        ("best", "ema.safetensors"),
        ("best", "state.json"),
    ] {
        let bytes =
            |run: &str| fs::read(world.path(run).join("checkpoints").join(checkpoint).join(file)).unwrap();
        assert!(bytes("whole") == bytes("broken"), "{file} of {checkpoint} differs");
    }
}

#[test]
fn a_run_that_is_killed_at_random_steps_sees_the_keys_of_one_that_is_not() {
    check_killed(&World::with_val(&[]), &[]);
}

#[test]
fn kills_change_nothing_where_features_of_frozen_towers_are_kept() {
    let world = World::with_val(&["--views", "2", "--flip", "0.5"]);
    let both = "'image', 'text', 'projection'";
    let stages = world.stages(&[(4, "'projection'"), (1, both), (7, "'text', 'projection'"), (9, both)]);
    check_killed(&world, &stages.each_ref().map(String::as_str));
}
