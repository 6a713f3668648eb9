//! The C++ side, as `ext.h` declares it.

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::Error;

/// Options of AdamW, laid out as in C.
#[repr(C)]
pub(crate) struct Adamw {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub eps: f64,
}

/// An array of tensors.
pub(crate) type Tensors = *const *const C_tensor;

unsafe extern "C" {
    fn te_error() -> *const c_char;
    pub(crate) fn te_autocast_enter(device: c_int, was_enabled: *mut c_int, dtype: *mut c_int) -> c_int;
    pub(crate) fn te_autocast_leave(device: c_int, was_enabled: c_int, dtype: c_int) -> c_int;
    pub(crate) fn te_fused_adamw(
        count: usize,
        parameters: Tensors,
        gradients: Tensors,
        exp_avgs: Tensors,
        exp_avg_sqs: Tensors,
        steps: Tensors,
        rule: Adamw,
        found_inf: *const C_tensor,
    ) -> c_int;
    pub(crate) fn te_clip_gradients(
        count: usize,
        gradients: Tensors,
        max_norm: f64,
        norm: *mut *mut C_tensor,
    ) -> c_int;
    pub(crate) fn te_drop_gradients(count: usize, parameters: Tensors) -> c_int;
    pub(crate) fn te_copy_all(count: usize, to: Tensors, from: Tensors) -> c_int;
    pub(crate) fn te_to_channels_last(parameter: *const C_tensor) -> c_int;
    pub(crate) fn te_channels_last(xs: *const C_tensor, out: *mut *mut C_tensor) -> c_int;
    pub(crate) fn te_upload(
        bytes: *const u8,
        size: *const i64,
        dims: usize,
        device: c_int,
        index: c_int,
        out: *mut *mut C_tensor,
    ) -> c_int;
    pub(crate) fn te_send(xs: *const C_tensor, device: c_int, index: c_int, out: *mut *mut C_tensor)
    -> c_int;
    pub(crate) fn te_download(xs: *const C_tensor, out: *mut *mut C_tensor) -> c_int;
    pub(crate) fn te_event_record(device: c_int, index: c_int, out: *mut *mut c_void) -> c_int;
    pub(crate) fn te_event_query(event: *const c_void, reached: *mut c_int) -> c_int;
    pub(crate) fn te_event_wait(event: *const c_void) -> c_int;
    pub(crate) fn te_event_free(event: *mut c_void);
    pub(crate) fn te_load_library(name: *const c_char) -> c_int;
    pub(crate) fn te_cuda_memory(index: c_int, current: *mut i64, peak: *mut i64) -> c_int;
    pub(crate) fn te_allow_tf32(allow: c_int) -> c_int;
}

/// What a call said: 0, or 1 with a message.
pub(crate) fn check(code: c_int) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the string ends in NUL and lives until this thread's next call.
    let message = unsafe { CStr::from_ptr(te_error()) };
    Err(Error(message.to_string_lossy().trim_end().to_owned()))
}

/// A new tensor that a call leaves behind its pointer.
pub(crate) fn output(call: impl FnOnce(*mut *mut C_tensor) -> c_int) -> Result<Tensor, Error> {
    let mut out = std::ptr::null_mut();
    check(call(&mut out))?;
    // SAFETY: a call that ends well leaves a tensor that is on the heap and nobody else's.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Pointers to tensors, valid as long as those are.
pub(crate) fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

/// libtorch's numbers of a device: its type and its index.
pub(crate) fn device(device: Device) -> Result<(c_int, c_int), Error> {
    match device {
        Device::Cpu => Ok((0, -1)),
        Device::Cuda(index) => Ok((1, index as c_int)),
        other => Err(Error(format!("{other:?} is neither the CPU nor a CUDA device"))),
    }
}
