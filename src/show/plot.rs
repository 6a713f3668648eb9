//! Curves over steps as inline SVG. The drawing stretches with the page; its labels are text beside
//! it, so that they keep their size on a phone.

use std::fmt::Write;

use super::axis::Axis;
use super::page::escape;

/// More points than this are thinned, each bin keeping its least and its greatest.
const MOST_POINTS: usize = 1600;

/// How a curve is drawn; the names are those of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    First,
    Second,
    Third,
    /// Thin, for measurements under their smoothed curve.
    Raw,
}

impl Stroke {
    fn class(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Third => "third",
            Self::Raw => "raw",
        }
    }
}

/// One curve, named in the legend unless its name is empty; points with a value that is not finite are left out and counted under the plot.
pub struct Curve<'a> {
    pub name: &'a str,
    pub stroke: Stroke,
    /// (step, value), steps ascending.
    pub points: Vec<(f64, f64)>,
}

/// How tall a plot stands on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Large,
    Small,
}

/// Curves that share axes.
pub struct Plot<'a> {
    pub title: &'a str,
    pub unit: &'a str,
    pub curves: Vec<Curve<'a>>,
    /// First step and name of each stage; drawn where there are several.
    pub stages: &'a [(f64, String)],
    pub size: Size,
}

impl Plot<'_> {
    /// The plot as a `<figure>`, one `<polyline>` a curve; where no point is finite, a sentence.
    pub fn figure(&self) -> String {
        let (size, intervals) = match self.size {
            Size::Large => ("plot large", 6),
            Size::Small => ("plot", 3),
        };
        let (title, unit) = (escape(self.title), escape(self.unit));
        let Some((x, y)) = self.axes(intervals) else {
            return format!(
                "<figure class=\"{size}\"><figcaption><b>{title}</b></figcaption>\
                            <p class=\"note\">No finite values to plot.</p></figure>\n"
            );
        };
        format!(
            "<figure class=\"{size}\"><figcaption><span><b>{title}</b><span class=\"unit\">{unit}</span></span>{}\
             </figcaption>\n<div class=\"area\">{}{}</div>{}</figure>\n",
            self.legend(),
            self.drawing(&x, &y),
            self.labels(&x, &y),
            self.left_out()
        )
    }

    fn axes(&self, intervals: usize) -> Option<(Axis, Axis)> {
        let finite = || self.curves.iter().flat_map(|curve| curve.points.iter().copied()).filter(is_finite);
        let (first, last) = ends(finite().map(|(step, _)| step))?;
        let (low, high) = ends(finite().map(|(_, value)| value))?;
        Some((Axis::whole(first, last, intervals), Axis::round(low, high, intervals.min(5))))
    }

    fn drawing(&self, x: &Axis, y: &Axis) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
            escape(&self.summary())
        );
        for tick in y.ticks() {
            let at = 1000.0 * (1.0 - y.place(tick));
            let _ = write!(svg, "<line class=\"grid\" x1=\"0\" x2=\"1000\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
        }
        for (step, _) in self.stages.iter().skip(1).filter(|(step, _)| x.place(*step) <= 1.0) {
            let at = 1000.0 * x.place(*step);
            let _ = write!(svg, "<line class=\"stage\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"1000\"/>");
        }
        svg.extend(self.curves.iter().map(|curve| curve.polyline(x, y)));
        svg + "</svg>"
    }

    fn labels(&self, x: &Axis, y: &Axis) -> String {
        let mut text = String::new();
        for tick in y.ticks() {
            let (at, label) = (100.0 * y.place(tick), y.label(tick));
            let _ = write!(text, "<span class=\"y\" style=\"bottom:{at:.2}%\">{label}</span>");
        }
        for tick in x.ticks() {
            let (at, label) = (100.0 * x.place(tick), x.label(tick));
            let _ = write!(text, "<span class=\"x\" style=\"left:{at:.2}%\">{label}</span>");
        }
        if self.size == Size::Large && self.stages.len() > 1 {
            text += &self.stage_names(x);
        }
        text + "<span class=\"of\">step</span>"
    }

    /// Each name over its stage, cut where the next begins.
    fn stage_names(&self, x: &Axis) -> String {
        let place = |step: f64| 100.0 * x.place(step).clamp(0.0, 1.0);
        let ends = self.stages.iter().skip(1).map(|(next, _)| place(*next)).chain([100.0]);
        let name = |((step, name), end): (&(f64, String), f64)| {
            let (at, name) = (place(*step), escape(name));
            let width = end - at;
            format!("<span class=\"name\" style=\"left:{at:.2}%;max-width:{width:.2}%\">{name}</span>")
        };
        self.stages.iter().zip(ends).map(name).collect()
    }

    fn legend(&self) -> String {
        if self.curves.iter().all(|curve| curve.name.is_empty()) {
            return String::new();
        }
        let entry =
            |curve: &Curve| format!("<span class=\"{}\">{}</span>", curve.stroke.class(), escape(curve.name));
        format!("<span class=\"legend\">{}</span>", self.curves.iter().map(entry).collect::<String>())
    }

    fn summary(&self) -> String {
        let ends = |curve: &Curve| {
            let mut finite = curve.points.iter().copied().filter(is_finite);
            let (first, value) = finite.next()?;
            let (last, end) = finite.next_back().unwrap_or((first, value));
            Some(format!("{} from {value:.4} at step {first} to {end:.4} at step {last}", curve.name))
        };
        format!("{}: {}", self.title, self.curves.iter().filter_map(ends).collect::<Vec<_>>().join("; "))
    }

    fn left_out(&self) -> String {
        let bad = |curve: &Curve| curve.points.iter().filter(|point| !is_finite(point)).count();
        match self.curves.iter().map(bad).sum::<usize>() {
            0 => String::new(),
            count => {
                let values = super::page::counted(count, "value");
                format!("<p class=\"note\">Left out, since not finite: {values}.</p>")
            }
        }
    }
}

impl Curve<'_> {
    fn polyline(&self, x: &Axis, y: &Axis) -> String {
        let mut points = thinned(self.points.iter().copied().filter(is_finite).collect());
        let mut class = self.stroke.class().to_owned();
        if let [only] = points[..] {
            points.push(only); // a line of no length still draws its round caps
            class += " dot";
        }
        let place = |(step, value): (f64, f64)| {
            format!("{:.1},{:.1}", 1000.0 * x.place(step), 1000.0 * (1.0 - y.place(value)))
        };
        let path = points.into_iter().map(place).collect::<Vec<_>>().join(" ");
        format!("<polyline class=\"{class}\" points=\"{path}\"/>")
    }
}

/// The mean of each point and its neighbours on both sides, about `1/50` of all points; near the ends
/// those that there are. Values that are not finite are passed over.
pub fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(is_finite).collect();
    let widest = finite.len() / 100;
    let mean = |at: usize| {
        let window = &finite[at.saturating_sub(widest)..finite.len().min(at + widest + 1)];
        window.iter().map(|point| point.1 / window.len() as f64).sum()
    };
    thinned_places(finite.len()).map(|at| (finite[at].0, mean(at))).collect()
}

/// At most about [`MOST_POINTS`] places of `count`, evenly spaced: a smooth curve needs no more.
fn thinned_places(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(count.div_ceil(MOST_POINTS).max(1))
}

fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points;
    }
    let bin = points.len().div_ceil(MOST_POINTS / 2);
    let extremes = |bin: &[(f64, f64)]| {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut pair =
            [bin.iter().min_by(by_value), bin.iter().max_by(by_value)].map(|point| *point.unwrap());
        pair.sort_by(|a, b| a.0.total_cmp(&b.0));
        pair
    };
    points.chunks(bin).flat_map(extremes).collect()
}

fn is_finite(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot<'a>(values: &[f64], stages: &'a [(f64, String)]) -> Plot<'a> {
        let points = values.iter().enumerate().map(|(step, value)| (step as f64, *value)).collect();
        let curves = vec![Curve { name: "loss", stroke: Stroke::First, points }];
        Plot { title: "Loss", unit: "nats", curves, stages, size: Size::Large }
    }

    #[test]
    fn every_curve_is_one_polyline() {
        let mut plot = plot(&[3.0, 2.0, 1.0], &[]);
        plot.curves.push(Curve { name: "other", stroke: Stroke::Raw, points: vec![(0.0, 1.0)] });
        assert_eq!(plot.figure().matches("<polyline").count(), 2);
    }

    #[test]
    fn the_lowest_value_lies_at_the_bottom_and_the_last_step_at_the_right() {
        assert!(plot(&[4.0, 0.0], &[]).figure().contains("points=\"0.0,0.0 1000.0,1000.0\""));
    }

    #[test]
    fn values_that_are_not_finite_are_left_out_and_counted() {
        let figure = plot(&[3.0, f64::NAN, f64::INFINITY, 2.0], &[]).figure();
        assert!(figure.contains("Left out, since not finite: 2 values."));
        assert!(!figure.contains("NaN") && !figure.contains("inf"));
    }

    #[test]
    fn a_curve_without_a_finite_value_says_so() {
        for values in [&[][..], &[f64::NAN]] {
            assert!(plot(values, &[]).figure().contains("No finite values to plot."));
        }
    }

    #[test]
    fn stages_are_marked_where_they_begin_and_named() {
        let stages = [(0.0, "head".to_owned()), (2.0, "<all>".to_owned())];
        let figure = plot(&[3.0, 2.0, 1.0, 1.0, 1.0], &stages).figure();
        assert_eq!(figure.matches("class=\"stage\" x1=\"500.0\"").count(), 1);
        assert!(figure.contains(">head</span>") && figure.contains(">&lt;all&gt;</span>"));
    }

    #[test]
    fn a_stage_after_the_last_finite_value_is_not_drawn_outside() {
        let stages = [(0.0, "head".to_owned()), (3.0, "all".to_owned())];
        let figure = plot(&[3.0, 2.0, 1.0, f64::NAN], &stages).figure();
        assert!(!figure.contains("class=\"stage\"") && figure.contains("left:100.00%;max-width:0.00%"));
    }

    #[test]
    fn a_long_curve_keeps_its_spikes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|step| (f64::from(step), 1.0)).collect();
        points[77_777].1 = 9.0;
        let thin = thinned(points);
        assert!(thin.len() <= MOST_POINTS && thin.contains(&(77_777.0, 9.0)));
    }

    #[test]
    fn smoothing_keeps_steps_and_constants() {
        let points: Vec<(f64, f64)> = (0..500).map(|step| (f64::from(step), 2.0)).collect();
        assert!(smoothed(&points).iter().all(|(_, value)| (value - 2.0).abs() < 1e-9));
        assert_eq!(smoothed(&points).len(), 500);
        assert!(smoothed(&[(0.0, f64::NAN)]).is_empty());
    }
}
