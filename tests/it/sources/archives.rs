//! Tars and zips.

use std::fs::{self, File};
use std::io::Write;

use super::{Said, kinds, photo_bytes, rejects, rows, said, sha256};
use crate::world::World;

/// Writes a tar of these members.
fn tar(world: &World, name: &str, members: &[(&str, &[u8])]) {
    let mut tar = tar::Builder::new(File::create(world.path(name)).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.finish().unwrap();
}

/// Writes a zip of these members, every other one stored as it is.
fn zip(world: &World, name: &str, members: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(File::create(world.path(name)).unwrap());
    for (at, (name, bytes)) in members.iter().enumerate() {
        let method =
            if at % 2 == 0 { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn tars_give_their_samples_without_being_unpacked() {
    let world = World::with_photos(4);
    let photo = |at| photo_bytes(&world, at);
    world.photo("one.png", 1);
    let png = fs::read(world.path("one.png")).unwrap();
    let (p0, p1, p2, p3) = (photo(0), photo(1), photo(2), photo(3));
    let list = br#"{"captions": ["x", "y", " "], "url": "u", "width": 5}"#;
    let text = br#"{"caption": "from the json", "url": null}"#;
    tar(
        &world,
        "0.tar",
        &[
            ("000.jpg", &p0),
            ("000.txt", b"zero\n"),
            ("000.json", text),
            ("001.jpg", &p1),
            ("001.txt", b"the list wins"),
            ("001.json", list),
            ("a/b.c/002.json", text),
            ("a/b.c/002.PNG", &png),
            ("003.cls", b"7"),
            ("003.jpg", &p2),
            ("004.txt", b"no image"),
            ("__meta__.json", b"no JSON"),
        ],
    );
    // Names of more than 100 bytes, members in any order, and a key of the first tar.
    let long = format!("{}/005", "deep/".repeat(40));
    let [webp, txt] = [".webp", ".txt"].map(|ending| format!("{long}{ending}"));
    tar(&world, "1.tar", &[("000.jpg", &p3), (&txt, b"long"), ("000.txt", b"again"), (&webp, &p3)]);
    world.prepare("webdataset --tars *.tar --keep-columns url,width --out one --jobs 1 --shard-rows 3");
    world.prepare("webdataset --tars {0..1}.tar --keep-columns url width --out four --jobs 4 --shard-rows 3");
    world.same("one", "four");
    let meta = |text: &str| Some(text.to_owned());
    let found = world.rows("one", "train", 0);
    let [mut zero, mut one, mut two, five]: [Said; 4] = rows(&[
        ("000", &["zero"]),
        ("001", &["x", "y"]),
        ("a/b.c/002", &["from the json"]),
        (&long, &["long"]),
    ])
    .try_into()
    .unwrap();
    zero.2 = meta(r#"{"url":null,"width":null}"#);
    one.2 = meta(r#"{"url":"u","width":5}"#);
    two.2 = zero.2.clone();
    assert_eq!(said(&found), [zero, one, two, five]);
    assert_eq!(
        found.iter().map(|row| row.source_sha256.to_vec()).collect::<Vec<_>>(),
        [&p0, &p1, &png, &p3].map(|b| sha256(b))
    );
    let expected = [
        ("003", "0.tar/003.jpg", "no-caption"),
        ("004", "0.tar/004", "missing"),
        ("000", "1.tar/000.jpg", "duplicate"),
    ];
    assert_eq!(rejects(&world, "one"), kinds(&expected));
    let names = world.files(".").into_keys();
    assert!(!names.into_iter().any(|name| name.ends_with("000.jpg")));
}

#[test]
fn what_is_wrong_with_a_tar_is_named() {
    let world = World::with_photos(1);
    let photo = photo_bytes(&world, 0);
    tar(&world, "whole.tar", &[("a.jpg", &photo), ("a.txt", b"x")]);
    let whole = fs::read(world.path("whole.tar")).unwrap();
    let image_end = 512 + photo.len().next_multiple_of(512);
    world.write("within.tar", &whole[..700]);
    world.write("between.tar", &whole[..image_end]);
    world.write("header.tar", &whole[..image_end + 100]);
    world.write("text.tar", "image,caption\n".repeat(100));
    world.write("nothing.tar", "");
    world.write("packed.tar", [0x1f, 0x8b, 8, 0, 0]);
    tar(&world, "json.tar", &[("a.json", b"{")]);
    tar(&world, "bare.tar", &[("README", b"x")]);
    for (line, expected) in [
        ("within.tar", "--tars: within.tar: it was cut: it ends within a.jpg"),
        (
            "between.tar",
            "--tars: between.tar: it was cut: it ends after a.jpg, without the block of zeros that ends a tar",
        ),
        ("header.tar", "--tars: header.tar: it is damaged after a.jpg: failed to read entire block"),
        (
            "nothing.tar",
            "--tars: nothing.tar: it was cut: it is empty, without the block of zeros that ends a tar",
        ),
        ("packed.tar", "--tars: packed.tar: it is compressed with gzip; unpack it to a plain .tar first"),
        (
            "json.tar",
            "--tars: json.tar: a.json is no JSON object: EOF while parsing an object at line 1 column 1",
        ),
        ("bare.tar", "--tars: no image is named in it"),
        ("none-*.tar", "--tars: no file matches none-*.tar"),
        ("whole.tar --keep-columns url", "--keep-columns: no .json of the tars has `url`"),
    ] {
        assert_eq!(
            world.fail(&format!("webdataset --out out --tars {line}")),
            format!("error: {expected}\n")
        );
    }
    let stderr = world.fail("webdataset --out out --tars text.tar");
    assert!(stderr.starts_with("error: --tars: text.tar: it is no tar: "), "{stderr}");
}

#[test]
fn a_tar_with_other_captions_is_another_input() {
    let world = World::with_photos(1);
    let photo = photo_bytes(&world, 0);
    tar(&world, "a.tar", &[("a.jpg", &photo), ("a.txt", b"x")]);
    world.prepare("webdataset --tars a.tar --out out");
    tar(&world, "a.tar", &[("a.jpg", &photo), ("a.txt", b"y")]);
    let stderr = world.fail("webdataset --tars a.tar --out out --size 16");
    assert!(stderr.contains("other options: --tars: a file with SHA-256 "), "{stderr}");
}

#[test]
fn images_in_a_zip_are_those_of_its_folder() {
    let world = World::with_photos(5);
    fs::remove_file(world.path("photos/p4.jpg")).unwrap();
    fs::write(world.path("photos/p3.jpg"), "no image").unwrap();
    let bytes: Vec<Vec<u8>> = (0..4).map(|at| photo_bytes(&world, at)).collect();
    zip(
        &world,
        "val2017.zip",
        &[
            ("val2017/p0.jpg", &bytes[0]),
            ("__MACOSX/val2017/p4.jpg", b"x"),
            ("val2017/p1.jpg", &bytes[1]),
            ("val2017/p2.jpg", &bytes[2]),
            ("val2017/p3.jpg", &bytes[3]),
        ],
    );
    world.prepare("flickr30k --images photos --captions captions.txt --out folder");
    world.prepare("flickr30k --images val2017.zip --captions captions.txt --out one --jobs 1");
    world.prepare("flickr30k --images val2017.zip --captions captions.txt --out four --jobs 4");
    world.same("folder", "one");
    world.same("one", "four");
    let images = r#"{"id": 0, "file_name": "p0.jpg"}, {"id": 1, "file_name": "val2017/p1.jpg"}"#;
    let captions = r#"{"image_id": 0, "caption": "x"}, {"image_id": 1, "caption": "y"}"#;
    world.write("c.json", format!(r#"{{"images": [{images}], "annotations": [{captions}]}}"#));
    world.prepare("coco --images val2017.zip --captions c.json --out coco");
    assert_eq!(
        said(&world.rows("coco", "train", 0)),
        rows(&[("000000000000", &["x"]), ("000000000001", &["y"])])
    );
}

#[test]
fn a_name_that_several_folders_of_a_zip_have_finds_none_of_them() {
    let world = World::with_photos(2);
    let bytes: Vec<Vec<u8>> = (0..2).map(|at| photo_bytes(&world, at)).collect();
    zip(&world, "z.zip", &[("a/p0.jpg", &bytes[0]), ("b/p0.jpg", &bytes[1]), ("a/p1.jpg", &bytes[1])]);
    world.write("t.csv", "image,caption\np0.jpg,x\nb/p0.jpg,y\np1.jpg,z\n../p1.jpg,w\n");
    world.prepare("table --table t.csv --images z.zip --out out");
    let found = world.rows("out", "train", 0);
    assert_eq!(said(&found), rows(&[("000000000001", &["y"]), ("000000000002", &["z"])]));
    assert_eq!(found[0].source_sha256.to_vec(), sha256(&bytes[1]));
    let expected = [("000000000000", "p0.jpg", "missing"), ("000000000003", "../p1.jpg", "missing")];
    assert_eq!(rejects(&world, "out"), kinds(&expected));
    // A member that does not match its checksum is a bad sample.
    let mut file = fs::read(world.path("z.zip")).unwrap();
    let place = file.windows(bytes[1].len()).position(|window| window == bytes[1]).unwrap();
    file[place + 200] ^= 1;
    world.write("z.zip", file);
    world.prepare("table --table t.csv --images z.zip --out damaged");
    assert!(rejects(&world, "damaged").contains(&(
        "000000000001".into(),
        "b/p0.jpg".into(),
        "corrupt".into()
    )));
}
