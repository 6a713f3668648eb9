//! Which names in OUT are ours, and reading and removing them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

/// `v<view>-<number>.parquet`
pub fn is_shard(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name.strip_prefix('v').and_then(|rest| rest.strip_suffix(".parquet")?.split_once('-'));
    parts.is_some_and(|(view, number)| digits(view) && number.len() >= 5 && digits(number))
}

/// The name of a file that was never finished.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(".pairmill-") && name.ends_with(".tmp")
}

/// Folders that may hold shards.
pub fn splits(out: &Path) -> Result<Vec<PathBuf>> {
    let names = names_in(out)?.into_iter().filter(|name| !name.starts_with('.'));
    // A link to a folder is somebody else's.
    let is_folder = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    Ok(names.map(|name| out.join(name)).filter(is_folder).collect())
}

/// Names in a folder, sorted; none where there is no folder.
pub fn names_in(folder: &Path) -> Result<Vec<String>> {
    let reading = || format!("--out: cannot read {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.with_context(reading)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Bytes of all files in a folder and in the folders in it; what a link leads to is elsewhere.
pub fn bytes(folder: &Path) -> Result<u64> {
    let paths = names_in(folder)?.into_iter().map(|name| folder.join(name));
    let bytes_of = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => bytes(&path),
        metadata => Ok(metadata.map_or(0, |metadata| metadata.len())),
    };
    paths.map(bytes_of).sum()
}

/// Bytes of a file; `None` where there is none.
pub fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// A value from its JSON file; `None` where there is none.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => {
            let value = serde_json::from_slice(&bytes);
            value.map(Some).with_context(|| format!("--out: {} is damaged; give --overwrite", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("--out: cannot read {}", path.display())),
    }
}

/// Removes a file, if there is one.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("--out: cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_like_ours_are_shards() {
        assert!(is_shard("v0-00000.parquet") && is_shard("v12-123456.parquet"));
        let others = ["v0.parquet", "v0-1.parquet", "va-00000.parquet", "v0-00000.parquet.bak", "x.parquet"];
        assert!(!others.into_iter().any(is_shard));
    }
}
