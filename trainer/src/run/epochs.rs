//! `epochs.json`: the held-out evaluation of each checkpoint.

use std::path::Path;

use layoutlm_core::heldout::HeldOut;
use layoutlm_core::label::Merges;
use layoutlm_core::metrics::Confusion;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::files::{FileError, write_json};

/// What the evaluation ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compute {
    /// `cpu`, `cuda` or `unknown`.
    pub device: String,
    /// Name of the GPU.
    pub gpu_name: Option<String>,
    /// Cloud instance, as the environment states it.
    pub instance_type: Option<String>,
}

impl Default for Compute {
    fn default() -> Self {
        let stated = ["EVAL_INSTANCE_TYPE", "SM_CURRENT_INSTANCE_TYPE"];
        let instance_type = stated.iter().find_map(|name| std::env::var(name).ok());
        Self { device: "cpu".into(), gpu_name: None, instance_type }
    }
}

/// `epochs.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EpochsRecord {
    /// The run's name.
    pub job_name: String,
    /// Where the run lies in S3; empty for a local one.
    pub run_s3_uri: String,
    /// `persisted_val_receipt_keys` or `reconstructed_from_seed`.
    pub val_set_source: String,
    /// Hash of the validation keys.
    pub val_receipts_hash: String,
    /// The hash in `run.json`.
    #[serde(default)]
    pub val_receipts_hash_recorded: Option<String>,
    /// Whether both are equal.
    #[serde(default)]
    pub val_receipts_hash_verified: bool,
    /// Receipts scored.
    pub num_val_receipts: usize,
    /// Seed of the split; 0 for a given one.
    #[serde(default)]
    pub random_seed: Option<u64>,
    /// Tags in class-id order.
    pub label_list: Vec<String>,
    /// Effective merges.
    pub label_merges: Merges,
    /// `seqeval_entity_f1`.
    pub metric: String,
    /// `windowed`.
    pub inference_mode: String,
    /// Words per window.
    pub window_size: usize,
    /// Words between window starts.
    pub window_stride: usize,
    /// What the evaluation ran on.
    #[serde(default)]
    pub compute: Compute,
    /// One per checkpoint: an [`EpochEntry`], or what another writer put there.
    pub epochs: Vec<Value>,
    /// Epoch of the highest held-out F1, first on a tie.
    pub best_epoch_heldout: Option<u64>,
    /// Its checkpoint.
    pub best_checkpoint_heldout: Option<String>,
    /// Epoch of the highest F1 in `run.json`; `None` while training.
    #[serde(default)]
    pub best_epoch_training_reported: Option<u64>,
    /// Receipts whose predictions are kept, `<image_id>_<receipt_id>`.
    #[serde(default)]
    pub showcase_receipt_keys: Vec<String>,
    /// When written, UTC.
    pub generated_at: String,
}

/// One checkpoint's held-out evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochEntry {
    /// `checkpoint-<step>` or `best`.
    pub checkpoint: String,
    /// Optimiser steps done.
    pub step: Option<u64>,
    /// Epochs done.
    pub epoch: Option<u64>,
    /// Scores and counts.
    #[serde(flatten)]
    pub heldout: HeldOut,
    /// F1 over whole receipts, as in `run.json`.
    pub training_reported_f1: Option<f64>,
    /// `heldout_f1` minus it.
    pub heldout_f1_delta_vs_training_reported: Option<f64>,
    /// Milliseconds per receipt, two decimals.
    pub avg_inference_ms: Option<f64>,
    /// Milliseconds for all, two decimals.
    pub total_inference_ms: Option<f64>,
    /// Gold tags × predicted tags over whole receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
}

impl EpochsRecord {
    /// Adds one checkpoint's evaluation and finds the best anew.
    pub fn push(&mut self, entry: EpochEntry) {
        self.epochs.push(json!(entry));
        self.find_best();
    }

    /// Sets the best from the entries: highest held-out F1, the alias `best` left out, first on a tie.
    pub fn find_best(&mut self) {
        let f1 = |e: &Value| e.get("heldout_f1").and_then(Value::as_f64).unwrap_or(0.0);
        let name = |e: &Value| e.get("checkpoint").and_then(Value::as_str).map(String::from);
        let mut best: Option<&Value> = None;
        for entry in self.epochs.iter().filter(|e| name(e).as_deref() != Some("best")) {
            if best.is_none_or(|b| f1(entry) > f1(b)) {
                best = Some(entry);
            }
        }
        self.best_epoch_heldout = best.and_then(|e| e.get("epoch")?.as_u64());
        self.best_checkpoint_heldout = best.and_then(name);
    }

    /// Entries in the shape this toolkit writes; others are passed over.
    pub fn entries(&self) -> Vec<EpochEntry> {
        self.epochs.iter().filter_map(|e| serde_json::from_value(e.clone()).ok()).collect()
    }

    /// Writes `epochs.json` into the run's folder.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write(&self, run_dir: &Path) -> Result<(), FileError> {
        write_json(&run_dir.join("epochs.json"), self)
    }

    /// Reads `epochs.json` of a run's folder.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(run_dir: &Path) -> Result<Self, FileError> {
        let path = run_dir.join("epochs.json");
        let text = std::fs::read_to_string(&path).map_err(FileError::at(&path))?;
        serde_json::from_str(&text).map_err(|e| FileError::at(&path)(e.into()))
    }
}
