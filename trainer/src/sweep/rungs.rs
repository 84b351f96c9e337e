//! Successive halving: after a few epochs only the best part of the trials goes on.
//!
//! Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", §3.

/// Epochs after which trials are compared, ascending; the last is `epochs`.
///
/// The first comparison is after `first` epochs, each further one after `factor` times as many. A factor below 2
/// compares only at the end.
pub fn rungs(epochs: usize, first: usize, factor: usize) -> Vec<usize> {
    let mut out = Vec::new();
    let mut at = first.max(1);
    while factor >= 2 && at < epochs {
        out.push(at);
        at = at.saturating_mul(factor);
    }
    out.push(epochs);
    out
}

/// Which trials go on: the best `1 / factor` of them, rounded up; the earlier on a tie. Figures that do not exist lose.
///
/// `figures` are higher-is-better, one per trial; gives indices in their order.
pub fn keep(figures: &[Option<f64>], factor: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..figures.len()).collect();
    let value =
        |i: &usize| figures.get(*i).copied().flatten().filter(|v| !v.is_nan()).unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|a, b| value(b).total_cmp(&value(a)));
    order.truncate(figures.len().div_ceil(factor.max(1)));
    order.retain(|i| value(i) > f64::NEG_INFINITY);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_come_at_growing_distances_and_at_the_end() {
        assert_eq!(rungs(9, 1, 3), [1, 3, 9]);
        assert_eq!(rungs(10, 2, 2), [2, 4, 8, 10]);
        assert_eq!(rungs(5, 1, 1), [5]);
        assert_eq!(rungs(1, 3, 2), [1]);
    }

    #[test]
    fn the_best_part_goes_on_and_failed_trials_never_do() {
        assert_eq!(keep(&[Some(0.1), Some(0.5), Some(0.3), Some(0.5)], 2), [1, 3]);
        assert_eq!(keep(&[Some(0.2), Some(0.2), Some(0.2)], 3), [0]);
        assert_eq!(keep(&[None, Some(f64::NAN), Some(0.1)], 1), [2]);
        assert_eq!(keep(&[], 2), Vec::<usize>::new());
    }
}
