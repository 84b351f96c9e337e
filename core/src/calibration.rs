//! Whether confidences mean what they say, and the temperature that makes them do so.
//!
//! A model is calibrated when of the words it is 80 % sure of, 80 % are right. The expected calibration error
//! ([`Reliability::ece`]) measures how far off it is; dividing logits by one fitted temperature mends most of it
//! without changing which class is the most probable.
//!
//! Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", §2 and §4.2.

use serde::{Deserialize, Serialize};

/// Bins of equal width over the confidences.
pub const BINS: usize = 15;

/// Temperatures are sought between 1/20 and 20.
const WIDEST: f64 = 20.0;

/// Words of one range of confidences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower edge, exclusive (inclusive for the first).
    pub low: f64,
    /// Upper edge, inclusive.
    pub high: f64,
    /// Words in it.
    pub words: usize,
    /// Their mean confidence; 0 for none.
    pub confidence: f64,
    /// Share of them that is right; 0 for none.
    pub accuracy: f64,
}

/// Confidences beside how often they were right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Expected calibration error: mean |confidence − accuracy| over bins, weighted by words; 0 without words.
    pub ece: f64,
    /// [`BINS`] bins of equal width.
    pub bins: Vec<Bin>,
}

/// Compares confidences (0..=1) with whether they were right.
pub fn reliability(words: impl IntoIterator<Item = (f64, bool)>) -> Reliability {
    let mut sums = vec![(0usize, 0.0f64, 0usize); BINS];
    let mut total = 0usize;
    for (confidence, right) in words {
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        if let Some((words, sum, hits)) = sums.get_mut(bin) {
            (*words, *sum, *hits) = (*words + 1, *sum + confidence, *hits + usize::from(right));
        }
        total += 1;
    }
    let edge = |i: usize| i as f64 / BINS as f64;
    let bins: Vec<Bin> = sums
        .into_iter()
        .enumerate()
        .map(|(i, (words, sum, hits))| {
            let over = |x: f64| if words == 0 { 0.0 } else { x / words as f64 };
            Bin { low: edge(i), high: edge(i + 1), words, confidence: over(sum), accuracy: over(hits as f64) }
        })
        .collect();
    let gap = |b: &Bin| (b.confidence - b.accuracy).abs() * b.words as f64;
    Reliability { ece: bins.iter().map(gap).sum::<f64>() / total.max(1) as f64, bins }
}

/// How a model's confidences stand, before and after a fitted temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The temperature in the encoding.
    pub temperature: f64,
    /// At that temperature.
    pub reliability: Reliability,
    /// Mean −ln p of the gold tag at that temperature.
    pub nll: f64,
    /// The temperature with the least mean −ln p on these words.
    pub fitted_temperature: f64,
    /// Expected calibration error at the fitted temperature.
    pub fitted_ece: f64,
    /// Mean −ln p at the fitted temperature.
    pub fitted_nll: f64,
}

/// The temperature at which `loss` is least, between 1/20 and 20; 1 when no temperature has a finite loss.
///
/// `loss` is the mean −ln p of the gold tags at a temperature: it has one valley, which golden-section search on
/// the logarithm of the temperature finds to three digits.
pub fn fit_temperature(loss: impl Fn(f64) -> f64) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let at = |x: f64| {
        let value = loss(x.exp());
        if value.is_finite() { value } else { f64::MAX }
    };
    let (mut low, mut high) = (-WIDEST.ln(), WIDEST.ln());
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut loss_a, mut loss_b) = (at(a), at(b));
    if loss_a == f64::MAX && loss_b == f64::MAX {
        return 1.0;
    }
    while high - low > 5e-4 {
        if loss_a <= loss_b {
            (high, b, loss_b) = (b, a, loss_a);
            a = high - ratio * (high - low);
            loss_a = at(a);
        } else {
            (low, a, loss_a) = (a, b, loss_b);
            b = low + ratio * (high - low);
            loss_b = at(b);
        }
    }
    // Three digits are what a validation set can tell, and print the same everywhere.
    (((low + high) / 2.0).exp() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidences_that_are_as_often_right_as_they_say_have_no_error() {
        let words = (0..10).map(|i| (0.8, i < 8)).chain((0..10).map(|i| (0.3, i < 3)));
        assert!(reliability(words).ece < 1e-12);
        let sure_and_wrong = reliability([(1.0, false), (1.0, true)]);
        assert!((sure_and_wrong.ece - 0.5).abs() < 1e-12);
        assert_eq!(sure_and_wrong.bins[BINS - 1].words, 2);
        assert_eq!(reliability([]).ece, 0.0);
    }

    #[test]
    fn edges_belong_to_the_lower_bin_and_zero_to_the_first() {
        let r = reliability([(0.0, true), (1.0 / 15.0, true), (0.07, true)]);
        assert_eq!((r.bins[0].words, r.bins[1].words), (2, 1));
    }

    #[test]
    fn the_temperature_that_the_confidences_were_sharpened_by_is_found() {
        // A word is right with p = 0.75 and its logit is ln 3 (p = 0.75) times 2.5.
        let nll = |t: f64| {
            let p = 1.0 / (1.0 + (-(3f64.ln()) * 2.5 / t).exp());
            -(0.75 * p.ln() + 0.25 * (1.0 - p).ln())
        };
        assert!((fit_temperature(nll) - 2.5).abs() < 2e-3, "{}", fit_temperature(nll));
        assert_eq!(fit_temperature(|_| f64::NAN), 1.0);
    }
}
