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

/// What one layer's backward pass needs besides the layer's input.
#[derive(Debug)]
pub(super) struct SavedLayer<'w> {
    /// The tokens that went on after the attention; all where absent. What follows has a row for each of these.
    rows: Option<Vec<usize>>,
    /// A row for each token.
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

impl SavedLayer<'_> {
    /// What the attention output and both feed-forward products read.
    pub(super) fn product_inputs(&self) -> [&Tensor; 3] {
        [&self.context, &self.middle, &self.activated]
    }
}

impl Encoder {
    /// One layer's output `[tokens, hidden]`; with `keep`, what its backward pass needs.
    ///
    /// With `rows` only those tokens go on after the attention, and the output is `[rows, hidden]`: other tokens are
    /// still looked at, but what the layer makes of them is not asked for.
    #[allow(clippy::too_many_arguments)] // The pass's parts, which its owner is putting together.
    pub(super) fn forward<'m>(
        &self,
        index: usize,
        model: &'m LayoutLm,
        masks: &Masks,
        cu_seqlens: &[usize],
        input: &Tensor,
        rows: Option<&[usize]>,
        keep: bool,
    ) -> Result<(Scratch<'m>, Option<SavedLayer<'m>>)> {
        let layer = self.layer(index)?;
        let workspace = &model.workspace;
        let (tokens, hidden) = input.dims2()?;
        let inner = model.config().intermediate_size;
        let value = |index: usize| model.parameter(index).value();
        // The bias is added where the product is next read, but for the attention's.
        let product = |y: &Tensor, x: &Tensor, weight: usize| ops::linear(y, x, value(weight), None);
        let norm = |indices: [usize; 2]| model.norm(indices.map(|i| model.parameter(i)));

        let qkv = workspace.take(tokens, 3 * hidden)?;
        let [weight, bias] = layer.qkv.map(value);
        ops::linear(&qkv, input, weight, Some(bias))?;
        let context = workspace.take(tokens, hidden)?;
        let site = masks.at(Site::Probabilities(index));
        let heads = model.config().num_attention_heads;
        ops::attention(&context, &qkv, &Attention { cu_seqlens, heads, site: site.as_ref() })?;
        let qkv = keep.then_some(qkv);

        let gather = |x: &Tensor, rows: &[usize]| -> Result<Scratch<'m>> {
            let picked = workspace.take(rows.len(), hidden)?;
            ops::gather_rows(&picked, x, rows)?;
            Ok(picked)
        };
        let residual = rows.map(|rows| gather(input, rows)).transpose()?;
        let (context, residual) = match (rows, &residual) {
            (Some(rows), Some(residual)) => (gather(&context, rows)?, &**residual),
            _ => (context, input),
        };
        let (tokens, _) = context.dims2()?;
        let attended = workspace.take(tokens, hidden)?;
        let [weight, bias] = layer.attention_output;
        product(&attended, &context, weight)?;
        let context = keep.then_some(context);
        let middle = workspace.take(tokens, hidden)?;
        let site = masks.at(Site::AttentionOutput(index));
        let added = [value(bias), residual];
        ops::add_norm(&attended, &middle, added, &norm(layer.attention_norm), site.as_ref())?;
        let attended = keep.then_some(attended);

        let derivative = workspace.take(tokens, inner)?;
        let [weight, bias] = layer.intermediate;
        product(&derivative, &middle, weight)?;
        let summed = workspace.take(tokens, hidden)?;
        let feed_forward = if keep {
            let activated = workspace.take(tokens, inner)?;
            ops::gelu(&derivative, value(bias), &activated)?;
            product(&summed, &activated, layer.output[0])?;
            Some((derivative, activated))
        } else {
            ops::gelu_in_place(&derivative, value(bias))?;
            product(&summed, &derivative, layer.output[0])?;
            None
        };
        let out = workspace.take(tokens, hidden)?;
        let site = masks.at(Site::FeedForwardOutput(index));
        let added = [value(layer.output[1]), &*middle];
        ops::add_norm(&summed, &out, added, &norm(layer.output_norm), site.as_ref())?;

        let saved = match (qkv, context, attended, feed_forward) {
            (Some(qkv), Some(context), Some(attended), Some((derivative, activated))) => {
                let rows = rows.map(<[usize]>::to_vec);
                Some(SavedLayer { rows, qkv, context, attended, middle, derivative, activated, summed })
            }
            _ => None,
        };
        Ok((out, saved))
    }

    /// The gradient `[tokens, hidden]` of the layer's input from that of its output, whose content is used up.
    #[allow(clippy::too_many_arguments)] // The pass's parts, which its owner is taking apart.
    pub(super) fn backward<'m>(
        &self,
        index: usize,
        model: &'m LayoutLm,
        masks: &Masks,
        cu_seqlens: &[usize],
        gradient: Scratch<'m>,
        saved: SavedLayer<'m>,
        input: &Tensor,
    ) -> Result<Scratch<'m>> {
        let layer = self.layer(index)?;
        self.feed_forward_backward(index, model, masks, &gradient, &saved)?;
        let (kept, hidden) = gradient.dims2()?;
        let (tokens, _) = input.dims2()?;
        let workspace = &model.workspace;
        let SavedLayer { rows, qkv, context, attended, .. } = saved;

        let dropped = workspace.take(kept, hidden)?;
        let site = masks.at(Site::AttentionOutput(index));
        let into = site.as_ref().map(|site| (site, &*dropped));
        norm_gradients(model, layer.attention_norm.map(|i| model.parameter(i)), &gradient, &attended, into)?;
        drop(attended);
        let output_gradient: &Tensor = if site.is_some() { &dropped } else { &gradient };
        let [weight, bias] = layer.attention_output.map(|i| model.parameter(i));
        linear_gradients(weight, bias, output_gradient, &context)?;
        // The context is not needed any more: its buffer takes its own gradient.
        ops::linear_input_gradient(&context, output_gradient, weight.value(), false)?;
        drop(dropped);

        let scatter = |x: Scratch<'m>| -> Result<Scratch<'m>> {
            let Some(rows) = &rows else { return Ok(x) };
            let all = workspace.take(tokens, hidden)?;
            ops::scatter_rows(&all, &x, rows)?;
            Ok(all)
        };
        let (d_context, gradient) = (scatter(context)?, scatter(gradient)?);
        let d_qkv = workspace.take(tokens, 3 * hidden)?;
        let site = masks.at(Site::Probabilities(index));
        let heads = model.config().num_attention_heads;
        let layout = Attention { cu_seqlens, heads, site: site.as_ref() };
        ops::attention_gradient(&d_qkv, &d_context, &qkv, &layout)?;
        let [weight, bias] = layer.qkv.map(|i| model.parameter(i));
        linear_gradients(weight, bias, &d_qkv, input)?;
        ops::linear_input_gradient(&gradient, &d_qkv, weight.value(), true)?;
        Ok(gradient)
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
