//! The text side of rows, packed: a few allocations instead of a dozen a row.

use anyhow::{Context, Result};
use arrow::array::{AsArray, ListArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::Int32Type;

use super::columns::{hashes, list, strings, typed};
use crate::sample::CaptionKind;

/// Keys, kinds, token ids and source hashes of rows. Caption texts are not kept.
#[derive(Debug, Default)]
pub struct PackedTexts {
    keys: Lists<u8>,
    kinds: Lists<CaptionKind>,
    tokens: Lists<i32>,
    sources: Vec<[u8; 32]>,
}

/// Lists of `T`, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists<T> {
    items: Vec<T>,
    ends: Vec<u32>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { items: Vec::new(), ends: Vec::new() }
    }
}

impl<T: Copy> Lists<T> {
    /// Appends a list.
    ///
    /// # Panics
    /// If all lists together have 2³² items.
    pub fn push(&mut self, list: impl IntoIterator<Item = T>) {
        self.items.extend(list);
        self.end();
    }

    fn push_slice(&mut self, list: &[T]) {
        self.items.extend_from_slice(list);
        self.end();
    }

    fn end(&mut self) {
        self.ends.push(u32::try_from(self.items.len()).expect("fewer than 2³² items"));
    }

    /// Number of lists.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// A list by its number.
    ///
    /// # Panics
    /// If there is no such list.
    pub fn get(&self, at: usize) -> &[T] {
        &self.items[self.start(at)..self.ends[at] as usize]
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.items) + size_of_val(&*self.ends)
    }
}

impl PackedTexts {
    /// Appends the rows of a batch with the leaves of [`PackedTexts::is_leaf`].
    pub(super) fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        strings(batch, "key")?
            .iter()
            .for_each(|key| self.keys.push_slice(key.unwrap_or_default().as_bytes()));
        self.sources.extend(hashes(batch)?);
        let captions = list(batch, "captions")?;
        let elements: &StructArray = typed(captions.values(), "captions")?;
        let part =
            |name: &str| elements.column_by_name(name).with_context(|| format!("captions lack `{name}`"));
        let kinds: &StringArray = typed(part("kind")?, "kind")?;
        let tokens: &ListArray = typed(part("tokens")?, "tokens")?;
        let ids = tokens.values().as_primitive_opt::<Int32Type>().context("tokens are no int32")?.values();
        for ends in captions.value_offsets().windows(2) {
            let mine = ends[0] as usize..ends[1] as usize;
            for caption in mine.clone() {
                let offsets = &tokens.value_offsets()[caption..];
                self.tokens.push_slice(&ids[offsets[0] as usize..offsets[1] as usize]);
            }
            for caption in mine {
                let name = kinds.value(caption);
                let kind = CaptionKind::from_name(name);
                self.kinds.items.push(kind.with_context(|| format!("no caption kind is called `{name}`"))?);
            }
            self.kinds.end();
        }
        Ok(())
    }

    /// Whether a leaf column of a shard is one that rows are packed from.
    pub(super) fn is_leaf(path: &str) -> bool {
        let of_captions = |path: &str| path.ends_with(".kind") || path.contains(".tokens");
        matches!(path, "key" | "source_sha256") || (path.starts_with("captions.") && of_captions(path))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.keys.len()
    }

    /// Memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.kinds.bytes() + self.tokens.bytes() + size_of_val(&*self.sources)
    }

    /// Key of a row.
    pub fn key(&self, row: usize) -> &str {
        std::str::from_utf8(self.keys.get(row)).expect("it was packed from a string")
    }

    /// Kinds of a row's captions.
    pub fn kinds(&self, row: usize) -> &[CaptionKind] {
        self.kinds.get(row)
    }

    /// Token ids of a row's caption, `[CLS]` and `[SEP]` included.
    pub fn tokens(&self, row: usize, caption: usize) -> &[i32] {
        self.tokens.get(self.kinds.start(row) + caption)
    }

    /// SHA-256 of a row's source.
    pub fn source(&self, row: usize) -> &[u8; 32] {
        &self.sources[row]
    }
}
