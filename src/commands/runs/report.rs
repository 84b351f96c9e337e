//! `runs report`.

use layoutlm_trainer::report::{RunView, write_reports};

use super::Folder;
use crate::exit::usage;

/// Flags of `runs report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name.
    job_name: String,
    #[command(flatten)]
    folder: Folder,
}

#[allow(clippy::print_stdout)] // The paths are the command's result.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = args.folder.path(&args.job_name);
    RunView::read(&dir).map_err(usage)?;
    for path in write_reports(&dir, Some(&args.folder.output_dir))? {
        println!("{}", path.display());
    }
    Ok(())
}
