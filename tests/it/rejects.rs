//! Rejects that stop a run, that are tried again, and that are asked for.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::world::World;

const FLICKR: &str = "flickr30k --images photos --captions captions.txt";

/// Inodes of the shards of `out`.
fn inodes(world: &World, shards: &[u32]) -> BTreeMap<u32, u64> {
    let inode = |number: u32| {
        let path = world.path(&format!("out/train/v0-{number:05}.parquet"));
        (number, fs::metadata(path).unwrap().ino())
    };
    shards.iter().map(|&number| inode(number)).collect()
}

/// 150 photos of which the 11th to the 14th are broken; a half-done `out` that stopped for it.
fn stopped() -> World {
    let world = World::with_photos(150);
    (10..14).for_each(|at| world.write(&format!("photos/p{at}.jpg"), "no image"));
    world.fail(&format!("{FLICKR} --out out --size 16 --shard-rows 20"));
    world
}

#[test]
fn a_run_that_goes_wrong_stops_early_at_the_same_sample_for_any_jobs() {
    let world = World::with_photos(150);
    (10..14).for_each(|at| world.write(&format!("photos/p{at}.jpg"), "no image"));
    fs::remove_file(world.path("photos/p50.jpg")).unwrap();
    let message = message(&world);
    for jobs in [1, 3] {
        assert_eq!(
            world.fail(&format!("{FLICKR} --out jobs{jobs} --size 16 --jobs {jobs}")),
            format!(
                "error: --max-rejects: 5 of the first 100 samples were rejected (5.0%), more than 1%; 4 of them are \
                 not-an-image, e.g. p10: {message}; set it right and run again with --retry-rejected, or allow more \
                 with --max-rejects\n"
            )
        );
        assert!(!world.path(&format!("jobs{jobs}/_manifest.json")).exists());
    }
    for limit in ["5", "4%"] {
        world.prepare(&format!("{FLICKR} --out jobs1 --max-rejects {limit}"));
        assert_eq!(world.dataset("jobs1").manifest.totals.images, 145);
    }
    let usage = world.run(&format!("{FLICKR} --out out --max-rejects 101%"));
    assert_eq!(usage.code, Some(2));
}

/// What a file of text is rejected with.
fn message(world: &World) -> String {
    world.write("one.txt", "image,caption\np0.jpg,fine\np10.jpg,broken\n");
    world.prepare("flickr30k --images photos --captions one.txt --out one");
    world.dataset("one").rejects().unwrap().remove(0).message
}

#[test]
fn a_stopped_run_goes_on_with_a_higher_limit() {
    let world = stopped();
    let finished = inodes(&world, &[0, 1, 2, 3]);
    world.prepare(&format!("{FLICKR} --out out --shard-rows 20 --max-rejects 10%"));
    world.prepare(&format!("{FLICKR} --out fresh --shard-rows 20 --max-rejects 100%"));
    world.same("out", "fresh");
    assert_eq!(inodes(&world, &[0, 1, 2, 3]), finished);
}

#[test]
fn a_stopped_run_goes_on_when_its_inputs_are_right() {
    let world = stopped();
    let finished = inodes(&world, &[1, 2, 3]);
    (10..14).for_each(|at| world.photo(&format!("photos/p{at}.jpg"), at));
    world.prepare(&format!("{FLICKR} --out out --shard-rows 20 --retry-rejected"));
    world.prepare(&format!("{FLICKR} --out fresh --shard-rows 20"));
    world.same("out", "fresh");
    assert_eq!(inodes(&world, &[1, 2, 3]), finished);
}

#[test]
fn fewer_than_a_hundred_samples_never_stop_a_run() {
    let world = World::with_photos(99);
    (1..99).for_each(|at| world.write(&format!("photos/p{at}.jpg"), "no image"));
    world.prepare(&format!("{FLICKR} --out out --max-rejects 0"));
    assert_eq!(world.dataset("out").manifest.rejects["not-an-image"], 98);
}

#[test]
fn a_half_done_dataset_of_other_options_inputs_or_codec_is_refused() {
    let world = stopped();
    let line = format!("{FLICKR} --out out --size 16 --shard-rows 20");
    assert!(world.fail(&line.replace("16", "24")).contains("other options: --size: 16 there, 24 here;"));
    assert!(world.fail(&format!("{line} --dedup")).contains("--dedup: false there, true here;"));
    let captions = fs::read_to_string(world.path("captions.txt")).unwrap();
    world.write("captions.txt", captions.replace("photo 1\n", "photo one\n"));
    assert!(world.fail(&line).contains("other options: --captions: a file with SHA-256 "));
    world.write("captions.txt", captions);
    let plan = world.path("out/.pairmill/plan.json");
    let mut recipe: serde_json::Value = serde_json::from_slice(&fs::read(&plan).unwrap()).unwrap();
    let here = recipe["codec"]["decoder"].as_str().unwrap().to_owned();
    recipe["codec"]["decoder"] = "another 1.0".into();
    fs::write(&plan, recipe.to_string()).unwrap();
    let stderr = world.fail(&line);
    assert!(stderr.contains(&format!("other options: decoder: another 1.0 there, {here} here;")), "{stderr}");
}

#[test]
fn what_was_rejected_is_tried_again_and_nothing_else_is_touched() {
    let world = World::with_photos(40);
    for at in [11, 12, 35] {
        world.write(&format!("photos/p{at}.jpg"), "no image");
    }
    let line = format!("{FLICKR} --shard-rows 10 --views 2");
    world.prepare(&format!("{line} --out out"));
    let untouched = inodes(&world, &[0, 2]);
    [11, 35].iter().for_each(|&at| world.photo(&format!("photos/p{at}.jpg"), at));
    world.prepare(&format!("{line} --out fresh"));
    // Images of shards that nothing was rejected from are not even looked for.
    (0..10).for_each(|at| fs::remove_file(world.path(&format!("photos/p{at}.jpg"))).unwrap());
    let stdout = world.prepare(&format!("{line} --out out --retry-rejected"));
    assert!(stdout.contains("20 images in ") && stdout.contains("going on after 20 "), "{stdout}");
    world.same("out", "fresh");
    assert_eq!(inodes(&world, &[0, 2]), untouched);
}

#[test]
fn trying_again_without_rejects_or_without_a_change_leaves_the_dataset_as_it_is() {
    let world = World::with_photos(4);
    world.prepare(&format!("{FLICKR} --out out"));
    let before = inodes(&world, &[0]);
    let stdout = world.prepare(&format!("{FLICKR} --out out --retry-rejected"));
    assert!(stdout.starts_with("out is finished and nothing was rejected: there is nothing to try again;"));
    assert_eq!(inodes(&world, &[0]), before);

    world.write("photos/p2.jpg", "no image");
    world.prepare(&format!("{FLICKR} --out still"));
    world.prepare(&format!("{FLICKR} --out again"));
    world.prepare(&format!("{FLICKR} --out again --retry-rejected"));
    world.same("again", "still");
    assert!(
        world.fail(&format!("{FLICKR} --out still --size 24 --retry-rejected")).contains("--size: 16 there")
    );
}

#[test]
fn of_equal_images_the_first_in_the_planned_order_stays() {
    let world = World::with_photos(6);
    let copy = |from: u32, to: u32| {
        fs::copy(world.path(&format!("photos/p{from}.jpg")), world.path(&format!("photos/p{to}.jpg")))
            .unwrap();
    };
    copy(0, 3); // train, train
    copy(1, 5); // train, test: `test` comes first
    let image = |at: u32| {
        let split = if at == 5 { "test" } else { "train" };
        format!(
            r#"{{"filename": "p{at}.jpg", "cocoid": {at}, "split": "{split}", "sentences": [{{"raw": "x"}}]}}"#
        )
    };
    world.write("k.json", format!(r#"{{"images": [{}]}}"#, (0..6).map(image).collect::<Vec<_>>().join(",")));
    let line = "coco --images photos --karpathy k.json --shard-rows 2";
    world.prepare(&format!("{line} --out all"));
    assert_eq!(world.dataset("all").manifest.rejects, BTreeMap::new());
    world.prepare(&format!("{line} --out out --dedup --jobs 1"));
    world.prepare(&format!("{line} --out four --dedup --jobs 4"));
    world.same("out", "four");
    let rejects = world.dataset("out").rejects().unwrap().into_iter();
    let found: Vec<_> = rejects.map(|reject| (reject.key, reject.kind, reject.message)).collect();
    let equals = |key: &str, of: &str, split: &str| {
        (
            key.to_owned(),
            "duplicate".to_owned(),
            format!("the same as {of} of {split}: their files are equal"),
        )
    };
    assert_eq!(
        found,
        [equals("000000000001", "000000000005", "test"), equals("000000000003", "000000000000", "train"),]
    );
    assert_eq!(world.dataset("out").manifest.options["dedup"], true);
}

#[test]
fn an_image_that_is_right_now_may_make_a_later_one_a_duplicate() {
    let world = World::with_photos(12);
    world.write("photos/p1.jpg", "no image");
    let line = format!("{FLICKR} --dedup --shard-rows 3");
    world.prepare(&format!("{line} --out out"));
    let untouched = inodes(&world, &[1, 3]);
    fs::copy(world.path("photos/p7.jpg"), world.path("photos/p1.jpg")).unwrap();
    world.prepare(&format!("{line} --out out --retry-rejected"));
    world.prepare(&format!("{line} --out fresh"));
    world.same("out", "fresh");
    assert_eq!(inodes(&world, &[1, 3]), untouched);
    assert_eq!(world.dataset("out").rejects().unwrap()[0].key, "p7");
}
