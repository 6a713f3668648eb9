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

/// One curve; points with a value that is not finite are left out and counted under the plot.
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
        for (step, _) in self.stages.iter().skip(1) {
            let at = 1000.0 * x.place(*step);
            let _ = write!(svg, "<line class=\"stage\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"1000\"/>");
        }
        for curve in &self.curves {
            let _ =
                write!(svg, "<polyline class=\"{}\" points=\"{}\"/>", curve.stroke.class(), curve.path(x, y));
        }
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
        let named = if self.size == Size::Large && self.stages.len() > 1 { self.stages } else { &[] };
        for (place, (step, name)) in named.iter().enumerate() {
            let end = named.get(place + 1).map_or(1.0, |(next, _)| x.place(*next));
            let (at, width) = (100.0 * x.place(*step), 100.0 * (end - x.place(*step)));
            let _ = write!(
                text,
                "<span class=\"name\" style=\"left:{at:.2}%;max-width:{width:.2}%\">{}</span>",
                escape(name)
            );
        }
        text + "<span class=\"of\">step</span>"
    }

    fn legend(&self) -> String {
        if self.curves.len() < 2 {
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
    fn path(&self, x: &Axis, y: &Axis) -> String {
        let mut points = thinned(self.points.iter().copied().filter(is_finite).collect());
        if let [only] = points[..] {
            points.push(only); // a line of no length still draws its round caps: a dot
        }
        let mut path = String::new();
        for (step, value) in points {
            let _ = write!(path, "{:.1},{:.1} ", 1000.0 * x.place(step), 1000.0 * (1.0 - y.place(value)));
        }
        path.truncate(path.trim_end().len());
        path
    }
}

/// Exponential moving average over about `1/50` of the points, started without bias; a value that
/// is not finite is passed over.
pub fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / (points.len() as f64 / 50.0).max(1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let finite = points.iter().copied().filter(is_finite);
    finite
        .map(|(step, value)| {
            sum = keep * sum + (1.0 - keep) * value;
            weight = keep * weight + (1.0 - keep);
            (step, sum / weight)
        })
        .collect()
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
    fn a_long_curve_keeps_its_spikes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|step| (f64::from(step), 1.0)).collect();
        points[77_777].1 = 9.0;
        let thin = thinned(points);
        assert!(thin.len() <= MOST_POINTS && thin.contains(&(77_777.0, 9.0)));
    }

    #[test]
    fn smoothing_a_constant_changes_nothing() {
        let points: Vec<(f64, f64)> = (0..500).map(|step| (f64::from(step), 2.0)).collect();
        assert!(smoothed(&points).iter().all(|(_, value)| (value - 2.0).abs() < 1e-12));
    }
}
