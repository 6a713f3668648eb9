//! How images and convolutions' weights lie in memory.

use tch::Tensor;

use crate::{Error, ffi};

/// Lays a parameter `[out, in, height, width]` pixel by pixel, in place: every handle to it sees the
/// new layout, and gradients follow it.
///
/// # Errors
/// If it does not have four dimensions.
pub fn to_channels_last(parameter: &Tensor) -> Result<(), Error> {
    // SAFETY: a live tensor.
    ffi::check(unsafe { ffi::te_to_channels_last(parameter.as_ptr()) })
}

/// The same images `[batch, channels, height, width]`, each pixel's channels side by side in memory;
/// nothing is copied where they lie so already.
///
/// # Errors
/// If there are not four dimensions.
pub fn channels_last(xs: &Tensor) -> Result<Tensor, Error> {
    // SAFETY: a live tensor, and a place for the result.
    ffi::output(|out| unsafe { ffi::te_channels_last(xs.as_ptr(), out) })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn numbers() -> Tensor {
        Tensor::arange(24, (Kind::Float, Device::Cpu)).view([1, 2, 3, 4])
    }

    #[test]
    fn a_parameter_changes_its_layout_and_not_its_values() {
        let parameter = numbers().set_requires_grad(true);
        let other_handle = parameter.shallow_clone();
        to_channels_last(&parameter).unwrap();
        assert_eq!(other_handle.stride(), [24, 1, 8, 2]);
        assert_eq!(other_handle.detach(), numbers());
        assert!(parameter.requires_grad());
        (&parameter * numbers()).sum(Kind::Float).backward();
        assert_eq!((other_handle.grad().stride(), other_handle.grad()), (vec![24, 1, 8, 2], numbers()));
    }

    #[test]
    fn images_are_copied_once() {
        let xs = channels_last(&numbers()).unwrap();
        assert_eq!((xs.stride(), &xs), (vec![24, 1, 8, 2], &numbers()));
        assert_eq!(channels_last(&xs).unwrap().data_ptr(), xs.data_ptr());
    }

    #[test]
    fn a_matrix_has_no_such_layout() {
        let error = channels_last(&Tensor::from_slice(&[1.0, 2.0])).unwrap_err().to_string();
        assert!(error.contains("channels_last"), "{error}");
    }
}
