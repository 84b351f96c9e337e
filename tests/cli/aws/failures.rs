//! What a user reads, and what is kept, when AWS is not as it should be.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use layoutlm_emulators::Faults;
use serde_json::{Value, json};

use super::stand::{BUCKET, Stand, TABLE, refused, succeed};

const RECEIPTS: &str = "fixtures/dynamodb/receipts.neutral.jsonl";

#[test]
fn missing_credentials_tables_buckets_and_keys_are_the_callers_to_mend() {
    let Some(stand) = Stand::with(&[RECEIPTS], 13) else { return };
    let mut command = stand.train(&[]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let said = refused(command, 2);
    assert!(said.contains("no credentials were found") && said.contains(TABLE), "{said}");

    let mut command = stand.command();
    command.args(["train", "--job-name", "a", "--dynamo-table", "NoSuchTable", "--no-frozen-val"]);
    let said = refused(command, 2);
    assert!(
        said.contains("table NoSuchTable (us-east-1)") && said.contains("check --dynamo-table"),
        "{said}"
    );

    // The stand-in only knows missing objects.
    let absent =
        "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
    let only = Some("no-such-bucket".to_string());
    stand.bucket.set(Faults { always: Some((404, absent.into())), only, ..Faults::default() });
    let said = refused(stand.train(&["--val-keys-s3", "s3://no-such-bucket/keys.json"]), 2);
    assert!(
        said.contains("s3://no-such-bucket/keys.json") && said.contains("there is no such bucket"),
        "{said}"
    );
    let said = refused(stand.train(&["--receipt-allowlist-s3", &format!("s3://{BUCKET}/none.json")]), 2);
    assert!(said.contains("none.json: there is no such object"), "{said}");

    let skewed = json!({
        "__type": "com.amazon.coral.service#InvalidSignatureException",
        "message": "Signature expired: 20251113T020000Z is now earlier than 20251113T021500Z",
    });
    stand.table.set(Faults { always: Some((400, skewed.to_string())), ..Faults::default() });
    let said = refused(stand.train(&[]), 2);
    assert!(said.contains("this machine's clock differs"), "{said}");
    stand.table.set(Faults { down: true, ..Faults::default() });
    let said = refused(stand.train(&[]), 1);
    assert!(said.contains("can't be reached"), "{said}");
}

#[test]
fn a_run_outlives_its_table_and_bucket_and_sends_everything_later() {
    let Some(stand) = Stand::with(&[RECEIPTS], 13) else { return };
    stand.table.set(Faults { down_after: Some(25), ..Faults::default() });
    stand.bucket.set(Faults { down_after: Some(6), ..Faults::default() });
    let output = succeed(stand.train(&[]));
    let said = crate::stderr(&output);
    assert!(said.contains("runs push"), "{said}");
    assert_eq!(stand.jobs()[0]["status"], "running", "nobody could tell the table of the end");

    let push = || {
        let mut push = stand.command();
        push.args(["runs", "push"]).arg(stand.run_dir("receipts-1"));
        push
    };
    let said = refused(push(), 1);
    assert!(said.contains("can't be reached"), "{said}");
    stand.table.set(Faults::default());
    stand.bucket.set(Faults::default());
    succeed(push());
    assert_eq!(stand.jobs()[0]["status"], "succeeded");
    let metrics = stand.items("JOB_METRIC");
    assert_eq!(metrics.iter().filter(|m| m["metric_name"] == "val_f1").count(), 2);
    let keys = stand.s3.keys(BUCKET);
    for key in ["runs/receipts-1/run.json", "runs/receipts-1/best/model.safetensors"] {
        assert!(keys.contains(&key.to_string()), "{keys:?}");
    }
    let checkpoints = keys.iter().filter(|k| k.contains("/checkpoints/") && k.ends_with("model.safetensors"));
    assert_eq!(checkpoints.count(), 2);
}

#[test]
fn throttled_and_failing_services_change_nothing_about_a_run() {
    let Some(stand) = Stand::with(&[RECEIPTS], 13) else { return };
    let faults =
        Faults { throttle: 0.3, server_error: 0.05, unprocessed: 0.3, cut: 0.05, ..Faults::default() };
    stand.table.set(faults.clone());
    stand.bucket.set(Faults { unprocessed: 0.0, ..faults });
    succeed(stand.train(&[]));
    assert_eq!(stand.jobs()[0]["status"], "succeeded");
    assert!(stand.table.count("throttle") > 5, "{:?}", stand.table.counts());
}

#[test]
fn a_reclaimed_spot_instance_saves_the_run_and_another_machine_goes_on_from_the_bucket() {
    let Some(stand) = Stand::with(&[RECEIPTS], 13) else { return };
    let metadata = stand.metadata();
    let long = ["--epochs", "4000", "--early-stopping-patience", "0", "--keep-checkpoints", "1"];
    let mut run = stand.train(&long);
    run.env_remove("AWS_EC2_METADATA_DISABLED").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url);
    let mut run = run.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("a checkpoint", || !stand.items("JOB_CHECKPOINT").is_empty());
    metadata.take_back();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let interrupted = stand.jobs().remove(0);
    assert_eq!(interrupted["status"], "interrupted");
    let statuses = stand.items("JOB_STATUS");
    let reclaimed = |s: &&Value| s["message"].as_str().is_some_and(|m| m.starts_with("spot reclaim"));
    assert_eq!(statuses.iter().filter(reclaimed).count(), 1);
    let reached =
        read(&stand.run_dir("receipts-1").join("run.json"))["epoch_metrics"].as_array().unwrap().len();

    let elsewhere = stand.folder.path().join("elsewhere");
    let uri = format!("s3://{BUCKET}/runs/receipts-1/");
    let record = elsewhere.join("receipts-1/run.json");
    let epochs = || read(&record)["epoch_metrics"].as_array().map_or(0, Vec::len);
    let resume_and_stop = |signal: &str, from: usize| {
        let mut resumed = stand.train(&long);
        resumed.args(["--resume-from-s3", &uri]).env("LAYOUTLM_RUNS", &elsewhere);
        let mut resumed = resumed.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        wait_for("more epochs than before", || record.is_file() && epochs() > from);
        let killed = Command::new("kill").args([signal, &resumed.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(resumed.wait().unwrap().code(), Some(130));
        let mut jobs = stand.jobs();
        assert_eq!(jobs.len(), 1, "the run that goes on is the same job");
        jobs.remove(0)
    };
    let job = resume_and_stop("-TERM", reached);
    assert_eq!((&job["status"], &job["PK"]), (&json!("interrupted"), &interrupted["PK"]));
    assert_ne!(job["tags"], interrupted["tags"], "another trainer owns it now");
    let job = resume_and_stop("-INT", epochs());
    assert_eq!(
        (&job["status"], &job["PK"]),
        (&json!("cancelled"), &interrupted["PK"]),
        "Ctrl-C is somebody's wish"
    );
}

fn wait_for(what: &str, there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(90), "no {what} in a minute and a half");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A file of JSON.
fn read(path: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
