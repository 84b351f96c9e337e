//! `data audit`: labels worth a second look.

use std::path::{Path, PathBuf};

use layoutlm_core::receipt::Receipt;
use layoutlm_trainer::audit::{
    AuditConfig, AuditError, AuditReport, Corrupted, Experiment, audit, corrupt, judge, review_page,
};
use layoutlm_trainer::config::TrainConfig;
use layoutlm_trainer::files::write_json;
use layoutlm_trainer::report::write_text;
use serde_json::json;

use crate::commands::receipts::JsonLines;
use crate::commands::train::{self, Console};
use crate::exit::{Interrupted, usage};
use crate::{arguments, interrupt};

/// Flags of `data audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "What stands after `--` are flags of `train`, e.g.\n  \
    layoutlm-cli data audit --data data/receipts --output audit -- --scratch-hidden 128 --lr 1e-3 --epochs 8")]
pub struct Args {
    /// Labelled receipts: a JSONL file, or a folder with train.jsonl; its training and validation parts are audited.
    #[arg(long)]
    data: PathBuf,
    /// Folder for the models, doubts.jsonl (the review list), review.html and audit.json.
    #[arg(long)]
    output: PathBuf,
    /// Models trained; each labels receipts that it never saw.
    #[arg(long, default_value_t = 4)]
    folds: usize,
    /// Leave out doubts below this score (probability of the proposed label minus that of the given one).
    #[arg(long, default_value_t = 0.0)]
    min_score: f64,
    /// Doubts drawn in review.html.
    #[arg(long, default_value_t = 200)]
    show: usize,
    /// Give this share of the entities a wrong label first, and count how many of them the list begins with.
    #[arg(long, value_name = "SHARE")]
    experiment_corrupt: Option<f64>,
    /// Seed of that corruption.
    #[arg(long, default_value_t = 1)]
    corrupt_seed: u64,
    /// Flags of `train`.
    #[arg(last = true)]
    train: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let stop = interrupt::flag()?;
    let (config, mut receipts) = prepare(args)?;
    let wrong = wrong_labels(args, &config, &mut receipts)?;
    let audit_config = AuditConfig { folds: args.folds, train: config, min_score: args.min_score };
    let report = audit(&audit_config, &receipts, &mut Console::new(), &stop).map_err(sort)?;
    let experiment = wrong.as_ref().map(|(wrong, entities)| judge(&report.doubts, wrong, *entities));
    write(args, &report, &receipts, experiment.as_ref(), wrong.as_ref().map(|(w, _)| w.as_slice()))?;
    tell(args, &report, experiment.as_ref());
    Ok(())
}

fn prepare(args: &Args) -> anyhow::Result<(TrainConfig, Vec<Receipt>)> {
    let text = |path: &Path| path.display().to_string();
    let models = args.output.join("models");
    let mut flags: Vec<String> = ["--job-name", "audit", "--data"].map(String::from).into();
    flags.extend([text(&args.data), "--output-dir".into(), text(&models), "--no-frozen-val".into()]);
    flags.extend(args.train.iter().cloned());
    let (config, data) = train::prepare(&arguments::train(&flags)?)?;
    let receipts = data.train.into_iter().chain(data.validation).collect();
    std::fs::create_dir_all(&args.output)
        .map_err(|e| usage(anyhow::anyhow!("{}: {e}", args.output.display())))?;
    Ok((config, receipts))
}

type Wrong = Option<(Vec<Corrupted>, usize)>;

fn wrong_labels(args: &Args, config: &TrainConfig, receipts: &mut [Receipt]) -> anyhow::Result<Wrong> {
    let Some(share) = args.experiment_corrupt else { return Ok(None) };
    if !(share > 0.0 && share < 1.0) {
        return Err(usage(anyhow::anyhow!("--experiment-corrupt {share}: must be above 0 and below 1")));
    }
    let (wrong, entities) = corrupt(receipts, &config.scheme, share, args.corrupt_seed);
    if wrong.is_empty() {
        let text =
            "--experiment-corrupt: nothing to corrupt; the receipts need entities of at least two labels";
        return Err(usage(anyhow::anyhow!(text)));
    }
    eprintln!("{} of {entities} entities were given a wrong label", wrong.len());
    Ok(Some((wrong, entities)))
}

fn sort(error: AuditError) -> anyhow::Error {
    match error {
        AuditError::Interrupted(_) => Interrupted(error.to_string()).into(),
        AuditError::Folds { .. } => usage(error),
        AuditError::Train { fold, source } => train::sort(source).context(format!("fold {fold}")),
        other => other.into(),
    }
}

fn write(
    args: &Args,
    report: &AuditReport,
    receipts: &[Receipt],
    experiment: Option<&Experiment>,
    wrong: Option<&[Corrupted]>,
) -> anyhow::Result<()> {
    let mut lines = JsonLines::create(Some(&args.output.join("doubts.jsonl")))?;
    report.doubts.iter().try_for_each(|d| lines.push(d))?;
    lines.finish()?;
    write_text(&args.output.join("review.html"), &review_page(report, receipts, experiment, args.show))?;
    let summary = json!({
        "receipts": report.receipts, "labelled_words": report.labelled_words, "doubts": report.doubts.len(),
        "folds": report.folds, "experiment": experiment, "corrupted": wrong,
    });
    Ok(write_json(&args.output.join("audit.json"), &summary)?)
}

#[allow(clippy::print_stdout)] // The review list's path is the command's result.
fn tell(args: &Args, report: &AuditReport, experiment: Option<&Experiment>) {
    for (i, fold) in report.folds.iter().enumerate() {
        eprintln!(
            "fold {}: {} receipts, F1 {:.4} against the labels as they are",
            i + 1,
            fold.receipts,
            fold.f1
        );
    }
    eprintln!(
        "{} doubts; look at them in {}",
        report.doubts.len(),
        args.output.join("review.html").display()
    );
    if let Some(e) = experiment {
        eprintln!(
            "of the first {} listed, {} are corrupted entities: precision {:.3} (anywhere in the list: {:.3})",
            e.corrupted, e.found_in_first_n, e.precision_at_n, e.recall_of_list
        );
    }
    println!("{}", args.output.join("doubts.jsonl").display());
}
