//! Running `prepare` again: nothing is done twice, nothing is mixed, a kill leaves no trace.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::SystemTime;

use crate::world::World;

const FLICKR: &str = "flickr30k --images photos --captions captions.txt";

fn times(world: &World, folder: &str) -> BTreeMap<PathBuf, SystemTime> {
    let modified = |name: PathBuf| {
        let path = world.path(folder).join(&name);
        (name, fs::metadata(path).unwrap().modified().unwrap())
    };
    world.files(folder).into_keys().map(modified).collect()
}

#[test]
fn the_number_of_jobs_never_shows() {
    let world = World::with_photos(50);
    world.write("photos/p20.jpg", "no image");
    let options = "--views 2 --flip 0.5 --shard-rows 20";
    world.prepare(&format!("{FLICKR} --out one {options} --jobs 1"));
    world.prepare(&format!("{FLICKR} --out four {options} --jobs 4"));
    world.same("one", "four");
    assert_eq!(world.files("one").len(), 3 * 2 + 4);
}

#[test]
fn a_finished_dataset_is_left_alone() {
    let world = World::with_photos(3);
    world.prepare(&format!("{FLICKR} --out out"));
    let before = times(&world, "out");
    let stdout = world.prepare(&format!("{FLICKR} --out out --jobs 3 --quiet"));
    assert!(
        stdout.starts_with(
            "out is finished: 1 shard with the names and sizes of its manifest; nothing written\n"
        ),
        "{stdout}"
    );
    assert_eq!(times(&world, "out"), before);
}

#[test]
fn a_finished_dataset_with_a_damaged_shard_is_an_error() {
    let world = World::with_photos(1);
    world.prepare(&format!("{FLICKR} --out out"));
    fs::remove_file(world.path("out/train/v0-00000.parquet")).unwrap();
    let stderr = world.fail(&format!("{FLICKR} --out out --size 16"));
    assert_eq!(
        stderr,
        "error: --out: out/train/v0-00000.parquet is missing; `--overwrite` makes the dataset anew\n"
    );
}

#[test]
fn other_options_are_refused_and_named() {
    let world = World::with_photos(2);
    world.prepare(&format!("{FLICKR} --out out"));
    let before = times(&world, "out");
    assert_eq!(
        world.fail(&format!("{FLICKR} --out out --size 24 --quality 80 --views 2")),
        "error: --out: out was made with other options: --size: 16 there, 24 here; --views: 1 there, 2 here; \
         --quality: 90 there, 80 here; name another folder, or give --overwrite\n"
    );
    world.write("captions.txt", "image,caption\np0.jpg,another\n");
    let stderr = world.fail(&format!("{FLICKR} --out out --size 16"));
    assert!(
        stderr.starts_with("error: --out: out was made with other options: --captions: a file with SHA-256 ")
    );
    assert_eq!(times(&world, "out"), before);
}

#[test]
fn overwriting_removes_only_our_files() {
    let world = World::with_photos(7);
    world.prepare(&format!("{FLICKR} --out out --views 2 --split old --shard-rows 2"));
    world.write("out/notes.txt", "mine");
    world.write("out/old/notes.txt", "mine too");
    world.prepare(&format!("{FLICKR} --out out --overwrite"));
    world.prepare(&format!("{FLICKR} --out fresh"));
    for name in ["notes.txt", "old/notes.txt"] {
        let path = world.path("out").join(name);
        assert!(fs::read_to_string(&path).unwrap().starts_with("mine"));
        fs::remove_file(path).unwrap();
    }
    world.same("out", "fresh");
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let world = World::with_photos(60);
    world.write("photos/p7.jpg", "no image");
    // Many names of few photographs: enough work to be killed in.
    let run = format!("{} --views 2 --shard-rows 10 --max-rejects 5%", world.many(600, 60));
    world.prepare(&format!("{run} --out whole"));

    let mut child =
        world.command(&format!("{run} --size 16 --out out")).stdout(Stdio::null()).spawn().unwrap();
    let second = world.path("out/.pairmill/shard-train-00001.json");
    while !second.exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it could be killed");
        std::thread::yield_now();
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(!world.path("out/_manifest.json").exists());

    let other = world.fail(&format!("{run} --out out --size 24"));
    assert!(other.contains("--size: 16 there, 24 here"), "{other}");
    // What a kill may leave: a temporary file, a shard without its record, a record without its shard.
    world.write("out/train/.pairmill-abcdef.tmp", "half");
    world.write("out/.pairmill/.pairmill-abcdef.tmp", "half");
    fs::remove_file(second).unwrap();
    fs::remove_file(world.path("out/train/v1-00000.parquet")).unwrap();
    let stdout = world.prepare(&format!("{run} --out out"));
    world.same("out", "whole");
    assert!(!stdout.contains("nothing written"), "{stdout}");
}
