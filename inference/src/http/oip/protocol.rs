//! The protocol's JSON objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::tensor::TensorData;

/// What a request asks for.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct InferenceRequest {
    /// Given back in the answer.
    pub(super) id: Option<String>,
    /// `binary_data_output`: whether outputs come as binary where they do not say themselves.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(super) parameters: BTreeMap<String, Value>,
    /// `input_ids`, `bbox` and, where wanted, `attention_mask` and `token_type_ids`.
    pub(super) inputs: Vec<RequestInput>,
    /// `logits`; all outputs where left out.
    #[serde(default)]
    pub(super) outputs: Vec<RequestOutput>,
}

/// One input tensor.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RequestInput {
    /// Its name.
    pub(super) name: String,
    /// `[batch, sequence]`, for `bbox` `[batch, sequence, 4]`.
    pub(super) shape: Vec<u64>,
    /// `INT64`.
    pub(super) datatype: String,
    /// `binary_data_size`: bytes of it behind the JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(super) parameters: BTreeMap<String, Value>,
    /// Row-major numbers, flat or nested as the shape says; left out where the data is binary.
    #[schema(value_type = Option<Vec<i64>>)]
    pub(super) data: Option<TensorData>,
}

/// One output asked for.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RequestOutput {
    /// `logits`.
    pub(super) name: String,
    /// `binary_data`: whether it comes as binary.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(super) parameters: BTreeMap<String, Value>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InferenceResponse {
    pub(super) model_name: String,
    pub(super) model_version: String,
    /// As in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    pub(super) outputs: Vec<ResponseOutput>,
}

/// One output tensor.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResponseOutput {
    /// `logits`.
    pub(super) name: &'static str,
    /// `[batch, sequence, labels]`.
    pub(super) shape: [usize; 3],
    /// `FP32`.
    pub(super) datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<BinarySize>,
    /// Row-major; left out where the data is binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Vec<f32>>,
}

/// Of a tensor behind the JSON.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct BinarySize {
    /// Bytes.
    pub(super) binary_data_size: usize,
}

/// What the server is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerMetadata {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// Extensions of the protocol that are understood.
    pub(super) extensions: [&'static str; 1],
}

/// What the model is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelMetadata {
    pub(super) name: String,
    pub(super) versions: Vec<String>,
    pub(super) platform: &'static str,
    pub(super) inputs: Vec<TensorMetadata>,
    pub(super) outputs: Vec<TensorMetadata>,
}

/// What a tensor is; -1 for dimensions that vary.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TensorMetadata {
    pub(super) name: &'static str,
    pub(super) datatype: &'static str,
    pub(super) shape: Vec<i64>,
}

/// Whether the server lives.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerLive {
    pub(super) live: bool,
}

/// Whether the server is ready.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerReady {
    pub(super) ready: bool,
}

/// Whether the model is ready.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelReady {
    pub(super) name: String,
    pub(super) ready: bool,
}
