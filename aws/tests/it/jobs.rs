//! A run's records: the figures of a real run, ownership, and a table that goes away.

use std::collections::BTreeMap;
use std::path::Path;

use layoutlm_aws::AwsError;
use layoutlm_aws::dynamo::{Fields, Item, Table};
use layoutlm_aws::jobs::{
    Job, JobCheckpoint, JobMetric, JobState, LogLevel, MetricValue, active_job, find_job, job_history,
    list_jobs,
};
use layoutlm_aws::record::{
    JobRecorder, Journal, NewJob, epoch_figures, heldout_figures, job_config, job_results, run_figures,
    run_record,
};
use layoutlm_aws::s3::RunPlace;
use layoutlm_emulators::Faults;
use serde_json::{Map, Value, json};

use crate::support::{BUCKET, Stand, TABLE, items, shared};

fn record(run: &str, name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(shared(&format!("fixtures/runs/{run}/{name}"))?).unwrap();
    Some(serde_json::from_str(&text.replace("Infinity", "null")).unwrap())
}

fn job_of(all: &[Item], name: &str) -> (Job, Vec<JobMetric>) {
    let kind = |item: &&Item, kind: &str| Fields::of(item).item_type() == kind;
    let jobs = all.iter().filter(|i| kind(i, Job::TYPE)).map(|i| Job::read(i).unwrap());
    let job = jobs.into_iter().find(|j| j.name == name).unwrap();
    let metrics = all.iter().filter(|i| kind(i, JobMetric::TYPE)).map(|i| JobMetric::read(i).unwrap());
    let metrics = metrics.filter(|m| m.job_id == job.job_id).collect();
    (job, metrics)
}

/// Everything about a metric but when it was written, by name and epoch.
type Figures = BTreeMap<(String, Option<u64>), (Option<String>, Option<u64>, Value)>;

fn figures(metrics: Vec<JobMetric>) -> Figures {
    metrics
        .into_iter()
        .map(|m| {
            let value = match m.value {
                MetricValue::Number(n) => json!(n),
                // The matrix comes from the trainer itself, not from its files.
                MetricValue::Map(map) if m.metric_name == "confusion_matrix" => json!(map.len()),
                MetricValue::Map(map) => json!(map),
            };
            ((m.metric_name, m.epoch), (m.unit, m.step, value))
        })
        .collect()
}

#[test]
fn metrics_of_two_real_runs_come_out_of_their_records_again() {
    let Some(all) = items("jobs.trainer") else { return };
    for run in ["layoutlm-v1-fixture-merged", "layoutlm-v2-fixture-core"] {
        let (Some(record), Some(epochs)) = (record(run, "run.json"), record(run, "epochs.json")) else {
            return;
        };
        let (job, golden) = job_of(&all, run);
        let labels: Vec<String> = serde_json::from_value(record["label_list"].clone()).unwrap();
        let confusion: Map<String, Value> = json!({"labels": [], "matrix": []}).as_object().cloned().unwrap();
        let mut got = run_figures(&record, &job.job_id, "t");
        for epoch in record["epoch_metrics"].as_array().unwrap() {
            got.extend(epoch_figures(epoch, Some(&confusion), &job.job_id, "t"));
        }
        for entry in epochs["epochs"].as_array().unwrap() {
            got.extend(heldout_figures(entry, &labels, &job.job_id, "t"));
        }
        let (got, golden) = (figures(got), figures(golden));
        let names = |f: &Figures| f.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&got), names(&golden), "{run}");
        assert_eq!(got, golden, "{run}");
    }
}

#[test]
fn configuration_and_results_of_two_real_runs_come_out_again() {
    let Some(all) = items("jobs.trainer") else { return };
    for run in ["layoutlm-v1-fixture-merged", "layoutlm-v2-fixture-core"] {
        let Some(record) = record(run, "run.json") else { return };
        let (job, _) = job_of(&all, run);
        let plain = |map: &Map<String, Value>| -> BTreeMap<String, Value> {
            let number = |v: &Value| v.as_f64().map_or_else(|| v.clone(), |n| json!(n));
            map.iter().map(|(k, v)| (k.clone(), number(v))).collect()
        };
        assert_eq!(plain(&job_config(&record)), plain(&job.job_config), "{run}");
        let best = job.best_uri().unwrap().to_string();
        let mut golden = plain(&job.results);
        golden.remove("total_flos");
        assert_eq!(plain(&job_results(&record, &job.job_id, &best)), golden, "{run}");
    }
}

fn new_job(name: &str, trainer: &str) -> NewJob {
    NewJob {
        name: name.into(),
        trainer: trainer.into(),
        place: Some(RunPlace::new(BUCKET, name).unwrap()),
        instance_id: Some("i-0abc".into()),
        resuming: false,
    }
}

fn metric(job_id: &str, name: &str, value: f64) -> JobMetric {
    JobMetric {
        job_id: job_id.into(),
        metric_name: name.into(),
        timestamp: layoutlm_aws::next_time(),
        value: MetricValue::Number(value),
        unit: Some("ratio".into()),
        step: Some(10),
        epoch: Some(1),
    }
}

/// A checkpoint that is the best so far.
fn checkpoint(step: u64) -> JobCheckpoint {
    JobCheckpoint {
        job_id: String::new(),
        timestamp: layoutlm_aws::next_time(),
        s3_bucket: BUCKET.into(),
        s3_key: format!("runs/receipts-1/checkpoints/checkpoint-{step}/"),
        size_bytes: 7,
        step,
        epoch: step / 5,
        model_state: true,
        optimizer_state: true,
        metrics: Map::new(),
        is_best: true,
    }
}

async fn run_to_the_end(table: Table, run_dir: &Path) -> JobRecorder {
    let mut recorder = JobRecorder::claim(table, run_dir, new_job("receipts-1", "a")).await.unwrap();
    let config = json!({"epochs": 3, "learning_rate": 6e-5}).as_object().cloned().unwrap();
    recorder.running(config).await.unwrap();
    let id = recorder.job_id().to_string();
    let many: Vec<JobMetric> = (0..60).map(|i| metric(&id, &format!("label_{i}_f1"), 0.5)).collect();
    recorder.metrics(&many).await.unwrap();
    let not_finite = metric(&id, "val_f1", f64::NAN);
    recorder.metrics(&[metric(&id, "val_f1", 0.7021), not_finite]).await.unwrap();
    for step in [5, 10] {
        recorder.checkpoint(checkpoint(step)).await.unwrap();
    }
    recorder.log(LogLevel::Info, "{}".into(), None).await.unwrap();
    let results = json!({"best_f1": 0.7021}).as_object().cloned().unwrap();
    recorder.finish(JobState::Succeeded, None, results).await.unwrap();
    recorder
}

async fn check_records(table: &Table) {
    let job = find_job(table, "receipts-1").await.unwrap();
    assert_eq!(job.status, JobState::Succeeded);
    assert_eq!(job.results["best_f1"], json!(0.7021));
    assert_eq!((&job.job_config["epochs"], &job.job_config["learning_rate"]), (&json!(3), &json!(6e-5)));
    assert_eq!(job.storage["run_root_prefix"], "runs/receipts-1/");
    assert_eq!(job.run_uri().unwrap().to_string(), format!("s3://{BUCKET}/runs/receipts-1/"));
    let history = job_history(table, &job.job_id).await.unwrap();
    assert!(history.malformed.is_empty());
    assert_eq!(history.metrics.len(), 61);
    assert_eq!((history.logs.len(), history.checkpoints.len()), (1, 2));
    let best: Vec<u64> = history.checkpoints.iter().filter(|c| c.is_best).map(|c| c.step).collect();
    assert_eq!(best, [10], "one checkpoint is the best");
    let states: Vec<JobState> = history.statuses.iter().map(|s| s.status).collect();
    assert_eq!(states, [JobState::Pending, JobState::Running, JobState::Succeeded]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_leaves_its_records_through_throttling_and_left_over_items() {
    let stand = Stand::empty().await;
    let faults = Faults { throttle: 0.2, unprocessed: 0.5, drop_after: 0.1, ..Faults::default() };
    stand.proxy.set(faults);
    let folder = tempfile::tempdir().unwrap();
    let recorder = run_to_the_end(stand.aws.table(TABLE), folder.path()).await;
    assert_eq!(recorder.pending(), 0);
    assert!(stand.proxy.count("unprocessed") > 0);
    check_records(&stand.aws.table(TABLE)).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left to send");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_in_the_runs_folder_while_the_table_is_gone() {
    let stand = Stand::empty().await;
    let folder = tempfile::tempdir().unwrap();
    stand.proxy.set(Faults { down_after: Some(4), ..Faults::default() });
    let recorder = run_to_the_end(stand.aws.table(TABLE), folder.path()).await;
    assert!(recorder.pending() > 60, "{}", recorder.pending());
    drop(recorder);
    stand.proxy.set(Faults::default());
    let mut journal = Journal::open(folder.path()).unwrap();
    let (table, region) = journal.destination().unwrap();
    assert_eq!((table, region), (TABLE, "us-east-1"));
    let pushed = journal.flush(&stand.aws.table(TABLE)).await.unwrap();
    assert_eq!(pushed.refused, 0);
    check_records(&stand.aws.table(TABLE)).await;
    assert_eq!(Journal::open(folder.path()).unwrap().pending(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_trainers_can_not_own_one_job() {
    let stand = Stand::empty().await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let table = || stand.aws.table(TABLE);
    let (first, second) = tokio::join!(
        JobRecorder::claim(table(), one.path(), new_job("receipts-1", "a")),
        JobRecorder::claim(table(), two.path(), new_job("receipts-1", "b")),
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let error = first.err().or(second.err()).unwrap();
    assert!(matches!(error, AwsError::OtherOwner { .. }));
    assert!(error.to_string().contains("belongs to another trainer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_job_is_taken_on_by_whoever_resumes_it_and_a_finished_one_is_not() {
    let stand = Stand::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let table = || stand.aws.table(TABLE);
    let mut first = JobRecorder::claim(table(), folder.path(), new_job("receipts-1", "a")).await.unwrap();
    let id = first.job_id().to_string();
    first.checkpoint(checkpoint(5)).await.unwrap();
    first.finish(JobState::Interrupted, Some("spot reclaim".into()), Map::new()).await.unwrap();

    let resumed = NewJob { resuming: true, ..new_job("receipts-1", "b") };
    let mut second = JobRecorder::claim(table(), folder.path(), resumed).await.unwrap();
    assert_eq!(second.job_id(), id);
    second.checkpoint(checkpoint(10)).await.unwrap();
    let checkpoints = job_history(&table(), &id).await.unwrap().checkpoints;
    let best: Vec<u64> = checkpoints.iter().filter(|c| c.is_best).map(|c| c.step).collect();
    assert_eq!(best, [10], "the best of the earlier sitting is no longer");
    let late = first.finish(JobState::Succeeded, None, Map::new()).await;
    assert!(matches!(late, Err(AwsError::OtherOwner { .. })), "{late:?}");
    second.finish(JobState::Succeeded, None, Map::new()).await.unwrap();

    let third = JobRecorder::claim(table(), folder.path(), new_job("receipts-1", "c")).await.unwrap();
    assert_ne!(third.job_id(), id, "a finished job is history; the same name is a new one");
    let (jobs, malformed) = list_jobs(&table()).await.unwrap();
    assert_eq!((jobs.len(), malformed.len()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_active_model_is_the_newest_succeeded_job_so_tagged() {
    let Some(stand) = Stand::with(&["jobs", "jobs.trainer"]).await else { return };
    let table = stand.aws.table(TABLE);
    let job = active_job(&table).await.unwrap();
    assert!(job.is_active() && job.status == JobState::Succeeded);
    let (jobs, malformed) = list_jobs(&table).await.unwrap();
    assert!(malformed.is_empty());
    let states: std::collections::BTreeSet<JobState> = jobs.iter().map(|j| j.status).collect();
    assert!(states.len() >= 4, "{states:?}");
    let newest = find_job(&table, "layoutlm-v1-fixture-merged").await.unwrap();
    assert_eq!(
        newest.best_uri().unwrap().to_string(),
        newest.results["best_checkpoint_s3_path"].as_str().unwrap()
    );
    assert!(find_job(&table, "nobody").await.unwrap_err().to_string().contains("nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_runs_record_is_rebuilt_from_the_table() {
    let Some(stand) = Stand::with(&["jobs.trainer"]).await else { return };
    let table = stand.aws.table(TABLE);
    for run in ["layoutlm-v1-fixture-merged", "layoutlm-v2-fixture-core"] {
        let Some(golden) = record(run, "run.json") else { return };
        let job = find_job(&table, run).await.unwrap();
        let rebuilt = run_record(&job, &job_history(&table, &job.job_id).await.unwrap());
        for part in ["training_config", "data_config", "label_list", "split_metadata", "dataset_counts"] {
            assert_eq!(rebuilt[part], golden[part], "{run}: {part}");
        }
        let epochs = |of: &Value| of["epoch_metrics"].as_array().unwrap().clone();
        assert_eq!(epochs(&rebuilt).len(), epochs(&golden).len());
        for (rebuilt, golden) in epochs(&rebuilt).iter().zip(&epochs(&golden)) {
            for (name, value) in rebuilt.as_object().unwrap() {
                assert_eq!(value.as_f64(), golden[name].as_f64(), "{run}: {name}");
            }
            assert!(rebuilt["eval_f1"].is_f64() && rebuilt["eval_label_DATE_f1"].is_f64());
        }
    }
}
