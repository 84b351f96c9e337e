//! A card: kernels and products behind [`crate::gpu::Compute`].

use std::sync::Arc;

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::config::ModelConfig;

use super::{Engine, Losses, Parts, Snapshot};
use crate::config::TrainConfig;
use crate::gpu::{Compute, GpuClassifier, GpuError, GpuOptions, GpuTrainer, Precision};
use crate::loss::{Denominators, LossConfig};
use crate::model::{CandleClassifier, DropoutState, LayoutLm, PackedBatch};
use crate::optim::{AdamWConfig, decay_after};
use crate::parallel::Communicator;
use crate::run::{CardState, Hardware};
use crate::train::TrainError;
use crate::train::start::learning_rate_scale;

/// Steps whose losses add up on the card before the host asks.
const STEPS_BETWEEN_LOSSES: u64 = 10;

/// A model with its optimiser on a card.
pub(super) struct OnCard {
    trainer: GpuTrainer,
    precision: Precision,
    ema_decay: Option<f64>,
    seed: u64,
    r_drop: f64,
    /// Tokens of a pass with `--auto-batch`.
    pass_tokens: Option<usize>,
    /// Tokens of the largest pass that fits, and of the longest window.
    fits: usize,
    longest: usize,
    /// Steps left out before the losses were last taken.
    skipped: u64,
}

impl OnCard {
    /// `longest` is the length of the longest training window in tokens.
    pub(super) fn open(
        config: &TrainConfig,
        compute: Arc<dyn Compute>,
        optimizer: AdamWConfig,
        loss: LossConfig,
        longest: usize,
        parts: &Parts,
    ) -> Result<Self, TrainError> {
        let precision = config.precision.on_card();
        let options = GpuOptions { precision, gradient_checkpointing: config.gradient_checkpointing };
        let model = parts.config.clone();
        let mut trainer = GpuTrainer::new(compute, model, &parts.weights, options, optimizer, loss)?;
        trainer.scale_learning_rates(learning_rate_scale(config, parts.config.num_hidden_layers))?;
        if config.ema_decay.is_some() {
            trainer.keep_average(parts.average.as_ref())?;
        }
        let mut skipped = 0;
        if let Some((moments, steps)) = &parts.moments {
            let mut counters = trainer.counters()?;
            // A checkpoint of the processor knows steps only.
            counters.applied = u32::try_from(*steps).unwrap_or(u32::MAX);
            counters = parts.card.map_or(counters, |card| card.counters);
            skipped = u64::from(counters.skipped);
            // The processor keeps no moments of what it never changed.
            let mut all = trainer.optimizer_state()?;
            moments.iter().for_each(|(name, array)| drop(all.insert(name.clone(), array.clone())));
            trainer.load_optimizer_state(&all, counters)?;
        }
        let fits = trainer.tokens_that_fit(if config.r_drop > 0.0 { 2 } else { 1 })?;
        let kept = parts.card.and_then(|card| card.pass_tokens);
        let pass_tokens = config.auto_batch.then(|| kept.unwrap_or_else(|| fits.max(longest)));
        let (ema_decay, seed, r_drop) = (config.ema_decay, config.seed, config.r_drop);
        Ok(Self { trainer, precision, ema_decay, seed, r_drop, pass_tokens, fits, longest, skipped })
    }

    /// Says what would have fitted.
    fn explain(&self, error: GpuError, tokens: usize) -> TrainError {
        match error {
            GpuError::OutOfMemory { .. } => {
                let (fits, windows) = (self.fits, self.fits / self.longest.max(1));
                TrainError::CardMemory { error: Box::new(error), tokens, fits, windows }
            }
            other => other.into(),
        }
    }
}

impl Engine for OnCard {
    fn config(&self) -> &ModelConfig {
        self.trainer.config()
    }

    fn accumulate(
        &mut self,
        batch: &PackedBatch,
        pass: u64,
        denominators: Denominators,
    ) -> Result<Option<f64>, TrainError> {
        let dropout = |pass| DropoutState { seed: self.seed, pass };
        let done = if self.r_drop == 0.0 {
            self.trainer.accumulate(batch, dropout(pass), denominators.cross_entropy)
        } else {
            let both = [dropout(pass), dropout(pass + 1)];
            self.trainer.accumulate_twice(batch, both, denominators, self.r_drop)
        };
        done.map_err(|error| self.explain(error, batch.tokens()))?;
        Ok(None)
    }

    fn discard(&mut self) -> Result<(), TrainError> {
        Ok(self.trainer.clear_gradients()?)
    }

    fn exchange(&mut self, others: &dyn Communicator) -> Result<(), TrainError> {
        self.trainer.exchange_gradients(
            |address, count| Ok::<_, TrainError>(others.sum_on_card(address, count)?),
            |values| Ok(others.sum_f32(values)?),
        )
    }

    fn check_gradients(&self) -> Result<(), TrainError> {
        Ok(self.trainer.check_gradients()?)
    }

    fn step(&mut self, learning_rate: f64, steps: u64) -> Result<(), TrainError> {
        self.trainer.step(learning_rate)?;
        if let Some(decay) = self.ema_decay {
            self.trainer.move_average(decay_after(steps, decay))?;
        }
        Ok(())
    }

    fn steps_between_losses(&self) -> u64 {
        STEPS_BETWEEN_LOSSES
    }

    fn losses(&mut self) -> Result<Losses, TrainError> {
        let numbers = self.trainer.numbers()?;
        let left_out = numbers.skipped > self.skipped;
        self.skipped = numbers.skipped;
        // In fp16 steps are left out while the loss scale settles; at its least, that is no longer the reason.
        let settling = self.precision == Precision::Fp16 && numbers.loss_scale > 1.0;
        Ok(Losses { sum: numbers.loss, diverged: left_out && !settling })
    }

    fn snapshot(&self) -> Result<Snapshot, TrainError> {
        let card = CardState { counters: self.trainer.counters()?, pass_tokens: self.pass_tokens };
        let (weights, average) = (self.trainer.weights()?, self.trainer.average()?);
        Ok(Snapshot::new(weights, average, self.trainer.optimizer_state()?, Some(card)))
    }

    fn score(&mut self, work: &mut dyn FnMut(&dyn TokenClassifier)) -> Result<(), TrainError> {
        let budget = self.fits.max(self.longest).min(CandleClassifier::<LayoutLm>::DEFAULT_TOKEN_BUDGET);
        Ok(self.trainer.with_average(|trainer| work(&GpuClassifier::new(trainer, budget)))?)
    }

    fn pass_tokens(&self) -> Option<usize> {
        self.pass_tokens
    }

    fn settle_pass_tokens(&mut self, tokens: usize) {
        self.pass_tokens = Some(tokens);
    }

    fn hardware(&self) -> Hardware {
        Hardware {
            device: self.trainer.device_name(),
            precision: self.precision.name().into(),
            peak_device_memory_mib: Some(self.trainer.peak_memory() >> 20),
            ..Hardware::default()
        }
    }
}
