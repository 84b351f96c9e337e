//! From two sides' answers to a certificate, or to the reason why there is none.

use layoutlm_core::bundle::{Certificate, Latency, Limits};
use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::summarize;
use layoutlm_trainer::machine;

use super::compare::compare;
use super::{Answers, BrokenProof, Prepared};
use crate::error::ExportError;

/// What is to be certified, and how strictly.
pub(crate) struct Subject<'a> {
    /// The variant's name.
    pub(crate) variant: &'a str,
    /// What it may not exceed.
    pub(crate) limits: Limits,
    /// Threads both sides ran with.
    pub(crate) threads: usize,
}

/// Compares a variant's answers with the reference's.
///
/// # Errors
/// [`ExportError::Proof`] with the worst windows when a limit is broken.
pub(crate) fn certify(
    subject: &Subject<'_>,
    encoder: &Encoder,
    evidence: &Prepared,
    reference: &Answers,
    variant: &Answers,
) -> Result<Certificate, ExportError> {
    let classes = encoder.encoding().labels.len();
    let comparison = compare(&evidence.receipts, reference, variant, classes);
    let f1 = |answers: &Answers| -> Result<Option<f64>, ExportError> {
        Ok(if evidence.labelled { Some(summarize(encoder, &answers.scored)?.f1) } else { None })
    };
    let certificate = Certificate {
        data: evidence.name.clone(),
        receipts: evidence.receipts.len(),
        windows: evidence.windows(),
        words: comparison.words,
        max_abs_logit_diff: comparison.max,
        mean_abs_logit_diff: comparison.mean,
        label_flips: comparison.flips,
        flips_per_10k_words: Certificate::per_10k(comparison.flips, comparison.words),
        f1_reference: f1(reference)?,
        f1: f1(variant)?,
        limits: subject.limits,
        latency_ms: Some(Latency {
            reference: reference.milliseconds,
            variant: variant.milliseconds,
            threads: subject.threads,
            cpu: machine::cpu_name(),
        }),
    };
    let reason = if comparison.max.is_finite() {
        certificate.broken_limit()
    } else {
        Some("a logit is not a finite number".to_string())
    };
    match reason {
        None => Ok(certificate),
        Some(reason) => {
            let (variant, worst) = (subject.variant.to_string(), comparison.worst);
            Err(Box::new(BrokenProof { variant, reason, certificate, worst }).into())
        }
    }
}
