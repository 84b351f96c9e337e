//! The network: embeddings, encoder layers, classification head.

use candle_core::{Device, Tensor};
use layoutlm_core::config::ModelConfig;

use super::{ModelError, PackedBatch, Parameter};
use crate::weights::{Array, Weights};

/// Which dropout masks a training pass draws. The same state draws the same masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutState {
    /// The run's seed.
    pub seed: u64,
    /// Counts forward passes over the whole run (micro-batches, not optimiser steps).
    pub pass: u64,
}

/// LayoutLM v1 for token classification.
///
/// Source: LayoutLM (Xu et al. 2020), §3.1; formulae as in `transformers.LayoutLMForTokenClassification`.
#[derive(Debug)]
pub struct LayoutLm {
    config: ModelConfig,
    labels: usize,
    parameters: Vec<Parameter>,
}

/// A forward pass with what its backward pass needs.
#[derive(Debug)]
pub struct TrainPass<'m> {
    model: &'m LayoutLm,
    logits: Tensor,
}

impl LayoutLm {
    /// Puts weights on a device.
    ///
    /// # Errors
    /// [`ModelError::Weights`] names a missing or misshapen tensor.
    pub fn new(config: ModelConfig, weights: Weights, device: &Device) -> Result<Self, ModelError> {
        let _ = (weights, device);
        Ok(Self { config, labels: 0, parameters: Vec::new() })
    }

    /// The dimensions.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Number of classes.
    pub fn num_labels(&self) -> usize {
        self.labels
    }

    /// All parameters, trainable or frozen.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Copies the weights out, by Hugging Face name.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn weights(&self) -> Result<Weights, ModelError> {
        Ok(Weights::default())
    }

    /// Sets each tensor's factor on the learning rate, by Hugging Face name; 0 freezes it.
    pub fn scale_learning_rates(&mut self, scale: impl Fn(&str) -> f64) {
        let _ = scale;
    }

    /// Logits `[tokens, labels]` without dropout; keeps nothing for a backward pass.
    ///
    /// # Errors
    /// [`ModelError::OutOfRange`] for ids the tables do not have.
    pub fn forward(&self, batch: &PackedBatch) -> Result<Tensor, ModelError> {
        self.forward_train(batch, DropoutState { seed: 0, pass: 0 }).map(|p| p.logits)
    }

    /// Logits with dropout at the configuration's rates, keeping what the backward pass needs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_train(
        &self,
        batch: &PackedBatch,
        dropout: DropoutState,
    ) -> Result<TrainPass<'_>, ModelError> {
        let _ = (batch, dropout);
        Err(ModelError::Labels("not written yet".into()))
    }

    /// The summed gradient of a Hugging Face tensor; nothing where none was computed since the last step.
    ///
    /// # Errors
    /// [`ModelError::UnknownParameter`].
    pub fn gradient(&self, name: &str) -> Result<Option<Array>, ModelError> {
        Err(ModelError::UnknownParameter(name.into()))
    }

    /// Drops all gradients.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn clear_gradients(&self) -> Result<(), ModelError> {
        Ok(())
    }

    /// Refuses when a trainable tensor got no gradient. To be called after the first backward pass of a run.
    ///
    /// # Errors
    /// [`ModelError::NoGradient`] names the tensors.
    pub fn check_gradients(&self) -> Result<(), ModelError> {
        Ok(())
    }
}

impl TrainPass<'_> {
    /// The logits, `[tokens, labels]`.
    pub fn logits(&self) -> &Tensor {
        &self.logits
    }

    /// Adds to every trainable parameter's gradient, given ∂loss/∂logits `[tokens, labels]`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for a gradient of another shape.
    pub fn backward(self, logits_gradient: &Tensor) -> Result<(), ModelError> {
        let _ = (self.model, logits_gradient);
        Ok(())
    }
}
