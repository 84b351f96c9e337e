//! Cross-entropy over labelled tokens, with label smoothing and class weights in any combination.
//!
//! The sum is divided by a number given from outside, so that the micro-batches of one optimiser step together
//! give exactly the loss of one large batch: [`LossConfig::denominator`] summed over all of them.

mod divergence;

pub use divergence::{Divergence, divergence};

use candle_core::Tensor;
use layoutlm_core::label::LabelId;

use crate::model::{ModelError, PackedBatch};
use crate::ops;

/// What a weighted sum is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalization {
    /// The number of labelled tokens.
    #[default]
    Items,
    /// The sum of the labelled tokens' class weights, as `torch.nn.CrossEntropyLoss(weight)` does.
    WeightSum,
}

/// How the loss is computed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossConfig {
    /// Share of the target spread evenly over all classes, 0..1.
    pub label_smoothing: f64,
    /// Weight of each class, `[labels]`; all 1 when absent.
    pub class_weights: Option<Vec<f32>>,
    /// The divisor.
    pub normalization: Normalization,
}

/// What the losses of all passes of a step are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Denominators {
    /// Of the cross-entropy: [`LossConfig::denominator`] summed over the step's passes.
    pub cross_entropy: f64,
    /// Of R-Drop's divergence: labelled tokens of the step.
    pub divergence: f64,
}

/// A loss with its gradient.
#[derive(Debug)]
pub struct Loss {
    /// This batch's share of the step's loss.
    pub value: f64,
    /// ∂loss/∂logits, `[tokens, labels]`.
    pub gradient: Tensor,
}

impl LossConfig {
    /// What this batch adds to the denominator of its optimiser step.
    pub fn denominator(&self, labels: &[Option<LabelId>]) -> f64 {
        let weight = |label: &LabelId| match (&self.class_weights, self.normalization) {
            (Some(weights), Normalization::WeightSum) => {
                weights.get(label.index()).map_or(0.0, |w| f64::from(*w))
            }
            _ => 1.0,
        };
        labels.iter().flatten().map(weight).sum()
    }

    /// Loss of a batch's logits `[tokens, labels]` and its gradient; both 0 when nothing is labelled.
    ///
    /// With e = `label_smoothing`, C classes, weights w and lp = log-softmax:
    /// `((1 − e)·Σ w[y]·(−lp[y]) + e/C·ΣΣ w[c]·(−lp[c])) / denominator`.
    ///
    /// # Errors
    /// [`ModelError::Labels`] without labels, with as many logits rows as tokens missing, or with weights of another
    /// length than the classes.
    ///
    /// Source: `torch.nn.CrossEntropyLoss(weight, label_smoothing)`; without weights it is Szegedy et al. 2016, §7.
    pub fn evaluate(
        &self,
        logits: &Tensor,
        batch: &PackedBatch,
        denominator: f64,
    ) -> Result<Loss, ModelError> {
        let (tokens, classes) = logits.dims2()?;
        let labels =
            batch.labels.as_deref().ok_or_else(|| ModelError::Labels("the batch has none".into()))?;
        if labels.len() != tokens {
            return Err(ModelError::Labels(format!("{} labels for logits of {tokens} tokens", labels.len())));
        }
        if let Some(weights) = self.class_weights.as_ref().filter(|w| w.len() != classes) {
            return Err(ModelError::Labels(format!("{} class weights for {classes} classes", weights.len())));
        }
        if labels.iter().flatten().any(|label| label.index() >= classes) {
            return Err(ModelError::Labels(format!("a label id is not below the {classes} classes")));
        }
        let settings = ops::CrossEntropy {
            smoothing: self.label_smoothing,
            weights: self.class_weights.as_deref(),
            scale: if denominator > 0.0 { 1.0 / denominator } else { 0.0 },
        };
        let (value, gradient) = ops::cross_entropy(logits, labels, &settings)?;
        Ok(Loss { value, gradient })
    }
}
