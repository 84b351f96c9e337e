//! The reads that the present trainer does: labels by status, then the words of each labelled receipt.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::assemble::Parts;
use super::cache::{Cache, CachedWords};
use super::{LoadOptions, OnProgress, Progress};
use crate::dynamo::{Fields, ItemError, Query, ReceiptKey, Table, TableWord};
use crate::error::AwsError;

pub(super) async fn read(
    table: &Table,
    options: &LoadOptions,
    concurrency: usize,
    progress: OnProgress<'_>,
) -> Result<Parts, AwsError> {
    let mut cache = Cache::open(options.cache.as_ref(), table, options.status)?;
    let mut parts = Parts::default();
    match cache.labels()? {
        Some(items) => items.iter().for_each(|item| parts.add(item, options.status)),
        None => {
            let items = labels(table, options, progress).await?;
            cache.save_labels(&items)?;
            items.iter().for_each(|item| parts.add(item, options.status));
        }
    }
    let mut missing = wanted(&parts, options.allow.as_ref());
    let total = missing.len();
    for (key, words) in cache.words()? {
        if missing.remove(&key) {
            take(&mut parts, words);
        }
    }
    let (read_anew, mut done) = (missing.len(), total - missing.len());
    progress(Progress::Receipts { done, total });
    let mut answers = stream::iter(missing).map(|key| words_of(table, key)).buffer_unordered(concurrency);
    while let Some((key, words)) = answers.try_next().await? {
        cache.save_words(&key, &words)?;
        take(&mut parts, words);
        done += 1;
        progress(Progress::Receipts { done, total });
    }
    parts.report.cache = cache.finish(read_anew)?;
    Ok(parts)
}

/// Receipts whose words are needed.
fn wanted(parts: &Parts, allow: Option<&BTreeSet<String>>) -> BTreeSet<ReceiptKey> {
    let mut keys = parts.labelled();
    keys.retain(|key| allow.is_none_or(|names| names.contains(&key.name())));
    keys
}

async fn labels(
    table: &Table,
    options: &LoadOptions,
    progress: OnProgress<'_>,
) -> Result<Vec<crate::dynamo::Item>, AwsError> {
    let status = crate::dynamo::status_name(options.status);
    let query = Query::index("GSI3", format!("VALIDATION_STATUS#{status}"));
    let mut items = Vec::new();
    table
        .query_pages(&query, |page| {
            items.extend(page);
            progress(Progress::Labels(items.len()));
            true
        })
        .await?;
    Ok(items)
}

async fn words_of(table: &Table, key: ReceiptKey) -> Result<(ReceiptKey, CachedWords), AwsError> {
    let items = table.query(&Query::index("GSI3", key.index()).sort_key("WORD")).await?;
    let mut found = CachedWords::default();
    for item in &items {
        match Fields::of(item).item_type() {
            TableWord::TYPE => match TableWord::read(item) {
                Ok(word) => found.words.push(word),
                Err(error) => found.malformed.push(error),
            },
            other => found.other_types.push(other.into()),
        }
    }
    Ok((key, found))
}

fn take(parts: &mut Parts, words: CachedWords) {
    words.words.into_iter().for_each(|word| parts.add_word(word));
    let malformed: Vec<ItemError> = words.malformed;
    parts.report.malformed.extend(malformed);
    for other in words.other_types {
        *parts.report.other_types.entry(other).or_default() += 1;
    }
}
