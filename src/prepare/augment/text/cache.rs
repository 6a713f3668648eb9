//! What a line filter gave, on the disk: a file a batch, whole or absent, in a folder of its command.

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::files::{sha256_hex, write_whole};
use crate::store::Location;

/// What one command gave.
pub struct Cache {
    folder: PathBuf,
    command: String,
}

impl Cache {
    /// The part of the cache `root` that is about a command.
    pub fn new(root: &Location, command: &str) -> Self {
        let folder = root.path().join("back-translation").join(&sha256_hex(command.as_bytes())[..16]);
        Self { folder, command: command.to_owned() }
    }

    /// Calls `each` with every caption and what it became, in the order of the files' names: where two
    /// of them disagree, the first is right.
    ///
    /// # Errors
    /// If a file cannot be read or is none of ours.
    pub fn read(&self, mut each: impl FnMut(&str, &str)) -> Result<()> {
        let Ok(files) = fs::read_dir(&self.folder) else { return Ok(()) };
        let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
        paths.sort_unstable();
        for path in paths {
            let reading =
                || format!("--back-translate: cannot read {}; remove it and run again", path.display());
            let bytes = fs::read(&path).with_context(reading)?;
            let batch: Batch = serde_json::from_slice(&bytes).with_context(reading)?;
            let ours = batch.command == self.command;
            batch
                .captions
                .iter()
                .filter(|_| ours)
                .for_each(|(caption, translated)| each(caption, translated));
        }
        Ok(())
    }

    /// Keeps a batch.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn add(&self, captions: &[String], translated: &[String]) -> Result<()> {
        let captions = captions.iter().cloned().zip(translated.iter().cloned()).collect();
        let bytes = serde_json::to_vec(&Batch { command: self.command.clone(), captions })?;
        let path = self.folder.join(format!("{}.json", &sha256_hex(&bytes)[..32]));
        write_whole(&path, &bytes).context("--back-translate-cache")
    }
}

/// A file of the cache.
#[derive(serde::Serialize, serde::Deserialize)]
struct Batch {
    command: String,
    captions: Vec<(String, String)>,
}

/// The folder of programs' caches, by the XDG rules.
pub fn default_root() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute);
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    Some(named.or_else(home)?.join("pairmill"))
}
