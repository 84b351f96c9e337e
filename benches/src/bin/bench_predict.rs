//! `predict` beside its own engine: receipts/s of reading, encoding, labelling and writing around the network, and of
//! the network alone on windows encoded beforehand.
//!
//! Both take turns in one run; prints a JSON line, exits with 3 where `predict` is more than 5 % below the engine.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use layoutlm_benches::peer::{cpu_ms, median};
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::{EncodedReceipt, Encoder};
use layoutlm_core::predict::ReceiptPrediction;
use layoutlm_core::receipt::{Receipt, ReceiptLines};
use layoutlm_core::window::Window;
use layoutlm_inference::offline::label_all;
use layoutlm_inference::{Bundle, Engine, EngineOptions, Runtime};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Share of the engine's own speed that `predict` must reach.
const LEAST_SHARE: f64 = 0.95;

/// Times predict beside its engine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Bundle folder.
    #[arg(long, default_value = "quickstart/bundle")]
    bundle: PathBuf,
    /// Receipts, one JSON object per line.
    #[arg(long, default_value = "quickstart/data/test.jsonl")]
    input: PathBuf,
    /// Variant of the bundle [default: its own].
    #[arg(long)]
    variant: Option<String>,
    /// Windows side by side [default: one per core].
    #[arg(long)]
    threads: Option<usize>,
    /// Turns of each side.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// What one side took in one turn.
#[derive(Debug, Clone, Copy)]
struct Took {
    seconds: f64,
    cpu_seconds: f64,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let bundle = Bundle::open(&arguments.bundle)?;
    let mut options = EngineOptions::throughput();
    options.sessions = arguments.threads.unwrap_or(options.sessions);
    let engine = bundle.engine(&Runtime::load(None)?, arguments.variant.as_deref(), options)?;
    let encoder = bundle.encoder();
    let receipts: Vec<Receipt> = lines(&arguments)?.collect::<Result<_, _>>()?;
    let encoded: Vec<EncodedReceipt> =
        receipts.iter().map(|r| encoder.encode(r)).collect::<Result<_, _>>()?;
    let windows: Vec<&Window> = encoded.iter().flat_map(|e| &e.windows).collect();
    let (mut alone, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds.max(1) {
        alone.push(timed(|| run_alone(&engine, &windows))?);
        whole.push(timed(|| run_whole(&arguments, encoder, &engine))?);
    }
    let per_second =
        |took: &[Took]| receipts.len() as f64 / median(&took.iter().map(|t| t.seconds).collect::<Vec<_>>());
    let cpu_ms = |took: &[Took]| {
        1e3 * median(&took.iter().map(|t| t.cpu_seconds).collect::<Vec<_>>()) / receipts.len() as f64
    };
    let share = per_second(&whole) / per_second(&alone);
    let line = json!({
        "receipts": receipts.len(), "windows": windows.len(), "sessions": options.sessions,
        "engine_per_second": per_second(&alone), "predict_per_second": per_second(&whole), "share": share,
        "engine_cpu_ms_per_receipt": cpu_ms(&alone), "predict_cpu_ms_per_receipt": cpu_ms(&whole),
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(if share >= LEAST_SHARE { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn lines(arguments: &Arguments) -> Result<impl Iterator<Item = Result<Receipt>> + Send + use<>> {
    let name = arguments.input.display().to_string();
    let file = File::open(&arguments.input).with_context(|| name.clone())?;
    Ok(ReceiptLines::new(BufReader::with_capacity(1 << 20, file), &name).map(|line| line.map_err(Into::into)))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Took> {
    let (begun, cpu) = (Instant::now(), cpu_ms());
    work()?;
    Ok(Took { seconds: begun.elapsed().as_secs_f64(), cpu_seconds: (cpu_ms() - cpu) / 1e3 })
}

fn run_alone(engine: &Engine, windows: &[&Window]) -> Result<()> {
    engine.logits(windows).map(drop).map_err(|e| anyhow!("{e}"))
}

/// As the command line program does it, from one file to another.
fn run_whole(arguments: &Arguments, encoder: &Encoder, engine: &Engine) -> Result<()> {
    let mut out = BufWriter::new(tempfile::tempfile()?);
    let sink = |_: &Receipt, mut prediction: ReceiptPrediction| -> Result<()> {
        prediction.words.iter_mut().for_each(|word| word.probabilities = None);
        serde_json::to_writer(&mut out, &prediction)?;
        Ok(out.write_all(b"\n")?)
    };
    label_all(encoder, engine, lines(arguments)?, sink, &AtomicBool::new(false))
        .map_err(|e| anyhow!("{e}"))?;
    Ok(())
}
