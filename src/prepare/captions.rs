//! The captions of a row: the source's own, those derived from them, and the same in a mirrored view.

use std::borrow::Cow;

use anyhow::Result;

use super::augment::text::back_translation::Translations;
use super::augment::text::sides::mirrored;
use super::augment::text::synonyms::Synonyms;
use super::augment::text::wordnet::Wordnet;
use super::source::Row;
use super::tokenize::WordPieces;
use super::words::Words;
use crate::sample::{Caption, CaptionKind, TokenIds};

/// What captions are derived with; shared by all threads.
#[derive(Clone, Copy)]
pub struct Phrasing<'a> {
    /// Gives token ids.
    pub tokenizer: &'a WordPieces,
    /// Where synonyms come from, and the probability that one replaces a word.
    pub synonyms: Option<(&'a Wordnet, f64)>,
    /// Captions there and back.
    pub translations: &'a Translations,
    /// Seed of the draws.
    pub seed: u64,
}

/// Makes the captions of rows; one a thread, since it remembers words.
pub struct Writer<'a> {
    phrasing: Phrasing<'a>,
    synonyms: Option<Synonyms<'a>>,
    words: Words,
}

impl<'a> Writer<'a> {
    /// One that has met no word.
    pub fn new(phrasing: Phrasing<'a>) -> Self {
        let synonyms = phrasing.synonyms.map(|(wordnet, p)| Synonyms::new(wordnet, p));
        Self { phrasing, synonyms, words: Words::default() }
    }

    /// The row's captions in their order, then those with synonyms, then those translated.
    ///
    /// # Errors
    /// If the tokenizer's rules fail on one.
    pub fn captions(&mut self, row: &Row) -> Result<Vec<Caption>> {
        let originals = || row.captions.iter().enumerate();
        let mut captions = Vec::with_capacity(row.captions.len());
        for (of, text) in originals() {
            captions.push(self.caption(text.into(), CaptionKind::Original, of)?);
        }
        let seed = self.phrasing.seed;
        for (of, text) in originals() {
            let reworded = self.synonyms.as_mut().and_then(|words| words.replace(seed, &row.key, of, text));
            if let Some(text) = reworded {
                captions.push(self.caption(text.into(), CaptionKind::Synonym, of)?);
            }
        }
        for (of, text) in originals() {
            if let Some(text) = self.phrasing.translations.of(text) {
                captions.push(self.caption(text.into(), CaptionKind::BackTranslation, of)?);
            }
        }
        Ok(captions)
    }

    /// The same captions for a mirrored picture.
    ///
    /// # Errors
    /// As [`Writer::captions`].
    pub fn mirrored(&mut self, captions: &[Caption]) -> Result<Vec<Caption>> {
        let mirror = |caption: &Caption| match mirrored(&caption.text) {
            Cow::Borrowed(_) => Ok(caption.clone()),
            Cow::Owned(text) => Ok(Caption { tokens: self.tokens(&text)?, text, ..*caption }),
        };
        captions.iter().map(mirror).collect()
    }

    fn caption(&mut self, text: Cow<str>, kind: CaptionKind, of: usize) -> Result<Caption> {
        let tokens = self.tokens(&text)?;
        Ok(Caption { text: text.into_owned(), kind, of: of as i32, tokens })
    }

    fn tokens(&mut self, text: &str) -> Result<TokenIds> {
        self.phrasing.tokenizer.encode_known(text, &mut self.words)
    }
}
