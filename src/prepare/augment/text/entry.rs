//! What is known of one word whatever stands around it: its parts of speech, and for each the one
//! synonym that is safe enough.
//!
//! A synonym is safe where both words mostly mean that one meaning, by the counts of the texts that
//! WordNet's makers have tagged, where it is one everyday word, and where neither is on the list of
//! words that pictures tend to prove wrong.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::inflect::{Form, inflect, lemma};
use super::lists::{NEVER, is_closed};
use super::wordnet::{Pos, Sense, Wordnet};
use crate::prepare::tokenize::VOCABULARY;

/// Share of a word's occurrences that the meaning has to have.
const DOMINANT: f64 = 0.45;

/// Lexicographers' files of meanings that a picture can show, by part of speech: animals, artifacts,
/// food, things of nature, persons, plants (no parts of bodies: their synonyms are Latin); body care,
/// speech, contact, motion, perception and deeds; all adjectives.
const SHOWN: [&[u8]; 3] = [&[3, 5, 6, 13, 17, 18, 20], &[29, 32, 35, 38, 39, 41], &[0]];

/// Words that BERT's vocabulary has whole: the everyday ones of English.
static EVERYDAY: LazyLock<HashSet<&str>> = LazyLock::new(|| VOCABULARY.lines().collect());

/// One reading of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How it is inflected.
    pub form: Form,
    /// Whether its main meaning is a person or an animal, who may do something.
    pub animate: bool,
    /// The safe synonym, inflected likewise.
    pub synonym: Option<String>,
}

/// The readings of a word, by part of speech.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry(pub [Option<Reading>; 3]);

impl Entry {
    /// Looks a lower-case word up.
    pub fn of(wordnet: &Wordnet, word: &str) -> Self {
        if is_closed(word) {
            return Self::default();
        }
        Self(Pos::ALL.map(|pos| {
            let (lemma, form) = lemma(wordnet, pos, word)?;
            let senses = wordnet.senses(pos, &lemma);
            let animate =
                pos == Pos::Noun && senses.first().is_some_and(|sense| matches!(sense.topic, 3 | 5 | 18));
            let other = safe(wordnet, pos, &lemma, &senses);
            let synonym = other.and_then(|other| inflect(wordnet, pos, other, form));
            let synonym =
                synonym.filter(|other| EVERYDAY.contains(other.as_str()) && !is_spelling(other, word));
            Some(Reading { form, animate, synonym })
        }))
    }

    /// The reading as a part of speech.
    pub fn reading(&self, pos: Pos) -> Option<&Reading> {
        self.0[pos as usize].as_ref()
    }
}

/// The lemma that may stand for another: of those of its most frequent meaning the most frequent.
fn safe<'a>(wordnet: &Wordnet, pos: Pos, lemma: &str, senses: &[Sense<'a>]) -> Option<&'a str> {
    let main = senses.first().filter(|_| is_clear(wordnet, pos, lemma, senses))?;
    let others = main.words.iter().filter(|word| **word != lemma && is_plain(pos, word));
    let counted = others.filter_map(|&word| Some((count_as_main(wordnet, pos, word, main.offset)?, word)));
    let first = |best: (u32, &'a str), next: (u32, &'a str)| if next.0 > best.0 { next } else { best };
    counted.reduce(first).map(|(_, word)| word)
}

/// Whether a word mostly has its first meaning, and that is one that a picture shows.
fn is_clear(wordnet: &Wordnet, pos: Pos, lemma: &str, senses: &[Sense]) -> bool {
    let total: u32 = senses.iter().map(|sense| sense.count).sum();
    let Some(main) = senses.first().filter(|_| total > 0 || senses.len() == 1) else { return false };
    let name = main.words.iter().any(|word| word.to_lowercase() == lemma && *word != lemma);
    let shown = SHOWN[pos as usize].contains(&main.topic);
    let clear = !name && shown && is_dominant(main.count, total);
    clear && is_plain(pos, lemma) && is_mostly(wordnet, pos, lemma)
}

/// One word of small letters that is not left alone for a reason of its own. Participles are: what they
/// say of a thing seldom is what their synonyms say.
fn is_plain(pos: Pos, word: &str) -> bool {
    let participle = pos == Pos::Adjective && (word.ends_with("ed") || word.ends_with("ing"));
    let letters = word.bytes().all(|byte| byte.is_ascii_lowercase());
    word.len() > 2 && letters && !participle && !NEVER.contains(word)
}

/// How often a word has that meaning, where that is its main one.
fn count_as_main(wordnet: &Wordnet, pos: Pos, word: &str, offset: u32) -> Option<u32> {
    let senses = wordnet.senses(pos, word);
    let total: u32 = senses.iter().map(|sense| sense.count).sum();
    let (place, sense) = senses.iter().enumerate().find(|(_, sense)| sense.offset == offset)?;
    let main = total == 0 || (place == 0 && is_dominant(sense.count, total));
    (main && is_mostly(wordnet, pos, word)).then_some(sense.count)
}

/// Whether a word is no rarer as this part of speech than as all others: `dog` is no verb.
fn is_mostly(wordnet: &Wordnet, pos: Pos, lemma: &str) -> bool {
    let count = |pos| wordnet.senses(pos, lemma).iter().map(|sense| sense.count).sum::<u32>();
    2 * count(pos) >= Pos::ALL.into_iter().map(count).sum()
}

/// Whether two words are one word spelled in two ways: `tyre` and `tire`.
fn is_spelling(one: &str, other: &str) -> bool {
    one.len() > 3 && one[..1] == other[..1] && strsim::damerau_levenshtein(one, other) <= 2
}

fn is_dominant(count: u32, total: u32) -> bool {
    total == 0 || f64::from(count) >= DOMINANT * f64::from(total)
}
