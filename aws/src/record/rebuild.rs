//! The way back: `run.json` of a run out of its records in the table, for looking at and comparing runs of any machine.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::figures::EVALUATION;
use crate::jobs::{Job, JobHistory, MetricValue};

/// What `run.json` of the job says or said: its configuration and split as logged at the start (or what the job itself
/// tells of them), and one entry per evaluation from its metrics.
pub fn run_record(job: &Job, history: &JobHistory) -> Value {
    let logged = history.logs.iter().rev().find_map(|log| logged_config(&log.message));
    let mut run = logged.unwrap_or_else(|| from_job(job));
    let epochs = epochs(history);
    let best = job.results.get("best_checkpoint_metric_epoch").and_then(Value::as_f64);
    let best_epoch = epochs.iter().find(|e| best.is_some() && e["epoch"].as_f64() == best);
    run.insert("best".into(), best_epoch.map_or(Value::Null, |epoch| best_of(job, epoch)));
    run.insert("epoch_metrics".into(), Value::Array(epochs));
    run.insert("status".into(), json!(job.status.name()));
    Value::Object(run)
}

/// `run.json` inside the log line that a trainer writes at its start. Ratios without entities are `Infinity` there,
/// which JSON does not know.
fn logged_config(message: &str) -> Option<Map<String, Value>> {
    let line: Value = serde_json::from_str(&message.replace(": Infinity", ": null")).ok()?;
    let is_config = line.get("type").is_some_and(|kind| kind == "run_config");
    line.get("data").filter(|_| is_config)?.as_object().cloned()
}

fn from_job(job: &Job) -> Map<String, Value> {
    let config = |name: &str| job.job_config.get(name).cloned().unwrap_or(Value::Null);
    let labels = job.results.get("label_list").cloned().unwrap_or_else(|| json!([]));
    let run = json!({
        "job_name": job.name,
        "training_config": job.job_config,
        "data_config": job.job_config,
        "num_labels": labels.as_array().map_or(0, Vec::len),
        "label_list": labels,
        "label_merges": config("label_merges"),
        "resulting_labels": config("resulting_label_set"),
        "comparability": {
            "comparable": config("metrics_comparable"),
            "val_keys_s3": config("val_keys_s3"),
            "val_split_source": config("val_split_source"),
            "reason": config("comparability_reason"),
        },
    });
    run.as_object().cloned().unwrap_or_default()
}

fn best_of(job: &Job, epoch: &Value) -> Value {
    let metric = job.results.get("checkpoint_metric").and_then(Value::as_str).unwrap_or("eval_f1");
    json!({
        "checkpoint": format!("checkpoint-{}", epoch["global_step"]),
        "epoch": epoch["epoch"],
        "step": epoch["global_step"],
        "metric": metric.trim_start_matches("eval_"),
        "value": job.results.get("best_checkpoint_metric_value"),
    })
}

/// One object per epoch, under the names of `run.json`. Where an epoch was evaluated twice, the later figures count.
fn epochs(history: &JobHistory) -> Vec<Value> {
    let mut epochs: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    let mut metrics: Vec<_> = history.metrics.iter().collect();
    metrics.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
    for metric in metrics {
        let (Some(epoch), MetricValue::Number(value)) = (metric.epoch, &metric.value) else { continue };
        let Some(name) = name_in_record(&metric.metric_name) else { continue };
        let entry = epochs.entry(epoch).or_default();
        entry.insert("epoch".into(), json!(epoch as f64));
        entry.insert("global_step".into(), json!(metric.step));
        entry.insert(name, json!(value));
    }
    epochs.into_values().map(Value::Object).collect()
}

fn name_in_record(name: &str) -> Option<String> {
    if let Some((field, ..)) = EVALUATION.iter().find(|(_, table, _)| *table == name) {
        return Some((*field).into());
    }
    match name {
        "train_loss" | "learning_rate" => Some(name.into()),
        _ if name.starts_with("label_") => Some(format!("eval_{name}")),
        _ => None,
    }
}
