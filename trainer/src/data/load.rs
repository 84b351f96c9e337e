//! `--data`: from paths on disk to receipts in up to three parts.
//!
//! Takes JSONL files, folders with `train.jsonl`, `validation.jsonl` and `test.jsonl` (snapshots among them), and
//! folders of published data sets, several of them mixed. Loading checks that no receipt occurs twice, neither inside
//! a part nor across parts. It does not split or encode.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use layoutlm_core::receipt::{BadLine, BadLines, Receipt, read_jsonl};

use super::error::DataError;
use super::import::import;
use super::snapshot::check_receipts;
use crate::files::FileError;

/// File names of each part in a folder, in the order they are tried.
const TRAIN_FILES: [&str; 1] = ["train.jsonl"];
const VALIDATION_FILES: [&str; 3] = ["validation.jsonl", "val.jsonl", "dev.jsonl"];
const TEST_FILES: [&str; 1] = ["test.jsonl"];

/// Receipts by part, with a record of where they came from.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// Receipts to train on (and to split, when there is no validation part).
    pub train: Vec<Receipt>,
    /// Held-out receipts, when the source has them.
    pub validation: Option<Vec<Receipt>>,
    /// Receipts for a final score, when the source has them.
    pub test: Option<Vec<Receipt>>,
    /// Lines left out under [`BadLines::Skip`].
    pub skipped: Vec<BadLine>,
    /// One entry per path given.
    pub sources: Vec<Source>,
}

/// One path of `--data` and what it gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path as given.
    pub path: PathBuf,
    /// Receipts for training.
    pub train: usize,
    /// Receipts for validation, if it has the part.
    pub validation: Option<usize>,
    /// Receipts for testing, if it has the part.
    pub test: Option<usize>,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} train", self.path.display(), self.train)?;
        for (name, count) in [("validation", self.validation), ("test", self.test)] {
            if let Some(count) = count {
                write!(f, ", {count} {name}")?;
            }
        }
        f.write_str(")")
    }
}

impl Dataset {
    /// Where the receipts came from, for people: `data/sroie (563 train, 63 validation)`.
    pub fn description(&self) -> String {
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        sources.join("; ")
    }

    /// The receipts a model is scored on: the test part, else validation, else all there is.
    pub fn for_evaluation(&self) -> (&'static str, &[Receipt]) {
        let non_empty = |part: &'static str, receipts: &Option<Vec<Receipt>>| {
            receipts.as_ref().filter(|r| !r.is_empty()).map(|_| part)
        };
        match non_empty("test", &self.test).or_else(|| non_empty("validation", &self.validation)) {
            Some("test") => ("test", self.test.as_deref().unwrap_or_default()),
            Some(_) => ("validation", self.validation.as_deref().unwrap_or_default()),
            None => ("all", &self.train),
        }
    }

    /// Adds another data set's receipts part by part.
    fn append(&mut self, other: Self) {
        let join =
            |ours: &mut Option<Vec<Receipt>>, theirs: Option<Vec<Receipt>>| match (ours.as_mut(), theirs) {
                (Some(ours), Some(theirs)) => ours.extend(theirs),
                (None, theirs) => *ours = theirs,
                (Some(_), None) => {}
            };
        self.train.extend(other.train);
        join(&mut self.validation, other.validation);
        join(&mut self.test, other.test);
        self.skipped.extend(other.skipped);
        self.sources.extend(other.sources);
    }
}

/// Loads one or several paths; parts of the same name are joined.
///
/// # Errors
/// [`DataError`] for paths that are not there or hold no data set, bad lines under [`BadLines::Refuse`], no receipt
/// at all, and receipts that occur twice.
pub fn load(paths: &[PathBuf], bad: BadLines) -> Result<Dataset, DataError> {
    if paths.is_empty() {
        return Err(DataError::NoSource);
    }
    let mut data = Dataset::default();
    for path in paths {
        let loaded = load_path(path, bad)?;
        refuse_duplicates(&data, &loaded)?;
        data.append(loaded);
    }
    let any = [Some(&data.train), data.validation.as_ref(), data.test.as_ref()];
    if any.into_iter().flatten().all(|part| part.is_empty()) {
        return Err(DataError::NoReceipts { from: data.description(), skipped: data.skipped.len() });
    }
    check_disjoint(&data.train, data.validation.as_deref().unwrap_or_default(), "validation")?;
    check_disjoint(&data.train, data.test.as_deref().unwrap_or_default(), "test")?;
    Ok(data)
}

fn load_path(path: &Path, bad: BadLines) -> Result<Dataset, DataError> {
    let mut data = if path.is_dir() {
        load_folder(path, bad)?
    } else if path.exists() {
        let (train, skipped) = read_file(path, bad)?;
        Dataset { train, skipped, ..Dataset::default() }
    } else {
        return Err(DataError::NotFound(path.to_path_buf()));
    };
    let count = |part: &Option<Vec<Receipt>>| part.as_ref().map(Vec::len);
    let (train, validation, test) = (data.train.len(), count(&data.validation), count(&data.test));
    data.sources = vec![Source { path: path.to_path_buf(), train, validation, test }];
    Ok(data)
}

fn load_folder(folder: &Path, bad: BadLines) -> Result<Dataset, DataError> {
    let find = |names: &[&str]| names.iter().map(|n| folder.join(n)).find(|p| p.is_file());
    let Some(train_file) = find(&TRAIN_FILES) else {
        return match import(folder, bad)? {
            Some((_, data)) => Ok(data),
            None => Err(no_train_file(folder)),
        };
    };
    check_receipts(folder)?;
    let (train, mut skipped) = read_file(&train_file, bad)?;
    let mut part = |names: &[&str]| -> Result<Option<Vec<Receipt>>, DataError> {
        let Some(file) = find(names) else { return Ok(None) };
        let (receipts, bad_lines) = read_file(&file, bad)?;
        skipped.extend(bad_lines);
        Ok(Some(receipts))
    };
    let (validation, test) = (part(&VALIDATION_FILES)?, part(&TEST_FILES)?);
    Ok(Dataset { train, validation, test, skipped, sources: Vec::new() })
}

/// Reads one JSONL file.
fn read_file(path: &Path, bad: BadLines) -> Result<(Vec<Receipt>, Vec<BadLine>), DataError> {
    let file = File::open(path).map_err(FileError::at(path))?;
    let read = read_jsonl(BufReader::with_capacity(1 << 20, file), &path.display().to_string(), bad)?;
    Ok((read.receipts, read.skipped))
}

fn no_train_file(folder: &Path) -> DataError {
    let others: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".jsonl"))
        .collect();
    let reason = if others.is_empty() {
        "expected train.jsonl, and optionally validation.jsonl and test.jsonl; or the folders of SROIE (box and key), \
         CORD (json) or FUNSD (annotations)"
            .to_string()
    } else {
        format!("there is no train.jsonl, but {}; name the files themselves or rename one", others.join(", "))
    };
    DataError::UnknownLayout { path: folder.to_path_buf(), reason }
}

/// Refuses a receipt that `new` brings into a part that `old` already has it in.
fn refuse_duplicates(old: &Dataset, new: &Dataset) -> Result<(), DataError> {
    let parts = |d: &Dataset| -> Vec<String> {
        let of = |part: &Option<Vec<Receipt>>| part.iter().flatten().map(Receipt::key).collect::<Vec<_>>();
        d.train.iter().map(Receipt::key).chain(of(&d.validation)).chain(of(&d.test)).collect()
    };
    let known: BTreeMap<String, ()> = parts(old).into_iter().map(|key| (key, ())).collect();
    match parts(new).into_iter().find(|key| known.contains_key(key)) {
        Some(key) => Err(DataError::Duplicate { key, first: old.description(), second: new.description() }),
        None => Ok(()),
    }
}

/// Refuses a held-out part that shares a receipt with training.
///
/// # Errors
/// [`DataError::SharedReceipts`].
pub fn check_disjoint(train: &[Receipt], held_out: &[Receipt], part: &'static str) -> Result<(), DataError> {
    let known: std::collections::BTreeSet<String> = train.iter().map(Receipt::key).collect();
    let shared: std::collections::BTreeSet<String> =
        held_out.iter().map(Receipt::key).filter(|key| known.contains(key)).collect();
    match shared.first() {
        Some(example) => {
            Err(DataError::SharedReceipts { part, count: shared.len(), example: example.clone() })
        }
        None => Ok(()),
    }
}
