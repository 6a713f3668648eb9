//! A bound on open files: a dataset may have more shards than a process may have descriptors.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Open files, the one that was used last in front. Threads may share them.
#[derive(Debug)]
pub struct OpenFiles {
    most: usize,
    recent: Mutex<VecDeque<(PathBuf, Arc<File>)>>,
}

impl OpenFiles {
    /// Keeps up to `most` files open; beyond that, the one that lay idle longest is closed, and opened anew when it is
    /// wanted again.
    ///
    /// # Panics
    /// If `most` is 0.
    pub fn new(most: usize) -> Self {
        assert!(most > 0, "one file at least is open while it is read");
        Self { most, recent: Mutex::default() }
    }

    /// The open file at `path`. It stays open as long as the answer is held, whatever is opened meanwhile.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn get(&self, path: &Path) -> io::Result<Arc<File>> {
        // A panic elsewhere leaves the list whole.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let place = recent.iter().position(|(open, _)| open.as_os_str() == path.as_os_str()); // bytes: no component is parsed
        let found = match place.and_then(|at| recent.remove(at)) {
            Some(found) => found,
            None => (path.to_owned(), Arc::new(File::open(path)?)),
        };
        let file = found.1.clone();
        recent.push_front(found);
        recent.truncate(self.most);
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_file_that_lay_idle_longest_is_closed_and_comes_back_when_it_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b", "c"] {
            std::fs::write(path(name), name).unwrap();
        }
        let files = OpenFiles::new(2);
        let open = || {
            let recent = files.recent.lock().unwrap();
            recent.iter().map(|(path, _)| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let held = ["a", "b", "a", "c"].map(|name| files.get(&path(name)).unwrap());
        assert!(Arc::ptr_eq(&held[0], &held[2]), "it was open");
        assert_eq!(open(), ["c", "a"]);
        let mut text = String::new();
        held[1].as_ref().read_to_string(&mut text).unwrap();
        assert_eq!(text, "b", "what is held can be read, though the list has let it go");
        files.get(&path("b")).unwrap();
        assert_eq!(open(), ["b", "c"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_and_closes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "a").unwrap();
        let files = OpenFiles::new(1);
        let first = files.get(&path).unwrap();
        assert!(files.get(&folder.path().join("none")).is_err());
        assert!(Arc::ptr_eq(&first, &files.get(&path).unwrap()));
    }
}
