//! Files that are whole or absent, their hashes, and folders that one program at a time works in.

pub mod lock;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// How the name of a temporary file begins and ends.
const TEMPORARY: (&str, &str) = (".pairmill-", ".tmp");

/// A file being written beside its final name; it takes that name in [`Pending::commit`] or not at all.
pub struct Pending {
    file: tempfile::NamedTempFile,
    path: PathBuf,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Pending {
    /// A new temporary file in the folder of `path`, which is made where it is missing.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn create(path: &Path) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY.0)
            .suffix(TEMPORARY.1)
            .tempfile_in(folder)
            .with_context(|| format!("cannot write in {}", folder.display()))?;
        Ok(Self { file, path: path.to_owned(), syncing: None })
    }

    /// Another handle on the same file, for writers that want to own theirs.
    ///
    /// # Errors
    /// If the operating system refuses one.
    pub fn handle(&self) -> Result<File> {
        Ok(self.file.as_file().try_clone()?)
    }

    /// Begins to bring to the disk, in the background, what was written so far: so much less has
    /// [`Pending::commit`] to wait for.
    ///
    /// # Errors
    /// If the disk failed since the last time.
    pub fn sync_soon(&mut self) -> Result<()> {
        if self.syncing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        self.synced().with_context(|| self.failed())?;
        let file = self.handle()?;
        let thread = thread::Builder::new().name("sync".to_owned()).spawn(move || file.sync_data());
        self.syncing = thread.ok(); // no thread, no head start
        Ok(())
    }

    /// An error of the disk is told once, to whoever asks first.
    fn synced(&mut self) -> io::Result<()> {
        let Some(thread) = self.syncing.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that flushes it panicked")))
    }

    /// The message of whoever fails to write it.
    pub fn failed(&self) -> String {
        format!("cannot write {}", self.path.display())
    }

    /// Flushes to the disk, takes the final name and flushes the folder.
    ///
    /// # Errors
    /// If any of the three fails; the final name is then untouched.
    pub fn commit(mut self) -> Result<()> {
        let synced = self.synced();
        let path = self.path;
        let failed = || format!("cannot write {}", path.display());
        synced.with_context(failed)?;
        self.file.as_file().sync_all().with_context(failed)?;
        make_readable(self.file.as_file()).with_context(failed)?;
        self.file.persist(&path).map_err(|error| error.error).with_context(failed)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
        }
        Ok(())
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file with a place of its own to read from, where other handles on it share one that each moves
/// under the others.
#[derive(Clone)]
pub struct Positioned {
    file: Arc<File>,
    at: u64,
}

impl Positioned {
    /// The file, read from byte `at` on.
    pub fn new(file: Arc<File>, at: u64) -> Self {
        Self { file, at }
    }
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Positioned {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Passes bytes on and keeps their number and hash.
pub struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    /// Begins with no byte.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    /// How many bytes there were, and their SHA-256 in lower-case hexadecimal.
    pub fn finish(self) -> (u64, String) {
        (self.bytes, hex(&self.hasher.finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Temporary files are private; what is published is as readable as any other file.
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// Writes `bytes` to `path`, whole or not at all.
///
/// # Errors
/// If the folder cannot be written or the disk is full; `path` is then untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut pending = Pending::create(path)?;
    pending.write_all(bytes).with_context(|| pending.failed())?;
    pending.commit()
}

/// Removes the temporary files that killed runs left in a folder; none where there is no folder.
///
/// # Errors
/// If one of them cannot be removed.
pub fn remove_temporary(folder: &Path) -> Result<()> {
    let Ok(files) = fs::read_dir(folder) else { return Ok(()) };
    for file in files.flatten() {
        let name = file.file_name();
        let ours = |name: &str| name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1);
        if name.to_str().is_some_and(ours) {
            fs::remove_file(file.path())
                .with_context(|| format!("cannot remove {}", file.path().display()))?;
        }
    }
    Ok(())
}

/// The SHA-256 of a file's bytes, in lower-case hexadecimal.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    for_blocks(path, |block| hasher.update(block))?;
    Ok(hex(&hasher.finalize()))
}

/// The CRC-32C of a file's bytes.
///
/// # Errors
/// If the file cannot be read.
pub fn crc32c_file(path: &Path) -> Result<u32> {
    let mut crc = 0;
    for_blocks(path, |block| crc = crc32c::crc32c_append(crc, block))?;
    Ok(crc)
}

fn for_blocks(path: &Path, mut take: impl FnMut(&[u8])) -> Result<()> {
    let reading = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).with_context(reading)? {
            0 => return Ok(()),
            read => take(&buffer[..read]),
        }
    }
}

/// The SHA-256 of bytes, in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes as a person reads them: `17.3 MB`, powers of 1000.
pub fn human_bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit < 4 {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", ["B", "kB", "MB", "GB", "TB"][unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_file_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/table.bin");
        let mut pending = Pending::create(&path).unwrap();
        pending.write_all(b"half").unwrap();
        drop(pending);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join(".pairmill-a1B2c3.tmp"), folder.path().join("notes.tmp"));
        [&ours, &other].into_iter().for_each(|path| fs::write(path, "half").unwrap());
        remove_temporary(folder.path()).unwrap();
        assert!(!ours.exists() && other.exists());
        remove_temporary(&ours).unwrap();
    }

    #[test]
    fn a_file_flushed_on_the_way_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut pending = Pending::create(&path).unwrap();
        for part in 0..20_u8 {
            pending.write_all(&[part; 1000]).unwrap();
            pending.sync_soon().unwrap();
        }
        pending.commit().unwrap();
        let expected: Vec<u8> = (0..20).flat_map(|part| [part; 1000]).collect();
        assert_eq!(fs::read(path).unwrap(), expected);
    }

    #[test]
    fn a_committed_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(sha256_file(&path).unwrap(), sha256_hex(b"new"));
        assert_eq!(crc32c_file(&path).unwrap(), crc32c::crc32c(b"new"));
    }

    #[test]
    fn what_passes_through_is_counted_and_hashed() {
        let mut file = Hashing::new(Vec::new());
        [&b"abc"[..], b"", b"de"].iter().for_each(|bytes| file.write_all(bytes).unwrap());
        assert_eq!(file.inner, b"abcde");
        assert_eq!(file.finish(), (5, sha256_hex(b"abcde")));
    }

    #[test]
    fn bytes_read_like_a_person_would_say_them() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(17_340_000), "17.3 MB");
    }
}
