//! Synonyms in captions: grammatical, in their form and case, and only where they are safe.

use std::collections::BTreeSet;

use pairmill::prepare::augment::text::synonyms::Synonyms;
use pairmill::prepare::augment::text::wordnet::Wordnet;

use crate::dictionary::{WORDS, write};

fn wordnet() -> Wordnet {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), WORDS);
    Wordnet::find(Some(folder.path())).unwrap()
}

/// With every word drawn.
#[track_caller]
fn check(caption: &str, expected: &str) {
    let wordnet = wordnet();
    let found = Synonyms::new(&wordnet, 1.0).replace(0, "a", 0, caption);
    assert_eq!(found.as_deref().unwrap_or(caption), expected);
}

#[track_caller]
fn check_stays(captions: &[&str]) {
    captions.iter().for_each(|caption| check(caption, caption));
}

#[test]
fn a_synonym_has_the_inflection_of_its_word() {
    check("Two dogs are running .", "Two hounds are jogging .");
    check("A child jumps over the boat.", "A kid leaps over the vessel.");
    check("Several children and a dog jump", "Several kids and a dog jump");
    check("The dogs walk in the snow", "The hounds stroll in the snow");
    check("The child is trying to jump", "The kid is attempting to leap");
    check("kids jumping", "children leaping");
}

#[test]
fn an_article_before_it_is_mended() {
    check("A car next to an infant", "An automobile next to a baby");
    check("an automobile", "a car");
    check("A dog", "A hound");
}

#[test]
fn the_case_is_kept() {
    check("Children walk. Dogs jump!", "Kids stroll. Hounds leap!");
    check("A LARGE DOG", "A BIG HOUND");
}

#[test]
fn adjectives_stand_before_what_they_describe() {
    check("a large dog and two small children", "a big hound and two little kids");
    check_stays(&["a little water", "The fence is large", "very little", "a Little Dog"]);
}

#[test]
fn a_word_in_a_compound_is_left_alone() {
    check_stays(&[
        "a hot dog",
        "a dog fence",
        "a boat race",
        "a toy car",
        "infant-sized",
        "a dog's jump suit",
    ]);
}

#[test]
fn a_name_is_left_alone() {
    check_stays(&["They live in Reading .", "he drives the Car", "the dog Park", "Reading"]);
}

#[test]
fn a_word_that_may_mean_something_else_is_left_alone() {
    // Two meanings as frequent; a plural that is a word of its own; a verb with an object; a noun that
    // could be a verb's subject; a past that could be a participle.
    check_stays(&["a bat", "The jeans .", "The fence jumps his bike", "a fence to run the", "It ran ."]);
}

#[test]
fn what_a_caption_becomes_depends_on_seed_key_number_and_text_alone() {
    let wordnet = wordnet();
    let text = "A large dog and a small child jump over the boat and the car";
    let mut warm = Synonyms::new(&wordnet, 0.2);
    let all = |seed, key: &str, words: &mut Synonyms| -> Vec<Option<String>> {
        (0..40).map(|number| words.replace(seed, key, number, text)).collect()
    };
    let first = all(7, "a", &mut warm);
    assert!(first.iter().collect::<BTreeSet<_>>().len() > 5, "{first:?}");
    warm.replace(7, "b", 3, "Two dogs");
    assert_eq!(all(7, "a", &mut warm), first);
    assert_eq!(all(7, "a", &mut Synonyms::new(&wordnet, 0.2)), first);
    assert_ne!(all(8, "a", &mut warm), first);
    assert_ne!(all(7, "b", &mut warm), first);
}

#[test]
fn the_probability_says_how_many_words_change() {
    let wordnet = wordnet();
    let changed = |share: f64| {
        let mut words = Synonyms::new(&wordnet, share);
        (0..2000).filter(|&number| words.replace(0, "a", number, "There is a dog in here").is_some()).count()
    };
    assert_eq!((changed(0.0), changed(1.0)), (0, 2000));
    // Six words, of which one can change: it does unless none is drawn.
    let expected = 2000.0 * (1.0 - 0.9f64.powi(6));
    assert!((changed(0.1) as f64 - expected).abs() < 80.0, "{} of 2000, not {expected}", changed(0.1));
}

#[test]
fn a_copy_with_a_sense_index_and_without_exceptions_will_do() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), WORDS);
    let counts = std::fs::read_to_string(folder.path().join("cntlist.rev")).unwrap();
    let with_offsets = |line: &str| format!("{}\n", line.replacen(' ', " 00000123 ", 1));
    std::fs::write(folder.path().join("index.sense"), counts.lines().map(with_offsets).collect::<String>())
        .unwrap();
    for name in ["cntlist.rev", "noun.exc", "verb.exc"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let wordnet = Wordnet::find(Some(folder.path())).unwrap();
    let found = Synonyms::new(&wordnet, 1.0).replace(0, "a", 0, "Two children are running to a bat");
    assert_eq!(found.as_deref(), Some("Two kids are jogging to a bat"));
}

#[test]
fn a_dictionary_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = |folder: &std::path::Path| format!("{:#}", Wordnet::find(Some(folder)).err().unwrap());
    let name = folder.path().display();
    assert_eq!(
        message(folder.path()),
        format!("--wordnet: {name} holds no WordNet dictionary (index.noun, data.noun and so on)")
    );
    write(folder.path(), WORDS);
    std::fs::remove_file(folder.path().join("cntlist.rev")).unwrap();
    assert!(message(folder.path()).starts_with(&format!("--wordnet: cannot read {name}/cntlist.rev: ")));
    write(folder.path(), WORDS);
    std::fs::write(folder.path().join("data.adj"), "").unwrap();
    assert_eq!(message(folder.path()), format!("--wordnet: {name}: index.adj and data.adj do not fit"));
}
