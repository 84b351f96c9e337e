//! Scores of parts of the receipts: where a model is good and where it is not.

use serde::{Deserialize, Serialize};

use super::{EvaluateError, ScoredReceipt};
use crate::metrics::{EntityCounts, Interval, entity_counts, f1_interval};

/// Receipts that have something in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What tells the groups apart, e.g. `merchant`.
    pub by: String,
    /// This group's value, e.g. `seen in training`.
    pub value: String,
    /// Its receipts as indices into the scored ones; others are ignored.
    pub receipts: Vec<usize>,
}

/// Scores of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// What tells the groups apart.
    pub by: String,
    /// This group's value.
    pub value: String,
    /// Its receipts.
    pub receipts: usize,
    /// Their words.
    pub words: usize,
    /// Their gold entities.
    pub support: usize,
    /// Micro precision.
    pub precision: f64,
    /// Micro recall.
    pub recall: f64,
    /// Micro entity F1.
    pub f1: f64,
    /// Its 95 % bootstrap interval over receipts; `None` for a single receipt.
    pub interval: Option<Interval>,
}

/// Scores each group by itself.
///
/// # Errors
/// [`EvaluateError::Metric`] for tags that can't be read.
pub fn slices(scored: &[ScoredReceipt], groups: &[Group]) -> Result<Vec<Slice>, EvaluateError> {
    let rows = |of: fn(&ScoredReceipt) -> &Vec<String>| -> Vec<Vec<&str>> {
        scored.iter().map(|r| of(r).iter().map(String::as_str).collect()).collect()
    };
    let counts = entity_counts(&rows(|r| &r.gold), &rows(|r| &r.predicted))?;
    let one = |group: &Group| {
        let own: Vec<EntityCounts> = group.receipts.iter().filter_map(|&i| counts.get(i)).copied().collect();
        let sum = own.iter().fold(EntityCounts::default(), |sum, c| sum.plus(*c));
        let over = |whole: usize| sum.right as f64 / whole.max(1) as f64;
        Slice {
            by: group.by.clone(),
            value: group.value.clone(),
            receipts: own.len(),
            words: group.receipts.iter().filter_map(|&i| scored.get(i)).map(|r| r.gold.len()).sum(),
            support: sum.gold,
            precision: over(sum.predicted),
            recall: over(sum.gold),
            f1: sum.f1(),
            interval: f1_interval(&own),
        }
    };
    Ok(groups.iter().map(one).collect())
}
