//! The candle model behind the seam that evaluation, the exporter's proof and the server share.

use layoutlm_core::classifier::{ClassifierError, TokenClassifier};
use layoutlm_core::window::Window;

use super::{LayoutLm, ModelError, PackedBatch};

/// Labels windows with a [`LayoutLm`], several per pass.
#[derive(Debug)]
pub struct CandleClassifier<'m> {
    model: &'m LayoutLm,
    token_budget: usize,
}

impl<'m> CandleClassifier<'m> {
    /// Tokens per pass when nothing else is said.
    pub const DEFAULT_TOKEN_BUDGET: usize = 4096;

    /// Wraps a model.
    pub fn new(model: &'m LayoutLm) -> Self {
        Self { model, token_budget: Self::DEFAULT_TOKEN_BUDGET }
    }

    /// Sets how many tokens one pass may hold; a longer window gets a pass of its own.
    pub fn with_token_budget(mut self, tokens: usize) -> Self {
        self.token_budget = tokens;
        self
    }

    fn pass(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ModelError> {
        let batch = PackedBatch::pack(windows);
        let mut flat = self.model.forward(&batch)?.flatten_all()?.to_vec1::<f32>()?.into_iter();
        let classes = self.model.num_labels();
        Ok(windows.iter().map(|w| flat.by_ref().take(w.len() * classes).collect()).collect())
    }
}

impl TokenClassifier for CandleClassifier<'_> {
    fn num_labels(&self) -> usize {
        self.model.num_labels()
    }

    fn logits(&self, windows: &[&Window]) -> Result<Vec<Vec<f32>>, ClassifierError> {
        let mut logits = Vec::with_capacity(windows.len());
        let mut rest = windows;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|w| {
                tokens += w.len();
                tokens <= self.token_budget
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            logits.extend(self.pass(now)?);
            rest = later;
        }
        Ok(logits)
    }
}
