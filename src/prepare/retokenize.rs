//! A finished dataset → the same one with other token ids: rows, pictures and texts are copied.
//!
//! The result is what `prepare` would write with that tokenizer. A shard that stands is whole, so a
//! run that was killed goes on with those that do not; `OUT/.pairmill/retokenize.json` says which
//! dataset and which tokenizer they are of.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::tokenize::WordPieces;
use crate::files::{remove_temporary, sha256_file, write_whole};
use crate::progress::{Progress, Verbosity};
use crate::sample::Sample;
use crate::shard::manifest::{MANIFEST, Totals};
use crate::shard::{Dataset, Manifest, ShardEntry, ShardReader, ShardWriter};
use crate::store::Location;

const FOLDER: &str = ".pairmill";
const PLAN: &str = "retokenize.json";
/// Rows in memory besides those of the open row group.
const ROWS: usize = 64;

/// What is to be written where.
pub struct Retokenize {
    /// The dataset that is read.
    pub from: Dataset,
    /// Folder of the new one.
    pub out: Location,
    /// A WordPiece vocabulary or `tokenizer.json`.
    pub tokenizer: Location,
    /// Longest row of token ids; as it was where `None`.
    pub max_tokens: Option<usize>,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq)]
pub struct Retokenized {
    /// What the new dataset says of itself.
    pub manifest: Manifest,
    /// Shards that this run wrote.
    pub written: u64,
    /// Shards that stood already.
    pub kept: u64,
}

/// Writes the new dataset, or finishes the one that an earlier run began.
///
/// # Errors
/// If OUT is the dataset's own folder or holds something else, a picture is damaged, the tokenizer
/// is none, or a file cannot be read or written.
pub fn run(config: &Retokenize, verbosity: Verbosity) -> Result<Retokenized> {
    let Retokenize { from, out, .. } = config;
    let longest = config.max_tokens.unwrap_or(from.manifest.tokenizer.max_tokens as usize);
    let tokenizer = WordPieces::from_file(config.tokenizer.path(), longest).context("--tokenizer")?;
    let manifest = changed(&from.manifest, &tokenizer);
    refuse_same_folder(from, out)?;
    if let Some(there) = Manifest::read(out.path())? {
        return finished(from, out, &manifest, there);
    }
    open(from, out, &tokenizer)?;
    let progress = Progress::new("retokenizing", "rows", from.manifest.totals.rows, verbosity);
    let (mut entries, mut written) = (Vec::with_capacity(from.shards.len()), 0);
    for old in &from.shards {
        let path = out.path().join(&old.path);
        if path.exists() {
            progress.skip(old.rows);
        } else {
            shard(&from.root.join(&old.path), &path, &tokenizer, &progress)?;
            written += 1;
        }
        entries.push(entry(old, &path)?);
    }
    progress.finish();
    let manifest = summed(manifest, &entries).publish(out.path(), &entries, &from.rejects()?)?;
    close(out)?;
    Ok(Retokenized { kept: manifest.totals.shards - written, manifest, written })
}

/// The manifest but for the sums of bytes and the hashes of the tables.
fn changed(old: &Manifest, tokenizer: &WordPieces) -> Manifest {
    let mut manifest = Manifest { tables: BTreeMap::new(), tokenizer: tokenizer.id(), ..old.clone() };
    manifest.tool = concat!("pairmill ", env!("CARGO_PKG_VERSION")).to_owned();
    manifest.options["max_tokens"] = manifest.tokenizer.max_tokens.into();
    manifest
}

fn refuse_same_folder(from: &Dataset, out: &Location) -> Result<()> {
    let same = out.path().canonicalize().is_ok_and(|out| Some(out) == from.root.canonicalize().ok());
    ensure!(!same, "--out: {out} is the dataset that is read; name another folder");
    Ok(())
}

/// A finished OUT is left alone where it is this dataset with this tokenizer.
fn finished(from: &Dataset, out: &Location, expected: &Manifest, there: Manifest) -> Result<Retokenized> {
    let dataset = Dataset::open(out).context("--out")?;
    let recipe = |manifest: &Manifest| {
        let Manifest { tool, options, tokenizer, codec, .. } = manifest.clone();
        (tool, options, tokenizer, codec)
    };
    let shards = |data: &Dataset| -> Vec<(String, u64)> {
        data.shards.iter().map(|entry| (entry.path.clone(), entry.rows)).collect()
    };
    let same = recipe(expected) == recipe(&there) && shards(from) == shards(&dataset);
    ensure!(same, "--out: {out} holds another dataset; name another folder");
    for entry in &dataset.shards {
        let (old, new) = (from.root.join(&entry.path), out.path().join(&entry.path));
        let size = new.metadata().ok().map(|metadata| metadata.len());
        ensure!(
            size == Some(entry.bytes),
            "--out: {} is missing or cut; remove {out} and run again",
            new.display()
        );
        let pictures = |path: &Path| ShardReader::open(path)?.stored(None);
        ensure!(
            pictures(&old)? == pictures(&new)?,
            "--out: {out} holds a dataset of other pictures; name another folder"
        );
    }
    close(out)?; // a run that was killed after its manifest leaves it
    Ok(Retokenized { kept: there.totals.shards, manifest: there, written: 0 })
}

/// Forgets the plan; for after the manifest is there.
fn close(out: &Location) -> Result<()> {
    match fs::remove_dir_all(out.path().join(FOLDER)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("--out: cannot remove {out}/{FOLDER}"))
        }
        _ => Ok(()),
    }
}

/// Makes OUT ready: begins it, or sweeps what a killed run of the same job left.
fn open(from: &Dataset, out: &Location, tokenizer: &WordPieces) -> Result<()> {
    let root = out.path();
    ensure!(!root.exists() || root.is_dir(), "--out: {out} is not a folder");
    let plan = json!({
        "tool": concat!("pairmill ", env!("CARGO_PKG_VERSION")),
        "shards": from.fingerprint(),
        "tokenizer": tokenizer.id(),
    });
    let path = root.join(FOLDER).join(PLAN);
    match fs::read(&path) {
        Ok(there) => {
            let same = serde_json::from_slice::<Value>(&there).is_ok_and(|there| there == plan);
            ensure!(
                same,
                "--out: {out} is half-done from another dataset or tokenizer; remove it or name another folder"
            );
        }
        Err(_) => {
            remove_temporary(&root.join(FOLDER))?; // of a run that was killed before it had a plan
            refuse_foreign(out)?;
            write_whole(&path, &serde_json::to_vec_pretty(&plan)?)?;
        }
    }
    let splits = from.manifest.splits.keys().map(|split| root.join(split));
    [root.to_owned(), root.join(FOLDER)].into_iter().chain(splits).try_for_each(|f| remove_temporary(&f))
}

fn refuse_foreign(out: &Location) -> Result<()> {
    let Ok(mut names) = fs::read_dir(out.path()) else { return Ok(()) };
    let ours = |path: &PathBuf| {
        path.ends_with(FOLDER) && fs::read_dir(path).is_ok_and(|mut files| files.next().is_none())
    };
    let other = names.find_map(|name| name.ok().map(|name| name.path()).filter(|path| !ours(path)));
    let Some(other) = other else { return Ok(()) };
    let name = other.file_name().unwrap_or_default().to_string_lossy();
    bail!("--out: {out} has no {MANIFEST} but holds {name}; name an empty folder")
}

fn shard(old: &Path, new: &Path, tokenizer: &WordPieces, progress: &Progress) -> Result<()> {
    let reader = ShardReader::open(old)?;
    let mut writer = ShardWriter::create(new, reader.pixels())?;
    let mut samples = reader.samples()?.peekable();
    while samples.peek().is_some() {
        let block = samples.by_ref().take(ROWS).map(|sample| {
            let (mut sample, crc32c) = sample?;
            tokenize(&mut sample, crc32c, tokenizer).with_context(|| old.display().to_string())?;
            Ok(sample)
        });
        let block = block.collect::<Result<Vec<Sample>>>()?;
        progress.add(block.len() as u64, String::new);
        writer.write(block)?;
    }
    writer.finish().map(drop)
}

/// A damaged picture is not given a new checksum.
fn tokenize(sample: &mut Sample, crc32c: u32, tokenizer: &WordPieces) -> Result<()> {
    let sound = crc32c::crc32c(sample.stored.bytes()) == crc32c;
    ensure!(sound, "key {}: the picture does not match its crc32c", sample.key);
    for caption in &mut sample.captions {
        caption.tokens = tokenizer.encode(&caption.text).with_context(|| format!("key {}", sample.key))?;
    }
    Ok(())
}

fn entry(old: &ShardEntry, path: &Path) -> Result<ShardEntry> {
    let bytes = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    Ok(ShardEntry { bytes, sha256: sha256_file(path)?, ..old.clone() })
}

fn summed(mut manifest: Manifest, entries: &[ShardEntry]) -> Manifest {
    let bytes = |split: Option<&str>| {
        let these = entries.iter().filter(|entry| split.is_none_or(|split| entry.split == split));
        these.map(|entry| entry.bytes).sum::<u64>()
    };
    for (split, sums) in &mut manifest.splits {
        *sums = Totals { bytes: bytes(Some(split)), ..*sums };
    }
    manifest.totals.bytes = bytes(None);
    manifest
}
