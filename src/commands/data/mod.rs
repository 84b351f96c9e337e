//! `data`: make receipts, bring them in, look into them, freeze them.

mod audit;
mod import;
mod snapshot;
mod stats;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use layoutlm_core::receipt::Receipt;
use layoutlm_trainer::data::{SynthSize, synthesize_splits};

use super::receipts::JsonLines;
use crate::exit::usage;

/// What can be done with data.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make labelled receipts of made-up merchants, always the same for a seed.
    Synth(Synth),
    /// Bring receipts into JSONL files: SROIE, CORD and FUNSD as published, folders, files, several together.
    Import(import::Args),
    /// Freeze an encoded, divided data set under the hash of its content, for `train --dataset-snapshot-load`.
    Snapshot(Box<snapshot::Args>),
    /// Count labels by status, merged labels, lengths, and what a token limit would lose.
    Stats(stats::Args),
    /// Rank labels that models trained without them contradict, as a review list.
    Audit(audit::Args),
}

/// Flags of `data synth`.
#[derive(Debug, clap::Args)]
pub struct Synth {
    /// Folder for train.jsonl, validation.jsonl and test.jsonl.
    #[arg(long)]
    output: PathBuf,
    /// Seed.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Training receipts.
    #[arg(long, default_value_t = SynthSize::default().train)]
    train: usize,
    /// Validation receipts, of merchants of their own.
    #[arg(long, default_value_t = SynthSize::default().validation)]
    validation: usize,
    /// Test receipts, of merchants of their own.
    #[arg(long, default_value_t = SynthSize::default().test)]
    test: usize,
    /// Merchants over all three.
    #[arg(long, default_value_t = SynthSize::default().merchants)]
    merchants: usize,
}

/// Runs the command.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Synth(args) => synth(args),
        Command::Import(args) => import::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Audit(args) => audit::run(&args),
    }
}

#[allow(clippy::print_stdout)] // The folder is the command's result.
fn synth(args: Synth) -> anyhow::Result<()> {
    for (flag, value, least) in
        [("--train", args.train, 1), ("--validation", args.validation, 1), ("--merchants", args.merchants, 3)]
    {
        if value < least {
            return Err(usage(anyhow::anyhow!("{flag} {value}: must be at least {least}")));
        }
    }
    let size = SynthSize {
        train: args.train,
        validation: args.validation,
        test: args.test,
        merchants: args.merchants,
    };
    write_synthetic(&args.output, args.seed, size)?;
    println!("{}", args.output.display());
    Ok(())
}

/// Writes a synthetic data set's three files.
pub fn write_synthetic(folder: &Path, seed: u64, size: SynthSize) -> anyhow::Result<()> {
    let data = synthesize_splits(seed, size);
    std::fs::create_dir_all(folder).map_err(|e| usage(anyhow::anyhow!("{}: {e}", folder.display())))?;
    let parts = [("train", Some(data.train)), ("validation", data.validation), ("test", data.test)];
    for (name, receipts) in parts {
        write(&folder.join(format!("{name}.jsonl")), &receipts.unwrap_or_default())?;
    }
    Ok(())
}

/// Writes receipts as JSON lines.
fn write(path: &Path, receipts: &[Receipt]) -> anyhow::Result<()> {
    let mut out = JsonLines::create(Some(path))?;
    receipts.iter().try_for_each(|r| out.push(r))?;
    out.finish()
}
