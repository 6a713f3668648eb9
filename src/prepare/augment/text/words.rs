//! A caption as words and marks, with what stands between them kept.

/// A piece of a caption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// As written: letters with hyphens and apostrophes among them, or one mark.
    pub text: &'a str,
    /// First byte in the caption.
    pub start: usize,
}

impl<'a> Piece<'a> {
    /// Whether it is a word of ASCII letters alone: the only ones that are ever changed.
    pub fn is_plain(&self) -> bool {
        self.text.bytes().all(|byte| byte.is_ascii_alphabetic())
    }

    /// Whether it is no word.
    pub fn is_mark(&self) -> bool {
        !self.text.starts_with(char::is_alphanumeric)
    }

    /// First byte after it.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The words and marks of a caption in order.
pub fn pieces(caption: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = caption.char_indices().peekable();
    while let Some((start, first)) = rest.next() {
        let mut end = start + first.len_utf8();
        if first.is_whitespace() {
            continue;
        }
        let apostrophe = |c: char| matches!(c, '\'' | '’');
        if first.is_alphanumeric() || apostrophe(first) {
            while let Some((at, next)) =
                rest.next_if(|&(_, c)| c.is_alphanumeric() || apostrophe(c) || c == '-')
            {
                end = at + next.len_utf8();
            }
        }
        pieces.push(Piece { text: &caption[start..end], start });
    }
    pieces
}

/// The caption with some pieces, named by their places in ascending order, written anew.
pub fn rewritten(caption: &str, pieces: &[Piece], changes: &[(usize, String)]) -> String {
    let (mut text, mut done) = (String::with_capacity(caption.len() + 16), 0);
    for (place, word) in changes {
        let piece = &pieces[*place];
        text += &caption[done..piece.start];
        text += word;
        done = piece.end();
    }
    text + &caption[done..]
}

/// A lower-case word in the case of another: `DOG`, `Dog` or `dog`.
pub fn in_case_of(word: &str, pattern: &str) -> String {
    let mut letters = pattern.chars().filter(|c| c.is_alphabetic());
    let capital = letters.next().is_some_and(char::is_uppercase);
    let others = letters.next().map(|second| second.is_uppercase() && letters.all(char::is_uppercase));
    match (capital, others) {
        (true, Some(true)) => word.to_uppercase(),
        (true, _) => word[..1].to_uppercase() + &word[1..],
        (false, _) => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caption_falls_into_words_and_marks() {
        let caption = "A man's T-shirt, re\u{301}d 'n' “left”.";
        let texts: Vec<&str> = pieces(caption).iter().map(|piece| piece.text).collect();
        assert_eq!(texts, ["A", "man's", "T-shirt", ",", "re", "\u{301}", "d", "'n'", "“", "left", "”", "."]);
    }

    #[test]
    fn what_stands_between_the_words_is_kept() {
        let caption = " Two  dogs,\trunning\u{a0}.";
        let pieces = pieces(caption);
        assert_eq!(rewritten(caption, &pieces, &[]), caption);
        let changes = [(1, "hounds".to_owned()), (3, "racing".to_owned())];
        assert_eq!(rewritten(caption, &pieces, &changes), " Two  hounds,\tracing\u{a0}.");
    }

    #[test]
    fn a_word_takes_the_case_of_the_one_before_it() {
        let words = ["dog", "Dog", "DOG", "A", "dOG"].map(|pattern| in_case_of("hound", pattern));
        assert_eq!(words, ["hound", "Hound", "HOUND", "Hound", "hound"]);
    }
}
