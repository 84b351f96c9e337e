//! One training run, from receipts to the best checkpoint.
//!
//! Resumes by itself: where the run's folder holds a complete checkpoint of the same settings, training goes on from
//! it and ends with the weights it would have ended with anyway.

mod error;
mod examples;
mod prepare;
mod run_loop;
mod scratch;

pub use error::TrainError;
pub use examples::{Example, encode_examples};

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use layoutlm_core::evaluate::Evaluation;
use layoutlm_core::receipt::Receipt;

use crate::config::TrainConfig;
use crate::run::{BestCheckpoint, EpochMetrics, RunRecord};

/// Labelled receipts, divided.
#[derive(Debug, Clone)]
pub struct TrainData {
    /// To learn from.
    pub train: Vec<Receipt>,
    /// Held out.
    pub validation: Vec<Receipt>,
    /// Where they came from, for the record.
    pub source: String,
    /// What froze the validation split; `None` when it was drawn at random.
    pub frozen: Option<String>,
}

/// What a run is about to do.
#[derive(Debug)]
pub struct Started<'a> {
    /// The record as written.
    pub record: &'a RunRecord,
    /// Optimiser steps of the whole run.
    pub total_steps: u64,
    /// Steps done by earlier sittings.
    pub first_step: u64,
}

/// One optimiser step.
#[derive(Debug, Clone, Copy)]
pub struct StepReport {
    /// Steps done.
    pub global_step: u64,
    /// The step's loss.
    pub loss: f64,
    /// Tokens per second of this step.
    pub tokens_per_second: f64,
}

/// One evaluation.
#[derive(Debug)]
pub struct EpochReport<'a> {
    /// The figures as recorded.
    pub metrics: &'a EpochMetrics,
    /// The evaluation behind them.
    pub evaluation: &'a Evaluation,
    /// Whether it is the best so far.
    pub is_best: bool,
}

/// Is told how a run goes on.
pub trait Observer {
    /// Before the first step.
    fn started(&mut self, _run: &Started<'_>) {}
    /// After each step.
    fn step(&mut self, _step: &StepReport) {}
    /// After each evaluation.
    fn epoch(&mut self, _report: &EpochReport<'_>) {}
    /// After the last step, or when interrupted.
    fn finished(&mut self) {}
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The run's folder.
    pub run_dir: PathBuf,
    /// What is in `best/`.
    pub best: Option<BestCheckpoint>,
    /// Its evaluation; `None` when it was done by an earlier sitting.
    pub best_evaluation: Option<Evaluation>,
    /// Optimiser steps done.
    pub steps: u64,
    /// True when stopped by `stop` before the end.
    pub interrupted: bool,
    /// Seconds of all sittings together.
    pub seconds: f64,
}

/// Trains to the end, or until `stop` is set; state is saved in both cases.
///
/// # Errors
/// [`TrainError`], with nothing half-written left in the run's folder.
pub fn train(
    config: TrainConfig,
    data: TrainData,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome, TrainError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads)
        .build()
        .map_err(|e| TrainError::Threads(e.to_string()))?;
    pool.install(|| {
        let run = prepare::Prepared::new(config, data)?;
        run_loop::run(run, observer, stop)
    })
}
