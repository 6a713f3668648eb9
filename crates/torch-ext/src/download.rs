//! Numbers on their way from a device.

use std::ffi::c_void;
use std::ptr;

use tch::{Device, Kind, Tensor};

use crate::{Error, ffi};

/// A mark in a device's queue of work: it is reached when all that was queued before is done. The CPU queues nothing, so
/// there every mark is reached at once.
#[derive(Debug)]
pub struct Event {
    /// Null on the CPU.
    event: *mut c_void,
}

impl Event {
    /// Marks where the queue (the current stream) of a device ends now.
    ///
    /// # Errors
    /// If the device fails.
    pub fn record(device: Device) -> Result<Self, Error> {
        let (device, index) = ffi::device(device)?;
        let mut event = ptr::null_mut();
        // SAFETY: a place for the result.
        ffi::check(unsafe { ffi::te_event_record(device, index, &mut event) })?;
        Ok(Self { event })
    }

    /// Whether the device has come to the mark; nothing is waited for.
    ///
    /// # Errors
    /// If work that was queued before has failed.
    pub fn is_reached(&self) -> Result<bool, Error> {
        let mut reached = 0;
        // SAFETY: an event that lives as long as this value, or null; a place for the result.
        ffi::check(unsafe { ffi::te_event_query(self.event, &mut reached) })?;
        Ok(reached != 0)
    }

    /// Waits until the device has come to the mark, and for nothing queued later.
    ///
    /// # Errors
    /// If work that was queued before has failed.
    pub fn wait(&self) -> Result<(), Error> {
        // SAFETY: an event that lives as long as this value, or null.
        ffi::check(unsafe { ffi::te_event_wait(self.event) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { ffi::te_event_free(self.event) }
    }
}

/// Numbers whose copy from a device was queued, into pinned memory.
#[derive(Debug)]
pub struct Download {
    /// `[numbers]` of float64; to be read once the device has come to `copied`.
    values: Tensor,
    copied: Event,
}

impl Download {
    /// Queues the copy of all elements of some tensors, which lie on one device. The caller does not wait.
    ///
    /// # Errors
    /// If they lie on several devices, or the memory or the device fails.
    pub fn begin(numbers: &[&Tensor]) -> Result<Self, Error> {
        let device = numbers.first().map_or(Device::Cpu, |first| first.device());
        if let Some(other) = numbers.iter().find(|number| number.device() != device) {
            return Err(Error(format!("a tensor is on {:?}, another on {device:?}", other.device())));
        }
        let wide = |number: &&Tensor| number.detach().f_to_kind(Kind::Double)?.f_reshape([-1]);
        let wide: Vec<Tensor> = numbers
            .iter()
            .map(wide)
            .collect::<Result<_, tch::TchError>>()
            .map_err(|e| Error(e.to_string()))?;
        let together = Tensor::f_cat(&wide, 0).map_err(|error| Error(error.to_string()))?;
        // SAFETY: a live tensor, and a place for the result.
        let values = ffi::output(|out| unsafe { ffi::te_download(together.as_ptr(), out) })?;
        Ok(Self { values, copied: Event::record(device)? })
    }

    /// Whether the numbers have arrived, so that [`Download::wait`] will not wait.
    ///
    /// # Errors
    /// If the device has failed.
    pub fn has_arrived(&self) -> Result<bool, Error> {
        self.copied.is_reached()
    }

    /// The numbers, in the order of the tensors; waits for their copy alone.
    ///
    /// # Errors
    /// If the device has failed.
    pub fn wait(self) -> Result<Vec<f64>, Error> {
        self.copied.wait()?;
        Vec::try_from(&self.values).map_err(|error: tch::TchError| Error(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_never_waited_for() {
        let event = Event::record(Device::Cpu).unwrap();
        assert_eq!(event.is_reached(), Ok(true));
        event.wait().unwrap();
    }

    #[test]
    fn numbers_arrive_to_the_bit_as_they_were_when_they_left() {
        let single = Tensor::from(0.1f32);
        let others = [Tensor::from(f64::NAN), Tensor::from_slice(&[-3i64, 4]), Tensor::from(1e-300)];
        let numbers: Vec<&Tensor> = std::iter::once(&single).chain(&others).collect();
        let download = Download::begin(&numbers).unwrap();
        let _ = single.shallow_clone().fill_(7.0);
        assert_eq!(download.has_arrived(), Ok(true));
        let bits: Vec<u64> = download.wait().unwrap().into_iter().map(f64::to_bits).collect();
        assert_eq!(bits, [f64::from(0.1f32), f64::NAN, -3.0, 4.0, 1e-300].map(f64::to_bits));
    }
}
