//! The newest model of a bucket, found as the present clients find it.
//!
//! Of the folders below `runs/`, the run whose newest object was written last wins, even while it still goes on. Its
//! `best/` counts when it holds a model, else the checkpoint whose model was written last. All pages of all listings are
//! looked at.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::bucket::{Bucket, Object};
use super::uri::S3Uri;
use crate::connect::Aws;
use crate::error::AwsError;

const MODEL: &str = "model.safetensors";
const PARALLEL: usize = 8;

/// Replaces a `latest` in place of a run's name: `s3://bucket/runs/latest/bundle/` names the newest run's bundle,
/// `s3://bucket/runs/latest/` its model folder. Other addresses come back as they are.
///
/// # Errors
/// [`AwsError`]; [`AwsError::Missing`] when there is no run, or none with a model.
pub async fn resolve_latest(aws: &Aws, uri: &S3Uri) -> Result<S3Uri, AwsError> {
    let parts: Vec<&str> = uri.key.split('/').collect();
    let Some(at) = parts.iter().position(|part| *part == "latest") else { return Ok(uri.clone()) };
    let (before, after) = (parts.get(..at).unwrap_or_default(), parts.get(at + 1..).unwrap_or_default());
    let mut runs = S3Uri { bucket: uri.bucket.clone(), key: String::new() };
    if !before.is_empty() {
        runs = runs.join(&format!("{}/", before.join("/")));
    }
    let rest = after.join("/");
    if rest.is_empty() {
        return newest_model(aws, &runs).await;
    }
    let bucket = aws.bucket(&runs.bucket);
    let (run, _) = newest_run(&bucket, &runs).await?;
    Ok(S3Uri { bucket: runs.bucket, key: format!("{run}{rest}") })
}

/// The model folder of the newest run below `runs` (usually `s3://bucket/runs/`).
///
/// # Errors
/// [`AwsError`]; [`AwsError::Missing`] when there is no run, or the newest has no model.
pub async fn newest_model(aws: &Aws, runs: &S3Uri) -> Result<S3Uri, AwsError> {
    let bucket = aws.bucket(&runs.bucket);
    let (run, objects) = newest_run(&bucket, runs).await?;
    let best = format!("{run}best/");
    if objects.iter().any(|o| o.key == format!("{best}{MODEL}")) {
        return Ok(S3Uri { bucket: runs.bucket.clone(), key: best });
    }
    let models = objects.iter().filter(|o| o.key.ends_with(MODEL) && o.key.contains("checkpoint-"));
    let newest = models.max_by_key(|o| o.modified);
    let folder = newest.and_then(|o| o.key.strip_suffix(MODEL));
    folder.map(|key| S3Uri { bucket: runs.bucket.clone(), key: key.into() }).ok_or_else(|| AwsError::Missing {
        what: format!("a model in s3://{}/{run}", runs.bucket),
        advice: "the newest run has neither best/ nor a checkpoint yet; name a model's folder instead of latest".into(),
    })
}

/// The run written to last: its prefix and objects.
async fn newest_run(bucket: &Bucket, runs: &S3Uri) -> Result<(String, Vec<Object>), AwsError> {
    let folders = bucket.folders(&runs.as_folder().key).await?;
    let listed: Vec<(String, Vec<Object>)> = stream::iter(folders)
        .map(|folder| async move {
            let objects = bucket.list(&folder).await?;
            Ok::<_, AwsError>((folder, objects))
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let newest =
        |objects: &[Object]| -> Option<DateTime<Utc>> { objects.iter().filter_map(|o| o.modified).max() };
    let dated = listed.into_iter().filter_map(|(run, objects)| Some((newest(&objects)?, run, objects)));
    let last = dated.reduce(|best, next| if next.0 > best.0 { next } else { best });
    last.map(|(_, run, objects)| (run, objects)).ok_or_else(|| AwsError::Missing {
        what: format!("a run below {runs}"),
        advice: "check the bucket and prefix, or train first".into(),
    })
}
