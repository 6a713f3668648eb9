//! Captions → token ids.

use std::path::Path;
use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Map, Value, json};
use tokenizers::{Tokenizer, TruncationParams};

use crate::files::sha256_hex;
use crate::sample::TokenIds;
use crate::shard::manifest::TokenizerId;

/// bert-base-uncased's; see the README beside it.
const VOCABULARY: &str = include_str!("../../data/bert-base-uncased/vocab.txt");

/// BERT's tokens with a meaning of their own. Written in a caption they mean the same.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// A WordPiece tokenizer. Shared by all threads.
pub struct WordPieces {
    tokenizer: Tokenizer,
    max_tokens: usize,
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
        Self::checked(tokenizer.with_context(named)?, max_tokens).with_context(named)
    }

    fn checked(mut tokenizer: Tokenizer, max_tokens: usize) -> Result<Self> {
        ensure!(max_tokens >= 3, "{max_tokens} tokens leave no room between [CLS] and [SEP]");
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| anyhow!(error))?;
        let frame = tokenizer.encode_fast("", true).map_err(|error| anyhow!(error))?;
        let framed = frame.get_tokens() == ["[CLS]", "[SEP]"];
        ensure!(framed, "not a tokenizer that frames a text by [CLS] and [SEP]");
        Ok(Self { tokenizer, max_tokens })
    }

    /// The ids of a text with `[CLS]` and `[SEP]`, cut before `[SEP]` to the most allowed.
    ///
    /// # Errors
    /// If the tokenizer's own rules fail on the text; BERT's never do.
    pub fn encode(&self, text: &str) -> Result<TokenIds> {
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|error| anyhow!(error))?;
        Ok(TokenIds(encoding.get_ids().iter().map(|&id| id as i32).collect()))
    }

    /// Which vocabulary the ids belong to.
    pub fn id(&self) -> TokenizerId {
        let by_id: BTreeMap<u32, String> =
            self.tokenizer.get_vocab(true).into_iter().map(|(token, id)| (id, token)).collect();
        let vocab_size = by_id.last_key_value().map_or(0, |(id, _)| id + 1);
        let empty = String::new(); // an id that no token has keeps its line
        let lines: String = (0..vocab_size).flat_map(|id| [by_id.get(&id).unwrap_or(&empty), "\n"]).collect();
        TokenizerId { sha256: sha256_hex(lines.as_bytes()), vocab_size, max_tokens: self.max_tokens as u32 }
    }
}

/// BERT's uncased tokenizer over a vocabulary of one token a line.
fn from_vocabulary(text: &str) -> Result<Tokenizer> {
    let ids: Map<String, Value> =
        text.lines().enumerate().map(|(id, token)| (token.trim_end().to_owned(), json!(id))).collect();
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
