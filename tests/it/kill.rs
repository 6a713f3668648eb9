//! SIGKILL at any moment, over and over: the bytes are those of a run that nobody disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::World;

/// Kills of each test; PAIRMILL_KILLS sets another number.
fn kills() -> u32 {
    std::env::var("PAIRMILL_KILLS").map_or(6, |count| count.parse().expect("PAIRMILL_KILLS is a number"))
}

/// Seeded draws (a linear congruential generator).
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Inode and time of every shard file that `out` records as finished.
fn recorded(world: &World, without_rejects: bool) -> BTreeMap<String, (u64, i64, i64)> {
    let Ok(names) = fs::read_dir(world.path("out/.pairmill")) else { return BTreeMap::new() };
    let mut files = BTreeMap::new();
    for path in names.map(|name| name.unwrap().path()) {
        if !path.file_name().unwrap().to_string_lossy().starts_with("shard-") {
            continue;
        }
        let record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if without_rejects && record["rejects"] != Value::Array(Vec::new()) {
            continue;
        }
        for entry in record["entries"].as_array().unwrap() {
            let name = entry["path"].as_str().unwrap();
            let metadata = fs::metadata(world.path("out").join(name)).unwrap();
            files.insert(name.to_owned(), (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
        }
    }
    files
}

/// Kills `line` at random moments of its run; a run that ends before its kill has to be right, and
/// `begin` sets the scene anew. After the last kill it runs to its end.
fn survives(world: &World, line: &str, begin: impl Fn()) {
    let line = format!("{line} --out out");
    begin();
    let began = Instant::now();
    world.prepare(&format!("{line} --quiet"));
    let whole_run = began.elapsed();
    world.same("out", "whole");
    begin();
    let (mut chance, mut killed, retried) = (Chance(4), 0, line.contains("--retry-rejected"));
    while killed < kills() {
        let before = recorded(world, retried);
        let jobs = 1 + chance.below(4);
        let mut command = world.command(&format!("{line} --size 16 --quiet --jobs {jobs}"));
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(chance.below(whole_run.as_micros() as u64)));
        child.kill().unwrap(); // SIGKILL
        match child.wait().unwrap().code() {
            None => {
                killed += 1;
                if !world.path("out/_manifest.json").exists() {
                    let after = recorded(world, retried);
                    let moved: Vec<_> =
                        before.iter().filter(|(name, at)| after.get(*name) != Some(at)).collect();
                    assert!(moved.is_empty(), "finished shards were written again: {moved:?}");
                }
            }
            Some(code) => {
                assert_eq!(code, 0);
                world.same("out", "whole");
                begin();
            }
        }
    }
    world.prepare(&format!("{line} --quiet --jobs 3"));
    world.same("out", "whole");
}

fn clear(world: &World) {
    let _ = fs::remove_dir_all(world.path("out"));
}

fn copy(world: &World, from: &str, to: &str) {
    for (name, bytes) in world.files(from) {
        let path = world.path(to).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_run_survives_any_number_of_kills() {
    let world = World::with_photos(30);
    world.write("photos/p7.jpg", "no image");
    let line = format!("{} --views 2 --flip 0.5 --shard-rows 70 --max-rejects 5%", world.many(300, 30));
    world.prepare(&format!("{line} --out whole --jobs 1"));
    survives(&world, &line, || clear(&world));
}

#[test]
fn captions_there_and_back_survive_any_number_of_kills() {
    let world = World::with_photos(30);
    let command = "tee -a asked.txt | tr a-z A-Z";
    let settings =
        format!("back_translate = \"{command}\"\nback_translate_cache = \"cache\"\nsynonyms = 0.5\n");
    world.write("augment.toml", format!("{settings}wordnet = \"dict\"\n"));
    crate::dictionary::write(&world.path("dict"), crate::dictionary::WORDS);
    let line = format!("{} --augment augment.toml --shard-rows 70", world.many(300, 30));
    world.prepare(&format!("{line} --out whole --jobs 1"));
    survives(&world, &line, || {
        clear(&world);
        let _ = fs::remove_dir_all(world.path("cache"));
    });
}

#[test]
fn dropping_duplicates_survives_any_number_of_kills() {
    let world = World::with_photos(60);
    // Of the 120 names 60 are a second name of an image that is in an earlier or the same shard.
    let line = format!("{} --dedup --shard-rows 7", world.many(120, 60));
    world.prepare(&format!("{line} --out whole --jobs 1"));
    assert_eq!(world.dataset("whole").manifest.rejects["duplicate"], 60);
    survives(&world, &line, || clear(&world));
}

#[test]
fn trying_again_survives_any_number_of_kills() {
    let world = World::with_photos(90);
    let line = "flickr30k --images photos --captions captions.txt --shard-rows 6";
    for at in [3, 40, 41, 71] {
        world.write(&format!("photos/p{at}.jpg"), "no image");
    }
    world.prepare(&format!("{line} --out rejected"));
    (40..72).for_each(|at| world.photo(&format!("photos/p{at}.jpg"), at));
    world.prepare(&format!("{line} --out whole"));
    survives(&world, &format!("{line} --retry-rejected"), || {
        clear(&world);
        copy(&world, "rejected", "out");
    });
}
