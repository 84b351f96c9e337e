//! A bundle out of S3 into a local cache, every file checked against the manifest's hashes.

use std::fs;
use std::path::{Path, PathBuf};

use layoutlm_core::bundle::{MANIFEST_FILE, Manifest};
use layoutlm_core::encoding::sha256_hex;

use super::bucket::Object;
use super::download::Fetch;
use super::latest::resolve_latest;
use super::uri::S3Uri;
use crate::connect::Aws;
use crate::error::AwsError;
use crate::files::write_whole;

/// Fetches the bundle at `uri` (`latest` in place of a run's name is resolved) into `cache` and gives its local folder,
/// named after the manifest's hash: the same bundle is fetched once, and another one never overwrites it.
///
/// # Errors
/// [`AwsError`]; [`AwsError::Content`] for a manifest that can't be read or a file with another hash.
pub async fn fetch_bundle(aws: &Aws, uri: &S3Uri, cache: &Path) -> Result<PathBuf, AwsError> {
    let uri = resolve_latest(aws, uri).await?.as_folder();
    let bucket = aws.bucket(&uri.bucket);
    let place = uri.join(MANIFEST_FILE);
    let text = bucket.read(&place.key).await?;
    let content = |reason: String| AwsError::Content { what: place.to_string(), reason };
    let manifest = std::str::from_utf8(&text).map_err(|e| content(e.to_string()))?;
    let manifest = Manifest::from_json(manifest).map_err(|e| content(e.to_string()))?;
    let hash = sha256_hex(&text);
    let folder = cache.join(hash.get(..16).unwrap_or(&hash));
    fs::create_dir_all(&folder).map_err(AwsError::file(&folder))?;
    let listed = bucket.list(&uri.key).await?;
    let name = |object: &Object| object.key.strip_prefix(&uri.key).unwrap_or_default().to_string();
    if let Some(gone) = manifest.files.keys().find(|file| !listed.iter().any(|o| name(o) == **file)) {
        return Err(content(format!("names {gone}, which is not there; export the bundle again")));
    }
    let files: Vec<Object> = listed.into_iter().filter(|o| manifest.files.contains_key(&name(o))).collect();
    let fetch = Fetch { sha256: manifest.files.clone() };
    let done = bucket.download(&uri.key, files, &folder, &fetch).await?;
    // Last, so that a folder with a manifest is a whole bundle.
    write_whole(&folder.join(MANIFEST_FILE), |file| file.write_all(&text))?;
    tracing::info!(%uri, folder = %folder.display(), fetched = done.files, kept = done.unchanged, "bundle is local");
    Ok(folder)
}
