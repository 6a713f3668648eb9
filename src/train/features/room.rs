//! Whether a disk has room for what is only kept to save time.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::files::human_bytes;

/// A convenience must not fill the disk that checkpoints go to.
///
/// # Errors
/// If `wanted` bytes are more than half of what the disk of `folder` has left, or it cannot be asked.
pub fn check(folder: &Path, wanted: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(folder).map_err(std::io::Error::from);
    let disk = disk.with_context(|| format!("{}", folder.display()))?;
    check_free(wanted, disk.f_bavail * disk.f_frsize)
}

fn check_free(wanted: u64, free: u64) -> Result<()> {
    let (all, left) = (human_bytes(wanted), human_bytes(free));
    ensure!(wanted <= free / 2, "they may need {all}, and the disk has {left} left");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_not_need_more_than_half_of_what_the_disk_has_left() {
        assert!(check_free(50, 100).is_ok());
        let error = check_free(3_000_000_000, 5_000_000_000).unwrap_err().to_string();
        assert_eq!(error, "they may need 3.0 GB, and the disk has 5.0 GB left");
    }
}
