//! Forward and backward passes of a training step, plain or two at a time for R-Drop.

use super::GpuError;
use super::batch::DeviceBatch;
use super::kernels::{Kernels, Shape};
use super::memory::Buffer;
use super::model::Pass;
use super::trainer::{GpuTrainer, LOSS_SCALE, PENDING};
use crate::loss::Denominators;
use crate::model::{DropoutState, Masks, ModelError, PackedBatch};
use crate::random::Stream;

/// One forward pass on its way back.
struct Side {
    masks: Masks,
    pass: Pass,
    gradient: Buffer,
}

impl GpuTrainer {
    /// Forward and backward pass of one micro-batch; its gradients are added up on the card. `denominator` is that of
    /// the whole step, see [`crate::loss::LossConfig::denominator`].
    ///
    /// # Errors
    /// [`GpuError::Model`] for a batch that does not fit the model, [`GpuError::OutOfMemory`].
    pub fn accumulate(
        &self,
        batch: &PackedBatch,
        dropout: DropoutState,
        denominator: f64,
    ) -> Result<(), GpuError> {
        let (kernels, device) = (self.kernels(), self.training_batch(batch)?);
        let side = self.side(&kernels, &device, dropout)?;
        let losses = self.card.buffer(device.tokens * 8)?;
        self.cross_entropy(&kernels, &device, &side, &losses, denominator)?;
        kernels.sum_losses(self.state.address() + PENDING, &losses, device.tokens)?;
        self.backward(&kernels, &device, side)
    }

    /// R-Drop: two passes with dropout of their own that are held to agree, `weight` times their divergence beside half
    /// of each pass's cross-entropy. `denominators` are those of the whole step.
    ///
    /// # Errors
    /// As [`Self::accumulate`].
    pub fn accumulate_twice(
        &self,
        batch: &PackedBatch,
        dropout: [DropoutState; 2],
        denominators: Denominators,
        weight: f64,
    ) -> Result<(), GpuError> {
        let (kernels, device) = (self.kernels(), self.training_batch(batch)?);
        let [first, second] = dropout;
        let (a, b) = (self.side(&kernels, &device, first)?, self.side(&kernels, &device, second)?);
        let losses = self.card.buffer(device.tokens * 8)?;
        self.cross_entropy(&kernels, &device, &a, &losses, 2.0 * denominators.cross_entropy)?;
        kernels.sum_losses(self.state.address() + PENDING, &losses, device.tokens)?;
        self.cross_entropy(&kernels, &device, &b, &losses, 2.0 * denominators.cross_entropy)?;
        let scale =
            if denominators.divergence > 0.0 { weight / (4.0 * denominators.divergence) } else { 0.0 };
        kernels.divergence(
            [&a.gradient, &b.gradient],
            &losses,
            [&a.pass.logits, &b.pass.logits],
            self.network.classifier_bias(),
            device.labels(),
            self.state.address() + LOSS_SCALE,
            Shape { rows: device.tokens, width: self.network.labels },
            scale as f32,
        )?;
        kernels.sum_losses(self.state.address() + PENDING, &losses, device.tokens)?;
        self.backward(&kernels, &device, a)?;
        self.backward(&kernels, &device, b)
    }

    fn training_batch(&self, batch: &PackedBatch) -> Result<DeviceBatch, GpuError> {
        self.check(batch)?;
        if batch.tokens() == 0 || batch.labels.is_none() {
            return Err(ModelError::Labels("a training batch needs tokens and labels".into()).into());
        }
        self.device_batch(batch)
    }

    fn side(
        &self,
        kernels: &Kernels<'_>,
        device: &DeviceBatch,
        dropout: DropoutState,
    ) -> Result<Side, GpuError> {
        let masks = self.masks(Some(Stream::new(dropout.seed).child(dropout.pass)));
        let recompute = self.options.gradient_checkpointing;
        let pass = self.network.forward(kernels, &self.flat, device, &masks, true, recompute)?;
        let gradient = kernels.activation(device.tokens, self.network.labels)?;
        Ok(Side { masks, pass, gradient })
    }

    fn cross_entropy(
        &self,
        kernels: &Kernels<'_>,
        device: &DeviceBatch,
        side: &Side,
        losses: &Buffer,
        denominator: f64,
    ) -> Result<(), GpuError> {
        let scale = if denominator > 0.0 { 1.0 / denominator } else { 0.0 };
        kernels.cross_entropy(
            &side.gradient,
            losses,
            &side.pass.logits,
            self.network.classifier_bias(),
            device.labels(),
            self.class_weights.as_ref(),
            self.state.address() + LOSS_SCALE,
            Shape { rows: device.tokens, width: self.network.labels },
            self.loss.label_smoothing as f32,
            scale as f32,
        )
    }

    fn backward(&self, kernels: &Kernels<'_>, device: &DeviceBatch, side: Side) -> Result<(), GpuError> {
        self.network.backward(kernels, &self.flat, device, &side.masks, side.pass, &side.gradient)
    }
}
