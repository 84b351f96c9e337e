//! Held-out scores as run records keep them: one tag sequence per OCR line.
//!
//! Here entities never cross lines and neighbours of one merged type are one entity, so these figures differ from
//! [`crate::evaluate`]'s by construction. They exist so that records of this toolkit can be put beside those of
//! earlier runs; which of the two a figure is, its name says (`heldout_f1`, `eval_f1`).
//!
//! Labels of words go through the model's merges only: a label that the model knows stays, one that it merges becomes
//! the merge's target, every other is `O`.

mod diagnostics;

pub use diagnostics::{Confused, Diagnostics};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluate::EvaluateError;
use crate::label::{LabelSet, Merges};
use crate::metrics::{self, Mode, Scores};
use crate::receipt::{Receipt, ValidationStatus};

/// Gold and predicted tags of one receipt's OCR lines; words of a line in word order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineTags {
    /// `[lines][words]`.
    pub gold: Vec<Vec<String>>,
    /// `[lines][words]`.
    pub predicted: Vec<Vec<String>>,
}

/// Which source labels count, and as what.
#[derive(Debug, Clone, Copy)]
pub struct GoldRule<'a> {
    /// The model's labels.
    pub labels: &'a LabelSet,
    /// The run's merges.
    pub merges: &'a Merges,
    /// Labels of this status count.
    pub status: ValidationStatus,
}

impl GoldRule<'_> {
    /// The entity type of a word, `O` where there is none.
    pub fn base(&self, source: &str) -> String {
        let upper = source.trim().to_uppercase();
        let bare = upper.strip_prefix("B-").or(upper.strip_prefix("I-")).unwrap_or(&upper);
        if self.labels.entities().contains(&bare) {
            return bare.to_string();
        }
        let target = self.merges.iter().find(|(_, sources)| sources.iter().any(|s| s.to_uppercase() == bare));
        target.map_or_else(|| "O".to_string(), |(target, _)| target.to_uppercase())
    }

    /// Cuts a receipt into its OCR lines; `predicted` is one tag per word, in the receipt's own order.
    pub fn lines(&self, receipt: &Receipt, predicted: &[&str]) -> LineTags {
        let mut words: Vec<_> = receipt.words.iter().zip(predicted).collect();
        words.sort_by_key(|(w, _)| (w.line_id, w.word_id));
        let mut out = LineTags::default();
        for line in words.chunk_by(|(a, _), (b, _)| a.line_id == b.line_id) {
            let mut before = "O".to_string();
            let gold = line.iter().map(|(word, _)| {
                let base = self.base(word.label_with(self.status));
                let tag = match base.as_str() {
                    "O" => base.clone(),
                    same if same == before => format!("I-{base}"),
                    _ => format!("B-{base}"),
                };
                before = base;
                tag
            });
            out.gold.push(gold.collect());
            out.predicted.push(line.iter().map(|(_, tag)| tag.to_string()).collect());
        }
        out
    }
}

/// Scores of one checkpoint on held-out receipts, by the names of `epochs.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Micro entity F1 over lines (seqeval, default mode).
    pub heldout_f1: f64,
    /// Micro precision.
    pub heldout_precision: f64,
    /// Micro recall.
    pub heldout_recall: f64,
    /// `seqeval_entity_f1`.
    pub heldout_metric: String,
    /// By label, and `micro avg`, `macro avg`, `weighted avg`.
    pub per_label_f1: BTreeMap<String, Option<f64>>,
    /// The same of precision.
    pub per_label_precision: BTreeMap<String, Option<f64>>,
    /// The same of recall.
    pub per_label_recall: BTreeMap<String, Option<f64>>,
    /// The same of gold entities.
    pub per_label_support: BTreeMap<String, usize>,
    /// Counts behind the scores.
    pub diagnostics: Diagnostics,
    /// Mean F1 of the product labels; `None` when none occurs.
    pub product_detail_macro_f1: Option<f64>,
    /// Words labelled as some entity over all words.
    pub entity_prediction_rate: Option<f64>,
    /// Words of gold entities over all words.
    pub gold_entity_rate: Option<f64>,
    /// Equal tags over all words.
    pub token_accuracy: f64,
    /// Receipts scored.
    pub num_receipts_evaluated: usize,
}

/// Precision, recall, F1 and support of one label, zeros where it does not occur.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelRow {
    /// Precision.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// F1.
    pub f1: f64,
    /// Gold entities.
    pub support: usize,
}

impl HeldOut {
    /// Scores receipts given as their lines' tags.
    ///
    /// # Errors
    /// [`EvaluateError::Metric`] when there is nothing to score.
    pub fn score(receipts: &[LineTags]) -> Result<Self, EvaluateError> {
        let rows = |of: fn(&LineTags) -> &Vec<Vec<String>>| -> Vec<Vec<&str>> {
            let lines = receipts.iter().flat_map(of);
            lines.map(|line| line.iter().map(String::as_str).collect()).collect()
        };
        let (gold, predicted) = (rows(|r| &r.gold), rows(|r| &r.predicted));
        let report = metrics::report(&gold, &predicted, Mode::Default)?;
        let averages =
            [("micro avg", report.micro), ("macro avg", report.macro_avg), ("weighted avg", report.weighted)];
        let named: Vec<(String, Scores)> = report
            .per_label
            .iter()
            .map(|(label, s)| (label.clone(), *s))
            .chain(averages.map(|(name, s)| (name.to_string(), s)))
            .collect();
        let column = |of: fn(&Scores) -> f64| {
            named.iter().map(|(name, s)| (name.clone(), Some(of(s)).filter(|v| v.is_finite()))).collect()
        };
        let product_f1 = crate::evaluate::product_detail_f1(&report);
        let diagnostics = Diagnostics::count(&gold, &predicted, product_f1)?;
        Ok(Self {
            heldout_f1: report.micro.f1,
            heldout_precision: report.micro.precision,
            heldout_recall: report.micro.recall,
            heldout_metric: "seqeval_entity_f1".into(),
            per_label_f1: column(|s| s.f1),
            per_label_precision: column(|s| s.precision),
            per_label_recall: column(|s| s.recall),
            per_label_support: named.iter().map(|(name, s)| (name.clone(), s.support)).collect(),
            product_detail_macro_f1: product_f1,
            entity_prediction_rate: diagnostics.rates.predicted_entity_token_rate,
            gold_entity_rate: diagnostics.rates.gold_entity_token_rate,
            token_accuracy: metrics::token_accuracy(&gold, &predicted)?.unwrap_or(0.0),
            num_receipts_evaluated: receipts.len(),
            diagnostics,
        })
    }

    /// One row for **every** label of the model, zeros for those that do not occur.
    pub fn rows(&self, labels: &LabelSet) -> BTreeMap<String, LabelRow> {
        let figure =
            |map: &BTreeMap<String, Option<f64>>, l: &str| map.get(l).copied().flatten().unwrap_or(0.0);
        let row = |label: &str| LabelRow {
            precision: figure(&self.per_label_precision, label),
            recall: figure(&self.per_label_recall, label),
            f1: figure(&self.per_label_f1, label),
            support: self.per_label_support.get(label).copied().unwrap_or(0),
        };
        labels.entities().into_iter().map(|l| (l.to_string(), row(l))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::preset;

    fn receipt() -> Receipt {
        let words = [
            (2, 1, "LINE_TOTAL", "VALID"),
            (1, 2, "SUBTOTAL", "VALID"),
            (1, 1, "TAX", "VALID"),
            (1, 3, "DATE", "PENDING"),
            (1, 4, "B-amount", "VALID"),
            (1, 5, "WEBSITE", "VALID"),
        ];
        let words: Vec<String> = words
            .iter()
            .map(|(line, word, label, status)| {
                let label = label.trim_start_matches("B-");
                format!(
                    r#"{{"line_id":{line},"word_id":{word},"text":"x","box":[0,0,1,1],"label":"{label}","validation_status":"{status}"}}"#
                )
            })
            .collect();
        Receipt::from_json(&format!(r#"{{"image_id":"r","words":[{}]}}"#, words.join(","))).unwrap()
    }

    #[test]
    fn lines_are_cut_apart_and_neighbours_of_one_merged_type_are_one_entity() {
        let labels = LabelSet::from_entities(["AMOUNT".into(), "DATE".into()]).unwrap();
        let merges = preset("amounts").unwrap();
        let rule = GoldRule { labels: &labels, merges: &merges, status: ValidationStatus::Valid };
        let tags = rule.lines(&receipt(), &["I-AMOUNT", "B-DATE", "O", "O", "O", "B-AMOUNT"]);
        assert_eq!(tags.gold, [vec!["B-AMOUNT", "I-AMOUNT", "O", "B-AMOUNT", "O"], vec!["B-AMOUNT"]]);
        assert_eq!(tags.predicted, [vec!["O", "B-DATE", "O", "O", "B-AMOUNT"], vec!["I-AMOUNT"]]);
        assert_eq!(rule.base("b-date"), "DATE");
    }

    #[test]
    fn every_label_of_the_model_has_a_row_also_one_that_nobody_saw() {
        let labels = LabelSet::from_entities(["AMOUNT".into(), "DATE".into()]).unwrap();
        let row = vec!["B-AMOUNT".to_string()];
        let one = LineTags { gold: vec![row.clone()], predicted: vec![row] };
        let rows = HeldOut::score(&[one]).unwrap().rows(&labels);
        assert_eq!(rows["AMOUNT"], LabelRow { precision: 1.0, recall: 1.0, f1: 1.0, support: 1 });
        assert_eq!(rows["DATE"], LabelRow { precision: 0.0, recall: 0.0, f1: 0.0, support: 0 });
    }
}
