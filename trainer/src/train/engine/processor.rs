//! The processor: the network over candle tensors.

use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::config::ModelConfig;

use super::{Engine, Losses, Parts, Snapshot};
use crate::config::TrainConfig;
use crate::loss::{Denominators, LossConfig, divergence};
use crate::model::{CandleClassifier, DropoutState, LayoutLm, ModelError, PackedBatch};
use crate::optim::{AdamW, AdamWConfig, WeightAverage};
use crate::parallel::Communicator;
use crate::run::Hardware;
use crate::train::TrainError;
use crate::train::start::learning_rate_scale;

/// A model with its optimiser on the processor.
pub(super) struct Processor {
    model: LayoutLm,
    average: Option<WeightAverage>,
    optimizer: AdamW,
    loss: LossConfig,
    seed: u64,
    r_drop: f64,
    /// Of the passes since the losses were taken.
    summed: f64,
}

impl Processor {
    pub(super) fn open(
        config: &TrainConfig,
        optimizer: AdamWConfig,
        loss: LossConfig,
        parts: Parts,
    ) -> Result<Self, TrainError> {
        let on_cpu = |weights| LayoutLm::new(parts.config.clone(), weights, &candle_core::Device::Cpu);
        let mut model = on_cpu(parts.weights)?;
        let average = match (config.ema_decay, parts.average) {
            (None, _) => None,
            (Some(decay), None) => Some(WeightAverage::new(&model, decay)?),
            (Some(decay), Some(average)) => Some(WeightAverage::new(&on_cpu(average)?, decay)?),
        };
        model.scale_learning_rates(learning_rate_scale(config, parts.config.num_hidden_layers));
        let mut optimizer = AdamW::new(optimizer);
        if let Some((moments, steps)) = parts.moments {
            optimizer.load_state(&model, moments, steps)?;
        }
        let (seed, r_drop) = (config.seed, config.r_drop);
        Ok(Self { model, average, optimizer, loss, seed, r_drop, summed: 0.0 })
    }

    /// Adds one pass to the gradients and gives its share of the loss.
    fn pass(&self, batch: &PackedBatch, pass: u64, denominators: Denominators) -> Result<f64, TrainError> {
        let dropout = |pass| DropoutState { seed: self.seed, pass };
        let first = self.model.forward_train(batch, dropout(pass))?;
        let total = denominators.cross_entropy;
        if self.r_drop == 0.0 {
            let part = self.loss.evaluate(first.logits(), batch, total)?;
            first.backward(&part.gradient)?;
            return Ok(part.value);
        }
        // Half of R-Drop's sum over both passes, so that losses are of the scale of one pass.
        let second = self.model.forward_train(batch, dropout(pass + 1))?;
        let labels = batch.labels.as_deref().unwrap_or_default();
        let scale =
            if denominators.divergence > 0.0 { self.r_drop / (4.0 * denominators.divergence) } else { 0.0 };
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
}

impl Engine for Processor {
    fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    fn accumulate(
        &mut self,
        batch: &PackedBatch,
        pass: u64,
        denominators: Denominators,
    ) -> Result<Option<f64>, TrainError> {
        self.summed += self.pass(batch, pass, denominators)?;
        Ok(Some(self.summed))
    }

    fn discard(&mut self) -> Result<(), TrainError> {
        self.summed = 0.0;
        Ok(self.model.clear_gradients()?)
    }

    fn exchange(&mut self, others: &dyn Communicator) -> Result<(), TrainError> {
        self.model.exchange_gradients(|values| Ok::<_, TrainError>(others.sum_f32(values)?))
    }

    fn check_gradients(&self) -> Result<(), TrainError> {
        Ok(self.model.check_gradients()?)
    }

    fn step(&mut self, learning_rate: f64, steps: u64) -> Result<(), TrainError> {
        self.optimizer.step(&mut self.model, learning_rate)?;
        if let Some(average) = &mut self.average {
            average.update(&self.model, steps)?;
        }
        Ok(())
    }

    fn steps_between_losses(&self) -> u64 {
        1
    }

    fn losses(&mut self) -> Result<Losses, TrainError> {
        Ok(Losses { sum: std::mem::take(&mut self.summed), diverged: false })
    }

    fn snapshot(&self) -> Result<Snapshot, TrainError> {
        let average = self.average.as_ref().map(|average| average.weights(&self.model)).transpose()?;
        Ok(Snapshot::new(self.model.weights()?, average, self.optimizer.state(&self.model)?, None))
    }

    fn score(&mut self, work: &mut dyn FnMut(&dyn TokenClassifier)) -> Result<(), TrainError> {
        let averaged = self.average.as_ref().map(|average| average.model(&self.model)).transpose()?;
        work(&CandleClassifier::new(averaged.as_ref().unwrap_or(&self.model)));
        Ok(())
    }

    fn pass_tokens(&self) -> Option<usize> {
        None
    }

    fn settle_pass_tokens(&mut self, _: usize) {}

    fn hardware(&self) -> Hardware {
        Hardware { device: "cpu".into(), precision: "fp32".into(), ..Hardware::default() }
    }
}
