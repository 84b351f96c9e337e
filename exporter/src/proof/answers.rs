//! What one model says about the evidence, and how long it takes.

use std::time::Instant;

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::ScoredReceipt;
use layoutlm_core::predict::PredictError;

use super::Prepared;
use crate::error::ExportError;
use crate::progress::Watch;

/// Logits of every window, labels of every word.
#[derive(Debug)]
pub(crate) struct Answers {
    /// `[receipt][window]`, each `[seq, labels]` row-major.
    pub(crate) logits: Vec<Vec<Vec<f32>>>,
    /// Windows merged and decoded.
    pub(crate) scored: Vec<ScoredReceipt>,
    /// Median milliseconds of a window, alone and unpadded.
    pub(crate) milliseconds: f64,
}

impl Answers {
    /// Runs every window by itself, as the server does: a dynamically quantised graph answers differently for a window
    /// in other company.
    ///
    /// # Errors
    /// [`PredictError`] when the model fails or answers in another shape; [`ExportError::Interrupted`].
    pub(crate) fn collect(
        encoder: &Encoder,
        classifier: &dyn TokenClassifier,
        evidence: &Prepared,
        watch: &Watch<'_>,
        what: &str,
    ) -> Result<Self, ExportError> {
        warm_up(classifier, evidence)?;
        let mut answers = Self { logits: Vec::new(), scored: Vec::new(), milliseconds: 0.0 };
        let (mut times, total) = (Vec::new(), evidence.windows());
        for receipt in &evidence.receipts {
            let mut logits = Vec::with_capacity(receipt.encoded.windows.len());
            for window in &receipt.encoded.windows {
                watch.step(what, times.len(), total)?;
                let start = Instant::now();
                let answer = classifier.logits(&[window]).map_err(|e| failed(&receipt.key, e))?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
                logits.push(answer.into_iter().next().unwrap_or_default());
            }
            answers.scored.push(ScoredReceipt::new(encoder, receipt, &logits)?);
            answers.logits.push(logits);
        }
        watch.step(what, total, total)?;
        answers.milliseconds = median(times);
        Ok(answers)
    }
}

/// The first run allocates, which is not what a user waits for. The shortest window is enough for it.
fn warm_up(classifier: &dyn TokenClassifier, evidence: &Prepared) -> Result<(), ExportError> {
    let windows = evidence.receipts.iter().flat_map(|r| r.encoded.windows.iter().map(|w| (&r.key, w)));
    let Some((key, shortest)) = windows.min_by_key(|(_, window)| window.len()) else { return Ok(()) };
    classifier.logits(&[shortest]).map_err(|e| failed(key, e))?;
    Ok(())
}

fn failed(receipt: &str, source: layoutlm_core::classifier::ClassifierError) -> PredictError {
    PredictError::Classifier { receipt: receipt.to_string(), source }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
