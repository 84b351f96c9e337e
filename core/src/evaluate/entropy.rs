//! How undecided a model is, word by word.

use serde::{Deserialize, Serialize};

use crate::metrics::percentile;

/// Entropy of the class probabilities over all words that have a token, in nats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Entropy {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the population.
    pub std: f64,
    /// 10th percentile, interpolated.
    pub p10: f64,
    /// 90th percentile, interpolated.
    pub p90: f64,
}

impl Entropy {
    /// Of rows of class probabilities; rows of zeros (words without tokens) are left out, `None` when no row is left.
    pub fn of<'a>(rows: impl Iterator<Item = &'a [f32]>) -> Option<Self> {
        let entropy = |row: &[f32]| -> f64 {
            // The addend keeps ln finite, as earlier records of this figure have it.
            row.iter().map(|&p| f64::from(p)).map(|p| -p * (p + 1e-10).ln()).sum()
        };
        let mut values: Vec<f64> = rows.filter(|r| r.iter().any(|&p| p > 0.0)).map(entropy).collect();
        if values.is_empty() {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let at = |percent| percentile(&values, percent);
        Some(Self { mean, std: variance.sqrt(), p10: at(10.0), p90: at(90.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certainty_has_no_entropy_and_an_even_choice_the_most() {
        let rows: [&[f32]; 3] = [&[1.0, 0.0], &[0.5, 0.5], &[0.0, 0.0]];
        let e = Entropy::of(rows.into_iter()).unwrap();
        assert!((e.mean - 2f64.ln() / 2.0).abs() < 1e-8 && (e.std - 2f64.ln() / 2.0).abs() < 1e-8);
        assert!((e.p90 - 0.9 * 2f64.ln()).abs() < 1e-8, "{e:?}");
        assert_eq!(Entropy::of([].into_iter()), None);
    }
}
