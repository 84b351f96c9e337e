//! `run.json`: what was asked, what the data were, and how each epoch did.
//!
//! Field names are those that existing readers of such runs expect; fields of our own come after them.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_core::encoding::Encoding;
use layoutlm_core::label::Merges;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::TrainConfig;
use crate::data::{LeakageReport, LeftOut};
use crate::files::{FileError, write_json};

use super::BestCheckpoint;

/// Whether a run's scores may be put beside other runs'.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparability {
    /// True when a frozen validation split was held out.
    pub comparable: bool,
    /// Where the frozen keys came from.
    pub val_keys_s3: Option<String>,
    /// How the split was made, e.g. `frozen_val_keys_s3` (a file of keys), `given_split` (a part of the data itself),
    /// `merchant_grouped_split` or `seeded_random_split`.
    pub val_split_source: String,
    /// The same as a sentence.
    pub reason: String,
}

/// How receipts were divided.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SplitMetadata {
    /// Seed of the split; 0 for a given one.
    pub random_seed: u64,
    /// Receipts trained on.
    pub num_train_receipts: usize,
    /// Receipts held out.
    pub num_val_receipts: usize,
    /// Training windows after down-sampling.
    pub num_train_lines: usize,
    /// Validation windows.
    pub num_val_lines: usize,
    /// Hash of the training keys.
    pub train_receipts_hash: String,
    /// Hash of the validation keys.
    pub val_receipts_hash: String,
    /// O words per entity word before O-only windows were thinned.
    pub o_entity_ratio_before_downsample: Option<f64>,
    /// The same after.
    pub o_entity_ratio_after_downsample: Option<f64>,
    /// The same of the validation windows.
    pub o_entity_ratio_val: Option<f64>,
    /// Training windows without an entity.
    pub o_only_lines_total: usize,
    /// Those kept.
    pub o_only_lines_kept: usize,
    /// Those left out.
    pub o_only_lines_dropped: usize,
    /// Training windows with an entity.
    pub entity_lines_total: usize,
    /// The ratio aimed at.
    pub target_o_entity_ratio: Option<f64>,
    /// Keys of the validation receipts, sorted.
    pub val_receipt_keys: Vec<String>,
    /// Words per window.
    pub window_size: usize,
    /// Words between window starts.
    pub window_stride: usize,
    /// Keys of the training receipts, sorted.
    #[serde(default)]
    pub train_receipt_keys: Vec<String>,
    /// Whether extra windows over the item band were trained on.
    #[serde(default)]
    pub item_window_augmentation: bool,
    /// Their number.
    #[serde(default)]
    pub num_item_window_examples: usize,
    /// Words per such window.
    #[serde(default)]
    pub item_window_size: Option<usize>,
    /// Words between their starts.
    #[serde(default)]
    pub item_window_stride: Option<usize>,
}

/// Size of one split in windows and words.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SplitCounts {
    /// Examples (windows).
    pub num_lines: usize,
    /// Words in them.
    pub num_tokens: usize,
    /// Words of entities.
    pub num_entity_tokens: usize,
    /// Other words.
    pub num_o_tokens: usize,
    /// O words per entity word.
    pub o_entity_ratio: Option<f64>,
    /// Words per tag.
    pub label_counts: BTreeMap<String, usize>,
}

/// Counts windows given as their words' tags.
pub fn split_counts<'a>(windows: impl IntoIterator<Item = &'a [String]>) -> SplitCounts {
    let mut counts = SplitCounts::default();
    for tags in windows {
        counts.num_lines += 1;
        counts.num_tokens += tags.len();
        for tag in tags.iter().filter(|t| *t != "O") {
            counts.num_entity_tokens += 1;
            *counts.label_counts.entry(tag.clone()).or_default() += 1;
        }
    }
    counts.num_o_tokens = counts.num_tokens - counts.num_entity_tokens;
    let entities = counts.num_entity_tokens;
    counts.o_entity_ratio = (entities > 0).then(|| counts.num_o_tokens as f64 / entities as f64);
    counts
}

/// One evaluation: fixed names first, then `eval_<name>` of every figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epochs done.
    pub epoch: f64,
    /// Optimiser steps done.
    pub global_step: u64,
    /// Mean training loss since the last evaluation.
    pub train_loss: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds spent training since the last evaluation.
    pub train_seconds: f64,
    /// Every figure of the evaluation.
    #[serde(flatten)]
    pub eval: BTreeMap<String, f64>,
}

impl EpochMetrics {
    /// A figure under its plain name, e.g. `f1`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.eval.get(&format!("eval_{name}")).copied()
    }
}

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run's name.
    pub job_name: String,
    /// What was asked, under the names existing readers look for.
    pub training_config: Map<String, Value>,
    /// The same of the data.
    pub data_config: Map<String, Value>,
    /// Tags in class-id order.
    pub label_list: Vec<String>,
    /// Their number.
    pub num_labels: usize,
    /// Sizes of `train` and `validation`.
    pub dataset_counts: BTreeMap<String, SplitCounts>,
    /// How receipts were divided.
    pub split_metadata: SplitMetadata,
    /// Effective merges.
    pub label_merges: Merges,
    /// Entity types after merging.
    pub resulting_labels: Vec<String>,
    /// Whether scores may be compared.
    pub comparability: Comparability,
    /// One per evaluation.
    pub epoch_metrics: Vec<EpochMetrics>,
    /// Which checkpoint is in `best/`.
    pub best: Option<BestCheckpoint>,
    /// `running`, `succeeded`, `interrupted` or `failed`.
    pub status: String,
    /// The complete effective configuration.
    pub config: TrainConfig,
    /// Which loader's rules made the numbers, in words.
    #[serde(default)]
    pub loader: String,
    /// Receipts that took no part.
    #[serde(default)]
    pub left_out: LeftOut,
    /// What training and validation have in common.
    #[serde(default)]
    pub leakage: Option<LeakageReport>,
    /// Which numbers the network was fed.
    pub encoding: Encoding,
    /// Its fingerprint.
    pub encoding_fingerprint: String,
    /// Where the first weights came from, tensor counts by origin.
    pub start: BTreeMap<String, usize>,
    /// Version of the program.
    pub written_by: String,
    /// Processor and threads.
    pub machine: String,
    /// What the last sitting computed on.
    #[serde(default)]
    pub hardware: Hardware,
    /// Seconds of all sittings together.
    pub seconds: f64,
}

/// What a run computed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// `cpu`, or the card's name.
    pub device: String,
    /// Number format of activations and products.
    pub precision: String,
    /// Processes that trained together.
    pub world_size: usize,
    /// Most memory that rank 0 held on its card at one time, in MiB; nothing on a processor.
    pub peak_device_memory_mib: Option<u64>,
}

impl Default for Hardware {
    fn default() -> Self {
        Self { device: "cpu".into(), precision: "fp32".into(), world_size: 1, peak_device_memory_mib: None }
    }
}

impl RunRecord {
    /// Writes `run.json` into the run's folder.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn write(&self, run_dir: &Path) -> Result<(), FileError> {
        write_json(&run_dir.join("run.json"), self)
    }

    /// Reads `run.json` of a run's folder.
    ///
    /// # Errors
    /// [`FileError`], also for a file of another shape.
    pub fn read(run_dir: &Path) -> Result<Self, FileError> {
        let path = run_dir.join("run.json");
        let text = std::fs::read_to_string(&path).map_err(FileError::at(&path))?;
        serde_json::from_str(&text).map_err(|e| FileError::at(&path)(e.into()))
    }
}

/// `training_config` and `data_config` as existing readers expect them.
pub fn legacy_configs(config: &TrainConfig, data: &str) -> (Map<String, Value>, Map<String, Value>) {
    let pretrained = match &config.start {
        crate::config::Start::Pretrained(path) => json!(path),
        crate::config::Start::Scratch(s) => json!(format!("scratch-{}x{}", s.layers, s.hidden_size)),
    };
    let asked = |flag: &str| config.asked.get(flag).cloned().unwrap_or(Value::Null);
    let training = json!({
        "pretrained_model_name": pretrained,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "warmup_ratio": config.warmup_ratio,
        "epochs": config.epochs,
        "mixed_precision": false,
        "max_grad_norm": config.max_grad_norm,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "label_smoothing": config.label_smoothing,
        "early_stopping_patience": config.early_stopping_patience,
        "output_s3_path": asked("output-s3-path"),
        "auto_export_onnx": asked("export-onnx"),
        "model_version": "v1",
        "checkpoint_metric": config.checkpoint_metric.name(),
        "product_detail_loss_weight": config.product_detail_loss_weight,
        "eval_heldout_windowed": config.eval_heldout_windowed,
    });
    let data = json!({
        "data": data,
        "dynamo_table_name": asked("dynamo-table"),
        "aws_region": asked("region"),
        "max_seq_length": config.window.max_length,
        "validation_status": config.validation_status,
        "allowed_labels": config.scheme.allowed(),
        "label_merges": config.scheme.merges(),
        "merge_amounts": config.scheme.merges().contains_key("AMOUNT"),
        "dataset_snapshot_load": asked("dataset-snapshot-load"),
        "dataset_snapshot_save": config.dataset_snapshot_save,
        "val_keys_s3": asked("val-keys-s3"),
        "allow_unfrozen_val": asked("no-frozen-val"),
        "item_window_augmentation": config.item_windows.is_some(),
        "item_window_size": config.item_windows.map(|w| w.size),
        "item_window_stride": config.item_windows.map(|w| w.stride),
    });
    let map = |v: Value| v.as_object().cloned().unwrap_or_default();
    (map(training), map(data))
}
