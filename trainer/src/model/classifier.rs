//! The candle model behind the seam that evaluation, the exporter's proof and the server share.

use std::borrow::Borrow;
use std::path::Path;

use candle_core::Device;
use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::window::Window;

use super::{LayoutLm, ModelError, PackedBatch};
use crate::weights::{Checkpoint, LoadOptions};

/// Labels windows with a [`LayoutLm`], owned or borrowed, several per pass.
#[derive(Debug)]
pub struct CandleClassifier<M = LayoutLm> {
    model: M,
    token_budget: usize,
}

impl CandleClassifier<LayoutLm> {
    /// Loads a checkpoint folder with a classification head onto the CPU.
    ///
    /// # Errors
    /// [`ModelError::Weights`] names the file or tensor that is missing or wrong.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let checkpoint = Checkpoint::load(folder, LoadOptions::default())?;
        Ok(Self::new(LayoutLm::new(checkpoint.config, checkpoint.weights, &Device::Cpu)?))
    }
}

impl<M: Borrow<LayoutLm>> CandleClassifier<M> {
    /// Tokens per pass when nothing else is said.
    pub const DEFAULT_TOKEN_BUDGET: usize = 4096;

    /// Wraps a model.
    pub fn new(model: M) -> Self {
        Self { model, token_budget: Self::DEFAULT_TOKEN_BUDGET }
    }

    /// Sets how many tokens one pass may hold; a longer window gets a pass of its own.
    pub fn with_token_budget(mut self, tokens: usize) -> Self {
        self.token_budget = tokens;
        self
    }

    fn pass(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ModelError> {
        let batch = PackedBatch::pack(windows);
        let mut flat = self.model.borrow().forward(&batch)?.flatten_all()?.to_vec1::<f32>()?.into_iter();
        let classes = self.model.borrow().num_labels();
        Ok(windows.iter().map(|w| flat.by_ref().take(w.len() * classes).collect()).collect())
    }
}

impl<M: Borrow<LayoutLm> + Send + Sync> TokenClassifier for CandleClassifier<M> {
    fn num_labels(&self) -> usize {
        self.model.borrow().num_labels()
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let mut logits = Vec::with_capacity(windows.len());
        for windows in passes(windows, self.token_budget) {
            logits.extend(self.pass(windows)?);
        }
        Ok(logits)
    }
}

/// Cuts windows into passes of at most `token_budget` tokens; a longer window gets a pass of its own.
pub(crate) fn passes<'s, 'w>(
    windows: &'s [&'w Window],
    token_budget: usize,
) -> impl Iterator<Item = &'s [&'w Window]> {
    let mut rest = windows;
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let fitting = rest.iter().take_while(|w| {
            tokens += w.len();
            tokens <= token_budget
        });
        let (now, later) = rest.split_at(fitting.count().max(1).min(rest.len()));
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}
