//! The answer: logits as JSON numbers, or as bytes behind the JSON.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::error::OipError;
use super::metadata::{model_name, version};
use super::protocol::{BinarySize, InferenceRequest, InferenceResponse, ResponseOutput};
use crate::http::error::ApiError;
use crate::service::Service;

/// Says how many of a body's bytes are JSON; tensors follow.
pub(super) const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

const OUTPUT: &str = "logits";

/// How the output is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// As JSON numbers.
    Json,
    /// As little-endian bytes behind the JSON.
    Binary,
}

impl Wanted {
    /// # Errors
    /// 400 for an output that the model does not have.
    pub(super) fn of(request: &InferenceRequest) -> Result<Self, OipError> {
        let flag = |value: Option<&Value>| value.and_then(Value::as_bool);
        let mut binary = flag(request.parameters.get("binary_data_output")).unwrap_or(false);
        for output in &request.outputs {
            if output.name != OUTPUT {
                let text = format!("unknown output {:?}; expected {OUTPUT}", output.name);
                return Err(OipError::invalid(text));
            }
            binary = flag(output.parameters.get("binary_data")).unwrap_or(binary);
        }
        Ok(if binary { Self::Binary } else { Self::Json })
    }
}

/// Writes the answer. `logits[row]` is `[length of the row, labels]`; rows are padded with zeros to `sequence`.
///
/// # Errors
/// 500 when the answer can't be written.
pub(super) fn respond(
    service: &Service,
    id: Option<String>,
    wanted: Wanted,
    lengths: &[usize],
    sequence: usize,
    logits: &[Vec<f32>],
) -> Result<Response, OipError> {
    let labels = service.bundle().manifest().labels.len();
    let mut data = Vec::with_capacity(lengths.len() * sequence * labels);
    for (row, length) in logits.iter().zip(lengths) {
        data.extend_from_slice(row);
        data.resize(data.len() + (sequence - length) * labels, 0.0);
    }
    let bytes: Vec<u8> = match wanted {
        Wanted::Json => Vec::new(),
        Wanted::Binary => data.iter().flat_map(|logit| logit.to_le_bytes()).collect(),
    };
    let binary = wanted == Wanted::Binary;
    let output = ResponseOutput {
        name: OUTPUT,
        shape: [lengths.len(), sequence, labels],
        datatype: "FP32",
        parameters: binary.then_some(BinarySize { binary_data_size: bytes.len() }),
        data: (!binary).then_some(data),
    };
    let answer = InferenceResponse {
        model_name: model_name(service),
        model_version: version(service),
        id,
        outputs: vec![output],
    };
    let mut body = serde_json::to_vec(&answer).map_err(|error| {
        tracing::error!(%error, "the answer could not be written");
        ApiError::internal()
    })?;
    let json_length = HeaderValue::from(body.len());
    body.extend(bytes);
    Ok(if binary {
        let kind = HeaderValue::from_static("application/octet-stream");
        ([(header::CONTENT_TYPE, kind), (HEADER_LENGTH, json_length)], body).into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    })
}
