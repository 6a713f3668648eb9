//! JPEG → RGB pixels.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::slice;

use turbojpeg_sys as sys;

use crate::Error;
use crate::handle::Handle;

/// Most scans of a progressive picture: more of them only take time.
const MAX_SCANS: c_int = 100;

/// Pixels beside a region that its last colours may be smoothed with: two of half the resolution.
const SMOOTHED: u64 = 4;

/// How much smaller a picture is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// As it is.
    Full,
    /// Sides halved.
    Half,
    /// Sides a quarter.
    Quarter,
    /// Sides an eighth.
    Eighth,
}

impl Scale {
    /// Every scale, the smallest picture first.
    pub const ALL: [Self; 4] = [Self::Eighth, Self::Quarter, Self::Half, Self::Full];

    /// Source pixels along a side of a decoded one.
    pub fn divisor(self) -> u32 {
        match self {
            Self::Full => 1,
            Self::Half => 2,
            Self::Quarter => 4,
            Self::Eighth => 8,
        }
    }
}

/// A part of a picture in pixels as they are decoded, at the scale in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Region {
    /// Bytes of its RGB pixels.
    pub fn bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }

    fn right(&self) -> u64 {
        u64::from(self.x) + u64::from(self.width)
    }

    fn bottom(&self) -> u64 {
        u64::from(self.y) + u64::from(self.height)
    }
}

/// An instance of the library between two pictures: making one anew takes longer than reading a
/// small picture's header. One that met a fault is not kept.
#[derive(Default)]
pub struct Spare(Option<Handle>);

/// A JPEG whose header was read.
pub struct Jpeg<'a> {
    handle: Handle,
    bytes: &'a [u8],
    width: u32,
    height: u32,
}

impl<'a> Jpeg<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// If the bytes do not begin like a JPEG.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::reusing(&mut Spare::default(), bytes)
    }

    /// As [`Jpeg::new`], with the instance that an earlier picture left in `spare`, if any.
    ///
    /// # Errors
    /// Those of [`Jpeg::new`].
    pub fn reusing(spare: &mut Spare, bytes: &'a [u8]) -> Result<Self, Error> {
        let mut handle = match spare.0.take() {
            Some(handle) => handle,
            None => decompressor()?,
        };
        // SAFETY: the instance is alive, and pointer and length are those of a slice.
        let code =
            unsafe { sys::tj3DecompressHeader(handle.raw(), bytes.as_ptr(), bytes.len() as sys::size_t) };
        handle.check(code)?;
        let (width, height) =
            (handle.get(sys::TJPARAM_TJPARAM_JPEGWIDTH), handle.get(sys::TJPARAM_TJPARAM_JPEGHEIGHT));
        let side = |pixels: c_int| u32::try_from(pixels).map_err(|_| Error("it has no size".to_owned()));
        Ok(Self { handle, bytes, width: side(width)?, height: side(height)? })
    }

    /// Leaves the instance for the next picture.
    pub fn leave(self, spare: &mut Spare) {
        spare.0 = Some(self.handle);
    }

    /// Width in pixels, before any EXIF turn.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, before any EXIF turn.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Whether it is Huffman-coded in 8 bits, with colours that become RGB or with gray alone.
    pub fn is_common(&mut self) -> bool {
        let colours = self.handle.get(sys::TJPARAM_TJPARAM_COLORSPACE);
        self.handle.get(sys::TJPARAM_TJPARAM_PRECISION) == 8
            && self.handle.get(sys::TJPARAM_TJPARAM_LOSSLESS) == 0
            && self.handle.get(sys::TJPARAM_TJPARAM_ARITHMETIC) == 0
            && [sys::TJCS_TJCS_YCbCr, sys::TJCS_TJCS_GRAY, sys::TJCS_TJCS_RGB].contains(&(colours as _))
    }

    /// Whether it is gray.
    pub fn is_gray(&mut self) -> bool {
        self.handle.get(sys::TJPARAM_TJPARAM_COLORSPACE) == sys::TJCS_TJCS_GRAY as c_int
    }

    /// All of it as it is decoded at `scale`: a pixel that only part of the source fills counts.
    pub fn whole(&self, scale: Scale) -> Region {
        let side = |pixels: u32| pixels.div_ceil(scale.divisor());
        Region { x: 0, y: 0, width: side(self.width), height: side(self.height) }
    }

    /// The least region around `wanted` that can be decoded with the same pixels as in the whole
    /// picture and that goes down to the last row, without which the library would not read the file
    /// to its end, nor see that it is damaged there.
    pub fn around(&mut self, wanted: Region, scale: Scale) -> Region {
        let whole = self.whole(scale);
        let least = self.lines_around(wanted, scale);
        Region { height: whole.height - least.y, ..least }
    }

    /// The least region around `wanted` that can be decoded with the same pixels as in the whole
    /// picture: columns begin where a block of the format does, one block earlier than `wanted`, and
    /// end some pixels later, because colours are smoothed between their neighbours. What the file
    /// holds below it is not read.
    pub fn lines_around(&mut self, wanted: Region, scale: Scale) -> Region {
        let whole = self.whole(scale);
        let Some(block) = self.block_width() else { return whole };
        let block = block.div_ceil(scale.divisor());
        let left = (wanted.x / block).saturating_sub(1) * block;
        let right = (wanted.right() + SMOOTHED).min(whole.right());
        let bottom = wanted.bottom().min(whole.bottom()) as u32;
        if u64::from(left) >= right || wanted.y >= bottom {
            return whole;
        }
        Region { x: left, y: wanted.y, width: right as u32 - left, height: bottom - wanted.y }
    }

    /// Width in source pixels of the columns that the format codes together.
    fn block_width(&mut self) -> Option<u32> {
        match self.handle.get(sys::TJPARAM_TJPARAM_SUBSAMP) {
            sys::TJSAMP_TJSAMP_444
            | sys::TJSAMP_TJSAMP_GRAY
            | sys::TJSAMP_TJSAMP_440
            | sys::TJSAMP_TJSAMP_441 => Some(8),
            sys::TJSAMP_TJSAMP_422 | sys::TJSAMP_TJSAMP_420 => Some(16),
            sys::TJSAMP_TJSAMP_411 => Some(32),
            _ => None,
        }
    }

    /// Decodes a region, one that [`Jpeg::whole`], [`Jpeg::around`] or [`Jpeg::lines_around`] gave for
    /// this `scale`: its RGB pixels (`[height, width, 3]`). What of the file lies above its last line
    /// is read too, and must be sound.
    ///
    /// # Errors
    /// If the bytes break the format's rules anywhere, or the region cannot be decoded alone.
    pub fn decode(&mut self, scale: Scale, region: Region) -> Result<Vec<u8>, Error> {
        let mut pixels = Vec::with_capacity(region.bytes());
        self.decode_to(scale, region, &mut pixels.spare_capacity_mut()[..region.bytes()])?;
        // SAFETY: there is room for as many bytes, and a decoder without a complaint has written
        // every pixel of every row.
        unsafe { pixels.set_len(region.bytes()) };
        Ok(pixels)
    }

    /// As [`Jpeg::decode`], into memory that is there.
    ///
    /// # Errors
    /// Those of [`Jpeg::decode`]; what `out` holds then is not said.
    ///
    /// # Panics
    /// If `out` does not hold the region's bytes.
    pub fn decode_into(&mut self, scale: Scale, region: Region, out: &mut [u8]) -> Result<(), Error> {
        // SAFETY: a byte that is there may be taken for one that may not; only bytes are written.
        let out = unsafe { slice::from_raw_parts_mut(out.as_mut_ptr().cast(), out.len()) };
        self.decode_to(scale, region, out)
    }

    fn decode_to(&mut self, scale: Scale, region: Region, out: &mut [MaybeUninit<u8>]) -> Result<(), Error> {
        assert_eq!(out.len(), region.bytes(), "bytes of the region");
        let whole = self.whole(scale);
        let inside = region.right() <= whole.right() && region.bottom() <= whole.bottom();
        if !inside || region.bytes() == 0 {
            return Err(Error("the region is not inside the picture".to_owned()));
        }
        let factor = sys::tjscalingfactor { num: 1, denom: scale.divisor() as c_int };
        // SAFETY: the instance is alive; the factor is checked by the library.
        let code = unsafe { sys::tj3SetScalingFactor(self.handle.raw(), factor) };
        self.handle.check(code)?;
        let part = if region == whole { Region { x: 0, y: 0, width: 0, height: 0 } } else { region };
        // Sides of a JPEG and so of a region fit 16 bits.
        let [x, y, w, h] = [part.x, part.y, part.width, part.height].map(|pixels| pixels as c_int);
        // SAFETY: the instance is alive; the region is checked by the library.
        let code = unsafe { sys::tj3SetCroppingRegion(self.handle.raw(), sys::tjregion { x, y, w, h }) };
        self.handle.check(code)?;
        let (from, length) = (self.bytes.as_ptr(), self.bytes.len() as sys::size_t);
        let (to, pitch) = (out.as_mut_ptr().cast(), (region.width * 3) as c_int);
        let format = sys::TJPF_TJPF_RGB;
        // SAFETY: the instance is alive; the bytes are those whose header was read, unchanged while
        // they are borrowed, so the picture has the size that `whole` was computed from; `out` holds
        // as many rows of `pitch` bytes as the region (or, uncropped, the whole picture) has.
        let code = unsafe { sys::tj3Decompress8(self.handle.raw(), from, length, to, pitch, format) };
        self.handle.check(code)
    }
}

fn decompressor() -> Result<Handle, Error> {
    let mut handle = Handle::new(sys::TJINIT_TJINIT_DECOMPRESS)?;
    handle.set(sys::TJPARAM_TJPARAM_STOPONWARNING, 1)?;
    handle.set(sys::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS)?;
    Ok(handle)
}
