//! A disk, a folder or another process in the way of `prepare`: an error that names it, nothing
//! half-done under a final name, and the next run goes on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::{Ran, World};

const FLICKR: &str = "flickr30k --images photos --captions captions.txt";

/// Temporary files anywhere below a folder.
fn temporary(world: &World, out: &str) -> Vec<PathBuf> {
    let is_temporary = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tmp");
    world.files(out).into_keys().filter(is_temporary).collect()
}

/// Starts `line`, removes the images' folder once a shard is finished, and gives back what it said.
fn vanish(world: &World, line: &str) -> Ran {
    let mut command = world.command(&format!("{line} --size 16 --out out --quiet"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !world.path("out/.pairmill/shard-train-00000.json").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before its images could vanish");
        std::thread::yield_now();
    }
    fs::rename(world.path("photos"), world.path("elsewhere")).unwrap();
    let output = child.wait_with_output().unwrap();
    fs::rename(world.path("elsewhere"), world.path("photos")).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn a_second_run_into_the_same_folder_is_refused() {
    let world = World::with_photos(5);
    fs::create_dir_all(world.path("out/.pairmill")).unwrap();
    let lock = File::create(world.path("out/.pairmill/lock")).unwrap();
    lock.lock().unwrap();
    for more in ["", " --overwrite", " --retry-rejected"] {
        assert_eq!(
            world.fail(&format!("{FLICKR} --out out{more}")),
            "error: --out: another prepare is at work in out; wait for its end, or name another folder\n"
        );
    }
    drop(lock); // as the end of its process does
    world.prepare(&format!("{FLICKR} --out out"));
    world.prepare(&format!("{FLICKR} --out whole"));
    world.same("out", "whole");
    assert!(!world.path("out/.pairmill").exists());
}

#[test]
fn of_several_runs_at_once_one_does_the_work() {
    let world = World::with_photos(5);
    let line = format!("{} --shard-rows 10", world.many(200, 5));
    let start = |_| {
        let mut command = world.command(&format!("{line} --size 16 --out out --quiet"));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    let mut ends = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => ends += 1,
            _ => assert!(stderr.starts_with("error: --out: another prepare is at work in out"), "{stderr}"),
        }
    }
    assert!(ends > 0);
    world.prepare(&format!("{line} --out whole"));
    world.same("out", "whole");
}

#[test]
fn a_full_disk_ends_the_run_and_the_next_one_goes_on() {
    let world = World::with_photos(40);
    let line = format!("{FLICKR} --size 64 --shard-rows 20 --encoding raw --quiet");
    let whole = world.run(&format!("{line} --out whole"));
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    // No file may grow over 8 KiB or so: to `prepare` the same as a disk that is full.
    let script =
        format!("trap '' XFSZ; ulimit -f 16; exec {} {line} --out out", env!("CARGO_BIN_EXE_prepare"));
    let output = Command::new("sh").current_dir(world.path("")).args(["-c", &script]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: cannot write out/train/v0-00000.parquet: "), "{stderr}");
    assert!(!world.path("out/train/v0-00000.parquet").exists() && !world.path("out/_manifest.json").exists());
    assert_eq!(temporary(&world, "out"), Vec::<PathBuf>::new());
    let again = world.run(&format!("{line} --out out"));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    world.same("out", "whole");
}

#[test]
fn images_that_vanish_in_the_middle_end_the_run() {
    let world = World::with_photos(10);
    let line = format!("{} --shard-rows 10", world.many(600, 10));
    world.prepare(&format!("{line} --out whole"));
    let ran = vanish(&world, &line);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(
        ran.stderr.ends_with("--images: photos is gone; bring it back and run again\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(temporary(&world, "out"), Vec::<PathBuf>::new());
    world.prepare(&format!("{line} --out out"));
    world.same("out", "whole");
}

#[test]
fn what_is_no_file_is_a_missing_image_and_nobody_waits_for_it() {
    let world = World::with_photos(6);
    for at in 1..5 {
        fs::remove_file(world.path(&format!("photos/p{at}.jpg"))).unwrap();
    }
    let made = Command::new("mkfifo").arg(world.path("photos/p1.jpg")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("nowhere", world.path("photos/p2.jpg")).unwrap();
    fs::create_dir(world.path("photos/p3.jpg")).unwrap();
    let captions = fs::read_to_string(world.path("captions.txt")).unwrap();
    world.write("captions.txt", format!("{captions}{}.jpg,too long a name\n", "n".repeat(300)));
    world.prepare(&format!("{FLICKR} --out out"));
    let rejects = world.dataset("out").rejects().unwrap();
    assert_eq!(rejects.len(), 5);
    assert!(rejects.iter().all(|reject| reject.kind == "missing"), "{rejects:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let world = World::with_photos(2);
    world.write("file", "");
    let stderr = world.fail(&format!("{FLICKR} --out file/out"));
    assert!(stderr.starts_with("error: ") && stderr.contains("file/out"), "{stderr}");
    fs::create_dir(world.path("out")).unwrap();
    world.write("out/.pairmill", "a file in the way");
    let stderr = world.fail(&format!("{FLICKR} --out out"));
    assert!(stderr.starts_with("error: --out: cannot make the folder out/.pairmill: "), "{stderr}");
}

#[test]
fn a_place_that_is_taken_ends_the_run_and_the_next_one_goes_on() {
    let world = World::with_photos(30);
    let line = format!("{FLICKR} --shard-rows 10");
    world.prepare(&format!("{line} --out whole"));
    fs::create_dir_all(world.path("out/train/v0-00001.parquet")).unwrap();
    let stderr = world.fail(&format!("{line} --size 16 --out out"));
    assert!(stderr.starts_with("error: ") && stderr.contains("out/train/v0-00001.parquet"), "{stderr}");
    assert_eq!(temporary(&world, "out"), Vec::<PathBuf>::new());
    assert!(!Path::new(&world.path("out/_manifest.json")).exists());
    fs::remove_dir(world.path("out/train/v0-00001.parquet")).unwrap();
    world.prepare(&format!("{line} --out out"));
    world.same("out", "whole");
}
