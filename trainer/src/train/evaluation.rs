//! The end of an epoch: scores on the held-out receipts, and whether they are the best so far.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::evaluate::Evaluation;
use layoutlm_core::window::Window;

use super::held_out::EpochScores;
use super::prepare::Prepared;
use super::{EpochReport, Observer, TrainError};
use crate::parallel::ParallelError;
use crate::run::{BestCheckpoint, EpochMetrics, State};

impl Prepared {
    /// Scores the validation receipts, saves a checkpoint and the records; rank 0 does, the others hear of it. Gives the evaluation when it is the best;
    /// nothing at all when broken off by `stop`.
    pub(super) fn finish_epoch(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Option<Evaluation>>, TrainError> {
        if !self.leads() {
            return self.follow();
        }
        let started = Instant::now();
        let Some(scores) = self.score(stop)? else {
            self.tell_others(None)?;
            return Ok(None);
        };
        let evaluation = scores.evaluation.clone();
        let seconds = started.elapsed().as_secs_f64();
        self.state.seconds += seconds;
        self.state.epoch += 1;
        self.state.epoch_step = 0;
        let metrics = self.metrics(&evaluation, seconds);
        let is_best = self.note_best(&metrics);
        if self.config.eval_heldout_windowed {
            let (step, epoch) = (self.state.global_step, self.state.epoch as u64);
            self.epochs.push(scores.entry(&format!("checkpoint-{step}"), step, epoch));
            self.state.epochs = self.epochs.epochs.clone();
        }
        self.state.epoch_metrics.push(metrics.clone());
        (self.state.loss_sum, self.state.loss_steps, self.state.train_seconds) = (0.0, 0, 0.0);
        self.tell_others(Some(&self.state))?;
        // Before the checkpoint: a run killed in between does the epoch again, and these with it.
        self.keep_evaluation(&scores, is_best);
        let folder = self.save()?;
        self.write_records("running")?;
        observer.epoch(&EpochReport { metrics: &metrics, evaluation: &evaluation, is_best });
        self.tell_saved(observer, &folder, true);
        Ok(Some(is_best.then_some(evaluation)))
    }

    /// Takes over where rank 0 stands after its evaluation.
    fn follow(&mut self) -> Result<Option<Option<Evaluation>>, TrainError> {
        let Some(others) = &self.communicator else { return Ok(None) };
        let state: Option<State> = serde_json::from_slice(&others.broadcast(Vec::new())?)
            .map_err(|e| ParallelError::Differs { rank: 0, what: format!("sent another state ({e})") })?;
        let Some(state) = state else { return Ok(None) };
        self.state = state;
        Ok(Some(None))
    }

    /// Tells the other processes where the run stands; nothing: it was stopped.
    fn tell_others(&self, state: Option<&State>) -> Result<(), TrainError> {
        if let Some(others) = &self.communicator {
            others.broadcast(serde_json::to_vec(&state).unwrap_or_default())?;
        }
        Ok(())
    }

    fn score(&mut self, stop: &AtomicBool) -> Result<Option<EpochScores>, TrainError> {
        let (held_out, encoder, validation) = (&self.held_out, &self.encoder, &self.validation);
        let mut scores = None;
        let diverged = AtomicBool::new(false);
        self.engine.score(&mut |inner| {
            scores = Some(held_out.score(encoder, &Watched { inner, stop, diverged: &diverged }, validation));
        })?;
        match scores {
            Some(Err(_)) if diverged.load(Ordering::Relaxed) => Err(self.not_finite(f64::NAN, 1)),
            Some(Err(_)) if stop.load(Ordering::Relaxed) => Ok(None),
            scores => scores.transpose(),
        }
    }

    /// Leaves the epoch's predictions and, for the best, its complete evaluation beside the records.
    fn keep_evaluation(&self, scores: &EpochScores, is_best: bool) {
        let checkpoint = format!("checkpoint-{}", self.state.global_step);
        let at = (checkpoint.as_str(), self.state.epoch as u64);
        self.held_out.keep(&self.config.run_dir(), &self.encoder, &self.validation, scores, at, is_best);
    }

    fn metrics(&self, evaluation: &Evaluation, seconds: f64) -> EpochMetrics {
        let last = self.state.global_step.saturating_sub(1);
        let mut eval = evaluation.flat();
        for (name, value) in [
            ("macro_f1", evaluation.report.macro_avg.f1),
            ("weighted_f1", evaluation.report.weighted.f1),
            ("runtime", seconds),
            ("samples_per_second", evaluation.receipts as f64 / seconds.max(1e-9)),
        ] {
            if value.is_finite() {
                eval.insert(name.into(), value);
            }
        }
        EpochMetrics {
            epoch: self.state.epoch as f64,
            global_step: self.state.global_step,
            train_loss: self.state.loss_sum / self.state.loss_steps.max(1) as f64,
            learning_rate: self.schedule.at(last),
            train_seconds: self.state.train_seconds,
            eval: eval.into_iter().map(|(name, value)| (format!("eval_{name}"), value)).collect(),
        }
    }

    fn note_best(&mut self, metrics: &EpochMetrics) -> bool {
        let metric = &self.config.checkpoint_metric;
        // A label that is neither in gold nor in predictions has no score: 0.
        let value = metrics.get(metric.name()).unwrap_or(0.0);
        let is_best = self.state.best.as_ref().is_none_or(|b| metric.improves(value, b.value));
        if is_best {
            let (epoch, step) = (metrics.epoch, metrics.global_step);
            let checkpoint = format!("checkpoint-{step}");
            self.state.best =
                Some(BestCheckpoint { checkpoint, epoch, step, metric: metric.name().into(), value });
            self.state.evaluations_without_improvement = 0;
        } else {
            self.state.evaluations_without_improvement += 1;
        }
        is_best
    }
}

/// A classifier that gives up between receipts when asked to stop, and when the last step broke the weights: scores of
/// what is no number would pass for a loss of 0.
struct Watched<'a> {
    inner: &'a dyn TokenClassifier,
    stop: &'a AtomicBool,
    diverged: &'a AtomicBool,
}

impl TokenClassifier for Watched<'_> {
    fn num_labels(&self) -> usize {
        self.inner.num_labels()
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("stopped".into());
        }
        let logits = self.inner.logits(windows)?;
        if logits.iter().flatten().any(|logit| !logit.is_finite()) {
            self.diverged.store(true, Ordering::Relaxed);
            return Err("the logits are not finite".into());
        }
        Ok(logits)
    }
}
