//! Picture files → RGB pixels, recognised by content. Serves `prepare` and `load`.

mod cut;
mod flat;
mod part;
mod stored;
#[cfg(feature = "jpeg-turbo")]
mod turbo;
mod turn;

use std::error::Error;
use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};

use crate::sample::Rgb;
use cut::Format;
use flat::flat;
pub use part::{Need, Source, Window};
pub use stored::{Cut, Scratch, decode_stored_into};
use turn::Turn;

/// Decoders and versions for the manifest: another may give other pixels.
pub const DECODERS: &[&str] = &[
    #[cfg(feature = "jpeg-turbo")]
    jpeg_turbo::NAME,
    "zune-jpeg 0.5.15",
    "image 0.25.10",
    "png 0.18.1",
    "image-webp 0.2.4",
    "gif 0.14.2",
    "tiff 0.11.3",
];

/// Most pixels of a picture: twice the number at which Pillow warns of a decompression bomb.
pub const MAX_PIXELS: u64 = 178_956_970;
/// Most bytes of a file.
pub const MAX_BYTES: usize = 512 << 20;
/// Most bytes that a decoder may ask for: 16-bit pictures have a lower limit of pixels by it.
const MAX_MEMORY: u64 = 1 << 30;
/// Longest side: up to here a whole number of pixels is exact in the `float32` of a crop.
const MAX_SIDE: u32 = 1 << 24;

/// Why bytes give no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Not the beginning of a format that is read.
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
/// white, 16-bit levels rounded to 8, gray as three equal channels, CMYK as RGB, of an animation
/// the first frame. Colour profiles are read past.
///
/// # Errors
/// If the bytes are no whole JPEG, PNG, WebP, GIF, BMP or TIFF, or of more than 178,956,970 pixels
/// or 512 MiB, or need more than 1 GiB to be decoded.
pub fn decode(bytes: &[u8]) -> Result<Rgb, DecodeError> {
    Ok(Picture::open(bytes)?.decode(&[])?.into_pixels())
}

/// A file whose header was read: its size is known, its pixels are not.
pub struct Picture<'a> {
    bytes: &'a [u8],
    format: Format,
    decoder: Decoder<'a>,
    turn: Turn,
    width: u32,
    height: u32,
}

enum Decoder<'a> {
    #[cfg(feature = "jpeg-turbo")]
    Turbo(jpeg_turbo::Jpeg<'a>),
    Image(Box<dyn ImageDecoder + 'a>),
}

impl<'a> Picture<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// Those of [`decode`] that a header shows.
    pub fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let format = cut::format(bytes)?;
        if bytes.len() > MAX_BYTES {
            return Err(DecodeError::TooLarge(format!("{} bytes are more than {MAX_BYTES}", bytes.len())));
        }
        let opened = guarded(|| {
            let (decoder, turn) = open(bytes, format)?;
            let (width, height) = decoder.size();
            check_size(width, height)?;
            let (width, height) = turn.size(width, height);
            Ok(Self { bytes, format, decoder, turn, width, height })
        });
        judged(opened, bytes, format)
    }

    /// Width in pixels, after the EXIF turn.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, after the EXIF turn.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Decodes at least what `needs` ask for; without needs, all of it at full size.
    ///
    /// # Errors
    /// Those of [`decode`], whichever part of the picture is damaged.
    pub fn decode(self, needs: &[Need]) -> Result<Source, DecodeError> {
        let Self { bytes, format, decoder, turn, .. } = self;
        judged(guarded(|| pixels(bytes, decoder, turn, needs)), bytes, format)
    }
}

impl Decoder<'_> {
    fn size(&self) -> (u32, u32) {
        match self {
            #[cfg(feature = "jpeg-turbo")]
            Self::Turbo(jpeg) => (jpeg.width(), jpeg.height()),
            Self::Image(decoder) => decoder.dimensions(),
        }
    }
}

fn open(bytes: &[u8], format: Format) -> Result<(Decoder<'_>, Turn), Failure> {
    #[cfg(feature = "jpeg-turbo")]
    if let (Format::Jpeg, Some(jpeg)) = (format, turbo::open(bytes)) {
        return Ok((Decoder::Turbo(jpeg), turbo::turn(bytes)));
    }
    let mut decoder = image_decoder(bytes, format)?;
    let turn = decoder.orientation()?.into();
    Ok((Decoder::Image(decoder), turn))
}

fn image_decoder(bytes: &[u8], format: Format) -> Result<Box<dyn ImageDecoder + '_>, Failure> {
    let bytes = Cursor::new(bytes);
    let limits = || {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_MEMORY);
        limits
    };
    let mut decoder: Box<dyn ImageDecoder> = match format {
        Format::Jpeg => Box::new(JpegDecoder::new(bytes)?),
        Format::Png => Box::new(PngDecoder::with_limits(bytes, limits())?),
        Format::WebP => Box::new(WebPDecoder::new(bytes)?),
        Format::Gif => Box::new(GifDecoder::new(bytes)?),
        Format::Bmp => Box::new(BmpDecoder::new(bytes)?),
        Format::Tiff => Box::new(TiffDecoder::new(bytes)?),
    };
    let (width, height) = decoder.dimensions();
    check_size(width, height)?;
    if decoder.total_bytes() > MAX_MEMORY {
        let problem =
            format!("{width}x{height} {:?} take more than {MAX_MEMORY} bytes", decoder.color_type());
        return Err(Failure::Ours(DecodeError::TooLarge(problem)));
    }
    decoder.set_limits(limits())?;
    Ok(decoder)
}

fn check_size(width: u32, height: u32) -> Result<(), Failure> {
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE {
        let problem = format!("{width}x{height} pixels are more than {MAX_PIXELS}");
        return Err(Failure::Ours(DecodeError::TooLarge(problem)));
    }
    if width == 0 || height == 0 {
        return Err(Failure::Ours(DecodeError::Corrupt(format!("{width}x{height} are no pixels"))));
    }
    Ok(())
}

#[cfg_attr(
    not(feature = "jpeg-turbo"),
    expect(unused_variables, clippy::infallible_destructuring_match, reason = "one decoder less")
)]
fn pixels(bytes: &[u8], decoder: Decoder<'_>, turn: Turn, needs: &[Need]) -> Result<Source, Failure> {
    let decoder = match decoder {
        #[cfg(feature = "jpeg-turbo")]
        Decoder::Turbo(jpeg) => match turbo::decode(jpeg, turn, needs) {
            Some(source) => return Ok(source),
            None => image_decoder(bytes, Format::Jpeg)?,
        },
        Decoder::Image(decoder) => decoder,
    };
    Ok(Source::whole(turn.apply(flat(DynamicImage::from_decoder(decoder)?))))
}

/// Tells a file that is cut from one that is corrupt.
fn judged<T>(result: Result<T, DecodeError>, bytes: &[u8], format: Format) -> Result<T, DecodeError> {
    match result {
        Err(DecodeError::Corrupt(_)) if cut::is_cut(bytes, format) => Err(DecodeError::Truncated),
        // The JPEG decoder fills up with gray what is not there.
        Ok(_) if format == Format::Jpeg && !cut::ends_in_mark(bytes) && cut::is_cut(bytes, format) => {
            Err(DecodeError::Truncated)
        }
        result => result,
    }
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
        Ok(Err(Failure::Theirs(ImageError::Limits(error)))) => Err(DecodeError::TooLarge(error.to_string())),
        Ok(Err(Failure::Theirs(error))) if ran_out(&error) => Err(DecodeError::Truncated),
        Ok(Err(Failure::Theirs(error))) => Err(DecodeError::Corrupt(error.to_string())),
        Err(_) => Err(DecodeError::Corrupt("the decoder gave up".to_owned())),
    }
}

/// Whether a decoder wanted to read on at the end of the bytes.
fn ran_out(error: &ImageError) -> bool {
    let mut at: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = at {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
        {
            return true;
        }
        at = error.source();
    }
    false
}
