//! Pixels → the bytes of a shard.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::sample::{Rgb, Stored};

/// Encoders and versions for the manifest: another may write other bytes.
pub fn encoders() -> [&'static str; 2] {
    [jpeg_encoder(), "png 0.18.1"]
}

#[cfg(feature = "jpeg-turbo")]
fn jpeg_encoder() -> &'static str {
    jpeg_turbo::NAME
}

/// This encoder rounds otherwise with AVX2 than without.
#[cfg(not(feature = "jpeg-turbo"))]
fn jpeg_encoder() -> &'static str {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if is_x86_feature_detected!("avx2") {
        return "jpeg-encoder 0.7.1 with AVX2";
    }
    "jpeg-encoder 0.7.1"
}

/// How pictures are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Baseline JPEG with chroma at half resolution (4:2:0).
    Jpeg {
        /// 1 (smallest) … 100 (best).
        quality: u8,
    },
    /// Compressed without loss.
    Png,
    /// The pixels themselves.
    Raw,
}

/// The picture's stored bytes. The same pixels give the same bytes wherever [`encoders`] are the same.
///
/// # Panics
/// If a JPEG's side is over 65,500 pixels.
pub fn encode(image: &Rgb, encoding: Encoding) -> Stored {
    match encoding {
        Encoding::Jpeg { quality } => Stored::Jpeg(jpeg(image, quality)),
        Encoding::Png => Stored::Png(png(image)),
        Encoding::Raw => Stored::Raw(image.pixels().to_vec()),
    }
}

#[cfg(feature = "jpeg-turbo")]
fn jpeg(image: &Rgb, quality: u8) -> Vec<u8> {
    jpeg_turbo::encode(image.pixels(), image.width(), image.height(), quality)
        .expect("a size that a JPEG can have, and memory for it")
}

#[cfg(not(feature = "jpeg-turbo"))]
fn jpeg(image: &Rgb, quality: u8) -> Vec<u8> {
    use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

    let side = |pixels: u32| u16::try_from(pixels).expect("a side that a JPEG can have");
    let mut bytes = Vec::with_capacity(image.pixels().len() / 8);
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    // The default takes every fourth chroma sample as it is, which fringes coloured edges.
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder
        .encode(image.pixels(), side(image.width()), side(image.height()), ColorType::Rgb)
        .expect("writing to memory does not fail");
    bytes
}

fn png(image: &Rgb) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(image.pixels().len());
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive)
        .write_image(image.pixels(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .expect("writing to memory does not fail");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;

    /// Smooth colours with a dark corner.
    fn picture() -> Rgb {
        let pixel = |x: u32, y: u32| match x > 40 && y > 24 {
            true => [(30 + x) as u8, (40 + y) as u8, 45],
            false => [(60 + x * 2) as u8, (90 + y * 2) as u8, (170 - x) as u8],
        };
        let pixels = (0..48).flat_map(|y| (0..64).flat_map(move |x| pixel(x, y))).collect();
        Rgb::new(64, 48, pixels)
    }

    fn psnr(left: &Rgb, right: &Rgb) -> f64 {
        let squares: f64 = left
            .pixels()
            .iter()
            .zip(right.pixels())
            .map(|(&l, &r)| (f64::from(l) - f64::from(r)).powi(2))
            .sum();
        10.0 * (255f64.powi(2) * left.pixels().len() as f64 / squares).log10()
    }

    #[test]
    fn a_jpeg_at_quality_90_looks_like_its_picture() {
        let picture = picture();
        let stored = encode(&picture, Encoding::Jpeg { quality: 90 });
        let back = decode(stored.bytes()).unwrap();
        let psnr = psnr(&picture, &back);
        assert!(psnr > 36.0, "{psnr:.1} dB");
    }

    #[test]
    fn a_lower_quality_takes_fewer_bytes() {
        let size = |quality| encode(&picture(), Encoding::Jpeg { quality }).bytes().len();
        assert!(size(50) < size(90));
    }

    #[cfg(not(feature = "jpeg-turbo"))]
    #[test]
    fn the_name_tells_encoders_apart_that_write_other_bytes() {
        let pixel = |x: u32, y: u32| match (x / 11 + y / 7) % 3 {
            0 => [(x * 3) as u8, (y * 2) as u8, 90],
            1 => [230, (x + y) as u8, (x * y) as u8],
            _ => [20, 40, 200 - (y % 100) as u8],
        };
        let pixels = (0..151).flat_map(|y| (0..203).flat_map(move |x| pixel(x, y))).collect();
        let bytes = encode(&Rgb::new(203, 151, pixels), Encoding::Jpeg { quality: 90 }).into_bytes();
        let expected = match encoders()[0] {
            "jpeg-encoder 0.7.1 with AVX2" => {
                "bb482ea834fcda12b14442c00001487628730f70cb7bc7cf7b0f852fc9723303"
            }
            _ => "e3fd31d590e996cfc8d1f3482c5a1754dbaf5731e28ad5fc29a9331b9f7ac47d",
        };
        assert_eq!(crate::files::sha256_hex(&bytes), expected);
    }

    #[test]
    fn a_png_loses_nothing() {
        let picture = picture();
        let stored = encode(&picture, Encoding::Png);
        assert!(matches!(stored, Stored::Png(_)) && decode(stored.bytes()).unwrap() == picture);
    }

    #[test]
    fn raw_is_the_pixels() {
        let picture = picture();
        assert_eq!(encode(&picture, Encoding::Raw), Stored::Raw(picture.pixels().to_vec()));
    }
}
