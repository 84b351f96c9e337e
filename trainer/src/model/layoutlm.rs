//! The network: embeddings, encoder layers, classification head.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use layoutlm_core::config::ModelConfig;

use super::embeddings::Embeddings;
use super::encoder::{Encoder, Layer};
use super::pass::{DropoutState, Masks, Site, TrainPass};
use super::{ModelError, PackedBatch, Parameter};
use crate::ops::{self, Norm, Workspace};
use crate::random::Stream;
use crate::weights::{Array, Weights, WeightsError, specs};

/// LayoutLM v1 for token classification.
///
/// Source: LayoutLM (Xu et al. 2020), §3.1; formulae as in `transformers.LayoutLMForTokenClassification`.
#[derive(Debug)]
pub struct LayoutLm {
    config: ModelConfig,
    labels: usize,
    parameters: Vec<Parameter>,
    pub(super) embeddings: Embeddings,
    pub(super) encoder: Encoder,
    head: [usize; 2],
    pub(super) workspace: Workspace,
}

impl LayoutLm {
    /// Puts weights on a device. The number of classes is that of `classifier.weight`.
    ///
    /// # Errors
    /// [`ModelError::Weights`] names a missing or misshapen tensor.
    pub fn new(
        config: ModelConfig,
        weights: Weights,
        device: &Device,
    ) -> std::result::Result<Self, ModelError> {
        let labels = weights.require("classifier.weight")?.shape.first().copied().unwrap_or(0);
        let mut builder =
            Builder { weights: checked(&config, labels, weights)?, parameters: Vec::new(), device };
        let embeddings = builder.embeddings(config.pad_token_id)?;
        let layers =
            (0..config.num_hidden_layers).map(|i| builder.layer(i)).collect::<std::result::Result<_, _>>()?;
        let head = builder.module("classifier")?;
        let parameters = builder.parameters;
        let workspace = Workspace::new(device.clone());
        Ok(Self { config, labels, parameters, embeddings, encoder: Encoder { layers }, head, workspace })
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
    pub fn weights(&self) -> std::result::Result<Weights, ModelError> {
        self.parts(|parameter| Ok(Some(parameter.value().clone())))
    }

    /// Sets each tensor's factor on the learning rate, by Hugging Face name; 0 freezes it. Query, key and value of a
    /// layer share the factor of the query.
    pub fn scale_learning_rates(&mut self, scale: impl Fn(&str) -> f64) {
        for parameter in &mut self.parameters {
            let factor = parameter.parts().first().map_or(1.0, |part| scale(&part.name));
            parameter.set_learning_rate_scale(factor);
        }
    }

    /// Logits `[tokens, labels]` without dropout; keeps nothing for a backward pass.
    ///
    /// # Errors
    /// [`ModelError::OutOfRange`] for ids the tables do not have.
    pub fn forward(&self, batch: &PackedBatch) -> std::result::Result<Tensor, ModelError> {
        self.evaluate(batch, |_| Ok(()))
    }

    /// Embeddings after normalisation, then the output of each layer, `[tokens, hidden]` each, without dropout.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn hidden_states(&self, batch: &PackedBatch) -> std::result::Result<Vec<Tensor>, ModelError> {
        let mut states = Vec::with_capacity(self.config.num_hidden_layers + 1);
        self.evaluate(batch, |state| {
            states.push(state.copy()?);
            Ok(())
        })?;
        Ok(states)
    }

    /// As [`Self::forward`], showing what the four products of each layer read, `[tokens, …]` each: the layer's input
    /// (query, key and value), the mixed heads (attention output), the first normalisation's output (first feed-forward
    /// product) and the activation's (second). One layer's are in memory at a time.
    ///
    /// # Errors
    /// As [`Self::forward`], and whatever `see` returns.
    pub fn forward_showing_products(
        &self,
        batch: &PackedBatch,
        mut see: impl FnMut(usize, [&Tensor; 4]) -> Result<()> + Send,
    ) -> std::result::Result<Tensor, ModelError> {
        batch.check_for(&self.config, self.labels)?;
        let masks = self.masks(None);
        Ok(rayon::scope(|_| -> Result<_> {
            let (mut state, _) = self.embeddings.forward(self, &masks, batch)?;
            for index in 0..self.encoder.layers.len() {
                let (out, saved) =
                    self.encoder.forward(index, self, &masks, &batch.cu_seqlens, &state, None, true)?;
                let saved = saved.ok_or_else(no_state)?;
                let [context, middle, activated] = saved.product_inputs();
                see(index, [&state, context, middle, activated])?;
                state = out;
            }
            self.classify(&state)
        })?)
    }

    /// Logits with dropout at the configuration's rates, keeping what the backward pass needs.
    ///
    /// Where the batch has labels, the last layer works out only the tokens that have one: the loss looks at no other,
    /// so neither its value nor any gradient depends on the rest.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_train(
        &self,
        batch: &PackedBatch,
        dropout: DropoutState,
    ) -> std::result::Result<TrainPass<'_>, ModelError> {
        batch.check_for(&self.config, self.labels)?;
        let masks = self.masks(Some(Stream::new(dropout.seed).child(dropout.pass)));
        let depth = self.encoder.layers.len();
        let rows = if depth > 0 { batch.labelled_rows() } else { None };
        Ok(rayon::scope(|_| -> Result<_> {
            let (first, embeddings) = self.embeddings.forward(self, &masks, batch)?;
            let mut hidden = vec![first];
            let mut layers = Vec::with_capacity(depth);
            for index in 0..depth {
                let input = hidden.last().ok_or_else(no_state)?;
                let rows = if index + 1 == depth { rows.as_deref() } else { None };
                let (out, saved) =
                    self.encoder.forward(index, self, &masks, &batch.cu_seqlens, input, rows, true)?;
                layers.extend(saved);
                hidden.push(out);
            }
            let last = hidden.last().ok_or_else(no_state)?;
            ops::dropout(last, masks.at(Site::Classifier).as_ref())?;
            let mut logits = self.classify(last)?;
            if let Some(rows) = &rows {
                let all = Tensor::zeros((batch.tokens(), self.labels), DType::F32, logits.device())?;
                ops::scatter_rows(&all, &logits, rows)?;
                logits = all;
            }
            let cu_seqlens = batch.cu_seqlens.clone();
            Ok(TrainPass { model: self, masks, cu_seqlens, embeddings, rows, hidden, layers, logits })
        })?)
    }

    /// The summed gradient of a Hugging Face tensor; nothing where none was computed since the last step.
    ///
    /// # Errors
    /// [`ModelError::UnknownParameter`].
    pub fn gradient(&self, name: &str) -> std::result::Result<Option<Array>, ModelError> {
        let mut parts = self.parameters.iter().flat_map(|p| p.parts().iter().map(move |part| (p, part)));
        let (parameter, part) = parts
            .find(|(_, part)| part.name == name)
            .ok_or_else(|| ModelError::UnknownParameter(name.into()))?;
        let gradient = parameter.lock_gradient();
        match gradient.sum.as_ref().filter(|_| gradient.filled) {
            Some(sum) => parameter.part_of(sum, part).map(Some),
            None => Ok(None),
        }
    }

    /// Drops all gradients.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when the device fails.
    pub fn clear_gradients(&self) -> std::result::Result<(), ModelError> {
        for parameter in &self.parameters {
            parameter.clear_gradient()?;
        }
        Ok(())
    }

    /// Refuses when a trainable tensor got no gradient. To be called after the first backward pass of a run.
    ///
    /// # Errors
    /// [`ModelError::NoGradient`] names the tensors.
    pub fn check_gradients(&self) -> std::result::Result<(), ModelError> {
        let missing = self.parameters.iter().filter(|p| p.is_trainable() && !p.lock_gradient().filled);
        let mut names: Vec<String> =
            missing.flat_map(|p| p.parts().iter().map(|part| part.name.clone())).collect();
        names.sort();
        if names.is_empty() { Ok(()) } else { Err(ModelError::NoGradient { names }) }
    }

    /// Tensors shaped like the parameters, cut into Hugging Face tensors.
    pub(crate) fn parts(
        &self,
        of: impl Fn(&Parameter) -> std::result::Result<Option<Tensor>, ModelError>,
    ) -> std::result::Result<Weights, ModelError> {
        let mut all = Weights::default();
        for parameter in &self.parameters {
            if let Some(tensor) = of(parameter)? {
                for part in parameter.parts() {
                    all.insert(part.name.clone(), parameter.part_of(&tensor, part)?);
                }
            }
        }
        Ok(all)
    }

    #[allow(clippy::indexing_slicing)] // Indices are made by the builder.
    pub(super) fn parameter(&self, index: usize) -> &Parameter {
        &self.parameters[index]
    }

    pub(super) fn head(&self) -> (&Parameter, &Parameter) {
        let [weight, bias] = self.head.map(|i| self.parameter(i));
        (weight, bias)
    }

    pub(super) fn norm<'a>(&self, [gamma, beta]: [&'a Parameter; 2]) -> Norm<'a> {
        Norm { gamma: gamma.value(), beta: beta.value(), epsilon: self.config.layer_norm_eps }
    }

    fn masks(&self, stream: Option<Stream>) -> Masks {
        let (hidden, probabilities) =
            (self.config.hidden_dropout_prob, self.config.attention_probs_dropout_prob);
        Masks { stream, hidden, probabilities }
    }

    fn evaluate(
        &self,
        batch: &PackedBatch,
        mut see: impl FnMut(&Tensor) -> Result<()> + Send,
    ) -> std::result::Result<Tensor, ModelError> {
        batch.check_for(&self.config, self.labels)?;
        let masks = self.masks(None);
        Ok(rayon::scope(|_| -> Result<_> {
            let (mut state, _) = self.embeddings.forward(self, &masks, batch)?;
            see(&state)?;
            for index in 0..self.encoder.layers.len() {
                let (out, _) =
                    self.encoder.forward(index, self, &masks, &batch.cu_seqlens, &state, None, false)?;
                state = out;
                see(&state)?;
            }
            self.classify(&state)
        })?)
    }

    fn classify(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = Tensor::zeros((hidden.dim(0)?, self.labels), DType::F32, hidden.device())?;
        let (weight, bias) = self.head();
        ops::linear(&logits, hidden, weight.value(), Some(bias.value()))?;
        Ok(logits)
    }
}

fn no_state() -> candle_core::Error {
    candle_core::Error::Msg("there is no hidden state".into())
}

/// The model's tensors out of `weights`, each of the right shape.
fn checked(
    config: &ModelConfig,
    labels: usize,
    mut weights: Weights,
) -> std::result::Result<BTreeMap<String, Array>, WeightsError> {
    let take = |spec: crate::weights::TensorSpec| match weights.remove(&spec.name) {
        Some(array) if array.shape == spec.shape => Ok((spec.name, array)),
        Some(array) => Err(WeightsError::Shape { name: spec.name, expected: spec.shape, found: array.shape }),
        None => Err(WeightsError::Missing { name: spec.name, shape: spec.shape }),
    };
    specs(config, labels).into_iter().map(take).collect()
}

/// Moves arrays into parameters.
struct Builder<'a> {
    weights: BTreeMap<String, Array>,
    parameters: Vec<Parameter>,
    device: &'a Device,
}

impl Builder<'_> {
    /// One parameter of the named tensors; its index.
    fn add(&mut self, names: &[String]) -> std::result::Result<usize, ModelError> {
        let take = |name: &String| match self.weights.remove(name) {
            Some(array) => Ok((name.clone(), array)),
            None => Err(WeightsError::Missing { name: name.clone(), shape: Vec::new() }),
        };
        let arrays = names.iter().map(take).collect::<std::result::Result<Vec<_>, _>>()?;
        self.parameters.push(Parameter::stack(arrays, self.device)?);
        Ok(self.parameters.len() - 1)
    }

    fn module(&mut self, name: &str) -> std::result::Result<[usize; 2], ModelError> {
        Ok([self.add(&[format!("{name}.weight")])?, self.add(&[format!("{name}.bias")])?])
    }

    fn embeddings(&mut self, pad_token_id: u32) -> std::result::Result<Embeddings, ModelError> {
        let mut table = |name: &str| self.add(&[format!("layoutlm.embeddings.{name}_embeddings.weight")]);
        let (words, positions, types) = (table("word")?, table("position")?, table("token_type")?);
        let (x, y) = (table("x_position")?, table("y_position")?);
        let (h, w) = (table("h_position")?, table("w_position")?);
        let norm = self.module("layoutlm.embeddings.LayerNorm")?;
        Ok(Embeddings { tables: [words, positions, x, y, x, y, h, w, types], norm, pad_token_id })
    }

    fn layer(&mut self, index: usize) -> std::result::Result<Layer, ModelError> {
        let name = |part: &str| format!("layoutlm.encoder.layer.{index}.{part}");
        let stacked =
            |kind: &str| ["query", "key", "value"].map(|p| name(&format!("attention.self.{p}.{kind}")));
        Ok(Layer {
            qkv: [self.add(&stacked("weight"))?, self.add(&stacked("bias"))?],
            attention_output: self.module(&name("attention.output.dense"))?,
            attention_norm: self.module(&name("attention.output.LayerNorm"))?,
            intermediate: self.module(&name("intermediate.dense"))?,
            output: self.module(&name("output.dense"))?,
            output_norm: self.module(&name("output.LayerNorm"))?,
        })
    }
}
