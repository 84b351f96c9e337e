//! The stack of encoder layers: self-attention and feed-forward, each with dropout, residual and normalisation.

use candle_core::{Result, Tensor};

use super::layoutlm::LayoutLm;
use super::pass::{Masks, Site, linear_gradients, norm_gradients};
use crate::ops::{self, Attention, Scratch};

/// Where one layer's weights are among the model's parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    /// Weight and bias of the stacked query, key and value products.
    pub(super) qkv: [usize; 2],
    pub(super) attention_output: [usize; 2],
    pub(super) attention_norm: [usize; 2],
    pub(super) intermediate: [usize; 2],
    pub(super) output: [usize; 2],
    pub(super) output_norm: [usize; 2],
}

/// All layers.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    pub(super) layers: Vec<Layer>,
}

/// What one layer's backward pass needs besides the layer's input, `[tokens, …]` each.
#[derive(Debug)]
pub(super) struct SavedLayer<'w> {
    qkv: Scratch<'w>,
    context: Scratch<'w>,
    /// Input of the first normalisation.
    attended: Scratch<'w>,
    /// Output of the first normalisation.
    middle: Scratch<'w>,
    /// Derivative of the activation.
    derivative: Scratch<'w>,
    /// Output of the activation.
    activated: Scratch<'w>,
    /// Input of the second normalisation.
    summed: Scratch<'w>,
}

impl Encoder {
    /// One layer's output `[tokens, hidden]`; with `keep`, what its backward pass needs.
    pub(super) fn forward<'m>(
        &self,
        index: usize,
        model: &'m LayoutLm,
        masks: &Masks,
        cu_seqlens: &[usize],
        input: &Tensor,
        keep: bool,
    ) -> Result<(Scratch<'m>, Option<SavedLayer<'m>>)> {
        let layer = self.layer(index)?;
        let workspace = &model.workspace;
        let (tokens, hidden) = input.dims2()?;
        let inner = model.config().intermediate_size;
        let linear = |y: &Tensor, x: &Tensor, [weight, bias]: [usize; 2]| {
            ops::linear(y, x, model.parameter(weight).value(), model.parameter(bias).value())
        };
        let norm = |indices: [usize; 2]| model.norm(indices.map(|i| model.parameter(i)));

        let qkv = workspace.take(tokens, 3 * hidden)?;
        linear(&qkv, input, layer.qkv)?;
        let context = workspace.take(tokens, hidden)?;
        let site = masks.at(Site::Probabilities(index));
        let heads = model.config().num_attention_heads;
        ops::attention(&context, &qkv, &Attention { cu_seqlens, heads, site: site.as_ref() })?;
        let qkv = keep.then_some(qkv);
        let attended = workspace.take(tokens, hidden)?;
        linear(&attended, &context, layer.attention_output)?;
        let context = keep.then_some(context);
        let middle = workspace.take(tokens, hidden)?;
        let site = masks.at(Site::AttentionOutput(index));
        ops::add_norm(&attended, &middle, input, &norm(layer.attention_norm), site.as_ref())?;
        let attended = keep.then_some(attended);

        let derivative = workspace.take(tokens, inner)?;
        linear(&derivative, &middle, layer.intermediate)?;
        let summed = workspace.take(tokens, hidden)?;
        let feed_forward = if keep {
            let activated = workspace.take(tokens, inner)?;
            ops::gelu(&derivative, &activated)?;
            linear(&summed, &activated, layer.output)?;
            Some((derivative, activated))
        } else {
            ops::gelu_in_place(&derivative)?;
            linear(&summed, &derivative, layer.output)?;
            None
        };
        let out = workspace.take(tokens, hidden)?;
        let site = masks.at(Site::FeedForwardOutput(index));
        ops::add_norm(&summed, &out, &middle, &norm(layer.output_norm), site.as_ref())?;

        let saved = match (qkv, context, attended, feed_forward) {
            (Some(qkv), Some(context), Some(attended), Some((derivative, activated))) => {
                Some(SavedLayer { qkv, context, attended, middle, derivative, activated, summed })
            }
            _ => None,
        };
        Ok((out, saved))
    }

    /// Turns `gradient` `[tokens, hidden]` from that of the layer's output into that of its input, in place.
    #[allow(clippy::too_many_arguments)] // The pass's parts, which its owner is taking apart.
    pub(super) fn backward(
        &self,
        index: usize,
        model: &LayoutLm,
        masks: &Masks,
        cu_seqlens: &[usize],
        gradient: &Tensor,
        saved: SavedLayer<'_>,
        input: &Tensor,
    ) -> Result<()> {
        let layer = self.layer(index)?;
        self.feed_forward_backward(index, model, masks, gradient, &saved)?;
        let (tokens, hidden) = gradient.dims2()?;
        let workspace = &model.workspace;
        let SavedLayer { qkv, context, attended, .. } = saved;

        let dropped = workspace.take(tokens, hidden)?;
        let site = masks.at(Site::AttentionOutput(index));
        let into = site.as_ref().map(|site| (site, &*dropped));
        norm_gradients(model, layer.attention_norm.map(|i| model.parameter(i)), gradient, &attended, into)?;
        drop(attended);
        let output_gradient: &Tensor = if site.is_some() { &dropped } else { gradient };
        let [weight, bias] = layer.attention_output.map(|i| model.parameter(i));
        linear_gradients(weight, bias, output_gradient, &context)?;
        // The context is not needed any more: its buffer takes its own gradient.
        ops::linear_input_gradient(&context, output_gradient, weight.value(), false)?;
        drop(dropped);

        let d_qkv = workspace.take(tokens, 3 * hidden)?;
        let site = masks.at(Site::Probabilities(index));
        let heads = model.config().num_attention_heads;
        ops::attention_gradient(
            &d_qkv,
            &context,
            &qkv,
            &Attention { cu_seqlens, heads, site: site.as_ref() },
        )?;
        let [weight, bias] = layer.qkv.map(|i| model.parameter(i));
        linear_gradients(weight, bias, &d_qkv, input)?;
        ops::linear_input_gradient(gradient, &d_qkv, weight.value(), true)
    }

    /// Turns `gradient` from that of the layer's output into that of the first normalisation's output.
    fn feed_forward_backward(
        &self,
        index: usize,
        model: &LayoutLm,
        masks: &Masks,
        gradient: &Tensor,
        saved: &SavedLayer<'_>,
    ) -> Result<()> {
        let layer = self.layer(index)?;
        let (tokens, hidden) = gradient.dims2()?;
        let dropped = model.workspace.take(tokens, hidden)?;
        let site = masks.at(Site::FeedForwardOutput(index));
        let into = site.as_ref().map(|site| (site, &*dropped));
        norm_gradients(model, layer.output_norm.map(|i| model.parameter(i)), gradient, &saved.summed, into)?;
        let output_gradient: &Tensor = if site.is_some() { &dropped } else { gradient };
        let [weight, bias] = layer.output.map(|i| model.parameter(i));
        linear_gradients(weight, bias, output_gradient, &saved.activated)?;
        // As above: the activation's buffer takes its own gradient.
        ops::linear_input_gradient(&saved.activated, output_gradient, weight.value(), false)?;
        ops::gelu_gradient(&saved.activated, &saved.derivative)?;
        let [weight, bias] = layer.intermediate.map(|i| model.parameter(i));
        linear_gradients(weight, bias, &saved.activated, &saved.middle)?;
        ops::linear_input_gradient(gradient, &saved.activated, weight.value(), true)
    }

    fn layer(&self, index: usize) -> Result<&Layer> {
        self.layers.get(index).ok_or_else(|| candle_core::Error::Msg(format!("there is no layer {index}")))
    }
}
