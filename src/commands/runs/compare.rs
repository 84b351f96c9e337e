//! `runs compare`.

use layoutlm_trainer::report::{RunView, compare, comparison_section, markdown, plain};
use serde_json::json;

use super::remote::{Rebuilt, TableArgs};
use super::{Folder, list, print_json};
use crate::exit::usage;

/// Flags of `runs compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of two or more runs; the first is what the others are measured against.
    #[arg(required = true, num_args = 2..)]
    job_names: Vec<String>,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    table: TableArgs,
    /// How to print the result.
    #[arg(long, default_value = "text", value_enum)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Aligned tables.
    Text,
    /// Tables for a document.
    Markdown,
    /// One JSON object.
    Json,
}

#[allow(clippy::print_stdout)] // The table is the command's result.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let rebuilt = Rebuilt::if_asked(&args.table, &args.job_names)?;
    let folder = rebuilt.as_ref().map_or(&args.folder, Rebuilt::folder);
    let runs: Vec<RunView> = args.job_names.iter().map(|name| folder.read(name)).collect::<Result<_, _>>()?;
    if let Some(empty) = runs.iter().find(|r| r.epochs.is_empty()) {
        return Err(usage(anyhow::anyhow!(
            "{}: has no evaluation yet, so there is nothing to compare",
            empty.job_name
        )));
    }
    let refs: Vec<&RunView> = runs.iter().collect();
    let section = comparison_section("Comparison of runs", &refs, 0);
    match args.output {
        Output::Text => print!("{}", plain(&[section])),
        Output::Markdown => print!("{}", markdown("Comparison of runs", &[section])),
        Output::Json => {
            let comparison = compare(&refs);
            let rows: Vec<_> = runs
                .iter()
                .zip(&comparison.groups)
                .map(|(run, group)| {
                    let mut row = list::line(run);
                    if let Some(map) = row.as_object_mut() {
                        map.insert("comparable_set".into(), json!(group));
                    }
                    row
                })
                .collect();
            print_json(&json!({ "runs": rows, "not_comparable": comparison.reasons }))?;
        }
    }
    Ok(())
}
