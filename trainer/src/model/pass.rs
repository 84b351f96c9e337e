//! One forward pass for training and the backward pass that follows it.

use candle_core::{DType, Result, Tensor};

use super::embeddings::SavedEmbeddings;
use super::encoder::SavedLayer;
use super::layoutlm::LayoutLm;
use super::{ModelError, PackedBatch, Parameter};
use crate::ops::{self, Dropout, Scratch};
use crate::random::Stream;

/// Which dropout masks a training pass draws. The same state draws the same masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutState {
    /// The run's seed.
    pub seed: u64,
    /// Counts forward passes over the whole run (micro-batches, not optimiser steps).
    pub pass: u64,
}

/// The places where dropout is applied.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Site {
    Embeddings,
    Classifier,
    Probabilities(usize),
    AttentionOutput(usize),
    FeedForwardOutput(usize),
}

/// Dropout of one pass: rates of the configuration and the stream of the state; none in evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Masks {
    pub(crate) stream: Option<Stream>,
    pub(crate) hidden: f64,
    pub(crate) probabilities: f64,
}

impl Masks {
    pub(crate) fn at(&self, site: Site) -> Option<Dropout> {
        let (rate, id) = match site {
            Site::Embeddings => (self.hidden, 0),
            Site::Classifier => (self.hidden, 1),
            Site::Probabilities(layer) => (self.probabilities, 4 + 4 * layer),
            Site::AttentionOutput(layer) => (self.hidden, 5 + 4 * layer),
            Site::FeedForwardOutput(layer) => (self.hidden, 6 + 4 * layer),
        };
        self.stream.and_then(|stream| Dropout::new(rate, stream.child(id as u64)))
    }
}

/// A forward pass with what its backward pass needs.
#[derive(Debug)]
pub struct TrainPass<'m> {
    pub(super) model: &'m LayoutLm,
    pub(super) masks: Masks,
    pub(super) cu_seqlens: Vec<usize>,
    pub(super) embeddings: SavedEmbeddings<'m>,
    /// The tokens the classifier saw; all where absent.
    pub(super) rows: Option<Vec<usize>>,
    /// Input of each layer, and last what the classifier saw (after dropout).
    pub(super) hidden: Vec<Scratch<'m>>,
    pub(super) layers: Vec<SavedLayer<'m>>,
    pub(super) logits: Tensor,
}

impl TrainPass<'_> {
    /// The logits, `[tokens, labels]`; zero for tokens without a label where the batch has labels.
    pub fn logits(&self) -> &Tensor {
        &self.logits
    }

    /// Adds to every trainable parameter's gradient, given ∂loss/∂logits `[tokens, labels]`. Rows of tokens whose
    /// logits were not computed are not looked at.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for a gradient of another shape.
    pub fn backward(self, logits_gradient: &Tensor) -> std::result::Result<(), ModelError> {
        if logits_gradient.dims() != self.logits.dims() {
            let (found, expected) = (logits_gradient.dims(), self.logits.dims());
            return Err(ModelError::Labels(format!(
                "the logits' gradient is {found:?}, expected {expected:?}"
            )));
        }
        if self.cu_seqlens.last() == Some(&0) {
            return Ok(());
        }
        let logits_gradient = logits_gradient.contiguous()?;
        Ok(rayon::scope(|_| self.run(&logits_gradient))?)
    }

    fn run(mut self, logits_gradient: &Tensor) -> Result<()> {
        let (model, workspace) = (self.model, &self.model.workspace);
        let (weight, bias) = model.head();
        let Some(last) = self.hidden.pop() else { return Ok(()) };
        let (kept, hidden) = last.dims2()?;
        let logits_gradient = match &self.rows {
            None => logits_gradient.clone(),
            Some(rows) => {
                let picked = Tensor::zeros((kept, model.num_labels()), DType::F32, last.device())?;
                ops::gather_rows(&picked, logits_gradient, rows)?;
                picked
            }
        };
        linear_gradients(weight, bias, &logits_gradient, &last)?;
        let mut gradient = workspace.take(kept, hidden)?;
        ops::linear_input_gradient(&gradient, &logits_gradient, weight.value(), false)?;
        drop(last);
        ops::dropout(&gradient, self.masks.at(Site::Classifier).as_ref())?;
        while let (Some(saved), Some(input)) = (self.layers.pop(), self.hidden.pop()) {
            let layer = self.layers.len();
            let (encoder, cu_seqlens) = (&model.encoder, &self.cu_seqlens);
            gradient = encoder.backward(layer, model, &self.masks, cu_seqlens, gradient, saved, &input)?;
        }
        model.embeddings.backward(model, &self.masks, &gradient, self.embeddings)
    }
}

/// Adds the gradients of a linear layer's weight and bias.
pub(super) fn linear_gradients(weight: &Parameter, bias: &Parameter, dy: &Tensor, x: &Tensor) -> Result<()> {
    weight.accumulate(|sum, filled, _| ops::linear_weight_gradient(sum, dy, x, filled))?;
    bias.accumulate(|sum, filled, _| ops::linear_bias_gradient(sum, dy, filled))
}

/// Turns the gradient of a normalisation's output into that of its input and adds the gradients of γ and β.
pub(super) fn norm_gradients(
    model: &LayoutLm,
    [gamma, beta]: [&Parameter; 2],
    gradient: &Tensor,
    x: &Tensor,
    dropped: Option<(&Dropout, &Tensor)>,
) -> Result<()> {
    let (_, width) = x.dims2()?;
    let columns = model.workspace.take(2, width)?;
    ops::norm_gradient(gradient, &columns, x, &model.norm([gamma, beta]), dropped)?;
    for (row, parameter) in [gamma, beta].into_iter().enumerate() {
        let part = columns.narrow(0, row, 1)?;
        parameter.accumulate(|sum, filled, _| ops::accumulate(sum, &part, filled))?;
    }
    Ok(())
}

/// Row indices of every lookup of a batch.
pub(crate) fn lookup_ids(batch: &PackedBatch) -> [Vec<u32>; ops::LOOKUPS] {
    let corner = |i: usize| batch.bbox.iter().map(|b| u32::from(b.get(i).copied().unwrap_or(0))).collect();
    let extent = |low: usize, high: usize| {
        let size =
            |b: &[u16; 4]| b.get(high).zip(b.get(low)).map_or(0, |(h, l)| u32::from(h.saturating_sub(*l)));
        batch.bbox.iter().map(size).collect()
    };
    [
        batch.input_ids.clone(),
        batch.position_ids.clone(),
        corner(0),
        corner(1),
        corner(2),
        corner(3),
        extent(1, 3),
        extent(0, 2),
        vec![0; batch.tokens()],
    ]
}
