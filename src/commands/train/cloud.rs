//! Where the cloud comes in: receipts from DynamoDB, files and runs in S3. This build has neither and says so.

use std::path::Path;

use anyhow::anyhow;
use layoutlm_trainer::data::Dataset;
use layoutlm_trainer::train::Observer;

use super::args::Args;
use crate::exit::usage;

/// Labelled receipts of a table.
pub fn receipts(table: &str, region: &str) -> anyhow::Result<Dataset> {
    Err(usage(anyhow!(
        "--dynamo-table {table} (region {region}): reading from DynamoDB is not built yet; use --data"
    )))
}

/// The text of an object that a flag names by its s3:// URI.
pub fn text(flag: &str, uri: &str) -> anyhow::Result<String> {
    Err(usage(anyhow!("{flag} {uri}: reading from S3 is not built yet; fetch the file and give its path")))
}

/// Brings a run's checkpoints from S3 into the run's folder.
pub fn fetch_run(uri: &str, _run_dir: &Path) -> anyhow::Result<()> {
    Err(usage(anyhow!(
        "--resume-from-s3 {uri}: reading from S3 is not built yet; fetch the run and give its folder"
    )))
}

/// Whoever keeps the cloud informed of a run; nobody unless it was asked for.
pub fn observer(args: &Args) -> anyhow::Result<Option<Box<dyn Observer + Send>>> {
    match &args.output.output_s3_path {
        None => Ok(None),
        Some(path) => {
            Err(usage(anyhow!("--output-s3-path {path}: writing to S3 is not built yet; use --output-dir")))
        }
    }
}
