//! Where the cloud comes in: receipts from DynamoDB, files and runs in S3, and a run's records on their way there.

mod fetch;
mod receipts;
mod reporter;
mod spot;
mod worker;

pub use fetch::{fetch_run, text};
pub use receipts::receipts;
pub use reporter::{MetricLines, reporter};
pub use spot::SpotWatch;

use std::path::Path;

use layoutlm_aws::s3::{RunPlace, RunSync};

use super::args::Args;
use crate::cloud::{Cloud, sort};
use crate::exit::usage;

/// Where the run goes in S3, if it does.
pub fn place(args: &Args) -> anyhow::Result<Option<RunPlace>> {
    let path = args.output.output_s3_path.as_deref().filter(|path| !path.is_empty());
    path.map(|path| RunPlace::new(path, &args.job_name))
        .transpose()
        .map_err(|e| usage(anyhow::anyhow!("--output-s3-path: {e}")))
}

/// Sends an exported bundle to where the run went.
pub fn send_bundle(args: &Args, run_dir: &Path) -> anyhow::Result<()> {
    let Some(place) = place(args)? else { return Ok(()) };
    let cloud = Cloud::connect(Some(&args.data.region))?;
    let uri = place.root.join("bundle/");
    let mut sync = RunSync::new(&cloud.aws, place, run_dir).map_err(sort)?;
    cloud.wait(sync.folder("bundle", "bundle/"))?;
    eprintln!("bundle sent to {uri}");
    Ok(())
}
