//! The curves of a report.

use super::Evaluation;
use super::retrieval::splits;
use crate::show::plot::{Curve, Plot, Size, Stroke, smoothed};
use crate::train::metrics::StepLine;

/// The plots; a sentence where there is no step yet.
pub fn section(lines: &[StepLine], evaluations: &[Evaluation]) -> String {
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
        recall_plots(evaluations),
        plot("Gradient norm", "before clipping", noisy("", "", |line| line.grad_norm), Size::Small),
        plot("Scale", "factor on the cosines", scale, Size::Small),
        plot("Throughput", "pairs/s", noisy("", "", |line| line.pairs_per_second), Size::Small),
        plot("Waiting for data", "% of the time", noisy("", "", |line| 100.0 * line.wait_share), Size::Small),
        plot("Batches ready", "in the queue", noisy("", "", |line| line.data.queued as f64), Size::Small),
        "</div>\n".to_owned(),
    ]
    .concat()
}

fn curve(name: &str, stroke: Stroke, points: Vec<(f64, f64)>) -> Curve<'_> {
    Curve { name, stroke, points }
}

/// Recalls over steps of the split that was evaluated most often, if more than once.
fn recall_plots(evaluations: &[Evaluation]) -> String {
    let of = |split: &str| evaluations.iter().filter(move |found| found.split == split).collect::<Vec<_>>();
    let Some(most) = splits(evaluations).into_iter().rev().max_by_key(|split| of(split).len()) else {
        return String::new();
    };
    let found = of(most);
    if found.len() < 2 {
        return String::new();
    }
    let points = |value: fn(&Evaluation) -> f64| {
        found.iter().map(|evaluation| (evaluation.step as f64, value(evaluation))).collect()
    };
    let first = vec![
        curve("to image", Stroke::First, points(|found| 100.0 * found.text_to_image.at_1)),
        curve("to text", Stroke::Second, points(|found| 100.0 * found.image_to_text.at_1)),
    ];
    let sum = vec![curve("", Stroke::First, points(Evaluation::sum))];
    let plot =
        |title, unit: &str, curves| Plot { title, unit, curves, stages: &[], size: Size::Small }.figure();
    plot("Recall@1", &format!("% of {most}"), first) + &plot("Recall sum", &format!("of 600, on {most}"), sum)
}

/// First step and name of each stage.
fn stages(lines: &[StepLine]) -> Vec<(f64, String)> {
    let changes = lines.chunk_by(|a, b| a.stage == b.stage);
    changes.map(|stage| (stage[0].step as f64, stage[0].stage.clone())).collect()
}
