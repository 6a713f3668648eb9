//! Stored views made again from what their rows say: `crop` and `augment`, by Pillow's operations
//! written down a second time, in floats and without haste.

use std::path::Path;

use pairmill::decode::decode;
use pairmill::sample::{Augment, Crop, Rgb, Sample, Stored};

use crate::world::World;

const SIDE: usize = 96;

/// Levels 0 … 255, `[height][width]`.
type Levels = Vec<Vec<[f64; 3]>>;

fn levels(picture: &Rgb) -> Levels {
    let pixels: Vec<[f64; 3]> =
        picture.pixels().as_chunks::<3>().0.iter().map(|p| p.map(f64::from)).collect();
    pixels.chunks(picture.width() as usize).map(<[_]>::to_vec).collect()
}

/// Pillow's bicubic kernel, a = −0.5.
fn bicubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Pillow's `resize(box=…)` of one line: the kernel widens with the scale.
fn resized(line: &[[f64; 3]], from: f64, length: f64) -> Vec<[f64; 3]> {
    let scale = length / SIDE as f64;
    let wide = scale.max(1.0);
    let at = |place: usize| {
        let centre = from + (place as f64 + 0.5) * scale;
        let (mut sum, mut weights) = ([0.0; 3], 0.0);
        let first = (centre - 2.0 * wide).max(0.0) as usize;
        for (x, pixel) in line.iter().enumerate().skip(first).take((4.0 * wide) as usize + 2) {
            let weight = bicubic((x as f64 + 0.5 - centre) / wide);
            weights += weight;
            (0..3).for_each(|channel| sum[channel] += weight * pixel[channel]);
        }
        sum.map(|sum| (sum / weights).round().clamp(0.0, 255.0))
    };
    (0..SIDE).map(at).collect()
}

fn turned(levels: &Levels) -> Levels {
    (0..levels[0].len()).map(|x| levels.iter().map(|line| line[x]).collect()).collect()
}

fn cropped(source: &Levels, crop: Crop) -> Levels {
    let Crop { x, y, width, height } = crop;
    let wide: Levels = source.iter().map(|line| resized(line, x.into(), width.into())).collect();
    let high: Levels = turned(&wide).iter().map(|line| resized(line, y.into(), height.into())).collect();
    turned(&high)
}

fn gray([r, g, b]: [f64; 3]) -> f64 {
    0.299 * r + 0.587 * g + 0.114 * b
}

fn blend(from: f64, to: f64, factor: f64) -> f64 {
    (from + factor * (to - from)).clamp(0.0, 255.0)
}

/// Turns a colour's hue by a share of a full turn.
fn hue([r, g, b]: [f64; 3], turn: f64) -> [f64; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = most - least;
    if range == 0.0 {
        return [r, g, b];
    }
    let sixth = if most == r {
        (g - b) / range
    } else if most == g {
        (b - r) / range + 2.0
    } else {
        (r - g) / range + 4.0
    };
    let sixth = (sixth + 6.0 * turn).rem_euclid(6.0);
    let channel = |shift: f64| {
        let at = (shift + sixth).rem_euclid(6.0);
        most - range * at.min(4.0 - at).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

/// In the order of the fields, as the contract says.
fn augmented(mut levels: Levels, augment: Augment) -> Levels {
    let Augment { flip, brightness, contrast, saturation, hue: turn, grayscale } = augment;
    if flip {
        levels.iter_mut().for_each(|line| line.reverse());
    }
    let each = |levels: &mut Levels, change: &dyn Fn([f64; 3]) -> [f64; 3]| {
        levels.iter_mut().flatten().for_each(|pixel| *pixel = change(*pixel));
    };
    each(&mut levels, &|pixel| pixel.map(|level| blend(0.0, level, brightness.into())));
    let mean = levels.iter().flatten().map(|&pixel| gray(pixel)).sum::<f64>() / (SIDE * SIDE) as f64;
    each(&mut levels, &|pixel| pixel.map(|level| blend(mean, level, contrast.into())));
    each(&mut levels, &|pixel| pixel.map(|level| blend(gray(pixel), level, saturation.into())));
    each(&mut levels, &|pixel| hue(pixel, turn.into()));
    if grayscale {
        each(&mut levels, &|pixel| [gray(pixel); 3]);
    }
    levels
}

/// Peak signal-to-noise ratio in decibels.
fn psnr(left: &Levels, right: &Levels) -> f64 {
    let squares = left.iter().flatten().flatten().zip(right.iter().flatten().flatten());
    let error = squares.map(|(l, r)| (l - r).powi(2)).sum::<f64>() / (3 * SIDE * SIDE) as f64;
    10.0 * (255.0 * 255.0 / error.max(1e-9)).log10()
}

fn stored(sample: &Sample) -> Levels {
    match &sample.stored {
        Stored::Jpeg(bytes) | Stored::Png(bytes) => levels(&decode(bytes).unwrap()),
        Stored::Raw(pixels) => levels(&Rgb::new(SIDE as u32, SIDE as u32, pixels.clone())),
    }
}

#[test]
fn a_view_is_what_its_crop_and_augmentation_say() {
    let world = World::with_photos(0);
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
    let names = ["astronaut", "chelsea", "coffee", "rocket", "retina"];
    let line = |name: &&str| format!("{name}.jpg,a photo\n");
    world.write("captions.txt", format!("image,caption\n{}", names.iter().map(line).collect::<String>()));
    let options = "--views 4 --flip 0.5 --jitter 0.4,0.4,0.4,0.1 --grayscale 0.2 --size 96 --encoding png";
    let ran = world.run(&format!(
        "flickr30k --images {} --captions captions.txt {options} --quiet --out out",
        photos.display()
    ));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let (mut mirrored, mut gray) = (0, 0);
    for view in 0..4 {
        for sample in world.rows("out", "train", view) {
            let file = std::fs::read(photos.join(format!("{}.jpg", sample.key))).unwrap();
            let source = levels(&decode(&file).unwrap());
            let augment = sample.augment.unwrap_or(Augment::NONE);
            let expected = augmented(cropped(&source, sample.crop), augment);
            let found = psnr(&stored(&sample), &expected);
            assert!(found >= 30.0, "{} in view {view}: {found:.1} dB, {augment:?}", sample.key);
            mirrored += usize::from(augment.flip);
            gray += usize::from(augment.grayscale);
        }
    }
    assert!(mirrored > 0 && gray > 0, "{mirrored} mirrored, {gray} gray of 15");
}
