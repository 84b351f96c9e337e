//! The figure that decides which checkpoint is best.

use serde::{Deserialize, Serialize};

/// Figures of every evaluation, besides those of each label.
const PLAIN: [&str; 9] = [
    "f1",
    "precision",
    "recall",
    "accuracy",
    "loss",
    "macro_f1",
    "weighted_f1",
    "product_detail_macro_f1",
    "o_token_accuracy",
];
/// Figures of each label, as `label_<LABEL>_<figure>`.
const OF_A_LABEL: [&str; 3] = ["f1", "precision", "recall"];

pub use layoutlm_core::label::PRODUCT_DETAIL_LABELS as PRODUCT_DETAIL;

/// A reported figure by its plain name, e.g. `f1` or `label_DATE_recall`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointMetric(String);

impl CheckpointMetric {
    /// Its name in `run.json`, without `eval_`.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The label it is about, if it is about one.
    pub fn label(&self) -> Option<&str> {
        let rest = self.0.strip_prefix("label_")?;
        rest.rsplit_once('_').map(|(label, _)| label)
    }

    /// Whether `candidate` is strictly better than `best`.
    pub fn improves(&self, candidate: f64, best: f64) -> bool {
        if self.0 == "loss" { candidate < best } else { candidate > best }
    }
}

impl Default for CheckpointMetric {
    fn default() -> Self {
        Self("f1".into())
    }
}

impl std::fmt::Display for CheckpointMetric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for CheckpointMetric {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let plain = name.strip_prefix("eval_").unwrap_or(name);
        let metric = Self(plain.into());
        let figure = plain.rsplit_once('_').map_or("", |(_, figure)| figure);
        let of_a_label = metric.label().is_some_and(|l| !l.is_empty()) && OF_A_LABEL.contains(&figure);
        if PLAIN.contains(&plain) || of_a_label {
            return Ok(metric);
        }
        Err(format!(
            "expected one of {}, or label_<LABEL>_ with {} (each with or without eval_)",
            PLAIN.join(", "),
            OF_A_LABEL.join(", ")
        ))
    }
}

impl TryFrom<String> for CheckpointMetric {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<CheckpointMetric> for String {
    fn from(metric: CheckpointMetric) -> Self {
        metric.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_loss_and_higher_scores_improve_and_ties_do_not() {
        let metric = |name: &str| name.parse::<CheckpointMetric>().unwrap();
        assert!(metric("loss").improves(0.4, 0.5));
        assert!(metric("f1").improves(0.6, 0.5));
        assert!(!metric("f1").improves(0.5, 0.5) && !metric("loss").improves(0.5, 0.5));
        assert_eq!(metric("eval_f1").name(), "f1");
        assert_eq!(metric("label_ADDRESS_LINE_recall").label(), Some("ADDRESS_LINE"));
        for unknown in ["f2", "label_f1", "label__f1", "label_DATE_support", ""] {
            assert!(unknown.parse::<CheckpointMetric>().is_err(), "{unknown}");
        }
    }
}
