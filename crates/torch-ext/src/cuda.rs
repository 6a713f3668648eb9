//! libtorch's CUDA half, which a program is not linked to.

use std::ffi::CStr;

use tch::Device;

use crate::{Error, ffi};

/// Memory that libtorch's allocator has given out on a CUDA device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub current: u64,
    /// The most so far.
    pub peak: u64,
}

/// Loads `libtorch_cuda.so` from beside the libtorch that this program runs with. To be called before
/// anything is asked of CUDA: libtorch looks for its CUDA half only once.
///
/// # Errors
/// If it is not there, or a library that it needs is not; the message names which.
pub fn load_cuda() -> Result<(), Error> {
    load(c"libtorch_cuda.so")
}

fn load(name: &CStr) -> Result<(), Error> {
    // SAFETY: a string that ends in NUL. The library's initialisers are libtorch's own.
    ffi::check(unsafe { ffi::te_load_library(name.as_ptr()) })
}

/// What is allocated on a device; `None` on the CPU, where libtorch does not count.
///
/// # Errors
/// If the device was not used yet.
pub fn memory(device: Device) -> Result<Option<Memory>, Error> {
    let Device::Cuda(index) = device else { return Ok(None) };
    let (mut current, mut peak) = (0, 0);
    // SAFETY: both pointers are to live integers.
    ffi::check(unsafe { ffi::te_cuda_memory(index as i32, &mut current, &mut peak) })?;
    Ok(Some(Memory { current: current as u64, peak: peak as u64 }))
}

/// Whether products and convolutions of float32 on CUDA devices may round their inputs to
/// TensorFloat-32 (10 bits of mantissa). It is nothing to the CPU.
///
/// # Errors
/// If libtorch refuses.
pub fn allow_tf32(allow: bool) -> Result<(), Error> {
    // SAFETY: takes a number.
    ffi::check(unsafe { ffi::te_allow_tf32(allow.into()) })
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named() {
        assert_eq!(
            load(c"libtorch_nowhere.so").unwrap_err().to_string(),
            "libtorch_nowhere.so: cannot open shared object file: No such file or directory"
        );
    }

    #[test]
    fn a_library_beside_libtorch_is_found_without_a_path() {
        load(c"libc10.so").unwrap();
    }

    #[test]
    fn the_cpu_does_not_count_its_memory() {
        assert_eq!(memory(Device::Cpu), Ok(None));
    }

    #[test]
    fn the_cpu_multiplies_in_full_precision_either_way() {
        let xs = Tensor::from_slice(&[1.0f32 + f32::EPSILON]).view([1, 1]);
        let ones = Tensor::ones([1, 1], (Kind::Float, Device::Cpu));
        for allow in [true, false] {
            allow_tf32(allow).unwrap();
            assert_eq!(xs.matmul(&ones), xs);
        }
    }
}
