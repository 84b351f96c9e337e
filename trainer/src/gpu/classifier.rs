//! A model on a card as evaluation sees it.

use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::window::Window;

use super::GpuTrainer;
use crate::model::PackedBatch;

/// A model on a card behind the seam of evaluation.
#[derive(Debug)]
pub struct GpuClassifier<'a> {
    trainer: &'a GpuTrainer,
    token_budget: usize,
}

impl<'a> GpuClassifier<'a> {
    /// Labels with the model as it is now, at most `token_budget` tokens a pass.
    pub fn new(trainer: &'a GpuTrainer, token_budget: usize) -> Self {
        Self { trainer, token_budget }
    }
}

impl TokenClassifier for GpuClassifier<'_> {
    fn num_labels(&self) -> usize {
        self.trainer.labels()
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let mut logits = Vec::with_capacity(windows.len());
        for pass in crate::model::passes(windows, self.token_budget) {
            let mut flat = self.trainer.logits(&PackedBatch::pack(pass))?.data.into_iter();
            logits.extend(pass.iter().map(|w| flat.by_ref().take(w.len() * self.num_labels()).collect()));
        }
        Ok(logits)
    }
}
