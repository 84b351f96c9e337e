//! Running trials rung by rung.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::plan::Values;
use super::record::{SweepRecord, TrialRecord};
use super::rungs::{keep, rungs};
use crate::config::TrainConfig;
use crate::files::FileError;
use crate::run::RunRecord;
use crate::train::{
    BestChanged, CheckpointSaved, EpochReport, Observer, Outcome, Started, StepReport, TrainData, TrainError,
    freeze, train,
};

/// How a sweep is done.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// Its name.
    pub name: String,
    /// Folder that holds the trials' runs and the sweep's record.
    pub folder: PathBuf,
    /// Epochs before the first comparison.
    pub first_rung: usize,
    /// One in so many trials goes on at each comparison; 1 lets all run to their end.
    pub factor: usize,
}

/// One run to be tried.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What is varied.
    pub values: Values,
    /// The run, in the sweep's folder.
    pub config: TrainConfig,
    /// Its receipts; trials over the same ones share them.
    pub data: Arc<TrainData>,
}

/// Why a sweep ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// Nothing to try.
    #[error("no trial: give --vary at least once")]
    NoTrials,
    /// The record could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Stopped; what was trained is kept.
    #[error("stopped in {0}; the same command goes on from there")]
    Interrupted(String),
}

/// Runs all trials, stopping those that fall behind.
///
/// A trial that fails is recorded and loses; the others go on.
///
/// # Errors
/// [`SweepError`]; [`SweepError::Interrupted`] when `stop` was set.
pub fn sweep(
    config: &SweepConfig,
    trials: &[Trial],
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<SweepRecord, SweepError> {
    let Some(longest) = trials.iter().map(|t| t.config.epochs).max() else {
        return Err(SweepError::NoTrials);
    };
    std::fs::create_dir_all(&config.folder).map_err(FileError::at(&config.folder))?;
    let mut frozen = Frozen { root: config.folder.join(".encoded"), folders: Vec::new() };
    let mut record = SweepRecord::new(config, trials);
    let mut alive: Vec<usize> = (0..trials.len()).collect();
    for rung in rungs(longest, config.first_rung, config.factor) {
        for &index in &alive {
            let Some(trial) = trials.get(index) else { continue };
            let until = rung.min(trial.config.epochs);
            let ended = advance(trial, until, &mut frozen, observer, stop)?;
            if let Some(entry) = record.trials.get_mut(index) {
                entry.note(trial, ended, until);
            }
            record.write(&config.folder)?;
        }
        let figures: Vec<Option<f64>> =
            alive.iter().map(|&i| trials.get(i).and_then(|t| figure(t, rung))).collect();
        let factor = if rung == longest { 1 } else { config.factor };
        let kept = keep(&figures, factor);
        alive = kept.into_iter().filter_map(|k| alive.get(k).copied()).collect();
    }
    record.finish(&alive);
    record.write(&config.folder)?;
    Ok(record)
}

/// Encoded data sets by what decided them, frozen in the sweep's folder: trials that differ in learning rates or ratios
/// read the same one.
struct Frozen {
    root: PathBuf,
    folders: Vec<(String, PathBuf)>,
}

impl Frozen {
    /// The trial's receipts with the folder that holds them encoded. Where freezing fails the run encodes by itself and
    /// says what is wrong.
    fn data(&mut self, trial: &Trial) -> TrainData {
        let mut data = trial.data.as_ref().clone();
        let start = format!("{:?}", trial.config.start);
        let rules = trial.config.example_rules(usize::MAX);
        let place = Arc::as_ptr(&trial.data) as usize;
        let key = format!("{place} {start} {rules:?} {:?}", trial.config.validation_status);
        if data.snapshot.is_none() {
            data.snapshot = match self.folders.iter().find(|(k, _)| *k == key) {
                Some((_, folder)) => Some(folder.clone()),
                None => freeze(&trial.config, &data, &self.root).ok(),
            };
            self.folders.extend(data.snapshot.iter().map(|folder| (key.clone(), folder.clone())));
        }
        data
    }
}

/// How a sitting of a trial ended.
pub(super) enum Ended {
    /// At the wanted epoch or at its end.
    Well,
    /// With an error.
    Failed(String),
}

/// Trains a trial up to an epoch; does nothing where that is done already.
fn advance(
    trial: &Trial,
    until: usize,
    frozen: &mut Frozen,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Ended, SweepError> {
    let name = trial.config.job_name.clone();
    let done = RunRecord::read(&trial.config.run_dir()).ok();
    if done.is_some_and(|r| r.status == "succeeded" || r.epoch_metrics.len() >= until) {
        return Ok(Ended::Well);
    }
    let own_stop = AtomicBool::new(false);
    let mut until_epoch = UntilEpoch { inner: observer, until, own: &own_stop, outer: stop };
    let outcome = train(trial.config.clone(), frozen.data(trial), &mut until_epoch, &own_stop);
    if stop.load(Ordering::Relaxed) {
        return Err(SweepError::Interrupted(name));
    }
    Ok(match outcome {
        Ok(_) => Ended::Well,
        Err(error) => Ended::Failed(error.to_string()),
    })
}

/// The best checkpoint metric within the first epochs of a trial, higher is better.
fn figure(trial: &Trial, epochs: usize) -> Option<f64> {
    let record = RunRecord::read(&trial.config.run_dir()).ok()?;
    let metric = &trial.config.checkpoint_metric;
    let values = record.epoch_metrics.iter().take(epochs).filter_map(|m| m.get(metric.name()));
    let signed = values.map(|v| if metric.improves(0.0, 1.0) { -v } else { v });
    signed.filter(|v| v.is_finite()).reduce(f64::max)
}

/// Stops a run when it has done enough epochs, or when the whole sweep is stopped.
struct UntilEpoch<'a> {
    inner: &'a mut (dyn Observer + Send),
    until: usize,
    own: &'a AtomicBool,
    outer: &'a AtomicBool,
}

impl Observer for UntilEpoch<'_> {
    fn started(&mut self, run: &Started<'_>) {
        self.inner.started(run);
    }

    fn step(&mut self, step: &StepReport) {
        if self.outer.load(Ordering::Relaxed) {
            self.own.store(true, Ordering::Relaxed);
        }
        self.inner.step(step);
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        if report.metrics.epoch >= self.until as f64 || self.outer.load(Ordering::Relaxed) {
            self.own.store(true, Ordering::Relaxed);
        }
        self.inner.epoch(report);
    }

    fn checkpoint_saved(&mut self, saved: &CheckpointSaved<'_>) {
        self.inner.checkpoint_saved(saved);
    }

    fn best_changed(&mut self, change: &BestChanged<'_>) {
        self.inner.best_changed(change);
    }

    fn finished(&mut self, outcome: &Outcome) {
        self.inner.finished(outcome);
    }

    fn interrupted(&mut self, outcome: &Outcome) {
        self.inner.interrupted(outcome);
    }

    fn failed(&mut self, run_dir: &Path, error: &TrainError) {
        self.inner.failed(run_dir, error);
    }
}

impl TrialRecord {
    fn note(&mut self, trial: &Trial, ended: Ended, until: usize) {
        let run = RunRecord::read(&trial.config.run_dir()).ok();
        self.epochs = run.as_ref().map_or(0, |r| r.epoch_metrics.len());
        self.seconds = run.as_ref().map_or(0.0, |r| r.seconds);
        self.best = run.and_then(|r| r.best).map(|b| b.value);
        self.status = match ended {
            Ended::Failed(reason) => format!("failed: {reason}"),
            Ended::Well if until >= trial.config.epochs || self.epochs < until => "finished".into(),
            Ended::Well => format!("stopped after epoch {until}"),
        };
    }
}
