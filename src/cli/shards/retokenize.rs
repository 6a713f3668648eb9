//! `shards retokenize`

use std::io::Write;

use anyhow::Result;

use crate::cli::file_exists;
use crate::prepare::retokenize::{self, Retokenize};
use crate::progress::Verbosity;
use crate::shard::Dataset;
use crate::show::page::grouped;
use crate::store::Location;

#[derive(Debug, clap::Args)]
pub(super) struct RetokenizeArgs {
    /// Folder that `prepare` wrote
    dir: Location,

    /// vocab.txt or tokenizer.json of a WordPiece tokenizer
    #[arg(long, value_name = "FILE")]
    tokenizer: Location,

    /// Folder of the new dataset
    #[arg(long, value_name = "DIR")]
    out: Location,

    /// Longest row of token ids, [CLS] and [SEP] included [default: as it was]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=512))]
    max_tokens: Option<u32>,
}

impl RetokenizeArgs {
    pub(super) fn resolve(self) -> Result<Retokenize> {
        file_exists("--tokenizer", &self.tokenizer)?;
        Ok(Retokenize {
            from: Dataset::open(&self.dir)?,
            out: self.out,
            tokenizer: self.tokenizer,
            max_tokens: self.max_tokens.map(|tokens| tokens as usize),
        })
    }
}

/// Writes the new dataset and says what stands where.
///
/// # Errors
/// If something cannot be read or written, or does not belong together.
pub fn run(config: &Retokenize, verbosity: Verbosity, out: &mut impl Write) -> Result<()> {
    let done = retokenize::run(config, verbosity)?;
    let (place, shards) = (&config.out, grouped(done.manifest.totals.shards));
    let ids = &done.manifest.tokenizer;
    let with = format!("{} token ids, at most {} a caption", grouped(ids.vocab_size.into()), ids.max_tokens);
    match (done.written, done.kept) {
        (0, _) => writeln!(out, "{place} is finished: {shards} shards; {with}; nothing written")?,
        (_, 0) => writeln!(out, "{place}: {shards} shards; {with}")?,
        (_, kept) => writeln!(out, "{place}: {shards} shards, {} of an earlier run; {with}", grouped(kept))?,
    }
    Ok(())
}
