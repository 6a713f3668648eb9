//! JPEG and PNG → RGB pixels, recognised by content. Serves `prepare` and `load`.

mod cut;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::{ColorType, DynamicImage, ImageDecoder, ImageError};

use crate::sample::Rgb;

/// Decoder and version for the manifest: another may give other pixels.
pub const DECODER: &str = "image 0.25.10, zune-jpeg 0.5.15, png 0.18.1";

/// Most pixels of a picture: twice the number at which Pillow warns of a decompression bomb.
const MAX_PIXELS: u64 = 178_956_970;
/// Most bytes of a file.
const MAX_BYTES: usize = 512 << 20;
/// Longest side: up to here a whole number of pixels is exact in the `float32` of a crop.
const MAX_SIDE: u32 = 1 << 24;

/// Why bytes give no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Not the beginning of a JPEG or PNG.
    #[error("{0}")]
    NotAnImage(&'static str),
    /// The bytes end too early.
    #[error("the file ends too early")]
    Truncated,
    /// The bytes break their format's rules, or use a corner of it that is not read.
    #[error("{0}")]
    Corrupt(String),
    /// More bytes or pixels than are decoded.
    #[error("{0}")]
    TooLarge(String),
}

impl DecodeError {
    /// The stable name by which rejects are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAnImage(_) => "not-an-image",
            Self::Truncated => "truncated",
            Self::Corrupt(_) => "corrupt",
            Self::TooLarge(_) => "too-large",
        }
    }
}

/// The picture as a person should see it: turned upright by its EXIF orientation, alpha laid over
/// white, 16-bit levels rounded to 8, gray as three equal channels, CMYK as RGB. Colour profiles are
/// read past.
///
/// # Errors
/// If the bytes are no whole JPEG or PNG, or of more than 178,956,970 pixels or 512 MiB.
pub fn decode(bytes: &[u8]) -> Result<Rgb, DecodeError> {
    let format = cut::format(bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge(format!("{} bytes are more than {MAX_BYTES}", bytes.len())));
    }
    let decoded = guarded(|| match format {
        cut::Format::Jpeg => upright(JpegDecoder::new(Cursor::new(bytes))?),
        cut::Format::Png => upright(PngDecoder::new(Cursor::new(bytes))?),
    });
    match decoded {
        Err(DecodeError::Corrupt(_)) if cut::is_cut(bytes, format) => Err(DecodeError::Truncated),
        // The JPEG decoder fills up with gray what is not there.
        Ok(_) if format == cut::Format::Jpeg && !cut::ends_in_mark(bytes) && cut::is_cut(bytes, format) => {
            Err(DecodeError::Truncated)
        }
        decoded => decoded.map(flat),
    }
}

/// Decodes a JPEG of a shard straight into a `[height, width, 3]` slice.
///
/// # Errors
/// If the bytes are no JPEG that ends in its end mark and is of `width`×`height` RGB pixels.
///
/// # Panics
/// If `out` has not `width · height · 3` bytes.
pub fn decode_stored_jpeg_into(
    bytes: &[u8],
    width: u32,
    height: u32,
    out: &mut [u8],
) -> Result<(), DecodeError> {
    assert_eq!(out.len(), width as usize * height as usize * 3, "bytes of a {width}x{height} RGB picture");
    guarded(|| {
        let decoder = JpegDecoder::new(Cursor::new(bytes))?;
        let (found, color) = (decoder.dimensions(), decoder.color_type());
        if found != (width, height) || color != ColorType::Rgb8 {
            let problem = format!("{}x{} {color:?}, not {width}x{height} Rgb8", found.0, found.1);
            return Err(Failure::Ours(DecodeError::Corrupt(problem)));
        }
        Ok(decoder.read_image(out)?)
    })?;
    if cut::ends_in_mark(bytes) { Ok(()) } else { Err(DecodeError::Truncated) }
}

/// A decoder's error or one found before decoding.
enum Failure {
    Theirs(ImageError),
    Ours(DecodeError),
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Theirs(error)
    }
}

/// Runs a decoder: its panics are the fault of the bytes.
fn guarded<T>(decode: impl FnOnce() -> Result<T, Failure>) -> Result<T, DecodeError> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Failure::Ours(error))) => Err(error),
        Ok(Err(Failure::Theirs(error))) => Err(DecodeError::Corrupt(error.to_string())),
        Err(_) => Err(DecodeError::Corrupt("the decoder gave up".to_owned())),
    }
}

fn upright(mut decoder: impl ImageDecoder) -> Result<DynamicImage, Failure> {
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE {
        let problem = format!("{width}x{height} pixels are more than {MAX_PIXELS}");
        return Err(Failure::Ours(DecodeError::TooLarge(problem)));
    }
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// 8-bit RGB, alpha over white.
fn flat(image: DynamicImage) -> Rgb {
    let (width, height) = (image.width(), image.height());
    let pixels = match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        image if !image.color().has_alpha() => image.into_rgb8().into_raw(),
        image => over_white(&image.into_rgba16()),
    };
    Rgb::new(width, height, pixels)
}

/// Blended in 16 bits and rounded once, so that 8- and 16-bit pictures take one road.
fn over_white(image: &image::ImageBuffer<image::Rgba<u16>, Vec<u16>>) -> Vec<u8> {
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
