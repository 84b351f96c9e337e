//! A run as its folder tells it, also one of the Python trainer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layoutlm_core::evaluate::Evaluation;
use layoutlm_core::label::Tag;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::lenient::{first, object, read_object, text};
use crate::files::FileError;
use crate::run::{EpochEntry, EpochsRecord, SplitCounts};
use crate::stats::{DATA_FILE, DataStats};
use crate::train::EVALUATION_FILE;

/// One evaluation of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EpochView {
    /// Epochs done.
    pub epoch: f64,
    /// Optimiser steps done.
    pub step: u64,
    /// Every figure under its plain name: `f1`, `loss`, `label_DATE_f1`, …
    pub figures: BTreeMap<String, f64>,
    /// Mean training loss since the evaluation before.
    pub train_loss: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: Option<f64>,
    /// Seconds trained since the evaluation before.
    pub train_seconds: Option<f64>,
}

impl EpochView {
    /// A figure.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// Labels with figures, sorted.
    pub fn labels(&self) -> Vec<&str> {
        self.figures.keys().filter_map(|n| n.strip_prefix("label_")?.strip_suffix("_f1")).collect()
    }

    /// A figure of a label, e.g. `f1` or `support`.
    pub fn of_label(&self, label: &str, figure: &str) -> Option<f64> {
        self.get(&format!("label_{label}_{figure}"))
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct RunView {
    /// Its folder.
    pub dir: PathBuf,
    /// Its name.
    pub job_name: String,
    /// `succeeded`, `interrupted`, …; empty where nobody wrote it.
    pub status: String,
    /// Evaluations in order.
    pub epochs: Vec<EpochView>,
    /// The checkpoint in `best/`, where recorded.
    pub best_checkpoint: Option<String>,
    /// What decided it.
    pub best_metric: String,
    /// Entity types of the model, sorted.
    pub labels: Vec<String>,
    /// Effective merges.
    pub merges: BTreeMap<String, Vec<String>>,
    /// Hash of the validation keys; empty where nobody wrote it.
    pub validation_hash: String,
    /// Validation receipts.
    pub validation_receipts: usize,
    /// Training receipts.
    pub train_receipts: usize,
    /// Why its scores may or may not be compared.
    pub comparability: String,
    /// Options of the training.
    pub training: Map<String, Value>,
    /// Options of the data.
    pub data: Map<String, Value>,
    /// Windows and words of each part.
    pub counts: BTreeMap<String, SplitCounts>,
    /// Processor and threads.
    pub machine: String,
    /// Seconds of all sittings.
    pub seconds: Option<f64>,
    /// Program that wrote it.
    pub written_by: String,
    /// Fingerprint of the encoding.
    pub fingerprint: String,
    /// What the data hold.
    pub stats: Option<DataStats>,
    /// The best checkpoint's evaluation.
    pub evaluation: Option<Evaluation>,
    /// Held-out entries of `epochs.json`.
    pub held_out: Vec<EpochEntry>,
    /// When last written, RFC 3339; sorts by time.
    pub written_at: String,
}

impl RunView {
    /// Reads a run's folder: `run.json`, and what else is there.
    ///
    /// # Errors
    /// [`FileError`] for a missing or malformed `run.json`.
    pub fn read(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join("run.json");
        let run = read_object(&path)?;
        let (split, config) = (object(&run, "split_metadata"), object(&run, "config"));
        let count = |name: &str| split.get(name).and_then(Value::as_u64).unwrap_or(0) as usize;
        let epochs = first(&run, &["epoch_metrics", "epochs", "metrics", "history"]);
        let best = object(&run, "best");
        let epochs_record: Option<EpochsRecord> = optional(&dir.join("epochs.json"));
        Ok(Self {
            job_name: name_of(&run, dir),
            status: text(&run, "status"),
            epochs: epochs.and_then(Value::as_array).into_iter().flatten().filter_map(epoch).collect(),
            best_checkpoint: Some(text(&best, "checkpoint")).filter(|c| !c.is_empty()),
            best_metric: best_metric(&best, &run),
            labels: entity_types(&run),
            merges: run.get("label_merges").and_then(parse).unwrap_or_default(),
            validation_hash: text(&split, "val_receipts_hash"),
            validation_receipts: count("num_val_receipts"),
            train_receipts: count("num_train_receipts"),
            comparability: text(&object(&run, "comparability"), "reason"),
            training: object(&run, "training_config"),
            data: with_rules(object(&run, "data_config"), &config),
            counts: run.get("dataset_counts").and_then(parse).unwrap_or_default(),
            machine: text(&run, "machine"),
            seconds: run.get("seconds").and_then(Value::as_f64),
            written_by: text(&run, "written_by"),
            fingerprint: text(&run, "encoding_fingerprint"),
            stats: optional(&dir.join(DATA_FILE)),
            evaluation: optional(&dir.join(EVALUATION_FILE)),
            held_out: epochs_record.as_ref().map(EpochsRecord::entries).unwrap_or_default(),
            written_at: epochs_record.map_or_else(|| modified(&path), |e| e.generated_at),
            dir: dir.to_path_buf(),
        })
    }

    /// The evaluation of the best checkpoint: the recorded one, else the highest F1, the first on a tie.
    pub fn best(&self) -> Option<&EpochView> {
        let recorded = |e: &&EpochView| Some(format!("checkpoint-{}", e.step)) == self.best_checkpoint;
        self.epochs.iter().find(recorded).or_else(|| {
            let f1 = |e: &EpochView| e.get("f1").unwrap_or(0.0);
            self.epochs.iter().fold(None, |best: Option<&EpochView>, e| match best {
                Some(b) if f1(b) >= f1(e) => Some(b),
                _ => Some(e),
            })
        })
    }

    /// F1 of the best checkpoint.
    pub fn f1(&self) -> Option<f64> {
        self.best().and_then(|e| e.get("f1"))
    }
}

/// Runs of a folder, oldest first; folders without a readable `run.json` are left out.
pub fn list_runs(runs_dir: &Path) -> Vec<RunView> {
    let entries = std::fs::read_dir(runs_dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut runs: Vec<RunView> = entries
        .filter(|p| p.join("run.json").is_file())
        .filter_map(|p| RunView::read(&p).inspect_err(|e| tracing::warn!("{e}; the run is left out")).ok())
        .collect();
    runs.sort_by(|a, b| (&a.written_at, &a.job_name).cmp(&(&b.written_at, &b.job_name)));
    runs
}

fn parse<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

/// A file that may be missing; one of another shape counts as missing.
fn optional<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let object = read_object(path).ok()?;
    serde_json::from_value(Value::Object(object)).ok()
}

fn modified(path: &Path) -> String {
    let time = std::fs::metadata(path).and_then(|m| m.modified()).ok();
    time.map(|t| chrono::DateTime::<chrono::Utc>::from(t).to_rfc3339()).unwrap_or_default()
}

fn name_of(run: &Map<String, Value>, dir: &Path) -> String {
    let folder = || dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Some(text(run, "job_name")).filter(|n| !n.is_empty()).unwrap_or_else(folder)
}

fn best_metric(best: &Map<String, Value>, run: &Map<String, Value>) -> String {
    let asked = text(&object(run, "training_config"), "checkpoint_metric");
    [text(best, "metric"), asked].into_iter().find(|m| !m.is_empty()).unwrap_or_else(|| "f1".into())
}

fn entity_types(run: &Map<String, Value>) -> Vec<String> {
    let tags: Vec<String> = run.get("label_list").and_then(parse).unwrap_or_default();
    let mut types: Vec<String> =
        tags.iter().filter_map(|t| Some(Tag::parse(t)?.entity()?.to_string())).collect();
    types.sort();
    types.dedup();
    types
}

/// Options that only the complete configuration holds.
fn with_rules(mut data: Map<String, Value>, config: &Map<String, Value>) -> Map<String, Value> {
    for name in [
        "window",
        "box_rule",
        "reading_order",
        "decoding",
        "o_entity_ratio",
        "seed",
        "dropout",
        "class_weights",
    ] {
        if let Some(value) = config.get(name) {
            data.entry(name).or_insert_with(|| value.clone());
        }
    }
    data
}

fn epoch(value: &Value) -> Option<EpochView> {
    let entry = value.as_object()?;
    let number = |names: &[&str]| first(entry, names).and_then(Value::as_f64);
    let mut figures: BTreeMap<String, f64> = entry
        .iter()
        .filter_map(|(name, v)| Some((name.strip_prefix("eval_")?.to_string(), v.as_f64()?)))
        .collect();
    if let Some(f1) = number(&["eval_f1", "val_f1", "f1", "eval_val_f1"]) {
        figures.insert("f1".into(), f1);
    }
    Some(EpochView {
        epoch: number(&["epoch"]).unwrap_or(0.0),
        step: number(&["global_step", "step"]).unwrap_or(0.0) as u64,
        figures,
        train_loss: number(&["train_loss"]),
        learning_rate: number(&["learning_rate"]),
        train_seconds: number(&["train_seconds"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(json: &str) -> (tempfile::TempDir, RunView) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("run.json"), json).unwrap();
        let view = RunView::read(dir.path()).unwrap();
        (dir, view)
    }

    #[test]
    fn records_of_older_names_are_read_and_the_best_is_the_first_of_the_highest() {
        let (_dir, view) = run(r#"{"job_name": "old", "label_list": ["O", "B-DATE", "I-DATE", "B-AMOUNT"],
                "history": [{"epoch": 1.0, "step": 5, "val_f1": 0.5}, {"epoch": 2.0, "step": 10, "f1": 0.7},
                            {"epoch": 3.0, "step": 15, "eval_f1": 0.7, "eval_label_DATE_f1": 0.9, "eval_loss": NaN}]}"#);
        assert_eq!((view.f1(), view.best().map(|e| e.step)), (Some(0.7), Some(10)));
        assert_eq!(view.labels, ["AMOUNT", "DATE"]);
        assert_eq!(view.epochs[2].labels(), ["DATE"]);
        assert_eq!(view.epochs[2].of_label("DATE", "f1"), Some(0.9));
        assert_eq!(view.epochs[2].get("loss"), None);
    }

    #[test]
    fn the_recorded_best_wins_over_the_highest_f1() {
        let (_dir, view) = run(r#"{"best": {"checkpoint": "checkpoint-5", "metric": "loss"},
                "epoch_metrics": [{"epoch": 1.0, "global_step": 5, "eval_f1": 0.5},
                                  {"epoch": 2.0, "global_step": 10, "eval_f1": 0.7}]}"#);
        assert_eq!((view.f1(), view.best_metric.as_str()), (Some(0.5), "loss"));
    }
}
