//! How the table is read, and how the run is told to AWS.

use std::path::PathBuf;
use std::time::Duration;

use layoutlm_aws::load::{CacheOptions, Source};

use crate::exit::usage;

/// Flags about DynamoDB.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "AWS")]
pub struct CloudArgs {
    /// How the table is read: indexes (labels by status, then their receipts' words), scan (every item once), or the
    /// s3:// URI of an export of the table in DynamoDB JSON.
    #[arg(long, env = "LAYOUTLM_DYNAMO_SOURCE", default_value = "indexes", value_name = "SOURCE")]
    pub dynamo_source: String,
    /// Requests to the table under way at once.
    #[arg(long, env = "LAYOUTLM_DYNAMO_CONCURRENCY", default_value_t = 16, value_name = "REQUESTS",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub dynamo_concurrency: u16,
    /// Folder of the local cache of tables [default: ~/.cache/layoutlm/dynamodb]
    #[arg(long, env = "LAYOUTLM_DYNAMO_CACHE", value_name = "FOLDER")]
    pub dynamo_cache: Option<PathBuf>,
    /// How long what was read from the table counts; 0 keeps nothing.
    #[arg(long, env = "LAYOUTLM_CACHE_HOURS", default_value_t = 1.0, value_name = "HOURS")]
    pub cache_hours: f64,
    /// Read the table anew, whatever the cache holds.
    #[arg(long, env = "LAYOUTLM_REFRESH")]
    pub refresh: bool,
    /// Don't write this run's job, status, metrics and checkpoints to the table.
    #[arg(long, env = "LAYOUTLM_NO_JOB_RECORDS")]
    pub no_job_records: bool,
    /// Don't look for the notice that a spot instance is taken back.
    #[arg(long, env = "LAYOUTLM_NO_SPOT_WATCH")]
    pub no_spot_watch: bool,
}

impl CloudArgs {
    /// Refuses values that make no sense, used or not.
    pub fn check(&self) -> anyhow::Result<()> {
        self.source()?;
        self.cache()?;
        match &self.dynamo_cache {
            Some(folder) if folder.exists() && !folder.is_dir() => {
                Err(usage(anyhow::anyhow!("--dynamo-cache {}: is no folder", folder.display())))
            }
            _ => Ok(()),
        }
    }

    /// Where items come from.
    pub fn source(&self) -> anyhow::Result<Source> {
        match self.dynamo_source.as_str() {
            "indexes" => Ok(Source::Indexes),
            "scan" => Ok(Source::Scan),
            uri if uri.starts_with("s3://") => Ok(Source::Export(uri.parse().map_err(usage)?)),
            other => Err(usage(anyhow::anyhow!(
                "--dynamo-source {other}: expected indexes, scan, or the s3:// URI of an export"
            ))),
        }
    }

    /// The cache, unless it is turned off or there is no place for it.
    pub fn cache(&self) -> anyhow::Result<Option<CacheOptions>> {
        let max_age = Duration::try_from_secs_f64(self.cache_hours * 3600.0).map_err(|_| {
            usage(anyhow::anyhow!("--cache-hours {}: expected 0 or a number of hours", self.cache_hours))
        })?;
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/layoutlm/dynamodb"));
        let folder = self.dynamo_cache.clone().or_else(home).filter(|_| !max_age.is_zero());
        Ok(folder.map(|folder| CacheOptions { folder, max_age, refresh: self.refresh }))
    }
}
