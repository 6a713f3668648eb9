//! Pictures of a shard straight into a batch.

use std::io::Cursor;

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::{ColorType, ImageDecoder};

use super::cut::{self, Format};
use super::{DecodeError, Failure, guarded};

/// A square of a picture, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Left edge.
    pub x: usize,
    /// Top edge.
    pub y: usize,
    /// Width and height.
    pub side: usize,
}

impl Cut {
    /// Copies the square out of lines of `width` pixels, its own first line first, into `out`.
    pub fn copy(self, lines: &[u8], width: usize, out: &mut [u8]) {
        let lines = lines.chunks_exact(width * 3);
        for (line, out) in lines.zip(out.chunks_exact_mut(self.side * 3)) {
            out.copy_from_slice(&line[self.x * 3..][..self.side * 3]);
        }
    }
}

/// Memory of any content that is kept from picture to picture.
#[derive(Default)]
pub struct Scratch {
    pub(super) pixels: Vec<u8>,
    #[cfg(feature = "jpeg-turbo")]
    pub(super) spare: jpeg_turbo::Spare,
}

/// Decodes a square of a JPEG or PNG of a shard, of `width`×`height` pixels, into a
/// `[side, side, 3]` slice. What lies below the square of a JPEG may not be looked at: that the bytes
/// are those that were written, a checksum has told before.
///
/// # Errors
/// If the bytes are no JPEG that ends in its end mark, and no PNG, of `width`×`height` RGB pixels.
///
/// # Panics
/// If the square is not inside, or `out` has not `side · side · 3` bytes.
pub fn decode_stored_into(
    bytes: &[u8],
    (width, height): (u32, u32),
    cut: Cut,
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Result<(), DecodeError> {
    let Cut { x, y, side } = cut;
    assert!(x + side <= width as usize && y + side <= height as usize, "the square lies inside");
    assert_eq!(out.len(), side * side * 3, "bytes of a {side}x{side} RGB picture");
    let is_png = cut::format(bytes) == Ok(Format::Png);
    if !is_png && !cut::ends_in_mark(bytes) {
        return Err(DecodeError::Truncated);
    }
    #[cfg(feature = "jpeg-turbo")]
    if !is_png && super::turbo::decode_into(bytes, (width, height), cut, scratch, out) {
        return Ok(());
    }
    let whole = |out: &mut [u8]| {
        guarded(|| match is_png {
            true => read(PngDecoder::new(Cursor::new(bytes))?, width, height, out),
            false => read(JpegDecoder::new(Cursor::new(bytes))?, width, height, out),
        })
    };
    if (width as usize, height as usize) == (side, side) {
        return whole(out);
    }
    let pixels = &mut scratch.pixels;
    pixels.resize(width as usize * height as usize * 3, 0);
    whole(pixels)?;
    cut.copy(&pixels[y * width as usize * 3..], width as usize, out);
    Ok(())
}

fn read(decoder: impl ImageDecoder, width: u32, height: u32, out: &mut [u8]) -> Result<(), Failure> {
    let (found, color) = (decoder.dimensions(), decoder.color_type());
    if found != (width, height) || color != ColorType::Rgb8 {
        let problem = format!("{}x{} {color:?}, not {width}x{height} Rgb8", found.0, found.1);
        return Err(Failure::Ours(DecodeError::Corrupt(problem)));
    }
    Ok(decoder.read_image(out)?)
}
