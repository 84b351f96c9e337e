//! An export of the table to S3: `manifest-files.json` lists gzipped files of DynamoDB JSON, one item a line.

use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::Value;

use super::assemble::Parts;
use super::{LoadOptions, OnProgress, Progress};
use crate::connect::Aws;
use crate::dynamo::{Item, item_from_json};
use crate::error::AwsError;
use crate::s3::{Bucket, S3Uri};

/// Files under way at once, at most: each is held in memory while it is read.
const FILES: usize = 4;

/// What is read of `manifest-summary.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    output_format: Option<String>,
    export_type: Option<String>,
}

/// One line of `manifest-files.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataFile {
    item_count: usize,
    data_file_s3_key: String,
}

pub(super) async fn read(
    aws: &Aws,
    uri: &S3Uri,
    options: &LoadOptions,
    concurrency: usize,
    progress: OnProgress<'_>,
) -> Result<Parts, AwsError> {
    let bucket = aws.bucket(&uri.bucket);
    let folder = uri.as_folder();
    check_summary(&bucket, &folder).await?;
    let mut parts = Parts::default();
    let mut items = 0;
    let mut files = stream::iter(manifest(&bucket, &folder).await?)
        .map(|file| data_file(&bucket, file))
        .buffer_unordered(concurrency.min(FILES));
    while let Some(file) = files.try_next().await? {
        items += file.len();
        file.iter().for_each(|item| parts.add(item, options.status));
        progress(Progress::Items(items));
    }
    Ok(parts)
}

async fn check_summary(bucket: &Bucket, folder: &S3Uri) -> Result<(), AwsError> {
    let uri = folder.join("manifest-summary.json");
    let bytes = bucket.read(&uri.key).await?;
    let what = || uri.to_string();
    let summary: Summary = serde_json::from_slice(&bytes)
        .map_err(|e| AwsError::Content { what: what(), reason: format!("is no export summary: {e}") })?;
    let refused = |reason: String| Err(AwsError::Content { what: what(), reason });
    match (summary.output_format.as_deref(), summary.export_type.as_deref()) {
        (Some("DYNAMODB_JSON") | None, Some("FULL_EXPORT") | None) => Ok(()),
        (Some("DYNAMODB_JSON") | None, Some(kind)) => {
            refused(format!("the export is a {kind}; make a full one (FULL_EXPORT)"))
        }
        (Some(format), _) => refused(format!("the export's format is {format}; export as DYNAMODB_JSON")),
    }
}

async fn manifest(bucket: &Bucket, folder: &S3Uri) -> Result<Vec<DataFile>, AwsError> {
    let uri = folder.join("manifest-files.json");
    let bytes = bucket.read(&uri.key).await?;
    let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_slice(line).map_err(|e| AwsError::Content {
                what: format!("{uri}:{}", i + 1),
                reason: format!("is no entry of an export's manifest: {e}"),
            })
        })
        .collect()
}

/// The items of one file; the number the manifest says, or an error.
async fn data_file(bucket: &Bucket, file: DataFile) -> Result<Vec<Item>, AwsError> {
    let bytes = bucket.read(&file.data_file_s3_key).await?;
    let what = format!("s3://{}/{}", bucket.name(), file.data_file_s3_key);
    let content = |line: Option<usize>, reason: String| AwsError::Content {
        what: line.map_or_else(|| what.clone(), |line| format!("{what}:{line}")),
        reason,
    };
    let plain: Box<dyn Read + Send> = if file.data_file_s3_key.ends_with(".gz") {
        Box::new(MultiGzDecoder::new(bytes.as_slice()))
    } else {
        Box::new(bytes.as_slice())
    };
    let mut items = Vec::with_capacity(file.item_count);
    for (i, line) in BufReader::new(plain).lines().enumerate() {
        let line = line.map_err(|e| content(Some(i + 1), format!("can't be unpacked: {e}; export again")))?;
        if !line.trim().is_empty() {
            items.push(item(&line).map_err(|reason| content(Some(i + 1), reason))?);
        }
    }
    if items.len() == file.item_count {
        return Ok(items);
    }
    let (found, said) = (items.len(), file.item_count);
    Err(content(None, format!("holds {found} items, the manifest says {said}; export again")))
}

fn item(line: &str) -> Result<Item, String> {
    let value: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    item_from_json(value.get("Item").ok_or("there is no Item in the line")?)
}
