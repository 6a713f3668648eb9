//! The recall tables of a report.

use std::fmt::Write;

use super::{Evaluation, Recalls};
use crate::show::page::{counted, escape, grouped};
use crate::train::checkpoint::Weights;

/// The splits in the order of their first evaluations.
pub fn splits(evaluations: &[Evaluation]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for evaluation in evaluations {
        if !names.contains(&evaluation.split.as_str()) {
            names.push(&evaluation.split);
        }
    }
    names
}

/// A table of recalls a split, after each evaluation; `best` is the step of the best checkpoint.
pub fn section(all: &[Evaluation], best: Option<u64>) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text = String::from("<h2>Retrieval</h2>\n");
    for split in splits(all) {
        let rows: Vec<_> = all.iter().filter(|found| found.split == split).collect();
        text += &table(split, &rows, best.filter(|_| split == "val"));
    }
    text
}

fn table(split: &str, rows: &[&Evaluation], best: Option<u64>) -> String {
    let last = rows[rows.len() - 1];
    let pool = match (last.images, last.captions) {
        (0, _) | (_, 0) => String::new(),
        (images, captions) => {
            format!(": {}, {}", counted(images as usize, "image"), counted(captions as usize, "caption"))
        }
    };
    let columns = "<th class=\"start\">R@1 %</th><th>R@5 %</th><th>R@10 %</th><th>median rank</th>";
    let mut text = format!(
        "<div class=\"wide\"><table>\n<caption><b>{}</b>{pool}</caption>\n<thead><tr><th></th>\
         <th class=\"start\" colspan=\"4\">text → image</th><th class=\"start\" colspan=\"4\">image → text</th></tr>\n\
         <tr><th>after step</th>{columns}{columns}</tr></thead>\n<tbody>\n",
        escape(split)
    );
    for (at, row) in rows.iter().enumerate() {
        let class = if at + 1 == rows.len() { "latest" } else { "earlier" };
        let both = [row.text_to_image, row.image_to_text].map(cells).concat();
        let _ = writeln!(
            text,
            "<tr class=\"{class}\"><td>{}{}</td>{both}</tr>",
            grouped(row.step),
            marks(row, best)
        );
    }
    if let Some((text_to_image, image_to_text)) = last.chance() {
        let both = [text_to_image, image_to_text].map(cells).concat();
        let _ = writeln!(text, "<tr class=\"chance\"><td>chance</td>{both}</tr>");
    }
    text + "</tbody></table></div>\n"
}

/// What is to be known of a row beside its step.
fn marks(row: &Evaluation, best: Option<u64>) -> String {
    let average = (row.weights == Some(Weights::Ema)).then_some(" <span class=\"note\">average</span>");
    let best = (best == Some(row.step)).then_some(" <span class=\"mark\">✓ best</span>");
    [average, best].into_iter().flatten().collect()
}

fn cells(recalls: Recalls) -> String {
    let known = |value: f64, text: String| if value.is_finite() { text } else { "–".to_owned() };
    let percent = |share: f64| known(share, format!("{:.1}", 100.0 * share));
    let rank = known(recalls.median_rank, format!("{}", (recalls.median_rank * 10.0).round() / 10.0));
    format!(
        "<td class=\"start\">{}</td><td>{}</td><td>{}</td><td>{rank}</td>",
        percent(recalls.at_1),
        percent(recalls.at_5),
        percent(recalls.at_10)
    )
}
