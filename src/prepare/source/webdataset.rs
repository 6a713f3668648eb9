//! WebDataset tars, as img2dataset and open_clip write them: the files of a sample share a name up
//! to the first dot. Only headers and captions are read here; images stay where they are.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tar::Archive;

use super::row::id_of;
use super::{Fault, Input, Listing, Place, Row, Splits};
use crate::files::hex;

/// Endings of images; where a sample has several, the earliest of these is taken.
const IMAGES: [&str; 8] = ["jpg", "png", "jpeg", "webp", "gif", "bmp", "tif", "tiff"];
/// Bytes of a tar's block.
const BLOCK: u64 = 512;

/// Tars, and what is kept of their JSON.
#[derive(Clone, Debug)]
pub struct Webdataset {
    /// The tars in order.
    pub tars: Vec<PathBuf>,
    /// Keys of a sample's `.json` that go to `meta`.
    pub keep_columns: Vec<String>,
}

impl Webdataset {
    /// The samples of all tars, in the tars' order.
    ///
    /// Captions are the list of texts `captions` (or `caption`) of a sample's `.json`; without such
    /// a list its `.txt`; without a `.txt` the text `caption` of its `.json`.
    pub(super) fn read(&self, split: &str) -> Result<Listing> {
        let split = Splits::default().get(split);
        let (mut listing, mut known) = (Listing::default(), BTreeSet::new());
        for (path, tar) in self.tars.iter().zip(0..) {
            let mut scan = Scan::new(&self.keep_columns, &mut known);
            scan.tar(path).with_context(|| format!("--tars: {}", path.display()))?;
            let sha256 = hex(&scan.hasher.finalize());
            listing.inputs.push(Input { flag: "--tars", split: None, sha256 });
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let with_meta = !self.keep_columns.is_empty();
            for sample in scan.samples {
                let mut row = Row::new(&split, &sample.key, id_of(&sample.key), "");
                sample.fill(&mut row, &name, tar, with_meta);
                listing.rows.push(row);
            }
        }
        match self.keep_columns.iter().find(|name| !known.contains(*name)) {
            Some(name) if known.is_empty() => bail!("--keep-columns: no .json of the tars has `{name}`"),
            Some(name) => {
                let known = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                bail!("--keep-columns: no .json of the tars has `{name}`; they have {known}")
            }
            None => Ok(listing),
        }
    }
}

/// The files of a sample so far.
struct Sample {
    key: Box<str>,
    /// Endings that it has, to tell a second sample of the key.
    endings: Vec<Box<str>>,
    image: Option<Image>,
    text: Option<Box<str>>,
    json: Option<Map<String, Value>>,
}

struct Image {
    rank: usize,
    name: Box<str>,
    offset: u64,
    length: u64,
}

impl Sample {
    fn fill(self, row: &mut Row, tar_name: &str, tar: u32, with_meta: bool) {
        match self.image {
            Some(Image { name, offset, length, .. }) => {
                row.file = format!("{tar_name}/{name}").into();
                row.place = Place::Tar { tar, offset, length };
            }
            None => {
                row.file = format!("{tar_name}/{}", self.key).into();
                row.fault = Some(Fault::NoImage);
            }
        }
        let json = self.json.unwrap_or_default();
        let listed = ["captions", "caption"].into_iter().find_map(|name| json.get(name)?.as_array());
        match (listed, self.text) {
            (Some(list), _) => {
                list.iter().for_each(|text| row.add_caption(text.as_str().unwrap_or_default()));
            }
            (None, Some(text)) => row.add_caption(&text),
            (None, None) => {
                json.get("caption")
                    .into_iter()
                    .for_each(|text| row.add_caption(text.as_str().unwrap_or_default()));
            }
        }
        row.meta = json.get(KEPT).filter(|_| with_meta).map(|kept| kept.to_string().into());
    }
}

/// Where the kept part of a sample's JSON waits; no name of a member's own.
const KEPT: &str = "\0kept";

/// What is found in a tar.
struct Scan<'a> {
    keep: &'a [String],
    known: &'a mut BTreeSet<String>,
    samples: Vec<Sample>,
    /// The last sample of each key.
    places: HashMap<Box<str>, usize>,
    /// Of names and sizes of all members, and the bytes of captions.
    hasher: Sha256,
}

impl<'a> Scan<'a> {
    fn new(keep: &'a [String], known: &'a mut BTreeSet<String>) -> Self {
        Self { keep, known, samples: Vec::new(), places: HashMap::new(), hasher: Sha256::new() }
    }

    fn tar(&mut self, path: &Path) -> Result<()> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        refuse_compressed(&mut file)?;
        let mut archive = Archive::new(file);
        let (mut end, mut last) = (0, None);
        for entry in archive.entries_with_seek()? {
            let mut entry = entry.with_context(|| match &last {
                None => "it is no tar".to_owned(),
                Some(name) => format!("it is damaged after {name}"),
            })?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (offset, size) = (entry.raw_file_position(), entry.size());
            let whole = offset.checked_add(size).is_some_and(|end| end <= length);
            ensure!(whole, "it was cut: it ends within {name}");
            self.hasher.update((name.len() as u64).to_le_bytes());
            self.hasher.update(&name);
            self.hasher.update(size.to_le_bytes());
            if entry.header().entry_type().is_file() {
                self.file(&name, offset, size, &mut entry)?;
            }
            (end, last) = ((offset + size).next_multiple_of(BLOCK), Some(name));
        }
        let after = || last.map_or_else(|| "it is empty".to_owned(), |name| format!("it ends after {name}"));
        ensure!(end + BLOCK <= length, "it was cut: {}, without the block of zeros that ends a tar", after());
        Ok(())
    }

    fn file(&mut self, name: &str, offset: u64, length: u64, content: &mut impl Read) -> Result<()> {
        let Some((key, ending)) = key_and_ending(name) else { return Ok(()) };
        let rank = IMAGES.iter().position(|image| *image == ending);
        if rank.is_none() && !["txt", "json"].contains(&ending.as_str()) {
            return Ok(());
        }
        let keep = self.keep;
        let bytes = if rank.is_none() { self.content(name, content)? } else { Vec::new() };
        let json = if ending == "json" { Some(self.json(name, &bytes, keep)?) } else { None };
        let sample = self.sample(key, &ending);
        match rank {
            Some(rank) if sample.image.as_ref().is_none_or(|image| rank < image.rank) => {
                sample.image = Some(Image { rank, name: name.into(), offset, length });
            }
            Some(_) => {}
            None if ending == "json" => sample.json = json,
            None => {
                let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8 text"))?;
                sample.text = Some(text.into());
            }
        }
        Ok(())
    }

    fn content(&mut self, name: &str, content: &mut impl Read) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// The captions of a `.json` and what is kept of it; the rest is not remembered.
    fn json(&mut self, name: &str, bytes: &[u8], keep: &[String]) -> Result<Map<String, Value>> {
        let object: Map<String, Value> =
            serde_json::from_slice(bytes).with_context(|| format!("{name} is no JSON object"))?;
        if !keep.is_empty() {
            self.known.extend(
                object.keys().filter(|name| !self.known.contains(*name)).cloned().collect::<Vec<_>>(),
            );
        }
        let kept = keep.iter().map(|name| (name.clone(), object.get(name).cloned().unwrap_or_default()));
        let mut small = Map::new();
        if !keep.is_empty() {
            small.insert(KEPT.to_owned(), Value::Object(kept.collect()));
        }
        small.extend(object.into_iter().filter(|(name, _)| name == "caption" || name == "captions"));
        Ok(small)
    }

    /// The sample of a key that has no file of this ending yet.
    fn sample(&mut self, key: &str, ending: &str) -> &mut Sample {
        let known = self.places.get(key).copied();
        let place = match known {
            Some(place) if self.samples[place].endings.iter().all(|known| **known != *ending) => place,
            _ => {
                self.places.insert(key.into(), self.samples.len());
                let endings = Vec::with_capacity(2);
                self.samples.push(Sample { key: key.into(), endings, image: None, text: None, json: None });
                self.samples.len() - 1
            }
        };
        let sample = &mut self.samples[place];
        sample.endings.push(ending.into());
        sample
    }
}

/// A name up to the first dot of its last part, as WebDataset's `__key__`, and what follows the dot
/// in lower case. `None` for hidden files and WebDataset's own `__meta__` files.
fn key_and_ending(name: &str) -> Option<(&str, String)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    let hidden = dot == base || (name.starts_with("__") && name[..dot].ends_with("__"));
    (!hidden).then(|| (&name[..dot], name[dot + 1..].to_ascii_lowercase()))
}

fn refuse_compressed(file: &mut File) -> Result<()> {
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let packed = match magic.as_slice() {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "zstd",
        [b'B', b'Z', b'h', _] => "bzip2",
        [0xfd, b'7', b'z', b'X'] => "xz",
        _ => return Ok(()),
    };
    bail!("it is compressed with {packed}; unpack it to a plain .tar first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_dot_of_the_last_part() {
        let split = |name| key_and_ending(name).map(|(key, ending)| format!("{key} {ending}"));
        assert_eq!(split("v1.0/a.b.JPG").as_deref(), Some("v1.0/a b.jpg"));
        assert_eq!(split("./000.json").as_deref(), Some("./000 json"));
        for name in ["a/.hidden.jpg", "._a.jpg", "__meta__.json", "README"] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
