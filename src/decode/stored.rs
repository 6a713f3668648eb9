//! Pictures of a shard straight into a batch.

use std::io::Cursor;

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::{ColorType, ImageDecoder};

use super::cut::{self, Format};
use super::{DecodeError, Failure, guarded};

/// Decodes a JPEG or PNG of a shard straight into a `[height, width, 3]` slice.
///
/// # Errors
/// If the bytes are no JPEG that ends in its end mark, and no PNG, of `width`×`height` RGB pixels.
///
/// # Panics
/// If `out` has not `width · height · 3` bytes.
pub fn decode_stored_into(bytes: &[u8], width: u32, height: u32, out: &mut [u8]) -> Result<(), DecodeError> {
    assert_eq!(out.len(), width as usize * height as usize * 3, "bytes of a {width}x{height} RGB picture");
    if cut::format(bytes) == Ok(Format::Png) {
        return guarded(|| read(PngDecoder::new(Cursor::new(bytes))?, width, height, out));
    }
    #[cfg(feature = "jpeg-turbo")]
    if cut::ends_in_mark(bytes) && super::turbo::decode_into(bytes, width, height, out) {
        return Ok(());
    }
    guarded(|| read(JpegDecoder::new(Cursor::new(bytes))?, width, height, out))?;
    if cut::ends_in_mark(bytes) { Ok(()) } else { Err(DecodeError::Truncated) }
}

fn read(decoder: impl ImageDecoder, width: u32, height: u32, out: &mut [u8]) -> Result<(), Failure> {
    let (found, color) = (decoder.dimensions(), decoder.color_type());
    if found != (width, height) || color != ColorType::Rgb8 {
        let problem = format!("{}x{} {color:?}, not {width}x{height} Rgb8", found.0, found.1);
        return Err(Failure::Ours(DecodeError::Corrupt(problem)));
    }
    Ok(decoder.read_image(out)?)
}
