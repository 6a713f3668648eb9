//! Any pixels → 8-bit RGB, alpha over white.

use image::{DynamicImage, ImageBuffer, Rgba};

use crate::sample::Rgb;

/// 8-bit RGB, alpha over white.
pub(super) fn flat(image: DynamicImage) -> Rgb {
    let (width, height) = (image.width(), image.height());
    let pixels = match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageRgba8(image) => over_white(image.into_raw()),
        DynamicImage::ImageLumaA8(_) => over_white(image.into_rgba8().into_raw()),
        image if !image.color().has_alpha() => image.into_rgb8().into_raw(),
        image => over_white_16(&image.into_rgba16()),
    };
    Rgb::new(width, height, pixels)
}

/// In place: a picture with alpha may be the largest thing in memory.
fn over_white(mut levels: Vec<u8>) -> Vec<u8> {
    let count = levels.len() / 4;
    for at in 0..count {
        let [r, g, b, alpha] = [0, 1, 2, 3].map(|channel| u32::from(levels[at * 4 + channel]));
        let blended = [r, g, b].map(|level| ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
        levels[at * 3..at * 3 + 3].copy_from_slice(&blended);
    }
    levels.truncate(count * 3);
    levels
}

/// Blended in 16 bits and rounded once.
fn over_white_16(image: &ImageBuffer<Rgba<u16>, Vec<u16>>) -> Vec<u8> {
    let white = u64::from(u16::MAX);
    let channel = |value: u16, alpha: u64| {
        let level = u64::from(value) * alpha + white * (white - alpha);
        ((level + white * 257 / 2) / (white * 257)) as u8
    };
    image
        .pixels()
        .flat_map(|pixel| {
            let [r, g, b, alpha] = pixel.0;
            [r, g, b].map(|value| channel(value, alpha.into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbaImage;

    #[test]
    fn eight_and_sixteen_bits_blend_alike() {
        let levels: Vec<u8> = (0..=255u8).flat_map(|alpha| [0, alpha, 200, alpha]).collect();
        let image = DynamicImage::ImageRgba8(RgbaImage::from_raw(256, 1, levels).unwrap());
        let wide = DynamicImage::ImageRgba16(image.to_rgba16());
        assert!(flat(image) == flat(wide));
    }
}
