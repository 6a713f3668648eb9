//! A bound on open files, and on what of them is mapped: a dataset may have more shards than a process
//! may have descriptors, and more bytes than the machine has memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

use super::mapped::{Lines, Mapped};

/// Bytes of mapped files that may count as this process's memory. Where the open files have more, so
/// much is read, and then all their pages are let go: the page cache keeps them, and to find one there
/// again takes as long as to copy it.
const MAPPED: usize = 1 << 30;

/// The files that are open. Threads may share them.
///
/// Which one is closed for another follows the second-chance rule (Corbató 1968): in turn, and those
/// that were read since their last turn are passed over. So a read of an open file moves nothing.
#[derive(Debug)]
pub struct OpenFiles {
    most: usize,
    turn: Mutex<VecDeque<Weak<OpenFile>>>,
    /// Bytes read out of maps since their pages were last let go.
    mapped: AtomicUsize,
}

/// A file that is opened when it is wanted, and closed when others need its place.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    file: RwLock<Option<Arc<Opened>>>,
    read: AtomicBool,
    among: Arc<OpenFiles>,
}

/// An open file.
#[derive(Debug)]
struct Opened {
    file: Arc<File>,
    /// None where the system does not map it.
    map: OnceLock<Option<Mapped>>,
}

impl OpenFiles {
    /// Keeps up to `most` files open.
    ///
    /// # Panics
    /// If `most` is 0.
    pub fn new(most: usize) -> Self {
        assert!(most > 0, "one file at least is open while it is read");
        Self { most, turn: Mutex::default(), mapped: AtomicUsize::new(0) }
    }

    /// The file at `path`, which counts among these. It is not opened yet.
    pub fn named(among: &Arc<Self>, path: &Path) -> Arc<OpenFile> {
        let (path, among) = (path.to_owned(), among.clone());
        Arc::new(OpenFile { path, file: RwLock::default(), read: AtomicBool::new(false), among })
    }

    /// Notes that so many bytes were read out of a map.
    fn note(&self, bytes: usize) {
        if self.mapped.fetch_add(bytes, Ordering::Relaxed) + bytes > MAPPED {
            self.mapped.store(0, Ordering::Relaxed);
            let open: Vec<_> = self.turn().iter().filter_map(Weak::upgrade).collect();
            let open: Vec<_> = open.iter().filter_map(|file| file.now()).collect();
            let maps = || open.iter().filter_map(|file| file.map.get()?.as_ref());
            if maps().map(Mapped::length).sum::<usize>() > MAPPED {
                maps().for_each(Mapped::release);
            }
        }
    }

    fn turn(&self) -> MutexGuard<'_, VecDeque<Weak<OpenFile>>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner) // a panic elsewhere leaves it whole
    }
}

impl OpenFile {
    /// The open file. It stays open as long as the answer is held, whatever is opened meanwhile.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn get(self: &Arc<Self>) -> io::Result<Arc<File>> {
        Ok(self.opened()?.file.clone())
    }

    fn opened(self: &Arc<Self>) -> io::Result<Arc<Opened>> {
        match self.now() {
            Some(file) => {
                if !self.read.load(Ordering::Relaxed) {
                    self.read.store(true, Ordering::Relaxed); // only then: others read this line, too
                }
                Ok(file)
            }
            None => self.open(),
        }
    }

    /// Copies lines of the file into `out`, out of a map of it. `None` where the system does not map
    /// it, `false` where it was cut.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn copy(self: &Arc<Self>, lines: Lines, out: &mut [u8]) -> io::Result<Option<bool>> {
        let file = self.opened()?;
        let map = file.map.get_or_init(|| Mapped::new(&file.file).ok());
        let copied = map.as_ref().map(|map| map.copy(&file.file, lines, out));
        self.among.note(lines.span(out.len()));
        Ok(copied)
    }

    fn now(&self) -> Option<Arc<Opened>> {
        self.file.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(self: &Arc<Self>) -> io::Result<Arc<Opened>> {
        let mut turn = self.among.turn();
        if let Some(file) = self.now() {
            return Ok(file); // another thread was first
        }
        let file = Arc::new(Opened { file: Arc::new(File::open(&self.path)?), map: OnceLock::new() });
        self.set(Some(file.clone()));
        while turn.len() >= self.among.most {
            let next = turn.pop_front().expect("it is not empty");
            match next.upgrade() {
                Some(open) if open.read.swap(false, Ordering::Relaxed) => turn.push_back(next),
                Some(open) => open.set(None),
                None => {} // its owner is gone, and has closed it
            }
        }
        turn.push_back(Arc::downgrade(self));
        Ok(file)
    }

    fn set(&self, file: Option<Arc<Opened>>) {
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Files `a`, `b`, … that hold their names, of which `most` may be open.
    fn files(folder: &Path, most: usize, names: &[&str]) -> Vec<Arc<OpenFile>> {
        let among = Arc::new(OpenFiles::new(most));
        let file = |name: &&str| {
            std::fs::write(folder.join(name), name).unwrap();
            OpenFiles::named(&among, &folder.join(name))
        };
        names.iter().map(file).collect()
    }

    fn open(files: &[Arc<OpenFile>]) -> Vec<bool> {
        files.iter().map(|file| file.now().is_some()).collect()
    }

    #[test]
    fn a_file_that_was_not_read_again_is_closed_first_and_comes_back_when_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 2, &["a", "b", "c"]);
        let held = [0, 1, 0, 2].map(|at: usize| files[at].get().unwrap());
        assert!(Arc::ptr_eq(&held[0], &held[2]), "it was open");
        assert_eq!(open(&files), [true, false, true]);
        let mut text = String::new();
        held[1].as_ref().read_to_string(&mut text).unwrap();
        assert_eq!(text, "b", "what is held can be read, though its place is taken");
        files[1].get().unwrap();
        assert_eq!(open(&files).iter().filter(|&&open| open).count(), 2);
    }

    #[test]
    fn where_all_were_read_the_first_in_turn_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 2, &["a", "b", "c"]);
        let _ = [0, 1, 0, 1, 2].map(|at: usize| drop(files[at].get().unwrap()));
        assert_eq!(open(&files), [false, true, true]);
    }

    #[test]
    fn a_file_whose_owner_is_gone_needs_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path(), 2, &["a", "b", "c"]);
        files.iter().take(2).for_each(|file| drop(file.get().unwrap()));
        files.remove(0);
        files[1].get().unwrap();
        assert_eq!(open(&files), [true, true]);
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_and_closes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 1, &["a"]);
        let first = files[0].get().unwrap();
        let none = OpenFiles::named(&files[0].among, &folder.path().join("none"));
        assert!(none.get().is_err());
        assert!(Arc::ptr_eq(&first, &files[0].get().unwrap()));
    }
}
