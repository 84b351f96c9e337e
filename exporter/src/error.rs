//! Why a bundle was not written or did not hold.

use std::path::PathBuf;

use layoutlm_core::bundle::BundleError;
use layoutlm_core::classifier::ClassifierError;
use layoutlm_core::evaluate::EvaluateError;
use layoutlm_core::predict::PredictError;
use layoutlm_core::probe::ProbeError;
use layoutlm_trainer::files::FileError;
use layoutlm_trainer::model::ModelError;
use layoutlm_trainer::model_folder::FolderError;
use layoutlm_trainer::weights::WeightsError;

use crate::proof::BrokenProof;

/// What can go wrong while exporting or verifying.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The checkpoint folder is unusable.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The checkpoint's weights are unusable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Parts of the checkpoint do not fit each other.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// The output can't be written there.
    #[error("{}: {reason}", path.display())]
    Output {
        /// The path given.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The receipts to compare on are unusable.
    #[error("{name}: {reason}")]
    Evidence {
        /// Where they came from.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Options contradict each other.
    #[error("{0}")]
    Options(String),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder is no bundle, or was changed.
    #[error("{}: {source}", path.display())]
    Bundle {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// The probe is unusable.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The reference model could not be made or run.
    #[error("the reference model failed: {0}")]
    Reference(#[source] ModelError),
    /// A graph could not be opened.
    #[error("the {variant} graph can't be opened: {source}")]
    Open {
        /// The variant.
        variant: String,
        /// What the engine said.
        source: ClassifierError,
    },
    /// A model failed on a receipt.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Predictions could not be scored.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A variant does not label as the checkpoint does. Nothing was written.
    #[error(transparent)]
    Proof(#[from] Box<BrokenProof>),
    /// Stopped on request. Nothing was written.
    #[error("stopped; nothing was written")]
    Interrupted,
}

impl ExportError {
    /// True when the caller can put it right: a wrong path, option or file.
    pub fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Folder(_)
                | Self::Weights(_)
                | Self::Checkpoint { .. }
                | Self::Output { .. }
                | Self::Evidence { .. }
                | Self::Options(_)
                | Self::Bundle { .. }
                | Self::Probe(_)
        )
    }
}
