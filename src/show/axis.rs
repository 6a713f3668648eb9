//! Axes with round ticks.

/// A linear axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// An axis that begins and ends at round numbers around `low..=high`; at 0 where 0 is near.
    pub fn round(low: f64, high: f64, intervals: usize) -> Self {
        let low = if low > 0.0 && low < high * 0.4 { 0.0 } else { low };
        let step = nice_step(low, high, intervals);
        let (below, above) = ((low / step).floor(), (high / step).ceil());
        let above = if above > below { above } else { below + 1.0 };
        Self { low: below * step, high: above * step, step }
    }

    /// An axis from exactly `low` to exactly `high` with ticks at whole numbers.
    pub fn whole(low: f64, high: f64, intervals: usize) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, step: nice_step(low, high, intervals).max(1.0) }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end.
    pub fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The ticks from low to high, multiples of one step.
    pub fn ticks(&self) -> Vec<f64> {
        let slack = 1e-9;
        let first = (self.low / self.step - slack).ceil() as i64;
        let last = (self.high / self.step + slack).floor() as i64;
        (first..=last).map(|tick| tick as f64 * self.step).collect()
    }

    /// A tick's label, with as many digits as tell it from its neighbours: `12,000`, `0.25`, `5e-5`.
    pub fn label(&self, tick: f64) -> String {
        if tick.abs() < self.step * 1e-6 {
            return "0".to_owned();
        }
        if self.step < 5e-4 || self.high.abs() >= 1e7 {
            return format!("{}e{}", mantissa(tick, self.step), exponent(tick));
        }
        let decimals = decimals(self.step);
        let text = format!("{:.decimals$}", tick.abs());
        let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
        let whole = super::page::grouped(whole.parse().unwrap_or_default());
        format!("{}{whole}{rest}", if tick < 0.0 { "−" } else { "" })
    }
}

/// The power of ten of a value; a logarithm may fall just short of a whole number.
fn exponent(value: f64) -> i32 {
    (value.abs().log10() + 1e-9).floor() as i32
}

fn mantissa(tick: f64, step: f64) -> String {
    let unit = 10f64.powi(exponent(tick));
    let decimals = decimals(step / unit);
    format!("{:.decimals$}", tick / unit).replace('-', "−")
}

fn decimals(step: f64) -> usize {
    (0..12)
        .find(|&places| {
            let scaled = step * 10f64.powi(places);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1e-3)
        })
        .unwrap_or(12) as usize
}

/// 1, 2, 2.5 or 5 times a power of ten: the least of them that makes at most `intervals` steps.
fn nice_step(low: f64, high: f64, intervals: usize) -> f64 {
    let span = if high > low { high - low } else { high.abs().max(1.0) };
    let rough = span / intervals.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(axis: Axis, labels: &[&str]) {
        let found: Vec<String> = axis.ticks().into_iter().map(|tick| axis.label(tick)).collect();
        assert_eq!(found, labels);
    }

    #[test]
    fn ticks_are_round_numbers() {
        check(Axis::round(0.13, 4.9, 5), &["0", "1", "2", "3", "4", "5"]);
        check(Axis::round(2.61, 3.02, 5), &["2.6", "2.7", "2.8", "2.9", "3.0", "3.1"]);
        check(Axis::round(0.0, 5e-5, 5), &["0", "1e-5", "2e-5", "3e-5", "4e-5", "5e-5"]);
        check(Axis::round(0.0, 2.3e-4, 5), &["0", "5e-5", "1.0e-4", "1.5e-4", "2.0e-4", "2.5e-4"]);
        check(Axis::round(-3.0, 4.0, 4), &["−4", "−2", "0", "2", "4"]);
        check(Axis::round(9_500.0, 31_000.0, 4), &["0", "10,000", "20,000", "30,000", "40,000"]);
    }

    #[test]
    fn steps_have_whole_ticks_within_the_data() {
        check(Axis::whole(0.0, 1999.0, 5), &["0", "500", "1,000", "1,500"]);
        check(Axis::whole(0.0, 2.0, 6), &["0", "1", "2"]);
        check(Axis::whole(7.0, 7.0, 6), &["7", "8"]);
    }

    #[test]
    fn a_constant_still_has_an_axis() {
        let axis = Axis::round(14.3, 14.3, 4);
        assert!(axis.place(14.3) >= 0.0 && axis.place(14.3) <= 1.0, "{axis:?}");
        let axis = Axis::round(0.0, 0.0, 4);
        assert_eq!(axis.place(0.0), 0.0);
    }
}
