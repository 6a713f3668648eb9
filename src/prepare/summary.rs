//! What a person wants to know at the end.

use std::collections::BTreeMap;
use std::fmt;

use crate::files::human_bytes;
use crate::shard::Manifest;
use crate::shard::manifest::RejectEntry;
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
                let rate = images as f64 / seconds.max(1e-9);
                let went_on = match earlier {
                    0 => String::new(),
                    earlier => format!(", going on after {earlier} of an earlier run"),
                };
                writeln!(f, "{out}: {} in {seconds:.1} s ({rate:.0}/s){went_on}", counted(images, "image"))?;
            }
        }
        for (split, sums) in &self.manifest.splits {
            let views = sums.rows.checked_div(sums.images).unwrap_or(1);
            let views = if views > 1 { format!(" in {views} views") } else { String::new() };
            let (images, captions) = (counted(sums.images, "image"), counted(sums.captions, "caption"));
            let (shards, bytes) = (counted(sums.shards, "shard"), human_bytes(sums.bytes));
            writeln!(f, "  {split}: {images}{views}, {captions}; {shards}, {bytes}")?;
        }
        writeln!(f, "  JPEG: {}", self.jpeg())?;
        if totals.empty_captions > 0 {
            writeln!(f, "  dropped: {}", counted(totals.empty_captions, "empty caption"))?;
        }
        for (kind, count) in &self.manifest.rejects {
            let example = &self.examples[kind];
            writeln!(f, "  rejected: {count} {kind}, e.g. {}: {}", example.key, example.message)?;
        }
        writeln!(f, "next: shards show {out} --out {out}.html")?;
        write!(f, "      train --data {out} --out run")
    }
}

impl Summary {
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

fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
