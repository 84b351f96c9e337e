//! One training run, from receipts to the best checkpoint.
//!
//! Resumes by itself: where the run's folder holds a complete checkpoint of the same settings, training goes on from
//! it and ends with the weights it would have ended with anyway.

mod class_weights;
mod encode;
mod engine;
mod error;
mod evaluation;
mod examples;
mod held_out;
mod logged;
mod observer;
mod persist;
mod prepare;
mod record;
mod resume;
mod run_loop;
mod scratch;
mod settings;
mod setup;
mod start;
mod step;

pub use encode::freeze;
pub use error::TrainError;
pub use examples::Example;
pub use held_out::EVALUATION_FILE;
pub use observer::{
    BestChanged, CheckpointSaved, EpochReport, Observer, Observers, Silent, Started, StepReport,
};
pub use setup::Setup;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use layoutlm_core::evaluate::Evaluation;
use layoutlm_core::receipt::Receipt;

use self::logged::Logged;
use crate::config::TrainConfig;
use crate::data::{Division, LeakageReport, LeftOut, PythonRandom, SplitSource};
use crate::run::BestCheckpoint;

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
    /// How the split was made.
    pub split: SplitSource,
    /// Python's generator where the split left it, for the loader that goes on drawing from it.
    pub random: PythonRandom,
    /// Receipts that take no part.
    pub left_out: LeftOut,
    /// What both sides have in common, where that was looked for.
    pub leakage: Option<LeakageReport>,
    /// A frozen data set that holds these receipts encoded.
    pub snapshot: Option<PathBuf>,
}

impl TrainData {
    /// Receipts that came with their own validation part.
    pub fn given(train: Vec<Receipt>, validation: Vec<Receipt>, source: String) -> Self {
        Self {
            train,
            validation,
            frozen: Some(source.clone()),
            source,
            split: SplitSource::GivenSplit,
            random: PythonRandom::new(0),
            left_out: LeftOut::default(),
            leakage: None,
            snapshot: None,
        }
    }
}

impl From<Division> for TrainData {
    fn from(division: Division) -> Self {
        let Division { split, frozen, source, left_out, leakage } = division;
        Self {
            train: split.train,
            validation: split.validation,
            source,
            frozen,
            split: split.info.source,
            random: split.random,
            left_out,
            leakage: Some(leakage),
            snapshot: None,
        }
    }
}

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
    /// True when patience was used up before the last epoch.
    pub stopped_early: bool,
    /// Seconds of all sittings together.
    pub seconds: f64,
}

/// Trains to the end, or until `stop` is set; state is saved in both cases. Computes on what `config.device` says, alone.
///
/// # Errors
/// [`TrainError`], with nothing half-written left in the run's folder.
pub fn train(
    config: TrainConfig,
    data: TrainData,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome, TrainError> {
    config.check()?;
    let setup = Setup::open(&config, None)?;
    train_on(&setup, config, data, observer, stop)
}

/// As [`train`], on a card or with other processes that were opened before. In a process that does not lead, nothing is
/// written and `observer` is told nothing.
///
/// # Errors
/// [`TrainError`]; the other processes then stop too, and say which one gave up and why.
pub fn train_on(
    setup: &Setup,
    config: TrainConfig,
    data: TrainData,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome, TrainError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads)
        .build()
        .map_err(|e| TrainError::Threads(e.to_string()))?;
    let runs_dir = config.output_dir.clone();
    let result = pool.install(|| {
        let run = prepare::Prepared::new(config, data, setup)?;
        if setup.leads() {
            run_loop::run(run, &mut Logged::new(observer, &runs_dir), stop)
        } else {
            run_loop::run(run, &mut Silent, stop)
        }
    });
    if let (Err(error), Some(others)) = (&result, setup.communicator())
        && !matches!(error, TrainError::Parallel(_))
    {
        others.give_up(&error.to_string());
    }
    result
}
