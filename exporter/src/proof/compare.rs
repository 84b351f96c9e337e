//! Two models' answers side by side.

use layoutlm_core::evaluate::GoldReceipt;

use super::Prepared;
use super::answers::Answers;
use super::worst::WorstWindow;

/// How far a variant is from the reference.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Largest |Δlogit| over first sub-tokens; NaN when an answer is not finite.
    pub(crate) max: f64,
    /// Mean |Δlogit| over first sub-tokens.
    pub(crate) mean: f64,
    /// Words whose label differs.
    pub(crate) flips: usize,
    /// Words compared.
    pub(crate) words: usize,
    /// Every window, the worst first: most flips, then largest difference.
    pub(crate) worst: Vec<WorstWindow>,
}

/// Compares answers to the same evidence; logits `[seq, classes]`.
pub(crate) fn compare(
    receipts: &[GoldReceipt],
    reference: &Answers,
    variant: &Answers,
    classes: usize,
) -> Comparison {
    let mut out = Comparison::default();
    let (mut sum, mut count) = (0.0f64, 0usize);
    let pairs =
        reference.logits.iter().zip(&variant.logits).zip(reference.scored.iter().zip(&variant.scored));
    for (receipt, ((expected, found), (old, new))) in receipts.iter().zip(pairs) {
        let flipped = flipped_words(receipt, &old.predicted, &new.predicted);
        out.words += old.predicted.len();
        out.flips += flipped.len();
        for (index, window) in receipt.encoded.windows.iter().enumerate() {
            let (Some(expected), Some(found)) = (expected.get(index), found.get(index)) else { continue };
            let mut row = WorstWindow::new(&receipt.key, index, window.word_indices.len());
            for (position, word) in window.first_subtokens() {
                let range = position * classes..(position + 1) * classes;
                let expected = expected.get(range.clone()).unwrap_or_default();
                for (a, b) in expected.iter().zip(found.get(range).unwrap_or_default()) {
                    let difference = f64::from((a - b).abs());
                    row.max_abs_logit_diff = larger(row.max_abs_logit_diff, difference);
                    sum += difference;
                    count += 1;
                }
                let word = window.word_indices.get(word);
                row.add_flip(flipped.iter().find(|f| Some(&f.0) == word).map(|f| &f.1));
            }
            out.max = larger(out.max, row.max_abs_logit_diff);
            out.worst.push(row);
        }
    }
    out.mean = sum / count.max(1) as f64;
    out.worst
        .sort_by(|a, b| b.flips.cmp(&a.flips).then(b.max_abs_logit_diff.total_cmp(&a.max_abs_logit_diff)));
    out
}

/// Mean |Δlogit| over first sub-tokens.
pub(crate) fn mean_difference(
    evidence: &Prepared,
    reference: &Answers,
    variant: &Answers,
    classes: usize,
) -> f64 {
    compare(&evidence.receipts, reference, variant, classes).mean
}

/// The larger of two; NaN once there was one.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// `(word in input order, "REFERENCE → VARIANT")` of every word whose label differs.
fn flipped_words(receipt: &GoldReceipt, old: &[String], new: &[String]) -> Vec<(usize, String)> {
    let labels = old.iter().zip(new);
    let flips = receipt.encoded.order.iter().zip(labels).filter(|(_, (old, new))| old != new);
    flips.map(|(&word, (old, new))| (word, format!("{old} → {new}"))).collect()
}
