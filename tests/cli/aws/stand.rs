//! A table, a bucket and a small model to start from.

use std::process::{Command, Output};

use layoutlm_emulators::{CREDENTIALS, Dynamo, Metadata, Proxy, S3, neutral};
use layoutlm_tests::model::write_checkpoint;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{cli, stderr};

/// The table's name in these tests.
pub(super) const TABLE: &str = "ReceiptsTable-dc5be22";
/// The bucket's.
pub(super) const BUCKET: &str = "layoutlm-training";

/// Everything a test needs of AWS.
pub(super) struct Stand {
    pub(super) runtime: Runtime,
    pub(super) dynamo: Dynamo,
    pub(super) table: Proxy,
    pub(super) s3: S3,
    pub(super) bucket: Proxy,
    pub(super) folder: tempfile::TempDir,
}

impl Stand {
    /// Services with an empty table and bucket.
    pub(super) fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (dynamo, table, s3, bucket) = runtime.block_on(async {
            let dynamo = Dynamo::start().await;
            dynamo.create(TABLE).await;
            let table = Proxy::start(&dynamo.url).await;
            let s3 = S3::start(&[BUCKET]).await;
            let bucket = Proxy::start(&s3.url).await;
            (dynamo, table, s3, bucket)
        });
        let folder = tempfile::tempdir().unwrap();
        write_checkpoint(&folder.path().join("pretrained"));
        Self { runtime, dynamo, table, s3, bucket, folder }
    }

    /// The same with receipts of the shared material in the table: the first `count` of some files.
    pub(super) fn with(paths: &[&str], count: usize) -> Option<Self> {
        let read = |path: &&str| Some(std::fs::read_to_string(layoutlm_tests::shared(path)?).unwrap());
        let texts: Option<Vec<String>> = paths.iter().map(read).collect();
        let texts = texts?;
        let stand = Self::new();
        let lines = texts.iter().flat_map(|text| text.lines()).take(count);
        let receipts = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let items: Vec<Value> = receipts.flat_map(|receipt| neutral::items(&receipt)).collect();
        stand.runtime.block_on(stand.dynamo.fill(TABLE, &items));
        Some(stand)
    }

    /// The program with these services around it.
    pub(super) fn command(&self) -> Command {
        let mut command = cli();
        let (key, secret) = CREDENTIALS;
        command
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.table.url)
            .env("AWS_ENDPOINT_URL_S3", &self.bucket.url)
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_PROFILE")
            .env("HOME", self.folder.path())
            .env("LAYOUTLM_PRETRAINED", self.folder.path().join("pretrained"))
            .env("LAYOUTLM_RUNS", self.folder.path().join("runs"))
            .env("LAYOUTLM_THREADS", "1");
        command
    }

    /// A training run of seconds on the table, its files sent to the bucket.
    pub(super) fn train(&self, more: &[&str]) -> Command {
        let mut command = self.command();
        command.args([
            "train",
            "--job-name",
            "receipts-1",
            "--dynamo-table",
            TABLE,
            "--output-s3-path",
            BUCKET,
        ]);
        command.args(["--batch-size", "8", "--lr", "1e-3", "--no-frozen-val"]).args(more);
        if !more.contains(&"--epochs") {
            command.args(["--epochs", "2"]);
        }
        command
    }

    /// Job items of the table.
    pub(super) fn jobs(&self) -> Vec<Value> {
        self.items("JOB")
    }

    /// Items of one type, as plain JSON.
    pub(super) fn items(&self, kind: &str) -> Vec<Value> {
        let items = self.runtime.block_on(self.dynamo.scan(TABLE));
        let plain = items.iter().map(|item| {
            let fields = item.iter().map(|(k, v)| (k.clone(), layoutlm_aws::dynamo::value_to_plain(v)));
            Value::Object(fields.collect())
        });
        plain.filter(|item| item["TYPE"] == kind).collect()
    }

    /// Metadata of a spot instance.
    pub(super) fn metadata(&self) -> Metadata {
        self.runtime.block_on(Metadata::start())
    }

    /// The run's folder.
    pub(super) fn run_dir(&self, job: &str) -> std::path::PathBuf {
        self.folder.path().join("runs").join(job)
    }
}

/// Runs to the end and expects success.
pub(super) fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status.code(), stderr(&output));
    output
}

/// Runs to the end, expects an exit code, and gives what was said.
pub(super) fn refused(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}
