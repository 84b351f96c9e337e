//! What of a run is in S3 already, kept beside the run (`.s3-sync.json`), so that nothing is uploaded twice.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::uri::S3Uri;
use crate::error::AwsError;
use crate::files::write_whole;

const FILE: &str = ".s3-sync.json";

/// One version of a local file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    pub(super) size: u64,
    pub(super) modified_ns: u128,
    pub(super) sha256: String,
}

impl FileStamp {
    /// Reads a file once for its hash.
    pub(super) fn of(path: &Path) -> Result<Self, AwsError> {
        let (size, modified_ns) = size_and_time(path)?;
        Ok(Self { size, modified_ns, sha256: sha256_of(path)? })
    }

    /// True while size and time are still the same: files of a run are replaced, never written in place.
    pub(super) fn is_current(&self, path: &Path) -> Result<bool, AwsError> {
        Ok(size_and_time(path)? == (self.size, self.modified_ns))
    }
}

fn size_and_time(path: &Path) -> Result<(u64, u128), AwsError> {
    let meta = fs::metadata(path).map_err(AwsError::file(path))?;
    let modified = meta.modified().map_err(AwsError::file(path))?;
    Ok((meta.len(), modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos())))
}

/// SHA-256 of a file, in hex.
pub(super) fn sha256_of(path: &Path) -> Result<String, AwsError> {
    let mut file = fs::File::open(path).map_err(AwsError::file(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(AwsError::file(path))?;
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// A part that S3 has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) etag: String,
    pub(super) crc32: Option<String>,
}

/// An upload in parts that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Multipart {
    pub(super) upload_id: String,
    pub(super) part_bytes: u64,
    pub(super) stamp: FileStamp,
    pub(super) parts: Vec<Part>,
}

/// What is in S3, by key.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct SyncState {
    /// The prefix it is about.
    pub(super) uri: Option<S3Uri>,
    #[serde(default)]
    pub(super) region: String,
    pub(super) done: BTreeMap<String, FileStamp>,
    pub(super) unfinished: BTreeMap<String, Multipart>,
    #[serde(skip)]
    folder: PathBuf,
}

impl SyncState {
    /// Reads the state of a run; an unreadable one or one about another prefix counts as none.
    pub(super) fn open(run_dir: &Path, uri: &S3Uri, region: &str) -> Self {
        let text = fs::read_to_string(run_dir.join(FILE)).ok();
        let mut state: Self = text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
        if state.uri.as_ref() != Some(uri) {
            state = Self { uri: Some(uri.clone()), ..Self::default() };
        }
        (state.folder, state.region) = (run_dir.into(), region.into());
        state
    }

    /// Where a run was last sent to, and the region.
    pub(super) fn destination(run_dir: &Path) -> Option<(S3Uri, String)> {
        let text = fs::read_to_string(run_dir.join(FILE)).ok()?;
        let state: Self = serde_json::from_str(&text).ok()?;
        Some((state.uri?, state.region))
    }

    pub(super) fn save(&self) -> Result<(), AwsError> {
        write_whole(&self.folder.join(FILE), |file| Ok(serde_json::to_writer(file, self)?))
    }
}
