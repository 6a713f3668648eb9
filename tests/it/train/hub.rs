//! Weights from Hugging Face's hub: from its cache, and what is said where there is no network.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{World, check_done, ran};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// `train` of a small model, but for its text tower, with a cache of its own and a hub that nobody answers for.
fn train(world: &World, sets: &[&str]) -> Command {
    let small =
        ["model.image={layers=[1,1,1,1],width=4}", "model.embed_dim=8", "data.batch=4", "data.crop=32"];
    let rates = ["run.steps=1", "optim.lr_image=0.0", "optim.lr_text=0.0", "optim.lr_projection=0.0"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
    command.arg("--quiet").arg("--data").arg(world.path("shards")).arg("--out").arg(world.path("run"));
    command.args(small.iter().chain(&rates).chain(sets).flat_map(|set| ["--set", set]));
    command.env("HF_HOME", world.path("hf")).env("HF_ENDPOINT", "http://127.0.0.1:9");
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"] {
        command.env_remove(proxy);
    }
    command
}

/// Puts a file into the cache as the hub's own tools do.
fn cache(world: &World, name: &str, bytes: &[u8]) {
    let repo = world.path("hf/hub/models--somebody--towers");
    let write = |path: &Path, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write(&repo.join("refs/main"), COMMIT.as_bytes());
    write(&repo.join("snapshots").join(COMMIT).join(name), bytes);
}

#[test]
fn without_a_network_the_file_and_the_way_out_are_named() {
    let world = World::new();
    let failed = ran(&mut train(&world, &["model.text=hf://somebody/towers@v2"]));
    assert_eq!(failed.code, Some(1));
    let cache = world.path("hf/hub");
    let begin = format!(
        "error: model.text: config.json of hf://somebody/towers@v2 is not in {} and cannot be fetched (",
        cache.display()
    );
    let end = "); without a network, run `hf download somebody/towers config.json --revision v2` where there is one \
               and bring its cache here (HF_HOME names the folder around `hub`), or name a local path instead\n";
    assert!(failed.stderr.starts_with(&begin), "{}", failed.stderr);
    assert!(failed.stderr.ends_with(end), "{}", failed.stderr);
}

#[test]
fn what_the_cache_has_needs_no_network() {
    let world = World::new();
    check_done(&world.train("first", &["--set", "run.steps=1"]));
    let checkpoint = world.path("first/checkpoints/step-00000001/model.safetensors");
    cache(&world, "model.safetensors", &fs::read(&checkpoint).unwrap());
    cache(
        &world,
        "small/config.json",
        br#"{"hidden_size":16,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":32}"#,
    );
    let text = format!("model.text=hf://somebody/towers@{COMMIT}/small/config.json");
    check_done(&ran(&mut train(&world, &["model.init=hf://somebody/towers", &text])));
    let tensors = |path: &Path| pairmill::train::weights::read_tensors(path).unwrap();
    let (before, after) = (tensors(&checkpoint), tensors(&world.path("run/checkpoints/step-00000001")));
    assert!(before["image_projection.weight"].equal(&after["image_projection.weight"]), "it began there");
}
