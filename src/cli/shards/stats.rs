//! `shards stats`

use std::fmt::Display;
use std::io::Write;

use anyhow::Result;

use super::Format;
use crate::files::human_bytes;
use crate::progress::{Progress, Verbosity};
use crate::shard::Dataset;
use crate::shard::stats::{Duplicates, Place, Stats, Summary, stats};
use crate::show::page::grouped;

/// Sizes printed before the rest is only counted.
const SIZES_SHOWN: usize = 5;

/// Prints the numbers of a dataset.
///
/// # Errors
/// If a shard cannot be read.
pub fn run(dataset: &Dataset, format: Format, verbosity: Verbosity, out: &mut impl Write) -> Result<()> {
    let progress = Progress::new("reading", "rows", dataset.manifest.totals.images, verbosity);
    let stats = stats(dataset, |rows| progress.add(rows, String::new))?;
    progress.finish();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&stats)?)?,
        Format::Text => print(&stats, out)?,
    }
    Ok(())
}

fn print(stats: &Stats, out: &mut impl Write) -> Result<()> {
    let (images, pairs) = (grouped(stats.images), grouped(stats.pairs));
    writeln!(out, "{images} images, {pairs} image–caption pairs")?;
    let (rows, shards, bytes) = (grouped(stats.rows), grouped(stats.shards), human_bytes(stats.bytes));
    writeln!(out, "{rows} rows in {shards} shards, {bytes}\n")?;

    let columns = ["images", "pairs", "views", "shards", "bytes"];
    write!(out, "{:<14}", "split")?;
    columns.iter().try_for_each(|column| write!(out, "{column:>12}"))?;
    writeln!(out)?;
    for (name, split) in &stats.splits {
        write!(out, "{name:<14}")?;
        for number in [split.images, split.pairs, split.views.into(), split.shards] {
            write!(out, "{:>12}", grouped(number))?;
        }
        writeln!(out, "{:>12}", human_bytes(split.bytes))?;
    }
    writeln!(out)?;

    let mut line = |name: &str, value: String| writeln!(out, "{name:<14}{value}");
    let kinds = listed(stats.captions.iter().map(|(kind, count)| (kind, *count)));
    line("captions", format!("{kinds}; {} empty ones dropped", grouped(stats.empty_captions)))?;
    line("words", spread(stats.words))?;
    let at_most =
        format!("{} at the most allowed, {}", grouped(stats.captions_at_max_tokens), stats.max_tokens);
    line("token ids", format!("{}; {at_most}", spread(stats.tokens)))?;
    line("source width", spread(stats.source_width))?;
    line("source height", spread(stats.source_height))?;
    line("stored", sizes(stats))?;
    line("rejects", listed(stats.rejects.iter().map(|(kind, count)| (kind, *count))))?;
    let Duplicates { within_splits, within_example, across_splits, across_example } = &stats.duplicates;
    let within = grouped(*within_splits);
    let within = format!("{within} images repeat another's source in their split{}", example(within_example));
    let across =
        format!("{} sources stand in several splits{}", grouped(*across_splits), example(across_example));
    line("duplicates", format!("{within}; {across}"))?;
    Ok(())
}

/// `, e.g. train/p1 and val/p7`
fn example(pair: &Option<[Place; 2]>) -> String {
    let named = |[one, other]: &[Place; 2]| {
        format!(", e.g. {}/{} and {}/{}", one.split, one.key, other.split, other.key)
    };
    pair.as_ref().map(named).unwrap_or_default()
}

fn spread(summary: Option<Summary>) -> String {
    match summary {
        None => "none".into(),
        Some(Summary { min, median, mean, p95, max }) => {
            format!("min {min}, median {median}, mean {mean:.1}, p95 {p95}, max {max}")
        }
    }
}

/// `12 missing, 1 corrupt`, or `none`.
fn listed(counts: impl Iterator<Item = (impl Display, u64)>) -> String {
    let words: Vec<String> = counts
        .filter(|&(_, count)| count > 0)
        .map(|(what, count)| format!("{} {what}", grouped(count)))
        .collect();
    if words.is_empty() { "none".into() } else { words.join(", ") }
}

/// The commonest stored sizes.
fn sizes(stats: &Stats) -> String {
    let mut sizes: Vec<(&String, u64)> = stats.stored.iter().map(|(size, images)| (size, *images)).collect();
    sizes.sort_by_key(|&(_, images)| std::cmp::Reverse(images));
    let shown = listed(sizes.iter().take(SIZES_SHOWN).map(|&(size, images)| (format!("of {size}"), images)));
    match sizes.len().saturating_sub(SIZES_SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more sizes"),
    }
}
