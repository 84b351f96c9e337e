//! `evaluate`: what a model is worth on labelled receipts.

use std::path::{Path, PathBuf};

use layoutlm_core::evaluate::{Evaluation, GoldReceipt, evaluate};
use layoutlm_core::receipt::{Receipt, ValidationStatus};

use super::model::{EngineArgs, Model};
use super::receipts::read;
use crate::exit::usage;
use crate::progress;

/// Flags of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Checkpoint folder, run folder or bundle.
    #[arg(long)]
    model: PathBuf,
    /// Labelled receipts: a JSONL file, or a folder with `SPLIT.jsonl`.
    #[arg(long)]
    data: PathBuf,
    /// Which file of a folder to use.
    #[arg(long, default_value = "test")]
    split: String,
    /// How to print the result.
    #[arg(long, default_value = "text", value_enum)]
    output: Output,
    /// Count lines that can't be read and go on.
    #[arg(long)]
    skip_bad_lines: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table for people.
    Text,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let path =
        if args.data.is_dir() { args.data.join(format!("{}.jsonl", args.split)) } else { args.data.clone() };
    let receipts = read(&path, args.skip_bad_lines)?;
    if receipts.is_empty() {
        return Err(usage(anyhow::anyhow!("{}: no receipts", path.display())));
    }
    let result = score(&args.model, &receipts, &args.engine)?;
    match args.output {
        Output::Json => print_json(&result),
        Output::Text => {
            eprint!("{}", table(&result));
            Ok(())
        }
    }
}

/// Labels and scores receipts with a checkpoint or bundle.
pub fn score(model: &Path, receipts: &[Receipt], engine: &EngineArgs) -> anyhow::Result<Evaluation> {
    let model = Model::open(model, engine)?;
    let gold: Vec<GoldReceipt> = receipts
        .iter()
        .map(|r| GoldReceipt::new(&model.encoder, r, ValidationStatus::Valid))
        .collect::<Result<_, _>>()?;
    let bar = progress::bar(gold.len() as u64, "receipts");
    let result =
        evaluate(&model.encoder, model.classifier.as_ref(), &gold, &|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(result)
}

#[allow(clippy::print_stdout)] // Machine-readable results are stdout's purpose.
fn print_json(result: &Evaluation) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}

/// Per-label scores and averages as aligned text.
pub fn table(result: &Evaluation) -> String {
    let report = &result.report;
    let width = report.per_label.keys().map(String::len).max().unwrap_or(0).max("weighted avg".len());
    let mut out = format!("{:width$} {:>9} {:>9} {:>9} {:>9}\n", "", "precision", "recall", "f1", "support");
    let averages =
        [("micro avg", &report.micro), ("macro avg", &report.macro_avg), ("weighted avg", &report.weighted)];
    let rows = report.per_label.iter().map(|(name, s)| (name.as_str(), s)).chain(averages);
    for (name, s) in rows {
        let numbers = format!("{:>9.4} {:>9.4} {:>9.4} {:>9}", s.precision, s.recall, s.f1, s.support);
        out.push_str(&format!("{name:width$} {numbers}\n"));
    }
    out.push_str(&format!(
        "{} receipts, {} words, token accuracy {:.4}, strict IOB2 F1 {:.4}\n",
        result.receipts, result.words, result.token_accuracy, result.strict.micro.f1
    ));
    out
}
