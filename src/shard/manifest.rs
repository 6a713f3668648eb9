//! `_manifest.json`, the table of shards beside it, and a finished dataset as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tables;
use crate::files::{sha256_file, sha256_hex, write_whole};
use crate::store::Location;

/// Name of the manifest in a dataset's folder.
pub const MANIFEST: &str = "_manifest.json";
/// Name of the table of shards.
pub const SHARDS: &str = "_shards.parquet";
/// Name of the table of rejects.
pub const REJECTS: &str = "_rejects.parquet";
/// Name of the file that tells Hugging Face `datasets` which files form which configuration.
pub const HUGGING_FACE: &str = ".huggingface.yaml";

/// What a finished dataset says of itself (`schemas/manifest.v1.json`). Holds no path of the
/// machine, no time and no number of jobs: the same build with the same inputs and options writes
/// the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the row schema.
    pub schema: u32,
    /// Program and version.
    pub tool: String,
    /// The exact options, inputs by the hash of their bytes.
    pub options: Value,
    /// `--seed`.
    pub seed: u64,
    /// Which vocabulary the token ids belong to.
    pub tokenizer: TokenizerId,
    /// Decoder, encoder and resizer with versions: another codec may give other pixels.
    pub codec: BTreeMap<String, String>,
    /// Sums over all splits.
    pub totals: Totals,
    /// Sums of each split.
    pub splits: BTreeMap<String, Totals>,
    /// Rejected samples by kind.
    pub rejects: BTreeMap<String, u64>,
    /// SHA-256 of `_shards.parquet` and `_rejects.parquet`.
    pub tables: BTreeMap<String, String>,
}

/// A vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerId {
    /// SHA-256 of the vocabulary: its tokens in the order of their ids, one a line.
    pub sha256: String,
    /// Number of token ids.
    pub vocab_size: u32,
    /// Longest row of token ids, `[CLS]` and `[SEP]` included.
    pub max_tokens: u32,
}

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Images (keys).
    pub images: u64,
    /// Rows: images times views.
    pub rows: u64,
    /// Captions over images.
    pub captions: u64,
    /// Empty captions that were dropped.
    pub empty_captions: u64,
    /// Shard files.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One line of `_shards.parquet`: one shard file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Path relative to the dataset, with `/`.
    pub path: String,
    /// Split.
    pub split: String,
    /// View of all its rows.
    pub view: u32,
    /// Number within split and view.
    pub number: u32,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
}

impl ShardEntry {
    /// `<split>/v<view>-<number:05>.parquet`
    pub fn path_of(split: &str, view: u32, number: u32) -> String {
        format!("{split}/v{view}-{number:05}.parquet")
    }
}

/// One line of `_rejects.parquet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RejectEntry {
    /// Key of the sample.
    pub key: String,
    /// The file as the source names it.
    pub path: String,
    /// Kind by the contract.
    pub kind: String,
    /// What went wrong.
    pub message: String,
}

impl Manifest {
    /// Writes tables, `.huggingface.yaml` and, last, the manifest.
    ///
    /// # Errors
    /// If one of them cannot be written.
    pub fn publish(mut self, root: &Path, shards: &[ShardEntry], rejects: &[RejectEntry]) -> Result<Self> {
        for (name, bytes) in [(SHARDS, tables::shards(shards)?), (REJECTS, tables::rejects(rejects)?)] {
            self.tables.insert(name.to_owned(), sha256_hex(&bytes));
            write_whole(&root.join(name), &bytes)?;
        }
        // `datasets` refuses a split without rows.
        let filled = self.splits.iter().filter(|(_, sums)| sums.rows > 0);
        let splits: Vec<&str> = filled.map(|(split, _)| split.as_str()).collect();
        write_whole(&root.join(HUGGING_FACE), hugging_face(&splits).as_bytes())?;
        let mut json = serde_json::to_string_pretty(&self)?;
        json.push('\n');
        write_whole(&root.join(MANIFEST), json.as_bytes())?;
        Ok(self)
    }

    /// Whether a row's captions may differ between views: `left` and `right` have changed places in a
    /// mirrored one.
    pub fn captions_differ(&self) -> bool {
        let number = |name: &str| self.options[name].as_f64().unwrap_or_default();
        number("views") > 1.0 && number("flip") > 0.0
    }

    /// Reads the manifest of a dataset; `None` where there is none.
    ///
    /// # Errors
    /// If it cannot be read or is of another schema version.
    pub fn read(root: &Path) -> Result<Option<Self>> {
        let path = root.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let manifest: Self =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        let (found, known) = (manifest.schema, super::schema::VERSION);
        ensure!(found == known, "{} has schema version {found}; this pairmill reads {known}", path.display());
        Ok(Some(manifest))
    }
}

/// Configurations `default` (clean view) and `views` (all), by split, as HF `datasets` reads them.
fn hugging_face(splits: &[&str]) -> String {
    let config = |name: &str, pattern: &str| {
        let files = splits.iter().map(|split| format!("  - split: {split}\n    path: {split}/{pattern}\n"));
        format!("- config_name: {name}\n  data_files:\n{}", files.collect::<String>())
    };
    format!("configs:\n{}{}", config("default", "v0-*.parquet"), config("views", "v*-*.parquet"))
}

/// A finished dataset.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its folder.
    pub root: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its shard files, by split, number and view.
    pub shards: Vec<ShardEntry>,
}

/// The same rows in every view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardViews {
    /// Number within the split.
    pub number: u32,
    /// Rows of each view's file.
    pub rows: u64,
    /// Files by view, from 0 on.
    pub paths: Vec<PathBuf>,
    /// Sizes of these in bytes.
    pub sizes: Vec<u64>,
}

impl Dataset {
    /// Opens a dataset by its manifest; no shard is touched.
    ///
    /// # Errors
    /// If there is no finished dataset there, or a table is not the one that the manifest names.
    pub fn open(location: &Location) -> Result<Self> {
        let root = location.path().to_owned();
        ensure!(root.is_dir(), "there is no folder {location}");
        let Some(manifest) = Manifest::read(&root)? else {
            bail!(
                "{location} has no {MANIFEST}: it is no dataset, or `prepare` has not finished; run it again"
            );
        };
        let path = root.join(SHARDS);
        let (found, expected) = (sha256_file(&path)?, manifest.tables.get(SHARDS));
        ensure!(Some(&found) == expected, "{} is not the table that {MANIFEST} names", path.display());
        let mut shards = tables::read_shards(&path)?;
        shards.sort_by(|a, b| (&a.split, a.number, a.view).cmp(&(&b.split, b.number, b.view)));
        Ok(Self { root, manifest, shards })
    }

    /// The hash of `_shards.parquet`: it names every byte of every shard.
    pub fn fingerprint(&self) -> &str {
        &self.manifest.tables[SHARDS]
    }

    /// The rejected samples.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn rejects(&self) -> Result<Vec<RejectEntry>> {
        tables::read_rejects(&self.root.join(REJECTS))
    }

    /// The shards of a split in order, each with all its views.
    ///
    /// # Errors
    /// If there is no such split, or the views of a shard do not have the same rows.
    pub fn split(&self, split: &str) -> Result<Vec<ShardViews>> {
        let mut all: Vec<ShardViews> = Vec::new();
        for entry in self.shards.iter().filter(|entry| entry.split == split) {
            let path = self.root.join(&entry.path);
            match all.last_mut().filter(|shard| shard.number == entry.number) {
                Some(shard) => {
                    ensure!(shard.rows == entry.rows, "the views of shard {} differ in rows", entry.number);
                    ensure!(
                        shard.paths.len() == entry.view as usize,
                        "a view of shard {} is missing",
                        entry.number
                    );
                    shard.paths.push(path);
                    shard.sizes.push(entry.bytes);
                }
                None => {
                    ensure!(entry.view == 0, "view 0 of shard {} is missing", entry.number);
                    let (number, rows) = (entry.number, entry.rows);
                    all.push(ShardViews { number, rows, paths: vec![path], sizes: vec![entry.bytes] });
                }
            }
        }
        let known = self.manifest.splits.keys().cloned().collect::<Vec<_>>().join(", ");
        ensure!(!all.is_empty(), "{} has no split `{split}`; it has {known}", self.root.display());
        Ok(all)
    }
}
