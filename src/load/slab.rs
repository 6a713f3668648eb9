//! Large buffers that find their way home.

use std::ops::{Deref, DerefMut};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Bytes that return to their pool when they are dropped, wherever that happens: pages of a fresh
/// allocation cost more than the pixels that are copied into them.
#[derive(Debug, Default)]
pub struct Slab {
    bytes: Vec<u8>,
    home: Option<Sender<Vec<u8>>>,
}

impl Deref for Slab {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Slab {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let _ = home.try_send(std::mem::take(&mut self.bytes)); // a full or closed pool frees it
        }
    }
}

/// A pool of at most so many unused buffers.
#[derive(Debug)]
pub struct Slabs {
    home: Sender<Vec<u8>>,
    unused: Receiver<Vec<u8>>,
}

impl Slabs {
    /// An empty pool.
    pub fn new(capacity: usize) -> Self {
        let (home, unused) = bounded(capacity);
        Self { home, unused }
    }

    /// A buffer of `length` bytes of any value.
    pub fn take(&self, length: usize) -> Slab {
        let mut bytes = self.unused.try_recv().unwrap_or_default();
        if bytes.capacity() < length {
            bytes = vec![0; length]; // zeroed pages come free from the system, resizing writes them
        }
        bytes.resize(length, 0);
        Slab { bytes, home: Some(self.home.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slab_is_used_again() {
        let slabs = Slabs::new(1);
        let (first, second) = (slabs.take(1000), slabs.take(1000));
        let address = first.as_ptr();
        drop((first, second));
        let again = slabs.take(500);
        assert_eq!((again.as_ptr(), again.len()), (address, 500));
        assert_eq!(slabs.take(2000).len(), 2000);
    }

    #[test]
    fn a_slab_may_outlive_its_pool() {
        let slab = Slabs::new(1).take(3);
        assert_eq!(slab.len(), 3);
    }
}
