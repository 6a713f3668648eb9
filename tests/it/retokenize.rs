//! `shards retokenize`: what `prepare` would have written with that tokenizer.

use std::fs;

use crate::shards::shards;
use crate::world::World;

const FLICKR: &str = "flickr30k --images photos --captions captions.txt --shard-rows 70 --views 2 --flip 0.5";
const OTHER: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nphoto\nnumber\n,\nagain\n1\n##2\n";

/// A dataset of two shards a view with a reject in it, `out`; and `other.txt`, another vocabulary.
fn world() -> World {
    let world = World::with_photos(90);
    world.write("photos/p20.jpg", "no image");
    world.write("other.txt", OTHER);
    world.prepare(&format!("{FLICKR} --out out"));
    world
}

fn retokenize(world: &World, flags: &str, out: &str) -> (Option<i32>, String, String) {
    let (tokenizer, out) = (world.path("other.txt"), world.path(out));
    let flags = format!("retokenize {flags} --tokenizer {} --out {}", tokenizer.display(), out.display());
    shards(&flags, &[&world.path("out")])
}

#[test]
fn the_result_is_what_prepare_writes_with_that_tokenizer() {
    let world = world();
    let (code, stdout, stderr) = retokenize(&world, "--max-tokens 5", "again");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let again = world.path("again");
    assert_eq!(stdout, format!("{}: 4 shards; 11 token ids, at most 5 a caption\n", again.display()));
    world.prepare(&format!("{FLICKR} --tokenizer other.txt --max-tokens 5 --out fresh"));
    world.same("again", "fresh");
    let (old, new) = (world.rows("out", "train", 1), world.rows("again", "train", 1));
    assert_eq!(new.len(), 89);
    for (old, new) in old.iter().zip(&new) {
        assert_eq!((&old.key, &old.stored), (&new.key, &new.stored));
    }
    assert_eq!(new[1].captions[1].tokens.0, [2, 6, 9, 7, 3]);

    retokenize(&world, "", "long");
    world.prepare(&format!("{FLICKR} --tokenizer other.txt --out long-fresh"));
    world.same("long", "long-fresh");
}

#[test]
fn a_run_that_was_stopped_goes_on_and_a_finished_one_says_so() {
    let world = world();
    retokenize(&world, "", "whole");
    retokenize(&world, "", "again");
    for name in ["_manifest.json", "_shards.parquet", ".huggingface.yaml", "train/v1-00000.parquet"] {
        fs::remove_file(world.path("again").join(name)).unwrap();
    }
    let (code, _, stderr) = retokenize(&world, "", "again");
    assert_eq!(code, Some(1), "without its plan nobody knows what the shards are of");
    assert!(stderr.contains("has no _manifest.json but holds"), "{stderr}");
    fs::remove_dir_all(world.path("again")).unwrap();

    // A damaged second shard stops the run after the first.
    let damaged = world.path("out/train/v0-00001.parquet");
    let sound = fs::read(&damaged).unwrap();
    fs::write(&damaged, &sound[..sound.len() / 2]).unwrap();
    let (code, _, stderr) = retokenize(&world, "", "again");
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("error: cannot read the shard "), "{stderr}");
    assert!(world.path("again/train/v0-00000.parquet").exists());
    let (code, _, stderr) = retokenize(&world, "--max-tokens 9", "again");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is half-done from another dataset or tokenizer"), "{stderr}");
    fs::write(&damaged, sound).unwrap();
    world.write("again/train/.pairmill-abcdef.tmp", "half");
    let (code, stdout, stderr) = retokenize(&world, "", "again");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains(": 4 shards, 2 of an earlier run; "), "{stdout}");
    world.same("again", "whole");

    let (code, stdout, _) = retokenize(&world, "", "again");
    assert_eq!(code, Some(0));
    assert!(stdout.ends_with("nothing written\n"), "{stdout}");
    let (code, _, stderr) = retokenize(&world, "--max-tokens 9", "again");
    assert_eq!(code, Some(1));
    assert!(stderr.ends_with("again holds another dataset; name another folder\n"), "{stderr}");
}

#[test]
fn the_datasets_own_folder_is_refused_and_a_damaged_picture_named() {
    let world = world();
    let (code, _, stderr) = retokenize(&world, "", "out");
    let out = world.path("out");
    let reason = "is the dataset that is read; name another folder";
    assert_eq!((code, stderr), (Some(1), format!("error: --out: {} {reason}\n", out.display())));

    let shard = out.join("train/v0-00000.parquet");
    let picture = world.rows("out", "train", 0)[2].stored.bytes().to_vec();
    let mut bytes = fs::read(&shard).unwrap();
    let at = bytes.windows(picture.len()).position(|part| part == picture).unwrap();
    bytes[at + picture.len() / 2] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let (code, _, stderr) = retokenize(&world, "", "again");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("key p2: the picture does not match its crc32c"), "{stderr}");
    assert!(!world.path("again/train/v0-00000.parquet").exists());
}
