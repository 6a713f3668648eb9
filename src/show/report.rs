//! The report of a training run: facts, curves, recalls, sample searches, the resolved config.

mod curves;
mod retrieval;

use std::fmt::Write;

use super::chance::chance;
pub use super::metrics::read_metrics;
use super::page::{counted, escape, frame, picture};
use super::results::{self, Hit};
use crate::train::checkpoint::Weights;
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
    /// Steps done in the best checkpoint on `val`.
    pub best: Option<u64>,
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
    /// Which weights were evaluated, where that is known.
    pub weights: Option<Weights>,
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
    body += &curves::section(&report.curves, &report.evaluations);
    body += &retrieval::section(&report.evaluations, report.best);
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

impl Evaluation {
    /// Recall@1, 5 and 10 of both directions together, in per cent: up to 600.
    pub fn sum(&self) -> f64 {
        100.0
            * [self.text_to_image, self.image_to_text]
                .iter()
                .map(|way| way.at_1 + way.at_5 + way.at_10)
                .sum::<f64>()
    }

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
            wait_share: 0.001,
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
            weights: Some(Weights::Model),
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
    fn the_best_row_of_val_and_rows_of_averages_are_marked() {
        let average = Evaluation { weights: Some(Weights::Ema), ..evaluation(200) };
        let other = Evaluation { split: "test".into(), ..evaluation(200) };
        let page = html(&Report {
            evaluations: vec![evaluation(100), average, other],
            best: Some(200),
            ..Report::default()
        });
        assert!(page.contains("<td>100</td>"));
        assert_eq!(page.matches("✓ best").count(), 1);
        let marked = "<td>200 <span class=\"note\">average</span> <span class=\"mark\">✓ best</span></td>";
        assert!(page.contains(marked), "{page}");
    }

    #[test]
    fn recalls_have_curves_once_there_are_two_evaluations() {
        let sum = |evaluations: Vec<Evaluation>| {
            let page = html(&Report { curves: vec![line(0, "a", 1.0)], evaluations, ..Report::default() });
            page.matches("<b>Recall sum</b>").count()
        };
        assert_eq!(sum(vec![evaluation(100)]), 0);
        assert_eq!(sum(vec![evaluation(100), evaluation(200)]), 1);
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
            best: None,
            searches,
            config_toml: "# <script>".into(),
        });
        assert_self_contained(&page);
        assert_eq!(page.matches("✓ right").count(), 1);
    }
}
