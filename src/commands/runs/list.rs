//! `runs list`.

use layoutlm_trainer::report::{RunView, Table, list_runs};
use serde_json::json;

use super::remote::{self, TableArgs};
use super::{Folder, Output, print_json, print_table, score};
use crate::exit::usage;

/// Flags of `runs list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    table: TableArgs,
    /// How to print the result.
    #[arg(long, default_value = "text", value_enum)]
    output: Output,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(table) = &args.table.dynamo_table {
        return remote::list(&args.table, table, args.output);
    }
    let dir = &args.folder.output_dir;
    std::fs::read_dir(dir)
        .map_err(|e| usage(anyhow::anyhow!("{}: {e}; give --output-dir", dir.display())))?;
    let runs = list_runs(dir);
    if args.output == Output::Json {
        return print_json(&runs.iter().map(line).collect::<Vec<_>>());
    }
    let mut table =
        Table::new(["<run", "<status", "epochs", "best F1", "precision", "recall", "seconds", "<validation"]);
    for r in &runs {
        let figure = |name| score(r.best().and_then(|e| e.get(name)));
        table.push([
            r.job_name.clone(),
            r.status.clone(),
            r.epochs.len().to_string(),
            figure("f1"),
            figure("precision"),
            figure("recall"),
            r.seconds.map_or_else(|| "-".into(), |s| format!("{s:.0}")),
            r.validation_hash.clone(),
        ]);
    }
    print_table(&table);
    Ok(())
}

/// A run as one object.
pub(super) fn line(run: &RunView) -> serde_json::Value {
    let best = run.best();
    let figure = |name| best.and_then(|e| e.get(name));
    json!({
        "job_name": run.job_name,
        "run_dir": run.dir,
        "status": run.status,
        "epochs": run.epochs.len(),
        "best_epoch": best.map(|e| e.epoch),
        "best_checkpoint": run.best_checkpoint,
        "f1": figure("f1"),
        "precision": figure("precision"),
        "recall": figure("recall"),
        "labels": run.labels,
        "val_receipts_hash": run.validation_hash,
        "num_val_receipts": run.validation_receipts,
        "seconds": run.seconds,
        "written_at": run.written_at,
    })
}
