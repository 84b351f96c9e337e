//! One optimiser step: micro-batches forward and backward, then the update.

use std::sync::atomic::{AtomicBool, Ordering};

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::window::Window;

use super::TrainError;
use super::prepare::Prepared;
use crate::files::write_atomic;
use crate::loss::divergence;
use crate::model::{DropoutState, LabelledWindow, ModelError, PackedBatch};

/// Room for the passes of one step in the dropout generator's counter.
const PASSES_PER_STEP: u64 = 1 << 20;

/// What a step did.
pub(super) struct StepDone {
    /// Its loss.
    pub(super) loss: f64,
    /// Tokens it saw.
    pub(super) tokens: usize,
}

/// What the losses of all passes of a step are divided by.
#[derive(Clone, Copy)]
struct Denominators {
    cross_entropy: f64,
    divergence: f64,
}

impl Prepared {
    /// One optimiser step; nothing when it was broken off by `stop`, which leaves everything as it was before it.
    pub(super) fn step(&mut self, stop: &AtomicBool) -> Result<Option<StepDone>, TrainError> {
        let passes = self.passes();
        let labels = || passes.iter().filter_map(|b| b.labels.as_deref());
        let denominators = Denominators {
            cross_entropy: labels().map(|l| self.loss.denominator(l)).sum(),
            divergence: passes.iter().map(|b| b.labelled_tokens() as f64).sum(),
        };
        let (mut loss, mut tokens) = (0.0, 0);
        for (batch, place) in passes.iter().zip(0u64..) {
            if stop.load(Ordering::Relaxed) {
                self.model.clear_gradients()?;
                return Ok(None);
            }
            let pass = self.state.global_step * PASSES_PER_STEP + 2 * place;
            loss += self.pass(batch, pass, denominators)?;
            tokens += batch.tokens();
            if !loss.is_finite() {
                return Err(self.not_finite(loss));
            }
        }
        if self.state.global_step == 0 {
            self.model.check_gradients()?;
        }
        let rate = self.schedule.at(self.state.global_step);
        match self.optimizer.step(&mut self.model, rate) {
            Err(ModelError::NotFinite { .. }) => return Err(self.not_finite(loss)),
            other => other?,
        };
        if let Some(average) = &mut self.average {
            average.update(&self.model, self.state.global_step)?;
        }
        self.state.global_step += 1;
        self.state.epoch_step += 1;
        Ok(Some(StepDone { loss, tokens }))
    }

    /// Adds one pass to the gradients and gives its share of the loss.
    fn pass(&self, batch: &PackedBatch, pass: u64, denominators: Denominators) -> Result<f64, TrainError> {
        let dropout = |pass| DropoutState { seed: self.config.seed, pass };
        let first = self.model.forward_train(batch, dropout(pass))?;
        let total = denominators.cross_entropy;
        if self.config.r_drop == 0.0 {
            let part = self.loss.evaluate(first.logits(), batch, total)?;
            first.backward(&part.gradient)?;
            return Ok(part.value);
        }
        // Half of R-Drop's sum over both passes, so that losses are of the scale of one pass.
        let second = self.model.forward_train(batch, dropout(pass + 1))?;
        let labels = batch.labels.as_deref().unwrap_or_default();
        let scale = if denominators.divergence > 0.0 {
            self.config.r_drop / (4.0 * denominators.divergence)
        } else {
            0.0
        };
        let apart = divergence([first.logits(), second.logits()], labels, scale)?;
        let mut value = apart.value;
        for (side, gradient) in [first, second].into_iter().zip(&apart.gradients) {
            let part = self.loss.evaluate(side.logits(), batch, 2.0 * total)?;
            let gradient = (part.gradient + gradient).map_err(ModelError::from)?;
            value += part.value;
            side.backward(&gradient)?;
        }
        Ok(value)
    }

    /// The step's micro-batches, cut where they are too large for one pass.
    fn passes(&self) -> Vec<PackedBatch> {
        let plan = self.plans.get(self.state.epoch);
        let micro_batches = plan.map(|p| p.step(self.state.epoch_step)).unwrap_or_default();
        let mut passes = Vec::new();
        for indices in micro_batches {
            let mut rest = indices;
            while !rest.is_empty() {
                let mut tokens = 0;
                let fitting = rest.iter().take_while(|&&i| {
                    tokens += self.lengths.get(i).copied().unwrap_or(0);
                    tokens <= self.config.max_pass_tokens
                });
                let (now, later) = rest.split_at(fitting.count().max(1));
                passes.push(self.pack(now));
                rest = later;
            }
        }
        passes
    }

    fn pack(&self, indices: &[usize]) -> PackedBatch {
        let examples: Vec<_> = indices.iter().filter_map(|&i| self.examples.get(i)).collect();
        let missing = |window: &Window| match self.config.pad_to_max_length {
            true => self.encoder.encoding().window.max_length.saturating_sub(window.len()),
            false => 0,
        };
        // Padding is a sequence of its own: nothing looks at it, and it looks at nothing.
        let pads: Vec<Option<Window>> =
            examples.iter().map(|e| padding(missing(&e.window), self.encoder.tokenizer().pad_id())).collect();
        let pad = |window| LabelledWindow { window, labels: &[] };
        let with_pads = examples.iter().zip(&pads);
        let windows: Vec<LabelledWindow<'_>> =
            with_pads.flat_map(|(e, p)| std::iter::once(e.labelled()).chain(p.as_ref().map(pad))).collect();
        PackedBatch::pack_labelled(&windows)
    }

    /// Keeps the step's windows for inspection.
    fn not_finite(&self, loss: f64) -> TrainError {
        let indices = self.plans.get(self.state.epoch).map(|p| p.step(self.state.epoch_step).concat());
        let rows: Vec<_> = indices
            .unwrap_or_default()
            .into_iter()
            .filter_map(|i| self.examples.get(i))
            .map(|e| {
                let (ids, boxes) = (&e.window.input_ids, &e.window.bbox);
                serde_json::json!({ "receipt": e.receipt, "input_ids": ids, "bbox": boxes, "tags": e.tags })
            })
            .collect();
        let path = self.config.run_dir().join(format!("not-finite-step-{}.json", self.state.global_step));
        let saved = match write_atomic(&path, |f| Ok(serde_json::to_writer(f, &rows)?)) {
            Ok(()) => path.display().to_string(),
            Err(e) => format!("nothing ({e})"),
        };
        TrainError::NotFinite { step: self.state.global_step, loss, saved }
    }
}

fn padding(tokens: usize, pad_id: u32) -> Option<Window> {
    (tokens > 0).then(|| Window {
        word_indices: Vec::new(),
        input_ids: vec![pad_id; tokens],
        bbox: vec![NormalizedBox::ZERO; tokens],
        word_ids: vec![None; tokens],
    })
}
