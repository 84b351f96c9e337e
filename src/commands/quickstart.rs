//! `quickstart`: the whole path on one machine, from made-up receipts to a page in the browser.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use layoutlm_core::evaluate::Evaluation;
use layoutlm_core::label::{LabelScheme, core_labels, preset};
use layoutlm_core::predict::ReceiptPrediction;
use layoutlm_core::receipt::Receipt;
use layoutlm_inference::ServerConfig;
use layoutlm_inference::server::serve;
use layoutlm_trainer::config::{Scratch, Start, TrainConfig};
use layoutlm_trainer::data::SynthSize;
use layoutlm_trainer::train::{TrainData, train};

use super::evaluate::{score, table};
use super::export::export_bundle;
use super::model::EngineArgs;
use super::train::Console;
use super::{data, receipts};
use crate::exit::{Interrupted, not_proven};
use crate::interrupt;

/// What a run on held-out made-up merchants must reach.
const LEAST_F1: f64 = 0.90;
const LABELS: [&str; 7] =
    ["MERCHANT_NAME", "PHONE_NUMBER", "ADDRESS_LINE", "DATE", "TIME", "PRODUCT_NAME", "AMOUNT"];

/// Many merchants seen once or twice teach a small model more than few seen often.
const SIZE: SynthSize = SynthSize { train: 4000, validation: 80, test: 120, merchants: 2000 };

/// Flags of `quickstart`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for receipts, run and bundle; an earlier quickstart in it is replaced.
    #[arg(long, default_value = "quickstart")]
    output: PathBuf,
    /// Port of the page.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Stop after labelling one receipt through the server, with exit code 0 if everything held.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let (folder, bundle) = (args.output.join("data"), args.output.join("bundle"));
    args.engine.runtime()?;
    let SynthSize { train, validation, test, merchants } = SIZE;
    let receipts =
        format!("synthesising {train} + {validation} + {test} receipts of {merchants} made-up merchants");
    say("1/5 receipts", &receipts);
    data::write_synthetic(&folder, 42, SIZE)?;

    say("2/5 training", "a small LayoutLM from random weights, on the CPU");
    let run_dir = train_small(&args, &folder)?;

    say("3/5 scoring", "on receipts of merchants the model never saw");
    let test = receipts::read(&folder.join("test.jsonl"), false)?;
    let evaluation = score(&run_dir, &test, &args.engine)?;
    eprint!("{}", table(&evaluation));

    say("4/5 exporting", "ONNX, with its proof on the validation receipts");
    if bundle.exists() {
        std::fs::remove_dir_all(&bundle).with_context(|| bundle.display().to_string())?;
    }
    let validation = receipts::read(&folder.join("validation.jsonl"), false)?;
    export_bundle(&run_dir, &bundle, validation, &args.engine)?;

    say("5/5 serving", "labelling one receipt through the server");
    let sample = test.first().ok_or_else(|| anyhow!("no test receipt"))?;
    serve_and_label(&args, &bundle, sample, started, &evaluation)
}

fn say(step: &str, text: &str) {
    eprintln!("\n== {step}: {text}");
}

fn train_small(args: &Args, folder: &Path) -> anyhow::Result<PathBuf> {
    let stop = interrupt::flag()?;
    let config = small_config(args)?;
    if config.run_dir().join("run.json").is_file() {
        std::fs::remove_dir_all(config.run_dir()).with_context(|| config.run_dir().display().to_string())?;
    }
    let source = format!("{} (synthetic)", folder.display());
    let train_receipts = receipts::read(&folder.join("train.jsonl"), false)?;
    let validation = receipts::read(&folder.join("validation.jsonl"), false)?;
    let data = TrainData::given(train_receipts, validation, source);
    let outcome = train(config, data, &mut Console::new(), &stop)?;
    if outcome.interrupted {
        return Err(Interrupted("stopped while training".into()).into());
    }
    eprintln!("{} steps in {:.0} s", outcome.steps, outcome.seconds);
    Ok(outcome.run_dir)
}

fn small_config(args: &Args) -> anyhow::Result<TrainConfig> {
    let allowed = Some(LABELS.map(String::from).to_vec());
    Ok(TrainConfig {
        job_name: "quickstart".into(),
        output_dir: args.output.join("runs"),
        start: Start::Scratch(Scratch { hidden_size: 128, layers: 3, heads: 4, vocab_size: 500 }),
        epochs: 2,
        learning_rate: 1e-3,
        dropout: Some(0.0),
        early_stopping_patience: None,
        keep_checkpoints: 1,
        scheme: LabelScheme::new(preset("amounts")?, allowed, &core_labels())?,
        o_entity_ratio: None,
        threads: args.engine.threads(),
        ..TrainConfig::default()
    })
}

fn serve_and_label(
    args: &Args,
    bundle: &Path,
    sample: &Receipt,
    started: Instant,
    evaluation: &Evaluation,
) -> anyhow::Result<()> {
    let mut config = ServerConfig::new(bundle);
    config.onnxruntime = args.engine.onnxruntime.clone();
    config.port = if args.check { 0 } else { args.port };
    let (tell, told) = mpsc::channel::<SocketAddr>();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let check = args.check;
    let server = std::thread::spawn(move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let shutdown = async move {
            if check {
                let _ = stopped.await;
            } else {
                layoutlm_inference::server::shutdown_signal().await;
            }
        };
        Ok(runtime.block_on(serve(config, shutdown, move |address| _ = tell.send(address)))?)
    });
    let Ok(address) = told.recv_timeout(Duration::from_secs(60)) else {
        return Err(match server.is_finished().then(|| server.join()) {
            Some(Ok(Err(error))) => error,
            _ => anyhow!("the server did not become ready within 60 s"),
        });
    };
    let asked = Instant::now();
    let prediction = classify(address, sample)?;
    show(&prediction, asked.elapsed());
    eprintln!("\nheld-out F1 {:.4}; {:.0} s in all", evaluation.f1, started.elapsed().as_secs_f64());
    if check {
        let _ = stop.send(());
    } else {
        eprintln!("the page: http://{address}/ (Ctrl-C stops the server)");
    }
    server.join().map_err(|_| anyhow!("the server thread panicked"))??;
    if evaluation.f1 < LEAST_F1 {
        return Err(not_proven(anyhow!("held-out F1 {:.4} is below {LEAST_F1}", evaluation.f1)));
    }
    Ok(())
}

fn classify(address: SocketAddr, receipt: &Receipt) -> anyhow::Result<ReceiptPrediction> {
    let mut response = ureq::post(format!("http://{address}/v1/classify"))
        .send_json(receipt)
        .context("POST /v1/classify")?;
    response.body_mut().read_json().context("the answer of /v1/classify")
}

fn show(prediction: &ReceiptPrediction, took: Duration) {
    let milliseconds = took.as_secs_f64() * 1000.0;
    eprintln!(
        "{} words of {} labelled in {milliseconds:.1} ms:",
        prediction.words.len(),
        prediction.image_id
    );
    for entity in &prediction.entities {
        let value = entity.value.as_deref().unwrap_or("");
        eprintln!("  {:14} {:5.3}  {:34} {value}", entity.kind, entity.confidence, entity.text);
    }
}
