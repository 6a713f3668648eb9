//! Augmentations against torchvision's own results, and views as functions of their address.

use std::path::Path;

use pairmill::decode::decode;
use pairmill::prepare::augment::image::{ViewSettings, apply};
use pairmill::sample::{Augment, Rgb};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
struct Case {
    flip: bool,
    brightness: f32,
    contrast: f32,
    saturation: f32,
    hue: f32,
    grayscale: bool,
}

impl Case {
    fn augment(&self) -> Augment {
        let Self { flip, brightness, contrast, saturation, hue, grayscale } = *self;
        Augment { flip, brightness, contrast, saturation, hue, grayscale }
    }
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new("tests/data").join(name)).unwrap()
}

/// Largest difference of a channel.
fn difference(left: &[u8], right: &[u8]) -> u8 {
    left.iter().zip(right).map(|(&l, &r)| l.abs_diff(r)).max().unwrap()
}

#[test]
fn every_operation_gives_torchvisions_levels() {
    let source = decode(&bytes("odd/plain-jpg.rgb.png")).unwrap();
    let sheet = decode(&bytes("jitter/expected.png")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&bytes("jitter/cases.json")).unwrap();
    assert_eq!(sheet.pixels().len(), source.pixels().len() * cases.len());
    for (case, expected) in cases.iter().zip(sheet.pixels().chunks_exact(source.pixels().len())) {
        let mut image = source.clone();
        apply(&mut image, &case.augment());
        assert_eq!(difference(image.pixels(), expected), 0, "{case:?}");
    }
}

#[test]
fn nothing_to_do_changes_nothing() {
    let source = decode(&bytes("odd/plain-jpg.rgb.png")).unwrap();
    let mut image = source.clone();
    apply(&mut image, &Augment::NONE);
    assert!(image == source);
}

#[test]
fn flipping_twice_gives_the_picture_back() {
    let source = Rgb::new(3, 1, (0..9).collect());
    let mut image = source.clone();
    let flip = Augment { flip: true, ..Augment::NONE };
    apply(&mut image, &flip);
    assert_eq!(image.pixels(), [6, 7, 8, 3, 4, 5, 0, 1, 2]);
    apply(&mut image, &flip);
    assert!(image == source);
}

fn settings() -> ViewSettings {
    ViewSettings::new((0.6, 1.0), (0.75, 1.333), 0.5, [0.4, 0.3, 0.2, 0.1], 0.2).unwrap()
}

#[test]
fn a_view_depends_on_seed_key_and_number_alone() {
    let draw = |seed, key, view| settings().draw(seed, key, view, 640, 480);
    assert_eq!(draw(0, "a", 1), draw(0, "a", 1));
    for other in [draw(1, "a", 1), draw(0, "b", 1), draw(0, "a", 2)] {
        assert_ne!(draw(0, "a", 1), other);
    }
}

#[test]
fn draws_stay_inside_their_settings() {
    for number in 0..2000 {
        let (crop, augment) = settings().draw(7, &number.to_string(), 1, 640, 480);
        let share = crop.width * crop.height / (640.0 * 480.0);
        let ratio = crop.width / crop.height;
        assert!((0.595..=1.0).contains(&share), "{crop:?}");
        assert!((0.745..=1.34).contains(&ratio), "{crop:?}");
        assert!(crop.x + crop.width <= 640.0 && crop.y + crop.height <= 480.0, "{crop:?}");
        assert!((0.6..=1.4).contains(&augment.brightness) && (0.7..=1.3).contains(&augment.contrast));
        assert!((0.8..=1.2).contains(&augment.saturation) && (-0.1..=0.1).contains(&augment.hue));
    }
}

#[test]
fn probabilities_are_kept() {
    let drawn: Vec<Augment> =
        (0..4000).map(|number| settings().draw(0, &number.to_string(), 3, 64, 48).1).collect();
    let share = |count: usize| count as f64 / drawn.len() as f64;
    assert!((share(drawn.iter().filter(|augment| augment.flip).count()) - 0.5).abs() < 0.03);
    assert!((share(drawn.iter().filter(|augment| augment.grayscale).count()) - 0.2).abs() < 0.03);
}

#[test]
fn another_setting_leaves_the_other_draws_alone() {
    let without = ViewSettings::new((0.6, 1.0), (0.75, 1.333), 0.0, [0.4, 0.3, 0.2, 0.1], 0.0).unwrap();
    let (crop, augment) = settings().draw(0, "a", 1, 640, 480);
    let expected = Augment { flip: false, grayscale: false, ..augment };
    assert_eq!(without.draw(0, "a", 1, 640, 480), (crop, expected));
}

#[test]
fn a_picture_that_no_crop_fits_gives_its_centre() {
    let settings = ViewSettings::new((1.0, 1.0), (0.75, 1.333), 0.0, [0.0; 4], 0.0).unwrap();
    let (crop, augment) = settings.draw(0, "strip", 1, 1000, 10);
    assert_eq!((crop.x, crop.y, crop.width, crop.height), (493.0, 0.0, 13.0, 10.0));
    assert_eq!(augment, Augment::NONE);
    let (crop, _) = settings.draw(0, "strip", 1, 9, 1000);
    assert_eq!((crop.x, crop.y, crop.width, crop.height), (0.0, 494.0, 9.0, 12.0));
}

#[test]
fn a_setting_outside_its_range_is_named() {
    let message = |scale, ratio, flip, jitter| {
        ViewSettings::new(scale, ratio, flip, jitter, 0.0).unwrap_err().to_string()
    };
    let (scale, ratio) = ((0.6, 1.0), (0.75, 1.333));
    assert_eq!(message((0.0, 1.0), ratio, 0.0, [0.0; 4]), "crop scale 0,1: not 0 < low ≤ high ≤ 1");
    assert_eq!(message(scale, (2.0, 1.0), 0.0, [0.0; 4]), "crop ratio 2,1: not 0 < low ≤ high");
    assert_eq!(message(scale, ratio, 1.5, [0.0; 4]), "flip 1.5: not a probability");
    assert_eq!(message(scale, ratio, 0.0, [-0.1, 0.0, 0.0, 0.0]), "brightness jitter -0.1: not 0 or more");
    assert_eq!(message(scale, ratio, 0.0, [0.0, 0.0, 0.0, 0.6]), "hue jitter 0.6: not 0 to 0.5 turns");
}
