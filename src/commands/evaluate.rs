//! `evaluate`: what a model is worth on labelled receipts.

use std::path::{Path, PathBuf};

use layoutlm_core::encoder::Encoder;
use layoutlm_core::encoding::Encoding;
use layoutlm_core::evaluate::{Evaluation, GoldReceipt, score_receipts, slices, summarize};
use layoutlm_core::heldout::{GoldRule, HeldOut, LineTags};
use layoutlm_core::receipt::Receipt;
use layoutlm_core::window::{Overflow, WindowRule};
use layoutlm_trainer::data::{upstream_pages, upstream_rules};
use layoutlm_trainer::model_folder;
use layoutlm_trainer::report::{table_text, tables};
use layoutlm_trainer::stats::slice_groups;
use serde::Serialize;

use super::model::{EngineArgs, Model};
use super::receipts::read;
use crate::exit::usage;
use crate::progress;

mod trained;

use trained::Trained;

/// Flags of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Checkpoint folder, run folder or bundle.
    #[arg(long)]
    model: PathBuf,
    /// Labelled receipts: a JSONL file, or a folder with `SPLIT.jsonl`. Those without a label take no part.
    #[arg(long)]
    data: PathBuf,
    /// Which file of a folder to use.
    #[arg(long, default_value = "test")]
    split: String,
    /// How to print the result.
    #[arg(long, default_value = "text", value_enum)]
    output: Output,
    /// How receipts are encoded: as the model's own encoding says, or as the Python trainer did (boxes by extents, words
    /// by y and x, windows cut off at the token limit), for its checkpoints.
    #[arg(long, default_value = "own", value_enum)]
    rules: Rules,
    /// Write the temperature that fits these receipts into the checkpoint's encoding.json.
    #[arg(long)]
    store_temperature: bool,
    /// Count lines that can't be read and go on.
    #[arg(long)]
    skip_bad_lines: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Tables for people.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Rules {
    /// The model's own encoding.
    Own,
    /// Those of the Python trainer.
    Python,
}

/// Scores over whole receipts, and line by line as earlier runs were scored.
#[derive(Debug, Serialize)]
struct Scores {
    #[serde(flatten)]
    evaluation: Evaluation,
    held_out: HeldOut,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let path =
        if args.data.is_dir() { args.data.join(format!("{}.jsonl", args.split)) } else { args.data.clone() };
    let receipts = read(&path, args.skip_bad_lines)?;
    if receipts.is_empty() {
        return Err(usage(anyhow::anyhow!("{}: no receipts", path.display())));
    }
    let mut model = Model::open(&args.model, &args.engine)?;
    let trained = Trained::of(&args.model);
    let mut receipts = trained.labelled(receipts, &path)?;
    match args.rules {
        Rules::Own => trained.place(&mut receipts, &path),
        Rules::Python => {
            receipts.iter_mut().for_each(as_python_saw);
            model.encoder = python_rules(&model.encoder)?;
        }
    }
    let scores = score_with(&model, &receipts, &trained)?;
    if args.store_temperature {
        store(&args.model, scores.evaluation.calibration.fitted_temperature)?;
    }
    match args.output {
        Output::Json => print_json(&scores),
        Output::Text => {
            eprint!("{}", text(&scores));
            Ok(())
        }
    }
}

/// Labels and scores receipts with a checkpoint or bundle.
pub fn score(model: &Path, receipts: &[Receipt], engine: &EngineArgs) -> anyhow::Result<Evaluation> {
    let opened = Model::open(model, engine)?;
    Ok(score_with(&opened, receipts, &Trained::of(model))?.evaluation)
}

fn score_with(model: &Model, receipts: &[Receipt], trained: &Trained) -> anyhow::Result<Scores> {
    let status = trained.status;
    let gold: Vec<GoldReceipt> =
        receipts.iter().map(|r| GoldReceipt::new(&model.encoder, r, status)).collect::<Result<_, _>>()?;
    let bar = progress::bar(gold.len() as u64, "receipts");
    let scored = score_receipts(&model.encoder, model.classifier.as_ref(), &gold, &|done| {
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let mut evaluation = summarize(&model.encoder, &scored)?;
    let windows: Vec<usize> = gold.iter().map(|r| r.encoded.windows.len()).collect();
    evaluation.slices = slices(&scored, &slice_groups(receipts, &windows, trained.merchants.as_ref()))?;
    let encoding = model.encoder.encoding();
    let rule = GoldRule { labels: &encoding.labels, merges: encoding.scheme.merges(), status };
    let lines: Vec<LineTags> = receipts
        .iter()
        .zip(gold.iter().zip(&scored))
        .map(|(receipt, (gold, scored))| {
            rule.lines(receipt, &gold.encoded.in_input_order(&scored.predicted_tags(), "O"))
        })
        .collect();
    Ok(Scores { evaluation, held_out: HeldOut::score(&lines)? })
}

/// Boxes in shares of the page with y growing upwards, as the receipt database keeps them, under a page of the
/// receipt's own extents.
fn as_python_saw(receipt: &mut Receipt) {
    let mut upright: f64 = 1.0;
    for [_, y0, _, y1] in receipt.words.iter().map(|w| w.bbox) {
        upright = upright.max(y0).max(y1);
    }
    let (width, height) = (receipt.width.unwrap_or(1.0), receipt.height.unwrap_or(upright));
    let down = receipt.origin == layoutlm_core::bbox::Origin::TopLeft;
    for word in &mut receipt.words {
        let [x0, y0, x1, y1] = word.bbox;
        let (low, high) = if down { (height - y1, height - y0) } else { (y0, y1) };
        word.bbox = [x0 / width, low / height, x1 / width, high / height];
    }
    upstream_pages(std::slice::from_mut(receipt));
}

fn python_rules(encoder: &Encoder) -> anyhow::Result<Encoder> {
    let own = encoder.encoding();
    let rules = upstream_rules(own.scheme.clone(), own.window.size, own.window.stride);
    let window =
        WindowRule { overflow: Overflow::Truncate, max_length: own.window.max_length, ..rules.window };
    let encoding =
        Encoding { box_rule: rules.box_rule, reading_order: rules.reading_order, window, ..own.clone() };
    Ok(Encoder::new(encoding, encoder.tokenizer().clone())?)
}

fn store(model: &Path, temperature: f64) -> anyhow::Result<()> {
    if super::model::is_bundle(model) {
        let path = model.display();
        return Err(usage(anyhow::anyhow!(
            "--store-temperature: {path} is a bundle, whose proof holds for its temperature; store it in the checkpoint \
             and export again"
        )));
    }
    let folder = model_folder::resolve(model).map_err(usage)?;
    let encoder = model_folder::read_encoder(&folder).map_err(usage)?;
    model_folder::write_encoding(&folder, encoder.with_temperature(temperature as f32)?.encoding())?;
    eprintln!("temperature {temperature:.3} stored in {}", folder.display());
    Ok(())
}

#[allow(clippy::print_stdout)] // Machine-readable results are stdout's purpose.
fn print_json(result: &Scores) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}

fn text(scores: &Scores) -> String {
    let e = &scores.evaluation;
    let mut out = table(e);
    let c = &e.calibration;
    out.push_str(&format!(
        "line by line, as earlier runs were scored: F1 {:.4}, precision {:.4}, recall {:.4}\n",
        scores.held_out.heldout_f1, scores.held_out.heldout_precision, scores.held_out.heldout_recall
    ));
    out.push_str(&format!(
        "calibration error {:.4} at temperature {:.3}; {:.4} at the fitted {:.3}\n\nmistakes\n{}",
        c.reliability.ece,
        c.temperature,
        c.fitted_ece,
        c.fitted_temperature,
        table_text(&tables::mistakes(e))
    ));
    if let Some(parts) = tables::parts(e) {
        out.push_str(&format!("\nparts\n{}", table_text(&parts)));
    }
    out
}

/// Per-label scores and averages as aligned text.
pub fn table(result: &Evaluation) -> String {
    let interval = tables::interval(result.f1_interval);
    let share = |v: Option<f64>| v.map_or_else(|| "–".to_string(), |v| format!("{v:.4}"));
    format!(
        "{}{} receipts, {} words, F1 95 % interval {interval}, token accuracy {:.4} (O {}, entities {}), strict IOB2 F1 \
         {:.4}\n",
        table_text(&tables::scores(result)),
        result.receipts,
        result.words,
        result.token_accuracy,
        share(result.o_token_accuracy),
        share(result.entity_token_accuracy),
        result.strict.micro.f1
    )
}
