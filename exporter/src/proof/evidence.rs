//! The receipts a proof is made on.

use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::GoldReceipt;
use layoutlm_core::receipt::{Receipt, ValidationStatus};

use crate::error::ExportError;

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
        Ok(Self { name: evidence.name.clone(), receipts, labelled })
    }

    /// Windows of all receipts.
    pub(crate) fn windows(&self) -> usize {
        self.receipts.iter().map(|r| r.encoded.windows.len()).sum()
    }
}
