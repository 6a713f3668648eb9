//! Token ids of words met before. Captions repeat a few thousand words, and looking one up costs a
//! small part of what finding its pieces does.

use std::collections::HashMap;

/// Most words that are kept: the common ones come first, and memory stays bounded.
const MOST: usize = 1 << 16;
/// Longest word in bytes that is kept.
const LONGEST: usize = 32;

/// The words of one tokenizer, one a thread.
#[derive(Default)]
pub struct Words {
    ids: HashMap<Box<str>, Box<[i32]>>,
}

impl Words {
    /// Appends the ids of a word to `ids`; `make` finds them where the word is new.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn append<E>(
        &mut self,
        word: &str,
        ids: &mut Vec<i32>,
        make: impl FnOnce() -> Result<Vec<i32>, E>,
    ) -> Result<(), E> {
        if let Some(known) = self.ids.get(word) {
            ids.extend_from_slice(known);
            return Ok(());
        }
        let made = make()?;
        ids.extend_from_slice(&made);
        if word.len() <= LONGEST && self.ids.len() < MOST {
            self.ids.insert(word.into(), made.into());
        }
        Ok(())
    }
}
