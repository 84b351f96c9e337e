//! A full scan in parallel segments.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::try_join_all;

use super::assemble::Parts;
use super::{LoadOptions, OnProgress, Progress};
use crate::dynamo::Table;
use crate::error::AwsError;

pub(super) async fn read(
    table: &Table,
    options: &LoadOptions,
    segments: usize,
    progress: OnProgress<'_>,
) -> Result<Parts, AwsError> {
    let parts = Mutex::new(Parts::default());
    let seen = AtomicUsize::new(0);
    let segments = i32::try_from(segments).unwrap_or(i32::MAX);
    let scans = (0..segments).map(|segment| {
        table.scan_segment(segment, segments, |page| {
            let total = seen.fetch_add(page.len(), Ordering::Relaxed) + page.len();
            let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
            page.iter().for_each(|item| parts.add(item, options.status));
            progress(Progress::Items(total));
        })
    });
    try_join_all(scans).await?;
    Ok(parts.into_inner().unwrap_or_else(PoisonError::into_inner))
}
