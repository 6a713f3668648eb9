//! Captions → token ids.

use std::path::Path;
use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Map, Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{AddedToken, Tokenizer, TruncationParams};

use super::words::Words;
use crate::files::sha256_hex;
use crate::sample::TokenIds;
use crate::shard::manifest::TokenizerId;

/// bert-base-uncased's; see the README beside it.
pub const VOCABULARY: &str = include_str!("../../data/bert-base-uncased/vocab.txt");

/// BERT's tokens with a meaning of their own. Written in a caption they mean the same.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// A WordPiece tokenizer. Shared by all threads.
pub struct WordPieces {
    tokenizer: Tokenizer,
    max_tokens: usize,
    /// The ids of `[CLS]` and `[SEP]`, where a text's ids are those of its words in a row.
    by_word: Option<[i32; 2]>,
}

impl WordPieces {
    /// The tokenizer of bert-base-uncased, giving at most `max_tokens` ids a text.
    ///
    /// # Errors
    /// If `max_tokens` has no room for a token between `[CLS]` and `[SEP]`.
    pub fn bundled(max_tokens: usize) -> Result<Self> {
        Self::checked(from_vocabulary(VOCABULARY)?, max_tokens)
    }

    /// The tokenizer of a `tokenizer.json` or of a BERT `vocab.txt` (lower-casing), told apart by
    /// content. What a `tokenizer.json` says of padding and truncation is overridden.
    ///
    /// # Errors
    /// If the file cannot be read, is neither, does not frame a text by `[CLS]` and `[SEP]`, or if
    /// `max_tokens` is too small.
    pub fn from_file(path: &Path, max_tokens: usize) -> Result<Self> {
        let named = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(named)?;
        let tokenizer =
            if text.trim_start().starts_with('{') { from_json(&text) } else { from_vocabulary(&text) };
        tokenizer.and_then(|tokenizer| Self::checked(tokenizer, max_tokens)).with_context(named)
    }

    fn checked(mut tokenizer: Tokenizer, max_tokens: usize) -> Result<Self> {
        ensure!(max_tokens >= 3, "{max_tokens} tokens leave no room between [CLS] and [SEP]");
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| anyhow!(error))?;
        let frame = tokenizer.encode_fast("", true).map_err(|error| anyhow!(error))?;
        let framed = frame.get_tokens() == ["[CLS]", "[SEP]"];
        ensure!(framed, "not a tokenizer that frames a text by [CLS] and [SEP]");
        let marks = [frame.get_ids()[0] as i32, frame.get_ids()[1] as i32];
        let by_word = spaces_part_words(&tokenizer).then_some(marks);
        Ok(Self { tokenizer, max_tokens, by_word })
    }

    /// The ids of a text with `[CLS]` and `[SEP]`, cut before `[SEP]` to the most allowed.
    ///
    /// # Errors
    /// If the tokenizer's own rules fail on the text; BERT's never do.
    pub fn encode(&self, text: &str) -> Result<TokenIds> {
        Ok(TokenIds(self.ids(text, true)?))
    }

    /// The same ids, through the words that were met before; every `words` with one tokenizer only.
    ///
    /// # Errors
    /// As [`WordPieces::encode`].
    pub fn encode_known(&self, text: &str, words: &mut Words) -> Result<TokenIds> {
        let Some([begin, end]) = self.by_word else { return self.encode(text) };
        let most = self.max_tokens - 1;
        let mut ids = vec![begin];
        for word in text.split([' ', '\t', '\n', '\r']) {
            words.append(word, &mut ids, || self.ids(word, false))?;
            if ids.len() >= most {
                break;
            }
        }
        ids.truncate(most);
        ids.push(end);
        Ok(TokenIds(ids))
    }

    fn ids(&self, text: &str, framed: bool) -> Result<Vec<i32>> {
        let encoding = self.tokenizer.encode_fast(text, framed).map_err(|error| anyhow!(error))?;
        Ok(encoding.get_ids().iter().map(|&id| id as i32).collect())
    }

    /// The same as a `tokenizer.json`, as Hugging Face's libraries read it.
    ///
    /// # Errors
    /// If a rule of it has no place in the format.
    pub fn to_json(&self) -> Result<String> {
        self.tokenizer.to_string(true).map_err(|error| anyhow!(error))
    }

    /// Its tokens in the order of their ids.
    pub fn vocabulary(&self) -> Vec<String> {
        let by_id: BTreeMap<u32, String> =
            self.tokenizer.get_vocab(true).into_iter().map(|(token, id)| (id, token)).collect();
        let size = by_id.last_key_value().map_or(0, |(id, _)| id + 1);
        // An id that no token has keeps its line.
        (0..size).map(|id| by_id.get(&id).cloned().unwrap_or_default()).collect()
    }

    /// Which vocabulary the ids belong to.
    pub fn id(&self) -> TokenizerId {
        let tokens = self.vocabulary();
        let lines: String = tokens.iter().flat_map(|token| [token.as_str(), "\n"]).collect();
        let vocab_size = tokens.len() as u32;
        TokenizerId { sha256: sha256_hex(lines.as_bytes()), vocab_size, max_tokens: self.max_tokens as u32 }
    }
}

/// Whether what stands beyond a space never matters to a word's ids, as with BERT's own tokenizers.
fn spaces_part_words(tokenizer: &Tokenizer) -> bool {
    let plain =
        |token: &AddedToken| !token.lstrip && !token.rstrip && !token.content.contains(char::is_whitespace);
    matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_)))
        && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
        && matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_))
        && tokenizer.get_added_tokens_decoder().values().all(plain)
}

/// BERT's uncased tokenizer over a vocabulary of one token a line.
fn from_vocabulary(text: &str) -> Result<Tokenizer> {
    let ids: Map<String, Value> =
        text.lines().enumerate().map(|(id, token)| (token.to_owned(), json!(id))).collect();
    let missing = SPECIAL.into_iter().find(|&token| !ids.contains_key(token));
    ensure!(missing.is_none(), "no WordPiece vocabulary: no line {}", missing.unwrap_or_default());
    let special = |token: &str| {
        json!({
            "id": ids[token], "content": token, "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false,
        })
    };
    let description = json!({
        "version": "1.0",
        "added_tokens": SPECIAL.map(special),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true, // null: as lowercase
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "BertProcessing", "sep": ["[SEP]", ids["[SEP]"]], "cls": ["[CLS]", ids["[CLS]"]],
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids,
        },
    });
    from_json(&description.to_string())
}

fn from_json(text: &str) -> Result<Tokenizer> {
    text.parse().map_err(|error: tokenizers::Error| anyhow!(error))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::strategy::Strategy;

    use super::*;

    static BUNDLED: LazyLock<Tokenizer> = LazyLock::new(|| from_vocabulary(VOCABULARY).unwrap());

    fn ids(text: &str) -> Vec<i32> {
        WordPieces::bundled(64).unwrap().encode(text).unwrap().0
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    proptest::proptest! {
        /// Words of every kind, also twice, with all kinds of spaces between them.
        #[test]
        fn known_words_have_the_ids_of_whole_texts(
            parts in proptest::collection::vec(
                proptest::prop_oneof![
                    "[a-zA-Z0-9,.'-]{0,9}",
                    "\\PC{0,5}",
                    "[\u{0}-\u{2f}\u{85}\u{a0}\u{300}-\u{310}\u{3000}\u{4e00}-\u{4e10}]{0,3}",
                    proptest::sample::select(&[
                        " ", "  ", "\t", "\n", "\r", "[SEP]", "[MASK]x", "a man", "cafe\u{301}", "二匹", "\u{301}",
                    ][..]).prop_map(str::to_owned),
                ],
                0..24,
            ),
            max_tokens in 3..20_usize,
        ) {
            let (text, pieces) = (parts.concat(), WordPieces::checked(BUNDLED.clone(), max_tokens).unwrap());
            let mut words = Words::default();
            let whole = pieces.encode(&text).unwrap();
            proptest::prop_assert_eq!(&pieces.encode_known(&text, &mut words).unwrap(), &whole);
            proptest::prop_assert_eq!(&pieces.encode_known(&text, &mut words).unwrap(), &whole);
        }
    }

    const SMALL: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\n##s\n";

    /// As Hugging Face `tokenizers` 0.23 reads them with the tokenizer.json of all-MiniLM-L6-v2.
    #[test]
    fn texts_get_the_ids_that_hugging_face_gives_them() {
        assert_eq!(ids("a photo of a cat"), [101, 1037, 6302, 1997, 1037, 4937, 102]);
        assert_eq!(
            ids("Café déjà vu, naïve façade!"),
            [101, 7668, 2139, 3900, 24728, 1010, 15743, 8508, 999, 102]
        );
        assert_eq!(ids("二匹の猫 on a 沙发。"), [101, 1752, 100, 1671, 100, 2006, 1037, 100, 100, 1636, 102]);
        assert_eq!(
            ids("don't stop—it's 3.50$ (50%)"),
            [
                101, 2123, 1005, 1056, 2644, 1517, 2009, 1005, 1055, 1017, 1012, 2753, 1002, 1006, 2753,
                1003, 1007, 102
            ]
        );
        assert_eq!(ids("emoji 😀 here"), [101, 7861, 29147, 2072, 100, 2182, 102]);
        assert_eq!(
            ids("\t tabs\n and\u{a0}nbsp\u{200b} zero"),
            [101, 21628, 2015, 1998, 1050, 5910, 2361, 5717, 102]
        );
        assert_eq!(ids("[SEP] in a text [MASK]"), [101, 102, 1999, 1037, 3793, 103, 102]);
        assert_eq!(ids(&"a".repeat(150)), [101, 100, 102]);
        assert_eq!(ids(""), [101, 102]);
    }

    #[test]
    fn a_long_text_is_cut_before_its_end_mark() {
        let short = WordPieces::bundled(4).unwrap();
        assert_eq!(short.encode("a photo of a cat").unwrap().0, [101, 1037, 6302, 102]);
    }

    #[test]
    fn the_hash_is_that_of_the_vocabulary_file() {
        let id = WordPieces::bundled(64).unwrap().id();
        assert_eq!(id.sha256, sha256_hex(VOCABULARY.as_bytes()));
        assert_eq!((id.vocab_size, id.max_tokens), (30_522, 64));
    }

    #[test]
    fn a_vocabulary_file_is_read_by_its_lines() {
        let vocabulary = file(SMALL);
        let pieces = WordPieces::from_file(vocabulary.path(), 8).unwrap();
        assert_eq!(pieces.encode("A cats dog").unwrap().0, [2, 5, 6, 7, 1, 3]);
        assert_eq!(pieces.id().sha256, sha256_hex(SMALL.as_bytes()));
    }

    #[test]
    fn padding_and_truncation_of_a_tokenizer_file_are_overridden() {
        let mut tokenizer = from_vocabulary(SMALL).unwrap();
        tokenizer.with_padding(Some(tokenizers::PaddingParams {
            strategy: tokenizers::PaddingStrategy::Fixed(12),
            ..Default::default()
        }));
        let short = TruncationParams { max_length: 3, ..Default::default() };
        tokenizer.with_truncation(Some(short)).unwrap();
        let json = file(&tokenizer.to_string(false).unwrap());
        let pieces = WordPieces::from_file(json.path(), 8).unwrap();
        assert_eq!(pieces.encode("a cat").unwrap().0, [2, 5, 6, 3]);
        assert_eq!(pieces.id().sha256, sha256_hex(SMALL.as_bytes()));
    }

    #[test]
    fn a_file_that_is_no_vocabulary_is_named() {
        let error = |content: &str| {
            let file = file(content);
            let error = format!("{:#}", WordPieces::from_file(file.path(), 8).err().unwrap());
            error.strip_prefix(&format!("{}: ", file.path().display())).unwrap().to_owned()
        };
        assert_eq!(error("a\nb\n"), "no WordPiece vocabulary: no line [PAD]");
        let model = json!({
            "type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 9, "vocab": { "u": 0 },
        });
        let unframed = json!({ "version": "1.0", "model": model }).to_string();
        assert_eq!(error(&unframed), "not a tokenizer that frames a text by [CLS] and [SEP]");
    }

    #[test]
    fn two_tokens_are_too_few() {
        let error = WordPieces::bundled(2).err().unwrap().to_string();
        assert_eq!(error, "2 tokens leave no room between [CLS] and [SEP]");
    }
}
