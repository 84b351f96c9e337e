//! The validation receipts as each epoch's evaluation needs them, and what it leaves in the run's folder.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::evaluate::{
    Evaluation, GoldReceipt, Group, ScoredReceipt, score_receipts, slices, summarize,
};
use layoutlm_core::heldout::{GoldRule, HeldOut, LineTags};
use layoutlm_core::receipt::{Receipt, ValidationStatus};

use super::{TrainData, TrainError};
use crate::files::{FileError, write_json};
use crate::run::{EpochEntry, SHOWCASE, write_showcase};
use crate::stats::{DATA_FILE, DataStats, slice_groups};

/// The best checkpoint's complete evaluation in a run's folder.
pub const EVALUATION_FILE: &str = "evaluation.json";

/// Validation receipts and the parts of them that are scored by themselves.
pub(super) struct HeldOutSet {
    receipts: Vec<Receipt>,
    groups: Vec<Group>,
    status: ValidationStatus,
}

/// One epoch's evaluation.
pub(super) struct EpochScores {
    /// Over whole receipts.
    pub(super) evaluation: Evaluation,
    held_out: HeldOut,
    scored: Vec<ScoredReceipt>,
    /// `[receipts]`.
    milliseconds: Vec<f64>,
}

impl HeldOutSet {
    /// Keeps the validation receipts and writes what is known of all receipts into the run's folder, where one is given.
    pub(super) fn new(
        encoder: &Encoder,
        validation: &[GoldReceipt],
        data: TrainData,
        status: ValidationStatus,
        run_dir: Option<&Path>,
    ) -> Result<Self, TrainError> {
        let stats = DataStats::of_run(encoder, &data.train, &data.validation)?;
        let windows: Vec<usize> = validation.iter().map(|r| r.encoded.windows.len()).collect();
        let groups = slice_groups(&data.validation, &windows, Some(&stats.train_merchants));
        if let Some(run_dir) = run_dir {
            write_json(&run_dir.join(DATA_FILE), &stats)?;
        }
        Ok(Self { receipts: data.validation, groups, status })
    }

    /// Labels and scores the validation receipts.
    pub(super) fn score(
        &self,
        encoder: &Encoder,
        classifier: &dyn TokenClassifier,
        validation: &[GoldReceipt],
    ) -> Result<EpochScores, TrainError> {
        let clock = RefCell::new((Instant::now(), Vec::with_capacity(validation.len())));
        let scored = score_receipts(encoder, classifier, validation, &|_| {
            let (last, times) = &mut *clock.borrow_mut();
            times.push(last.elapsed().as_secs_f64() * 1e3);
            *last = Instant::now();
        })?;
        let mut evaluation = summarize(encoder, &scored)?;
        evaluation.slices = slices(&scored, &self.groups)?;
        let rule = self.rule(encoder);
        let lines: Vec<LineTags> = self
            .receipts
            .iter()
            .zip(validation.iter().zip(&scored))
            .map(|(receipt, (gold, scored))| {
                rule.lines(receipt, &gold.encoded.in_input_order(&scored.predicted_tags(), "O"))
            })
            .collect();
        let held_out = HeldOut::score(&lines)?;
        Ok(EpochScores { evaluation, held_out, scored, milliseconds: clock.into_inner().1 })
    }

    fn rule<'a>(&self, encoder: &'a Encoder) -> GoldRule<'a> {
        let encoding = encoder.encoding();
        GoldRule { labels: &encoding.labels, merges: encoding.scheme.merges(), status: self.status }
    }

    /// Writes the predictions of a few receipts and, for the best checkpoint, its complete evaluation.
    ///
    /// What can't be written is a warning: the run and its checkpoints are worth more than these files.
    pub(super) fn keep(
        &self,
        run_dir: &Path,
        encoder: &Encoder,
        validation: &[GoldReceipt],
        scores: &EpochScores,
        epoch: (&str, u64),
        is_best: bool,
    ) {
        let written = self.write(run_dir, encoder, validation, scores, epoch, is_best);
        if let Err(e) = written {
            tracing::warn!("{e}; the run goes on without it");
        }
    }

    fn write(
        &self,
        run_dir: &Path,
        encoder: &Encoder,
        validation: &[GoldReceipt],
        scores: &EpochScores,
        epoch: (&str, u64),
        is_best: bool,
    ) -> Result<(), FileError> {
        if is_best {
            write_json(&run_dir.join(EVALUATION_FILE), &scores.evaluation)?;
        }
        let classes = encoder.encoding().labels.len();
        let mut order: Vec<usize> = (0..self.receipts.len()).collect();
        order.sort_by_key(|&i| self.receipts.get(i).map(Receipt::key));
        for i in order.into_iter().take(SHOWCASE) {
            let all = (self.receipts.get(i), validation.get(i), scores.scored.get(i));
            let (Some(receipt), Some(gold), Some(scored)) = all else { continue };
            let rows: Vec<&[f32]> = scored.scores.probabilities.chunks(classes).collect();
            write_showcase(
                run_dir,
                epoch,
                receipt,
                &self.rule(encoder),
                &gold.encoded.in_input_order(&scored.predicted_tags(), "O"),
                &gold.encoded.in_input_order(&rows, &[][..]),
                scores.milliseconds.get(i).copied().unwrap_or(0.0),
            )?;
        }
        Ok(())
    }
}

impl EpochScores {
    /// The entry of `epochs.json`.
    pub(super) fn entry(&self, checkpoint: &str, step: u64, epoch: u64) -> EpochEntry {
        let cents = |v: f64| Some((v * 100.0).round() / 100.0);
        let total: f64 = self.milliseconds.iter().sum();
        EpochEntry {
            checkpoint: checkpoint.into(),
            step: Some(step),
            epoch: Some(epoch),
            training_reported_f1: Some(self.evaluation.f1),
            heldout_f1_delta_vs_training_reported: Some(self.held_out.heldout_f1 - self.evaluation.f1),
            avg_inference_ms: cents(total / self.milliseconds.len().max(1) as f64),
            total_inference_ms: cents(total),
            confusion: Some(self.evaluation.confusion.clone()),
            heldout: self.held_out.clone(),
        }
    }
}
