//! The nouns: what one row of a shard is made of.

use std::fmt;

/// An 8-bit RGB picture: row-major, three bytes a pixel, no padding (`[height, width, 3]`).
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Rgb {
    /// A picture from its bytes.
    ///
    /// # Panics
    /// If a side is 0 or `pixels` does not hold `width · height · 3` bytes.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        assert!(width > 0 && height > 0, "a picture of {width}x{height} has no pixels");
        let expected = width as usize * height as usize * 3;
        assert_eq!(pixels.len(), expected, "bytes of a {width}x{height} RGB picture");
        Self { width, height, pixels }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, to be changed in place.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The bytes, owned.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}

impl fmt::Debug for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rgb({}x{})", self.width, self.height)
    }
}

/// Where a caption came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CaptionKind {
    /// The source's own words.
    Original,
    /// Words replaced by synonyms.
    Synonym,
    /// Translated to another language and back.
    BackTranslation,
}

impl CaptionKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Original, Self::Synonym, Self::BackTranslation];

    /// The name in shards and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Synonym => "synonym",
            Self::BackTranslation => "back-translation",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Token ids of one text: unpadded, with `[CLS]` and `[SEP]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenIds(pub Vec<i32>);

/// One caption of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption {
    /// As in the source, trimmed.
    pub text: String,
    /// Where it came from.
    pub kind: CaptionKind,
    /// Index of its original in the row's list; an original's own index.
    pub of: i32,
    /// Its token ids.
    pub tokens: TokenIds,
}

/// A region of the EXIF-turned source, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// What was done to a view's pixels after crop and resize, in the order of the fields,
/// by torchvision's definitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augment {
    /// Mirrored left to right.
    pub flip: bool,
    /// Factor; 1 changes nothing.
    pub brightness: f32,
    /// Factor; 1 changes nothing.
    pub contrast: f32,
    /// Factor; 1 changes nothing.
    pub saturation: f32,
    /// Shift in turns, −0.5 … 0.5; 0 changes nothing.
    pub hue: f32,
    /// Made gray.
    pub grayscale: bool,
}

impl Augment {
    /// The augmentation that changes nothing.
    pub const NONE: Self =
        Self { flip: false, brightness: 1.0, contrast: 1.0, saturation: 1.0, hue: 0.0, grayscale: false };
}

/// The bytes of a stored picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A JPEG file.
    Jpeg(Vec<u8>),
    /// A PNG file.
    Png(Vec<u8>),
    /// `[height, width, 3]` RGB.
    Raw(Vec<u8>),
}

impl Stored {
    /// A file of column `image`: a PNG by its signature, or else a JPEG.
    pub fn file(bytes: Vec<u8>) -> Self {
        if bytes.starts_with(b"\x89PNG") { Self::Png(bytes) } else { Self::Jpeg(bytes) }
    }

    /// The bytes whatever they mean.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Jpeg(bytes) | Self::Png(bytes) | Self::Raw(bytes) => bytes,
        }
    }

    /// The bytes, owned.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Jpeg(bytes) | Self::Png(bytes) | Self::Raw(bytes) => bytes,
        }
    }
}

/// One row of a shard: one image in one view, with all its captions.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Unique per image in the split.
    pub key: String,
    /// The source's id, or the first 63 bits of a hash of the key.
    pub image_id: i64,
    /// 0 = clean pixels, from 1 on augmented ones.
    pub view: i32,
    /// The picture.
    pub stored: Stored,
    /// Stored width in pixels.
    pub width: i32,
    /// Stored height in pixels.
    pub height: i32,
    /// Source width in pixels, after the EXIF turn.
    pub source_width: i32,
    /// Source height in pixels, after the EXIF turn.
    pub source_height: i32,
    /// The region of the source that is stored.
    pub crop: Crop,
    /// `None` in view 0.
    pub augment: Option<Augment>,
    /// In the source's order, derived ones after their originals.
    pub captions: Vec<Caption>,
    /// JSON of the columns kept from the source.
    pub meta: Option<String>,
    /// SHA-256 of the source file's bytes.
    pub source_sha256: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_name() {
        for kind in CaptionKind::ALL {
            assert_eq!(CaptionKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(CaptionKind::from_name("Original"), None);
    }

    #[test]
    #[should_panic(expected = "bytes of a 2x2 RGB picture")]
    fn a_picture_with_too_few_bytes_cannot_be_built() {
        Rgb::new(2, 2, vec![0; 11]);
    }
}
