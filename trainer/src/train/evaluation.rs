//! The end of an epoch: scores on the held-out receipts, and whether they are the best so far.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::evaluate::{Evaluation, evaluate};
use layoutlm_core::window::Window;

use super::prepare::Prepared;
use super::{EpochReport, Observer, TrainError};
use crate::config::PRODUCT_DETAIL;
use crate::model::{CandleClassifier, LayoutLm};
use crate::run::{BestCheckpoint, EpochMetrics};

impl Prepared {
    /// Scores the validation receipts, saves a checkpoint and the records. Gives the evaluation when it is the best;
    /// nothing at all when broken off by `stop`.
    pub(super) fn finish_epoch(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<Option<Evaluation>>, TrainError> {
        let started = Instant::now();
        let Some(evaluation) = self.score(stop)? else { return Ok(None) };
        self.state.seconds += started.elapsed().as_secs_f64();
        self.state.epoch += 1;
        self.state.epoch_step = 0;
        let metrics = self.metrics(&evaluation);
        let is_best = self.note_best(&metrics);
        if self.config.eval_heldout_windowed {
            let (step, epoch) = (self.state.global_step, self.state.epoch as u64);
            self.epochs.push(&format!("checkpoint-{step}"), step, epoch, &evaluation);
            self.state.epochs = self.epochs.epochs.clone();
        }
        self.state.epoch_metrics.push(metrics.clone());
        (self.state.loss_sum, self.state.loss_steps, self.state.train_seconds) = (0.0, 0, 0.0);
        let folder = self.save()?;
        self.write_records("running")?;
        observer.epoch(&EpochReport { metrics: &metrics, evaluation: &evaluation, is_best });
        self.tell_saved(observer, &folder, true);
        Ok(Some(is_best.then_some(evaluation)))
    }

    fn score(&self, stop: &AtomicBool) -> Result<Option<Evaluation>, TrainError> {
        let averaged = self.average.as_ref().map(|a| a.model(&self.model)).transpose()?;
        let model: &LayoutLm = averaged.as_ref().unwrap_or(&self.model);
        let classifier = Stoppable { inner: CandleClassifier::new(model), stop };
        match evaluate(&self.encoder, &classifier, &self.validation, &|_| {}) {
            Err(_) if stop.load(Ordering::Relaxed) => Ok(None),
            result => Ok(Some(result?)),
        }
    }

    fn metrics(&self, evaluation: &Evaluation) -> EpochMetrics {
        let last = self.state.global_step.saturating_sub(1);
        let mut eval = evaluation.flat();
        for (name, value) in [
            ("product_detail_macro_f1", Some(product_detail_macro_f1(evaluation))),
            ("macro_f1", Some(evaluation.report.macro_avg.f1)),
            ("weighted_f1", Some(evaluation.report.weighted.f1)),
            ("o_token_accuracy", evaluation.o_token_accuracy),
        ] {
            if let Some(value) = value.filter(|v| v.is_finite()) {
                eval.entry(name.into()).or_insert(value);
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

/// Mean F1 of the product labels that are in the report; 0 if none is.
fn product_detail_macro_f1(evaluation: &Evaluation) -> f64 {
    let scores: Vec<f64> =
        PRODUCT_DETAIL.iter().filter_map(|l| evaluation.report.per_label.get(*l)).map(|s| s.f1).collect();
    if scores.is_empty() { 0.0 } else { scores.iter().sum::<f64>() / scores.len() as f64 }
}

/// A classifier that gives up between receipts when asked to stop.
struct Stoppable<'a> {
    inner: CandleClassifier<&'a LayoutLm>,
    stop: &'a AtomicBool,
}

impl TokenClassifier for Stoppable<'_> {
    fn num_labels(&self) -> usize {
        self.inner.num_labels()
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("stopped".into());
        }
        self.inner.logits(windows)
    }
}
