//! Operators every part of the graph needs: layer normalisation and conversion to f32.

use layoutlm_core::config::ModelConfig;
use layoutlm_trainer::weights::WeightsError;

use super::builder::{GraphBuilder, Value};
use super::initializer::Storage;
use super::op::Op;
use crate::onnx_proto::tensor_proto::DataType;

/// Normalises the last axis with the scale and shift of `module`.
///
/// Source: Ba et al. 2016, Layer Normalization, eq. 4.
pub(super) fn layer_norm(
    g: &mut GraphBuilder<'_>,
    name: &str,
    module: &str,
    x: &Value,
    config: &ModelConfig,
) -> Result<Value, WeightsError> {
    let scale = g.weight(&format!("{module}.weight"), Storage::Float)?;
    let shift = g.weight(&format!("{module}.bias"), Storage::Float)?;
    let op = Op::standard("LayerNormalization", name).inputs([x, &scale, &shift]);
    Ok(g.add(op.int("axis", -1).float("epsilon", config.layer_norm_eps as f32)))
}

/// The same numbers as f32.
pub(super) fn cast_to_float(g: &mut GraphBuilder<'_>, name: &str, x: &Value) -> Value {
    g.add(Op::standard("Cast", name).inputs([x]).int("to", DataType::Float as i64))
}
