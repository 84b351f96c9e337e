//! What can be wrong with a checkpoint.

use std::path::PathBuf;

use layoutlm_core::config::ConfigError;

use crate::files::FileError;

/// Why weights could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The dimensions are unusable.
    #[error("{}: {source}", path.display())]
    Config {
        /// The `config.json`.
        path: PathBuf,
        /// What is wrong in it.
        source: ConfigError,
    },
    /// The folder holds no weights.
    #[error("{}: no model.safetensors and no pytorch_model.bin in this folder", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// The file is truncated, damaged or of another format.
    #[error("{}: {reason}: the file is damaged or not a weight file", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A tensor the model needs is not there.
    #[error("the tensor {name} {shape:?} is missing")]
    Missing {
        /// Its Hugging Face name.
        name: String,
        /// The shape the configuration asks for.
        shape: Vec<usize>,
    },
    /// A tensor of another shape than the configuration asks for.
    #[error("the tensor {name} has shape {found:?}, but config.json asks for {expected:?}")]
    Shape {
        /// Its Hugging Face name.
        name: String,
        /// The shape the configuration asks for.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// Two tensors of a file have one name once prefixes and old spellings are put right.
    #[error("{}: {name} occurs twice under different spellings", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The common name.
        name: String,
    },
    /// A tensor holds NaN or infinity.
    #[error("the tensor {name} holds a value that is not finite: the run that wrote it had diverged")]
    NotFinite {
        /// Its Hugging Face name.
        name: String,
    },
}
