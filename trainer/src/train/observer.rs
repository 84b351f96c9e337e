//! What a run tells whoever watches: the screen, a job table, a bucket.
//!
//! Observers can't stop a run: what goes wrong in one (a lost connection) is its own to report.

use std::path::Path;

use layoutlm_core::evaluate::Evaluation;

use super::{Outcome, TrainError};
use crate::run::{BestCheckpoint, EpochMetrics, RunRecord};

/// What a run is about to do.
#[derive(Debug)]
pub struct Started<'a> {
    /// The record as written.
    pub record: &'a RunRecord,
    /// The run's folder, which holds `run.json` by now.
    pub run_dir: &'a Path,
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
    /// The step's loss; on a card, the mean loss of the last steps when it was last asked.
    pub loss: f64,
    /// Tokens per second of all processes, of the same steps.
    pub tokens_per_second: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
}

/// One evaluation. Checkpoint and records are on the disk by then.
#[derive(Debug)]
pub struct EpochReport<'a> {
    /// The figures as recorded.
    pub metrics: &'a EpochMetrics,
    /// The evaluation behind them.
    pub evaluation: &'a Evaluation,
    /// Whether it is the best so far.
    pub is_best: bool,
}

/// A checkpoint's folder is complete.
#[derive(Debug)]
pub struct CheckpointSaved<'a> {
    /// The run's folder, with `run.json` and `epochs.json` that know of the checkpoint.
    pub run_dir: &'a Path,
    /// `checkpoint-<step>/` in it. It stays at least until the next one is saved.
    pub folder: &'a Path,
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: usize,
    /// True after an evaluation, false where the run was interrupted inside an epoch.
    pub evaluated: bool,
}

/// `best/` holds another checkpoint than before.
#[derive(Debug)]
pub struct BestChanged<'a> {
    /// The run's folder.
    pub run_dir: &'a Path,
    /// `best/` in it.
    pub folder: &'a Path,
    /// Which checkpoint it is.
    pub best: &'a BestCheckpoint,
}

/// Is told how a run goes on.
///
/// A run that started ends with exactly one of [`Self::finished`], [`Self::interrupted`] and [`Self::failed`].
pub trait Observer {
    /// Before the first step.
    fn started(&mut self, _run: &Started<'_>) {}
    /// After each step.
    fn step(&mut self, _step: &StepReport) {}
    /// After each evaluation.
    fn epoch(&mut self, _report: &EpochReport<'_>) {}
    /// After each evaluation's checkpoint, and after one that an interruption left; `run.json` and `epochs.json` are
    /// up to date.
    fn checkpoint_saved(&mut self, _saved: &CheckpointSaved<'_>) {}
    /// After a checkpoint that is the best so far was copied to `best/`.
    fn best_changed(&mut self, _change: &BestChanged<'_>) {}
    /// After the last step; `run.json` says `succeeded`.
    fn finished(&mut self, _outcome: &Outcome) {}
    /// Stopped by a signal, the state saved; `run.json` says `interrupted`.
    fn interrupted(&mut self, _outcome: &Outcome) {}
    /// The run broke off; `run.json` says `failed`.
    fn failed(&mut self, _run_dir: &Path, _error: &TrainError) {}
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Several observers, told one after the other in the order given.
#[derive(Default)]
pub struct Observers(pub Vec<Box<dyn Observer + Send>>);

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Observers({})", self.0.len())
    }
}

impl Observer for Observers {
    fn started(&mut self, run: &Started<'_>) {
        self.0.iter_mut().for_each(|o| o.started(run));
    }

    fn step(&mut self, step: &StepReport) {
        self.0.iter_mut().for_each(|o| o.step(step));
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        self.0.iter_mut().for_each(|o| o.epoch(report));
    }

    fn checkpoint_saved(&mut self, saved: &CheckpointSaved<'_>) {
        self.0.iter_mut().for_each(|o| o.checkpoint_saved(saved));
    }

    fn best_changed(&mut self, change: &BestChanged<'_>) {
        self.0.iter_mut().for_each(|o| o.best_changed(change));
    }

    fn finished(&mut self, outcome: &Outcome) {
        self.0.iter_mut().for_each(|o| o.finished(outcome));
    }

    fn interrupted(&mut self, outcome: &Outcome) {
        self.0.iter_mut().for_each(|o| o.interrupted(outcome));
    }

    fn failed(&mut self, run_dir: &Path, error: &TrainError) {
        self.0.iter_mut().for_each(|o| o.failed(run_dir, error));
    }
}
