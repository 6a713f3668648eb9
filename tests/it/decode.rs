//! Every odd and every bad image of `tests/data/odd`, against what Pillow makes of it.

use std::fs;
use std::path::Path;

use pairmill::decode::{Cut, DECODERS, DecodeError, Scratch, decode, decode_stored_into};
use pairmill::prepare::{encode::encoders, resize::RESIZER};
use pairmill::sample::Rgb;
use pairmill::seed::Draws;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    file: String,
    kind: String,
    reference: Option<String>,
    #[serde(default)]
    tolerance: u8,
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(Path::new("tests/data/odd").join(name)).unwrap()
}

fn expected() -> Vec<Expected> {
    serde_json::from_slice(&bytes("expected.json")).unwrap()
}

fn reference(name: &str) -> Rgb {
    let image = image::load_from_memory(&bytes(name)).unwrap().into_rgb8();
    Rgb::new(image.width(), image.height(), image.into_raw())
}

/// The largest difference of a channel.
fn difference(left: &Rgb, right: &Rgb) -> u8 {
    assert_eq!((left.width(), left.height()), (right.width(), right.height()));
    left.pixels().iter().zip(right.pixels()).map(|(&l, &r)| l.abs_diff(r)).max().unwrap()
}

#[test]
fn every_good_image_has_the_right_pixels() {
    let mut wrong = Vec::new();
    for case in expected().into_iter().filter(|case| case.kind == "ok") {
        let reference = reference(case.reference.as_ref().unwrap());
        match decode(&bytes(&case.file)).map(|image| difference(&image, &reference)) {
            Ok(difference) if difference <= case.tolerance => {}
            other => wrong.push((case.file, other, case.tolerance)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_bad_image_is_told_by_its_kind() {
    let mut wrong = Vec::new();
    for case in expected().into_iter().filter(|case| case.kind != "ok") {
        match decode(&bytes(&case.file)) {
            Err(error) if error.kind() == case.kind => {}
            other => wrong.push((case.file, case.kind, other)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_jpeg_or_png_cut_anywhere_is_never_a_picture() {
    for name in ["plain.jpg", "progressive.jpg", "exif-6-420.jpg", "rgb.png"] {
        let whole = bytes(name);
        // The last 12 bytes of a PNG are its end chunk: without it all pixels are there.
        for length in 1..whole.len() - if name.ends_with("png") { 16 } else { 0 } {
            assert_eq!(decode(&whole[..length]), Err(DecodeError::Truncated), "{name}, {length} bytes");
        }
    }
}

#[test]
fn any_square_of_a_stored_picture_is_that_of_the_whole() {
    for name in ["420.jpg", "422.jpg", "39x7-444.jpg", "plain.jpg"] {
        let (bytes, whole) = (bytes(name), decode(&bytes(name)).unwrap());
        let (width, height) = (whole.width() as usize, whole.height() as usize);
        let mut scratch = Scratch::default();
        for side in [1, 5, 16, 31, height.min(width)].into_iter().filter(|&side| side <= height.min(width)) {
            let heights = [0, (height - side) / 3, height - side];
            for (x, y) in (0..=width - side).flat_map(|x| heights.map(|y| (x, y))) {
                let cut = Cut { x, y, side };
                let (mut out, mut expected) = (vec![0; side * side * 3], vec![0; side * side * 3]);
                let size = (whole.width(), whole.height());
                decode_stored_into(&bytes, size, cut, &mut scratch, &mut out).unwrap();
                cut.copy(&whole.pixels()[y * width * 3..], width, &mut expected);
                assert!(out == expected, "{name}: {cut:?}");
            }
        }
    }
}

#[test]
fn a_stored_jpeg_of_another_size_is_corrupt() {
    let (mut out, cut) = (vec![0; 32 * 32 * 3], Cut { x: 0, y: 0, side: 32 });
    let error = decode_stored_into(&bytes("plain.jpg"), (32, 32), cut, &mut Scratch::default(), &mut out)
        .unwrap_err();
    assert_eq!((error.kind(), error.to_string()), ("corrupt", "64x48 Rgb8, not 32x32 Rgb8".to_owned()));
}

#[test]
fn a_cut_stored_jpeg_is_truncated() {
    let (whole, square) = (bytes("plain.jpg"), Cut { x: 8, y: 0, side: 48 });
    let mut out = vec![0; 48 * 48 * 3];
    let cut = &whole[..whole.len() - 100];
    let result = decode_stored_into(cut, (64, 48), square, &mut Scratch::default(), &mut out);
    assert_eq!(result, Err(DecodeError::Truncated));
}

#[test]
fn a_jpeg_without_its_last_bytes_but_with_an_end_in_its_header_is_truncated() {
    let thumbnail = b"\xFF\xD8\xFF\xE1\0\x20 a thumbnail's end mark: \xFF\xD9";
    assert_eq!(decode(thumbnail), Err(DecodeError::Truncated));
}

#[test]
fn damaged_bytes_are_a_picture_or_an_error_but_never_a_panic() {
    let mut draws = Draws::new(0);
    for case in expected() {
        let whole = bytes(&case.file);
        for _ in 0..20 {
            let mut damaged = whole.clone();
            for _ in 0..if whole.is_empty() { 0 } else { 3 } {
                let place = draws.below(whole.len() as u64) as usize;
                damaged[place] = draws.bits() as u8;
            }
            let _ = decode(&damaged);
        }
    }
}

#[test]
fn the_manifests_codecs_are_the_locked_ones() {
    let lock = fs::read_to_string("Cargo.lock").unwrap();
    let from_lock = |codec: &&str| !codec.starts_with("libjpeg-turbo");
    for &codec in DECODERS.iter().chain(&encoders()).chain([&RESIZER]).filter(|codec| from_lock(codec)) {
        let (name, version) = codec.trim_end_matches(" with AVX2").split_once(' ').unwrap();
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&entry), "{codec} is not what Cargo.lock says");
    }
}
