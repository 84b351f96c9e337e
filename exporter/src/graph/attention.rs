//! Self-attention over all tokens of a window, padding left out.
//!
//! Two forms of the same formula: plain operators of the standard, or ONNX Runtime's `MultiHeadAttention`, which is
//! faster when it gets no mask. A graph that takes a mask all the same chooses between both ways at run time.
//! Source: Attention Is All You Need (Vaswani et al. 2017), §3.2.

use layoutlm_core::config::ModelConfig;

use super::builder::{Dim, GraphBuilder, Value, value_info};
use super::cast_to_float;
use super::form::{Form, Signature};
use super::op::Op;
use crate::onnx_proto::GraphProto;
use crate::onnx_proto::tensor_proto::DataType;

/// What is added to the score of a padded key; large enough that its weight is exactly 0.
const MASKED: f32 = f32::MIN;

/// The padding of a batch, prepared once for all layers.
#[derive(Debug, Clone)]
pub(super) enum Mask {
    /// 0 for tokens, [`MASKED`] for padding, f32 `[batch, 1, 1, seq]`.
    Additive(Value),
    /// 1 for tokens, 0 for padding, int32 `[batch, seq]`, and whether there is no padding at all, bool.
    Tokens { mask: Value, unpadded: Value },
    /// There is no padding, and no input that could say so.
    Absent,
}

impl Mask {
    /// What a form's attention wants.
    pub(super) fn of(g: &mut GraphBuilder<'_>, form: &Form) -> Self {
        match (form.microsoft, form.signature) {
            (false, _) => Self::additive(g),
            (true, Signature::Padded) => Self::tokens(g),
            (true, Signature::Unpadded) => Self::Absent,
        }
    }

    fn additive(g: &mut GraphBuilder<'_>) -> Self {
        let axes = g.integers("mask/axes", &[1, 2]);
        let one = g.float("mask/one", 1.0);
        let lowest = g.float("mask/lowest", MASKED);
        let mask = g.add(Op::standard("Unsqueeze", "mask/keys").inputs(["attention_mask", &axes]));
        let mask = cast_to_float(g, "mask/tokens", &mask);
        let padding = g.add(Op::standard("Sub", "mask/padding").inputs([&one, &mask]));
        Self::Additive(g.add(Op::standard("Mul", "mask/additive").inputs([&padding, &lowest])))
    }

    fn tokens(g: &mut GraphBuilder<'_>) -> Self {
        let to_int32 = Op::standard("Cast", "mask/tokens").inputs(["attention_mask"]);
        let mask = g.add(to_int32.int("to", DataType::Int32 as i64));
        let one = g.integer("mask/one", 1);
        let least =
            g.add(Op::standard("ReduceMin", "mask/least").inputs(["attention_mask"]).int("keepdims", 0));
        let unpadded = g.add(Op::standard("Equal", "mask/unpadded").inputs([&least, &one]));
        Self::Tokens { mask, unpadded }
    }
}

/// Query, key and value of one layer, each `[batch, seq, hidden]`.
pub(super) struct Heads {
    pub(super) query: Value,
    pub(super) key: Value,
    pub(super) value: Value,
}

/// Adds attention to a graph: `[batch, seq, hidden]`, heads side by side.
pub(super) fn attention(
    g: &mut GraphBuilder<'_>,
    scope: &str,
    config: &ModelConfig,
    heads: &Heads,
    mask: &Mask,
) -> Value {
    match mask {
        Mask::Additive(mask) => plain(g, scope, config, heads, mask),
        Mask::Tokens { mask, unpadded } => either(g, scope, config, heads, mask, unpadded),
        Mask::Absent => g.add(multi_head(scope, config, heads, "")),
    }
}

fn plain(g: &mut GraphBuilder<'_>, scope: &str, config: &ModelConfig, heads: &Heads, mask: &Value) -> Value {
    let (count, size) = (config.num_attention_heads as i64, config.head_size() as i64);
    let split = g.integers("attention/split_heads", &[0, 0, count, size]);
    let join = g.integers("attention/join_heads", &[0, 0, count * size]);
    let scale = g.float("attention/scale", 1.0 / (size as f32).sqrt());
    let mut by_head = |name: &str, x: &Value, perm: &[i64]| {
        let x = g.add(Op::standard("Reshape", format!("{scope}/{name}_split")).inputs([x, &split]));
        g.add(Op::standard("Transpose", format!("{scope}/{name}_heads")).inputs([&x]).ints("perm", perm))
    };
    let query = by_head("query", &heads.query, &[0, 2, 1, 3]);
    let key = by_head("key", &heads.key, &[0, 2, 3, 1]);
    let value = by_head("value", &heads.value, &[0, 2, 1, 3]);
    let mut op = |kind: &str, name: &str, inputs: [&Value; 2]| {
        g.add(Op::standard(kind, format!("{scope}/{name}")).inputs(inputs))
    };
    let query = op("Mul", "query_scaled", [&query, &scale]);
    let scores = op("MatMul", "scores", [&query, &key]);
    let scores = op("Add", "scores_masked", [&scores, mask]);
    let weights =
        g.add(Op::standard("Softmax", format!("{scope}/weights")).inputs([&scores]).int("axis", -1));
    let mixed = g.add(Op::standard("MatMul", format!("{scope}/mixed")).inputs([&weights, &value]));
    let back = Op::standard("Transpose", format!("{scope}/mixed_tokens"))
        .inputs([&mixed])
        .ints("perm", &[0, 2, 1, 3]);
    let back = g.add(back);
    g.add(Op::standard("Reshape", scope).inputs([&back, &join]))
}

/// ONNX Runtime's operator; an empty `mask` is none.
fn multi_head(name: &str, config: &ModelConfig, heads: &Heads, mask: &str) -> Op {
    Op::microsoft("MultiHeadAttention", name)
        .inputs([heads.query.as_str(), &heads.key, &heads.value, "", mask])
        .int("num_heads", config.num_attention_heads as i64)
        // Its default of -10000 would leave padding a weight.
        .float("mask_filter_value", MASKED)
}

/// Without the mask where the batch has no padding, with it elsewhere; decided when the graph runs.
fn either(
    g: &mut GraphBuilder<'_>,
    scope: &str,
    config: &ModelConfig,
    heads: &Heads,
    mask: &Value,
    unpadded: &Value,
) -> Value {
    let branch = |name: &str, mask: &str| {
        let op = multi_head(&format!("{scope}/{name}"), config, heads, mask);
        let output = format!("{scope}/{name}/output");
        let hidden = Dim::Fixed(config.hidden_size);
        let shape = [Dim::Named("batch_size"), Dim::Named("sequence_length"), hidden];
        GraphProto {
            name: Some(format!("{scope}/{name}")),
            node: vec![op.with_outputs(vec![output.clone()])],
            output: vec![value_info(&output, DataType::Float, &shape)],
            ..GraphProto::default()
        }
    };
    let choice = Op::standard("If", scope)
        .inputs([unpadded])
        .graph("then_branch", branch("unpadded", ""))
        .graph("else_branch", branch("padded", mask));
    g.add(choice)
}
