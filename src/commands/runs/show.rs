//! `runs show`.

use layoutlm_trainer::report::{RunView, Table, table_text, tables};
use serde_json::json;

use super::remote::{Rebuilt, TableArgs};
use super::{Folder, Output, list, print_json, score};

/// Flags of `runs show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name.
    job_name: String,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    table: TableArgs,
    /// How to print the result.
    #[arg(long, default_value = "text", value_enum)]
    output: Output,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let rebuilt = Rebuilt::if_asked(&args.table, std::slice::from_ref(&args.job_name))?;
    let run = rebuilt.as_ref().map_or(&args.folder, Rebuilt::folder).read(&args.job_name)?;
    match args.output {
        Output::Json => print_json(&object(&run)),
        Output::Text => {
            text(&run);
            Ok(())
        }
    }
}

fn object(run: &RunView) -> serde_json::Value {
    let mut out = list::line(run);
    let epochs: Vec<_> = run
        .epochs
        .iter()
        .map(|e| {
            json!({"epoch": e.epoch, "step": e.step, "train_loss": e.train_loss, "learning_rate": e.learning_rate,
                "figures": e.figures})
        })
        .collect();
    if let Some(map) = out.as_object_mut() {
        map.insert("epoch_metrics".into(), json!(epochs));
        map.insert("training_config".into(), json!(run.training));
        map.insert("data_config".into(), json!(run.data));
        map.insert("evaluation".into(), json!(run.evaluation));
    }
    out
}

#[allow(clippy::print_stdout)] // The tables are the command's result.
fn text(run: &RunView) {
    println!("{} ({}), {} labels, {}", run.job_name, run.status, run.labels.len(), run.machine);
    println!("{}\n", run.comparability);
    let mut table = Table::new(["epoch", "step", "train loss", "eval loss", "precision", "recall", "F1"]);
    for e in &run.epochs {
        let figure = |name| score(e.get(name));
        table.push([
            e.epoch.to_string(),
            e.step.to_string(),
            score(e.train_loss),
            figure("loss"),
            figure("precision"),
            figure("recall"),
            figure("f1"),
        ]);
    }
    print!("{}", table_text(&table));
    if let Some(best) = run.best() {
        let name = run.best_checkpoint.clone().unwrap_or_else(|| format!("step {}", best.step));
        println!(
            "\nbest: {name} of epoch {} ({} {})",
            best.epoch,
            run.best_metric,
            score(best.get(&run.best_metric))
        );
    }
    if let Some(evaluation) = &run.evaluation {
        print!("\n{}", table_text(&tables::scores(evaluation)));
    }
}
