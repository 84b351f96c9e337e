//! `receipts/epoch-<n>/receipt-<image_id>-<receipt_id>.json`: what a checkpoint says of a few receipts, word by word,
//! so that people can watch a model learn.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::heldout::GoldRule;
use layoutlm_core::label::{LabelSet, Tag};
use layoutlm_core::receipt::Receipt;
use serde_json::{Value, json};

use crate::files::{FileError, write_atomic};

/// Receipts kept per epoch: the first of the sorted validation keys.
pub const SHOWCASE: usize = 5;

/// `<image_id>_<receipt_id>` of a receipt key `<image_id>#<receipt_id:05>`.
pub fn showcase_key(key: &str) -> String {
    let (image, receipt) = key.rsplit_once('#').unwrap_or((key, "1"));
    let number = receipt.trim_start_matches('0');
    format!("{image}_{}", if number.is_empty() { "0" } else { number })
}

/// Writes one receipt's predictions of one checkpoint.
///
/// `predicted` (tags) and `probabilities` (`[labels]` each, zeros for a word the network never saw) are in the order of
/// `receipt.words`.
///
/// # Errors
/// [`FileError`].
pub fn write_showcase(
    run_dir: &Path,
    epoch: (&str, u64),
    receipt: &Receipt,
    rule: &GoldRule<'_>,
    predicted: &[&str],
    probabilities: &[&[f32]],
    milliseconds: f64,
) -> Result<(), FileError> {
    let folder = run_dir.join("receipts").join(format!("epoch-{}", epoch.1));
    std::fs::create_dir_all(&folder).map_err(FileError::at(&folder))?;
    let name = format!("receipt-{}-{}.json", file_name(&receipt.image_id), receipt.receipt_id);
    let content = json!({
        "receipt_id": format!("{}_{}", receipt.image_id, receipt.receipt_id),
        "original": {
            "receipt": { "image_id": receipt.image_id, "receipt_id": receipt.receipt_id, "width": receipt.width,
                "height": receipt.height, "origin": receipt.origin },
            "words": receipt.words,
            "predictions": predictions(receipt, rule, predicted, probabilities),
        },
        "inference_time_ms": (milliseconds * 100.0).round() / 100.0,
        "epoch": epoch.1,
        "checkpoint": epoch.0,
        "label_list": rule.labels.tags(),
    });
    write_atomic(&folder.join(name), |f| Ok(serde_json::to_writer(f, &content)?))
}

/// Image ids name files here, so nothing that could leave the folder stays.
fn file_name(image_id: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    image_id.chars().map(safe).collect()
}

/// One object per word, by line and word id.
fn predictions(
    receipt: &Receipt,
    rule: &GoldRule<'_>,
    predicted: &[&str],
    probabilities: &[&[f32]],
) -> Vec<Value> {
    let gold = rule.lines(receipt, predicted).gold;
    let mut words: Vec<_> = receipt.words.iter().zip(predicted).zip(probabilities).collect();
    words.sort_by_key(|((w, _), _)| (w.line_id, w.word_id));
    let or_null = |tag: &str| (tag != "O").then(|| tag.to_string());
    let base = |tag: &str| Tag::parse(tag).and_then(Tag::entity).unwrap_or("O").to_string();
    words
        .into_iter()
        .zip(gold.iter().flatten())
        .map(|(((word, predicted), row), gold)| {
            let (classes, bases) = by_name(rule.labels, row);
            let source = word.label_with(rule.status);
            json!({
                "word_id": word.word_id,
                "line_id": word.line_id,
                "text": word.text,
                "predicted_label": predicted,
                "ground_truth_label": or_null(gold),
                "predicted_label_base": base(predicted),
                "ground_truth_label_base": or_null(&base(gold)),
                "ground_truth_label_original": or_null(source),
                "predicted_confidence": classes.get(*predicted).copied().unwrap_or(0.0),
                "is_correct": predicted == gold,
                "all_class_probabilities": classes,
                "all_class_probabilities_base": bases,
            })
        })
        .collect()
}

/// Probabilities by tag, and summed by label; both empty for a word the network never saw.
fn by_name(labels: &LabelSet, row: &[f32]) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
    let (mut classes, mut bases) = (BTreeMap::new(), BTreeMap::new());
    if row.iter().all(|&p| p == 0.0) {
        return (classes, bases);
    }
    for (tag, &p) in labels.tags().iter().zip(row) {
        classes.insert(tag.clone(), f64::from(p));
        let base = Tag::parse(tag).and_then(Tag::entity).unwrap_or("O");
        *bases.entry(base.to_string()).or_default() += f64::from(p);
    }
    (classes, bases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lose_their_padding_and_file_names_can_not_leave_the_folder() {
        assert_eq!(showcase_key("a-b#00012"), "a-b_12");
        assert_eq!(showcase_key("a#b#00000"), "a#b_0");
        assert_eq!(file_name("../x/y z"), ".._x_y_z");
    }
}
