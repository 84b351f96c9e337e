//! Errors of this room: each names the table or bucket, the operation and what to do.

use std::error::Error;
use std::path::{Path, PathBuf};

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::dynamo::ItemError;
use crate::fault::{Fault, detail_of, fault_of};

/// Why something with AWS did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AwsError {
    /// A request failed for good.
    #[error("{operation} on {target}: {advice}{}", bracketed(detail), advice = fault.advice())]
    Call {
        /// The service's operation, e.g. `Query`.
        operation: &'static str,
        /// What it was asked of: table with index and region, or `s3://bucket/key`.
        target: String,
        /// What went wrong.
        fault: Fault,
        /// In the service's words.
        detail: String,
    },
    /// An item that is needed can't be read.
    #[error("{table}: {error}")]
    Item {
        /// The table.
        table: String,
        /// The item and what is wrong with it.
        error: ItemError,
    },
    /// Something that was asked for is not there.
    #[error("{what} is not there; {advice}")]
    Missing {
        /// What was looked for and where.
        what: String,
        /// What to check.
        advice: String,
    },
    /// A `s3://` address that is none.
    #[error("{uri:?} is no S3 address: {reason}; expected s3://bucket/prefix")]
    Uri {
        /// As given.
        uri: String,
        /// What is wrong.
        reason: String,
    },
    /// An object or an export file does not hold what it should.
    #[error("{what}: {reason}")]
    Content {
        /// The object or file.
        what: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A local file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another trainer owns the job.
    #[error(
        "job {job} in {table} belongs to another trainer: {state}; use another --job-name, or stop that trainer"
    )]
    OtherOwner {
        /// The job's name.
        job: String,
        /// The table.
        table: String,
        /// What is there instead.
        state: String,
    },
}

impl AwsError {
    /// Wraps a failed request.
    pub(crate) fn call<E>(operation: &'static str, target: String, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        Self::Call { operation, target, fault: fault_of(error), detail: detail_of(error) }
    }

    /// Ties an I/O error to its file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_path_buf(), source }
    }

    /// The kind of failure of a request.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Call { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    /// True when the caller has something to put right (exit code 2), false when the service or machine failed (1).
    pub fn is_callers(&self) -> bool {
        match self {
            Self::Call { fault, .. } => fault.is_callers(),
            Self::File { .. } => false,
            _ => true,
        }
    }
}

fn bracketed(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({})", detail.trim_end()) }
}
