//! One optimiser step: micro-batches forward and backward, then the update.

use std::sync::atomic::{AtomicBool, Ordering};

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::window::Window;

use super::TrainError;
use super::prepare::Prepared;
use crate::files::write_atomic;
use crate::loss::Denominators;
use crate::model::{LabelledWindow, ModelError, PackedBatch};

/// Room for the passes of one step in the dropout generator's counter.
const PASSES_PER_STEP: u64 = 1 << 20;

impl Prepared {
    /// One optimiser step; gives the tokens this process computed. Nothing when it was broken off by `stop`, here or in
    /// another process, which leaves everything as it was before it.
    pub(super) fn step(&mut self, stop: &AtomicBool) -> Result<Option<usize>, TrainError> {
        let passes = self.passes();
        let labels = || passes.iter().filter_map(|(_, b)| b.labels.as_deref());
        let denominators = Denominators {
            cross_entropy: labels().map(|l| self.loss.denominator(l)).sum(),
            divergence: passes.iter().map(|(_, b)| b.labelled_tokens() as f64).sum(),
        };
        let (mut loss, mut tokens, mut broken_off) = (0.0, 0, false);
        // Passes are numbered over all processes: each draws the dropout it would draw in one process.
        let rank = self.rank();
        for ((_, batch), place) in passes.iter().zip(0u64..).filter(|((owner, _), _)| *owner == rank) {
            if stop.load(Ordering::Relaxed) {
                broken_off = true;
                break;
            }
            let pass = self.state.global_step * PASSES_PER_STEP + 2 * place;
            loss = self.engine.accumulate(batch, pass, denominators)?.unwrap_or(0.0);
            tokens += batch.tokens();
            if !loss.is_finite() {
                break;
            }
        }
        let (broken_off, loss) = self.agree(broken_off, loss)?;
        if broken_off {
            self.engine.discard()?;
            return Ok(None);
        }
        if !loss.is_finite() {
            return Err(self.not_finite(loss, 0));
        }
        if let Some(others) = &self.communicator {
            self.engine.exchange(others.as_ref())?;
        }
        if self.state.global_step == 0 {
            self.engine.check_gradients()?;
        }
        let rate = self.schedule.at(self.state.global_step);
        match self.engine.step(rate, self.state.global_step) {
            Err(TrainError::Model(ModelError::NotFinite { .. })) => return Err(self.not_finite(loss, 0)),
            other => other?,
        }
        self.state.global_step += 1;
        self.state.epoch_step += 1;
        Ok(Some(tokens))
    }

    /// Whether any process broke the step off, and the sum of the losses known so far. Tells all others the same.
    fn agree(&self, broken_off: bool, loss: f64) -> Result<(bool, f64), TrainError> {
        let Some(others) = &self.communicator else { return Ok((broken_off, loss)) };
        let mut both = [f64::from(u8::from(broken_off)), loss];
        others.sum_f64(&mut both)?;
        let [stopped, loss] = both;
        Ok((stopped > 0.0, loss))
    }

    /// The step's micro-batches, cut where they are too large for one pass, each with the rank that computes it: ranks take
    /// micro-batches in turns.
    fn passes(&self) -> Vec<(usize, PackedBatch)> {
        let plan = self.plans.get(self.state.epoch);
        let micro_batches = plan.map(|p| p.step(self.state.epoch_step)).unwrap_or_default();
        let mut passes = Vec::new();
        for (place, indices) in micro_batches.into_iter().enumerate() {
            let mut rest = indices;
            while !rest.is_empty() {
                let mut tokens = 0;
                let fitting = rest.iter().take_while(|&&i| {
                    tokens += self.lengths.get(i).copied().unwrap_or(0);
                    tokens <= self.pass_tokens
                });
                let (now, later) = rest.split_at(fitting.count().max(1));
                passes.push((place % self.world_size(), self.pack(now)));
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

    /// Keeps the windows of the step, or of the last `done` steps, for inspection.
    pub(super) fn not_finite(&self, loss: f64, done: usize) -> TrainError {
        let (plan, now) = (self.plans.get(self.state.epoch), self.state.epoch_step);
        let steps = if done == 0 { now..now + 1 } else { now.saturating_sub(done)..now };
        let indices = plan.into_iter().flat_map(|p| steps.clone().flat_map(|step| p.step(step).concat()));
        let rows: Vec<_> = indices
            .filter_map(|i| self.examples.get(i))
            .map(|e| {
                let (ids, boxes) = (&e.window.input_ids, &e.window.bbox);
                serde_json::json!({ "receipt": e.receipt, "input_ids": ids, "bbox": boxes, "tags": e.tags })
            })
            .collect();
        let path = self.config.run_dir().join(format!("not-finite-step-{}.json", self.state.global_step));
        let saved = match self.leads().then(|| write_atomic(&path, |f| Ok(serde_json::to_writer(f, &rows)?)))
        {
            Some(Ok(())) => path.display().to_string(),
            Some(Err(e)) => format!("nothing ({e})"),
            None => "the run's folder".into(),
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
