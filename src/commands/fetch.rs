//! Models that are somewhere else: an s3:// address, or whatever a job of the table left.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use layoutlm_aws::jobs::{active_job, find_job};
use layoutlm_aws::s3::{S3Uri, fetch_model};

use crate::cloud::Cloud;
use crate::exit::usage;

/// Where a model is looked up in the table.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "AWS")]
pub struct JobArgs {
    /// Take the best checkpoint of the newest job of this name.
    #[arg(long, value_name = "NAME", requires = "dynamo_table", conflicts_with_all = ["checkpoint", "active_job"])]
    pub job_name: Option<String>,
    /// Take the model that serves: the newest succeeded job tagged active_model.
    #[arg(long, requires = "dynamo_table", conflicts_with = "checkpoint")]
    pub active_job: bool,
    /// DynamoDB table that holds the jobs.
    #[arg(long, env = "DYNAMO_TABLE_NAME", value_name = "TABLE")]
    pub dynamo_table: Option<String>,
    /// AWS region of table and bucket.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub region: String,
}

impl JobArgs {
    /// The local folder of the checkpoint given, or of the job's best one.
    pub fn checkpoint(&self, given: Option<&Path>) -> anyhow::Result<PathBuf> {
        if let Some(path) = given {
            return local(path, Some(&self.region));
        }
        let Some(table) = self.dynamo_table.as_deref().filter(|_| self.active_job || self.job_name.is_some())
        else {
            return Err(usage(anyhow!(
                "no model: give --checkpoint, or --job-name or --active-job with --dynamo-table"
            )));
        };
        let cloud = Cloud::connect(Some(&self.region))?;
        let table = cloud.aws.table(table);
        let job = match &self.job_name {
            Some(name) => cloud.wait(find_job(&table, name))?,
            None => cloud.wait(active_job(&table))?,
        };
        let best = job.best_uri().ok_or_else(|| {
            usage(anyhow!(
                "job {} ({}) has no files in S3: it was run without --output-s3-path",
                job.name,
                job.job_id
            ))
        })?;
        eprintln!("{} of {}: {best}", job.job_id, job.name);
        cloud.wait(fetch_model(&cloud.aws, &best, &cache()))
    }
}

/// The path itself, or the local copy of what an s3:// address names.
pub fn local(path: &Path, region: Option<&str>) -> anyhow::Result<PathBuf> {
    let text = path.to_string_lossy();
    if !S3Uri::looks_like(&text) {
        return Ok(path.to_path_buf());
    }
    let uri: S3Uri = text.parse().map_err(usage)?;
    let cloud = Cloud::connect(region)?;
    cloud.wait(fetch_model(&cloud.aws, &uri, &cache()))
}

/// Where models are kept: by content, so that none is fetched twice.
fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/layoutlm"));
    home.unwrap_or_else(|| std::env::temp_dir().join("layoutlm")).join("models")
}
