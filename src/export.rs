//! Shards → WebDataset tars, as open_clip trains from them: one tar a shard, three members a row.
//!
//! `<key>.jpg` (or `.png`), `<key>.txt` (the first original caption) and `<key>.json` (everything
//! else). WebDataset takes a member's name up to the first dot behind the last slash for the
//! sample's key, so a key is [`escape`]d; the JSON has it as it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::files::{Pending, hex, remove_temporary, write_whole};
use crate::progress::{Progress, Verbosity};
use crate::sample::{CaptionKind, Sample};
use crate::shard::{Dataset, Pixels, ShardEntry, ShardReader};
use crate::store::Location;

/// Says which shard each tar is of: what decides whether a tar that stands is kept.
const RECORD: &str = "_export.json";
/// Rows of each tar by name, as open_clip looks for them where no `--train-num-samples` is given.
const SIZES: &str = "sizes.json";

/// What is to be exported where.
pub struct Export {
    /// The dataset.
    pub dataset: Dataset,
    /// Folder of the tars.
    pub out: Location,
    /// One split, or all of them.
    pub split: Option<String>,
    /// Which views.
    pub views: Views,
    /// What to do with tars of another dataset.
    pub existing: Existing,
}

/// Which views are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Views {
    /// One of them.
    One(u32),
    /// Every one, each in tars of its own.
    All,
}

/// What to do with tars that stand in OUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Keep those of this dataset; stop where they are of another.
    Keep,
    /// Write every one anew.
    Overwrite,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows of each tar that was asked for, by name.
    pub tars: BTreeMap<String, u64>,
    /// How many of them stood already.
    pub kept: u64,
}

/// Writes the tars that do not stand yet. The same shards give the same bytes.
///
/// # Errors
/// If there is no such split or view, OUT holds tars of another dataset, a picture is damaged, or a
/// file cannot be read or written.
pub fn run(export: &Export, verbosity: Verbosity) -> Result<Exported> {
    let entries = chosen(export)?;
    open(export, &entries)?;
    let rows = entries.iter().map(|entry| entry.rows).sum();
    let progress = Progress::new("exporting", "rows", rows, verbosity);
    let mut done = Exported::default();
    for entry in entries {
        let name = tar_name(entry);
        let path = export.out.path().join(&name);
        if path.exists() {
            done.kept += 1;
            progress.skip(entry.rows);
        } else {
            write_tar(&export.dataset.root.join(&entry.path), &path, &progress)?;
        }
        done.tars.insert(name, entry.rows);
    }
    progress.finish();
    write_sizes(export.out.path(), &done.tars)?;
    Ok(done)
}

/// A key as the name of a tar's member: `%`, `.`, `/`, `\` and control characters become `%` and
/// two upper-case hexadecimal digits for each byte, as in URLs.
pub fn escape(key: &str) -> String {
    let escaped = |c: char| matches!(c, '%' | '.' | '/' | '\\') || c.is_control();
    let part = |c: char| match escaped(c) {
        true => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
        false => c.to_string(),
    };
    key.chars().map(part).collect()
}

/// `<split>-<number:05>.tar`, and `<split>-v<view>-<number:05>.tar` for views from 1 on.
fn tar_name(entry: &ShardEntry) -> String {
    match entry.view {
        0 => format!("{}-{:05}.tar", entry.split, entry.number),
        view => format!("{}-v{view}-{:05}.tar", entry.split, entry.number),
    }
}

fn chosen(export: &Export) -> Result<Vec<&ShardEntry>> {
    let Export { dataset, split, views, .. } = export;
    if let Some(split) = split {
        dataset.split(split).context("--split")?;
    }
    let wanted = |entry: &&ShardEntry| {
        split.as_ref().is_none_or(|split| *split == entry.split)
            && (*views == Views::All || *views == Views::One(entry.view))
    };
    let entries: Vec<&ShardEntry> = dataset.shards.iter().filter(wanted).collect();
    let last = dataset.shards.iter().map(|entry| entry.view).max().unwrap_or(0);
    ensure!(!entries.is_empty(), "--view: {} has views 0 to {last} only", dataset.root.display());
    Ok(entries)
}

/// Makes OUT ready: under the names that will be written stand only tars of the same shards, and the
/// record says so before the first new one stands.
fn open(export: &Export, entries: &[&ShardEntry]) -> Result<()> {
    let (root, out) = (export.out.path(), &export.out);
    ensure!(!root.exists() || root.is_dir(), "--out: {out} is not a folder");
    let own = root.canonicalize().is_ok_and(|root| Some(root) == export.dataset.root.canonicalize().ok());
    ensure!(!own, "--out: {out} is the dataset's own folder; name another");
    remove_temporary(root)?;
    let mut record = Record::read(root)?;
    for entry in entries {
        let name = tar_name(entry);
        let path = root.join(&name);
        if path.exists() {
            let same = record.tars.get(&name) == Some(&entry.sha256);
            ensure!(
                same || export.existing == Existing::Overwrite,
                "--out: {out} holds {name}, which is not of this dataset; name another folder, or give --overwrite"
            );
            if export.existing == Existing::Overwrite {
                fs::remove_file(&path).with_context(|| format!("--out: cannot remove {}", path.display()))?;
            }
        }
        record.tars.insert(name, entry.sha256.clone());
    }
    write_json(&root.join(RECORD), &record)
}

/// Which shard each tar is of.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Record {
    tool: String,
    /// SHA-256 of the shard, by the tar's name.
    tars: BTreeMap<String, String>,
}

impl Record {
    const TOOL: &str = concat!("pairmill ", env!("CARGO_PKG_VERSION"));

    /// The record of an earlier export by this program; an empty one where there is none.
    fn read(root: &Path) -> Result<Self> {
        let path = root.join(RECORD);
        let there = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("--out: {} is damaged; remove it", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("--out: cannot read {}", path.display()));
            }
        };
        let tars = if there.tool == Self::TOOL { there.tars } else { BTreeMap::new() };
        Ok(Self { tool: Self::TOOL.to_owned(), tars })
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_string_pretty(value)?;
    json.push('\n');
    write_whole(path, json.as_bytes())
}

fn write_tar(shard: &Path, path: &Path, progress: &Progress) -> Result<()> {
    let writing = || format!("cannot write {}", path.display());
    let reader = ShardReader::open(shard)?;
    let mut pending = Pending::create(path)?;
    let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, &mut pending));
    for sample in reader.samples()? {
        let (sample, crc32c) = sample?;
        let named = || format!("{}: key {}", shard.display(), sample.key);
        let sound = crc32c::crc32c(sample.stored.bytes()) == crc32c;
        ensure!(sound, "{}: the picture does not match its crc32c", named());
        let (extension, png) = picture(&sample, reader.pixels()).with_context(named)?;
        let name = escape(&sample.key);
        let bytes = png.as_deref().unwrap_or(sample.stored.bytes());
        append(&mut tar, &format!("{name}.{extension}"), bytes).with_context(writing)?;
        if let Some(text) = text(&sample) {
            append(&mut tar, &format!("{name}.txt"), text.as_bytes()).with_context(writing)?;
        }
        append(&mut tar, &format!("{name}.json"), describe(&sample).to_string().as_bytes())
            .with_context(writing)?;
        progress.add(1, String::new);
    }
    let mut written = tar.into_inner().with_context(writing)?;
    written.flush().with_context(writing)?;
    drop(written);
    pending.commit()
}

/// Extension, and the picture as PNG where the shard holds bare pixels.
fn picture(sample: &Sample, pixels: Pixels) -> Result<(&'static str, Option<Vec<u8>>)> {
    let bytes = sample.stored.bytes();
    Ok(match pixels {
        Pixels::Raw { side } => {
            let mut png = Vec::new();
            PngEncoder::new(&mut png).write_image(bytes, side, side, ExtendedColorType::Rgb8)?;
            ("png", Some(png))
        }
        Pixels::Image if bytes.starts_with(b"\x89PNG") => ("png", None),
        Pixels::Image if bytes.starts_with(&[0xff, 0xd8]) => ("jpg", None),
        Pixels::Image => bail!("the picture is neither JPEG nor PNG"),
    })
}

/// The first original caption, or the first of all.
fn text(sample: &Sample) -> Option<&str> {
    let original = sample.captions.iter().find(|caption| caption.kind == CaptionKind::Original);
    original.or(sample.captions.first()).map(|caption| caption.text.as_str())
}

/// The captions are a plain list of texts, as other readers of such tars want it; what more is known
/// of them stands in lists beside it.
fn describe(sample: &Sample) -> Value {
    let captions = &sample.captions;
    let meta = sample.meta.as_deref();
    json!({
        "key": sample.key,
        "view": sample.view,
        "captions": captions.iter().map(|caption| &caption.text).collect::<Vec<_>>(),
        "caption_kinds": captions.iter().map(|caption| caption.kind.name()).collect::<Vec<_>>(),
        "caption_of": captions.iter().map(|caption| caption.of).collect::<Vec<_>>(),
        "width": sample.width,
        "height": sample.height,
        "source_sha256": hex(&sample.source_sha256),
        "meta": meta.map(|meta| serde_json::from_str(meta).unwrap_or_else(|_| Value::from(meta))),
    })
}

/// A member without owner and time.
fn append(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, name, bytes)
}

/// Adds to the sizes of tars that an earlier export wrote here.
fn write_sizes(out: &Path, tars: &BTreeMap<String, u64>) -> Result<()> {
    let path = out.join(SIZES);
    let there = File::open(&path).ok().and_then(|file| serde_json::from_reader(file).ok());
    let mut sizes: BTreeMap<String, u64> = there.unwrap_or_default();
    sizes.retain(|name, _| out.join(name).exists());
    sizes.extend(tars.iter().map(|(name, rows)| (name.clone(), *rows)));
    write_json(&path, &sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_no_dot_and_no_slash_left() {
        assert_eq!(escape("000000000139"), "000000000139");
        assert_eq!(escape("a/b.c d%é\n\\"), "a%2Fb%2Ec d%25é%0A%5C");
        assert_eq!(escape("\u{85}"), "%C2%85");
    }
}
