//! Formats, turns, scaled decoding and stored forms, start to end.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use pairmill::decode::{Picture, Source, decode};
use pairmill::load::Pairs;
use pairmill::prepare::encode::{Encoding, encode};
use pairmill::prepare::resize::{Filter, Fit, Resizer};
use pairmill::sample::{Crop, Rgb, Stored};

use crate::world::World;

/// Smooth colours, which every codec keeps.
fn scene(width: u32, height: u32) -> RgbImage {
    let level = |at: u32, of: u32| (at * 200 / of) as u8 + 20;
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([level(x, width), level(y, height), level(x + y, width + height)])
    })
}

fn file(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::ImageRgb8(image.clone());
    // A GIF's palette is made from pixels with alpha.
    let image = if format == ImageFormat::Gif { DynamicImage::ImageRgba8(image.into_rgba8()) } else { image };
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = Rgb::new(width, height, scene(width, height).into_raw());
    encode(&picture, Encoding::Jpeg { quality: 95 }).into_bytes()
}

/// A JPEG with an EXIF segment that asks for a turn.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

/// Largest difference of a channel.
fn difference(left: &Rgb, right: &Rgb) -> u8 {
    assert_eq!((left.width(), left.height()), (right.width(), right.height()));
    left.pixels().iter().zip(right.pixels()).map(|(&l, &r)| l.abs_diff(r)).max().unwrap()
}

#[test]
fn six_formats_are_read_by_their_content() {
    let image = scene(40, 30);
    let expected = Rgb::new(40, 30, image.clone().into_raw());
    for (format, tolerance) in [
        (ImageFormat::Png, 0),
        (ImageFormat::WebP, 0),
        (ImageFormat::Bmp, 0),
        (ImageFormat::Tiff, 0),
        (ImageFormat::Gif, 24),
    ] {
        let bytes = file(&image, format);
        let found = difference(&decode(&bytes).unwrap(), &expected);
        assert!(found <= tolerance, "{format:?}: {found}");
        let cut = decode(&bytes[..bytes.len() / 2]).unwrap_err();
        assert_eq!(cut.kind(), "truncated", "{format:?}: {cut}");
    }
}

#[test]
fn a_header_that_claims_too_many_pixels_is_too_large() {
    let mut gif = file(&scene(8, 8), ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0xFF; 4]);
    let mut bmp = file(&scene(8, 8), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    let mut jpeg = jpeg(8, 8);
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    for bytes in [gif, bmp, jpeg] {
        assert_eq!(decode(&bytes).unwrap_err().kind(), "too-large");
    }
}

#[test]
fn what_is_decoded_in_part_is_what_the_whole_gives() {
    for (width, height) in [(640, 480), (480, 640), (333, 517), (39, 7)] {
        for orientation in 1..=8 {
            let bytes = turned(&jpeg(width, height), orientation);
            let whole = Source::whole(decode(&bytes).unwrap());
            let mut resizer = Resizer::new(256, Filter::Lanczos3);
            let picture = Picture::open(&bytes).unwrap();
            let need = resizer.need_of_fit(picture.width(), picture.height(), Fit::Crop);
            let part = picture.decode(&[need]).unwrap();
            assert_eq!((part.width(), part.height()), (whole.width(), whole.height()));
            assert!(
                resizer.fit(&part, Fit::Crop) == resizer.fit(&whole, Fit::Crop),
                "{width}x{height}, {orientation}"
            );
        }
    }
}

#[test]
fn every_kind_of_jpeg_can_be_decoded_in_part() {
    let mut seen = 0;
    for file in std::fs::read_dir("tests/data/odd").unwrap().map(|file| file.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        let Ok(whole) = decode(&bytes).map(Source::whole) else { continue };
        let (width, height) = (whole.width(), whole.height());
        let mut resizer = Resizer::new(width.min(height).div_ceil(2), Filter::CatmullRom);
        let need = resizer.need_of_fit(width, height, Fit::Crop);
        let third = |side: u32| side as f32 / 3.0;
        let crop = Crop { x: third(width), y: third(height), width: third(width), height: third(height) };
        for need in [need, resizer.need_of_crop(crop)] {
            let part = Picture::open(&bytes).unwrap().decode(&[need]).unwrap();
            let (found, expected) = (resizer.crop(&part, need.crop), resizer.crop(&whole, need.crop));
            assert!(found == expected, "{} {need:?}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn a_scaled_decode_stays_invisible_however_the_picture_is_turned() {
    for orientation in 1..=8 {
        let bytes = turned(&jpeg(531, 397), orientation);
        let whole = Source::whole(decode(&bytes).unwrap());
        for (side, fit) in [(48, Fit::Crop), (90, Fit::Pad), (20, Fit::Squash), (33, Fit::Shortest)] {
            let mut resizer = Resizer::new(side, Filter::CatmullRom);
            let picture = Picture::open(&bytes).unwrap();
            let need = resizer.need_of_fit(picture.width(), picture.height(), fit);
            let scaled = picture.decode(&[need]).unwrap();
            if cfg!(feature = "jpeg-turbo") {
                assert!(scaled.pixels().width() < whole.width(), "it was scaled");
            }
            let ((found, crop), (expected, same)) = (resizer.fit(&scaled, fit), resizer.fit(&whole, fit));
            assert_eq!(crop, same);
            let difference = difference(&found, &expected);
            assert!(difference <= 6, "{side} {}, {orientation}: {difference}", fit.name());
        }
    }
}

const FLICKR: &str = "flickr30k --images photos --captions captions.txt --quiet";

#[test]
fn pngs_are_stored_without_loss_and_loaded() {
    let world = World::with_photos(3);
    world.prepare(&format!("{FLICKR} --out png --encoding png"));
    world.prepare(&format!("{FLICKR} --out raw --encoding raw"));
    for (png, raw) in world.rows("png", "train", 0).iter().zip(world.rows("raw", "train", 0)) {
        assert!(
            matches!(&png.stored, Stored::Png(bytes) if decode(bytes).unwrap().pixels() == raw.stored.bytes())
        );
    }
    let pixels = |out| {
        let dataset = world.dataset(out);
        let pairs = Pairs::open(&[dataset], "train").unwrap();
        pairs.in_order(Some(12), 8).unwrap().next().unwrap().unwrap().images
    };
    assert!(pixels("png") == pixels("raw"));
}

#[test]
fn shortest_keeps_the_aspect_and_its_centre_is_loaded() {
    let world = World::with_photos(3);
    world.prepare(&format!("{FLICKR} --out out --fit shortest"));
    for row in world.rows("out", "train", 0) {
        let longer = (f64::from(row.source_width) * 16.0 / f64::from(row.source_height)).round() as i32;
        assert_eq!((row.width, row.height), (longer, 16));
        assert_eq!((row.crop.width, row.crop.height), (row.source_width as f32, row.source_height as f32));
    }
    let pairs = Pairs::open(&[world.dataset("out")], "train").unwrap();
    for crop in [None, Some(16), Some(10)] {
        let batch = pairs.in_order(crop, 8).unwrap().next().unwrap().unwrap();
        assert_eq!((batch.keys.len(), batch.side), (3, crop.unwrap_or(16) as usize));
    }
    let raw = world.fail(&format!("{FLICKR} --out raw --fit shortest --encoding raw"));
    assert!(raw.contains("--fit shortest: raw pictures all have one shape"), "{raw}");
}

#[test]
fn small_and_long_pictures_are_counted_and_recorded() {
    let world = World::with_photos(3);
    scene(9, 40).save(world.path("photos/p1.jpg")).unwrap();
    scene(200, 30).save(world.path("photos/p2.jpg")).unwrap();
    world.prepare(&format!("{FLICKR} --out out --min-size 10 --max-aspect 5"));
    let manifest = world.dataset("out").manifest;
    assert_eq!((manifest.rejects["too-small"], manifest.rejects["aspect"]), (1, 1));
    assert_eq!((&manifest.options["min_size"], &manifest.options["max_aspect"]), (&10.into(), &5.0.into()));
    let differs = world.fail(&format!("{FLICKR} --out out --size 16 --min-size 11 --max-aspect 5"));
    assert!(differs.contains("--min-size: 10 there, 11 here"), "{differs}");
}

#[test]
fn the_summary_and_the_manifest_name_the_jpeg_codec() {
    let world = World::with_photos(1);
    let stdout = world.prepare(&format!("{FLICKR} --out out"));
    let name = if cfg!(feature = "jpeg-turbo") { "libjpeg-turbo" } else { "zune-jpeg" };
    assert!(stdout.contains(&format!("\n  JPEG: {name} ")), "{stdout}");
    assert!(world.dataset("out").manifest.codec["decoder"].starts_with(name));
}

#[test]
fn codecs_without_simd_write_the_same_bytes() {
    let world = World::with_photos(4);
    std::fs::write(world.path("photos/p1.jpg"), jpeg(640, 480)).unwrap();
    let line = format!("{FLICKR} --size 100");
    for (out, forced) in [("with", false), ("without", true)] {
        let mut command = world.command(&format!("{line} --out {out}"));
        if forced {
            command.env("JSIMD_FORCENONE", "1");
        }
        assert!(command.status().unwrap().success());
    }
    world.same("with", "without");
}
