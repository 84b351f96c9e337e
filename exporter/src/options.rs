//! What to export and how strictly.

use std::path::Path;

use layoutlm_core::bundle::Limits;
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};

use crate::error::ExportError;
use crate::graph::{Signature, TableStorage, VariantKind};
use crate::proof::Evidence;
use crate::write::EXTERNAL_ABOVE;

/// Opens a graph with some ONNX engine; the exporter knows none itself.
pub type OpenGraph<'a> = dyn Fn(&Path, VariantKind) -> Result<Box<dyn TokenClassifier>, ClassifierError> + 'a;

/// Options of [`export`](crate::export).
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Graphs to write, each once.
    pub variants: Vec<VariantKind>,
    /// Which of them is `model.onnx`; the first when not said.
    pub default_variant: Option<VariantKind>,
    /// Receipts to prove on; else the run's `validation.jsonl`, else the probe.
    pub evidence: Option<Evidence>,
    /// Limits of `fp32` and `fused`.
    pub exact_limits: Limits,
    /// Limits of `int8`.
    pub int8_limits: Limits,
    /// What `fused` and `int8` are fed; fp32 always takes padded batches.
    pub signature: Signature,
    /// How the embedding tables of int8 are stored.
    pub tables: TableStorage,
    /// Whether int8 moves outlier channels of activations into the weights.
    pub smoothing: bool,
    /// Whether int8 may leave products in float where its limits ask for it.
    pub fall_back: bool,
    /// Largest graph file, bytes; the weights of a larger one lie beside it as `<file>.data`. Readers stop at 2 GiB.
    pub external_above: u64,
    /// Threads the engines run with, for the record.
    pub threads: usize,
    /// Revision of the program's sources, where known.
    pub git_revision: Option<String>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            variants: vec![VariantKind::Fp32],
            default_variant: None,
            evidence: None,
            exact_limits: Limits::EXACT,
            int8_limits: Limits::INT8,
            signature: Signature::Unpadded,
            tables: TableStorage::Half,
            smoothing: true,
            fall_back: true,
            external_above: EXTERNAL_ABOVE,
            threads: 1,
            git_revision: None,
        }
    }
}

impl ExportOptions {
    /// The variant that becomes `model.onnx`.
    ///
    /// # Errors
    /// [`ExportError::Options`] when there is none, one occurs twice, or the default is not among them.
    pub(crate) fn default_kind(&self) -> Result<VariantKind, ExportError> {
        let wrong = |text: String| Err(ExportError::Options(text));
        let Some(&first) = self.variants.first() else {
            return wrong("no variant to export: name fp32, fused or int8".into());
        };
        for (i, variant) in self.variants.iter().enumerate() {
            if self.variants.iter().skip(i + 1).any(|v| v == variant) {
                return wrong(format!("variant {variant} is named twice"));
            }
        }
        match self.default_variant {
            Some(kind) if !self.variants.contains(&kind) => {
                wrong(format!("default variant {kind} is not among the variants to export"))
            }
            chosen => Ok(chosen.unwrap_or(first)),
        }
    }

    /// The limits of a variant.
    pub(crate) fn limits(&self, kind: VariantKind) -> Limits {
        match kind {
            VariantKind::Fp32 | VariantKind::Fused => self.exact_limits,
            VariantKind::Int8 => self.int8_limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_of(
        variants: &[VariantKind],
        default_variant: Option<VariantKind>,
    ) -> Result<VariantKind, String> {
        let options =
            ExportOptions { variants: variants.to_vec(), default_variant, ..ExportOptions::default() };
        options.default_kind().map_err(|e| e.to_string())
    }

    #[test]
    fn the_default_is_the_first_unless_named_and_must_be_exported() {
        use VariantKind::*;
        assert_eq!(default_of(&[Int8, Fp32], None), Ok(Int8));
        assert_eq!(default_of(&[Int8, Fp32], Some(Fp32)), Ok(Fp32));
        assert!(default_of(&[Fp32], Some(Fused)).unwrap_err().contains("fused is not among"));
        assert!(default_of(&[], None).unwrap_err().contains("no variant"));
        assert!(default_of(&[Fp32, Int8, Fp32], None).unwrap_err().contains("fp32 is named twice"));
    }
}
