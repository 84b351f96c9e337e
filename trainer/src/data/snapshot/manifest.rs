//! What a snapshot says of itself.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::encoding::sha256_hex;
use serde::{Deserialize, Serialize};

use super::{PARTS, Snapshot, fault};
use crate::data::error::DataError;
use crate::data::split::SplitInfo;
use crate::files::FileError;

/// File that makes a folder a snapshot.
pub const MANIFEST_FILE: &str = "snapshot.json";

const FORMAT: u32 = 1;

/// The content of [`MANIFEST_FILE`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotManifest {
    /// Version of this layout.
    pub format: u32,
    /// SHA-256 over the fingerprint and the hashes of all files: the snapshot's name.
    pub content: String,
    /// Fingerprint of the rules the examples were encoded by.
    pub encoding_fingerprint: String,
    /// Where the receipts came from.
    pub source: String,
    /// Receipts by part.
    pub receipts: BTreeMap<String, usize>,
    /// Examples by part.
    pub examples: BTreeMap<String, usize>,
    /// How the receipts were split.
    pub split: Option<SplitInfo>,
    /// SHA-256 of every file.
    pub files: BTreeMap<String, String>,
}

impl SnapshotManifest {
    pub(super) fn new(snapshot: &Snapshot, files: BTreeMap<String, String>) -> Self {
        let content = content_hash(&snapshot.fingerprint, &files);
        let count = |of: fn(&super::SnapshotPart) -> usize| {
            snapshot.parts.iter().map(|(name, part)| (name.clone(), of(part))).collect()
        };
        Self {
            format: FORMAT,
            content,
            encoding_fingerprint: snapshot.fingerprint.clone(),
            source: snapshot.source.clone(),
            receipts: count(|p| p.receipts.len()),
            examples: count(|p| p.examples.len()),
            split: snapshot.split.clone(),
            files,
        }
    }

    /// Reads a snapshot folder's manifest.
    ///
    /// # Errors
    /// [`DataError::Snapshot`] when there is none, or it is of another version.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(MANIFEST_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| fault(folder, format!("no snapshot: {MANIFEST_FILE}: {e}")))?;
        let manifest: Self = serde_json::from_str(&text).map_err(|e| fault(&path, e.to_string()))?;
        if manifest.format != FORMAT {
            let reason = format!("format {} is not the one this version reads ({FORMAT})", manifest.format);
            return Err(fault(&path, reason));
        }
        if manifest.content != content_hash(&manifest.encoding_fingerprint, &manifest.files) {
            return Err(fault(
                &path,
                "it was changed after the data was frozen; freeze the data anew".into(),
            ));
        }
        Ok(manifest)
    }

    /// Names of the parts it holds.
    pub fn parts(&self) -> Vec<&'static str> {
        PARTS.into_iter().filter(|name| self.receipts.contains_key(*name)).collect()
    }

    /// A file's bytes, if they are those that were frozen.
    pub(super) fn verified(&self, folder: &Path, name: &str) -> Result<Vec<u8>, DataError> {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(FileError::at(&path))?;
        let expected = self.files.get(name).map(String::as_str).unwrap_or_default();
        if sha256_hex(&bytes) != expected {
            return Err(fault(
                &path,
                "the file was changed after it was frozen; freeze the data anew".into(),
            ));
        }
        Ok(bytes)
    }
}

fn content_hash(fingerprint: &str, files: &BTreeMap<String, String>) -> String {
    let listing: String = files.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
    sha256_hex(format!("{FORMAT}\n{fingerprint}\n{listing}").as_bytes())
}
