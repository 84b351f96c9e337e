//! An exponential moving average of the weights: what is evaluated and kept while the weights themselves train on.

use candle_core::{Device, Tensor};

use crate::model::{LayoutLm, ModelError};
use crate::ops;
use crate::weights::Weights;

/// The decay after so many updates: it starts low and rises to the one asked for, min(decay, (1 + t) / (10 + t)) after t
/// updates, so that the first weights are soon forgotten. Source: `tf.train.ExponentialMovingAverage` with `num_updates`.
pub(crate) fn decay_after(updates: u64, decay: f64) -> f64 {
    let t = updates as f64;
    decay.min((1.0 + t) / (10.0 + t))
}

/// The moving average of one model's weights, with `decay_after`.
#[derive(Debug)]
pub struct WeightAverage {
    decay: f64,
    /// By index of the model's parameters.
    means: Vec<Tensor>,
}

impl WeightAverage {
    /// Starts from the model's weights.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn new(model: &LayoutLm, decay: f64) -> Result<Self, ModelError> {
        let means = model.parameters().iter().map(|p| p.value().copy()).collect::<Result<_, _>>()?;
        Ok(Self { decay, means })
    }

    /// Moves towards the model's weights; `updates` is how often that was done before.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn update(&mut self, model: &LayoutLm, updates: u64) -> Result<(), ModelError> {
        let decay = decay_after(updates, self.decay);
        rayon::scope(|_| {
            for (parameter, mean) in model.parameters().iter().zip(&mut self.means) {
                if !parameter.is_trainable() {
                    continue;
                }
                match mean.device() {
                    Device::Cpu => ops::average(mean, parameter.value(), decay)?,
                    _ => *mean = ((&*mean * decay)? + (parameter.value() * (1.0 - decay))?)?,
                }
            }
            Ok(())
        })
    }

    /// The average by Hugging Face name.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn weights(&self, model: &LayoutLm) -> Result<Weights, ModelError> {
        let mut all = Weights::default();
        for (parameter, mean) in model.parameters().iter().zip(&self.means) {
            for part in parameter.parts() {
                all.insert(part.name.clone(), parameter.part_of(mean, part)?);
            }
        }
        Ok(all)
    }

    /// A model of the averaged weights.
    ///
    /// # Errors
    /// [`ModelError`] when the device fails.
    pub fn model(&self, model: &LayoutLm) -> Result<LayoutLm, ModelError> {
        let device = model.parameters().first().map_or(Device::Cpu, |p| p.value().device().clone());
        LayoutLm::new(model.config().clone(), self.weights(model)?, &device)
    }
}
