//! What `schemas/` says is what the code does.

use arrow::datatypes::{DataType, Field, Fields};
use pairmill::shard::Pixels;
use pairmill::shard::schema::arrow_schema;
use serde_json::{Value, json};

use crate::json_schema::broken;
use crate::shards::shards;
use crate::world::World;

/// The README's lines for a column and all that is in it.
fn described(prefix: &str, field: &Field, lines: &mut Vec<(String, String)>) {
    let name = format!("{prefix}{}", field.name());
    let null = if field.is_nullable() { ", nullable" } else { "" };
    let mut parts: Option<&Fields> = None;
    let kind = match field.data_type() {
        DataType::Utf8 => "string",
        DataType::Binary => "binary",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::UInt32 => "uint32",
        DataType::Float32 => "float",
        DataType::Boolean => "boolean",
        DataType::Struct(fields) => {
            parts = Some(fields);
            "group"
        }
        DataType::List(element) => match element.data_type() {
            DataType::Struct(fields) => {
                parts = Some(fields);
                "list of groups"
            }
            DataType::Int32 => "list of int32",
            other => panic!("the README has no word for a list of {other}"),
        },
        other => panic!("the README has no word for {other}"),
    };
    lines.push((name.clone(), format!("{kind}{null}")));
    for part in parts.into_iter().flatten() {
        described(&format!("{name}."), part, lines);
    }
}

#[test]
fn the_readme_describes_every_column_with_its_type() {
    let (image, raw) = (arrow_schema(Pixels::Image), arrow_schema(Pixels::Raw { side: 1 }));
    let mut expected = Vec::new();
    for field in image.fields() {
        described("", field, &mut expected);
        if field.name() == "image" {
            described("", raw.field_with_name("pixels").unwrap(), &mut expected);
        }
    }
    let rows = include_str!("../../schemas/README.md").split("\n## Rows").nth(1).unwrap();
    let rows = rows.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let found: Vec<_> =
        cells.map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())).collect();
    assert_eq!(found, expected);
}

fn manifest(world: &World, out: &str) -> Value {
    serde_json::from_slice(&std::fs::read(world.path(out).join("_manifest.json")).unwrap()).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../../schemas/manifest.v1.json")).unwrap()
}

#[test]
fn every_manifest_follows_its_schema() {
    let world = World::with_photos(6);
    world.write("photos/p1.jpg", "no image");
    world.write("photos/p2.jpg", "");
    let flickr = "flickr30k --images photos --captions captions.txt";
    let views = "--views 3 --flip 0.5 --jitter 0.1,0.2,0.3,0.05 --grayscale 0.1";
    world.prepare(&format!("{flickr} {views} --out views"));
    crate::dictionary::write(&world.path("dict"), crate::dictionary::WORDS);
    let texts = "--synonyms 0.5 --wordnet dict --back-translate cat --back-translate-cache cache";
    world.prepare(&format!("{flickr} --encoding raw --fit pad --seed 7 {texts} --out raw"));
    let images = r#"[{"id": 3, "file_name": "p3.jpg"}]"#;
    let captions = r#"[{"image_id": 3, "caption": "x"}, {"image_id": 3, "caption": " "}]"#;
    world.write("coco.json", format!(r#"{{"images": {images}, "annotations": {captions}}}"#));
    world.prepare("coco --images photos --captions val=coco.json --out coco");
    world.write("words.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nphoto\n");
    let (words, out) = (world.path("words.txt"), world.path("again"));
    let line = format!("retokenize --tokenizer {} --out {}", words.display(), out.display());
    assert_eq!(shards(&line, &[&world.path("views")]).0, Some(0));
    for out in ["views", "raw", "coco", "again"] {
        let manifest = manifest(&world, out);
        assert_eq!(broken(&manifest, &schema()), Vec::<String>::new(), "{out}: {manifest:#}");
    }
    assert_eq!(manifest(&world, "views")["rejects"], json!({"empty": 1, "not-an-image": 1}));
}

#[test]
fn a_manifest_that_breaks_its_schema_is_found() {
    let world = World::with_photos(1);
    world.prepare("flickr30k --images photos --captions captions.txt --out out");
    let sound = manifest(&world, "out");
    #[track_caller]
    fn check(sound: &Value, change: impl FnOnce(&mut Value), expected: &[&str]) {
        let mut manifest = sound.clone();
        change(&mut manifest);
        assert_eq!(broken(&manifest, &schema()), expected);
    }
    check(&sound, |_| {}, &[]);
    check(&sound, |m| m["jobs"] = 2.into(), &["/jobs: additionalProperties"]);
    check(&sound, |m| drop(m.as_object_mut().unwrap().remove("seed")), &[": required"]);
    check(&sound, |m| m["schema"] = 2.into(), &["/schema: const"]);
    check(&sound, |m| m["totals"]["rows"] = (-1).into(), &["/totals/rows: minimum"]);
    check(&sound, |m| m["splits"]["train"]["rows"] = "1".into(), &["/splits/train/rows: type"]);
    check(&sound, |m| m["tokenizer"]["sha256"] = "ABC".into(), &["/tokenizer/sha256: pattern"]);
    check(&sound, |m| m["rejects"]["odd"] = 1.into(), &["/rejects/odd: enum"]);
    check(
        &sound,
        |m| m["options"]["inputs"][0]["path"] = "a".into(),
        &["/options/inputs/0/path: additionalProperties"],
    );
}
