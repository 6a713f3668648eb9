//! Mixed precision.

use std::ffi::c_int;
use std::marker::PhantomData;

use tch::Device;

use crate::{Error, ffi};

/// While it lives, this thread's matrix products and convolutions on a device run in bfloat16, and
/// what needs more precision stays in float32, by PyTorch's lists. Let it go before `backward`.
///
/// Leaving restores what was before, also on a panic; the outermost one forgets the weights' casts.
/// <https://docs.pytorch.org/docs/stable/amp.html>
#[must_use]
#[derive(Debug)]
pub struct Autocast {
    device: c_int,
    was_enabled: c_int,
    dtype: c_int,
    /// The state belongs to a thread.
    thread: PhantomData<*const ()>,
}

impl Autocast {
    /// Begins.
    ///
    /// # Errors
    /// If the device is neither the CPU nor a CUDA device.
    pub fn bf16(device: Device) -> Result<Self, Error> {
        let (device, _) = ffi::device(device)?;
        let (mut was_enabled, mut dtype) = (0, 0);
        // SAFETY: both pointers are to live integers.
        ffi::check(unsafe { ffi::te_autocast_enter(device, &mut was_enabled, &mut dtype) })?;
        Ok(Self { device, was_enabled, dtype, thread: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: takes numbers that libtorch gave. Setting them back cannot fail.
        let _ = unsafe { ffi::te_autocast_leave(self.device, self.was_enabled, self.dtype) };
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use tch::{Kind, Tensor};

    use super::*;

    fn product() -> Kind {
        let xs = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        xs.matmul(&xs).kind()
    }

    #[test]
    fn products_are_in_bfloat16_while_the_guard_lives() {
        let guard = Autocast::bf16(Device::Cpu).unwrap();
        assert_eq!(product(), Kind::BFloat16);
        drop(guard);
        assert_eq!(product(), Kind::Float);
    }

    #[test]
    fn an_inner_guard_restores_the_outer_one() {
        let outer = Autocast::bf16(Device::Cpu).unwrap();
        drop(Autocast::bf16(Device::Cpu).unwrap());
        assert_eq!(product(), Kind::BFloat16);
        drop(outer);
        assert_eq!(product(), Kind::Float);
    }

    #[test]
    fn a_panic_ends_it() {
        let panicked = catch_unwind(|| {
            let _guard = Autocast::bf16(Device::Cpu).unwrap();
            assert_eq!(product(), Kind::Float, "on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(product(), Kind::Float);
    }

    #[test]
    fn weights_changed_between_two_guards_are_cast_anew() {
        let weight = Tensor::ones([1, 1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let xs = Tensor::ones([1, 1], (Kind::Float, Device::Cpu));
        let doubled = || {
            let _guard = Autocast::bf16(Device::Cpu).unwrap();
            xs.matmul(&weight).double_value(&[])
        };
        assert_eq!(doubled(), 1.0);
        let _ = tch::no_grad(|| weight.shallow_clone().fill_(2.0));
        assert_eq!(doubled(), 2.0);
    }

    #[test]
    fn another_device_is_refused() {
        assert_eq!(
            Autocast::bf16(Device::Mps).unwrap_err().to_string(),
            "Mps is neither the CPU nor a CUDA device"
        );
    }
}
