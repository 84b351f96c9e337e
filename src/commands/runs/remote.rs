//! Past runs out of the table instead of a folder.

use anyhow::Context;
use layoutlm_aws::dynamo::ItemError;
use layoutlm_aws::jobs::{find_job, job_history, list_jobs};
use layoutlm_aws::record::run_record;
use layoutlm_trainer::report::Table;

use super::{Folder, Output, print_json, print_table, score};
use crate::cloud::Cloud;

/// Where runs are, when not in a folder.
#[derive(Debug, Clone, clap::Args)]
pub struct TableArgs {
    /// DynamoDB table that holds the runs' records; by default runs are looked for in --output-dir.
    #[arg(long, value_name = "TABLE")]
    pub dynamo_table: Option<String>,
    /// AWS region of the table.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub region: String,
}

/// One line per job, newest first.
pub(super) fn list(args: &TableArgs, table: &str, output: Output) -> anyhow::Result<()> {
    let cloud = Cloud::connect(Some(&args.region))?;
    let (jobs, malformed) = cloud.wait(list_jobs(&cloud.aws.table(table)))?;
    tell(&malformed);
    if output == Output::Json {
        return print_json(&jobs);
    }
    let mut rows = Table::new(["<run", "<status", "<created", "best F1", "epoch", "<comparable", "<job id"]);
    for job in &jobs {
        let result = |name: &str| job.results.get(name);
        let yes = job.job_config.get("metrics_comparable").and_then(serde_json::Value::as_bool);
        rows.push([
            job.name.clone(),
            job.status.to_string(),
            job.created_at.chars().take(19).collect(),
            score(result("best_f1").and_then(serde_json::Value::as_f64)),
            result("best_epoch").map_or_else(|| "-".into(), ToString::to_string),
            yes.map_or("-", |yes| if yes { "yes" } else { "no" }).into(),
            job.job_id.clone(),
        ]);
    }
    print_table(&rows);
    Ok(())
}

/// Runs as a folder that the other commands read: it holds the `run.json` that the table's records amount to.
pub(super) struct Rebuilt {
    folder: Folder,
    /// Removed with this value.
    _files: tempfile::TempDir,
}

impl Rebuilt {
    /// Of the newest job of each name, where a table is named.
    pub(super) fn if_asked(args: &TableArgs, names: &[String]) -> anyhow::Result<Option<Self>> {
        let Some(table) = &args.dynamo_table else { return Ok(None) };
        let cloud = Cloud::connect(Some(&args.region))?;
        let table = cloud.aws.table(table);
        let files = tempfile::tempdir().context("no temporary folder")?;
        for name in names {
            let job = cloud.wait(find_job(&table, name))?;
            let history = cloud.wait(job_history(&table, &job.job_id))?;
            tell(&history.malformed);
            let run = files.path().join(name);
            std::fs::create_dir_all(&run).with_context(|| name.clone())?;
            let record = run_record(&job, &history).to_string();
            std::fs::write(run.join("run.json"), record).with_context(|| name.clone())?;
        }
        let folder = Folder { output_dir: files.path().into() };
        Ok(Some(Self { folder, _files: files }))
    }

    /// The folder of runs.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }
}

fn tell(malformed: &[ItemError]) {
    malformed.iter().for_each(|e| eprintln!("left out: {e}"));
}
