//! Words ⇄ their lemmas: WordNet's rules of detachment (`morphy(7WN)`), and the same backwards.

use super::wordnet::{Pos, Wordnet};

/// How a word is inflected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Not at all.
    Base,
    /// A plural noun, or a verb's third person.
    S,
    /// A verb's present participle.
    Ing,
}

/// Endings of inflected words and what stands in their place in the lemma.
const NOUN: [(&str, &str); 7] =
    [("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("ies", "y"), ("s", "")];
const VERB: [(&str, &str, Form); 6] = [
    ("ies", "y", Form::S),
    ("es", "e", Form::S),
    ("es", "", Form::S),
    ("s", "", Form::S),
    ("ing", "e", Form::Ing),
    ("ing", "", Form::Ing),
];

/// Plurals that no rule makes, of nouns that are worth it.
const PLURALS: [(&str, &str); 14] = [
    ("child", "children"),
    ("man", "men"),
    ("woman", "women"),
    ("foot", "feet"),
    ("tooth", "teeth"),
    ("goose", "geese"),
    ("mouse", "mice"),
    ("leaf", "leaves"),
    ("knife", "knives"),
    ("wolf", "wolves"),
    ("calf", "calves"),
    ("loaf", "loaves"),
    ("shelf", "shelves"),
    ("scarf", "scarves"),
];

/// The lemma of a lower-case word and its form; `None` where there is none, or more than one.
pub fn lemma(wordnet: &Wordnet, pos: Pos, word: &str) -> Option<(String, Form)> {
    let mut found: Vec<(String, Form)> = Vec::new();
    let mut add = |lemma: &str, form: Form| {
        let new = !found.iter().any(|(known, _)| known == lemma);
        if lemma.len() > 1 && new && wordnet.has(pos, lemma) {
            found.push((lemma.to_owned(), form));
        }
    };
    add(word, Form::Base);
    let irregular = wordnet.irregular(pos, word);
    match pos {
        Pos::Noun if PLURALS.iter().any(|(_, plural)| *plural == word) => {
            PLURALS.iter().filter(|(_, plural)| *plural == word).for_each(|(noun, _)| add(noun, Form::S));
        }
        Pos::Noun if irregular.is_empty() => {
            let detached =
                NOUN.iter().filter_map(|(end, for_it)| Some(word.strip_suffix(end)?.to_owned() + for_it));
            detached.filter(|_| !word.ends_with("ss")).for_each(|lemma| add(&lemma, Form::S));
        }
        Pos::Noun => irregular.iter().for_each(|lemma| add(lemma, Form::S)),
        Pos::Verb if irregular.is_empty() => {
            VERB.iter().for_each(|&(end, for_it, form)| {
                word.strip_suffix(end).into_iter().for_each(|stem| add(&format!("{stem}{for_it}"), form));
            });
            let doubled = word.strip_suffix("ing").and_then(undoubled);
            doubled.into_iter().for_each(|stem| add(stem, Form::Ing));
        }
        Pos::Verb if word.ends_with("ing") => irregular.iter().for_each(|lemma| add(lemma, Form::Ing)),
        Pos::Verb => return None, // past or participle: which of them, its spelling does not say
        Pos::Adjective => {}
    }
    if found.len() == 1 { found.pop() } else { None }
}

/// A lemma in a form; `None` where no rule is sure of it.
pub fn inflect(wordnet: &Wordnet, pos: Pos, lemma: &str, form: Form) -> Option<String> {
    match (pos, form) {
        (_, Form::Base) => Some(lemma.to_owned()),
        (Pos::Noun, Form::S) => plural(wordnet, lemma),
        (Pos::Verb, Form::S) => Some(with_s(lemma)),
        (Pos::Verb, Form::Ing) => {
            let doubled = wordnet.irregular_forms(pos, lemma).into_iter().find(|form| form.ends_with("ing"));
            Some(doubled.map_or_else(|| with_ing(lemma), str::to_owned))
        }
        _ => None,
    }
}

fn plural(wordnet: &Wordnet, lemma: &str) -> Option<String> {
    if let Some((_, plural)) = PLURALS.iter().find(|(noun, _)| *noun == lemma) {
        return Some((*plural).to_owned());
    }
    let regular = wordnet.irregular_forms(Pos::Noun, lemma).is_empty() && !lemma.ends_with('s');
    regular.then(|| with_s(lemma))
}

fn with_s(lemma: &str) -> String {
    let hisses = ["s", "x", "z", "ch", "sh"].iter().any(|end| lemma.ends_with(end));
    match lemma.strip_suffix('y').filter(|stem| !ends_in_vowel(stem)) {
        Some(stem) => format!("{stem}ies"),
        None if hisses => format!("{lemma}es"),
        None => format!("{lemma}s"),
    }
}

/// Most verbs that double their last letter are among WordNet's exceptions; not every copy has those.
fn with_ing(lemma: &str) -> String {
    let stem = lemma.strip_suffix('e');
    if doubles(lemma) {
        return format!("{lemma}{}ing", &lemma[lemma.len() - 1..]);
    }
    match (lemma.strip_suffix("ie"), stem) {
        (Some(stem), _) => format!("{stem}ying"),
        (None, Some(stem)) if !stem.ends_with(['e', 'o', 'y']) => format!("{stem}ing"),
        _ => format!("{lemma}ing"),
    }
}

/// Whether a verb of ASCII letters is one syllable that ends in one vowel and one consonant (`run`).
fn doubles(lemma: &str) -> bool {
    let vowels = lemma.bytes().filter(|byte| b"aeiou".contains(byte)).count();
    let (Some(last), Some(before)) = (lemma.chars().last(), lemma.chars().rev().nth(1)) else { return false };
    vowels == 1 && lemma.len() > 2 && "aeiou".contains(before) && !"aeiouwxy".contains(last)
}

/// `run` of `runn`.
fn undoubled(stem: &str) -> Option<&str> {
    let shorter = stem.get(..stem.len().checked_sub(1)?)?;
    (doubles(shorter) && shorter.ends_with(&stem[shorter.len()..])).then_some(shorter)
}

fn ends_in_vowel(stem: &str) -> bool {
    stem.ends_with(['a', 'e', 'i', 'o', 'u'])
}

/// Whether a word is spoken with a vowel first, so that `an` stands before it.
pub fn takes_an(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let begins = |all: &[&str]| all.iter().any(|begin| word.starts_with(begin));
    if begins(&["hour", "honest", "honor", "honour", "heir"]) {
        return true;
    }
    let spoken_with_y_or_w = begins(&["uni", "use", "usu", "usa", "ute", "ura", "eu", "ewe", "one", "once"]);
    let not_so = begins(&["unin", "unim", "unid"]);
    begins(&["a", "e", "i", "o", "u"]) && (!spoken_with_y_or_w || not_so)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_forms_follow_their_rules() {
        let plurals = ["dog", "bus", "box", "church", "city", "toy"].map(with_s);
        assert_eq!(plurals, ["dogs", "buses", "boxes", "churches", "cities", "toys"]);
        let participles = ["leap", "smile", "lie", "see", "dye", "try", "jog", "box", "open"].map(with_ing);
        let expected =
            ["leaping", "smiling", "lying", "seeing", "dyeing", "trying", "jogging", "boxing", "opening"];
        assert_eq!(participles, expected);
        assert_eq!(["runn", "leap", "fee", "n", ""].map(undoubled), [Some("run"), None, None, None, None]);
    }

    #[test]
    fn an_article_goes_by_the_sound() {
        let an = ["automobile", "infant", "hour", "heirloom", "uninvited", "umbrella", "Orange"];
        let a = ["kid", "unicycle", "European", "one", "used", "house", "ewe"];
        assert!(an.into_iter().all(takes_an), "{an:?}");
        assert!(!a.into_iter().any(takes_an), "{a:?}");
    }
}
