//! RGB pixels → JPEG.

use std::ffi::c_int;
use std::{ptr, slice};

use turbojpeg_sys as sys;

use crate::Error;
use crate::handle::Handle;

/// A baseline JPEG with chroma at half resolution (4:2:0) of `width`×`height` RGB pixels without
/// padding, at `quality` 1 (smallest) … 100 (best).
///
/// # Errors
/// If a side is 0 or over 65,500 pixels, or memory runs out.
///
/// # Panics
/// If `pixels` does not hold `width · height · 3` bytes.
pub fn encode(pixels: &[u8], width: u32, height: u32, quality: u8) -> Result<Vec<u8>, Error> {
    assert_eq!(pixels.len(), width as usize * height as usize * 3, "bytes of a {width}x{height} RGB picture");
    let side =
        |pixels: u32| c_int::try_from(pixels).map_err(|_| Error("the picture is too large".to_owned()));
    let (width, height) = (side(width)?, side(height)?);
    let mut handle = Handle::new(sys::TJINIT_TJINIT_COMPRESS)?;
    handle.set(sys::TJPARAM_TJPARAM_QUALITY, quality.into())?;
    handle.set(sys::TJPARAM_TJPARAM_SUBSAMP, sys::TJSAMP_TJSAMP_420)?;
    let mut output = Output { bytes: ptr::null_mut(), length: 0 };
    let format = sys::TJPF_TJPF_RGB;
    // SAFETY: the instance is alive; `pixels` holds `height` rows of `width · 3` bytes, which is the
    // pitch that 0 stands for; the library allocates the output where its pointer is null, and keeps
    // pointer and length in step.
    let code = unsafe {
        sys::tj3Compress8(
            handle.raw(),
            pixels.as_ptr(),
            width,
            0,
            height,
            format,
            &mut output.bytes,
            &mut output.length,
        )
    };
    handle.check(code)?;
    Ok(output.to_vec())
}

/// Memory of the library's own, freed on drop.
struct Output {
    bytes: *mut u8,
    length: sys::size_t,
}

impl Output {
    fn to_vec(&self) -> Vec<u8> {
        if self.bytes.is_null() {
            return Vec::new();
        }
        // SAFETY: after a successful call the library's buffer holds `length` bytes, and nothing
        // else refers to it.
        unsafe { slice::from_raw_parts(self.bytes, self.length as usize) }.to_vec()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: null, or allocated by the library and freed only here.
        unsafe { sys::tj3Free(self.bytes.cast()) }
    }
}
