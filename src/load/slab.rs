//! Large buffers that find their way home.

use std::ops::{Deref, DerefMut};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Slabs begin at a multiple of so many bytes: a cache line, and what vector instructions like.
pub const ALIGNMENT: usize = 64;

/// Bytes that return to their pool when they are dropped, wherever that happens: pages of a fresh
/// allocation cost more than the pixels that are copied into them. The first one lies at a multiple
/// of [`ALIGNMENT`].
#[derive(Debug, Default)]
pub struct Slab {
    /// Some bytes more than are given out, since the allocator aligns to less.
    bytes: Vec<u8>,
    start: usize,
    length: usize,
    home: Option<Sender<Vec<u8>>>,
}

impl Deref for Slab {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.length]
    }
}

impl DerefMut for Slab {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.length]
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
        let room = length + ALIGNMENT - 1;
        if bytes.capacity() < room {
            bytes = vec![0; room]; // zeroed pages come free from the system, resizing writes them
        }
        bytes.resize(room, 0);
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Slab { bytes, start, length, home: Some(self.home.clone()) }
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
    fn slabs_are_aligned() {
        let slabs = Slabs::new(4);
        for length in [1, 63, 1000, 150_528, 500] {
            assert_eq!(slabs.take(length).as_ptr().addr() % ALIGNMENT, 0, "{length}");
        }
    }

    #[test]
    fn a_slab_may_outlive_its_pool() {
        let slab = Slabs::new(1).take(3);
        assert_eq!(slab.len(), 3);
    }
}
