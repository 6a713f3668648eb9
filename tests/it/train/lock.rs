//! One `train` at a time in a run's folder.

use std::fs::{self, File};

use super::{World, check_done, lines};

#[test]
fn a_second_train_into_the_same_run_is_refused() {
    let world = World::new();
    let steps = ["--set", "run.steps=2"];
    check_done(&world.train("run", &steps));
    fs::create_dir(world.path("run/.pairmill")).unwrap();
    let lock = File::create(world.path("run/.pairmill/lock")).unwrap();
    lock.lock().unwrap();
    for more in [&["--resume"][..], &[]] {
        let ran = world.train("run", &[&steps, more].concat());
        let at = world.path("run");
        let message = format!("another train is at work in {}; wait for its end", at.display());
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.starts_with(&format!("error: --out: {message}")), "{}", ran.stderr);
    }
    assert_eq!(lines(&world.path("run")).len(), 2);
    drop(lock); // as the end of its process does
    check_done(&world.train("run", &[&steps[..], &["--resume"]].concat()));
    assert!(!world.path("run/.pairmill").exists());
}

#[test]
fn the_lock_that_a_kill_left_is_no_hindrance() {
    let world = World::new();
    fs::create_dir_all(world.path("run/.pairmill")).unwrap();
    fs::write(world.path("run/.pairmill/lock"), "").unwrap();
    check_done(&world.train("run", &["--set", "run.steps=1"]));
}
