//! `train`: fine-tunes LayoutLM on labelled receipts.

use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use layoutlm_trainer::config::{PrecisionChoice, TrainConfig};
use layoutlm_trainer::gpu::Precision;
use layoutlm_trainer::parallel::Launch;
use layoutlm_trainer::train::{Observers, Outcome, Setup, Silent, TrainData, TrainError, train_on};

use super::evaluate::table;
use super::export::export_bundle;
use super::model::EngineArgs;
use crate::effective::{Effective, Origin};
use crate::exit::{Interrupted, usage};
use crate::{interrupt, sagemaker};

mod args;
mod bring;
mod cloud;
mod observer;
mod sources;

use cloud::{MetricLines, SpotWatch};

pub use args::{Args, DataArgs, EncodingArgs, LabelArgs, StartArgs};
pub use observer::Console;
pub use sources::{divide, gather, known_labels};

use sources::used;

/// Reads the data and checks the settings of a run.
pub fn prepare(args: &Args) -> anyhow::Result<(TrainConfig, TrainData)> {
    let runs = &args.output.output_dir;
    if runs.exists() && !runs.is_dir() {
        return Err(usage(anyhow!("--output-dir {}: is a file; runs need a folder", runs.display())));
    }
    args.data.cloud.check()?;
    cloud::place(args)?;
    let dataset = gather(&args.data, &args.effective)?;
    let asked = used(&args.data, &args.effective)?.values();
    let config = TrainConfig { asked, ..args.to_config(&known_labels(&dataset))? };
    config.check().map_err(|e| args.effective.mistaken(e))?;
    let data = divide(dataset, &args.data, &args.effective, &config)?;
    Ok((config, data))
}

/// Runs the command, and in a SageMaker container leaves there what is expected of one.
pub fn run(args: Args) -> anyhow::Result<()> {
    let run_dir = args.output.output_dir.join(&args.job_name);
    let result = train_and_send(&args);
    sagemaker::conclude(&result, &run_dir)?;
    result
}

fn train_and_send(args: &Args) -> anyhow::Result<()> {
    let signals = interrupt::signals()?;
    let engine = engine(args)?;
    let launch = launch()?;
    let leads = launch.as_ref().is_none_or(|launch| launch.rank == 0);
    let (config, data) = prepare(args)?;
    let setup = Setup::open(&config, launch.as_ref()).map_err(sort)?;
    if !leads {
        return follow(&setup, config, data, &signals.stop);
    }
    if let Some(uri) = &args.output.resume_from_s3 {
        bring::bring(uri, &config.run_dir(), &args.data.region)?;
    }
    let spot = SpotWatch::start(!args.data.cloud.no_spot_watch, &signals.stop);
    let reporter = cloud::reporter(args, signals.clone(), spot)?;
    introduce(&used(&args.data, &args.effective)?, &config, &data);
    eprintln!("device: {}", setup.describe(&config));
    warn_of_fp32(&setup, &config);
    let validation = engine.is_some().then(|| data.validation.clone());
    let mut observers = Observers(vec![Box::new(Console::new())]);
    if sagemaker::is_container() {
        observers.0.push(Box::new(MetricLines));
    }
    if let Some(reporter) = reporter {
        observers.0.push(Box::new(reporter));
    }
    let outcome = train_on(&setup, config, data, &mut observers, &signals.stop).map_err(|e| match e {
        TrainError::Config(wrong) => args.effective.mistaken(wrong),
        other => sort(other),
    })?;
    finish(&outcome)?;
    if let (Some(engine), Some(receipts)) = (engine, validation) {
        export_bundle(&outcome.run_dir.join("best"), &outcome.run_dir.join("bundle"), receipts, &engine)?;
        cloud::send_bundle(args, &outcome.run_dir)?;
    }
    tell_folder(&outcome);
    Ok(())
}

/// Which of several processes this is, as torchrun's variables or, in a SageMaker container, its hosts say.
fn launch() -> anyhow::Result<Option<Launch>> {
    let launch = Launch::from_variables(|name| std::env::var(name).ok()).map_err(usage)?;
    match (launch, sagemaker::resource_config()?) {
        (None, Some(text)) => Launch::from_resource_config(&text).map_err(usage),
        (launch, _) => Ok(launch),
    }
}

/// Trains along with the process that leads, which shows, writes and exports.
fn follow(setup: &Setup, config: TrainConfig, data: TrainData, stop: &AtomicBool) -> anyhow::Result<()> {
    eprintln!("device: {}", setup.describe(&config));
    let outcome = train_on(setup, config, data, &mut Silent, stop).map_err(sort)?;
    if outcome.interrupted {
        return Err(Interrupted("stopped; the first process keeps the state".into()).into());
    }
    Ok(())
}

/// What exports the best checkpoint, if that was asked for; found before training rather than after a night of it.
fn engine(args: &Args) -> anyhow::Result<Option<EngineArgs>> {
    // A library that was typed is tried even if nothing is exported; the variable is there for other programs.
    let typed = args.effective.origin("--onnxruntime") == Origin::CommandLine;
    if !args.output.export_onnx && !typed {
        return Ok(None);
    }
    let threads = args.device.threads.and_then(|t| u16::try_from(t).ok());
    let engine = EngineArgs { threads, onnxruntime: args.output.onnxruntime.clone(), variant: None };
    match engine.runtime() {
        Err(e) if engine.onnxruntime.is_some() => Err(usage(e)),
        Err(e) => Err(e),
        Ok(_) => Ok(args.output.export_onnx.then_some(engine)),
    }
}

/// Says what this run will do before it does it.
fn introduce(used: &Effective, config: &TrainConfig, data: &TrainData) {
    eprint!("{}", used.toml());
    eprintln!("loader: {}", config.loader.describe());
    eprintln!("data: {}", data.source);
    if let Some(leakage) = &data.leakage {
        eprintln!("{leakage}");
    }
}

/// Says that the number format asked for is not the one computed in: there is no card that `--device auto` could take.
fn warn_of_fp32(setup: &Setup, config: &TrainConfig) {
    let PrecisionChoice::Given(asked) = config.precision else { return };
    let fp32 = TrainConfig { precision: PrecisionChoice::Given(Precision::Fp32), ..config.clone() };
    // Only on a card does the format make a difference.
    if asked != Precision::Fp32 && setup.describe(config) == setup.describe(&fp32) {
        let name = asked.name();
        eprintln!(
            "warning: --precision {name} is for a card, and none was found: the processor computes in fp32"
        );
    }
}

/// What the caller can mend is exit 2; the rest is a failure.
pub fn sort(error: TrainError) -> anyhow::Error {
    if error.is_usage() { usage(error) } else { error.into() }
}

/// Tells the outcome on stderr.
fn finish(outcome: &Outcome) -> anyhow::Result<()> {
    if outcome.interrupted {
        let dir = outcome.run_dir.display();
        let message = format!("stopped; the state is in {dir}: the same command goes on from there");
        return Err(Interrupted(message).into());
    }
    if outcome.stopped_early {
        eprintln!(
            "stopped early: no better checkpoint for as many evaluations as --early-stopping-patience says"
        );
    }
    if let Some(best) = &outcome.best {
        eprintln!("\nbest: {} of epoch {}, {} {:.4}", best.checkpoint, best.epoch, best.metric, best.value);
    }
    if let Some(evaluation) = &outcome.best_evaluation {
        eprint!("{}", table(evaluation));
    }
    Ok(())
}

#[allow(clippy::print_stdout)] // The folder is the command's result.
fn tell_folder(outcome: &Outcome) {
    println!("{}", outcome.run_dir.display());
}
