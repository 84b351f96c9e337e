//! `sweep`: several runs over varied flags, compared.

use std::path::PathBuf;
use std::sync::Arc;

use layoutlm_trainer::report::table_text;
use layoutlm_trainer::sweep::{
    Axis, SweepConfig, SweepError, SweepRecord, Trial, Values, grid, random, sweep, write_sweep_reports,
};

use super::train::{self, Console};
use crate::exit::{Interrupted, usage};
use crate::{arguments, interrupt};

/// Flags of `sweep`.
#[derive(Debug, clap::Args)]
#[command(after_help = "What stands after `--` are flags of `train` that all runs share, e.g.\n  \
    layoutlm-cli sweep --name rates --vary lr=\"3e-5 6e-5\" --vary o-entity-ratio=\"1 2 4\" -- \\\n    \
    --data data/receipts --pretrained models/layoutlm-base-uncased --epochs 9")]
pub struct Args {
    /// Names the sweep and its folder; runs are called NAME-01, NAME-02, …
    #[arg(long)]
    name: String,
    /// Folder that holds runs; the sweep gets one of its own in it.
    #[arg(long, env = "LAYOUTLM_RUNS", default_value = "runs")]
    output_dir: PathBuf,
    /// A flag of `train` and the values it is given, separated by spaces; repeatable. Every combination is tried.
    #[arg(long, value_name = "FLAG=VALUES", required = true)]
    vary: Vec<Axis>,
    /// Try only so many combinations, drawn by --sweep-seed.
    #[arg(long, value_name = "COUNT")]
    random: Option<usize>,
    /// Seed of --random.
    #[arg(long, default_value_t = 1)]
    sweep_seed: u64,
    /// At each comparison one run in so many goes on; 1 lets all run to their end.
    #[arg(long, default_value_t = 3)]
    halving: usize,
    /// Epochs before the first comparison; each further one comes after --halving times as many.
    #[arg(long, default_value_t = 1)]
    first_rung: usize,
    /// Flags of `train` that all runs share.
    #[arg(last = true)]
    train: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let stop = interrupt::flag()?;
    let config = SweepConfig {
        name: args.name.clone(),
        folder: args.output_dir.join(&args.name),
        first_rung: args.first_rung,
        factor: args.halving,
    };
    let plan = match args.random {
        Some(count) => random(&args.vary, count, args.sweep_seed),
        None => grid(&args.vary),
    };
    // All trials are read before the first one trains: a wrong value is found at once.
    let mut trials: Vec<Trial> = Vec::new();
    for (i, values) in plan.into_iter().enumerate() {
        let next = trial(args, &config, i + 1, values, &trials)?;
        trials.push(next);
    }
    eprintln!("{} runs in {}", trials.len(), config.folder.display());
    let record = sweep(&config, &trials, &mut Console::new(), &stop).map_err(sort)?;
    finish(&config, &record)
}

/// Reads one trial; trials over the same receipts share them.
fn trial(
    args: &Args,
    sweep: &SweepConfig,
    number: usize,
    values: Values,
    before: &[Trial],
) -> anyhow::Result<Trial> {
    let name = format!("{}-{number:02}", args.name);
    let mut flags = ["--job-name".to_string(), name, "--output-dir".into()].to_vec();
    flags.push(sweep.folder.display().to_string());
    flags.extend(args.train.iter().cloned());
    flags.extend(values.iter().map(|(flag, value)| format!("--{flag}={value}")));
    let (config, data) = train::prepare(&arguments::train(&flags)?)?;
    let same = |t: &&Trial| t.data.train == data.train && t.data.validation == data.validation;
    let shared = before.iter().find(same).map(|t| Arc::clone(&t.data));
    Ok(Trial { values, config, data: shared.unwrap_or_else(|| Arc::new(data)) })
}

fn sort(error: SweepError) -> anyhow::Error {
    match error {
        SweepError::Interrupted(_) => Interrupted(error.to_string()).into(),
        SweepError::NoTrials => usage(error),
        other => other.into(),
    }
}

#[allow(clippy::print_stdout)] // The table and the paths are the command's result.
fn finish(config: &SweepConfig, record: &SweepRecord) -> anyhow::Result<()> {
    let paths = write_sweep_reports(record, &config.folder)?;
    print!("{}", table_text(&record.table()));
    for path in paths {
        println!("{}", path.display());
    }
    let failed = record.trials.iter().filter(|t| t.status.starts_with("failed")).count();
    if record.winner.is_none() {
        anyhow::bail!("none of the {} runs came to its end; {failed} failed", record.trials.len());
    }
    Ok(())
}
