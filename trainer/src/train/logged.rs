//! An observer that writes TensorBoard events and the run's reports, and hands on to another.

use std::path::Path;

use super::{BestChanged, CheckpointSaved, EpochReport, Observer, Outcome, Started, StepReport, TrainError};
use crate::files::FileError;
use crate::report::write_reports;
use crate::run::EventLog;

/// Steps between two entries of training figures.
const EVERY: u64 = 10;

pub(super) struct Logged<'a> {
    inner: &'a mut (dyn Observer + Send),
    runs_dir: &'a Path,
    log: Option<EventLog>,
}

impl<'a> Logged<'a> {
    /// `runs_dir` holds the runs to compare with.
    pub(super) fn new(inner: &'a mut (dyn Observer + Send), runs_dir: &'a Path) -> Self {
        Self { inner, runs_dir, log: None }
    }

    /// A log that can't be written is given up with a warning: training is worth more.
    fn write(&mut self, entry: impl FnOnce(&mut EventLog) -> Result<(), FileError>) {
        if let Some(Err(e)) = self.log.as_mut().map(entry) {
            tracing::warn!("{e}; no further TensorBoard events are written");
            self.log = None;
        }
    }

    fn report(&self, run_dir: &Path) {
        if let Err(e) = write_reports(run_dir, Some(self.runs_dir)) {
            tracing::warn!("{e}; the run has no report");
        }
    }
}

impl Observer for Logged<'_> {
    fn started(&mut self, run: &Started<'_>) {
        match EventLog::begin(run.run_dir, run.first_step) {
            Ok(log) => self.log = Some(log),
            Err(e) => tracing::warn!("{e}; no TensorBoard events are written"),
        }
        self.inner.started(run);
    }

    fn step(&mut self, step: &StepReport) {
        if step.global_step.is_multiple_of(EVERY) {
            let figures = [
                ("train/loss", step.loss),
                ("train/learning_rate", step.learning_rate),
                ("train/tokens_per_second", step.tokens_per_second),
            ];
            self.write(|log| log.scalars(step.global_step, figures));
        }
        self.inner.step(step);
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        let m = report.metrics;
        let named: Vec<(String, f64)> = m
            .eval
            .iter()
            .map(|(name, v)| (format!("eval/{}", name.strip_prefix("eval_").unwrap_or(name)), *v))
            .chain([("train/epoch_loss".to_string(), m.train_loss)])
            .collect();
        self.write(|log| log.scalars(m.global_step, named.iter().map(|(n, v)| (n.as_str(), *v))));
        self.inner.epoch(report);
    }

    fn checkpoint_saved(&mut self, saved: &CheckpointSaved<'_>) {
        self.inner.checkpoint_saved(saved);
    }

    fn best_changed(&mut self, change: &BestChanged<'_>) {
        self.inner.best_changed(change);
    }

    fn finished(&mut self, outcome: &Outcome) {
        self.report(&outcome.run_dir);
        self.inner.finished(outcome);
    }

    fn interrupted(&mut self, outcome: &Outcome) {
        self.report(&outcome.run_dir);
        self.inner.interrupted(outcome);
    }

    fn failed(&mut self, run_dir: &Path, error: &TrainError) {
        self.inner.failed(run_dir, error);
    }
}
