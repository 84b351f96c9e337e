//! Forward and backward pass as launches: the order of work is that of the CPU engine, so results can be compared.

use super::batch::DeviceBatch;
use super::kernels::{DropoutArg, Heads, Kernels, NormAt, Shape};
use super::layout::Layout;
use super::memory::Buffer;
use super::{ElementKind, GpuError, Operand};
use crate::model::{Masks, Site};

/// Addresses of one layer's tensors.
#[derive(Debug, Clone, Copy)]
struct Layer {
    qkv: Linear,
    attention_output: Linear,
    attention_norm: NormAt,
    attention_norm_gradient: NormAt,
    intermediate: Linear,
    output: Linear,
    output_norm: NormAt,
    output_norm_gradient: NormAt,
}

/// Addresses of a linear layer: weight in compute format, bias in f32, and their f32 gradients.
#[derive(Debug, Clone, Copy)]
struct Linear {
    weight: u64,
    bias: u64,
    weight_gradient: u64,
    bias_gradient: u64,
}

/// The model's tensors on the card.
#[derive(Debug)]
pub(crate) struct Network {
    layers: Vec<Layer>,
    classifier: Linear,
    embedding_norm: NormAt,
    embedding_norm_gradient: NormAt,
    pub(crate) hidden: usize,
    inner: usize,
    heads: usize,
    pub(crate) labels: usize,
}

/// The flat buffers.
#[derive(Debug)]
pub(crate) struct Flat {
    pub(crate) parameters: Buffer,
    /// Matrices in compute format; the parameters themselves where that is f32.
    pub(crate) copies: Buffer,
    pub(crate) gradients: Buffer,
    /// Offsets of the nine lookups' tables, u64.
    pub(crate) tables: Buffer,
}

/// What a layer's backward pass needs besides its input.
#[derive(Debug)]
struct Saved {
    qkv: Buffer,
    context: Buffer,
    lse: Buffer,
    attended: Buffer,
    middle: Buffer,
    derivative: Buffer,
    activated: Buffer,
    summed: Buffer,
}

/// What a whole backward pass needs.
#[derive(Debug)]
pub(crate) struct Pass {
    embedded: Buffer,
    hidden: Vec<Buffer>,
    layers: Vec<Option<Saved>>,
    pub(crate) logits: Buffer,
}

impl Network {
    pub(crate) fn new(
        config: &layoutlm_core::config::ModelConfig,
        labels: usize,
        layout: &Layout,
        flat: &Flat,
        element: ElementKind,
    ) -> Result<Self, GpuError> {
        let f32_at = |buffer: &Buffer, name: &str| -> Result<u64, GpuError> {
            Ok(buffer.address() + layout.get(name)?.start as u64 * 4)
        };
        let linear = |weight: &str, bias: &str| -> Result<Linear, GpuError> {
            let copy = layout.get(weight)?.copy.unwrap_or(0) * element.bytes();
            Ok(Linear {
                weight: flat.copies.address() + copy as u64,
                bias: f32_at(&flat.parameters, bias)?,
                weight_gradient: f32_at(&flat.gradients, weight)?,
                bias_gradient: f32_at(&flat.gradients, bias)?,
            })
        };
        let module = |name: &str| linear(&format!("{name}.weight"), &format!("{name}.bias"));
        let norm = |buffer: &Buffer, name: &str| -> Result<NormAt, GpuError> {
            let [gamma, beta] = ["weight", "bias"].map(|part| f32_at(buffer, &format!("{name}.{part}")));
            Ok(NormAt { gamma: gamma?, beta: beta? })
        };
        let layer = |index: usize| -> Result<Layer, GpuError> {
            let name = |part: &str| format!("layoutlm.encoder.layer.{index}.{part}");
            let (first, second) = (name("attention.output.LayerNorm"), name("output.LayerNorm"));
            Ok(Layer {
                // Key and value follow the query.
                qkv: module(&name("attention.self.query"))?,
                attention_output: module(&name("attention.output.dense"))?,
                attention_norm: norm(&flat.parameters, &first)?,
                attention_norm_gradient: norm(&flat.gradients, &first)?,
                intermediate: module(&name("intermediate.dense"))?,
                output: module(&name("output.dense"))?,
                output_norm: norm(&flat.parameters, &second)?,
                output_norm_gradient: norm(&flat.gradients, &second)?,
            })
        };
        let embedding_norm = "layoutlm.embeddings.LayerNorm";
        Ok(Self {
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
            classifier: module("classifier")?,
            embedding_norm: norm(&flat.parameters, embedding_norm)?,
            embedding_norm_gradient: norm(&flat.gradients, embedding_norm)?,
            hidden: config.hidden_size,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            labels,
        })
    }

    /// Logits in f32, without the classifier's bias, and what the backward pass needs. With `keep` false (evaluation)
    /// nothing but the logits is kept; with `recompute` only each layer's input is.
    pub(crate) fn forward(
        &self,
        kernels: &Kernels<'_>,
        flat: &Flat,
        batch: &DeviceBatch,
        masks: &Masks,
        keep: bool,
        recompute: bool,
    ) -> Result<Pass, GpuError> {
        let shape = self.shape(batch.tokens, self.hidden);
        let embedded = kernels.activation(shape.rows, shape.width)?;
        let first = kernels.activation(shape.rows, shape.width)?;
        let site = site(masks, Site::Embeddings);
        let ids = batch.ids();
        kernels.embed(
            &first,
            &embedded,
            &flat.parameters,
            &flat.tables,
            ids,
            self.embedding_norm,
            shape,
            site,
        )?;
        let mut hidden = vec![first];
        let mut layers = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let input = hidden.last().ok_or_else(no_state)?;
            let (out, saved) = self.layer(kernels, index, layer, batch, masks, input)?;
            if !keep {
                hidden.clear();
            }
            hidden.push(out);
            layers.push((keep && !recompute).then_some(saved));
        }
        let last = hidden.last().ok_or_else(no_state)?;
        kernels.dropout(last, shape, self::site(masks, Site::Classifier))?;
        let logits = kernels.card.buffer(shape.rows * self.labels * 4)?;
        let to = Operand { address: logits.address(), kind: ElementKind::F32, transposed: false };
        let weight = Operand { transposed: true, ..kernels.operand(self.classifier.weight) };
        kernels.product([shape.rows, self.labels, self.hidden], self.of(kernels, last), weight, to, 0.0)?;
        Ok(Pass { embedded, hidden, layers, logits })
    }

    /// Adds all gradients, given the logits' gradient in compute format.
    pub(crate) fn backward(
        &self,
        kernels: &Kernels<'_>,
        flat: &Flat,
        batch: &DeviceBatch,
        masks: &Masks,
        mut pass: Pass,
        d_logits: &Buffer,
    ) -> Result<(), GpuError> {
        let shape = self.shape(batch.tokens, self.hidden);
        let last = pass.hidden.pop().ok_or_else(no_state)?;
        self.linear_gradients(kernels, &self.classifier, d_logits, &last, self.labels, shape)?;
        let gradient = kernels.activation(shape.rows, shape.width)?;
        self.input_gradient(kernels, &gradient, d_logits, &self.classifier, self.labels, shape, 0.0)?;
        drop(last);
        kernels.dropout(&gradient, shape, site(masks, Site::Classifier))?;
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let input = pass.hidden.pop().ok_or_else(no_state)?;
            let saved = match pass.layers.pop().flatten() {
                Some(saved) => saved,
                None => self.layer(kernels, index, layer, batch, masks, &input)?.1,
            };
            self.layer_backward(kernels, index, layer, batch, masks, &gradient, saved, &input)?;
        }
        let norm = self.embedding_norm_gradient;
        let sums = [norm.gamma, norm.beta, 0];
        let outer = site(masks, Site::Embeddings);
        let gamma = self.embedding_norm.gamma;
        kernels.norm_gradient(
            &gradient,
            None,
            &pass.embedded,
            gamma,
            sums,
            shape,
            outer,
            DropoutArg::default(),
        )?;
        let ([tokens, starts, offsets, row_segments], segments, rows) = batch.reads();
        let width = self.hidden;
        kernels.embed_gradient(
            &flat.gradients,
            &gradient,
            starts,
            tokens,
            segments,
            offsets,
            row_segments,
            rows,
            width,
        )
    }

    /// Adds the classifier's bias to logits that leave the card.
    pub(crate) fn finish_logits(
        &self,
        kernels: &Kernels<'_>,
        pass: &Pass,
        tokens: usize,
    ) -> Result<(), GpuError> {
        kernels.add_bias_f32(&pass.logits, self.classifier.bias, self.shape(tokens, self.labels))
    }

    /// Address of the classifier's bias.
    pub(crate) fn classifier_bias(&self) -> u64 {
        self.classifier.bias
    }

    fn layer(
        &self,
        kernels: &Kernels<'_>,
        index: usize,
        layer: &Layer,
        batch: &DeviceBatch,
        masks: &Masks,
        input: &Buffer,
    ) -> Result<(Buffer, Saved), GpuError> {
        let (tokens, hidden, inner) = (batch.tokens, self.hidden, self.inner);
        let shape = self.shape(tokens, hidden);
        let qkv = self.linear(kernels, input, &layer.qkv, tokens, 3 * hidden, hidden)?;
        kernels.add_bias(&qkv, layer.qkv.bias, self.shape(tokens, 3 * hidden))?;
        let context = kernels.activation(tokens, hidden)?;
        let lse = kernels.card.buffer(tokens * self.heads * 4)?;
        kernels.attention(&context, &lse, &qkv, &self.heads_of(batch, masks, index))?;
        let attended = self.linear(kernels, &context, &layer.attention_output, tokens, hidden, hidden)?;
        let middle = kernels.activation(tokens, hidden)?;
        let bias = layer.attention_output.bias;
        let dropped = site(masks, Site::AttentionOutput(index));
        kernels.add_norm(&middle, &attended, bias, input, layer.attention_norm, shape, dropped)?;
        let derivative = self.linear(kernels, &middle, &layer.intermediate, tokens, inner, hidden)?;
        let activated = kernels.activation(tokens, inner)?;
        kernels.bias_gelu(&activated, &derivative, layer.intermediate.bias, self.shape(tokens, inner))?;
        let summed = self.linear(kernels, &activated, &layer.output, tokens, hidden, inner)?;
        let out = kernels.activation(tokens, hidden)?;
        let dropped = site(masks, Site::FeedForwardOutput(index));
        kernels.add_norm(&out, &summed, layer.output.bias, &middle, layer.output_norm, shape, dropped)?;
        Ok((out, Saved { qkv, context, lse, attended, middle, derivative, activated, summed }))
    }

    /// Turns `gradient` from that of the layer's output into that of its input.
    #[allow(clippy::too_many_arguments)] // The pass's parts, which its owner is taking apart.
    fn layer_backward(
        &self,
        kernels: &Kernels<'_>,
        index: usize,
        layer: &Layer,
        batch: &DeviceBatch,
        masks: &Masks,
        gradient: &Buffer,
        saved: Saved,
        input: &Buffer,
    ) -> Result<(), GpuError> {
        let (tokens, hidden, inner) = (batch.tokens, self.hidden, self.inner);
        let shape = self.shape(tokens, hidden);
        let none = DropoutArg::default();
        let dropped = kernels.activation(tokens, hidden)?;

        let norm = layer.output_norm_gradient;
        let sums = [norm.gamma, norm.beta, layer.output.bias_gradient];
        let mask = site(masks, Site::FeedForwardOutput(index));
        let gamma = layer.output_norm.gamma;
        kernels.norm_gradient(gradient, Some(&dropped), &saved.summed, gamma, sums, shape, none, mask)?;
        let wide = self.shape(tokens, inner);
        self.weight_gradient(kernels, &layer.output, &dropped, &saved.activated, hidden, wide)?;
        // The activation's buffer takes its own gradient.
        self.input_gradient(kernels, &saved.activated, &dropped, &layer.output, hidden, wide, 0.0)?;
        kernels.multiply(&saved.activated, &saved.derivative, wide)?;
        self.linear_gradients(kernels, &layer.intermediate, &saved.activated, &saved.middle, inner, shape)?;
        self.input_gradient(kernels, gradient, &saved.activated, &layer.intermediate, inner, shape, 1.0)?;

        let norm = layer.attention_norm_gradient;
        let sums = [norm.gamma, norm.beta, layer.attention_output.bias_gradient];
        let mask = site(masks, Site::AttentionOutput(index));
        let gamma = layer.attention_norm.gamma;
        kernels.norm_gradient(gradient, Some(&dropped), &saved.attended, gamma, sums, shape, none, mask)?;
        self.weight_gradient(kernels, &layer.attention_output, &dropped, &saved.context, hidden, shape)?;
        let d_context = saved.attended;
        self.input_gradient(kernels, &d_context, &dropped, &layer.attention_output, hidden, shape, 0.0)?;
        let d_qkv = kernels.activation(tokens, 3 * hidden)?;
        let (context, qkv, lse) = (&saved.context, &saved.qkv, &saved.lse);
        let heads = self.heads_of(batch, masks, index);
        kernels.attention_gradient(&d_qkv, &d_context, context, qkv, lse, tokens, &heads)?;
        self.linear_gradients(kernels, &layer.qkv, &d_qkv, input, 3 * hidden, shape)?;
        self.input_gradient(kernels, gradient, &d_qkv, &layer.qkv, 3 * hidden, shape, 1.0)
    }

    fn heads_of(&self, batch: &DeviceBatch, masks: &Masks, layer: usize) -> Heads {
        let site = site(masks, Site::Probabilities(layer));
        Heads { tiles: batch.tiles(), heads: self.heads, hidden: self.hidden, site }
    }

    fn shape(&self, rows: usize, width: usize) -> Shape {
        Shape { rows, width }
    }

    fn of(&self, kernels: &Kernels<'_>, buffer: &Buffer) -> Operand {
        kernels.operand(buffer.address())
    }

    /// `x·Wᵀ` without the bias, which the kernel that follows adds.
    fn linear(
        &self,
        kernels: &Kernels<'_>,
        x: &Buffer,
        layer: &Linear,
        rows: usize,
        out: usize,
        width: usize,
    ) -> Result<Buffer, GpuError> {
        let y = kernels.activation(rows, out)?;
        let weight = Operand { transposed: true, ..kernels.operand(layer.weight) };
        kernels.product([rows, out, width], self.of(kernels, x), weight, self.of(kernels, &y), 0.0)?;
        Ok(y)
    }

    /// Adds `dyᵀ·x` to the weight's gradient; `x` has shape `input`, `dy` as many rows of `out` columns.
    fn weight_gradient(
        &self,
        kernels: &Kernels<'_>,
        layer: &Linear,
        dy: &Buffer,
        x: &Buffer,
        out: usize,
        input: Shape,
    ) -> Result<(), GpuError> {
        let dy = Operand { transposed: true, ..self.of(kernels, dy) };
        let to = Operand { address: layer.weight_gradient, kind: ElementKind::F32, transposed: false };
        kernels.product([out, input.width, input.rows], dy, self.of(kernels, x), to, 1.0)
    }

    /// Adds the gradients of weight and bias.
    fn linear_gradients(
        &self,
        kernels: &Kernels<'_>,
        layer: &Linear,
        dy: &Buffer,
        x: &Buffer,
        out: usize,
        input: Shape,
    ) -> Result<(), GpuError> {
        self.weight_gradient(kernels, layer, dy, x, out, input)?;
        kernels.column_sums(layer.bias_gradient, dy, self.shape(input.rows, out))
    }

    /// `dx = dy·W + beta·dx`.
    #[allow(clippy::too_many_arguments)] // A product's own.
    fn input_gradient(
        &self,
        kernels: &Kernels<'_>,
        dx: &Buffer,
        dy: &Buffer,
        layer: &Linear,
        out: usize,
        input: Shape,
        beta: f32,
    ) -> Result<(), GpuError> {
        let (dy, weight) = (self.of(kernels, dy), kernels.operand(layer.weight));
        kernels.product([input.rows, input.width, out], dy, weight, self.of(kernels, dx), beta)
    }
}

fn site(masks: &Masks, site: Site) -> DropoutArg {
    masks.at(site).into()
}

fn no_state() -> GpuError {
    GpuError::device("the pass", "there is no hidden state")
}
