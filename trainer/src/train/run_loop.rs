//! The loop: steps, evaluations, checkpoints.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use layoutlm_core::evaluate::{Evaluation, evaluate};

use super::prepare::Prepared;
use super::{EpochReport, Observer, Outcome, Started, StepReport, TrainError};
use crate::files::{FileError, write_atomic};
use crate::model::{CandleClassifier, DropoutState, LabelledWindow, PackedBatch};
use crate::run::{BestCheckpoint, EpochMetrics, RunError, checkpoints, prune, save, save_best};

pub(super) fn run(
    mut run: Prepared,
    observer: &mut (dyn Observer + Send),
    stop: &AtomicBool,
) -> Result<Outcome, TrainError> {
    run.repair_best()?;
    run.write_records("running")?;
    let (total_steps, first_step) = (run.total_steps(), run.state.global_step);
    observer.started(&Started { record: &run.record, total_steps, first_step });
    let mut best_evaluation = None;
    let mut interrupted = false;
    while run.state.epoch < run.config.epochs && !run.is_stale() {
        if !run.train_epoch(observer, stop)? {
            let saved =
                checkpoints(&run.config.run_dir()).iter().any(|(step, _)| *step == run.state.global_step);
            if !saved {
                run.save()?;
            }
            interrupted = true;
            break;
        }
        let evaluation = run.evaluate(observer)?;
        if let Some(evaluation) = evaluation {
            best_evaluation = Some(evaluation);
        }
    }
    run.write_records(if interrupted { "interrupted" } else { "succeeded" })?;
    observer.finished();
    Ok(Outcome {
        run_dir: run.config.run_dir(),
        best: run.state.best.clone(),
        best_evaluation,
        steps: run.state.global_step,
        interrupted,
        seconds: run.state.seconds,
    })
}

impl Prepared {
    /// True when patience is used up.
    fn is_stale(&self) -> bool {
        self.config.early_stopping_patience.is_some_and(|p| self.state.evaluations_without_improvement >= p)
    }

    /// Steps through the rest of the epoch; false when stopped before its end.
    fn train_epoch(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<bool, TrainError> {
        let steps = self.plans.get(self.state.epoch).map_or(0, |p| p.steps());
        while self.state.epoch_step < steps {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let started = Instant::now();
            let (loss, tokens) = self.step()?;
            let seconds = started.elapsed().as_secs_f64();
            self.state.loss_sum += loss;
            self.state.loss_steps += 1;
            self.state.train_seconds += seconds;
            self.state.seconds += seconds;
            let tokens_per_second = tokens as f64 / seconds.max(1e-9);
            observer.step(&StepReport { global_step: self.state.global_step, loss, tokens_per_second });
        }
        Ok(true)
    }

    /// One optimiser step over its micro-batches: `(loss, tokens)`.
    fn step(&mut self) -> Result<(f64, usize), TrainError> {
        let (epoch, step) = (self.state.epoch, self.state.epoch_step);
        let micro_batches: Vec<PackedBatch> = self
            .plans
            .get(epoch)
            .map(|plan| plan.step(step))
            .unwrap_or_default()
            .into_iter()
            .map(|indices| {
                let windows: Vec<LabelledWindow<'_>> =
                    indices.iter().filter_map(|&i| self.examples.get(i)).map(|e| e.labelled()).collect();
                PackedBatch::pack_labelled(&windows)
            })
            .collect();
        let denominator: f64 = micro_batches
            .iter()
            .filter_map(|b| b.labels.as_deref())
            .map(|labels| self.loss.denominator(labels))
            .sum();
        let (mut loss, mut tokens) = (0.0, 0);
        for (i, batch) in micro_batches.iter().enumerate() {
            let pass = self.state.global_step * self.config.gradient_accumulation_steps as u64 + i as u64;
            let forward = self.model.forward_train(batch, DropoutState { seed: self.config.seed, pass })?;
            let part = self.loss.evaluate(forward.logits(), batch, denominator)?;
            loss += part.value;
            tokens += batch.tokens();
            if !loss.is_finite() {
                return Err(self.not_finite(loss));
            }
            forward.backward(&part.gradient)?;
        }
        if self.state.global_step == 0 {
            self.model.check_gradients()?;
        }
        let rate = self.schedule.at(self.state.global_step);
        self.optimizer.step(&mut self.model, rate)?;
        self.state.global_step += 1;
        self.state.epoch_step += 1;
        Ok((loss, tokens))
    }

    /// Keeps the batch for inspection.
    fn not_finite(&self, loss: f64) -> TrainError {
        let indices = self.plans.get(self.state.epoch).map(|p| p.step(self.state.epoch_step).concat());
        let rows: Vec<_> = indices
            .unwrap_or_default()
            .into_iter()
            .filter_map(|i| self.examples.get(i))
            .map(|e| serde_json::json!({ "receipt": e.receipt, "input_ids": e.window.input_ids, "tags": e.tags }))
            .collect();
        let path = self.config.run_dir().join(format!("not-finite-step-{}.json", self.state.global_step));
        let saved = match write_atomic(&path, |f| Ok(serde_json::to_writer(f, &rows)?)) {
            Ok(()) => path.display().to_string(),
            Err(e) => format!("nothing ({e})"),
        };
        TrainError::NotFinite { step: self.state.global_step, loss, saved }
    }

    /// Scores the validation receipts, saves a checkpoint and the records. Gives the evaluation when it is the best.
    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<Option<Evaluation>, TrainError> {
        let started = Instant::now();
        let classifier = CandleClassifier::new(&self.model);
        let evaluation = evaluate(&self.encoder, &classifier, &self.validation, &|_| {})?;
        self.state.seconds += started.elapsed().as_secs_f64();
        self.state.epoch += 1;
        self.state.epoch_step = 0;
        let metrics = self.metrics(&evaluation);
        let is_best = self.note_best(&metrics);
        let (step, epoch) = (self.state.global_step, self.state.epoch as u64);
        self.epochs.push(&format!("checkpoint-{step}"), step, epoch, &evaluation);
        self.state.epochs = self.epochs.epochs.clone();
        self.state.epoch_metrics.push(metrics.clone());
        (self.state.loss_sum, self.state.loss_steps, self.state.train_seconds) = (0.0, 0, 0.0);
        self.save()?;
        self.write_records("running")?;
        observer.epoch(&EpochReport { metrics: &metrics, evaluation: &evaluation, is_best });
        Ok(is_best.then_some(evaluation))
    }

    fn metrics(&self, evaluation: &Evaluation) -> EpochMetrics {
        let last = self.state.global_step.saturating_sub(1);
        EpochMetrics {
            epoch: self.state.epoch as f64,
            global_step: self.state.global_step,
            train_loss: self.state.loss_sum / self.state.loss_steps.max(1) as f64,
            learning_rate: self.schedule.at(last),
            train_seconds: self.state.train_seconds,
            eval: evaluation
                .flat()
                .into_iter()
                .map(|(name, value)| (format!("eval_{name}"), value))
                .collect(),
        }
    }

    fn note_best(&mut self, metrics: &EpochMetrics) -> bool {
        let metric = self.config.checkpoint_metric;
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

    /// Writes a complete checkpoint, then `best/` where this is the best, then removes old ones.
    fn save(&mut self) -> Result<(), TrainError> {
        let dir = self.config.run_dir();
        let weights = self.model.weights()?;
        let moments = self.optimizer.state(&self.model)?;
        let folder = save(&dir, self.model.config(), &weights, &self.encoder, &moments, &self.state)?;
        if self.state.best.as_ref().is_some_and(|b| b.step == self.state.global_step) {
            save_best(&dir, &folder)?;
        }
        prune(&dir, self.config.keep_checkpoints, self.state.best.as_ref())?;
        Ok(())
    }

    /// Puts `best/` right when a crash came between a checkpoint and its copy.
    fn repair_best(&self) -> Result<(), RunError> {
        let Some(best) = &self.state.best else { return Ok(()) };
        let dir = self.config.run_dir();
        let current = crate::run::load_state(&dir.join("best")).map(|(s, _)| s.global_step).ok();
        if current == Some(best.step) {
            return Ok(());
        }
        match checkpoints(&dir).into_iter().find(|(step, _)| *step == best.step) {
            Some((_, folder)) => save_best(&dir, &folder),
            None => Ok(()),
        }
    }

    fn write_records(&mut self, status: &str) -> Result<(), FileError> {
        let dir = self.config.run_dir();
        self.record.status = status.into();
        self.record.epoch_metrics = self.state.epoch_metrics.clone();
        self.record.best = self.state.best.clone();
        self.record.seconds = self.state.seconds;
        self.record.write(&dir)?;
        self.epochs.generated_at = crate::machine::now();
        self.epochs.write(&dir)
    }
}
