//! What a run keeps: averages of its weights, its best checkpoint, and only checkpoints of its own.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::events::scalars;
use super::{World, check_done, lines};

const SETS: [&str; 8] = [
    "--set",
    "run.steps=6",
    "--set",
    "run.checkpoint_every=2",
    "--set",
    "run.eval_every=1",
    "--set",
    "optim.ema=0.5",
];

fn state(run: &Path, checkpoint: &str) -> Value {
    let path = run.join("checkpoints").join(checkpoint).join("state.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn evaluations(run: &Path) -> Vec<Value> {
    lines(run).into_iter().filter(|line| !line["evaluation"].is_null()).collect()
}

fn sum(recalls: &Value) -> f64 {
    let ways = ["text_to_image", "image_to_text"];
    let all =
        ways.iter().flat_map(|way| [1, 5, 10].map(|k| recalls[way][format!("recall@{k}")].as_f64().unwrap()));
    all.sum()
}

/// The figures of `clip evaluate` on `val`.
#[track_caller]
fn evaluated(world: &World, more: &[&str]) -> Value {
    let base = ["evaluate", "--run", "run", "--data", "shards", "--split", "val", "--quiet", "--json"];
    let ran = world.clip(&[&base[..], more].concat());
    check_done(&ran);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[track_caller]
fn refused(world: &World, more: &[&str]) -> String {
    let base = ["evaluate", "--run", "run", "--data", "shards", "--split", "val", "--quiet"];
    let ran = world.clip(&[&base[..], more].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    ran.stderr
}

#[test]
fn the_best_checkpoint_is_the_earliest_of_the_largest_recall_sum_and_clip_opens_it() {
    let world = World::with_val(&[]);
    check_done(&world.train("run", &SETS));
    let run = world.path("run");
    let found = evaluations(&run);
    assert_eq!(found.len(), 6);
    let best = found.iter().rev().max_by(|a, b| sum(a).total_cmp(&sum(b))).unwrap();
    let state = state(&run, "best");
    assert_eq!((&state["step"], &state["recall_sum"]), (&best["step"], &json!(sum(best))));
    for line in &found {
        assert_eq!((&line["evaluation"], &line["weights"]), (&json!("val"), &json!("ema")));
    }
    let figures = |more: &[&str]| evaluated(&world, more)["text_to_image"].clone();
    assert_eq!(figures(&["--checkpoint", "best"]), best["text_to_image"]);
    assert_eq!(figures(&[]), found[5]["text_to_image"], "the newest, by its averages");
    assert_eq!(figures(&["--checkpoint", "step-4"]), found[3]["text_to_image"]);
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Best on val") && page.contains("Recall sum"));
}

#[test]
fn weights_and_checkpoint_can_be_chosen_and_what_is_not_there_is_named() {
    let world = World::with_val(&[]);
    check_done(&world.train("run", &SETS));
    let embedded = |weights: &[&str]| {
        let base =
            ["embed", "--run", "run", "--data", "shards", "--split", "val", "--quiet", "--out", "e.parquet"];
        check_done(&world.clip(&[&base[..], weights].concat()));
        fs::read(world.path("e.parquet")).unwrap()
    };
    let (ema, model) = (embedded(&["--weights", "ema"]), embedded(&["--weights", "model"]));
    assert!(ema != model, "the averages are other weights");
    assert!(embedded(&[]) == ema);
    fs::remove_file(world.path("run/checkpoints/step-00000006/ema.safetensors")).unwrap();
    assert!(embedded(&["--checkpoint", "step-6"]) == model);
    let error = refused(&world, &["--checkpoint", "step-6", "--weights", "ema"]);
    assert!(
        error.ends_with("step-00000006: --weights: there is no ema.safetensors; optim.ema makes one\n"),
        "{error}"
    );
    let error = refused(&world, &["--checkpoint", "step-5"]);
    assert_eq!(error, "error: --checkpoint: no folder at run/checkpoints/step-00000005\n");
    fs::remove_dir_all(world.path("run/checkpoints/best")).unwrap();
    let error = refused(&world, &["--checkpoint", "best"]);
    assert!(error.starts_with("error: --checkpoint: run has no best checkpoint"), "{error}");
}

#[test]
fn averages_do_not_change_what_is_trained_and_are_resumed_to_the_bit() {
    let world = World::with_val(&[]);
    check_done(&world.train("whole", &SETS));
    check_done(&world.train("without", &SETS[..4]));
    check_done(&world.train("broken", &SETS));
    for step in ["step-00000006", "best"] {
        fs::remove_dir_all(world.path("broken/checkpoints").join(step)).unwrap();
    }
    check_done(&world.train("broken", &[&SETS[..], &["--resume"]].concat()));
    let bytes = |run: &str, file: &str| {
        fs::read(world.path(run).join("checkpoints/step-00000006").join(file)).unwrap()
    };
    for file in ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "config.toml", "state.json"]
    {
        assert!(bytes("whole", file) == bytes("broken", file), "{file} differs");
    }
    assert!(bytes("whole", "model.safetensors") == bytes("without", "model.safetensors"));
    assert!(bytes("whole", "model.safetensors") != bytes("whole", "ema.safetensors"));
    assert!(!world.path("without/checkpoints/step-00000006/ema.safetensors").exists());
}

#[test]
fn a_foreign_checkpoint_is_refused_by_name_and_the_one_before_is_used() {
    let world = World::with_val(&[]);
    check_done(&world.train("whole", &SETS));
    check_done(&world.train("broken", &SETS));
    check_done(&world.train("other", &[&SETS[..], &["--set", "model.embed_dim=4"]].concat()));
    let newest = world.path("broken/checkpoints/step-00000006");
    let check = |change: &dyn Fn(), message: &str| {
        change();
        let ran = world.train("broken", &[&SETS[..], &["--resume"]].concat());
        check_done(&ran);
        assert!(
            ran.stderr.contains(&format!("{} is left aside: {message}", newest.display())),
            "{}",
            ran.stderr
        );
        let model = |run: &str| {
            fs::read(world.path(run).join("checkpoints/step-00000006/model.safetensors")).unwrap()
        };
        assert!(model("whole") == model("broken"));
    };
    let copy = |file: &str| {
        fs::copy(world.path("other/checkpoints/step-00000006").join(file), newest.join(file)).unwrap();
    };
    check(&|| copy("config.toml"), "it is of another config: model.embed_dim is 4 there, 8 here");
    let flip = |file: &str| {
        let mut bytes = fs::read(newest.join(file)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(newest.join(file), bytes).unwrap();
    };
    for file in ["model.safetensors", "ema.safetensors", "optimizer.safetensors"] {
        check(&|| copy(file), &format!("{file} is damaged: its CRC-32C is"));
        check(&|| flip(file), &format!("{file} is damaged: its CRC-32C is"));
    }
    // As an older version wrote it, without checksums.
    let forget = || {
        let state = fs::read_to_string(newest.join("state.json")).unwrap();
        let mut state: serde_json::Map<String, Value> = serde_json::from_str(&state).unwrap();
        assert!(state.remove("files").is_some());
        fs::write(newest.join("state.json"), Value::Object(state).to_string()).unwrap();
    };
    for file in ["model.safetensors", "ema.safetensors"] {
        let message = format!("{}: the file's tensors do not fit", newest.join(file).display());
        check(&|| (copy(file), forget()).1, &message);
    }
    check(
        &|| fs::write(newest.join("state.json"), r#"{"step":6,"epoch":1}"#).unwrap(),
        "state.json: unknown field `epoch`",
    );
    check(&|| fs::remove_file(newest.join("ema.safetensors")).unwrap(), "cannot read");
}

#[test]
fn a_damaged_model_is_not_evaluated_and_what_is_no_checkpoint_is_passed_over() {
    let world = World::with_val(&[]);
    check_done(&world.train("run", &SETS));
    fs::write(world.path("run/checkpoints/step-00000077"), "mine").unwrap();
    check_done(&world.clip(&["evaluate", "--run", "run", "--data", "shards", "--split", "val"]));
    let model = world.path("run/checkpoints/step-00000006/ema.safetensors");
    let mut bytes = fs::read(&model).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&model, bytes).unwrap();
    let ran = world.clip(&[
        "evaluate",
        "--run",
        "run",
        "--data",
        "shards",
        "--split",
        "val",
        "--checkpoint",
        "step-6",
    ]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("ema.safetensors is damaged: its CRC-32C is"), "{}", ran.stderr);
}

#[test]
fn a_run_that_fails_at_its_first_batch_gives_its_folder_away() {
    let world = World::new();
    let failed = world.train("run", &["--set", "run.steps=2", "--set", "data.captions={synonym=1}"]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    check_done(&world.train("run", &["--set", "run.steps=2"]));
    let again = world.train("run", &["--set", "run.steps=2"]);
    assert!(again.stderr.contains("is not empty; add --resume"), "{}", again.stderr);
}

#[test]
fn a_finished_run_without_its_report_gets_one() {
    let world = World::with_val(&[]);
    check_done(&world.train("run", &SETS));
    let page = world.path("run/report.html");
    let first = fs::read(&page).unwrap();
    fs::remove_file(&page).unwrap();
    check_done(&world.train("run", &[&SETS[..], &["--resume"]].concat()));
    assert!(fs::read(&page).unwrap() == first);
    let again = world.train("run", &[&SETS[..], &["--resume"]].concat());
    assert!(again.stdout.contains("has finished: 6 steps"), "{}", again.stdout);
}

#[test]
fn evaluation_takes_the_first_data_that_has_val_and_says_where_none_has() {
    let world = World::with_val(&[]);
    let none = World::new();
    let eval = [&SETS[..], &["--set", "run.eval_every=3"]].concat();
    let also = world.path("shards");
    check_done(&none.train("run", &[&eval[..], &["--data", also.to_str().unwrap()]].concat()));
    let evaluated =
        |run: &World| lines(&run.path("run")).iter().filter(|line| !line["evaluation"].is_null()).count();
    assert!(evaluated(&none) > 0);
    let alone = World::new();
    let ran = alone.train("run", &eval);
    check_done(&ran);
    assert!(
        ran.stderr.contains("no --data has a split `val` with an image: nothing is evaluated"),
        "{}",
        ran.stderr
    );
    assert_eq!(evaluated(&alone), 0);
}

#[test]
fn events_hold_what_the_metrics_do() {
    let world = World::with_val(&[]);
    check_done(&world.train("run", &SETS));
    let run = world.path("run");
    let scalars = scalars(&run);
    let value = |tag: &str, step: &Value| scalars[&(tag.to_owned(), step.as_u64().unwrap())].clone();
    for line in lines(&run) {
        if line["evaluation"].is_null() {
            let keys = ["loss", "grad_norm", "scale", "lr_text", "pairs_per_second", "wait_share"];
            let tags = [
                "train/loss",
                "train/grad_norm",
                "train/scale",
                "lr/text",
                "data/pairs_per_second",
                "data/wait_share",
            ];
            for (key, tag) in keys.into_iter().zip(tags) {
                assert_eq!(value(tag, &line["step"]), [line[key].as_f64().unwrap() as f32], "{tag}");
            }
        } else {
            assert_eq!(value("val/recall_sum", &line["step"]), [sum(&line) as f32]);
            let recall = line["image_to_text"]["recall@5"].as_f64().unwrap() as f32;
            assert_eq!(value("val/image_to_text/recall@5", &line["step"]), [recall]);
        }
    }
    assert_eq!(scalars.len(), 6 * (8 + 9));
}
