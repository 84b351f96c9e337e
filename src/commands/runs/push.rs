//! `runs push`: sends what a run could not send while it went on.

use std::path::PathBuf;

use layoutlm_aws::record::Journal;
use layoutlm_aws::s3::RunSync;
use serde_json::Value;

use crate::cloud::{Cloud, sort};
use crate::exit::usage;

/// Flags of `runs push`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's folder, or its name in --output-dir.
    run: PathBuf,
    /// Folder that holds runs.
    #[arg(long, env = "LAYOUTLM_RUNS", default_value = "runs")]
    output_dir: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let folder =
        if args.run.join("run.json").is_file() { args.run.clone() } else { args.output_dir.join(&args.run) };
    let text = std::fs::read_to_string(folder.join("run.json"))
        .map_err(|e| usage(anyhow::anyhow!("{}: is no run ({e})", folder.display())))?;
    let record: Value = serde_json::from_str(&text).unwrap_or_default();
    let mut journal = Journal::open(&folder).map_err(sort)?;
    if let Some((table, region)) = journal.destination().map(|(t, r)| (t.to_string(), r.to_string())) {
        let cloud = Cloud::connect(Some(&region))?;
        let pushed = cloud.wait(journal.flush(&cloud.aws.table(&table)))?;
        eprintln!("{} records sent to {table}", pushed.written);
        if pushed.refused > 0 {
            eprintln!("warning: {} refused: the job is another trainer's now", pushed.refused);
        }
    }
    if let Some((place, region)) = RunSync::destination(&folder) {
        let cloud = Cloud::connect(Some(&region))?;
        let root = place.root.clone();
        let mut sync = RunSync::new(&cloud.aws, place, &folder).map_err(sort)?;
        let report = if record.get("status").is_some_and(|status| status == "succeeded") {
            cloud.wait(sync.finish())?
        } else {
            let mut report = cloud.wait(sync.checkpoints())?;
            report.add(cloud.wait(sync.records())?);
            report
        };
        let bundle = folder.join("bundle/manifest.json").is_file();
        let bundle = if bundle { cloud.wait(sync.folder("bundle", "bundle/"))?.files } else { 0 };
        eprintln!("{} files sent to {root}, {} were there", report.files + bundle, report.unchanged);
    }
    Ok(())
}
