//! Words per label: by validation status, and after merging.

use std::collections::BTreeMap;

use layoutlm_core::label::LabelScheme;
use layoutlm_core::receipt::{ValidationStatus, Word};
use serde::{Deserialize, Serialize};

/// How far the labels of one kind can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelQuality {
    /// The label, before merging.
    pub label: String,
    /// Words by status; statuses without words are left out.
    pub by_status: BTreeMap<ValidationStatus, usize>,
    /// Words of any status.
    pub total: usize,
    /// Share of them that is VALID.
    pub valid_share: f64,
}

impl LabelQuality {
    /// Words of a status.
    pub fn count(&self, status: ValidationStatus) -> usize {
        self.by_status.get(&status).copied().unwrap_or(0)
    }
}

/// One entity type after merging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedLabel {
    /// The entity type that is learned.
    pub label: String,
    /// VALID words that become it.
    pub valid: usize,
    /// The labels they carry, largest first.
    pub parts: Vec<(String, usize)>,
}

/// Labels by status, most VALID words first.
pub fn label_quality<'a>(words: impl Iterator<Item = &'a Word>) -> Vec<LabelQuality> {
    let mut counts: BTreeMap<&str, BTreeMap<ValidationStatus, usize>> = BTreeMap::new();
    for word in words {
        if let Some(label) = word.label.as_deref().filter(|l| *l != "O") {
            *counts.entry(label).or_default().entry(word.validation_status).or_default() += 1;
        }
    }
    let quality = |(label, by_status): (&str, BTreeMap<ValidationStatus, usize>)| {
        let total: usize = by_status.values().sum();
        let valid = by_status.get(&ValidationStatus::Valid).copied().unwrap_or(0);
        let valid_share = valid as f64 / total.max(1) as f64;
        LabelQuality { label: label.to_string(), by_status, total, valid_share }
    };
    let mut rows: Vec<LabelQuality> = counts.into_iter().map(quality).collect();
    rows.sort_by_key(|q| std::cmp::Reverse(q.count(ValidationStatus::Valid)));
    rows
}

/// VALID words per entity type of a scheme, most first.
pub fn merged_labels<'a>(words: impl Iterator<Item = &'a Word>, scheme: &LabelScheme) -> Vec<MergedLabel> {
    let mut parts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for word in words {
        let source = word.label_with(ValidationStatus::Valid);
        if let Some(entity) = scheme.entity(source) {
            *parts.entry(entity).or_default().entry(source).or_default() += 1;
        }
    }
    let merged = |(label, parts): (&str, BTreeMap<&str, usize>)| {
        let mut parts: Vec<(String, usize)> = parts.into_iter().map(|(l, n)| (l.to_string(), n)).collect();
        parts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        MergedLabel { label: label.to_string(), valid: parts.iter().map(|(_, n)| n).sum(), parts }
    };
    let mut rows: Vec<MergedLabel> = parts.into_iter().map(merged).collect();
    rows.sort_by_key(|m| std::cmp::Reverse(m.valid));
    rows
}

#[cfg(test)]
mod tests {
    use layoutlm_core::label::preset;
    use layoutlm_core::receipt::Receipt;

    use super::*;

    fn words(labels: &[(&str, &str)]) -> Vec<Word> {
        let word = |(i, (label, status)): (usize, &(&str, &str))| {
            format!(
                r#"{{"line_id":0,"word_id":{i},"text":"x","box":[0,0,1,1],"label":"{label}","validation_status":"{status}"}}"#
            )
        };
        let words: Vec<String> = labels.iter().enumerate().map(word).collect();
        Receipt::from_json(&format!(r#"{{"image_id":"r","words":[{}]}}"#, words.join(","))).unwrap().words
    }

    #[test]
    fn labels_are_counted_by_status_and_outside_words_are_not() {
        let words = words(&[
            ("DATE", "VALID"),
            ("DATE", "INVALID"),
            ("DATE", "NEEDS_REVIEW"),
            ("DATE", "VALID"),
            ("TAX", "VALID"),
            ("O", "VALID"),
        ]);
        let rows = label_quality(words.iter());
        assert_eq!(rows.iter().map(|r| r.label.as_str()).collect::<Vec<_>>(), ["DATE", "TAX"]);
        assert_eq!((rows[0].total, rows[0].valid_share), (4, 0.5));
        assert_eq!(rows[0].count(ValidationStatus::NeedsReview), 1);
        assert_eq!(rows[0].count(ValidationStatus::Pending), 0);
    }

    #[test]
    fn a_merged_label_is_the_sum_of_its_valid_parts() {
        let words = words(&[
            ("TAX", "VALID"),
            ("LINE_TOTAL", "VALID"),
            ("LINE_TOTAL", "VALID"),
            ("SUBTOTAL", "PENDING"),
            ("DATE", "VALID"),
        ]);
        let known = ["DATE".to_string()].into();
        let scheme = LabelScheme::new(preset("amounts").unwrap(), Some(vec!["DATE".into()]), &known).unwrap();
        let rows = merged_labels(words.iter(), &scheme);
        let amount = MergedLabel {
            label: "AMOUNT".into(),
            valid: 3,
            parts: vec![("LINE_TOTAL".into(), 2), ("TAX".into(), 1)],
        };
        assert_eq!(rows[0], amount);
        assert_eq!(rows[1].label, "DATE");
    }
}
