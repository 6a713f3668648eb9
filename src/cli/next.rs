//! What to do with a dataset that `prepare` has made, as command lines that run.

use std::path::Path;

use crate::prepare::Summary;
use crate::train::config::Config;
use crate::train::config::towers::BertConfig;

/// Characters that a shell takes as they are, beside letters and digits.
const PLAIN: &str = "_-./+,:@%=";

/// Commands to look at the dataset and to train on it, each on a line; the second where `train` would take it as it
/// is, with the keys that a small dataset or small pictures ask for.
pub fn commands(summary: &Summary) -> String {
    let out = summary.out.path();
    let (dir, page) = (quoted(&out.to_string_lossy()), quoted(&page(out)));
    let mut commands = format!("next: shards show {dir} --out {page}\n");
    if let Some(keys) = keys(summary) {
        commands += &format!("      train --data {dir} --out run{keys}\n");
    }
    commands
}

/// What `train` has to be told of the dataset; `None` where it has nothing to train on, or another vocabulary than the
/// model.
fn keys(summary: &Summary) -> Option<String> {
    let (manifest, defaults) = (&summary.manifest, Config::default().data);
    let images = manifest.splits.get("train")?.images;
    let side = manifest.options["size"].as_u64()?;
    if images < 2 || i64::from(manifest.tokenizer.vocab_size) != BertConfig::default().vocab_size {
        return None;
    }
    let below = |key: &str, has: u64, wants: u64| match has < wants {
        true => format!(" --set data.{key}={has}"),
        false => String::new(),
    };
    Some(below("crop", side, defaults.crop.into()) + &below("batch", images, defaults.batch as u64))
}

/// A page beside the dataset, called as it is.
fn page(out: &Path) -> String {
    match out.components().next_back() {
        Some(std::path::Component::Normal(name)) => {
            out.with_file_name(format!("{}.html", name.to_string_lossy())).to_string_lossy().into_owned()
        }
        _ => "shards.html".to_owned(),
    }
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let word = if word.starts_with('-') { format!("./{word}") } else { word.to_owned() };
    match word.chars().all(|letter| letter.is_ascii_alphanumeric() || PLAIN.contains(letter)) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        let words = ["a/b.c", "my data", "it's", "-x", "$HOME"];
        assert_eq!(words.map(quoted), ["a/b.c", "'my data'", r"'it'\''s'", "./-x", "'$HOME'"]);
    }

    #[test]
    fn the_page_lies_beside_the_folder() {
        let pages = ["shards", "a/shards/", "/data/v1.2", ".", "..", "/"].map(|out| page(Path::new(out)));
        assert_eq!(
            pages,
            ["shards.html", "a/shards.html", "/data/v1.2.html", "shards.html", "shards.html", "shards.html"]
        );
    }
}
