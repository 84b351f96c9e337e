//! How far a score can be trusted: bootstrap intervals over receipts.
//!
//! Receipts are drawn with replacement, never single words: words of one receipt succeed or fail together. The draws
//! come from a fixed seed, so the same predictions have the same interval on every machine.
//!
//! Source: Efron and Tibshirani 1993, §13.3 (percentile interval).

use serde::{Deserialize, Serialize};

use super::error::{MetricError, check_pairs};
use super::span::{Mode, spans};

/// Draws per interval.
const RESAMPLES: usize = 1000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A 95 % interval of micro F1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// Entities of one receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EntityCounts {
    /// Found with type, first and last word right.
    pub right: usize,
    /// Predicted.
    pub predicted: usize,
    /// In the gold tags.
    pub gold: usize,
}

impl EntityCounts {
    /// Sum of two.
    pub fn plus(self, other: Self) -> Self {
        Self {
            right: self.right + other.right,
            predicted: self.predicted + other.predicted,
            gold: self.gold + other.gold,
        }
    }

    /// Micro F1; 0 where there is nothing.
    pub fn f1(self) -> f64 {
        2.0 * self.right as f64 / (self.predicted + self.gold).max(1) as f64
    }
}

/// Entities of each sequence by itself.
///
/// # Errors
/// [`MetricError`] when the lists do not fit each other or hold an empty tag.
pub fn entity_counts(y_true: &[Vec<&str>], y_pred: &[Vec<&str>]) -> Result<Vec<EntityCounts>, MetricError> {
    check_pairs(y_true, y_pred)?;
    let count = |(gold, predicted): (&Vec<&str>, &Vec<&str>)| {
        let (gold, predicted) = (spans(gold, Mode::Default)?, spans(predicted, Mode::Default)?);
        let right = gold.iter().filter(|s| predicted.contains(s)).count();
        Ok(EntityCounts { right, predicted: predicted.len(), gold: gold.len() })
    };
    y_true.iter().zip(y_pred).map(count).collect()
}

/// The 95 % bootstrap interval of micro F1 over receipts; `None` for fewer than two.
pub fn f1_interval(receipts: &[EntityCounts]) -> Option<Interval> {
    let n = receipts.len() as u64;
    if n < 2 {
        return None;
    }
    let mut state = SEED;
    let mut scores: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut sum = EntityCounts::default();
            for _ in 0..n {
                let index = ((u128::from(next(&mut state)) * u128::from(n)) >> 64) as usize;
                sum = sum.plus(receipts.get(index).copied().unwrap_or_default());
            }
            sum.f1()
        })
        .collect();
    scores.sort_by(f64::total_cmp);
    Some(Interval { low: percentile(&scores, 2.5), high: percentile(&scores, 97.5) })
}

/// splitmix64 (Steele, Lea and Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A percentile (0..=100) of ascending numbers, interpolated linearly between neighbours; 0 of none.
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let place = percent / 100.0 * sorted.len().saturating_sub(1) as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let at = |i: usize| sorted.get(i).or(sorted.last()).copied().unwrap_or(0.0);
    at(below) + share * (at(below + 1) - at(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_that_are_all_alike_leave_no_doubt_and_unequal_ones_do() {
        let alike = vec![EntityCounts { right: 3, predicted: 4, gold: 4 }; 20];
        assert_eq!(f1_interval(&alike), Some(Interval { low: 0.75, high: 0.75 }));
        let mixed: Vec<EntityCounts> =
            (0..20).map(|i| EntityCounts { right: i % 2 * 4, predicted: 4, gold: 4 }).collect();
        let i = f1_interval(&mixed).unwrap();
        assert!(i.low < 0.4 && i.high > 0.6 && i.low > 0.15 && i.high < 0.85, "{i:?}");
        assert_eq!(f1_interval(&mixed), Some(i), "the same numbers give the same interval");
        assert_eq!(f1_interval(&mixed[..1]), None);
    }

    #[test]
    fn percentiles_are_interpolated() {
        assert_eq!(percentile(&[0.0, 10.0, 20.0], 50.0), 10.0);
        assert_eq!(percentile(&[0.0, 10.0], 25.0), 2.5);
        assert_eq!((percentile(&[7.0], 97.5), percentile(&[], 50.0)), (7.0, 0.0));
    }

    #[test]
    fn counts_of_receipts_add_up_to_the_report() {
        let gold = [vec!["B-A", "I-A", "O"], vec!["B-A", "B-B"]];
        let predicted = [vec!["B-A", "I-A", "B-B"], vec!["B-A", "O"]];
        let counts = entity_counts(&gold, &predicted).unwrap();
        let all = counts.into_iter().fold(EntityCounts::default(), EntityCounts::plus);
        let report = super::super::report(&gold, &predicted, Mode::Default).unwrap();
        assert_eq!((all.f1(), all.gold), (report.micro.f1, report.micro.support));
    }
}
