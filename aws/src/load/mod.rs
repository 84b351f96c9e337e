//! Labelled receipts out of the table: by its indexes, by a full scan, or from an export of it in S3.
//!
//! Whatever the source, the same receipts come out: those with at least one label of the wanted status, with all their
//! words. Items that can't be read are left out, counted and named; items of other types that share the indexes are
//! counted.

mod assemble;
mod cache;
mod details;
mod export;
mod index;
mod scan;

pub use assemble::{LabelledReceipt, LoadReport, Loaded};
pub use cache::{CacheOptions, CacheUse};
pub use details::ReceiptDetails;

use std::collections::BTreeSet;

use crate::connect::Aws;
use crate::dynamo::LabelStatus;
use crate::error::AwsError;
use crate::s3::S3Uri;

/// Requests under way at once, unless said otherwise.
pub const DEFAULT_CONCURRENCY: usize = 16;

/// Where items are read from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// Labels by their status, then each receipt's words: reads little of a big table.
    #[default]
    Indexes,
    /// All items of the table, in parallel segments: one pass, whatever the indexes hold.
    Scan,
    /// An export of the table to S3 (DynamoDB JSON): costs the table nothing.
    Export(S3Uri),
}

/// What to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Labels of this status count.
    pub status: LabelStatus,
    /// Only these receipts, as `<image_id>#<receipt_id:05>`; an empty list means none.
    pub allow: Option<BTreeSet<String>>,
    /// Where from.
    pub source: Source,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Local cache of what the indexes gave; `None` reads anew and keeps nothing.
    pub cache: Option<CacheOptions>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            status: LabelStatus::Valid,
            allow: None,
            source: Source::default(),
            concurrency: DEFAULT_CONCURRENCY,
            cache: None,
        }
    }
}

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Labels read so far.
    Labels(usize),
    /// Receipts whose words are there, of how many.
    Receipts {
        /// Those there.
        done: usize,
        /// All of them.
        total: usize,
    },
    /// Items read so far, of a scan or an export.
    Items(usize),
}

/// Told about progress from several tasks.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl LoadOptions {
    /// Loads from a table.
    ///
    /// # Errors
    /// [`AwsError`] when a request fails for good; what was read by then is in the cache.
    pub async fn load(&self, aws: &Aws, table: &str, progress: OnProgress<'_>) -> Result<Loaded, AwsError> {
        let concurrency = self.concurrency.max(1);
        let parts = match &self.source {
            Source::Indexes => index::read(&aws.table(table), self, concurrency, progress).await?,
            Source::Scan => scan::read(&aws.table(table), self, concurrency, progress).await?,
            Source::Export(uri) => export::read(aws, uri, self, concurrency, progress).await?,
        };
        Ok(parts.assemble(self.allow.as_ref()))
    }
}
