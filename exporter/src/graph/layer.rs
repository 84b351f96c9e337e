//! One encoder layer: attention and feed-forward, each with its residual and layer normalisation after it.
//!
//! Add and LayerNormalization stay two operators: ONNX Runtime's one operator for both (SkipLayerNormalization) is
//! several times slower from 1.30 on. Source: BERT (Devlin et al. 2019), §3; post-norm.

use layoutlm_core::config::ModelConfig;
use layoutlm_trainer::weights::WeightsError;

use super::attention::{Heads, Mask, attention};
use super::builder::{GraphBuilder, Value};
use super::form::{Form, Product};
use super::layer_norm;
use super::linear::{Activations, Divided, Precision, linear};
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
    let precision = |product| form.precision(index, product);
    let mut input = Activations::from(x.clone());
    let mut head = |g: &mut GraphBuilder<'_>, part: &str| {
        let output = if part == "value" { form.folded(index) } else { None };
        let precision = precision(Product::Qkv).dividing_output(output);
        linear(g, &scope(part), &module(&format!("attention.self.{part}")), &mut input, precision)
    };
    let heads = Heads { query: head(g, "query")?, key: head(g, "key")?, value: head(g, "value")? };
    let mut mixed = attention(g, &scope("attention"), config, &heads, mask).into();
    let attended = linear(
        g,
        &scope("attention_output"),
        &module("attention.output.dense"),
        &mut mixed,
        precision(Product::AttentionOutput),
    )?;
    let sum = g.add(Op::standard("Add", scope("attention_residual")).inputs([&attended, &x]));
    let (name, norm) = (scope("attention_norm"), module("attention.output.LayerNorm"));
    let x = layer_norm(g, &name, &norm, &sum, config)?;
    let dense = module("intermediate.dense");
    let inner =
        linear(g, &scope("intermediate"), &dense, &mut x.clone().into(), precision(Product::Intermediate))?;
    let mut inner = gelu(g, &scope("gelu"), form, &inner).into();
    let outer = linear(g, &scope("output"), &module("output.dense"), &mut inner, precision(Product::Output))?;
    let sum = g.add(Op::standard("Add", scope("output_residual")).inputs([&outer, &x]));
    layer_norm(g, &scope("output_norm"), &module("output.LayerNorm"), &sum, config)
}

impl Form {
    fn precision(&self, layer: usize, product: Product) -> Precision<'_> {
        if !self.int8.contains(&(layer, product)) {
            return Precision::Float;
        }
        let smoothing = self.smoothing.get(&(layer, product)).map(Vec::as_slice);
        let folded = product == Product::AttentionOutput && self.folded(layer).is_some();
        let divided = if folded { Divided::Already } else { Divided::Here };
        Precision::Int8 { smoothing, divided, output: None }
    }

    /// Factors of the attention output's input that the value product divides by: attention mixes tokens, never
    /// channels, so this costs nothing at run time.
    fn folded(&self, layer: usize) -> Option<&[f32]> {
        let both = [Product::Qkv, Product::AttentionOutput].iter().all(|&p| self.int8.contains(&(layer, p)));
        self.smoothing.get(&(layer, Product::AttentionOutput)).filter(|_| both).map(Vec::as_slice)
    }
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
