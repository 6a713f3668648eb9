//! The report of a training run: facts, curves, recalls, sample searches, the resolved config.

use std::fmt::Write;

use super::chance::chance;
pub use super::metrics::read_metrics;
use super::page::{counted, escape, frame, grouped, picture};
use super::plot::{Curve, Plot, Size, Stroke, smoothed};
use super::results::{self, Hit};
use crate::train::metrics::StepLine;

/// All that a report shows; parts that are empty are left out, a report without curves says so.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Headline.
    pub title: String,
    /// Names and values above the curves: device, time, parameters …
    pub facts: Vec<(String, String)>,
    /// Training steps in order.
    pub curves: Vec<StepLine>,
    /// Evaluations in order.
    pub evaluations: Vec<Evaluation>,
    /// Sample searches.
    pub searches: Vec<Search>,
    /// The resolved config.
    pub config_toml: String,
}

/// What [`read_metrics`] finds.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Training steps, ascending.
    pub curves: Vec<StepLine>,
    /// Evaluations in the order of the file.
    pub evaluations: Vec<Evaluation>,
}

/// Retrieval in one direction: shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recalls {
    /// Queries whose right answer came first.
    pub at_1: f64,
    /// … among the first five.
    pub at_5: f64,
    /// … among the first ten.
    pub at_10: f64,
    /// Median over queries of the best right answer's rank, from 1.
    pub median_rank: f64,
}

/// One evaluation of a split. Chance is computed from its counts.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Steps trained before it.
    pub step: u64,
    /// Split.
    pub split: String,
    /// Images in the pool; 0 where unknown.
    pub images: u64,
    /// Captions in the pool; 0 where unknown.
    pub captions: u64,
    /// Captions looking for their image.
    pub text_to_image: Recalls,
    /// Images looking for one of their captions.
    pub image_to_text: Recalls,
}

/// What a sample search looked for.
#[derive(Clone, Debug)]
pub enum Query {
    /// Words; the hits are shown as pictures.
    Text(String),
    /// A picture (JPEG or PNG bytes) and its key; the hits are shown as captions.
    Picture(Vec<u8>, String),
}

/// One sample search.
#[derive(Clone, Debug)]
pub struct Search {
    /// What was looked for.
    pub query: Query,
    /// Best first.
    pub hits: Vec<Hit>,
}

/// The whole page.
pub fn html(report: &Report) -> String {
    let mut body = format!("<h1>{}</h1>\n", escape(&report.title));
    body += &lead(&report.curves);
    body += &facts(&report.facts);
    body += &curves(&report.curves, &report.evaluations);
    body += &evaluations(&report.evaluations);
    body += &searches(&report.searches);
    if !report.config_toml.is_empty() {
        let config = escape(&report.config_toml);
        let _ = writeln!(body, "<details><summary>Resolved config</summary>\n<pre>{config}</pre></details>");
    }
    frame(&report.title, &body)
}

fn lead(lines: &[StepLine]) -> String {
    let Some(last) = lines.last() else { return String::new() };
    let (steps, epochs) =
        (counted(last.step as usize + 1, "step"), counted(last.epoch as usize + 1, "epoch"));
    format!("<p class=\"lead\">{steps} in {epochs}</p>\n")
}

fn facts(facts: &[(String, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let entry = |(name, value): &(String, String)| {
        format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value))
    };
    format!("<dl class=\"facts\">\n{}</dl>\n", facts.iter().map(entry).collect::<String>())
}

fn curves(lines: &[StepLine], evaluations: &[Evaluation]) -> String {
    if lines.is_empty() {
        return "<p class=\"empty\">No training step has been logged yet.</p>\n".to_owned();
    }
    let stages = stages(lines);
    let points = |value: fn(&StepLine) -> f64| -> Vec<(f64, f64)> {
        lines.iter().map(|line| (line.step as f64, value(line))).collect()
    };
    let plot = |title, unit, curves, size| Plot { title, unit, curves, stages: &stages, size }.figure();
    let noisy = |raw: &'static str, smooth: &'static str, value| {
        let points = points(value);
        let even = smoothed(&points);
        vec![curve(raw, Stroke::Raw, points), curve(smooth, Stroke::First, even)]
    };
    let scale = vec![curve("", Stroke::First, points(|line| line.scale))];
    let rates = vec![
        curve("image", Stroke::First, points(|line| line.lr_image)),
        curve("text", Stroke::Second, points(|line| line.lr_text)),
        curve("projection", Stroke::Third, points(|line| line.lr_projection)),
    ];
    [
        "<h2>Training</h2>\n".to_owned(),
        plot("Loss", "nats", noisy("each step", "smoothed", |line| line.loss), Size::Large),
        "<div class=\"multiples\">\n".to_owned(),
        plot("Learning rate", "", rates, Size::Small),
        recall_plot(evaluations),
        plot("Gradient norm", "before clipping", noisy("", "", |line| line.grad_norm), Size::Small),
        plot("Scale", "factor on the cosines", scale, Size::Small),
        plot("Throughput", "pairs/s", noisy("", "", |line| line.pairs_per_second), Size::Small),
        plot("Waiting for data", "seconds a step", noisy("", "", |line| line.wait_seconds), Size::Small),
        plot("Batches ready", "in the queue", noisy("", "", |line| line.data.queued as f64), Size::Small),
        "</div>\n".to_owned(),
    ]
    .concat()
}

fn curve(name: &str, stroke: Stroke, points: Vec<(f64, f64)>) -> Curve<'_> {
    Curve { name, stroke, points }
}

/// Recall@1 over steps of the split that was evaluated most often, if more than once.
fn recall_plot(evaluations: &[Evaluation]) -> String {
    let of = |split: &str| evaluations.iter().filter(move |found| found.split == split).collect::<Vec<_>>();
    let Some(most) = splits(evaluations).into_iter().rev().max_by_key(|split| of(split).len()) else {
        return String::new();
    };
    let found = of(most);
    if found.len() < 2 {
        return String::new();
    }
    let points = |value: fn(&Evaluation) -> f64| {
        found.iter().map(|evaluation| (evaluation.step as f64, 100.0 * value(evaluation))).collect()
    };
    let curves = vec![
        curve("to image", Stroke::First, points(|found| found.text_to_image.at_1)),
        curve("to text", Stroke::Second, points(|found| found.image_to_text.at_1)),
    ];
    let unit = format!("% of {most}");
    Plot { title: "Recall@1", unit: &unit, curves, stages: &[], size: Size::Small }.figure()
}

/// First step and name of each stage.
fn stages(lines: &[StepLine]) -> Vec<(f64, String)> {
    let changes = lines.chunk_by(|a, b| a.stage == b.stage);
    changes.map(|stage| (stage[0].step as f64, stage[0].stage.clone())).collect()
}

fn splits(evaluations: &[Evaluation]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for evaluation in evaluations {
        if !names.contains(&evaluation.split.as_str()) {
            names.push(&evaluation.split);
        }
    }
    names
}

fn evaluations(all: &[Evaluation]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text = String::from("<h2>Retrieval</h2>\n");
    for split in splits(all) {
        text += &table(split, &all.iter().filter(|found| found.split == split).collect::<Vec<_>>());
    }
    text
}

fn table(split: &str, rows: &[&Evaluation]) -> String {
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
        let _ = writeln!(text, "<tr class=\"{class}\"><td>{}</td>{both}</tr>", grouped(row.step));
    }
    if let Some((text_to_image, image_to_text)) = last.chance() {
        let both = [text_to_image, image_to_text].map(cells).concat();
        let _ = writeln!(text, "<tr class=\"chance\"><td>chance</td>{both}</tr>");
    }
    text + "</tbody></table></div>\n"
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

impl Evaluation {
    /// What random orders would reach, text → image and image → text; `None` where counts are unknown.
    pub fn chance(&self) -> Option<(Recalls, Recalls)> {
        let captions_per_image = (self.captions as f64 / self.images as f64).round().max(1.0) as u64;
        Some((chance(self.images, 1)?, chance(self.captions, captions_per_image)?))
    }
}

fn searches(searches: &[Search]) -> String {
    if searches.is_empty() {
        return String::new();
    }
    let mut text = String::from("<h2>Sample searches</h2>\n");
    for search in searches {
        let (query, hits) = match &search.query {
            Query::Text(words) => (format!("<h3>“{}”</h3>", escape(words)), results::pictures(&search.hits)),
            Query::Picture(bytes, key) => (
                format!(
                    "<div class=\"query\">{}<span class=\"key\">{}</span></div>",
                    picture(bytes, key),
                    escape(key)
                ),
                results::texts(&search.hits),
            ),
        };
        let hits =
            if search.hits.is_empty() { "<p class=\"note\">Nothing was found.</p>".to_owned() } else { hits };
        let _ = writeln!(text, "<section class=\"search\">{query}{hits}</section>");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::page::assert_self_contained;
    use super::*;

    fn line(step: u64, stage: &str, loss: f64) -> StepLine {
        let (epoch, scale) = (0, 14.3);
        let (lr_image, lr_text, lr_projection) = (1e-5, 2e-5, 1e-3);
        let (grad_norm, pairs_per_second, wait_seconds) = (1.0, 100.0, 0.01);
        let stage = stage.to_owned();
        StepLine {
            step,
            epoch,
            stage,
            loss,
            lr_image,
            lr_text,
            lr_projection,
            grad_norm,
            scale,
            pairs_per_second,
            wait_seconds,
            skipped_steps: 0,
            peak_memory_mb: None,
            data: Default::default(),
        }
    }

    fn evaluation(step: u64) -> Evaluation {
        let recalls = Recalls { at_1: 0.412, at_5: 0.7, at_10: 0.81, median_rank: 2.0 };
        Evaluation {
            step,
            split: "val".into(),
            images: 1000,
            captions: 5000,
            text_to_image: recalls,
            image_to_text: Recalls { at_1: f64::NAN, ..recalls },
        }
    }

    #[test]
    fn an_empty_report_says_so() {
        let page = html(&Report { title: "run".into(), ..Report::default() });
        assert!(page.contains("No training step has been logged yet."));
        assert!(!page.contains("Resolved config") && !page.contains("Retrieval"));
        assert_self_contained(&page);
    }

    #[test]
    fn a_loss_that_blew_up_does_not_break_the_page() {
        let curves = vec![line(0, "a", 4.0), line(1, "a", f64::NAN), line(2, "b", f64::INFINITY)];
        let page = html(&Report { curves, ..Report::default() });
        assert!(page.contains("Left out, since not finite: 2 values."));
        assert!(!page.contains(">NaN") && !page.contains("\"NaN"));
    }

    #[test]
    fn rates_have_three_polylines_and_what_is_noisy_a_raw_and_a_smoothed_one() {
        let curves = (0..9).map(|step| line(step, "a", 1.0)).collect();
        let page = html(&Report { curves, ..Report::default() });
        assert_eq!(page.matches("<polyline").count(), 3 + 1 + 2 * 5);
    }

    #[test]
    fn the_recall_table_stands_beside_chance() {
        let page = html(&Report { evaluations: vec![evaluation(100)], ..Report::default() });
        assert!(page.contains("<td class=\"start\">41.2</td><td>70.0</td><td>81.0</td><td>2</td>"));
        assert!(page.contains("<td class=\"start\">–</td>"));
        assert!(
            page.contains("<td>chance</td><td class=\"start\">0.1</td><td>0.5</td><td>1.0</td><td>500</td>")
        );
    }

    #[test]
    fn every_text_from_the_run_is_escaped() {
        let hit = |right| Hit {
            key: "<k>".into(),
            score: 0.5,
            picture: Some(vec![0xff]),
            caption: "<script>".into(),
            right,
        };
        let searches = vec![
            Search { query: Query::Text("<script>".into()), hits: vec![hit(true)] },
            Search { query: Query::Picture(vec![0xff], "<script>".into()), hits: vec![hit(false)] },
        ];
        let page = html(&Report {
            title: "<script>".into(),
            facts: vec![("<script>".into(), "<script>".into())],
            curves: vec![line(0, "<script>", 1.0), line(1, "<script>2", 1.0)],
            evaluations: vec![Evaluation { split: "<script>".into(), ..evaluation(1) }],
            searches,
            config_toml: "# <script>".into(),
        });
        assert_self_contained(&page);
        assert_eq!(page.matches("✓ right").count(), 1);
    }
}
