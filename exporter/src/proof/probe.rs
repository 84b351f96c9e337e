//! The bundle's probe: made-up receipts, so that a bundle never carries anybody's data.

use layoutlm_core::bundle::{Certificate, Limits};
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::probe::{self, ProbeWindow};
use layoutlm_core::receipt::Receipt;
use layoutlm_core::window::Window;
use layoutlm_trainer::data::synthesize;

use super::evidence::PROBE;
use super::{Answers, BrokenProof, Evidence, Prepared};
use crate::error::ExportError;

const SEED: u64 = 7;
const SHORT: usize = 5;
/// Receipts stacked into the long one, which fills more than one window.
const STACKED: usize = 5;

/// The receipts of every probe: a few as a till prints them, and one as long as they come.
pub(crate) fn probe_receipts() -> Evidence {
    let mut receipts = synthesize(SEED, SHORT + STACKED, SHORT + STACKED);
    let stacked = receipts.split_off(SHORT.min(receipts.len()));
    receipts.extend(stack(&stacked));
    Evidence { name: PROBE.into(), receipts }
}

/// One page with the receipts below each other.
fn stack(parts: &[Receipt]) -> Option<Receipt> {
    let mut whole = parts.first()?.clone();
    whole.words.clear();
    let (mut height, mut line) = (0.0, 0);
    for part in parts {
        for word in &part.words {
            let mut word = word.clone();
            let [x0, y0, x1, y1] = word.bbox;
            word.bbox = [x0, y0 + height, x1, y1 + height];
            word.line_id += line;
            whole.words.push(word);
        }
        let bottom = part.words.iter().map(|w| w.bbox[3]).fold(0.0, f64::max);
        height += part.height.unwrap_or(bottom);
        line = whole.words.iter().map(|w| w.line_id + 1).max().unwrap_or(0);
    }
    whole.width = parts.iter().filter_map(|p| p.width).reduce(f64::max);
    whole.height = Some(height);
    Some(whole)
}

/// Encodes the probe's receipts and takes the reference's answers.
///
/// # Errors
/// Whatever encoding or the model report.
pub(crate) fn make_probe(
    encoder: &Encoder,
    reference: &dyn TokenClassifier,
) -> Result<Vec<ProbeWindow>, ExportError> {
    let mut windows = Vec::new();
    for receipt in probe_receipts().receipts {
        for window in encoder.encode(&receipt).map_err(layoutlm_core::predict::PredictError::from)?.windows {
            let answer = reference.logits(&[&window]).map_err(|source| {
                layoutlm_core::predict::PredictError::Classifier { receipt: receipt.key(), source }
            })?;
            let first = window.first_subtokens().map(|(position, _)| position).collect();
            let logits = answer.into_iter().next().unwrap_or_default();
            windows.push(ProbeWindow { window, logits, first });
        }
    }
    Ok(windows)
}

/// Replays a probe, window by window.
///
/// # Errors
/// [`ExportError::Proof`] when a limit is broken.
pub(crate) fn replay(
    variant: &str,
    probe: &[ProbeWindow],
    classifier: &dyn TokenClassifier,
    limits: Limits,
) -> Result<Certificate, ExportError> {
    let mut answers = Vec::with_capacity(probe.len());
    for (i, p) in probe.iter().enumerate() {
        let windows: [&Window; 1] = [&p.window];
        let answer = classifier.logits(&windows).map_err(|source| {
            layoutlm_core::predict::PredictError::Classifier { receipt: format!("probe window {i}"), source }
        })?;
        answers.extend(answer);
    }
    judge(variant, probe, &answers, classifier.num_labels(), limits)
}

/// As [`replay`], with the answers that a proof on the probe's own receipts already has.
///
/// # Errors
/// As [`replay`].
pub(crate) fn replay_proven(
    variant: &str,
    probe: &[ProbeWindow],
    classifier: &dyn TokenClassifier,
    limits: Limits,
    (evidence, answers): (&Prepared, &Answers),
) -> Result<Certificate, ExportError> {
    if !evidence.is_probe() {
        return replay(variant, probe, classifier, limits);
    }
    let answers: Vec<Vec<f32>> = answers.logits.iter().flatten().cloned().collect();
    judge(variant, probe, &answers, classifier.num_labels(), limits)
}

/// Holds answers to the probe against its own.
fn judge(
    variant: &str,
    probe: &[ProbeWindow],
    answers: &[Vec<f32>],
    classes: usize,
    limits: Limits,
) -> Result<Certificate, ExportError> {
    let replayed = probe::compare(probe, answers, classes)?;
    let certificate = Certificate {
        data: PROBE.into(),
        receipts: probe.len(),
        windows: replayed.windows,
        words: replayed.labels,
        max_abs_logit_diff: replayed.max_abs_logit_diff,
        mean_abs_logit_diff: replayed.mean_abs_logit_diff,
        label_flips: replayed.label_flips,
        flips_per_10k_words: Certificate::per_10k(replayed.label_flips, replayed.labels),
        f1_reference: None,
        f1: None,
        limits,
        latency_ms: None,
    };
    match limits.broken_by(&replayed) {
        None => Ok(certificate),
        Some(reason) => {
            let worst = Vec::new();
            Err(Box::new(BrokenProof { variant: variant.to_string(), reason, certificate, worst }).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_the_same_each_time_and_has_a_receipt_of_several_windows_of_words() {
        let (a, b) = (probe_receipts(), probe_receipts());
        assert_eq!(a.receipts, b.receipts);
        assert_eq!(a.receipts.len(), SHORT + 1);
        let longest = a.receipts.iter().map(|r| r.words.len()).max().unwrap();
        assert!(longest > 200, "{longest} words");
        for receipt in &a.receipts {
            receipt.check().unwrap();
        }
    }
}
