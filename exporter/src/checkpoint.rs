//! The checkpoint to export: weights, encoding and where they came from.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_trainer::files::FileError;
use layoutlm_trainer::model_folder;
use layoutlm_trainer::weights::{Checkpoint, LoadOptions, PICKLE_FILE, WEIGHTS_FILE, Weights};
use serde_json::Value;

use crate::error::ExportError;
use crate::write::sha256_file;

const RUN_FILE: &str = "run.json";

/// Everything an export reads.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The folder that holds the weights.
    pub(crate) folder: PathBuf,
    pub(crate) config: ModelConfig,
    pub(crate) weights: Weights,
    /// SHA-256 of the weight file, hex.
    pub(crate) weights_sha256: String,
    pub(crate) encoder: Encoder,
}

impl Loaded {
    /// Loads a checkpoint folder, or the best checkpoint of a run's folder.
    ///
    /// # Errors
    /// [`ExportError`] names the file and what is wrong with it.
    pub(crate) fn open(path: &Path) -> Result<Self, ExportError> {
        let folder = model_folder::resolve(path)?;
        let encoder = model_folder::read_encoder(&folder)?;
        let (Checkpoint { config, weights, .. }, weights_sha256) = read(&folder)?;
        let loaded = Self { folder, config, weights, weights_sha256, encoder };
        loaded.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<(), ExportError> {
        let wrong = |reason: String| Err(ExportError::Checkpoint { path: self.folder.clone(), reason });
        let encoding = self.encoder.encoding();
        let labels = self.config.labels().ok().flatten();
        if labels.as_deref() != Some(encoding.labels.tags()) {
            return wrong("id2label of config.json differs from the labels of encoding.json".into());
        }
        let (ids, rows) = (self.encoder.tokenizer().vocab_size(), self.config.vocab_size);
        if ids > rows {
            return wrong(format!("the tokenizer has {ids} ids, but the word table only {rows} rows"));
        }
        let (length, positions) = (encoding.window.max_length, self.config.max_position_embeddings);
        if length > positions {
            return wrong(format!("windows of {length} tokens do not fit {positions} positions"));
        }
        Ok(())
    }

    /// Name and scores of the run this checkpoint came from, where a `run.json` says so.
    pub(crate) fn run(&self) -> RunSummary {
        let folders = [Some(self.folder.as_path()), self.folder.parent()];
        let text = folders.into_iter().flatten().find_map(|f| std::fs::read_to_string(f.join(RUN_FILE)).ok());
        let record: Value = text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
        let folder_name = self.folder.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        RunSummary::of(&record, folder_name)
    }

    /// Receipts the run was validated on, where it kept them: `validation.jsonl` beside `run.json`.
    pub(crate) fn validation_file(&self) -> Option<PathBuf> {
        let folders = [Some(self.folder.as_path()), self.folder.parent()];
        let beside_record = folders.into_iter().flatten().find(|f| f.join(RUN_FILE).is_file())?;
        Some(beside_record.join("validation.jsonl")).filter(|f| f.is_file())
    }
}

/// The weights of an export under way once more; a run that goes on may have replaced them.
///
/// # Errors
/// [`ExportError::Checkpoint`] when they are no longer those of `sha256`.
pub(crate) fn read_again(folder: &Path, sha256: &str) -> Result<Weights, ExportError> {
    let (checkpoint, found) = read(folder)?;
    if found == sha256 {
        return Ok(checkpoint.weights);
    }
    let reason = "changed while it was being exported; export it again, or one of its checkpoints";
    Err(ExportError::Checkpoint { path: folder.to_path_buf(), reason: reason.into() })
}

/// A folder's checkpoint and the hash of its weight file. Reading and hashing take about as long; side by side one of
/// them costs nothing.
fn read(folder: &Path) -> Result<(Checkpoint, String), ExportError> {
    let (checkpoint, hash) = thread::scope(|scope| {
        let hash = scope.spawn(|| weights_sha256(folder));
        // Here, as memory that another thread allocated is not given back at once.
        let checkpoint = Checkpoint::load(folder, LoadOptions::default());
        (checkpoint, hash.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    Ok((checkpoint?, hash?))
}

/// SHA-256 of a checkpoint folder's weight file, hex.
///
/// # Errors
/// [`FileError`].
pub(crate) fn weights_sha256(folder: &Path) -> Result<String, FileError> {
    let names = [WEIGHTS_FILE, PICKLE_FILE];
    let path =
        names.map(|n| folder.join(n)).into_iter().find(|p| p.is_file()).unwrap_or(folder.join(WEIGHTS_FILE));
    sha256_file(&path).map_err(FileError::at(&path))
}

/// What a run's record says of one of its checkpoints.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RunSummary {
    pub(crate) job_name: Option<String>,
    /// Figures of the evaluation at the checkpoint's step.
    pub(crate) metrics: BTreeMap<String, f64>,
}

impl RunSummary {
    /// Reads a record of this project or of the trainer before it; what it lacks stays empty.
    fn of(record: &Value, folder_name: &str) -> Self {
        let job_name = record.get("job_name").and_then(Value::as_str).map(String::from);
        let step = match folder_name.strip_prefix("checkpoint-") {
            Some(step) => step.parse::<u64>().ok(),
            None => record.pointer("/best/step").and_then(Value::as_u64),
        };
        let epochs = record.get("epoch_metrics").and_then(Value::as_array);
        let at_step = |e: &&Value| step.is_some() && e.get("global_step").and_then(Value::as_u64) == step;
        let figures = epochs.and_then(|all| all.iter().find(at_step)).and_then(Value::as_object);
        let metrics = figures.map(|f| f.iter().filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect());
        Self { job_name, metrics: metrics.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_figures_are_those_of_the_checkpoints_own_step() {
        let record = json!({"job_name": "a", "best": {"step": 20}, "epoch_metrics": [
            {"global_step": 10, "eval_f1": 0.5}, {"global_step": 20, "eval_f1": 0.75, "note": "x"}]});
        let best = RunSummary::of(&record, "best");
        assert_eq!((best.job_name.as_deref(), best.metrics.get("eval_f1")), (Some("a"), Some(&0.75)));
        assert!(!best.metrics.contains_key("note"));
        assert_eq!(RunSummary::of(&record, "checkpoint-10").metrics.get("eval_f1"), Some(&0.5));
        assert_eq!(RunSummary::of(&Value::Null, "best"), RunSummary::default());
    }
}
