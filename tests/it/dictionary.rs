//! A dictionary of a few words in WordNet's file format.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A meaning: part of speech (`n`, `v`, `a`), number of its lexicographers' file, and its words with
/// how often each was met with this meaning.
pub type Synset = (char, u8, &'static [(&'static str, u32)]);

/// Of words with several meanings the first stands first.
pub const WORDS: &[Synset] = &[
    ('n', 5, &[("dog", 42), ("hound", 5), ("domestic_dog", 0)]),
    ('n', 18, &[("child", 148), ("kid", 53)]),
    ('n', 6, &[("boat", 10), ("vessel", 4)]),
    ('n', 6, &[("car", 71), ("automobile", 15)]),
    ('n', 18, &[("infant", 3), ("baby", 16)]),
    ('n', 5, &[("bat", 5), ("flier", 4)]),
    ('n', 6, &[("bat", 5), ("club", 9)]),
    ('n', 6, &[("fence", 32)]),
    ('n', 27, &[("water", 136)]),
    ('n', 6, &[("jean", 3), ("denim", 3)]),
    ('n', 6, &[("jeans", 9), ("levis", 2)]),
    ('n', 15, &[("Reading", 3), ("place", 3)]),
    ('v', 38, &[("jump", 19), ("leap", 22)]),
    ('v', 38, &[("run", 50), ("jog", 6)]),
    ('v', 38, &[("walk", 30), ("stroll", 5)]),
    ('v', 41, &[("try", 342), ("attempt", 50)]),
    ('a', 0, &[("large", 139), ("big", 107)]),
    ('a', 0, &[("small", 213), ("little", 163)]),
];

/// Writes the dictionary's files.
pub fn write(folder: &Path, words: &[Synset]) {
    fs::create_dir_all(folder).unwrap();
    let mut counts = Vec::new();
    for (kind, name, number) in [('n', "noun", 1), ('v', "verb", 2), ('a', "adj", 3)] {
        let mut data = "  1 Written by a test.\n".to_owned();
        let mut senses: BTreeMap<String, Vec<(usize, u32)>> = BTreeMap::new();
        for (_, topic, words) in words.iter().filter(|(of, ..)| *of == kind) {
            let at = data.len();
            let list: String = words.iter().map(|(word, _)| format!("{word} 0 ")).collect();
            data += &format!("{at:08} {topic:02} {kind} {:02x} {list}000 | a meaning\n", words.len());
            words.iter().for_each(|&(word, count)| {
                senses.entry(word.to_lowercase()).or_default().push((at, count));
            });
        }
        let mut index = "  1 Written by a test.\n".to_owned();
        for (word, senses) in &senses {
            let offsets: Vec<String> = senses.iter().map(|(at, _)| format!("{at:08}")).collect();
            let n = senses.len();
            index += &format!("{word} {kind} {n} 1 @ {n} {n} {}  \n", offsets.join(" "));
            for (place, (_, count)) in senses.iter().enumerate().filter(|(_, (_, count))| *count > 0) {
                counts.push(format!("{word}%{number}:05:00:: {} {count}\n", place + 1));
            }
        }
        fs::write(folder.join(format!("data.{name}")), data).unwrap();
        fs::write(folder.join(format!("index.{name}")), index).unwrap();
    }
    counts.sort_unstable();
    fs::write(folder.join("cntlist.rev"), counts.concat()).unwrap();
    fs::write(folder.join("noun.exc"), "children child\n").unwrap();
    fs::write(folder.join("verb.exc"), "jogging jog\nran run\nrunning run\n").unwrap();
}
