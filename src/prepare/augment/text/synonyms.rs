//! Captions with words replaced by synonyms, so that they stay grammatical and true of the picture.
//!
//! What a word is, is guessed from its neighbours, and where there is any doubt it is left alone: a
//! noun after an article or a plain adjective and before no other noun (`a car`, but not `a car
//! race`), a verb after who does it and before no object (`a dog jumps over`, but not `ski jumps`), an
//! adjective between an article and a noun.

use std::collections::HashMap;

use super::entry::Entry;
use super::inflect::{Form, takes_an};
use super::lists::{BE, COUNTS, DETERMINERS, LINKS, List, PLAIN, UNCOUNTED, is_closed};
use super::wordnet::{Pos, Wordnet};
use super::words::{Piece, in_case_of, pieces, rewritten};
use crate::seed::{Draws, Purpose, hash64, seed_for};

/// Most words that are remembered: the common ones come first, and memory stays bounded.
const MOST: usize = 1 << 16;

/// Replaces words of captions; one a thread, since it remembers what it looked up.
pub struct Synonyms<'a> {
    wordnet: &'a Wordnet,
    p: f64,
    known: HashMap<String, Entry>,
}

/// A word of a caption with what is known of it.
struct Word<'a> {
    piece: Piece<'a>,
    lower: String,
    entry: Entry,
}

impl<'a> Synonyms<'a> {
    /// Replaces words with the probability `p` each, as far as they have synonyms that are safe.
    pub fn new(wordnet: &'a Wordnet, p: f64) -> Self {
        Self { wordnet, p, known: HashMap::new() }
    }

    /// Caption number `number` of the sample `key` with other words: a function of these, the text and
    /// `seed` alone. `None` where no word is to change.
    ///
    /// Every word is drawn with the probability `p`; one without a safe synonym passes the draw on
    /// to one that has.
    pub fn replace(&mut self, seed: u64, key: &str, number: usize, caption: &str) -> Option<String> {
        let words = self.words(caption);
        let mut able: Vec<(usize, String)> =
            (0..words.len()).filter_map(|place| Some((place, synonym(&words, place)?))).collect();
        let mut draws = Draws::new(seed_for(seed, Purpose::Synonyms, number as u64, hash64(key)));
        let drawn = words.iter().filter(|word| !word.piece.is_mark() && draws.chance(self.p)).count();
        draws.shuffle(&mut able);
        able.truncate(drawn);
        able.sort_unstable();
        let pieces: Vec<Piece> = words.iter().map(|word| word.piece).collect();
        (!able.is_empty()).then(|| rewritten(caption, &pieces, &with_articles(&words, able)))
    }

    fn words<'c>(&mut self, caption: &'c str) -> Vec<Word<'c>> {
        let word = |piece: Piece<'c>| {
            let lower = piece.text.to_lowercase();
            let entry = if piece.is_plain() { self.entry(&lower) } else { Entry::default() };
            Word { piece, lower, entry }
        };
        pieces(caption).into_iter().map(word).collect()
    }

    fn entry(&mut self, word: &str) -> Entry {
        if let Some(known) = self.known.get(word) {
            return known.clone();
        }
        let entry = Entry::of(self.wordnet, word);
        if self.known.len() < MOST {
            self.known.insert(word.to_owned(), entry.clone());
        }
        entry
    }
}

/// What the word at a place may be replaced by, in its case: where exactly one reading of it fits.
fn synonym(words: &[Word], place: usize) -> Option<String> {
    let word = &words[place];
    if !word.piece.is_plain() || is_name(words, place) {
        return None;
    }
    let fits = |pos: &Pos| match pos {
        Pos::Noun => is_noun(words, place),
        Pos::Verb => is_verb(words, place),
        Pos::Adjective => is_adjective(words, place),
    };
    let mut readings = Pos::ALL.iter().filter(|pos| fits(pos)).filter_map(|pos| word.entry.reading(*pos));
    let (reading, other) = (readings.next()?, readings.next());
    let synonym = reading.synonym.as_deref().filter(|_| other.is_none())?;
    Some(in_case_of(synonym, word.piece.text))
}

/// A capital that no beginning of a sentence explains, also in the word after it (`Little Italy`). In a
/// caption of capitals alone they say nothing.
fn is_name(words: &[Word], place: usize) -> bool {
    if !words.iter().any(|word| word.piece.text.contains(char::is_lowercase)) {
        return false;
    }
    let capital =
        |at: usize| words.get(at).is_some_and(|word| word.piece.text.starts_with(char::is_uppercase));
    (capital(place) && !begins_sentence(words, place)) || capital(place + 1)
}

fn begins_sentence(words: &[Word], place: usize) -> bool {
    before(words, place).is_none_or(|word| matches!(word.lower.as_str(), "." | "!" | "?" | ":" | "\"" | "“"))
}

fn before<'w, 'c>(words: &'w [Word<'c>], place: usize) -> Option<&'w Word<'c>> {
    place.checked_sub(1).map(|place| &words[place])
}

fn is_noun(words: &[Word], place: usize) -> bool {
    let Some(reading) = words[place].entry.reading(Pos::Noun) else { return false };
    let begins = match before(words, place) {
        _ if begins_sentence(words, place) => reading.form == Form::S,
        None => false,
        Some(word) if reading.form == Form::S => {
            word.is_one_of(&DETERMINERS)
                || word.is_one_of(&COUNTS)
                || word.is_one_of(&PLAIN)
                || word.is_one_of(&LINKS)
        }
        Some(word) => word.is_one_of(&DETERMINERS) || word.is_one_of(&PLAIN),
    };
    let acts = |next: &Word| {
        let verb = next.entry.reading(Pos::Verb).map(|verb| verb.form);
        let form = if reading.form == Form::S { Form::Base } else { Form::S };
        reading.animate && (verb == Some(Form::Ing) || verb == Some(form))
    };
    begins && words.get(place + 1).is_none_or(|next| next.ends_phrase() || acts(next))
}

/// `A dog jumps over`, `dogs jump over`, `dogs jumping over`, `are jumping over`; but with an object
/// (`jumps his bike over`) a verb means something else.
fn is_verb(words: &[Word], place: usize) -> bool {
    let Some(reading) = words[place].entry.reading(Pos::Verb) else { return false };
    let Some(subject) = before(words, place) else { return false };
    let actor = subject.entry.reading(Pos::Noun).filter(|noun| noun.animate).map(|noun| noun.form);
    let begins = match reading.form {
        Form::Ing => actor.is_some() || subject.is_one_of(&BE) || subject.lower == "and",
        Form::S => actor == Some(Form::Base),
        Form::Base => actor == Some(Form::S) || subject.lower == "to",
    };
    let has_object = |next: &Word| next.is_one_of(&DETERMINERS) || next.is_one_of(&COUNTS);
    begins && words.get(place + 1).is_none_or(|next| next.ends_phrase() && !has_object(next))
}

/// `A small dog`; but not `a little water`.
fn is_adjective(words: &[Word], place: usize) -> bool {
    let begins = begins_sentence(words, place)
        || before(words, place).is_some_and(|word| word.is_one_of(&DETERMINERS) || word.is_one_of(&COUNTS));
    let before_noun = words.get(place + 1).is_some_and(|next| {
        let noun = next.entry.reading(Pos::Noun).is_some() || next.is_one_of(&PLAIN);
        noun && next.piece.is_plain() && !next.is_one_of(&UNCOUNTED)
    });
    words[place].entry.reading(Pos::Adjective).is_some() && begins && before_noun
}

impl Word<'_> {
    fn is_one_of(&self, list: &List) -> bool {
        list.contains(self.lower.as_str())
    }

    /// Whether a noun or verb before it has nothing to do with it: a mark, or a word of a closed class.
    fn ends_phrase(&self) -> bool {
        self.piece.is_mark() || is_closed(&self.lower) || self.lower.ends_with("ly")
    }
}

/// Mends `a` and `an` before the words that change.
fn with_articles(words: &[Word], changes: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let mut all = Vec::with_capacity(2 * changes.len());
    for (place, word) in changes {
        if let Some(article) = before(words, place).filter(|word| matches!(word.lower.as_str(), "a" | "an")) {
            let right = if takes_an(&word) { "an" } else { "a" };
            if article.lower != right {
                all.push((place - 1, in_case_of(right, article.piece.text)));
            }
        }
        all.push((place, word));
    }
    all
}
