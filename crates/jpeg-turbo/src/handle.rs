//! The owner of a TurboJPEG instance.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use turbojpeg_sys as sys;

use crate::Error;

/// A TurboJPEG instance, freed on drop. It is not shared between threads: a raw pointer is neither
/// `Send` nor `Sync`.
pub(crate) struct Handle(NonNull<c_void>);

impl Handle {
    pub(crate) fn new(purpose: sys::TJINIT) -> Result<Self, Error> {
        // SAFETY: takes a number, and refuses unknown ones with a null pointer.
        let raw = unsafe { sys::tj3Init(purpose as c_int) };
        NonNull::new(raw).map(Self).ok_or_else(|| Error("no memory for libjpeg-turbo".to_owned()))
    }

    /// For calls into the library. Valid as long as `self`.
    pub(crate) fn raw(&mut self) -> sys::tjhandle {
        self.0.as_ptr()
    }

    pub(crate) fn set(&mut self, parameter: sys::TJPARAM, value: c_int) -> Result<(), Error> {
        // SAFETY: the instance is alive; parameter and value are checked by the library.
        let code = unsafe { sys::tj3Set(self.raw(), parameter as c_int, value) };
        self.check(code)
    }

    pub(crate) fn get(&mut self, parameter: sys::TJPARAM) -> c_int {
        // SAFETY: the instance is alive; the parameter is checked by the library.
        unsafe { sys::tj3Get(self.raw(), parameter as c_int) }
    }

    /// A result code of a call with this instance.
    pub(crate) fn check(&mut self, code: c_int) -> Result<(), Error> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the instance is alive, and the library gives back a string that ends in NUL and
        // lives until the next call with this instance.
        let message = unsafe { CStr::from_ptr(sys::tj3GetErrorStr(self.raw())) };
        Err(Error(message.to_string_lossy().into_owned()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the instance came from `tj3Init` and is freed only here.
        unsafe { sys::tj3Destroy(self.raw()) }
    }
}
