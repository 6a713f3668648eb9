//! `train` and `clip` on the bundled photographs with a model of a few thousand weights.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pairmill::load::{Batch, Cursor, start};
use pairmill::shard::Dataset;
use pairmill::store::Location;
use pairmill::train::config::Config;
use pairmill::train::{feed, settings};
use serde_json::Value;

mod bad_samples;
mod compute;
mod events;
mod export;
mod features;
mod hub;
mod kept;
mod kill;
mod lock;
mod losses;
mod replay;
mod skip;
mod zero_shot;

use crate::shards::listed;

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos");

/// A model and a run small enough for a debug build.
const SMALL: [&str; 8] = [
    "model.image={layers=[1,1,1,1],width=4}",
    "model.text={hidden_size=16,num_hidden_layers=1,num_attention_heads=2,intermediate_size=32}",
    "model.embed_dim=8",
    "data.batch=4",
    "data.crop=32",
    "run.threads=1",
    "optim.lr_image=1e-3",
    "optim.lr_text=1e-3",
];

/// Shards of the photographs, and a folder for runs.
struct World {
    folder: tempfile::TempDir,
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl World {
    fn new() -> Self {
        Self::prepared(&[])
    }

    /// Shards made with `more` flags.
    fn prepared(more: &[&str]) -> Self {
        let captions = format!("{PHOTOS}/captions.txt");
        let source = ["flickr30k", "--captions", &captions];
        Self { folder: tempfile::tempdir().unwrap() }.filled(&[&source[..], more].concat())
    }

    /// The same rows in the split `val` too; shards made with `more` flags.
    fn with_val(more: &[&str]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        let mut rows = csv::Reader::from_path(format!("{PHOTOS}/captions.txt")).unwrap();
        let mut table = csv::Writer::from_path(world.path("pairs.csv")).unwrap();
        table.write_record(["image", "caption", "split"]).unwrap();
        for row in rows.records().map(Result::unwrap) {
            ["train", "val"].iter().for_each(|split| table.write_record([&row[0], &row[1], split]).unwrap());
        }
        table.flush().unwrap();
        let table = world.path("pairs.csv");
        let columns = ["--key-column", "image", "--split-column", "split"];
        world.filled(&[&["table", "--table", table.to_str().unwrap()][..], &columns, more].concat())
    }

    /// Prepares the photographs from a source into small shards.
    fn filled(self, source: &[&str]) -> Self {
        let shards = self.path("shards");
        let more = ["--images", PHOTOS, "--out", shards.to_str().unwrap(), "--size", "32", "--quiet"];
        let ran = run(env!("CARGO_BIN_EXE_prepare"), &[source, &more].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A config file of stages; gives back the flags that name it.
    fn stages(&self, stages: &[(u64, &str)]) -> [String; 2] {
        let stage = |(at, (epochs, train)): (usize, &(u64, &str))| {
            format!("[[stage]]\nname = 'stage {at}'\nepochs = {epochs}\ntrain = [{train}]\n")
        };
        let path = self.path("stages.toml");
        fs::write(&path, stages.iter().enumerate().map(stage).collect::<String>()).unwrap();
        ["--config".to_owned(), path.to_str().unwrap().to_owned()]
    }

    /// `train` of the small model into `out`.
    fn train(&self, out: &str, more: &[&str]) -> Ran {
        ran(&mut self.command(out, more))
    }

    fn command(&self, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command.arg("--quiet").arg("--data").arg(self.path("shards")).arg("--out").arg(self.path(out));
        command.args(SMALL.iter().flat_map(|set| ["--set", set])).args(more);
        command
    }

    fn clip(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clip"));
        ran(command.current_dir(self.folder.path()).args(args))
    }
}

/// The config of the small model with `more`.
fn resolved(more: &[&str]) -> Config {
    let sets: Vec<String> = SMALL.iter().chain(more).map(|&set| set.to_owned()).collect();
    settings::resolve(None, None, &sets).unwrap()
}

/// What `train` reads in its first epoch.
fn batches(world: &World, config: &Config) -> impl Iterator<Item = Batch> {
    let data = [Dataset::open(&Location::local(world.path("shards"))).unwrap()];
    let batcher = feed::batcher(&data, config).unwrap();
    start(batcher, Cursor { epoch: 0, step: 0 }, 1, 1, 1).map(Result::unwrap)
}

fn run(program: &str, args: &[&str]) -> Ran {
    ran(Command::new(program).args(args))
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn lines(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn check_done(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one() {
    let world = World::new();
    let sets = ["--set", "run.steps=6", "--set", "run.checkpoint_every=2", "--set", "optim.warmup=2"];
    check_done(&world.train("whole", &sets));
    check_done(&world.train("broken", &sets));
    let broken = world.path("broken");
    // What a kill between the fourth and the sixth step leaves: a torn checkpoint and a line too many.
    fs::write(broken.join("checkpoints/step-00000006/optimizer.safetensors"), b"torn").unwrap();
    let resumed = world.train("broken", &[&sets[..], &["--resume"]].concat());
    check_done(&resumed);
    assert!(resumed.stderr.contains("step-00000006 is left aside"), "{}", resumed.stderr);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let bytes =
            |run: &str| fs::read(world.path(run).join("checkpoints/step-00000006").join(file)).unwrap();
        assert!(bytes("whole") == bytes("broken"), "{file} differs");
    }
    let losses =
        |run: &str| lines(&world.path(run)).iter().map(|line| line["loss"].clone()).collect::<Vec<_>>();
    assert_eq!(losses("whole"), losses("broken"));
    let again = world.train("broken", &[&sets[..], &["--resume"]].concat());
    assert!(again.stdout.ends_with("has finished: 6 steps\n"), "{}", again.stdout);
}

#[test]
fn a_line_has_what_the_contract_names_and_a_frozen_tower_has_no_rate() {
    let world = World::new();
    let config = world.path("stages.toml");
    let text = "[[stage]]\nname = 'text first'\nsteps = 2\ntrain = ['text', 'projection']\n\
                [[stage]]\nname = 'both'\nsteps = 1\ntrain = ['image', 'text', 'projection']\nlr_image = 5e-4\n";
    fs::write(&config, text).unwrap();
    check_done(
        &world.train("run", &["--config", config.to_str().unwrap(), "--set", "optim.schedule=constant"]),
    );
    let lines = lines(&world.path("run"));
    let keys = [
        "step",
        "epoch",
        "stage",
        "loss",
        "lr_image",
        "lr_text",
        "lr_projection",
        "grad_norm",
        "scale",
        "pairs_per_second",
        "wait_seconds",
        "skipped_steps",
        "wait_share",
        "queued",
        "full_seconds",
        "read_mb",
        "decode_seconds",
        "bad_samples",
        "keys_sha256",
    ];
    for (step, line) in lines.iter().enumerate() {
        assert!(keys.iter().all(|key| !line[*key].is_null()), "{line}");
        assert_eq!(line["step"], step);
    }
    let rates: Vec<f64> = lines.iter().map(|line| line["lr_image"].as_f64().unwrap()).collect();
    assert_eq!(rates, [0.0, 0.0, 5e-4]);
    assert_eq!(lines[2]["stage"], "both");
    assert!((lines[0]["scale"].as_f64().unwrap() - 1.0 / 0.07).abs() < 1e-4, "{}", lines[0]);
}

#[test]
fn an_augmented_run_is_the_same_again_and_another_than_a_plain_one() {
    let world = World::new();
    let sets = ["run.steps=4", "run.checkpoint_every=2", "data.flip=0.5", "data.jitter=[0.4,0.4,0.4,0.1]"];
    let sets: Vec<&str> = sets
        .iter()
        .chain(&["data.crop=24", "data.random_crop=true"])
        .flat_map(|set| ["--set", set])
        .collect();
    check_done(&world.train("whole", &sets));
    check_done(&world.train("broken", &sets));
    fs::remove_dir_all(world.path("broken/checkpoints/step-00000004")).unwrap();
    check_done(&world.train("broken", &[&sets[..], &["--resume"]].concat()));
    check_done(&world.train("plain", &["--set", "run.steps=4", "--set", "data.crop=24"]));
    let losses =
        |run: &str| lines(&world.path(run)).iter().map(|line| line["loss"].clone()).collect::<Vec<_>>();
    assert_eq!(losses("whole"), losses("broken"));
    assert_ne!(losses("whole"), losses("plain"));
    assert!(losses("whole").iter().all(Value::is_f64), "{:?}", losses("whole"));
}

#[test]
fn a_frozen_tower_does_not_move_at_all() {
    let world = World::new();
    let config = world.path("stages.toml");
    fs::write(&config, "[[stage]]\nname = 'text'\nsteps = 3\ntrain = ['text', 'projection']\n").unwrap();
    let stages = ["--config", config.to_str().unwrap()];
    check_done(&world.train("long", &stages));
    check_done(&world.train("short", &[&stages[..], &["--set", "run.steps=1"]].concat()));
    let tensors = |run: &str, step: &str| {
        let path = world.path(run).join("checkpoints").join(step).join("model.safetensors");
        pairmill::train::weights::read_tensors(&path).unwrap()
    };
    let (after_three, after_one) = (tensors("long", "step-00000003"), tensors("short", "step-00000001"));
    let mut moved = 0;
    for (name, tensor) in &after_three {
        let same = tensor.equal(&after_one[name]);
        assert!(same || !name.starts_with("image."), "{name} moved");
        moved += usize::from(!same);
    }
    assert!(moved > 10, "only {moved} tensors moved");
}

#[test]
fn a_run_is_evaluated_embedded_and_searched() {
    let world = World::new();
    check_done(&world.train("run", &["--set", "run.steps=3"]));
    assert!(world.path("run/report.html").is_file());
    let base = ["--run", "run", "--data", "shards", "--split", "train", "--quiet"];
    let evaluated = world.clip(&[&["evaluate", "--json"], &base[..]].concat());
    check_done(&evaluated);
    let figures: Value = serde_json::from_str(&evaluated.stdout).unwrap();
    assert_eq!((&figures["images"], &figures["captions"]), (&Value::from(12), &Value::from(60)));
    for way in ["text_to_image", "image_to_text"] {
        for key in ["recall@1", "recall@5", "recall@10", "median_rank"] {
            assert!(figures[way][key].is_number(), "{way} {key}: {figures}");
        }
    }
    let embedded = world.clip(&[&["embed", "--out", "emb.parquet"], &base[..]].concat());
    check_done(&embedded);
    assert_eq!(embedded.stdout, "12 images and 60 captions in emb.parquet\n");
    let search = ["search", "--run", "run", "--index", "emb.parquet", "a cat", "-k", "3", "--data", "shards"];
    let found = world.clip(&[&search[..], &["--html", "found.html"]].concat());
    check_done(&found);
    assert_eq!(found.stdout.lines().count(), 3, "{}", found.stdout);
    let page = fs::read_to_string(world.path("found.html")).unwrap();
    assert_eq!(page.matches("data:image/jpeg").count(), 3);
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let world = World::new();
    let check = |more: &[&str], message: &str| {
        let ran = world.train("refused", more);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
        assert!(!world.path("refused/checkpoints").exists());
        let _ = fs::remove_dir_all(world.path("refused"));
    };
    check(
        &["--set", "data.crop=33"],
        "a crop of 33 pixels is larger than the stored pictures, which have 32",
    );
    check(&["--set", "model.text={vocab_size=100}"], "have a vocabulary of 30522, the text model one of 100");
    check(&["--set", "data.batch=13"], "a batch of 13 is larger than the 12 rows of split `train`");
    check(&["--set", "model.init=nowhere.safetensors"], "nowhere.safetensors");
    check(&["--set", "optim.lr_txt=1"], "there is no key `optim.lr_txt`; did you mean `lr_text`?");
    check(&["--set", "optim.layer_decay=1.5"], "optim.layer_decay is 1.5; it must be in (0, 1]");
    check(&["--device", "cuda:77"], "--device: cuda:77 ");
}

#[test]
fn a_finished_run_is_not_overwritten_and_other_shards_are_refused() {
    let world = World::new();
    check_done(&world.train("run", &["--set", "run.steps=1"]));
    let ran = world.train("run", &["--set", "run.steps=1"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("is not empty; add --resume to go on"), "{}", ran.stderr);
    let ran = world.train("run", &["--set", "run.steps=2", "--resume"]);
    assert!(ran.stderr.contains("run.steps is 1 there, 2 here"), "{}", ran.stderr);
    fs::remove_dir_all(world.path("shards")).unwrap();
    let shards = world.path("shards");
    let captions = format!("{PHOTOS}/captions.txt");
    let args = ["flickr30k", "--images", PHOTOS, "--captions", &captions, "--size", "40", "--quiet", "--out"];
    check_done(&run(env!("CARGO_BIN_EXE_prepare"), &[&args[..], &[shards.to_str().unwrap()]].concat()));
    let ran = world.train("run", &["--set", "run.steps=1", "--resume"]);
    assert!(ran.stderr.contains("it was trained on other shards"), "{}", ran.stderr);
}

/// What `train`'s own loader delivers in epoch 1, and what `shards order` says of it.
#[track_caller]
fn check_listed(shuffle: &str) {
    let world = World::new();
    let shards = world.path("shards");
    let data = [Dataset::open(&Location::local(&shards)).unwrap()];
    let mine = ["data.batch=5", "data.drop_last=false", "run.seed=9", &format!("data.shuffle={shuffle}")];
    let sets: Vec<String> = SMALL.iter().chain(&mine).map(|&set| set.to_owned()).collect();
    let batcher = feed::batcher(&data, &settings::resolve(None, None, &sets).unwrap()).unwrap();
    let mut delivered = Vec::new();
    for batch in start(batcher, Cursor { epoch: 1, step: 0 }, 2, 2, 2).map(Result::unwrap) {
        for (row, key) in batch.keys.iter().enumerate() {
            let (view, caption) = (batch.views[row].to_string(), batch.captions[row].to_string());
            delivered.push([batch.step.to_string(), "0".into(), key.to_owned(), view, caption]);
        }
    }
    assert_eq!(delivered.len(), 12);
    let flags = format!("--batch 5 --seed 9 --epoch 1 --shuffle {shuffle}");
    assert_eq!(listed(&flags, &[&shards]), delivered);
}

#[test]
fn a_listed_order_is_what_train_reads() {
    check_listed("full");
    check_listed("window:5");
    check_listed("none");
}
