//! A data set frozen: receipts and the windows they were encoded to, in a folder named by its content.
//!
//! The folder also is a plain data folder (`train.jsonl`, `validation.jsonl`, `test.jsonl`), so it can be given as
//! `--data`. What was encoded by one set of rules is never handed out for another: loading compares fingerprints.

mod manifest;
mod tensors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layoutlm_core::encoding::sha256_hex;
use layoutlm_core::receipt::Receipt;

pub use self::manifest::{MANIFEST_FILE, SnapshotManifest};
use super::encode::EncodedExample;
use super::error::DataError;
use super::split::SplitInfo;
use crate::files::{FileError, publish_folder, write_atomic};

/// One part of a frozen data set.
#[derive(Debug, Clone, Default)]
pub struct SnapshotPart {
    /// The receipts.
    pub receipts: Vec<Receipt>,
    /// What they were encoded to, in order.
    pub examples: Vec<EncodedExample>,
}

/// A data set to freeze, or one that was.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Parts by name: `train`, `validation`, `test`.
    pub parts: BTreeMap<String, SnapshotPart>,
    /// Fingerprint of the rules the examples were encoded by.
    pub fingerprint: String,
    /// Where the receipts came from, for people.
    pub source: String,
    /// How they were split, if they were.
    pub split: Option<SplitInfo>,
}

const PARTS: [&str; 3] = ["train", "validation", "test"];

/// Freezes a data set as `<root>/<first 16 hex digits of its content hash>`; the same data gives the same folder.
///
/// # Errors
/// [`DataError::File`], [`DataError::Snapshot`] for a part of another name or examples of a receipt that is not in
/// their part. Nothing half-written keeps the final name.
pub fn save_snapshot(root: &Path, snapshot: &Snapshot) -> Result<PathBuf, DataError> {
    std::fs::create_dir_all(root).map_err(FileError::at(root))?;
    if let Some(name) = snapshot.parts.keys().find(|name| !PARTS.contains(&name.as_str())) {
        return Err(fault(
            root,
            format!("a part can't be named {name:?}; expected train, validation or test"),
        ));
    }
    let staging =
        tempfile::Builder::new().prefix(".snapshot-").tempdir_in(root).map_err(FileError::at(root))?;
    let mut files = BTreeMap::new();
    for (name, part) in &snapshot.parts {
        let receipts = receipt_lines(part).map_err(|reason| fault(root, reason))?;
        let tensors = tensors::pack(part).map_err(|reason| fault(root, reason))?;
        for (file, bytes) in [(format!("{name}.jsonl"), receipts), (format!("{name}.safetensors"), tensors)] {
            write_atomic(&staging.path().join(&file), |w| w.write_all(&bytes))?;
            files.insert(file, sha256_hex(&bytes));
        }
    }
    let manifest = SnapshotManifest::new(snapshot, files);
    let folder = root.join(manifest.content.get(..16).unwrap_or(&manifest.content));
    let text = serde_json::to_string_pretty(&manifest).map_err(|e| fault(root, e.to_string()))?;
    write_atomic(&staging.path().join(MANIFEST_FILE), |w| w.write_all(text.as_bytes()))?;
    if folder.join(MANIFEST_FILE).is_file() {
        return Ok(folder);
    }
    match publish_folder(staging, &folder) {
        // Another process may have frozen the same data meanwhile.
        Err(e) if !folder.join(MANIFEST_FILE).is_file() => return Err(e.into()),
        _ => {}
    }
    Ok(folder)
}

/// Loads a frozen data set that was encoded by the rules of `fingerprint`.
///
/// # Errors
/// [`DataError::Snapshot`] when it was encoded by other rules, or a file is not what was frozen.
pub fn load_snapshot(folder: &Path, fingerprint: &str) -> Result<Snapshot, DataError> {
    let manifest = SnapshotManifest::read(folder)?;
    if manifest.encoding_fingerprint != fingerprint {
        let reason = format!(
            "this snapshot was encoded with fingerprint {}, but this run encodes with {fingerprint}; use the options \
             it was made with or freeze the data anew",
            manifest.encoding_fingerprint
        );
        return Err(fault(folder, reason));
    }
    let mut parts = BTreeMap::new();
    for name in manifest.parts() {
        let lines = manifest.verified(folder, &format!("{name}.jsonl"))?;
        let packed = manifest.verified(folder, &format!("{name}.safetensors"))?;
        let text = String::from_utf8_lossy(&lines);
        let receipts: Result<Vec<Receipt>, _> = text.lines().map(Receipt::from_json).collect();
        let receipts = receipts.map_err(|e| fault(folder, format!("{name}.jsonl: {e}")))?;
        let examples = tensors::unpack(&packed, &receipts)
            .map_err(|reason| fault(folder, format!("{name}: {reason}")))?;
        parts.insert(name.to_string(), SnapshotPart { receipts, examples });
    }
    Ok(Snapshot {
        parts,
        fingerprint: manifest.encoding_fingerprint,
        source: manifest.source,
        split: manifest.split,
    })
}

/// Checks that a snapshot's receipts are those that were frozen; folders that are no snapshot pass.
///
/// # Errors
/// [`DataError::Snapshot`] for a file that was changed.
pub(super) fn check_receipts(folder: &Path) -> Result<(), DataError> {
    if !folder.join(MANIFEST_FILE).is_file() {
        return Ok(());
    }
    let manifest = SnapshotManifest::read(folder)?;
    manifest.parts().iter().try_for_each(|name| manifest.verified(folder, &format!("{name}.jsonl")).map(drop))
}

fn receipt_lines(part: &SnapshotPart) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for receipt in &part.receipts {
        serde_json::to_writer(&mut out, receipt).map_err(|e| e.to_string())?;
        out.push(b'\n');
    }
    Ok(out)
}

fn fault(path: &Path, reason: String) -> DataError {
    DataError::Snapshot { path: path.to_path_buf(), reason }
}
