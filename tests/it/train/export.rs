//! What `clip export` writes, read back.

use std::fs;

use pairmill::train::model::Mode;
use pairmill::train::trained::{Choice, Trained};
use pairmill::train::weights::read_tensors;
use serde_json::Value;
use tch::{CModule, Device, Kind, Tensor};

use super::{World, check_done};

fn exported(format: &str) -> World {
    let world = World::new();
    check_done(&world.train("run", &["--set", "run.steps=3"]));
    let ran = world.clip(&["export", "--run", "run", "--format", format, "--out", "deep/exported"]);
    check_done(&ran);
    assert_eq!(ran.stdout, "step 3 in deep/exported\n");
    world
}

fn names(world: &World, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(world.path(folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn safetensors_have_the_towers_libraries_names_and_the_checkpoints_values() {
    let world = exported("safetensors");
    let files = ["config.json", "image.safetensors", "load.py", "projections.safetensors", "text"];
    assert_eq!(names(&world, "deep/exported"), files);
    let text_files =
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"];
    assert_eq!(names(&world, "deep/exported/text"), text_files);

    let read = |file: &str| read_tensors(&world.path("deep/exported").join(file)).unwrap();
    let (image, text) = (read("image.safetensors"), read("text/model.safetensors"));
    let rest = read("projections.safetensors");
    let model = read_tensors(&world.path("run/checkpoints/step-00000003")).unwrap();
    let mut left = model.len();
    for (prefix, tensors) in [("image.", &image), ("text.", &text), ("", &rest)] {
        for (name, tensor) in tensors.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
            assert!(tensor.equal(&model[&format!("{prefix}{name}")]), "{prefix}{name}");
            left -= 1;
        }
    }
    assert_eq!(left, 0, "every tensor of the checkpoint is in one of the files");
    assert!(image.contains_key("layer1.0.bn3.num_batches_tracked"));
    assert!(text.contains_key("encoder.layer.0.attention.self.query.weight"));
    let json = |file: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(world.path("deep/exported").join(file)).unwrap()).unwrap()
    };
    assert_eq!(
        (&json("text/config.json")["model_type"], &json("config.json")["image"]["crop"]),
        (&"bert".into(), &32.into())
    );
    let loader = fs::read_to_string(world.path("deep/exported/load.py")).unwrap();
    assert!(loader.lines().count() <= 30, "{} lines", loader.lines().count());
}

#[test]
fn traced_towers_serve_every_batch_and_length() {
    let world = exported("torchscript");
    let trained = Trained::open(&world.path("run"), "cpu", Choice::default()).unwrap();
    let load = |file: &str| CModule::load(world.path("deep/exported").join(file)).unwrap();
    let (image, text) = (load("image.pt"), load("text.pt"));
    let _guard = tch::no_grad_guard();
    let check = |traced: Tensor, ours: Tensor, what: &str| {
        assert_eq!(traced.size(), ours.size(), "{what}");
        let apart = (traced - ours).abs().max().double_value(&[]);
        assert!(apart < 1e-6, "{what}: {apart} apart");
    };
    for (batch, side) in [(1, 32), (2, 32), (7, 32), (3, 48)] {
        let pixels = Tensor::randn([batch, 3, side, side], (Kind::Float, Device::Cpu));
        let ours = trained.clip().encode_image(&pixels, Mode::Eval);
        check(image.forward_ts(&[pixels]).unwrap(), ours, &format!("{batch} pictures of side {side}"));
    }
    for (batch, length) in [(1, 2), (2, 3), (5, 17), (9, 64)] {
        let tokens = Tensor::randint_low(1000, 30000, [batch, length], (Kind::Int64, Device::Cpu));
        let mask = tokens.ones_like();
        let _ = mask.get(0).narrow(0, 1, length - 1).fill_(0); // a short first row
        let ours = trained.clip().encode_text(&tokens, &mask, Mode::Eval);
        check(text.forward_ts(&[tokens, mask]).unwrap(), ours, &format!("{batch} texts of {length} tokens"));
    }
}

#[test]
fn a_folder_in_use_is_not_written_into() {
    let world = exported("torchscript");
    let ran = world.clip(&["export", "--run", "run", "--format", "torchscript", "--out", "deep/exported"]);
    let expected = "error: --out: deep/exported is not an empty folder; name another\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), expected));
    assert_eq!(names(&world, "deep"), ["exported"], "nothing is left beside it");
}
