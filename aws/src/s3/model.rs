//! A model out of S3, whatever the address names: a bundle, a checkpoint, or a run whose best checkpoint is meant.

use std::fs;
use std::path::{Path, PathBuf};

use layoutlm_core::bundle::MANIFEST_FILE;
use layoutlm_core::encoding::sha256_hex;

use super::bucket::{Bucket, Object};
use super::bundle::fetch_bundle;
use super::download::Fetch;
use super::latest::resolve_latest;
use super::uri::S3Uri;
use crate::connect::Aws;
use crate::error::AwsError;

const WEIGHTS: &str = "model.safetensors";
/// Files of a checkpoint that only training needs.
const TRAINING_ONLY: [&str; 5] =
    ["trainer_state.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"];
/// Files of the run that go with its checkpoints: merges, and receipts to prove exports on.
const RUN_FILES: [&str; 2] = ["run.json", "validation.jsonl"];

/// Fetches the model at `uri` into `cache` and gives its local folder. `latest` in place of a run's name is resolved.
///
/// # Errors
/// [`AwsError`]; [`AwsError::Missing`] where there is neither a bundle nor a checkpoint.
pub async fn fetch_model(aws: &Aws, uri: &S3Uri, cache: &Path) -> Result<PathBuf, AwsError> {
    let uri = resolve_latest(aws, uri).await?.as_folder();
    let bucket = aws.bucket(&uri.bucket);
    let objects = bucket.list(&uri.key).await?;
    let holds = |name: &str| objects.iter().any(|o| o.key == format!("{}{name}", uri.key));
    if holds(MANIFEST_FILE) {
        return fetch_bundle(aws, &uri, cache).await;
    }
    if holds(WEIGHTS) {
        return fetch_checkpoint(&bucket, &uri, &objects, cache).await;
    }
    if holds(&format!("best/{WEIGHTS}")) {
        return fetch_checkpoint(&bucket, &uri.join("best/"), &objects, cache).await;
    }
    Err(AwsError::Missing {
        what: format!("a model at {uri}"),
        advice: "expected a bundle (manifest.json), a checkpoint (model.safetensors) or a run with best/"
            .into(),
    })
}

/// Lays a checkpoint out as in its run: `<cache>/<hash of what is there>/<name>/`, the run's own files beside it.
async fn fetch_checkpoint(
    bucket: &Bucket,
    uri: &S3Uri,
    objects: &[Object],
    cache: &Path,
) -> Result<PathBuf, AwsError> {
    let file = |object: &Object| object.key.strip_prefix(&uri.key).unwrap_or("/").to_string();
    let wanted = |object: &&Object| {
        let name = file(object);
        !name.contains('/') && !TRAINING_ONLY.contains(&name.as_str())
    };
    let files: Vec<Object> = objects.iter().filter(wanted).cloned().collect();
    let state: String = files.iter().map(|o| format!("{} {} {:?}\n", o.key, o.size, o.modified)).collect();
    let hash = sha256_hex(format!("{uri}\n{state}").as_bytes());
    let run = cache.join(hash.get(..16).unwrap_or(&hash));
    let key = uri.key.trim_end_matches('/');
    let (parent, name) = key.rsplit_once('/').map_or(("", key), |(parent, name)| (parent, name));
    let folder = run.join(if name.is_empty() { "model" } else { name });
    fs::create_dir_all(&folder).map_err(AwsError::file(&folder))?;
    bucket.download(&uri.key, files, &folder, &Fetch::default()).await?;
    let parent = if parent.is_empty() { String::new() } else { format!("{parent}/") };
    for name in RUN_FILES {
        let key = format!("{parent}{name}");
        if let Some(head) = bucket.head(&key).await? {
            let object = Object { key, size: head.size, modified: None };
            bucket.download(&parent, vec![object], &run, &Fetch::default()).await?;
        }
    }
    Ok(folder)
}
