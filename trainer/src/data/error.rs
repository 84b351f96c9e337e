//! What can be wrong with training data, in sentences that say what to do.

use std::path::PathBuf;

use layoutlm_core::receipt::BadLine;

use crate::files::FileError;

/// Data that could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// No `--data` at all.
    #[error("no data given: name a JSONL file or a folder with train.jsonl")]
    NoSource,
    /// The path does not exist.
    #[error("{}: no such file or folder; --data takes a JSONL file or a folder with train.jsonl", .0.display())]
    NotFound(PathBuf),
    /// A folder in no known layout.
    #[error("{}: this folder holds no data set: {reason}", path.display())]
    UnknownLayout {
        /// The folder.
        path: PathBuf,
        /// What was looked for and found.
        reason: String,
    },
    /// A file or folder that could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line of a JSONL file.
    #[error("{0}; correct the line, or pass --skip-bad-lines to go on without it")]
    BadLine(#[from] BadLine),
    /// A file of a published layout that does not read as that layout.
    #[error("{}{}: {reason}", path.display(), line.map_or(String::new(), |l| format!(":{l}")))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// 1-based, where lines matter.
        line: Option<usize>,
        /// What was wrong and what is expected.
        reason: String,
    },
    /// Nothing to train on.
    #[error("{from}: no receipt found ({skipped} unreadable lines skipped); at least one is needed")]
    NoReceipts {
        /// Where receipts were looked for.
        from: String,
        /// Lines left out.
        skipped: usize,
    },
    /// One receipt came from two places.
    #[error("receipt {key} is in {first} and again in {second}: remove one of them")]
    Duplicate {
        /// Its key.
        key: String,
        /// Where it was found first.
        first: String,
        /// Where it was found again.
        second: String,
    },
    /// Validation or test shares receipts with training.
    #[error(
        "{count} receipt(s) are both in the training and the {part} set, the first is {example}: remove them from one, \
         or the scores say nothing"
    )]
    SharedReceipts {
        /// `validation` or `test`.
        part: &'static str,
        /// How many.
        count: usize,
        /// Key of the first in key order.
        example: String,
    },
    /// A key file that is not what it should be.
    #[error("{}: {reason}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What was wrong and what is expected.
        reason: String,
    },
    /// A split that would leave a part empty.
    #[error("the data can't be split: {0}")]
    Split(String),
    /// A snapshot that was made otherwise.
    #[error("{}: {reason}", path.display())]
    Snapshot {
        /// The snapshot's folder.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Encoding failed.
    #[error("receipt {key}: {reason}")]
    Encode {
        /// The receipt.
        key: String,
        /// What the tokenizer said.
        reason: String,
    },
    /// An option that no data set can be made with.
    #[error("{0}")]
    Option(String),
}
