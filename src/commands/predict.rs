//! `predict`: labels for a file of receipts.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use layoutlm_core::predict::predict;

use super::model::{EngineArgs, Model};
use super::receipts::{JsonLines, read};
use crate::exit::Interrupted;
use crate::{interrupt, progress};

/// Flags of `predict`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Checkpoint folder, run folder or bundle.
    #[arg(long)]
    model: PathBuf,
    /// Receipts, one JSON object per line; `-` is stdin.
    #[arg(long)]
    input: PathBuf,
    /// Labels, one JSON object per receipt; stdout by default.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Add the probability of every class to every word.
    #[arg(long)]
    probabilities: bool,
    /// Count lines that can't be read and go on.
    #[arg(long)]
    skip_bad_lines: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let stop = interrupt::flag()?;
    let receipts = read(&args.input, args.skip_bad_lines)?;
    let model = Model::open(&args.model, &args.engine)?;
    let mut out = JsonLines::create(args.output.as_deref())?;
    let bar = progress::bar(receipts.len() as u64, "receipts");
    for (done, receipt) in receipts.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            out.finish()?;
            return Err(
                Interrupted(format!("interrupted after {done} of {} receipts", receipts.len())).into()
            );
        }
        let mut prediction = predict(&model.encoder, model.classifier.as_ref(), receipt)?;
        if !args.probabilities {
            prediction.words.iter_mut().for_each(|w| w.probabilities = None);
        }
        out.push(&prediction)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    out.finish()
}
