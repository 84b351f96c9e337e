//! Items against those the table's own client wrote: read and written back, they are the same.

use std::collections::BTreeMap;

use layoutlm_aws::dynamo::{Fields, Item, Label, LabelStatus, Place, ReceiptHead, TableWord, item_to_json};
use layoutlm_aws::jobs::{Job, JobCheckpoint, JobLog, JobMetric, JobStatus};
use serde_json::Value;

use crate::support::items;

/// JSON with numbers compared as numbers.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(map) => match map.get("N").and_then(Value::as_str) {
            Some(number) if map.len() == 1 => serde_json::json!({"N": number.parse::<f64>().unwrap()}),
            _ => map.iter().map(|(k, v)| (k.clone(), comparable(v))).collect(),
        },
        Value::Array(list) => list.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

fn same(written: &Item, golden: &Item) {
    assert_eq!(comparable(&item_to_json(written)), comparable(&item_to_json(golden)));
}

#[test]
fn labels_are_written_as_the_tables_client_writes_them() {
    let Some(all) = items("receipts") else { return };
    let labels = all.iter().filter(|i| Fields::of(i).item_type() == Label::TYPE);
    let mut statuses = BTreeMap::new();
    for golden in labels {
        let label = Label::read(golden).unwrap();
        same(&label.item(), golden);
        *statuses.entry(label.status).or_insert(0) += 1;
    }
    assert_eq!(statuses.get(&LabelStatus::Valid), Some(&285));
    assert_eq!(statuses.values().sum::<i32>(), 373);
}

#[test]
fn every_kind_of_job_record_is_written_as_the_tables_client_writes_it() {
    let (Some(made_up), Some(real)) = (items("jobs"), items("jobs.trainer")) else { return };
    let mut seen = BTreeMap::new();
    for golden in made_up.iter().chain(&real) {
        let kind = Fields::of(golden).item_type();
        let written = match kind {
            Job::TYPE => Job::read(golden).unwrap().item(),
            JobStatus::TYPE => JobStatus::read(golden).unwrap().item(),
            JobMetric::TYPE => JobMetric::read(golden).unwrap().item().unwrap(),
            JobCheckpoint::TYPE => JobCheckpoint::read(golden).unwrap().item(),
            JobLog::TYPE => JobLog::read(golden).unwrap().item(),
            _ => continue,
        };
        same(&written, golden);
        *seen.entry(kind.to_string()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert!(seen["JOB_METRIC"] > 700, "{seen:?}");
}

#[test]
fn words_shops_and_receipts_of_the_fixtures_are_all_readable() {
    let (Some(receipts), Some(edge)) = (items("receipts"), items("edge")) else { return };
    let mut counts = [0; 3];
    for item in receipts.iter().chain(&edge) {
        match Fields::of(item).item_type() {
            TableWord::TYPE => counts[0] += usize::from(TableWord::read(item).unwrap().key.line_id < 1000),
            Place::TYPE => counts[1] += usize::from(!Place::read(item).unwrap().merchant_name.is_empty()),
            ReceiptHead::TYPE => counts[2] += usize::from(ReceiptHead::read(item).unwrap().width > 0.0),
            _ => {}
        }
    }
    assert!(counts.iter().all(|n| *n > 10), "{counts:?}");
}
