//! `runs`: past runs of a folder.

use std::path::PathBuf;

use clap::Subcommand;
use layoutlm_trainer::run::RunRecord;

use crate::exit::usage;

/// What can be asked of past runs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One line per run.
    List(Folder),
    /// One run's epochs and best checkpoint.
    Show(Show),
}

/// Where runs lie.
#[derive(Debug, clap::Args)]
pub struct Folder {
    /// Folder that holds runs.
    #[arg(long, env = "LAYOUTLM_RUNS", default_value = "runs")]
    output_dir: PathBuf,
}

/// Flags of `runs show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The run's name.
    job_name: String,
    #[command(flatten)]
    folder: Folder,
}

/// Runs the command.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(folder) => list(&folder),
        Command::Show(show) => one(&show),
    }
}

#[allow(clippy::print_stdout)] // The table is the command's result.
fn list(folder: &Folder) -> anyhow::Result<()> {
    let dir = &folder.output_dir;
    let entries = std::fs::read_dir(dir)
        .map_err(|e| usage(anyhow::anyhow!("{}: {e}; give --output-dir", dir.display())))?;
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.join("run.json").is_file()).collect();
    paths.sort();
    println!("{:40} {:12} {:>7} {:>8} {:>9}  validation", "run", "status", "epochs", "best", "seconds");
    for path in paths {
        match RunRecord::read(&path) {
            Err(e) => eprintln!("{e}"),
            Ok(run) => {
                let best = run.best.as_ref().map_or("-".to_string(), |b| format!("{:.4}", b.value));
                println!(
                    "{:40} {:12} {:>7} {best:>8} {:>9.0}  {}",
                    run.job_name,
                    run.status,
                    run.epoch_metrics.len(),
                    run.seconds,
                    run.split_metadata.val_receipts_hash
                );
            }
        }
    }
    Ok(())
}

#[allow(clippy::print_stdout)] // The table is the command's result.
fn one(show: &Show) -> anyhow::Result<()> {
    let run = RunRecord::read(&show.folder.output_dir.join(&show.job_name)).map_err(usage)?;
    println!("{} ({}), {} labels, {}", run.job_name, run.status, run.num_labels, run.machine);
    println!("{}", run.comparability.reason);
    println!("{:>6} {:>8} {:>10} {:>9} {:>9} {:>9}", "epoch", "step", "loss", "precision", "recall", "f1");
    for m in &run.epoch_metrics {
        let get = |name| m.get(name).unwrap_or(0.0);
        println!(
            "{:>6} {:>8} {:>10.4} {:>9.4} {:>9.4} {:>9.4}",
            m.epoch,
            m.global_step,
            m.train_loss,
            get("precision"),
            get("recall"),
            get("f1")
        );
    }
    if let Some(best) = run.best {
        println!("best: {} ({} {:.4})", best.checkpoint, best.metric, best.value);
    }
    Ok(())
}
