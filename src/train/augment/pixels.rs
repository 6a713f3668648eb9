//! Flip and colour jitter of one picture without tensors: what `tensors` does where the model is, rounded to whole
//! levels at the end.

use super::GRAY;
use crate::sample::{Augment, Rgb};

/// Does to a picture what `augment` says, in the order of its fields, as the trainer does: in floats, cut to 0…1 after
/// each step. A factor of 1 and a shift of 0 leave it as it is; `grayscale` is never drawn while training.
pub fn apply(picture: &mut Rgb, augment: &Augment) {
    let width = picture.width() as usize;
    let (pixels, _) = picture.pixels_mut().as_chunks_mut::<3>();
    if augment.flip {
        pixels.chunks_exact_mut(width).for_each(<[_]>::reverse);
    }
    let mut shares: Vec<[f32; 3]> =
        pixels.iter().map(|pixel| pixel.map(|level| f32::from(level) / 255.0)).collect();
    jitter(&mut shares, augment);
    for (pixel, shares) in pixels.iter_mut().zip(shares) {
        *pixel = shares.map(|share| (share * 255.0).round() as u8);
    }
}

fn jitter(shares: &mut [[f32; 3]], augment: &Augment) {
    let Augment { brightness, contrast, saturation, hue, .. } = *augment;
    if brightness != 1.0 {
        shares.iter_mut().for_each(|pixel| *pixel = pixel.map(|share| (share * brightness).clamp(0.0, 1.0)));
    }
    if contrast != 1.0 {
        let sum: f64 = shares.iter().map(|&pixel| f64::from(gray(pixel))).sum();
        let mean = (sum / shares.len() as f64) as f32;
        shares.iter_mut().for_each(|pixel| *pixel = blend(mean, *pixel, contrast));
    }
    if saturation != 1.0 {
        shares.iter_mut().for_each(|pixel| *pixel = blend(gray(*pixel), *pixel, saturation));
    }
    if hue != 0.0 {
        shares.iter_mut().for_each(|pixel| *pixel = turned(*pixel, hue));
    }
}

/// `from` at 0, the pixel at 1, beyond either outside, within 0…1.
fn blend(from: f32, pixel: [f32; 3], factor: f32) -> [f32; 3] {
    pixel.map(|share| (factor * share + (1.0 - factor) * from).clamp(0.0, 1.0))
}

fn gray([r, g, b]: [f32; 3]) -> f32 {
    let [of_r, of_g, of_b] = GRAY.map(|weight| weight as f32);
    of_r * r + of_g * g + of_b * b
}

/// The pixel with its hue moved on by `shift` turns; greatest channel and range stay.
fn turned(pixel: [f32; 3], shift: f32) -> [f32; 3] {
    let (most, least) = (pixel.into_iter().fold(0.0, f32::max), pixel.into_iter().fold(1.0, f32::min));
    let range = most - least;
    if range == 0.0 {
        return pixel;
    }
    let [r, g, b] = pixel.map(|share| (most - share) / range); // 0 where a channel is the greatest
    let sixths = match () {
        () if r == 0.0 => b - g,
        () if g == 0.0 => r - b + 2.0,
        () => g - r + 4.0,
    };
    [5.0, 3.0, 1.0].map(|own| {
        let place = (own + sixths + shift * 6.0).rem_euclid(6.0);
        most - range * place.min(4.0 - place).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(pixels: &[[u8; 3]], augment: Augment) -> Vec<[u8; 3]> {
        let mut picture = Rgb::new(pixels.len() as u32, 1, pixels.concat());
        apply(&mut picture, &augment);
        picture.pixels().as_chunks::<3>().0.to_vec()
    }

    #[test]
    fn nothing_to_do_changes_no_level() {
        let all: Vec<[u8; 3]> = (0..=255).map(|level| [level, 255 - level, level / 2]).collect();
        assert_eq!(applied(&all, Augment::NONE), all);
    }

    #[test]
    fn each_operation_does_what_its_name_says() {
        let pixels = [[200, 100, 0], [50, 50, 50]];
        let check =
            |augment: Augment, expected: [[u8; 3]; 2]| assert_eq!(applied(&pixels, augment), expected);
        check(Augment { flip: true, ..Augment::NONE }, [[50, 50, 50], [200, 100, 0]]);
        check(Augment { brightness: 1.5, ..Augment::NONE }, [[255, 150, 0], [75, 75, 75]]);
        check(Augment { contrast: 0.0, ..Augment::NONE }, [[84; 3]; 2]); // the mean gray
        check(Augment { saturation: 0.0, ..Augment::NONE }, [[118; 3], [50; 3]]);
        check(Augment { hue: 1.0 / 3.0, ..Augment::NONE }, [[0, 200, 100], [50; 3]]);
    }
}
