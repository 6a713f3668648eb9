//! Data on its way to a device.

use tch::{Device, Tensor};

use crate::{Error, ffi};

/// Bytes as a u8 tensor of `size` on a device. To a CUDA device they go through pinned memory, and
/// the copy is only queued: the device's later work waits for it, the caller does not.
///
/// # Errors
/// If `size` is not so many bytes, or the memory or the device fails.
pub fn upload(bytes: &[u8], size: &[i64], device: Device) -> Result<Tensor, Error> {
    let wanted = size.iter().try_fold(1usize, |product, &side| product.checked_mul(side.try_into().ok()?));
    if wanted != Some(bytes.len()) {
        return Err(Error(format!("{} bytes are no tensor of {size:?}", bytes.len())));
    }
    let (device, index) = ffi::device(device)?;
    // SAFETY: `size` has its length in numbers, whose product `bytes` has in bytes.
    ffi::output(|out| unsafe {
        ffi::te_upload(bytes.as_ptr(), size.as_ptr(), size.len(), device, index, out)
    })
}

/// The same tensor on a device, as [`upload`] brings bytes there; nothing is copied where it is there already.
///
/// # Errors
/// If the memory or the device fails.
pub fn send(xs: &Tensor, device: Device) -> Result<Tensor, Error> {
    let (device, index) = ffi::device(device)?;
    // SAFETY: a live tensor, and a place for the result.
    ffi::output(|out| unsafe { ffi::te_send(xs.as_ptr(), device, index, out) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_as_they_were() {
        let tensor = upload(&[1, 2, 3, 4, 5, 255], &[2, 3], Device::Cpu).unwrap();
        assert_eq!(tensor, Tensor::from_slice(&[1u8, 2, 3, 4, 5, 255]).view([2, 3]));
        assert_eq!(upload(&[], &[0, 3], Device::Cpu).unwrap().size(), [0, 3]);
    }

    #[test]
    fn a_tensor_that_is_there_already_is_not_copied() {
        let xs = Tensor::from_slice(&[1i64, -2]);
        assert_eq!(send(&xs, Device::Cpu).unwrap().data_ptr(), xs.data_ptr());
    }

    #[test]
    fn another_number_of_bytes_is_refused() {
        for size in [&[2, 3][..], &[-5, -1], &[i64::MAX, i64::MAX]] {
            let error = upload(&[1, 2, 3, 4, 5], size, Device::Cpu).unwrap_err().to_string();
            assert_eq!(error, format!("5 bytes are no tensor of {size:?}"));
        }
    }
}
