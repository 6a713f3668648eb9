//! `prepare` as it is run: what it reads, what it writes, what it says.

use pairmill::sample::Sample;
use pairmill::shard::{Pixels, ShardReader};

use crate::world::World;

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos");
const FLICKR: &str = "flickr30k --images photos --captions captions.txt";

fn keys(rows: &[Sample]) -> Vec<&str> {
    rows.iter().map(|row| row.key.as_str()).collect()
}

fn texts(row: &Sample) -> Vec<&str> {
    row.captions.iter().map(|caption| caption.text.as_str()).collect()
}

/// Split, images and captions.
fn counts(world: &World, out: &str) -> Vec<(String, u64, u64)> {
    let splits = world.dataset(out).manifest.splits;
    splits.into_iter().map(|(split, sums)| (split, sums.images, sums.captions)).collect()
}

fn splits(expected: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    expected.iter().map(|&(split, images, captions)| (split.to_owned(), images, captions)).collect()
}

#[test]
fn the_four_caption_files_of_flickr30k_give_the_same_rows() {
    let world = World::with_photos(0);
    let form = |out: &str, file: &str| {
        world.prepare(&format!("flickr30k --images {PHOTOS} --captions {PHOTOS}/{file} --out {out}"));
        let splits = world.dataset(out).manifest.splits;
        let mut rows: Vec<Sample> = splits.keys().flat_map(|split| world.rows(out, split, 0)).collect();
        rows.sort_by(|left, right| left.key.cmp(&right.key)); // one of the four has splits
        rows
    };
    let rows = form("token", "results_20130124.token");
    assert_eq!((rows.len(), rows[0].key.as_str(), rows[0].captions.len()), (12, "astronaut", 5));
    for (out, file) in
        [("bars", "results.csv"), ("pairs", "captions.txt"), ("lists", "flickr_annotations_30k.csv")]
    {
        assert_eq!(form(out, file), rows, "{file}");
    }
    assert_eq!(counts(&world, "token"), splits(&[("train", 12, 60)]));
    assert_eq!(counts(&world, "lists"), splits(&[("test", 2, 10), ("train", 8, 40), ("val", 2, 10)]));
}

#[test]
fn karpathys_file_gives_splits_and_restval_counts_as_train() {
    let world = World::with_photos(0);
    let expected = splits(&[("test", 2, 10), ("train", 8, 40), ("val", 2, 10)]);
    world.prepare(&format!("coco --images {PHOTOS} --karpathy {PHOTOS}/dataset.json --out coco"));
    assert_eq!(counts(&world, "coco"), expected);
    assert_eq!(keys(&world.rows("coco", "val", 0)), ["000000000006", "000000000010"]);
    let captions = format!("--captions {PHOTOS}/captions.txt --karpathy {PHOTOS}/dataset.json");
    world.prepare(&format!("flickr30k --images {PHOTOS} {captions} --out flickr"));
    assert_eq!(counts(&world, "flickr"), expected);
    assert_eq!(keys(&world.rows("flickr", "val", 0)), ["coffee", "retina"]);
}

#[test]
fn karpathys_sub_folder_is_looked_in_first() {
    let world = World::with_photos(2);
    std::fs::create_dir(world.path("photos/val2014")).unwrap();
    std::fs::rename(world.path("photos/p0.jpg"), world.path("photos/val2014/p0.jpg")).unwrap();
    let image = |at: u32| {
        format!(
            r#"{{"filepath": "val2014", "filename": "p{at}.jpg", "cocoid": {at}, "split": "val", "sentences": [{{"raw": "x"}}]}}"#
        )
    };
    world.write("karpathy.json", format!(r#"{{"images": [{}, {}]}}"#, image(0), image(1)));
    world.prepare("coco --images photos --karpathy karpathy.json --out out");
    assert_eq!(keys(&world.rows("out", "val", 0)), ["000000000000", "000000000001"]);
}

#[test]
fn two_coco_files_go_to_the_splits_they_are_given() {
    let world = World::with_photos(4);
    let file = |ids: [u32; 2]| {
        let images = ids.map(|id| format!(r#"{{"id": {id}, "file_name": "p{id}.jpg"}}"#)).join(",");
        let captions = ids.map(|id| format!(r#"{{"image_id": {id}, "caption": " photo {id}\n"}}"#)).join(",");
        format!(r#"{{"images": [{images}], "annotations": [{captions}]}}"#)
    };
    world.write("a.json", file([3, 1]));
    world.write("b.json", file([0, 2]));
    world.write("c.json", file([1, 3]));
    let two = "--captions train=a.json --captions val=b.json --captions c.json --split extra";
    world.prepare(
        &format!("coco --images absent_ones --images photos {two} --out out").replace("absent_ones", "."),
    );
    assert_eq!(counts(&world, "out"), splits(&[("extra", 2, 2), ("train", 2, 2), ("val", 2, 2)]));
    let rows = world.rows("out", "train", 0);
    assert_eq!(keys(&rows), ["000000000003", "000000000001"]);
    assert_eq!((rows[0].image_id, texts(&rows[0])), (3, vec!["photo 3"]));
}

#[test]
fn every_reject_is_in_the_table() {
    let world = World::with_photos(8);
    let whole = std::fs::read(world.path("photos/p1.jpg")).unwrap();
    world.write("photos/p1.jpg", &whole[..whole.len() / 2]);
    world.write("photos/p2.jpg", "");
    world.write("photos/p3.jpg", "<html>404 Not Found</html>");
    std::fs::remove_file(world.path("photos/p4.jpg")).unwrap();
    world.photo("photos/p5.png", 5);
    let captions = std::fs::read_to_string(world.path("captions.txt")).unwrap();
    let captions = captions.replace("photo 6", " ").replace("\"number 6, again\"", "");
    world.write("captions.txt", captions + "p5.png,its key is taken\n../captions.txt,outside\np7.jpg,\n");
    let stdout = world.prepare(&format!("{FLICKR} --out out --shard-rows 3"));
    let found: Vec<_> =
        world.dataset("out").rejects().unwrap().into_iter().map(|r| (r.key, r.path, r.kind)).collect();
    let expected = [
        ("p1", "p1.jpg", "truncated"),
        ("p2", "p2.jpg", "empty"),
        ("p3", "p3.jpg", "not-an-image"),
        ("p4", "p4.jpg", "missing"),
        ("p6", "p6.jpg", "no-caption"),
        ("p5", "p5.png", "duplicate"),
        ("captions", "../captions.txt", "missing"),
    ];
    assert_eq!(found, expected.map(|(key, path, kind)| (key.to_owned(), path.to_owned(), kind.to_owned())));
    assert_eq!(keys(&world.rows("out", "train", 0)), ["p0", "p5", "p7"]);
    let manifest = world.dataset("out").manifest;
    assert_eq!((manifest.totals.images, manifest.totals.captions, manifest.totals.empty_captions), (3, 6, 3));
    assert_eq!((manifest.totals.shards, manifest.rejects["missing"]), (4, 2));
    assert!(stdout.contains("\n  rejected: 2 missing, e.g. p4: no file p4.jpg\n"), "{stdout}");
}

#[test]
fn captions_of_an_image_that_is_not_listed_are_a_reject() {
    let world = World::with_photos(1);
    let images = r#"{"id": 0, "file_name": "p0.jpg"}, {"id": 8, "file_name": "p8.jpg"}"#;
    let captions = r#"{"image_id": 0, "caption": "x"}, {"image_id": 9, "caption": "y"}"#;
    world.write("c.json", format!(r#"{{"images": [{images}], "annotations": [{captions}]}}"#));
    world.prepare("coco --images photos --captions c.json --out out");
    let rejects = world.dataset("out").rejects().unwrap();
    let found: Vec<_> = rejects.iter().map(|reject| (reject.key.as_str(), reject.kind.as_str())).collect();
    assert_eq!(found, [("000000000008", "no-caption"), ("000000000009", "missing")]);
}

#[test]
fn views_hold_the_same_keys_and_only_the_first_is_clean() {
    let world = World::with_photos(9);
    world.write("photos/p4.jpg", "no image");
    world
        .prepare(&format!("{FLICKR} --out out --views 3 --flip 0.5 --jitter 0.4,0.4,0.4,0.1 --shard-rows 4"));
    let [clean, one, two] = [0, 1, 2].map(|view| world.rows("out", "train", view));
    assert_eq!(keys(&clean), ["p0", "p1", "p2", "p3", "p5", "p6", "p7", "p8"]);
    assert!(keys(&clean) == keys(&one) && keys(&clean) == keys(&two));
    assert!(clean.iter().all(|row| row.augment.is_none() && row.view == 0));
    assert!(one.iter().chain(&two).all(|row| row.augment.is_some()));
    assert!(one.iter().zip(&two).all(|(one, two)| one.stored != two.stored && one.captions == two.captions));
}

#[test]
fn raw_pixels_have_the_shape_that_was_asked_for() {
    let world = World::with_photos(2);
    world.prepare(&format!("{FLICKR} --out out --encoding raw --fit pad"));
    let shard = &world.dataset("out").split("train").unwrap()[0];
    assert_eq!(ShardReader::open(&shard.paths[0]).unwrap().pixels(), Pixels::Raw { side: 16 });
    let row = &world.rows("out", "train", 0)[0];
    assert_eq!((row.stored.bytes().len(), row.crop.width, row.crop.height), (16 * 16 * 3, 30.0, 24.0));
}

#[test]
fn a_file_of_settings_does_what_the_flags_do() {
    let world = World::with_photos(3);
    world.write(
        "augment.toml",
        "views = 2\nflip = 1\njitter = [0.1, 0.2, 0.3, 0.4]\ncrop_scale = [0.2, 0.3]\n",
    );
    world.prepare(&format!("{FLICKR} --out file --augment augment.toml --flip 0.5"));
    let flags = "--views 2 --jitter 0.1,0.2,0.3,0.4 --crop-scale 0.2,0.3 --flip 0.5";
    world.prepare(&format!("{FLICKR} --out flags {flags}"));
    world.same("file", "flags");
}

#[test]
fn what_is_wrong_is_named_with_its_flag() {
    let world = World::with_photos(2);
    world.write("broken.json", "{\"images\": [],\n\"annotations\": [}");
    world.write("instances.json", r#"{"images": [], "annotations": [{"image_id": 1, "bbox": []}]}"#);
    world.write("none.json", r#"{"images": [], "annotations": []}"#);
    world.write("lines.token", "p0.jpg#0\tfine\np0.jpg#1 no tab\n");
    world.write("typo.toml", "crop_scal = [0.5, 1.0]\n");
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    for (line, expected) in [
        ("coco --images photos --captions nope.json --out out", "--captions: no file at nope.json"),
        ("coco --images nope --captions broken.json --out out", "--images: no folder at nope"),
        ("coco --images photos --karpathy nope.json --out out", "--karpathy: no file at nope.json"),
        (
            "coco --images photos --captions val=broken.json --out out",
            "--captions: broken.json is not a COCO captions file: expected value at line 2 column 17",
        ),
        (
            "coco --images photos --captions instances.json --out out",
            "--captions: instances.json is not a COCO captions file: missing field `caption` at line 1 column 58",
        ),
        ("coco --images photos --captions none.json --out out", "--captions: no image is named in it"),
        (
            "flickr30k --images photos --captions lines.token --out out",
            "--captions: lines.token: line 2: there is no tab before the caption",
        ),
        (
            "flickr30k --images elsewhere --captions captions.txt --out out",
            "--images: none of the images that the captions name is in elsewhere; the first is p0.jpg",
        ),
        (
            "flickr30k --images photos --captions captions.txt --out captions.txt",
            "--out: captions.txt is not a folder",
        ),
        (
            "flickr30k --images photos --captions captions.txt --out photos",
            "--out: photos holds p0.jpg, which is not part of a dataset; name another folder, or give --overwrite \
             (it removes a dataset's files only)",
        ),
        (
            "flickr30k --images photos --captions captions.txt --out out --split ../x",
            "--split: `../x` cannot be the name of a split: letters, digits, `_` and `.` can, a letter or digit first",
        ),
        (
            "flickr30k --images photos --captions captions.txt --out out --flip 1.5",
            "--flip: a probability is between 0 and 1, not 1.5",
        ),
        (
            "flickr30k --images photos --captions captions.txt --out out --crop-scale 0.9,0.5",
            "--crop-scale: 0.9,0.5 is not a pair of bounds: above 0, the lower first and no more than 1",
        ),
        (
            "flickr30k --images photos --captions captions.txt --out out --augment typo.toml",
            "--augment: typo.toml: there is no key `crop_scal`; did you mean `crop_scale`?",
        ),
    ] {
        assert_eq!(world.fail(line), format!("error: {expected}\n"));
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let world = World::with_photos(1);
    for line in [
        "",
        "coco --images photos --out out",
        &format!("{FLICKR} --out out --quality 101"),
        &format!("{FLICKR} --out out --jitter 1,2,3"),
        &format!("{FLICKR} --out s3://bucket/shards"),
    ] {
        let ran = world.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "prepare {line}: {}", ran.stderr);
    }
}

#[test]
fn hugging_face_is_told_only_of_splits_that_have_rows() {
    let world = World::with_photos(2);
    world.write("photos/p1.jpg", "no image");
    let image = |at: u32, split: &str| {
        format!(
            r#"{{"filename": "p{at}.jpg", "cocoid": {at}, "split": "{split}", "sentences": [{{"raw": "x"}}]}}"#
        )
    };
    world.write("k.json", format!(r#"{{"images": [{}, {}]}}"#, image(0, "train"), image(1, "test")));
    world.prepare("coco --images photos --karpathy k.json --out out");
    let yaml = std::fs::read_to_string(world.path("out/.huggingface.yaml")).unwrap();
    assert!(yaml.contains("split: train") && !yaml.contains("test"), "{yaml}");
    assert_eq!(counts(&world, "out"), splits(&[("test", 0, 0), ("train", 1, 1)]));
}
