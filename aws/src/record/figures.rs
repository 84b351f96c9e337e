//! From a run's records (`run.json`, `epochs.json`) to the table's metrics, configuration and results.
//!
//! Works on the files' JSON, whose field names are a contract of their own: names, units and which figures carry an
//! epoch are those that readers of the table expect.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::jobs::{JobMetric, MetricValue};

const RATIO: &str = "ratio";
const COUNT: &str = "count";

/// Figures of an evaluation by their name in `run.json`, their name in the table and unit.
pub(super) const EVALUATION: [(&str, &str, &str); 14] = [
    ("eval_f1", "val_f1", RATIO),
    ("eval_precision", "val_precision", RATIO),
    ("eval_recall", "val_recall", RATIO),
    ("eval_loss", "eval_loss", "loss"),
    ("eval_entity_prediction_rate", "val_entity_prediction_rate", RATIO),
    ("eval_gold_entity_rate", "val_gold_entity_rate", RATIO),
    ("eval_entity_prediction_gold_ratio", "val_entity_prediction_gold_ratio", RATIO),
    ("eval_entity_token_accuracy", "val_entity_token_accuracy", RATIO),
    ("eval_o_token_accuracy", "val_o_token_accuracy", RATIO),
    ("eval_product_detail_macro_f1", "val_product_detail_macro_f1", RATIO),
    ("eval_entropy_mean", "val_entropy_mean", RATIO),
    ("eval_entropy_std", "val_entropy_std", RATIO),
    ("eval_entropy_p10", "val_entropy_p10", RATIO),
    ("eval_entropy_p90", "val_entropy_p90", RATIO),
];

/// The same of a held-out evaluation, names in `epochs.json`.
const HELD_OUT: [(&str, &str, &str); 9] = [
    ("heldout_f1", "heldout_windowed_f1", RATIO),
    ("heldout_precision", "heldout_windowed_precision", RATIO),
    ("heldout_recall", "heldout_windowed_recall", RATIO),
    ("token_accuracy", "heldout_windowed_token_accuracy", RATIO),
    ("product_detail_macro_f1", "heldout_windowed_product_detail_macro_f1", RATIO),
    ("entity_prediction_rate", "heldout_windowed_entity_prediction_rate", RATIO),
    ("gold_entity_rate", "heldout_windowed_gold_entity_rate", RATIO),
    ("heldout_f1_delta_vs_training_reported", "heldout_windowed_f1_delta_vs_training_reported", RATIO),
    ("avg_inference_ms", "heldout_windowed_avg_inference_ms", "ms"),
];

/// Counts and ratios of the split, names in `split_metadata` and the table.
const SPLIT: [(&str, &str, &str); 8] = [
    ("num_train_lines", "num_train_samples", COUNT),
    ("num_val_lines", "num_val_samples", COUNT),
    ("num_train_receipts", "num_train_receipts", COUNT),
    ("num_val_receipts", "num_val_receipts", COUNT),
    ("o_only_lines_dropped", "o_only_lines_dropped", COUNT),
    ("o_entity_ratio_before_downsample", "o_entity_ratio_before_downsample", RATIO),
    ("target_o_entity_ratio", "target_o_entity_ratio", RATIO),
    ("random_seed", "random_seed", "seed"),
];

/// Makes metrics of one job and time.
struct Metrics<'a> {
    job_id: &'a str,
    timestamp: &'a str,
    step: Option<u64>,
    epoch: Option<u64>,
    made: Vec<JobMetric>,
}

impl<'a> Metrics<'a> {
    fn new(job_id: &'a str, timestamp: &'a str) -> Self {
        Self { job_id, timestamp, step: None, epoch: None, made: Vec::new() }
    }

    fn push(&mut self, name: &str, unit: &str, value: MetricValue) {
        self.made.push(JobMetric {
            job_id: self.job_id.into(),
            metric_name: name.into(),
            timestamp: self.timestamp.into(),
            value,
            unit: Some(unit.into()),
            step: self.step,
            epoch: self.epoch,
        });
    }

    fn number(&mut self, name: &str, unit: &str, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_f64).filter(|n| n.is_finite()) {
            self.push(name, unit, MetricValue::Number(number));
        }
    }
}

/// Metrics of the run as a whole, from `run.json` as written at its start.
pub fn run_figures(run: &Value, job_id: &str, timestamp: &str) -> Vec<JobMetric> {
    let mut metrics = Metrics::new(job_id, timestamp);
    let comparable = run.pointer("/comparability/comparable").and_then(Value::as_bool).unwrap_or(false);
    metrics.push("run_metrics_comparable", "flag", MetricValue::Number(f64::from(u8::from(comparable))));
    if let Some(merges) = run["label_merges"].as_object().filter(|m| !m.is_empty()) {
        metrics.push("label_merge_config", "config", MetricValue::Map(merges.clone()));
    }
    for (field, name, unit) in SPLIT {
        metrics.number(name, unit, run["split_metadata"].get(field));
    }
    for (split, name) in [("train", "o_entity_ratio_train"), ("validation", "o_entity_ratio_val")] {
        metrics.number(name, RATIO, run.pointer(&format!("/dataset_counts/{split}/o_entity_ratio")));
    }
    metrics.made
}

/// Metrics of one evaluation: an entry of `run.json`'s `epoch_metrics` and, if there is one, its confusion matrix over
/// tags (`{labels, matrix}`).
pub fn epoch_figures(
    epoch: &Value,
    confusion: Option<&Map<String, Value>>,
    job_id: &str,
    timestamp: &str,
) -> Vec<JobMetric> {
    let mut metrics = Metrics::new(job_id, timestamp);
    metrics.step = epoch["global_step"].as_u64();
    metrics.epoch = epoch["epoch"].as_f64().map(|e| e as u64);
    for (field, name, unit) in EVALUATION {
        metrics.number(name, unit, epoch.get(field));
    }
    if epoch["train_loss"].is_number() {
        metrics.number("train_loss", "loss", epoch.get("train_loss"));
        metrics.number("learning_rate", "rate", epoch.get("learning_rate"));
    }
    let labelled = epoch.as_object().into_iter().flatten();
    for (field, value) in labelled.filter(|(field, _)| field.starts_with("eval_label_")) {
        let unit = if field.ends_with("_support") { COUNT } else { RATIO };
        metrics.number(field.trim_start_matches("eval_"), unit, Some(value));
    }
    if let Some(confusion) = confusion {
        metrics.push("confusion_matrix", "matrix", MetricValue::Map(confusion.clone()));
    }
    metrics.made
}

/// Metrics of one held-out evaluation: an entry of `epochs.json`, with every label the model knows, zeros included.
pub fn heldout_figures(
    entry: &Value,
    label_list: &[String],
    job_id: &str,
    timestamp: &str,
) -> Vec<JobMetric> {
    let mut metrics = Metrics::new(job_id, timestamp);
    metrics.step = entry["step"].as_u64();
    metrics.epoch = entry["epoch"].as_u64();
    for (field, name, unit) in HELD_OUT {
        metrics.number(name, unit, entry.get(field));
    }
    let labels: BTreeSet<&str> = label_list
        .iter()
        .filter(|tag| *tag != "O")
        .map(|tag| tag.strip_prefix("B-").or_else(|| tag.strip_prefix("I-")).unwrap_or(tag))
        .collect();
    for label in labels {
        for (kind, unit) in [("f1", RATIO), ("precision", RATIO), ("recall", RATIO), ("support", COUNT)] {
            let of_label = entry.get(format!("per_label_{kind}")).and_then(|all| all.get(label));
            let value = of_label.and_then(Value::as_f64).filter(|v| v.is_finite());
            let value = MetricValue::Number(value.unwrap_or(0.0));
            metrics.push(&format!("heldout_label_{label}_{kind}"), unit, value);
        }
    }
    metrics.made
}

/// `job_config`: what was asked, from `run.json` as written at the start.
pub fn job_config(run: &Value) -> Map<String, Value> {
    let mut config = Map::new();
    let version = run.pointer("/training_config/model_version").and_then(Value::as_str).unwrap_or("v1");
    config.insert("model".into(), json!(format!("layoutlm-{version}")));
    for part in ["training_config", "data_config"] {
        config.extend(run[part].as_object().cloned().unwrap_or_default());
    }
    let comparability = &run["comparability"];
    // Effective merges, also where none were asked for.
    let merges = run["label_merges"].as_object().cloned().unwrap_or_default();
    config.insert("label_merges".into(), Value::Object(merges));
    config.insert("resulting_label_set".into(), run["resulting_labels"].clone());
    config.insert("metrics_comparable".into(), comparability["comparable"].clone());
    config.insert("comparability_reason".into(), comparability["reason"].clone());
    config.insert("val_split_source".into(), comparability["val_split_source"].clone());
    config
}

/// The evaluation with the highest `field`, first on a tie: `(value, epoch)`.
fn best_of(run: &Value, field: &str, lower: bool) -> Option<(f64, f64)> {
    let epochs = run["epoch_metrics"].as_array()?;
    let values = epochs.iter().filter_map(|e| Some((e[field].as_f64()?, e["epoch"].as_f64()?)));
    values.reduce(|best, next| {
        let better = if lower { next.0 < best.0 } else { next.0 > best.0 };
        if better { next } else { best }
    })
}

/// The name of the deciding figure, `eval_…`, and whether lower is better.
fn checkpoint_metric(run: &Value) -> (String, bool) {
    let name = run.pointer("/training_config/checkpoint_metric").and_then(Value::as_str).unwrap_or("f1");
    let name = if name.starts_with("eval_") { name.to_string() } else { format!("eval_{name}") };
    let lower = name == "eval_loss";
    (name, lower)
}

/// Evaluations since the deciding figure was best, and whether patience had run out before the last epoch.
fn early_stopping(run: &Value) -> (u64, bool) {
    let (metric, lower) = checkpoint_metric(run);
    let last = run["epoch_metrics"].as_array().and_then(|e| e.last()?["epoch"].as_f64()).unwrap_or(0.0);
    let best = best_of(run, &metric, lower).map_or(last, |(_, epoch)| epoch);
    let since = (last - best).max(0.0);
    let patience = run.pointer("/training_config/early_stopping_patience").and_then(Value::as_f64);
    let planned = run.pointer("/training_config/epochs").and_then(Value::as_f64).unwrap_or(last);
    (since as u64, last < planned && patience.is_some_and(|p| p > 0.0 && since >= p))
}

/// `results` of a run that ended well; `best_path` is where its best checkpoint lies, an S3 address or a local folder.
pub fn job_results(run: &Value, job_id: &str, best_path: &str) -> Map<String, Value> {
    let (metric, lower) = checkpoint_metric(run);
    let f1 = best_of(run, "eval_f1", false);
    let deciding = best_of(run, &metric, lower);
    let whole = |epoch: f64| json!(epoch as i64);
    let comparability = &run["comparability"];
    let results = json!({
        "best_f1": f1.map(|b| b.0),
        "best_epoch": f1.map(|b| whole(b.1)),
        "best_f1_epoch": f1.map(|b| whole(b.1)),
        "checkpoint_metric": metric,
        "best_checkpoint_metric_value": deciding.map(|b| b.0),
        "best_checkpoint_metric_epoch": deciding.map(|b| whole(b.1)),
        "early_stopping_triggered": early_stopping(run).1,
        "metrics_comparable": comparability["comparable"],
        "comparability_reason": comparability["reason"],
        "val_keys_s3": comparability["val_keys_s3"],
        "val_split_source": comparability["val_split_source"],
        "training_job_name": run["job_name"],
        "training_job_id": job_id,
        "num_labels": run["num_labels"],
        "label_list": run["label_list"],
        (best_field(best_path)): best_path,
    });
    results.as_object().cloned().unwrap_or_default()
}

/// The message of the log at the end of a run.
pub fn run_summary(run: &Value, best_path: &str) -> Value {
    let (metric, lower) = checkpoint_metric(run);
    let f1 = best_of(run, "eval_f1", false);
    let deciding = best_of(run, &metric, lower);
    let (since, stopped) = early_stopping(run);
    json!({
        "type": "run_summary",
        "epoch_metrics": run["epoch_metrics"],
        "checkpoint_metric": metric,
        "best_epoch": f1.map(|b| b.1),
        "best_f1": f1.map(|b| b.0),
        "early_stopping_triggered": stopped,
        "epochs_since_best": since,
        "best_checkpoint_metric": metric,
        "best_checkpoint_metric_epoch": deciding.map(|b| b.1),
        "best_checkpoint_metric_value": deciding.map(|b| b.0),
        (best_field(best_path)): best_path,
    })
}

fn best_field(best_path: &str) -> &'static str {
    if best_path.starts_with("s3://") { "best_checkpoint_s3_path" } else { "best_checkpoint_path" }
}
