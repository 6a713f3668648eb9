//! Captions beside the source's own: with synonyms, translated there and back, and mirrored.

pub mod back_translation;
pub mod cache;
mod entry;
mod inflect;
mod lists;
pub mod sides;
pub mod synonyms;
pub mod wordnet;
mod words;

use anyhow::Result;
use serde_json::{Value, json};

use crate::store::Location;
use back_translation::Filter;
use wordnet::Wordnet;

/// Which captions are derived from the source's own. They stand in every view.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextSettings {
    /// Probability per word that a synonym replaces it, as far as that is safe; 0 is none.
    pub synonyms: f64,
    /// WordNet's folder; the usual places where `None`.
    pub wordnet: Option<Location>,
    /// A program that rewords captions.
    pub back_translate: Option<Filter>,
}

impl TextSettings {
    /// The dictionary, where one is wanted.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub fn dictionary(&self) -> Result<Option<Wordnet>> {
        let wanted = self.synonyms > 0.0;
        wanted.then(|| Wordnet::find(self.wordnet.as_ref().map(Location::path))).transpose()
    }

    /// What of it shapes captions, by the names in the manifest: no folder of the machine.
    pub fn options(&self, dictionary: Option<&Wordnet>) -> Vec<(&'static str, Value)> {
        let command = self.back_translate.as_ref().map(|filter| filter.command.as_str());
        let mut options = vec![("synonyms", json!(self.synonyms)), ("back_translate", json!(command))];
        options.extend(dictionary.map(|dictionary| ("wordnet", json!(dictionary.sha256()))));
        options
    }
}
