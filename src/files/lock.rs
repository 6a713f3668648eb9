//! One program at a time in a folder.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder of what a program keeps in its `--out` while it works.
pub const STATE: &str = ".pairmill";

const NAME: &str = "lock";

/// A locked file, `.pairmill/lock` in the folder of `--out`. The operating system lets go of it when the process ends,
/// however it ends; dropped, it leaves no trace.
pub struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a folder, which is made where it is missing, for `program`: its name in messages.
    ///
    /// # Errors
    /// If another process has it, or the folder cannot be written.
    pub fn take(out: &Path, program: &str) -> Result<Self> {
        let folder = out.join(STATE);
        let path = folder.join(NAME);
        loop {
            fs::create_dir_all(&folder)
                .with_context(|| format!("--out: cannot make the folder {}", folder.display()))?;
            let file = match File::options().create(true).truncate(false).write(true).open(&path) {
                Ok(file) => file,
                // The folder went away with a run that ended just now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("--out: cannot write {}", path.display()));
                }
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => bail!(
                    "--out: another {program} is at work in {}; wait for its end, or name another folder",
                    out.display()
                ),
                // A file system without locks is no reason not to work on it.
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("--out: cannot lock {}", path.display()));
                }
            }
            if is_at(&file, &path) {
                return Ok(Self { _file: file, path });
            }
        }
    }

    /// Whether a file in the folder of the state is the lock.
    pub fn is(name: &str) -> bool {
        name == NAME
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is held: whoever opened it before will see that it is not at its path.
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = self.path.parent() {
            let _ = fs::remove_dir(folder); // only where nothing is left in it
        }
    }
}

/// Whether the file that was opened still has its name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(opened), Ok(named)) => place(opened) == place(named),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true // an open file cannot be removed there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let first = Lock::take(&out, "prepare").unwrap();
        let error = Lock::take(&out, "prepare").err().unwrap().to_string();
        assert!(error.starts_with("--out: another prepare is at work in "), "{error}");
        drop(first);
        drop(Lock::take(&out, "prepare").unwrap());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }
}
