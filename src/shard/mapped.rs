//! A shard file in memory's address space, and an answer to its being cut meanwhile.
//!
//! `read_at` copies pixels once into a buffer and once more into the batch; out of a memory map they
//! are copied once. What a map lacks is an error: a page behind the end of a file that has become
//! shorter raises SIGBUS, which ends the process. A handler puts pages of zeros in the place of those
//! that are gone, so that the copy runs on, and the copy then says that the file was cut.
//!
//! All `unsafe` of this package is in this file.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, siginfo_t};

/// A file that is mapped to read. Threads may share it.
#[derive(Debug)]
pub struct Mapped {
    start: *mut c_void,
    length: usize,
    /// Pages of zeros stand in the place of some that were gone.
    cut: AtomicBool,
}

// SAFETY: the mapping is only read, by copies of bytes that may change at any time, and belongs to no thread.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

/// Lines of pixels in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Where the first one begins, in bytes.
    pub from: usize,
    /// Bytes from the beginning of one to that of the next.
    pub stride: usize,
    /// Bytes of one.
    pub length: usize,
}

impl Lines {
    /// Bytes from the beginning of the first to about the end of the last, where `bytes` are wanted.
    pub(super) fn span(self, bytes: usize) -> usize {
        (bytes / self.length).saturating_mul(self.stride)
    }

    /// Where the last of `count` lines ends.
    fn end(self, count: usize) -> Option<usize> {
        self.stride.checked_mul(count.checked_sub(1)?)?.checked_add(self.from)?.checked_add(self.length)
    }
}

impl Mapped {
    /// Maps a whole file.
    ///
    /// # Errors
    /// If it is empty, or the system does not map such files.
    pub fn new(file: &File) -> io::Result<Self> {
        static HANDLED: OnceLock<bool> = OnceLock::new();
        if !HANDLED.get_or_init(handle_bus_errors) {
            return Err(io::Error::other("SIGBUS cannot be handled"));
        }
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: a new mapping, at a place that the system chooses.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start, length, cut: AtomicBool::new(false) })
    }

    /// Copies lines of the file one after another into `out`, which has room for a whole number of
    /// them. `false`, and anything in `out`, where the file does not reach so far, or no longer does.
    ///
    /// # Panics
    /// If lines have no length.
    pub fn copy(&self, file: &File, lines: Lines, out: &mut [u8]) -> bool {
        let count = out.len() / lines.length;
        let Some(end) = lines.end(count).filter(|&end| end <= self.length) else { return count == 0 };
        let copy = if out.len() >= STREAMED { stream } else { ptr::copy_nonoverlapping };
        let before = READING.replace(self);
        for (at, out) in out.chunks_exact_mut(lines.length).enumerate() {
            // SAFETY: the line lies within the mapping, since the last one does, and `out` is as long.
            unsafe {
                let line = self.start.cast::<u8>().add(lines.from + at * lines.stride);
                copy(line, out.as_mut_ptr(), lines.length);
            }
        }
        fence();
        READING.set(before);
        // A page that holds the new end gives zeros behind it, and no signal.
        let reaches = file.metadata().is_ok_and(|now| now.len() >= end as u64);
        reaches && !self.cut.load(Ordering::SeqCst)
    }

    /// Bytes of the file.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Takes the pages out of this process's memory. They stay in the page cache, and come back when
    /// they are read.
    pub fn release(&self) {
        // SAFETY: pages of a file that are only read lose nothing.
        unsafe { libc::madvise(self.start, self.length, libc::MADV_DONTNEED) };
    }

    fn holds(&self, address: usize) -> bool {
        address.checked_sub(self.start as usize).is_some_and(|at| at < self.length)
    }

    /// Zeros in the place of the file. Called by the signal's handler: it may use nothing that locks
    /// or allocates.
    fn replace(&self) -> bool {
        self.cut.store(true, Ordering::SeqCst);
        // SAFETY: the place is ours until `drop`, and whoever reads it expects any bytes.
        let zeros = unsafe {
            let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            libc::mmap(self.start, self.length, libc::PROT_READ, how, -1, 0)
        };
        zeros != libc::MAP_FAILED
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and nobody reads it any longer.
        unsafe { libc::munmap(self.start, self.length) };
    }
}

/// Pictures of fewer bytes are copied into the processor's cache, where the reader of the batch may
/// find them.
const STREAMED: usize = 32 << 10;

/// Copies past the processor's cache. A batch is larger than that, and to fetch a line of it only to
/// overwrite it takes as long as the copy.
///
/// # Safety
/// As [`ptr::copy_nonoverlapping`]; [`fence`] comes before another thread reads the copy.
#[cfg(target_arch = "x86_64")]
unsafe fn stream(from: *const u8, to: *mut u8, length: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    const STEP: usize = size_of::<__m128i>();
    // SAFETY: every step lies within the `length` bytes, and is aligned where it is written.
    unsafe {
        if !to.addr().is_multiple_of(STEP) || !length.is_multiple_of(STEP) {
            return ptr::copy_nonoverlapping(from, to, length);
        }
        for at in (0..length).step_by(STEP) {
            _mm_stream_si128(to.add(at).cast(), _mm_loadu_si128(from.add(at).cast()));
        }
    }
}

/// Elsewhere the compiler offers no such copy.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn stream(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: as the caller has it.
    unsafe { ptr::copy_nonoverlapping(from, to, length) }
}

/// Makes what was streamed visible to threads that are told of it later.
fn fence() {
    // SAFETY: every x86-64 has it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_sfence()
    };
}

thread_local! {
    /// The map that this thread copies from.
    static READING: Cell<*const Mapped> = const { Cell::new(ptr::null()) };
}

/// What the process did on SIGBUS before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Whether it could be done.
fn handle_bus_errors() -> bool {
    // SAFETY: `zeroed` is a valid action to fill in; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut before = MaybeUninit::<libc::sigaction>::uninit();
        if libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()) != 0 {
            return false;
        }
        BEFORE.get_or_init(|| before.assume_init());
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) == 0
    }
}

extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the system gives a valid `info`; the map that a thread copies from outlives the copy.
    let ours = unsafe {
        let address = (*info).si_addr() as usize;
        READING.get().as_ref().is_some_and(|map| map.holds(address) && map.replace())
    };
    if ours {
        return;
    }
    // SAFETY: what was there before is called as the system would have, or put back.
    unsafe {
        match BEFORE.get() {
            Some(before) if ![libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction) => {
                if before.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        std::mem::transmute(before.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(before.sa_sigaction);
                    handler(signal);
                }
            }
            _ => {
                libc::signal(signal, libc::SIG_DFL); // the access is tried again, and ends the process
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 1 << 14; // no system has larger ones by default

    /// A file of `pages` pages whose bytes count up, and its map.
    fn mapped(pages: usize) -> (File, Mapped) {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..pages * PAGE).map(|at| (at % 251) as u8).collect();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        let map = Mapped::new(&file).unwrap();
        (file, map)
    }

    #[test]
    fn lines_are_copied_one_after_another() {
        let (file, map) = mapped(1);
        let mut out = [0; 6];
        assert!(map.copy(&file, Lines { from: 10, stride: 100, length: 2 }, &mut out));
        assert_eq!(out, [10, 11, 110, 111, 210, 211]);
        map.release();
        assert!(map.copy(&file, Lines { from: 11, stride: 2, length: 2 }, &mut out));
        assert_eq!(out, [11, 12, 13, 14, 15, 16]);
        assert!(map.copy(&file, Lines { from: PAGE, stride: 2, length: 2 }, &mut []));
    }

    #[test]
    fn what_is_streamed_is_what_is_copied() {
        let (file, map) = mapped(8);
        for (length, aside) in [(1 << 9, 0), (1 << 9, 3), (672, 0), (675, 0)] {
            let count = STREAMED.div_ceil(length);
            let mut room = vec![0; count * length + 32];
            let out = &mut room[aside..][..count * length];
            let lines = Lines { from: 7, stride: length + 9, length };
            assert!(map.copy(&file, lines, out));
            let byte = |at: usize| ((7 + at / length * (length + 9) + at % length) % 251) as u8;
            assert!(out.iter().enumerate().all(|(at, &value)| value == byte(at)), "{length}, {aside}");
        }
    }

    #[test]
    fn lines_behind_the_end_are_refused() {
        let (file, map) = mapped(1);
        for from in [PAGE - 5, PAGE, usize::MAX - 3] {
            assert!(!map.copy(&file, Lines { from, stride: 2, length: 2 }, &mut [0; 6]), "{from}");
        }
        assert!(!map.copy(&file, Lines { from: 0, stride: usize::MAX, length: 2 }, &mut [0; 6]));
        assert!(map.copy(&file, Lines { from: PAGE - 6, stride: 2, length: 2 }, &mut [0; 6]));
    }

    #[test]
    fn a_file_that_is_cut_is_noticed_by_every_copy_of_what_is_gone() {
        let (file, map) = mapped(4);
        let mut out = [0; PAGE];
        let mut copy = |from: usize| map.copy(&file, Lines { from, stride: PAGE, length: PAGE }, &mut out);
        assert!(copy(0) && copy(3 * PAGE));
        file.set_len(2 * PAGE as u64 - 1).unwrap();
        assert!(copy(0), "it is there still");
        assert!(!copy(PAGE), "its page is there, but not its end");
        assert!(!copy(3 * PAGE), "its page is gone");
        file.set_len(4 * PAGE as u64).unwrap();
        assert!(!copy(0), "zeros stand in its place since");
    }

    #[test]
    fn threads_notice_a_cut_each() {
        let (file, map) = mapped(64);
        let copies = |first: usize| {
            let mut out = [0; PAGE];
            (first..64)
                .step_by(4)
                .map(|page| map.copy(&file, Lines { from: page * PAGE, stride: 1, length: PAGE }, &mut out))
                .collect::<Vec<_>>()
        };
        file.set_len(1).unwrap();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|first| scope.spawn(move || copies(first))).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap().iter().all(|whole| !whole)));
        });
    }

    #[test]
    fn an_empty_file_is_not_mapped() {
        assert!(Mapped::new(&tempfile::tempfile().unwrap()).is_err());
    }
}
