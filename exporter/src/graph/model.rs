//! The whole model as one graph: embeddings, layers, classifier, signature.

use layoutlm_core::config::ModelConfig;
use layoutlm_trainer::weights::{Weights, WeightsError};

use super::attention::Mask;
use super::builder::{Dim, GraphBuilder, value_info};
use super::embeddings::embeddings;
use super::form::{Form, Signature};
use super::initializer::Initializer;
use super::layer::layer;
use super::linear::{Precision, linear};
use super::op::MICROSOFT;
use crate::onnx_proto::tensor_proto::DataType;
use crate::onnx_proto::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// A graph ready to be written: everything but the constants, and the constants.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// Format, operator versions and metadata; its `graph` is empty.
    pub(crate) header: ModelProto,
    /// Nodes, inputs and outputs; its `initializer` is empty.
    pub(crate) graph: GraphProto,
    /// The constants in the order they are used.
    pub(crate) initializers: Vec<Initializer>,
}

/// Builds the graph of a model with `labels` classes.
///
/// Inputs, all int64: `input_ids` `[batch_size, sequence_length]`, `bbox` `[batch_size, sequence_length, 4]` and, for
/// padded batches, `attention_mask` and `token_type_ids` `[batch_size, sequence_length]`. Output: `logits` f32 `[batch_size, sequence_length, labels]`; rows of padding
/// hold numbers that mean nothing.
///
/// # Errors
/// [`WeightsError::Missing`] names a tensor the checkpoint lacks.
pub(crate) fn build(
    config: &ModelConfig,
    labels: usize,
    form: &Form,
    weights: &Weights,
    metadata: &[(String, String)],
) -> Result<Model, WeightsError> {
    let mut g = GraphBuilder::new(weights);
    let mask = Mask::of(&mut g, form);
    let mut x = embeddings(&mut g, config, form)?;
    for index in 0..config.num_hidden_layers {
        x = layer(&mut g, index, config, form, &mask, x)?;
    }
    linear(&mut g, "logits", "classifier", &mut x.into(), Precision::Float)?;
    let tokens = [Dim::Named("batch_size"), Dim::Named("sequence_length")];
    let [batch, sequence] = tokens;
    let mut inputs = vec![
        value_info("input_ids", DataType::Int64, &tokens),
        value_info("bbox", DataType::Int64, &[batch, sequence, Dim::Fixed(4)]),
    ];
    if form.signature == Signature::Padded {
        inputs.extend(["attention_mask", "token_type_ids"].map(|n| value_info(n, DataType::Int64, &tokens)));
    }
    let outputs = vec![value_info("logits", DataType::Float, &[batch, sequence, Dim::Fixed(labels)])];
    let (graph, initializers) = g.finish("layoutlm", inputs, outputs);
    Ok(Model { header: header(form, metadata), graph, initializers })
}

fn header(form: &Form, metadata: &[(String, String)]) -> ModelProto {
    let opset =
        |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    let mut opset_import = vec![opset("", form.opset)];
    if form.microsoft {
        opset_import.push(opset(MICROSOFT, 1));
    }
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    ModelProto {
        ir_version: Some(form.ir_version),
        opset_import,
        producer_name: Some("layoutlm-exporter".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        metadata_props: metadata.iter().map(entry).collect(),
        ..ModelProto::default()
    }
}
