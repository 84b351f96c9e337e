//! One encoder layer: attention and feed-forward, each with its residual and layer normalisation after it.
//!
//! Add and LayerNormalization stay two operators: ONNX Runtime's one operator for both (SkipLayerNormalization) is
//! several times slower from 1.30 on. Source: BERT (Devlin et al. 2019), §3; post-norm.

use std::collections::BTreeSet;

use layoutlm_core::config::ModelConfig;
use layoutlm_trainer::weights::WeightsError;

use super::attention::{Heads, Mask, attention};
use super::builder::{GraphBuilder, Value};
use super::form::{Form, Product};
use super::layer_norm;
use super::linear::{Activations, linear};
use super::op::Op;

/// Adds layer `index`: `[batch, seq, hidden]` → `[batch, seq, hidden]`.
pub(super) fn layer(
    g: &mut GraphBuilder<'_>,
    index: usize,
    config: &ModelConfig,
    form: &Form,
    mask: &Mask,
    x: Value,
) -> Result<Value, WeightsError> {
    let scope = |part: &str| format!("layer.{index}/{part}");
    let module = |part: &str| format!("layoutlm.encoder.layer.{index}.{part}");
    let int8 = |product| is_int8(&form.int8, index, product);
    let mut input = Activations::from(x.clone());
    let mut head = |g: &mut GraphBuilder<'_>, part: &str| {
        let int8 = int8(Product::Qkv);
        linear(g, &scope(part), &module(&format!("attention.self.{part}")), &mut input, int8)
    };
    let heads = Heads { query: head(g, "query")?, key: head(g, "key")?, value: head(g, "value")? };
    let mut mixed = attention(g, &scope("attention"), config, &heads, mask).into();
    let attended = linear(
        g,
        &scope("attention_output"),
        &module("attention.output.dense"),
        &mut mixed,
        int8(Product::AttentionOutput),
    )?;
    let sum = g.add(Op::standard("Add", scope("attention_residual")).inputs([&attended, &x]));
    let (name, norm) = (scope("attention_norm"), module("attention.output.LayerNorm"));
    let x = layer_norm(g, &name, &norm, &sum, config)?;
    let dense = module("intermediate.dense");
    let inner =
        linear(g, &scope("intermediate"), &dense, &mut x.clone().into(), int8(Product::Intermediate))?;
    let mut inner = gelu(g, &scope("gelu"), form, &inner).into();
    let outer = linear(g, &scope("output"), &module("output.dense"), &mut inner, int8(Product::Output))?;
    let sum = g.add(Op::standard("Add", scope("output_residual")).inputs([&outer, &x]));
    layer_norm(g, &scope("output_norm"), &module("output.LayerNorm"), &sum, config)
}

fn is_int8(chosen: &BTreeSet<(usize, Product)>, layer: usize, product: Product) -> bool {
    chosen.contains(&(layer, product))
}

/// Exact GELU, `x/2 · (1 + erf(x/√2))`. Source: Hendrycks and Gimpel 2016, §2.
fn gelu(g: &mut GraphBuilder<'_>, scope: &str, form: &Form, x: &Value) -> Value {
    if form.opset >= 20 {
        return g.add(Op::standard("Gelu", scope).inputs([x]));
    }
    let root = g.float("gelu/root_2", std::f32::consts::SQRT_2);
    let (one, half) = (g.float("gelu/one", 1.0), g.float("gelu/half", 0.5));
    let mut op = |kind: &str, name: String, inputs: &[&Value]| g.add(Op::standard(kind, name).inputs(inputs));
    let scaled = op("Div", format!("{scope}/scaled"), &[x, &root]);
    let erf = op("Erf", format!("{scope}/erf"), &[&scaled]);
    let share = op("Add", format!("{scope}/share"), &[&erf, &one]);
    let gated = op("Mul", format!("{scope}/gated"), &[x, &share]);
    op("Mul", scope.to_string(), &[&gated, &half])
}
