//! `data snapshot`: an encoded, divided data set under its content hash.

use std::path::PathBuf;

use layoutlm_trainer::config::TrainConfig;
use layoutlm_trainer::train::freeze;

use crate::commands::train::{
    DataArgs, EncodingArgs, LabelArgs, StartArgs, divide, gather, known_labels, sort,
};
use crate::effective::Effective;
use crate::exit::usage;

/// Flags of `data snapshot`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// Folder to put the snapshot's folder into.
    #[arg(long, env = "LAYOUTLM_DATASET_SNAPSHOT_SAVE", value_name = "FOLDER")]
    output: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    encoding: EncodingArgs,
    #[command(flatten)]
    start: StartArgs,
    /// Every option with its value and who gave it.
    #[arg(skip)]
    pub effective: Effective,
}

/// Runs the command.
#[allow(clippy::print_stdout)] // The folder is the command's result.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let dataset = gather(&args.data, &args.effective)?;
    let config = TrainConfig {
        job_name: "snapshot".into(),
        start: args.start.start()?,
        seed: args.data.seed,
        validation_status: args.data.status(),
        scheme: args.labels.scheme(&known_labels(&dataset), args.encoding.loader())?,
        ..TrainConfig::default()
    };
    let config = args.encoding.apply(config);
    config.check().map_err(usage)?;
    let data = divide(dataset, &args.data, &config)?;
    if let Some(leakage) = &data.leakage {
        eprintln!("{leakage}");
    }
    let folder = freeze(&config, &data, &args.output).map_err(sort)?;
    println!("{}", folder.display());
    Ok(())
}
