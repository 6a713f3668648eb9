//! `clip evaluate --classes` on photographs with labels.

use std::fs;

use serde_json::Value;

use super::{PHOTOS, Ran, World, check_done, run};

/// Shards of the photographs with the label of each in a kept column, and a run on them.
fn world(label: impl Fn(usize) -> String) -> World {
    let world = World::new();
    let mut images: Vec<String> = fs::read_dir(PHOTOS)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".jpg"))
        .collect();
    images.sort();
    let rows = images.iter().enumerate().map(|(row, image)| format!("{image},a photo,{},test\n", label(row)));
    let table = world.path("labels.csv");
    fs::write(&table, "image,caption,kind,split\n".to_owned() + &rows.collect::<String>()).unwrap();
    let (table, out) = (table.to_str().unwrap(), world.path("labelled"));
    let args = ["table", "--table", table, "--images", PHOTOS, "--split-column", "split"];
    let more = ["--keep-columns", "kind", "--size", "32", "--quiet", "--out", out.to_str().unwrap()];
    check_done(&run(env!("CARGO_BIN_EXE_prepare"), &[&args[..], &more].concat()));
    fs::write(world.path("classes.txt"), "coffee\na cat\nrocket\n").unwrap();
    check_done(&world.train("run", &["--set", "run.steps=1"]));
    world
}

fn evaluate(world: &World, more: &[&str]) -> Ran {
    let args = ["evaluate", "--run", "run", "--data", "labelled", "--quiet", "--classes", "classes.txt"];
    world.clip(&[&args[..], more].concat())
}

#[test]
fn images_are_classified_by_name_or_number_with_any_templates() {
    let figures = |world: &World, more: &[&str]| -> Value {
        let ran = evaluate(world, &[&["--label-column", "kind", "--json"], more].concat());
        check_done(&ran);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let named = world(|row| ["coffee", "a cat", "rocket"][row % 3].to_owned());
    let found = figures(&named, &[]);
    let images = found["images"].as_u64().unwrap();
    assert!(images > 3 && found["text_to_image"]["recall@1"].is_number(), "{found}");
    let zero_shot = &found["zero_shot"];
    assert_eq!((zero_shot["images"].as_u64(), zero_shot["classes"].as_u64()), (Some(images), Some(3)));
    assert_eq!(zero_shot["top5"], 1.0, "there are three classes");
    assert!((0.0..=1.0).contains(&zero_shot["top1"].as_f64().unwrap()), "{zero_shot}");

    fs::write(named.path("templates.txt"), "a photo of a {}.\n").unwrap();
    assert_eq!(figures(&named, &["--templates", "templates.txt"]), found, "the default is this one");
    let numbered = world(|row| (row % 3).to_string());
    assert_eq!(figures(&numbered, &[])["zero_shot"], *zero_shot);

    let plain = evaluate(&named, &["--label-column", "kind"]);
    assert!(plain.stdout.lines().last().unwrap().starts_with("3 classes  top-1 "), "{}", plain.stdout);
}

#[test]
fn an_image_whose_class_is_not_known_is_named() {
    let world = world(|_| "tea".to_owned());
    let ran = evaluate(&world, &["--label-column", "kind"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.ends_with("its `kind` is `tea`, none of the 3 classes\n"), "{}", ran.stderr);
    let ran = evaluate(&world, &[]);
    assert!(
        ran.stderr.contains("its meta has no `label`; prepare the data with --keep-columns label"),
        "{}",
        ran.stderr
    );
}
