//! The text side of a shard, packed: a few allocations instead of a dozen a row.

use crate::sample::CaptionKind;
use crate::shard::Texts;

/// Keys, kinds, token ids and source hashes of a shard's rows. Caption texts are not kept.
#[derive(Debug, Default)]
pub struct PackedTexts {
    keys: Lists<u8>,
    kinds: Lists<CaptionKind>,
    tokens: Lists<i32>,
    sources: Vec<[u8; 32]>,
}

/// Lists of `T`, one after another.
#[derive(Debug)]
struct Lists<T> {
    items: Vec<T>,
    ends: Vec<u32>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { items: Vec::new(), ends: Vec::new() }
    }
}

impl<T> Lists<T> {
    fn push(&mut self, list: impl IntoIterator<Item = T>) {
        self.items.extend(list);
        self.ends.push(u32::try_from(self.items.len()).expect("a shard has fewer than 2³² tokens"));
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    fn get(&self, at: usize) -> &[T] {
        &self.items[self.start(at)..self.ends[at] as usize]
    }
}

impl PackedTexts {
    /// Packs what a reader gave.
    pub fn new(texts: Texts) -> Self {
        let mut packed = Self { sources: texts.sources, ..Self::default() };
        for (key, captions) in texts.keys.into_iter().zip(texts.captions) {
            packed.keys.push(key.into_bytes());
            packed.kinds.push(captions.iter().map(|caption| caption.kind));
            captions.into_iter().for_each(|caption| packed.tokens.push(caption.tokens.0));
        }
        packed
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Caption, TokenIds};

    #[test]
    fn rows_are_unpacked_as_they_were_packed() {
        let caption =
            |kind, tokens: &[i32]| Caption { text: "a".into(), kind, of: 0, tokens: TokenIds(tokens.into()) };
        let texts = Texts {
            keys: vec!["one".into(), "zwölf".into()],
            captions: vec![
                vec![caption(CaptionKind::Original, &[1, 2]), caption(CaptionKind::Synonym, &[3])],
                vec![caption(CaptionKind::Original, &[4, 5, 6])],
            ],
            sources: vec![[1; 32], [2; 32]],
        };
        let packed = PackedTexts::new(texts);
        assert_eq!((packed.key(0), packed.key(1)), ("one", "zwölf"));
        assert_eq!(packed.kinds(0), [CaptionKind::Original, CaptionKind::Synonym]);
        assert_eq!((packed.tokens(0, 1), packed.tokens(1, 0)), (&[3][..], &[4, 5, 6][..]));
        assert_eq!(packed.source(1), &[2; 32]);
    }
}
