//! `runs`: past runs of a folder, shown, compared and reported.

mod compare;
mod list;
mod push;
mod remote;
mod report;
mod show;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use layoutlm_trainer::report::{RunView, Table, table_text};
use serde::Serialize;

use crate::exit::usage;

/// What can be asked of past runs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One line per run, oldest first.
    List(list::Args),
    /// One run's epochs, labels and best checkpoint.
    Show(show::Args),
    /// Runs side by side; says which of them may be compared at all.
    Compare(compare::Args),
    /// Write a run's RESULTS.md and report.html again.
    Report(report::Args),
    /// Send records and files that a run could not send while it went on.
    Push(push::Args),
}

/// Where runs lie.
#[derive(Debug, clap::Args)]
pub struct Folder {
    /// Folder that holds runs.
    #[arg(long, env = "LAYOUTLM_RUNS", default_value = "runs")]
    output_dir: PathBuf,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    Text,
    /// One JSON object.
    Json,
}

impl Folder {
    /// Reads a run given by its name, or by its folder.
    fn read(&self, name: &str) -> anyhow::Result<RunView> {
        RunView::read(&self.path(name)).map_err(usage)
    }

    /// The folder of a run given by its name, or by its folder.
    fn path(&self, name: &str) -> PathBuf {
        let named = self.output_dir.join(name);
        let given = Path::new(name);
        if !named.join("run.json").is_file() && given.join("run.json").is_file() {
            given.into()
        } else {
            named
        }
    }
}

/// Runs the command.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => list::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Push(args) => push::run(&args),
    }
}

#[allow(clippy::print_stdout)] // The table is the command's result.
fn print_table(table: &Table) {
    print!("{}", table_text(table));
}

#[allow(clippy::print_stdout)] // Machine-readable results are stdout's purpose.
fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// A score with four digits, a dash where there is none.
fn score(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |v| format!("{v:.4}"))
}
