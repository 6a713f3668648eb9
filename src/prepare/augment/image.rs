//! Augmented views: which crop and which colours, and the colours applied.
//!
//! The crop is torchvision's `RandomResizedCrop`; the operations are torchvision's on 8-bit
//! pictures: blends cut down to whole levels, hue through 8-bit HSV.

use anyhow::{Result, ensure};

use super::hue;
use crate::sample::{Augment, Crop, Rgb};
use crate::seed::{Draws, Purpose, hash64, seed_for};

/// What the augmented views of a run may look like.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ViewSettings {
    crop_scale: (f64, f64),
    crop_ratio: (f64, f64),
    flip: f64,
    jitter: [f64; 4],
    grayscale: f64,
}

impl ViewSettings {
    /// Settings of `crop_scale` (least and greatest share of the source's area), `crop_ratio` (least
    /// and greatest width over height), `flip` (probability), `jitter` (greatest change of
    /// brightness, contrast and saturation as factors, and of hue in turns) and `grayscale`
    /// (probability).
    ///
    /// # Errors
    /// If one of them is outside its range; the message names it.
    pub fn new(
        crop_scale: (f64, f64),
        crop_ratio: (f64, f64),
        flip: f64,
        jitter: [f64; 4],
        grayscale: f64,
    ) -> Result<Self> {
        let (least, most) = crop_scale;
        ensure!(
            0.0 < least && least <= most && most <= 1.0,
            "crop scale {least},{most}: not 0 < low ≤ high ≤ 1"
        );
        let (narrow, wide) = crop_ratio;
        let ordered = 0.0 < narrow && narrow <= wide && wide.is_finite();
        ensure!(ordered, "crop ratio {narrow},{wide}: not 0 < low ≤ high");
        for (name, p) in [("flip", flip), ("grayscale", grayscale)] {
            ensure!((0.0..=1.0).contains(&p), "{name} {p}: not a probability");
        }
        for (name, change) in ["brightness", "contrast", "saturation"].into_iter().zip(jitter) {
            ensure!(change >= 0.0 && change.is_finite(), "{name} jitter {change}: not 0 or more");
        }
        ensure!((0.0..=0.5).contains(&jitter[3]), "hue jitter {}: not 0 to 0.5 turns", jitter[3]);
        Ok(Self { crop_scale, crop_ratio, flip, jitter, grayscale })
    }

    /// Crop and augmentation of view `view` of the sample `key`, whose source has `width`×`height`
    /// pixels: a function of these and `seed` alone. Sides of the crop are whole pixels.
    pub fn draw(&self, seed: u64, key: &str, view: u32, width: u32, height: u32) -> (Crop, Augment) {
        let mut draws = Draws::new(seed_for(seed, Purpose::Augment, view.into(), hash64(key)));
        // The augmentation first: it always takes as many draws, and the crop does not.
        let augment = self.draw_augment(&mut draws);
        (self.draw_crop(&mut draws, width, height), augment)
    }

    fn draw_augment(&self, draws: &mut Draws) -> Augment {
        let [brightness, contrast, saturation, hue] = self.jitter;
        let mut factor = |change: f64| draws.between((1.0 - change).max(0.0), 1.0 + change) as f32;
        let (brightness, contrast, saturation) = (factor(brightness), factor(contrast), factor(saturation));
        let hue = draws.between(-hue, hue) as f32;
        let (flip, grayscale) = (draws.chance(self.flip), draws.chance(self.grayscale));
        Augment { flip, brightness, contrast, saturation, hue, grayscale }
    }

    /// torchvision's `RandomResizedCrop.get_params`: ten tries, then the largest centred crop of an
    /// allowed ratio.
    fn draw_crop(&self, draws: &mut Draws, width: u32, height: u32) -> Crop {
        let area = f64::from(width) * f64::from(height);
        let (narrow, wide) = self.crop_ratio;
        for _ in 0..10 {
            let target = area * draws.between(self.crop_scale.0, self.crop_scale.1);
            let ratio = draws.between(narrow.ln(), wide.ln()).exp();
            let (w, h) = (whole((target * ratio).sqrt()), whole((target / ratio).sqrt()));
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let y = draws.below(u64::from(height - h) + 1) as u32;
                let x = draws.below(u64::from(width - w) + 1) as u32;
                return pixels(x, y, w, h);
            }
        }
        self.centre_crop(width, height)
    }

    fn centre_crop(&self, width: u32, height: u32) -> Crop {
        let ratio = f64::from(width) / f64::from(height);
        let (narrow, wide) = self.crop_ratio;
        let (w, h) = if ratio < narrow {
            (width, whole(f64::from(width) / narrow).clamp(1, height))
        } else if ratio > wide {
            (whole(f64::from(height) * wide).clamp(1, width), height)
        } else {
            (width, height)
        };
        pixels((width - w) / 2, (height - h) / 2, w, h)
    }
}

fn whole(length: f64) -> u32 {
    length.round_ties_even() as u32
}

fn pixels(x: u32, y: u32, width: u32, height: u32) -> Crop {
    Crop { x: x as f32, y: y as f32, width: width as f32, height: height as f32 }
}

/// Does to a view's pixels what `augment` says, in the order of its fields. A factor of 1 and a shift
/// of 0 leave them as they are.
pub fn apply(image: &mut Rgb, augment: &Augment) {
    if augment.flip {
        flip(image);
    }
    if augment.brightness != 1.0 {
        each_level(image, |level| blend(0, level, augment.brightness));
    }
    if augment.contrast != 1.0 {
        let mean = mean_gray(image);
        each_level(image, |level| blend(mean, level, augment.contrast));
    }
    if augment.saturation != 1.0 {
        each(image, |pixel| {
            let gray = gray(pixel);
            pixel.map(|level| blend(gray, level, augment.saturation))
        });
    }
    if augment.hue != 0.0 {
        let steps = (augment.hue * 255.0) as i32; // of 256 a turn, cut towards 0
        hue::turn(image.pixels_mut().as_chunks_mut::<3>().0, steps as u8);
    }
    if augment.grayscale {
        each(image, |pixel| [gray(pixel); 3]);
    }
}

fn flip(image: &mut Rgb) {
    let row = image.width() as usize * 3;
    for line in image.pixels_mut().chunks_exact_mut(row) {
        let (pixels, _) = line.as_chunks_mut::<3>();
        pixels.reverse();
    }
}

fn each(image: &mut Rgb, change: impl Fn([u8; 3]) -> [u8; 3]) {
    let (pixels, _) = image.pixels_mut().as_chunks_mut::<3>();
    pixels.iter_mut().for_each(|pixel| *pixel = change(*pixel));
}

/// Changes every level by a table of the 256 results.
fn each_level(image: &mut Rgb, change: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|level| change(level as u8));
    image.pixels_mut().iter_mut().for_each(|level| *level = table[usize::from(*level)]);
}

/// `from` at 0, `to` at 1, beyond either outside; cut to a whole level of 0 … 255.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    (from + factor * (to - from)) as u8 // `as` cuts towards 0 and saturates
}

/// Luma by ITU-R 601, rounded, with weights in 2⁻¹⁶.
fn gray([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// The mean of the picture's gray, halves up.
fn mean_gray(image: &Rgb) -> u8 {
    let (pixels, _) = image.pixels().as_chunks::<3>();
    let sum: u64 = pixels.iter().map(|&pixel| u64::from(gray(pixel))).sum();
    (sum as f64 / pixels.len() as f64 + 0.5) as u8
}
