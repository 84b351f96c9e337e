//! The receipts a proof is made on.

use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::GoldReceipt;
use layoutlm_core::probe::ProbeWindow;
use layoutlm_core::receipt::{Receipt, ValidationStatus};
use layoutlm_core::window::Window;

use super::{Answers, probe_receipts};
use crate::error::ExportError;

/// Name of the built-in receipts.
pub(crate) const PROBE: &str = "probe";

/// Receipts with the name that certificates give them.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// A data file, `validation` or `probe`.
    pub name: String,
    /// The receipts; labels, where they have any, are scored as well.
    pub receipts: Vec<Receipt>,
}

/// Encoded evidence.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) receipts: Vec<GoldReceipt>,
    /// Whether any receipt is labelled, so that F1 means something.
    pub(crate) labelled: bool,
    /// Whether they are the probe's receipts and nobody's data.
    built_in: bool,
}

impl Prepared {
    /// Encodes the receipts.
    ///
    /// # Errors
    /// [`ExportError::Evidence`] when they hold no word that the network would see.
    pub(crate) fn new(encoder: &Encoder, evidence: &Evidence) -> Result<Self, ExportError> {
        let receipts = evidence
            .receipts
            .iter()
            .map(|r| GoldReceipt::new(encoder, r, ValidationStatus::Valid))
            .collect::<Result<Vec<_>, _>>()?;
        let windows = || receipts.iter().flat_map(|r| &r.encoded.windows);
        if !windows().any(|w| w.first_subtokens().next().is_some()) {
            let reason = "holds no word to compare on; give receipts with words".to_string();
            return Err(ExportError::Evidence { name: evidence.name.clone(), reason });
        }
        let labelled = evidence.receipts.iter().flat_map(|r| &r.words).any(|w| w.label.is_some());
        let built_in = evidence.name == PROBE && evidence.receipts == probe_receipts().receipts;
        Ok(Self { name: evidence.name.clone(), receipts, labelled, built_in })
    }

    /// Some of the receipts, evenly spread, with the reference's answers to them.
    pub(crate) fn sample(&self, reference: &Answers, count: usize) -> (Self, Answers) {
        let step = self.receipts.len().div_ceil(count.max(1)).max(1);
        let receipts = self.receipts.iter().step_by(step).cloned().collect();
        let sample = Self { name: self.name.clone(), receipts, labelled: self.labelled, built_in: false };
        let answers = Answers {
            logits: reference.logits.iter().step_by(step).cloned().collect(),
            scored: reference.scored.iter().step_by(step).cloned().collect(),
            milliseconds: reference.milliseconds,
        };
        (sample, answers)
    }

    /// Whether these are the probe's receipts, so that replaying the probe would repeat what was just done.
    pub(crate) fn is_probe(&self) -> bool {
        self.built_in
    }

    /// The reference's answers as a probe, if these are its receipts.
    pub(crate) fn as_probe(&self, reference: &Answers) -> Option<Vec<ProbeWindow>> {
        if !self.is_probe() {
            return None;
        }
        let answered = self.all_windows().into_iter().zip(reference.logits.iter().flatten());
        let probe = answered.map(|(window, logits)| {
            let first = window.first_subtokens().map(|(position, _)| position).collect();
            ProbeWindow { window: window.clone(), logits: logits.clone(), first }
        });
        Some(probe.collect())
    }

    /// Every window.
    pub(crate) fn all_windows(&self) -> Vec<&Window> {
        self.receipts.iter().flat_map(|r| &r.encoded.windows).collect()
    }

    /// Windows of all receipts.
    pub(crate) fn windows(&self) -> usize {
        self.receipts.iter().map(|r| r.encoded.windows.len()).sum()
    }
}
