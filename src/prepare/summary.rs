//! What a person wants to know at the end.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;

use super::{Config, folder};
use crate::files::human_bytes;
use crate::shard::Manifest;
use crate::shard::manifest::{REJECTS, RejectEntry};
use crate::store::Location;

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The dataset's folder.
    pub out: Location,
    /// What the dataset says of itself.
    pub manifest: Manifest,
    /// The first reject of each kind.
    pub examples: BTreeMap<String, RejectEntry>,
    /// Bytes of all files in the folder.
    pub bytes: u64,
    /// What this run had to do.
    pub work: Work,
}

/// What this run had to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Nothing: the dataset was finished.
    None,
    /// Nothing: the dataset was finished, and none of its samples had been rejected.
    NoRejects,
    /// It looked at so many images in so many seconds, after others in an earlier run.
    Done {
        /// Images, rejected ones included.
        images: u64,
        /// Images of shards that an earlier run had finished.
        earlier: u64,
        /// Seconds.
        seconds: f64,
    },
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, totals) = (&self.out, &self.manifest.totals);
        match self.work {
            Work::None => writeln!(
                f,
                "{out} is finished: {} with the names and sizes of its manifest; nothing written",
                counted(totals.shards, "shard")
            )?,
            Work::NoRejects => writeln!(
                f,
                "{out} is finished and nothing was rejected: there is nothing to try again; nothing written"
            )?,
            Work::Done { images, earlier, seconds } => {
                let went_on = match earlier {
                    0 => String::new(),
                    earlier => format!(", going on after {earlier} of an earlier run"),
                };
                let (images, rate) = (counted(images, "image"), rate(images, seconds));
                writeln!(f, "{out}: {images} in {seconds:.1} s ({rate} images/s){went_on}")?;
            }
        }
        for (split, sums) in &self.manifest.splits {
            let views = sums.rows.checked_div(sums.images).unwrap_or(1);
            let views = if views > 1 { format!(" in {views} views") } else { String::new() };
            let (images, captions) = (counted(sums.images, "image"), counted(sums.captions, "caption"));
            let (shards, bytes) = (counted(sums.shards, "shard"), human_bytes(sums.bytes));
            writeln!(f, "  {split}: {images}{views}, {captions}; {shards}, {bytes}")?;
        }
        if self.manifest.splits.len() > 1 {
            let (images, captions) = (counted(totals.images, "image"), counted(totals.captions, "caption"));
            writeln!(f, "  in all: {images}, {captions}; {}", counted(totals.shards, "shard"))?;
        }
        writeln!(f, "  on disk: {}, tables and all", human_bytes(self.bytes))?;
        writeln!(f, "  JPEG: {}", self.jpeg())?;
        if totals.empty_captions > 0 {
            writeln!(f, "  dropped: {}", counted(totals.empty_captions, "empty caption"))?;
        }
        for (kind, count) in &self.manifest.rejects {
            let example = &self.examples[kind];
            writeln!(f, "  rejected: {count} {kind}, e.g. {}: {}", example.key, example.message)?;
        }
        if !self.manifest.rejects.is_empty() {
            let table = out.join(REJECTS);
            writeln!(
                f,
                "  all rejects: {table}; once they are set right, --retry-rejected tries them again"
            )?;
        }
        Ok(())
    }
}

impl Summary {
    /// What there is to say of a finished dataset.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub(super) fn new(
        config: &Config,
        manifest: Manifest,
        rejects: Vec<RejectEntry>,
        work: Work,
    ) -> Result<Self> {
        let mut examples = BTreeMap::new();
        for reject in rejects {
            examples.entry(reject.kind.clone()).or_insert(reject);
        }
        let bytes = folder::bytes(config.out.path())?;
        Ok(Self { out: config.out.clone(), manifest, examples, bytes, work })
    }

    /// Which of the two roads JPEGs took, by the manifest.
    fn jpeg(&self) -> String {
        let first = |part: &str| -> &str {
            let versions = self.manifest.codec.get(part).map_or("", String::as_str);
            versions.split(", ").next().unwrap_or_default()
        };
        let (decoder, encoder) = (first("decoder"), first("encoder"));
        match decoder == encoder {
            true => decoder.to_owned(),
            false => format!("{decoder} and {encoder} (a build with libjpeg-turbo is faster)"),
        }
    }
}

/// Images a second, with as many digits as mean something.
fn rate(images: u64, seconds: f64) -> String {
    let rate = images as f64 / seconds.max(1e-9);
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
