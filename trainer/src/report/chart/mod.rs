//! Plots as inline SVG: no script, no outside file, colours from the page's style so that they follow dark mode.

mod bars;
mod lines;
mod matrix;

pub use bars::Bars;
pub use lines::{Lines, Series};
pub use matrix::Matrix;

use maud::Markup;

/// A plot.
#[derive(Debug, Clone)]
pub enum Chart {
    /// Curves over a common x axis.
    Lines(Lines),
    /// One bar per name.
    Bars(Bars),
    /// Counts by row and column.
    Matrix(Matrix),
}

impl Chart {
    pub(super) fn draw(&self) -> Markup {
        match self {
            Self::Lines(chart) => chart.draw(),
            Self::Bars(chart) => chart.draw(),
            Self::Matrix(chart) => chart.draw(),
        }
    }
}

/// Round steps for an axis from `low` to `high`: at most `most` ticks, all multiples of 1, 2 or 5 times a power of ten.
fn ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return vec![low];
    }
    let raw = span / most.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw).unwrap_or(raw);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A tick's number, without a tail of zeros.
fn tick_text(value: f64) -> String {
    let text = format!("{value:.4}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".into() } else { short.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(1.0, 3.0, 4), [1.0, 1.5, 2.0, 2.5, 3.0]);
        assert_eq!(ticks(2.0, 2.0, 4), [2.0]);
        assert_eq!(
            (tick_text(0.6000000000000001), tick_text(3.0), tick_text(-0.0)),
            ("0.6".into(), "3".into(), "0".into())
        );
    }
}
