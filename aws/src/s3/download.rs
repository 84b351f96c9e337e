//! Files down: several at once, big ones in ranges, each checked before it gets its name.
//!
//! A file that is there with the right hash is not fetched again; where no hash is known it always is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::bucket::{Bucket, Object};
use super::sync_state::sha256_of;
use crate::error::AwsError;
use crate::retry::RetryPolicy;

/// Bytes of one ranged request.
const RANGE_BYTES: u64 = 16 << 20;
/// Requests under way at once.
const PARALLEL: usize = 6;
/// Whole downloads of a file whose hash was wrong.
const ATTEMPTS: u32 = 3;

/// What to fetch and how to check it.
#[derive(Debug, Clone, Default)]
pub struct Fetch {
    /// SHA-256 by name below the prefix, where it is known beforehand.
    pub sha256: BTreeMap<String, String>,
}

/// What a download did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Downloaded {
    /// Files fetched.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already.
    pub unchanged: usize,
    /// Keys left out because they would have left the folder.
    pub outside: Vec<String>,
}

impl Bucket {
    /// Fetches everything below `prefix` into `folder`, keeping names; local files of other names stay.
    ///
    /// # Errors
    /// [`AwsError`]; files are whole or not there.
    pub async fn download_all(
        &self,
        prefix: &str,
        folder: &Path,
        fetch: &Fetch,
    ) -> Result<Downloaded, AwsError> {
        let objects = self.list(prefix).await?;
        self.download(prefix, objects, folder, fetch).await
    }

    /// Fetches the listed objects; what follows `prefix` in their keys is their local name.
    ///
    /// # Errors
    /// [`AwsError`].
    pub async fn download(
        &self,
        prefix: &str,
        objects: Vec<Object>,
        folder: &Path,
        fetch: &Fetch,
    ) -> Result<Downloaded, AwsError> {
        let mut report = Downloaded::default();
        let mut wanted = Vec::new();
        for object in objects {
            let name = object.key.strip_prefix(prefix).unwrap_or(&object.key);
            match inside(folder, name) {
                Some(path) => wanted.push((fetch.sha256.get(name).cloned(), path, object)),
                None => report.outside.push(object.key),
            }
        }
        let mut files = stream::iter(wanted)
            .map(|(sha256, path, object)| async move {
                let fetched = self.download_file(&object, &path, sha256).await?;
                Ok::<_, AwsError>((fetched, object.size))
            })
            .buffer_unordered(PARALLEL);
        while let Some((fetched, size)) = files.try_next().await? {
            if fetched {
                report.files += 1;
                report.bytes += size;
            } else {
                report.unchanged += 1;
            }
        }
        Ok(report)
    }

    /// True when it was fetched, false when it was there already.
    async fn download_file(
        &self,
        object: &Object,
        path: &Path,
        sha256: Option<String>,
    ) -> Result<bool, AwsError> {
        let (mut etag, mut sha256) = (None, sha256);
        if sha256.is_none() || object.size > RANGE_BYTES {
            let head = self.head(&object.key).await?;
            sha256 = sha256.or_else(|| head.as_ref().and_then(|h| h.sha256.clone()));
            etag = head.and_then(|h| h.etag);
        }
        if is_there(path, object.size, sha256.as_deref())? {
            return Ok(false);
        }
        let parent = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(AwsError::file(parent))?;
        for attempt in 1.. {
            let temporary = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(parent);
            let temporary = temporary.map_err(AwsError::file(parent))?;
            self.fill(object, temporary.as_file(), path, etag.as_deref()).await?;
            let found = sha256_of(temporary.path())?;
            match &sha256 {
                Some(expected) if *expected != found => {
                    let reason =
                        format!("its SHA-256 is {found}, expected {expected}: it is damaged or was changed");
                    if attempt == ATTEMPTS {
                        return Err(AwsError::Content { what: self.target(&object.key), reason });
                    }
                    tokio::time::sleep(RetryPolicy::default().pause(attempt)).await;
                }
                _ => {
                    temporary.as_file().sync_all().map_err(AwsError::file(path))?;
                    temporary.persist(path).map_err(|e| AwsError::file(path)(e.error))?;
                    break;
                }
            }
        }
        Ok(true)
    }

    async fn fill(
        &self,
        object: &Object,
        file: &File,
        path: &Path,
        etag: Option<&str>,
    ) -> Result<(), AwsError> {
        if object.size <= RANGE_BYTES {
            let bytes = self.read(&object.key).await?;
            return file.write_all_at(&bytes, 0).map_err(AwsError::file(path));
        }
        let starts = (0..object.size).step_by(usize::try_from(RANGE_BYTES).unwrap_or(usize::MAX));
        let mut ranges = stream::iter(starts)
            .map(|start| async move {
                let end = (start + RANGE_BYTES).min(object.size) - 1;
                let range = Some(format!("bytes={start}-{end}"));
                Ok::<_, AwsError>((start, self.read_range(&object.key, range, etag).await?))
            })
            .buffer_unordered(PARALLEL);
        while let Some((start, bytes)) = ranges.try_next().await? {
            file.write_all_at(&bytes, start).map_err(AwsError::file(path))?;
        }
        Ok(())
    }
}

fn is_there(path: &Path, size: u64, sha256: Option<&str>) -> Result<bool, AwsError> {
    let same_size = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == size);
    Ok(same_size
        && match sha256 {
            Some(expected) => sha256_of(path)? == expected,
            None => false,
        })
}

/// The local path of a name below a folder; `None` when it would leave it.
fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let relative = Path::new(name);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
    (plain && !name.is_empty() && !name.contains('\\') && !name.contains('\0')).then(|| folder.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_out_of_the_folder() {
        let folder = Path::new("/m");
        for bad in ["../x", "a/../../x", "/etc/passwd", "", ".."] {
            assert_eq!(inside(folder, bad), None, "{bad}");
        }
        assert_eq!(inside(folder, "a/b.json"), Some(PathBuf::from("/m/a/b.json")));
    }
}
