//! Precision, recall and F1 of entities: per type, micro, macro and weighted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use super::error::{MetricError, check_pairs};
use super::span::{Mode, spans_of_all};

/// How well one entity type, or an average of them, was found. All between 0 and 1.
///
/// JSON has no NaN: figures that do not exist (the macro average over no types) are written as `null` and read back
/// as NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Right entities over predicted ones; 0 without predicted ones.
    #[serde(deserialize_with = "null_is_nan")]
    pub precision: f64,
    /// Right entities over gold ones; 0 without gold ones.
    #[serde(deserialize_with = "null_is_nan")]
    pub recall: f64,
    /// Harmonic mean of both; 0 when both are 0.
    #[serde(deserialize_with = "null_is_nan")]
    pub f1: f64,
    /// Gold entities.
    pub support: usize,
}

/// Scores of a set of tag sequences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Every type among gold or predicted entities, sorted.
    pub per_label: BTreeMap<String, Scores>,
    /// Over all entities of all types together.
    pub micro: Scores,
    /// Mean over types; NaN when there is no type.
    pub macro_avg: Scores,
    /// Mean over types, weighted by gold entities; 0 when there are none.
    pub weighted: Scores,
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Scores predicted tags against gold ones, one inner list per receipt, in reading order.
///
/// An entity is right when type, first and last word agree.
///
/// # Errors
/// [`MetricError`] when there is nothing to score, the lists do not fit each other, or a tag can't be read in this
/// mode.
///
/// Source: seqeval 1.2.2, `classification_report(…, zero_division=0)`.
pub fn report(y_true: &[Vec<&str>], y_pred: &[Vec<&str>], mode: Mode) -> Result<Report, MetricError> {
    check_pairs(y_true, y_pred)?;
    if y_true.is_empty() {
        return Err(MetricError::NoSequences);
    }
    let (gold, predicted) = (entities(y_true, mode)?, entities(y_pred, mode)?);
    let kinds: BTreeSet<&str> = gold.keys().chain(predicted.keys()).copied().collect();
    let counts: Vec<(&str, Counts)> =
        kinds.into_iter().map(|kind| (kind, Counts::of(gold.get(kind), predicted.get(kind)))).collect();
    let scores: Vec<Scores> = counts.iter().map(|(_, c)| c.scores()).collect();
    let total = counts.iter().fold(Counts::default(), |sum, (_, c)| sum.plus(c));
    Ok(Report {
        micro: total.scores(),
        macro_avg: average(&scores, |_| 1.0, scores.len() as f64, total.gold),
        weighted: weighted(&scores, total.gold),
        per_label: counts.iter().map(|(kind, _)| kind.to_string()).zip(scores).collect(),
    })
}

type Extents = BTreeSet<(usize, usize)>;

fn entities<'a>(rows: &[Vec<&'a str>], mode: Mode) -> Result<BTreeMap<&'a str, Extents>, MetricError> {
    let mut by_kind: BTreeMap<&str, Extents> = BTreeMap::new();
    for span in spans_of_all(rows, mode)? {
        by_kind.entry(span.kind).or_default().insert((span.first, span.last));
    }
    Ok(by_kind)
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    right: usize,
    predicted: usize,
    gold: usize,
}

impl Counts {
    fn of(gold: Option<&Extents>, predicted: Option<&Extents>) -> Self {
        let right = gold.zip(predicted).map_or(0, |(g, p)| g.intersection(p).count());
        let len = |set: Option<&Extents>| set.map_or(0, BTreeSet::len);
        Self { right, predicted: len(predicted), gold: len(gold) }
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            right: self.right + other.right,
            predicted: self.predicted + other.predicted,
            gold: self.gold + other.gold,
        }
    }

    fn scores(&self) -> Scores {
        let over = |whole: usize| self.right as f64 / whole.max(1) as f64;
        let (precision, recall) = (over(self.predicted), over(self.gold));
        let sum = precision + recall;
        let f1 = if sum == 0.0 { 0.0 } else { 2.0 * precision * recall / sum };
        Scores { precision, recall, f1, support: self.gold }
    }
}

/// Weighted mean of scores; `weights` is their sum. 0 / 0 is NaN on purpose.
fn average(scores: &[Scores], weight: impl Fn(&Scores) -> f64, weights: f64, support: usize) -> Scores {
    let mean =
        |figure: fn(&Scores) -> f64| scores.iter().map(|s| figure(s) * weight(s)).sum::<f64>() / weights;
    Scores { precision: mean(|s| s.precision), recall: mean(|s| s.recall), f1: mean(|s| s.f1), support }
}

fn weighted(scores: &[Scores], support: usize) -> Scores {
    if support == 0 {
        return Scores { precision: 0.0, recall: 0.0, f1: 0.0, support };
    }
    average(scores, |s| s.support as f64, support as f64, support)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_do_not_fit_are_refused_by_place() {
        let one = vec![vec!["O"], vec!["O", "B-X"]];
        let e = report(&one, &one[..1], Mode::Default).unwrap_err();
        assert_eq!(e, MetricError::SequenceCount { gold: 2, predicted: 1 });
        let e = report(&one, &[vec!["O"], vec!["O"]], Mode::Default).unwrap_err();
        assert_eq!(e, MetricError::SequenceLength { sequence: 1, gold: 2, predicted: 1 });
        assert_eq!(report(&[], &[], Mode::Default).unwrap_err(), MetricError::NoSequences);
        let e = report(&one, &[vec!["O"], vec!["O", "X-Y"]], Mode::StrictIob2).unwrap_err();
        assert_eq!(e, MetricError::NotIob2 { sequence: 1, position: 1, tag: "X-Y".into() });
    }

    #[test]
    fn an_entity_never_runs_on_into_the_next_receipt() {
        let gold = [vec!["O", "B-X"], vec!["I-X", "O"]];
        for mode in [Mode::Default, Mode::StrictIob2] {
            let support = report(&gold, &gold, mode).unwrap().micro.support;
            assert_eq!(support, if mode == Mode::Default { 2 } else { 1 });
        }
    }

    #[test]
    fn a_report_survives_json_with_null_for_what_does_not_exist() {
        let r = report(&[vec!["O"]], &[vec!["O"]], Mode::Default).unwrap();
        let json = serde_json::to_value(&r).unwrap();
        assert_eq!(json["macro_avg"]["f1"], serde_json::Value::Null);
        let back: Report = serde_json::from_value(json).unwrap();
        assert!(back.macro_avg.f1.is_nan() && back.micro == r.micro);
    }
}
