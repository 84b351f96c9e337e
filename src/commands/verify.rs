//! `verify`: repeats a bundle's proof on this machine.

use std::path::PathBuf;

use layoutlm_exporter::{VerifyOptions, verify};

use super::export::{evidence, opener, show_certificate, watched};
use super::model::EngineArgs;
use crate::interrupt;

/// Flags of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bundle folder.
    bundle: PathBuf,
    /// Receipts to compare on [default: the bundle's probe]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Which file of a --data folder to use.
    #[arg(long, default_value = "validation")]
    split: String,
    /// Checkpoint to compare with [default: where the manifest says, else the bundle's fp32 graph]
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let stop = interrupt::flag()?;
    args.engine.limit_threads()?;
    let runtime = args.engine.runtime()?;
    let evidence = args.data.as_deref().map(|data| evidence(data, &args.split)).transpose()?;
    let options = VerifyOptions { evidence, checkpoint: args.checkpoint, threads: args.engine.threads() };
    let open = opener(&runtime, args.engine.threads());
    let certificates = watched(&stop, |watch| verify(&args.bundle, &options, &open, watch))?;
    for (name, certificate) in &certificates {
        show_certificate(name, certificate);
    }
    eprintln!("{}: every file and every variant as proven", args.bundle.display());
    Ok(())
}
