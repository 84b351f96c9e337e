//! Public data sets in the folders their publishers ship: SROIE, CORD and FUNSD.
//!
//! Importing gives the same receipts as a JSONL file would; nothing is downloaded and images are only asked for
//! their size. Labels that a set does not have stay away: SROIE has four fields, CORD no merchant.

mod cord;
mod funsd;
mod geometry;
mod layout;
mod sroie;
mod sroie_fields;
mod sroie_total;

use std::path::{Path, PathBuf};

use layoutlm_core::receipt::{BadLine, BadLines, Receipt, ReceiptError};

use self::layout::PartFolders;
pub use self::layout::Published;
use super::error::DataError;
use super::load::Dataset;
use crate::files::FileError;

/// Imports a folder in a published layout; `None` when it is in none.
///
/// # Errors
/// [`DataError::Malformed`] for a file that does not read as its layout (under [`BadLines::Skip`] it is counted
/// instead), [`DataError::File`] for one that can't be read.
pub fn import(folder: &Path, bad: BadLines) -> Result<Option<(Published, Dataset)>, DataError> {
    let Some((published, parts)) = layout::detect(folder) else { return Ok(None) };
    let mut skipped = Vec::new();
    let mut read = |part: &PartFolders| read_part(published, part, bad, &mut skipped);
    let train = parts.train.as_ref().map(&mut read).transpose()?.unwrap_or_default();
    let validation = parts.validation.as_ref().map(&mut read).transpose()?;
    let test = parts.test.as_ref().map(&mut read).transpose()?;
    Ok(Some((published, Dataset { train, validation, test, skipped, sources: Vec::new() })))
}

/// Why one file could not be used: where in it, and what is expected.
struct Fault {
    path: PathBuf,
    line: Option<usize>,
    reason: String,
}

fn read_part(
    published: Published,
    part: &PartFolders,
    bad: BadLines,
    skipped: &mut Vec<BadLine>,
) -> Result<Vec<Receipt>, DataError> {
    let mut receipts = Vec::new();
    for file in annotation_files(&part.annotations, published)? {
        let read = match published {
            Published::Sroie => sroie::read(&file, part),
            Published::Cord => cord::read(&file, part),
            Published::Funsd => funsd::read(&file, part),
        };
        let checked = read.and_then(|receipt| {
            let fault = |e: ReceiptError| Fault { path: file.clone(), line: None, reason: e.to_string() };
            receipt.check().map_err(fault).map(|()| receipt)
        });
        match checked {
            Ok(receipt) => receipts.push(receipt),
            Err(fault) if bad == BadLines::Skip => skipped.push(BadLine {
                file: fault.path.display().to_string(),
                line: fault.line.unwrap_or(1),
                error: ReceiptError::Json(fault.reason),
            }),
            Err(Fault { path, line, reason }) => return Err(DataError::Malformed { path, line, reason }),
        }
    }
    Ok(receipts)
}

/// The annotation files of a folder by name, so that the order is the same everywhere.
fn annotation_files(folder: &Path, published: Published) -> Result<Vec<PathBuf>, DataError> {
    let wanted: &[&str] = if published == Published::Sroie { &["txt", "csv"] } else { &["json"] };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(FileError::at(folder))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| wanted.iter().any(|w| e.eq_ignore_ascii_case(w))))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// A file's text; bytes that are not UTF-8 become replacement characters, as some of the sets hold Latin-1.
fn read_text(path: &Path) -> Result<String, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_string()),
        Err(e) => Err(Fault { path: path.to_path_buf(), line: None, reason: e.to_string() }),
    }
}

/// A file's JSON as `T`.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path, expected: &str) -> Result<T, Fault> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|e| {
        let reason = format!("{e}; expected {expected}");
        Fault { path: path.to_path_buf(), line: Some(e.line()).filter(|l| *l > 0), reason }
    })
}

/// The name of a file without its extension.
fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}
