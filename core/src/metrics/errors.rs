//! What kind of mistake each entity is: wrong extent, wrong type, missed or made up.
//!
//! Every gold entity falls into exactly one of right, boundary, type, boundary and type, missed; every predicted
//! entity that touches no gold entity is spurious. So boundary mistakes, which a rule can often mend, are told apart
//! from confusions of types, which only training or better labels can.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{MetricError, check_pairs};
use super::span::{Mode, Span, spans};

/// Entities by kind of mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EntityErrors {
    /// Type, first and last word as in gold.
    pub right: usize,
    /// An entity of the same type overlaps, with other ends.
    pub boundary: usize,
    /// An entity with the same ends has another type.
    #[serde(rename = "type")]
    pub kind: usize,
    /// Only entities of other types and other ends overlap.
    pub boundary_and_type: usize,
    /// No predicted entity overlaps.
    pub missed: usize,
    /// Predicted entities (counted under their own type) that overlap no gold entity.
    pub spurious: usize,
}

impl EntityErrors {
    fn plus(self, o: Self) -> Self {
        Self {
            right: self.right + o.right,
            boundary: self.boundary + o.boundary,
            kind: self.kind + o.kind,
            boundary_and_type: self.boundary_and_type + o.boundary_and_type,
            missed: self.missed + o.missed,
            spurious: self.spurious + o.spurious,
        }
    }
}

/// Mistakes over all entities and per type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorReport {
    /// All types together.
    pub total: EntityErrors,
    /// By gold type (spurious ones by predicted type).
    pub per_label: BTreeMap<String, EntityErrors>,
}

/// Sorts the entities of all sequences by kind of mistake, in seqeval's default reading.
///
/// # Errors
/// [`MetricError`] when the lists do not fit each other or hold an empty tag.
pub fn entity_errors(y_true: &[Vec<&str>], y_pred: &[Vec<&str>]) -> Result<ErrorReport, MetricError> {
    check_pairs(y_true, y_pred)?;
    let mut report = ErrorReport::default();
    for (gold, predicted) in y_true.iter().zip(y_pred) {
        let (gold, predicted) = (spans(gold, Mode::Default)?, spans(predicted, Mode::Default)?);
        for span in &gold {
            *slot(report.per_label.entry(span.kind.into()).or_default(), span, &predicted) += 1;
        }
        for span in predicted.iter().filter(|p| !gold.iter().any(|g| overlap(g, p))) {
            report.per_label.entry(span.kind.into()).or_default().spurious += 1;
        }
    }
    report.total = report.per_label.values().fold(EntityErrors::default(), |sum, e| sum.plus(*e));
    Ok(report)
}

fn overlap(a: &Span<'_>, b: &Span<'_>) -> bool {
    a.first <= b.last && b.first <= a.last
}

fn slot<'a>(counts: &'a mut EntityErrors, gold: &Span<'_>, predicted: &[Span<'_>]) -> &'a mut usize {
    let touching = || predicted.iter().filter(|p| overlap(gold, p));
    let same_ends = |p: &Span<'_>| (p.first, p.last) == (gold.first, gold.last);
    if touching().any(|p| p == gold) {
        &mut counts.right
    } else if touching().any(|p| p.kind == gold.kind) {
        &mut counts.boundary
    } else if touching().any(same_ends) {
        &mut counts.kind
    } else if touching().next().is_some() {
        &mut counts.boundary_and_type
    } else {
        &mut counts.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gold_entity_is_one_kind_of_mistake_and_made_up_ones_are_spurious() {
        let gold = [vec!["B-A", "I-A", "O", "B-A", "O", "B-B", "I-B", "B-B", "I-B", "I-B", "B-A", "O", "O"]];
        let predicted = [vec!["B-A", "I-A", "O", "B-B", "O", "I-B", "O", "B-A", "I-A", "O", "O", "O", "B-B"]];
        let report = entity_errors(&gold, &predicted).unwrap();
        let a = EntityErrors { right: 1, kind: 1, missed: 1, ..EntityErrors::default() };
        let b = EntityErrors { boundary: 1, boundary_and_type: 1, spurious: 1, ..EntityErrors::default() };
        assert_eq!((report.per_label["A"], report.per_label["B"]), (a, b));
        assert_eq!(report.total, a.plus(b));
        assert!(entity_errors(&gold, &[vec!["O"]]).is_err());
    }
}
